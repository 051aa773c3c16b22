//! A process that answers requests, as the front sees it: its address, what is in flight to it, whether it accepts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use jecloud_model::ids::{AppName, EnvironmentName, InstanceId};
use jecloud_model::routes::BackendStatus;

use crate::pool::Pools;

/// After the first refusal a backend is skipped for this long, after each further one for twice as long…
const FIRST_SKIP_MS: u64 = 50;
/// … up to this: a process that was started again is found within 2 s even when nobody asks for a reload.
const LONGEST_SKIP_MS: u64 = 2_000;

/// What makes two entries of two tables the same backend: its pool, its count and its health live on when tables
/// are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BackendKey {
    pub(crate) app: AppName,
    pub(crate) environment: EnvironmentName,
    pub(crate) id: InstanceId,
    pub(crate) address: SocketAddr,
}

/// A count on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

/// One backend.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) key: BackendKey,
    /// Idle connections to it.
    pub(crate) pools: Pools,
    /// By worker, so that cores do not wait for each other's writes.
    in_flight: Box<[Count]>,
    routed: AtomicBool,
    /// Connections refused since the last one that was accepted.
    refusals: AtomicU32,
    /// Milliseconds since `epoch` before which it is skipped.
    skip_until: AtomicU64,
    epoch: Instant,
}

impl Backend {
    pub(crate) fn new(key: BackendKey, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            key,
            pools: Pools::new(workers),
            in_flight: (0..workers).map(|_| Count::default()).collect(),
            routed: AtomicBool::new(true),
            refusals: AtomicU32::new(0),
            skip_until: AtomicU64::new(0),
            epoch: Instant::now(),
        })
    }

    /// Requests and upgraded connections that are not complete. Exact for a backend without a route, where no worker's
    /// count can grow; for others it is what the workers' counts were within one short moment.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.iter().map(|count| count.0.load(Ordering::SeqCst)).sum()
    }

    /// Whether new requests may go to it.
    pub(crate) fn is_routed(&self) -> bool {
        self.routed.load(Ordering::SeqCst)
    }

    /// Routed backends keep connections for the next request; the others lose theirs at once.
    pub(crate) fn set_routed(&self, routed: bool) {
        self.routed.store(routed, Ordering::SeqCst);
        self.pools.set_open(routed);
    }

    /// Whether it refused connections a short time ago.
    pub(crate) fn is_skipped(&self) -> bool {
        let until = self.skip_until.load(Ordering::Relaxed);
        until != 0 && self.now_ms() < until
    }

    /// It could not be connected to, or closed the connection before it had read a request. Answers whether this is
    /// the first time since it was last able: what is worth a line in the log.
    pub(crate) fn refused(&self) -> bool {
        let before = self.refusals.fetch_add(1, Ordering::Relaxed);
        let skip = (FIRST_SKIP_MS << before.min(16)).min(LONGEST_SKIP_MS);
        self.skip_until.store(self.now_ms() + skip, Ordering::Relaxed);
        before == 0
    }

    /// It accepted a connection. Answers whether it had refused before.
    pub(crate) fn accepted(&self) -> bool {
        // Read first: a write per request would move the cache line between the cores.
        if self.refusals.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.skip_until.store(0, Ordering::Relaxed);
        self.refusals.swap(0, Ordering::Relaxed) != 0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn status(&self) -> BackendStatus {
        BackendStatus {
            app: self.key.app.clone(),
            environment: self.key.environment.clone(),
            id: self.key.id.clone(),
            address: self.key.address,
            routed: self.is_routed(),
            in_flight: self.in_flight(),
        }
    }
}

/// One request (or upgraded connection) in flight. Counted while it exists, however it ends.
#[derive(Debug)]
pub(crate) struct Lease {
    backend: Arc<Backend>,
    worker: usize,
}

impl Lease {
    /// Only the router calls this, under its lock: see there why.
    pub(crate) fn new(backend: Arc<Backend>, worker: usize) -> Self {
        backend.in_flight[worker].0.fetch_add(1, Ordering::SeqCst);
        Self { backend, worker }
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Whose request it is.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.in_flight[self.worker].0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Arc<Backend> {
        let key = BackendKey {
            app: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
            id: "web.1@1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
        };
        Backend::new(key, 1)
    }

    // Fails without: the doubling (the last skip is as short as the first), the upper limit (the shift overflows),
    // the reset in `accepted`.
    #[test]
    fn a_backend_that_refuses_is_skipped_for_longer_and_longer() {
        let backend = backend();
        assert!(!backend.is_skipped());
        assert!(backend.refused());
        assert!(backend.is_skipped());
        let first = backend.skip_until.load(Ordering::Relaxed) - backend.now_ms();
        for _ in 0..100 {
            assert!(!backend.refused());
        }
        let last = backend.skip_until.load(Ordering::Relaxed) - backend.now_ms();
        assert!(first <= FIRST_SKIP_MS && last > LONGEST_SKIP_MS / 2 && last <= LONGEST_SKIP_MS, "{first} {last}");
        assert!(backend.accepted());
        assert!(!backend.accepted());
        assert!(!backend.is_skipped());
    }
}
