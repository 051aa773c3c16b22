//! Idle connections to a backend, kept for the next request.
//!
//! Each worker has its own pool of each backend, so that a connection, the task that drives it and the requests that
//! use it stay on one thread. The lock around a pool is taken by that worker, and by whoever replaces the tables.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use rustix::net::RecvFlags;

use crate::backend::Backend;
use crate::body::RequestBody;

/// How long a connection may be idle and still be used. Servers close idle connections after a time of their own
/// (5 s is common), and a request that is sent at that moment is lost; 2 s stays well below.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// How often a worker looks for connections past [`IDLE_LIMIT`], while it has any.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Idle connections kept per backend and worker. More than this many requests at once are possible; their
/// connections are closed afterwards.
const LARGEST_POOL: usize = 512;

/// A connection to a backend that speaks HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    /// A second descriptor of the same socket, to look at what has arrived without disturbing the driver.
    probe: OwnedFd,
}

impl Connection {
    pub(crate) fn new(sender: SendRequest<RequestBody>, probe: OwnedFd) -> Self {
        Self { sender, probe }
    }

    /// Whether the backend has closed it (or said something unasked), by the kernel's word, which the driver may
    /// not have heard yet.
    fn has_ended(&self) -> bool {
        let mut byte = [0_u8; 1];
        let looked = rustix::net::recv(&self.probe, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(looked, Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR))
    }
}

/// The pools of one backend: one for each worker.
#[derive(Debug)]
pub(crate) struct Pools(Box<[Mutex<Pool>]>);

#[derive(Debug)]
struct Pool {
    /// The most recently used last.
    idle: Vec<(Connection, Instant)>,
    /// Only a routed backend keeps connections.
    open: bool,
    /// Whether a task is there to remove old ones.
    swept: bool,
}

impl Pools {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::new(Pool { idle: Vec::new(), open: true, swept: false })).collect())
    }

    /// Closed pools lose their connections at once and accept no more.
    pub(crate) fn set_open(&self, open: bool) {
        for worker in 0..self.0.len() {
            let mut pool = self.lock(worker);
            pool.open = open;
            if !open {
                pool.idle.clear();
            }
        }
    }

    /// The most recently used connection of this worker that is still good. `sure`: ask the kernel, because the
    /// request that will be sent can not be sent a second time.
    pub(crate) fn take(&self, worker: usize, sure: bool) -> Option<Connection> {
        let mut pool = self.lock(worker);
        while let Some((connection, since)) = pool.idle.pop() {
            if connection.sender.is_ready() && since.elapsed() < IDLE_LIMIT && !(sure && connection.has_ended()) {
                return Some(connection);
            }
        }
        None
    }

    /// Forgets all connections of this worker: the process that had accepted them is gone.
    pub(crate) fn clear(&self, worker: usize) {
        self.lock(worker).idle.clear();
    }

    /// Whether a sweeper has to be started.
    fn put(&self, worker: usize, connection: Connection) -> bool {
        let mut pool = self.lock(worker);
        if !pool.open || pool.idle.len() >= LARGEST_POOL {
            return false;
        }
        pool.idle.push((connection, Instant::now()));
        !std::mem::replace(&mut pool.swept, true)
    }

    /// Removes old connections. Answers whether to come again.
    fn sweep(&self, worker: usize) -> bool {
        let mut pool = self.lock(worker);
        pool.idle.retain(|(connection, since)| since.elapsed() < IDLE_LIMIT && !connection.sender.is_closed());
        pool.swept = !pool.idle.is_empty();
        if !pool.swept {
            pool.idle = Vec::new();
        }
        pool.swept
    }

    fn lock(&self, worker: usize) -> MutexGuard<'_, Pool> {
        self.0[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection whose response is complete. Must be called on the worker's own runtime.
pub(crate) fn give_back(backend: &Arc<Backend>, worker: usize, mut connection: Connection) {
    if connection.sender.is_closed() {
        return;
    }
    if connection.sender.is_ready() {
        store(backend, worker, connection);
        return;
    }
    // The driver has yet to notice the end of the response, or is still sending the request.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let backend = Arc::downgrade(backend);
    runtime.spawn(async move {
        if connection.sender.ready().await.is_ok()
            && let Some(backend) = backend.upgrade()
        {
            store(&backend, worker, connection);
        }
    });
}

fn store(backend: &Arc<Backend>, worker: usize, connection: Connection) {
    if backend.pools.put(worker, connection)
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        let backend: Weak<Backend> = Arc::downgrade(backend);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(backend) = backend.upgrade() else { return };
                if !backend.pools.sweep(worker) {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::backend::BackendKey;
    use crate::connect::connect;

    /// A backend with one idle connection, and the backend's end of it.
    async fn pooled() -> (Arc<Backend>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = BackendKey {
            app: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
            id: "web.1@1".parse().unwrap(),
            address: listener.local_addr().unwrap(),
        };
        let backend = Backend::new(key, 1);
        let mut connection = connect(&backend, Duration::from_secs(5)).await.unwrap();
        connection.sender.ready().await.unwrap();
        give_back(&backend, 0, connection);
        (backend, listener.accept().unwrap().0)
    }

    // The driver cannot have noticed the end: it shares the thread with this test, which does not yield.
    //
    // Fails without: `has_ended` in `take`.
    #[tokio::test]
    async fn a_connection_that_has_ended_is_not_used_for_what_cannot_be_repeated() {
        let (backend, end) = pooled().await;
        drop(end);
        assert!(backend.pools.take(0, true).is_none());
        let (backend, end) = pooled().await;
        drop(end);
        assert!(backend.pools.take(0, false).is_some(), "the driver has noticed: this test proves nothing");
        let (backend, _end) = pooled().await;
        assert!(backend.pools.take(0, true).is_some());
        assert!(backend.pools.take(0, true).is_none());
    }

    // Fails without: `set_open` in `Backend::set_routed` (the connection is still there), `open` in `put` (it comes
    // back after the end).
    #[tokio::test]
    async fn a_backend_without_a_route_keeps_no_connection() {
        let (backend, mut end) = pooled().await;
        backend.set_routed(false);
        assert!(backend.pools.take(0, false).is_none());
        let read = tokio::task::spawn_blocking(move || end.read(&mut [0; 1]));
        assert_eq!(read.await.unwrap().unwrap(), 0);
        let (backend, mut end) = pooled().await;
        let in_use = backend.pools.take(0, false).unwrap();
        backend.set_routed(false);
        give_back(&backend, 0, in_use);
        assert!(backend.pools.take(0, false).is_none());
        let read = tokio::task::spawn_blocking(move || end.read(&mut [0; 1]));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}
