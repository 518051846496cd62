//! Files that are no tables: listed, understood, read and written. CSV, JSON, Parquet and Avro.
//!
//! ```text
//! FileSet::find(path or glob) ─→ infer(sample) ─→ table() ─→ scan, with pushdown and on every core
//!   text formats:  blocks of a file ─ splitter ─→ chunks ─ bounded channels ─→ decoders (one per partition)
//!   columnar ones: DataFusion's readers over our list of files
//! write(batches) ─→ one file, or numbered part files, visible only when whole
//! ```
//!
//! It does not resolve URLs, check privileges or know SQL: `plan` and `execute` hand it a store and a path. Its
//! [`decode_parallel`] serves COPY FROM STDIN as well.

mod columnar;
mod export;
mod format;
mod headers;
mod hive;
mod infer;
mod json;
mod json_text;
mod list;
mod parallel;
mod prune;
mod read;
mod roots;
mod scan;
mod table;
mod text_encoding;

#[cfg(test)]
mod tests;

pub use export::{Existing, ExportFormat, ExportOptions, ExportTarget, write, write_whole};
pub use format::{Compression, FileFormat, FileOptions, HeaderChoice};
pub use infer::infer;
pub use parallel::{Decode, Rejections, RowStreams, decode_parallel};
pub use roots::check_within;
pub use table::{FILE_COLUMN, FILE_MODIFIED_COLUMN, FileSet, FileTable, LINE_COLUMN, table};
pub use text_encoding::FileEncoding;
