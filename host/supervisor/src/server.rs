//! The control socket's side of the process manager.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::events::{Event, Events};
use crate::protocol::{Answer, LONGEST_REQUEST};

/// A connection on which nothing is asked for so long is closed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers whoever connects, until the task is aborted.
pub(crate) fn serve(listener: std::os::unix::net::UnixListener, events: Events) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    Ok(tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let events = events.clone();
                    tokio::task::spawn_local(async move {
                        let _ = converse(stream, events).await;
                    });
                }
                // Out of descriptors, most likely: those that are connected will leave.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }))
}

async fn converse(stream: UnixStream, events: Events) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(256, reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LONGEST_REQUEST);
        let count = tokio::time::timeout(PATIENCE, limited.read_until(b'\n', &mut line))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        if count == 0 || !line.ends_with(b"\n") {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                let _ = events.send(Event::Asked(request, reply));
                // No answer: the process manager is leaving. Closing the connection says so.
                let Ok(answer) = answer.await else { return Ok(()) };
                answer
            }
            Err(_) => Answer::NotUnderstood,
        };
        let mut bytes = serde_json::to_vec(&answer)?;
        bytes.push(b'\n');
        writer.write_all(&bytes).await?;
    }
}
