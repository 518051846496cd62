//! COPY in both directions, with the options of today and those of old.

use super::copy_statement::{
    Compression, CopyColumns, CopyEnd, CopyFormat, CopyFrom, CopyHeader, CopyOptions, CopySource, CopyTo,
};
use super::grammar::{Grammar, fold};
use super::statement::{Name, QualifiedName, Statement};
use super::token::{Kind, Token};
use crate::error::{Error, Result, SqlState};

fn invalid(message: String) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

impl Grammar<'_> {
    pub fn copy(&mut self) -> Result<Statement> {
        self.expect("copy")?;
        if self.accept("into") {
            return self.copy_into();
        }
        let binary = self.accept("binary");
        let mut options = CopyOptions { format: binary.then_some(CopyFormat::Binary), ..CopyOptions::default() };
        if self.is_operator("(") {
            return self.copy_query(options);
        }
        let table = self.qualified_name()?;
        let columns = if self.is_operator("(") { self.parenthesized(Self::name)? } else { Vec::new() };
        let from = match self.one_of(&["from", "to"]) {
            Some(word) => word == "from",
            None => return self.syntax(),
        };
        let end = self.copy_end()?;
        self.copy_options(&mut options)?;
        if self.is("where") {
            return self.unsupported("WHERE in COPY");
        }
        Ok(copy_of(table, columns, from, end, options))
    }

    fn copy_query(&mut self, mut options: CopyOptions) -> Result<Statement> {
        self.open()?;
        if self.is_any(&["insert", "update", "delete", "merge"]) {
            return self.unsupported("COPY of a data-modifying statement");
        }
        let query = Box::new(self.query()?);
        self.close()?;
        self.expect("to")?;
        let target = self.copy_end()?;
        self.copy_options(&mut options)?;
        Ok(Statement::CopyTo(Box::new(CopyTo { source: CopySource::Query(query), target, options })))
    }

    /// STDIN, STDOUT (PostgreSQL takes either for both directions) or a path.
    fn copy_end(&mut self) -> Result<CopyEnd> {
        if self.is("program") {
            return self.unsupported("COPY with PROGRAM");
        }
        if self.one_of(&["stdin", "stdout"]).is_some() {
            return Ok(CopyEnd::Client);
        }
        let position = self.token().position;
        Ok(CopyEnd::Location(self.string()?, position))
    }

    fn copy_options(&mut self, options: &mut CopyOptions) -> Result<()> {
        if self.accept("using") {
            self.expect("delimiters")?;
            options.delimiter = Some(self.byte("delimiter")?);
        }
        self.accept("with");
        if self.is_operator("(") {
            let mut seen = Vec::new();
            self.parenthesized(|grammar| grammar.copy_option(options, &mut seen))?;
            return Ok(());
        }
        while !self.at_end() && !self.is("where") {
            self.old_copy_option(options)?;
        }
        Ok(())
    }

    /// The syntax before PostgreSQL 9.0: words, no commas.
    fn old_copy_option(&mut self, options: &mut CopyOptions) -> Result<()> {
        let words = ["binary", "freeze", "delimiter", "null", "csv", "header", "quote", "escape", "force", "encoding"];
        match self.one_of(&words) {
            Some("binary") => options.format = Some(CopyFormat::Binary),
            Some("csv") => options.format = Some(CopyFormat::Csv),
            Some("header") => options.header = Some(CopyHeader::Present),
            Some("freeze") => return Err(self.unsupported_at("FREEZE", self.last())),
            Some("force") => return self.old_force(options),
            Some(word) => {
                self.accept("as");
                match word {
                    "delimiter" => options.delimiter = Some(self.byte("delimiter")?),
                    "null" => options.null = Some(self.string()?),
                    "quote" => options.quote = Some(self.byte("quote")?),
                    "escape" => options.escape = Some(self.byte("escape")?),
                    _ => options.encoding = Some(self.string()?),
                }
            }
            None => return self.syntax(),
        }
        Ok(())
    }

    fn old_force(&mut self, options: &mut CopyOptions) -> Result<()> {
        if self.accept("quote") {
            options.force_quote = Some(if self.accept_operator("*") {
                CopyColumns::All
            } else {
                CopyColumns::Named(self.list(Self::name)?)
            });
        } else if self.take(&["not", "null"]) {
            options.force_not_null = self.list(Self::name)?;
        } else {
            self.expect("null")?;
            options.force_null = self.list(Self::name)?;
        }
        Ok(())
    }

    /// One byte of text, as PostgreSQL asks of delimiter, quote and escape.
    fn byte(&mut self, option: &str) -> Result<u8> {
        let token = self.token();
        let text = self.option_text()?;
        match text.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("COPY {option} must be a single one-byte character"),
            )
            .at(token.position)),
        }
    }

    fn option_text(&mut self) -> Result<String> {
        match self.token().kind {
            Kind::Text | Kind::Word(_) | Kind::Quoted | Kind::Number => Ok(self.advance().value.clone()),
            Kind::Bits | Kind::Parameter | Kind::Operator | Kind::Bad(_) | Kind::End => self.syntax(),
        }
    }

    fn copy_option(&mut self, options: &mut CopyOptions, seen: &mut Vec<String>) -> Result<()> {
        let token = self.token();
        let name = fold(&self.label()?);
        if seen.contains(&name) {
            return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options").at(token.position));
        }
        seen.push(name.clone());
        match name.as_str() {
            "format" => options.format = Some(self.copy_format(token)?),
            "header" => options.header = Some(self.copy_header()?),
            "delimiter" => options.delimiter = Some(self.byte(&name)?),
            "null" => options.null = Some(self.option_text()?),
            "quote" => options.quote = Some(self.byte(&name)?),
            "escape" => options.escape = Some(self.byte(&name)?),
            "encoding" => options.encoding = Some(self.option_text()?),
            "force_quote" if self.accept_operator("*") => options.force_quote = Some(CopyColumns::All),
            "force_quote" => options.force_quote = Some(CopyColumns::Named(self.parenthesized(Self::name)?)),
            "force_null" => options.force_null = self.parenthesized(Self::name)?,
            "force_not_null" => options.force_not_null = self.parenthesized(Self::name)?,
            "compression" => options.compression = Some(self.compression(token)?),
            "on_error" => options.ignore_errors = self.on_error(token)?,
            "reject_limit" => options.reject_limit = Some(self.above_zero("REJECT_LIMIT", token)?),
            "freeze" if !self.option_flag(&name)? => {}
            "freeze" => return Err(self.unsupported_at("FREEZE", token)),
            "partition" => {
                self.expect("by")?;
                options.partition_by = self.parenthesized(Self::name)?;
            }
            "partition_by" => options.partition_by = self.parenthesized(Self::name)?,
            "max_file_size" => options.max_file_bytes = Some(self.file_size(token)?),
            "max_file_rows" => options.max_file_rows = Some(self.above_zero("MAX_FILE_ROWS", token)?),
            "overwrite" => options.overwrite = self.option_flag(&name)?,
            "append" => options.append = self.option_flag(&name)?,
            "log_verbosity" => return Err(self.unsupported_at("LOG_VERBOSITY", token)),
            other => {
                let message = format!("option \"{other}\" not recognized");
                return Err(Error::new(SqlState::SyntaxError, message).at(token.position));
            }
        }
        Ok(())
    }

    fn copy_format(&mut self, option: &Token) -> Result<CopyFormat> {
        let text = self.option_text()?;
        match text.as_str() {
            "text" => Ok(CopyFormat::Text),
            "csv" => Ok(CopyFormat::Csv),
            "binary" => Ok(CopyFormat::Binary),
            "json" => Ok(CopyFormat::Json),
            "parquet" => Ok(CopyFormat::Parquet),
            "avro" => Ok(CopyFormat::Avro),
            _ => Err(invalid(format!("COPY format \"{text}\" not recognized")).at(option.position)),
        }
    }

    fn copy_header(&mut self) -> Result<CopyHeader> {
        let is_match = self.token().value.eq_ignore_ascii_case("match");
        if is_match && matches!(self.token().kind, Kind::Word(_) | Kind::Text | Kind::Quoted) {
            self.advance();
            return Ok(CopyHeader::Match);
        }
        let on = self.option_flag("header").map_err(|error| match error.sqlstate() {
            SqlState::SyntaxError if error.position().is_none() => {
                Error::new(SqlState::SyntaxError, "header requires a Boolean value or \"match\"")
            }
            _ => error,
        })?;
        Ok(if on { CopyHeader::Present } else { CopyHeader::Absent })
    }

    fn compression(&mut self, option: &Token) -> Result<Compression> {
        let text = self.option_text()?;
        match text.to_ascii_lowercase().as_str() {
            "none" | "uncompressed" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            "zstd" => Ok(Compression::Zstd),
            "snappy" => Ok(Compression::Snappy),
            _ => Err(invalid(format!("COPY compression \"{text}\" not recognized"))
                .with_hint("Valid values are none, gzip, zstd and snappy.")
                .at(option.position)),
        }
    }

    fn on_error(&mut self, option: &Token) -> Result<bool> {
        let text = self.option_text()?;
        match text.to_ascii_lowercase().as_str() {
            "stop" => Ok(false),
            "ignore" => Ok(true),
            _ => Err(invalid(format!("COPY ON_ERROR \"{text}\" not recognized")).at(option.position)),
        }
    }

    fn above_zero(&mut self, name: &str, option: &Token) -> Result<u64> {
        let minus = self.accept_operator("-");
        let text = self.option_text()?;
        match text.parse::<u64>() {
            Ok(number) if number > 0 && !minus => Ok(number),
            _ => {
                let sign = if minus { "-" } else { "" };
                Err(invalid(format!("{name} ({sign}{text}) must be greater than zero")).at(option.position))
            }
        }
    }

    /// Bytes, or a text with a unit as PostgreSQL's settings have it.
    fn file_size(&mut self, option: &Token) -> Result<u64> {
        let text = self.option_text()?;
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = match unit.trim() {
            "" | "B" => Some(1),
            "kB" => Some(1 << 10),
            "MB" => Some(1 << 20),
            "GB" => Some(1 << 30),
            _ => None,
        };
        let bytes = digits.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
            invalid(format!("invalid value for MAX_FILE_SIZE: \"{text}\""))
                .with_hint("Valid units are \"B\", \"kB\", \"MB\" and \"GB\".")
                .at(option.position)
        })
    }
}

fn copy_of(name: QualifiedName, columns: Vec<Name>, from: bool, end: CopyEnd, options: CopyOptions) -> Statement {
    if from {
        return Statement::CopyFrom(Box::new(CopyFrom { table: name, columns, source: end, options }));
    }
    Statement::CopyTo(Box::new(CopyTo { source: CopySource::Table { name, columns }, target: end, options }))
}
