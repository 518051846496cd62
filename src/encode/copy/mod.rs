//! COPY's three formats, both ways: bytes ⇄ `RecordBatch`. Pure and synchronous.
//!
//! Reading has two stages, so that the second can run on every core:
//!
//! ```text
//! pieces of any size ─ Splitter ─→ Chunk (whole records, 1–4 MB) ─ ChunkDecoder ─→ RecordBatch of ≤ 8192 rows
//!                     (in order, cheap)                           (any order, any thread)
//! ```
//!
//! Writing is one stage: [`Encoder`] appends whole rows to a buffer, each in a CopyData message if asked. Neither side knows
//! files or tables; `execute` and `lake::files` call them. The rules are PostgreSQL 15's `copyfromparse.c` and `copyto.c`; ON_ERROR
//! and REJECT_LIMIT are PostgreSQL 17's and 18's.

mod binary_value;
mod cell;
mod column;
mod decode;
mod encode;
mod field;
mod index;
mod json;
mod options;
mod sample;
mod spelling;
mod split;

#[cfg(test)]
mod tests;

pub use column::ColumnBuilder;
pub use decode::{BATCH_ROWS_MAX, ChunkDecoder, Decoded, REJECTS_LISTED_MAX, Reject, cut_rejected};
pub use encode::Encoder;
pub use json::JsonEncoder;
pub use options::{Encoding, ForceQuote, Format, Header, OnError, Options, RequestedOptions};
pub use sample::sample_rows;
pub use spelling::{FormatLetters, Spelling, date_format};
pub use split::{CHUNK_BYTES, Chunk, Newline, RECORD_BYTES_MAX, Splitter};
