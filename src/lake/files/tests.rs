use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::encode::TextStyle;
use crate::encode::copy::{Format, Header, OnError, Options};
use crate::encode::input::InputContext;
use crate::encode::types::{OutputColumn, PgType};
use crate::error::{Error, Result, SqlState};

async fn store_of(files: &[(&str, &str)]) -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (path, text) in files {
        store.put(&Path::from(*path), text.to_string().into()).await.expect("put");
    }
    store
}

fn url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse("memory://lake").expect("a url")
}

fn context() -> InputContext {
    InputContext::utc(chrono::DateTime::UNIX_EPOCH)
}

async fn set_of(store: &Arc<dyn ObjectStore>, glob: &str) -> Result<FileSet> {
    FileSet::find(store.clone(), url(), glob).await
}

/// Runs `sql` over the files as table `t`; the rows as text, sorted by the query.
async fn query(
    store: &Arc<dyn ObjectStore>,
    glob: &str,
    options: &FileOptions,
    columns: Option<Vec<(String, PgType)>>,
    sql: &str,
) -> Result<String> {
    let set = set_of(store, glob).await?;
    let format = FileFormat::of_name(glob).expect("a known suffix");
    let table = table(set, format, options, columns, context()).await?;
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    session.register_object_store(url().as_ref(), store.clone());
    session.register_table("t", table.provider)?;
    let batches = session.sql(sql).await?.collect().await?;
    Ok(shown(&batches))
}

fn shown(batches: &[RecordBatch]) -> String {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                let value = datafusion::scalar::ScalarValue::try_from_array(column, row).expect("a value");
                if value.is_null() { String::new() } else { value.to_string() }
            });
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows.join(" ")
}

#[tokio::test]
async fn globs_find_their_files() -> Result<()> {
    let names = ["in/a.csv", "in/b.csv", "in/c.json", "in/_tmp.csv", "in/sub/d.csv", "in/.h/e.csv", "in/sub/x/f1.csv"];
    let files: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    let store = store_of(&files).await;
    let cases = [
        ("in/a.csv", "in/a.csv"),
        ("/in/a.csv", "in/a.csv"),
        ("in/*.csv", "in/a.csv in/b.csv"),
        ("in/[!a].csv", "in/b.csv"),
        ("in/{a,c}.*", "in/a.csv in/c.json"),
        ("in/**/*.csv", "in/a.csv in/b.csv in/sub/d.csv in/sub/x/f1.csv"),
        ("in/?.json", "in/c.json"),
        ("in/sub/**", "in/sub/d.csv in/sub/x/f1.csv"),
        ("in/_*.csv", "in/_tmp.csv"),
        ("in/sub", "in/sub/d.csv in/sub/x/f1.csv"),
        ("in/", "in/a.csv in/b.csv in/c.json in/sub/d.csv in/sub/x/f1.csv"),
    ];
    for (glob, expected) in cases {
        let found = set_of(&store, glob).await?.files;
        let found: Vec<_> = found.iter().map(|file| file.location.as_ref()).collect();
        assert_eq!(found.join(" "), expected, "{glob}");
    }
    let error = set_of(&store, "in/no*.csv").await.expect_err("nothing there");
    assert_eq!(
        error.message(),
        "could not open file \"memory://lake/in/no*.csv\" for reading: No such file or directory"
    );
    assert_eq!(error.sqlstate(), SqlState::UndefinedFile);
    Ok(())
}

#[tokio::test]
async fn files_behind_links_are_found() -> Result<()> {
    let home = tempfile::tempdir().expect("a folder");
    let (folder, elsewhere) = (home.path().join("in"), home.path().join("elsewhere"));
    for folder in [&folder, &elsewhere] {
        std::fs::create_dir(folder)?;
        std::fs::write(folder.join("a.csv"), "i\n1\n")?;
    }
    std::os::unix::fs::symlink(&elsewhere, folder.join("link"))?;
    let stores = crate::lake::Stores::new("memory://lake", std::collections::HashMap::new())?;
    for named in ["", "*.csv", "**/*.csv"] {
        let place = stores.resolve(&format!("{}/{named}", folder.display()))?;
        let found = FileSet::find(place.store, place.url, place.path.as_ref()).await?;
        assert_eq!(found.files.len(), if named == "*.csv" { 1 } else { 2 }, "{named}");
        let refused = found.check_within(std::slice::from_ref(&folder)).await.err().map(|error| error.sqlstate());
        assert_eq!(refused, (named != "*.csv").then_some(SqlState::InsufficientPrivilege), "{named}");
    }
    Ok(())
}

#[tokio::test]
async fn csv_types_and_header_are_found() -> Result<()> {
    let text = "id,name,price,day,at,zoned,ok,zip,empty\n\
                1,a,1.5,2020-01-02,2020-01-02 03:04:05,2020-01-02T03:04:05Z,true,01234,\n\
                2,b,2,2020-01-03,2020-01-02,2020-01-02 03:04:05+02,false,99999,\n";
    let store = store_of(&[("a.csv", text), ("b.csv", "1,2\n3,4\n")]).await;
    let types = |columns: Vec<(String, PgType)>| {
        columns.into_iter().map(|(name, ty)| format!("{name}:{}", ty.oid)).collect::<Vec<_>>().join(" ")
    };
    let options = FileOptions::default();
    let found = infer(&set_of(&store, "a.csv").await?, FileFormat::Csv, &options).await?;
    assert_eq!(types(found), "id:20 name:25 price:701 day:1082 at:1114 zoned:1184 ok:16 zip:25 empty:25");
    let found = infer(&set_of(&store, "b.csv").await?, FileFormat::Csv, &options).await?;
    assert_eq!(types(found), "column1:20 column2:20");
    Ok(())
}

#[tokio::test]
async fn large_csv_is_read_once_by_all_partitions() -> Result<()> {
    let mut text = String::from("n,word\n");
    for n in 0..400_000 {
        text.push_str(&format!("{n},\"line {n}\nof two\"\n"));
    }
    let store = store_of(&[("big.csv", &text)]).await;
    let options = FileOptions::default();
    let sql = "SELECT count(*), count(DISTINCT n), sum(n), min(length(word)) FROM t";
    assert_eq!(query(&store, "big.csv", &options, None, sql).await?, "400000|400000|79999800000|13");
    let counted = query(&store, "big.csv", &options, None, "SELECT count(*) FROM t").await?;
    assert_eq!(counted, "400000");
    let limited = query(&store, "big.csv", &options, None, "SELECT count(*) FROM (SELECT * FROM t LIMIT 5)").await?;
    assert_eq!(limited, "5");
    Ok(())
}

#[tokio::test]
async fn file_columns_tell_the_file() -> Result<()> {
    let store = store_of(&[("d/a.csv", "x,y\n1,p\n"), ("d/b.csv", "x,y\n2,q\n")]).await;
    let sql = "SELECT _file, x FROM t WHERE _file_modified > '2020-01-01' ORDER BY x";
    assert_eq!(
        query(&store, "d/*.csv", &FileOptions::default(), None, sql).await?,
        "memory://lake/d/a.csv|1 memory://lake/d/b.csv|2"
    );
    Ok(())
}

#[tokio::test]
async fn errors_name_file_line_and_column() -> Result<()> {
    let store = store_of(&[("a.csv", "n\n1\n2\nx\n"), ("a.json", "{\"n\": 1}\n{\"n\": \"x\"}\n")]).await;
    let columns = Some(vec![("n".to_owned(), PgType::INT4)]);
    let options = FileOptions { header: HeaderChoice::Present, ..FileOptions::default() };
    let error =
        query(&store, "a.csv", &options, columns.clone(), "SELECT n FROM t").await.expect_err("x is no integer");
    assert_eq!(error.context(), Some("file \"memory://lake/a.csv\", line 4, column n: \"x\""));
    let error = query(&store, "a.json", &options, columns, "SELECT n FROM t").await.expect_err("x is no integer");
    assert_eq!(error.context(), Some("file \"memory://lake/a.json\", line 2, column n: \"x\""));
    assert_eq!(error.sqlstate(), SqlState::InvalidTextRepresentation);
    Ok(())
}

#[tokio::test]
async fn json_lines_values_and_arrays_are_read() -> Result<()> {
    let lines = "{\"a\": 1, \"b\": \"x\", \"c\": {\"d\": [1, 2]}}\n{\"a\": 2.5, \"e\": true}\n";
    let array = "[{\"a\": 1, \"b\": \"x]\\\",\", \"c\": {\"d\": [1, 2]}},\n {\"a\": 2.5,\n \"e\": true}]\n";
    let store = store_of(&[("l.json", lines), ("a.json", array), ("e.json", "[{\"a\": 1}")]).await;
    let sql = "SELECT a, b, c, e FROM t ORDER BY a";
    let options = FileOptions::default();
    assert_eq!(query(&store, "l.json", &options, None, sql).await?, "1|x|{\"d\": [1, 2]}| 2.5|||true");
    assert_eq!(query(&store, "a.json", &options, None, sql).await?, "1|x]\",|{\"d\": [1, 2]}| 2.5|||true");
    let error = query(&store, "e.json", &options, None, "SELECT * FROM t").await.expect_err("not closed");
    assert_eq!(error.message(), "invalid input syntax for type json");
    Ok(())
}

#[tokio::test]
async fn ignored_errors_stop_at_the_limit() -> Result<()> {
    let store = store_of(&[("a.csv", "1\nx\n2\ny\n3\n")]).await;
    let columns = Some(vec![("n".to_owned(), PgType::INT4)]);
    let csv = |limit| Options { on_error: OnError::Ignore, reject_limit: limit, ..Options::defaults(Format::Csv) };
    let options = |limit| FileOptions { header: HeaderChoice::Absent, csv: csv(limit), ..FileOptions::default() };
    let sql = "SELECT sum(n) FROM t";
    assert_eq!(query(&store, "a.csv", &options(Some(2)), columns.clone(), sql).await?, "6");
    let error = query(&store, "a.csv", &options(Some(1)), columns, sql).await.expect_err("two rows are refused");
    assert_eq!(error.message(), "skipped more than REJECT_LIMIT (1) rows due to data type incompatibility");
    Ok(())
}

fn numbers() -> (RecordBatch, Vec<OutputColumn>) {
    let n = arrow::array::Int64Array::from(vec![Some(1), None, Some(3)]);
    let s = arrow::array::StringArray::from(vec![Some("x"), Some("a,\"b\"\nc"), None]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(n) as arrow::array::ArrayRef, true),
        ("s", Arc::new(s) as arrow::array::ArrayRef, true),
    ]);
    (batch.expect("a batch"), vec![OutputColumn::new("n", PgType::INT8), OutputColumn::new("s", PgType::TEXT)])
}

async fn write_numbers(store: &Arc<dyn ObjectStore>, path: &str, options: &ExportOptions) -> Result<u64> {
    let (batch, columns) = numbers();
    let batches = stream::iter(vec![Ok(batch.clone()), Ok(batch.clone())]);
    let rows = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), batches));
    let is_folder = path.ends_with('/');
    let target =
        ExportTarget { store: store.clone(), url: url(), path: Path::from(path), name: path.to_owned(), is_folder };
    write(rows, columns, TextStyle::default(), &target, options).await
}

#[tokio::test]
async fn what_is_exported_is_read_back() -> Result<()> {
    let csv = || ExportFormat::Copy(Options { header: Header::Present, ..Options::defaults(Format::Csv) });
    let cases = [
        ("o.csv", ExportOptions::new(csv())),
        ("o.csv.gz", ExportOptions::new(csv())),
        ("o.csv.zst", ExportOptions::new(csv())),
        ("o.json", ExportOptions::new(ExportFormat::Json)),
        ("o.parquet", ExportOptions::new(ExportFormat::Parquet)),
        ("o.avro", ExportOptions::new(ExportFormat::Avro)),
    ];
    let sql = "SELECT n, s, count(*) FROM t GROUP BY n, s ORDER BY n";
    for (path, options) in cases {
        let store = store_of(&[]).await;
        assert_eq!(write_numbers(&store, path, &options).await?, 6, "{path}");
        let read = query(&store, path, &FileOptions::default(), None, sql).await;
        assert_eq!(read.expect(path), "1|x|2 3||2 |a,\"b\"\nc|2", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_gets_numbered_parts() -> Result<()> {
    let store = store_of(&[]).await;
    let csv = ExportFormat::Copy(Options::defaults(Format::Csv));
    let options = ExportOptions { file_bytes_max: 1, compression: Some(Compression::None), ..ExportOptions::new(csv) };
    assert_eq!(write_numbers(&store, "out/", &options).await?, 6);
    let files: Vec<_> = set_of(&store, "out/").await?.files.iter().map(|file| file.location.to_string()).collect();
    assert_eq!(files, ["out/part-00000.csv", "out/part-00001.csv"]);
    Ok(())
}

#[tokio::test]
async fn a_failed_export_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let local = object_store::local::LocalFileSystem::new_with_prefix(folder.path())?;
    let store: Arc<dyn ObjectStore> = Arc::new(local);
    let (batch, columns) = numbers();
    let broken = Error::new(SqlState::QueryCanceled, "canceling statement due to user request");
    let batches = stream::iter(vec![Ok(batch.clone()), Err(broken.into_datafusion())]);
    let rows = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), batches));
    let target = ExportTarget {
        store: store.clone(),
        url: url(),
        path: Path::from("o.parquet"),
        name: "o.parquet".to_owned(),
        is_folder: false,
    };
    let options = ExportOptions::new(ExportFormat::Parquet);
    let error = write(rows, columns, TextStyle::default(), &target, &options).await.expect_err("canceled");
    assert_eq!(error.sqlstate(), SqlState::QueryCanceled);
    assert!(store.list(None).next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn parquet_schemas_are_merged_by_name() -> Result<()> {
    let store = store_of(&[]).await;
    let write_one = async |path: &str, columns: Vec<(&str, arrow::array::ArrayRef, PgType)>| {
        let output = columns.iter().map(|(name, _, ty)| OutputColumn::new(*name, *ty)).collect();
        let batch =
            RecordBatch::try_from_iter(columns.into_iter().map(|(name, array, _)| (name, array))).expect("batch");
        let rows = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), stream::iter(vec![Ok(batch)])));
        let target = ExportTarget {
            store: store.clone(),
            url: url(),
            path: Path::from(path),
            name: path.to_owned(),
            is_folder: false,
        };
        let options = ExportOptions::new(ExportFormat::Parquet);
        write(rows, output, TextStyle::default(), &target, &options).await
    };
    let ints = |values: Vec<i32>| Arc::new(arrow::array::Int32Array::from(values)) as arrow::array::ArrayRef;
    let longs = |values: Vec<i64>| Arc::new(arrow::array::Int64Array::from(values)) as arrow::array::ArrayRef;
    write_one("a.parquet", vec![("x", ints(vec![1, 2]), PgType::INT4)]).await?;
    write_one("b.parquet", vec![("y", ints(vec![7]), PgType::INT4), ("x", longs(vec![1 << 40]), PgType::INT8)]).await?;
    let sql = "SELECT x, y, _file FROM t WHERE x > 1 ORDER BY x";
    let read = query(&store, "*.parquet", &FileOptions::default(), None, sql).await?;
    assert_eq!(read, "2||memory://lake/a.parquet 1099511627776|7|memory://lake/b.parquet");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_fails_is_an_error_of_some_partition() {
    let options = Options::defaults(Format::Csv);
    let columns = vec![("n".to_owned(), PgType::INT8)];
    let decoder = Arc::new(crate::encode::copy::ChunkDecoder::new("COPY t", options, columns, context()));
    let chunk = || crate::encode::copy::Chunk { bytes: "1\n2\n".into(), first_line: 1, ..Default::default() };
    let broken = Error::new(SqlState::QueryCanceled, "COPY from stdin failed: told so");
    let pieces = stream::iter(vec![Ok(chunk()), Ok(chunk()), Err(broken)]);
    let streams = decode_parallel(pieces, decoder.clone(), 3, Rejections::with_limit(None));
    let results = futures::future::join_all(streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>)).await;
    let errors: Vec<_> = results.into_iter().filter_map(|result| result.err().map(Error::from)).collect();
    assert_eq!(errors.iter().map(Error::message).collect::<Vec<_>>(), ["COPY from stdin failed: told so"]);

    let pieces = stream::iter((0..50).map(move |_| Ok(chunk())));
    let streams = decode_parallel(pieces, decoder, 3, Rejections::with_limit(None));
    let results = futures::future::try_join_all(streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>)).await;
    let batches = results.expect("no error").into_iter().flatten();
    assert_eq!(batches.map(|batch| batch.column(0).as_primitive::<Int64Type>().len()).sum::<usize>(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_partitions_ends_the_reader() {
    let columns = vec![("n".to_owned(), PgType::INT8)];
    let options = Options::defaults(Format::Csv);
    let decoder = Arc::new(crate::encode::copy::ChunkDecoder::new("COPY t", options, columns, context()));
    let token = Arc::new(());
    let held = token.clone();
    let endless = stream::repeat_with(move || {
        let _held = &held;
        Ok(crate::encode::copy::Chunk { bytes: "1\n".into(), first_line: 1, ..Default::default() })
    });
    let mut streams = decode_parallel(endless, decoder, 2, Rejections::with_limit(None));
    assert!(streams[0].next().await.is_some_and(|batch| batch.is_ok()));
    drop(streams);
    let gone = async {
        while Arc::strong_count(&token) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.expect("the reader ends");
}

#[tokio::test]
async fn a_plan_can_run_twice() -> Result<()> {
    let store = store_of(&[("a.txt", "1\tx\n2\t\\N\n")]).await;
    let columns = vec![("n".to_owned(), PgType::INT4), ("s".to_owned(), PgType::TEXT)];
    let options = FileOptions { csv: Options::default(), header: HeaderChoice::Absent, ..FileOptions::default() };
    let table = table(set_of(&store, "a.txt").await?, FileFormat::Csv, &options, Some(columns), context()).await?;
    let session = SessionContext::new();
    session.register_table("t", table.provider)?;
    let plan = session.sql("SELECT n, s FROM t").await?.create_physical_plan().await?;
    for _ in 0..2 {
        let batches = datafusion::physical_plan::collect(plan.clone(), session.task_ctx()).await?;
        assert_eq!(shown(&batches), "1|x 2|");
    }
    Ok(())
}
