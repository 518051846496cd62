//! A file of the local disk before it has its name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::{Error, PutMode, PutResult, Result};

/// A folder that was made can be gone again, as a DROP removes empty ones. One that takes no files at all also answers "no
/// such file" to their creation, each time.
const CREATIONS_MAX: usize = 4;

/// A file beside its place. It goes when it is dropped unpublished.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: File,
    staging: PathBuf,
    destination: PathBuf,
    /// Folders that got a new folder for this file.
    changed: Vec<PathBuf>,
    published: AtomicBool,
}

/// An error of the disk and what it was about.
#[derive(Debug, thiserror::Error)]
#[error("could not write file \"{}\": {source}", path.display())]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}

fn failed(path: &Path, error: io::Error) -> Error {
    let (shown, kind) = (path.display().to_string(), error.kind());
    match kind {
        io::ErrorKind::NotFound => Error::NotFound { path: shown, source: error.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: shown, source: error.into() },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path: shown, source: error.into() },
        _ => Error::Generic { store: "LocalDisk", source: AtPath { path: path.to_owned(), source: error }.into() },
    }
}

impl StagedFile {
    /// Makes the file, and its folders where they are missing.
    pub(super) fn create(destination: PathBuf) -> Result<Self> {
        let mut staging = destination.clone().into_os_string();
        staging.push(format!("#{}", rand::random::<u64>()));
        let staging = PathBuf::from(staging);
        let mut changed = Vec::new();
        for attempt in 1.. {
            match File::options().read(true).write(true).create_new(true).open(&staging) {
                Ok(file) => {
                    let published = AtomicBool::new(false);
                    return Ok(Self { file, staging, destination, changed, published });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < CREATIONS_MAX => {
                    make_folders(&destination, &mut changed).map_err(|error| failed(&destination, error))?;
                }
                Err(error) => return Err(failed(&destination, error)),
            }
        }
        Err(failed(&destination, io::ErrorKind::NotFound.into()))
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|error| failed(&self.destination, error))
    }

    /// Gives the file its name. When it `lasts`, its content is on the disk before, and the name after. A name that is new, and
    /// that nobody waits for any more, goes again: who gave up may have looked for the file before it was there.
    pub(super) fn publish(&self, mode: &PutMode, lasts: bool, abandoned: &AtomicBool) -> Result<PutResult> {
        self.name(mode, lasts, abandoned).map_err(|error| failed(&self.destination, error))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    fn name(&self, mode: &PutMode, lasts: bool, abandoned: &AtomicBool) -> io::Result<()> {
        if lasts {
            self.file.sync_all()?;
        }
        if *mode == PutMode::Create {
            // The staged name goes when this is dropped.
            std::fs::hard_link(&self.staging, &self.destination)?;
        } else {
            let is_new = !self.destination.exists();
            std::fs::rename(&self.staging, &self.destination)?;
            self.published.store(true, Ordering::Release);
            if is_new && abandoned.load(Ordering::SeqCst) {
                return std::fs::remove_file(&self.destination);
            }
        }
        if lasts {
            self.destination
                .parent()
                .into_iter()
                .chain(self.changed.iter().map(PathBuf::as_path))
                .try_for_each(sync_folder)?;
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.published.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_file(&self.staging)
        {
            tracing::debug!(file = %self.staging.display(), %error, "could not remove a staged file");
        }
    }
}

fn make_folders(file: &Path, changed: &mut Vec<PathBuf>) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let missing = folder.ancestors().take_while(|folder| !folder.exists());
    changed.extend(missing.filter_map(Path::parent).map(Path::to_path_buf));
    std::fs::create_dir_all(folder)
}

/// Flushes the names in a folder.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
