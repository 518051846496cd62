//! Window functions: OVER clauses, named windows, frames, and the Window nodes.

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::find_window_exprs;
use datafusion::logical_expr::{
    Case, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, SortExpr, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, cast, lit,
};
use sqlparser::ast;

use super::expression::aggregates::{Finish, computes_floats, sort_of};
use super::expression::{Clause, Context};
use super::names::fold;
use super::scope::Scope;
use super::values::has_subquery;
use super::{Binder, plan_columns};
use crate::builtins::functions::kernel::common_decimal;
use crate::builtins::functions::{Body, collected, float_frames, statistics};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::parameters::evaluated;
use crate::plan::typing::{self, Coercion, Resolved, Typed};

impl Binder<'_> {
    pub(super) fn window_call(
        &self,
        call: Resolved,
        over: &ast::WindowType,
        filter: &Option<Box<Expr>>,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        if !context.clause.allows_windows() {
            let (state, message) = match context.clause {
                Clause::AggregateArgument | Clause::Filter => (
                    SqlState::GroupingError,
                    "aggregate function calls cannot contain window function calls".to_owned(),
                ),
                Clause::WindowArgument => {
                    (SqlState::WindowingError, "window function calls cannot be nested".to_owned())
                }
                other => (SqlState::WindowingError, format!("window functions are not allowed in {}", other.name())),
            };
            return Err(Error::new(state, message).at(position));
        }
        let mut args: Vec<Expr> = call.arguments.iter().map(|value| value.expr.clone()).collect();
        let finish = Finish::of(&call);
        if let Some(collecting) = collected::of(call.function.name) {
            if collecting.direct > 0 || call.function.name == "mode" {
                let message = format!("OVER is not supported for ordered-set aggregate {}", call.function.name);
                return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
            }
            args = vec![(collecting.collect)(args)?];
        }
        self.settle_constants(call.function.name, &mut args, position)?;
        if let (true, [value, _, default]) = (matches!(call.function.name, "lag" | "lead"), args.as_mut_slice()) {
            let schema = &context.scope.schema;
            // The engine's function gives the value's type: a default with more digits would be rounded to it.
            if let Some(wide) = common_decimal([value.get_type(schema)?, default.get_type(schema)?].iter()) {
                *value = cast(std::mem::replace(value, lit(0)), wide);
            }
        }
        let nowhere = matches!(call.function.name, "lag" | "lead")
            && args.get(1).and_then(constant).is_some_and(|offset| offset.is_null());
        if let Some(refused) = refused_count(call.function.name, &args) {
            return Err(refused);
        }
        if call.function.name == "ntile" && args.first().and_then(constant).is_some_and(|buckets| buckets.is_null()) {
            return Ok(Typed { expr: lit(ScalarValue::Int32(None)), ty: call.returns, position });
        }
        for argument in &args {
            let nested = argument.exists(|expr| Ok(matches!(expr, Expr::WindowFunction(_))))?;
            if nested {
                let message = "window function calls cannot be nested";
                return Err(Error::new(SqlState::WindowingError, message).at(position));
            }
        }
        let fun = match &call.function.body {
            Body::Aggregate(udaf) => {
                if args.is_empty() {
                    args.push(lit(1_i64));
                }
                let bound = statistics::bound(call.function.name, &args).map_err(|error| error.at(position))?;
                let (udaf, left) = bound.unwrap_or_else(|| (udaf.clone(), std::mem::take(&mut args)));
                args = left;
                let name = call.function.name;
                // What is collected or counted is exact when values leave the frame.
                let rounds = computes_floats(&call) && collected::of(name).is_none() && !statistics::is_one(name);
                WindowFunctionDefinition::AggregateUDF(if rounds { float_frames::in_frame(udaf) } else { udaf })
            }
            Body::Window(udwf) => WindowFunctionDefinition::WindowUDF(udwf.clone()),
            Body::Scalar(_) | Body::Expression(_) | Body::InContext(_) | Body::Contextual(_) | Body::Set(_) => {
                return Err(Error::internal("no window function"));
            }
        };
        let window = self.window_spec(over, context)?;
        let params = WindowFunctionParams {
            args,
            partition_by: window.partition_by,
            order_by: window.order_by,
            window_frame: window.frame,
            filter: filter.clone(),
            null_treatment: None,
            distinct: false,
        };
        let expr = Expr::WindowFunction(Box::new(WindowFunction { fun, params }));
        let expr = match finish {
            Some(finish) => finish.apply(expr)?,
            None => expr,
        };
        // An offset of NULL gives NULL, where the engine takes it for none. The call stays: its arguments may be aggregates.
        let expr = if nowhere {
            Expr::Case(Case::new(None, vec![(Box::new(lit(false)), Box::new(expr))], None))
        } else {
            expr
        };
        Ok(Typed { expr, ty: call.returns, position })
    }

    /// Makes constants of the arguments that the engine asks for before there are rows.
    fn settle_constants(&self, function: &str, args: &mut [Expr], position: Option<u32>) -> Result<()> {
        let first = match function {
            "lag" | "lead" => 1,
            "ntile" => 0,
            _ => return Ok(()),
        };
        let what = format!("an argument of {function} that is no constant");
        for argument in args.iter_mut().skip(first) {
            *argument = self.constant_of_rows(std::mem::take(argument), &what, position)?;
        }
        Ok(())
    }

    /// What the engine takes as a constant: its value, or the expression itself where that hangs on parameters without values.
    /// 0A000 for one that may differ from row to row.
    fn constant_of_rows(&self, expr: Expr, what: &str, position: Option<u32>) -> Result<Expr> {
        if constant(&expr).is_some() {
            return Ok(expr);
        }
        if !is_fixed(&expr)? {
            return Err(Error::unsupported(what).at(position));
        }
        match &self.values {
            Some(values) => Ok(lit(evaluated(expr, values)?)),
            None if expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_))))? => Ok(expr),
            None => Ok(lit(evaluated(expr, &[])?)),
        }
    }

    fn window_spec(&self, over: &ast::WindowType, context: &Context<'_, '_>) -> Result<Window> {
        let inner = context.within(Clause::WindowDefinition);
        let spec = match over {
            ast::WindowType::NamedWindow(name) => self.named_window(name, context.scope)?,
            ast::WindowType::WindowSpec(spec) => self.merged_spec(spec, context.scope)?,
        };
        let mut partition_by = Vec::new();
        for expr in &spec.partition_by {
            let value = self.settled(expr, &inner)?;
            typing::check_equality(value.ty, value.position)?;
            partition_by.push(typing::equal_key(value.expr, value.ty)?);
        }
        let sorts = self.sorts(&spec.order_by, &inner)?;
        let ranged = spec.window_frame.as_ref().is_some_and(|frame| frame.units == ast::WindowFrameUnits::Range);
        let mut order_by: Vec<SortExpr> = Vec::with_capacity(sorts.len());
        for (value, options) in &sorts {
            typing::check_ordering(value.ty, value.position)?;
            let expr = value.expr.clone();
            // A frame's distance is added to the value itself; floats keep theirs.
            let expr = if ranged && typing::has_sort_key(value.ty) { expr } else { typing::equal_key(expr, value.ty)? };
            order_by.push(sort_of(expr, *options));
        }
        let frame = match &spec.window_frame {
            None => WindowFrame::new((!order_by.is_empty()).then_some(false)),
            Some(frame) => self.frame(frame, &sorts, &inner)?,
        };
        let first_type = match order_by.first() {
            Some(sort) => Some(sort.expr.get_type(&context.scope.schema)?),
            None => None,
        };
        let frame = if first_type.as_ref().is_some_and(is_unranged) { by_peers(frame) } else { frame };
        frame.regularize_order_bys(&mut order_by)?;
        Ok(Window { partition_by, order_by, frame })
    }

    fn named_window(&self, name: &ast::Ident, scope: &Scope<'_>) -> Result<ast::WindowSpec> {
        let folded = fold(name);
        let position = self.position(name.span);
        let found = scope.windows.iter().find(|definition| fold(&definition.0) == folded);
        match found {
            Some(ast::NamedWindowDefinition(_, ast::NamedWindowExpr::WindowSpec(spec))) => {
                self.merged_spec(spec, scope)
            }
            Some(ast::NamedWindowDefinition(_, ast::NamedWindowExpr::NamedWindow(other))) if fold(other) != folded => {
                self.deeper(|| self.named_window(other, scope))
            }
            Some(_) | None => {
                let message = format!("window \"{folded}\" does not exist");
                Err(Error::new(SqlState::UndefinedObject, message).at(position))
            }
        }
    }

    /// `OVER (w ORDER BY …)`: the named window's parts, completed.
    fn merged_spec(&self, spec: &ast::WindowSpec, scope: &Scope<'_>) -> Result<ast::WindowSpec> {
        let Some(base_name) = &spec.window_name else { return Ok(spec.clone()) };
        let name = fold(base_name);
        let position = self.source.parenthesis_before(base_name.span);
        let refuse = |what: &str| {
            Err(Error::new(SqlState::WindowingError, format!("cannot {what} of window \"{name}\"")).at(position))
        };
        let base = self.deeper(|| self.named_window(base_name, scope))?;
        if !spec.partition_by.is_empty() {
            return refuse("override PARTITION BY clause");
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return refuse("override ORDER BY clause");
        }
        if base.window_frame.is_some() {
            let message = format!("cannot copy window \"{name}\" because it has a frame clause");
            let error = Error::new(SqlState::WindowingError, message).at(position);
            let copied = spec.order_by.is_empty() && spec.window_frame.is_none();
            return Err(if copied { error.with_hint("Omit the parentheses in this OVER clause.") } else { error });
        }
        let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
        Ok(ast::WindowSpec {
            window_name: None,
            partition_by: base.partition_by,
            order_by,
            window_frame: spec.window_frame.clone(),
        })
    }

    fn frame(
        &self,
        frame: &ast::WindowFrame,
        sorts: &[(Typed, ast::OrderByOptions)],
        context: &Context<'_, '_>,
    ) -> Result<WindowFrame> {
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => WindowFrameUnits::Rows,
            ast::WindowFrameUnits::Range => WindowFrameUnits::Range,
            ast::WindowFrameUnits::Groups => WindowFrameUnits::Groups,
        };
        let position = bound_expr(&frame.start_bound)
            .or(frame.end_bound.as_ref().and_then(bound_expr))
            .and_then(|expr| self.start(expr));
        let windowing = |message: &str| Err(Error::new(SqlState::WindowingError, message).at(position));
        if matches!(frame.start_bound, ast::WindowFrameBound::Following(None)) {
            return windowing("frame start cannot be UNBOUNDED FOLLOWING");
        }
        let end = frame.end_bound.clone().unwrap_or(ast::WindowFrameBound::CurrentRow);
        if matches!(end, ast::WindowFrameBound::Preceding(None)) {
            return windowing("frame end cannot be UNBOUNDED PRECEDING");
        }
        match (&frame.start_bound, &end) {
            (ast::WindowFrameBound::CurrentRow, ast::WindowFrameBound::Preceding(_)) => {
                return windowing("frame starting from current row cannot have preceding rows");
            }
            (ast::WindowFrameBound::Following(_), ast::WindowFrameBound::Preceding(_)) => {
                return windowing("frame starting from following row cannot have preceding rows");
            }
            (ast::WindowFrameBound::Following(_), ast::WindowFrameBound::CurrentRow) => {
                return windowing("frame starting from following row cannot have preceding rows");
            }
            _ => {}
        }
        let has_offset = bound_expr(&frame.start_bound).is_some() || bound_expr(&end).is_some();
        if units == WindowFrameUnits::Groups && sorts.is_empty() {
            return windowing("GROUPS mode requires an ORDER BY clause");
        }
        if units == WindowFrameUnits::Range && has_offset && sorts.len() != 1 {
            return windowing("RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column");
        }
        let start = self.frame_bound(&frame.start_bound, units, sorts, context, "starting")?;
        let end = self.frame_bound(&end, units, sorts, context, "ending")?;
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    fn frame_bound(
        &self,
        bound: &ast::WindowFrameBound,
        units: WindowFrameUnits,
        sorts: &[(Typed, ast::OrderByOptions)],
        context: &Context<'_, '_>,
        which: &str,
    ) -> Result<WindowFrameBound> {
        let offset = |expr: &Option<Box<ast::Expr>>| match expr {
            Some(expr) => self.frame_offset(expr, units, sorts, context, which),
            None if units == WindowFrameUnits::Range => Ok(ScalarValue::Null),
            None => Ok(ScalarValue::UInt64(None)),
        };
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
            ast::WindowFrameBound::Preceding(expr) => WindowFrameBound::Preceding(offset(expr)?),
            ast::WindowFrameBound::Following(expr) => WindowFrameBound::Following(offset(expr)?),
        })
    }

    /// The constant of `n PRECEDING`: a count of rows or groups, or a distance that fits the ORDER BY column.
    fn frame_offset(
        &self,
        expr: &ast::Expr,
        units: WindowFrameUnits,
        sorts: &[(Typed, ast::OrderByOptions)],
        context: &Context<'_, '_>,
        which: &str,
    ) -> Result<ScalarValue> {
        let position = self.start(expr);
        let value = self.expr(expr, context)?;
        let counted = units != WindowFrameUnits::Range;
        let (target, arrow) = if counted {
            (PgType::INT8, DataType::UInt64)
        } else {
            let Some((sort, _)) = sorts.first() else { return Err(Error::internal("RANGE without ORDER BY")) };
            let arrow = sort.expr.get_type(&context.scope.schema)?;
            if is_time(&arrow) {
                (PgType::INTERVAL, DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano))
            } else {
                (sort.ty, arrow)
            }
        };
        let value = typing::coerce(self.typing, value, target, Coercion::Implicit)?;
        let offset = self.constant_of_rows(value.expr, "a frame offset that is no constant", position)?;
        // Before its parameters have values nobody runs the statement: any distance will do.
        let Some(constant) = constant(&offset) else { return Ok(ScalarValue::new_zero(&arrow)?) };
        let zero = ScalarValue::new_zero(&constant.data_type()).ok();
        if constant.is_null() {
            let message = format!("frame {which} offset must not be null");
            return Err(Error::new(SqlState::NullValueNotAllowed, message));
        }
        if zero.is_some_and(|zero| constant < zero) {
            let message = format!("frame {which} offset must not be negative");
            return Err(Error::new(SqlState::InvalidPrecedingOrFollowingSize, message));
        }
        Ok(constant.cast_to(&arrow)?)
    }

    /// Puts the Window nodes on the plan and makes `exprs` expressions over them.
    pub(super) fn windows(&self, mut plan: LogicalPlan, exprs: &mut [&mut Expr]) -> Result<LogicalPlan> {
        let calls = find_window_exprs(exprs.iter().map(|expr| &**expr));
        plan = self.precomputed_subqueries(plan, exprs, &calls)?;
        let mut pending = find_window_exprs(exprs.iter().map(|expr| &**expr));
        let mut replacements = Vec::new();
        while !pending.is_empty() {
            // Windows that differ in casts only have one name in DataFusion: they are planned one after the other.
            let mut names = HashSet::new();
            let (now, later): (Vec<Expr>, Vec<Expr>) =
                pending.into_iter().partition(|window| names.insert(window.schema_name().to_string()));
            let columns = plan_columns(&plan);
            plan = LogicalPlanBuilder::window_plan(plan, now.clone())?;
            if later.is_empty() {
                for window in now {
                    let column = Expr::Column(Column::from_name(window.schema_name().to_string()));
                    replacements.push((window, column));
                }
            } else {
                let mut renamed = columns;
                for window in now {
                    let name = self.unique("window");
                    let column = Expr::Column(Column::from_name(window.schema_name().to_string()));
                    renamed.push(column.alias(&name));
                    replacements.push((window, Expr::Column(Column::from_name(name))));
                }
                plan = LogicalPlanBuilder::from(plan).project(renamed)?.build()?;
            }
            pending = later;
        }
        for expr in exprs {
            let taken = std::mem::take(*expr);
            **expr = super::aggregate::replace(taken, &replacements)?;
        }
        Ok(plan)
    }
}

/// PostgreSQL's errors for a constant that counts nothing.
fn refused_count(function: &str, args: &[Expr]) -> Option<Error> {
    let (argument, state) = match (function, args) {
        ("ntile", [buckets]) => (buckets, SqlState::InvalidArgumentForNtileFunction),
        ("nth_value", [_, number]) => (number, SqlState::InvalidArgumentForNthValueFunction),
        _ => return None,
    };
    let number = constant(argument)?.cast_to(&DataType::Int64).ok()?;
    let refused = matches!(number, ScalarValue::Int64(Some(number)) if number <= 0);
    refused.then(|| Error::new(state, format!("argument of {function} must be greater than zero")))
}

/// Whether the expression is the same for all rows.
fn is_fixed(expr: &Expr) -> Result<bool> {
    let differs = expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::Unnest(_)
        ))
    })?;
    Ok(!differs && !has_subquery(expr)? && !expr.is_volatile())
}

struct Window {
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
    frame: WindowFrame,
}

fn bound_expr(bound: &ast::WindowFrameBound) -> Option<&ast::Expr> {
    match bound {
        ast::WindowFrameBound::CurrentRow => None,
        ast::WindowFrameBound::Preceding(expr) | ast::WindowFrameBound::Following(expr) => expr.as_deref(),
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(_) | DataType::Interval(_))
}

/// Types that DataFusion has no RANGE over.
fn is_unranged(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Time64(_)
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// A frame in RANGE without distances says the same in GROUPS: its bounds are the current row's peers.
fn by_peers(frame: WindowFrame) -> WindowFrame {
    let bound = |bound: WindowFrameBound| match bound {
        WindowFrameBound::Preceding(distance) if distance.is_null() => {
            Some(WindowFrameBound::Preceding(ScalarValue::UInt64(None)))
        }
        WindowFrameBound::Following(distance) if distance.is_null() => {
            Some(WindowFrameBound::Following(ScalarValue::UInt64(None)))
        }
        WindowFrameBound::CurrentRow => Some(WindowFrameBound::CurrentRow),
        WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => None,
    };
    match (frame.units, bound(frame.start_bound.clone()), bound(frame.end_bound.clone())) {
        (WindowFrameUnits::Range, Some(start), Some(end)) => {
            WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end)
        }
        _ => frame,
    }
}

/// The value of an expression that is a constant, casts included.
pub(super) fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        Expr::Negative(inner) => constant(inner)?.arithmetic_negate().ok(),
        Expr::Alias(alias) => constant(&alias.expr),
        _ => None,
    }
}

/// Whether the expression holds a set-returning call.
pub(super) fn has_set(expr: &Expr) -> Result<bool> {
    let mut found = false;
    expr.apply(|expr| {
        found |= matches!(expr, Expr::Unnest(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
