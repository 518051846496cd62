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
        WriteMode::Create(spec) | WriteMode::Replace(spec) => write::gate_columns(&spec.columns),
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

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("t").to_str().unwrap().to_owned();
    let (columns, batch) = all_types();
    let mut table = spec(&location, columns.clone());
    table.comment = Some("everything".to_owned());
    table.checks = vec![("c".to_owned(), "c1 < 5".to_owned())];
    let lake = lake_at(folder.path().to_str().unwrap());
    let written = lake.write(request(WriteMode::Create(table.clone()), vec![batch.clone()])).await.unwrap();
    assert_eq!((written.rows, written.version, written.files), (2, 0, 1));

    let reopened = lake_at(folder.path().to_str().unwrap()).table(&location, Freshness::Latest).await.unwrap();
    assert_eq!(reopened.columns(), columns);
    assert_eq!((reopened.num_rows(), reopened.description()), (Some(2), Some("everything")));
    let check = TableCheck { name: "c".to_owned(), expression: "c1 < 5".to_owned(), null_passes: true };
    assert_eq!(reopened.check_constraints(), [check]);
    let rows = query(&reopened, "SELECT * FROM t").await;
    let [rows] = rows.as_slice() else { panic!("{rows:?}") };
    for (index, field) in reopened.arrow_schema().fields().iter().enumerate() {
        let expected = arrow::compute::cast(batch.column(index), field.data_type()).unwrap();
        assert_eq!(rows.column(index).as_ref(), expected.as_ref(), "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_delta_rs_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("t").to_str().unwrap().to_owned();
    let (columns, batch) = all_types();
    let lake = lake_at(folder.path().to_str().unwrap());
    lake.write(request(WriteMode::Create(spec(&location, columns)), vec![batch])).await.unwrap();
    let url = url::Url::from_directory_path(&location).unwrap();
    let theirs = deltalake::open_table(url).await.unwrap();
    let context = SessionContext::new();
    context.register_table("t", theirs.table_provider().await.unwrap()).unwrap();
    let sql = "SELECT c1, c6, c12, c15 FROM t WHERE c1 < 0";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let expected = "\
+----+------+-------------+--------------------+
| c1 | c6   | c12         | c15                |
+----+------+-------------+--------------------+
| -1 | ä'\"\\ | 86399999999 | P1Y2M-3DT5.000001S |
+----+------+-------------+--------------------+";
    assert_eq!(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_see_each_other_and_lose_no_row_in_a_race() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let location = format!("{root}/t");
    let servers = [lake_at(root), lake_at(root)];
    servers[0].create(&spec(&location, vec![ColumnSpec::new("a", PgType::INT4)]), CreateMode::New).await.unwrap();
    let appends = (0..16).map(|n| {
        let (lake, location) = (Arc::clone(&servers[n as usize % 2]), location.clone());
        tokio::spawn(async move { append(&lake, &location, n * 10..n * 10 + 10).await.unwrap() })
    });
    for done in futures::future::join_all(appends).await {
        assert_eq!(done.unwrap().rows, 10);
    }
    for lake in &servers {
        let table = lake.table(&location, Freshness::Latest).await.unwrap();
        assert_eq!((table.version(), table.num_rows()), (16, Some(160)));
        assert_eq!(sorted_ints(&table).await, (0..160).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_table_reads_nothing_newer() {
    let lake = memory_lake();
    let empty = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    append(&lake, "memory://lake/t", 0..3).await.unwrap();
    assert_eq!(sorted_ints(&empty).await, Vec::<i32>::new());
    let now = lake.table("memory://lake/t", Freshness::Within(Duration::from_secs(60))).await.unwrap();
    assert_eq!(sorted_ints(&now).await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrite_takes_away_what_was_appended_meanwhile() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (one, two) = (lake_over(Arc::clone(&store)), lake_over(store));
    one.create(&int_spec(), CreateMode::New).await.unwrap();
    append(&one, "memory://lake/t", 0..3).await.unwrap();
    let pinned = one.table("memory://lake/t", Freshness::Latest).await.unwrap();
    append(&two, "memory://lake/t", 3..6).await.unwrap();
    let written = one.write(request(WriteMode::Overwrite(pinned), vec![ints(10..12)])).await.unwrap();
    assert_eq!(sorted_ints(&written.table.unwrap()).await, [10, 11]);
    let truncated = two.table("memory://lake/t", Freshness::Latest).await.unwrap();
    let written = two.write(request(WriteMode::Overwrite(truncated), vec![])).await.unwrap();
    assert_eq!((written.rows, written.table.unwrap().num_files()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_under_another_definition_is_40001_and_leaves_no_file() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (one, two) = (lake_over(Arc::clone(&store)), lake_over(Arc::clone(&store)));
    let pinned = one.create(&int_spec(), CreateMode::New).await.unwrap();
    let other = spec("memory://lake/t", vec![ColumnSpec::new("b", PgType::TEXT)]);
    two.create(&other, CreateMode::Replace).await.unwrap();
    let error = one.write(request(WriteMode::Append(pinned), vec![ints(0..3)])).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::SerializationFailure);
    wait_until_no_files(store.as_ref()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn create_is_refused_where_a_table_is_and_adopts_it_without_columns() {
    let lake = memory_lake();
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let again = lake.create(&int_spec(), CreateMode::New).await.unwrap_err();
    assert_eq!(again.sqlstate(), SqlState::DuplicateTable);
    let rows = lake.write(request(WriteMode::Create(int_spec()), vec![ints(0..1)])).await.unwrap_err();
    assert_eq!(rows.sqlstate(), SqlState::DuplicateTable);
    let adopted = lake.create(&spec("memory://lake/t", vec![]), CreateMode::New).await.unwrap();
    assert_eq!(adopted.columns().len(), 1);
    let missing = lake.create(&spec("memory://lake/none", vec![]), CreateMode::New).await.unwrap_err();
    assert_eq!(missing.sqlstate(), SqlState::UndefinedFile);
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_changes_definition_and_rows_in_one_version() {
    let lake = memory_lake();
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    append(&lake, "memory://lake/t", 0..3).await.unwrap();
    let other = spec("memory://lake/t", vec![ColumnSpec::new("t", PgType::TIMESTAMP)]);
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    let batch = RecordBatch::try_from_iter([("t", array)]).unwrap();
    let written = lake.write(request(WriteMode::Replace(other), vec![batch])).await.unwrap();
    assert_eq!(written.version, 2);
    let expected = "+---------------------+\n| t                   |\n+---------------------+\n| 1970-01-01T00:00:00 |\n+---------------------+";
    assert_eq!(text(&written.table.unwrap(), "SELECT * FROM t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_make_no_commit() {
    let lake = memory_lake();
    let table = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let written = lake.write(request(WriteMode::Append(table), vec![ints(0..0)])).await.unwrap();
    assert_eq!((written.rows, written.version), (0, 0));
    let created = request(WriteMode::Create(spec("memory://lake/u", int_spec().columns)), vec![]);
    assert_eq!(lake.write(created).await.unwrap().table.unwrap().num_rows(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_row_commits_nothing_and_leaves_no_file() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = lake_over(Arc::clone(&store));
    let strict = spec("memory://lake/t", vec![ColumnSpec::new("a", PgType::INT4).not_null()]);
    let table = lake.create(&strict, CreateMode::New).await.unwrap();
    let null: ArrayRef = Arc::new(Int32Array::from(vec![None::<i32>]));
    let null = RecordBatch::try_from_iter_with_nullable([("a", null, true)]).unwrap();
    let mut with_null = request(WriteMode::Append(Arc::clone(&table)), vec![]);
    with_null.input = Input::Streams(vec![stream(vec![ints(0..3), null]), stream(vec![ints(3..9)])]);
    let error = lake.write(with_null).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::NotNullViolation);
    assert_eq!(lake.table("memory://lake/t", Freshness::Latest).await.unwrap().version(), 0);
    wait_until_no_files(store.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_gate_stops_the_rows() {
    let lake = memory_lake();
    let table = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let expr = datafusion::physical_expr::expressions::BinaryExpr::new(
        Arc::new(datafusion::physical_expr::expressions::Column::new("a", 0)),
        datafusion::logical_expr::Operator::Lt,
        datafusion::physical_expr::expressions::lit(5_i32),
    );
    let rule = Rule::Check { name: "small".to_owned(), expr: Arc::new(expr), null_passes: true };
    let mut rows = request(WriteMode::Append(Arc::clone(&table)), vec![ints(0..9)]);
    rows.gate = Gate::new("public", "t", write::gate_columns(table.columns()), vec![rule]);
    let error = lake.write(rows).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.detail()), (SqlState::CheckViolation, Some("Failing row contains (5).")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_write_commits_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = lake_over(Arc::clone(&store));
    let table = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let cancel = CancellationToken::new();
    let endless = {
        let cancel = cancel.clone();
        futures::stream::unfold(0, move |n| {
            if n == 3 {
                cancel.cancel();
            }
            async move {
                tokio::task::yield_now().await;
                Some((Ok(ints(n..n + 1)), n + 1))
            }
        })
    };
    let mut rows = request(WriteMode::Append(table), vec![]);
    rows.input = Input::Streams(vec![Box::pin(RecordBatchStreamAdapter::new(ints(0..0).schema(), endless))]);
    rows.cancel = cancel;
    assert_eq!(lake.write(rows).await.unwrap_err().sqlstate(), SqlState::QueryCanceled);
    assert_eq!(lake.table("memory://lake/t", Freshness::Latest).await.unwrap().version(), 0);
    wait_until_no_files(store.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_input_is_the_statements() {
    let lake = memory_lake();
    let table = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let error = Error::new(SqlState::DivisionByZero, "division by zero").into_datafusion();
    let broken = futures::stream::iter([Ok(ints(0..3)), Err(error)]);
    let mut rows = request(WriteMode::Append(table), vec![]);
    rows.input = Input::Streams(vec![Box::pin(RecordBatchStreamAdapter::new(ints(0..0).schema(), broken))]);
    assert_eq!(lake.write(rows).await.unwrap_err().sqlstate(), SqlState::DivisionByZero);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_folders_and_prune_scans() {
    let lake = memory_lake();
    let columns = vec![
        ColumnSpec::new("p", PgType::TEXT),
        ColumnSpec::new("a", PgType::INT4),
        ColumnSpec::new("d", PgType::DATE),
    ];
    let mut table = spec("memory://lake/t", columns);
    table.partition_columns = vec!["p".to_owned(), "d".to_owned()];
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("p", Arc::new(StringArray::from(vec![Some("x/ü"), None, Some("x/ü"), Some("y")])) as ArrayRef, true),
        ("a", Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef, true),
        ("d", Arc::new(Date32Array::from(vec![Some(0), Some(0), Some(0), None])) as ArrayRef, true),
    ])
    .unwrap();
    let written = lake.write(request(WriteMode::Create(table), vec![batch])).await.unwrap();
    let table = written.table.unwrap();
    assert_eq!((written.files, table.partition_columns()), (3, &["p".to_owned(), "d".to_owned()][..]));
    let expected = "\
+-----+---+------------+
| p   | a | d          |
+-----+---+------------+
| x/ü | 1 | 1970-01-01 |
| x/ü | 3 | 1970-01-01 |
|     | 2 | 1970-01-01 |
| y   | 4 |            |
+-----+---+------------+";
    assert_eq!(text(&table, "SELECT * FROM t ORDER BY d NULLS LAST, p NULLS LAST, a").await, expected);
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE p = 'y'").await, 1);
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE p IS NULL").await, 1);
    let empty = RecordBatch::try_from_iter_with_nullable([
        ("p", Arc::new(StringArray::from(vec![""])) as ArrayRef, true),
        ("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef, true),
        ("d", Arc::new(Date32Array::from(vec![0])) as ArrayRef, true),
    ]);
    let error = lake.write(request(WriteMode::Append(table), vec![empty.unwrap()])).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::FeatureNotSupported);
}

/// Number of files in the physical plan of a query.
async fn files_scanned(table: &Arc<Table>, sql: &str) -> usize {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", table.provider().unwrap()).unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string().matches(".parquet").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_pruned_by_the_logs_statistics() {
    let lake = memory_lake();
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    for start in [0, 10, 20] {
        append(&lake, "memory://lake/t", start..start + 10).await.unwrap();
    }
    let table = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE a = 25").await, 1);
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE a > 14 AND a < 18").await, 1);
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE a > 5").await, 3);
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE a > 50").await, 0);
    assert_eq!(files_scanned(&table, "SELECT count(*), min(a), max(a) FROM t").await, 0);
    let expected = "+----------+----+----+\n| n        | lo | hi |\n+----------+----+----+\n| 30       | 0  | 29 |\n+----------+----+----+";
    let sql = "SELECT count(*) AS n, min(a) AS lo, max(a) AS hi FROM t";
    assert_eq!(text(&table, sql).await.replace(' ', ""), expected.replace(' ', "").replace("----------", "----"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_done_once() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = Faulty::new(Arc::clone(&inner));
    let lake = lake_over(Arc::new(faulty.clone()));
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    faulty.only_keys_with("_delta_log");
    faulty.fail_puts_after_effect(1);
    let written = append(&lake, "memory://lake/t", 0..3).await.unwrap();
    assert_eq!(written.version, 1);
    faulty.fail_puts(2);
    let written = append(&lake, "memory://lake/t", 3..6).await.unwrap();
    assert_eq!(written.version, 2);
    assert_eq!(sorted_ints(&written.table.unwrap()).await, [0, 1, 2, 3, 4, 5]);
    faulty.fail_puts(1000);
    append(&lake, "memory://lake/t", 6..9).await.unwrap_err();
    // The put might still come to pass: its file has to stay.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(keys(inner.as_ref(), ".parquet").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_is_an_error_without_a_trace() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = Faulty::new(Arc::clone(&inner));
    let lake = lake_over(Arc::new(faulty.clone()));
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    faulty.only_keys_with(".parquet");
    faulty.fail_puts(1);
    append(&lake, "memory://lake/t", 0..3).await.unwrap_err();
    assert_eq!(lake.table("memory://lake/t", Freshness::Latest).await.unwrap().version(), 0);
    wait_until_no_files(inner.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_ends_although_its_client_went_away() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = Faulty::new(Arc::clone(&inner));
    let lake = lake_over(Arc::new(faulty.clone()));
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    faulty.only_keys_with("_delta_log");
    faulty.delay_puts(Duration::from_millis(200));
    let writing = append(&lake, "memory://lake/t", 0..3);
    assert!(tokio::time::timeout(Duration::from_millis(100), writing).await.is_err());
    for _ in 0..100 {
        if lake.table("memory://lake/t", Freshness::Latest).await.unwrap().num_rows() == Some(3) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the commit was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn freshness_decides_who_asks_the_store() {
    let faulty = Faulty::new(Arc::new(InMemory::new()));
    let lake = lake_over(Arc::new(faulty.clone()));
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    faulty.delay_gets(Duration::from_millis(50));
    let counters = Arc::clone(lake.stores().counters());
    let requests = || StoreOperation::ALL.iter().map(|operation| counters.total(*operation)).sum::<u64>();
    let before = requests();
    lake.table("memory://lake/t", Freshness::Within(Duration::from_secs(60))).await.unwrap();
    lake.table("memory://lake/t", Freshness::AtLeast(0)).await.unwrap();
    assert_eq!(requests() - before, 0);
    let asks = (0..8).map(|_| lake.table("memory://lake/t", Freshness::Latest));
    futures::future::join_all(asks).await;
    assert!((1..=2).contains(&(requests() - before)), "{}", requests() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_memory_makes_small_files_and_no_error() {
    let lake = memory_lake();
    let table = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(0));
    let mut small = request(WriteMode::Append(Arc::clone(&table)), vec![ints(0..1000)]);
    // With no byte to spare each batch becomes a file of its own, and the statement still ends well.
    small.memory = pool;
    let written = lake.write(small).await.unwrap();
    assert_eq!((written.rows, written.table.unwrap().num_rows()), (1000, Some(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_of_a_plan_is_written() {
    let lake = memory_lake();
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    for start in [0, 10, 20] {
        append(&lake, "memory://lake/t", start..start + 10).await.unwrap();
    }
    let table = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    context.register_table("t", table.provider().unwrap()).unwrap();
    let plan = context.sql("SELECT a FROM t WHERE a % 2 = 0").await.unwrap().create_physical_plan().await.unwrap();
    let mut copy = request(WriteMode::Create(spec("memory://lake/u", int_spec().columns)), vec![]);
    copy.input = Input::Plan(plan, context.task_ctx());
    let written = lake.write(copy).await.unwrap();
    assert_eq!(written.rows, 15);
    assert!((1..=3).contains(&written.files), "{}", written.files);
    assert_eq!(sorted_ints(&written.table.unwrap()).await, (0..30).step_by(2).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_is_shared_out_to_several_writers() {
    let lake = memory_lake();
    let table = lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let mut rows = request(WriteMode::Append(table), vec![]);
    rows.input = Input::Streams(vec![stream((0..200).map(|n| ints(n * 100..n * 100 + 100)).collect())]);
    let written = lake.write(rows).await.unwrap();
    assert_eq!(sorted_ints(&written.table.unwrap()).await, (0..20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_committed_is_refused_before_rows_are_drawn() {
    let lake = memory_lake();
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    let error = Error::new(SqlState::DivisionByZero, "division by zero").into_datafusion();
    let drawn = futures::stream::iter([Err(error)]);
    let mut rows = request(WriteMode::Create(int_spec()), vec![]);
    rows.input = Input::Streams(vec![Box::pin(RecordBatchStreamAdapter::new(ints(0..0).schema(), drawn))]);
    assert_eq!(lake.write(rows).await.unwrap_err().sqlstate(), SqlState::DuplicateTable);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_reach_the_parquet_scan() {
    let lake = memory_lake();
    let written = lake.write(request(WriteMode::Create(int_spec()), vec![ints(0..9)])).await.unwrap();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", written.table.unwrap().provider().unwrap()).unwrap();
    for (sql, expected) in [
        ("SELECT a FROM t WHERE a = 5", "predicate=a@0 = 5"),
        ("SELECT a FROM t ORDER BY a LIMIT 2", "DynamicFilter"),
        ("SELECT a FROM t LIMIT 2", "limit=2"),
    ] {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let plan = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
        assert!(plan.contains("DataSourceExec") && plan.contains(expected), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_tables_lose_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_at(folder.path().to_str().unwrap());
    let location = format!("{}/t", folder.path().display());
    let spec = spec(&location, vec![ColumnSpec::new("a", PgType::INT4)]);
    lake.write(request(WriteMode::Create(spec), vec![ints(0..3)])).await.unwrap();
    lake.drop_files(&location).unwrap();
    for _ in 0..200 {
        if !folder.path().join("t").exists() {
            let gone = lake.table(&location, Freshness::Latest).await.unwrap_err();
            assert_eq!(gone.sqlstate(), SqlState::UndefinedFile);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the folder is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_made_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let options = LakeOptions { checkpoint_commits: 3, ..LakeOptions::default() };
    let lake = Lake::new(Arc::new(Stores::new(root, HashMap::new()).unwrap()), options);
    let location = format!("{root}/t");
    lake.create(&spec(&location, vec![ColumnSpec::new("a", PgType::INT4)]), CreateMode::New).await.unwrap();
    for n in 0..4 {
        append(&lake, &location, n..n + 1).await.unwrap();
    }
    let hint = folder.path().join("t/_delta_log/_last_checkpoint");
    for _ in 0..200 {
        if hint.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(hint.exists());
    let table = lake_at(root).table(&location, Freshness::Latest).await.unwrap();
    assert_eq!((sorted_ints(&table).await, table.num_rows()), (vec![0, 1, 2, 3], Some(4)));
    assert_eq!(files_scanned(&table, "SELECT a FROM t WHERE a = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_only_table_keeps_its_rows() {
    let lake = memory_lake();
    let mut table = int_spec();
    table.properties = vec![("delta.appendOnly".to_owned(), "true".to_owned())];
    let written = lake.write(request(WriteMode::Create(table), vec![ints(0..3)])).await.unwrap();
    let error = lake.write(request(WriteMode::Overwrite(written.table.unwrap()), vec![])).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::ObjectNotInPrerequisiteState);
    let mut refused = spec("memory://lake/u", int_spec().columns);
    refused.properties = vec![("delta.enableDeletionVectors".to_owned(), "true".to_owned())];
    let error = lake.create(&refused, CreateMode::New).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::FeatureNotSupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_of_delta_rs_are_seen_and_its_appends_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let location = format!("{root}/t");
    let lake = lake_at(root);
    lake.create(&spec(&location, vec![ColumnSpec::new("a", PgType::INT4)]), CreateMode::New).await.unwrap();
    append(&lake, &location, 0..6).await.unwrap();
    let url = url::Url::from_directory_path(&location).unwrap();
    let theirs = deltalake::open_table(url).await.unwrap();
    let theirs = theirs.write(vec![ints(10..12)]).await.unwrap();
    theirs.delete().with_predicate("a < 3").await.unwrap();
    let table = lake.table(&location, Freshness::Latest).await.unwrap();
    assert_eq!(sorted_ints(&table).await, [3, 4, 5, 10, 11]);
    let bytes = table.location.store.head(&table.files[0].path).await.unwrap().size;
    assert_eq!(table.files[0].bytes, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_mapped_columns_is_read_but_not_written() {
    use deltalake::kernel::DataType as DeltaType;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let location = format!("{root}/t");
    std::fs::create_dir_all(&location).unwrap();
    let theirs = deltalake::operations::create::CreateBuilder::new()
        .with_location(url::Url::from_directory_path(&location).unwrap().to_string())
        .with_column("a", DeltaType::INTEGER, true, None)
        .with_column("p", DeltaType::STRING, true, None)
        .with_partition_columns(["p"])
        .with_configuration_property(deltalake::TableProperty::ColumnMappingMode, Some("name"))
        .await
        .unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef, true),
        ("p", Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef, true),
    ]);
    theirs.write(vec![batch.unwrap()]).await.unwrap();
    let lake = lake_at(root);
    let table = lake.table(&location, Freshness::Latest).await.unwrap();
    let expected = "+---+---+\n| p | a |\n+---+---+\n| y | 2 |\n+---+---+";
    assert_eq!(text(&table, "SELECT p, a FROM t WHERE p > 'x'").await, expected);
    let error = lake.write(request(WriteMode::Append(table), vec![])).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::FeatureNotSupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_delta_rs_wrote_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let location = format!("{root}/t");
    std::fs::create_dir_all(&location).unwrap();
    let url = url::Url::from_directory_path(&location).unwrap();
    let theirs = deltalake::DeltaTable::try_from_url(url).await.unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("d", Arc::new(Date32Array::from(vec![Some(0), None])) as ArrayRef, true),
        ("s", Arc::new(StringArray::from(vec!["a b%/c", "ü"])) as ArrayRef, true),
        ("a", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef, true),
    ]);
    theirs.write(vec![batch.unwrap()]).with_partition_columns(["s", "d"]).await.unwrap();
    let table = lake_at(root).table(&location, Freshness::Latest).await.unwrap();
    let expected = "\
+------------+--------+---+
| d          | s      | a |
+------------+--------+---+
| 1970-01-01 | a b%/c | 1 |
|            | ü      | 2 |
+------------+--------+---+";
    assert_eq!(text(&table, "SELECT * FROM t ORDER BY a").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_bound_what_they_describe() {
    let lake = memory_lake();
    let (columns, batch) = all_types();
    let written = lake.write(request(WriteMode::Create(spec("memory://lake/t", columns)), vec![batch])).await.unwrap();
    let table = written.table.unwrap();
    let log = table.snapshot().unwrap().try_log_data().unwrap();
    let stats: serde_json::Value = serde_json::from_str(&log.iter().next().unwrap().stats().unwrap()).unwrap();
    assert_eq!((&stats["numRecords"], &stats["nullCount"]["c1"]), (&2.into(), &1.into()));
    for (column, bound) in [
        ("c1", "-1"),
        ("c2", "-9223372036854775808"),
        ("c6", "\"ä'\\\"\\\\\""),
        ("c11", "\"1969-12-31\""),
        ("c12", "86399999999"),
        ("c13", "\"1970-01-01T00:00:00.001001\""),
        ("c14", "\"1970-01-01T00:00:00.001001Z\""),
    ] {
        assert_eq!(stats["minValues"][column].to_string(), bound, "{column}");
        assert_eq!(stats["maxValues"][column].to_string(), bound, "{column}");
    }
    assert_eq!((stats["minValues"].get("c4"), stats["minValues"].get("c10")), (None, None));
    for filter in [
        "c13 = TIMESTAMP '1970-01-01 00:00:00.001001'",
        "c12 = arrow_cast('23:59:59.999999', 'Time64(Microsecond)')",
        "c5 > 6456360425",
    ] {
        let sql = format!("SELECT count(*) AS n FROM t WHERE {filter}");
        assert_eq!(text(&table, &sql).await, "+---+\n| n |\n+---+\n| 1 |\n+---+", "{filter}");
    }
    assert_eq!(files_scanned(&table, "SELECT c1 FROM t WHERE c13 < TIMESTAMP '1970-01-01 00:00:00.001'").await, 0);
    assert_eq!(files_scanned(&table, "SELECT c1 FROM t WHERE c6 > 'b'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_is_greater_than_everything_and_is_not_pruned() {
    let lake = memory_lake();
    let columns = vec![ColumnSpec::new("x", PgType::FLOAT8)];
    let floats = |values: Vec<f64>| {
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap()
    };
    let batches = vec![floats(vec![1.0, f64::NAN]), floats(vec![-0.0, 2.5]), floats(vec![f64::INFINITY])];
    let mut create = request(WriteMode::Create(spec("memory://lake/t", columns)), vec![]);
    create.input = Input::Streams(batches.into_iter().map(|batch| stream(vec![batch])).collect());
    let table = lake.write(create).await.unwrap().table.unwrap();
    let count = "SELECT count(*) AS n FROM t WHERE x > 5";
    assert_eq!(text(&table, count).await, "+---+\n| n |\n+---+\n| 2 |\n+---+");
    assert_eq!(files_scanned(&table, "SELECT x FROM t WHERE x > 5").await, 2);
    assert_eq!(files_scanned(&table, "SELECT x FROM t WHERE x = 0.0").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_are_planned_by_the_size_of_the_scanned_columns() {
    let lake = memory_lake();
    let (columns, batch) = all_types();
    let written = lake.write(request(WriteMode::Create(spec("memory://lake/t", columns)), vec![batch])).await.unwrap();
    let context = SessionContext::new();
    context.register_table("t", written.table.unwrap().provider().unwrap()).unwrap();
    let plan = context.sql("SELECT c1, c2, c7 FROM t").await.unwrap().create_physical_plan().await.unwrap();
    let asked = datafusion::physical_plan::statistics::StatisticsArgs::new();
    let context = datafusion::physical_plan::statistics::StatisticsContext::new();
    let statistics = context.compute(plan.as_ref(), &asked).unwrap();
    let bytes = statistics.column_statistics.iter().map(|column| column.byte_size.get_value().copied());
    assert_eq!(statistics.num_rows.get_value(), Some(&2));
    assert_eq!(bytes.collect::<Vec<_>>(), [Some(4), Some(16), Some(2)]);
}
