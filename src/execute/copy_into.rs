//! COPY INTO: the files of a place are loaded, each once.
//!
//! ```text
//! listed files ─ minus what lake::loads knows ─→ one table over the new ones ─→ [more columns] ─→ the gate ─→ one commit
//!                                                                        with the record of what was loaded ┘
//! ```
//! A load that another server overtook finds that out at its commit, and starts again from what there is to load then.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use super::copy_into_options::LoadOptions;
use super::create_table;
use super::evolve::{evolve, record, tell_added};
use super::loaded::FileValue;
use super::output::{Output, RowsTag};
use super::rejected_rows::RejectedRows;
use super::road::{Road, Target};
use super::standing;
use crate::encode::types::{OutputColumn, PgType, format_type};
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{FileFormat, FileOptions, FileSet, FileTable, HeaderChoice};
use crate::lake::{ColumnSpec, FileKey, Input, LoadStep, Operation, Resolved, WriteMode, files};
use crate::observe::CopyDirection;
use crate::plan::relations::{Filled, Relation, RelationColumn, ResolvedTable};
use crate::sql::{CopyInto, Name};

/// Times that a load is begun before others' loads end it with 40001.
const ATTEMPTS_MAX: u32 = 10;
const GUESSED: &str = "Types of columns in CSV and JSON files are guessed from a sample of their rows.";

/// The columns of its one row.
pub(crate) fn columns() -> Vec<OutputColumn> {
    ["files_loaded", "files_skipped", "rows_loaded", "rows_rejected"]
        .map(|name| OutputColumn::new(name, PgType::INT8))
        .into()
}

/// What a load did.
#[derive(Debug, Clone, Copy, Default)]
struct Loaded {
    files: usize,
    skipped: usize,
    rows: u64,
    rejected: u64,
}

pub(crate) async fn run(road: &mut Road<'_>, statement: &CopyInto) -> Result<Output> {
    let options = LoadOptions::of(statement)?;
    road.open_place(&statement.location, false).map_err(|error| error.at(statement.position))?;
    let mut attempt = 1;
    let loaded = loop {
        match load(road, statement, &options).await {
            Err(error)
                if error.sqlstate() == SqlState::SerializationFailure
                    && !road.staged
                    && attempt < ATTEMPTS_MAX
                    && !standing::is_about(&error) =>
            {
                attempt += 1;
                road.unpin();
            }
            outcome => break outcome?,
        }
    };
    let counts = [loaded.files as u64, loaded.skipped as u64, loaded.rows, loaded.rejected];
    row(counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
}

fn row(counts: [i64; 4]) -> Result<Output> {
    // libpq expects a number behind COPY.
    let [_, _, rows, _] = counts;
    let tag = RowsTag::Whole(format!("COPY {rows}"));
    let columns = columns();
    let fields: Vec<Field> = columns.iter().map(|column| Field::new(&column.name, DataType::Int64, false)).collect();
    let arrays = counts.map(|count| Arc::new(Int64Array::from(vec![count])) as ArrayRef).to_vec();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let stream = Box::pin(futures::stream::iter([Ok(batch)]));
    Ok(Output::Rows { columns: columns.into(), stream, tag })
}

async fn load(road: &mut Road<'_>, statement: &CopyInto, options: &LoadOptions) -> Result<Loaded> {
    let mut target = road.target(&statement.table, "copy into").await?;
    let mut turn = None;
    if !road.staged {
        turn = Some(road.ground.lake.load_turn(&target.table).await);
        road.unpin();
        target = road.target(&statement.table, "copy into").await?;
    }
    target.table.check_storable()?;
    let unrecorded = unrecorded(road, &target);
    if !road.staged && !unrecorded.is_empty() {
        record(road, (target.schema.clone(), target.name.clone()), unrecorded).await?;
    }
    let found = find(road, statement).await.map_err(|error| error.at(statement.position))?;
    let loads = road.ground.lake.loads(&target.table).await?;
    let is_local = found.is_local();
    let mut keys = Vec::new();
    let new = found.filtered(|name, file| {
        let key = FileKey::new(name, file, is_local);
        let is_new = options.force || !loads.contains(&key);
        if is_new {
            keys.push(key);
        }
        is_new
    });
    let (files, skipped) = (new.files.len(), found.files.len() - new.files.len());
    if files == 0 {
        return Ok(Loaded { skipped, ..Loaded::default() });
    }
    let source = open(road, statement, options, &target, new).await?;
    let rejected = RejectedRows::of(road, &target, Arc::clone(&source.table.rejections));
    let step = loads.step(keys).await?;
    let written = write(road, statement, options, target, source, step).await;
    // A load that is begun again has not been refused.
    if !matches!(&written, Err(error) if error.sqlstate() == SqlState::SerializationFailure) {
        rejected.settle(written.is_ok()).await;
    }
    drop(turn);
    let rows = written?;
    road.ground.metrics.copy_rows(CopyDirection::From, rows);
    Ok(Loaded { files, skipped, rows, rejected: rejected.count() })
}

/// The files that the statement means; there may be none where a pattern or a folder is named.
async fn find(road: &Road<'_>, statement: &CopyInto) -> Result<FileSet> {
    let stores = road.ground.lake.stores();
    let resolved = road.open_place(&statement.location, false).map_err(|error| error.at(statement.position))?;
    stores.register(road.ground.engine.runtime());
    let found = found(statement, resolved).await?;
    found.check_within(&road.ground.files.roots).await?;
    Ok(found)
}

async fn found(statement: &CopyInto, resolved: Resolved) -> Result<FileSet> {
    let path = resolved.path.to_string();
    if !statement.files.is_empty() {
        return FileSet::named(resolved.store, resolved.url, &path, &statement.files).await;
    }
    if let Some(pattern) = &statement.pattern {
        let glob = format!("{path}/{}", pattern.trim_start_matches('/'));
        return FileSet::find_any(resolved.store, resolved.url, &glob).await;
    }
    let may_be_empty = statement.location.ends_with('/') || statement.location.contains(['*', '?', '[', '{']);
    if may_be_empty {
        return FileSet::find_any(resolved.store, resolved.url, &path).await;
    }
    FileSet::find(resolved.store, resolved.url, &path).await
}

/// The new files as a table.
struct Source {
    table: FileTable,
    /// Of the target's columns, and those that it would get, what the files give them.
    loaded: Vec<FileValue>,
    added: Vec<ColumnSpec>,
}

/// The target's column of that name. Delta's names differ in more than case.
fn column_of<'a>(target: &'a Target, name: &str) -> Option<&'a ColumnSpec> {
    target.table.columns().iter().find(|column| column.name.eq_ignore_ascii_case(name))
}

async fn open(
    road: &Road<'_>,
    statement: &CopyInto,
    options: &LoadOptions,
    target: &Target,
    new: FileSet,
) -> Result<Source> {
    let any_case = statement.query.is_none();
    let file_options = &FileOptions { any_case, ..options.files.clone() };
    let declared = match options.format {
        // A query tells itself what becomes of the files' own columns.
        _ if statement.query.is_some() => None,
        FileFormat::Csv if file_options.header == HeaderChoice::Absent => {
            Some(target.table.columns().iter().map(|column| (column.name.clone(), column.ty)).collect())
        }
        FileFormat::Csv | FileFormat::Json => {
            let mut columns = files::infer(&new, options.format, file_options).await?;
            for (name, ty) in &mut columns {
                *ty = column_of(target, name).map_or(*ty, |column| column.ty);
            }
            if options.format == FileFormat::Json {
                // A key that the sample did not show may come later.
                let unseen = target
                    .table
                    .columns()
                    .iter()
                    .filter(|column| !columns.iter().any(|(name, _)| name.eq_ignore_ascii_case(&column.name)));
                let unseen: Vec<_> = unseen.map(|column| (column.name.clone(), column.ty)).collect();
                columns.extend(unseen);
            }
            Some(columns)
        }
        FileFormat::Parquet | FileFormat::Avro => None,
    };
    let table = files::table(new, options.format, file_options, declared, road.input_context()).await?;
    if statement.query.is_some() {
        return Ok(Source { table, loaded: Vec::new(), added: Vec::new() });
    }
    // A file has a name once: the readers see to it.
    let unites = matches!(options.format, FileFormat::Parquet | FileFormat::Avro);
    let columns = table.columns.iter().map(|(name, ty)| (name.as_str(), *ty));
    let (loaded, added) = matched(target, options, columns, unites)?;
    Ok(Source { table, loaded, added })
}

/// What the source gives to the target's columns, and the columns that the target has to get. `unites`: names of the source that
/// differ by case are of different files.
fn matched<'a>(
    target: &Target,
    options: &LoadOptions,
    source: impl Iterator<Item = (&'a str, PgType)>,
    unites: bool,
) -> Result<(Vec<FileValue>, Vec<ColumnSpec>)> {
    let (mut loaded, mut added): (Vec<FileValue>, Vec<ColumnSpec>) = (Vec::new(), Vec::new());
    for (name, ty) in source {
        let other = loaded.iter_mut().find(|other| other.column.eq_ignore_ascii_case(name));
        if let Some(other) = other {
            if !unites {
                let message = format!("column \"{}\" appears more than once in the files", other.column);
                return Err(Error::new(SqlState::DuplicateColumn, message));
            }
            let known = added.iter().find(|column| column.name == other.column && column.ty != ty);
            if let Some(known) = known {
                let (one, another) = (format_type(known.ty), format_type(ty));
                let message = format!("column \"{name}\" has type {one} in one file and {another} in another");
                return Err(Error::new(SqlState::DatatypeMismatch, message));
            }
            other.from.push(name.to_owned());
            continue;
        }
        let known = match column_of(target, name) {
            Some(column) => column.name.clone(),
            None if options.merge_schema => {
                create_table::check_name(name)?;
                let ty = if ty == PgType::UNKNOWN { PgType::TEXT } else { ty };
                added.push(ColumnSpec::new(name, ty));
                name.to_owned()
            }
            None => {
                let message = format!("column \"{name}\" of the files does not exist in relation \"{}\"", target.name);
                return Err(Error::new(SqlState::UndefinedColumn, message).with_hint(
                    "COPY_OPTIONS ('mergeSchema' = 'true') adds it to the table, FROM (SELECT …) leaves it out.",
                ));
            }
        };
        loaded.push(FileValue { column: known, from: vec![name.to_owned()] });
    }
    Ok((loaded, added))
}

/// Writes the rows and commits them with the record of their files.
async fn write(
    road: &mut Road<'_>,
    statement: &CopyInto,
    options: &LoadOptions,
    target: Target,
    source: Source,
    step: LoadStep,
) -> Result<u64> {
    let relation = relation_of(&statement.location, source.table);
    let (mut loaded, mut added) = (source.loaded, source.added);
    let mut query = None;
    if let Some(text) = &statement.query {
        let (relations, output) = road.resolve_with_files(text, relation.clone()).await?;
        let columns = output.iter().map(|column| (column.name.as_str(), column.ty));
        (loaded, added) = matched(&target, options, columns, false)?;
        query = Some((text, relations));
    }
    let is_evolved = !added.is_empty();
    let target = if is_evolved { evolve(target, &added).await? } else { target };
    let bound = match query {
        None => road.bind_loaded(&target, &loaded, relation)?,
        Some((query, relations)) => {
            let named = loaded.iter().map(|loaded| Name { value: loaded.column.clone(), position: 0 });
            let named: Vec<Name> = named.collect();
            road.bind_loaded_query(&target, &named, query, &relations)?
        }
    };
    let gate = road.gate(&target)?;
    let evolved_columns = target.table.columns().to_vec();
    let (plan, context) = road.physical(bound.plan).await?;
    let operation = Operation { load: Some(step), ..Operation::new("COPY INTO") };
    let (mode, input) = (WriteMode::Append(target.table), Input::Plan(plan, context));
    let written;
    if is_evolved && !road.staged {
        // The new columns and the rows are one transaction of this statement's own.
        let (gate, watching) = Box::pin(road.watched(gate, &evolved_columns, &operation)).await?;
        let outcome = road.write_apart(mode, input, gate, operation).await;
        let outcome = match outcome {
            Ok(written) => road.commit_apart(written, road.operation("COPY INTO")).await,
            Err(error) => Err(error),
        };
        written = Box::pin(road.settle(watching, outcome)).await?;
    } else {
        written = road.write(mode, input, gate, operation).await?;
    }
    if is_evolved {
        record(road, (target.schema, target.name.clone()), added.clone()).await?;
        tell_added(road, &target.name, &added, Some(GUESSED));
    }
    Ok(written.rows)
}

/// Columns that the catalog does not know yet: another program added them, or a server that crashed before it could tell.
fn unrecorded(road: &Road<'_>, target: &Target) -> Vec<ColumnSpec> {
    let Some(relation) = road.snapshot.relation(&target.schema, &target.name) else { return Vec::new() };
    let known = |name: &str| relation.columns.iter().any(|column| column.name == name);
    target.table.columns().iter().filter(|column| !known(&column.name)).cloned().collect()
}

fn relation_of(location: &str, table: FileTable) -> Relation {
    let columns = table
        .columns
        .into_iter()
        .map(|(name, ty)| RelationColumn { name, ty, not_null: false, filled: Filled::Null })
        .collect();
    let (schema, name) = (String::new(), location.to_owned());
    Relation::Table(ResolvedTable { schema, name, oid: 0, columns, provider: table.provider })
}
