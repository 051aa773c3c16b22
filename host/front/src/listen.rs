//! The listening sockets, which the front inherits: so connections wait in the kernel, rather than being refused,
//! while one front ends and the next one begins.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::sockopt;

/// The first inherited descriptor, by systemd's protocol for handing sockets over.
const FIRST: RawFd = 3;
/// More than anybody needs; a count above is a mistake.
const MOST: usize = 64;

/// After this long without a word from a client its machine is asked whether it is still there, …
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// … again and again at this interval, …
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// … and after this many questions without an answer the connection is closed.
const PROBES: u32 = 4;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The variables are not there.
    #[error("no listening sockets were handed over: LISTEN_FDS is not set")]
    NotHandedOver,
    /// The variables are there and meant for somebody else.
    #[error("the listening sockets are meant for process {meant}, not for this one: see LISTEN_PID")]
    ForAnother {
        /// The value of LISTEN_PID.
        meant: String,
    },
    /// The count is not one.
    #[error("LISTEN_FDS is {count:?}, not a number from 1 to {MOST}")]
    BadCount {
        /// The value of LISTEN_FDS.
        count: String,
    },
    /// A descriptor is not what it should be.
    #[error("inherited descriptor {descriptor} is not a listening TCP socket")]
    NotListening {
        /// Its number.
        descriptor: RawFd,
        /// What the kernel says, where it says something.
        #[source]
        source: Option<io::Error>,
    },
}

/// Takes over the sockets that whoever started this process handed over: `LISTEN_FDS` of them, from descriptor 3.
/// `LISTEN_PID` is honoured where it is set, and not demanded: not everybody who starts processes can know it.
///
/// # Errors
///
/// Each variant of [`ListenError`].
pub fn inherited() -> Result<Vec<TcpListener>, ListenError> {
    let count = std::env::var("LISTEN_FDS").map_err(|_| ListenError::NotHandedOver)?;
    if let Ok(meant) = std::env::var("LISTEN_PID")
        && meant != std::process::id().to_string()
    {
        return Err(ListenError::ForAnother { meant });
    }
    let count = match count.parse::<usize>() {
        Ok(number @ 1..=MOST) => number,
        _ => return Err(ListenError::BadCount { count }),
    };
    (FIRST..).take(count).map(take).collect()
}

fn take(descriptor: RawFd) -> Result<TcpListener, ListenError> {
    let not_listening = |source: Option<io::Error>| ListenError::NotListening { descriptor, source };
    // A closed descriptor must be found out before it is owned.
    #[expect(
        unsafe_code,
        reason = "a number from outside becomes a descriptor; borrowed only to ask whether it is open"
    )]
    // SAFETY: not -1, and `fcntl_getfd` is defined for numbers that are not open.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_getfd(borrowed).map_err(|error| not_listening(Some(error.into())))?;
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner in this process until here")]
    // SAFETY: it is open, and by the protocol of handing over it belongs to us; `inherited` is called once.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    if !is_tcp_listener(&owned) {
        return Err(not_listening(None));
    }
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC).map_err(|error| not_listening(Some(error.into())))?;
    Ok(TcpListener::from(owned))
}

fn is_tcp_listener(socket: &OwnedFd) -> bool {
    let internet = |domain| domain == rustix::net::AddressFamily::INET || domain == rustix::net::AddressFamily::INET6;
    sockopt::socket_acceptconn(socket).unwrap_or(false)
        && sockopt::socket_type(socket).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM)
        && sockopt::socket_domain(socket).is_ok_and(internet)
}

/// Sets what accepted connections inherit from the listener: small writes go out at once, and clients that vanished
/// are found out.
pub(crate) fn prepare(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let socket = listener.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    Ok(())
}
