//! The engine's cache of Parquet footers, each store's files apart.
//!
//! DataFusion knows a file by its key, its size and its time. Another store may have the same key, and the other two are what a log says:
//! whoever writes one could put his file's footer in the place of another's.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{HashMap, TableReference};
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::execution::cache::{Cache, CacheEntryInfo};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use object_store::path::Path;

/// The cache as far as it is of one store: the store's name stands before each key. What is not about a key is the whole cache's.
struct OfStore {
    all: Arc<FileMetadataCache>,
    name: Path,
}

impl OfStore {
    fn key(&self, path: &Path) -> Path {
        self.name.parts().chain(path.parts()).collect()
    }
}

impl Cache<Path, CachedFileMetadataEntry> for OfStore {
    fn get(&self, key: &Path) -> Option<CachedFileMetadataEntry> {
        self.all.get(&self.key(key))
    }

    fn put(&self, key: &Path, value: CachedFileMetadataEntry) -> Option<CachedFileMetadataEntry> {
        self.all.put(&self.key(key), value)
    }

    fn remove(&self, key: &Path) -> Option<CachedFileMetadataEntry> {
        self.all.remove(&self.key(key))
    }

    fn contains_key(&self, key: &Path) -> bool {
        self.all.contains_key(&self.key(key))
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    fn clear(&self) {
        self.all.clear();
    }

    fn name(&self) -> String {
        self.all.name()
    }

    fn cache_limit(&self) -> usize {
        self.all.cache_limit()
    }

    fn update_cache_limit(&self, limit: usize) {
        self.all.update_cache_limit(limit);
    }

    fn cache_ttl(&self) -> Option<Duration> {
        self.all.cache_ttl()
    }

    fn update_cache_ttl(&self, ttl: Option<Duration>) {
        self.all.update_cache_ttl(ttl);
    }

    fn drop_table_entries(&self, table: &TableReference) -> Result<()> {
        self.all.drop_table_entries(table)
    }

    fn list_entries(&self) -> HashMap<Path, CacheEntryInfo<CachedFileMetadataEntry>> {
        self.all.list_entries()
    }
}

/// The engine's cache for files of one store.
pub(super) fn of_store(runtime: &RuntimeEnv, url: &ObjectStoreUrl) -> Arc<FileMetadataCache> {
    let name = std::iter::once(url.as_str()).collect();
    Arc::new(OfStore { all: runtime.cache_manager.get_file_metadata_cache(), name })
}

/// What opens a store's Parquet files, by way of the cache.
pub(super) fn readers(
    runtime: &RuntimeEnv,
    url: &ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
) -> CachedParquetFileReaderFactory {
    CachedParquetFileReaderFactory::new(store, of_store(runtime, url))
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use datafusion::execution::cache::cache_manager::FileMetadata;
    use object_store::ObjectMeta;

    use super::*;

    struct Nothing;

    impl FileMetadata for Nothing {
        fn as_any(&self) -> &dyn Any {
            self
        }

        fn memory_size(&self) -> usize {
            1
        }

        fn extra_info(&self) -> HashMap<String, String> {
            HashMap::new()
        }
    }

    #[test]
    fn stores_do_not_share_footers() {
        let runtime = RuntimeEnv::default();
        let [lake, public] =
            ["az://lake", "az://public"].map(|url| of_store(&runtime, &ObjectStoreUrl::parse(url).unwrap()));
        let key = Path::from("wh/public/secret/a.parquet");
        let last_modified = chrono::DateTime::UNIX_EPOCH;
        let meta = ObjectMeta { location: key.clone(), last_modified, size: 1, e_tag: None, version: None };
        public.put(&key, CachedFileMetadataEntry::new(meta, Arc::new(Nothing)));
        assert!(public.get(&key).is_some() && public.contains_key(&key));
        assert!(lake.get(&key).is_none() && !lake.contains_key(&key));
        assert!(lake.remove(&key).is_none() && public.remove(&key).is_some());
    }
}
