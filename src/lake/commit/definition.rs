//! Protocol and metadata of a table that is made: only features that every engine can read and write.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Metadata, MetadataExt, Protocol, StructType, new_metadata};
use serde_json::{Value, json};

use crate::error::{Error, Result, SqlState};
use crate::lake::columns::{COMMENT_KEY, ColumnSpec, DEFAULT_KEY, GENERATED_KEY, TableSpec, delta_field};
use crate::lake::feed::{self, FEED};
use crate::lake::generation;
use crate::lake::redefinition::Redefinition;
use crate::lake::table::{CHECKPOINT_INTERVAL, CONSTRAINT_PREFIX, TARGET_FILE_SIZE, Table, constraint_text, file_size};

/// Delta's own properties that we honour. Others of that prefix would promise what we do not do.
const PROPERTIES: &[&str] = &[
    "delta.appendOnly",
    "delta.dataSkippingNumIndexedCols",
    "delta.deletedFileRetentionDuration",
    FEED,
    "delta.enableExpiredLogCleanup",
    "delta.logRetentionDuration",
    TARGET_FILE_SIZE,
    CHECKPOINT_INTERVAL,
];

/// The features that a writer version below 7 stands for, by the version that brought them.
const LEGACY_WRITER_FEATURES: &[(u64, &str)] = &[
    (2, "appendOnly"),
    (2, "invariants"),
    (3, "checkConstraints"),
    (4, feed::FEATURE),
    (4, GENERATED),
    (5, "columnMapping"),
    (6, "identityColumns"),
];

const TIMESTAMP_NTZ: &str = "timestampNtz";
const GENERATED: &str = "generatedColumns";

pub(in crate::lake) struct Definition {
    pub(in crate::lake) protocol: Protocol,
    pub(in crate::lake) metadata: Metadata,
}

impl Definition {
    /// The definition of a new table, or one that takes the place of `base`.
    pub(super) fn new(spec: &TableSpec, base: Option<&Table>) -> Result<Self> {
        let schema = Schema::new(spec.columns.iter().map(delta_field).collect::<Vec<_>>());
        let delta_schema: StructType = (&schema).try_into_kernel()?;
        let (delta_schema, generated) = with_expressions(&delta_schema, &spec.columns)?;
        let metadata =
            new_metadata(&delta_schema, &spec.partition_columns, configuration(spec)?).map_err(unwritable)?;
        let metadata = match &spec.comment {
            Some(comment) => metadata.with_description(comment.clone()).map_err(unwritable)?,
            None => metadata,
        };
        let without_zone = schema.fields().iter().any(|field| has_timestamp_ntz(field.data_type()));
        let properties: BTreeMap<String, String> = spec.properties.iter().cloned().collect();
        feed::check_columns(spec.columns.iter().map(|column| column.name.as_str()), &properties)?;
        let needs = Needs { without_zone, checks: !spec.checks.is_empty(), feed: has_feed(&properties), generated };
        let protocol = protocol(needs, base)?;
        Ok(Self { protocol, metadata })
    }

    /// The table's own with more columns, which may be NULL.
    pub(in crate::lake) fn with_columns(base: &Table, columns: &[ColumnSpec]) -> Result<Self> {
        let snapshot = base.snapshot()?;
        let mut all = base.columns().to_vec();
        for column in columns {
            if all.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name)) {
                let message = format!("column \"{}\" specified more than once", column.name);
                return Err(Error::new(SqlState::DuplicateColumn, message));
            }
            all.push(column.clone());
        }
        feed::check_columns(columns.iter().map(|column| column.name.as_str()), base.properties())?;
        let added = Schema::new(columns.iter().map(delta_field).collect::<Vec<_>>());
        let added_fields: StructType = (&added).try_into_kernel()?;
        let fields = snapshot.schema().fields().chain(added_fields.fields()).cloned().collect::<Vec<_>>();
        let schema = StructType::try_new(fields).map_err(unwritable)?;
        let metadata = snapshot.metadata().clone().with_schema(&schema).map_err(unwritable)?;
        let without_zone = added.fields().iter().any(|field| has_timestamp_ntz(field.data_type()));
        let needs = Needs { without_zone, ..Needs::default() };
        let protocol = if without_zone { protocol(needs, Some(base))? } else { snapshot.protocol().clone() };
        Ok(Self { protocol, metadata })
    }

    /// The definition of a table that is altered. What the change does not name stays as other programs left it.
    pub(super) fn redefined(redefinition: &Redefinition, base: &Table) -> Result<Self> {
        let mut metadata = serde_json::to_value(base.snapshot()?.metadata()).map_err(unwritable)?;
        let schema = metadata.get("schemaString").and_then(Value::as_str).unwrap_or_default();
        let schema: Value = serde_json::from_str(schema).map_err(unwritable)?;
        let old = schema.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
        let fields = redefinition.columns.iter().map(|column| match column.kept.and_then(|number| old.get(number)) {
            Some(field) => Ok(renamed(field.clone(), &column.spec)),
            None => new_field(&column.spec),
        });
        let mut fields = fields.collect::<Result<Vec<_>>>()?;
        let specs: Vec<ColumnSpec> = redefinition.columns.iter().map(|column| column.spec.clone()).collect();
        let generated = generation::describe(&mut fields, &specs);
        let mut configuration: BTreeMap<String, String> = base.properties().clone();
        for (key, value) in &redefinition.properties {
            match value {
                Some(value) => {
                    if !key.starts_with(CONSTRAINT_PREFIX) {
                        check_property(key, value)?;
                    }
                    configuration.insert(key.clone(), value.clone());
                }
                None => drop(configuration.remove(key)),
            }
        }
        let checks = configuration.keys().any(|key| key.starts_with(CONSTRAINT_PREFIX));
        let without_zone =
            redefinition.engine_schema().fields().iter().any(|field| has_timestamp_ntz(field.data_type()));
        feed::check_columns(redefinition.columns.iter().map(|column| column.spec.name.as_str()), &configuration)?;
        let needs = Needs { without_zone, checks, feed: has_feed(&configuration), generated };
        let schema = json!({ "type": "struct", "fields": fields }).to_string();
        set(&mut metadata, "schemaString", schema.into());
        set(&mut metadata, "partitionColumns", json!(redefinition.partition_columns));
        set(&mut metadata, "configuration", json!(configuration));
        if let Some(comment) = &redefinition.comment {
            set(&mut metadata, "description", json!(comment));
        }
        let metadata = serde_json::from_value(metadata).map_err(unwritable)?;
        Ok(Self { protocol: protocol(needs, Some(base))?, metadata })
    }
}

/// The schema with the expressions of its generated columns that Delta can say, and whether there are any.
fn with_expressions(schema: &StructType, columns: &[ColumnSpec]) -> Result<(StructType, bool)> {
    let mut described = serde_json::to_value(schema).map_err(unwritable)?;
    let fields = described.get_mut("fields").and_then(Value::as_array_mut);
    let any = fields.is_some_and(|fields| generation::describe(fields, columns));
    Ok((serde_json::from_value(described).map_err(unwritable)?, any))
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// A field of Delta's schema that stays, under the name, the nullability and the texts that the column has now.
fn renamed(mut field: Value, column: &ColumnSpec) -> Value {
    set(&mut field, "name", column.name.clone().into());
    set(&mut field, "nullable", (!column.not_null).into());
    let mut metadata = field.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let texts = [(COMMENT_KEY, &column.comment), (DEFAULT_KEY, &column.default), (GENERATED_KEY, &column.generated)];
    for (key, text) in texts {
        if let Some(text) = text {
            set(&mut metadata, key, text.clone().into());
        } else if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove(key);
        }
    }
    set(&mut field, "metadata", metadata);
    field
}

fn new_field(column: &ColumnSpec) -> Result<Value> {
    let schema: StructType = (&Schema::new(vec![delta_field(column)])).try_into_kernel()?;
    let schema = serde_json::to_value(&schema).map_err(unwritable)?;
    let field = schema.get("fields").and_then(|fields| fields.get(0)).cloned();
    field.ok_or_else(|| Error::internal("a column has no field in Delta's schema"))
}

fn configuration(spec: &TableSpec) -> Result<Vec<(String, String)>> {
    let mut configuration = Vec::new();
    for (key, value) in &spec.properties {
        check_property(key, value)?;
        configuration.push((key.clone(), value.clone()));
    }
    for (name, expression) in &spec.checks {
        configuration.push((format!("{CONSTRAINT_PREFIX}{name}"), constraint_text(expression)));
    }
    Ok(configuration)
}

fn check_property(key: &str, value: &str) -> Result<()> {
    if key.starts_with("delta.") && !PROPERTIES.contains(&key) {
        return Err(Error::unsupported(format!("table property \"{key}\"")));
    }
    if !is_property_value(key, value) {
        let message = format!("invalid value for table property \"{key}\": \"{value}\"");
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    Ok(())
}

/// Whether Delta's property can have the value; what is no property of Delta's can have any.
fn is_property_value(key: &str, value: &str) -> bool {
    match key {
        "delta.appendOnly" | "delta.enableExpiredLogCleanup" | FEED => matches!(value, "true" | "false"),
        "delta.dataSkippingNumIndexedCols" => value.parse().is_ok_and(|columns: i32| columns >= -1),
        "delta.deletedFileRetentionDuration" | "delta.logRetentionDuration" => is_interval(value),
        TARGET_FILE_SIZE => file_size(value).is_some(),
        CHECKPOINT_INTERVAL => value.parse().is_ok_and(|commits: u32| commits > 0),
        _ => true,
    }
}

/// Delta's `interval 7 days`.
fn is_interval(value: &str) -> bool {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [interval, number, unit] = words.as_slice() else { return false };
    let units = ["second", "minute", "hour", "day", "week"];
    *interval == "interval" && number.parse::<u32>().is_ok() && units.contains(&unit.strip_suffix('s').unwrap_or(unit))
}

fn has_timestamp_ntz(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) => true,
        DataType::List(element) => has_timestamp_ntz(element.data_type()),
        _ => false,
    }
}

fn has_feed(properties: &BTreeMap<String, String>) -> bool {
    properties.get(FEED).is_some_and(|enabled| enabled == "true")
}

/// What a table asks of its writers and readers beyond the least.
#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    /// Times without a zone.
    without_zone: bool,
    checks: bool,
    feed: bool,
    /// Columns with an expression that Delta knows.
    generated: bool,
}

impl Needs {
    /// The lowest writer version below 7 that stands for it.
    fn writer_version(self) -> u64 {
        match self {
            Self { feed: true, .. } | Self { generated: true, .. } => 4,
            Self { checks: true, .. } => 3,
            Self { .. } => 2,
        }
    }

    fn writer_features(self) -> impl Iterator<Item = String> {
        let features = [
            (true, "appendOnly"),
            (true, "invariants"),
            (self.checks, "checkConstraints"),
            (self.feed, feed::FEATURE),
            (self.generated, GENERATED),
        ];
        features.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, feature)| feature.to_owned())
    }
}

/// The lowest protocol that carries the table; never lower than that of the table it replaces, whose old versions stay.
fn protocol(needs: Needs, base: Option<&Table>) -> Result<Protocol> {
    let without_zone = needs.without_zone;
    let before = base.map(|base| base.snapshot().map(|snapshot| snapshot.protocol().clone())).transpose()?;
    let before = before.as_ref().map(serde_json::to_value).transpose().map_err(unwritable)?;
    let version = |key: &str, least: u64| {
        before
            .as_ref()
            .and_then(|before| before.get(key))
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(least)
            .max(least)
    };
    let (reader, writer) = (version("minReaderVersion", 1), version("minWriterVersion", needs.writer_version()));
    let features = |key: &str| -> BTreeSet<String> {
        let listed = before.as_ref().and_then(|before| before.get(key)).and_then(serde_json::Value::as_array);
        listed.into_iter().flatten().filter_map(|feature| feature.as_str().map(str::to_owned)).collect()
    };
    let value = if !without_zone && reader < 3 && writer < 7 {
        json!({ "minReaderVersion": reader, "minWriterVersion": writer })
    } else {
        let (mut of_readers, mut of_writers) = (features("readerFeatures"), features("writerFeatures"));
        if writer < 7 {
            let legacy = LEGACY_WRITER_FEATURES.iter().filter(|(since, _)| *since <= writer);
            of_writers.extend(legacy.map(|(_, feature)| (*feature).to_owned()));
        } else {
            of_writers.extend(needs.writer_features());
        }
        if reader == 2 {
            of_readers.insert("columnMapping".to_owned());
            of_writers.insert("columnMapping".to_owned());
        }
        if without_zone {
            of_readers.insert(TIMESTAMP_NTZ.to_owned());
            of_writers.insert(TIMESTAMP_NTZ.to_owned());
        }
        if reader < 3 && !without_zone {
            json!({ "minReaderVersion": reader, "minWriterVersion": 7, "writerFeatures": of_writers })
        } else {
            json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": of_readers, "writerFeatures": of_writers })
        }
    };
    serde_json::from_value(value).map_err(unwritable)
}

fn unwritable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(SqlState::InvalidTableDefinition, "this definition cannot be written as a Delta table")
        .with_detail(error.into().to_string())
}
