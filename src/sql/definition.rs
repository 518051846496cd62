//! CREATE SCHEMA and VIEW, DROP, TRUNCATE.

use super::grammar::Grammar;
use super::statement::{CreateSchema, CreateView, Drop, DropKind, QualifiedName, Statement, Truncate};
use crate::error::{Error, Result};

impl Grammar<'_> {
    pub fn create(&mut self) -> Result<Option<Statement>> {
        self.expect("create")?;
        let or_replace = self.take(&["or", "replace"]);
        if self.accept("table") {
            return self.create_table(or_replace).map(Some);
        }
        if self.accept("view") {
            return self.create_view(or_replace).map(Some);
        }
        let refused = [
            ("temporary", "CREATE TEMPORARY"),
            ("temp", "CREATE TEMPORARY"),
            ("local", "CREATE LOCAL TEMPORARY"),
            ("unlogged", "CREATE UNLOGGED"),
            ("recursive", "CREATE RECURSIVE VIEW"),
            ("materialized", "CREATE MATERIALIZED VIEW"),
        ];
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

    fn create_view(&mut self, or_replace: bool) -> Result<Statement> {
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
        let view = CreateView { name, or_replace, columns, query, query_text };
        Ok(Statement::CreateView(Box::new(view)))
    }

    pub fn drop_statement(&mut self) -> Result<Option<Statement>> {
        self.expect("drop")?;
        let kind = match self.one_of(&["table", "view", "schema"]) {
            Some("table") => DropKind::Table,
            Some("view") => DropKind::View,
            Some(_) => DropKind::Schema,
            None if self.is_any(&["role", "user", "group"]) && !self.is_ahead(1, "mapping") => {
                return self.drop_role().map(Some);
            }
            None => return Ok(None),
        };
        let if_exists = self.if_exists()?;
        let names = self.list(|grammar| {
            let name = grammar.qualified_name()?;
            if kind == DropKind::Schema && name.schema.is_some() {
                return Err(Error::unsupported("a qualified schema name").at(name.position));
            }
            Ok(name)
        })?;
        let cascade = self.cascade();
        Ok(Some(Statement::Drop(Drop { kind, if_exists, names, cascade })))
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
