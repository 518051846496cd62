//! `$1`, `$2`, …: their types as they become known, and their values once a client has bound them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ParamValues};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::scalar::ScalarValue;
use sqlparser::ast;

use super::bind::filled::{self, Purpose};
use super::bind::{Binder, BoundQuery};
use super::relations::{RelationColumn, Relations};
use super::typing::TypingContext;
use crate::builtins::Context;
use crate::encode::types::{PgType, arrow_type, format_type};
use crate::engine::nested;
use crate::error::{Error, Result, SqlState};
use crate::quality::proof::Proof;
use crate::sql::Name;

/// The parameters of one statement.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// Type of `$n` at n - 1; `None` until the client or the use has settled it.
    pub types: Vec<Option<PgType>>,
    /// Whether the text may name parameters: a prepared statement's may.
    pub allowed: bool,
    /// Values of a plan that is to be run, which holds them in place of the placeholders; `None` where only types are asked for.
    pub values: Option<Vec<ScalarValue>>,
    /// Whether what was bound depends on the session or the moment: then the plan is good for one execution.
    pub contextual: bool,
}

impl Parameters {
    /// For a text that was not prepared: `$1` is 42P02.
    pub fn none() -> Self {
        Self { values: Some(Vec::new()), ..Self::default() }
    }

    /// The same for a query that is kept, and not run now.
    pub fn to_define() -> Self {
        Self::default()
    }

    /// To find out a prepared statement's types; those the client gave are settled.
    pub fn to_infer(given: Vec<Option<PgType>>) -> Self {
        Self { types: given, allowed: true, ..Self::default() }
    }

    /// To run with values.
    pub fn bound(types: &[PgType], values: Vec<ScalarValue>) -> Self {
        Self {
            types: types.iter().copied().map(Some).collect(),
            allowed: true,
            values: Some(values),
            contextual: false,
        }
    }

    /// All types, or 42P18 for one that nothing settled.
    pub fn settled(&self) -> Result<Vec<PgType>> {
        let missing = |number: usize| {
            let message = format!("could not determine data type of parameter ${}", number + 1);
            Error::new(SqlState::IndeterminateDatatype, message)
        };
        self.types.iter().enumerate().map(|(number, ty)| ty.ok_or_else(|| missing(number))).collect()
    }

    /// Runs a binding with these parameters and puts the values, if there are any, into its plan.
    pub(super) fn with<T>(
        &mut self,
        context: &Arc<Context>,
        bind: impl FnOnce(&TypingContext) -> Result<T>,
    ) -> Result<T> {
        let typing = TypingContext {
            context: Arc::clone(context),
            parameters: RefCell::new(std::mem::take(&mut self.types)),
            parameters_allowed: self.allowed,
            contextual: Cell::new(false),
            literals: RefCell::default(),
            pinned: RefCell::default(),
        };
        let bound = bind(&typing);
        self.contextual |= typing.contextual.get();
        self.types = typing.parameters.into_inner();
        bound
    }

    fn fill(&self, mut bound: BoundQuery) -> Result<BoundQuery> {
        bound.plan = self.fill_plan(bound.plan)?;
        Ok(bound)
    }

    pub(super) fn fill_plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        match self.values.as_ref().filter(|values| !values.is_empty()) {
            Some(values) => {
                let values = ParamValues::from(values.clone());
                let fill = |plan: LogicalPlan| plan.with_param_values(values.clone());
                Ok(nested::map_inputs(fill(plan)?, &fill)?)
            }
            None => Ok(plan),
        }
    }
}

/// Binds a query.
pub fn bind_query(
    query: &ast::Query,
    context: &Arc<Context>,
    relations: &Relations,
    source: &str,
    parameters: &mut Parameters,
) -> Result<BoundQuery> {
    let values = parameters.values.clone();
    let bound = parameters
        .with(context, |typing| Binder::new(typing, relations, source).with_values(values).bind_query(query))?;
    parameters.fill(bound)
}

/// Where INSERT's rows go.
pub struct InsertTarget<'a> {
    pub relation: &'a str,
    pub columns: &'a [RelationColumn],
    /// The column list of the statement; empty for all columns.
    pub named: &'a [Name],
}

/// Binds INSERT's rows: the plan gives exactly the target's columns. No source is DEFAULT VALUES.
pub fn bind_insert(
    target: &InsertTarget<'_>,
    query: Option<&ast::Query>,
    context: &Arc<Context>,
    relations: &Relations,
    source: &str,
    parameters: &mut Parameters,
) -> Result<BoundQuery> {
    let values = parameters.values.clone();
    let bound = parameters.with(context, |typing| {
        let binder = Binder::new(typing, relations, source).with_values(values);
        binder.bind_insert(target.relation, target.columns, target.named, query)
    })?;
    parameters.fill(bound)
}

/// A one-row plan of constant expressions, coerced to the types: EXECUTE's arguments.
pub fn bind_constants(
    statement: &str,
    arguments: &[ast::Expr],
    types: &[PgType],
    context: &Arc<Context>,
    source: &str,
) -> Result<LogicalPlan> {
    let relations = Relations::default();
    let exprs = Parameters::none()
        .with(context, |typing| Binder::new(typing, &relations, source).bind_arguments(statement, arguments, types))?;
    let named = exprs.into_iter().enumerate().map(|(number, expr)| expr.alias(format!("argument {number}")));
    Ok(LogicalPlanBuilder::empty(true).project(named)?.build()?)
}

/// The value of a constant expression. `what` names its place for the error of another type.
///
/// # Errors
/// 42804 when the expression is of another type; what computing it gives.
pub fn constant_value(
    what: &str,
    expression: &ast::Expr,
    ty: PgType,
    context: &Arc<Context>,
    source: &str,
) -> Result<ScalarValue> {
    let relations = Relations::default();
    let expressions = std::slice::from_ref(expression);
    let exprs = Parameters::none()
        .with(context, |typing| Binder::new(typing, &relations, source).bind_arguments(what, expressions, &[ty]));
    let exprs = exprs.map_err(|error| match error.sqlstate() {
        SqlState::DatatypeMismatch => {
            let message = format!("argument of {what} must be type {}", format_type(ty));
            Error::new(SqlState::DatatypeMismatch, message).at(error.position())
        }
        // The rules are those of EXECUTE's arguments, the words are not.
        _ => Error::new(error.sqlstate(), error.message().replace("EXECUTE parameter", what)).at(error.position()),
    })?;
    let Some(expr) = exprs.into_iter().next() else { return Err(Error::internal("a constant was not bound")) };
    evaluated(expr, &[])
}

/// The value of an expression that no row is needed for, with these values of its parameters.
pub(super) fn evaluated(expr: Expr, values: &[ScalarValue]) -> Result<ScalarValue> {
    let values = ParamValues::from(values.to_vec());
    let filled = expr.transform_up(|part| {
        let Expr::Placeholder(parameter) = part else { return Ok(Transformed::no(part)) };
        let (value, metadata) = values.get_placeholders_with_values(&parameter.id)?.into_inner();
        Ok(Transformed::yes(Expr::Literal(value, metadata)))
    })?;
    let schema = DFSchema::empty();
    let expr = evaluable(filled.data, &schema)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(schema.inner()), Vec::new(), &options)?;
    match expr.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => Ok(ScalarValue::try_from_array(&values, 0)?),
    }
}

/// Binds a CHECK constraint's condition to see that it may be one.
pub fn bind_condition(
    table: &str,
    columns: &[RelationColumn],
    condition: &ast::Expr,
    context: &Arc<Context>,
    source: &str,
) -> Result<Expr> {
    alone(context, source, |binder| binder.bind_condition(table, columns, condition))
}

/// Binds what is expected of rows to see that it may be.
pub fn bind_expectation(
    table: &str,
    columns: &[RelationColumn],
    condition: &ast::Expr,
    context: &Arc<Context>,
    source: &str,
) -> Result<Expr> {
    alone(context, source, |binder| binder.bind_expectation(table, columns, condition))
}

/// Binds what reads no relations and takes no parameters.
fn alone<T>(context: &Arc<Context>, source: &str, bind: impl FnOnce(&Binder<'_>) -> Result<T>) -> Result<T> {
    let relations = Relations::default();
    Parameters::none().with(context, |typing| bind(&Binder::new(typing, &relations, source)))
}

/// A CHECK constraint's condition, ready to be evaluated on batches of the schema.
pub fn condition_on_rows(
    table: &str,
    columns: &[RelationColumn],
    condition: &ast::Expr,
    rows: &SchemaRef,
    context: &Arc<Context>,
    source: &str,
) -> Result<Arc<dyn PhysicalExpr>> {
    let expr = over_rows(bind_condition(table, columns, condition, context, source)?, columns, rows)?;
    evaluable(expr, &DFSchema::try_from(rows.as_ref().clone())?)
}

/// A condition on rows, and how it may be proved.
#[derive(Debug, Clone)]
pub struct RowCondition {
    pub expr: Arc<dyn PhysicalExpr>,
    pub proof: Option<Arc<Proof>>,
}

/// What is expected of rows, ready to be evaluated on batches of exactly the schema, and how it may be proved: texts are
/// compared as they come, where a CHECK's condition is ready for both of their carriers and copies one of them.
pub fn expectation_on_rows(
    table: &str,
    columns: &[RelationColumn],
    condition: &ast::Expr,
    rows: &SchemaRef,
    context: &Arc<Context>,
    source: &str,
) -> Result<RowCondition> {
    let bound = bind_condition(table, columns, condition, context, source)?;
    let expr = over_carriers(bound, columns, rows, |given, bound| given == bound || is_text(given) && is_text(bound))?;
    let expr = unguarded(expr, &DFSchema::try_from(rows.as_ref().clone())?)?;
    let proof = Proof::of(&expr, rows).map(Arc::new);
    Ok(RowCondition { expr: crate::engine::guarded_value(&expr)?, proof })
}

/// An expression of a table's definition: a default, what a column is generated from, USING. Columns are unqualified.
pub fn bind_stored(
    (table, columns): (&str, &[RelationColumn]),
    column: &RelationColumn,
    expression: &ast::Expr,
    purpose: Purpose,
    context: &Arc<Context>,
    source: &str,
) -> Result<Expr> {
    let relations = Relations::default();
    Parameters::none().with(context, |typing| {
        let fixed = filled::fixed_zone(typing);
        let typing = if purpose == Purpose::Generated { &fixed } else { typing };
        let binder = Binder::new(typing, &relations, source);
        Ok(binder.bind_stored(table, columns, expression, column, purpose)?.expr)
    })
}

/// The type that a default's expression has by itself.
pub fn type_of_default(expression: &ast::Expr, context: &Arc<Context>, source: &str) -> Result<PgType> {
    alone(context, source, |binder| binder.type_of_default(expression))
}

/// The same, ready to be evaluated on batches of the schema.
pub fn stored_on_rows(
    (table, columns): (&str, &[RelationColumn]),
    column: &RelationColumn,
    purpose: Purpose,
    rows: &SchemaRef,
    context: &Arc<Context>,
    text: &str,
) -> Result<Arc<dyn PhysicalExpr>> {
    let expression = crate::sql::parse_expression(text)?;
    let bound = bind_stored((table, columns), column, &expression, purpose, context, text)?;
    let expr = over_rows(bound, columns, rows)?;
    evaluable(expr, &DFSchema::try_from(rows.as_ref().clone())?)
}

/// An expression that no plan holds, made ready as the optimizer would: functions that others stand for, texts as views or not.
/// Nothing else is simplified: batches have other texts than their schema says.
fn evaluable(expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(crate::engine::guarded_value(&unguarded(expr, schema)?)?)
}

fn unguarded(expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let coerced = ExprSimplifier::new(context.clone()).coerce(expr, schema)?;
    let expr = coerced.transform_up(|expr| {
        let Expr::ScalarFunction(call) = expr else { return Ok(Transformed::no(expr)) };
        let func = Arc::clone(&call.func);
        Ok(match func.simplify(call.args, &context)? {
            ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
            ExprSimplifyResult::Original(args) => {
                Transformed::no(Expr::ScalarFunction(ScalarFunction::new_udf(func, args)))
            }
        })
    })?;
    let expr = expr.data;
    Ok(create_physical_expr(&expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?)
}

/// The condition over rows whose columns have other carriers than those that it was bound to: texts come as views or not,
/// batch by batch, and comparisons want both sides alike.
pub fn over_rows(condition: Expr, columns: &[RelationColumn], rows: &SchemaRef) -> Result<Expr> {
    over_carriers(condition, columns, rows, |given, bound| given == bound)
}

fn over_carriers(
    condition: Expr,
    columns: &[RelationColumn],
    rows: &SchemaRef,
    is_same: impl Fn(&DataType, &DataType) -> bool,
) -> Result<Expr> {
    let carrier = |name: &str| {
        let bound = arrow_type(columns.iter().find(|column| column.name == name)?.ty);
        (!is_same(rows.field_with_name(name).ok()?.data_type(), &bound)).then_some(bound)
    };
    let cast_columns = condition.transform_up(|expr| match expr {
        Expr::Column(column) => Ok(match carrier(&column.name) {
            Some(bound) => Transformed::yes(cast(Expr::Column(column), bound)),
            None => Transformed::no(Expr::Column(column)),
        }),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(cast_columns.data)
}

/// The query's rows under a new table's names and types, where both differ from what the query gives.
pub fn cast_columns(bound: BoundQuery, wanted: &[(String, PgType)]) -> Result<LogicalPlan> {
    let schema = Arc::clone(bound.plan.schema());
    let exprs = schema.columns().into_iter().zip(wanted).map(|(column, (name, ty))| {
        let wanted = arrow_type(*ty);
        let given = schema.as_ref().as_arrow().field(schema.index_of_column(&column)?).data_type();
        let expr = Expr::Column(column.clone());
        let same = *given == wanted || is_text(given) && is_text(&wanted);
        Ok(if same { expr } else { cast(expr, wanted) }.alias(name))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
