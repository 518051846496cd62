//! INSERT and EXPLAIN.

use sqlparser::ast::{Expr, Query, With};

use super::grammar::Grammar;
use super::statement::{Explain, Insert, Name, PartitionValue, Replaces, Statement};
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

impl Grammar<'_> {
    pub fn insert(&mut self, with: Option<With>) -> Result<Statement> {
        self.expect("insert")?;
        let overwrite = self.accept("overwrite");
        if overwrite {
            // Spark's word may stand there, and INTO too.
            if !self.accept("table") {
                self.accept("into");
            }
        } else {
            self.expect("into")?;
        }
        let table = self.qualified_name()?;
        self.refuse_version(super::update::WRITTEN_VERSION)?;
        let alias = if self.is("as") { self.changed_alias()? } else { None };
        let replaces = if overwrite { self.overwritten()? } else { Replaces::None };
        let (columns, on_conflict, returning) = (Vec::new(), None, Vec::new());
        let with_tables = with.as_ref().map_or(0, |with| with.cte_tables.len());
        let mut insert = Insert { table, alias, columns, source: None, with_tables, replaces, on_conflict, returning };
        if self.accept("default") {
            self.expect("values")?;
            if with.is_some() {
                return self.unsupported("WITH before DEFAULT VALUES");
            }
            return self.inserted(insert);
        }
        if self.is_operator("(") && !self.query_in_parentheses_follows() {
            insert.columns = self.parenthesized(Self::insert_column)?;
        }
        if self.is("overriding") {
            return self.unsupported("OVERRIDING");
        }
        if !overwrite && self.take(&["replace", "where"]) {
            insert.replaces = Replaces::Where(Box::new(self.expression()?));
        }
        if !self.starts_query() {
            return self.syntax();
        }
        self.defaults = self.is("values");
        let source = self.query();
        self.defaults = false;
        insert.source = Some(Box::new(with_before(with, source?)));
        self.inserted(insert)
    }

    /// `[PARTITION (column [= value], …)]`: the rows that an OVERWRITE takes away.
    fn overwritten(&mut self) -> Result<Replaces> {
        if !self.accept("partition") {
            return Ok(Replaces::All);
        }
        Ok(Replaces::Partitions(self.parenthesized(Self::partition_value)?))
    }

    fn partition_value(&mut self) -> Result<PartitionValue> {
        let column = self.name()?;
        if !self.accept_operator("=") {
            return Ok(PartitionValue { column, value: None });
        }
        let token = self.token();
        let value = self.expression()?;
        if !is_constant(&value) {
            return Err(self.unsupported_at("a PARTITION value that is no constant", token));
        }
        Ok(PartitionValue { column, value: Some(value) })
    }

    fn inserted(&mut self, mut insert: Insert) -> Result<Statement> {
        let token = self.token();
        insert.on_conflict = self.on_conflict()?;
        if insert.on_conflict.is_some() && !matches!(insert.replaces, Replaces::None) {
            return Err(self.unsupported_at("ON CONFLICT of an INSERT that replaces rows", token));
        }
        insert.returning = self.returning()?;
        Ok(Statement::Insert(Box::new(insert)))
    }

    pub fn insert_column(&mut self) -> Result<Name> {
        let name = self.name()?;
        if self.is_operator(".") || self.is_operator("[") {
            return self.unsupported("assignment to a field or element");
        }
        Ok(name)
    }

    /// Whether the parentheses hold a query and not a list of columns.
    pub fn query_in_parentheses_follows(&self) -> bool {
        let mut depth = 0;
        while self.is_operator_ahead(depth, "(") {
            depth += 1;
        }
        ["select", "with", "table"].iter().any(|word| self.is_ahead(depth, word))
            || (self.is_ahead(depth, "values") && self.is_operator_ahead(depth + 1, "("))
    }

    pub fn explain(&mut self) -> Result<Statement> {
        self.advance();
        let (mut analyze, mut verbose, mut json) = (false, false, false);
        if self.is_operator("(") && !self.query_in_parentheses_follows() {
            self.parenthesized(|grammar| grammar.explain_option(&mut analyze, &mut verbose, &mut json))?;
        } else {
            analyze = self.one_of(&["analyze", "analyse"]).is_some();
            verbose = self.accept("verbose");
        }
        let token = self.token();
        let statement = match self.statement()? {
            Some(
                statement @ (Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)
                | Statement::Merge(_)
                | Statement::CreateTable(_)
                | Statement::Declare(_)
                | Statement::Execute(_)),
            ) => statement,
            Some(_) => return Err(self.syntax_at(token)),
            None => return self.refused(token),
        };
        Ok(Statement::Explain(Explain { analyze, verbose, json, statement: Box::new(statement) }))
    }

    fn explain_option(&mut self, analyze: &mut bool, verbose: &mut bool, json: &mut bool) -> Result<()> {
        let token = self.token();
        let name = super::grammar::fold(&self.non_reserved_or_analyze()?);
        match name.as_str() {
            "analyze" | "analyse" => *analyze = self.option_flag(&name)?,
            "verbose" => *verbose = self.option_flag(&name)?,
            "costs" | "settings" | "buffers" | "wal" | "timing" | "summary" | "generic_plan" => {
                let on = self.option_flag(&name)?;
                let refused = matches!(name.as_str(), "settings" | "buffers" | "wal" | "generic_plan") && on;
                if refused {
                    return Err(self.unsupported_at(&format!("EXPLAIN ({})", name.to_ascii_uppercase()), token));
                }
            }
            "format" => {
                let value = self.advance();
                match value.value.to_ascii_lowercase().as_str() {
                    "text" => *json = false,
                    "json" => *json = true,
                    "xml" | "yaml" => return Err(self.unsupported_at("this EXPLAIN format", value)),
                    other => {
                        let message = format!("unrecognized value for EXPLAIN option \"format\": \"{other}\"");
                        return Err(Error::new(SqlState::InvalidParameterValue, message).at(token.position));
                    }
                }
            }
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                return Err(Error::new(SqlState::SyntaxError, message).at(token.position));
            }
        }
        Ok(())
    }

    pub fn non_reserved_or_analyze(&mut self) -> Result<sqlparser::ast::Ident> {
        if self.is_any(&["analyze", "analyse"]) { self.label() } else { self.non_reserved_word() }
    }

    /// The Boolean behind an option; none is true.
    pub fn option_flag(&mut self, option: &str) -> Result<bool> {
        let token = self.token();
        if self.is_operator(",") || self.is_operator(")") || self.at_end() {
            return Ok(true);
        }
        let on = match (&token.kind, token.value.to_ascii_lowercase().as_str()) {
            (Kind::Number, "1") | (Kind::Word(_) | Kind::Text | Kind::Quoted, "true" | "on") => true,
            (Kind::Number, "0") | (Kind::Word(_) | Kind::Text | Kind::Quoted, "false" | "off") => false,
            (Kind::Number | Kind::Word(_) | Kind::Text | Kind::Quoted, _) => {
                return Err(Error::new(SqlState::SyntaxError, format!("{option} requires a Boolean value")));
            }
            _ => return self.syntax(),
        };
        self.advance();
        Ok(on)
    }
}

/// A literal or a parameter, also negated or cast.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => is_constant(inner),
        _ => false,
    }
}

/// The queries of a WITH before INSERT are those of its source; PostgreSQL lets both have some.
fn with_before(with: Option<With>, mut query: Query) -> Query {
    query.with = match (with, query.with.take()) {
        (Some(mut before), Some(own)) => {
            before.recursive |= own.recursive;
            before.cte_tables.extend(own.cte_tables);
            Some(before)
        }
        (before, own) => before.or(own),
    };
    query
}
