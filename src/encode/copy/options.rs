//! What COPY was asked to do: [`RequestedOptions`] as the user wrote them, [`Options`] once checked and completed.
//!
//! The checks, their order and their texts are those of PostgreSQL 15's `ProcessCopyOptions`.

use super::spelling::Spelling;
use crate::error::{Error, Result, SqlState};

/// The formats that go over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    #[default]
    Text,
    Csv,
    Binary,
}

/// What the first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Header {
    #[default]
    Absent,
    /// Written; when read, skipped.
    Present,
    /// Read, and compared with the columns' names.
    Match,
}

/// Which columns' values are always quoted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ForceQuote {
    #[default]
    None,
    All,
    /// Indexes into the columns that are written.
    Columns(Vec<usize>),
}

/// What a value that its type refuses does to the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    #[default]
    Stop,
    /// The row is skipped and counted.
    Ignore,
}

/// The encoding of the data outside; inside it is always UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    #[default]
    Utf8,
    Latin1,
}

impl Encoding {
    /// The encoding that PostgreSQL knows by this name, in any spelling. Errors: 22023, or 0A000 for one that we lack.
    pub fn named(name: &str) -> Result<Self> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        match plain.as_str() {
            "utf8" | "unicode" | "sqlascii" => Ok(Self::Utf8),
            "latin1" | "iso88591" => Ok(Self::Latin1),
            "latin2" | "latin9" | "win1250" | "win1251" | "win1252" | "koi8r" | "eucjp" | "sjis" | "gb18030"
            | "big5" => Err(Error::unsupported(format!("encoding \"{name}\""))),
            _ => Err(Error::new(
                SqlState::InvalidParameterValue,
                "argument to option \"encoding\" must be a valid encoding name",
            )),
        }
    }
}

/// COPY's options as they were written, `None` where nothing was said. Column lists are indexes into the copied columns.
#[derive(Debug, Clone, Default)]
pub struct RequestedOptions {
    pub format: Option<Format>,
    pub header: Option<Header>,
    pub delimiter: Option<String>,
    pub null: Option<String>,
    pub quote: Option<String>,
    pub escape: Option<String>,
    pub force_quote: Option<ForceQuote>,
    pub force_null: Vec<usize>,
    pub force_not_null: Vec<usize>,
    pub encoding: Option<String>,
    pub ignore_errors: bool,
    pub reject_limit: Option<u64>,
}

/// COPY's options, checked and complete. Bytes are ASCII; `quote` and `escape` mean something in csv only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub format: Format,
    pub header: Header,
    pub delimiter: u8,
    pub null: String,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: ForceQuote,
    pub force_null: Vec<usize>,
    pub force_not_null: Vec<usize>,
    pub encoding: Encoding,
    pub on_error: OnError,
    /// Rows that may be refused under [`OnError::Ignore`]; who adds up the counts enforces it.
    pub reject_limit: Option<u64>,
    /// Whether a record with too few or too many fields is one that [`OnError::Ignore`] leaves out. PostgreSQL's COPY stops.
    pub rejects_misshapen: bool,
    /// Other texts without quotes that are NULL. PostgreSQL's COPY has none.
    pub nulls: Vec<String>,
    /// How values are spelled; PostgreSQL's COPY knows its own spelling only.
    pub spelling: Spelling,
}

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    From,
    To,
}

impl Default for Options {
    fn default() -> Self {
        Self::defaults(Format::Text)
    }
}

impl Options {
    /// The options of a format of which nothing else was said.
    pub fn defaults(format: Format) -> Self {
        let csv = format == Format::Csv;
        Self {
            format,
            header: Header::Absent,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            quote: b'"',
            escape: b'"',
            force_quote: ForceQuote::None,
            force_null: Vec::new(),
            force_not_null: Vec::new(),
            encoding: Encoding::Utf8,
            on_error: OnError::Stop,
            reject_limit: None,
            rejects_misshapen: false,
            nulls: Vec::new(),
            spelling: Spelling::default(),
        }
    }

    /// Checks what was asked of COPY FROM. Errors: 0A000, 22023 and 42601 in PostgreSQL's words.
    pub fn for_reading(requested: RequestedOptions) -> Result<Self> {
        Self::validated(requested, Direction::From)
    }

    /// Checks what was asked of COPY TO. Errors as [`Options::for_reading`].
    pub fn for_writing(requested: RequestedOptions) -> Result<Self> {
        Self::validated(requested, Direction::To)
    }

    fn validated(requested: RequestedOptions, direction: Direction) -> Result<Self> {
        let format = requested.format.unwrap_or_default();
        check_binary(format, &requested)?;
        let mut options = Self::defaults(format);
        if let Some(null) = requested.null.clone() {
            options.null = null;
        }
        options.delimiter = delimiter(format, &requested, options.delimiter, &options.null)?;
        options.header = header(format, requested.header.unwrap_or_default(), direction)?;
        (options.quote, options.escape) = quote_and_escape(format, &requested, options.delimiter)?;
        check_forced(format, &requested, direction)?;
        check_null(&options)?;
        options.encoding = requested.encoding.as_deref().map_or(Ok(Encoding::Utf8), Encoding::named)?;
        (options.on_error, options.reject_limit) = on_error(format, &requested, direction)?;
        options.force_quote = requested.force_quote.unwrap_or_default();
        options.force_null = requested.force_null;
        options.force_not_null = requested.force_not_null;
        Ok(options)
    }

    /// Whether the column's values are always quoted.
    pub fn quotes_always(&self, column: usize) -> bool {
        match &self.force_quote {
            ForceQuote::None => false,
            ForceQuote::All => true,
            ForceQuote::Columns(columns) => columns.contains(&column),
        }
    }
}

fn syntax(message: &str) -> Error {
    Error::new(SqlState::SyntaxError, message)
}
fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}
fn refused(message: &str) -> Error {
    Error::new(SqlState::FeatureNotSupported, message)
}

/// These two come before everything, as in PostgreSQL, because defaults would hide them.
fn check_binary(format: Format, requested: &RequestedOptions) -> Result<()> {
    if format == Format::Binary && requested.delimiter.is_some() {
        return Err(syntax("cannot specify DELIMITER in BINARY mode"));
    }
    if format == Format::Binary && requested.null.is_some() {
        return Err(syntax("cannot specify NULL in BINARY mode"));
    }
    Ok(())
}

/// The one byte of a string, if it is one ASCII character.
fn single(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    }
}

fn delimiter(format: Format, requested: &RequestedOptions, default: u8, null: &str) -> Result<u8> {
    let delimiter = match &requested.delimiter {
        None => default,
        Some(text) => single(text).ok_or_else(|| refused("COPY delimiter must be a single one-byte character"))?,
    };
    if matches!(delimiter, b'\r' | b'\n') {
        return Err(invalid("COPY delimiter cannot be newline or carriage return"));
    }
    if null.contains(['\r', '\n']) {
        return Err(invalid("COPY null representation cannot use newline or carriage return"));
    }
    let unsafe_in_text = matches!(delimiter, b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9');
    if format != Format::Csv && unsafe_in_text {
        return Err(invalid(format!("COPY delimiter cannot be \"{}\"", delimiter as char)));
    }
    Ok(delimiter)
}

fn header(format: Format, header: Header, direction: Direction) -> Result<Header> {
    if header == Header::Match && direction == Direction::To {
        return Err(refused("cannot use \"match\" with HEADER in COPY TO"));
    }
    if header != Header::Absent && format == Format::Binary {
        return Err(refused("cannot specify HEADER in BINARY mode"));
    }
    Ok(header)
}

fn quote_and_escape(format: Format, requested: &RequestedOptions, delimiter: u8) -> Result<(u8, u8)> {
    let csv = format == Format::Csv;
    if !csv && requested.quote.is_some() {
        return Err(refused("COPY quote available only in CSV mode"));
    }
    let quote = match &requested.quote {
        None => b'"',
        Some(text) => single(text).ok_or_else(|| refused("COPY quote must be a single one-byte character"))?,
    };
    if csv && delimiter == quote {
        return Err(invalid("COPY delimiter and quote must be different"));
    }
    if !csv && requested.escape.is_some() {
        return Err(refused("COPY escape available only in CSV mode"));
    }
    let escape = match &requested.escape {
        None => quote,
        Some(text) => single(text).ok_or_else(|| refused("COPY escape must be a single one-byte character"))?,
    };
    // PostgreSQL takes a newline as quote or escape and then misreads; nobody can mean it.
    if csv && (matches!(quote, b'\r' | b'\n') || matches!(escape, b'\r' | b'\n')) {
        return Err(invalid("COPY quote and escape cannot be newline or carriage return"));
    }
    Ok((quote, escape))
}

fn check_forced(format: Format, requested: &RequestedOptions, direction: Direction) -> Result<()> {
    let csv = format == Format::Csv;
    let forces_quote = !matches!(requested.force_quote, None | Some(ForceQuote::None));
    let rules = [
        (forces_quote && !csv, "COPY force quote available only in CSV mode"),
        (forces_quote && direction == Direction::From, "COPY force quote only available using COPY TO"),
        (!requested.force_not_null.is_empty() && !csv, "COPY force not null available only in CSV mode"),
        (
            !requested.force_not_null.is_empty() && direction == Direction::To,
            "COPY force not null only available using COPY FROM",
        ),
        (!requested.force_null.is_empty() && !csv, "COPY force null available only in CSV mode"),
        (
            !requested.force_null.is_empty() && direction == Direction::To,
            "COPY force null only available using COPY FROM",
        ),
    ];
    rules.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, message)| Err(refused(message)))
}

fn check_null(options: &Options) -> Result<()> {
    let null = options.null.as_bytes();
    if options.format != Format::Binary && null.contains(&options.delimiter) {
        return Err(refused("COPY delimiter must not appear in the NULL specification"));
    }
    if options.format == Format::Csv && null.contains(&options.quote) {
        return Err(refused("CSV quote character must not appear in the NULL specification"));
    }
    Ok(())
}

/// PostgreSQL 17's and 18's rules and texts; 15 does not know these options.
fn on_error(format: Format, requested: &RequestedOptions, direction: Direction) -> Result<(OnError, Option<u64>)> {
    if requested.ignore_errors && direction == Direction::To {
        return Err(invalid("COPY ON_ERROR cannot be used with COPY TO"));
    }
    if requested.ignore_errors && format == Format::Binary {
        return Err(syntax("only ON_ERROR STOP is allowed in BINARY mode"));
    }
    match requested.reject_limit {
        Some(_) if !requested.ignore_errors => Err(invalid("COPY REJECT_LIMIT requires ON_ERROR to be set to IGNORE")),
        Some(0) => Err(invalid("REJECT_LIMIT (0) must be greater than zero")),
        limit => Ok((if requested.ignore_errors { OnError::Ignore } else { OnError::Stop }, limit)),
    }
}
