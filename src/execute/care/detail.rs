//! DESCRIBE DETAIL: one row about a table's files, properties and features.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray};

use crate::encode::types::PgType;
use crate::error::Result;
use crate::execute::output::{Output, RowsTag};
use crate::execute::road::Road;
use crate::sql::QualifiedName;

const TEXTS: PgType = PgType::of(1009);

pub(super) const COLUMNS: &[(&str, PgType)] = &[
    ("format", PgType::TEXT),
    ("id", PgType::TEXT),
    ("name", PgType::TEXT),
    ("description", PgType::TEXT),
    ("location", PgType::TEXT),
    ("createdAt", PgType::TIMESTAMPTZ),
    ("lastModified", PgType::TIMESTAMPTZ),
    ("partitionColumns", TEXTS),
    ("clusteringColumns", TEXTS),
    ("numFiles", PgType::INT8),
    ("sizeInBytes", PgType::INT8),
    ("properties", PgType::JSONB),
    ("minReaderVersion", PgType::INT4),
    ("minWriterVersion", PgType::INT4),
    ("tableFeatures", TEXTS),
];

pub(super) async fn run(road: &mut Road<'_>, name: &QualifiedName) -> Result<Output> {
    let target = road.told(name).await?;
    let table = &target.table;
    let detail = road.ground.lake.detail(table).await?;
    let text = |text: Option<String>| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| -> ArrayRef {
        let micros = time.map(|time| time.timestamp_micros());
        Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"))
    };
    let properties: BTreeMap<&String, &String> = table.properties().iter().collect();
    let properties = serde_json::to_value(properties).unwrap_or_default();
    let values = vec![
        text(Some("delta".to_owned())),
        text(Some(detail.id)),
        text(Some(format!("{}.{}", target.schema, target.name))),
        text(table.description().map(str::to_owned)),
        text(Some(table.location().to_owned())),
        time(detail.created),
        time(detail.modified),
        texts(table.partition_columns()),
        texts(&table.cluster_columns()),
        super::bigint(table.num_files() as u64),
        super::bigint(table.size_bytes()),
        text(super::jsonb(&properties)),
        Arc::new(Int32Array::from(vec![detail.reader_version])),
        Arc::new(Int32Array::from(vec![detail.writer_version])),
        texts(&detail.features),
    ];
    super::answer(COLUMNS, values, RowsTag::Counted("DESCRIBE"))
}

fn texts(values: &[String]) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for value in values {
        list.values().append_value(value);
    }
    list.append(true);
    Arc::new(list.finish())
}
