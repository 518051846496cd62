//! Functions in FROM: sets as tables, scalars as tables of one row, with aliases and WITH ORDINALITY.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, NullHandling, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions::core::expr_fn::greatest;
use datafusion::functions_nested::expr_fn as nested;
use datafusion::functions_table::generate_series::{GenSeriesArgs, GenerateSeriesTable};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, cast, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::expression::{Clause, Context};
use super::from::{From, Left, Placed};
use super::names::{fold, last_name, parts};
use super::scope::{Item, Origin, Scope, ScopeColumn};
use super::set_returning::SetColumn;
use super::window::constant;
use super::{Binder, plan_columns};
use crate::builtins::functions::{Body, SetFunction};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Resolved, Typed};

impl Binder<'_> {
    pub(super) fn table_function(
        &self,
        name: &ast::ObjectName,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        left: &Left<'_, '_>,
    ) -> Result<Placed> {
        let position = self.position(name.span());
        let scope = self.lateral_scope(left);
        let context = Context::new(&scope, Clause::FromFunction);
        let names = parts(name);
        let schema = names.len().checked_sub(2).and_then(|at| names.get(at)).map(String::as_str);
        let function = last_name(name);
        let (arguments, variadic) = self.argument_list(arguments, &context)?;
        // unnest(a, b) in FROM opens its arrays side by side.
        let calls = if function == "unnest" && arguments.len() > 1 {
            arguments
                .iter()
                .map(|array| {
                    typing::resolve_call(self.typing, schema, &function, std::slice::from_ref(array), false, position)
                })
                .collect::<Result<Vec<_>>>()?
        } else {
            vec![typing::resolve_call(self.typing, schema, &function, &arguments, variadic, position)?]
        };
        self.placed(&function, calls, ordinality, alias, left, position)
    }

    pub(super) fn unnest_item(
        &self,
        arrays: &[ast::Expr],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        left: &Left<'_, '_>,
    ) -> Result<Placed> {
        let scope = self.lateral_scope(left);
        let context = Context::new(&scope, Clause::FromFunction);
        let mut calls = Vec::new();
        for array in arrays {
            let value = self.expr(array, &context)?;
            let position = self.source.word_before(array.span());
            calls.push(typing::resolve_call(self.typing, None, "unnest", &[value], false, position)?);
        }
        let position = arrays.first().and_then(|array| self.source.word_before(array.span()));
        self.placed("unnest", calls, ordinality, alias, left, position)
    }

    fn lateral_scope<'s>(&self, left: &Left<'_, 's>) -> Scope<'s> {
        match left.lateral {
            Some(from) => self.scope_of(from, left.environment, &[]),
            None => Scope::empty(left.environment),
        }
    }

    fn placed(
        &self,
        function: &str,
        calls: Vec<Resolved>,
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        left: &Left<'_, '_>,
        position: Option<u32>,
    ) -> Result<Placed> {
        let lateral =
            calls.iter().flat_map(|call| &call.arguments).any(|argument| !argument.expr.column_refs().is_empty());
        let base = left.lateral.filter(|_| lateral);
        if !lateral
            && !ordinality
            && let [call] = calls.as_slice()
            && let Some(from) = self.streamed_series(function, call, alias, position)?
        {
            return Ok(Placed::Beside(from));
        }
        let base_plan = match base {
            Some(from) => from.plan.clone(),
            None => LogicalPlanBuilder::empty(true).build()?,
        };
        let (plan, columns, scalar) = match calls.first().map(|call| &call.function.body) {
            Some(Body::Set(_)) => {
                let keep = base.is_some() && left.join == JoinType::Left;
                let nulls = if keep { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
                self.opened(base_plan, &calls, ordinality, nulls, position)?
            }
            _ => self.scalar_table(base_plan, calls, ordinality, position)?,
        };
        let names = column_names(function, &columns, alias);
        let kept = base.map_or(0, |from| from.plan.schema().fields().len());
        let qualifier = TableReference::bare(self.unique(function));
        let mut exprs: Vec<Expr> = plan_columns(&plan).into_iter().take(kept).collect();
        let mut scope_columns = Vec::new();
        for ((expr, ty), name) in columns.into_iter().map(|(_, expr, ty)| (expr, ty)).zip(names) {
            let internal = self.unique(&name);
            exprs.push(expr.alias_qualified(Some(qualifier.clone()), &internal));
            let expr = Expr::Column(Column::new(Some(qualifier.clone()), internal));
            scope_columns.push(ScopeColumn { name, expr, ty, origin: Origin::default() });
        }
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        let item = self.aliased(function_item(function, scope_columns, scalar && !ordinality, position), alias)?;
        match base {
            None => Ok(Placed::Beside(From { plan, items: vec![item] })),
            Some(from) => {
                let mut items = from.items.clone();
                items.push(item);
                Ok(Placed::Joined(From { plan, items }))
            }
        }
    }

    /// Sets opened side by side, with a row number behind them if asked for.
    fn opened(
        &self,
        plan: LogicalPlan,
        calls: &[Resolved],
        ordinality: bool,
        nulls: NullHandling,
        position: Option<u32>,
    ) -> Result<(LogicalPlan, Vec<TableColumn>, bool)> {
        let mut sets: Vec<SetColumn> = Vec::new();
        for call in calls {
            sets.extend(self.set_columns(call, position)?);
        }
        let scalar = sets.len() == 1;
        let mut lists: Vec<Expr> = sets.iter().map(|set| set.list.clone()).collect();
        if ordinality {
            let lengths = lists.iter().map(|list| cast(nested::array_length(list.clone()), DataType::Int64)).collect();
            lists.push(nested::gen_series(lit(1_i64), longest(lengths), lit(1_i64)));
        }
        let (plan, mut opened) = self.unnest(plan, lists, nulls)?;
        let number = ordinality.then(|| opened.pop()).flatten();
        let mut columns: Vec<TableColumn> =
            sets.iter().zip(opened).map(|(set, column)| (set.name, set.value(column), set.ty)).collect();
        columns.extend(number.map(|number| (Some("ordinality"), number, PgType::INT8)));
        Ok((plan, columns, scalar))
    }

    /// A function of one value is a table of one row.
    fn scalar_table(
        &self,
        plan: LogicalPlan,
        calls: Vec<Resolved>,
        ordinality: bool,
        position: Option<u32>,
    ) -> Result<(LogicalPlan, Vec<TableColumn>, bool)> {
        let Some(call) = calls.into_iter().next() else { return Err(Error::internal("no call")) };
        match &call.function.body {
            Body::Aggregate(_) => {
                let message = "aggregate functions are not allowed in functions in FROM";
                return Err(Error::new(SqlState::GroupingError, message).at(position));
            }
            Body::Window(_) => {
                let message = "window functions are not allowed in functions in FROM";
                return Err(Error::new(SqlState::WindowingError, message).at(position));
            }
            Body::Scalar(_) | Body::Expression(_) | Body::InContext(_) | Body::Contextual(_) | Body::Set(_) => {}
        }
        let Typed { expr, ty, .. } = typing::scalar_call(self.typing, call)?;
        let mut columns: Vec<TableColumn> = vec![(None, expr, ty)];
        if ordinality {
            columns.push((Some("ordinality"), lit(1_i64), PgType::INT8));
        }
        Ok((plan, columns, true))
    }

    /// generate_series of constant integers is a table that makes its rows as they are read.
    fn streamed_series(
        &self,
        function: &str,
        call: &Resolved,
        alias: Option<&ast::TableAlias>,
        position: Option<u32>,
    ) -> Result<Option<From>> {
        if !matches!(call.function.body, Body::Set(SetFunction::GenerateSeries)) {
            return Ok(None);
        }
        let mut numbers = Vec::new();
        for argument in &call.arguments {
            let value = constant(&argument.expr).filter(|value| value.data_type().is_integer());
            match value.and_then(|value| value.cast_to(&DataType::Int64).ok()) {
                Some(ScalarValue::Int64(Some(number))) => numbers.push(number),
                _ => return Ok(None),
            }
        }
        let (start, end, step) = match numbers.as_slice() {
            [start, end] => (*start, *end, 1),
            [start, end, step] => (*start, *end, *step),
            _ => return Ok(None),
        };
        if step == 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "step size cannot equal zero"));
        }
        let name = self.unique("value");
        let schema = Arc::new(Schema::new(vec![Field::new(&name, DataType::Int64, false)]));
        let empty = (step > 0 && start > end) || (step < 0 && start < end);
        let args = if empty {
            GenSeriesArgs::ContainsNull { name: "generate_series" }
        } else {
            GenSeriesArgs::Int64Args { start, end, step, include_end: true, name: "generate_series" }
        };
        let table = provider_as_source(Arc::new(GenerateSeriesTable::new(schema, args)));
        let qualifier = TableReference::bare(self.unique(function));
        let scan = LogicalPlanBuilder::scan(qualifier.clone(), table, None)?;
        let value = cast(Expr::Column(Column::new(Some(qualifier.clone()), &name)), arrow_type(call.returns));
        let plan = scan.project([value.alias_qualified(Some(qualifier.clone()), &name)])?.build()?;
        let column = ScopeColumn {
            name: alias.map_or_else(|| function.to_owned(), |alias| fold(&alias.name)),
            expr: Expr::Column(Column::new(Some(qualifier), name)),
            ty: call.returns,
            origin: Origin::default(),
        };
        let item = self.aliased(function_item(function, vec![column], true, position), alias)?;
        Ok(Some(From { plan, items: vec![item] }))
    }
}

/// Name, if the function gives one; value; type.
type TableColumn = (Option<&'static str>, Expr, PgType);

fn longest(mut lengths: Vec<Expr>) -> Expr {
    match lengths.len() {
        1 => lengths.remove(0),
        _ => greatest(lengths),
    }
}

/// A single unnamed column is called after the alias, or the function.
fn column_names(function: &str, columns: &[TableColumn], alias: Option<&ast::TableAlias>) -> Vec<String> {
    let single = columns.iter().filter(|(name, ..)| name.is_none()).count() == 1;
    let default = match alias {
        Some(alias) if single => fold(&alias.name),
        _ => function.to_owned(),
    };
    columns.iter().map(|(name, ..)| name.map_or_else(|| default.clone(), str::to_owned)).collect()
}

fn function_item(name: &str, columns: Vec<ScopeColumn>, scalar: bool, position: Option<u32>) -> Item {
    Item {
        name: Some(name.to_owned()),
        schema: None,
        hidden_name: None,
        table_oid: 0,
        columns,
        relation_visible: true,
        columns_visible: true,
        scalar,
        system: Vec::new(),
        position,
    }
}
