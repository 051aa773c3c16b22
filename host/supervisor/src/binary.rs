//! Which binary a process is of, by the file that it runs: nothing has to be written down for that, and nothing that is
//! written down can be wrong.

use std::path::Path;

use jecloud_disk::program;
use jecloud_model::version::Version;

/// How the binary of a process compares with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// They are the same.
    Same,
    /// It is another one and not newer: of an earlier version, of the same and of another content, or of none.
    Older,
    /// It is of this later version.
    Newer(Version),
    /// The process has ended, or does not let us look.
    Unknown,
}

/// Compares the binary of a process with `exe`.
pub fn compare(pid: u32, exe: &Path) -> Binary {
    let running = program::of_process(pid);
    match program::same(&running, exe) {
        Ok(true) => return Binary::Same,
        Ok(false) => {}
        Err(_) => return Binary::Unknown,
    }
    match (program::version(&running), program::version(exe)) {
        (Ok(Some(running)), Ok(Some(ours))) if running > ours => Binary::Newer(running),
        (Err(_), _) | (_, Err(_)) => Binary::Unknown,
        _ => Binary::Older,
    }
}

/// Whether a process is of another binary than `exe`, and not of a newer one.
pub fn is_older(pid: u32, exe: &Path) -> bool {
    compare(pid, exe) == Binary::Older
}
