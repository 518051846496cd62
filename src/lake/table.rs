//! One version of one table: what it is made of. Immutable; a statement that holds one reads nothing newer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use deltalake::DeltaTable;
use deltalake::kernel::EagerSnapshot;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;

use super::columns::{ColumnSpec, TableCheck, from_delta, scanned_type, stored_type};
use super::data_file::{DataFile, Identity, Layout, read_all};
use super::generation;
use super::live::Files;
use super::log::{self, Mark};
use super::scan::LakeScan;
use super::stores::Resolved;
use super::stores::bounds::Allowed;
use super::transaction::Private;
use crate::error::{Error, Result};

/// Delta's prefix of table properties that hold CHECK constraints.
pub(super) const CONSTRAINT_PREFIX: &str = "delta.constraints.";
/// Delta's property for the commits between two checkpoints.
pub(super) const CHECKPOINT_INTERVAL: &str = "delta.checkpointInterval";

/// Delta's property for the size of files, in bytes or as `128mb`.
pub(super) const TARGET_FILE_SIZE: &str = "delta.targetFileSize";
/// Our property for the columns of CLUSTER BY: a JSON list of names.
pub const CLUSTER_COLUMNS: &str = "lakegate.clusterBy";

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
    pub(super) files: Arc<Files>,
    /// Whether a scan must leave the reading to delta-rs: column mapping, files elsewhere.
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
        let table = Self::new(location, delta, mark, before, private)?;
        table.check_places(before).await?;
        Ok(table)
    }

    /// The same without a look at where the files are: they must be those of a version that was read.
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
        let (mut columns, fields): (Vec<_>, Vec<_>) =
            delta_schema.fields().iter().map(|field| from_delta(field)).unzip();
        generation::adopt(snapshot.schema().as_ref(), &mut columns);
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
        let mapped = maps_columns(&properties);
        let special = mapped || files.iter().any(|file| file.special);
        Ok(Self {
            version: state.version(),
            mark,
            schema,
            columns,
            partition_columns,
            properties,
            file_schema,
            partition_fields,
            files: location.live.hold(location.location.as_str(), files),
            special,
            private,
            delta,
            location,
        })
    }

    /// Refuses files where the log's writer need not have had rights. Files of tables that are not special are opened by us, below
    /// the folder; their deletion vectors may have whole URLs.
    async fn check_places(&self, before: Option<&Self>) -> Result<()> {
        let files = self.unchecked(before);
        if files.is_empty() {
            return Ok(());
        }
        let (location, special) = (self.location.clone(), self.special);
        let check = move || {
            let mut allowed = Allowed::default();
            files.iter().try_for_each(|file| file.check_place(&location, special, &mut allowed))
        };
        if !self.location.is_local() {
            return check();
        }
        // It asks the disk.
        tokio::task::spawn_blocking(check).await.map_err(|_| Error::internal("the check of a table's files failed"))?
    }

    /// Files that may lie elsewhere and were not taken over from a version that was read alike.
    fn unchecked(&self, before: Option<&Self>) -> Vec<Arc<DataFile>> {
        let strays = |table: &Self| table.files.iter().filter(|file| file.strays).cloned().collect::<Vec<_>>();
        let before = before.filter(|before| before.special == self.special).map_or_else(Vec::new, strays);
        let known: HashSet<*const DataFile> = before.iter().map(Arc::as_ptr).collect();
        strays(self).into_iter().filter(|file| !known.contains(&Arc::as_ptr(file))).collect()
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

    /// The columns that OPTIMIZE puts near rows together by, when it is not told others.
    pub fn cluster_columns(&self) -> Vec<String> {
        let listed = self.properties.get(CLUSTER_COLUMNS).and_then(|text| serde_json::from_str(text).ok());
        listed.unwrap_or_default()
    }

    /// What tells its files from others.
    pub(super) fn identities(&self) -> HashSet<Identity> {
        self.files.iter().map(|file| file.identity()).collect()
    }

    /// Whether the files name the columns in another way than the table.
    pub(super) fn maps_columns(&self) -> bool {
        maps_columns(&self.properties)
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

    /// The columns inside the files, in the types that they are stored in.
    pub(super) fn stored_schema(&self) -> Result<Schema> {
        let stored = self.stored_types()?;
        let fields = self.schema.fields().iter().zip(stored);
        let in_files = fields.filter(|(field, _)| !self.partition_columns.contains(field.name()));
        Ok(Schema::new(in_files.map(|(field, ty)| field.as_ref().clone().with_data_type(ty)).collect::<Vec<_>>()))
    }

    /// For each file a row with the values of its partition; other columns are null.
    pub fn partition_rows(&self) -> Result<RecordBatch> {
        let fields: Vec<Field> =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let columns = fields.iter().map(|field| {
            let at = self.partition_columns.iter().position(|name| name == field.name());
            match at {
                Some(at) if !self.files.is_empty() => {
                    let values = self.files.iter().filter_map(|file| file.partition.get(at).cloned());
                    Ok(ScalarValue::iter_to_array(values)?)
                }
                _ => Ok(new_null_array(field.data_type(), self.files.len())),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.files.len()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
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

fn maps_columns(properties: &BTreeMap<String, String>) -> bool {
    properties.get("delta.columnMapping.mode").is_some_and(|mode| mode != "none")
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

/// The bytes that a text like `128mb` means.
pub(super) fn file_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// How we write a CHECK for engines whose constraints fail on NULL.
pub(super) fn constraint_text(expression: &str) -> String {
    format!("({expression}) IS NOT FALSE")
}

fn ours(sql: &str) -> Option<String> {
    sql.strip_prefix('(')?.strip_suffix(") IS NOT FALSE").map(str::to_owned)
}
