//! MERGE.

use sqlparser::ast::{Expr, With};

use super::change::{Merge, MergeAction, MergeClause, MergeWhen};
use super::grammar::Grammar;
use super::statement::Statement;
use crate::error::Result;

impl Grammar<'_> {
    pub fn merge(&mut self, with: Option<With>) -> Result<Statement> {
        self.expect("merge")?;
        let evolves = self.accept("with");
        if evolves {
            self.expect_all(&["schema", "evolution"])?;
        }
        self.expect("into")?;
        let table = self.changed_table()?;
        let alias = self.changed_alias()?;
        self.expect("using")?;
        let source = self.table_with_joins()?;
        self.expect("on")?;
        let condition = self.expression()?;
        let mut clauses = Vec::new();
        while self.is("when") {
            clauses.push(self.merge_clause()?);
        }
        if clauses.is_empty() {
            return self.syntax();
        }
        let returning = self.returning()?;
        let merge = Merge { with, evolves, table, alias, source, condition, clauses, returning };
        Ok(Statement::Merge(Box::new(merge)))
    }

    fn merge_clause(&mut self) -> Result<MergeClause> {
        self.expect("when")?;
        let when = if self.accept("matched") {
            MergeWhen::Matched
        } else {
            self.expect_all(&["not", "matched"])?;
            match self.accept("by") {
                true if self.accept("source") => MergeWhen::NotMatchedBySource,
                true => {
                    self.expect("target")?;
                    MergeWhen::NotMatchedByTarget
                }
                false => MergeWhen::NotMatchedByTarget,
            }
        };
        let condition = if self.accept("and") { Some(self.expression()?) } else { None };
        self.expect("then")?;
        let position = self.token().position;
        let action = match when {
            MergeWhen::Matched | MergeWhen::NotMatchedBySource => self.merge_change(when)?,
            MergeWhen::NotMatchedByTarget => self.merge_insert()?,
        };
        Ok(MergeClause { when, condition, action, position })
    }

    fn merge_change(&mut self, when: MergeWhen) -> Result<MergeAction> {
        if self.take(&["do", "nothing"]) {
            return Ok(MergeAction::DoNothing);
        }
        if self.accept("delete") {
            return Ok(MergeAction::Delete);
        }
        self.expect_all(&["update", "set"])?;
        // Without a source row there is nothing that * could mean.
        if when == MergeWhen::Matched && self.accept_operator("*") {
            return Ok(MergeAction::UpdateAll);
        }
        Ok(MergeAction::Update(self.list(Self::assignment)?))
    }

    fn merge_insert(&mut self) -> Result<MergeAction> {
        if self.take(&["do", "nothing"]) {
            return Ok(MergeAction::DoNothing);
        }
        self.expect("insert")?;
        if self.accept_operator("*") {
            return Ok(MergeAction::InsertAll);
        }
        let columns = if self.is_operator("(") { self.parenthesized(Self::insert_column)? } else { Vec::new() };
        if self.is("overriding") {
            return self.unsupported("OVERRIDING");
        }
        if self.take(&["default", "values"]) {
            return Ok(MergeAction::Insert { columns, values: None });
        }
        self.expect("values")?;
        let values: Vec<Expr> = self.parenthesized(Self::value_or_default)?;
        Ok(MergeAction::Insert { columns, values: Some(values) })
    }
}
