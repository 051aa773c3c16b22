//! Which file a program's name means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FileType};

/// Where programs are looked for when the environment of the new process has no `PATH`: the directories that every
/// distribution has.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The first executable file called `name` in the directories of `path_variable` (`/usr/local/bin:/usr/bin`).
///
/// Empty and relative directories are passed over: which program runs must not depend on where one stands. A name
/// with a slash is a path already; it is returned as it is, if it can be executed.
pub fn find_program(name: impl AsRef<OsStr>, path_variable: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = name.as_ref();
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return is_executable(&path).then_some(path);
    }
    if name.is_empty() {
        return None;
    }
    std::env::split_paths(path_variable.as_ref())
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

/// Whether there is a file that this process may execute.
fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
        && rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}
