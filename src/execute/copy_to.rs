//! COPY … TO STDOUT and TO a file: a query's rows, encoded as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use futures::TryStreamExt;
use sqlparser::ast;

use super::copy_options;
use super::output::{BatchStream, CopyOut, Output};
use super::road::Road;
use crate::encode::TextStyle;
use crate::encode::copy::{Encoder, ForceQuote, Format, Options};
use crate::encode::types::{self, OutputColumn, PgType};
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{self, Existing, ExportFormat, ExportOptions, ExportTarget, FileFormat};
use crate::observe::{CopyDirection, Metrics};
use crate::plan::bind::BoundQuery;
use crate::sql::{CopyEnd, CopySource, CopyTo, Name};

/// Rows are handed on in pieces of about this size, each row in its CopyData message.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) async fn run(road: &mut Road<'_>, statement: &CopyTo) -> Result<Output> {
    let bound = match &statement.source {
        CopySource::Query(query) => road.bind_query(query).await?,
        CopySource::Table { name, columns } => road.bind_table(name, columns).await?,
    };
    match &statement.target {
        CopyEnd::Client => to_client(road, statement, bound).await,
        CopyEnd::Location(location, _) => to_file(road, statement, bound, location).await,
    }
}

fn named(columns: &[OutputColumn]) -> Vec<(String, PgType)> {
    columns.iter().map(|column| (column.name.clone(), column.ty)).collect()
}

async fn to_client(road: &mut Road<'_>, statement: &CopyTo, bound: BoundQuery) -> Result<Output> {
    let options = copy_options::writing(&statement.options, &named(&bound.columns))?;
    let format = match options.format {
        Format::Binary => types::Format::Binary,
        Format::Text | Format::Csv => types::Format::Text,
    };
    let columns = bound.columns.len();
    let style = road.style();
    let batches = road.start(bound.plan).await?;
    let rows = Arc::new(AtomicU64::new(0));
    let stream = encoded(batches, options, bound.columns, style, Arc::clone(&rows), Arc::clone(&road.ground.metrics))?;
    Ok(Output::CopyOut(CopyOut { format, columns, stream, rows }))
}

/// What is being encoded.
struct Encoding {
    batches: BatchStream,
    encoder: Encoder,
    /// The batch under way and its next row.
    current: Option<(RecordBatch, usize)>,
    pending: Vec<u8>,
    rows: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    ended: bool,
}

fn encoded(
    batches: BatchStream,
    options: Options,
    columns: Vec<OutputColumn>,
    style: TextStyle,
    rows: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
) -> Result<super::output::ByteStream> {
    let mut encoder = Encoder::new(options, columns, style).framed();
    let mut pending = Vec::new();
    encoder.header(&mut pending)?;
    let start = Encoding { batches, encoder, current: None, pending, rows, metrics, ended: false };
    Ok(Box::pin(futures::stream::try_unfold(start, |mut encoding| async move {
        let piece = encoding.next().await?;
        Ok(piece.map(|piece| (piece, encoding)))
    })))
}

impl Encoding {
    /// The next piece of whole messages, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if !self.pending.is_empty() {
                return Ok(Some(Bytes::from(std::mem::take(&mut self.pending))));
            }
            if self.ended {
                return Ok(None);
            }
            let Some((batch, row)) = self.take_batch().await? else {
                self.ended = true;
                self.encoder.finish(&mut self.pending)?;
                continue;
            };
            self.pending.reserve(PIECE_BYTES.min(batch.get_array_memory_size()));
            let done = self.encoder.encode(&batch, row, PIECE_BYTES, &mut self.pending)?;
            self.rows.fetch_add(done as u64, Ordering::Relaxed);
            self.metrics.copy_rows(CopyDirection::To, done as u64);
            if row + done < batch.num_rows() {
                self.current = Some((batch, row + done));
            }
        }
    }

    async fn take_batch(&mut self) -> Result<Option<(RecordBatch, usize)>> {
        match self.current.take() {
            Some(current) => Ok(Some(current)),
            None => Ok(self.batches.try_next().await?.map(|batch| (batch, 0))),
        }
    }
}

async fn to_file(road: &mut Road<'_>, statement: &CopyTo, bound: BoundQuery, location: &str) -> Result<Output> {
    let resolved = road.open_place(location, true)?;
    let options = export_options(statement, location, &bound.columns)?;
    let plan = sorted(bound.plan, &options.partition_by)?;
    let (name, is_folder) = (location.to_owned(), location.ends_with('/'));
    let target = ExportTarget { store: resolved.store, url: resolved.url, path: resolved.path, name, is_folder };
    let style = road.style();
    let columns = bound.columns.clone();
    let (plan, context) = road.physical(plan).await?;
    let stream = road.ground.engine.run(plan, context)?;
    let rows = files::write(stream, columns, style, &target, &options).await?;
    road.ground.metrics.copy_rows(CopyDirection::To, rows);
    Ok(Output::Done(format!("COPY {rows}")))
}

fn export_options(statement: &CopyTo, location: &str, columns: &[OutputColumn]) -> Result<ExportOptions> {
    let format = match copy_options::wire_format(statement.options.format, location) {
        Some(format) => {
            ExportFormat::Copy(copy_options::writing_file(&statement.options, format, location, &named(columns))?)
        }
        None => {
            copy_options::refuse_row_options(&statement.options)?;
            match copy_options::file_format(statement.options.format, location) {
                FileFormat::Json => ExportFormat::Json,
                FileFormat::Parquet => ExportFormat::Parquet,
                FileFormat::Avro => ExportFormat::Avro,
                FileFormat::Csv => return Err(Error::internal("a text format without options")),
            }
        }
    };
    let mut options = ExportOptions::new(format);
    options.compression = statement.options.compression.map(copy_options::compression);
    let told = &statement.options;
    if !location.ends_with('/') {
        copy_options::refuse_folder_options(told, "a single file")?;
    }
    options.partition_by = partition_columns(&told.partition_by, columns)?;
    // Folders have no place for what only names columns by their number.
    if let (false, ExportFormat::Copy(copy)) = (options.partition_by.is_empty(), &options.format)
        && (copy.format != Format::Csv || !matches!(copy.force_quote, ForceQuote::None | ForceQuote::All))
    {
        return Err(Error::unsupported("PARTITION BY with these options of COPY"));
    }
    options.file_bytes_max = told.max_file_bytes.unwrap_or(options.file_bytes_max);
    options.file_rows_max = told.max_file_rows.unwrap_or(options.file_rows_max);
    options.existing = match (told.overwrite, told.append) {
        (true, true) => return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options")),
        (true, false) => Existing::Replaced,
        (false, true) => Existing::Kept,
        (false, false) => Existing::Refused,
    };
    Ok(options)
}

fn partition_columns(names: &[Name], columns: &[OutputColumn]) -> Result<Vec<usize>> {
    let mut chosen = Vec::with_capacity(names.len());
    for name in names {
        let Some(index) = columns.iter().position(|column| column.name == name.value) else {
            let message = format!("column \"{}\" named in PARTITION BY does not exist", name.value);
            return Err(Error::new(SqlState::UndefinedColumn, message).at(name.position));
        };
        if chosen.contains(&index) {
            let message = format!("column \"{}\" specified more than once", name.value);
            return Err(Error::new(SqlState::DuplicateColumn, message).at(name.position));
        }
        chosen.push(index);
    }
    Ok(chosen)
}

/// The rows of one folder after the other, so that one file is open at a time; in a folder as the query orders them.
fn sorted(plan: LogicalPlan, by: &[usize]) -> Result<LogicalPlan> {
    if by.is_empty() {
        return Ok(plan);
    }
    let schema = Arc::clone(plan.schema());
    let column = |index: &usize| Expr::Column(Column::from(schema.qualified_field(*index))).sort(true, false);
    let folders: Vec<SortExpr> = by.iter().map(column).collect();
    match plan {
        LogicalPlan::Sort(mut sort) if sort.fetch.is_none() => {
            sort.expr.splice(0..0, folders);
            Ok(LogicalPlan::Sort(sort))
        }
        plan => Ok(LogicalPlanBuilder::from(plan).sort(folders)?.build()?),
    }
}

/// `SELECT columns FROM table`, as a tree: COPY of a table is COPY of that query.
pub(super) fn table_query(name: &crate::sql::QualifiedName, columns: &[crate::sql::Name]) -> Result<Box<ast::Query>> {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let list = if columns.is_empty() {
        "*".to_owned()
    } else {
        columns.iter().map(|column| quote(&column.value)).collect::<Vec<_>>().join(", ")
    };
    let table = match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.name)),
        None => quote(&name.name),
    };
    let query = crate::sql::parse_query(&format!("SELECT {list} FROM {table}")).map_err(Error::without_position)?;
    Ok(Box::new(query))
}
