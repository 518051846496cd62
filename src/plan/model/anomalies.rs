//! ML.DETECT_ANOMALIES over rows: how odd each is, and whether too odd.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::memory_pool::MemoryReservation;

use super::columns::Added;
use crate::encode::types::PgType;
use crate::engine::rows::{Widener, Widening};
use crate::error::{Error, Result};
use crate::models::anomaly;
use crate::models::inputs::Inputs;
use crate::models::{Expected, Known, Learned, Model, SeriesSet, Task, numbers};

/// Rows at a time.
const ROWS: usize = 8_192;

/// The columns that stay are followed by the features, in the order of training, and of a series by its value.
#[derive(Debug, Clone)]
pub struct Detecting {
    model: Arc<Model>,
    /// Rows that are odder are anomalies. Of series: the probability that a value is nearer to what is expected.
    threshold: f64,
    added: Added,
}

/// Names and types of the columns that it adds.
pub fn anomaly_columns(task: Task) -> &'static [(&'static str, PgType)] {
    match task {
        Task::Anomalies => &[("is_anomaly", PgType::BOOL), ("anomaly_score", PgType::FLOAT8)],
        Task::Clustering => {
            &[("is_anomaly", PgType::BOOL), ("normalized_distance", PgType::FLOAT8), ("centroid_id", PgType::INT8)]
        }
        Task::Components => &[("is_anomaly", PgType::BOOL), ("mean_squared_error", PgType::FLOAT8)],
        Task::Forecast => &[
            ("is_anomaly", PgType::BOOL),
            ("lower_bound", PgType::FLOAT8),
            ("upper_bound", PgType::FLOAT8),
            ("anomaly_probability", PgType::FLOAT8),
        ],
        Task::Classification | Task::Regression => &[],
    }
}

/// The columns of series: for each row its value, and what was expected.
pub fn of_series(rows: &[(Option<f64>, Option<Expected>)], threshold: f64) -> Vec<ArrayRef> {
    let odd = |(value, expected): &(Option<f64>, Option<Expected>)| Some(expected.as_ref()?.oddity((*value)?));
    let bounds = |(_, expected): &(Option<f64>, Option<Expected>)| Some(expected.as_ref()?.bounds(threshold));
    vec![
        Arc::new(rows.iter().map(|row| odd(row).map(|odd| odd > threshold)).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| bounds(row).map(|bounds| bounds.0)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| bounds(row).map(|bounds| bounds.1)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(odd).collect::<Float64Array>()),
    ]
}

impl Detecting {
    pub fn new(model: Arc<Model>, threshold: f64, added: Added) -> Self {
        Self { model, threshold, added }
    }

    /// The features of some rows, and the columns after them.
    fn inputs<'a>(&self, batch: &'a RecordBatch) -> Result<(Inputs, &'a [ArrayRef])> {
        let model = &self.model;
        let (features, rest) = self
            .added
            .rest(batch)?
            .split_at_checked(model.features().len())
            .ok_or_else(|| Error::internal("too few columns for a model"))?;
        Ok((Inputs::new(model.features(), &model.categories, features, batch.num_rows())?, rest))
    }

    fn columns(&self, inputs: &Inputs) -> Result<Vec<ArrayRef>> {
        let model = &self.model;
        let odd = model.learned.oddity(inputs, &model.categories)?;
        let bound = anomaly::bound(self.threshold);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(odd.iter().map(|row| Some(row.measure > bound)).collect::<BooleanArray>()),
            Arc::new(odd.iter().map(|row| Some(row.measure)).collect::<Float64Array>()),
        ];
        if model.task() == Task::Clustering {
            let cluster = odd.iter().map(|row| row.cluster.map(|cluster| cluster as i64 + 1));
            columns.push(Arc::new(cluster.collect::<Int64Array>()));
        }
        debug_assert!(columns.iter().all(|column| column.len() == inputs.rows));
        Ok(columns)
    }
}

impl Widening for Detecting {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.added.schema)
    }

    fn kept(&self) -> usize {
        self.added.kept
    }

    fn rows_max(&self) -> usize {
        ROWS
    }

    fn start(&self, memory: MemoryReservation) -> Box<dyn Widener> {
        Box::new(Detection { detecting: self.clone(), known: Known::new(true), memory })
    }
}

/// The rows of one partition.
struct Detection {
    detecting: Detecting,
    /// Of series: what earlier rows had computed.
    known: Known,
    memory: MemoryReservation,
}

#[async_trait]
impl Widener for Detection {
    async fn widen(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let Self { detecting, known, memory } = self;
        let (inputs, rest) = detecting.inputs(batch)?;
        let Learned::Series(set) = detecting.model.learned.as_ref() else {
            return detecting.added.with(batch, detecting.columns(&inputs)?);
        };
        let kind = detecting.model.header.label.as_ref().map(|label| label.feature.kind);
        let (Some(values), Some(kind)) = (rest.first(), kind) else {
            return Err(Error::internal("a series without its value"));
        };
        let values = numbers(values, kind)?;
        let value = |row: usize| values.values().get(row).copied().filter(|value| !value.is_nan());
        let found = expected(set, &inputs, known, |known| Ok(memory.try_resize(known.bytes())?)).await?;
        let found: Vec<_> = found.into_iter().enumerate().map(|(row, expected)| (value(row), expected)).collect();
        detecting.added.with(batch, of_series(&found, detecting.threshold))
    }
}

/// What a series leads to expect of each row; `keep` is told what is known before others have their turn.
pub(super) async fn expected(
    set: &SeriesSet,
    inputs: &Inputs,
    known: &mut Known,
    mut keep: impl FnMut(&Known) -> Result<()> + Send,
) -> Result<Vec<Option<Expected>>> {
    let mut asked = set.asked(inputs)?;
    while !asked.go_on(set, known)? {
        keep(known)?;
        tokio::task::yield_now().await;
    }
    keep(known)?;
    Ok(asked.found())
}
