//! Connections to other managers: one per address, made when first used, shared by everything that calls out.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::Channel;

/// Addresses that are kept at most. A group has few managers; more than this are addresses that somebody claimed in a
/// join request, and the least used goes first.
pub const ADDRESSES_MAX: usize = 256;

/// A connection that nobody used for so long is closed: its manager has most likely left.
pub const IDLE_MAX: Duration = Duration::from_secs(600);

/// Why there is no connection to an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// It is not `host:port`.
    #[error("{addr:?} is not an address of the form host:port")]
    InvalidAddress {
        /// The address.
        addr: String,
    },
}

/// Makes a connection that connects when it is first used, and again after it broke; each time with the certificate
/// and roots of that moment.
pub trait Dial: Send + Sync + 'static {
    /// A channel to the manager at `addr`, `host:port`. Does no I/O and does not block.
    fn dial(&self, addr: &str) -> Result<Channel, DialError>;
}

struct Entry {
    channel: Channel,
    used: Mutex<Instant>,
}

/// The pool. Cheap to clone; all clones are the same pool.
#[derive(Clone)]
pub struct ChannelPool {
    dial: Arc<dyn Dial>,
    channels: Arc<DashMap<String, Entry>>,
}

impl ChannelPool {
    /// An empty pool. Must be used inside a tokio runtime.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, channels: Arc::default() }
    }

    /// The channel of an address. Does not connect yet.
    pub fn get(&self, addr: &str) -> Result<Channel, DialError> {
        let now = Instant::now();
        if let Some(entry) = self.channels.get(addr) {
            *entry.used.lock() = now;
            return Ok(entry.channel.clone());
        }
        let channel = self.dial.dial(addr)?;
        self.make_room(now);
        let entry = Entry { channel: channel.clone(), used: Mutex::new(now) };
        self.channels.insert(addr.to_owned(), entry);
        Ok(channel)
    }

    /// A channel of its own for something large, which would hold up everything behind it on the shared one.
    pub fn apart(&self, addr: &str) -> Result<Channel, DialError> {
        self.dial.dial(addr)
    }

    /// Forgets the connection of an address: of a manager that has left, or whose connection failed. Calls that are
    /// under way on it go on.
    pub fn forget(&self, addr: &str) {
        self.channels.remove(addr);
    }

    /// How many addresses are kept.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    fn make_room(&self, now: Instant) {
        self.channels.retain(|_, entry| now.duration_since(*entry.used.lock()) < IDLE_MAX);
        if self.channels.len() < ADDRESSES_MAX {
            return;
        }
        let oldest = self
            .channels
            .iter()
            .min_by_key(|entry| *entry.used.lock())
            .map(|entry| entry.key().clone());
        if let Some(oldest) = oldest {
            self.channels.remove(&oldest);
        }
    }
}
