//! UPDATE, DELETE, and what they share with MERGE and INSERT: a change as one plan.
//!
//! ```text
//! file, row, action, the table's columns as they are to be, RETURNING's columns
//! ```
//! `file` and `row` say which stored row a change takes away, NULL for none; the action says what it is. `lake` reads them.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::expression::{Clause, Context, row};
use super::filled::given_to_generated;
use super::from::From;
use super::insert::{is_default, null_of};
use super::join::cross;
use super::scope::{Environment, Item, Scope};
use super::{Binder, Unknowns};
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};
use crate::lake::RowAction;
use crate::plan::relations::{RelationColumn, ResolvedTable};
use crate::sql::{Assignment, Delete, Name, Update};

/// A bound change.
#[derive(Debug)]
pub struct BoundChange {
    pub plan: LogicalPlan,
    /// RETURNING's columns, the last ones of the plan.
    pub returning: Vec<OutputColumn>,
}

/// The rows that a change makes, before RETURNING.
pub(super) struct Changed {
    /// The FROM clause's columns and those that `values` name.
    pub plan: LogicalPlan,
    pub items: Vec<Item>,
    /// Which of `items` is the changed table.
    pub target: usize,
    pub file: Expr,
    pub row: Expr,
    pub action: Expr,
    /// One for each column of the table.
    pub values: Vec<Expr>,
}

impl Binder<'_> {
    /// `target` has two more columns than it tells: the file and the row.
    pub fn bind_update(&self, target: &ResolvedTable, update: &Update) -> Result<BoundChange> {
        let environment = self.with_clause(update.with.as_ref(), &Environment::default())?;
        let own = self.changed_table(target, update.alias.as_ref(), update.table.position)?;
        let from = self.beside(own, &update.from, &environment)?;
        let scope = self.scope_of(&from, &environment, &[]);
        let plan = self.filtered(from.plan, update.condition.as_ref(), &scope)?;
        let assigned = self.assignments(&target.name, &target.columns, &update.assignments, &scope)?;
        let (file, row, old) = parts(&from.items, 0)?;
        let values = old.into_iter().zip(assigned).map(|(old, new)| new.unwrap_or(old)).collect();
        let action = lit(RowAction::Update.code());
        let changed = Changed { plan, items: from.items, target: 0, file, row, action, values };
        self.returned(target, changed, &update.returning, true, &environment)
    }

    pub fn bind_delete(&self, target: &ResolvedTable, delete: &Delete) -> Result<BoundChange> {
        let environment = self.with_clause(delete.with.as_ref(), &Environment::default())?;
        let own = self.changed_table(target, delete.alias.as_ref(), delete.table.position)?;
        let from = self.beside(own, &delete.using, &environment)?;
        let scope = self.scope_of(&from, &environment, &[]);
        let plan = self.filtered(from.plan, delete.condition.as_ref(), &scope)?;
        let (file, row, _) = parts(&from.items, 0)?;
        let values = target.columns.iter().map(|column| null_of(column.ty).expr).collect();
        let action = lit(RowAction::Delete.code());
        let changed = Changed { plan, items: from.items, target: 0, file, row, action, values };
        self.returned(target, changed, &delete.returning, false, &environment)
    }

    pub(super) fn changed_table(
        &self,
        target: &ResolvedTable,
        alias: Option<&ast::TableAlias>,
        position: u32,
    ) -> Result<From> {
        let position = (position > 0).then_some(position);
        self.table(target, &target.name, Some(target.schema.clone()), alias, position)
    }

    /// The changed table with the tables of FROM or USING, which cannot refer to it.
    fn beside(&self, own: From, tables: &[ast::TableWithJoins], environment: &Environment<'_>) -> Result<From> {
        if tables.is_empty() {
            return Ok(own);
        }
        let others = self.bind_tables(tables, environment)?;
        self.check_aliases(&own.items, &others.items)?;
        cross(own, others)
    }

    fn filtered(&self, plan: LogicalPlan, condition: Option<&ast::Expr>, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let Some(condition) = condition else { return Ok(plan) };
        let condition = self.boolean(condition, &Context::new(scope, Clause::Where), "WHERE")?;
        Ok(LogicalPlanBuilder::from(plan).filter(condition)?.build()?)
    }

    /// For each column of the table the value that SET gives it.
    pub(super) fn assignments(
        &self,
        table: &str,
        columns: &[RelationColumn],
        assignments: &[Assignment],
        scope: &Scope<'_>,
    ) -> Result<Vec<Option<Expr>>> {
        let context = Context::new(scope, Clause::Update);
        let mut values: Vec<Option<Expr>> = vec![None; columns.len()];
        for assignment in assignments {
            for (name, value) in self.assigned_values(assignment)? {
                let position = (name.position > 0).then_some(name.position);
                let Some(index) = columns.iter().position(|column| column.name == name.value) else {
                    let message = format!("column \"{}\" of relation \"{table}\" does not exist", name.value);
                    return Err(Error::new(SqlState::UndefinedColumn, message).at(position));
                };
                let (Some(slot), Some(column)) = (values.get_mut(index), columns.get(index)) else { continue };
                if slot.is_some() {
                    let message = format!("multiple assignments to same column \"{}\"", name.value);
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
                if let Some(field) = assignment.field {
                    return Err(Error::unsupported("assignment to a field or element").at(field));
                }
                *slot = Some(self.assigned_value(&value, column, &context)?);
            }
        }
        Ok(values)
    }

    pub(super) fn assigned_value(
        &self,
        value: &ast::Expr,
        column: &RelationColumn,
        context: &Context<'_, '_>,
    ) -> Result<Expr> {
        if is_default(value) {
            return Ok(self.default_of(column)?.expr);
        }
        if column.is_generated() {
            let message = match context.clause {
                Clause::Values => format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
                _ => format!("column \"{}\" can only be updated to DEFAULT", column.name),
            };
            return Err(given_to_generated(column, message));
        }
        let value = self.expr(value, context)?;
        Ok(self.assigned(value, column)?.expr)
    }

    /// `(a, b) = …` as one assignment for each column.
    fn assigned_values<'v>(&self, assignment: &'v Assignment) -> Result<Vec<(&'v Name, ast::Expr)>> {
        if let [column] = assignment.columns.as_slice() {
            // `(a) = ROW(1)` and `(a) = (SELECT …)` are a row of one.
            let row = if assignment.is_row { row::elements(&assignment.value) } else { None };
            let value = match row.as_deref() {
                Some(&[value]) => value,
                _ => &assignment.value,
            };
            return Ok(vec![(column, value.clone())]);
        }
        if let Some(values) = row::elements(&assignment.value) {
            if values.len() != assignment.columns.len() {
                let message = "number of columns does not match number of values";
                let position = self.position(assignment.value.span());
                // Of a row without its word the tree tells where the first value is; it begins with its parenthesis.
                let position = match assignment.value {
                    ast::Expr::Tuple(_) => position.map(|first| first.saturating_sub(1)),
                    _ => position,
                };
                return Err(Error::new(SqlState::SyntaxError, message).at(position));
            }
            return Ok(assignment.columns.iter().zip(values.into_iter().cloned()).collect());
        }
        match &assignment.value {
            ast::Expr::Subquery(query) => {
                let width = assignment.columns.len();
                Ok(assignment.columns.iter().enumerate().map(|(at, name)| (name, field_of(query, at, width))).collect())
            }
            _ => {
                let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                Err(Error::new(SqlState::FeatureNotSupported, message).at(self.position(assignment.value.span())))
            }
        }
    }

    /// The plan with the values as columns of it.
    pub(super) fn computed(&self, plan: LogicalPlan, values: Vec<Expr>) -> Result<(LogicalPlan, Vec<Expr>)> {
        let names: Vec<String> = values.iter().map(|_| self.unique("value")).collect();
        let mut exprs = super::plan_columns(&plan);
        exprs.extend(values.into_iter().zip(&names).map(|(value, name)| value.alias(name)));
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        Ok((plan, names.into_iter().map(|name| Expr::Column(Column::from_name(name))).collect()))
    }

    /// The whole plan of a change. RETURNING sees the new rows of an UPDATE and the old ones of a DELETE.
    pub(super) fn returned(
        &self,
        table: &ResolvedTable,
        changed: Changed,
        returning: &[ast::SelectItem],
        new_values: bool,
        environment: &Environment<'_>,
    ) -> Result<BoundChange> {
        let Changed { mut plan, mut items, target, file, row, action, mut values } = changed;
        if new_values && table.columns.iter().any(RelationColumn::is_generated) {
            // Each value is computed once, whatever is generated from it: it may be another one each time.
            (plan, values) = self.computed(plan, values)?;
            values = self.generated(&table.columns, values, plan.schema())?;
        }
        let mut exprs =
            vec![file.alias(self.unique("file")), row.alias(self.unique("row")), action.alias(self.unique("action"))];
        exprs.extend(values.into_iter().map(|value| value.alias(self.unique("new"))));
        let own = exprs.len();
        if returning.is_empty() {
            let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
            return Ok(BoundChange { plan: self.unnested(plan)?, returning: Vec::new() });
        }
        exprs.extend(super::plan_columns(&plan));
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        let given: Vec<Expr> = plan.schema().columns().into_iter().take(own).map(Expr::Column).collect();
        if new_values && let Some(item) = items.get_mut(target) {
            for (column, new) in item.columns.iter_mut().zip(given.iter().skip(LEADING)) {
                column.expr = new.clone();
            }
        }
        let from = From { plan, items };
        let scope = self.scope_of(&from, environment, &[]);
        let targets = self.targets(returning, &Context::new(&scope, Clause::Returning), Unknowns::Text)?;
        let mut out = given;
        out.extend(targets.iter().map(|target| target.expr.clone().alias(self.unique("returned"))));
        let plan = LogicalPlanBuilder::from(from.plan).project(out)?.build()?;
        let returning = targets
            .into_iter()
            .map(|target| OutputColumn {
                name: target.name,
                ty: target.ty,
                table_oid: target.origin.table,
                attribute: target.origin.attribute,
            })
            .collect();
        Ok(BoundChange { plan: self.unnested(plan)?, returning })
    }
}

/// Columns before the table's own.
pub(super) const LEADING: usize = 3;

/// The file, the row and the columns of the changed table.
pub(super) fn parts(items: &[Item], target: usize) -> Result<(Expr, Expr, Vec<Expr>)> {
    let missing = || Error::internal("a changed table does not tell its rows");
    let item = items.get(target).ok_or_else(missing)?;
    let [file, row] = item.system.as_slice() else { return Err(missing()) };
    let old = item.columns.iter().map(|column| column.expr.clone()).collect();
    Ok((file.expr.clone(), row.expr.clone(), old))
}

/// `(SELECT column FROM (query) AS row (…))`: one column of a subquery that gives several.
fn field_of(query: &ast::Query, at: usize, width: usize) -> ast::Expr {
    let name = |index: usize| ast::Ident::with_quote('"', format!("field:{index}"));
    let columns = (0..width).map(|index| ast::TableAliasColumnDef { name: name(index), data_type: None }).collect();
    let alias = ast::TableAlias { explicit: true, name: ast::Ident::with_quote('"', "row"), columns, at: None };
    crate::sql::one_column_of(query.clone(), alias, name(at))
}
