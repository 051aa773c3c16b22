//! What wakes the process manager.

use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::protocol::{Answer, Request};

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something that was watched has ended, see [`watch`].
    Ended(Watched),
    /// Somebody asks.
    Asked(Request, oneshot::Sender<Answer>),
}

/// What has ended. The number tells one process from the next of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The process with this start number.
    Process(u64),
    /// The front that was started or found as the so-manieth.
    Front(u64),
    /// The roll-forward.
    Tick,
}

/// Where events go. There is one receiver, and it never waits for whoever sends.
pub(crate) type Events = mpsc::UnboundedSender<Event>;

/// Sends an event when the process behind a pidfd has ended.
pub(crate) fn watch(pidfd: impl AsFd, what: Watched, events: &Events) -> std::io::Result<()> {
    let fd = readable(pidfd.as_fd().try_clone_to_owned()?)?;
    let events = events.clone();
    tokio::task::spawn_local(async move {
        // An error would mean that nobody can tell; looking at the process is right then, too.
        let _ = fd.readable().await;
        let _ = events.send(Event::Ended(what));
    });
    Ok(())
}

/// A descriptor whose readability can be awaited.
pub(crate) fn readable(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    #[expect(unsafe_code, reason = "the event queue keeps the bare number of a descriptor")]
    // SAFETY: an `OwnedFd` names one open descriptor for as long as it lives, and the `AsyncFd` owns it: it is taken out
    // of the queue before it is closed.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    fd.map_err(|error| error.into_parts().1)
}
