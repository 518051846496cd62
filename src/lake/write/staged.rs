//! The files that a statement has put into the table's folder and not committed yet.

use object_store::path::Path;
use parking_lot::Mutex;

use crate::lake::maintain;
use crate::lake::stores::Resolved;

/// Removes the files when it is dropped, unless they were committed.
#[derive(Debug)]
pub(in crate::lake) struct Staged {
    location: Resolved,
    files: Mutex<Vec<Path>>,
}

impl Staged {
    pub(in crate::lake) fn new(location: Resolved) -> Self {
        Self { location, files: Mutex::default() }
    }

    pub(in crate::lake) fn location(&self) -> &Resolved {
        &self.location
    }

    /// Notes a file before its first byte is written.
    pub(in crate::lake) fn note(&self, file: Path) {
        self.location.live.stage(self.location.location.as_str(), file.clone());
        self.files.lock().push(file);
    }

    /// The files of these names belong to the table now; the others go.
    pub(in crate::lake) fn keep_named(&self, names: &[String]) {
        let root = &self.location.path;
        let kept: std::collections::HashSet<Path> =
            names.iter().map(|name| root.parts().chain(Path::from(name.as_str()).parts()).collect()).collect();
        self.files.lock().retain(|file| !kept.contains(file));
        self.location.live.unstage(self.location.location.as_str(), kept.iter());
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let files = std::mem::take(&mut *self.files.lock());
        if !files.is_empty() {
            self.location.live.unstage(self.location.location.as_str(), files.iter());
            maintain::remove_staged(self.location.clone(), files);
        }
    }
}
