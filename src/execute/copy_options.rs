//! COPY's options as the grammar gives them, as `encode` and `lake` take them.

use crate::encode::copy::{ForceQuote, Format, Header, Options, RequestedOptions};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{Compression, FileFormat, FileOptions, HeaderChoice};
use crate::sql::{self, CopyColumns, CopyFormat, CopyHeader, CopyOptions, Name};

type Columns = [(String, PgType)];

/// Options of COPY FROM in a format of the wire.
pub(super) fn reading(options: &CopyOptions, columns: &Columns) -> Result<Options> {
    refuse_folder_options(options, "COPY FROM STDIN")?;
    super::copy_from::check_wire_format(options.format, "FROM")?;
    refuse_compression(options, "COPY FROM STDIN")?;
    Options::for_reading(requested(options, columns)?)
}

/// Options of COPY TO in a format of the wire.
pub(super) fn writing(options: &CopyOptions, columns: &Columns) -> Result<Options> {
    refuse_folder_options(options, "COPY TO STDOUT")?;
    super::copy_from::check_wire_format(options.format, "TO")?;
    refuse_compression(options, "COPY TO STDOUT")?;
    Options::for_writing(requested(options, columns)?)
}

/// Options of COPY TO a file of rows in text; the name may ask for another delimiter.
pub(super) fn writing_file(
    options: &CopyOptions,
    format: Format,
    location: &str,
    columns: &Columns,
) -> Result<Options> {
    let mut requested = requested(options, columns)?;
    requested.format = Some(format);
    delimit_by_name(&mut requested, format, location);
    Options::for_writing(requested)
}

/// A `.tsv` is delimited by tabs unless the statement says otherwise.
fn delimit_by_name(requested: &mut RequestedOptions, format: Format, location: &str) {
    let delimiter = FileOptions::for_name(location).csv.delimiter;
    if format == Format::Csv && requested.delimiter.is_none() && delimiter != b',' {
        requested.delimiter = Some(char::from(delimiter).to_string());
    }
}

/// Options about the files of a folder are refused where there is none to write.
pub(super) fn refuse_folder_options(options: &CopyOptions, what: &str) -> Result<()> {
    let given = [
        ("PARTITION BY", !options.partition_by.is_empty()),
        ("MAX_FILE_SIZE", options.max_file_bytes.is_some()),
        ("MAX_FILE_ROWS", options.max_file_rows.is_some()),
        ("OVERWRITE", options.overwrite),
        ("APPEND", options.append),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::unsupported(format!("{name} with {what}"))
            .with_hint("It is about the files of a folder: COPY … TO 'folder/'.")),
        None => Ok(()),
    }
}

fn refuse_compression(options: &CopyOptions, what: &str) -> Result<()> {
    match options.compression {
        None => Ok(()),
        Some(_) => Err(Error::unsupported(format!("COMPRESSION of {what}"))),
    }
}

/// The format of a file: as said, or by its name; PostgreSQL's text where neither tells.
pub(super) fn file_format(format: Option<CopyFormat>, location: &str) -> FileFormat {
    match format {
        Some(CopyFormat::Text | CopyFormat::Csv | CopyFormat::Binary) => FileFormat::Csv,
        Some(CopyFormat::Json) => FileFormat::Json,
        Some(CopyFormat::Parquet) => FileFormat::Parquet,
        Some(CopyFormat::Avro) => FileFormat::Avro,
        None => FileFormat::of_name(location).unwrap_or(FileFormat::Csv),
    }
}

/// The wire format that a file of rows in text has, `None` for columnar ones and JSON.
pub(super) fn wire_format(format: Option<CopyFormat>, location: &str) -> Option<Format> {
    match format {
        Some(CopyFormat::Text) => Some(Format::Text),
        Some(CopyFormat::Csv) => Some(Format::Csv),
        Some(CopyFormat::Binary) => Some(Format::Binary),
        Some(CopyFormat::Json | CopyFormat::Parquet | CopyFormat::Avro) => None,
        None => match FileFormat::of_name(location) {
            Some(FileFormat::Csv) => Some(Format::Csv),
            Some(FileFormat::Json | FileFormat::Parquet | FileFormat::Avro) => None,
            None => Some(Format::Text),
        },
    }
}

/// Options for reading a file.
pub(super) fn file(options: &CopyOptions, location: &str, columns: &Columns) -> Result<FileOptions> {
    let mut file = FileOptions::for_name(location);
    file.compression = options.compression.map(compression);
    if let Some(format) = wire_format(options.format, location) {
        let mut requested = requested(options, columns)?;
        requested.format = Some(format);
        delimit_by_name(&mut requested, format, location);
        file.csv = Options::for_reading(requested)?;
        file.header = match options.header {
            Some(CopyHeader::Present | CopyHeader::Match) => HeaderChoice::Present,
            Some(CopyHeader::Absent) | None => HeaderChoice::Absent,
        };
    } else {
        refuse_row_options(options)?;
        if file_format(options.format, location) != FileFormat::Json {
            refuse_compression(options, "a file that compresses itself")?;
        }
    }
    Ok(file)
}

pub(super) fn compression(compression: sql::Compression) -> Compression {
    match compression {
        sql::Compression::None => Compression::None,
        sql::Compression::Gzip => Compression::Gzip,
        sql::Compression::Zstd => Compression::Zstd,
        sql::Compression::Snappy => Compression::Snappy,
    }
}

/// Options that only rows of text have are refused for the other formats.
pub(super) fn refuse_row_options(options: &CopyOptions) -> Result<()> {
    let CopyOptions {
        format: _,
        compression: _,
        partition_by: _,
        max_file_bytes: _,
        max_file_rows: _,
        overwrite: _,
        append: _,
        ignore_errors,
        reject_limit,
        header,
        delimiter,
        null,
        quote,
        escape,
        force_quote,
        force_null,
        force_not_null,
        encoding,
    } = options;
    let given = [
        ("HEADER", header.is_some()),
        ("DELIMITER", delimiter.is_some()),
        ("NULL", null.is_some()),
        ("QUOTE", quote.is_some()),
        ("ESCAPE", escape.is_some()),
        ("FORCE_QUOTE", force_quote.is_some()),
        ("FORCE_NULL", !force_null.is_empty()),
        ("FORCE_NOT_NULL", !force_not_null.is_empty()),
        ("ENCODING", encoding.is_some()),
        ("ON_ERROR", *ignore_errors),
        ("REJECT_LIMIT", reject_limit.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::unsupported(format!("{name} with this format of COPY"))),
        None => Ok(()),
    }
}

fn requested(options: &CopyOptions, columns: &Columns) -> Result<RequestedOptions> {
    let text = |byte: Option<u8>| byte.map(|byte| char::from(byte).to_string());
    Ok(RequestedOptions {
        format: options.format.map(|format| match format {
            CopyFormat::Csv => Format::Csv,
            CopyFormat::Binary => Format::Binary,
            CopyFormat::Text | CopyFormat::Json | CopyFormat::Parquet | CopyFormat::Avro => Format::Text,
        }),
        header: options.header.map(|header| match header {
            CopyHeader::Absent => Header::Absent,
            CopyHeader::Present => Header::Present,
            CopyHeader::Match => Header::Match,
        }),
        delimiter: text(options.delimiter),
        null: options.null.clone(),
        quote: text(options.quote),
        escape: text(options.escape),
        force_quote: match &options.force_quote {
            None => None,
            Some(CopyColumns::All) => Some(ForceQuote::All),
            Some(CopyColumns::Named(names)) => Some(ForceQuote::Columns(places(names, columns, "FORCE_QUOTE")?)),
        },
        force_null: places(&options.force_null, columns, "FORCE_NULL")?,
        force_not_null: places(&options.force_not_null, columns, "FORCE_NOT_NULL")?,
        encoding: options.encoding.clone(),
        ignore_errors: options.ignore_errors,
        reject_limit: options.reject_limit,
    })
}

fn places(names: &[Name], columns: &Columns, option: &str) -> Result<Vec<usize>> {
    names
        .iter()
        .map(|name| {
            columns.iter().position(|(column, _)| *column == name.value).ok_or_else(|| {
                let message = format!("column \"{}\" named in {option} does not exist", name.value);
                Error::new(SqlState::UndefinedColumn, message)
            })
        })
        .collect()
}
