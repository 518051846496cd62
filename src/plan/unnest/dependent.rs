//! Pushes a domain of outer values down a subquery's plan, until nothing in it refers to the outer query.
//!
//! A dependent plan has the columns of the plan it was made of, under the same names, and the key columns: its rows for one
//! key are what the subquery gives for that combination of outer values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprFunctionExt as _, Join, JoinType, Limit, LogicalPlan,
    LogicalPlanBuilder, Projection, RecursiveQuery, Sort, SortExpr, SubqueryAlias, Union, Values, Window, WindowFrame,
    cast, lit,
};

use super::outer_columns;
use crate::error::{Error, Result};
use crate::plan::bind::plan_columns;
use crate::plan::null_safe;

/// The combinations of outer values that a subquery is asked for.
pub(super) struct Domain<'a> {
    input: &'a LogicalPlan,
    columns: Vec<Column>,
    unique: &'a dyn Fn(&str) -> String,
    /// Inside the recursive term of a query: where its rows so far, and with them the keys, come from.
    work_table: Option<WorkTable>,
}

struct WorkTable {
    name: String,
    scan: LogicalPlan,
    keys: Vec<Expr>,
}

/// A plan with key columns.
pub(super) struct Dependent {
    pub plan: LogicalPlan,
    /// One for each column of the domain, in order.
    pub keys: Vec<Expr>,
}

impl Dependent {
    /// These expressions and the keys.
    pub fn keeping(self, exprs: impl IntoIterator<Item = Expr>) -> Result<Self> {
        let exprs: Vec<Expr> = exprs.into_iter().chain(self.keys.iter().cloned()).collect();
        Ok(Self { plan: LogicalPlanBuilder::from(self.plan).project(exprs)?.build()?, keys: self.keys })
    }
}

impl<'a> Domain<'a> {
    pub fn new(input: &'a LogicalPlan, columns: Vec<Column>, unique: &'a dyn Fn(&str) -> String) -> Self {
        Self { input, columns, unique, work_table: None }
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The domain as a plan, under names of its own.
    fn rows(&self) -> Result<Dependent> {
        let (mut exprs, mut keys) = (Vec::new(), Vec::new());
        for column in &self.columns {
            let name = (self.unique)("key");
            exprs.push(Expr::Column(column.clone()).alias(&name));
            keys.push(Expr::Column(Column::from_name(name)));
        }
        let plan = LogicalPlanBuilder::from(self.input.clone()).project(exprs)?.distinct()?.build()?;
        Ok(Dependent { plan, keys })
    }

    fn is_needed_by(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(self.reads_work_table(plan)? || !outer_columns(plan, self.input.schema())?.is_empty())
    }

    fn reads_work_table(&self, plan: &LogicalPlan) -> Result<bool> {
        let Some(table) = &self.work_table else { return Ok(false) };
        Ok(plan
            .exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == table.name)))?)
    }

    /// Each key has a recursion of its own: the work table carries the keys from step to step.
    fn recursive(&self, query: RecursiveQuery) -> Result<Dependent> {
        let columns = plan_columns(&query.static_term);
        let start = self.push(Arc::unwrap_or_clone(query.static_term), false)?.keeping(columns)?;
        let fields = start.plan.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let table = Arc::new(CteWorkTable::new(&query.name, Arc::new(Schema::new(fields.collect::<Vec<_>>()))));
        let reference = TableReference::bare(query.name.as_str());
        let scan = LogicalPlanBuilder::scan(reference.clone(), provider_as_source(table), None)?.build()?;
        let carried = start.keys.iter().map(|key| {
            let (_, name) = key.qualified_name();
            Expr::Column(Column::new(Some(reference.clone()), name))
        });
        let work_table = Some(WorkTable { name: query.name.clone(), scan, keys: carried.collect() });
        let inner = Domain { input: self.input, columns: self.columns.clone(), unique: self.unique, work_table };
        let columns = plan_columns(&query.recursive_term);
        let step = inner.push(Arc::unwrap_or_clone(query.recursive_term), false)?.keeping(columns)?;
        let plan = LogicalPlanBuilder::from(start.plan)
            .to_recursive_query(query.name, step.plan, query.is_distinct)?
            .build()?;
        Ok(Dependent { plan, keys: start.keys })
    }

    /// The plan for each row of the domain. `top`: a key without rows may be missing where the plan gives one row of NULLs,
    /// since an outer join will give NULLs in any case.
    pub fn push(&self, plan: LogicalPlan, top: bool) -> Result<Dependent> {
        if !self.is_needed_by(&plan)? {
            let rows = self.rows()?;
            let plan = LogicalPlanBuilder::from(plan).cross_join(rows.plan)?.build()?;
            return Ok(Dependent { plan, keys: rows.keys });
        }
        match plan {
            LogicalPlan::TableScan(_) if self.work_table.is_some() => {
                let table = self.work_table.as_ref().ok_or_else(|| Error::internal("a work table went away"))?;
                Ok(Dependent { plan: table.scan.clone(), keys: table.keys.clone() })
            }
            LogicalPlan::RecursiveQuery(query) => self.recursive(query),
            LogicalPlan::Projection(projection) => self.projection(projection, top),
            LogicalPlan::Filter(filter) => {
                let input = self.push(Arc::unwrap_or_clone(filter.input), false)?;
                let predicate = self.bound(filter.predicate, &input.keys)?;
                let plan = LogicalPlanBuilder::from(input.plan).filter(predicate)?.build()?;
                Ok(Dependent { plan, keys: input.keys })
            }
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, top),
            LogicalPlan::Subquery(subquery) => self.push(Arc::unwrap_or_clone(subquery.subquery), top),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, top),
            LogicalPlan::Sort(Sort { expr, input, fetch }) => match fetch {
                Some(fetch) => {
                    let input = Arc::new(LogicalPlan::Sort(Sort { expr, input, fetch: None }));
                    let fetch = Some(Box::new(lit(i64::try_from(fetch).unwrap_or(i64::MAX))));
                    self.limit(Limit { skip: None, fetch, input })
                }
                None => self.push(Arc::unwrap_or_clone(input), top),
            },
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns = plan_columns(&input);
                let input = self.push(Arc::unwrap_or_clone(input), false)?.keeping(columns)?;
                Ok(Dependent { plan: LogicalPlanBuilder::from(input.plan).distinct()?.build()?, keys: input.keys })
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Unnest(unnest) => {
                let input = self.push(Arc::unwrap_or_clone(unnest.input), false)?;
                let plan = LogicalPlanBuilder::from(input.plan)
                    .unnest_columns_with_options(unnest.exec_columns, unnest.options)?
                    .build()?;
                Ok(Dependent { plan, keys: input.keys })
            }
            other => Err(Error::unsupported(format!("a correlated subquery over {}", other.display()))),
        }
    }

    /// The expression with keys in the place of outer references.
    fn bound(&self, expr: Expr, keys: &[Expr]) -> Result<Expr> {
        let bound = expr.transform(|expr| {
            let Expr::OuterReferenceColumn(_, column) = &expr else { return Ok(Transformed::no(expr)) };
            match self.columns.iter().position(|known| known == column).and_then(|index| keys.get(index)) {
                Some(key) => Ok(Transformed::yes(key.clone())),
                None => Ok(Transformed::no(expr)),
            }
        })?;
        Ok(bound.data)
    }

    /// The same, under the names that the expressions have in `plan`.
    fn bound_named(&self, exprs: Vec<Expr>, keys: &[Expr]) -> Result<Vec<Expr>> {
        let names = NamePreserver::new_for_projection();
        exprs
            .into_iter()
            .map(|expr| {
                let name = names.save(&expr);
                Ok(name.restore(self.bound(expr, keys)?))
            })
            .collect()
    }

    fn sorts(&self, sorts: Vec<SortExpr>, keys: &[Expr]) -> Result<Vec<SortExpr>> {
        sorts.into_iter().map(|sort| Ok(SortExpr { expr: self.bound(sort.expr, keys)?, ..sort })).collect()
    }

    fn projection(&self, projection: Projection, top: bool) -> Result<Dependent> {
        // A constant beside an aggregate's values would not be NULL for a missing key.
        let top = top && projection.expr.iter().all(|expr| matches!(expr.clone().unalias(), Expr::Column(_)));
        let input = self.push(Arc::unwrap_or_clone(projection.input), top)?;
        let exprs = self.bound_named(projection.expr, &input.keys)?;
        input.keeping(exprs)
    }

    fn alias(&self, alias: SubqueryAlias, top: bool) -> Result<Dependent> {
        let inner = alias.input.schema().columns();
        let input = self.push(Arc::unwrap_or_clone(alias.input), top)?;
        let exprs = inner.into_iter().zip(alias.schema.columns());
        input.keeping(exprs.map(|(inner, outer)| Expr::Column(inner).alias_qualified(outer.relation, outer.name)))
    }

    fn aggregate(&self, aggregate: Aggregate, top: bool) -> Result<Dependent> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(Error::unsupported("grouping sets in a correlated subquery"));
        }
        let scalar = aggregate.group_expr.is_empty();
        let columns = aggregate.schema.columns();
        let input = self.push(Arc::unwrap_or_clone(aggregate.input), false)?;
        let mut groups = self.bound_named(aggregate.group_expr, &input.keys)?;
        groups.extend(input.keys.iter().cloned());
        let calls = self.bound_named(aggregate.aggr_expr, &input.keys)?;
        let defaults = calls.iter().map(value_without_rows).collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlanBuilder::from(input.plan).aggregate(groups, calls)?.build()?;
        let grouped = Dependent { plan, keys: input.keys };
        if !scalar || (top && defaults.iter().all(ScalarValue::is_null)) {
            return Ok(grouped);
        }
        // One row for each key, also where the input has none.
        let rows = self.rows()?;
        let conditions = same_keys(&rows, &grouped)?;
        let plan = LogicalPlanBuilder::from(rows.plan).join_on(grouped.plan, JoinType::Left, conditions)?.build()?;
        let exprs = columns.into_iter().zip(defaults).map(|(column, default)| {
            let value = Expr::Column(column.clone());
            if default.is_null() {
                value
            } else {
                coalesce(vec![value, lit(default)]).alias_qualified(column.relation, column.name)
            }
        });
        Dependent { plan, keys: rows.keys }.keeping(exprs)
    }

    /// LIMIT and OFFSET count the rows of each key.
    fn limit(&self, limit: Limit) -> Result<Dependent> {
        let columns = plan_columns(&limit.input);
        let (input, sorts) = match Arc::unwrap_or_clone(limit.input) {
            LogicalPlan::Projection(projection) => {
                let below = LogicalPlan::Limit(Limit { input: projection.input, skip: limit.skip, fetch: limit.fetch });
                return self.projection(Projection::try_new(projection.expr, Arc::new(below))?, false);
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let below = LogicalPlan::Limit(Limit { input: alias.input, skip: limit.skip, fetch: limit.fetch });
                return self.alias(SubqueryAlias::try_new(Arc::new(below), alias.alias)?, false);
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (Arc::unwrap_or_clone(sort.input), sort.expr),
            other => (other, Vec::new()),
        };
        let input = self.push(input, false)?;
        let number = row_number()
            .partition_by(input.keys.clone())
            .order_by(self.sorts(sorts, &input.keys)?)
            .window_frame(WindowFrame::new(Some(true)))
            .build()?;
        let plan = LogicalPlanBuilder::window_plan(input.plan, [number])?;
        let Some(number) = plan_columns(&plan).pop() else { return Err(Error::internal("a window without columns")) };
        let number = cast(number, DataType::Int64);
        let mut builder = LogicalPlanBuilder::from(plan);
        let mut skipped = lit(0_i64);
        if let Some(skip) = limit.skip {
            skipped = coalesce(vec![self.bound(*skip, &input.keys)?, lit(0_i64)]);
            builder = builder.filter(number.clone().gt(skipped.clone()))?;
        }
        if let Some(fetch) = limit.fetch {
            let fetch = cast(self.bound(*fetch, &input.keys)?, DataType::Int64);
            builder = builder.filter((number - skipped).lt_eq(coalesce(vec![fetch, lit(i64::MAX)])))?;
        }
        Dependent { plan: builder.build()?, keys: input.keys }.keeping(columns)
    }

    fn distinct_on(&self, distinct: DistinctOn) -> Result<Dependent> {
        let input = self.push(Arc::unwrap_or_clone(distinct.input), false)?;
        let mut on: Vec<Expr> = input.keys.clone();
        on.extend(distinct.on_expr.into_iter().map(|expr| self.bound(expr, &input.keys)).collect::<Result<Vec<_>>>()?);
        let mut select = self.bound_named(distinct.select_expr, &input.keys)?;
        select.extend(input.keys.iter().cloned());
        let sorts = match distinct.sort_expr {
            Some(sorts) => {
                let keys = input.keys.iter().map(|key| key.clone().sort(true, false));
                Some(keys.chain(self.sorts(sorts, &input.keys)?).collect())
            }
            None => None,
        };
        let plan = LogicalPlanBuilder::from(input.plan).distinct_on(on, select, sorts)?.build()?;
        Ok(Dependent { plan, keys: input.keys })
    }

    fn window(&self, window: Window) -> Result<Dependent> {
        let columns = window.schema.columns();
        let input = self.push(Arc::unwrap_or_clone(window.input), false)?;
        let mut exprs = Vec::new();
        for expr in window.window_expr {
            let partitioned = self.bound(expr, &input.keys)?.transform(|expr| match expr {
                Expr::WindowFunction(mut function) => {
                    function.params.partition_by.extend(input.keys.iter().cloned());
                    Ok(Transformed::yes(Expr::WindowFunction(function)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            exprs.push(partitioned.data);
        }
        let count = exprs.len();
        let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input.plan))?);
        // A window's column is named after its text, which the keys have changed.
        let made = plan_columns(&plan);
        let made = made.iter().skip(made.len().saturating_sub(count)).cloned();
        let kept = columns.len().saturating_sub(count);
        let named = made
            .zip(columns.iter().skip(kept).cloned())
            .map(|(expr, name)| expr.alias_qualified(name.relation, name.name));
        let exprs: Vec<Expr> = columns.iter().take(kept).cloned().map(Expr::Column).chain(named).collect();
        Dependent { plan, keys: input.keys }.keeping(exprs)
    }

    /// Branches meet by position; their names and the keys are given anew on top.
    fn union(&self, union: Union) -> Result<Dependent> {
        let mut branches = Vec::new();
        for input in union.inputs {
            let columns = plan_columns(&input);
            branches.push(Arc::new(self.push(Arc::unwrap_or_clone(input), false)?.keeping(columns)?.plan));
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(branches)?);
        let fresh: Vec<Column> = self.columns.iter().map(|_| Column::from_name((self.unique)("key"))).collect();
        let names = union.schema.columns().into_iter().chain(fresh);
        let keys = names.clone().skip(union.schema.fields().len()).map(Expr::Column).collect();
        let exprs: Vec<Expr> = plan_columns(&plan)
            .into_iter()
            .zip(names)
            .map(|(expr, name)| expr.alias_qualified(name.relation, name.name))
            .collect();
        Ok(Dependent { plan: LogicalPlanBuilder::from(plan).project(exprs)?.build()?, keys })
    }

    fn values(&self, values: Values) -> Result<Dependent> {
        let names = values.schema.columns();
        let mut rows = Vec::new();
        for row in values.values {
            let exprs = row.into_iter().zip(&names).map(|(value, name)| value.alias(&name.name));
            rows.push(Arc::new(LogicalPlanBuilder::empty(true).project(exprs)?.build()?));
        }
        if rows.len() == 1
            && let Some(row) = rows.pop()
        {
            return self.push(Arc::unwrap_or_clone(row), false);
        }
        self.union(Union::try_new_with_loose_types(rows)?)
    }

    fn join(&self, join: Join) -> Result<Dependent> {
        let (left_needs, right_needs) = (self.is_needed_by(&join.left)?, self.is_needed_by(&join.right)?);
        let (push_left, push_right) = match join.join_type {
            JoinType::Inner => (left_needs || !right_needs, right_needs),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (true, right_needs),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (left_needs, true),
            JoinType::Full => (true, true),
            JoinType::LeftMark | JoinType::RightMark => {
                return Err(Error::unsupported("this join in a correlated subquery"));
            }
        };
        let left = self.side(join.left, push_left)?;
        let right = self.side(join.right, push_right)?;
        let keys = if push_left { left.keys.clone() } else { right.keys.clone() };
        let mut filter = Vec::new();
        if push_left && push_right {
            filter.extend(same_keys(&left, &right)?);
        }
        if let Some(condition) = join.filter {
            filter.push(self.bound(condition, &keys)?);
        }
        let on = join
            .on
            .into_iter()
            .map(|(a, b)| Ok((self.bound(a, &keys)?, self.bound(b, &keys)?)))
            .collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            on,
            filter.into_iter().reduce(Expr::and),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?);
        if join.join_type == JoinType::Full {
            return self.full(plan, &left.keys, &right.keys, join.schema.columns());
        }
        Ok(Dependent { plan, keys })
    }

    fn side(&self, plan: Arc<LogicalPlan>, push: bool) -> Result<Dependent> {
        let plan = Arc::unwrap_or_clone(plan);
        if push { self.push(plan, false) } else { Ok(Dependent { plan, keys: Vec::new() }) }
    }

    /// A full join's row has its key on the left or on the right.
    fn full(&self, plan: LogicalPlan, left: &[Expr], right: &[Expr], columns: Vec<Column>) -> Result<Dependent> {
        let mut exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        let mut keys = Vec::new();
        for (left, right) in left.iter().zip(right) {
            let name = (self.unique)("key");
            exprs.push(coalesce(vec![left.clone(), right.clone()]).alias(&name));
            keys.push(Expr::Column(Column::from_name(name)));
        }
        Ok(Dependent { plan: LogicalPlanBuilder::from(plan).project(exprs)?.build()?, keys })
    }
}

fn same_keys(left: &Dependent, right: &Dependent) -> Result<Vec<Expr>> {
    let pairs = left.keys.iter().cloned().zip(right.keys.iter().cloned());
    pairs.map(|(a, b)| null_safe::equal((a, left.plan.schema()), (b, right.plan.schema()))).collect()
}

/// What an aggregate answers over no rows.
fn value_without_rows(call: &Expr) -> Result<ScalarValue> {
    match call.clone().unalias() {
        Expr::AggregateFunction(call) => {
            let probe = call.func.default_value(&DataType::Null)?;
            Ok(if probe.is_null() { ScalarValue::Null } else { probe })
        }
        _ => Ok(ScalarValue::Null),
    }
}
