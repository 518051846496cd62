//! Set-returning functions: each becomes lists that an Unnest node opens, in lock-step when there are several.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Column, NullHandling, ScalarValue, UnnestOptions};
use datafusion::functions_nested::expr_fn as nested;
use datafusion::logical_expr::expr::Unnest;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit, when};

use super::expression::{Clause, Context};
use super::{Binder, plan_columns};
use crate::builtins::functions::{self, Body, SetFunction};
use crate::encode::types::{PgType, arrow_type, element_of, oid};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Resolved, Typed};

/// One column of a set: a list for each input row.
pub(super) struct SetColumn {
    /// The column's name where the function has its own (`x`, `n`).
    pub name: Option<&'static str>,
    pub list: Expr,
    pub ty: PgType,
    /// The Arrow type to cast elements to, where the list has another.
    pub element: Option<DataType>,
}

impl SetColumn {
    fn new(list: Expr, ty: PgType) -> Self {
        Self { name: None, list, ty, element: None }
    }

    /// An element as a value of its type.
    pub(super) fn value(&self, element: Expr) -> Expr {
        match &self.element {
            Some(data_type) => cast(element, data_type.clone()),
            None => element,
        }
    }
}

impl Binder<'_> {
    /// A set-returning call in a SELECT list: an `Unnest` expression that [`Self::unnest_sets`] plans later.
    pub(super) fn set_call(&self, call: Resolved, context: &Context<'_, '_>, position: Option<u32>) -> Result<Typed> {
        if !context.clause.allows_sets() {
            let message = match context.clause {
                Clause::AggregateArgument => {
                    "aggregate function calls cannot contain set-returning function calls".to_owned()
                }
                Clause::WindowArgument => {
                    "window function calls cannot contain set-returning function calls".to_owned()
                }
                other => format!("set-returning functions are not allowed in {}", other.name()),
            };
            let error = Error::new(SqlState::FeatureNotSupported, message).at(position);
            return Err(match context.clause {
                Clause::AggregateArgument | Clause::WindowArgument => {
                    error.with_hint("You might be able to move the set-returning function into a LATERAL FROM item.")
                }
                _ => error,
            });
        }
        for argument in &call.arguments {
            if super::window::has_set(&argument.expr)? {
                return Err(Error::unsupported("a set-returning function inside another one").at(position));
            }
        }
        let columns = self.set_columns(&call, position)?;
        for argument in &call.arguments {
            // A set of several columns reads its arguments for each.
            self.note_copies(&argument.expr, columns.len().saturating_sub(1), position)?;
        }
        let opened = |column: &SetColumn| column.value(Expr::Unnest(Unnest::new(column.list.clone())));
        match columns.as_slice() {
            [column] => Ok(Typed { expr: opened(column), ty: column.ty, position }),
            columns => {
                let field = |column: &SetColumn| (column.name.unwrap_or("value").to_owned(), opened(column), column.ty);
                let fields = columns.iter().map(field).collect();
                Ok(Typed { expr: super::expression::row::record(fields), ty: PgType::RECORD, position })
            }
        }
    }

    /// The lists that a set-returning call stands for.
    pub(super) fn set_columns(&self, call: &Resolved, position: Option<u32>) -> Result<Vec<SetColumn>> {
        let Body::Set(function) = &call.function.body else {
            return Err(Error::internal("no set-returning function"));
        };
        let args: Vec<Expr> = call.arguments.iter().map(|value| value.expr.clone()).collect();
        let unsupported = || Error::unsupported(format!("the function {}", call.function.name)).at(position);
        let lists = functions::set_lists(*function, call.function.name, call.returns, &args);
        if let Some(lists) = lists.map_err(|error| error.at(position))? {
            return Ok(lists
                .into_iter()
                .map(|(name, list, ty)| SetColumn { name, ..SetColumn::new(list, ty) })
                .collect());
        }
        match (function, args.as_slice()) {
            (SetFunction::GenerateSeries, [start, stop, step @ ..]) => {
                series(call.returns, start.clone(), stop.clone(), step.first().cloned())
                    .map(|column| vec![column])
                    .ok_or_else(unsupported)
            }
            (SetFunction::Unnest, [array]) => {
                let ty = call.arguments.first().and_then(|value| element_type(value.ty)).unwrap_or(call.returns);
                Ok(vec![SetColumn::new(array.clone(), ty)])
            }
            (SetFunction::GenerateSubscripts, [array, dimension, ..]) => {
                // Only the first dimension has subscripts in arrays of one dimension.
                let subscripts = subscripts(array.clone());
                let list = when(dimension.clone().eq(lit(1_i32)), subscripts).end()?;
                Ok(vec![SetColumn { element: Some(DataType::Int32), ..SetColumn::new(list, PgType::INT4) }])
            }
            (SetFunction::ExpandArray, [array]) => {
                let ty = call.arguments.first().and_then(|value| element_type(value.ty)).unwrap_or(PgType::TEXT);
                let x = SetColumn { name: Some("x"), ..SetColumn::new(array.clone(), ty) };
                let n = SetColumn::new(subscripts(array.clone()), PgType::INT4);
                Ok(vec![x, SetColumn { name: Some("n"), element: Some(DataType::Int32), ..n }])
            }
            (SetFunction::RegexpSplitToTable, _) => self.through("regexp_split_to_array", call, position),
            (SetFunction::StringToTable, _) => self.through("string_to_array", call, position),
            (SetFunction::Empty, _) => {
                let none = ScalarValue::List(ScalarValue::new_list_nullable(&[], &arrow_type(call.returns)));
                Ok(vec![SetColumn::new(lit(none), call.returns)])
            }
            (
                SetFunction::GenerateSeries
                | SetFunction::Unnest
                | SetFunction::GenerateSubscripts
                | SetFunction::ExpandArray
                | SetFunction::Keywords
                | SetFunction::Options
                | SetFunction::RegexpMatches
                | SetFunction::JsonArrayElements
                | SetFunction::JsonObjectKeys
                | SetFunction::JsonEach,
                _,
            ) => Err(unsupported()),
        }
    }

    /// A set that is the elements of another function's array.
    fn through(&self, function: &str, call: &Resolved, position: Option<u32>) -> Result<Vec<SetColumn>> {
        let resolved =
            typing::resolve_call(self.typing, Some("pg_catalog"), function, &call.arguments, false, position)?;
        let array = typing::scalar_call(self.typing, resolved)?;
        Ok(vec![SetColumn::new(array.expr, PgType::TEXT)])
    }

    /// Opens the sets of a SELECT list and makes `exprs` expressions over them.
    pub(super) fn unnest_sets(&self, plan: LogicalPlan, exprs: &mut [&mut Expr]) -> Result<LogicalPlan> {
        let mut sets: Vec<Expr> = Vec::new();
        for expr in exprs.iter() {
            expr.apply(|expr| {
                if matches!(expr, Expr::Unnest(_)) && !sets.contains(expr) {
                    sets.push(expr.clone());
                }
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            })?;
        }
        if sets.is_empty() {
            return Ok(plan);
        }
        let lists = sets.iter().map(|set| match set {
            Expr::Unnest(unnest) => unnest.expr.as_ref().clone(),
            other => other.clone(),
        });
        let (plan, columns) = self.unnest(plan, lists.collect(), NullHandling::Drop)?;
        let replacements: Vec<(Expr, Expr)> = sets.into_iter().zip(columns).collect();
        for expr in exprs {
            let taken = std::mem::take(*expr);
            **expr = super::aggregate::replace(taken, &replacements)?;
        }
        Ok(plan)
    }

    /// The plan with a row for each element; gives the columns of the elements.
    pub(super) fn unnest(
        &self,
        plan: LogicalPlan,
        lists: Vec<Expr>,
        null_handling: NullHandling,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let mut exprs = plan_columns(&plan);
        let mut columns = Vec::new();
        for list in lists {
            let name = self.unique("set");
            exprs.push(list.alias(&name));
            columns.push(Column::from_name(name));
        }
        let options = UnnestOptions { null_handling, recursions: Vec::new() };
        let plan = LogicalPlanBuilder::from(plan)
            .project(exprs)?
            .unnest_columns_with_options(columns.clone(), options)?
            .build()?;
        Ok((plan, columns.into_iter().map(Expr::Column).collect()))
    }
}

fn element_type(array: PgType) -> Option<PgType> {
    element_of(array.oid).map(|oid| PgType { oid, typmod: array.typmod })
}

/// 1 to the array's length.
pub(super) fn subscripts(array: Expr) -> Expr {
    nested::gen_series(lit(1_i64), cast(nested::array_length(array), DataType::Int64), lit(1_i64))
}

fn series(ty: PgType, start: Expr, stop: Expr, step: Option<Expr>) -> Option<SetColumn> {
    match ty.oid {
        oid::INT4 | oid::INT8 | oid::INT2 => {
            let wide = |expr: Expr| cast(expr, DataType::Int64);
            let step = step.unwrap_or_else(|| lit(1_i64));
            let list = nested::gen_series(wide(start), wide(stop), wide(step));
            Some(SetColumn { element: Some(arrow_type(ty)), ..SetColumn::new(list, ty) })
        }
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let list = nested::gen_series(start, stop, step?);
            Some(SetColumn { element: Some(arrow_type(ty)), ..SetColumn::new(list, ty) })
        }
        _ => None,
    }
}
