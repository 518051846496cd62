//! Logs that name files outside of their tables' folders.

use super::*;

/// A log that somebody else wrote, with one file.
async fn log_with(store: &Arc<dyn ObjectStore>, folder: &str, file: &str, mapped: bool) {
    let configuration = if mapped { r#"{"delta.columnMapping.mode":"name"}"# } else { "{}" };
    let protocol = r#""minReaderVersion":2,"minWriterVersion":5"#;
    log_of(store, folder, protocol, configuration, &format!(r#""path":"{file}","size":100"#)).await;
}

/// The same with more that the log says.
async fn log_of(store: &Arc<dyn ObjectStore>, folder: &str, protocol: &str, configuration: &str, file: &str) {
    let schema = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"a\"}}]}"#;
    let log = format!(
        "{{\"protocol\":{{{protocol}}}}}\n\
         {{\"metaData\":{{\"id\":\"5fba94ed-9794-4965-ba6e-6ee3c0d22af9\",\"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\
         \"schemaString\":\"{schema}\",\"partitionColumns\":[],\"configuration\":{configuration},\"createdTime\":1}}}}\n\
         {{\"add\":{{{file},\"partitionValues\":{{}},\"modificationTime\":1,\"dataChange\":true}}}}\n"
    );
    let path = object_store::path::Path::from(format!("{folder}/_delta_log/00000000000000000000.json"));
    store.put(&path, log.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_names_no_file_that_its_writer_may_not_read() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let stores = Stores::new("memory://lake/w", HashMap::new()).unwrap();
    stores.insert("memory://lake/", Arc::clone(&store));
    let lake = Lake::new(Arc::new(stores), LakeOptions::default());
    let refused = [
        "file:///etc/x.parquet",
        "/w/public/s/x.parquet",
        "//lake/w/x.parquet",
        "memory://lake/w/public/s/x.parquet",
        "memory://lake/in/../w/public/s/x.parquet",
        "memory://lake/in%3F/../../w/x.parquet",
        "MEMORY://lake/w/x.parquet",
        "http://127.0.0.1/x.parquet",
        "s3://lake/w/../x.parquet",
    ];
    for (number, file) in refused.into_iter().enumerate() {
        for mapped in [false, true] {
            let folder = format!("in/{number}{mapped}");
            log_with(&store, &folder, file, mapped).await;
            let error = lake.table(&format!("memory://lake/{folder}"), Freshness::Latest).await.unwrap_err();
            assert_eq!(error.sqlstate(), SqlState::InsufficientPrivilege, "{file}: {error}");
        }
    }
    // Names that delta-rs alone would follow.
    for (number, file) in
        ["../../w/x.parquet", "%2e%2e/%2e%2e/w/x.parquet", "a/..%5C../w/x.parquet"].into_iter().enumerate()
    {
        let folder = format!("in/mapped{number}");
        log_with(&store, &folder, file, true).await;
        let error = lake.table(&format!("memory://lake/{folder}"), Freshness::Latest).await.unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::InsufficientPrivilege, "{file}: {error}");
    }
    // What its writer may read, and odd names in the folder.
    for (number, file) in
        ["memory://lake/in/other/x.parquet", "/in/other/x.parquet", "a%253Ab=1%252F2/x%20y.parquet", "x..y.parquet"]
            .into_iter()
            .enumerate()
    {
        for mapped in [false, true] {
            let folder = format!("in/good{number}{mapped}");
            log_with(&store, &folder, file, mapped).await;
            let table = lake.table(&format!("memory://lake/{folder}"), Freshness::Latest).await;
            assert!(table.is_ok(), "{file}: {table:?}");
        }
    }
    // The server's own logs may: a clone in the warehouse has its origin's files.
    log_with(&store, "w/public/clone", "memory://lake/w/public/s/x.parquet", false).await;
    lake.table("memory://lake/w/public/clone", Freshness::Latest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_vector_outside_of_the_folder_is_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let stores = Stores::new("memory://lake/w", HashMap::new()).unwrap();
    stores.insert("memory://lake/", Arc::clone(&store));
    let lake = Lake::new(Arc::new(stores), LakeOptions::default());
    let protocol = r#""minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]"#;
    for (number, (kind, text, expected)) in [
        ("u", "../../wvBn[lx{q8@P<9BNH/isA", Some(SqlState::DataCorrupted)),
        ("p", "memory://lake/w/x.bin", Some(SqlState::InsufficientPrivilege)),
        ("p", "memory://zzz@lake/in/x.bin", Some(SqlState::FeatureNotSupported)),
        ("u", "abvBn[lx{q8@P<9BNH/isA", None),
        ("p", "memory://lake/in/x.bin", None),
    ]
    .into_iter()
    .enumerate()
    {
        let vector = format!(
            r#"{{"storageType":"{kind}","pathOrInlineDv":"{text}","offset":1,"sizeInBytes":36,"cardinality":2}}"#
        );
        let file = format!(r#""path":"x.parquet","size":100,"deletionVector":{vector}"#);
        let folder = format!("in/vector{number}");
        log_of(&store, &folder, protocol, "{}", &file).await;
        let table = lake.table(&format!("memory://lake/{folder}"), Freshness::Latest).await;
        assert_eq!(table.err().map(|error| error.sqlstate()), expected, "{text}");
    }
}

/// A vector of one row, as the first in its file.
fn vector_file(row: u64) -> Vec<u8> {
    let mut data = 1_681_511_377_u32.to_le_bytes().to_vec();
    roaring::RoaringTreemap::from_iter([row]).serialize_into(&mut data).unwrap();
    let size = u32::try_from(data.len()).unwrap().to_be_bytes();
    let sum = crc32fast::hash(&data).to_be_bytes();
    [&[1], &size[..], &data, &sum].concat()
}

/// Its scan is delta-rs', whose kernel takes the paths of URLs for keys.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_vectors_are_found_below_names_that_urls_encode() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = lake_over(Arc::clone(&store));
    let origin = "memory://lake/in/o";
    lake.create(&spec(origin, int_spec().columns), CreateMode::New).await.unwrap();
    append(&lake, origin, 0..3).await.unwrap();
    let rows = lake.table(origin, Freshness::Latest).await.unwrap().files[0].clone();
    let protocol = r#""minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]"#;
    let in_folder = "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
    let context = SessionContext::new();
    for (number, (kind, text, key)) in [
        ("u", "ab^-aqEH.-t@S}K{vb[*k^", format!("in/a b/t0/{in_folder}")),
        ("p", "memory://lake/in/v%20%5Bw%5D%2541/x.bin", "in/v [w]%41/x.bin".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = vector_file(1);
        let size = bytes.len() - 9;
        store.put(&object_store::path::Path::parse(&key).unwrap(), bytes.into()).await.unwrap();
        let vector = format!(
            r#"{{"storageType":"{kind}","pathOrInlineDv":"{text}","offset":1,"sizeInBytes":{size},"cardinality":1}}"#
        );
        let file = format!(
            r#""path":"{origin}/{}","size":{},"stats":"{{\"numRecords\":3}}","deletionVector":{vector}"#,
            rows.name, rows.bytes
        );
        log_of(&store, &format!("in/a b/t{number}"), protocol, "{}", &file).await;
        let table = lake.table(&format!("memory://lake/in/a b/t{number}"), Freshness::Latest).await.unwrap();
        assert!(table.special);
        let name = format!("t{number}");
        context.register_table(&name, table.provider().unwrap()).unwrap();
        let rows = context.sql(&format!("SELECT a FROM {name} ORDER BY a")).await.unwrap().collect().await.unwrap();
        let rows: Vec<i32> =
            rows.iter().flat_map(|batch| batch["a"].as_primitive::<Int32Type>().values().to_vec()).collect();
        assert_eq!(rows, [0, 2], "{text}");
    }
}

/// Names with something before their host, as Azure's long form has the container.
#[tokio::test(flavor = "multi_thread")]
async fn delta_rs_opens_files_of_the_tables_own_store_alone() {
    let stores = Stores::new("memory://lake@acct/w", HashMap::new()).unwrap();
    let containers = [("lake", 0..1), ("public", 0..2)].map(|(name, rows)| {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        stores.insert(&format!("memory://{name}%40acct/"), Arc::clone(&store));
        (name, rows, store)
    });
    let lake = Lake::new(Arc::new(stores), LakeOptions::default());
    let context = SessionContext::new();
    for (name, rows, store) in &containers {
        let origin = format!("memory://{name}@acct/in/o");
        lake.create(&spec(&origin, int_spec().columns), CreateMode::New).await.unwrap();
        append(&lake, &origin, rows.clone()).await.unwrap();
        let table = lake.table(&origin, Freshness::Latest).await.unwrap();
        // The same key for other rows, named by its whole URL as a shallow clone does.
        let (from, to) = (table.files[0].path.clone(), object_store::path::Path::from("in/o/p=a b/x.parquet"));
        store.copy(&from, &to).await.unwrap();
        let file = format!(r#""path":"{origin}/p=a%20b/x.parquet","size":{}"#, table.files[0].bytes);
        log_of(store, "in/t", r#""minReaderVersion":1,"minWriterVersion":2"#, "{}", &file).await;
        let table = lake.table(&format!("memory://{name}@acct/in/t"), Freshness::Latest).await.unwrap();
        assert!(table.special);
        context.register_table(*name, table.provider().unwrap()).unwrap();
    }
    for sql in
        ["SELECT a FROM lake UNION ALL SELECT a FROM public", "SELECT a FROM public UNION ALL SELECT a FROM lake"]
    {
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3, "{sql}");
    }
    let [(_, _, store), _] = &containers;
    log_with(store, "in/astray", "memory://public@acct/in/o/x.parquet", false).await;
    let error = lake.table("memory://lake@acct/in/astray", Freshness::Latest).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::FeatureNotSupported, "{error}");
}
