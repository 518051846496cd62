//! Earlier versions, and the same rows in other files.

use chrono::Utc;

use super::*;

fn arrangement(table: &Arc<Table>, scope: Scope, order: &[&str]) -> Arrangement {
    Arrangement {
        table: Arc::clone(table),
        files: None,
        scope,
        order: order.iter().map(|name| (*name).to_owned()).collect(),
        target_bytes: None,
        state: Arc::new(SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2)).state()),
        operation: Operation::new("OPTIMIZE"),
        memory: Arc::new(UnboundedMemoryPool::default()),
        cancel: CancellationToken::new(),
    }
}

/// A table of six versions: one file with ten rows is added by each after the first.
async fn six_versions(lake: &Arc<Lake>) -> Arc<Table> {
    lake.create(&int_spec(), CreateMode::New).await.unwrap();
    for number in 0..5 {
        append(lake, "memory://lake/t", number * 10..number * 10 + 10).await.unwrap();
    }
    lake.table("memory://lake/t", Freshness::Latest).await.unwrap()
}

async fn sum(table: &Arc<Table>) -> String {
    text(table, "SELECT count(*) || ' ' || sum(a) AS s FROM t")
        .await
        .lines()
        .nth(3)
        .unwrap()
        .trim_matches(['|', ' '])
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_found_by_number_and_time() {
    let lake = memory_lake();
    let newest = six_versions(&lake).await;
    assert_eq!(lake.version(&newest, 2).await.unwrap().num_rows(), Some(20));
    assert_eq!(lake.version(&newest, 0).await.unwrap().num_rows(), Some(0));
    assert!(Arc::ptr_eq(&lake.version(&newest, 2).await.unwrap(), &lake.version(&newest, 2).await.unwrap()));
    assert_eq!(lake.version(&newest, 6).await.unwrap_err().sqlstate(), SqlState::InvalidParameterValue);
    let history = lake.history(&newest).await.unwrap();
    for (version, time) in history.versions() {
        assert_eq!(lake.version_at(&newest, *time, Utc::now()).await.unwrap(), *version);
        assert_eq!(lake.version_from(&newest, *time).await.unwrap(), *version);
    }
    let before = history.versions().last().unwrap().1 - chrono::TimeDelta::seconds(1);
    assert_eq!(
        lake.version_at(&newest, before, Utc::now()).await.unwrap_err().sqlstate(),
        SqlState::InvalidParameterValue
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_and_nothing_is_lost() {
    let lake = memory_lake();
    let table = six_versions(&lake).await;
    let done = lake.arrange(arrangement(&table, Scope::Small, &[])).await.unwrap();
    assert_eq!((done.removed_files, done.added_files, done.rows, done.commits), (5, 1, 50, 1));
    let newest = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    assert_eq!((newest.num_files(), sum(&newest).await), (1, sum(&table).await));
    // There is nothing left to do.
    let done = lake.arrange(arrangement(&newest, Scope::Small, &[])).await.unwrap();
    assert_eq!((done.commits, done.version), (0, newest.version()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_planned_on_an_older_version_leaves_newer_files_alone() {
    let lake = memory_lake();
    let table = six_versions(&lake).await;
    append(&lake, "memory://lake/t", 50..60).await.unwrap();
    let done = lake.arrange(arrangement(&table, Scope::All, &["a"])).await.unwrap();
    assert_eq!((done.removed_files, done.added_files), (5, 1));
    let newest = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    assert_eq!((newest.num_files(), newest.num_rows()), (2, Some(60)));
    // The files of the older version are gone from the newer one: nothing is done twice.
    let done = lake.arrange(arrangement(&table, Scope::All, &[])).await.unwrap();
    assert_eq!(done.commits, 0);
    assert_eq!(lake.table("memory://lake/t", Freshness::Latest).await.unwrap().num_rows(), Some(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_near_in_two_columns_lie_in_one_file() {
    let lake = memory_lake();
    let columns = vec![ColumnSpec::new("x", PgType::INT4), ColumnSpec::new("y", PgType::INT4)];
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("x", Arc::new(Int32Array::from_iter_values((0..65_536).map(|row| row % 256))) as ArrayRef, true),
        ("y", Arc::new(Int32Array::from_iter_values((0..65_536).map(|row| row / 256))) as ArrayRef, true),
    ])
    .unwrap();
    let written = lake.write(request(WriteMode::Create(spec("memory://lake/t", columns)), vec![batch])).await.unwrap();
    let mut wanted = arrangement(&written.table.unwrap(), Scope::All, &["x", "y"]);
    wanted.target_bytes = Some(20_000);
    let done = lake.arrange(wanted).await.unwrap();
    assert!(done.added_files > 3, "{done:?}");
    let table = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    assert_eq!(table.num_rows(), Some(65_536));
    for column in ["x", "y"] {
        let read = files_scanned(&table, &format!("SELECT * FROM t WHERE {column} = 3")).await;
        assert!(read < table.num_files(), "{column}: {read} of {}", table.num_files());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_leaves_what_somebody_holds() {
    let lake = memory_lake();
    let table = six_versions(&lake).await;
    lake.arrange(arrangement(&table, Scope::Small, &[])).await.unwrap();
    let newest = lake.table("memory://lake/t", Freshness::Latest).await.unwrap();
    let cancel = CancellationToken::new();
    let dry = lake.vacuum(&newest, Duration::ZERO, true, &cancel, &Told::default()).await.unwrap();
    assert_eq!(dry.names.len(), 0, "{table:?} is held");
    assert_eq!(
        lake.vacuum(&newest, Duration::from_secs(3600), false, &cancel, &Told::default()).await.unwrap().files,
        0
    );
    assert_eq!(
        lake.vacuum(&newest, Duration::ZERO, false, &cancel, &Told::default()).await.unwrap().files,
        0,
        "{table:?} is held"
    );
    assert_eq!(sum(&table).await, sum(&newest).await);
    drop(table);
    let dry = lake.vacuum(&newest, Duration::ZERO, true, &cancel, &Told::default()).await.unwrap();
    assert_eq!(dry.names.len(), 5);
    assert_eq!(lake.vacuum(&newest, Duration::ZERO, false, &cancel, &Told::default()).await.unwrap().files, 5);
    assert_eq!(newest.num_rows(), Some(50));
    let gone = lake.version(&newest, 3).await.unwrap_err();
    assert_eq!(gone.sqlstate(), SqlState::ObjectNotInPrerequisiteState);
    assert!(gone.detail().unwrap().contains("The oldest version left is 6"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_goes_when_nobody_holds_it() {
    let lake = memory_lake();
    let table = six_versions(&lake).await;
    lake.note_drop("memory://lake/t").await.unwrap();
    lake.dropped("memory://lake/t").unwrap();
    let noted = lake.dropped_tables().await.unwrap();
    assert_eq!(noted.len(), 1);
    assert!(!lake.remove_dropped(&noted[0], true).await.unwrap(), "the catalog has it");
    assert!(!lake.remove_dropped(&noted[0], false).await.unwrap(), "somebody holds it");
    assert_eq!(table.num_rows(), Some(50));
    drop(table);
    assert!(lake.remove_dropped(&noted[0], false).await.unwrap());
    assert!(lake.dropped_tables().await.unwrap().is_empty());
    assert!(lake.table("memory://lake/t", Freshness::Latest).await.is_err());
}
