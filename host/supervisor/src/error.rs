//! What keeps a process manager from running.

use std::io;
use std::path::PathBuf;

/// Why the process manager could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// There is one already.
    #[error("a process manager runs already for {}{}", root.display(), holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    AlreadyRunning {
        /// The server's directory.
        root: PathBuf,
        /// The other one.
        holder: Option<u32>,
    },
    /// A file could not be used.
    #[error(transparent)]
    Disk(#[from] jecloud_disk::DiskError),
    /// The control socket.
    #[error("cannot listen at {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Timers, signals, descriptors.
    #[error("cannot set up the process manager of {}", root.display())]
    Setup {
        /// The server's directory.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
