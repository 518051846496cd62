//! COPY and COPY INTO, as they are read.

use sqlparser::ast;

use super::statement::{Name, QualifiedName};

/// Formats of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
    Json,
    Parquet,
    Avro,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Snappy,
}

/// Options of COPY and of the `read_…` functions, each `None` where the user said nothing.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    pub format: Option<CopyFormat>,
    pub header: Option<CopyHeader>,
    pub delimiter: Option<u8>,
    pub null: Option<String>,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub force_quote: Option<CopyColumns>,
    pub force_null: Vec<Name>,
    pub force_not_null: Vec<Name>,
    pub encoding: Option<String>,
    pub compression: Option<Compression>,
    /// Columns whose values make folders.
    pub partition_by: Vec<Name>,
    pub max_file_bytes: Option<u64>,
    pub max_file_rows: Option<u64>,
    /// Files that are in the folder go, or stay.
    pub overwrite: bool,
    pub append: bool,
    /// ON_ERROR ignore.
    pub ignore_errors: bool,
    pub reject_limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyHeader {
    Absent,
    Present,
    /// HEADER MATCH: names are compared with the columns.
    Match,
}

#[derive(Debug, Clone)]
pub enum CopyColumns {
    All,
    Named(Vec<Name>),
}

/// The other end of a COPY: the client, or a path or URL (with the text's position).
#[derive(Debug, Clone)]
pub enum CopyEnd {
    Client,
    Location(String, u32),
}

#[derive(Debug, Clone)]
pub struct CopyFrom {
    pub table: QualifiedName,
    pub columns: Vec<Name>,
    pub source: CopyEnd,
    pub options: CopyOptions,
}

#[derive(Debug, Clone)]
pub struct CopyTo {
    pub source: CopySource,
    pub target: CopyEnd,
    pub options: CopyOptions,
}

#[derive(Debug, Clone)]
pub enum CopySource {
    Table { name: QualifiedName, columns: Vec<Name> },
    Query(Box<ast::Query>),
}

/// COPY INTO: files of a place are loaded, each once.
#[derive(Debug, Clone)]
pub struct CopyInto {
    pub table: QualifiedName,
    /// The path or URL with its position in the text; in a query, that of the file that it reads.
    pub location: String,
    pub position: u32,
    /// `FROM (SELECT … FROM '…')`.
    pub query: Option<Box<ast::Query>>,
    pub format: CopyFormat,
    /// Names below the location.
    pub files: Vec<String>,
    /// A glob over the names below the location.
    pub pattern: Option<String>,
    pub format_options: Vec<LoadOption>,
    pub copy_options: Vec<LoadOption>,
}

/// `'header' = 'true'` in FORMAT_OPTIONS and COPY_OPTIONS.
#[derive(Debug, Clone)]
pub struct LoadOption {
    pub name: String,
    pub value: String,
    pub position: u32,
}
