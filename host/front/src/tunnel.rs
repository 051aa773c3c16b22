//! Connections that have switched to another protocol, such as WebSocket.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::backend::Lease;

/// Passes bytes in both directions until both sides have ended. Counts as in flight until then.
pub(crate) fn start(client: OnUpgrade, backend: OnUpgrade, lease: Lease) {
    tokio::spawn(async move {
        if let Ok((client, backend)) = tokio::try_join!(client, backend) {
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            // An error is one side's end; the other side hears of it when both are closed here.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
        }
        drop(lease);
    });
}
