//! The table functions over models, `ML.PREDICT (MODEL m, (SELECT …))` and its kin.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::from::{From, Left};
use super::names::unique;
use super::scope::{Item, Origin, ScopeColumn};
use super::{Binder, plan_columns};
use crate::builtins::functions::prediction;
use crate::encode::types::PgType;
use crate::engine::pass::PassTable;
use crate::error::{Error, Result, SqlState};
use crate::models::{Answer, Model, Task};
use crate::plan::model::{Evaluated, Facts, Told, UsedModel, facts, written};
use crate::plan::relations::{RelationColumn, ResolvedTable};
use crate::plan::unnest::is_correlated;
use crate::sql::model_argument;

/// Functions over models that are there, for the error of one that is not.
const FUNCTIONS: &[&str] = &[
    "predict",
    "detect_anomalies",
    "explain_predict",
    "evaluate",
    "confusion_matrix",
    "roc_curve",
    "feature_importance",
    "feature_info",
    "training_info",
    "trial_info",
    "weights",
    "centroids",
    "forecast",
];

/// The options of a function, whatever the kind of model.
fn option_names(function: &str) -> &'static [&'static str] {
    match function {
        "detect_anomalies" => &["contamination", "anomaly_prob_threshold"],
        "explain_predict" => &["top_k_features"],
        "forecast" => &["horizon", "confidence_level"],
        _ => &[],
    }
}

/// How the arguments after the model are written.
fn argument_hint(function: &str) -> String {
    let options: Vec<String> = option_names(function).iter().map(|name| format!("{name} => …")).collect();
    match options.as_slice() {
        [] => "Rows are given as (SELECT …) or TABLE t.".to_owned(),
        options => format!("Rows are given as (SELECT …) or TABLE t, options by name: {}.", options.join(", ")),
    }
}

/// The arguments of a call.
pub(super) struct Call<'a> {
    pub(super) function: &'a str,
    pub(super) used: &'a UsedModel,
    /// The rows that it is about.
    pub(super) rows: Option<&'a ast::Query>,
    /// `name => constant`, or those of a STRUCT.
    pub(super) options: Vec<(String, &'a ast::Expr)>,
    pub(super) position: Option<u32>,
}

impl Binder<'_> {
    /// A function of the schema `ml` in FROM.
    pub(super) fn model_function(
        &self,
        function: &str,
        arguments: &[ast::FunctionArg],
        alias: Option<&ast::TableAlias>,
        left: &Left<'_, '_>,
        position: Option<u32>,
    ) -> Result<From> {
        let call = self.model_call(function, arguments, position)?;
        let from = match function {
            "predict" => self.predicted(&call, left)?,
            "detect_anomalies" => self.anomalies(&call, left)?,
            "explain_predict" => self.explained(&call, left)?,
            "forecast" => self.forecast(&call)?,
            "evaluate" | "confusion_matrix" | "roc_curve" if call.rows.is_some() => self.evaluated(&call, left)?,
            _ => self.facts_of(&call)?,
        };
        let mut items = Vec::new();
        for item in from.items {
            items.push(self.aliased(item, alias)?);
        }
        Ok(From { plan: from.plan, items })
    }

    fn model_call<'a>(
        &'a self,
        function: &'a str,
        arguments: &'a [ast::FunctionArg],
        position: Option<u32>,
    ) -> Result<Call<'a>> {
        if !FUNCTIONS.contains(&function) {
            let message = format!("function ml.{function} does not exist");
            let hint = format!("The functions over models are {}.", FUNCTIONS.join(", "));
            return Err(Error::new(SqlState::UndefinedFunction, message).with_hint(hint).at(position));
        }
        let Some(parts) = arguments.first().and_then(model_argument) else {
            let message = format!("the first argument of ml.{function} must be a model");
            return Err(Error::new(SqlState::UndefinedFunction, message)
                .with_hint(format!("Write ML.{} (MODEL name, …).", function.to_uppercase()))
                .at(position));
        };
        let Some(used) = self.relations.models.get(&written(parts)) else {
            let name: Vec<String> = parts.iter().map(crate::sql::fold).collect();
            let message = format!("model \"{}\" does not exist", name.join("."));
            let place = parts.first().and_then(|part| self.position(part.span));
            return Err(Error::new(SqlState::UndefinedObject, message).at(place.or(position)));
        };
        let mut call = Call { function, used, rows: None, options: Vec::new(), position };
        for argument in arguments.iter().skip(1) {
            match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Subquery(query)))
                    if call.rows.is_none() =>
                {
                    call.rows = Some(query);
                }
                ast::FunctionArg::Named { name, arg: ast::FunctionArgExpr::Expr(expr), .. } => {
                    call.options.push((crate::sql::fold(name), expr));
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Struct { values, .. })) => {
                    call.options.extend(values.iter().filter_map(|value| match value {
                        ast::Expr::Named { expr, name } => Some((crate::sql::fold(name), expr.as_ref())),
                        _ => None,
                    }));
                }
                other => {
                    let error = Error::unsupported(format!("this argument of ml.{function}"));
                    return Err(error.with_hint(argument_hint(function)).at(self.position(other.span()).or(position)));
                }
            }
        }
        for (at, (name, expr)) in call.options.iter().enumerate() {
            if call.options.iter().take(at).any(|(other, _)| other == name) {
                let message = format!("argument name \"{name}\" used more than once");
                let place = self.position(expr.span()).or(position);
                return Err(Error::new(SqlState::SyntaxError, message).at(place));
            }
        }
        Ok(call)
    }

    /// The rows that a call is about, as a FROM item.
    pub(super) fn rows_of(&self, call: &Call<'_>, left: &Left<'_, '_>) -> Result<From> {
        let Some(query) = call.rows else {
            let message = format!("ml.{} needs rows", call.function);
            return Err(Error::new(SqlState::UndefinedFunction, message)
                .with_hint("Give them as (SELECT …) or TABLE t.")
                .at(call.position));
        };
        self.derived_rows(query, left)
    }

    /// The plan of the call's rows as one that runs by itself: what runs it has no row of a query around it.
    pub(super) fn alone(&self, call: &Call<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
        if is_correlated(&plan)? {
            let place = call.rows.and_then(|query| self.position(query.span()));
            let message = format!("a correlated query as rows of ml.{}", call.function);
            return Err(Error::unsupported(message).at(place.or(call.position)));
        }
        self.unnested(plan)
    }

    /// The rows, and more columns that the model answers.
    fn with_answers(&self, call: &Call<'_>, left: &Left<'_, '_>, answers: &[(String, Answer)]) -> Result<From> {
        let input = self.rows_of(call, left)?;
        let columns: Vec<ScopeColumn> = input.items.iter().flat_map(|item| item.columns.clone()).collect();
        let features = self.features_among(call.used, &columns, call.position)?;
        let mut bound: Vec<(String, Expr, PgType, Origin)> =
            columns.into_iter().map(|column| (column.name, column.expr, column.ty, column.origin)).collect();
        for (name, answer) in answers {
            let udf = prediction::function(Arc::clone(&call.used.model), call.used.name.to_string(), *answer);
            let ty = call.used.model.answer_type(*answer);
            bound.push((name.clone(), udf.call(features.clone()), ty, Origin::default()));
        }
        let names = unique(bound.iter().map(|(name, ..)| name.as_str()));
        let exprs: Vec<Expr> = bound.iter().zip(names).map(|((_, expr, ..), name)| expr.clone().alias(name)).collect();
        let plan = LogicalPlanBuilder::from(input.plan).project(exprs)?.build()?;
        let qualifier = TableReference::bare(self.unique(call.function));
        let plan = LogicalPlanBuilder::from(plan).alias(qualifier)?.build()?;
        let columns = bound
            .into_iter()
            .zip(plan_columns(&plan))
            .map(|((name, _, ty, origin), expr)| ScopeColumn { name, expr, ty, origin })
            .collect();
        let item = Item {
            name: Some(call.function.to_owned()),
            schema: None,
            hidden_name: None,
            table_oid: 0,
            columns,
            relation_visible: true,
            columns_visible: true,
            scalar: false,
            system: Vec::new(),
            position: call.position,
        };
        Ok(From { plan, items: vec![item] })
    }

    fn predicted(&self, call: &Call<'_>, left: &Left<'_, '_>) -> Result<From> {
        self.refuse_options(call, &[])?;
        let model = &call.used.model;
        let label = model.header.label.as_ref().map_or("label", |label| label.feature.name.as_str());
        let answers: Vec<(String, Answer)> = match model.task() {
            Task::Classification => vec![
                (format!("predicted_{label}"), Answer::Predicted),
                (format!("predicted_{label}_probs"), Answer::Probabilities),
            ],
            Task::Regression => vec![(format!("predicted_{label}"), Answer::Predicted)],
            Task::Clustering => vec![
                ("centroid_id".to_owned(), Answer::Predicted),
                ("nearest_centroid_distance".to_owned(), Answer::Nearest),
            ],
            Task::Components => (0..model.learned.width())
                .map(|place| (format!("principal_component_{}", place + 1), Answer::Score(place)))
                .collect(),
            Task::Anomalies => {
                vec![("is_anomaly".to_owned(), Answer::Predicted), ("anomaly_score".to_owned(), Answer::Probability(0))]
            }
            Task::Forecast => return self.wrong_kind(call, "ML.FORECAST tells what comes"),
        };
        self.with_answers(call, left, &answers)
    }

    /// The metrics of the model on some rows, in one pass over them.
    fn evaluated(&self, call: &Call<'_>, left: &Left<'_, '_>) -> Result<From> {
        self.refuse_options(call, &[])?;
        let model = &call.used.model;
        let two = model.header.label.as_ref().is_some_and(|label| label.positive.is_some());
        let told = match (call.function, model.task()) {
            ("evaluate", Task::Classification | Task::Regression | Task::Clustering | Task::Forecast) => Told::Metrics,
            ("confusion_matrix", Task::Classification) => Told::Confusion,
            ("roc_curve", Task::Classification) if two => Told::Roc,
            _ => return self.wrong_kind(call, "it needs labels, a curve two of them"),
        };
        let input = self.rows_of(call, left)?;
        let columns: Vec<ScopeColumn> = input.items.iter().flat_map(|item| item.columns.clone()).collect();
        let mut exprs = self.features_among(call.used, &columns, call.position)?;
        if model.header.label.is_some() {
            exprs.push(self.label_among(call, &columns)?);
        }
        let names = unique(vec!["value"; exprs.len()]);
        let exprs: Vec<Expr> = exprs.into_iter().zip(names).map(|(expr, name)| expr.alias(name)).collect();
        let plan = LogicalPlanBuilder::from(input.plan).project(exprs)?.build()?;
        let pass = Evaluated::new(Arc::clone(model), &call.used.name, told)?;
        let columns = pass.columns()?.iter().map(|(name, ty)| RelationColumn::new(name, *ty)).collect();
        let provider = PassTable::new(self.alone(call, plan)?, Arc::new(pass));
        let table = ResolvedTable {
            schema: String::new(),
            name: call.function.to_owned(),
            oid: 0,
            columns,
            provider: Arc::new(provider),
        };
        self.table(&table, call.function, None, None, call.position)
    }

    pub(super) fn wrong_kind<T>(&self, call: &Call<'_>, hint: &str) -> Result<T> {
        let kind = call.used.model.header.options.model_type.name();
        let message = format!("ml.{} is not for a model of type {kind}", call.function);
        Err(Error::new(SqlState::WrongObjectType, message).with_hint(format!("{hint}.")).at(call.position))
    }

    /// Refuses options but those of some names.
    pub(super) fn refuse_options(&self, call: &Call<'_>, known: &[&str]) -> Result<()> {
        let Some((name, expr)) = call.options.iter().find(|(name, _)| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let message = format!("ml.{} has no option \"{name}\"", call.function);
        Err(Error::new(SqlState::InvalidParameterValue, message).at(self.position(expr.span()).or(call.position)))
    }

    /// What the artifact tells.
    fn facts_of(&self, call: &Call<'_>) -> Result<From> {
        self.refuse_options(call, &[])?;
        if call.rows.is_some() {
            let message = format!("rows for ml.{}", call.function);
            return Err(Error::unsupported(message).at(call.position));
        }
        let model: &Model = &call.used.model;
        let header = &model.header;
        let classes = header.label.as_ref().map(|label| label.classes.as_slice()).unwrap_or_default();
        let facts = match (call.function, model.task()) {
            ("evaluate", _) => facts::metrics(header)?,
            ("confusion_matrix", Task::Classification) => facts::confusion(classes, &header.evaluation.confusion)?,
            ("roc_curve", Task::Classification) if classes.len() == 2 => facts::roc(&header.evaluation.roc)?,
            ("confusion_matrix" | "roc_curve", _) => {
                return self.wrong_kind(call, "it needs a classifier, a curve one of two classes");
            }
            ("feature_importance", _) => facts::importance(header)?,
            ("feature_info", _) => facts::features(header)?,
            ("training_info", _) => facts::log(header)?,
            ("trial_info", _) => facts::trials(header)?,
            ("weights", _) => match model.learned.weights(header, &model.categories)? {
                Some(weights) if model.task() != Task::Clustering => facts::weights(&weights)?,
                _ => return self.wrong_kind(call, "it needs a linear model or components"),
            },
            ("centroids", Task::Clustering) => {
                let weights = model.learned.weights(header, &model.categories)?;
                facts::centroids(&weights.unwrap_or_default())?
            }
            ("centroids", _) => return self.wrong_kind(call, "it needs a model of type kmeans"),
            _ => return Err(Error::unsupported(format!("ml.{}", call.function)).at(call.position)),
        };
        self.facts(call.function, facts, call.position)
    }

    pub(super) fn facts(&self, name: &str, facts: Facts, position: Option<u32>) -> Result<From> {
        let provider = MemTable::try_new(facts.batch.schema(), vec![vec![facts.batch]])?;
        let columns = facts.columns.iter().map(|(name, ty)| RelationColumn::new(name, *ty)).collect();
        let table = ResolvedTable {
            schema: String::new(),
            name: name.to_owned(),
            oid: 0,
            columns,
            provider: Arc::new(provider),
        };
        self.table(&table, name, None, None, position)
    }

    /// The rows of a query as a FROM item.
    fn derived_rows(&self, query: &ast::Query, left: &Left<'_, '_>) -> Result<From> {
        let alias = ast::TableAlias { explicit: true, name: ast::Ident::new("input"), columns: Vec::new(), at: None };
        self.derived(false, query, Some(&alias), left)
    }
}
