//! One file on its way into the store: encoded and compressed off the async threads, uploaded in parts.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::writer::Writer;
use crate::error::{Error, Result, SqlState};

/// Parts of an upload under way at a time.
const PARTS_AHEAD: usize = 4;
/// A part of an upload: S3 wants at least 5 MiB and takes at most 10,000 of them.
pub(super) const PART_BYTES: usize = 16 << 20;

/// A file that is being written.
pub(super) struct File {
    /// Away only while it works on the blocking pool.
    writer: Option<Writer>,
    squeeze: Squeeze,
    upload: Upload,
    pub(super) bytes_written: u64,
    pub(super) rows_written: u64,
}

impl File {
    /// Begins a file that cannot be seen before its upload is completed.
    pub(super) async fn open(
        store: &Arc<dyn ObjectStore>,
        path: Path,
        writer: Writer,
        squeeze: Squeeze,
    ) -> Result<Self> {
        let upload = Upload::open(store, path).await?;
        Ok(Self { writer: Some(writer), squeeze, upload, bytes_written: 0, rows_written: 0 })
    }

    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Err(Error::internal("the file was ended")) };
        self.rows_written += batch.num_rows() as u64;
        let encoded = tokio::task::spawn_blocking(move || {
            let bytes = writer.write(&batch);
            (writer, bytes)
        });
        let (writer, bytes) = encoded.await.map_err(|error| Error::internal(error.to_string()))?;
        self.writer = Some(writer);
        self.send(bytes?).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        let bytes = self.squeeze.push(bytes).await?;
        self.bytes_written += bytes.len() as u64;
        self.upload.send(bytes).await
    }

    /// Everything is uploaded; the file can still not be seen.
    pub(super) async fn end(mut self) -> Result<Upload> {
        let Some(writer) = self.writer.take() else { return Err(Error::internal("the file was ended")) };
        let last = tokio::task::spawn_blocking(move || writer.finish()).await;
        let last = last.map_err(|error| Error::internal(error.to_string()))??;
        self.send(last).await?;
        let tail = self.squeeze.finish().await?;
        self.upload.send(tail).await?;
        self.upload.flush().await?;
        Ok(self.upload)
    }
}

/// The compression of a text file.
pub(super) enum Squeeze {
    None,
    Gzip(GzipEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Squeeze {
    async fn push(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip(encoder) => {
                encoder.write_all(&bytes).await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&bytes).await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    async fn finish(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Gzip(encoder) => {
                encoder.shutdown().await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.shutdown().await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }
}

/// An upload that aborts itself unless it is completed.
pub(super) struct Upload {
    path: Path,
    inner: Option<Box<dyn MultipartUpload>>,
    pending: Vec<u8>,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    pub(super) async fn open(store: &Arc<dyn ObjectStore>, path: Path) -> Result<Self> {
        let upload = store.put_multipart(&path).await.map_err(not_opened)?;
        Ok(Self { path, inner: Some(upload), pending: Vec::new(), parts: JoinSet::new() })
    }

    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        if self.pending.is_empty() {
            self.pending = bytes;
        } else {
            self.pending.extend_from_slice(&bytes);
        }
        while self.pending.len() >= PART_BYTES {
            let rest = self.pending.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.pending, rest);
            self.put(part).await?;
        }
        Ok(())
    }

    async fn put(&mut self, part: Vec<u8>) -> Result<()> {
        while self.parts.len() >= PARTS_AHEAD {
            self.one_part().await?;
        }
        if let Some(upload) = &mut self.inner {
            self.parts.spawn(upload.put_part(part.into()));
        }
        Ok(())
    }

    async fn one_part(&mut self) -> Result<()> {
        match self.parts.join_next().await {
            Some(done) => Ok(done.map_err(|error| Error::internal(error.to_string()))??),
            None => Ok(()),
        }
    }

    /// Everything is in the store, and nothing of it here.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let last = std::mem::take(&mut self.pending);
        if !last.is_empty() {
            self.put(last).await?;
        }
        while !self.parts.is_empty() {
            self.one_part().await?;
        }
        Ok(())
    }

    /// The file appears; its path.
    pub(super) async fn complete(mut self) -> Result<Path> {
        if let Some(mut upload) = self.inner.take() {
            upload.complete().await?;
        }
        Ok(self.path.clone())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.inner.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let mut parts = std::mem::take(&mut self.parts);
        // Nobody can wait for it here; a store forgets unfinished uploads in the end anyway.
        drop(runtime.spawn(async move {
            parts.shutdown().await;
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an unfinished upload could not be aborted");
            }
        }));
    }
}

fn not_opened(error: object_store::Error) -> Error {
    let missing = match &error {
        // A cloud's store misses the bucket, not a folder.
        object_store::Error::NotFound { path, source } if source.is::<std::io::Error>() => Some(path.clone()),
        _ => None,
    };
    match missing {
        Some(path) => {
            let message = format!("could not open file \"{path}\" for writing: No such file or directory");
            Error::new(SqlState::UndefinedFile, message)
        }
        None => error.into(),
    }
}
