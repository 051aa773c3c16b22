//! Sockets in directories with long names.
//!
//! The address of a socket in the file system holds 108 bytes, and `JECLOUD_HOME` may be anywhere. A path through the
//! number of an open directory is always short.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

fn open(directory: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn through(directory: &OwnedFd, name: &str) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

/// Listens at `directory/name`, which only this user may connect to. Whoever listened there before does no more: the
/// caller holds the lock.
pub(crate) fn bind(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let directory = open(directory)?;
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    // There is no instant at which somebody else could connect: the mode is right from the beginning.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(through(&directory, name));
    rustix::process::umask(before);
    listener
}

/// Removes the socket, so that nobody waits for an answer from somebody who is leaving.
pub(crate) fn unbind(directory: &Path, name: &str) {
    if let Ok(directory) = open(directory) {
        let _ = rustix::fs::unlinkat(&directory, name, AtFlags::empty());
    }
}

/// Connects to `directory/name`.
pub(crate) fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(through(&open(directory)?, name))
}
