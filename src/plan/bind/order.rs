//! Whole queries: WITH, the body, ORDER BY, LIMIT, OFFSET and FETCH.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::{rank, row_number};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr,
    WindowFrame, cast, lit,
};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::expression::{Clause, Context, constant_of};
use super::names::fold;
use super::scope::{Environment, Scope};
use super::select::{SortKey, Target, sorted};
use super::window::constant;
use super::{Binder, Bound, Unknowns, settle};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::parameters::evaluated;
use crate::plan::typing::{self, Coercion};

impl Binder<'_> {
    /// A query at any level.
    pub(super) fn query(&self, query: &ast::Query, environment: &Environment<'_>, unknowns: Unknowns) -> Result<Bound> {
        self.deeper(|| self.query_here(query, environment, unknowns))
    }

    fn query_here(&self, query: &ast::Query, environment: &Environment<'_>, unknowns: Unknowns) -> Result<Bound> {
        let refused = [
            (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
            (query.for_clause.is_some(), "this FOR clause"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "a pipe operator"),
        ];
        if let Some((_, what)) = refused.iter().find(|(present, _)| *present) {
            return Err(Error::unsupported(what).at(self.position(query.span())));
        }
        let environment = self.with_clause(query.with.as_ref(), environment)?;
        let order_by = order_items(query)?;
        let bound = self.body(&query.body, order_by, &environment, unknowns)?;
        self.limit(bound, query, &environment)
    }

    fn body(
        &self,
        body: &ast::SetExpr,
        order_by: &[ast::OrderByExpr],
        environment: &Environment<'_>,
        unknowns: Unknowns,
    ) -> Result<Bound> {
        match body {
            ast::SetExpr::Select(select) => self.select(select, order_by, environment, unknowns),
            // Parentheses alone change nothing: ORDER BY after them may name what the SELECT inside sees.
            ast::SetExpr::Query(inner) if is_bare(inner) => self.body(&inner.body, order_by, environment, unknowns),
            ast::SetExpr::Query(inner) => {
                let bound = self.query(inner, environment, unknowns)?;
                self.sort_output(bound, order_by, environment)
            }
            ast::SetExpr::SetOperation { .. } => {
                let bound = self.set_operation(body, environment, unknowns)?;
                self.sort_output(bound, order_by, environment)
            }
            ast::SetExpr::Values(values) => {
                let bound = self.values(values, environment, unknowns)?;
                self.sort_output(bound, order_by, environment)
            }
            ast::SetExpr::Table(table) => {
                let bound = self.table_command(table, environment)?;
                self.sort_output(bound, order_by, environment)
            }
            ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
                Err(Error::unsupported("a statement that changes data inside a query"))
            }
        }
    }

    /// A branch of a set operation.
    pub(super) fn branch(
        &self,
        body: &ast::SetExpr,
        environment: &Environment<'_>,
        unknowns: Unknowns,
    ) -> Result<Bound> {
        self.deeper(|| self.body(body, &[], environment, unknowns))
    }

    /// `TABLE t` is `SELECT * FROM t`.
    fn table_command(&self, table: &ast::Table, environment: &Environment<'_>) -> Result<Bound> {
        let parts = [&table.schema_name, &table.table_name];
        let idents = parts.into_iter().flatten().map(|name| ast::Ident::new(name.clone())).collect::<Vec<_>>();
        let factor = ast::TableFactor::Table {
            name: ast::ObjectName::from(idents),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        let from = self.bind_tables(&[ast::TableWithJoins { relation: factor, joins: Vec::new() }], environment)?;
        let Some(item) = from.items.into_iter().next() else { return Err(Error::internal("TABLE without a table")) };
        let columns = item
            .columns
            .into_iter()
            .map(|column| super::BoundColumn {
                name: column.name,
                ty: column.ty,
                origin: column.origin,
                position: None,
                unsettled: None,
            })
            .collect();
        Ok(Bound { plan: from.plan, columns })
    }

    /// ORDER BY of a SELECT: an output name, an ordinal, or an expression over what FROM gives (a hidden target if need be).
    pub(super) fn order_by(
        &self,
        items: &[ast::OrderByExpr],
        targets: &mut Vec<Target>,
        scope: &Scope<'_>,
        distinct: bool,
    ) -> Result<Vec<SortKey>> {
        let mut keys = Vec::new();
        for item in items {
            let target = self.order_target(&item.expr, targets, scope, Clause::OrderBy)?;
            let position = self.start(&item.expr);
            targets.get(target).map_or(Ok(()), |target| typing::check_ordering(target.ty, position))?;
            if distinct && targets.get(target).is_some_and(|target| target.hidden) {
                let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                return Err(Error::new(SqlState::InvalidColumnReference, message).at(self.start(&item.expr)));
            }
            let ty = targets.get(target).map_or(PgType::UNKNOWN, |target| target.ty);
            keys.push(SortKey { target, ty, options: item.options });
        }
        Ok(keys)
    }

    fn order_target(
        &self,
        expr: &ast::Expr,
        targets: &mut Vec<Target>,
        scope: &Scope<'_>,
        clause: Clause,
    ) -> Result<usize> {
        let position = self.start(expr);
        let expr = bare(expr);
        if let ast::Expr::Identifier(ident) = expr
            && let Some(index) = self.output_name(&fold(ident), targets, clause.name(), position)?
        {
            return Ok(index);
        }
        if let Some(constant) = constant_of(expr) {
            let position = self.constant_position(expr);
            return ordinal(&constant, targets, clause.name()).map_err(|error| error.at(position));
        }
        let value = settle(self.typing, self.expr(expr, &Context::new(scope, clause))?)?;
        if let Some(index) = targets.iter().position(|target| target.expr == value.expr) {
            return Ok(index);
        }
        targets.push(Target::hidden(value));
        Ok(targets.len() - 1)
    }

    /// Where a constant stands that may begin with a minus sign.
    pub(super) fn constant_position(&self, expr: &ast::Expr) -> Option<u32> {
        match expr {
            ast::Expr::UnaryOp { .. } => self.source.word_before(expr.span()),
            _ => self.start(expr),
        }
    }

    /// The target of that output name. Two different ones are 42702.
    pub(super) fn output_name(
        &self,
        name: &str,
        targets: &[Target],
        clause: &str,
        position: Option<u32>,
    ) -> Result<Option<usize>> {
        let mut named = targets.iter().enumerate().filter(|(_, target)| !target.hidden && target.name == name);
        let Some((first, target)) = named.next() else { return Ok(None) };
        if named.any(|(_, other)| other.expr != target.expr) {
            let message = format!("{clause} \"{name}\" is ambiguous");
            return Err(Error::new(SqlState::AmbiguousColumn, message).at(position));
        }
        Ok(Some(first))
    }

    pub(super) fn distinct_on(
        &self,
        exprs: &[ast::Expr],
        targets: &mut Vec<Target>,
        sorts: &[SortKey],
        scope: &Scope<'_>,
    ) -> Result<Vec<usize>> {
        let mut keys: Vec<usize> = Vec::new();
        for expr in exprs {
            let key = self.order_target(expr, targets, scope, Clause::DistinctOn)?;
            targets.get(key).map_or(Ok(()), |target| typing::check_equality(target.ty, self.start(expr)))?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        // The sort keys must start with the ON keys, in any order.
        let mut ordered = Vec::new();
        for sort in sorts.iter().take_while(|sort| keys.contains(&sort.target)) {
            if !ordered.contains(&sort.target) {
                ordered.push(sort.target);
            }
        }
        if !sorts.is_empty() && ordered.len() < keys.len() && ordered.len() < sorts.len() {
            let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
            let position = exprs.first().and_then(|expr| self.start(expr));
            return Err(Error::new(SqlState::InvalidColumnReference, message).at(position));
        }
        ordered.extend(keys.iter().filter(|key| !ordered.contains(key)).copied().collect::<Vec<_>>());
        Ok(ordered)
    }

    /// ORDER BY of anything but a SELECT: only its columns' names and numbers count.
    fn sort_output(
        &self,
        mut bound: Bound,
        items: &[ast::OrderByExpr],
        environment: &Environment<'_>,
    ) -> Result<Bound> {
        if items.is_empty() {
            return Ok(bound);
        }
        let mut keys = Vec::new();
        for item in items {
            let position = self.start(&item.expr);
            let found = match bare(&item.expr) {
                ast::Expr::Identifier(ident) => {
                    let name = fold(ident);
                    let found = bound.columns.iter().position(|column| column.name == name);
                    Some(found.ok_or_else(|| {
                        let message = format!("column \"{name}\" does not exist");
                        Error::new(SqlState::UndefinedColumn, message).at(position)
                    })?)
                }
                other => match constant_of(other) {
                    Some(constant) => {
                        let position = self.constant_position(other);
                        Some(
                            ordinal_of(&constant, bound.columns.len(), "ORDER BY")
                                .map_err(|error| error.at(position))?,
                        )
                    }
                    None => None,
                },
            };
            let Some(target) = found else {
                if let ast::Expr::CompoundIdentifier(_) = bare(&item.expr) {
                    // No table of a branch is in sight here.
                    let scope = Scope::empty(environment);
                    self.expr(&item.expr, &Context::new(&scope, Clause::OrderBy))?;
                }
                let message = "invalid UNION/INTERSECT/EXCEPT ORDER BY clause";
                return Err(Error::new(SqlState::FeatureNotSupported, message)
                    .with_detail("Only result column names can be used, not expressions or functions.")
                    .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
                    .at(position));
            };
            let ty = bound.columns.get(target).map_or(PgType::TEXT, |column| column.ty);
            typing::check_ordering(ty, position)?;
            keys.push(SortKey { target, ty, options: item.options });
        }
        bound.plan = sorted(bound.plan, &keys)?;
        Ok(bound)
    }

    fn limit(&self, bound: Bound, query: &ast::Query, environment: &Environment<'_>) -> Result<Bound> {
        let (mut limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(Error::unsupported("LIMIT BY"));
                }
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, .. }) => {
                return Err(Error::new(SqlState::SyntaxError, "LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses.")
                    .at(self.start(offset)));
            }
        };
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(fetch) = &query.fetch {
            if fetch.percent {
                let position = fetch.quantity.as_ref().and_then(|number| self.start(number));
                return Err(Error::unsupported("FETCH … PERCENT").at(position));
            }
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        let state = SqlState::InvalidRowCountInLimitClause;
        let fetch = self.row_count(limit, Clause::Limit, state, environment);
        let fetch = fetch.map_err(|error| variable(error, limit, Clause::Limit, &bound))?;
        if limit.is_some_and(is_null) && query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties) {
            let message = "row count cannot be null in FETCH FIRST ... WITH TIES clause";
            return Err(Error::new(state, message));
        }
        let state = SqlState::InvalidRowCountInResultOffsetClause;
        let skip = self.row_count(offset, Clause::Offset, state, environment);
        let skip = skip.map_err(|error| variable(error, offset, Clause::Offset, &bound))?;
        if fetch.is_none() && skip.is_none() {
            return Ok(bound);
        }
        let plan = match fetch {
            Some(fetch) if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties) => {
                self.with_ties(bound.plan, skip, fetch)?
            }
            fetch => LogicalPlanBuilder::from(bound.plan).limit_by_expr(skip, fetch)?.build()?,
        };
        Ok(Bound { plan, columns: bound.columns })
    }

    /// FETCH … WITH TIES: the rows counted, and those that the order puts beside the last of them.
    fn with_ties(&self, plan: LogicalPlan, skip: Option<Expr>, fetch: Expr) -> Result<LogicalPlan> {
        let sort = match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.with_ties(Arc::unwrap_or_clone(projection.input), skip, fetch)?;
                return Ok(LogicalPlan::Projection(Projection::try_new(projection.expr, Arc::new(input))?));
            }
            LogicalPlan::Sort(sort) => sort,
            _ => return Err(Error::unsupported("FETCH … WITH TIES here")),
        };
        let columns = super::plan_columns(&sort.input);
        let frame = WindowFrame::new(Some(true));
        let order = by_equal(&sort)?;
        let ranked = |call: Expr| call.order_by(order.clone()).window_frame(frame.clone()).build();
        let numbers = [ranked(row_number())?, ranked(rank())?];
        let plan = LogicalPlanBuilder::window_plan(sort.input.as_ref().clone(), numbers)?;
        let made = super::plan_columns(&plan).into_iter().skip(columns.len());
        let [number, rank] = <[Expr; 2]>::try_from(made.map(|made| cast(made, DataType::Int64)).collect::<Vec<_>>())
            .map_err(|_| Error::internal("a window without its columns"))?;
        let zero = lit(0_i64);
        let skip = coalesce(vec![skip.unwrap_or_else(|| zero.clone()), zero.clone()]);
        let fetch = coalesce(vec![fetch, lit(i64::MAX)]);
        let counted = fetch.clone().gt(zero).and((rank - skip.clone()).lt_eq(fetch)).and(number.gt(skip));
        let plan = LogicalPlanBuilder::from(plan).filter(counted)?.project(columns)?.build()?;
        Ok(LogicalPlan::Sort(Sort { input: Arc::new(plan), ..sort }))
    }

    /// LIMIT's or OFFSET's expression as int8, computed where the plan is to be run; NULL is no limit.
    fn row_count(
        &self,
        expr: Option<&ast::Expr>,
        clause: Clause,
        state: SqlState,
        environment: &Environment<'_>,
    ) -> Result<Option<Expr>> {
        let Some(expr) = expr else { return Ok(None) };
        let position = self.start(expr);
        let scope = Scope::empty(environment);
        let value = self.expr(expr, &Context::new(&scope, clause))?;
        if !value.expr.column_refs().is_empty() || value.expr.contains_outer() {
            let message = format!("argument of {} must not contain variables", clause.name());
            return Err(Error::new(SqlState::InvalidColumnReference, message).at(position));
        }
        if super::values::has_subquery(&value.expr)? {
            return Err(Error::unsupported(format!("a subquery in {}", clause.name())).at(position));
        }
        if value.expr.exists(|part| Ok(matches!(part, Expr::ScalarFunction(call) if call.func.as_async().is_some())))? {
            return Err(Error::unsupported(format!("a function that waits in {}", clause.name())).at(position));
        }
        let given = value.ty;
        let value = typing::coerce(self.typing, value, PgType::INT8, Coercion::Assignment).map_err(|error| {
            if error.sqlstate() != SqlState::DatatypeMismatch {
                return error;
            }
            let given = super::insert::type_words(given);
            let message = format!("argument of {} must be type bigint, not type {given}", clause.name());
            Error::new(SqlState::DatatypeMismatch, message).at(position)
        })?;
        if value.expr.is_volatile() {
            self.typing.contextual.set(true);
        }
        let constant = constant(&value.expr);
        if constant.as_ref().is_some_and(ScalarValue::is_null) {
            return Ok(None);
        }
        // A statement may be prepared and a view defined with a count that cannot be computed, or is negative.
        let Some(values) = &self.values else { return Ok(Some(value.expr)) };
        let rows = match constant {
            Some(constant) => constant,
            None => evaluated(value.expr, values)?,
        };
        match rows.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(rows)) if rows < 0 => {
                Err(Error::new(state, format!("{} must not be negative", clause.name())))
            }
            ScalarValue::Int64(Some(rows)) => Ok(Some(lit(rows))),
            _ => Ok(None),
        }
    }
}

/// The order in which 0 and -0 are ties. Only the last key can still tell them apart: another one follows the others.
fn by_equal(sort: &Sort) -> Result<Vec<SortExpr>> {
    let mut order = sort.expr.clone();
    if let Some(last) = order.last_mut()
        && matches!(last.expr.get_type(sort.input.schema())?, DataType::Float32 | DataType::Float64)
    {
        last.expr = typing::equal_key(std::mem::take(&mut last.expr), PgType::FLOAT8)?;
    }
    Ok(order)
}

/// A column of the query is there, but must not be named in LIMIT.
fn variable(error: Error, expr: Option<&ast::Expr>, clause: Clause, bound: &Bound) -> Error {
    match expr {
        Some(ast::Expr::Identifier(ident))
            if error.sqlstate() == SqlState::UndefinedColumn
                && bound.columns.iter().any(|column| column.name == fold(ident)) =>
        {
            let message = format!("argument of {} must not contain variables", clause.name());
            Error::new(SqlState::InvalidColumnReference, message).at(error.position())
        }
        _ => error,
    }
}

/// Whether it says NULL in so many words.
fn is_null(expr: &ast::Expr) -> bool {
    matches!(bare(expr), ast::Expr::Value(value) if value.value == ast::Value::Null)
}

/// The expression without parentheses, which mean nothing.
fn bare(mut expr: &ast::Expr) -> &ast::Expr {
    while let ast::Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

fn order_items(query: &ast::Query) -> Result<&[ast::OrderByExpr]> {
    let Some(order_by) = &query.order_by else { return Ok(&[]) };
    match &order_by.kind {
        ast::OrderByKind::Expressions(items) if order_by.interpolate.is_none() => {
            if items.iter().any(|item| item.with_fill.is_some()) {
                return Err(Error::unsupported("WITH FILL"));
            }
            Ok(items)
        }
        ast::OrderByKind::Expressions(_) => Err(Error::unsupported("INTERPOLATE")),
        ast::OrderByKind::All(_) => Err(Error::unsupported("ORDER BY ALL")),
    }
}

fn is_bare(query: &ast::Query) -> bool {
    query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty()
}

/// The target that a constant of GROUP BY or ORDER BY counts to. 42P10 out of range, 42601 for no integer.
pub(super) fn ordinal(value: &ast::Value, targets: &[Target], clause: &str) -> Result<usize> {
    ordinal_of(value, targets.iter().filter(|target| !target.hidden).count(), clause)
}

fn ordinal_of(value: &ast::Value, columns: usize, clause: &str) -> Result<usize> {
    let number = match value {
        ast::Value::Number(digits, _) => digits.parse::<i64>().ok(),
        _ => None,
    };
    let Some(number) = number else {
        return Err(Error::new(SqlState::SyntaxError, format!("non-integer constant in {clause}")));
    };
    match usize::try_from(number) {
        Ok(index) if (1..=columns).contains(&index) => Ok(index - 1),
        _ => {
            let message = format!("{clause} position {number} is not in select list");
            Err(Error::new(SqlState::InvalidColumnReference, message))
        }
    }
}
