//! Which format a file has, and the options it is read with.

use super::text_encoding::FileEncoding;
use crate::encode::copy::{self, Encoding, Options};
use crate::error::Result;

/// The formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    Csv,
    /// One value a line, values one after the other, or one array of them.
    Json,
    Parquet,
    Avro,
}

/// How a whole file is compressed; columnar formats compress inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
    /// Read only.
    Bzip2,
    Snappy,
}

/// Whether the first line of a CSV file names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeaderChoice {
    /// Look at the sample.
    #[default]
    Detect,
    Absent,
    Present,
}

/// How files are read.
#[derive(Debug, Clone, PartialEq)]
pub struct FileOptions {
    /// Delimiter, quotes, NULL marker, encoding and ON_ERROR of CSV. Its header is set from `header`.
    pub csv: Options,
    pub header: HeaderChoice,
    /// `None`: by each file's name.
    pub compression: Option<Compression>,
    /// Inference stops after so many rows, bytes (uncompressed) and files.
    pub sample_rows_max: usize,
    pub sample_bytes_max: usize,
    pub sample_files_max: usize,
    pub encoding: FileEncoding,
    /// Each CSV file's header says which columns it has; the table has those of all files. Otherwise all headers must be
    /// the same. Formats that name their columns are always united.
    pub union_by_name: bool,
    /// Names that differ only by case are one column.
    pub any_case: bool,
    /// Whether `key=value` folders are columns.
    pub path_columns: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            csv: Options::defaults(copy::Format::Csv),
            header: HeaderChoice::Detect,
            compression: None,
            sample_rows_max: 20_000,
            sample_bytes_max: 64 << 20,
            sample_files_max: 32,
            encoding: FileEncoding::Marked,
            union_by_name: false,
            any_case: false,
            path_columns: true,
        }
    }
}

impl FileOptions {
    /// Takes the name of an encoding: PostgreSQL's names and UTF-16's. Errors: 22023 and 0A000.
    pub fn set_encoding(&mut self, name: &str) -> Result<()> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        self.encoding = match plain.as_str() {
            "utf16" => FileEncoding::Utf16,
            "utf16le" => FileEncoding::Utf16Le,
            "utf16be" => FileEncoding::Utf16Be,
            _ => {
                self.csv.encoding = Encoding::named(name)?;
                FileEncoding::Marked
            }
        };
        Ok(())
    }

    /// The defaults for a file of this name: a `.tsv` is delimited by tabs.
    pub fn for_name(name: &str) -> Self {
        let mut options = Self::default();
        if stem(name).ends_with(".tsv") {
            options.csv.delimiter = b'\t';
        }
        options
    }
}

impl FileFormat {
    /// The format that a file's name tells, its compression suffix aside.
    pub fn of_name(name: &str) -> Option<Self> {
        match stem(name).rsplit('.').next()? {
            "csv" | "tsv" => Some(Self::Csv),
            "json" | "ndjson" | "jsonl" => Some(Self::Json),
            "parquet" | "parq" => Some(Self::Parquet),
            "avro" => Some(Self::Avro),
            _ => None,
        }
    }
}

impl Compression {
    /// The compression that a file's name tells.
    pub fn of_name(name: &str) -> Self {
        match name.to_ascii_lowercase().rsplit('.').next() {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            Some("bz2") => Self::Bzip2,
            _ => Self::None,
        }
    }
}

/// The name in lower case without the suffix of a compression.
fn stem(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let known = [".gz", ".gzip", ".zst", ".zstd", ".bz2"];
    known.iter().find_map(|suffix| lower.strip_suffix(suffix)).unwrap_or(&lower).to_owned()
}
