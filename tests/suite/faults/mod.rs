//! What may go wrong around a server: kill -9, two servers on one warehouse, shutdown, timeouts, clients that go away or read
//! slowly, too many connections, too little memory.

mod crash;
mod disk;
mod histories;
mod kills;
mod limits;
mod loads;
mod memory;
mod shared;
mod shutdown;
mod upkeep;

use std::time::{Duration, Instant};

use crate::protocol::Connection;

/// A statement that runs for hours and keeps no memory.
pub(crate) const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) g";

/// What is expected at once may take so long on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Sessions that run a statement, but for the one that asks.
pub(crate) const OTHERS_ACTIVE: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";

/// Asks again until the answer is as wanted; what it was when the time is over.
pub(crate) async fn eventually(
    limit: Duration,
    connection: &mut Connection,
    sql: &str,
    wanted: &str,
) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let answer = connection.value(sql).await.unwrap();
        if answer == wanted {
            return Ok(());
        }
        if started.elapsed() > limit {
            return Err(format!("{sql} answers {answer}, not {wanted}, after {limit:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
