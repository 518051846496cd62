//! `predict('m', t.*)` and its kin: the model's features found among the arguments by name, or by their order.

use std::rc::Rc;
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::super::Binder;
use super::super::names::fold;
use super::super::scope::{Item, Origin, Scope, ScopeColumn};
use super::{Clause, Context};
use crate::builtins::functions::prediction;
use crate::encode::types::{format_type, oid};
use crate::error::{Error, Result, SqlState};
use crate::models::{Answer, Feature, FeatureKind, Task};
use crate::plan::model::{UsedModel, first_argument};
use crate::plan::typing::{self, Coercion, Typed};

/// The argument of `predict_proba` that names a class.
const CLASS: &str = "class";

/// The arguments of a call as they were found.
#[derive(Default)]
struct Given {
    /// By name, from `t.*` and named arguments; these go before those.
    named: Vec<(String, Typed)>,
    ordered: Vec<Typed>,
    class: Option<(String, Option<u32>)>,
}

impl Binder<'_> {
    /// A call of a function that predicts; its name is known to be one.
    pub(super) fn prediction(
        &self,
        function: &ast::Function,
        name: &str,
        list: &ast::FunctionArgumentList,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let plain = list.duplicate_treatment.is_none()
            && list.clauses.is_empty()
            && function.filter.is_none()
            && function.over.is_none()
            && function.within_group.is_empty();
        if !plain {
            let message = format!("{name} is neither an aggregate nor a window function");
            return Err(Error::new(SqlState::WrongObjectType, message).at(position));
        }
        if let Clause::Check | Clause::Expectation | Clause::Default | Clause::Generated | Clause::Transform =
            context.clause
        {
            return Err(Error::unsupported(format!("{name} in {}", context.clause.name())).at(position));
        }
        let Some((text, expr)) = first_argument(&list.args) else {
            let place = list.args.first().and_then(|argument| self.position(argument.span())).or(position);
            let message = format!("the first argument of {name} must be the name of a model, as a text constant");
            return Err(Error::new(SqlState::FeatureNotSupported, message)
                .at(place)
                .with_hint(format!("Write {name}('model', t.*).")));
        };
        let at_name = self.position(expr.span()).or(position);
        let Some(used) = self.relations.models.get(text) else {
            let shown = crate::plan::model::parse_model(text).map(|(name, _)| name.to_string());
            let message = format!("model \"{}\" does not exist", shown.unwrap_or_else(|_| text.to_owned()));
            return Err(Error::new(SqlState::UndefinedObject, message).at(at_name));
        };
        let given = self.given(list.args.get(1..).unwrap_or_default(), used, name == "predict_proba", context)?;
        let answer = answer(used, name, given.class.as_ref(), position)?;
        let arguments = self.features(used, given, position)?;
        let ty = used.model.answer_type(answer);
        let udf = prediction::function(Arc::clone(&used.model), used.name.to_string(), answer);
        Ok(Typed { expr: udf.call(arguments), ty, position })
    }

    fn given(
        &self,
        arguments: &[ast::FunctionArg],
        used: &UsedModel,
        takes_class: bool,
        context: &Context<'_, '_>,
    ) -> Result<Given> {
        let asked = used.model.header.asked();
        let is_asked = |name: &str| asked.iter().any(|feature| feature.name == name);
        let mut given = Given::default();
        for argument in arguments {
            match argument {
                ast::FunctionArg::Named { name, arg: ast::FunctionArgExpr::Expr(expr), .. }
                    if crate::sql::variadic_argument(argument).is_none() =>
                {
                    let (name, place) = (fold(name), self.position(name.span));
                    if takes_class && name == CLASS && !is_asked(&name) {
                        if given.class.is_some() {
                            let message = format!("argument name \"{name}\" used more than once");
                            return Err(Error::new(SqlState::SyntaxError, message).at(place));
                        }
                        let class = constant_text(expr).ok_or_else(|| {
                            let message = "the argument class of predict_proba must be a text constant";
                            Error::new(SqlState::FeatureNotSupported, message).at(place)
                        })?;
                        given.class = Some((class, place));
                        continue;
                    }
                    if !is_asked(&name) {
                        let message = format!("model \"{}\" has no feature \"{name}\"", used.name);
                        return Err(Error::new(SqlState::UndefinedColumn, message)
                            .with_detail(feature_list(used))
                            .at(place));
                    }
                    if given.named.iter().any(|(other, _)| *other == name) {
                        let message = format!("argument name \"{name}\" used more than once");
                        return Err(Error::new(SqlState::SyntaxError, message).at(place));
                    }
                    given.named.push((name, self.expr(expr, context)?));
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => {
                    let value = self.expr(expr, context)?;
                    if value.ty.oid == oid::RECORD {
                        let message = format!("a row is no feature of model \"{}\"", used.name);
                        let error = Error::new(SqlState::DatatypeMismatch, message).at(self.position(expr.span()));
                        return Err(match expr {
                            ast::Expr::Identifier(name) => error.with_hint(format!("Write {name}.* for its columns.")),
                            _ => error,
                        });
                    }
                    given.ordered.push(value);
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::QualifiedWildcard(_)) => {}
                other => return Err(Error::unsupported("this argument").at(self.position(other.span()))),
            }
        }
        for argument in arguments {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::QualifiedWildcard(name)) = argument else { continue };
            let idents: Vec<ast::Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
            let wanted = |column: &str| is_asked(column) && !given.named.iter().any(|(other, _)| other == column);
            for (column, value) in self.wildcard_of(&idents, context.scope, &wanted)? {
                if given.named.iter().any(|(other, _)| *other == column) {
                    let message = format!("feature \"{column}\" of model \"{}\" is given twice", used.name);
                    return Err(Error::new(SqlState::AmbiguousColumn, message).at(self.position(name.span())));
                }
                given.named.push((column, value.typed));
            }
        }
        let of_class = usize::from(given.class.is_some());
        let by_name = arguments.len() > given.ordered.len() + of_class;
        if by_name && !given.ordered.is_empty() {
            let message = "a prediction takes its features by name or in their order, not both";
            let place = given.ordered.first().and_then(|value| value.position);
            return Err(Error::new(SqlState::SyntaxError, message).at(place));
        }
        Ok(given)
    }

    /// The features among the columns of some rows.
    pub(in super::super) fn features_among(
        &self,
        used: &UsedModel,
        columns: &[ScopeColumn],
        position: Option<u32>,
    ) -> Result<Vec<Expr>> {
        let mut given = Given::default();
        for feature in used.model.header.asked() {
            let mut same = columns.iter().filter(|column| column.name == feature.name);
            let Some(column) = same.next() else { continue };
            if same.next().is_some() {
                return Err(super::super::scope::ambiguous(&feature.name).at(position));
            }
            given.named.push((column.name.clone(), Typed { expr: column.expr.clone(), ty: column.ty, position }));
        }
        self.features(used, given, position)
    }

    /// The features in the order of training, each as the model takes it.
    fn features(&self, used: &UsedModel, given: Given, position: Option<u32>) -> Result<Vec<Expr>> {
        let header = &used.model.header;
        let asked = header.asked();
        let mut values: Vec<Typed> = Vec::with_capacity(asked.len());
        if !given.ordered.is_empty() || asked.is_empty() {
            if given.ordered.len() != asked.len() {
                let message = format!(
                    "model \"{}\" needs {} features, {} are given",
                    used.name,
                    asked.len(),
                    given.ordered.len()
                );
                return Err(Error::new(SqlState::UndefinedFunction, message)
                    .with_detail(feature_list(used))
                    .at(position));
            }
            for (feature, value) in asked.iter().zip(given.ordered) {
                values.push(self.as_feature(used, feature, value, position)?);
            }
        } else {
            let mut missing = Vec::new();
            for feature in asked {
                match given.named.iter().find(|(name, _)| *name == feature.name) {
                    Some((_, value)) => values.push(self.as_feature(used, feature, value.clone(), position)?),
                    None => missing.push(format!("\"{}\"", feature.name)),
                }
            }
            if !missing.is_empty() {
                let message = format!(
                    "model \"{}\" needs the feature{} {}",
                    used.name,
                    if missing.len() == 1 { "" } else { "s" },
                    missing.join(", ")
                );
                return Err(Error::new(SqlState::UndefinedColumn, message)
                    .with_detail(feature_list(used))
                    .at(position));
            }
        }
        if header.transform.is_empty() {
            return Ok(values.into_iter().map(|value| value.expr).collect());
        }
        self.transformed(used, values, position)
    }

    /// A value for a feature; numbers of any type are taken as they are.
    fn as_feature(&self, used: &UsedModel, feature: &Feature, value: Typed, position: Option<u32>) -> Result<Typed> {
        let place = value.position.or(position);
        let own = FeatureKind::of(value.ty);
        if value.ty.oid != oid::UNKNOWN
            && used.model.header.transform.is_empty()
            && feature.kind == FeatureKind::Number
            && own == Some(FeatureKind::Number)
        {
            return Ok(value);
        }
        let given = value.ty;
        // With a transform expressions were typed by training's columns: any number becomes such a one, as in an INSERT.
        let numbers = feature.kind == FeatureKind::Number && own == Some(FeatureKind::Number);
        let coercion = if numbers { Coercion::Assignment } else { Coercion::Implicit };
        typing::coerce(self.typing, value, feature.ty(), coercion).map_err(|error| {
            if given.oid == oid::UNKNOWN {
                return error;
            }
            let message = format!(
                "feature \"{}\" of model \"{}\" is of type {}, {} is given",
                feature.name,
                used.name,
                format_type(feature.ty()),
                format_type(given)
            );
            Error::new(SqlState::DatatypeMismatch, message).with_detail(feature_list(used)).at(place)
        })
    }

    /// The expressions of TRANSFORM over the inputs.
    fn transformed(&self, used: &UsedModel, values: Vec<Typed>, position: Option<u32>) -> Result<Vec<Expr>> {
        let header = &used.model.header;
        self.over_inputs(used, header.inputs.iter().zip(values), header.features.iter(), position)
    }

    /// The label among the columns of some rows, or what TRANSFORM makes of them for it.
    pub(in super::super) fn label_made(
        &self,
        used: &UsedModel,
        label: &Feature,
        columns: &[ScopeColumn],
        position: Option<u32>,
    ) -> Result<Expr> {
        let column = |name: &str| -> Result<Typed> {
            let mut same = columns.iter().filter(|column| column.name == name);
            let column = same.next().ok_or_else(|| {
                let message = format!("the rows have no column \"{name}\", the label of model \"{}\"", used.name);
                Error::new(SqlState::UndefinedColumn, message).at(position)
            })?;
            if same.next().is_some() {
                return Err(super::super::scope::ambiguous(name).at(position));
            }
            Ok(Typed { expr: column.expr.clone(), ty: column.ty, position })
        };
        let header = &used.model.header;
        if header.transform.is_empty() {
            let value = column(&label.name)?;
            return Ok(typing::coerce(self.typing, value, label.ty(), Coercion::Assignment)?.expr);
        }
        let mut given = Vec::with_capacity(header.label_inputs.len());
        for input in &header.label_inputs {
            given.push((input, typing::coerce(self.typing, column(&input.name)?, input.ty(), Coercion::Assignment)?));
        }
        let mut made = self.over_inputs(used, given.into_iter(), std::iter::once(label), position)?;
        made.pop().ok_or_else(|| Error::internal("a label without its expression"))
    }

    /// What TRANSFORM makes of inputs under some names.
    fn over_inputs<'h>(
        &self,
        used: &UsedModel,
        inputs: impl Iterator<Item = (&'h Feature, Typed)>,
        wanted: impl Iterator<Item = &'h Feature>,
        position: Option<u32>,
    ) -> Result<Vec<Expr>> {
        let header = &used.model.header;
        let columns = inputs.map(|(input, value)| ScopeColumn {
            name: input.name.clone(),
            expr: value.expr,
            ty: input.ty(),
            origin: Origin::default(),
        });
        let item = Item {
            name: Some("input".to_owned()),
            schema: None,
            hidden_name: None,
            table_oid: 0,
            columns: columns.collect(),
            relation_visible: true,
            columns_visible: true,
            scalar: false,
            system: Vec::new(),
            position: None,
        };
        let mut scope = Scope::empty(&super::super::scope::Environment::default());
        scope.items.push(item);
        // They mean what they meant in training. What they refer to was noted where the arguments were bound.
        let typing = self.typing.pinned(&header.all_settings())?;
        let binder = Binder {
            next: Rc::clone(&self.next),
            depth: Rc::clone(&self.depth),
            copied: Rc::clone(&self.copied),
            ..Binder::new(&typing, self.relations, "")
        };
        let mut bound = Vec::with_capacity(header.transform.len());
        for feature in wanted {
            let item = header.transform.iter().find(|item| item.name == feature.name);
            let item = item.ok_or_else(|| Error::internal("a feature without its expression"))?;
            let expr = crate::sql::parse_expression(&item.expression)?;
            let value = binder.settled(&expr, &Context::new(&scope, super::Clause::Select));
            let value = value.map_err(Error::without_position)?;
            let value = typing::cast(&typing, value, feature.ty(), None).map_err(Error::without_position)?;
            // Each mention of an input is the whole value that is given for it.
            self.note_copies(&value.expr, 1, position)?;
            bound.push(value.expr);
        }
        if typing.contextual.get() {
            self.typing.contextual.set(true);
        }
        Ok(bound)
    }
}

/// The answer that a function's name asks for.
fn answer(
    used: &UsedModel,
    name: &str,
    class: Option<&(String, Option<u32>)>,
    position: Option<u32>,
) -> Result<Answer> {
    let model = &used.model;
    let refuse = |what: &str| {
        let message = format!("model \"{}\" of type {} {what}", used.name, model.header.options.model_type.name());
        Err(Error::new(SqlState::WrongObjectType, message).at(position))
    };
    match (name, model.task()) {
        (_, Task::Forecast) => refuse("predicts no rows; use ML.FORECAST"),
        ("predict", Task::Components) => refuse("has several components; use ML.PREDICT"),
        ("predict", _) => Ok(Answer::Predicted),
        ("predict_probs", Task::Classification) => Ok(Answer::Probabilities),
        ("predict_proba", Task::Anomalies) => Ok(Answer::Probability(0)),
        ("predict_proba", Task::Classification) => {
            let label = model.header.label.as_ref();
            let classes = label.map(|label| label.classes.as_slice()).unwrap_or_default();
            if let Some((class, place)) = class {
                return match classes.iter().position(|known| known == class) {
                    Some(place) => Ok(Answer::Probability(place)),
                    None => {
                        let message = format!("model \"{}\" has no class \"{class}\"", used.name);
                        Err(Error::new(SqlState::InvalidParameterValue, message)
                            .with_detail(format!("Its classes are {}.", classes.join(", ")))
                            .at(*place))
                    }
                };
            }
            match label.and_then(|label| label.positive) {
                Some(place) => Ok(Answer::Probability(place)),
                None => {
                    let message = format!("model \"{}\" has {} classes", used.name, classes.len());
                    Err(Error::new(SqlState::InvalidParameterValue, message)
                        .with_hint("Name one by class => '…', or use predict_probs for all.")
                        .at(position))
                }
            }
        }
        _ => refuse("has no probabilities"),
    }
}

/// The features of a model, for errors.
fn feature_list(used: &UsedModel) -> String {
    const TOLD_MAX: usize = 50;
    let asked = used.model.header.asked();
    let told: Vec<String> =
        asked.iter().take(TOLD_MAX).map(|feature| format!("{} {}", feature.name, format_type(feature.ty()))).collect();
    let more = asked.len().saturating_sub(TOLD_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("Its features are: {}{rest}.", told.join(", "))
}

fn constant_text(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some(text.clone()),
            ast::Value::Number(text, _) => Some(text.to_string()),
            ast::Value::Boolean(value) => Some(value.to_string()),
            _ => None,
        },
        _ => None,
    }
}
