//! What delta-rs' scan of a table may open: files of the table's own store that the log may name.
//!
//! delta-rs looks for the store of a file, or of its deletion vector, by a URL without what stands before the host. On Azure that is the
//! container: several would be one, and files would be opened in whichever is there. So its session knows one store alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::datasource::physical_plan::{FileGroup, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use deltalake::delta_datafusion::engine::AsObjectStoreUrl;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::{Position, Url};

use crate::error::Error;
use crate::lake::footers;
use crate::lake::stores::bounds::{self, Allowed};
use crate::lake::stores::renamed::RenamedStore;
use crate::lake::table::Table;
use crate::lake::vectors;

/// A registry of one store.
#[derive(Debug)]
struct OneStore {
    url: Url,
    store: Arc<dyn ObjectStore>,
}

impl ObjectStoreRegistry for OneStore {
    /// Nothing is added.
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url[..Position::BeforePath] == self.url[..Position::BeforePath] {
            return Ok(Arc::clone(&self.store));
        }
        Err(Error::unsupported("a file in another store than its table").into_datafusion())
    }
}

/// The table's store for delta-rs' scan. Of URLs that are not a disk's the kernel opens a deletion vector under the key that the URL's
/// path would have as a name, encoded once more: there it finds what the URL means, and nothing else.
fn store_of(table: &Table) -> Arc<dyn ObjectStore> {
    let location = &table.location;
    let store = Arc::clone(&location.store);
    if location.is_local() {
        return store;
    }
    let vectors = table.files.iter().filter_map(|file| file.vector.as_ref());
    let keys: HashMap<Path, Path> = vectors.filter_map(|vector| vectors::misread(location, vector)).collect();
    if keys.is_empty() { store } else { Arc::new(RenamedStore::new(store, keys)) }
}

/// The session for delta-rs' scan of the table.
pub(super) fn session(state: &SessionState, table: &Table) -> Result<SessionState> {
    let location = &table.location;
    let known_as = location.location.as_object_store_url();
    let engine = state.runtime_env();
    // When the plan runs, the engine is asked for a store of that name, and the files are read from the one here. Under a name that
    // several containers have there is an empty one: a plan that reads from it finds nothing.
    let named: Arc<dyn ObjectStore> =
        if known_as == location.url { Arc::clone(&location.store) } else { Arc::new(InMemory::new()) };
    engine.register_object_store(known_as.as_ref(), named);
    let url: &Url = known_as.as_ref();
    let one = OneStore { url: url.clone(), store: store_of(table) };
    let mut runtime = RuntimeEnvBuilder::from_runtime_env(engine).with_object_store_registry(Arc::new(one));
    runtime.cache_manager.file_metadata_cache = Some(footers::of_store(engine, &location.url));
    let runtime = runtime.build_arc()?;
    Ok(SessionStateBuilder::new_from_existing(state.clone()).with_runtime_env(runtime).build())
}

/// Refuses a plan that would open what the log may not name. Should delta-rs read the log once more, it may be another one by then:
/// files that the table does not know are looked at here. Deletion vectors have been read by now, of the files that the table knows.
///
/// # Errors
/// 42501.
pub(super) fn check_places(plan: &Arc<dyn ExecutionPlan>, table: &Table) -> Result<()> {
    let location = &table.location;
    let mut outside = Vec::new();
    find_outside(plan, &location.path, &mut outside);
    if outside.is_empty() {
        return Ok(());
    }
    let stray = table.files.iter().filter(|file| file.strays);
    let checked: HashSet<Path> = stray.flat_map(|file| bounds::keys(location, &file.name)).collect();
    let mut allowed = Allowed::default();
    outside.iter().filter(|key| !checked.contains(*key)).try_for_each(|key| {
        let mut url = location.location.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(key.parts());
        }
        location.bounds.check_file(location, &url, &mut allowed).map_err(Error::into_datafusion)
    })
}

/// The keys of files that the plan opens outside of the folder.
fn find_outside(plan: &Arc<dyn ExecutionPlan>, folder: &Path, outside: &mut Vec<Path>) {
    let scan = plan.downcast_ref::<DataSourceExec>().and_then(DataSourceExec::downcast_to_file_source::<ParquetSource>);
    if let Some((config, _)) = scan {
        let keys = config.file_groups.iter().flat_map(FileGroup::iter).map(|file| &file.object_meta.location);
        outside.extend(keys.filter(|key| !key.prefix_matches(folder)).cloned());
    }
    for child in plan.children() {
        find_outside(child, folder, outside);
    }
}
