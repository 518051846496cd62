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
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::sort_properties::ExprProperties;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, lit,
};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode, PhysicalGroupBy};
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

/// The same for projections alone, before the engine's rules hand them to the scans of files.
#[derive(Debug)]
pub(super) struct GuardProjections;

impl PhysicalOptimizerRule for GuardProjections {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            let projection = node.downcast_ref::<ProjectionExec>().map(guarded_projection);
            Ok(match projection.transpose()?.flatten() {
                Some(node) => Transformed::yes(node),
                None => Transformed::no(node),
            })
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &'static str {
        "guard_projections"
    }

    fn schema_check(&self) -> bool {
        true
    }
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

fn guarded_aggregate(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if aggregate.mode().input_mode() != AggregateInputMode::Raw {
        return Ok(None);
    }
    let groups = aggregate.group_expr();
    let mut changed = groups.expr().iter().any(|(expr, _)| needs_guard(expr));
    let (mut calls, mut filters) = (Vec::new(), Vec::new());
    for (call, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let arguments = call.expressions();
        // A call that reads its rows in an order is made for that order.
        let guarded = match call.order_bys().is_empty() && arguments.iter().any(needs_guard) {
            true => {
                let arguments = arguments.iter().map(guarded_value).collect::<Result<_>>()?;
                call.with_new_expressions(arguments, Vec::new()).map(Arc::new)
            }
            false => None,
        };
        let condition = filter.as_ref().map(guarded_condition).transpose()?.flatten();
        changed |= guarded.is_some() || condition.is_some();
        calls.push(guarded.unwrap_or_else(|| Arc::clone(call)));
        filters.push(condition.or_else(|| filter.clone()));
    }
    if !changed {
        return Ok(None);
    }
    let exprs = groups.expr().iter().map(|(expr, name)| Ok((guarded_value(expr)?, name.clone())));
    let (nulls, sets) = (groups.null_expr().to_vec(), groups.groups().to_vec());
    let groups = PhysicalGroupBy::new(exprs.collect::<Result<_>>()?, nulls, sets, groups.has_grouping_set());
    let input = Arc::clone(aggregate.input());
    let node = AggregateExec::try_new(*aggregate.mode(), groups, calls, filters, input, aggregate.input_schema())?;
    Ok(Some(Arc::new(node.with_limit_options(aggregate.limit_options()))))
}

/// A filter's condition, where NULL is as good as false; `None` when it is well as it is.
fn guarded_condition(condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    if !needs_guard(condition) {
        return Ok(None);
    }
    let Some((Operator::And, operands)) = chain(condition) else { return guarded_value(condition).map(Some) };
    // The engine goes on knowing what comparisons say of columns.
    let (risky, harmless): (Vec<_>, Vec<_>) = operands.into_iter().cloned().partition(may_fail);
    let guard = Guard::of_filter(conjunction(risky), harmless.clone())?;
    Ok(Some(conjunction(harmless.into_iter().chain([Arc::new(guard) as Arc<dyn PhysicalExpr>]).collect())))
}

/// Whether the expression has an AND or OR without a guard and with something that may fail.
fn needs_guard(expr: &Arc<dyn PhysicalExpr>) -> bool {
    !expr.is::<Guard>() && may_fail(expr) && (chain(expr).is_some() || expr.children().into_iter().any(needs_guard))
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

fn conjunction(conjuncts: Vec<Arc<dyn PhysicalExpr>>) -> Arc<dyn PhysicalExpr> {
    let both = |left, right| Arc::new(BinaryExpr::new(left, Operator::And, right)) as Arc<dyn PhysicalExpr>;
    conjuncts.into_iter().reduce(both).unwrap_or_else(|| lit(true))
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
        return Ok(Arc::new(Guard::of_value(expr)?));
    }
    let children = expr.children().into_iter().map(guarded_value).collect::<Result<Vec<_>>>()?;
    Arc::clone(expr).with_new_children(children)
}

/// A chain of ANDs or of ORs.
#[derive(Debug)]
struct Guard {
    /// As the engine evaluates it.
    whole: Arc<dyn PhysicalExpr>,
    /// Of a filter's condition: the other conjuncts, which cannot fail.
    beside: Option<Vec<Arc<dyn PhysicalExpr>>>,
    op: Operator,
    operands: Vec<Arc<dyn PhysicalExpr>>,
}

impl Guard {
    fn of_value(whole: &Arc<dyn PhysicalExpr>) -> Result<Self> {
        Self::new(Arc::clone(whole), None)
    }

    fn of_filter(whole: Arc<dyn PhysicalExpr>, beside: Vec<Arc<dyn PhysicalExpr>>) -> Result<Self> {
        Self::new(whole, Some(beside))
    }

    fn new(whole: Arc<dyn PhysicalExpr>, beside: Option<Vec<Arc<dyn PhysicalExpr>>>) -> Result<Self> {
        let (op, own) = match chain(&whole) {
            Some((op, own)) if beside.is_none() || op == Operator::And => (op, own),
            _ => (Operator::And, vec![&whole]),
        };
        let operands = beside.iter().flatten().chain(own).map(guarded_value).collect::<Result<_>>()?;
        Ok(Self { whole, beside, op, operands })
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
        self.whole.eq(&other.whole) && self.beside == other.beside
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
        let value = if self.beside.is_some() { self.in_any_order(batch)? } else { self.in_order(batch)? };
        Ok(ColumnarValue::Array(Arc::new(value)))
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.whole.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        std::iter::once(&self.whole).chain(self.beside.iter().flatten()).collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        let Some(whole) = children.next() else { return Ok(self) };
        let beside = self.beside.is_some().then(|| children.collect());
        Ok(Arc::new(Self::new(whole, beside)?))
    }

    fn get_properties(&self, children: &[ExprProperties]) -> Result<ExprProperties> {
        Ok(children.first().cloned().unwrap_or_else(ExprProperties::new_unknown))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt_sql(f)
    }
}
