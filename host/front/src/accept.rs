//! Accepting connections, and sharing them out among the workers.
//!
//! Every worker accepts for itself, so that a connection normally never leaves the thread that the kernel woke for
//! it. A worker that has clearly more connections than another one hands what it accepts over to that one.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::worker::{Accepted, Worker};

/// How many connections more than the one with the fewest a worker may have and still keep what it accepts.
const SLACK: usize = 4;

/// After the kernel ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// A worker, as the others see it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) worker: Arc<Worker>,
    pub(crate) sender: mpsc::UnboundedSender<Accepted>,
}

/// Makes a listener known to this thread's runtime.
pub(crate) fn register(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    #[expect(unsafe_code, reason = "the type cannot promise to keep its descriptor; a TcpListener does")]
    // SAFETY: a TcpListener owns one descriptor, the same one until it is dropped.
    let listener = unsafe { AsyncFd::register(listener) }?;
    Ok(listener)
}

/// Accepts for ever. `serve` is for the connections that stay with this worker.
pub(crate) async fn accept(
    listener: AsyncFd<TcpListener>,
    worker: Arc<Worker>,
    peers: Arc<[Peer]>,
    serve: impl Fn(Accepted),
) {
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        match ready.try_io(|listener| Ok(accept_one(listener.get_ref())?)) {
            Ok(Ok(Some((stream, peer)))) => {
                let idlest = peers.iter().min_by_key(|peer| peer.worker.connections());
                match idlest {
                    Some(other) if other.worker.connections() + SLACK < worker.connections() => {
                        let _ = other.sender.send(other.worker.admit(stream, peer));
                    }
                    _ => serve(worker.admit(stream, peer)),
                }
            }
            // Nothing there any more: another worker was faster.
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                worker.log.line(&format!("accepting a connection failed: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// None for a connection that was gone before it was accepted.
fn accept_one(listener: &TcpListener) -> rustix::io::Result<Option<(TcpStream, SocketAddr)>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::acceptfrom_with(listener, flags) {
        Ok((stream, peer)) => {
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            Ok(peer.map(|peer| (TcpStream::from(stream), peer)))
        }
        Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => Ok(None),
        Err(error) => Err(error),
    }
}
