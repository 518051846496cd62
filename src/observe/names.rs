//! The one list of metric names.

/// A metric's name and what it says.
pub(super) type Named = (&'static str, &'static str);

pub(super) const STATEMENTS: Named = ("lakegate_statements_total", "Statements that ended, by kind and SQLSTATE.");
pub(super) const STATEMENT_SECONDS: Named = ("lakegate_statement_seconds", "Time from a statement's start to its end.");
pub(super) const ROWS_SENT: Named = ("lakegate_rows_sent_total", "Rows of results sent to clients.");
pub(super) const COPY_ROWS: Named = ("lakegate_copy_rows_total", "Rows read and written by COPY.");
pub(super) const EXPECTATION_CHECKS: Named =
    ("lakegate_expectation_checks_total", "Checks of expectations, by table, rule and status.");
pub(super) const EXPECTATION_ROWS_CHECKED: Named =
    ("lakegate_expectation_rows_checked_total", "Rows that expectations were asked of, by table and rule.");
pub(super) const EXPECTATION_ROWS_FAILED: Named =
    ("lakegate_expectation_rows_failed_total", "Rows that broke expectations, by table and rule.");
pub(super) const STORE_REQUESTS: Named =
    ("lakegate_store_requests_total", "Requests to object stores, by operation and outcome.");
pub(super) const UPTIME: Named = ("lakegate_uptime_seconds", "Time since the server started.");
pub(super) const BUILD: Named = ("lakegate_build_info", "The running version; always 1.");

macro_rules! sources {
    ($($name:ident = $kind:ident $metric:literal, $help:literal;)*) => {
        /// Figures that other parts of the server keep and that are asked for at each scrape.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Source { $(#[doc = $help] $name,)* }

        impl Source {
            pub(super) const fn named(self) -> Named {
                match self { $(Self::$name => ($metric, $help),)* }
            }

            pub(super) const fn kind(self) -> SourceKind {
                match self { $(Self::$name => SourceKind::$kind,)* }
            }

            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceKind {
    Counter,
    Gauge,
}

sources! {
    ConnectionsOpen = Gauge "lakegate_connections_open", "Clients that are connected.";
    ConnectionsTotal = Counter "lakegate_connections_total", "Connections accepted since the start.";
    ConnectionsRejected = Counter "lakegate_connections_rejected_total", "Connections refused because there were too many.";
    AuthenticationsFailed = Counter "lakegate_authentications_failed_total", "Clients that did not authenticate.";
    TlsHandshakesFailed = Counter "lakegate_tls_handshakes_failed_total", "TLS handshakes that failed.";
    CancelRequests = Counter "lakegate_cancel_requests_total", "Cancel requests received.";
    BytesReceived = Counter "lakegate_bytes_received_total", "Bytes of messages received from clients.";
    BytesSent = Counter "lakegate_bytes_sent_total", "Bytes of messages sent to clients.";
    MessagesReceived = Counter "lakegate_messages_received_total", "Messages received from clients.";
    MemoryPoolReserved = Gauge "lakegate_memory_pool_reserved_bytes", "Memory that statements hold in the pool.";
    MemoryPoolLimit = Gauge "lakegate_memory_pool_limit_bytes", "Memory that statements may hold in the pool.";
    TableCacheHits = Counter "lakegate_table_cache_hits_total", "Tables that were found loaded.";
    TableCacheMisses = Counter "lakegate_table_cache_misses_total", "Tables that had to be loaded.";
    TableCacheEntries = Gauge "lakegate_table_cache_entries", "Tables that are kept loaded.";
    SpilledBytes = Gauge "lakegate_spilled_bytes", "Bytes of spilled data on disk.";
}
