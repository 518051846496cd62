//! A log is kept to its table's folder, whoever wrote it.

use std::net::TcpListener;

use deltalake::kernel::DataType as DeltaType;
use deltalake::operations::create::CreateBuilder;
use object_store::PutPayload;
use object_store::path::Path;
use serde_json::json;

use super::*;

const SECRET: &str = "memory://lake/w/secret";
/// Its checkpoint, which lists its files.
const SECRET_CHECKPOINT: &str = "w/secret/_delta_log/00000000000000000001.checkpoint.parquet";
/// Where somebody wrote a log by hand.
const OPEN: &str = "memory://lake/open/t";
const OPEN_CHECKPOINT: &str = "00000000000000000001.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json";

async fn checkpointed(lake: &Arc<Lake>, location: &str) -> Arc<Table> {
    lake.create(&spec(location, int_spec().columns), CreateMode::New).await.unwrap();
    append(lake, location, 0..3).await.unwrap();
    let table = lake.table(location, Freshness::Latest).await.unwrap();
    deltalake::checkpoints::create_checkpoint(&table.delta, None).await.unwrap();
    table
}

async fn put(store: &InMemory, key: &str, bytes: PutPayload) {
    store.put(&Path::from(key), bytes).await.unwrap();
}

/// A log with a checkpoint at version 1 that names one sidecar.
async fn write_log(store: &InMemory, sidecar: &str, bytes: u64) {
    let features = ["v2Checkpoint"];
    let protocol = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
    }});
    let fields = json!([{"name": "a", "type": "integer", "nullable": true, "metadata": {}}]);
    let metadata = json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": {"provider": "parquet", "options": {}},
        "schemaString": json!({"type": "struct", "fields": fields}).to_string(),
        "partitionColumns": [], "configuration": {}, "createdTime": 0,
    }});
    let info = json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}});
    let checkpoint = json!({"checkpointMetadata": {"version": 1}});
    let named = json!({"sidecar": {"path": sidecar, "sizeInBytes": bytes, "modificationTime": 0}});
    for (name, actions) in [
        ("00000000000000000000.json", vec![&protocol, &metadata]),
        ("00000000000000000001.json", vec![&info]),
        (OPEN_CHECKPOINT, vec![&checkpoint, &protocol, &metadata, &named]),
    ] {
        let lines: Vec<String> = actions.into_iter().map(ToString::to_string).collect();
        put(store, &format!("open/t/_delta_log/{name}"), lines.join("\n").into()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_outside_of_the_folder_is_not_read() {
    let store = Arc::new(InMemory::new());
    let lake = lake_over(Arc::clone(&store) as Arc<dyn ObjectStore>);
    checkpointed(&lake, SECRET).await;
    let bytes = store.head(&Path::from(SECRET_CHECKPOINT)).await.unwrap().size;
    // It would hear a request for a URL that looks presigned.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let http = format!("http://{}/x", listener.local_addr().unwrap());
    let plain = format!("memory://lake/{SECRET_CHECKPOINT}");
    for (sidecar, shown) in [
        (format!("../../../../{SECRET_CHECKPOINT}"), plain.as_str()),
        (format!("%2e%2e/%2e%2e/%2e%2e/%2e%2e/{SECRET_CHECKPOINT}"), plain.as_str()),
        (format!("..%2f..%2f..%2f..%2f{SECRET_CHECKPOINT}"), ""),
        (format!("/{SECRET_CHECKPOINT}"), plain.as_str()),
        (plain.clone(), plain.as_str()),
        ("memory://other/open/t/_delta_log/_sidecars/a.parquet".to_owned(), "memory://other/open/t/"),
        (format!("{http}?sp=1"), http.as_str()),
    ] {
        write_log(&store, &sidecar, bytes).await;
        let error = lake.table(OPEN, Freshness::Latest).await.unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::DataCorrupted, "{sidecar}: {error:?}");
        let message = format!("the log of table \"{OPEN}\" names a file outside of its folder: \"{shown}");
        assert!(error.message().starts_with(&message), "{sidecar}: {error:?}");
        assert!(!error.message().contains("sp=1"), "{error:?}");
    }
    let heard = listener.accept();
    assert!(matches!(&heard, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_in_the_folder_is_read() {
    let store = Arc::new(InMemory::new());
    let lake_again = || lake_over(Arc::clone(&store) as Arc<dyn ObjectStore>);
    // The same rows by another log: a checkpoint is a sidecar with more in it.
    let table = checkpointed(&lake_again(), SECRET).await;
    for file in table.files.iter() {
        store.copy(&file.path, &Path::from(format!("open/t/{}", file.name))).await.unwrap();
    }
    let listed = store.get(&Path::from(SECRET_CHECKPOINT)).await.unwrap().bytes().await.unwrap();
    put(&store, "open/t/_delta_log/_sidecars/rows.parquet", listed.clone().into()).await;
    for sidecar in ["rows.parquet", "../_sidecars/rows.parquet", &format!("{OPEN}/_delta_log/_sidecars/rows.parquet")] {
        write_log(&store, sidecar, listed.len() as u64).await;
        let table = lake_again().table(OPEN, Freshness::Latest).await.unwrap();
        assert_eq!(sorted_ints(&table).await, [0, 1, 2], "{sidecar}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_name_a_url_encodes_has_checkpoints() {
    for folder in ["a b", "%C3%BC", "50%25", "x%2541", "a%252Fb", "a%5Cb", "%252e%252e", "%252525"] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let location = format!("memory://lake/{folder}/t");
        let lake = lake_over(Arc::clone(&store));
        checkpointed(&lake, &location).await;
        append(&lake, &location, 3..5).await.unwrap();
        for suffix in [".checkpoint.parquet", "_last_checkpoint"] {
            assert_eq!(keys(store.as_ref(), suffix).await, 1, "{folder}: {suffix}");
        }
        let table = lake_over(store).table(&location, Freshness::Latest).await.unwrap();
        assert_eq!(sorted_ints(&table).await, [0, 1, 2, 3, 4], "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_on_disk_may_have_any_name() {
    let home = tempfile::tempdir().unwrap();
    for folder in ["a b", "50%", "x%41", "a%2Fb", "a\\b", "%2e%2e", "%25"] {
        let location = home.path().join(folder).join("t").display().to_string();
        checkpointed(&memory_lake(), &location).await;
        append(&memory_lake(), &location, 3..5).await.unwrap();
        let table = memory_lake().table(&location, Freshness::Latest).await.unwrap();
        assert_eq!(sorted_ints(&table).await, [0, 1, 2, 3, 4], "{folder}");
        assert!(home.path().join(folder).join("t/_delta_log/_last_checkpoint").exists(), "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_delta_rs_scans_do_not_hide_each_other() {
    let lake = memory_lake();
    let context = SessionContext::new();
    for name in ["one", "two"] {
        let location = format!("memory://lake/{name}");
        let theirs = CreateBuilder::new()
            .with_log_store(log::log_store(&lake.stores().resolve(&location).unwrap()))
            .with_column("a", DeltaType::INTEGER, true, None)
            .with_configuration_property(deltalake::TableProperty::ColumnMappingMode, Some("name"))
            .await
            .unwrap();
        theirs.write(vec![ints(0..3)]).await.unwrap();
        let table = lake.table(&location, Freshness::Latest).await.unwrap();
        assert!(table.special);
        context.register_table(name, table.provider().unwrap()).unwrap();
    }
    for name in ["one", "two"] {
        let rows = context.sql(&format!("SELECT a FROM {name}")).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3, "{name}");
    }
}
