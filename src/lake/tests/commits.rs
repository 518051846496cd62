//! Versions: races, freshness, lost answers, checkpoints, drops.

use super::*;

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
        // Appends that meet become one commit.
        assert!((1..=16).contains(&table.version()), "{}", table.version());
        assert_eq!(table.num_rows(), Some(160));
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
    let written = lake.write(request(WriteMode::Replace(other, None), vec![batch])).await.unwrap();
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
    // Each question is two requests: whether ours still stands, and whether there is a next one.
    assert!((2..=4).contains(&(requests() - before)), "{}", requests() - before);
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

/// Takes all files away, as another server's DROP does.
async fn remove_all(store: &dyn ObjectStore) {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    for meta in all {
        store.delete(&meta.location).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_server_made_anew_in_its_place_is_seen() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (one, two) = (lake_over(Arc::clone(&store)), lake_over(Arc::clone(&store)));
    one.create(&int_spec(), CreateMode::New).await.unwrap();
    append(&one, "memory://lake/t", 0..3).await.unwrap();
    let pinned = two.table("memory://lake/t", Freshness::Latest).await.unwrap();
    assert_eq!(sorted_ints(&pinned).await, [0, 1, 2]);
    remove_all(store.as_ref()).await;
    let third = lake_over(Arc::clone(&store));
    third.create(&int_spec(), CreateMode::New).await.unwrap();
    append(&third, "memory://lake/t", 7..8).await.unwrap();
    let now = two.table("memory://lake/t", Freshness::Latest).await.unwrap();
    assert_eq!((now.version(), sorted_ints(&now).await), (1, vec![7]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_for_a_table_that_was_dropped_meanwhile_are_40001() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = lake_over(Arc::clone(&store));
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    append(&lake, "memory://lake/t", 0..3).await.unwrap();
    let pinned = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    remove_all(store.as_ref()).await;
    lake_over(Arc::clone(&store)).create(&int_spec(), CreateMode::New).await.unwrap();
    // A commit of version 2 would leave a gap in the new table's log.
    let error = lake.write(request(WriteMode::Append(pinned), vec![ints(3..4)])).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::SerializationFailure);
    assert_eq!(keys(store.as_ref(), ".json").await, 1);
    wait_until_no_files(store.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_not_given_away_while_its_files_are_removed() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let stores = Stores::new("memory://lake", HashMap::new()).unwrap();
    stores.insert("memory://lake/", Arc::clone(&store));
    let lake = Lake::new(Arc::new(stores), LakeOptions::default());
    let place = lake.free_location("public", "t").await.unwrap();
    lake.create(&spec(&place, int_spec().columns), CreateMode::New).await.unwrap();
    assert_ne!(lake.free_location("public", "t").await.unwrap(), place);
    lake.drop_files(&place).unwrap();
    for _ in 0..200 {
        if lake.free_location("public", "t").await.unwrap() == place {
            assert_eq!(keys(store.as_ref(), "").await, 0, "files are still there");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place never became free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_says_itself_when_it_wants_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let lake = lake_at(root);
    let location = format!("{root}/t");
    let mut often = spec(&location, int_spec().columns);
    often.properties = vec![("delta.checkpointInterval".to_owned(), "0".to_owned())];
    let error = lake.create(&often, CreateMode::New).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::InvalidParameterValue);
    often.properties = vec![("delta.checkpointInterval".to_owned(), "2".to_owned())];
    lake.create(&often, CreateMode::New).await.unwrap();
    append(&lake, &location, 0..1).await.unwrap();
    append(&lake, &location, 1..2).await.unwrap();
    for _ in 0..200 {
        if folder.path().join("t/_delta_log/_last_checkpoint").exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no checkpoint");
}
