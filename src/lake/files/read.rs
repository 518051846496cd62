//! A file's bytes: read in large blocks ahead of who consumes them, decompressed on the way.

use std::sync::Arc;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use super::format::Compression;
use crate::error::{Error, Result, SqlState};

/// One request to the store.
pub(super) const BLOCK_BYTES: u64 = 4 << 20;
/// Requests under way at a time.
const BLOCKS_AHEAD: usize = 3;
/// What a decompressor gives at a time.
const PLAIN_BYTES: usize = 1 << 20;

/// The file's bytes in order; errors call it `name`. Dropping the stream ends the reading. Errors: the store's, 22P04 for broken compression.
pub(super) fn bytes(
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    name: &str,
    compression: Compression,
    block_bytes: u64,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let name = name.to_owned();
    let raw = blocks(store, file, block_bytes);
    let decompressed: BoxStream<'static, std::io::Result<Bytes>> = match compression {
        Compression::None => return Ok(raw.map_err(Error::from).boxed()),
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(reader(raw));
            decoder.multiple_members(true);
            plain(decoder)
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(reader(raw));
            decoder.multiple_members(true);
            plain(decoder)
        }
        Compression::Bzip2 => {
            let mut decoder = BzDecoder::new(reader(raw));
            decoder.multiple_members(true);
            plain(decoder)
        }
        Compression::Snappy => return Err(Error::unsupported("reading a text file compressed with snappy")),
    };
    Ok(decompressed.map_err(move |error| broken(&name, error)).boxed())
}

fn blocks(
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    block_bytes: u64,
) -> BoxStream<'static, object_store::Result<Bytes>> {
    let size = file.size;
    let starts = (0..size.div_ceil(block_bytes)).map(move |block| block * block_bytes);
    stream::iter(starts)
        .map(move |start| {
            let (store, location) = (store.clone(), file.location.clone());
            async move { store.get_range(&location, start..(start + block_bytes).min(size)).await }
        })
        .buffered(BLOCKS_AHEAD)
        .boxed()
}

type RawReader = StreamReader<BoxStream<'static, std::io::Result<Bytes>>, Bytes>;

fn reader(raw: BoxStream<'static, object_store::Result<Bytes>>) -> RawReader {
    StreamReader::new(raw.map_err(std::io::Error::other).boxed())
}

fn plain(decoder: impl AsyncRead + Send + 'static) -> BoxStream<'static, std::io::Result<Bytes>> {
    ReaderStream::with_capacity(decoder, PLAIN_BYTES).boxed()
}

fn broken(name: &str, error: std::io::Error) -> Error {
    match error.downcast::<object_store::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::new(SqlState::BadCopyFileFormat, format!("could not decompress file \"{name}\""))
            .with_detail(error.to_string()),
    }
}
