//! CREATE SCHEMA and VIEW, DROP, TRUNCATE.

use super::create_table;
use super::grammar::Grammar;
use super::statement::{
    ColumnDefinition, CreateSchema, CreateTable, CreateView, Drop, DropKind, QualifiedName, Refresh, RefreshEvery,
    Statement, Truncate,
};
use crate::error::{Error, Result};

impl Grammar<'_> {
    pub fn create(&mut self) -> Result<Option<Statement>> {
        self.expect("create")?;
        let or_replace = self.take(&["or", "replace"]);
        let first = self.mark();
        self.one_of(&["local", "global"]);
        let temporary = self.one_of(&["temporary", "temp"]).is_some();
        if !temporary {
            self.reset(first);
        }
        if self.accept("table") {
            return self.create_table(or_replace, temporary).map(Some);
        }
        if self.accept("view") {
            return self.create_view(or_replace, temporary).map(Some);
        }
        if temporary {
            return self.unsupported(&format!("CREATE TEMPORARY {}", self.token().value.to_ascii_uppercase()));
        }
        let refused = [("unlogged", "CREATE UNLOGGED"), ("recursive", "CREATE RECURSIVE VIEW")];
        if self.is("external") && self.is_ahead(1, "table") {
            self.advance();
            self.advance();
            return self.create_external_table(or_replace).map(Some);
        }
        if self.is("materialized") && self.is_ahead(1, "view") {
            self.advance();
            self.advance();
            return self.create_materialized_view(or_replace).map(Some);
        }
        if self.accept("expectation") {
            return self.create_expectation(or_replace).map(Some);
        }
        if self.accept("model") {
            return self.create_model(or_replace).map(Some);
        }
        if let Some((_, clause)) = refused.iter().find(|(word, _)| self.is(word)) {
            return self.unsupported(clause);
        }
        if or_replace {
            return Ok(None);
        }
        if self.accept("schema") {
            return self.create_schema().map(Some);
        }
        if self.is_any(&["role", "user", "group"]) && !self.is_ahead(1, "mapping") {
            return self.create_role().map(Some);
        }
        Ok(None)
    }

    fn create_schema(&mut self) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(false)?;
        let named = if self.is("authorization") { None } else { Some(self.name()?) };
        let owner = if self.accept("authorization") { Some(self.role_name()?) } else { None };
        if !self.at_end() && self.is_any(&["create", "grant"]) {
            return self.unsupported("a statement inside CREATE SCHEMA");
        }
        match named.or_else(|| owner.clone()) {
            Some(name) => Ok(Statement::CreateSchema(CreateSchema { name, if_not_exists, owner })),
            None => self.syntax(),
        }
    }

    fn create_materialized_view(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.qualified_name()?;
        let mut table = CreateTable { or_replace, if_not_exists, ..create_table::empty(name) };
        if self.is_operator("(") {
            self.parenthesized(|grammar| grammar.bare_column(&mut table))?;
        }
        self.table_clauses(&mut table)?;
        if self.take(&["refresh", "every"]) {
            table.refresh_every = Some(self.refresh_every()?);
            self.table_clauses(&mut table)?;
        }
        if self.is("schedule") {
            return self.unsupported("SCHEDULE");
        }
        if let Some(location) = &table.location {
            return Err(Error::unsupported(format!("LOCATION '{location}' of a materialized view")));
        }
        self.expect("as")?;
        let first = self.token();
        table.query = Some(Box::new(self.query()?));
        table.materialized = Some(self.text_from(first));
        if self.take(&["with", "no", "data"]) {
            table.no_data = true;
        } else {
            self.take(&["with", "data"]);
        }
        Ok(Statement::CreateTable(Box::new(table)))
    }

    /// After REFRESH EVERY: `[INTERVAL] '15 minutes'`, or `15 MINUTES`.
    pub fn refresh_every(&mut self) -> Result<RefreshEvery> {
        let position = self.token().position;
        if self.is("interval") {
            self.advance();
        }
        if self.is_string() {
            return Ok(RefreshEvery { interval: self.string()?, position });
        }
        let number = self.integer()?;
        Ok(RefreshEvery { interval: format!("{number} {}", self.non_reserved_word()?.value), position })
    }

    /// A column's name alone, or what is expected of the rows.
    fn bare_column(&mut self, table: &mut CreateTable) -> Result<()> {
        if self.is("constraint") || self.at_expectation() {
            let name = self.constraint_name()?;
            return self.constraint(table, name, None);
        }
        let name = self.name()?;
        let nothing =
            ColumnDefinition { name, ty: None, not_null: false, comment: None, default: None, generated: None };
        table.columns.push(nothing);
        Ok(())
    }

    /// REFRESH MATERIALIZED VIEW.
    pub fn refresh(&mut self) -> Result<Statement> {
        self.expect_all(&["refresh", "materialized", "view"])?;
        // Readers go on with the old rows whether it is said or not.
        self.accept("concurrently");
        let name = self.qualified_name()?;
        let no_data = self.take(&["with", "no", "data"]);
        if !no_data {
            self.take(&["with", "data"]);
        }
        Ok(Statement::Refresh(Refresh { name, no_data }))
    }

    fn create_view(&mut self, or_replace: bool, temporary: bool) -> Result<Statement> {
        let name = self.qualified_name()?;
        let columns = if self.is_operator("(") { self.parenthesized(Self::name)? } else { Vec::new() };
        if self.is("with") {
            return self.unsupported("WITH");
        }
        self.expect("as")?;
        let first = self.token();
        let query = Box::new(self.query()?);
        let query_text = self.text_from(first);
        if self.is("with") {
            return self.unsupported("WITH CHECK OPTION");
        }
        let view = CreateView { name, temporary, or_replace, columns, query, query_text };
        Ok(Statement::CreateView(Box::new(view)))
    }

    pub fn drop_statement(&mut self) -> Result<Option<Statement>> {
        self.expect("drop")?;
        if self.is("materialized") && self.is_ahead(1, "view") {
            self.advance();
            self.advance();
            return self.dropped(DropKind::MaterializedView).map(Some);
        }
        if self.accept("expectation") {
            return self.drop_expectation().map(Some);
        }
        if self.accept("model") {
            return self.drop_model().map(Some);
        }
        let kind = match self.one_of(&["table", "view", "schema"]) {
            Some("table") => DropKind::Table,
            Some("view") => DropKind::View,
            Some(_) => DropKind::Schema,
            None if self.is_any(&["role", "user", "group"]) && !self.is_ahead(1, "mapping") => {
                return self.drop_role().map(Some);
            }
            None => return Ok(None),
        };
        self.dropped(kind).map(Some)
    }

    fn dropped(&mut self, kind: DropKind) -> Result<Statement> {
        let if_exists = self.if_exists()?;
        let names = self.list(|grammar| {
            let name = grammar.qualified_name()?;
            if kind == DropKind::Schema && name.schema.is_some() {
                return Err(Error::unsupported("a qualified schema name").at(name.position));
            }
            Ok(name)
        })?;
        let cascade = self.cascade();
        Ok(Statement::Drop(Drop { kind, if_exists, names, cascade }))
    }

    pub fn if_exists(&mut self) -> Result<bool> {
        if !self.accept("if") {
            return Ok(false);
        }
        self.expect("exists").map(|()| true)
    }

    pub fn cascade(&mut self) -> bool {
        self.one_of(&["cascade", "restrict"]) == Some("cascade")
    }

    pub fn truncate(&mut self) -> Result<Statement> {
        self.expect("truncate")?;
        self.accept("table");
        let tables: Vec<QualifiedName> = self.list(|grammar| {
            grammar.accept("only");
            let name = grammar.qualified_name()?;
            grammar.accept_operator("*");
            Ok(name)
        })?;
        if self.is("restart") {
            return self.unsupported("RESTART IDENTITY");
        }
        self.take(&["continue", "identity"]);
        if self.is("cascade") {
            return self.unsupported("TRUNCATE … CASCADE");
        }
        self.accept("restrict");
        Ok(Statement::Truncate(Truncate { tables }))
    }
}
