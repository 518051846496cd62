//! The kernel's engine behind a fence: its handlers open, list and write what lies in one table's folder.
//!
//! The kernel joins what a log says to the log's URL, so that `..` and whole URLs get through, and its handlers look at a URL's
//! path alone, or send a request to where it leads if it looks presigned. Here each URL is looked at before a handler sees it.
//! `read_files` makes another key of a path than the check does, one that is encoded once more: that it stays in the folder too is
//! up to the store behind the handlers, [`ConfinedStore`](crate::lake::stores::confined::ConfinedStore).

use std::sync::Arc;

use bytes::Bytes;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{
    CancellationTokenRef, DeltaResult, DeltaResultIterator, DeltaResultIteratorStatic, Engine, EngineData,
    EvaluationHandler, FileDataReadResultIterator, FileMeta, FileSize, FileSlice, FilteredEngineData, JsonHandler,
    ParquetFooter, ParquetHandler, PredicateRef, StorageHandler,
};
use url::Url;

use crate::error::{Error, SqlState};
use crate::lake::stores::bounds::{Folder, names_outside};

/// Refuses a URL of another store than the folder's, or of another folder.
///
/// # Errors
/// XX001, wrapped so that it comes back whole from delta-rs.
fn check(folder: &Folder, url: &Url) -> DeltaResult<()> {
    if folder.holds(url) {
        return Ok(());
    }
    let error = Error::new(SqlState::DataCorrupted, names_outside(folder.url(), url.as_str()));
    Err(delta_kernel::Error::generic_err(error))
}

fn check_files(folder: &Folder, files: &[FileMeta]) -> DeltaResult<()> {
    files.iter().try_for_each(|file| check(folder, &file.location))
}

fn check_slices(folder: &Folder, slices: &[FileSlice]) -> DeltaResult<()> {
    slices.iter().try_for_each(|(url, _)| check(folder, url))
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
        check(&self.folder, path)?;
        self.inner.list_from(path)
    }

    fn list_from_with_cancellation(
        &self,
        path: &Url,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<FileMeta>>>> {
        check(&self.folder, path)?;
        self.inner.list_from_with_cancellation(path, cancellation_token)
    }

    fn read_files(&self, files: Vec<FileSlice>) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<Bytes>>>> {
        check_slices(&self.folder, &files)?;
        self.inner.read_files(files)
    }

    fn read_files_with_cancellation(
        &self,
        files: Vec<FileSlice>,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<Box<dyn Iterator<Item = DeltaResult<Bytes>>>> {
        check_slices(&self.folder, &files)?;
        self.inner.read_files_with_cancellation(files, cancellation_token)
    }

    fn copy_atomic(&self, src: &Url, dest: &Url) -> DeltaResult<()> {
        check(&self.folder, src)?;
        check(&self.folder, dest)?;
        self.inner.copy_atomic(src, dest)
    }

    fn put(&self, path: &Url, data: Bytes, overwrite: bool) -> DeltaResult<()> {
        check(&self.folder, path)?;
        self.inner.put(path, data, overwrite)
    }

    fn head(&self, path: &Url) -> DeltaResult<FileMeta> {
        check(&self.folder, path)?;
        self.inner.head(path)
    }

    fn delete(&self, path: &Url) -> DeltaResult<()> {
        check(&self.folder, path)?;
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
        check_files(&self.folder, files)?;
        self.inner.read_json_files(files, physical_schema, predicate)
    }

    fn read_json_files_with_cancellation(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<FileDataReadResultIterator> {
        check_files(&self.folder, files)?;
        self.inner.read_json_files_with_cancellation(files, physical_schema, predicate, cancellation_token)
    }

    fn write_json_file(
        &self,
        path: &Url,
        data: DeltaResultIterator<'_, FilteredEngineData>,
        overwrite: bool,
    ) -> DeltaResult<FileSize> {
        check(&self.folder, path)?;
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
        check_files(&self.folder, files)?;
        self.inner.read_parquet_files(files, physical_schema, predicate)
    }

    fn read_parquet_files_with_cancellation(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<FileDataReadResultIterator> {
        check_files(&self.folder, files)?;
        self.inner.read_parquet_files_with_cancellation(files, physical_schema, predicate, cancellation_token)
    }

    fn write_parquet_file(
        &self,
        location: Url,
        data: DeltaResultIteratorStatic<Box<dyn EngineData>>,
    ) -> DeltaResult<()> {
        check(&self.folder, &location)?;
        self.inner.write_parquet_file(location, data)
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> DeltaResult<ParquetFooter> {
        check(&self.folder, &file.location)?;
        self.inner.read_parquet_footer(file)
    }

    fn read_parquet_footer_with_cancellation(
        &self,
        file: &FileMeta,
        cancellation_token: Option<CancellationTokenRef>,
    ) -> DeltaResult<ParquetFooter> {
        check(&self.folder, &file.location)?;
        self.inner.read_parquet_footer_with_cancellation(file, cancellation_token)
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

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
            assert!(check(&folder(), &url(inside)).is_ok(), "{inside}");
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
            assert!(check(&folder(), &url(outside)).is_err(), "{outside}");
        }
    }

    #[test]
    fn the_error_comes_back_from_delta_rs_and_keeps_keys_to_itself() {
        let refused = check(&folder(), &url("http://host/a?sp=secret#f")).unwrap_err();
        let error = Error::from(deltalake::DeltaTableError::from(refused));
        assert_eq!(error.sqlstate(), SqlState::DataCorrupted);
        let expected = "the log of table \"s3://lake/w/t\" names a file outside of its folder: \"http://host/a\"";
        assert_eq!(error.message(), expected);
    }
}
