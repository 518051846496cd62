//! What all statements of a server share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::lake::Lake;
use crate::observe::Metrics;

/// The server's services below the road.
#[derive(Debug)]
pub struct Ground {
    pub catalog: Arc<Catalog>,
    pub lake: Arc<Lake>,
    pub engine: Arc<Engine>,
    pub files: FileAccess,
    pub metrics: Arc<Metrics>,
}

/// Which files of the server's own disk COPY and the `read_…` functions may touch.
#[derive(Debug, Clone, Default)]
pub struct FileAccess {
    /// Folders that server files must lie in; empty means anywhere.
    pub roots: Vec<PathBuf>,
}

impl FileAccess {
    /// Refuses a location on the server's disk to a role that is no superuser, and one outside the allowed roots to everybody.
    /// URLs of object stores are governed by the server's credentials and pass.
    pub fn check(&self, location: &str, superuser: bool, writes: bool) -> Result<()> {
        let local = match location.split_once("://") {
            Some(("file", path)) => path,
            Some(_) => return Ok(()),
            None => location,
        };
        if !superuser {
            let (verb, role) = if writes { ("to", "pg_write_server_files") } else { ("from", "pg_read_server_files") };
            return Err(Error::new(
                SqlState::InsufficientPrivilege,
                format!("permission denied to COPY {verb} a file"),
            )
            .with_detail(format!("Only roles with privileges of the \"{role}\" role may COPY {verb} a file."))
            .with_hint("Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone."));
        }
        if self.roots.is_empty() || self.roots.iter().any(|root| lies_within(Path::new(local), root)) {
            return Ok(());
        }
        Err(Error::new(SqlState::InsufficientPrivilege, format!("path \"{local}\" is outside the allowed folders"))
            .with_hint("The setting files.roots lists the folders that may be read and written."))
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
    fn paths_stay_inside_the_roots() {
        let root = tempfile::tempdir().unwrap();
        let access = FileAccess { roots: vec![root.path().to_owned()] };
        let inside = root.path().join("a.csv");
        assert!(access.check(inside.to_str().unwrap(), true, true).is_ok());
        let climbing = root.path().join("../a.csv");
        assert!(access.check(climbing.to_str().unwrap(), true, true).is_err());
        assert!(access.check("/etc/passwd", true, false).is_err());
        std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
        assert!(access.check(root.path().join("link/passwd").to_str().unwrap(), true, false).is_err());
    }
}
