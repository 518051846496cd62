//! A race that shows whether a store's put-if-absent can be trusted.

use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::error::{Error, Result, SqlState};

const RACERS: usize = 8;

/// Lets several writers put one new key at once: exactly one may win. The key is removed afterwards.
///
/// # Errors
/// 55000 with a hint when the store lets more than one win, or none; the store's own error when it cannot be written to.
pub async fn probe_put_if_absent(store: &dyn ObjectStore, prefix: &Path) -> Result<()> {
    let key = prefix.clone().join(format!("probe-{}", uuid::Uuid::new_v4()));
    let race = (0..RACERS).map(|racer| {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let key = &key;
        async move { store.put_opts(key, racer.to_string().into_bytes().into(), options).await }
    });
    let results = join_all(race).await;
    let after = store.get(&key).await;
    if let Err(error) = store.delete(&key).await {
        tracing::debug!(%key, %error, "could not remove the probe of put-if-absent");
    }
    let winners = results.iter().filter(|result| result.is_ok()).count();
    if winners == 1 && after.is_ok() {
        return Ok(());
    }
    if winners == 0 {
        for result in results {
            match result {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(untrusted(winners))
}

fn untrusted(winners: usize) -> Error {
    Error::new(SqlState::ObjectNotInPrerequisiteState, "the object store does not support conditional writes")
        .with_detail(format!(
            "{RACERS} writers raced to create one object and {winners} of them were told that they won."
        ))
        .with_hint("Use a store that honours If-None-Match; without it, concurrent commits would destroy tables.")
}
