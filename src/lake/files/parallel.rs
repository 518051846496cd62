//! Chunks decoded on several cores: one reader, a bounded channel and a thread of the blocking pool per partition.
//!
//! ```text
//!                      ┌─ channel (2) ─ decoder thread ─ channel (2) ─→ partition 0
//! chunks ─ reader task ┤
//!                      └─ channel (2) ─ decoder thread ─ channel (2) ─→ partition 1
//! ```
//!
//! The reader gives each chunk to whoever has room, so a slow consumer holds back only its own partition; rows of
//! different partitions have no order. What is held is bounded by the channels. Dropping all partitions ends the reader and
//! the decoders; dropping one means that its share of the rows is not wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::encode::copy::{Chunk, ChunkDecoder, Decoded, REJECTS_LISTED_MAX, Reject};
use crate::error::{Error, Result, SqlState};

/// Chunks that wait for one decoder, and batches that wait for one consumer.
const WAITING_MAX: usize = 2;

/// Turns pieces of a file or stream into record batches; shared by the threads that do.
pub trait Decode: Send + Sync + 'static {
    /// Some whole records.
    type Piece: Send + 'static;

    /// The schema of the batches.
    fn schema(&self) -> SchemaRef;

    /// The rows of a piece, on their own. Pure; called on several threads.
    fn decode(&self, piece: &Self::Piece) -> Result<Decoded>;
}

impl Decode for ChunkDecoder {
    type Piece = Chunk;

    fn schema(&self) -> SchemaRef {
        self.schema().clone()
    }

    fn decode(&self, piece: &Chunk) -> Result<Decoded> {
        self.decode(piece)
    }
}

/// The rows that ON_ERROR ignore left out, counted over all partitions.
#[derive(Debug, Default)]
pub struct Rejections {
    limit: Option<u64>,
    count: AtomicU64,
    listed: Mutex<Vec<Reject>>,
}

impl Rejections {
    /// Counts; more than `limit` is an error.
    pub fn with_limit(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit, ..Self::default() })
    }

    /// How many rows were left out so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The first of them, at most [`REJECTS_LISTED_MAX`], in no particular order.
    pub fn listed(&self) -> Vec<Reject> {
        self.listed.lock().clone()
    }

    fn add(&self, decoded: &mut Decoded) -> Result<()> {
        if decoded.rejected == 0 {
            return Ok(());
        }
        let count = self.count.fetch_add(decoded.rejected, Ordering::Relaxed) + decoded.rejected;
        let mut listed = self.listed.lock();
        let room = REJECTS_LISTED_MAX.saturating_sub(listed.len());
        listed.extend(decoded.rejects.drain(..).take(room));
        match self.limit {
            Some(limit) if count > limit => Err(Error::new(
                SqlState::InvalidTextRepresentation,
                format!("skipped more than REJECT_LIMIT ({limit}) rows due to data type incompatibility"),
            )),
            _ => Ok(()),
        }
    }
}

/// The partitions' streams. The reader lives as long as any of them.
pub type RowStreams = Vec<SendableRecordBatchStream>;

/// Decodes `pieces` into as many streams as `parallelism` says (at least one). Must be called inside a tokio runtime.
///
/// Errors of the pieces and of the decoder come out of one of the streams and end the reader; the other streams end early, so
/// a caller must read all of them before it believes that it has everything.
pub fn decode_parallel<D: Decode>(
    pieces: impl Stream<Item = Result<D::Piece>> + Send + 'static,
    decoder: Arc<D>,
    parallelism: usize,
    rejections: Arc<Rejections>,
) -> RowStreams {
    let mut senders = Vec::new();
    let mut builders = Vec::new();
    let complete = Arc::new(AtomicBool::new(false));
    for _ in 0..parallelism.max(1) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut builder = RecordBatchReceiverStreamBuilder::new(decoder.schema(), WAITING_MAX);
        let (decoder, rejections, complete) = (decoder.clone(), rejections.clone(), complete.clone());
        let output = builder.tx();
        builder.spawn_blocking(move || {
            decode_all(decoder.as_ref(), receiver, &rejections, &output, &complete);
            Ok(())
        });
        senders.push(sender);
        builders.push(builder);
    }
    let reader = Arc::new(AbortOnDropHandle::new(tokio::spawn(distribute(pieces, senders, complete))));
    builders.into_iter().map(|builder| keep(builder.build(), reader.clone())).collect()
}

/// The stream, keeping the reader alive.
fn keep(stream: SendableRecordBatchStream, reader: Arc<AbortOnDropHandle<()>>) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let kept = stream.inspect(move |_| {
        let _reader = &reader;
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, kept))
}

/// Gives each piece to a decoder that has room, in turn; stops at the first error or when nobody listens.
async fn distribute<P: Send + 'static>(
    pieces: impl Stream<Item = Result<P>> + Send + 'static,
    mut senders: Vec<mpsc::Sender<Result<P>>>,
    complete: Arc<AtomicBool>,
) {
    futures::pin_mut!(pieces);
    while let Some(piece) = pieces.next().await {
        let failed = piece.is_err();
        if !give(piece, &mut senders).await || failed {
            break;
        }
    }
    complete.store(true, Ordering::Release);
}

/// Whether anybody took the piece.
async fn give<P: Send + 'static>(piece: Result<P>, senders: &mut Vec<mpsc::Sender<Result<P>>>) -> bool {
    let mut piece = Some(piece);
    while !senders.is_empty() {
        let (at, taken) = offer(&mut piece, senders).await;
        if taken {
            // Turns are taken by rotation: whoever was served goes last.
            senders.rotate_left(at + 1);
            return true;
        }
        senders.swap_remove(at);
    }
    false
}

/// Waits for the first decoder with room; which it was, and whether it took the piece or has gone.
async fn offer<P: Send + 'static>(piece: &mut Option<Result<P>>, senders: &[mpsc::Sender<Result<P>>]) -> (usize, bool) {
    let waiting = senders.iter().map(|sender| Box::pin(sender.reserve()));
    let (permit, at, _others) = futures::future::select_all(waiting).await;
    match (permit, piece.take()) {
        (Ok(permit), Some(taken)) => {
            permit.send(taken);
            (at, true)
        }
        (_, kept) => {
            *piece = kept;
            (at, false)
        }
    }
}

/// A decoder's thread: ends when the reader or the consumer does.
fn decode_all<D: Decode>(
    decoder: &D,
    mut pieces: mpsc::Receiver<Result<D::Piece>>,
    rejections: &Rejections,
    output: &mpsc::Sender<datafusion::error::Result<arrow::array::RecordBatch>>,
    complete: &AtomicBool,
) {
    while let Some(piece) = pieces.blocking_recv() {
        let decoded = piece.and_then(|piece| decoder.decode(&piece)).and_then(|mut decoded| {
            rejections.add(&mut decoded)?;
            Ok(decoded.batches)
        });
        match decoded {
            Ok(batches) => {
                for batch in batches {
                    if output.blocking_send(Ok(batch)).is_err() {
                        return;
                    }
                }
            }
            Err(error) => return tell(output, error),
        }
    }
    // A reader that died must not look like the end of the data.
    if !complete.load(Ordering::Acquire) {
        tell(output, Error::internal("the reading of the data broke off"));
    }
}

/// Ends a partition with an error. Nobody to tell it to is nobody who wants to know.
fn tell(output: &mpsc::Sender<datafusion::error::Result<arrow::array::RecordBatch>>, error: Error) {
    let _nobody = output.blocking_send(Err(error.into_datafusion()));
}
