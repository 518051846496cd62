//! Folders of the server's disk that files must lie in, whatever links lead out of them.
//!
//! A path is checked before it is opened: that nobody puts a link there in between is for the folders' permissions to see to.

use std::path::{Path, PathBuf};

use super::FileSet;
use crate::error::{Error, Result, SqlState};

/// Refuses a path outside the folders; without any, every path is inside.
///
/// # Errors
/// 42501.
pub fn check_within(roots: &[PathBuf], path: &Path) -> Result<()> {
    if roots.is_empty() || roots.iter().any(|root| lies_within(path, root)) {
        return Ok(());
    }
    let message = format!("path \"{}\" is outside the allowed folders", path.display());
    Err(Error::new(SqlState::InsufficientPrivilege, message)
        .with_hint("The setting files.roots lists the folders that may be read and written."))
}

/// Refuses a file that would be made out of a folder, because a link in the folder leads out of it.
///
/// # Errors
/// 42501.
pub(super) async fn check_below(folder: PathBuf, file: PathBuf) -> Result<()> {
    let checked = tokio::task::spawn_blocking(move || {
        // What is not there yet has no links in it.
        let is_new = folder.symlink_metadata().is_err();
        if is_new || file.parent().is_some_and(|parent| lies_within(parent, &folder)) {
            return Ok(());
        }
        let message = format!("path \"{}\" is outside \"{}\"", file.display(), folder.display());
        Err(Error::new(SqlState::InsufficientPrivilege, message)
            .with_detail("A symbolic link leads out of the folder."))
    });
    checked.await.map_err(|_| Error::internal("the check of a file failed"))?
}

/// Whether the path lies in the folder, after symbolic links are resolved as far as the path exists.
fn lies_within(path: &Path, root: &Path) -> bool {
    let Ok(root) = root.canonicalize() else { return false };
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return false;
    }
    // A link to what is not there exists, and what is made through it would lie elsewhere.
    let existing = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
    existing.and_then(|existing| existing.canonicalize().ok()).is_some_and(|existing| existing.starts_with(&root))
}

impl FileSet {
    /// Refuses files of the server's disk that a link below the named folder led to, outside the folders.
    ///
    /// # Errors
    /// 42501.
    pub async fn check_within(&self, roots: &[PathBuf]) -> Result<()> {
        if roots.is_empty() || !self.is_local() {
            return Ok(());
        }
        let (files, roots) = (std::sync::Arc::clone(&self.files), roots.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let mut files = files.iter();
            files.try_for_each(|file| check_within(&roots, &Path::new("/").join(file.location.as_ref())))
        });
        checked.await.map_err(|_| Error::internal("the check of files failed"))?
    }
}
