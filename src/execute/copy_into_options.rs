//! FORMAT_OPTIONS and COPY_OPTIONS, as the lake's readers take them.

use crate::encode::copy::{Format, FormatLetters, Options, RequestedOptions, date_format};
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{Compression, FileFormat, FileOptions, HeaderChoice};
use crate::sql::{CopyFormat, CopyInto, LoadOption};

const COPY_OPTIONS: &[&str] = &["mergeSchema", "force", "onError", "rejectLimit"];
const CSV_OPTIONS: &[&str] = &[
    "header",
    "sep",
    "delimiter",
    "quote",
    "escape",
    "nullValue",
    "encoding",
    "charset",
    "compression",
    "dateFormat",
    "timestampFormat",
    "decimal",
    "thousands",
    "inferSchema",
    "mergeSchema",
    "multiLine",
    "hivePartitioning",
];
const JSON_OPTIONS: &[&str] =
    &["encoding", "charset", "compression", "inferSchema", "mergeSchema", "multiLine", "hivePartitioning"];
const COLUMNAR_OPTIONS: &[&str] = &["mergeSchema", "hivePartitioning"];

/// How a COPY INTO reads its files and what it may do to its table.
pub(super) struct LoadOptions {
    pub(super) format: FileFormat,
    pub(super) files: FileOptions,
    pub(super) merge_schema: bool,
    /// Files that were loaded already are loaded again.
    pub(super) force: bool,
}

impl LoadOptions {
    pub(super) fn of(statement: &CopyInto) -> Result<Self> {
        let (format, known) = match statement.format {
            CopyFormat::Csv => (FileFormat::Csv, CSV_OPTIONS),
            CopyFormat::Json => (FileFormat::Json, JSON_OPTIONS),
            CopyFormat::Parquet => (FileFormat::Parquet, COLUMNAR_OPTIONS),
            CopyFormat::Avro => (FileFormat::Avro, COLUMNAR_OPTIONS),
            CopyFormat::Text | CopyFormat::Binary => return Err(Error::unsupported("this FILEFORMAT")),
        };
        let files = FileOptions { header: HeaderChoice::Absent, ..FileOptions::for_name(&statement.location) };
        let mut options = Self { format, files, merge_schema: false, force: false };
        let mut requested = RequestedOptions { format: Some(Format::Csv), ..RequestedOptions::default() };
        if options.files.csv.delimiter != b',' {
            requested.delimiter = Some(char::from(options.files.csv.delimiter).to_string());
        }
        let mut seen = Vec::new();
        for option in &statement.format_options {
            let name = known_name(option, known, "FORMAT_OPTIONS", &mut seen)?;
            options.set_format(name, option, &mut requested).map_err(|error| error.at(option.position))?;
        }
        seen.clear();
        for option in &statement.copy_options {
            let name = known_name(option, COPY_OPTIONS, "COPY_OPTIONS", &mut seen)?;
            options.set_copy(name, option, &mut requested).map_err(|error| error.at(option.position))?;
        }
        options.settle(requested)?;
        Ok(options)
    }

    fn set_format(&mut self, name: &str, option: &LoadOption, requested: &mut RequestedOptions) -> Result<()> {
        let text = || Some(option.value.clone());
        match name {
            "header" if boolean(option)? => self.files.header = HeaderChoice::Present,
            "header" => self.files.header = HeaderChoice::Absent,
            "sep" | "delimiter" => requested.delimiter = Some(unescaped(&option.value)),
            "quote" => requested.quote = text(),
            "escape" => requested.escape = text(),
            "nullValue" => requested.null = text(),
            "encoding" | "charset" => self.files.set_encoding(&option.value)?,
            "dateFormat" => self.files.csv.spelling.dates = vec![date_format(&option.value, FormatLetters::Java)?],
            "timestampFormat" => {
                self.files.csv.spelling.timestamps = vec![date_format(&option.value, FormatLetters::Java)?];
            }
            "decimal" => self.files.csv.spelling.decimal = Some(sign(option)?),
            "thousands" => self.files.csv.spelling.thousands = Some(sign(option)?),
            "hivePartitioning" => self.files.path_columns = boolean(option)?,
            "compression" => self.files.compression = Some(compression(option)?),
            // Quoted line ends, unions by name and guessed types are what the readers do.
            "inferSchema" | "mergeSchema" | "multiLine" if boolean(option)? => {}
            _ => return Err(Error::unsupported(format!("'{name}' = '{}'", option.value))),
        }
        Ok(())
    }

    fn set_copy(&mut self, name: &str, option: &LoadOption, requested: &mut RequestedOptions) -> Result<()> {
        match name {
            "mergeSchema" => self.merge_schema = boolean(option)?,
            "force" => self.force = boolean(option)?,
            "onError" => {
                requested.ignore_errors = match option.value.to_ascii_lowercase().as_str() {
                    "stop" => false,
                    "ignore" => true,
                    _ => return Err(invalid(option, "stop or ignore")),
                }
            }
            _ => {
                let limit = option.value.parse().ok().filter(|limit| *limit > 0);
                requested.reject_limit = Some(limit.ok_or_else(|| invalid(option, "a number greater than zero"))?);
            }
        }
        Ok(())
    }

    fn settle(&mut self, requested: RequestedOptions) -> Result<()> {
        let is_columnar = matches!(self.format, FileFormat::Parquet | FileFormat::Avro);
        if is_columnar && (requested.ignore_errors || requested.reject_limit.is_some()) {
            return Err(Error::unsupported("'onError' with files that hold typed values"));
        }
        let told = std::mem::take(&mut self.files.csv);
        told.spelling.check()?;
        let (encoding, spelling) = (told.encoding, told.spelling);
        let rejects_misshapen = requested.ignore_errors;
        self.files.csv = Options { encoding, spelling, rejects_misshapen, ..Options::for_reading(requested)? };
        self.files.union_by_name = true;
        Ok(())
    }
}

/// The option's name as it is documented.
fn known_name<'k>(option: &LoadOption, known: &[&'k str], clause: &str, seen: &mut Vec<&'k str>) -> Result<&'k str> {
    let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(&option.name)) else {
        let message = format!("option \"{}\" of {clause} not recognized", option.name);
        return Err(Error::new(SqlState::InvalidParameterValue, message)
            .with_hint(format!("Valid options: {}.", known.join(", ")))
            .at(option.position));
    };
    if seen.contains(name) {
        return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options").at(option.position));
    }
    seen.push(name);
    Ok(name)
}

fn invalid(option: &LoadOption, wanted: &str) -> Error {
    let message = format!("option \"{}\" of COPY INTO must be {wanted}", option.name);
    Error::new(SqlState::InvalidParameterValue, message)
}

fn boolean(option: &LoadOption) -> Result<bool> {
    match option.value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(option, "true or false")),
    }
}

fn sign(option: &LoadOption) -> Result<u8> {
    match option.value.as_bytes() {
        [sign] if sign.is_ascii() => Ok(*sign),
        _ => Err(invalid(option, "one ASCII character")),
    }
}

/// `\t` is how the tab is written in other systems' options.
fn unescaped(text: &str) -> String {
    if text == "\\t" { "\t".to_owned() } else { text.to_owned() }
}

fn compression(option: &LoadOption) -> Result<Compression> {
    match option.value.to_ascii_lowercase().as_str() {
        "none" | "uncompressed" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "bzip2" => Ok(Compression::Bzip2),
        _ => Err(invalid(option, "none, gzip, zstd or bzip2")),
    }
}
