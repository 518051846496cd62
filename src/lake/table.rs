//! One version of one table: what it is made of. Immutable; a statement that holds one reads nothing newer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use deltalake::DeltaTable;
use deltalake::kernel::EagerSnapshot;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;

use super::columns::{ColumnSpec, TableCheck, from_delta, scanned_type, stored_type};
use super::data_file::{DataFile, Layout, read_all};
use super::log::{self, Mark};
use super::scan::LakeScan;
use super::stores::Resolved;
use super::transaction::Private;
use crate::error::{Error, Result};

/// Delta's prefix of table properties that hold CHECK constraints.
pub(super) const CONSTRAINT_PREFIX: &str = "delta.constraints.";
/// Delta's property for the commits between two checkpoints.
pub(super) const CHECKPOINT_INTERVAL: &str = "delta.checkpointInterval";

/// A table at one version.
pub struct Table {
    pub(super) location: Resolved,
    pub(super) delta: DeltaTable,
    version: u64,
    /// The commit of that version, `None` when the log did not have it any more.
    pub(super) mark: Option<Mark>,
    schema: SchemaRef,
    columns: Vec<ColumnSpec>,
    partition_columns: Vec<String>,
    properties: BTreeMap<String, String>,
    /// Columns inside the files, as the Parquet reader is asked for them.
    pub(super) file_schema: SchemaRef,
    pub(super) partition_fields: Vec<FieldRef>,
    pub(super) files: Vec<Arc<DataFile>>,
    /// Whether a scan must leave the reading to delta-rs: column mapping, deleted rows, files elsewhere.
    pub(super) special: bool,
    /// Of a transaction that writes it.
    pub(super) private: Option<Arc<Private>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} version {})", self.location.location, self.version)
    }
}

impl Table {
    /// Reads what delta-rs loaded; `before` is another version of it whose file entries can be taken over.
    pub(super) async fn read(location: Resolved, delta: DeltaTable, before: Option<&Self>) -> Result<Self> {
        let mark = log::mark(&location, delta.snapshot()?.version()).await?;
        let private = before.and_then(|before| before.private.clone());
        Self::new(location, delta, mark, before, private)
    }

    pub(super) fn new(
        location: Resolved,
        delta: DeltaTable,
        mark: Option<Mark>,
        before: Option<&Self>,
        private: Option<Arc<Private>>,
    ) -> Result<Self> {
        let state = delta.snapshot()?;
        let snapshot = state.snapshot();
        let delta_schema: Schema = snapshot.schema().as_ref().try_into_arrow()?;
        let (columns, fields): (Vec<_>, Vec<_>) = delta_schema.fields().iter().map(|field| from_delta(field)).unzip();
        let metadata = snapshot.metadata();
        let partition_columns = metadata.partition_columns().to_vec();
        let properties: BTreeMap<String, String> =
            metadata.configuration().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let schema = Arc::new(Schema::new(fields));
        let (file_schema, partition_fields) = split(&schema, &partition_columns)?;
        let partition_schema = Schema::new(partition_fields.clone());
        let layout = Layout { root: &location.path, file: &file_schema, partition: &partition_schema };
        let before = before.filter(|before| before.schema == schema && before.partition_columns == partition_columns);
        let files = read_all(snapshot.try_log_data()?.iter(), &layout, before.map_or(&[], |before| &before.files))?;
        let mapped = properties.get("delta.columnMapping.mode").is_some_and(|mode| mode != "none");
        let special = mapped || files.iter().any(|file| file.special);
        Ok(Self {
            version: state.version(),
            mark,
            location,
            schema,
            columns,
            partition_columns,
            properties,
            file_schema,
            partition_fields,
            files,
            special,
            private,
            delta,
        })
    }

    /// The table's root: the same text for the same place.
    pub fn location(&self) -> &str {
        self.location.location.as_str()
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The columns in the engine's types, in the table's order; the same as the provider's schema.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn columns(&self) -> &[ColumnSpec] {
        &self.columns
    }

    pub fn partition_columns(&self) -> &[String] {
        &self.partition_columns
    }

    /// The CHECKs that the Delta table itself holds.
    pub fn check_constraints(&self) -> Vec<TableCheck> {
        let constraints = self.properties.iter().filter_map(|(key, sql)| {
            let name = key.strip_prefix(CONSTRAINT_PREFIX)?;
            Some(match ours(sql) {
                Some(expression) => TableCheck { name: name.to_owned(), expression, null_passes: true },
                None => TableCheck { name: name.to_owned(), expression: sql.clone(), null_passes: false },
            })
        });
        constraints.collect()
    }

    /// Delta's table properties, constraints included.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// After so many commits the table wants a checkpoint, if it says so.
    pub(super) fn checkpoint_commits(&self) -> Option<u64> {
        self.properties.get(CHECKPOINT_INTERVAL)?.parse().ok().filter(|commits| *commits > 0)
    }

    /// The version that is known to others: of a transaction's own view, the first that could be its commit.
    pub fn known_version(&self) -> u64 {
        match &self.private {
            Some(private) if self.is_changed_privately() => private.base.version + 1,
            Some(_) | None => self.version,
        }
    }

    /// Whether it is a transaction's own view.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    pub fn description(&self) -> Option<&str> {
        self.snapshot().ok()?.metadata().description()
    }

    /// Number of rows, when every file's is known.
    pub fn num_rows(&self) -> Option<u64> {
        if self.special {
            return None;
        }
        self.files.iter().map(|file| file.rows()).sum()
    }

    /// Bytes of the data files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub fn num_files(&self) -> usize {
        self.files.len()
    }

    /// Refuses a table with a column whose values we read but cannot write.
    ///
    /// # Errors
    /// 0A000 with the column and its type.
    pub fn check_storable(&self) -> Result<()> {
        for field in self.schema.fields() {
            let is_nested = match field.data_type() {
                DataType::List(element) => element.data_type().is_nested(),
                data_type => data_type.is_nested(),
            };
            if is_nested {
                let what = format!("writing to a table with a nested column (\"{}\")", field.name());
                return Err(Error::unsupported(what));
            }
        }
        Ok(())
    }

    /// The types that data files hold the columns in.
    pub(super) fn stored_types(&self) -> Result<Vec<DataType>> {
        let schema: Schema = self.snapshot()?.schema().as_ref().try_into_arrow()?;
        let fields = schema.fields().iter().zip(self.schema.fields());
        Ok(fields
            .map(|(delta, engine)| match delta.data_type() {
                // The engine has no integers of one byte, other programs do.
                DataType::Int8 => DataType::Int8,
                _ => stored_type(engine.data_type()),
            })
            .collect())
    }

    /// A provider of this version's rows: engine types, the table's order, pruning by partitions and statistics.
    pub fn provider(self: &Arc<Self>) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(LakeScan::new(Arc::clone(self))))
    }

    /// The same with two more columns, which tell each row's file and its number there: for [`super::Change`].
    ///
    /// # Errors
    /// 0A000 for a table whose rows cannot be changed here.
    pub fn tagged_provider(self: &Arc<Self>) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(LakeScan::tagged(Arc::clone(self))))
    }

    /// Whether the log still has the commit of this version, which ends when the table is dropped: one small request.
    pub(super) async fn stands(&self) -> Result<bool> {
        Ok(log::mark(&self.location, self.version).await? == self.mark)
    }

    pub(super) fn snapshot(&self) -> Result<&EagerSnapshot> {
        Ok(self.delta.snapshot()?.snapshot())
    }
}

/// Splits the columns into those inside the files and those of the partitions, in the order of the partitioning.
fn split(schema: &Schema, partition_columns: &[String]) -> Result<(SchemaRef, Vec<FieldRef>)> {
    let in_files = schema.fields().iter().filter(|field| !partition_columns.contains(field.name()));
    let in_files: Vec<Field> =
        in_files.map(|field| field.as_ref().clone().with_data_type(scanned_type(field.data_type()))).collect();
    let partition = partition_columns.iter().map(|name| match schema.field_with_name(name) {
        Ok(field) if matches!(field.data_type(), DataType::Time64(_) | DataType::Interval(_)) => {
            Err(Error::unsupported(format!("partitioning by column \"{name}\" of this type")))
        }
        Ok(field) => Ok(Arc::new(field.clone())),
        Err(error) => Err(error.into()),
    });
    Ok((Arc::new(Schema::new(in_files)), partition.collect::<Result<_>>()?))
}

/// How we write a CHECK for engines whose constraints fail on NULL.
pub(super) fn constraint_text(expression: &str) -> String {
    format!("({expression}) IS NOT FALSE")
}

fn ours(sql: &str) -> Option<String> {
    sql.strip_prefix('(')?.strip_suffix(") IS NOT FALSE").map(str::to_owned)
}
