//! What a statement answers with.

use std::pin::Pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::encode::types::{Format, OutputColumn};
use crate::error::Result;

/// Batches of rows; dropping it stops the work behind it.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// Pieces of a COPY … TO STDOUT, each a whole number of CopyData payloads' bytes; sent as CopyData messages as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// What running a statement gives.
pub enum Output {
    /// Rows, streamed. `tag` is the word of the command tag that takes a count (`SELECT`, `FETCH`), or a whole tag (`SHOW`).
    Rows {
        columns: Arc<[OutputColumn]>,
        stream: BatchStream,
        tag: RowsTag,
    },
    /// No rows: the command tag, e.g. `CREATE TABLE`, `INSERT 0 5`.
    Done(String),
    /// Nothing to run: EmptyQueryResponse.
    Empty,
    CopyIn(CopyIn),
    CopyOut(CopyOut),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowsTag {
    /// `SELECT n`, `FETCH n`.
    Counted(&'static str),
    /// `SHOW`, `EXPLAIN`, `EXECUTE`'s own.
    Fixed(&'static str),
    /// Known when the rows begin: `UPDATE 3`.
    Whole(String),
}

impl RowsTag {
    /// The command tag after `rows` rows.
    pub fn tag(&self, rows: u64) -> String {
        match self {
            Self::Counted(word) => format!("{word} {rows}"),
            Self::Fixed(tag) => (*tag).to_owned(),
            Self::Whole(tag) => tag.clone(),
        }
    }
}

/// COPY … FROM STDIN: the client's data goes into the sink.
pub struct CopyIn {
    /// The overall format, and that of each column, for CopyInResponse.
    pub format: Format,
    pub columns: usize,
    pub sink: Box<dyn CopySink>,
}

/// Takes the client's data. Dropping it without `finish` commits nothing.
#[async_trait]
pub trait CopySink: Send {
    /// One CopyData payload, split wherever the client liked. Waits when the writers are behind (bounded memory).
    async fn write(&mut self, data: Bytes) -> Result<()>;
    /// CopyDone: commits and answers the command tag, `COPY n`.
    async fn finish(self: Box<Self>) -> Result<String>;
    /// CopyFail: commits nothing. Answers 57014 with the client's text.
    async fn abort(self: Box<Self>, reason: &str);
}

/// COPY … TO STDOUT.
pub struct CopyOut {
    pub format: Format,
    pub columns: usize,
    /// CopyData messages, whole ones in each piece.
    pub stream: ByteStream,
    /// Filled with the number of rows when the stream has ended.
    pub rows: Arc<std::sync::atomic::AtomicU64>,
}
