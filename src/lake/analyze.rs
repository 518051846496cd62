//! Statistics for files that other programs wrote without them, read from the files' own footers.

use std::sync::Arc;

use arrow::datatypes::Schema;
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio_util::sync::CancellationToken;

use super::commit::{self, Target};
use super::data_file::DataFile;
use super::rearrangement::{Rearranged, Rearrangement};
use super::statistics::{self, FloatBounds, is_float};
use super::table::Table;
use super::write::{Operation, statistics_columns};
use super::{Lake, Resolved};
use crate::error::{Error, Result, SqlState};

/// Bytes at a file's end that hold most footers.
const FOOTER_BYTES: u64 = 64 << 10;
const FOOTERS_AT_A_TIME: usize = 16;

impl Lake {
    /// Adds row counts, bounds and counts of nulls to the log for the files that have none there, in one commit that changes no
    /// row. Gives the table with them and the number of files.
    ///
    /// # Errors
    /// 40001 when others changed such a file meanwhile; what a commit gives.
    pub async fn analyze(
        self: &Arc<Self>,
        table: &Arc<Table>,
        mut operation: Operation,
        cancel: &CancellationToken,
    ) -> Result<(Arc<Table>, u64)> {
        let lacking: Vec<usize> = table
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.stored_rows().is_none() && file.vector.is_none() && !file.special)
            .map(|(number, _)| number)
            .collect();
        if lacking.is_empty() || table.maps_columns() {
            return Ok((Arc::clone(table), 0));
        }
        let what = Rearranged::Files { files: lacking.clone(), removed: false, target_bytes: 0 };
        let target = Target::Rearrange(Arc::new(Rearrangement { table: Arc::clone(table), what }));
        commit::check_early(&table.location, &target).await?;
        let columns = statistics_columns(&target);
        let stored = table.stored_schema()?;
        let mut adds = Vec::with_capacity(lacking.len());
        let files = lacking.iter().filter_map(|number| table.files.get(*number));
        let mut read = futures::stream::iter(files.cloned().collect::<Vec<_>>())
            .map(|file| analyzed(&table.location, file, &stored, columns))
            .buffer_unordered(FOOTERS_AT_A_TIME);
        let mut found = std::collections::HashMap::new();
        while let Some((name, statistics)) = read.try_next().await? {
            if cancel.is_cancelled() {
                return Err(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"));
            }
            found.insert(name, statistics);
        }
        for file in table.snapshot()?.try_log_data()?.iter() {
            if let Some(statistics) = found.remove(file.path().as_ref()) {
                #[expect(deprecated, reason = "there is no other way from a version's file to its action")]
                let add = file.add_action();
                adds.push(Add { stats: Some(statistics), ..add });
            }
        }
        let count = adds.len() as u64;
        operation.metrics = vec![("numFiles", count)];
        let table = commit::commit(Arc::clone(self), table.location.clone(), target, adds, operation).await?;
        Ok((table, count))
    }
}

/// A file's name and its statistics as the log has them.
async fn analyzed(
    location: &Resolved,
    file: Arc<DataFile>,
    stored: &Schema,
    columns: usize,
) -> Result<(String, String)> {
    let metadata = footer(location, &file).await?;
    let here = metadata.file_metadata().schema_descr();
    // Other programs leave NaN out of their bounds, which would hide it.
    let known = stored.fields().iter().filter(|field| {
        !is_float(field.data_type()) && here.root_schema().get_fields().iter().any(|other| other.name() == field.name())
    });
    let schema = Schema::new(known.cloned().collect::<Vec<_>>());
    let statistics = statistics::to_json(&metadata, &FloatBounds::new(&schema), &schema, columns)?;
    Ok((file.name.clone(), statistics))
}

async fn footer(location: &Resolved, file: &DataFile) -> Result<ParquetMetaData> {
    let mut tail = FOOTER_BYTES;
    loop {
        let start = file.bytes.saturating_sub(tail);
        let bytes = location.store.get_range(&file.path, start..file.bytes).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&bytes, file.bytes) {
            Ok(()) => return Ok(reader.finish()?),
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 > tail && start > 0 => tail = needed as u64,
            Err(error) => return Err(error.into()),
        }
    }
}
