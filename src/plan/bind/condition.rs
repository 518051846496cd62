//! Conditions of CHECK constraints: boolean expressions over one table's columns.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, Volatility};
use sqlparser::ast;

use super::Binder;
use super::expression::{Clause, Context};
use super::scope::{Environment, Item, Origin, Scope, ScopeColumn};
use crate::encode::types::arrow_type;
use crate::error::{Error, Result};
use crate::plan::relations::RelationColumn;

impl Binder<'_> {
    /// The condition as an expression over unqualified columns of the table's names. No subqueries, aggregates, windows or
    /// volatile functions.
    pub fn bind_condition(&self, table: &str, columns: &[RelationColumn], condition: &ast::Expr) -> Result<Expr> {
        self.bind_condition_of(Clause::Check, table, columns, condition)
    }

    /// The same for what is expected of rows.
    pub fn bind_expectation(&self, table: &str, columns: &[RelationColumn], condition: &ast::Expr) -> Result<Expr> {
        self.bind_condition_of(Clause::Expectation, table, columns, condition)
    }

    fn bind_condition_of(
        &self,
        clause: Clause,
        table: &str,
        columns: &[RelationColumn],
        condition: &ast::Expr,
    ) -> Result<Expr> {
        let (word, what) = match clause {
            Clause::Expectation => ("EXPECT", "an expectation"),
            _ => ("CHECK", "a check constraint"),
        };
        let scope = scope_over(table, columns, Environment::default())?;
        let position = self.start(condition);
        let expr = self.boolean(condition, &Context::new(&scope, clause), word)?;
        let volatile = expr.exists(|expr| {
            Ok(matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile))
        })?;
        if volatile {
            return Err(Error::unsupported(format!("a volatile function in {what}")).at(position));
        }
        Ok(expr)
    }
}

/// Unqualified columns of one table as the only names.
pub(super) fn scope_over<'e>(
    table: &str,
    columns: &[RelationColumn],
    environment: Environment<'e>,
) -> Result<Scope<'e>> {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.name, arrow_type(column.ty), !column.not_null)).collect();
    let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
    let scope_columns = columns
        .iter()
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            expr: Expr::Column(Column::from_name(&column.name)),
            ty: column.ty,
            origin: Origin::default(),
        })
        .collect();
    let item = Item {
        name: Some(table.to_owned()),
        schema: None,
        hidden_name: None,
        table_oid: 0,
        columns: scope_columns,
        relation_visible: true,
        columns_visible: true,
        scalar: false,
        system: Vec::new(),
        position: None,
    };
    Ok(Scope { items: vec![item], environment, schema, windows: Vec::new() })
}
