//! Commits of several tables: what is left by crashes, lost answers of the store, and programs that know nothing of them.

use std::collections::HashSet;

use async_trait::async_trait;
use parking_lot::Mutex as PlainMutex;

use super::*;
use crate::lake::several::{Outcomes, Reserved};

/// What was decided.
#[derive(Debug, Default)]
struct Decided {
    committed: PlainMutex<HashSet<String>>,
    given_up: PlainMutex<HashSet<String>>,
}

#[async_trait]
impl Outcomes for Decided {
    async fn is_committed(&self, id: &str) -> Result<bool> {
        Ok(self.committed.lock().contains(id))
    }

    async fn settle(&self, id: &str) -> Result<bool> {
        let committed = self.committed.lock().contains(id);
        if !committed {
            self.given_up.lock().insert(id.to_owned());
        }
        Ok(committed)
    }

    async fn places(&self, id: &str) -> Result<Vec<String>> {
        let committed = self.committed.lock().contains(id);
        Ok(PLACES.iter().filter(|_| committed).map(|place| (*place).to_owned()).collect())
    }
}

/// A transaction's id.
const ONE: &str = "0193a000-0000-7000-8000-000000000001";
const PLACES: [&str; 2] = ["memory://lake/t", "memory://lake/u"];
/// The same places, spelled otherwise.
const SPELLED: [&str; 2] = ["memory://alias/t", "memory://alias/u"];

/// Two servers of one warehouse with two tables of rows 0 and 1.
async fn servers(store: Arc<dyn ObjectStore>) -> ([Arc<Lake>; 2], Arc<Decided>) {
    let decided = Arc::new(Decided::default());
    let lakes = [0, 1].map(|_| {
        let stores = Stores::new("memory://lake", HashMap::new()).unwrap();
        for bucket in ["memory://lake/", "memory://alias/"] {
            stores.insert(bucket, Arc::clone(&store));
        }
        let lake = Lake::new(Arc::new(stores), LakeOptions::default());
        lake.decide_by(Arc::clone(&decided) as Arc<dyn Outcomes>);
        lake
    });
    for place in PLACES {
        lakes[0].create(&spec(place, vec![ColumnSpec::new("a", PgType::INT4)]), CreateMode::New).await.unwrap();
        append(&lakes[0], place, 0..2).await.unwrap();
    }
    (lakes, decided)
}

/// A transaction that puts other rows into both tables.
async fn changed(lake: &Arc<Lake>, rows: std::ops::Range<i32>) -> Vec<Arc<Table>> {
    let mut tables = Vec::new();
    for place in PLACES {
        let private = lake.table(place, Freshness::Latest).await.unwrap().private().unwrap();
        let written = lake.write(request(WriteMode::Overwrite(private), vec![ints(rows.clone())])).await.unwrap();
        tables.push(written.table.unwrap());
    }
    tables
}

async fn reserved(lake: &Arc<Lake>, id: &str, rows: std::ops::Range<i32>) -> Reserved {
    lake.reserve(id, changed(lake, rows).await, &Operation::new("TRANSACTION")).await.unwrap()
}

/// Makes the records those of an older server, which did not tell their places.
async fn forget_places(store: &Arc<dyn ObjectStore>) {
    for number in 0..PLACES.len() {
        let path = object_store::path::Path::from(format!("_lakegate/transactions/{ONE}/{number}.json"));
        let record = store.get(&path).await.unwrap().bytes().await.unwrap();
        let mut lines = Vec::new();
        let mut forgotten = 0;
        for line in record.split(|byte| *byte == b'\n') {
            let mut action: serde_json::Value = serde_json::from_slice(line).unwrap();
            if let Some(told) = action.get_mut("commitInfo").and_then(serde_json::Value::as_object_mut) {
                forgotten += usize::from(told.remove("lakegate.table").is_some());
            }
            lines.push(action.to_string());
        }
        assert_eq!(forgotten, 1);
        store.put(&path, lines.join("\n").into()).await.unwrap();
    }
}

async fn rows(lake: &Arc<Lake>, place: &str) -> Vec<i32> {
    sorted_ints(&lake.table(place, Freshness::Latest).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_a_crash_is_completed_by_whoever_reads() {
    let (lakes, decided) = servers(Arc::new(InMemory::new())).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    for lake in &lakes {
        assert_eq!(rows(lake, PLACES[0]).await, [0, 1], "seen before it was committed");
    }
    decided.committed.lock().insert(ONE.to_owned());
    reserved.keep_files();
    drop(reserved);
    for lake in &lakes {
        for place in PLACES {
            assert_eq!(rows(lake, place).await, [5, 6, 7]);
        }
    }
    append(&lakes[1], PLACES[1], 9..10).await.unwrap();
    assert_eq!(rows(&lakes[0], PLACES[1]).await, [5, 6, 7, 9]);
    assert!(lakes[1].has_records(ONE).await.unwrap());
    lakes[1].forget_records(ONE).await;
    assert!(!lakes[1].has_records(ONE).await.unwrap());
}

/// Moves, or copies, the objects below one folder to another one.
async fn transfer(store: &Arc<dyn ObjectStore>, from: &str, to: &str, moves: bool) {
    let folder = object_store::path::Path::from(from);
    let found: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    for meta in found {
        let rest: object_store::path::Path = meta.location.prefix_match(&folder).unwrap().collect();
        store.copy(&meta.location, &object_store::path::Path::from(format!("{to}/{rest}"))).await.unwrap();
        if moves {
            store.delete(&meta.location).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_moved_while_it_waited_is_told_and_loses_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    reserved.keep_files();
    drop(reserved);
    decided.committed.lock().insert(ONE.to_owned());
    transfer(&store, "t", "moved", true).await;
    let moved = "memory://lake/moved";
    for _ in 0..2 {
        let error = lakes[1].table(moved, Freshness::Latest).await.unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::DataCorrupted, "{error}");
        assert!(error.hint().unwrap().contains("move it back"), "{error}");
        assert!(append(&lakes[1], moved, 9..10).await.is_err());
    }
    transfer(&store, "moved", "t", true).await;
    assert_eq!(rows(&lakes[1], PLACES[0]).await, [5, 6, 7]);
    transfer(&store, "t", "moved", true).await;
    assert_eq!(rows(&lakes[1], moved).await, [5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_folder_that_waited_is_told() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    transfer(&store, "t", "copy", false).await;
    decided.committed.lock().insert(ONE.to_owned());
    lakes[0].apply(reserved).await.unwrap();
    let error = lakes[1].table("memory://lake/copy", Freshness::Latest).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::DataCorrupted, "{error}");
    assert!(error.hint().unwrap().contains("copy it again"), "{error}");
    assert_eq!(rows(&lakes[1], PLACES[0]).await, [5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_decided_is_given_up_by_the_next_writer() {
    let (lakes, decided) = servers(Arc::new(InMemory::new())).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    drop(reserved);
    append(&lakes[1], PLACES[0], 2..3).await.unwrap();
    assert!(decided.given_up.lock().contains(ONE), "nobody was asked");
    for lake in &lakes {
        assert_eq!(rows(lake, PLACES[0]).await, [0, 1, 2]);
        assert_eq!(rows(lake, PLACES[1]).await, [0, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_in_one_table_frees_the_other() {
    let (lakes, decided) = servers(Arc::new(InMemory::new())).await;
    let tables = changed(&lakes[0], 5..8).await;
    let other = lakes[1].table(PLACES[1], Freshness::Latest).await.unwrap();
    lakes[1].write(request(WriteMode::Overwrite(other), vec![ints(3..4)])).await.unwrap();
    let error = lakes[0].reserve(ONE, tables, &Operation::new("TRANSACTION")).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::SerializationFailure);
    append(&lakes[1], PLACES[0], 2..3).await.unwrap();
    assert!(decided.given_up.lock().is_empty(), "a writer had to wait");
    assert_eq!(rows(&lakes[0], PLACES[0]).await, [0, 1, 2]);
    assert_eq!(rows(&lakes[0], PLACES[1]).await, [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_the_store_loses_do_no_harm() {
    let faulty = Faulty::new(Arc::new(InMemory::new()));
    let (lakes, decided) = servers(Arc::new(faulty.clone())).await;
    faulty.only_keys_with("_delta_log");
    for (round, rows_of_round) in [(0, 10..12), (1, 20..23), (2, 30..31)] {
        let tables = changed(&lakes[0], rows_of_round.clone()).await;
        faulty.fail_puts_after_effect(1);
        let id = uuid::Uuid::new_v4().to_string();
        let reserved = lakes[0].reserve(&id, tables, &Operation::new("TRANSACTION")).await.unwrap();
        decided.committed.lock().insert(id);
        if round == 1 {
            faulty.fail_puts(1);
        } else {
            faulty.fail_puts_after_effect(1);
        }
        lakes[0].apply(reserved).await.unwrap();
        for place in PLACES {
            assert_eq!(rows(&lakes[1], place).await, rows_of_round.clone().collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_after_the_decision_loses_nothing() {
    let faulty = Faulty::new(Arc::new(InMemory::new()));
    let (lakes, decided) = servers(Arc::new(faulty.clone())).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    decided.committed.lock().insert(ONE.to_owned());
    faulty.only_keys_with("_delta_log");
    faulty.fail_puts(1_000);
    lakes[0].apply(reserved).await.unwrap_err();
    faulty.fail_puts(0);
    for place in PLACES {
        assert_eq!(rows(&lakes[1], place).await, [5, 6, 7]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_spells_the_places_otherwise_completes_it_too() {
    for older in [false, true] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (lakes, decided) = servers(Arc::clone(&store)).await;
        let reserved = reserved(&lakes[0], ONE, 5..8).await;
        let versions: HashMap<String, u64> =
            reserved.places().map(|(place, version)| (place.to_owned(), version + 1)).collect();
        if older {
            forget_places(&store).await;
        }
        decided.committed.lock().insert(ONE.to_owned());
        assert_eq!(rows(&lakes[1], SPELLED[0]).await, [5, 6, 7]);
        append(&lakes[1], SPELLED[1], 9..10).await.unwrap();
        assert_eq!(lakes[0].apply(reserved).await.unwrap().versions, versions);
        for lake in &lakes {
            assert_eq!(rows(lake, PLACES[0]).await, [5, 6, 7]);
            assert_eq!(rows(lake, PLACES[1]).await, [5, 6, 7, 9]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_places_are_applied() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    forget_places(&store).await;
    decided.committed.lock().insert(ONE.to_owned());
    reserved.keep_files();
    drop(reserved);
    for place in PLACES {
        assert_eq!(rows(&lakes[1], place).await, [5, 6, 7]);
    }
}

/// A server that takes an honest reservation for somebody's forgery, as older ones do, or any other program.
#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_somebody_took_away_is_told() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    let version = reserved.places().next().unwrap().1;
    decided.committed.lock().insert(ONE.to_owned());
    forge(&store, version + 1, "").await;
    let written = lakes[0].apply(reserved).await.unwrap();
    assert!(written.lost.len() == 1 && written.lost[0].ends_with(PLACES[0]), "{written:?}");
    assert_eq!(rows(&lakes[1], PLACES[0]).await, [0, 1]);
    assert_eq!(rows(&lakes[1], PLACES[1]).await, [5, 6, 7]);
}

/// A program that ignores the reservation takes away a file that the transaction wants to take away.
#[tokio::test(flavor = "multi_thread")]
async fn another_programs_change_after_the_decision_stays_and_is_told() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let before = lakes[0].table(PLACES[0], Freshness::Latest).await.unwrap();
    let file = before.files[0].name.clone();
    let reserved = reserved(&lakes[0], ONE, 5..8).await;
    decided.committed.lock().insert(ONE.to_owned());
    let commit = format!("{{\"remove\":{{\"path\":\"{file}\",\"deletionTimestamp\":1,\"dataChange\":true}}}}\n");
    let path = object_store::path::Path::from(format!("t/_delta_log/{:020}.json", before.version() + 2));
    store.put(&path, commit.into()).await.unwrap();
    let written = lakes[0].apply(reserved).await.unwrap();
    assert!(written.lost.len() == 1 && written.lost[0].ends_with(PLACES[0]), "{written:?}");
    assert_eq!(rows(&lakes[1], PLACES[0]).await, Vec::<i32>::new());
    assert_eq!(rows(&lakes[1], PLACES[1]).await, [5, 6, 7]);
    append(&lakes[1], PLACES[0], 1..2).await.unwrap();
    assert_eq!(rows(&lakes[0], PLACES[0]).await, [1]);
}

/// A log that somebody else wrote says that its next version is reserved.
async fn forge(store: &Arc<dyn ObjectStore>, version: u64, mark: &str) {
    let path = |version: u64| object_store::path::Path::from(format!("t/_delta_log/{version:020}.json"));
    let first = store.get(&path(0)).await.unwrap().bytes().await.unwrap();
    let line = first.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"{\"metaData\"")).unwrap();
    let mut metadata: serde_json::Value = serde_json::from_slice(line).unwrap();
    metadata["metaData"]["configuration"]["lakegate.pendingTransaction"] = mark.into();
    store.put(&path(version), format!("{metadata}\n").into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_mark_leads_nowhere() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let catalog = object_store::path::Path::from("_lakegate/catalog/1.json");
    store.put(&catalog, "{}".into()).await.unwrap();
    for mark in
        ["../0", "..\\..\\x/0", "%2e%2e/0", &format!("{ONE}/../0"), &format!("{{{ONE}}}/0"), &format!("{ONE}/"), "one"]
    {
        let version = lakes[0].table(PLACES[0], Freshness::Latest).await.unwrap().version();
        forge(&store, version + 1, mark).await;
        append(&lakes[1], PLACES[0], 2..3).await.unwrap();
        let table = lakes[0].table(PLACES[0], Freshness::Latest).await.unwrap();
        assert!(table.pending().is_none(), "{mark}");
    }
    assert!(decided.given_up.lock().is_empty());
    store.get(&catalog).await.unwrap();
}

/// The commit of another table that was recorded by the same transaction is not this one's, and that one does not lose it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_mark_gets_no_other_tables_commit() {
    for older in [false, true] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (lakes, decided) = servers(Arc::clone(&store)).await;
        let mut tables = Vec::new();
        for place in PLACES {
            let private = lakes[0].table(place, Freshness::Latest).await.unwrap().private().unwrap();
            let written = lakes[0].write(request(WriteMode::Append(private), vec![ints(5..8)])).await.unwrap();
            tables.push(written.table.unwrap());
        }
        let reserved = lakes[0].reserve(ONE, tables, &Operation::new("TRANSACTION")).await.unwrap();
        if older {
            forget_places(&store).await;
        }
        decided.committed.lock().insert(ONE.to_owned());
        reserved.keep_files();
        drop(reserved);
        assert_eq!(rows(&lakes[0], PLACES[0]).await, [0, 1, 5, 6, 7]);
        // The log of the first table asks for the commit of the second one, which nobody has met yet.
        let version = lakes[0].table(PLACES[0], Freshness::Latest).await.unwrap().version() + 1;
        forge(&store, version, &format!("{ONE}/1")).await;
        for _ in 0..2 {
            let error = lakes[1].table(PLACES[0], Freshness::Latest).await.unwrap_err();
            assert_eq!(error.sqlstate(), SqlState::DataCorrupted, "{error}");
            assert!(!error.to_string().contains(PLACES[1]), "{error}");
            assert_eq!(rows(&lakes[0], PLACES[1]).await, [0, 1, 5, 6, 7]);
        }
        let next = object_store::path::Path::from(format!("t/_delta_log/{:020}.json", version + 1));
        assert!(matches!(store.head(&next).await, Err(object_store::Error::NotFound { .. })));
    }
}
