use std::collections::HashMap;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::counted::{Operation, Outcome};
use super::*;

fn stores(warehouse: &str) -> Stores {
    Stores::new(warehouse, HashMap::new()).unwrap()
}

#[test]
fn one_bucket_has_one_store() {
    let stores = stores("memory://one");
    let first = stores.resolve("memory://one/a").unwrap();
    let second = stores.resolve("memory://one/b/c/").unwrap();
    assert!(Arc::ptr_eq(&first.store, &second.store));
    assert_eq!((second.path.as_ref(), second.location.as_str()), ("b/c", "memory://one/b/c"));
    assert!(!Arc::ptr_eq(&first.store, &stores.resolve("memory://two/a").unwrap().store));
}

#[test]
fn a_path_a_relative_path_and_a_file_url_are_the_same_place() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let stores = stores(root);
    let path = stores.resolve(&format!("{root}/x/../t 1")).unwrap();
    let url = stores.resolve(&format!("file://{root}/t%201")).unwrap();
    assert_eq!((path.location, path.path), (url.location, url.path));
    assert!(stores.resolve("some/where").unwrap().location.path().ends_with("/some/where"));
    assert_eq!(stores.in_warehouse("tables/1").unwrap().location.path(), format!("{root}/tables/1"));
}

#[test]
fn a_place_in_the_warehouse_is_found_by_what_is_kept_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for warehouse in ["memory://one/w", folder.path().to_str().unwrap()] {
        let stores = stores(warehouse);
        for name in ["t", "a%20b", "x%2541", "a%252Fb", "a%5Cb", "%252e%252e"] {
            let place = stores.in_warehouse(name).unwrap();
            let kept = stores.portable(place.location.as_str());
            assert!(kept.starts_with(IN_WAREHOUSE), "{kept}");
            assert_eq!(stores.resolve(&kept).unwrap().location, place.location, "{kept}");
        }
    }
}

#[test]
fn what_is_no_location_is_refused() {
    let stores = stores("memory://one");
    for location in ["", "ftp://host/x", "http://[::1", "s3:///nobucket"] {
        assert!(stores.resolve(location).is_err(), "{location}");
    }
}

#[test]
fn datafusion_finds_the_stores_by_url() {
    let stores = stores("memory://one");
    let resolved = stores.resolve("memory://one/a").unwrap();
    let runtime = RuntimeEnv::default();
    stores.register(&runtime);
    assert!(Arc::ptr_eq(&runtime.object_store(&resolved.url).unwrap(), &resolved.store));
}

/// Stores that can be made without a request.
fn cloud_stores() -> Stores {
    let options = [
        ("aws_region", "eu-west-1"),
        ("aws_access_key_id", "k"),
        ("aws_secret_access_key", "s"),
        ("aws_endpoint", "http://127.0.0.1:9"),
        ("allow_http", "true"),
        ("azure_storage_account_name", "a"),
        ("azure_storage_account_key", "aGVsbG8="),
        ("google_skip_signature", "true"),
    ];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Stores::new("memory://one", options.into()).unwrap()
}

#[test]
fn cloud_stores_are_built_from_options_without_a_request() {
    let stores = cloud_stores();
    for (url, bucket, path) in [
        ("s3://bucket/a/b", "s3://bucket/", "a/b"),
        ("gs://bucket/a", "gs://bucket/", "a"),
        ("az://container/a", "az://container/", "a"),
        ("abfss://container@a.dfs.core.windows.net/x/y", "abfss://container@a.dfs.core.windows.net/", "x/y"),
    ] {
        let resolved = stores.resolve(url).unwrap();
        assert_eq!((store_url(&resolved.url).as_str(), resolved.path.as_ref()), (bucket, path));
        assert_eq!(resolved.location.as_str(), url);
    }
}

#[test]
fn containers_of_one_account_have_stores_of_their_own() {
    let stores = cloud_stores();
    let containers = ["lake", "public"].map(|container| {
        let url = format!("abfss://{container}@a.dfs.core.windows.net/x");
        stores.resolve(&url).unwrap()
    });
    let runtime = RuntimeEnv::default();
    stores.register(&runtime);
    for container in &containers {
        assert!(Arc::ptr_eq(&runtime.object_store(&container.url).unwrap(), &container.store), "{}", container.url);
    }
    assert!(stores.resolve("abfss://lake%40a.dfs.core.windows.net/x").is_err());
}

#[tokio::test]
async fn requests_are_counted_by_outcome() {
    let stores = stores("memory://one");
    let at = stores.resolve("memory://one/a").unwrap();
    at.store.put(&at.path, "x".into()).await.unwrap();
    at.store.get(&at.path).await.unwrap();
    at.store.get(&Path::from("none")).await.unwrap_err();
    let counters = stores.counters();
    assert_eq!(counters.get(Operation::Put, Outcome::Ok), 1);
    assert_eq!(counters.get(Operation::Get, Outcome::Ok), 1);
    assert_eq!(counters.get(Operation::Get, Outcome::Missing), 1);
}

#[tokio::test]
async fn listings_through_links_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    for warehouse in ["memory://one/w", folder.path().to_str().unwrap()] {
        let stores = stores(warehouse);
        let at = stores.warehouse().unwrap();
        let listed: Vec<ObjectMeta> = list_linked(&at.store, &at.url, Some(&at.path)).try_collect().await.unwrap();
        assert_eq!(listed.len(), usize::from(at.is_local()));
        assert_eq!(stores.counters().total(Operation::List), 1, "{warehouse}");
    }
}

#[tokio::test]
async fn the_probe_trusts_memory_and_local_disk_only_with_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    for warehouse in ["memory://one", folder.path().to_str().unwrap()] {
        let root = stores(warehouse).warehouse().unwrap();
        probe_put_if_absent(root.store.as_ref(), &root.path).await.unwrap();
    }
    let careless: Arc<dyn ObjectStore> = Arc::new(careless::Careless(InMemory::new()));
    let error = probe_put_if_absent(careless.as_ref(), &Path::from("p")).await.unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::ObjectNotInPrerequisiteState);
}

/// A store that ignores conditions.
mod careless {
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::*;

    #[derive(Debug)]
    pub struct Careless(pub InMemory);

    impl std::fmt::Display for Careless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Careless")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
            self.0.put_opts(location, payload, PutOptions { mode: PutMode::Overwrite, ..opts }).await
        }
        async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(at, opts).await
        }
        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(location, options).await
        }
        fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(locations)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }
}

#[test]
fn spellings_of_a_place_have_one_identity() {
    let stores = Stores::new("memory://lake", HashMap::new()).unwrap();
    let identity = |place: &str| stores.resolve(place).unwrap().identity();
    assert_eq!(identity("memory://lake/a/t/"), identity("memory://lake/a/t"));
    assert_ne!(identity("memory://lake/a/t"), identity("memory://lake/a/T"));
    assert_ne!(identity("memory://lake/a/t"), identity("memory://other/a/t"));
    let options = HashMap::from([("aws_region".to_owned(), "eu-west-1".to_owned())]);
    let stores = Stores::new("s3://lake/w", options).unwrap();
    let identity = |place: &str| stores.resolve(place).unwrap().identity();
    assert_eq!(identity("s3://lake/a b/t"), identity("s3a://lake/a%20b/t"));
    assert_ne!(identity("s3://lake/a/t"), identity("s3://other/a/t"));
}
