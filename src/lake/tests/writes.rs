//! Rows on their way into files, and what is left of those that do not arrive.

use super::*;

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
async fn a_failed_upload_is_an_error_without_a_trace() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = Faulty::new(Arc::clone(&inner));
    let lake = lake_over(Arc::new(faulty.clone()));
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    faulty.only_keys_with(".parquet");
    faulty.fail_puts(1);
    let error = append(&lake, "memory://lake/t", 0..3).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::IoError, "the store failed, no file is corrupt");
    assert_eq!(lake.table("memory://lake/t", Freshness::Latest).await.unwrap().version(), 0);
    wait_until_no_files(inner.as_ref()).await;
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
async fn more_partitions_than_open_files_make_no_file_of_every_few_rows() {
    let stores = Arc::new(Stores::new("memory://lake", HashMap::new()).unwrap());
    let options = LakeOptions { open_partitions_max: 4, writers_max: 1, ..LakeOptions::default() };
    let lake = Lake::new(stores, options);
    let mut table =
        spec("memory://lake/t", vec![ColumnSpec::new("p", PgType::INT4), ColumnSpec::new("a", PgType::INT4)]);
    table.partition_columns = vec!["p".to_owned()];
    // Few partitions at first, which get open files, then many.
    let batch = |number: i32| {
        let partitions = if number == 0 { 3 } else { 50 };
        let p: ArrayRef = Arc::new(Int32Array::from_iter_values((0..100).map(|row| row % partitions)));
        let a: ArrayRef = Arc::new(Int32Array::from_iter_values((0..100).map(|row| number * 100 + row)));
        RecordBatch::try_from_iter_with_nullable([("p", p, true), ("a", a, true)]).unwrap()
    };
    let mut rows = request(WriteMode::Create(table), vec![]);
    rows.input = Input::Streams(vec![stream((0..20).map(batch).collect())]);
    let written = lake.write(rows).await.unwrap();
    assert_eq!((written.rows, written.files), (2_000, 50));
    let table = written.table.unwrap();
    let sum = text(&table, "SELECT count(*) AS n, sum(a) AS s, count(DISTINCT a) AS d FROM t").await;
    assert!(sum.contains("| 2000 | 1999000 | 2000 |"), "{sum}");
    let one = text(&table, "SELECT count(*) AS n FROM t WHERE p = 49").await;
    assert!(one.contains("| 38 |"), "{one}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_an_earlier_version_gets_its_columns() {
    let lake = memory_lake();
    let kept = super::kept::Kept::ExpectationResults;
    let mut columns = kept.columns();
    let whole = columns.len();
    columns.truncate(20);
    let older = TableSpec { partition_columns: vec!["day".to_owned()], ..spec(&kept.place(), columns) };
    lake.create(&older, CreateMode::New).await.unwrap();
    lake.complete_logs().await.unwrap();
    let completed = lake.kept(kept).await.unwrap().unwrap();
    let names = |columns: &[ColumnSpec]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(completed.columns()), whole), (names(&kept.columns()), completed.columns().len()));
    lake.complete_logs().await.unwrap();
    assert_eq!(lake.kept(kept).await.unwrap().unwrap().version(), completed.version());
}
