//! Every type and table as other Delta programs read and write them.

use super::*;

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
async fn a_column_of_one_byte_keeps_to_its_range() {
    use deltalake::kernel::DataType as DeltaType;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let location = format!("{root}/t");
    std::fs::create_dir_all(&location).unwrap();
    let url = url::Url::from_directory_path(&location).unwrap();
    deltalake::operations::create::CreateBuilder::new()
        .with_location(url.to_string())
        .with_column("a", DeltaType::BYTE, true, None)
        .await
        .unwrap();
    let lake = lake_at(root);
    let table = lake.table(&location, Freshness::Latest).await.unwrap();
    let rows = |value: i16| {
        let array: ArrayRef = Arc::new(Int16Array::from(vec![value]));
        RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap()
    };
    let error = lake.write(request(WriteMode::Append(Arc::clone(&table)), vec![rows(300)])).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::NumericValueOutOfRange);
    lake.write(request(WriteMode::Append(table), vec![rows(-128)])).await.unwrap();
    let context = SessionContext::new();
    let theirs = deltalake::open_table(url).await.unwrap();
    context.register_table("t", theirs.table_provider().await.unwrap()).unwrap();
    let batches = context.sql("SELECT a FROM t").await.unwrap().collect().await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int8Type>().values(), &[-128]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_column_is_read_and_its_table_takes_no_rows_from_us() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let location = format!("{root}/t");
    std::fs::create_dir_all(&location).unwrap();
    let fields = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
    let array: ArrayRef =
        Arc::new(StructArray::new(fields, vec![Arc::new(Int32Array::from(vec![7])) as ArrayRef], None));
    let batch = RecordBatch::try_from_iter_with_nullable([("s", array, true)]).unwrap();
    let url = url::Url::from_directory_path(&location).unwrap();
    deltalake::DeltaTable::try_from_url(url).await.unwrap().write(vec![batch]).await.unwrap();
    let table = lake_at(root).table(&location, Freshness::Latest).await.unwrap();
    assert!(text(&table, "SELECT s['x'] AS x FROM t").await.contains("| 7 |"));
    let error = table.check_storable().unwrap_err();
    assert_eq!(error.message(), "writing to a table with a nested column (\"s\") is not supported");
}
