//! The files that a statement has put into the table's folder and not committed yet.

use object_store::path::Path;
use parking_lot::Mutex;

use crate::lake::maintain;
use crate::lake::stores::Resolved;

/// Removes the files when it is dropped, unless they were committed.
#[derive(Debug)]
pub(super) struct Staged {
    location: Resolved,
    files: Mutex<Vec<Path>>,
}

impl Staged {
    pub(super) fn new(location: Resolved) -> Self {
        Self { location, files: Mutex::default() }
    }

    pub(super) fn location(&self) -> &Resolved {
        &self.location
    }

    /// Notes a file before its first byte is written.
    pub(super) fn note(&self, file: Path) {
        self.files.lock().push(file);
    }

    /// The files belong to the table now.
    pub(super) fn keep(&self) {
        self.files.lock().clear();
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let files = std::mem::take(&mut *self.files.lock());
        if !files.is_empty() {
            maintain::remove_staged(self.location.clone(), files);
        }
    }
}
