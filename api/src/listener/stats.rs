//! What a listener counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one listener, since it was bound.
#[derive(Debug, Default)]
pub struct ListenerStats {
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    pub(super) handshakes_failed: AtomicU64,
    pub(super) handshakes_timed_out: AtomicU64,
    pub(super) turned_away: AtomicU64,
}

/// [`ListenerStats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Connections that are open, handshakes under way included.
    pub open: u64,
    /// Connections taken.
    pub accepted: u64,
    /// Times that the system gave no connection: out of file descriptors, for one.
    pub accept_errors: u64,
    /// Connections closed because the handshake failed: a foreign or expired certificate, or no TLS at all.
    pub handshakes_failed: u64,
    /// Connections closed because the handshake took too long.
    pub handshakes_timed_out: u64,
    /// Connections closed because too many without a certificate were open.
    pub turned_away: u64,
}

impl ListenerStats {
    /// The counters now.
    pub fn counts(&self) -> ListenerCounts {
        ListenerCounts {
            open: self.open.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            accept_errors: self.accept_errors.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
            handshakes_timed_out: self.handshakes_timed_out.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
        }
    }
}

/// Counts one open connection for as long as it lives.
pub(super) struct OpenGuard(pub(super) std::sync::Arc<ListenerStats>);

impl OpenGuard {
    pub(super) fn new(stats: std::sync::Arc<ListenerStats>) -> Self {
        stats.open.fetch_add(1, Relaxed);
        Self(stats)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
