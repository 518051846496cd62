//! WITH: queries under a name, recursive ones included.

use std::rc::Rc;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::from::From;
use super::names::fold;
use super::scope::{Environment, Origin};
use super::widths::Widths;
use super::{Binder, Bound, BoundColumn, Unknowns};
use crate::builtins::functions::kernel::{Kernel, Returns};
use crate::builtins::functions::{Volatility, arithmetic, numeric};
use crate::encode::types::format_type;
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::{RelationNameKind, names};
use crate::plan::typing::{self, Coercion};

/// A named query in force.
#[derive(Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    bound: Bound,
}

impl Binder<'_> {
    /// The environment with the WITH clause's queries added, in order.
    pub(super) fn with_clause<'s>(
        &self,
        with: Option<&ast::With>,
        environment: &Environment<'s>,
    ) -> Result<Environment<'s>> {
        let mut environment = environment.clone();
        let Some(with) = with else { return Ok(environment) };
        self.check_cte_names(with)?;
        let ctes = if with.recursive { self.recursive_order(with)? } else { with.cte_tables.iter().collect() };
        let outer_pending = Rc::clone(&environment.pending);
        for (at, cte) in ctes.iter().copied().enumerate() {
            let name = fold(&cte.alias.name);
            if !with.recursive {
                let later = ctes.iter().skip(at).map(|cte| fold(&cte.alias.name));
                environment.pending = Rc::new(outer_pending.iter().cloned().chain(later).collect());
            }
            let recursive = with.recursive && refers_to(&cte.query, &name);
            let bound = if recursive {
                self.recursive(cte, &name, &environment)?
            } else {
                let bound = self.query(&cte.query, &environment, Unknowns::Text)?;
                self.with_column_names(bound, cte)?
            };
            add(&mut environment, Cte { name, bound });
        }
        environment.pending = outer_pending;
        Ok(environment)
    }

    fn check_cte_names(&self, with: &ast::With) -> Result<()> {
        let mut here: Vec<String> = Vec::new();
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if here.contains(&name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                let position = self.position(cte.alias.name.span);
                return Err(Error::new(SqlState::DuplicateAlias, message).at(position));
            }
            here.push(name);
        }
        Ok(())
    }

    /// The columns under the names that `WITH t (a, b)` gives, unique in the plan.
    fn with_column_names(&self, mut bound: Bound, cte: &ast::Cte) -> Result<Bound> {
        let given = &cte.alias.columns;
        if given.len() > bound.columns.len() {
            let message = format!(
                "WITH query \"{}\" has {} columns available but {} columns specified",
                fold(&cte.alias.name),
                bound.columns.len(),
                given.len()
            );
            return Err(Error::new(SqlState::InvalidColumnReference, message).at(self.position(cte.alias.name.span)));
        }
        for (column, name) in bound.columns.iter_mut().zip(given) {
            column.name = fold(&name.name);
        }
        Ok(bound)
    }

    pub(super) fn cte_reference(
        &self,
        name: &str,
        alias: Option<&ast::TableAlias>,
        environment: &Environment<'_>,
        position: Option<u32>,
    ) -> Result<Option<From>> {
        let Some(cte) = environment.ctes.iter().rev().find(|cte| cte.name == name) else { return Ok(None) };
        let from = self.subquery_item(cte.bound.clone(), name, false)?;
        let mut items = Vec::new();
        for mut item in from.items {
            item.position = position;
            items.push(self.aliased(item, alias)?);
        }
        Ok(Some(From { plan: from.plan, items }))
    }

    /// `WITH RECURSIVE t AS (start UNION [ALL] step)`.
    fn recursive(&self, cte: &ast::Cte, name: &str, environment: &Environment<'_>) -> Result<Bound> {
        let position = self.position(cte.alias.name.span);
        let query = &cte.query;
        if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
            let clause = if query.order_by.is_some() { "ORDER BY" } else { "LIMIT" };
            let message = format!("{clause} in a recursive query is not implemented");
            return Err(Error::new(SqlState::FeatureNotSupported, message).at(self.position(query.span())));
        }
        let inner = self.with_clause(query.with.as_ref(), environment)?;
        let ast::SetExpr::SetOperation { op: ast::SetOperator::Union, set_quantifier, left, right } =
            query.body.as_ref()
        else {
            let message = format!(
                "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
            );
            return Err(Error::new(SqlState::InvalidRecursion, message).at(position));
        };
        let distinct = match set_quantifier {
            ast::SetQuantifier::All => false,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => true,
            _ => return Err(Error::unsupported("UNION BY NAME").at(position)),
        };
        if set_refers_to(left, name) {
            let message =
                format!("recursive reference to query \"{name}\" must not appear within its non-recursive term");
            return Err(Error::new(SqlState::InvalidRecursion, message).at(position));
        }
        self.check_recursive_term(right, name)?;
        let start = self.branch(left, &inner, Unknowns::Text)?;
        let start = self.with_column_names(start, cte)?;
        let columns: Vec<BoundColumn> = start
            .columns
            .iter()
            .map(|column| BoundColumn { origin: Origin::default(), unsettled: None, ..column.clone() })
            .collect();
        let names = super::names::unique(columns.iter().map(|column| column.name.as_str()));
        let mut widths = Widths::new(&columns, start.plan.schema(), self.terms.get());
        let (table, step) = loop {
            let table = self.unique(name);
            let this = Bound { plan: work_table(&table, &names, &widths.types())?, columns: columns.clone() };
            let mut step_environment = inner.clone();
            add(&mut step_environment, Cte { name: name.to_owned(), bound: this });
            let step = self.within_term(|| self.branch(right, &step_environment, Unknowns::Wait))?;
            let step = self.step_plan(name, step, &columns)?;
            if !widths.widen(step.schema()) {
                break (table, step);
            }
        };
        let types = widths.types();
        let start = carried(start.plan, &names, &types)?;
        let step = carried(step, &names, &types)?;
        let plan = LogicalPlanBuilder::from(start).to_recursive_query(table, step, distinct)?.build()?;
        Ok(Bound { plan, columns })
    }

    /// The recursive term cast to the columns of the other one, whose types decide.
    fn step_plan(&self, name: &str, step: Bound, columns: &[BoundColumn]) -> Result<LogicalPlan> {
        if step.columns.len() != columns.len() {
            let position = step.columns.first().and_then(|column| column.position);
            let message = "each UNION query must have the same number of columns";
            return Err(Error::new(SqlState::SyntaxError, message).at(position));
        }
        let mut exprs = Vec::new();
        let names = super::names::unique(columns.iter().map(|column| column.name.as_str()));
        for (index, (column, internal)) in columns.iter().zip(&names).enumerate() {
            let Some(value) = step.operand(index) else { continue };
            let expected = typing::Typed { expr: value.expr.clone(), ty: column.ty, position: column.position };
            let overall = typing::common_type(self.typing, &[expected, value.clone()], "UNION")?;
            if overall != column.ty {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    index + 1,
                    format_type(column.ty),
                    format_type(overall)
                );
                return Err(Error::new(SqlState::DatatypeMismatch, message)
                    .with_hint("Cast the output of the non-recursive term to the correct type.")
                    .at(column.position));
            }
            let value = typing::coerce(self.typing, value, column.ty, Coercion::Implicit)?;
            exprs.push(value.expr.alias(internal));
        }
        Ok(LogicalPlanBuilder::from(step.plan).project(exprs)?.build()?)
    }
}

/// The rows so far, as the recursive term reads them.
fn work_table(table: &str, names: &[String], types: &[DataType]) -> Result<LogicalPlan> {
    let fields = names.iter().zip(types).map(|(name, ty)| Field::new(name, ty.clone(), true));
    let rows = Arc::new(CteWorkTable::new(table, Arc::new(Schema::new(fields.collect::<Vec<_>>()))));
    let reference = datafusion::common::TableReference::bare(table);
    Ok(LogicalPlanBuilder::scan(reference, provider_as_source(rows), None)?.build()?)
}

/// The plan's columns in these types and under these names, without what tables say of theirs beside: both terms must say the
/// same.
fn carried(plan: LogicalPlan, names: &[String], types: &[DataType]) -> Result<LogicalPlan> {
    let mut exprs = Vec::with_capacity(names.len());
    let fields = plan.schema().fields().iter().zip(names.iter().zip(types));
    for (column, (field, (name, ty))) in super::plan_columns(&plan).into_iter().zip(fields) {
        let column = if field.data_type() == ty { column } else { cast(column, ty.clone()) };
        let column = if field.metadata().is_empty() {
            column
        } else {
            let returns = Returns::Of(numeric::same_type);
            Kernel::new("same", 0, Volatility::Immutable, returns, arithmetic::same).call(vec![column])?
        };
        exprs.push(column.alias(name));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

fn add(environment: &mut Environment<'_>, cte: Cte) {
    let mut ctes = environment.ctes.as_ref().clone();
    ctes.push(Rc::new(cte));
    environment.ctes = Rc::new(ctes);
}

pub(super) fn refers_to(query: &ast::Query, name: &str) -> bool {
    names(query, "").iter().any(|relation| is_named(&relation.kind, name))
}

fn is_named(kind: &RelationNameKind, wanted: &str) -> bool {
    matches!(kind, RelationNameKind::Named { database: None, schema: None, name } if name == wanted)
}

fn set_refers_to(body: &ast::SetExpr, name: &str) -> bool {
    let mut found = false;
    let _ = ast::visit_relations(body, |relation| {
        found |= super::names::parts(relation) == [name];
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}
