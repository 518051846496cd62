//! The kernel's engine behind a fence: its handlers open, list and write what lies in one table's folder.
//!
//! The kernel joins what a log says to the log's URL, so that `..` and whole URLs get through, and its handlers look at a URL's
//! path alone, or send a request to where it leads if it looks presigned. Here each URL is looked at before a handler sees it.

use std::sync::Arc;

use bytes::Bytes;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{
    CancellationTokenRef, DeltaResult, DeltaResultIterator, DeltaResultIteratorStatic, Engine, EngineData,
    EvaluationHandler, FileDataReadResultIterator, FileMeta, FileSize, FileSlice, FilteredEngineData, JsonHandler,
    ParquetFooter, ParquetHandler, PredicateRef, StorageHandler,
};
use object_store::path::Path;
use url::{Position, Url};

use crate::error::{Error, SqlState};

/// What the log of a table may name.
#[derive(Debug)]
pub(super) struct Folder {
    url: Url,
    path: Path,
}

impl Folder {
    /// The folder of that URL, with its key in the store.
    pub(super) fn new(url: Url, path: Path) -> Self {
        Self { url, path }
    }

    /// Refuses a URL of another store, or of another folder.
    ///
    /// # Errors
    /// XX001, wrapped so that it comes back whole from delta-rs.
    fn check(&self, url: &Url) -> DeltaResult<()> {
        let same_store = url[..Position::BeforePath] == self.url[..Position::BeforePath];
        // Handlers find the key in the same way. It cannot have steps upwards, encoded or not.
        let inside = Path::from_url_path(url.path()).is_ok_and(|path| path.prefix_matches(&self.path));
        if same_store && inside { Ok(()) } else { Err(delta_kernel::Error::generic_err(self.refused(url))) }
    }

    fn check_files(&self, files: &[FileMeta]) -> DeltaResult<()> {
        files.iter().try_for_each(|file| self.check(&file.location))
    }

    fn check_slices(&self, slices: &[FileSlice]) -> DeltaResult<()> {
        slices.iter().try_for_each(|(url, _)| self.check(url))
    }

    fn refused(&self, url: &Url) -> Error {
        let table = self.url.as_str().trim_end_matches('/');
        // What follows the path may be a key to the file.
        let file = &url[..Position::AfterPath];
        let message = format!("the log of table \"{table}\" names a file outside of its folder: \"{file}\"");
        Error::new(SqlState::DataCorrupted, message)
    }
}

/// Another engine whose handlers are [`ConfinedHandler`]s.
pub(super) struct ConfinedEngine {
    inner: Arc<dyn Engine>,
    folder: Arc<Folder>,
}

impl ConfinedEngine {
    pub(super) fn new(inner: Arc<dyn Engine>, folder: Arc<Folder>) -> Self {
        Self { inner, folder }
    }
}

// A method that passes by unchecked, here and below, would be a way out.
#[deny(clippy::missing_trait_methods)]
impl Engine for ConfinedEngine {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        self.inner.evaluation_handler()
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        Arc::new(ConfinedHandler { inner: self.inner.storage_handler(), folder: Arc::clone(&self.folder) })
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        Arc::new(ConfinedHandler { inner: self.inner.json_handler(), folder: Arc::clone(&self.folder) })
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        Arc::new(ConfinedHandler { inner: self.inner.parquet_handler(), folder: Arc::clone(&self.folder) })
    }
}

/// A handler that sees URLs of the folder only.
struct ConfinedHandler<H: ?Sized> {
    inner: Arc<H>,
    folder: Arc<Folder>,
}

#[deny(clippy::missing_trait_methods)]
impl StorageHandler for ConfinedHandler<dyn StorageHandler> {
    fn list_from(&self, path: &Url) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<FileMeta>>>> {
        self.folder.check(path)?;
        self.inner.list_from(path)
    }

    fn list_from_with_cancellation(
        &self,
        path: &Url,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<FileMeta>>>> {
        self.folder.check(path)?;
        self.inner.list_from_with_cancellation(path, cancellation_token)
    }

    fn read_files(&self, files: Vec<FileSlice>) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<Bytes>>>> {
        self.folder.check_slices(&files)?;
        self.inner.read_files(files)
    }

    fn read_files_with_cancellation(
        &self,
        files: Vec<FileSlice>,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<Bytes>>>> {
        self.folder.check_slices(&files)?;
        self.inner.read_files_with_cancellation(files, cancellation_token)
    }

    fn copy_atomic(&self, src: &Url, dest: &Url) -> DeltaResult<()> {
        self.folder.check(src)?;
        self.folder.check(dest)?;
        self.inner.copy_atomic(src, dest)
    }

    fn put(&self, path: &Url, data: Bytes, overwrite: bool) -> DeltaResult<()> {
        self.folder.check(path)?;
        self.inner.put(path, data, overwrite)
    }

    fn head(&self, path: &Url) -> DeltaResult<FileMeta> {
        self.folder.check(path)?;
        self.inner.head(path)
    }

    fn delete(&self, path: &Url) -> DeltaResult<()> {
        self.folder.check(path)?;
        self.inner.delete(path)
    }
}

#[deny(clippy::missing_trait_methods)]
impl JsonHandler for ConfinedHandler<dyn JsonHandler> {
    fn parse_json(
        &self,
        json_strings: Box<dyn EngineData>,
        output_schema: SchemaRef,
    ) -> DeltaResult<Box<dyn EngineData>> {
        self.inner.parse_json(json_strings, output_schema)
    }

    fn read_json_files(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
    ) -> DeltaResult<FileDataReadResultIterator> {
        self.folder.check_files(files)?;
        self.inner.read_json_files(files, physical_schema, predicate)
    }

    fn read_json_files_with_cancellation(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<FileDataReadResultIterator> {
        self.folder.check_files(files)?;
        self.inner.read_json_files_with_cancellation(files, physical_schema, predicate, cancellation_token)
    }

    fn write_json_file(
        &self,
        path: &Url,
        data: DeltaResultIterator<'_, FilteredEngineData>,
        overwrite: bool,
    ) -> DeltaResult<FileSize> {
        self.folder.check(path)?;
        self.inner.write_json_file(path, data, overwrite)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ParquetHandler for ConfinedHandler<dyn ParquetHandler> {
    fn read_parquet_files(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
    ) -> DeltaResult<FileDataReadResultIterator> {
        self.folder.check_files(files)?;
        self.inner.read_parquet_files(files, physical_schema, predicate)
    }

    fn read_parquet_files_with_cancellation(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<FileDataReadResultIterator> {
        self.folder.check_files(files)?;
        self.inner.read_parquet_files_with_cancellation(files, physical_schema, predicate, cancellation_token)
    }

    fn write_parquet_file(
        &self,
        location: Url,
        data: DeltaResultIteratorStatic<Box<dyn EngineData>>,
    ) -> DeltaResult<()> {
        self.folder.check(&location)?;
        self.inner.write_parquet_file(location, data)
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> DeltaResult<ParquetFooter> {
        self.folder.check(&file.location)?;
        self.inner.read_parquet_footer(file)
    }

    fn read_parquet_footer_with_cancellation(
        &self,
        file: &FileMeta,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<ParquetFooter> {
        self.folder.check(&file.location)?;
        self.inner.read_parquet_footer_with_cancellation(file, cancellation_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn folder() -> Folder {
        Folder::new(url("s3://lake/w/t/"), Path::from("w/t"))
    }

    #[test]
    fn what_lies_in_the_folder_may_be_named() {
        for inside in [
            "s3://lake/w/t/",
            "s3://lake/w/t/_delta_log/_last_checkpoint",
            "s3://lake/w/%74/a%20b",
            "s3://lake/w/u/../t/a",
        ] {
            assert!(folder().check(&url(inside)).is_ok(), "{inside}");
        }
    }

    #[test]
    fn other_folders_and_stores_may_not_be_named() {
        for outside in [
            "s3://lake/",
            "s3://lake/w",
            "s3://lake/w/tt/a",
            "s3://lake/w/t/../u/a",
            "s3://lake/w/t/%2e%2E/u/a",
            "s3://lake/w/t/..%2fu/a",
            "s3://lake/w/t/%00",
            "s3://other/w/t/a",
            "s3://lake:8080/w/t/a",
            "s3://user@lake/w/t/a",
            "s3a://lake/w/t/a",
            "http://lake/w/t/a?sp=1",
            "s3:///w/t/a",
            "s3:w/t/a",
            "data:w/t/a",
        ] {
            assert!(folder().check(&url(outside)).is_err(), "{outside}");
        }
    }

    #[test]
    fn the_error_comes_back_from_delta_rs_and_keeps_keys_to_itself() {
        let refused = folder().check(&url("http://host/a?sp=secret#f")).unwrap_err();
        let error = Error::from(deltalake::DeltaTableError::from(refused));
        assert_eq!(error.sqlstate(), SqlState::DataCorrupted);
        let expected = "the log of table \"s3://lake/w/t\" names a file outside of its folder: \"http://host/a\"";
        assert_eq!(error.message(), expected);
    }
}
