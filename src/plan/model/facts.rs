//! What a model's artifact tells, as tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};

use crate::encode::types::{PgType, arrow_type};
use crate::error::Result;
use crate::models::header::Header;
use crate::models::options::Value;
use crate::models::{Weight, evaluate};

/// A table of a few rows.
pub struct Facts {
    pub columns: Vec<(String, PgType)>,
    pub batch: RecordBatch,
}

/// Columns that are being gathered.
#[derive(Default)]
struct Gathered {
    columns: Vec<(String, PgType, ArrayRef)>,
}

impl Gathered {
    fn text<S: Into<String>>(mut self, name: &str, values: impl Iterator<Item = Option<S>>) -> Self {
        let values: StringArray = values.map(|value| value.map(Into::into)).collect();
        self.columns.push((name.to_owned(), PgType::TEXT, Arc::new(values)));
        self
    }

    fn number(mut self, name: &str, values: impl Iterator<Item = Option<f64>>) -> Self {
        let values: Float64Array = values.collect();
        self.columns.push((name.to_owned(), PgType::FLOAT8, Arc::new(values)));
        self
    }

    fn count(mut self, name: &str, values: impl Iterator<Item = Option<u64>>) -> Self {
        let values: Int64Array = values.map(|value| value.and_then(|value| i64::try_from(value).ok())).collect();
        self.columns.push((name.to_owned(), PgType::INT8, Arc::new(values)));
        self
    }

    fn boolean(mut self, name: &str, values: impl Iterator<Item = Option<bool>>) -> Self {
        let values: BooleanArray = values.collect();
        self.columns.push((name.to_owned(), PgType::BOOL, Arc::new(values)));
        self
    }

    fn jsonb(self, name: &str, values: impl Iterator<Item = Option<String>>) -> Self {
        let written = values.map(|value| value.and_then(|value| crate::encode::input::jsonb(&value).ok()));
        let mut gathered = self.text(name, written);
        if let Some(column) = gathered.columns.last_mut() {
            column.1 = PgType::JSONB;
        }
        gathered
    }

    fn finish(self) -> Result<Facts> {
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        let mut columns = Vec::new();
        for (name, ty, array) in self.columns {
            let carrier = arrow_type(ty);
            arrays.push(crate::encode::cast(&array, &carrier)?);
            fields.push(Field::new(&name, carrier, true));
            columns.push((name, ty));
        }
        Ok(Facts { columns, batch: RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)? })
    }
}

/// The metrics that were taken in training, in one row: those of rows first, and after them those of training itself. Where there are
/// none, those of rows are NULL.
pub fn metrics(header: &Header) -> Result<Facts> {
    let of_rows = evaluate::names(header.options.model_type.task());
    let known = of_rows.iter().copied().filter(|name| header.metrics.is_empty() || header.metrics.contains_key(*name));
    let others = header.metrics.keys().map(String::as_str).filter(|name| !of_rows.contains(name));
    named_metrics(&known.chain(others).collect::<Vec<_>>(), &header.metrics)
}

/// Metrics of these names in one row; NULL for those that are not defined.
pub fn named_metrics(names: &[&str], metrics: &std::collections::BTreeMap<String, f64>) -> Result<Facts> {
    let mut gathered = Gathered::default();
    for name in names {
        gathered = gathered.number(name, std::iter::once(metrics.get(*name).copied()));
    }
    gathered.finish()
}

/// A row for each pair of classes.
pub fn confusion(classes: &[String], counts: &[Vec<f64>]) -> Result<Facts> {
    let cells: Vec<(&String, &String, f64)> = counts
        .iter()
        .zip(classes)
        .flat_map(|(row, expected)| {
            row.iter().zip(classes).map(move |(count, predicted)| (expected, predicted, *count))
        })
        .collect();
    Gathered::default()
        .text("expected", cells.iter().map(|cell| Some(cell.0.as_str())))
        .text("predicted", cells.iter().map(|cell| Some(cell.1.as_str())))
        .number("rows", cells.iter().map(|cell| Some(cell.2)))
        .finish()
}

/// A row for each threshold.
pub fn roc(points: &[crate::models::header::RocPoint]) -> Result<Facts> {
    let share = |part: f64, other: f64| (part + other > 0.0).then(|| part / (part + other));
    Gathered::default()
        .number("threshold", points.iter().map(|point| Some(point.threshold)))
        .number("recall", points.iter().map(|point| share(point.true_positives, point.false_negatives)))
        .number("false_positive_rate", points.iter().map(|point| share(point.false_positives, point.true_negatives)))
        .number("true_positives", points.iter().map(|point| Some(point.true_positives)))
        .number("false_positives", points.iter().map(|point| Some(point.false_positives)))
        .number("true_negatives", points.iter().map(|point| Some(point.true_negatives)))
        .number("false_negatives", points.iter().map(|point| Some(point.false_negatives)))
        .finish()
}

/// A row for each feature, the most important first.
pub fn importance(header: &Header) -> Result<Facts> {
    let mut rows = header.importance.clone();
    let weight = |row: &crate::models::header::Importance| row.gain.or(row.permutation).unwrap_or(0.0);
    rows.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    Gathered::default()
        .text("feature", rows.iter().map(|row| Some(row.feature.as_str())))
        .count("importance_weight", rows.iter().map(|row| row.splits))
        .number("importance_gain", rows.iter().map(|row| row.gain))
        .number("importance_permutation", rows.iter().map(|row| row.permutation))
        .finish()
}

/// A row for each step of training.
pub fn log(header: &Header) -> Result<Facts> {
    let rows = &header.log;
    Gathered::default()
        .count("iteration", rows.iter().map(|row| Some(row.iteration)))
        .number("loss", rows.iter().map(|row| row.train_loss))
        .number("eval_loss", rows.iter().map(|row| row.eval_loss))
        .number("duration_ms", rows.iter().map(|row| Some(row.ms)))
        .finish()
}

/// A row for each model of a search.
pub fn trials(header: &Header) -> Result<Facts> {
    let rows = &header.trials;
    let options = |values: &std::collections::BTreeMap<String, Value>| serde_json::to_string(values).ok();
    Gathered::default()
        .count("trial_id", rows.iter().map(|row| Some(row.trial)))
        .jsonb("hyperparameters", rows.iter().map(|row| options(&row.options)))
        .jsonb("metrics", rows.iter().map(|row| serde_json::to_string(&row.metrics).ok()))
        .number("duration_ms", rows.iter().map(|row| Some(row.ms)))
        .text("status", rows.iter().map(|row| Some(if row.error.is_some() { "FAILED" } else { "SUCCEEDED" })))
        .boolean("is_optimal", rows.iter().map(|row| Some(row.is_best)))
        .text("error_message", rows.iter().map(|row| row.error.as_deref()))
        .finish()
}

/// A row for each feature, as it was in training.
pub fn features(header: &Header) -> Result<Facts> {
    let rows: Vec<_> = header.features.iter().zip(&header.statistics).collect();
    Gathered::default()
        .text("input", rows.iter().map(|(feature, _)| Some(feature.name.as_str())))
        .text("type", rows.iter().map(|(feature, _)| Some(crate::encode::types::format_type(feature.ty()))))
        .text("kind", rows.iter().map(|(feature, _)| Some(feature.kind.word())))
        .number("min", rows.iter().map(|(_, statistics)| statistics.min))
        .number("max", rows.iter().map(|(_, statistics)| statistics.max))
        .number("mean", rows.iter().map(|(_, statistics)| statistics.mean))
        .number("stddev", rows.iter().map(|(_, statistics)| statistics.stddev))
        .count("category_count", rows.iter().map(|(_, statistics)| statistics.categories))
        .count("null_count", rows.iter().map(|(_, statistics)| Some(statistics.nulls)))
        .finish()
}

/// A row for each weight: of a linear model, or of what makes components.
pub fn weights(weights: &[Weight]) -> Result<Facts> {
    Gathered::default()
        .text("output", weights.iter().map(|weight| weight.output.as_deref()))
        .text("processed_input", weights.iter().map(|weight| Some(weight.input.as_str())))
        .text("category", weights.iter().map(|weight| weight.category.as_deref()))
        .number("weight", weights.iter().map(|weight| Some(weight.weight)))
        .number("standard_error", weights.iter().map(|weight| weight.standard_error))
        .number("p_value", weights.iter().map(|weight| weight.p_value))
        .finish()
}

/// A row for each cluster and feature, or category.
pub fn centroids(weights: &[Weight]) -> Result<Facts> {
    Gathered::default()
        .count("centroid_id", weights.iter().map(|weight| weight.output.as_deref().and_then(|id| id.parse().ok())))
        .text("feature", weights.iter().map(|weight| Some(weight.input.as_str())))
        .text("category", weights.iter().map(|weight| weight.category.as_deref()))
        .number("value", weights.iter().map(|weight| Some(weight.weight)))
        .finish()
}
