//! The bodies that pass through: nothing is buffered, and the end of each is noticed, however it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::backend::Lease;
use crate::pool::{self, Connection};

/// The body of a request, on its way to a backend.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// There is none: the request can be sent again.
    Empty,
    /// As the client sends it.
    Streaming(Incoming),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(body) => body.size_hint(),
        }
    }
}

/// The body of a response, on its way to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// What the front itself says.
    Own(Full<Bytes>),
    /// As the backend sends it.
    Backend(BackendBody),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Backend(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Backend(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Backend(body) => body.inner.size_hint(),
        }
    }
}

/// A response's body with the connection that it arrives on and the lease of its request.
///
/// When it ends, the connection goes back to its pool; when it is dropped before (the client went away), the
/// connection is closed, which tells the backend. The lease ends with it in both cases.
#[derive(Debug)]
pub(crate) struct BackendBody {
    inner: Incoming,
    rest: Option<(Connection, Lease)>,
}

impl BackendBody {
    pub(crate) fn new(inner: Incoming, connection: Connection, lease: Lease) -> Self {
        Self { inner, rest: Some((connection, lease)) }
    }

    fn finish(&mut self) {
        if let Some((connection, lease)) = self.rest.take() {
            pool::give_back(lease.backend(), lease.worker(), connection);
        }
    }
}

impl Body for BackendBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            None => this.finish(),
            // Not to be used again.
            Some(Err(_)) => this.rest = None,
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for BackendBody {
    fn drop(&mut self) {
        // hyper does not ask a body for its end that it knows from its length.
        if self.inner.is_end_stream() {
            self.finish();
        }
    }
}
