//! ML.EVALUATE, ML.CONFUSION_MATRIX and ML.ROC_CURVE over rows: one pass in which the model is asked about each.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::anomalies::expected;
use super::facts::{self, Facts};
use crate::engine::pass::{Gatherer, Pass};
use crate::error::{Error, Result, SqlState};
use crate::models::evaluate::{self, Gathering, Metrics, Truth};
use crate::models::header::Evaluation;
use crate::models::inputs::Inputs;
use crate::models::{FeatureKind, Known, Learned, Model, Task, class_values, numbers, texts};

/// What is told of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Metrics,
    Confusion,
    Roc,
}

/// The pass: its columns are the features in the order of training, and after them the label where there is one.
#[derive(Debug)]
pub struct Evaluated {
    model: Arc<Model>,
    /// For errors.
    name: String,
    told: Told,
    schema: SchemaRef,
}

impl Evaluated {
    /// # Errors
    /// The engine's.
    pub fn new(model: Arc<Model>, name: &str, told: Told) -> Result<Self> {
        let none = facts(&model, told, &Metrics::new(), &Evaluation::default())?;
        Ok(Self { schema: none.batch.schema(), model, name: name.to_owned(), told })
    }

    /// Names and types of the answer's columns.
    ///
    /// # Errors
    /// The engine's.
    pub fn columns(&self) -> Result<Vec<(String, crate::encode::types::PgType)>> {
        Ok(facts(&self.model, self.told, &Metrics::new(), &Evaluation::default())?.columns)
    }

    fn gathering(&self) -> Gathering {
        let label = self.model.header.label.as_ref();
        let classes = label.map_or(0, |label| label.classes.len());
        Gathering::new(self.model.task(), classes, label.and_then(|label| label.positive))
    }
}

fn facts(model: &Model, told: Told, metrics: &Metrics, evaluation: &Evaluation) -> Result<Facts> {
    let classes = model.header.label.as_ref().map(|label| label.classes.as_slice()).unwrap_or_default();
    match told {
        Told::Metrics => facts::named_metrics(evaluate::names(model.task()), metrics),
        Told::Confusion => facts::confusion(classes, &evaluation.confusion),
        Told::Roc => facts::roc(&evaluation.roc),
    }
}

impl Pass for Evaluated {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn start(&self) -> Box<dyn Gatherer> {
        let classes = self.model.header.label.iter().flat_map(|label| label.classes.iter().cloned()).enumerate();
        Box::new(Rows {
            model: Arc::clone(&self.model),
            name: self.name.clone(),
            found: self.gathering(),
            classes: classes.map(|(place, class)| (class, place)).collect(),
            rows: 0,
            known: Known::new(false),
        })
    }

    fn finish(&self, gathered: Vec<Box<dyn Gatherer>>) -> Result<RecordBatch> {
        let mut whole = self.gathering();
        let mut count = 0;
        for gatherer in gathered {
            let gatherer: Box<dyn Any> = gatherer;
            let rows = gatherer.downcast::<Rows>().map_err(|_| Error::internal("another pass's rows"))?;
            count += rows.rows;
            whole.merge(rows.found);
        }
        if count == 0 {
            let message = "there are no rows with a label to evaluate the model with";
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let (metrics, evaluation) = whole.finish();
        Ok(facts(&self.model, self.told, &metrics, &evaluation)?.batch)
    }
}

/// The rows of one partition.
struct Rows {
    model: Arc<Model>,
    name: String,
    found: Gathering,
    classes: HashMap<String, usize>,
    rows: usize,
    /// Of series: what earlier rows had computed.
    known: Known,
}

impl Rows {
    fn truths(&self, label: Option<&ArrayRef>, rows: usize) -> Result<Vec<Option<Truth>>> {
        let own = self.model.header.label.as_ref();
        match (self.model.task(), label, own) {
            (Task::Classification, Some(array), Some(own)) => {
                let texts = texts(&class_values(array), own.feature.ty())?;
                let class = |text: &str| self.classes.get(text).copied().ok_or_else(|| self.unknown(text));
                texts.iter().map(|text| text.map(|text| class(text).map(Truth::Class)).transpose()).collect()
            }
            (Task::Regression | Task::Forecast, Some(array), own) => {
                let kind = own.map_or(FeatureKind::Number, |label| label.feature.kind);
                let values = numbers(array, kind)?;
                let truth = |row: usize| array.is_valid(row).then(|| Truth::Number(values.value(row)));
                Ok((0..rows).map(truth).collect())
            }
            _ => Ok(vec![Some(Truth::None); rows]),
        }
    }

    /// Metrics without such rows would be better than the model is.
    fn unknown(&self, class: &str) -> Error {
        let label = self.model.header.label.as_ref().map_or("label", |label| label.feature.name.as_str());
        let message = format!("label \"{label}\" has a value that model \"{}\" does not know: \"{class}\"", self.name);
        Error::new(SqlState::InvalidParameterValue, message).with_hint("Leave such rows out in the query.")
    }
}

#[async_trait]
impl Gatherer for Rows {
    async fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let features = self.model.features().len();
        let rows = batch.num_rows();
        let arrays = batch.columns().get(..features).ok_or_else(|| Error::internal("too few columns to evaluate"))?;
        let truths = self.truths(batch.columns().get(features), rows)?;
        let inputs = Inputs::new(self.model.features(), &self.model.categories, arrays, rows)?;
        let scores = match self.model.learned.as_ref() {
            Learned::Series(set) => {
                let expected = expected(set, &inputs, &mut self.known, |_| Ok(())).await?;
                expected.iter().map(|expected| expected.map_or(f64::NAN, |expected| expected.value)).collect()
            }
            learned => learned.scores(&inputs, &self.model.categories)?,
        };
        let width = self.model.learned.width().max(1);
        for (truth, scores) in truths.into_iter().zip(scores.chunks_exact(width)) {
            let Some(truth) = truth else { continue };
            self.rows += 1;
            self.found.add(truth, scores, 1.0);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        // Rankings keep 24 bytes a row up to their bound.
        self.rows.min(evaluate::ROWS_KEPT_MAX) * 24 + self.known.bytes()
    }
}
