//! What the connections count: plain atomics that the metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start, but for `connections_open`.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections_open: AtomicU64,
    pub connections_total: AtomicU64,
    /// Connections refused with 53300.
    pub connections_refused: AtomicU64,
    pub authentications_failed: AtomicU64,
    pub tls_handshakes_failed: AtomicU64,
    pub cancel_requests: AtomicU64,
    pub bytes_received: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub messages_received: AtomicU64,
}

impl Counters {
    pub(super) fn received(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn message(&self) {
        self.messages_received.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds one to a counter of events.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
