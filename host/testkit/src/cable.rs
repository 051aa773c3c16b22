//! A TCP connection that a test can cut: a proxy on loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a direction that is held up looks whether it goes on.
const GLANCE: Duration = Duration::from_millis(5);

/// A proxy in front of a server. Each connection through it can be cut after so many bytes, or held up.
pub struct Cable {
    port: u16,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    /// Connections break after so many bytes to the server.
    limit_up: AtomicU64,
    /// Connections break after so many bytes from the server.
    limit_down: AtomicU64,
    /// Nothing moves, and nobody is told.
    frozen: AtomicBool,
    over: AtomicBool,
    carried_up: AtomicU64,
    carried_down: AtomicU64,
    accepted: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Cable {
    /// A cable to a server on this machine.
    pub fn to(server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State {
            server: SocketAddr::from(([127, 0, 0, 1], server_port)),
            limit_up: AtomicU64::new(u64::MAX),
            limit_down: AtomicU64::new(u64::MAX),
            frozen: AtomicBool::new(false),
            over: AtomicBool::new(false),
            carried_up: AtomicU64::new(0),
            carried_down: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || accept(&listener, &shared));
        Self { port, state }
    }

    /// Its near end.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections made from now on break after so many bytes to the server.
    pub fn break_after_sending(&self, bytes: u64) {
        self.state.limit_up.store(bytes, Ordering::SeqCst);
    }

    /// Connections made from now on break after so many bytes from the server.
    pub fn break_after_receiving(&self, bytes: u64) {
        self.state.limit_down.store(bytes, Ordering::SeqCst);
    }

    /// Connections made from now on last.
    pub fn mend(&self) {
        self.break_after_sending(u64::MAX);
        self.break_after_receiving(u64::MAX);
        self.state.frozen.store(false, Ordering::SeqCst);
    }

    /// Nothing moves any more, and neither end is told: as when a router dies.
    pub fn freeze(&self) {
        self.state.frozen.store(true, Ordering::SeqCst);
    }

    /// Breaks all connections that there are.
    pub fn cut(&self) {
        for stream in self.state.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// So many bytes went to the server, over all connections.
    pub fn sent(&self) -> u64 {
        self.state.carried_up.load(Ordering::SeqCst)
    }

    /// So many bytes came from the server, over all connections.
    pub fn received(&self) -> u64 {
        self.state.carried_down.load(Ordering::SeqCst)
    }

    /// So many connections were made.
    pub fn connections(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.cut();
        // The one who accepts wakes up and sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for near in listener.incoming().map_while(Result::ok) {
        if state.over.load(Ordering::SeqCst) {
            return;
        }
        state.accepted.fetch_add(1, Ordering::SeqCst);
        // Whoever connects while the server is away sees the connection end.
        let Ok(far) = TcpStream::connect(state.server) else { continue };
        let ends = [near.try_clone(), far.try_clone(), near.try_clone(), far.try_clone()];
        let [Ok(near_kept), Ok(far_kept), Ok(near_read), Ok(far_read)] = ends else { continue };
        state.open.lock().unwrap_or_else(PoisonError::into_inner).extend([near_kept, far_kept]);
        let (up, down) = (state.limit_up.load(Ordering::SeqCst), state.limit_down.load(Ordering::SeqCst));
        let (shared, other) = (Arc::clone(state), Arc::clone(state));
        std::thread::spawn(move || carry(near_read, far, up, &shared, true));
        std::thread::spawn(move || carry(far_read, near, down, &other, false));
    }
}

/// Carries bytes in one direction until it ends, or until so many were carried.
fn carry(mut from: TcpStream, mut to: TcpStream, limit: u64, state: &State, up: bool) {
    let mut left = limit;
    let mut buffer = [0; 16 << 10];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(count @ 1..) = from.read(&mut buffer[..most]) else { break };
        while state.frozen.load(Ordering::SeqCst) && !state.over.load(Ordering::SeqCst) {
            glance();
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count as u64;
        let carried = if up { &state.carried_up } else { &state.carried_down };
        carried.fetch_add(count as u64, Ordering::SeqCst);
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[expect(clippy::disallowed_methods, reason = "a direction that is held up waits until it goes on")]
fn glance() {
    std::thread::sleep(GLANCE);
}
