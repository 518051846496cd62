//! Tests of the lake over memory, a temporary folder and a store that fails to order.

mod commits;
mod confined;
mod formats;
mod outside;
mod scans;
mod several;
mod versions;
mod writes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio_util::sync::CancellationToken;

use super::stores::counted::Operation as StoreOperation;
use super::stores::faulty::Faulty;
use super::*;
use crate::encode::types::{PgType, oid};
use crate::error::{Error, SqlState};
use crate::quality::{Gate, Rule};

fn lake_at(warehouse: &str) -> Arc<Lake> {
    Lake::new(Arc::new(Stores::new(warehouse, HashMap::new()).unwrap()), LakeOptions::default())
}

fn memory_lake() -> Arc<Lake> {
    lake_at("memory://lake")
}

/// A lake over a store that another one may use too.
fn lake_over(store: Arc<dyn ObjectStore>) -> Arc<Lake> {
    let stores = Stores::new("memory://other", HashMap::new()).unwrap();
    stores.insert("memory://lake/", store);
    Lake::new(Arc::new(stores), LakeOptions::default())
}

fn spec(location: &str, columns: Vec<ColumnSpec>) -> TableSpec {
    TableSpec { location: location.to_owned(), columns, ..TableSpec::default() }
}

fn int_spec() -> TableSpec {
    spec("memory://lake/t", vec![ColumnSpec::new("a", PgType::INT4)])
}

fn ints(values: impl IntoIterator<Item = i32>) -> RecordBatch {
    let array: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
    RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap()
}

fn stream(batches: Vec<RecordBatch>) -> datafusion::execution::SendableRecordBatchStream {
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), |batch| batch.schema());
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok))))
}

fn request(mode: WriteMode, batches: Vec<RecordBatch>) -> WriteRequest {
    let columns = match &mode {
        WriteMode::Append(table) | WriteMode::Overwrite(table) => write::gate_columns(table.columns()),
        WriteMode::Change(change) => write::gate_columns(change.table.columns()),
        WriteMode::Create(spec) | WriteMode::Replace(spec, _) => write::gate_columns(&spec.columns),
        WriteMode::Redefine(redefinition) => write::gate_columns(redefinition.table.columns()),
    };
    WriteRequest {
        mode,
        input: Input::Streams(batches.into_iter().map(|batch| stream(vec![batch])).collect()),
        gate: Gate::new("public", "t", columns, vec![]),
        operation: Operation::new("INSERT"),
        memory: Arc::new(UnboundedMemoryPool::default()),
        cancel: CancellationToken::new(),
    }
}

async fn append(lake: &Arc<Lake>, location: &str, values: std::ops::Range<i32>) -> Result<Written> {
    let table = lake.table(location, Freshness::Latest).await?;
    lake.write(request(WriteMode::Append(table), vec![ints(values)])).await
}

async fn query(table: &Arc<Table>, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", table.provider().unwrap()).unwrap();
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

async fn text(table: &Arc<Table>, sql: &str) -> String {
    let batches = query(table, sql).await;
    arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
}

async fn sorted_ints(table: &Arc<Table>) -> Vec<i32> {
    let batches = query(table, "SELECT a FROM t ORDER BY a").await;
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec()).collect()
}

async fn keys(store: &dyn ObjectStore, suffix: &str) -> usize {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    all.iter().filter(|meta| meta.location.as_ref().ends_with(suffix)).count()
}

/// One column of each type that is stored otherwise than it is carried, and of the common ones.
fn all_types() -> (Vec<ColumnSpec>, RecordBatch) {
    let interval = IntervalMonthDayNano::new(14, -3, 5_000_001_000);
    let list = {
        let mut builder = ListBuilder::new(Time64MicrosecondBuilder::new());
        builder.values().append_value(7);
        builder.values().append_null();
        builder.append(true);
        builder.append(false);
        builder.finish()
    };
    let columns: Vec<(PgType, ArrayRef)> = vec![
        (PgType::BOOL, Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (PgType::INT2, Arc::new(Int16Array::from(vec![Some(-1), None]))),
        (PgType::INT8, Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        (PgType::FLOAT4, Arc::new(Float32Array::from(vec![Some(1.5), None]))),
        (PgType::FLOAT8, Arc::new(Float64Array::from(vec![Some(f64::NAN), None]))),
        (
            PgType::numeric(38, 10),
            Arc::new(
                Decimal128Array::from(vec![Some(i128::from(i64::MAX) * 7), None])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        (PgType::TEXT, Arc::new(StringArray::from(vec![Some("ä'\"\\"), None]))),
        (PgType::with_typmod(oid::VARCHAR, 14), Arc::new(StringViewArray::from(vec![Some("v"), None]))),
        (PgType::JSONB, Arc::new(LargeStringArray::from(vec![Some("{}"), None]))),
        (PgType::UUID, Arc::new(StringArray::from(vec![Some("u"), None]))),
        (PgType::BYTEA, Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
        (PgType::DATE, Arc::new(Date32Array::from(vec![Some(-1), None]))),
        (PgType::TIME, Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None]))),
        (PgType::TIMESTAMP, Arc::new(TimestampMicrosecondArray::from(vec![Some(1_001), None]))),
        (PgType::TIMESTAMPTZ, Arc::new(TimestampMicrosecondArray::from(vec![Some(1_001), None]).with_timezone("UTC"))),
        (PgType::INTERVAL, Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None]))),
        (PgType::of(1183), Arc::new(list)),
    ];
    let specs = columns.iter().enumerate().map(|(at, (ty, _))| ColumnSpec::new(format!("c{at}"), *ty)).collect();
    let arrays = columns.into_iter().enumerate().map(|(at, (_, array))| (format!("c{at}"), array, true));
    (specs, RecordBatch::try_from_iter_with_nullable(arrays).unwrap())
}

async fn wait_until_no_files(store: &dyn ObjectStore) {
    for _ in 0..200 {
        if keys(store, ".parquet").await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("staged files are still there");
}

/// Number of files in the physical plan of a query.
async fn files_scanned(table: &Arc<Table>, sql: &str) -> usize {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", table.provider().unwrap()).unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string().matches(".parquet").count()
}
