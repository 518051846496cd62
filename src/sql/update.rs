//! UPDATE, DELETE, and the clauses that they share with INSERT and MERGE.

use sqlparser::ast::{Expr, SelectItem, TableAlias, With};

use super::change::{Assignment, ConflictAction, Delete, OnConflict, Update};
use super::grammar::Grammar;
use super::statement::{Name, QualifiedName, Statement};
use crate::error::Result;

/// Only the newest version of a table is written.
pub(super) const WRITTEN_VERSION: &str = "AS OF of a table that is written";

impl Grammar<'_> {
    pub fn update(&mut self, with: Option<With>) -> Result<Statement> {
        self.expect("update")?;
        let table = self.changed_table()?;
        let alias = self.changed_alias()?;
        self.expect("set")?;
        let assignments = self.list(Self::assignment)?;
        let from = if self.accept("from") { self.list(Self::table_with_joins)? } else { Vec::new() };
        let condition = self.change_condition()?;
        let returning = self.returning()?;
        let update = Update { with, table, alias, assignments, from, condition, returning };
        Ok(Statement::Update(Box::new(update)))
    }

    pub fn delete(&mut self, with: Option<With>) -> Result<Statement> {
        self.expect("delete")?;
        self.expect("from")?;
        let table = self.changed_table()?;
        let alias = self.changed_alias()?;
        let using = if self.accept("using") { self.list(Self::table_with_joins)? } else { Vec::new() };
        let condition = self.change_condition()?;
        let returning = self.returning()?;
        Ok(Statement::Delete(Box::new(Delete { with, table, alias, using, condition, returning })))
    }

    /// `[ONLY] name [*]`: a table has no children here.
    pub fn changed_table(&mut self) -> Result<QualifiedName> {
        if self.accept("only") {
            let parenthesized = self.accept_operator("(");
            let table = self.qualified_name()?;
            if parenthesized {
                self.close()?;
            }
            return Ok(table);
        }
        let table = self.qualified_name()?;
        self.accept_operator("*");
        self.refuse_version(WRITTEN_VERSION)?;
        Ok(table)
    }

    /// `SET` is no alias unless AS says so.
    pub fn changed_alias(&mut self) -> Result<Option<TableAlias>> {
        let explicit = self.accept("as");
        if !explicit && (!self.is_column_name() || self.is("set")) {
            return Ok(None);
        }
        Ok(Some(TableAlias { explicit, name: self.column_name()?, columns: Vec::new(), at: None }))
    }

    pub fn assignment(&mut self) -> Result<Assignment> {
        let is_row = self.is_operator("(");
        let assigned = if is_row { self.parenthesized(Self::assigned_column)? } else { vec![self.assigned_column()?] };
        self.expect_operator("=")?;
        let field = assigned.iter().find_map(|(_, field)| *field);
        let columns = assigned.into_iter().map(|(column, _)| column).collect();
        Ok(Assignment { columns, is_row, field, value: self.value_or_default()? })
    }

    /// A column, and where a field of it begins. `t.a` is field `a` of column `t` to PostgreSQL.
    fn assigned_column(&mut self) -> Result<(Name, Option<u32>)> {
        let name = self.name()?;
        if self.is_operator("[") {
            return self.unsupported("assignment to a field or element");
        }
        let field = self.is_operator(".").then(|| self.token().position);
        while self.accept_operator(".") {
            self.column_name()?;
        }
        Ok((name, field))
    }

    /// An expression, or DEFAULT.
    pub fn value_or_default(&mut self) -> Result<Expr> {
        let outer = std::mem::replace(&mut self.defaults, true);
        let value = self.expression();
        self.defaults = outer;
        value
    }

    fn change_condition(&mut self) -> Result<Option<Expr>> {
        if !self.accept("where") {
            return Ok(None);
        }
        if self.is("current") && self.is_ahead(1, "of") {
            return self.unsupported("WHERE CURRENT OF");
        }
        self.expression().map(Some)
    }

    pub fn returning(&mut self) -> Result<Vec<SelectItem>> {
        if self.accept("returning") { self.list(Self::select_item) } else { Ok(Vec::new()) }
    }

    /// `ON CONFLICT [(columns)] DO NOTHING | DO UPDATE SET … [WHERE …]`.
    pub fn on_conflict(&mut self) -> Result<Option<OnConflict>> {
        let position = self.token().position;
        if !self.take(&["on", "conflict"]) {
            return Ok(None);
        }
        if self.is("on") && self.is_ahead(1, "constraint") {
            return self.unsupported("ON CONFLICT ON CONSTRAINT");
        }
        let target = self.token().position;
        let columns = if self.is_operator("(") { self.parenthesized(Self::conflict_column)? } else { Vec::new() };
        if self.is("where") {
            return self.unsupported("WHERE in a conflict target");
        }
        self.expect("do")?;
        if self.accept("nothing") {
            return Ok(Some(OnConflict { columns, action: ConflictAction::Nothing, target }));
        }
        self.expect_all(&["update", "set"])?;
        let assignments = self.list(Self::assignment)?;
        let condition = if self.accept("where") { Some(Box::new(self.expression()?)) } else { None };
        if columns.is_empty() {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(crate::error::Error::new(crate::error::SqlState::SyntaxError, message)
                .with_hint("For example, ON CONFLICT (column_name).")
                .at(position));
        }
        Ok(Some(OnConflict { columns, action: ConflictAction::Update { assignments, condition }, target }))
    }

    fn conflict_column(&mut self) -> Result<Name> {
        if self.is_operator("(") {
            return self.unsupported("an expression as a conflict target");
        }
        let name = self.name()?;
        if !self.is_operator(",") && !self.is_operator(")") {
            return self.unsupported("a collation or operator class in a conflict target");
        }
        Ok(name)
    }
}
