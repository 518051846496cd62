//! ML.EXPLAIN_PREDICT: the prediction of each row and what its features add to it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::memory_pool::MemoryReservation;

use super::columns::Added;
use crate::encode::types::PgType;
use crate::engine::rows::{Widener, Widening};
use crate::error::{Error, Result};
use crate::models::explain::Explained;
use crate::models::inputs::Inputs;
use crate::models::{Answer, Model, Task};

/// The columns that stay are followed by the features, in the order of training.
#[derive(Debug, Clone)]
pub struct Explaining {
    model: Arc<Model>,
    /// Attributions that are told.
    top: usize,
    /// The features' names as JSON.
    names: Vec<String>,
    added: Added,
}

/// Names and types of the columns that it adds.
pub fn explanation_columns(model: &Model) -> Vec<(String, PgType)> {
    let label = model.header.label.as_ref().map_or("label", |label| label.feature.name.as_str());
    let mut columns = vec![(format!("predicted_{label}"), model.answer_type(Answer::Predicted))];
    if model.task() == Task::Classification {
        columns.push(("probability".to_owned(), PgType::FLOAT8));
    }
    columns.push(("top_feature_attributions".to_owned(), PgType::JSONB));
    let numbers = ["baseline_prediction_value", "prediction_value", "approximation_error"];
    columns.extend(numbers.map(|name| (name.to_owned(), PgType::FLOAT8)));
    columns
}

impl Explaining {
    /// # Errors
    /// XX000 when a name cannot be JSON.
    pub fn new(model: Arc<Model>, top: usize, added: Added) -> Result<Self> {
        let name = |feature: &crate::models::Feature| {
            serde_json::to_string(&feature.name).map_err(|error| Error::internal(error.to_string()))
        };
        let names = model.features().iter().map(name).collect::<Result<_>>()?;
        let added = added.carried(0, model.answer_carrier(Answer::Predicted));
        Ok(Self { model, top, names, added })
    }

    /// The largest parts first, as jsonb is written.
    fn attributions(&self, parts: &[f64]) -> String {
        let mut order: Vec<usize> = (0..parts.len()).collect();
        let part = |at: &usize| parts.get(*at).copied().unwrap_or(0.0);
        order.sort_by(|one, other| part(other).abs().total_cmp(&part(one).abs()));
        let told = order.iter().take(self.top).map(|at| {
            let name = self.names.get(*at).map_or("\"\"", String::as_str);
            format!("{{\"feature\": {name}, \"attribution\": {}}}", number(part(at)))
        });
        format!("[{}]", told.collect::<Vec<_>>().join(", "))
    }
}

fn number(value: f64) -> String {
    match value {
        // JSON has no sign of zero and nothing infinite.
        0.0 => "0".to_owned(),
        value if value.is_finite() => value.to_string(),
        _ => "null".to_owned(),
    }
}

/// What baseline and parts leave of the prediction, as a share of both.
fn approximation_error(row: &Explained) -> f64 {
    let left = row.prediction - row.baseline - row.parts.iter().sum::<f64>();
    if left == 0.0 { 0.0 } else { left.abs() / (row.prediction.abs() + row.baseline.abs()) }
}

impl Widening for Explaining {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.added.schema)
    }

    fn kept(&self) -> usize {
        self.added.kept
    }

    fn rows_max(&self) -> usize {
        self.model.learned.explained_rows()
    }

    fn start(&self, _memory: MemoryReservation) -> Box<dyn Widener> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Widener for Explaining {
    async fn widen(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let features = self.model.features();
        let inputs = Inputs::new(features, &self.model.categories, self.added.rest(batch)?, batch.num_rows())?;
        let rows = self.model.learned.explain(&inputs, &self.model.categories)?;
        let numbers = |of: &dyn Fn(&Explained) -> f64| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Float64Array>())
        };
        let mut added: Vec<ArrayRef> = Vec::new();
        if self.model.task() == Task::Classification {
            let places = rows.iter().map(|row| row.class.map(|(place, _)| place as u32)).collect();
            added.push(self.model.class_values(&places)?);
            added.push(numbers(&|row| row.class.map_or(f64::NAN, |(_, probability)| probability)));
        } else {
            added.push(numbers(&|row| row.prediction));
        }
        let attributions = rows.iter().map(|row| Some(self.attributions(&row.parts)));
        added.push(Arc::new(attributions.collect::<StringArray>()));
        added.push(numbers(&|row| row.baseline));
        added.push(numbers(&|row| row.prediction));
        added.push(numbers(&approximation_error));
        self.added.with(batch, added)
    }
}
