//! Sockets as hyper wants them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Up to this many bytes are copied together rather than handed to the kernel as a list: a head with a small body is
/// then one plain `send`, which the kernel does in noticeably less time than `writev`.
const COPIED: usize = 4096;

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Socket(TokioIo<TcpStream>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(TokioIo::new(stream))
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl Read for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [piece] = pieces {
            return self.inner().poll_write(cx, piece);
        }
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > COPIED {
            return self.inner().poll_write_vectored(cx, pieces);
        }
        let mut copy = [0_u8; COPIED];
        let mut end = 0;
        for piece in pieces {
            copy[end..end + piece.len()].copy_from_slice(piece);
            end += piece.len();
        }
        self.inner().poll_write(cx, &copy[..length])
    }
}
