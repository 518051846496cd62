//! What the log of a table may name outside of the table's folder.
//!
//! Whoever may write to a place may put a log there, and its files are opened with the server's rights: they must not be others than
//! those that its writer could have opened.

use std::path::PathBuf;
use std::sync::OnceLock;

use object_store::path::Path;
use url::Url;

use super::Resolved;
use crate::error::{Error, Result, SqlState};
use crate::lake::files;

/// The places of a process that have rights of their own.
#[derive(Debug)]
pub(in crate::lake) struct Bounds {
    warehouse: Url,
    /// Folders that server files must lie in; none means anywhere.
    roots: OnceLock<Vec<PathBuf>>,
}

/// Scheme and bucket (of Azure the container), as far as they say that two places may be in one bucket.
pub(super) fn bucket(url: &Url) -> (&str, String) {
    let (container, host) = (url.username(), url.host_str().unwrap_or_default());
    let kind = match url.scheme() {
        "s3" | "s3a" => "s3",
        "az" | "azure" | "abfs" | "abfss" | "adl" => "az",
        other => other,
    };
    // Azure's long form has the container before its account.
    let name = if kind == "az" && !container.is_empty() { container } else { host };
    (kind, name.to_ascii_lowercase())
}

impl Bounds {
    pub(super) fn new(warehouse: Url) -> Self {
        Self { warehouse, roots: OnceLock::new() }
    }

    pub(super) fn confine(&self, roots: Vec<PathBuf>) {
        let _ = self.roots.set(roots);
    }

    /// Refuses a data file or deletion vector that the log of a table names, if it lies outside of the table's folder where the log's
    /// writer need not have had rights. Logs in the warehouse are written by the server alone.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::lake) fn check(&self, table: &Resolved, name: &str) -> Result<()> {
        if is_below(&table.location, &self.warehouse) {
            return Ok(());
        }
        let refused = |detail: &str| {
            let message =
                format!("the log of table \"{}\" names a file outside of its folder: \"{name}\"", table.location);
            Err(Error::new(SqlState::InsufficientPrivilege, message).with_detail(detail.to_owned()))
        };
        let file = match place(&table.location, name) {
            Place::Inside => return Ok(()),
            Place::Outside(file) => file,
            Place::Unclear => return refused("It has more than one reading."),
        };
        let scheme = file.scheme();
        match (scheme, file.to_file_path()) {
            ("file", Ok(path)) if table.is_local() => {
                let warehouse = self.warehouse.to_file_path().ok().and_then(|folder| folder.canonicalize().ok());
                let own = path.canonicalize().unwrap_or_else(|_| path.clone());
                if warehouse.is_some_and(|warehouse| own.starts_with(warehouse)) {
                    return refused("It lies in the warehouse, whose files only superusers read by their names.");
                }
                files::check_within(self.roots.get().map_or(&[], Vec::as_slice), &path)
            }
            ("file", _) => refused("It lies on the server's disk."),
            ("memory", _) if table.location.scheme() != scheme => refused("It lies in the server's memory."),
            ("memory" | "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "adl", _) => {
                if bucket(&file) == bucket(&self.warehouse) && is_below_path(&file, &self.warehouse) {
                    return refused("It lies in the warehouse, whose files only superusers read by their names.");
                }
                Ok(())
            }
            _ => refused("It is in no store."),
        }
    }
}

/// Whether the name of a file, as the log has it after decoding, has to be looked at: most are plain.
pub(in crate::lake) fn may_stray(name: &str) -> bool {
    name.starts_with('/')
        || name.contains("..")
        || name.contains(|char: char| matches!(char, ':' | '\\' | '%') || char.is_ascii_control())
}

enum Place {
    Inside,
    Outside(Url),
    /// It could mean one file here and another to the program library that opens it.
    Unclear,
}

/// Where the file is, as delta-rs joins names that are decoded once more or once less.
fn place(table: &Url, name: &str) -> Place {
    let mut root = table.clone();
    root.set_path(&format!("{}/", table.path().trim_end_matches('/')));
    let again = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let steps = |text: &str| text.split(['/', '\\']).any(|part| part == "..");
    let plain = !steps(name) && !steps(&again) && !name.contains(|char: char| char.is_ascii_control());
    let Ok(file) = Url::parse(name).or_else(|_| root.join(name)) else { return Place::Unclear };
    if plain && is_below(&file, &root) {
        Place::Inside
    } else if plain && !name.contains(['?', '#', '\\', '%']) {
        Place::Outside(file)
    } else {
        Place::Unclear
    }
}

/// Whether the place is the folder or in it.
fn is_below(place: &Url, folder: &Url) -> bool {
    let authority = |url: &Url| (url.scheme().to_owned(), url.authority().to_owned());
    authority(place) == authority(folder) && is_below_path(place, folder)
}

fn is_below_path(place: &Url, folder: &Url) -> bool {
    let path = |url: &Url| Path::from_url_path(url.path());
    match (path(place), path(folder)) {
        (Ok(place), Ok(folder)) => place.prefix_matches(&folder),
        // What cannot be read is not opened, and not said to be elsewhere either.
        _ => true,
    }
}
