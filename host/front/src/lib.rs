//! The front: the HTTP reverse proxy of a server, and the only thing that listens on a public port.
//!
//! It runs as a process of its own (`jecloud front --root DIR`), serves HTTP/1.1, HTTP/2 without TLS and upgraded
//! connections, and is told by the route table of each app and environment which process answers what. Its promise
//! is that no request fails because something is deployed, restarted or replaced:
//!
//! * A request that no backend has read yet waits up to five seconds for one that accepts it.
//! * A request that was sent and not answered is sent again where that is safe: it has no body, and doing it twice
//!   equals doing it once.
//! * Requests in flight stay with their backend when the tables are replaced, and are counted exactly, so that the
//!   roll-forward knows when a process may end.
//! * The listening sockets belong to whoever starts the front: while it is replaced, connections wait in the kernel.
//!
//! It does not terminate TLS, cache, compress, or change a path.

mod accept;
mod backend;
mod body;
pub mod client;
mod connect;
mod control;
mod headers;
mod io;
mod listen;
mod load;
mod log;
mod pool;
mod proxy;
mod router;
mod routing;
mod server;
mod tunnel;
mod worker;

use std::path::PathBuf;

use jecloud_model::layout::ServerRoot;

pub use listen::{ListenError, inherited};
pub use server::serve;
pub use worker::Settings;

/// Why the front cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody gave it sockets.
    #[error("the front has nothing to listen on")]
    Listen(#[from] ListenError),
    /// A socket that it was given cannot be used.
    #[error("preparing a listening socket failed")]
    Listener(#[source] std::io::Error),
    /// Its lock (another front runs), its log or its directories.
    #[error("the front cannot use its files")]
    Disk(#[source] jecloud_disk::DiskError),
    /// The control socket.
    #[error("listening on {} failed", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Threads, signals, event queues.
    #[error("starting the front's threads failed")]
    Runtime(#[source] std::io::Error),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The front as a process: serves on these sockets (see [`inherited`]) until SIGTERM or SIGINT, then calls `on_stop`,
/// finishes the requests in flight (30 s at most, or [`Settings::retirement`] where another front has taken its place),
/// and returns.
///
/// # Errors
///
/// [`Error`]; none of them occurs once it serves.
pub fn run(
    root: ServerRoot,
    listeners: Vec<std::net::TcpListener>,
    settings: Settings,
    on_stop: impl FnOnce(),
) -> Result<()> {
    let stop = async {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            // Without handlers the signals end the process at once, which is what is left.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve(&root, listeners, settings, stop, on_stop)
}
