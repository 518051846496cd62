//! `read_csv('…', header => true)` and its kin, and quoted paths: what a statement says about the files it reads.

use sqlparser::ast;

use crate::encode::copy::{FormatLetters, date_format};
use crate::encode::types::{PgType, parse_type};
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{Compression, FileFormat, FileOptions, HeaderChoice};

/// A call as far as it is known without looking at the files.
#[derive(Debug, Clone)]
pub struct FileCall {
    pub location: String,
    pub format: FileFormat,
    pub options: FileOptions,
    /// Names and types that the caller gave for CSV and JSON.
    pub columns: Option<Vec<(String, PgType)>>,
}

/// Named arguments that each function knows.
const CSV_ARGUMENTS: &[&str] = &[
    "header",
    "delim",
    "delimiter",
    "sep",
    "quote",
    "escape",
    "nullstr",
    "null",
    "columns",
    "compression",
    "sample_rows",
    "dateformat",
    "timestampformat",
    "decimal_separator",
    "thousands",
    "encoding",
    "union_by_name",
    "hive_partitioning",
];
const JSON_ARGUMENTS: &[&str] = &["columns", "compression", "sample_rows", "encoding", "hive_partitioning"];
const COLUMNAR_ARGUMENTS: &[&str] = &["hive_partitioning"];

impl FileCall {
    /// `FROM 's3://…/x.parquet'`: the name tells the format.
    pub fn of_path(path: &str) -> Result<Self> {
        let Some(format) = FileFormat::of_name(path) else {
            let message = format!("cannot tell the format of file \"{path}\" by its name");
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_hint("Use read_csv, read_json, read_parquet or read_avro."));
        };
        Ok(Self { location: path.to_owned(), format, options: FileOptions::for_name(path), columns: None })
    }

    /// A call of a `read_…` function.
    pub fn of_function(name: &str, arguments: &[ast::FunctionArg]) -> Result<Self> {
        let (format, known): (_, &[&str]) = match name {
            "read_csv" => (FileFormat::Csv, CSV_ARGUMENTS),
            "read_json" => (FileFormat::Json, JSON_ARGUMENTS),
            "read_parquet" => (FileFormat::Parquet, COLUMNAR_ARGUMENTS),
            "read_avro" => (FileFormat::Avro, COLUMNAR_ARGUMENTS),
            other => return Err(Error::unsupported(format!("function {other}"))),
        };
        let mut given = arguments.iter();
        let location = match given.next().map(argument) {
            Some(Ok((None, value))) => text_of(value, "path")?,
            Some(Err(error)) => return Err(error),
            Some(Ok((Some(_), _))) | None => {
                let message = format!("function {name} needs a path as its first argument");
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            }
        };
        let options = FileOptions::for_name(&location);
        let mut call = Self { location, format, options, columns: None };
        for given in given {
            let (option, value) = argument(given)?;
            let Some(option) = option else {
                let message = format!("function {name} takes its options by name, e.g. header => true");
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            };
            if !known.contains(&option.as_str()) {
                let valid = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("function {name} has no option \"{option}\"");
                return Err(
                    Error::new(SqlState::InvalidParameterValue, message).with_hint(format!("Valid options: {valid}."))
                );
            }
            call.set(&option, value)?;
        }
        call.options.csv.spelling.check()?;
        Ok(call)
    }

    /// The place that `read_delta('…')` reads.
    pub fn delta_location(arguments: &[ast::FunctionArg]) -> Result<String> {
        match arguments {
            [only] => match argument(only)? {
                (None, value) => text_of(value, "path"),
                (Some(option), _) => {
                    let message = format!("function read_delta has no option \"{option}\"");
                    Err(Error::new(SqlState::InvalidParameterValue, message).with_hint("Valid options: none."))
                }
            },
            _ => {
                let message = "function read_delta takes a path as its only argument";
                Err(Error::new(SqlState::InvalidParameterValue, message))
            }
        }
    }

    fn set(&mut self, option: &str, value: &ast::Expr) -> Result<()> {
        match option {
            "header" => {
                let present = boolean_of(value, option)?;
                self.options.header = if present { HeaderChoice::Present } else { HeaderChoice::Absent };
            }
            "delim" | "delimiter" | "sep" => self.options.csv.delimiter = byte_of(value, option)?,
            "quote" => self.options.csv.quote = byte_of(value, option)?,
            "escape" => self.options.csv.escape = byte_of(value, option)?,
            "nullstr" | "null" => {
                let mut nulls = texts_of(value, option)?;
                self.options.csv.null = if nulls.is_empty() { String::new() } else { nulls.remove(0) };
                self.options.csv.nulls = nulls;
            }
            "dateformat" => self.options.csv.spelling.dates = formats_of(value, option)?,
            "timestampformat" => self.options.csv.spelling.timestamps = formats_of(value, option)?,
            "decimal_separator" => self.options.csv.spelling.decimal = Some(byte_of(value, option)?),
            "thousands" => self.options.csv.spelling.thousands = Some(byte_of(value, option)?),
            "encoding" => self.options.set_encoding(&text_of(value, option)?)?,
            "union_by_name" => self.options.union_by_name = boolean_of(value, option)?,
            "hive_partitioning" => self.options.path_columns = boolean_of(value, option)?,
            "columns" => self.columns = Some(columns_of(&text_of(value, option)?)?),
            "compression" => self.options.compression = Some(compression_of(&text_of(value, option)?)?),
            "sample_rows" => self.options.sample_rows_max = number_of(value, option)?,
            _ => return Err(Error::internal("an option without a meaning")),
        }
        Ok(())
    }
}

/// Name (folded) and value of an argument.
pub(super) fn argument(argument: &ast::FunctionArg) -> Result<(Option<String>, &ast::Expr)> {
    let (name, value) = match argument {
        ast::FunctionArg::Named { name, arg, .. } => (Some(crate::sql::fold(name)), arg),
        ast::FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg, .. } => {
            (Some(crate::sql::fold(name)), arg)
        }
        ast::FunctionArg::ExprNamed { .. } => return Err(Error::unsupported("an expression as an argument's name")),
        ast::FunctionArg::Unnamed(arg) => (None, arg),
    };
    match value {
        ast::FunctionArgExpr::Expr(expr) => Ok((name, expr)),
        _ => Err(Error::new(SqlState::InvalidParameterValue, "a function over tables or files takes constants only")),
    }
}

fn constant(expr: &ast::Expr) -> Option<&ast::Value> {
    match expr {
        ast::Expr::Value(value) => Some(&value.value),
        ast::Expr::Nested(inner) => constant(inner),
        _ => None,
    }
}

fn invalid(option: &str, wanted: &str) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("option \"{option}\" of a file function must be {wanted}"))
}

fn text_of(expr: &ast::Expr, option: &str) -> Result<String> {
    match constant(expr) {
        Some(ast::Value::SingleQuotedString(text)) => Ok(text.clone()),
        _ => Err(invalid(option, "a text constant")),
    }
}

/// A text, or an array of some.
fn texts_of(expr: &ast::Expr, option: &str) -> Result<Vec<String>> {
    match expr {
        ast::Expr::Array(array) => array.elem.iter().map(|element| text_of(element, option)).collect(),
        single => Ok(vec![text_of(single, option)?]),
    }
}

fn formats_of(expr: &ast::Expr, option: &str) -> Result<Vec<String>> {
    texts_of(expr, option)?.iter().map(|text| date_format(text, FormatLetters::PostgreSql)).collect()
}

fn boolean_of(expr: &ast::Expr, option: &str) -> Result<bool> {
    match constant(expr) {
        Some(ast::Value::Boolean(value)) => Ok(*value),
        _ => Err(invalid(option, "true or false")),
    }
}

fn number_of(expr: &ast::Expr, option: &str) -> Result<usize> {
    match constant(expr) {
        Some(ast::Value::Number(text, _)) => text.to_string().parse().map_err(|_| invalid(option, "a whole number")),
        _ => Err(invalid(option, "a whole number")),
    }
}

fn byte_of(expr: &ast::Expr, option: &str) -> Result<u8> {
    match text_of(expr, option)?.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(invalid(option, "one ASCII character")),
    }
}

fn compression_of(text: &str) -> Result<Compression> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "bzip2" => Ok(Compression::Bzip2),
        _ => Err(invalid("compression", "none, gzip, zstd or bzip2")),
    }
}

/// `{"a": "integer", "b": "text"}`, in the order of the columns.
fn columns_of(text: &str) -> Result<Vec<(String, PgType)>> {
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| invalid("columns", "a JSON object of names and types"))?;
    parsed
        .into_iter()
        .map(|(name, ty)| {
            let ty = ty.as_str().ok_or_else(|| invalid("columns", "a JSON object of names and types"))?;
            let parsed = parse_type(ty)
                .ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("type \"{ty}\" does not exist")))?;
            Ok((name, parsed))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Result<FileCall> {
        let query = crate::sql::parse_query(&format!("SELECT * FROM {text}")).unwrap();
        let names = crate::plan::relations::names(&query, &format!("SELECT * FROM {text}"));
        match &names.first().unwrap().kind {
            crate::plan::relations::RelationNameKind::FileFunction { name, arguments } => {
                FileCall::of_function(name, arguments)
            }
            crate::plan::relations::RelationNameKind::Path(path) => FileCall::of_path(path),
            _ => panic!("no file in {text}"),
        }
    }

    #[test]
    fn options_are_taken_by_name() {
        let call = call(
            r#"read_csv('a.csv', header => true, nullstr => 'NA', columns => '{"b": "int", "a": "numeric(5,2)"}')"#,
        );
        let call = call.unwrap();
        assert_eq!(call.options.header, HeaderChoice::Present);
        assert_eq!(call.options.csv.null, "NA");
        let columns = call.columns.unwrap();
        assert_eq!(columns[0], ("b".to_owned(), PgType::INT4));
        assert_eq!(columns[1], ("a".to_owned(), PgType::numeric(5, 2)));
    }

    #[test]
    fn unknown_options_and_formats_are_refused() {
        assert_eq!(call("read_parquet('a', header => true)").unwrap_err().sqlstate(), SqlState::InvalidParameterValue);
        let error = call("read_csv('a', heder => true)").unwrap_err();
        assert!(error.hint().unwrap().contains("header"));
        assert_eq!(call("'x.unknown'").unwrap_err().sqlstate(), SqlState::InvalidParameterValue);
    }
}
