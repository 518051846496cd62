//! ML.FORECAST, and ML.DETECT_ANOMALIES of the series that a model was made of: rows that follow from the artifact, some series at a time.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Date32Array, Float64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use super::anomalies::{anomaly_columns, of_series};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result, SqlState};
use crate::models::forecast::DAY;
use crate::models::{Expected, Learned, Model, Series, SeriesSet, Task, values};

/// Rows of a batch, about.
const ROWS: usize = 8_192;

/// What is told of each series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ahead {
    Forecast {
        horizon: usize,
        confidence: f64,
    },
    /// What was expected of its values; those with a greater probability are anomalies.
    History {
        threshold: f64,
    },
}

/// The rows of all series.
#[derive(Debug)]
pub struct SeriesRows {
    model: Arc<Model>,
    told: Ahead,
    schema: SchemaRef,
}

/// Rows that are being gathered.
#[derive(Default)]
struct Gathered {
    /// For each column that tells series apart.
    ids: Vec<Vec<Option<String>>>,
    /// Microseconds.
    times: Vec<i64>,
    numbers: Vec<Vec<f64>>,
    values: Vec<(Option<f64>, Option<Expected>)>,
}

impl SeriesRows {
    pub fn new(model: Arc<Model>, told: Ahead) -> Self {
        let fields = columns(&model, told).into_iter().map(|(name, ty)| Field::new(name, arrow_type(ty), true));
        // Names may be those of the user's columns.
        let fields = fields.enumerate().map(|(at, field)| field.with_name(format!("column:{at}")));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { model, told, schema }
    }

    /// As a table, with the names and types of its columns.
    ///
    /// # Errors
    /// The engine's.
    pub fn table(self) -> Result<(StreamingTable, Vec<(String, PgType)>)> {
        let columns = columns(&self.model, self.told);
        Ok((StreamingTable::try_new(Arc::clone(&self.schema), vec![Arc::new(self)])?, columns))
    }
}

/// Names and types.
fn columns(model: &Model, told: Ahead) -> Vec<(String, PgType)> {
    let features = model.features();
    let mut columns: Vec<(String, PgType)> = features.iter().skip(1).map(|id| (id.name.clone(), id.ty())).collect();
    let time = features.first();
    let ty = time.map_or(PgType::TIMESTAMP, |time| time.ty());
    match told {
        Ahead::Forecast { .. } => {
            columns.push(("forecast_timestamp".to_owned(), ty));
            let numbers = [
                "forecast_value",
                "standard_error",
                "confidence_level",
                "prediction_interval_lower_bound",
                "prediction_interval_upper_bound",
            ];
            columns.extend(numbers.map(|name| (name.to_owned(), PgType::FLOAT8)));
        }
        Ahead::History { .. } => {
            columns.push((time.map_or("time", |time| time.name.as_str()).to_owned(), ty));
            let value = model.header.label.as_ref().map_or("value", |label| label.feature.name.as_str());
            columns.push((value.to_owned(), PgType::FLOAT8));
            let added = anomaly_columns(Task::Forecast).iter();
            columns.extend(added.map(|(name, ty)| ((*name).to_owned(), *ty)));
        }
    }
    columns
}

impl Gathered {
    fn take(&mut self, series: &Series, model: &Model, told: Ahead) -> Result<()> {
        let beyond = || Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range");
        let before = self.times.len();
        match told {
            Ahead::Forecast { horizon, confidence } => {
                self.numbers.resize(5, Vec::new());
                for (ahead, step) in series.forecast(horizon, confidence)?.iter().enumerate() {
                    self.times.push(series.time(series.values.len() + ahead).ok_or_else(beyond)?);
                    let row = [step.value, step.error, confidence, step.lower, step.upper];
                    self.numbers.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
                }
            }
            Ahead::History { .. } => {
                for (at, (value, step)) in series.values.iter().zip(series.fitted()?).enumerate() {
                    // A step without a value was no row.
                    if value.is_nan() {
                        continue;
                    }
                    self.times.push(series.time(at).ok_or_else(beyond)?);
                    let expected = Expected { value: step.expected, error: step.error };
                    self.values.push((Some(*value), Some(expected).filter(|expected| !expected.value.is_nan())));
                }
            }
        }
        let rows = self.times.len() - before;
        self.ids.resize(series.key.len(), Vec::new());
        for (column, text) in self.ids.iter_mut().zip(series.texts(model.categories.texts())) {
            column.extend(std::iter::repeat_n(text.map(str::to_owned), rows));
        }
        Ok(())
    }

    fn batch(self, schema: &SchemaRef, told: Ahead) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> =
            self.ids.into_iter().map(|texts| Arc::new(StringArray::from(texts)) as ArrayRef).collect();
        let ty = schema.fields().get(columns.len()).map(|field| field.data_type().clone());
        columns.push(times(&self.times, &ty.unwrap_or(DataType::Null))?);
        match told {
            Ahead::Forecast { .. } => {
                columns.extend(self.numbers.into_iter().map(|values| Arc::new(Float64Array::from(values)) as ArrayRef));
            }
            Ahead::History { threshold } => {
                columns.push(Arc::new(self.values.iter().map(|(value, _)| *value).collect::<Float64Array>()));
                columns.extend(of_series(&self.values, threshold));
            }
        }
        let typed = columns.into_iter().zip(schema.fields()).map(|(array, field)| {
            match (array.as_string_opt::<i32>(), field.data_type()) {
                (_, ty) if array.data_type() == ty => Ok(array),
                // Arrow's texts of dates before 1 AD and after 9999 are others than PostgreSQL's, which models keep.
                (Some(texts), DataType::Date32) => values(texts, PgType::DATE),
                (_, ty) => Ok(cast(&array, ty)?),
            }
        });
        let columns = typed.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// Microseconds as the type of the column of times.
fn times(micros: &[i64], ty: &DataType) -> Result<ArrayRef> {
    Ok(match ty {
        DataType::Date32 => {
            Arc::new(micros.iter().map(|micros| i32::try_from(micros.div_euclid(DAY)).ok()).collect::<Date32Array>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(TimestampMicrosecondArray::from(micros.to_vec()).with_timezone_opt(zone.clone()))
        }
        other => return Err(Error::internal(format!("times of type {other}"))),
    })
}

impl PartitionStream for SeriesRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (model, told, schema) = (Arc::clone(&self.model), self.told, Arc::clone(&self.schema));
        let whole = Arc::clone(&schema);
        let batches = futures::stream::try_unfold(0, move |next| {
            let (model, schema) = (Arc::clone(&model), Arc::clone(&whole));
            async move {
                tokio::task::yield_now().await;
                let Learned::Series(set) = &model.learned else { return Ok(None) };
                gathered(&model, set, next, told, &schema).map_err(Error::into_datafusion)
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// The rows of the series from `next` on that fill a batch, and the series after them.
fn gathered(
    model: &Model,
    set: &SeriesSet,
    mut next: usize,
    told: Ahead,
    schema: &SchemaRef,
) -> Result<Option<(RecordBatch, usize)>> {
    if next >= set.series().len() {
        return Ok(None);
    }
    let mut rows = Gathered::default();
    while let Some(series) = set.series().get(next).filter(|_| rows.times.len() < ROWS) {
        rows.take(series, model, told)?;
        next += 1;
    }
    Ok(Some((rows.batch(schema, told)?, next)))
}
