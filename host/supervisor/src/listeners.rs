//! The sockets at which clients of the front arrive.
//!
//! The process manager keeps them open whatever happens to the front, so that clients wait instead of being refused.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::{Errno, FdFlags};
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

/// The number of the first socket that is handed over, by the protocol of socket activation.
pub(crate) const FIRST: RawFd = 3;

/// The variable that says how many sockets are handed over, by the same protocol. `LISTEN_PID` is not set: nobody knows
/// the number of a process that is still to be started.
pub(crate) const VARIABLE: &str = "LISTEN_FDS";

/// More are not handed over.
const MOST: usize = 64;

/// Clients that wait to be accepted. The kernel lowers it to `net.core.somaxconn`, 4096 by default.
const BACKLOG: i32 = 4096;

/// The ports that are tried one after the other where nothing else is wished: the usual one for a web server without
/// rights, and the hundred after it.
const PORTS: std::ops::RangeInclusive<u16> = 8080..=8180;

/// Sockets, and where they listen.
pub(crate) type Listeners = Vec<(OwnedFd, SocketAddr)>;

/// Listens at exactly these addresses.
pub(crate) fn at(addresses: &[SocketAddr]) -> io::Result<Listeners> {
    addresses.iter().map(|address| Ok((listen(*address)?, *address))).collect()
}

/// Listens at a port of this machine's own addresses, IPv4 and, where there is one, IPv6: at the port of last time, or
/// else at the first of [`PORTS`] that is free.
pub(crate) fn anywhere(last: Option<u16>) -> io::Result<Listeners> {
    let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
    for port in last.into_iter().chain(PORTS) {
        match local(port) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn local(port: u16) -> io::Result<Listeners> {
    let four = SocketAddr::from(([127, 0, 0, 1], port));
    let six = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    let mut listeners = vec![(listen(four)?, four)];
    match listen(six) {
        Ok(listener) => listeners.push((listener, six)),
        // Half of a port is somebody else's: then none of it is ours.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        // A machine without IPv6.
        Err(_) => {}
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Otherwise connections of an earlier front that are still being closed keep the port taken for a minute.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The sockets that whoever started this process handed over. To be called once, before anything else.
pub(crate) fn inherited() -> Listeners {
    let count = std::env::var(VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(0_usize);
    (FIRST..).take(count.min(MOST)).filter_map(take).collect()
}

/// Takes over a descriptor that is a listening socket.
fn take(number: RawFd) -> Option<(OwnedFd, SocketAddr)> {
    // A descriptor that is not open must not be owned.
    rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).ok()?;
    #[expect(unsafe_code, reason = "a number that another process chose becomes a descriptor")]
    // SAFETY: it is open, and nobody in this process owns it: it was handed over to us under this number, and this is
    // called once, before this process opens anything.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
    let address = address(&socket)?;
    Some((socket, address))
}

/// Copies the sockets of a front that runs already. Without them nobody could listen at their addresses when it ends.
/// Empty where the system forbids one process to look into another.
pub(crate) fn of_process(pid: u32) -> Listeners {
    let Some(pid) = jecloud_launch::pid_from(pid) else { return Vec::new() };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return Vec::new() };
    let mut listeners = Vec::new();
    for number in (FIRST..).take(MOST) {
        match rustix::process::pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => match address(&socket) {
                Some(address) => listeners.push((socket, address)),
                // The sockets are the first descriptors; what follows is the front's own.
                None => break,
            },
            Err(Errno::BADF) => break,
            Err(_) => return Vec::new(),
        }
    }
    listeners
}

/// Where a socket listens; none for what does not listen.
fn address(socket: impl AsFd) -> Option<SocketAddr> {
    sockopt::socket_acceptconn(&socket).ok().filter(|listens| *listens)?;
    SocketAddr::try_from(rustix::net::getsockname(&socket).ok()?).ok()
}

/// Copies for a process that is to be started, each with the number it gets there.
pub(crate) fn for_child<'a>(sockets: impl IntoIterator<Item = &'a OwnedFd>) -> io::Result<Vec<(OwnedFd, RawFd)>> {
    sockets.into_iter().zip(FIRST..).map(|(socket, number)| Ok((socket.try_clone()?, number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_a_remembered_one_used_again() {
        let first = anywhere(None).expect("a free port");
        let port = first[0].1.port();
        assert!(PORTS.contains(&port));
        assert!(first.iter().all(|(_, address)| address.ip().is_loopback() && address.port() == port));
        // Fails where the taken port is tried alone.
        let second = anywhere(Some(port)).expect("another port");
        assert_ne!(second[0].1.port(), port);
        drop(first);
        assert_eq!(anywhere(Some(port)).expect("free again")[0].1.port(), port);
        assert!(at(&[second[0].1]).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
    }

    #[test]
    fn only_listening_sockets_count() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("sockets");
        assert_eq!(address(&one), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        assert_eq!(address(&listener), listener.local_addr().ok());
    }
}
