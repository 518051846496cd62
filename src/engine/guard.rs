//! AND and OR whose right side may fail on rows that the left side has decided.
//!
//! ```text
//! all operands over all rows ─ no error ─→ the answer, as fast as ever
//!                            └ an error ──→ again, each operand over the rows that the others leave undecided
//! ```
//! The engine evaluates both sides over a whole batch, and its rules sort, split and merge the conjuncts of filters. So in a
//! filter the order does not count: a row that one conjunct rejects makes no other one fail. Elsewhere it is from left to
//! right. A failing batch is evaluated a second time and nothing else costs more, so nobody has to know what can fail.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;

/// The plan with conditions that guard each other and subqueries that fail when they are needed. It is the last thing done to a plan: the engine's rules look into
/// conditions.
pub(super) fn guarded(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let changed = plan.transform_up(|node| {
        Ok(match guarded_node(&node)? {
            Some(node) => Transformed::yes(node),
            None => Transformed::no(node),
        })
    })?;
    Ok(changed.data)
}

fn guarded_node(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        let Some(predicate) = guarded_condition(filter.predicate())? else { return Ok(None) };
        return Ok(Some(Arc::new(FilterExecBuilder::from(filter).with_predicate(predicate).build()?)));
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let Some(filter) = guarded_join(join.filter())? else { return Ok(None) };
        return Ok(Some(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let Some(filter) = guarded_join(join.filter())? else { return Ok(None) };
        return Ok(Some(join.builder().with_filter(Some(filter)).build_exec()?));
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        return guarded_projection(projection);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return guarded_aggregate(aggregate);
    }
    if let Some(subqueries) = node.downcast_ref::<ScalarSubqueryExec>() {
        return Ok(Some(super::subqueries::lazy(subqueries)));
    }
    Ok(None)
}

fn guarded_join(filter: Option<&JoinFilter>) -> Result<Option<JoinFilter>> {
    let Some(filter) = filter else { return Ok(None) };
    let Some(condition) = guarded_condition(filter.expression())? else { return Ok(None) };
    Ok(Some(JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema()))))
}

fn guarded_projection(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if !projection.expr().iter().any(|column| needs_guard(&column.expr)) {
        return Ok(None);
    }
    let columns = projection.expr().iter().map(|column| {
        let expr = if needs_guard(&column.expr) { guarded_value(&column.expr)? } else { Arc::clone(&column.expr) };
        Ok(ProjectionExpr { expr, alias: column.alias.clone() })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let schema = projection.schema();
    let input = Arc::clone(projection.input());
    Ok(Some(Arc::new(ProjectionExec::try_new_with_schema_metadata(columns, input, &schema)?)))
}

/// FILTER's condition guards itself and the aggregate's arguments.
fn guarded_aggregate(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if aggregate.mode().input_mode() != AggregateInputMode::Raw {
        return Ok(None);
    }
    let mut changed = false;
    let (mut calls, mut filters) = (Vec::new(), Vec::new());
    for (call, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let Some(filter) = filter else {
            calls.push(Arc::clone(call));
            filters.push(None);
            continue;
        };
        let arguments = call.expressions();
        // A call that reads its rows in an order is made for that order.
        let guard = call.order_bys().is_empty() && arguments.iter().any(may_fail);
        let with_guard = guard.then(|| {
            let guarded = arguments.into_iter().map(|argument| {
                let filter = Arc::clone(filter);
                Arc::new(Chosen { argument, filter }) as Arc<dyn PhysicalExpr>
            });
            call.with_new_expressions(guarded.collect(), Vec::new())
        });
        match with_guard.flatten() {
            Some(call) => {
                changed = true;
                calls.push(Arc::new(call));
            }
            None => calls.push(Arc::clone(call)),
        }
        let condition = guarded_condition(filter)?;
        changed |= condition.is_some();
        filters.push(Some(condition.unwrap_or_else(|| Arc::clone(filter))));
    }
    if !changed {
        return Ok(None);
    }
    let input = Arc::clone(aggregate.input());
    let groups = aggregate.group_expr().clone();
    let node = AggregateExec::try_new(*aggregate.mode(), groups, calls, filters, input, aggregate.input_schema())?;
    Ok(Some(Arc::new(node.with_limit_options(aggregate.limit_options()))))
}

/// A filter's condition, where NULL is as good as false; `None` when it is well as it is.
fn guarded_condition(condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    if !needs_guard(condition) {
        return Ok(None);
    }
    Ok(Some(match chain(condition) {
        Some((Operator::And, _)) => Arc::new(Guard::new(condition, true)?),
        _ => guarded_value(condition)?,
    }))
}

/// Whether the expression has an AND or OR and something that may fail.
fn needs_guard(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let joins = |expr: &Arc<dyn PhysicalExpr>| Ok(chain(expr).is_some());
    may_fail(expr) && expr.exists(joins).unwrap_or(true)
}

/// Whether it is more than comparisons of columns and constants.
fn may_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let harmless = |expr: &Arc<dyn PhysicalExpr>| match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => binary.op().supports_propagation() || *binary.op() == Operator::Or,
        None => {
            expr.is::<Column>()
                || expr.is::<Literal>()
                || expr.is::<NotExpr>()
                || expr.is::<IsNullExpr>()
                || expr.is::<IsNotNullExpr>()
                || expr.is::<InListExpr>()
                || expr.is::<LikeExpr>()
        }
    };
    expr.exists(|expr| Ok(!harmless(expr))).unwrap_or(true)
}

/// The operands of `a AND b AND …` or `a OR b OR …`, in order.
fn chain(expr: &Arc<dyn PhysicalExpr>) -> Option<(Operator, Vec<&Arc<dyn PhysicalExpr>>)> {
    let op = *expr.downcast_ref::<BinaryExpr>().map(BinaryExpr::op)?;
    if !matches!(op, Operator::And | Operator::Or) {
        return None;
    }
    let mut operands = Vec::new();
    let mut pending = vec![expr];
    while let Some(next) = pending.pop() {
        match next.downcast_ref::<BinaryExpr>().filter(|binary| *binary.op() == op) {
            Some(binary) => pending.extend([binary.right(), binary.left()]),
            None => operands.push(next),
        }
    }
    Some((op, operands))
}

/// The expression with guards at its topmost ANDs and ORs, which have their own below.
pub fn guarded_value(expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    if !needs_guard(expr) {
        return Ok(Arc::clone(expr));
    }
    if chain(expr).is_some() {
        return Ok(Arc::new(Guard::new(expr, false)?));
    }
    let children = expr.children().into_iter().map(guarded_value).collect::<Result<Vec<_>>>()?;
    Arc::clone(expr).with_new_children(children)
}

/// A chain of ANDs or of ORs.
#[derive(Debug)]
struct Guard {
    /// As the engine evaluates it.
    whole: Arc<dyn PhysicalExpr>,
    op: Operator,
    operands: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether it is all of a filter's condition.
    filters: bool,
}

impl Guard {
    fn new(whole: &Arc<dyn PhysicalExpr>, filters: bool) -> Result<Self> {
        let (op, operands) = chain(whole).unwrap_or((Operator::And, vec![whole]));
        // A chain of one would be without end.
        let operands = match operands.as_slice() {
            [only] => vec![Arc::clone(*only)],
            operands => operands.iter().map(|operand| guarded_value(operand)).collect::<Result<_>>()?,
        };
        Ok(Self { whole: Arc::clone(whole), op, operands, filters })
    }

    /// From left to right, each operand for the rows that those before it leave undecided.
    fn in_order(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let and = self.op == Operator::And;
        let mut result = BooleanArray::from(vec![and; rows]);
        for operand in &self.operands {
            let decided = rows_with(&result, !and);
            let undecided = BooleanArray::new(!&decided, None);
            if !undecided.has_true() {
                break;
            }
            let value = operand.evaluate_selection(batch, &undecided)?.into_array(rows)?;
            let value = value.as_boolean();
            result = if and { and_kleene(&result, value)? } else { or_kleene(&result, value)? };
        }
        Ok(result)
    }

    /// The rows that all operands let through. One that fails waits for what the others reject.
    fn in_any_order(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let mut kept = BooleanArray::from(vec![true; rows]);
        let mut waiting: Vec<&Arc<dyn PhysicalExpr>> = self.operands.iter().collect();
        while !waiting.is_empty() {
            let mut failed = None;
            let mut still = Vec::new();
            let before = waiting.len();
            for operand in waiting {
                if !kept.has_true() {
                    return Ok(kept);
                }
                match operand.evaluate_selection(batch, &kept).and_then(|value| value.into_array(rows)) {
                    Ok(value) => kept = BooleanArray::new(kept.values() & &rows_with(value.as_boolean(), true), None),
                    Err(error) => {
                        failed.get_or_insert(error);
                        still.push(operand);
                    }
                }
            }
            match failed {
                Some(error) if still.len() == before => return Err(error),
                _ => waiting = still,
            }
        }
        Ok(kept)
    }
}

/// Where the array has this value.
fn rows_with(array: &BooleanArray, value: bool) -> BooleanBuffer {
    let values = if value { array.values().clone() } else { !array.values() };
    match array.nulls() {
        Some(nulls) => &values & nulls.inner(),
        None => values,
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.filters == other.filters && self.whole.eq(&other.whole)
    }
}

impl Eq for Guard {}

impl Hash for Guard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.whole.hash(state);
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.whole, f)
    }
}

impl PhysicalExpr for Guard {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if let Ok(value) = self.whole.evaluate(batch) {
            return Ok(value);
        }
        let value = if self.filters { self.in_any_order(batch)? } else { self.in_order(batch)? };
        Ok(ColumnarValue::Array(Arc::new(value)))
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.whole.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.whole]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(whole) = children.first() else { return Ok(self) };
        Ok(Arc::new(Self::new(whole, self.filters)?))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt_sql(f)
    }
}

/// An aggregate's argument, which counts for the rows of FILTER only.
#[derive(Debug)]
struct Chosen {
    argument: Arc<dyn PhysicalExpr>,
    filter: Arc<dyn PhysicalExpr>,
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.argument.eq(&other.argument) && self.filter.eq(&other.filter)
    }
}

impl Eq for Chosen {}

impl Hash for Chosen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.argument.hash(state);
        self.filter.hash(state);
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.argument, f)
    }
}

impl PhysicalExpr for Chosen {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if let Ok(value) = self.argument.evaluate(batch) {
            return Ok(value);
        }
        let condition = match guarded_condition(&self.filter)? {
            Some(condition) => condition.evaluate(batch)?,
            None => self.filter.evaluate(batch)?,
        };
        let condition = condition.into_array(batch.num_rows())?;
        let chosen = BooleanArray::new(rows_with(condition.as_boolean(), true), None);
        self.argument.evaluate_selection(batch, &chosen)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.argument.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.argument, &self.filter]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Ok([argument, filter]) = <[Arc<dyn PhysicalExpr>; 2]>::try_from(children) else { return Ok(self) };
        Ok(Arc::new(Self { argument, filter }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.argument.fmt_sql(f)
    }
}
