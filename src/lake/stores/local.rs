//! The local disk as an object store that outlives a loss of power.
//!
//! object_store's own store flushes nothing: after a crash a commit could be there and empty, or name files that are not.
//! Here what others rely on as soon as it can be seen (whatever is put if absent, and every file of a Delta log) is flushed
//! before it gets its name, and its folder after. Data files need that only once a commit names them: [`flush`].
//!
//! Files are staged beside their place under object_store's own name for such files (`name#number`), which listings hide.
//!
//! A listing stays in its folder: what symbolic links lead out to is left out. A name is followed wherever links lead, to be
//! read, written and deleted: it has no folder to stay in, and who takes names from others checks them.

mod staged;
mod within;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use staged::{StagedFile, sync_folder};
pub(in crate::lake) use within::first_outside;

/// Files and folders of one commit that are flushed at a time.
const FLUSHES_MAX: usize = 8;

/// All that can be read below a prefix, also what lies behind links that lead out of it.
pub(super) fn list_linked(prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
    LocalFileSystem::new().list(prefix)
}

/// The local disk, from its root.
#[derive(Debug)]
pub(super) struct LocalDisk {
    inner: LocalFileSystem,
    fsync: bool,
}

impl LocalDisk {
    pub(super) fn new(fsync: bool) -> Self {
        Self { inner: LocalFileSystem::new(), fsync }
    }

    /// Whether the file must be whole when it can be seen, whatever happens.
    fn must_last(&self, location: &Path, mode: &PutMode) -> bool {
        self.fsync && (*mode == PutMode::Create || location.parts().any(|part| part.as_ref() == "_delta_log"))
    }
}

impl fmt::Display for LocalDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for LocalDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            // It refuses them in its own words.
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let lasts = self.must_last(location, &opts.mode);
        unless_abandoned(move |abandoned| {
            let staged = StagedFile::create(path)?;
            let mut offset = 0;
            for bytes in &payload {
                staged.write_at(bytes, offset)?;
                offset += bytes.len() as u64;
            }
            staged.publish(&opts.mode, lasts, abandoned)
        })
        .await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return self.inner.put_multipart_opts(location, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let lasts = self.must_last(location, &PutMode::Overwrite);
        let staged = blocking(move || StagedFile::create(path)).await?;
        Ok(Box::new(Upload { staged: Some(Arc::new(staged)), offset: 0, lasts }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        within::files(self.inner.list(prefix), prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        within::files(self.inner.list_with_offset(prefix, offset), prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        within::level(self.inner.list_with_delimiter(prefix).await?, prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// A file that is written in parts, on the blocking pool.
#[derive(Debug)]
struct Upload {
    /// Away once it is completed or aborted.
    staged: Option<Arc<StagedFile>>,
    offset: u64,
    lasts: bool,
}

fn ended() -> object_store::Error {
    object_store::Error::Generic { store: "LocalDisk", source: "the upload has ended".into() }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        let staged = self.staged.clone();
        Box::pin(blocking(move || {
            let staged = staged.ok_or_else(ended)?;
            for bytes in &data {
                staged.write_at(bytes, offset)?;
                offset += bytes.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(ended)?;
        let lasts = self.lasts;
        unless_abandoned(move |abandoned| staged.publish(&PutMode::Overwrite, lasts, abandoned)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.take().ok_or_else(ended)?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Removing a large file takes a while.
        if let (Some(staged), Ok(runtime)) = (self.staged.take(), tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(staged)));
        }
    }
}

/// Work that is told when nobody waits for it any more: it cannot be stopped, and must not leave what nobody knows of.
async fn unless_abandoned<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct Waiting(Arc<AtomicBool>);
    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let abandoned = Arc::new(AtomicBool::new(false));
    let _waiting = Waiting(Arc::clone(&abandoned));
    blocking(move || work(&abandoned)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Flushes files below `root` that a commit is about to name, and the folders that hold them; those above `root` too when the
/// table is new.
///
/// # Errors
/// The disk's: then nothing may name the files.
pub(in crate::lake) async fn flush(root: PathBuf, files: Vec<PathBuf>, is_new: bool) -> std::io::Result<()> {
    let mut folders = BTreeSet::new();
    for file in &files {
        let below_root = file.ancestors().skip(1).take_while(|folder| folder.starts_with(&root));
        folders.extend(below_root.map(FilePath::to_path_buf));
    }
    let work: Vec<Flush> = files.into_iter().map(Flush::File).chain(folders.into_iter().map(Flush::Folder)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for share in work.chunks(work.len().div_ceil(FLUSHES_MAX).max(1)) {
        let share = share.to_vec();
        tasks.spawn_blocking(move || share.iter().try_for_each(Flush::run));
    }
    if is_new {
        tasks.spawn_blocking(move || {
            for folder in root.ancestors().skip(1) {
                // A folder that we may pass through but not read is not one that we made.
                let _not_ours = sync_folder(folder);
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(std::io::Error::other)??;
    }
    Ok(())
}

/// Something to be flushed.
#[derive(Debug, Clone)]
enum Flush {
    File(PathBuf),
    Folder(PathBuf),
}

impl Flush {
    fn run(&self) -> std::io::Result<()> {
        match self {
            Self::File(path) => std::fs::File::open(path)?.sync_all(),
            Self::Folder(path) => sync_folder(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn inside(folder: &tempfile::TempDir, name: &str) -> Path {
        Path::from_absolute_path(folder.path().join(name)).unwrap()
    }

    #[tokio::test]
    async fn a_file_is_put_whole_and_only_once_if_absent() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(true);
        let key = inside(&folder, "a/_delta_log/0.json");
        let once = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        disk.put_opts(&key, vec![1; 3].into(), once.clone()).await.unwrap();
        let again = disk.put_opts(&key, vec![2; 5].into(), once).await.unwrap_err();
        assert!(matches!(again, object_store::Error::AlreadyExists { .. }), "{again}");
        assert_eq!(disk.get(&key).await.unwrap().bytes().await.unwrap(), vec![1; 3]);
        disk.put(&key, vec![4; 2].into()).await.unwrap();
        assert_eq!(disk.get(&key).await.unwrap().bytes().await.unwrap(), vec![4; 2]);
        let names = std::fs::read_dir(folder.path().join("a/_delta_log")).unwrap();
        assert_eq!(names.count(), 1, "staged files stay behind");
    }

    #[tokio::test]
    async fn parts_come_together_and_an_aborted_upload_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(true);
        let key = inside(&folder, "x/_delta_log/c.parquet");
        let mut upload = disk.put_multipart(&key).await.unwrap();
        let (first, second) = (upload.put_part(vec![1; 3].into()), upload.put_part(vec![2; 2].into()));
        second.await.unwrap();
        first.await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(disk.get(&key).await.unwrap().bytes().await.unwrap(), vec![1, 1, 1, 2, 2]);
        let mut aborted = disk.put_multipart(&inside(&folder, "y/z")).await.unwrap();
        aborted.put_part(vec![1].into()).await.unwrap();
        aborted.abort().await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("y")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_takes_no_files_is_an_error_and_no_endless_loop() {
        let disk = LocalDisk::new(false);
        let key = Path::from("proc/lakegate-cannot-be-here");
        let put = disk.put(&key, vec![1].into()).await.unwrap_err();
        assert!(matches!(put, object_store::Error::NotFound { .. }), "{put}");
        assert!(disk.put_multipart(&key).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_gone_cannot_be_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let (root, file) = (folder.path().join("t"), folder.path().join("t/p=1/f"));
        std::fs::create_dir_all(root.join("p=1")).unwrap();
        std::fs::write(&file, "x").unwrap();
        flush(root.clone(), vec![file.clone()], true).await.unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(flush(root, vec![file], false).await.is_err());
    }
}
