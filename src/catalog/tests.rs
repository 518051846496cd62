use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::error::{Error, SqlState};

fn bootstrap() -> Bootstrap {
    Bootstrap { superuser: "lakegate".to_owned(), database: "lakegate".to_owned(), verifier: None }
}

async fn open(store: &Arc<dyn ObjectStore>) -> Arc<Catalog> {
    Catalog::open(Arc::clone(store), Path::from("_lakegate/catalog"), bootstrap()).await.unwrap()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn add_schema(document: &mut Document, name: &str) -> Result<u32, Error> {
    let oid = document.take_oid();
    let schema = Schema {
        oid,
        owner: BOOTSTRAP_ROLE_OID,
        comment: None,
        relations: Default::default(),
        models: Default::default(),
        temporary: None,
    };
    document.schemas.insert(name.to_owned(), schema);
    Ok(oid)
}

#[tokio::test]
async fn the_first_start_makes_public_and_the_superuser() {
    let catalog = open(&memory()).await;
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.version, 1);
    assert!(snapshot.roles["lakegate"].superuser && snapshot.roles["lakegate"].oid == BOOTSTRAP_ROLE_OID);
    assert_eq!(snapshot.schemas["public"].oid, PUBLIC_SCHEMA_OID);
}

#[tokio::test]
async fn servers_that_start_at_once_share_one_first_version() {
    let store = memory();
    let catalogs = join_all((0..8).map(|_| open(&store))).await;
    let ids: Vec<_> = catalogs.iter().map(|catalog| catalog.snapshot().commit_id.clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_updates_all_land_once_with_their_own_oids() {
    let store = memory();
    let servers = join_all((0..8).map(|_| open(&store))).await;
    let changes = servers.iter().enumerate().map(|(server, catalog)| async move {
        let mut oids = Vec::new();
        for change in 0..5 {
            oids.push(catalog.update(|document| add_schema(document, &format!("s{server}_{change}"))).await.unwrap());
        }
        oids
    });
    let mut oids: Vec<u32> = join_all(changes).await.concat();
    oids.sort_unstable();
    oids.dedup();
    let last = open(&store).await.snapshot();
    assert_eq!((oids.len(), last.schemas.len(), last.version), (40, 41, 41));
}

#[tokio::test]
async fn another_servers_change_is_seen_after_the_staleness() {
    let store = memory();
    let (one, two) = (open(&store).await, open(&store).await);
    one.update(|document| add_schema(document, "x")).await.unwrap();
    assert_eq!(two.fresh(Duration::from_secs(60)).await.unwrap().version, 1);
    assert_eq!(two.fresh(Duration::ZERO).await.unwrap().version, 2);
    assert_eq!(two.snapshot().version, 2);
}

#[tokio::test]
async fn an_error_of_the_change_commits_nothing() {
    let catalog = open(&memory()).await;
    let result = catalog.update(|_| Err::<(), _>(Error::new(SqlState::DuplicateSchema, "no"))).await;
    assert_eq!(result.unwrap_err().sqlstate(), SqlState::DuplicateSchema);
    assert_eq!(catalog.fresh(Duration::ZERO).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_torn_or_newer_version_is_refused() {
    for (text, state) in [("{\"format\":1,", SqlState::IoError), ("{\"format\":99}", SqlState::FeatureNotSupported)] {
        let store = memory();
        let catalog = open(&store).await;
        let path = Path::from("_lakegate/catalog/00000000000000000002.json");
        store.put(&path, text.into()).await.unwrap();
        let open = Catalog::open(Arc::clone(&store), Path::from("_lakegate/catalog"), bootstrap()).await;
        assert_eq!(open.unwrap_err().sqlstate(), state);
        assert_eq!(catalog.fresh(Duration::ZERO).await.unwrap_err().sqlstate(), state);
    }
}

#[tokio::test]
async fn unknown_fields_are_read_over() {
    let store = memory();
    let mut value = serde_json::to_value(&*open(&store).await.snapshot()).unwrap();
    value["version"] = 2.into();
    value["later"] = "x".into();
    let path = Path::from("_lakegate/catalog/00000000000000000002.json");
    store.put(&path, serde_json::to_vec(&value).unwrap().into()).await.unwrap();
    assert_eq!(open(&store).await.snapshot().version, 2);
}

#[test]
fn views_of_earlier_programs_do_not_tell_the_versions_of_their_models() {
    let early: ModelRead = serde_json::from_str(r#"{"name":"m","oid":20000}"#).unwrap();
    assert_eq!(early.version, None);
    for (version, told) in [(ReadVersion::Default(2), r#"{"default":2}"#), (ReadVersion::Named(3), r#"{"named":3}"#)] {
        let read = ModelRead { version: Some(version), ..early.clone() };
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(text, format!(r#"{{"name":"m","oid":20000,"version":{told}}}"#));
        let again: ModelRead = serde_json::from_str(&text).unwrap();
        assert_eq!(again, read);
    }
}

#[tokio::test]
async fn a_put_that_took_effect_but_failed_is_applied_once() {
    let inner = memory();
    let faulty = crate::lake::stores::faulty::Faulty::new(Arc::clone(&inner));
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    let catalog = open(&store).await;
    faulty.fail_puts_after_effect(1);
    catalog.update(|document| add_schema(document, "x")).await.unwrap();
    faulty.fail_puts(2);
    catalog.update(|document| add_schema(document, "y")).await.unwrap();
    let last = open(&inner).await.snapshot();
    assert_eq!((last.version, last.schemas.len()), (3, 3));
}
