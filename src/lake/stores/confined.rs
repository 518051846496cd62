//! A store of which one folder is all that there is.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Passes on what is asked of the folder, with the store's own keys. Outside of it there is nothing: whatever is asked there
/// is answered with `NotFound`, without a request.
///
/// Nothing harder than that: where the folder's name has a space or `%`, delta-rs asks for `_last_checkpoint` under a key that it has
/// encoded once too often, and goes on without it.
///
/// Of what the server calls, only the kernel lists with an offset, and it takes the keys for paths of URLs: it gets them with `%` and `\` encoded, for what it
/// makes of them is decoded before it is opened.
#[derive(Debug)]
pub struct ConfinedStore {
    inner: Arc<dyn ObjectStore>,
    folder: Path,
}

impl ConfinedStore {
    /// The store as far as that folder.
    pub fn new(inner: Arc<dyn ObjectStore>, folder: Path) -> Self {
        Self { inner, folder }
    }

    fn check(&self, path: &Path) -> Result<()> {
        check(&self.folder, path)
    }

    /// A listing without a prefix is one of the whole store.
    fn check_prefix(&self, prefix: Option<&Path>) -> Result<()> {
        self.check(prefix.unwrap_or(&Path::default()))
    }
}

fn check(folder: &Path, path: &Path) -> Result<()> {
    if path.prefix_matches(folder) {
        return Ok(());
    }
    Err(Error::NotFound { path: path.to_string(), source: format!("it lies outside of \"{folder}\"").into() })
}

/// The file with what `Url::set_path` leaves alone encoded in its key.
fn as_path_of_url(mut file: ObjectMeta) -> Result<ObjectMeta> {
    let key = file.location.as_ref();
    if key.contains(['%', '\\']) {
        file.location = Path::parse(key.replace('%', "%25").replace('\\', "%5C"))?;
    }
    Ok(file)
}

fn failed(error: Error) -> BoxStream<'static, Result<ObjectMeta>> {
    futures::stream::iter([Err(error)]).boxed()
}

impl fmt::Display for ConfinedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Confined({} of {})", self.folder, self.inner)
    }
}

// A method that passes by unchecked would be a way out.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for ConfinedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.check(location)?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let folder = self.folder.clone();
        let checked = locations.map(move |path| path.and_then(|path| check(&folder, &path).map(|()| path)));
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => failed(error),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.inner.list_with_offset(prefix, offset).map(|listed| listed.and_then(as_path_of_url)).boxed(),
            Err(error) => failed(error),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_prefix(prefix)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn there_is_nothing_outside_of_the_folder() {
        let inner = Arc::new(InMemory::new());
        let (inside, beside) = (Path::from("w/t/a"), Path::from("w/tt/a"));
        for path in [&inside, &beside] {
            inner.put(path, "x".into()).await.unwrap();
        }
        let store = ConfinedStore::new(Arc::clone(&inner) as Arc<dyn ObjectStore>, Path::from("w/t"));
        assert_eq!(store.head(&inside).await.unwrap().size, 1);
        let listed: Vec<ObjectMeta> = store.list(Some(&Path::from("w/t"))).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        let missing = |error: &Error| matches!(error, Error::NotFound { .. });
        assert!(missing(&store.get(&beside).await.unwrap_err()));
        assert!(missing(&store.put(&beside, "y".into()).await.unwrap_err()));
        assert!(missing(&store.put_multipart(&beside).await.unwrap_err()));
        assert!(missing(&store.delete(&beside).await.unwrap_err()));
        assert!(missing(&store.copy(&beside, &inside).await.unwrap_err()));
        assert!(missing(&store.rename(&inside, &beside).await.unwrap_err()));
        assert!(missing(&store.list_with_delimiter(None).await.unwrap_err()));
        for prefix in [None, Some(Path::from("w")), Some(Path::from("w/tt"))] {
            let listed: Result<Vec<ObjectMeta>> = store.list(prefix.as_ref()).try_collect().await;
            assert!(missing(&listed.unwrap_err()), "{prefix:?}");
            let listed: Result<Vec<ObjectMeta>> =
                store.list_with_offset(prefix.as_ref(), &Path::default()).try_collect().await;
            assert!(missing(&listed.unwrap_err()), "{prefix:?}");
        }
        assert_eq!(inner.get(&beside).await.unwrap().bytes().await.unwrap(), "x");
        store.delete(&inside).await.unwrap();
        assert!(missing(&inner.head(&inside).await.unwrap_err()));
    }

    #[tokio::test]
    async fn keys_listed_with_an_offset_are_paths_of_urls() {
        let inner = Arc::new(InMemory::new());
        let folder = Path::parse("w/t%2e%41\\b c").unwrap();
        let file = folder.clone().join("50 %");
        inner.put(&file, "x".into()).await.unwrap();
        let store = ConfinedStore::new(inner as Arc<dyn ObjectStore>, folder.clone());
        let listed: Vec<ObjectMeta> = store.list_with_offset(Some(&folder), &folder).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        let mut url = url::Url::parse("s3://lake/").unwrap();
        url.set_path(&format!("/{}", listed[0].location));
        assert_eq!(Path::from_url_path(url.path()).unwrap(), file);
    }
}
