//! What no single key can tell: keys that need or exclude each other.

use super::Config;
use crate::error::{Error, Result, SqlState};

/// F0000 with the keys' names.
pub(super) fn check(config: &Config) -> Result<()> {
    check_listen(config)?;
    check_tls(config)?;
    check_numbers(config)
}

fn fault(message: impl Into<String>) -> Error {
    Error::new(SqlState::ConfigFileError, message)
}

fn require(holds: bool, message: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(fault(message)) }
}

fn check_listen(config: &Config) -> Result<()> {
    let server = &config.server;
    require(!server.listen.is_empty(), "server.listen names no address")?;
    // Port 0 takes any free port, so equal addresses are no conflict.
    let taken = |address: &std::net::SocketAddr| address.port() != 0 && server.listen.contains(address);
    require(!config.http.listen.as_ref().is_some_and(taken), "http.listen is one of server.listen")?;
    let beyond = server.listen.iter().find(|address| !address.ip().is_loopback());
    match beyond {
        Some(address) if server.tls_certificate.is_none() && !server.allow_insecure_listen => {
            Err(fault(format!("refusing to listen on {address} without TLS"))
                .with_hint("Set server.tls_certificate and server.tls_key, or server.allow_insecure_listen."))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_tls(config: &Config) -> Result<()> {
    let server = &config.server;
    require(
        server.tls_certificate.is_some() == server.tls_key.is_some(),
        "server.tls_certificate and server.tls_key need each other",
    )?;
    require(
        server.tls_client_ca.is_none() || server.tls_certificate.is_some(),
        "server.tls_client_ca needs server.tls_certificate",
    )
}

fn check_numbers(config: &Config) -> Result<()> {
    let (server, memory, query, lake) = (&config.server, &config.memory, &config.query, &config.lake);
    require(server.connections_max > 0, "server.connections_max must be at least 1")?;
    require(
        server.superuser_reserved < server.connections_max,
        "server.superuser_reserved must be less than server.connections_max",
    )?;
    let seconds = server.authentication_timeout.as_secs();
    require((1..=600).contains(&seconds), "server.authentication_timeout must be 1s to 10min")?;
    require(server.message_bytes_max.0 >= 8192, "server.message_bytes_max must be at least 8kB")?;
    require(!server.superuser.is_empty(), "server.superuser is empty")?;
    require(!server.database.is_empty(), "server.database is empty")?;
    require(!config.warehouse.url.is_empty(), "warehouse.url is empty")?;
    require(
        memory.pool_fraction > 0.0 && memory.pool_fraction <= 1.0,
        "memory.pool_fraction must be above 0, at most 1",
    )?;
    require(memory.pool_bytes.is_none_or(|bytes| bytes.0 >= 16 << 20), "memory.pool_bytes must be at least 16MB")?;
    require((1..=1_048_576).contains(&query.batch_rows), "query.batch_rows must be 1 to 1048576")?;
    require(
        query.target_partitions.is_none_or(|partitions| (1..=1024).contains(&partitions)),
        "query.target_partitions must be 1 to 1024",
    )?;
    let limit = u128::from(i32::MAX.unsigned_abs());
    require(query.statement_timeout.as_millis() <= limit, "query.statement_timeout must be at most 2147483647ms")?;
    require((1..=22).contains(&lake.compression_level), "lake.compression_level must be 1 to 22")
}
