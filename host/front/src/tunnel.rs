//! Connections that have switched to another protocol, such as WebSocket.

use std::io;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::backend::Lease;

/// How long a client may still keep its side open when the backend has ended: it would count as in flight to a
/// process that has nothing more to do with it.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Passes bytes in both directions until both sides have ended. Counts as in flight until then.
///
/// A client may end its side and go on reading, for as long as the backend likes.
pub(crate) fn start(client: OnUpgrade, backend: OnUpgrade, lease: Lease) {
    tokio::spawn(async move {
        if let Ok((client, backend)) = tokio::try_join!(client, backend) {
            // An error is one side's end; the other side hears of it when both are closed here.
            let _ = pass(TokioIo::new(client), TokioIo::new(backend)).await;
        }
        drop(lease);
    });
}

async fn pass<C, B>(client: C, backend: B) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_backend, mut to_backend) = tokio::io::split(backend);
    let mut up = std::pin::pin!(async {
        tokio::io::copy(&mut from_client, &mut to_backend).await?;
        to_backend.shutdown().await
    });
    let mut down = std::pin::pin!(async {
        tokio::io::copy(&mut from_backend, &mut to_client).await?;
        to_client.shutdown().await
    });
    tokio::select! {
        ended = &mut up => {
            ended?;
            down.await
        }
        ended = &mut down => {
            ended?;
            tokio::time::timeout(CLOSE_LIMIT, up).await?
        }
    }
}
