//! `ML.EXPLAIN_PREDICT`, `ML.DETECT_ANOMALIES` and `ML.FORECAST`: rows with more columns, and rows that a model makes.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::Binder;
use super::from::{From, Left};
use super::model::Call;
use super::names::unique;
use super::scope::ScopeColumn;
use crate::encode::types::PgType;
use crate::engine::rows::{WideTable, Widening};
use crate::error::{Error, Result, SqlState};
use crate::models::forecast::HORIZON_MAX;
use crate::models::{Task, anomaly};
use crate::plan::model::{Added, Ahead, Detecting, Explaining, SeriesRows, anomaly_columns, explanation_columns};
use crate::plan::relations::{RelationColumn, ResolvedTable};

/// Steps that are told where neither the call nor the model says how many, as in BigQuery.
const HORIZON: usize = 3;
/// BigQuery's too.
const CONFIDENCE: f64 = 0.95;

impl Binder<'_> {
    pub(super) fn explained(&self, call: &Call<'_>, left: &Left<'_, '_>) -> Result<From> {
        self.refuse_options(call, &["top_k_features"])?;
        let model = &call.used.model;
        if !model.learned.explains() {
            return self.wrong_kind(call, "It needs a linear or logistic regression, a forest or boosted trees");
        }
        let all = model.features().len();
        let top = self.whole_option(call, "top_k_features", (1, i64::MAX))?.map_or(all, |top| top as usize);
        let columns = explanation_columns(model);
        self.widened(call, left, &columns, false, |added| {
            Ok(Arc::new(Explaining::new(Arc::clone(model), top, added)?) as Arc<dyn Widening>)
        })
    }

    pub(super) fn anomalies(&self, call: &Call<'_>, left: &Left<'_, '_>) -> Result<From> {
        let model = &call.used.model;
        let task = model.task();
        let threshold = match task {
            Task::Classification | Task::Regression => {
                return self.wrong_kind(
                    call,
                    "It needs a model of type isolation_forest, kmeans, pca or exponential_smoothing",
                );
            }
            Task::Forecast => {
                self.refuse_options(call, &["anomaly_prob_threshold"])?;
                self.share_option(call, "anomaly_prob_threshold")?.unwrap_or(CONFIDENCE)
            }
            Task::Anomalies | Task::Clustering | Task::Components => {
                self.refuse_options(call, &["contamination"])?;
                let asked = self.number_option(call, "contamination", (0.0, 0.5))?;
                match asked {
                    Some(share) => anomaly::threshold(&model.header.oddities, share),
                    None if task == Task::Anomalies => model.learned.threshold(),
                    None => {
                        let message = format!(
                            "ml.{} of a model of type {} needs the option contamination",
                            call.function,
                            model.header.options.model_type.name()
                        );
                        return Err(Error::new(SqlState::InvalidParameterValue, message)
                            .with_hint(
                                "It is the share of the training rows that are anomalies, e.g. contamination => 0.02.",
                            )
                            .at(call.position));
                    }
                }
            }
        };
        if task == Task::Forecast && call.rows.is_none() {
            return self.of_series(call, Ahead::History { threshold });
        }
        let columns: Vec<(String, PgType)> =
            anomaly_columns(task).iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect();
        self.widened(call, left, &columns, task == Task::Forecast, |added| {
            Ok(Arc::new(Detecting::new(Arc::clone(model), threshold, added)) as Arc<dyn Widening>)
        })
    }

    pub(super) fn forecast(&self, call: &Call<'_>) -> Result<From> {
        self.refuse_options(call, &["horizon", "confidence_level"])?;
        let model = &call.used.model;
        if model.task() != Task::Forecast {
            return self.wrong_kind(call, "It needs a model of type exponential_smoothing");
        }
        if let Some(query) = call.rows {
            let error = Error::unsupported("rows for ml.forecast").at(self.position(query.span()).or(call.position));
            return Err(error.with_hint("A forecast follows from the series that the model was made of."));
        }
        let given = self.whole_option(call, "horizon", (1, HORIZON_MAX as i64))?.map(|horizon| horizon as usize);
        let horizon = given.or_else(|| model.header.options.integer("horizon")).unwrap_or(HORIZON);
        let confidence = self.share_option(call, "confidence_level")?.unwrap_or(CONFIDENCE);
        self.of_series(call, Ahead::Forecast { horizon, confidence })
    }

    fn of_series(&self, call: &Call<'_>, told: Ahead) -> Result<From> {
        let (table, columns) = SeriesRows::new(Arc::clone(&call.used.model), told).table()?;
        self.rows_made(call, Arc::new(table), &columns)
    }

    /// A table that is no table of the catalog, under the function's name.
    fn rows_made(
        &self,
        call: &Call<'_>,
        provider: Arc<dyn TableProvider>,
        columns: &[(String, PgType)],
    ) -> Result<From> {
        let columns = columns.iter().map(|(name, ty)| RelationColumn::new(name, *ty)).collect();
        let table = ResolvedTable { schema: String::new(), name: call.function.to_owned(), oid: 0, columns, provider };
        self.table(&table, call.function, None, None, call.position)
    }

    /// The rows, and columns that a model adds. With `label`, the model is also told the label.
    fn widened(
        &self,
        call: &Call<'_>,
        left: &Left<'_, '_>,
        added: &[(String, PgType)],
        label: bool,
        widening: impl FnOnce(Added) -> Result<Arc<dyn Widening>>,
    ) -> Result<From> {
        let input = self.rows_of(call, left)?;
        let columns: Vec<ScopeColumn> = input.items.iter().flat_map(|item| item.columns.clone()).collect();
        let mut exprs: Vec<Expr> = columns.iter().map(|column| column.expr.clone()).collect();
        exprs.extend(self.features_among(call.used, &columns, call.position)?);
        if label {
            exprs.push(self.label_among(call, &columns)?);
        }
        let all = exprs.len() + added.len();
        let names: Vec<String> = unique(vec!["value"; all]);
        let named = exprs.into_iter().zip(&names).map(|(expr, name)| expr.alias(name));
        let plan = LogicalPlanBuilder::from(input.plan).project(named.collect::<Vec<_>>())?.build()?;
        let kept: Vec<Field> =
            plan.schema().fields().iter().take(columns.len()).map(|field| field.as_ref().clone()).collect();
        let types: Vec<PgType> = added.iter().map(|(_, ty)| *ty).collect();
        let of_added = names.get(all - added.len()..).unwrap_or_default();
        let widening = widening(Added::new(&kept, of_added, &types))?;
        let table = WideTable::new(self.alone(call, plan)?, widening);
        let shown: Vec<(String, PgType)> =
            columns.into_iter().map(|column| (column.name, column.ty)).chain(added.iter().cloned()).collect();
        self.rows_made(call, Arc::new(table), &shown)
    }

    /// The label among the columns of some rows, as the model was told it.
    pub(super) fn label_among(&self, call: &Call<'_>, columns: &[ScopeColumn]) -> Result<Expr> {
        let Some(label) = &call.used.model.header.label else { return Err(Error::internal("a model without a label")) };
        self.label_made(call.used, &label.feature, columns, call.position)
    }

    /// An option that is a number, within these bounds.
    fn number_option(&self, call: &Call<'_>, name: &str, (low, high): (f64, f64)) -> Result<Option<f64>> {
        let Some((_, expr)) = call.options.iter().find(|(known, _)| known == name) else { return Ok(None) };
        match constant_number(expr) {
            Some(value) if (low..=high).contains(&value) => Ok(Some(value)),
            Some(_) => Err(self.bad_option(call, name, expr, &format!("must be from {low} to {high}"))),
            None => Err(self.bad_option(call, name, expr, "must be a constant number")),
        }
    }

    /// The same of a probability.
    fn share_option(&self, call: &Call<'_>, name: &str) -> Result<Option<f64>> {
        let found = self.number_option(call, name, (0.0, 1.0))?;
        match (found, call.options.iter().find(|(known, _)| known == name)) {
            (Some(1.0), Some((_, expr))) => Err(self.bad_option(call, name, expr, "must be below 1")),
            _ => Ok(found),
        }
    }

    fn whole_option(&self, call: &Call<'_>, name: &str, (low, high): (i64, i64)) -> Result<Option<i64>> {
        let Some((_, expr)) = call.options.iter().find(|(known, _)| known == name) else { return Ok(None) };
        match constant_number(expr) {
            Some(value) if value.fract() == 0.0 && value >= low as f64 && value <= high as f64 => {
                Ok(Some(value as i64))
            }
            Some(_) if high == i64::MAX => {
                Err(self.bad_option(call, name, expr, &format!("must be a whole number of at least {low}")))
            }
            Some(_) => Err(self.bad_option(call, name, expr, &format!("must be a whole number from {low} to {high}"))),
            None => Err(self.bad_option(call, name, expr, "must be a constant number")),
        }
    }

    fn bad_option(&self, call: &Call<'_>, name: &str, expr: &ast::Expr, why: &str) -> Error {
        let message = format!("option \"{name}\" of ml.{} {why}", call.function);
        Error::new(SqlState::InvalidParameterValue, message).at(self.position(expr.span()).or(call.position))
    }
}

fn constant_number(expr: &ast::Expr) -> Option<f64> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => text.to_string().parse().ok(),
            _ => None,
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => constant_number(expr).map(|value| -value),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => constant_number(expr),
        _ => None,
    }
}
