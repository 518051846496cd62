//! COPY … FROM STDIN and FROM a file: bytes → chunks → decoders on every core → the gate → staged Parquet → one commit.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::copy_options;
use super::copy_rows::TableDecoder;
use super::loaded::FileValue;
use super::output::{CopyIn, CopySink, Output};
use super::rejected_rows::RejectedRows;
use super::road::{Road, Target};
use super::standing;
use super::watched::Watching;
use crate::encode::copy::{self, Chunk, ChunkDecoder, Splitter};
use crate::encode::types::{Format, PgType};
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{FileFormat, FileSet, Rejections, decode_parallel};
use crate::lake::{Input, Operation, WriteMode, WriteRequest, Written, files};
use crate::observe::{CopyDirection, Metrics};
use crate::plan::relations::{Relation, RelationColumn, ResolvedTable};
use crate::session::Arrivals;
use crate::sql::{CopyEnd, CopyFormat, CopyFrom};

/// Chunks that wait for the decoders: with the decoders' own, what a fast client can be ahead of a slow disk.
const CHUNKS_WAITING_MAX: usize = 2;

pub(crate) async fn run(road: &mut Road<'_>, statement: &CopyFrom) -> Result<Output> {
    let target = road.target(&statement.table, "copy to").await?;
    target.table.check_storable()?;
    let chosen = choose_columns(&target, statement)?;
    match &statement.source {
        CopyEnd::Client => from_client(road, statement, target, &chosen).await,
        CopyEnd::Location(location, position) => {
            let done = from_file(road, statement, target, &chosen, location).await;
            done.map_err(|error| if error.sqlstate() == SqlState::UndefinedFile { error } else { error.at(None) })
                .map_err(|error| {
                    if matches!(error.sqlstate(), SqlState::FeatureNotSupported) { error.at(*position) } else { error }
                })
        }
    }
}

/// The table's columns that the data has, in the data's order.
fn choose_columns(target: &Target, statement: &CopyFrom) -> Result<Vec<usize>> {
    let columns = target.table.columns();
    if statement.columns.is_empty() {
        let given = columns.iter().enumerate().filter(|(_, column)| column.generated.is_none());
        return Ok(given.map(|(index, _)| index).collect());
    }
    let mut chosen = Vec::with_capacity(statement.columns.len());
    for name in &statement.columns {
        let Some(index) = columns.iter().position(|column| column.name == name.value) else {
            let message = format!("column \"{}\" of relation \"{}\" does not exist", name.value, target.name);
            return Err(Error::new(SqlState::UndefinedColumn, message));
        };
        if columns.get(index).is_some_and(|column| column.generated.is_some()) {
            return Err(copied_generated(&name.value));
        }
        if chosen.contains(&index) {
            let message = format!("column \"{}\" specified more than once", name.value);
            return Err(Error::new(SqlState::DuplicateColumn, message));
        }
        chosen.push(index);
    }
    Ok(chosen)
}

/// The table computes these columns itself.
pub(super) fn copied_generated(column: &str) -> Error {
    Error::new(SqlState::InvalidColumnReference, format!("column \"{column}\" is a generated column"))
        .with_detail("Generated columns cannot be used in COPY.")
}

fn data_columns(target: &Target, chosen: &[usize]) -> Vec<(String, PgType)> {
    chosen
        .iter()
        .filter_map(|index| target.table.columns().get(*index))
        .map(|column| (column.name.clone(), column.ty))
        .collect()
}

async fn from_client(road: &mut Road<'_>, statement: &CopyFrom, target: Target, chosen: &[usize]) -> Result<Output> {
    let names = data_columns(&target, chosen);
    let options = copy_options::reading(&statement.options, &names)?;
    let wire_format = if options.format == copy::Format::Binary { Format::Binary } else { Format::Text };
    let splitter = Splitter::new(&options).named(format!("COPY {}", target.name));
    let rejections = Rejections::with_limit(options.reject_limit);
    let rejected = RejectedRows::of(road, &target, Arc::clone(&rejections));
    let decoder = ChunkDecoder::new(format!("COPY {}", target.name), options, names, road.input_context());
    let standing = (!road.staged).then(|| standing::of_statement(road, &target.table));
    let operation = Operation { standing, ..road.operation("COPY") };
    let (gate, watching) = Box::pin(road.watched(road.gate(&target)?, target.table.columns(), &operation)).await?;
    // A row that is left out may break what the table asks of those that stay.
    let removes = gate.watch().is_some_and(|watch| watch.removes());
    let (gate, passed) = if removes { (gate.opened_wide(), gate) } else { (gate.clone(), gate.opened()) };
    let fills = road.fills(&target, chosen)?;
    let decoder = TableDecoder::new(decoder, gate, target.table.arrow_schema(), chosen, fills);
    let (sender, receiver) = mpsc::channel::<Result<Chunk>>(CHUNKS_WAITING_MAX);
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let streams = decode_parallel(pieces, Arc::new(decoder), road.partitions(), Arc::clone(&rejections));
    let request = WriteRequest {
        mode: WriteMode::Append(target.table),
        input: Input::Streams(streams),
        // The decoders know the lines, so the rows are checked there.
        gate: passed,
        operation,
        memory: Arc::clone(road.ground.engine.memory_pool()),
        cancel: road.token.clone(),
    };
    let lake = Arc::clone(&road.ground.lake);
    let engine = Arc::clone(&road.ground.engine);
    let writing = tokio::spawn(async move { engine.compute(async move { lake.write(request).await }).await });
    let writing = AbortOnDropHandle::new(writing);
    let metrics = Arc::clone(&road.ground.metrics);
    let pins = road.session.transaction.pins_mut().filter(|_| road.staged);
    let arrivals = pins.map(|pins| Arc::clone(pins.arrivals()));
    let sink = StdinSink { splitter, sender: Some(sender), writing, rejected, arrivals, watching, metrics };
    Ok(Output::CopyIn(CopyIn { format: wire_format, columns: chosen.len(), sink: Box::new(sink) }))
}

/// The client's end of COPY FROM STDIN.
struct StdinSink {
    splitter: Splitter,
    sender: Option<mpsc::Sender<Result<Chunk>>>,
    writing: AbortOnDropHandle<Result<Written>>,
    rejected: RejectedRows,
    /// Of a transaction: where its own view of the table goes.
    arrivals: Option<Arc<Arrivals>>,
    watching: Option<Watching>,
    metrics: Arc<Metrics>,
}

impl StdinSink {
    async fn send(&mut self, chunk: Chunk) -> Result<()> {
        let Some(sender) = &self.sender else {
            return Err(Error::internal("data came after the end of COPY"));
        };
        if sender.send(Ok(chunk)).await.is_ok() {
            return Ok(());
        }
        // The writers are gone: they know why.
        match joined((&mut self.writing).await) {
            Ok(_) => Err(Error::internal("the writers of COPY ended before the data")),
            Err(error) => Err(error),
        }
    }
}

fn joined(outcome: std::result::Result<Result<Written>, tokio::task::JoinError>) -> Result<Written> {
    outcome.map_err(|error| Error::internal("the writers of COPY broke off").with_source(error))?
}

#[async_trait]
impl CopySink for StdinSink {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        if self.splitter.is_ended() {
            return Ok(());
        }
        match self.splitter.feed(&data)? {
            Some(chunk) => self.send(chunk).await,
            None => Ok(()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        if let Some(chunk) = self.splitter.finish()? {
            self.send(chunk).await?;
        }
        // Closing the channel is the end of the data; dropping the sink before this would be its breaking off.
        self.sender = None;
        let mut written = joined((&mut self.writing).await);
        self.rejected.settle(written.is_ok()).await;
        if let Some(watching) = self.watching.take() {
            written = match watching.settle(written).await {
                Ok((written, left)) => {
                    if let Some(arrivals) = &self.arrivals {
                        left.arrive(arrivals);
                    }
                    Ok(written)
                }
                Err(error) => Err(error),
            };
        }
        let written = written?;
        if let (Some(arrivals), Some(table)) = (&self.arrivals, &written.table) {
            arrivals.leave(table.location(), Arc::clone(table));
        }
        self.metrics.copy_rows(CopyDirection::From, written.rows);
        Ok(format!("COPY {}", written.rows))
    }

    async fn abort(self: Box<Self>, _reason: &str) {
        // An error in the stream ends the writers without a commit.
        let reason = Error::new(SqlState::QueryCanceled, "COPY from stdin failed");
        if let Some(sender) = &self.sender {
            let _ = sender.send(Err(reason)).await;
        }
    }
}

/// From a file: its rows are a query's, so that they are cast and checked as INSERT … SELECT's are.
async fn from_file(
    road: &mut Road<'_>,
    statement: &CopyFrom,
    target: Target,
    chosen: &[usize],
    location: &str,
) -> Result<Output> {
    copy_options::refuse_folder_options(&statement.options, "COPY FROM")?;
    let resolved = road.open_place(location, false)?;
    road.ground.lake.stores().register(road.ground.engine.runtime());
    let set = FileSet::find(resolved.store, resolved.url, resolved.path.as_ref()).await?;
    set.check_within(&road.ground.files.roots).await?;
    let names = data_columns(&target, chosen);
    let format = copy_options::file_format(statement.options.format, location);
    let options = copy_options::file(&statement.options, location, &names)?;
    let declared = match format {
        FileFormat::Csv | FileFormat::Json => Some(names.clone()),
        FileFormat::Parquet | FileFormat::Avro => None,
    };
    let table = files::table(set, format, &options, declared, road.input_context()).await?;
    let rejected = RejectedRows::of(road, &target, Arc::clone(&table.rejections));
    let source = file_relation(&target, &names, table)?;
    let loaded: Vec<FileValue> =
        names.iter().map(|(name, _)| FileValue { column: name.clone(), from: vec![name.clone()] }).collect();
    let bound = road.bind_loaded(&target, &loaded, source)?;
    let gate = road.gate(&target)?;
    let (plan, context) = road.physical(bound.plan).await?;
    let written = road.write(WriteMode::Append(target.table), Input::Plan(plan, context), gate, "COPY").await;
    rejected.settle(written.is_ok()).await;
    let written = written?;
    road.ground.metrics.copy_rows(CopyDirection::From, written.rows);
    Ok(Output::Done(format!("COPY {}", written.rows)))
}

/// The file as a relation; a column that the data should have and has not is an error, not NULL.
fn file_relation(target: &Target, names: &[(String, PgType)], table: files::FileTable) -> Result<Relation> {
    for (name, _) in names {
        if !table.columns.iter().any(|(other, _)| other == name) {
            let message = format!("column \"{name}\" of relation \"{}\" is not in the file", target.name);
            return Err(Error::new(SqlState::UndefinedColumn, message));
        }
    }
    let columns = table.columns.into_iter().map(|(name, ty)| RelationColumn::new(name, ty)).collect();
    let name = target.name.clone();
    Ok(Relation::Table(ResolvedTable { schema: String::new(), name, oid: 0, columns, provider: table.provider }))
}

/// Whether the format can come over the wire.
pub(super) fn check_wire_format(format: Option<CopyFormat>, direction: &str) -> Result<()> {
    match format {
        None | Some(CopyFormat::Text | CopyFormat::Csv | CopyFormat::Binary) => Ok(()),
        Some(CopyFormat::Json | CopyFormat::Parquet | CopyFormat::Avro) => {
            Err(Error::unsupported(format!("COPY {direction} in this format")).with_hint("Name a file or URL instead."))
        }
    }
}
