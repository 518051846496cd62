//! Function calls: what the call is written with must fit what the name turns out to be.

use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::super::Binder;
use super::super::names::{fold, parts};
use super::{Clause, Context};
use crate::builtins::functions::{self, Body, argument_names};
use crate::encode::types::{PgType, oid, type_words};
use crate::error::{Error, Result, SqlState};
use crate::plan::model::PREDICTIONS;
use crate::plan::typing::{self, Typed};

/// The clauses of a call beside its arguments.
pub(super) struct Modifiers<'a> {
    pub distinct: bool,
    pub order_by: &'a [ast::OrderByExpr],
    /// `f(*)`.
    pub star: bool,
    pub function: &'a ast::Function,
}

impl Binder<'_> {
    pub(super) fn function(
        &self,
        function: &ast::Function,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let position = self.position(function.name.span()).or(position);
        if function.uses_odbc_syntax || !matches!(function.parameters, ast::FunctionArguments::None) {
            return Err(Error::unsupported("this form of a function call").at(position));
        }
        if function.null_treatment.is_some() {
            return Err(Error::unsupported("IGNORE or RESPECT NULLS").at(position));
        }
        let names = parts(&function.name);
        let (schema, name) = match names.as_slice() {
            [name] => (None, name.as_str()),
            [schema, name] | [_, schema, name] => (Some(schema.as_str()), name.as_str()),
            _ => return Err(Error::new(SqlState::SyntaxError, "improper function name").at(position)),
        };
        let list = match &function.args {
            ast::FunctionArguments::Subquery(query) if name == "array" && schema.is_none() => {
                return self.array_subquery(query, context, position);
            }
            ast::FunctionArguments::Subquery(_) => {
                return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"SELECT\"").at(position));
            }
            ast::FunctionArguments::None => return self.keyword_function(name, position),
            ast::FunctionArguments::List(list) => list,
        };
        if schema.is_none()
            && let Some(value) = self.function_by_grammar(function, name, list, context, position)?
        {
            return Ok(value);
        }
        let modifiers = self.modifiers(function, list, position)?;
        let uses = self.uses.borrow().len();
        let inner = context.within(argument_clause(name, function, context.clause));
        let named = list.args.iter().any(|argument| {
            matches!(argument, ast::FunctionArg::Named { .. }) && crate::sql::variadic_argument(argument).is_none()
        });
        let (mut arguments, variadic) = if named {
            (self.named_arguments(name, list, &inner, position)?, false)
        } else {
            self.arguments(list, &inner)?
        };
        // The types of WITHIN GROUP's columns come after those of the direct arguments.
        let within = self.sorts(&function.within_group, &inner)?;
        let direct = arguments.len();
        arguments.extend(within.iter().map(|(value, _)| value.clone()));
        let call = typing::resolve_call(self.typing, schema, name, &arguments, variadic, position)?;
        if let ("pg_typeof", [argument @ Typed { expr: Expr::Literal(..), .. }]) =
            (call.function.name, arguments.as_slice())
            && argument.ty.oid == PgType::UNKNOWN.oid
        {
            // Its parameter is of type "any", which leaves a constant as unknown as it is.
            let expr = lit(i64::from(PgType::UNKNOWN.oid));
            return Ok(Typed { expr, ty: call.returns, position });
        }
        match &call.function.body {
            Body::Scalar(_) | Body::Expression(_) | Body::InContext(_) | Body::Contextual(_) => {
                refuse_aggregate_clauses(name, &modifiers, position)?;
                let mut value = typing::scalar_call(self.typing, call)?;
                value.position = position;
                Ok(value)
            }
            Body::Set(_) => {
                refuse_aggregate_clauses(name, &modifiers, position)?;
                self.set_call(call, context, position)
            }
            Body::Window(_) => match &function.over {
                Some(over) => {
                    self.window_call(call, over, &modifiers_of_window(&modifiers, position)?, context, position)
                }
                None => {
                    let message = format!("window function {name} requires an OVER clause");
                    Err(Error::new(SqlState::WrongObjectType, message).at(position))
                }
            },
            Body::Aggregate(_) => {
                if function.over.is_none() {
                    // Columns inside an aggregate need no GROUP BY.
                    self.uses.borrow_mut().truncate(uses);
                }
                self.aggregate_call(call, &modifiers, direct, within, context, position)
            }
        }
    }

    /// `current_user` and its kin, which are written without parentheses.
    fn keyword_function(&self, name: &str, position: Option<u32>) -> Result<Typed> {
        let name = match name {
            "current_catalog" => "current_database",
            "user" | "current_role" => "current_user",
            other => other,
        };
        self.call(name, Vec::new(), position)
    }

    /// Names that PostgreSQL's grammar knows: COALESCE and the like, ROW, GROUPING.
    fn function_by_grammar(
        &self,
        function: &ast::Function,
        name: &str,
        list: &ast::FunctionArgumentList,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Option<Typed>> {
        match name {
            "coalesce" | "greatest" | "least" | "nullif" => {
                let (arguments, _) = self.arguments(list, context)?;
                self.conditional_call(name, &arguments, context, position)
            }
            "row" => match super::row::elements(&ast::Expr::Function(function.clone())) {
                Some(values) => self.row_of(&values, context, position).map(Some),
                None => Err(Error::unsupported("this row constructor").at(position)),
            },
            "grouping" => {
                if !context.clause.allows_aggregates() {
                    let message = format!("grouping operations are not allowed in {}", context.clause.name());
                    return Err(Error::new(SqlState::GroupingError, message).at(position));
                }
                let uses = self.uses.borrow().len();
                let arguments = self.arguments(list, context)?.0;
                let places = arguments.iter().map(|value| (value.expr.clone(), value.position));
                self.grouping_arguments.borrow_mut().extend(places);
                let arguments = arguments.into_iter().map(|value| value.expr).collect();
                self.uses.borrow_mut().truncate(uses);
                let udaf = datafusion::functions_aggregate::grouping::grouping_udaf();
                let grouping = AggregateFunction::new_udf(udaf, arguments, false, None, Vec::new(), None);
                Ok(Some(Typed { expr: Expr::AggregateFunction(grouping), ty: PgType::INT4, position }))
            }
            "merge_action" => self.merge_action(list, context, position).map(Some),
            name if PREDICTIONS.contains(&name) => self.prediction(function, name, list, context, position).map(Some),
            _ => Ok(None),
        }
    }

    /// What became of the row that RETURNING tells of.
    fn merge_action(
        &self,
        list: &ast::FunctionArgumentList,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        if let Some(argument) = list.args.first() {
            let message = format!("syntax error at or near \"{argument}\"");
            return Err(Error::new(SqlState::SyntaxError, message).at(self.position(argument.span())));
        }
        match self.merge_action.borrow().as_ref() {
            Some(expr) if context.clause == Clause::Returning => {
                Ok(Typed { expr: expr.clone(), ty: PgType::TEXT, position })
            }
            Some(_) if context.scope.environment.outer.is_some() => {
                Err(Error::unsupported("merge_action() in a subquery").at(position))
            }
            _ => {
                let message = "MERGE_ACTION() can only be used in the RETURNING list of a MERGE command";
                Err(Error::new(SqlState::SyntaxError, message).at(position))
            }
        }
    }

    fn modifiers<'f>(
        &self,
        function: &'f ast::Function,
        list: &'f ast::FunctionArgumentList,
        position: Option<u32>,
    ) -> Result<Modifiers<'f>> {
        let mut order_by: &[ast::OrderByExpr] = &[];
        for clause in &list.clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(sorts) => order_by = sorts,
                _ => return Err(Error::unsupported("this clause of a function call").at(position)),
            }
        }
        let star = matches!(list.args.as_slice(), [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)]);
        let distinct = list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
        Ok(Modifiers { distinct, order_by, star, function })
    }

    pub(in super::super) fn arguments(
        &self,
        list: &ast::FunctionArgumentList,
        context: &Context<'_, '_>,
    ) -> Result<(Vec<Typed>, bool)> {
        self.argument_list(&list.args, context)
    }

    /// Arguments by their names: in the function's order, with the constants for those left out.
    fn named_arguments(
        &self,
        function: &str,
        list: &ast::FunctionArgumentList,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Vec<Typed>> {
        if functions::lookup(function).next().is_none() {
            return Err(self.undefined(function, list, context)?.at(position));
        }
        let declared = argument_names::of(function).unwrap_or_default();
        let mut slots: Vec<Option<Typed>> = vec![None; declared.len()];
        for (at, argument) in list.args.iter().enumerate() {
            match argument {
                ast::FunctionArg::Named { name, arg: ast::FunctionArgExpr::Expr(expr), .. } => {
                    let (name, position) = (fold(name), self.position(name.span));
                    let slot = declared.iter().position(|(declared, _)| *declared == name);
                    let Some(slot) = slot.and_then(|slot| slots.get_mut(slot)) else {
                        return Err(Error::unsupported(format!("the named argument \"{name}\"")).at(position));
                    };
                    if slot.is_some() {
                        let message = format!("argument name \"{name}\" used more than once");
                        return Err(Error::new(SqlState::SyntaxError, message).at(position));
                    }
                    *slot = Some(self.expr(expr, context)?);
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => match slots.get_mut(at) {
                    Some(slot) => *slot = Some(self.expr(expr, context)?),
                    None => return Err(Error::unsupported("this argument").at(self.position(expr.span()))),
                },
                other => return Err(Error::unsupported("this argument").at(self.position(other.span()))),
            }
        }
        let mut arguments = Vec::with_capacity(slots.len());
        for (slot, (name, default)) in slots.into_iter().zip(declared) {
            arguments.push(match (slot, default) {
                (Some(value), _) => value,
                (None, Some(text)) => typing::literal(&ast::Value::SingleQuotedString((*text).to_owned()), None)?,
                (None, None) => {
                    let message = format!("function {function} needs the argument \"{name}\"");
                    return Err(Error::new(SqlState::UndefinedFunction, message));
                }
            });
        }
        Ok(arguments)
    }

    /// No function has that name.
    fn undefined(&self, function: &str, list: &ast::FunctionArgumentList, context: &Context<'_, '_>) -> Result<Error> {
        let mut shown = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            shown.push(match argument {
                ast::FunctionArg::Named { name, arg: ast::FunctionArgExpr::Expr(expr), .. } => {
                    format!("{} => {}", fold(name), type_words(self.expr(expr, context)?.ty.oid))
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => {
                    type_words(self.expr(expr, context)?.ty.oid)
                }
                _ => type_words(oid::RECORD),
            });
        }
        let message = format!("function {function}({}) does not exist", shown.join(", "));
        Ok(Error::new(SqlState::UndefinedFunction, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ))
    }

    /// The arguments, and whether the last one was marked VARIADIC.
    pub(in super::super) fn argument_list(
        &self,
        list: &[ast::FunctionArg],
        context: &Context<'_, '_>,
    ) -> Result<(Vec<Typed>, bool)> {
        let mut arguments = Vec::new();
        let mut variadic = false;
        for argument in list {
            if let Some(array) = crate::sql::variadic_argument(argument) {
                variadic = true;
                arguments.push(self.expr(array, context)?);
                continue;
            }
            match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => {
                    arguments.push(self.expr(expr, context)?)
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) if list.len() == 1 => {}
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::QualifiedWildcard(name)) => {
                    arguments.push(self.row_of_relation(name, context)?);
                }
                ast::FunctionArg::Named { name, .. } => {
                    let what = format!("the named argument \"{}\"", fold(name));
                    return Err(Error::unsupported(what).at(self.position(name.span)));
                }
                other => return Err(Error::unsupported("this argument").at(self.position(other.span()))),
            }
        }
        Ok((arguments, variadic))
    }

    /// `count(t.*)`: the row of `t` as one value.
    fn row_of_relation(&self, name: &ast::ObjectName, context: &Context<'_, '_>) -> Result<Typed> {
        let position = self.position(name.span());
        let names = parts(name);
        let (schema, relation) = match names.as_slice() {
            [relation] => (None, relation),
            [.., schema, relation] => (Some(schema.as_str()), relation),
            [] => return Err(Error::internal("an empty name before .*")),
        };
        match context.scope.item(schema, relation) {
            Some((level, item)) => Ok(self.whole_row(item, level, context.scope, position)?.typed),
            None => Err(self.no_relation(relation, context.scope).at(position)),
        }
    }

    /// ORDER BY inside a call: values with their directions. Numbers are values here, not positions.
    pub(in super::super) fn sorts(
        &self,
        sorts: &[ast::OrderByExpr],
        context: &Context<'_, '_>,
    ) -> Result<Vec<(Typed, ast::OrderByOptions)>> {
        sorts.iter().map(|sort| Ok((self.settled(&sort.expr, context)?, sort.options))).collect()
    }
}

/// What may be called in the arguments depends on what the name stands for: every overload of it is of one kind.
fn argument_clause(name: &str, function: &ast::Function, clause: Clause) -> Clause {
    if function.over.is_some() && clause.allows_windows() {
        return Clause::WindowArgument;
    }
    let aggregate = crate::builtins::functions::lookup(name).any(|found| matches!(found.body, Body::Aggregate(_)));
    if aggregate && clause.allows_aggregates() { Clause::AggregateArgument } else { clause }
}

fn modifiers_of_window(modifiers: &Modifiers<'_>, position: Option<u32>) -> Result<Option<Box<Expr>>> {
    if modifiers.distinct {
        let message = "DISTINCT is not implemented for window functions";
        return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
    }
    if modifiers.function.filter.is_some() {
        let message = "FILTER is not implemented for non-aggregate window functions";
        return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
    }
    Ok(None)
}

fn refuse_aggregate_clauses(name: &str, modifiers: &Modifiers<'_>, position: Option<u32>) -> Result<()> {
    let function = modifiers.function;
    let given = [
        (modifiers.star, format!("{name}(*) specified, but {name} is not an aggregate function")),
        (modifiers.distinct, format!("DISTINCT specified, but {name} is not an aggregate function")),
        (!function.within_group.is_empty(), format!("WITHIN GROUP specified, but {name} is not an aggregate function")),
        (!modifiers.order_by.is_empty(), format!("ORDER BY specified, but {name} is not an aggregate function")),
        (function.filter.is_some(), format!("FILTER specified, but {name} is not an aggregate function")),
        (
            function.over.is_some(),
            format!("OVER specified, but {name} is not a window function nor an aggregate function"),
        ),
    ];
    match given.into_iter().find(|(present, _)| *present) {
        Some((_, message)) => Err(Error::new(SqlState::WrongObjectType, message).at(position)),
        None => Ok(()),
    }
}
