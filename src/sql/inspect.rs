//! SHOW TABLES and its kin, and DESCRIBE: what there is, in Databricks' words.

use super::grammar::Grammar;
use super::statement::{Name, QualifiedName, Statement};
use crate::error::Result;

#[derive(Debug, Clone)]
pub enum Inspect {
    /// Tables and views.
    Tables {
        schema: Option<Name>,
        pattern: Option<String>,
    },
    Views {
        schema: Option<Name>,
        pattern: Option<String>,
    },
    Schemas {
        pattern: Option<String>,
    },
    Columns(QualifiedName),
    CreateTable(QualifiedName),
    Properties {
        table: QualifiedName,
        key: Option<String>,
    },
    Partitions(QualifiedName),
    /// Rules of data quality; of all tables, or of one.
    Expectations(Option<QualifiedName>),
    Models {
        schema: Option<Name>,
        pattern: Option<String>,
    },
    DescribeModel(QualifiedName),
    Describe {
        table: QualifiedName,
        extended: bool,
    },
}

impl Grammar<'_> {
    /// What SHOW may be besides a setting; SHOW is taken.
    pub fn show_objects(&mut self) -> Result<Option<Statement>> {
        let inspect = if self.take(&["create", "table"]) || self.take(&["create", "view"]) {
            Inspect::CreateTable(self.qualified_name()?)
        } else if self.accept("tables") {
            let (schema, pattern) = self.shown_where()?;
            Inspect::Tables { schema, pattern }
        } else if self.accept("views") {
            let (schema, pattern) = self.shown_where()?;
            Inspect::Views { schema, pattern }
        } else if self.one_of(&["schemas", "databases"]).is_some() {
            Inspect::Schemas { pattern: self.shown_pattern()? }
        } else if self.is("columns") && (self.is_ahead(1, "from") || self.is_ahead(1, "in")) {
            self.advance();
            self.advance();
            let mut table = self.qualified_name()?;
            if table.schema.is_none() && self.one_of(&["from", "in"]).is_some() {
                table.schema = Some(self.name()?.value);
            }
            Inspect::Columns(table)
        } else if self.is("tblproperties") && !self.ends_ahead(1) {
            self.advance();
            let table = self.qualified_name()?;
            let key = if self.accept_operator("(") {
                let key = self.property_key()?;
                self.close()?;
                Some(key)
            } else {
                None
            };
            Inspect::Properties { table, key }
        } else if self.accept("expectations") {
            let of = self.one_of(&["from", "in", "on"]).is_some();
            Inspect::Expectations(if of { Some(self.qualified_name()?) } else { None })
        } else if self.accept("models") {
            let (schema, pattern) = self.shown_where()?;
            Inspect::Models { schema, pattern }
        } else if self.is("partitions") && !self.ends_ahead(1) {
            self.advance();
            Inspect::Partitions(self.qualified_name()?)
        } else {
            return Ok(None);
        };
        Ok(Some(Statement::Inspect(inspect)))
    }

    fn ends_ahead(&self, count: usize) -> bool {
        matches!(self.ahead(count).kind, super::token::Kind::End) || self.is_operator_ahead(count, ";")
    }

    fn shown_where(&mut self) -> Result<(Option<Name>, Option<String>)> {
        let schema = if self.one_of(&["in", "from"]).is_some() { Some(self.name()?) } else { None };
        Ok((schema, self.shown_pattern()?))
    }

    fn shown_pattern(&mut self) -> Result<Option<String>> {
        let like = self.accept("like");
        if like || self.is_string() { self.string().map(Some) } else { Ok(None) }
    }

    /// DESCRIBE; `None` for the forms that have a statement of their own.
    pub fn describe(&mut self) -> Result<Option<Statement>> {
        let forms = ["history", "detail", "function", "schema", "database", "catalog", "query"];
        if forms.iter().any(|form| self.is_ahead(1, form)) && !self.ends_ahead(2) {
            return Ok(None);
        }
        self.advance();
        if self.is("model") && !self.ends_ahead(1) {
            self.advance();
            return Ok(Some(Statement::Inspect(Inspect::DescribeModel(self.qualified_name()?))));
        }
        if self.is("table") && !self.ends_ahead(1) {
            self.advance();
        }
        let extended = !self.ends_ahead(1) && self.one_of(&["extended", "formatted"]).is_some();
        let table = self.qualified_name()?;
        Ok(Some(Statement::Inspect(Inspect::Describe { table, extended })))
    }
}
