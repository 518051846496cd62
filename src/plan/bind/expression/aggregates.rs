//! Calls of aggregates: DISTINCT, ORDER BY, FILTER, WITHIN GROUP, and what is done with values that are only collected.

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{Expr, SortExpr, lit, when};
use sqlparser::ast;

use super::super::Binder;
use super::calls::Modifiers;
use super::{Clause, Context};
use crate::builtins::functions::kernel::{Kernel, Returns, Run};
use crate::builtins::functions::{Body, Volatility, collected, floats, numeric, statistics};
use crate::encode::types::{PgType, element_of, oid};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Resolved, Typed};

impl Binder<'_> {
    pub(super) fn aggregate_call(
        &self,
        call: Resolved,
        modifiers: &Modifiers<'_>,
        direct: usize,
        within: Vec<(Typed, ast::OrderByOptions)>,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let over = modifiers.function.over.as_ref();
        if over.is_none() && !context.clause.allows_aggregates() {
            let message = match context.clause {
                Clause::AggregateArgument => "aggregate function calls cannot be nested".to_owned(),
                other => format!("aggregate functions are not allowed in {}", other.name()),
            };
            return Err(Error::new(SqlState::GroupingError, message).at(position));
        }
        if call.arguments.is_empty() && !modifiers.star && call.function.name == "count" {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(Error::new(SqlState::WrongObjectType, message).at(position));
        }
        let filter = match &modifiers.function.filter {
            Some(filter) => Some(Box::new(self.filter(filter, context)?)),
            None => None,
        };
        if let Some(over) = over {
            if modifiers.distinct {
                let message = "DISTINCT is not implemented for window functions";
                return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
            }
            if !modifiers.order_by.is_empty() {
                let message = "aggregate ORDER BY is not implemented for window functions";
                return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
            }
            return self.window_call(call, over, &filter, context, position);
        }
        let inner = context.within(Clause::AggregateArgument);
        let mut order_by = Vec::new();
        let mut sorted_types = Vec::new();
        for (value, options) in self.sorts(modifiers.order_by, &inner)? {
            sorted_types.push(value.ty);
            order_by.push(sort_of(value.expr, options));
        }
        sorted_types.extend(within.iter().map(|(value, _)| value.ty));
        let finish = Finish::of(&call);
        if finish.as_ref().is_some_and(|finish| finish.direct_wanted > 0 || call.function.name == "mode")
            && within.is_empty()
        {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {}", call.function.name);
            return Err(Error::new(SqlState::WrongObjectType, message).at(position));
        }
        let mut aggregate = self.aggregate_of(call, modifiers, direct, within, order_by, filter, position)?;
        check_aggregate(&aggregate, context, position)?;
        if let Expr::AggregateFunction(call) = &mut aggregate.expr {
            // Which values are equal matters only when another key follows; those of DISTINCT are what is sorted by.
            let equal = call.params.order_by.len() > 1 && !call.params.distinct;
            let key = if equal { typing::equal_key } else { typing::sort_key };
            for (sort, ty) in call.params.order_by.iter_mut().zip(sorted_types) {
                sort.expr = key(std::mem::take(&mut sort.expr), ty)?;
            }
        }
        match finish {
            Some(finish) => Ok(Typed { expr: finish.apply(aggregate.expr)?, ..aggregate }),
            None => Ok(aggregate),
        }
    }

    fn aggregate_of(
        &self,
        call: Resolved,
        modifiers: &Modifiers<'_>,
        direct: usize,
        within: Vec<(Typed, ast::OrderByOptions)>,
        mut order_by: Vec<SortExpr>,
        filter: Option<Box<Expr>>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let Body::Aggregate(udaf) = &call.function.body else {
            return Err(Error::internal("no aggregate function"));
        };
        let mut udaf = udaf.clone();
        let mut args: Vec<Expr> = call.arguments.iter().map(|value| value.expr.clone()).collect();
        if let Some(bound) = statistics::bound(call.function.name, &args).map_err(|error| error.at(position))? {
            (udaf, args) = bound;
        }
        if let Some(collecting) = collected::of(call.function.name) {
            let values = args.split_off(collecting.direct.min(args.len()));
            order_by.extend(values.iter().cloned().zip(&within).map(|(expr, (_, options))| sort_of(expr, *options)));
            args = vec![(collecting.collect)(values)?];
        } else if !within.is_empty() {
            // DataFusion wants the sorted column first, then the direct arguments.
            let sorted: Vec<Expr> = args.drain(direct.min(args.len())..).collect();
            order_by =
                sorted.iter().cloned().zip(&within).map(|(expr, (_, options))| sort_of(expr, *options)).collect();
            args.splice(0..0, sorted);
        }
        if args.is_empty() {
            args.push(lit(1_i64));
        }
        let distinct = modifiers.distinct;
        if distinct {
            if statistics::is_one(call.function.name) || call.function.name == "count_if" {
                return Err(Error::unsupported(format!("{}(DISTINCT)", call.function.name)).at(position));
            }
            call.arguments.iter().try_for_each(|value| typing::check_equality(value.ty, value.position))?;
        }
        if distinct && order_by.iter().any(|sort| !args.contains(&sort.expr)) {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(Error::new(SqlState::InvalidColumnReference, message)
                .at(modifiers.order_by.first().and_then(|sort| self.start(&sort.expr))));
        }
        if distinct && collected::of(call.function.name).is_none() {
            told_apart(&call, &mut args, &mut order_by)?;
        }
        if let Some(filter) = &filter
            && order_by.is_empty()
        {
            args = args.into_iter().map(|argument| guarded(argument, filter)).collect::<Result<_>>()?;
        }
        let params = AggregateFunctionParams { args, distinct, filter, order_by, null_treatment: None };
        let aggregate = AggregateFunction { func: udaf, params };
        Ok(Typed { expr: Expr::AggregateFunction(aggregate), ty: call.returns, position })
    }

    fn filter(&self, filter: &ast::Expr, context: &Context<'_, '_>) -> Result<Expr> {
        let uses = self.uses.borrow().len();
        let condition = self.boolean(filter, &context.within(Clause::Filter), "FILTER")?;
        self.uses.borrow_mut().truncate(uses);
        Ok(condition)
    }
}

/// Arguments of DISTINCT by what tells their values apart, where the aggregate does not show what it was given. Floats do:
/// which of the zeros is shown is left open.
fn told_apart(call: &Resolved, args: &mut [Expr], order_by: &mut Vec<SortExpr>) -> Result<()> {
    let counts = call.function.name == "count";
    if counts {
        order_by.clear();
    }
    for (argument, value) in args.iter_mut().zip(&call.arguments) {
        if !counts && !matches!(value.ty.oid, oid::FLOAT4 | oid::FLOAT8) {
            continue;
        }
        let key = typing::equal_key(argument.clone(), value.ty)?;
        for sort in order_by.iter_mut().filter(|sort| sort.expr == *argument) {
            sort.expr = key.clone();
        }
        *argument = key;
    }
    Ok(())
}

/// An aggregate's argument for the rows of FILTER alone: computing it must not fail on others, and the engine computes what
/// occurs twice ahead for all rows.
fn guarded(argument: Expr, filter: &Expr) -> Result<Expr> {
    let computes = |expr: &Expr| Ok(!matches!(expr, Expr::Column(_) | Expr::Literal(..) | Expr::Alias(_)));
    if !argument.exists(computes)? || filter.is_volatile() || filter.exists(|expr| Ok(is_query(expr)))? {
        return Ok(argument);
    }
    Ok(when(filter.clone(), argument).end()?)
}

fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

/// What is still to be done with an aggregate's result.
pub(in super::super) struct Finish {
    name: &'static str,
    direct: Vec<Expr>,
    direct_wanted: usize,
    lines: bool,
    finish: fn(&'static str, Vec<Expr>, Expr, bool) -> Result<Expr>,
}

impl Finish {
    /// `None` for an aggregate whose result is the engine's own.
    pub(in super::super) fn of(call: &Resolved) -> Option<Self> {
        let Some(collecting) = collected::of(call.function.name) else {
            let name = call.function.name;
            return computes_floats(call).then_some(Self {
                name,
                direct: Vec::new(),
                direct_wanted: 0,
                lines: false,
                finish: canonical,
            });
        };
        let direct = call.arguments.iter().take(collecting.direct).map(|value| value.expr.clone()).collect();
        let lines = call
            .arguments
            .last()
            .is_some_and(|value| value.ty.oid == PgType::RECORD.oid || element_of(value.ty.oid).is_some());
        let (name, direct_wanted, finish) = (call.function.name, collecting.direct, collecting.finish);
        Some(Self { name, direct, direct_wanted, lines, finish })
    }

    pub(in super::super) fn apply(self, list: Expr) -> Result<Expr> {
        (self.finish)(self.name, self.direct, list, self.lines)
    }
}

/// Whether the result is a float that none of the values need be.
pub(in super::super) fn computes_floats(call: &Resolved) -> bool {
    matches!(call.function.body, Body::Aggregate(_))
        && matches!(call.returns.oid, oid::FLOAT4 | oid::FLOAT8)
        && !matches!(call.function.name, "any_value" | "max" | "min")
}

/// The sum of the infinities is NaN, in whichever form the engine makes it.
fn canonical(name: &'static str, _: Vec<Expr>, result: Expr, _: bool) -> Result<Expr> {
    let (kernel, run): (&'static str, Run) = match name {
        "stddev" | "stddev_pop" | "stddev_samp" | "variance" | "var_pop" | "var_samp" | "regr_sxx" | "regr_syy" => {
            ("canonical_spread", floats::spread)
        }
        _ => ("canonical_float", floats::same),
    };
    Kernel::new(kernel, 0, Volatility::Immutable, Returns::Of(numeric::same_type), run).call(vec![result])
}

/// PostgreSQL's order of NULLs: last in ascending, first in descending order.
pub(in super::super) fn sort_of(expr: Expr, options: ast::OrderByOptions) -> SortExpr {
    let ascending = options.asc.unwrap_or(true);
    SortExpr::new(expr, ascending, options.nulls_first.unwrap_or(!ascending))
}

/// An aggregate may hold neither another one nor a window function nor a set, and must belong to this query level.
fn check_aggregate(aggregate: &Typed, context: &Context<'_, '_>, position: Option<u32>) -> Result<()> {
    let Expr::AggregateFunction(function) = &aggregate.expr else { return Ok(()) };
    let params = &function.params;
    let inner = params.args.iter().chain(params.filter.as_deref()).chain(params.order_by.iter().map(|sort| &sort.expr));
    let (mut own, mut outer) = (false, false);
    for expr in inner {
        let mut refused = None;
        expr.apply(|expr| {
            match expr {
                Expr::AggregateFunction(_) => refused = Some("aggregate function calls cannot be nested"),
                Expr::WindowFunction(_) => {
                    refused = Some("aggregate function calls cannot contain window function calls");
                }
                Expr::Unnest(_) => {
                    refused = Some("aggregate function calls cannot contain set-returning function calls")
                }
                Expr::Column(_) => own = true,
                Expr::OuterReferenceColumn(..) => outer = true,
                _ => {}
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
        if let Some(message) = refused {
            let state =
                if message.contains("set-returning") { SqlState::FeatureNotSupported } else { SqlState::GroupingError };
            return Err(Error::new(state, message).at(position));
        }
    }
    if outer && !own && context.scope.environment.outer.is_some() {
        return Err(Error::unsupported("an aggregate over columns of an outer query").at(position));
    }
    Ok(())
}
