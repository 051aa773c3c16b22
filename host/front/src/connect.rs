//! New connections to backends.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use tokio::net::TcpStream;

use crate::backend::Backend;
use crate::io::Socket;
use crate::pool::Connection;

/// A backend that has not accepted after this long is taken for one that refuses. (A full backlog drops the
/// handshake, and the kernel repeats it after one second.)
const CONNECT_LIMIT: Duration = Duration::from_millis(2_500);

/// Header fields in a response; hyper's own limit of 100 is meant for servers.
const MOST_HEADERS: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The kernel said no.
    #[error("connecting failed")]
    Io(#[source] io::Error),
    /// Nobody answered.
    #[error("connecting took longer than {0:?}")]
    Slow(Duration),
    /// The driver could not be set up.
    #[error("preparing the connection failed")]
    Handshake(#[source] hyper::Error),
}

/// Connects, and starts the task that drives the connection, on this thread's runtime.
pub(crate) async fn connect(backend: &Arc<Backend>, limit: Duration) -> Result<Connection, ConnectError> {
    let limit = limit.min(CONNECT_LIMIT);
    let stream = tokio::time::timeout(limit, TcpStream::connect(backend.key.address))
        .await
        .map_err(|_| ConnectError::Slow(limit))?
        .map_err(ConnectError::Io)?;
    if is_connected_to_itself(&stream) {
        return Err(ConnectError::Io(io::ErrorKind::ConnectionRefused.into()));
    }
    stream.set_nodelay(true).map_err(ConnectError::Io)?;
    let probe = stream.as_fd().try_clone_to_owned().map_err(ConnectError::Io)?;
    let (sender, driver) = http1::Builder::new()
        .max_headers(MOST_HEADERS)
        .handshake(Socket::new(stream))
        .await
        .map_err(ConnectError::Handshake)?;
    tokio::spawn(async move {
        // Whoever waits for the response hears of errors.
        let _ = driver.with_upgrades().await;
    });
    Ok(Connection::new(sender, probe))
}

/// A connection to a local port that nobody listens on can meet itself, when the kernel picks that very port for
/// this end. It would also keep the port from the process that is about to listen on it.
fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}
