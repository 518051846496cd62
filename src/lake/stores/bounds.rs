//! What the log of a table may name outside of the table's folder.
//!
//! Whoever may write to a place may put a log there, and its files are opened with the server's rights: they must not be others than
//! those that its writer could have opened.

use std::collections::HashSet;
use std::path::{Path as DiskPath, PathBuf};
use std::sync::OnceLock;

use object_store::path::Path;
use url::{Position, Url};

use super::Resolved;
use crate::error::{Error, Result, SqlState};
use crate::lake::files;

const LIES_IN_WAREHOUSE: &str = "It lies in the warehouse, whose files only superusers read by their names.";

/// A folder of a store.
#[derive(Debug, Clone)]
pub(in crate::lake) struct Folder {
    url: Url,
    key: Path,
}

impl Folder {
    /// The folder of that URL, with its key in the store.
    pub(in crate::lake) fn new(url: Url, key: Path) -> Self {
        Self { url, key }
    }

    pub(in crate::lake) fn of(place: &Resolved) -> Self {
        Self::new(place.location.clone(), place.path.clone())
    }

    pub(in crate::lake) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the URL is the folder or in it. What no store could read is not.
    pub(in crate::lake) fn holds(&self, url: &Url) -> bool {
        is_of_store(url, &self.url) && key_of(url).is_some_and(|key| key.prefix_matches(&self.key))
    }
}

/// Whether two URLs are of one store by their text, container and all: another spelling is another store.
fn is_of_store(file: &Url, other: &Url) -> bool {
    file[..Position::BeforePath] == other[..Position::BeforePath]
}

/// It cannot have steps upwards, encoded or not.
fn key_of(url: &Url) -> Option<Path> {
    Path::from_url_path(url.path()).ok()
}

/// What is told of a log that names such a file. What follows a path may be a key to the file, and is left out.
pub(in crate::lake) fn names_outside(table: &Url, file: &str) -> String {
    let (table, file) = (table.as_str().trim_end_matches('/'), file.split(['?', '#']).next().unwrap_or_default());
    format!("the log of table \"{table}\" names a file outside of its folder: \"{file}\"")
}

/// The places of a process that have rights of their own.
#[derive(Debug)]
pub(in crate::lake) struct Bounds {
    warehouse: Folder,
    /// Where the warehouse is on the local disk, behind all links.
    warehouse_on_disk: Option<PathBuf>,
    /// Folders that server files must lie in; none means anywhere.
    roots: OnceLock<Vec<PathBuf>>,
}

/// Folders of the local disk with a file that a log was allowed to name: others in them need no look at every folder above.
#[derive(Debug, Default)]
pub(in crate::lake) struct Allowed(HashSet<PathBuf>);

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
    /// Bounds around a warehouse, whose folder is there if it is on the local disk.
    pub(super) fn new(warehouse: Folder) -> Self {
        let on_disk = warehouse.url.to_file_path().ok();
        let warehouse_on_disk = on_disk.and_then(|folder| folder.canonicalize().ok());
        Self { warehouse, warehouse_on_disk, roots: OnceLock::new() }
    }

    pub(super) fn confine(&self, roots: Vec<PathBuf>) {
        let _ = self.roots.set(roots);
    }

    /// Refuses a data file or deletion vector that the log of a table names, if it lies outside of the table's folder where the log's
    /// writer need not have had rights, or in another store. Logs in the warehouse are written by the server alone. Of tables on the
    /// local disk it asks the disk, and blocks.
    ///
    /// # Errors
    /// 42501, 0A000 for what lies in another store.
    pub(in crate::lake) fn check(&self, table: &Resolved, name: &str, allowed: &mut Allowed) -> Result<()> {
        let Some(readings) = readings(table, name) else {
            if self.warehouse.holds(&table.location) {
                return Ok(());
            }
            return Err(refused(table, name, "It has more than one reading."));
        };
        for file in &readings {
            self.check_file(table, file, allowed)?;
        }
        if readings.iter().all(|file| is_of_store(file, &table.location)) {
            return Ok(());
        }
        // delta-rs tells stores apart by less than their whole URLs: another one could be opened than was looked at.
        Err(Error::new(SqlState::FeatureNotSupported, names_outside(&table.location, name))
            .with_detail("It lies in another store than the table, or the store's URL is written in another way."))
    }

    /// The same of a file whose place is known; not its store, which the caller knows.
    ///
    /// # Errors
    /// 42501.
    pub(in crate::lake) fn check_file(&self, table: &Resolved, file: &Url, allowed: &mut Allowed) -> Result<()> {
        if self.warehouse.holds(&table.location) || Folder::of(table).holds(file) {
            return Ok(());
        }
        let refused = |detail| Err(refused(table, file.as_str(), detail));
        let scheme = file.scheme();
        match (scheme, file.to_file_path()) {
            ("file", Ok(path)) if table.is_local() => self.check_on_disk(table, file, &path, allowed),
            ("file", _) => refused("It lies on the server's disk."),
            ("memory", _) if table.location.scheme() != scheme => refused("It lies in the server's memory."),
            ("memory" | "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "adl", _) => {
                let is_below = |key: Path| key.prefix_matches(&self.warehouse.key);
                // What cannot be read is not opened, and not said to be elsewhere either.
                if bucket(file) == bucket(&self.warehouse.url) && key_of(file).is_none_or(is_below) {
                    return refused(LIES_IN_WAREHOUSE);
                }
                Ok(())
            }
            _ => refused("It is in no store."),
        }
    }

    fn check_on_disk(&self, table: &Resolved, file: &Url, path: &DiskPath, allowed: &mut Allowed) -> Result<()> {
        // A link may lead out of a folder that was looked at.
        let is_there = path.symlink_metadata().is_ok_and(|meta| !meta.is_symlink());
        let folder = path.parent().filter(|_| is_there);
        if folder.is_some_and(|folder| allowed.0.contains(folder)) {
            return Ok(());
        }
        let own = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.warehouse_on_disk.as_ref().is_some_and(|warehouse| own.starts_with(warehouse)) {
            return Err(refused(table, file.as_str(), LIES_IN_WAREHOUSE));
        }
        files::check_within(self.roots.get().map_or(&[], Vec::as_slice), path)?;
        allowed.0.extend(folder.map(DiskPath::to_owned));
        Ok(())
    }
}

fn refused(table: &Resolved, file: &str, detail: &str) -> Error {
    Error::new(SqlState::InsufficientPrivilege, names_outside(&table.location, file)).with_detail(detail)
}

/// Whether the name of a file, as the log has it after decoding, has to be looked at: most are plain.
pub(in crate::lake) fn may_stray(name: &str) -> bool {
    // The ends are what the parser of URLs cuts off.
    name.starts_with(['/', ' '])
        || name.ends_with(' ')
        || name.contains("..")
        || name.contains(|char: char| matches!(char, ':' | '\\' | '%') || char.is_ascii_control())
}

/// The keys that files of that name may have in the table's store.
pub(in crate::lake) fn keys(table: &Resolved, name: &str) -> impl Iterator<Item = Path> {
    readings(table, name).into_iter().flatten().filter_map(|file| key_of(&file))
}

/// Where a file of that name may be: data files have names that were decoded, deletion vectors URLs that were not, so it is
/// read both ways. `None` if the program library that opens it could make something else of it.
fn readings(table: &Resolved, name: &str) -> Option<Vec<Url>> {
    let folder = Folder::of(table);
    let mut root = folder.url.clone();
    root.set_path(&format!("{}/", folder.url.path().trim_end_matches('/')));
    let parse = |name: &str| Url::parse(name).or_else(|_| root.join(name)).ok();
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let steps = |text: &str| text.split(['/', '\\']).any(|part| part == "..");
    if steps(name) || steps(&decoded) || name.contains(|char: char| char.is_ascii_control()) {
        return None;
    }
    let literal = parse(&name.replace('%', "%25")).filter(|file| key_of(file).is_some())?;
    let mut files = vec![literal];
    if name.contains('%') {
        // A URL that no store could read is none of a file.
        files.extend(parse(name).filter(|file| key_of(file).is_some()));
    }
    let is_clear = !name.contains(['?', '#', '\\']) || files.iter().all(|file| folder.holds(file));
    is_clear.then_some(files)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Stores;
    use super::*;

    fn code(stores: &Stores, table: &str, name: &str) -> Option<SqlState> {
        let table = stores.resolve(table).unwrap();
        let checked = table.bounds.check(&table, name, &mut Allowed::default());
        checked.err().map(|error| error.sqlstate())
    }

    #[test]
    fn a_folder_holds_what_lies_in_it() {
        let folder = Folder::new(Url::parse("abfss://lake@a.dfs.core.windows.net/w/t").unwrap(), Path::from("w/t"));
        for (url, is_held) in [
            ("abfss://lake@a.dfs.core.windows.net/w/t", true),
            ("abfss://lake@a.dfs.core.windows.net/w/t/", true),
            ("abfss://lake@a.dfs.core.windows.net/w/%74/a%20b?x#y", true),
            ("abfss://lake@a.dfs.core.windows.net/w/tt", false),
            ("abfss://lake@a.dfs.core.windows.net/w//t/a", false),
            ("abfss://lake@a.dfs.core.windows.net/w/t/..%2fu", false),
            ("abfss://zzz@a.dfs.core.windows.net/w/t/a", false),
            ("abfss://a.dfs.core.windows.net/w/t/a", false),
            ("abfs://lake@a.dfs.core.windows.net/w/t/a", false),
            ("abfss:w/t/a", false),
        ] {
            assert_eq!(folder.holds(&Url::parse(url).unwrap()), is_held, "{url}");
        }
        let bucket = Folder::new(Url::parse("s3://lake").unwrap(), Path::default());
        assert!(bucket.holds(&Url::parse("s3://lake/a").unwrap()));
        assert!(!bucket.holds(&Url::parse("s3://other/a").unwrap()));
    }

    #[test]
    fn a_name_is_read_decoded_and_not() {
        let stores = Stores::new("memory://lake/w%41", HashMap::new()).unwrap();
        let allowed = |name: &str| code(&stores, "memory://lake/in/t", name).is_none();
        for name in [
            "memory://lake/in/o/p=a b/x.parquet",
            "memory://lake/in/o/p=ü/x.parquet",
            "memory://lake/in/o/ts=00%3A00%3A00/x.parquet",
            "memory://lake/in/o/p=a%0Ab/x.parquet",
            "/in/o/p=100%/x.parquet",
            "p=a%3Ab?/x.parquet",
            "memory://lake/w/x.parquet",
        ] {
            assert!(allowed(name), "{name}");
        }
        for name in [
            "memory://lake/wA/x.parquet",
            "memory://lake/%77%41/x.parquet",
            " /wA/x.parquet",
            "memory://lake/in/o//x.parquet",
            "memory://lake/in/o?/x.parquet",
            "a%2F..%2F..%2Fo/x.parquet",
        ] {
            assert!(!allowed(name), "{name}");
        }
        // The warehouse's name has a percent sign.
        let stores = Stores::new("memory://lake/w%2541", HashMap::new()).unwrap();
        for name in ["memory://lake/w%41/x.parquet", "memory://lake/w%2541/x.parquet"] {
            assert_eq!(code(&stores, "memory://lake/in/t", name), Some(SqlState::InsufficientPrivilege), "{name}");
        }
    }

    #[test]
    fn names_that_are_cut_are_looked_at() {
        for name in [" /w/x.parquet", "x.parquet ", "/w/x", "a/../b", "a:b", "a%2Fb", "a\\b", "a\tb"] {
            assert!(may_stray(name), "{name}");
        }
        assert!(!may_stray("p=a b/part-00000.snappy.parquet"));
    }

    #[test]
    fn files_of_other_stores_are_refused() {
        let options = [("azure_storage_account_name", "a"), ("azure_storage_account_key", "aGVsbG8=")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let stores = Stores::new("abfss://lake@a.dfs.core.windows.net/wh", options.into()).unwrap();
        let table = "abfss://lake@a.dfs.core.windows.net/in/t";
        for (name, expected) in [
            ("abfss://lake@a.dfs.core.windows.net/in/other/x.parquet", None),
            ("abfss://lake@a.dfs.core.windows.net/wh/x.parquet", Some(SqlState::InsufficientPrivilege)),
            ("az://lake/wh/x.parquet", Some(SqlState::InsufficientPrivilege)),
            ("abfss://zzz@a.dfs.core.windows.net/wh/x.parquet", Some(SqlState::FeatureNotSupported)),
            ("abfss://a.dfs.core.windows.net/wh/x.parquet", Some(SqlState::FeatureNotSupported)),
            ("az://lake/in/other/x.parquet", Some(SqlState::FeatureNotSupported)),
            ("file:///etc/x.parquet", Some(SqlState::InsufficientPrivilege)),
            ("http://a/x.parquet", Some(SqlState::InsufficientPrivilege)),
        ] {
            assert_eq!(code(&stores, table, name), expected, "{name}");
        }
        // The server's own logs too: delta-rs would look in the wrong store.
        let own = "abfss://lake@a.dfs.core.windows.net/wh/t";
        let elsewhere = "abfss://zzz@a.dfs.core.windows.net/x.parquet";
        assert_eq!(code(&stores, own, elsewhere), Some(SqlState::FeatureNotSupported));
        assert_eq!(code(&stores, own, "abfss://lake@a.dfs.core.windows.net/wh/s/x.parquet"), None);
    }

    #[test]
    fn every_file_of_an_allowed_folder_is_looked_at_for_links() {
        let disk = tempfile::tempdir().unwrap();
        let root = disk.path();
        for folder in ["wh", "in/t", "other"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["wh/secret.parquet", "other/a.parquet", "other/b.parquet"] {
            std::fs::write(root.join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(root.join("wh/secret.parquet"), root.join("other/link.parquet")).unwrap();
        let stores = Stores::new(root.join("wh").to_str().unwrap(), HashMap::new()).unwrap();
        let table = stores.resolve(root.join("in/t").to_str().unwrap()).unwrap();
        let mut allowed = Allowed::default();
        let mut check = |file: &str| table.bounds.check(&table, root.join(file).to_str().unwrap(), &mut allowed);
        check("other/a.parquet").unwrap();
        check("other/b.parquet").unwrap();
        for file in ["other/link.parquet", "wh/secret.parquet"] {
            assert_eq!(check(file).unwrap_err().sqlstate(), SqlState::InsufficientPrivilege, "{file}");
        }
        assert_eq!(allowed.0.len(), 1);
    }

    #[test]
    fn a_key_behind_a_file_is_not_told() {
        let table = Url::parse("s3://lake/in/t/").unwrap();
        let expected = "the log of table \"s3://lake/in/t\" names a file outside of its folder: \"s3://o/x\"";
        assert_eq!(names_outside(&table, "s3://o/x?sp=secret#f"), expected);
    }
}
