//! What all statements of a server share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::lake::Lake;
use crate::observe::{Metrics, Webhook};

/// The server's services below the road.
#[derive(Debug)]
pub struct Ground {
    pub catalog: Arc<Catalog>,
    pub lake: Arc<Lake>,
    pub engine: Arc<Engine>,
    pub files: FileAccess,
    pub metrics: Arc<Metrics>,
    /// Who is told of failed expectations.
    pub webhook: Option<Webhook>,
}

/// Which files of the server's own disk COPY and the `read_…` functions may touch.
#[derive(Debug, Clone, Default)]
pub struct FileAccess {
    /// Folders that server files must lie in; empty means anywhere.
    pub roots: Vec<PathBuf>,
    /// Its files are behind the catalog's rights.
    pub warehouse: Option<Url>,
    /// Of a model that is imported.
    pub model_bytes_max: u64,
}

impl FileAccess {
    /// Refuses a location on the server's disk to a role that is no superuser, and one outside the allowed roots to everybody.
    /// URLs of object stores are governed by the server's credentials and pass, those of the warehouse for superusers.
    pub fn check(&self, location: &str, superuser: bool, writes: bool) -> Result<()> {
        self.check_for("COPY", location, superuser, writes)
    }

    /// The same for another statement than COPY.
    pub fn check_for(&self, statement: &str, location: &str, superuser: bool, writes: bool) -> Result<()> {
        let local = match location.split_once("://") {
            Some(("file", path)) => path,
            Some(_) if superuser || !self.is_of_warehouse(location) => return Ok(()),
            Some(_) => {
                let message = format!("permission denied for location \"{location}\"");
                return Err(Error::new(SqlState::InsufficientPrivilege, message).with_detail(
                    "It lies in the warehouse, whose files only superusers read and write by their names.",
                ));
            }
            None => location,
        };
        if !superuser {
            let (verb, role) = if writes { ("to", "pg_write_server_files") } else { ("from", "pg_read_server_files") };
            let message = format!("permission denied to {statement} {verb} a file");
            let detail = format!("Only roles with privileges of the \"{role}\" role may {statement} {verb} a file.");
            let refused = Error::new(SqlState::InsufficientPrivilege, message).with_detail(detail);
            return Err(match statement {
                "COPY" => refused
                    .with_hint("Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone."),
                _ => refused,
            });
        }
        if self.roots.is_empty() || self.roots.iter().any(|root| lies_within(Path::new(local), root)) {
            return Ok(());
        }
        Err(Error::new(SqlState::InsufficientPrivilege, format!("path \"{local}\" is outside the allowed folders"))
            .with_hint("The setting files.roots lists the folders that may be read and written."))
    }
}

impl FileAccess {
    /// Whether the URL, under whichever scheme the store has, leads into the warehouse or around it.
    fn is_of_warehouse(&self, location: &str) -> bool {
        let Some(warehouse) = &self.warehouse else { return false };
        let Ok(url) = Url::parse(location) else { return true };
        let folder = |url: &Url| format!("{}/", url.path().trim_end_matches('/'));
        // What stands before the first pattern decides.
        let path = folder(&url);
        let plain = path.split(['*', '?', '[', '{']).next().unwrap_or_default();
        let root = folder(warehouse);
        url.host_str() == warehouse.host_str() && (plain.starts_with(&root) || root.starts_with(plain))
    }
}

/// Whether the path lies in the folder, after symbolic links and `..` are resolved as far as the path exists.
fn lies_within(path: &Path, root: &Path) -> bool {
    let Ok(root) = root.canonicalize() else { return false };
    let Ok(absolute) = std::path::absolute(path) else { return false };
    if absolute.components().any(|part| part == std::path::Component::ParentDir) {
        return false;
    }
    let existing = absolute.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    existing.is_some_and(|existing| existing.starts_with(&root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_superusers_touch_server_files() {
        let access = FileAccess::default();
        assert_eq!(access.check("/etc/passwd", false, false).unwrap_err().sqlstate().code(), "42501");
        assert!(access.check("/etc/passwd", true, false).is_ok());
        assert!(access.check("s3://bucket/x.csv", false, false).is_ok());
    }

    #[test]
    fn the_warehouse_is_not_read_by_its_urls() {
        let warehouse = Url::parse("s3://bucket/lake").ok();
        let access = FileAccess { warehouse, ..FileAccess::default() };
        for url in ["s3://bucket/lake/public/t/x.parquet", "s3a://bucket/lake/", "s3://bucket/*/public", "s3://bucket/"]
        {
            assert_eq!(access.check(url, false, false).unwrap_err().sqlstate().code(), "42501", "{url}");
            assert!(access.check(url, true, false).is_ok());
        }
        for url in ["s3://bucket/lakes/x.parquet", "s3://other/lake/x", "s3://bucket/in/*.csv"] {
            assert!(access.check(url, false, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn paths_stay_inside_the_roots() {
        let root = tempfile::tempdir().unwrap();
        let access = FileAccess { roots: vec![root.path().to_owned()], ..FileAccess::default() };
        let inside = root.path().join("a.csv");
        assert!(access.check(inside.to_str().unwrap(), true, true).is_ok());
        let climbing = root.path().join("../a.csv");
        assert!(access.check(climbing.to_str().unwrap(), true, true).is_err());
        assert!(access.check("/etc/passwd", true, false).is_err());
        std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
        assert!(access.check(root.path().join("link/passwd").to_str().unwrap(), true, false).is_err());
    }
}
