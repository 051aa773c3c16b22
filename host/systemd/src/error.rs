//! What can go wrong with systemd.

use jecloud_disk::DiskError;
use jecloud_launch::LaunchError;

/// Why systemd could not be told or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemdError {
    /// A file of ours.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// `systemctl` or `journalctl` cannot be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It was started and refused.
    #[error("{command} {how}: {said}")]
    Refused {
        /// What was typed.
        command: String,
        /// How it ended.
        how: String,
        /// What it said.
        said: String,
    },
    /// A step of ours was broken off.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("{what} in time")]
    TooSlow {
        /// What has not happened, as a sentence without its end.
        what: &'static str,
    },
}
