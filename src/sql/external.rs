//! CREATE EXTERNAL TABLE over files as they are, and CONVERT TO DELTA.

use super::create_table;
use super::grammar::{Grammar, fold};
use super::statement::{ColumnDefinition, Name, QualifiedName, Statement};
use super::token::Kind;
use crate::error::Result;

/// CREATE EXTERNAL TABLE … STORED AS … LOCATION … OPTIONS (…).
#[derive(Debug, Clone)]
pub struct CreateExternalTable {
    pub name: QualifiedName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    /// Empty: as the files have them.
    pub columns: Vec<ColumnDefinition>,
    /// `csv`, `json`, `parquet` or `avro`.
    pub format: &'static str,
    pub location: String,
    /// Names, and values as SQL constants.
    pub options: Vec<(Name, String)>,
    /// The clauses behind the columns, as the user wrote them.
    pub clauses: String,
}

/// CONVERT TO DELTA.
#[derive(Debug, Clone)]
pub struct Convert {
    pub location: String,
    pub position: u32,
    /// Columns with their types, in the order of the folders.
    pub partitioned_by: Vec<ColumnDefinition>,
}

impl Grammar<'_> {
    pub fn create_external_table(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.qualified_name()?;
        let columns = if self.is_operator("(") { self.typed_columns("CREATE EXTERNAL TABLE")? } else { Vec::new() };
        let first = self.token();
        let (mut format, mut location, mut options) = (None, None, Vec::new());
        loop {
            if self.take(&["stored", "as"]) {
                format = Some(self.file_format()?);
            } else if self.accept("location") {
                location = Some(self.string()?);
            } else if self.accept("options") {
                options = self.parenthesized(Self::file_option)?;
            } else if self.is_any(&["partitioned", "with", "comment", "tblproperties"]) {
                return self.unsupported(&format!("{} of an external table", self.token().value.to_ascii_uppercase()));
            } else {
                break;
            }
        }
        let (Some(format), Some(location)) = (format, location) else { return self.syntax() };
        let clauses = self.text_from(first);
        let table =
            CreateExternalTable { name, or_replace, if_not_exists, columns, format, location, options, clauses };
        Ok(Statement::CreateExternalTable(Box::new(table)))
    }

    /// Names and types, without constraints.
    fn typed_columns(&mut self, of: &str) -> Result<Vec<ColumnDefinition>> {
        let mut table =
            create_table::empty(QualifiedName { database: None, schema: None, name: String::new(), position: 0 });
        let first = self.token();
        self.parenthesized(|grammar| grammar.column_definition(&mut table))?;
        let plain = table.checks.is_empty()
            && table.columns.iter().all(|column| {
                column.ty.is_some() && !column.not_null && column.default.is_none() && column.generated.is_none()
            });
        if !plain {
            return Err(self.unsupported_at(&format!("a constraint in {of}"), first));
        }
        Ok(table.columns)
    }

    fn file_format(&mut self) -> Result<&'static str> {
        match self.one_of(&["csv", "json", "jsonfile", "parquet", "avro"]) {
            Some("csv") => Ok("csv"),
            Some("json" | "jsonfile") => Ok("json"),
            Some("parquet") => Ok("parquet"),
            Some("avro") => Ok("avro"),
            Some(_) | None => self.unsupported(&format!("STORED AS {}", self.token().value.to_ascii_uppercase())),
        }
    }

    /// `name [=] constant`.
    fn file_option(&mut self) -> Result<(Name, String)> {
        let token = self.token();
        let value = if self.is_string() { self.string()? } else { fold(&self.label()?) };
        let name = Name { value: value.to_ascii_lowercase(), position: token.position };
        self.accept_operator("=");
        let token = self.token();
        let value = match token.kind {
            Kind::Number => token.value.clone(),
            Kind::Word(_) if matches!(token.value.as_str(), "true" | "false") => token.value.clone(),
            Kind::Text if matches!(token.value.as_str(), "true" | "false") => token.value.clone(),
            Kind::Text => format!("'{}'", token.value.replace('\'', "''")),
            _ => return self.syntax(),
        };
        self.advance();
        Ok((name, value))
    }

    /// CONVERT TO DELTA parquet.'…' [PARTITIONED BY (…)].
    pub fn convert(&mut self) -> Result<Statement> {
        self.expect_all(&["convert", "to", "delta"])?;
        let position = self.token().position;
        self.expect("parquet")?;
        self.expect_operator(".")?;
        // Databricks quotes the path with backticks, which PostgreSQL does not know: a string or a quoted name is taken.
        let location = match self.token().kind {
            Kind::Text | Kind::Quoted => self.advance().value.clone(),
            _ => return self.syntax(),
        };
        if self.take(&["no", "statistics"]) {
            return Err(self.unsupported_at("NO STATISTICS", self.last()));
        }
        let partitioned_by =
            if self.take(&["partitioned", "by"]) { self.typed_columns("CONVERT TO DELTA")? } else { Vec::new() };
        Ok(Statement::Convert(Convert { location, position, partitioned_by }))
    }
}
