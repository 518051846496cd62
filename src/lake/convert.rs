//! Parquet files in place become a Delta table: their footers are read, and a log is written beside them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::schema::cast::normalize_for_delta;
use deltalake::kernel::{Action, Add, DataType, StructField, StructType};
use deltalake::operations::create::CreateBuilder;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::columns::{ColumnSpec, delta_field};
use super::statistics::{FloatBounds, to_json};
use super::stores::{Resolved, list_linked, local};
use super::{Freshness, Lake, log};
use crate::error::{Error, Result, SqlState};

/// Footers that are read at a time.
const FOOTERS_AHEAD: usize = 16;
/// Delta's default: columns with statistics.
const STATISTICS_COLUMNS: usize = 32;
/// How Hive writes NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// A file as the log will have it, and its columns.
struct Found {
    add: Add,
    schema: Schema,
}

impl Lake {
    /// Makes a Delta table of the Parquet files under a folder, with the name that messages have for it; `partitions` are the columns of its `name=value` folders.
    ///
    /// # Errors
    /// 42P07 when there is a Delta table already, 58P01 when there are no Parquet files, 42P16 for folders that do not name the
    /// partition columns, 42804 when columns differ, 42501 for files that a link leads to out of the folder; the store's.
    pub async fn convert(&self, (resolved, location): (&Resolved, &str), partitions: &[ColumnSpec]) -> Result<()> {
        self.stores().trust(resolved).await?;
        if log::load(resolved).await?.is_some() {
            let message = format!("a Delta table already exists at \"{location}\"");
            return Err(Error::new(SqlState::DuplicateTable, message));
        }
        let files = parquet_files(resolved).await?;
        check_within(resolved, location, &files).await?;
        if files.is_empty() {
            let message = format!("there are no Parquet files under \"{location}\"");
            return Err(Error::new(SqlState::UndefinedFile, message));
        }
        let fields = partitions.iter().map(delta_field).collect::<Vec<_>>();
        let fields: StructType = (&Schema::new(fields)).try_into_kernel()?;
        let fields: Arc<[StructField]> = fields.fields().cloned().collect();
        let found: Vec<Found> = stream::iter(files)
            .map(|file| found(resolved.clone(), Arc::clone(&fields), file).boxed())
            .buffered(FOOTERS_AHEAD)
            .try_collect()
            .await?;
        let schema = merged(&found, &fields)?;
        let columns: Vec<StructField> = schema.fields().chain(fields.iter()).cloned().collect();
        CreateBuilder::new()
            .with_log_store(log::log_store(resolved))
            .with_columns(columns)
            .with_partition_columns(fields.iter().map(|field| field.name().clone()))
            .with_actions(found.into_iter().map(|found| Action::Add(found.add)))
            .await?;
        self.table(resolved.location.as_str(), Freshness::Latest).await.map(drop)
    }
}

/// The Parquet files below the folder, in order, without those that are hidden.
async fn parquet_files(resolved: &Resolved) -> Result<Vec<ObjectMeta>> {
    let depth = resolved.path.parts().count();
    let prefix = Some(&resolved.path).filter(|path| !path.as_ref().is_empty());
    let is_wanted = |file: &ObjectMeta| {
        let hidden = |part: &str| part.starts_with(['_', '.']) && !part.contains('=');
        file.location.extension() == Some("parquet")
            && !file.location.parts().skip(depth).any(|part| hidden(part.as_ref()))
    };
    let listed =
        list_linked(&resolved.store, &resolved.url, prefix).try_filter(|file| futures::future::ready(is_wanted(file)));
    let mut files: Vec<ObjectMeta> = listed.try_collect().await?;
    files.sort_by(|left, right| left.location.cmp(&right.location));
    Ok(files)
}

/// Refuses files that links lead to out of the folder: they are not the table's to keep, and without a word about them it would
/// miss rows that `read_parquet` finds there.
async fn check_within(resolved: &Resolved, location: &str, files: &[ObjectMeta]) -> Result<()> {
    if !resolved.is_local() {
        return Ok(());
    }
    let files = files.iter().map(|file| file.location.clone()).collect();
    let Some(outside) = local::first_outside(&resolved.path, files).await? else { return Ok(()) };
    let message = format!("path \"/{outside}\" is outside \"{location}\"");
    Err(Error::new(SqlState::InsufficientPrivilege, message)
        .with_detail("A symbolic link leads out of the folder.")
        .with_hint("A table's files lie in its folder: move them there, or remove the link."))
}

/// Reads a file's footer. It owns what it needs: a future over borrowed files could not be sent between threads.
async fn found(resolved: Resolved, partitions: Arc<[StructField]>, file: ObjectMeta) -> Result<Found> {
    let depth = resolved.path.parts().count();
    // As it is stored: the log escapes it once more.
    let name: Path = file.location.parts().skip(depth).collect();
    let partition_values = partition_values(&name, &partitions)?;
    let store: Arc<dyn ObjectStore> = Arc::clone(&resolved.store);
    let metadata = DFParquetMetadata::new(store.as_ref(), &file).fetch_metadata().await;
    let named = |error: Error| error.with_context(format!("file \"{name}\""));
    let metadata = metadata.map_err(|error| named(error.into()))?;
    let schema = parquet::arrow::parquet_to_arrow_schema(
        metadata.file_metadata().schema_descr(),
        metadata.file_metadata().key_value_metadata(),
    );
    let schema = schema.map_err(|error| named(error.into()))?;
    let bounds = FloatBounds::unknown(&schema);
    let stats = to_json(&metadata, &bounds, &schema, STATISTICS_COLUMNS).map_err(named)?;
    let add = Add {
        path: name.as_ref().to_owned(),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        partition_values,
        modification_time: file.last_modified.timestamp_millis(),
        data_change: true,
        stats: Some(stats),
        ..Add::default()
    };
    // What writers note beside a schema is no part of the table.
    Ok(Found { add, schema: schema.with_metadata(HashMap::new()) })
}

/// The values in the names of the file's folders, each of which has to name one of the partition columns.
fn partition_values(name: &Path, partitions: &[StructField]) -> Result<HashMap<String, Option<String>>> {
    let refused = |detail: String| {
        Error::new(SqlState::InvalidTableDefinition, "the folders do not name the partition columns")
            .with_detail(detail)
            .with_hint("PARTITIONED BY (…) names the columns of the folders, and their types.")
    };
    let mut values = HashMap::new();
    let folders: Vec<String> = name.parts().map(|part| part.as_ref().to_owned()).collect();
    for folder in folders.iter().take(folders.len().saturating_sub(1)) {
        let text = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pair = folder.split_once('=').map(|(key, value)| (text(key), text(value)));
        let known = pair.and_then(|(key, value)| Some((partitions.iter().find(|field| *field.name() == key)?, value)));
        let Some((field, value)) = known else {
            return Err(refused(format!("Folder \"{folder}\" is of no partition column.")));
        };
        let value = Some(value).filter(|value| value != NULL_FOLDER && !value.is_empty());
        if let (Some(value), DataType::Primitive(ty)) = (&value, field.data_type())
            && ty.parse_scalar(value).is_err()
        {
            let message = format!("invalid value \"{value}\" for partition column \"{}\"", field.name());
            let detail = format!("The file is \"{name}\".");
            return Err(Error::new(SqlState::InvalidTextRepresentation, message).with_detail(detail));
        }
        values.insert(field.name().clone(), value);
    }
    match partitions.iter().map(StructField::name).find(|column| !values.contains_key(*column)) {
        Some(missing) => Err(refused(format!("No folder of file \"{name}\" is of column \"{missing}\"."))),
        None => Ok(values),
    }
}

/// The columns of all files, in Delta's types.
fn merged(found: &[Found], partitions: &[StructField]) -> Result<StructType> {
    let schemas = found.iter().map(|found| found.schema.clone());
    let merged = Schema::try_merge(schemas).map_err(|error| {
        Error::new(SqlState::DatatypeMismatch, "the files' columns differ").with_detail(error.to_string())
    })?;
    let merged: SchemaRef = normalize_for_delta(&Arc::new(merged));
    let own: Vec<_> = merged
        .fields()
        .iter()
        .filter(|field| partitions.iter().all(|known| known.name() != field.name()))
        .cloned()
        .collect();
    Ok((&Schema::new(own)).try_into_kernel()?)
}
