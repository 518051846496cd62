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
}

/// A transaction's id.
const ONE: &str = "0193a000-0000-7000-8000-000000000001";
const PLACES: [&str; 2] = ["memory://lake/t", "memory://lake/u"];

/// Two servers of one warehouse with two tables of rows 0 and 1.
async fn servers(store: Arc<dyn ObjectStore>) -> ([Arc<Lake>; 2], Arc<Decided>) {
    let decided = Arc::new(Decided::default());
    let lakes = [0, 1].map(|_| {
        let stores = Stores::new("memory://lake", HashMap::new()).unwrap();
        stores.insert("memory://lake/", Arc::clone(&store));
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
    let error = lakes[0].apply(reserved).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::SerializationFailure);
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

/// The commit of another table that was recorded by the same transaction is not this one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_mark_gets_no_other_tables_commit() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (lakes, decided) = servers(Arc::clone(&store)).await;
    let mut tables = Vec::new();
    for place in PLACES {
        let private = lakes[0].table(place, Freshness::Latest).await.unwrap().private().unwrap();
        let written = lakes[0].write(request(WriteMode::Append(private), vec![ints(5..8)])).await.unwrap();
        tables.push(written.table.unwrap());
    }
    let reserved = lakes[0].reserve(ONE, tables, &Operation::new("TRANSACTION")).await.unwrap();
    decided.committed.lock().insert(ONE.to_owned());
    reserved.keep_files();
    drop(reserved);
    assert_eq!(rows(&lakes[0], PLACES[0]).await, [0, 1, 5, 6, 7]);
    // The log of the first table asks for the commit of the second one, which nobody has met yet.
    forge(&store, lakes[0].table(PLACES[0], Freshness::Latest).await.unwrap().version() + 1, &format!("{ONE}/1")).await;
    assert_eq!(rows(&lakes[1], PLACES[0]).await, [0, 1, 5, 6, 7]);
    append(&lakes[1], PLACES[0], 2..3).await.unwrap();
    assert_eq!(rows(&lakes[0], PLACES[0]).await, [0, 1, 2, 5, 6, 7]);
    assert_eq!(rows(&lakes[0], PLACES[1]).await, [0, 1, 5, 6, 7]);
}
