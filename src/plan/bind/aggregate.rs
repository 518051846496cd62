//! GROUP BY and HAVING: grouping sets, the Aggregate node, and 42803 for columns that are not grouped.

use std::collections::HashSet;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast;

use super::expression::{Clause, Context, constant_of};
use super::names::fold;
use super::scope::Scope;
use super::select::Target;
use super::{Binder, plan_columns, settle};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{check_equality, has_sort_key, sort_key};

pub(super) use super::only_value::only_value;

/// What GROUP BY asks for.
pub(super) struct Grouping {
    /// One set for a plain GROUP BY; several for GROUPING SETS, ROLLUP, CUBE.
    pub sets: Vec<Vec<Expr>>,
    /// The keys whose equal values may differ, with their types.
    pub keyed: Vec<(Expr, PgType)>,
    /// Whether a clause was written at all.
    pub present: bool,
    /// Whether grouping sets were written, even if they come to a single one.
    pub explicit_sets: bool,
}

/// Most grouping sets of a query, as in PostgreSQL.
const SETS_MAX: usize = 4096;

impl Binder<'_> {
    pub(super) fn group_by(
        &self,
        clause: &ast::GroupByExpr,
        targets: &[Target],
        scope: &Scope<'_>,
    ) -> Result<Grouping> {
        let elements = match clause {
            ast::GroupByExpr::Expressions(elements, modifiers) if modifiers.is_empty() => elements,
            ast::GroupByExpr::All(_) => return Err(Error::unsupported("GROUP BY ALL")),
            ast::GroupByExpr::Expressions(..) => return Err(Error::unsupported("GROUP BY … WITH")),
        };
        let uses = self.uses.borrow().len();
        let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
        let mut keyed = Vec::new();
        let mut explicit_sets = false;
        for element in elements {
            explicit_sets |= matches!(element, ast::Expr::GroupingSets(_) | ast::Expr::Rollup(_) | ast::Expr::Cube(_));
            let choices = self.grouping_element(element, targets, scope, &mut keyed)?;
            if sets.len() * choices.len() > SETS_MAX {
                let message = format!("too many grouping sets present (maximum {SETS_MAX})");
                return Err(Error::new(SqlState::StatementTooComplex, message));
            }
            sets = product(&sets, &choices);
        }
        // What is grouped need not be grouped again.
        self.uses.borrow_mut().truncate(uses);
        Ok(Grouping { sets, keyed, present: !elements.is_empty(), explicit_sets })
    }

    fn grouping_element(
        &self,
        element: &ast::Expr,
        targets: &[Target],
        scope: &Scope<'_>,
        keyed: &mut Vec<(Expr, PgType)>,
    ) -> Result<Vec<Vec<Expr>>> {
        let key = |exprs: &[ast::Expr], keyed: &mut Vec<(Expr, PgType)>| -> Result<Vec<Expr>> {
            let mut keys = Vec::new();
            for expr in exprs {
                keys.extend(self.group_keys(expr, targets, scope, keyed)?);
            }
            Ok(keys)
        };
        Ok(match element {
            ast::Expr::GroupingSets(sets) => {
                let mut all = Vec::new();
                for set in sets {
                    match set.as_slice() {
                        // Sets inside sets are as many sets of the outer list.
                        [inner @ (ast::Expr::GroupingSets(_) | ast::Expr::Rollup(_) | ast::Expr::Cube(_))] => {
                            all.extend(self.grouping_element(inner, targets, scope, keyed)?);
                        }
                        exprs => all.push(key(exprs, keyed)?),
                    }
                }
                all
            }
            ast::Expr::Rollup(parts) => {
                let parts = parts.iter().map(|part| key(part, keyed)).collect::<Result<Vec<_>>>()?;
                (0..=parts.len()).rev().map(|length| parts.iter().take(length).flatten().cloned().collect()).collect()
            }
            ast::Expr::Cube(parts) => {
                let parts = parts.iter().map(|part| key(part, keyed)).collect::<Result<Vec<_>>>()?;
                if parts.len() > 12 {
                    return Err(Error::new(SqlState::TooManyColumns, "CUBE is limited to 12 elements"));
                }
                let chosen = |mask: usize| {
                    let picked = parts.iter().enumerate().filter(|(at, _)| mask & (1 << (parts.len() - 1 - at)) != 0);
                    picked.flat_map(|(_, part)| part.clone()).collect()
                };
                (0..1_usize << parts.len()).rev().map(chosen).collect()
            }
            other => vec![key(std::slice::from_ref(other), keyed)?],
        })
    }

    /// One element's keys: a column before an output name, an ordinal, or any expression; a row is several keys.
    fn group_keys(
        &self,
        expr: &ast::Expr,
        targets: &[Target],
        scope: &Scope<'_>,
        keyed: &mut Vec<(Expr, PgType)>,
    ) -> Result<Vec<Expr>> {
        let position = self.start(expr);
        match expr {
            ast::Expr::Nested(inner) => return self.group_keys(inner, targets, scope, keyed),
            ast::Expr::Tuple(values) => {
                let keys = values.iter().map(|value| self.group_keys(value, targets, scope, keyed));
                return Ok(keys.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect());
            }
            ast::Expr::Identifier(ident) if !scope.has_column(&fold(ident)) => {
                if let Some(index) = self.output_name(&fold(ident), targets, "GROUP BY", position)? {
                    return self.group_target(targets, index, position, keyed);
                }
            }
            _ => {}
        }
        if let Some(constant) = constant_of(expr) {
            let position = self.constant_position(expr);
            let index = super::order::ordinal(&constant, targets, "GROUP BY").map_err(|error| error.at(position))?;
            return self.group_target(targets, index, position, keyed);
        }
        let value = settle(self.typing, self.expr(expr, &Context::new(scope, Clause::GroupBy))?)?;
        check_equality(value.ty, position)?;
        if has_sort_key(value.ty) {
            keyed.push((value.expr.clone(), value.ty));
        }
        Ok(vec![value.expr])
    }

    fn group_target(
        &self,
        targets: &[Target],
        index: usize,
        position: Option<u32>,
        keyed: &mut Vec<(Expr, PgType)>,
    ) -> Result<Vec<Expr>> {
        let Some(target) = targets.get(index) else { return Err(Error::internal("no such output column")) };
        if !find_aggregate_exprs([&target.expr]).is_empty() {
            let message = "aggregate functions are not allowed in GROUP BY";
            return Err(Error::new(SqlState::GroupingError, message).at(target.position.or(position)));
        }
        check_equality(target.ty, target.position.or(position))?;
        if has_sort_key(target.ty) {
            keyed.push((target.expr.clone(), target.ty));
        }
        Ok(vec![target.expr.clone()])
    }

    /// Puts an Aggregate on the plan and makes `exprs` expressions over it. `uses_from`: where the SELECT list's uses start.
    pub(super) fn aggregate(
        &self,
        plan: LogicalPlan,
        grouping: &Grouping,
        exprs: &mut [&mut Expr],
        uses_from: usize,
    ) -> Result<LogicalPlan> {
        let before = plan.schema().clone();
        let calls = find_aggregate_exprs(exprs.iter().map(|expr| &**expr));
        let plan = self.precomputed_subqueries(plan, exprs, &calls)?;
        let aggregates = find_aggregate_exprs(exprs.iter().map(|expr| &**expr));
        let uses_grouping = aggregates
            .iter()
            .any(|call| matches!(call, Expr::AggregateFunction(call) if call.func.name() == "grouping"));
        let mut keys: Vec<Expr> = Vec::new();
        for key in grouping.sets.iter().flatten() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let several = grouping.explicit_sets && grouping.sets.len() != 1 || uses_grouping;
        let mut replacements: Vec<(Expr, Expr)> = Vec::new();
        let mut calls = Vec::new();
        let (plan, group_exprs) = if several {
            let (plan, columns) = self.precomputed(plan, &keys)?;
            replacements.extend(keys.iter().cloned().zip(columns));
            (plan, grouping_sets(grouping, &replacements))
        } else {
            let mut group_exprs = Vec::new();
            for key in &keys {
                let keyed = grouping.keyed.iter().find(|(keyed, _)| keyed == key);
                if let Some((_, ty)) = keyed {
                    // Grouped by length or meaning; the first value of the group is shown.
                    let name = self.unique("first");
                    let first = datafusion::functions_aggregate::expr_fn::first_value(key.clone(), Vec::new());
                    calls.push(first.alias(&name));
                    group_exprs.push(sort_key(key.clone(), *ty)?.alias(self.unique("group")));
                    replacements.push((key.clone(), Expr::Column(Column::from_name(name))));
                } else if matches!(key, Expr::Column(_)) {
                    group_exprs.push(key.clone());
                    replacements.push((key.clone(), key.clone()));
                } else {
                    let name = self.unique("group");
                    group_exprs.push(key.clone().alias(&name));
                    replacements.push((key.clone(), Expr::Column(Column::from_name(name))));
                }
            }
            (plan, group_exprs)
        };
        let mut names = HashSet::new();
        for call in aggregates {
            self.check_grouping_call(&call, &keys)?;
            let planned = if several { map_grouping(call.clone(), &replacements)? } else { call.clone() };
            let name = planned.schema_name().to_string();
            // Two calls that differ in casts only have one name in DataFusion; a few rules want calls without an alias.
            if names.insert(name.clone()) {
                replacements.push((call, Expr::Column(Column::from_name(name))));
                calls.push(planned);
            } else {
                let name = self.unique("aggregate");
                replacements.push((call, Expr::Column(Column::from_name(&name))));
                calls.push(planned.alias(name));
            }
        }
        if group_exprs.is_empty() && calls.is_empty() {
            // HAVING alone makes one group of all rows; an Aggregate node needs something to compute.
            let count = datafusion::functions_aggregate::expr_fn::count(datafusion::logical_expr::lit(1_i64));
            calls.push(count.alias(self.unique("group")));
        }
        let plan = LogicalPlanBuilder::from(plan).aggregate(group_exprs, calls)?.build()?;
        for expr in exprs {
            let taken = std::mem::take(*expr);
            **expr = replace(taken, &replacements)?;
            self.check_grouped(expr, &before, plan.schema(), uses_from)?;
        }
        Ok(plan)
    }

    /// 42803 for an argument of `grouping(…)` that is no key.
    fn check_grouping_call(&self, call: &Expr, keys: &[Expr]) -> Result<()> {
        let Expr::AggregateFunction(call) = call else { return Ok(()) };
        if call.func.name() != "grouping" {
            return Ok(());
        }
        let Some(stray) = call.params.args.iter().find(|argument| !keys.contains(argument)) else { return Ok(()) };
        let arguments = self.grouping_arguments.borrow();
        let position = arguments.iter().find(|(argument, _)| argument == stray).and_then(|(_, position)| *position);
        let message = "arguments to GROUPING must be grouping expressions of the associated query level";
        Err(Error::new(SqlState::GroupingError, message).at(position))
    }

    /// Scalar subqueries inside calls of aggregates or window functions become columns below: DataFusion joins them in projections and filters only.
    pub(super) fn precomputed_subqueries(
        &self,
        plan: LogicalPlan,
        exprs: &mut [&mut Expr],
        calls: &[Expr],
    ) -> Result<LogicalPlan> {
        let mut found: Vec<Expr> = Vec::new();
        for call in calls {
            call.apply(|expr| {
                if matches!(expr, Expr::ScalarSubquery(_)) && !found.contains(expr) {
                    found.push(expr.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        if found.is_empty() {
            return Ok(plan);
        }
        let (plan, columns) = self.precomputed(plan, &found)?;
        let replacements: Vec<(Expr, Expr)> = found.into_iter().zip(columns).collect();
        for expr in exprs {
            let taken = std::mem::take(*expr);
            let replaced = taken.transform_down(|expr| match expr {
                expr if calls.contains(&expr) => {
                    let replaced = replace(expr, &replacements).map_err(Error::into_datafusion)?;
                    Ok(Transformed::new(replaced, true, TreeNodeRecursion::Jump))
                }
                other => Ok(Transformed::no(other)),
            })?;
            **expr = replaced.data;
        }
        Ok(plan)
    }

    /// Adds the keys that are no columns yet as columns; gives each key's column.
    fn precomputed(&self, plan: LogicalPlan, keys: &[Expr]) -> Result<(LogicalPlan, Vec<Expr>)> {
        let mut exprs = plan_columns(&plan);
        let mut columns = Vec::new();
        for key in keys {
            if matches!(key, Expr::Column(_)) {
                columns.push(key.clone());
            } else {
                let name = self.unique("group");
                exprs.push(key.clone().alias(&name));
                columns.push(Expr::Column(Column::from_name(name)));
            }
        }
        Ok((LogicalPlanBuilder::from(plan).project(exprs)?.build()?, columns))
    }

    fn check_grouped(&self, expr: &Expr, before: &DFSchemaRef, after: &DFSchemaRef, uses_from: usize) -> Result<()> {
        let ungrouped = |column: &Column| before.has_column(column) && !after.has_column(column);
        let mut error = None;
        expr.apply(|expr| {
            let subquery = match expr {
                Expr::Column(column) => {
                    if ungrouped(column) {
                        error = Some(self.ungrouped(column, uses_from, false));
                    }
                    None
                }
                Expr::ScalarSubquery(subquery) => Some(subquery),
                Expr::Exists(exists) => Some(&exists.subquery),
                Expr::InSubquery(subquery) => Some(&subquery.subquery),
                Expr::SetComparison(comparison) => Some(&comparison.subquery),
                _ => None,
            };
            for outer in subquery.into_iter().flat_map(|subquery| &subquery.outer_ref_columns) {
                if let Expr::OuterReferenceColumn(_, column) = outer
                    && ungrouped(column)
                {
                    error = Some(self.ungrouped(column, uses_from, true));
                }
            }
            Ok(if error.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        error.map_or(Ok(()), Err)
    }

    fn ungrouped(&self, column: &Column, uses_from: usize, in_subquery: bool) -> Error {
        let uses = self.uses.borrow();
        let found = uses.iter().skip(uses_from).find(|found| found.column == *column);
        let label = found.map_or_else(|| column.name.clone(), |found| found.label.clone());
        let message = if in_subquery {
            format!("subquery uses ungrouped column \"{label}\" from outer query")
        } else {
            format!("column \"{label}\" must appear in the GROUP BY clause or be used in an aggregate function")
        };
        Error::new(SqlState::GroupingError, message).at(found.and_then(|found| found.position))
    }
}

fn grouping_sets(grouping: &Grouping, columns: &[(Expr, Expr)]) -> Vec<Expr> {
    let column = |key: &Expr| columns.iter().find(|(from, _)| from == key).map_or(key, |(_, to)| to).clone();
    let sets: Vec<Vec<Expr>> = grouping.sets.iter().map(|set| set.iter().map(column).collect()).collect();
    match <[Vec<Expr>; 1]>::try_from(sets) {
        Ok([only]) => only,
        Err(sets) => vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))],
    }
}

fn product(left: &[Vec<Expr>], right: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    left.iter()
        .flat_map(|a| {
            right.iter().map(|b| {
                let mut set = a.clone();
                set.extend(b.iter().filter(|key| !a.contains(key)).cloned());
                set
            })
        })
        .collect()
}

/// `grouping(…)` must name the precomputed columns.
fn map_grouping(call: Expr, replacements: &[(Expr, Expr)]) -> Result<Expr> {
    match call {
        Expr::AggregateFunction(mut call) if call.func.name() == "grouping" => {
            call.params.args =
                call.params.args.into_iter().map(|argument| replace(argument, replacements)).collect::<Result<_>>()?;
            Ok(Expr::AggregateFunction(call))
        }
        other => Ok(other),
    }
}

/// The expression with each part that equals a left side replaced by its right side, outermost first.
pub(super) fn replace(expr: Expr, replacements: &[(Expr, Expr)]) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| {
        Ok(match replacements.iter().find(|(from, _)| *from == expr) {
            Some((_, to)) => Transformed::new(to.clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(expr),
        })
    })?;
    Ok(replaced.data)
}
