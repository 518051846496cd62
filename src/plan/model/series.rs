//! ML.FORECAST, and ML.DETECT_ANOMALIES of the series that a model was made of: rows that follow from the artifact, some series at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use super::anomalies::{anomaly_columns, of_series};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::models::forecast::{DAY, Following, Forecast};
use crate::models::{Expected, Learned, Model, Series, SeriesSet, Task, carrier, values};

/// Rows of a batch at most.
const ROWS: usize = 8_192;
/// Steps that are gone before others have their turn: some milliseconds.
const STEPS: usize = 1 << 18;
/// Of texts in a batch, about: a series may have a long name.
const TEXT_BYTES: usize = 16 << 20;

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

/// How far the rows of all series have come.
struct Walk {
    model: Arc<Model>,
    told: Ahead,
    schema: SchemaRef,
    /// The series, and its step that comes next.
    place: usize,
    step: usize,
    /// Of the series' history.
    following: Option<Following>,
    /// Of the series.
    forecast: Vec<Forecast>,
}

/// Rows that are being gathered.
#[derive(Default)]
struct Gathered {
    /// Series, and how many rows each has.
    runs: Vec<(usize, usize)>,
    /// Bytes of the texts that tell series apart.
    text_bytes: usize,
    /// Microseconds.
    times: Vec<i64>,
    numbers: [Vec<f64>; 5],
    values: Vec<(Option<f64>, Option<Expected>)>,
}

impl SeriesRows {
    pub fn new(model: Arc<Model>, told: Ahead) -> Self {
        let ids = model.features().len().saturating_sub(1);
        let fields = columns(&model, told).into_iter().enumerate().map(|(at, (name, ty))| {
            // What tells series apart comes first.
            let texts: &[String] = if at < ids { model.categories.of(at + 1) } else { &[] };
            Field::new(name, carrier(texts.iter().map(String::as_str), ty), true)
        });
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

impl Walk {
    /// The next rows, up to a batch; fewer or none where many steps had none. `None` at the end.
    fn rows(&mut self) -> Result<Option<RecordBatch>> {
        let model = Arc::clone(&self.model);
        let Learned::Series(set) = model.learned.as_ref() else { return Ok(None) };
        let mut rows = Gathered::default();
        let mut steps = STEPS;
        while let Some(series) = set.series().get(self.place) {
            if steps == 0 || rows.times.len() >= ROWS || rows.text_bytes >= TEXT_BYTES {
                break;
            }
            let texts: usize = series.texts(model.categories.texts()).flatten().map(str::len).sum();
            let rows_max = (ROWS - rows.times.len()).min((TEXT_BYTES - rows.text_bytes) / texts.max(1)).max(1);
            let before = (self.step, rows.times.len());
            let ended = match self.told {
                Ahead::Forecast { horizon, confidence } => {
                    self.forecast(series, (horizon, confidence), rows_max, &mut rows)?
                }
                Ahead::History { .. } => self.history(series, (rows_max, steps), &mut rows)?,
            };
            let found = rows.times.len() - before.1;
            rows.runs.push((self.place, found));
            rows.text_bytes += found * texts;
            steps = steps.saturating_sub((self.step - before.0).max(1));
            if ended {
                (self.place, self.step, self.following, self.forecast) = (self.place + 1, 0, None, Vec::new());
            }
        }
        if rows.runs.is_empty() { Ok(None) } else { rows.batch(set, self).map(Some) }
    }

    /// Adds the next steps of a forecast; whether they are the last.
    fn forecast(
        &mut self,
        series: &Series,
        (horizon, confidence): (usize, f64),
        rows_max: usize,
        rows: &mut Gathered,
    ) -> Result<bool> {
        if self.step == 0 {
            self.forecast = series.forecast(horizon, confidence)?;
        }
        for step in self.forecast.iter().skip(self.step).take(rows_max) {
            rows.times.push(series.time(series.values.len() + self.step).ok_or_else(beyond)?);
            let row = [step.value, step.error, confidence, step.lower, step.upper];
            rows.numbers.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            self.step += 1;
        }
        Ok(self.step >= self.forecast.len())
    }

    /// Adds the next steps that had a value; whether they are the last.
    fn history(&mut self, series: &Series, (rows_max, steps_max): (usize, usize), rows: &mut Gathered) -> Result<bool> {
        let following = self.following.get_or_insert_with(|| series.smoothing.following());
        let mut found = 0;
        for value in series.values.iter().skip(self.step).take(steps_max) {
            if found == rows_max {
                break;
            }
            let expected = series.expected(following.next(&series.smoothing, *value).expected);
            // A step without a value was no row.
            if !value.is_nan() {
                rows.times.push(series.time(self.step).ok_or_else(beyond)?);
                rows.values.push((Some(*value), Some(expected).filter(|expected| expected.value.is_finite())));
                found += 1;
            }
            self.step += 1;
        }
        Ok(self.step >= series.values.len())
    }
}

fn beyond() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range")
}

impl Gathered {
    fn batch(self, set: &SeriesSet, walk: &Walk) -> Result<RecordBatch> {
        let schema = &walk.schema;
        let texts = walk.model.categories.texts();
        // Texts become values once for each series, and then rows.
        let runs: UInt64Array =
            (0_u64..).zip(&self.runs).flat_map(|(run, (_, rows))| std::iter::repeat_n(run, *rows)).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (id, (field, feature)) in
            schema.fields().iter().zip(walk.model.features().iter().skip(1)).enumerate().take(set.ids)
        {
            let of_runs = self.runs.iter().map(|(place, _)| set.series().get(*place)?.texts(texts).nth(id)?);
            let of_runs = cast(&values(of_runs, feature.ty())?, field.data_type())?;
            columns.push(take(&of_runs, &runs, None)?);
        }
        let ty = schema.fields().get(set.ids).map(|field| field.data_type().clone());
        columns.push(times(&self.times, &ty.unwrap_or(DataType::Null))?);
        match walk.told {
            Ahead::Forecast { .. } => {
                columns.extend(self.numbers.into_iter().map(|values| Arc::new(Float64Array::from(values)) as ArrayRef));
            }
            Ahead::History { threshold } => {
                columns.push(Arc::new(self.values.iter().map(|(value, _)| *value).collect::<Float64Array>()));
                columns.extend(of_series(&self.values, threshold));
            }
        }
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
        let walk = Walk {
            model: Arc::clone(&self.model),
            told: self.told,
            schema: Arc::clone(&self.schema),
            place: 0,
            step: 0,
            following: None,
            forecast: Vec::new(),
        };
        let batches = futures::stream::try_unfold(walk, |mut walk| async move {
            loop {
                tokio::task::yield_now().await;
                match walk.rows().map_err(Error::into_datafusion)? {
                    Some(batch) if batch.num_rows() == 0 => {}
                    batch => return Ok(batch.map(|batch| (batch, walk))),
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
