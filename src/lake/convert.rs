//! Parquet files in place become a Delta table: their footers are read, and a log is written beside them.

use arrow::datatypes::Schema;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::operations::convert_to_delta::ConvertToDeltaBuilder;

use super::columns::{ColumnSpec, delta_field};
use super::{Freshness, Lake, log};
use crate::error::{Error, Result, SqlState};

impl Lake {
    /// Makes a Delta table of the Parquet files under a folder; `partitions` are the columns of its `name=value` folders.
    ///
    /// # Errors
    /// 42P07 when there is a Delta table already, 58P01 when there are no Parquet files; the store's errors.
    pub async fn convert(&self, location: &str, partitions: &[ColumnSpec]) -> Result<()> {
        let resolved = self.stores().resolve(location)?;
        self.stores().trust(&resolved).await?;
        if log::load(&resolved).await?.is_some() {
            let message = format!("a Delta table already exists at \"{location}\"");
            return Err(Error::new(SqlState::DuplicateTable, message));
        }
        let fields = partitions.iter().map(delta_field).collect::<Vec<_>>();
        let fields: StructType = (&Schema::new(fields)).try_into_kernel()?;
        let builder = ConvertToDeltaBuilder::new()
            .with_log_store(log::log_store(&resolved))
            .with_partition_schema(fields.fields().cloned().collect::<Vec<_>>());
        builder.await.map_err(|error| match error.to_string() {
            text if text.contains("parquet file") || text.contains("Parquet") && text.contains("not") => {
                let message = format!("there are no Parquet files under \"{location}\"");
                Error::new(SqlState::UndefinedFile, message).with_detail(text)
            }
            _ => Error::from(error),
        })?;
        self.table(location, Freshness::Latest).await.map(drop)
    }
}
