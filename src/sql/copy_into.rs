//! COPY INTO t FROM '…' | (SELECT … FROM '…') FILEFORMAT = … with Databricks' clauses.

use super::copy_statement::{CopyFormat, CopyInto, LoadOption};
use super::grammar::{Grammar, fold};
use super::statement::Statement;
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

impl Grammar<'_> {
    /// After COPY INTO.
    pub(super) fn copy_into(&mut self) -> Result<Statement> {
        let table = self.qualified_name()?;
        if self.is("by") || self.is_operator("(") {
            return self.unsupported("choosing columns in COPY INTO");
        }
        self.expect("from")?;
        let (query, location, position) = self.load_source()?;
        if self.is("with") {
            return self.unsupported("WITH in COPY INTO");
        }
        self.expect("fileformat")?;
        self.expect_operator("=")?;
        let mut copy = CopyInto {
            table,
            location,
            position,
            query,
            format: self.load_format()?,
            files: Vec::new(),
            pattern: None,
            format_options: Vec::new(),
            copy_options: Vec::new(),
        };
        while !self.at_end() {
            self.load_clause(&mut copy)?;
        }
        Ok(Statement::CopyInto(Box::new(copy)))
    }

    fn load_source(&mut self) -> Result<(Option<Box<sqlparser::ast::Query>>, String, u32)> {
        if !self.accept_operator("(") {
            let position = self.token().position;
            return Ok((None, self.string()?, position));
        }
        let first = self.mark();
        let query = Box::new(self.query()?);
        let (location, position) = self.path_between(first)?;
        self.close()?;
        Ok((Some(query), location, position))
    }

    /// The one quoted path after a FROM, a JOIN or a comma in the query that was just read.
    fn path_between(&mut self, first: usize) -> Result<(String, u32)> {
        let end = self.mark();
        self.reset(first);
        let mut paths = Vec::new();
        while self.mark() < end {
            let before = self.advance();
            let follows = matches!(before.kind, Kind::Word(_)) && matches!(before.value.as_str(), "from" | "join");
            if follows && self.is_string() && self.mark() < end {
                paths.push((self.token().value.clone(), self.token().position));
            }
        }
        self.reset(end);
        match paths.as_slice() {
            [path] => Ok(path.clone()),
            [] => Err(Error::new(SqlState::SyntaxError, "the query of COPY INTO must read a quoted path")
                .at(self.token().position)),
            [_, (_, position), ..] => Err(Error::unsupported("several paths in COPY INTO").at(*position)),
        }
    }

    fn load_format(&mut self) -> Result<CopyFormat> {
        let token = self.token();
        let name = fold(&self.label()?);
        match name.as_str() {
            "csv" => Ok(CopyFormat::Csv),
            "json" => Ok(CopyFormat::Json),
            "parquet" => Ok(CopyFormat::Parquet),
            "avro" => Ok(CopyFormat::Avro),
            "orc" | "text" | "binaryfile" => {
                Err(self.unsupported_at(&format!("FILEFORMAT = {}", name.to_uppercase()), token))
            }
            _ => Err(Error::new(SqlState::InvalidParameterValue, format!("file format \"{name}\" not recognized"))
                .with_hint("Valid values are CSV, JSON, PARQUET and AVRO.")
                .at(token.position)),
        }
    }

    fn load_clause(&mut self, copy: &mut CopyInto) -> Result<()> {
        let token = self.token();
        match self.one_of(&["files", "pattern", "format_options", "copy_options", "validate"]) {
            Some("files") if copy.files.is_empty() && copy.pattern.is_none() => {
                self.expect_operator("=")?;
                copy.files = self.parenthesized(Self::string)?;
            }
            Some("pattern") if copy.files.is_empty() && copy.pattern.is_none() => {
                self.expect_operator("=")?;
                copy.pattern = Some(self.string()?);
            }
            Some("format_options") if copy.format_options.is_empty() => {
                copy.format_options = self.parenthesized(Self::load_option)?;
            }
            Some("copy_options") if copy.copy_options.is_empty() => {
                copy.copy_options = self.parenthesized(Self::load_option)?;
            }
            Some("validate") => return Err(self.unsupported_at("VALIDATE", token)),
            Some(_) => {
                return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options").at(token.position));
            }
            None => return self.syntax(),
        }
        Ok(())
    }

    /// `'name' = 'value'`, also without the quotes.
    fn load_option(&mut self) -> Result<LoadOption> {
        let position = self.token().position;
        let name = if self.is_string() { self.string()? } else { self.label()?.value };
        self.expect_operator("=")?;
        let value = match self.token().kind {
            Kind::Text | Kind::Word(_) | Kind::Number => self.advance().value.clone(),
            Kind::Quoted | Kind::Bits | Kind::Parameter | Kind::Operator | Kind::Bad(_) | Kind::End => {
                return self.syntax();
            }
        };
        Ok(LoadOption { name, value, position })
    }
}
