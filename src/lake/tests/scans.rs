//! What a scan reads and what it may leave out.

use super::*;

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
