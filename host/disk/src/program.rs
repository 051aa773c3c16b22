//! Programs as files: whether two are the same, and which JeCloud one is.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jecloud_model::version::Version;

use crate::error::{Result, at};

/// How much is compared at a time, in bytes.
const PIECE: usize = 1 << 20;

/// The program that a process runs, as a file: also one whose name is gone or belongs to another one by now. It can be
/// read as long as the process lives, by whoever could send it a signal.
pub fn of_process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

/// The program that this process runs.
pub fn own() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Whether two files hold the same bytes. Costs nothing where they are one file.
///
/// # Errors
///
/// [`crate::DiskError::Io`] where one cannot be read; so also where a process has ended.
pub fn same(one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (a, b) = (open(one).map_err(at("read", one))?, open(other).map_err(at("read", other))?);
    if (a.0.dev(), a.0.ino()) == (b.0.dev(), b.0.ino()) {
        return Ok(true);
    }
    Ok(a.0.len() == b.0.len() && same_bytes(a.1, b.1).map_err(at("read", one))?)
}

fn same_bytes(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut a, mut b) = (Vec::with_capacity(PIECE), Vec::with_capacity(PIECE));
    loop {
        a.clear();
        b.clear();
        (&mut one).take(PIECE as u64).read_to_end(&mut a)?;
        (&mut other).take(PIECE as u64).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

/// Which version of JeCloud a program is; none where it is something else, or does not say it.
///
/// # Errors
///
/// [`crate::DiskError::Io`].
pub fn version(path: &Path) -> Result<Option<Version>> {
    version_in(File::open(path).map_err(at("read", path))?).map_err(at("read", path))
}

fn version_in(program: impl Read) -> io::Result<Option<Version>> {
    let needle = Version::needle();
    let last = *needle.last().unwrap_or(&0);
    let mut program = BufReader::with_capacity(PIECE, program);
    let mut piece = Vec::new();
    // Whether the piece before this one ended with the needle.
    let mut is_mark = false;
    loop {
        piece.clear();
        if program.read_until(last, &mut piece)? == 0 {
            return Ok(None);
        }
        if let Some(version) = Version::in_mark(&piece).filter(|_| is_mark) {
            return Ok(Some(version));
        }
        is_mark = piece.ends_with(&needle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_itself_and_of_its_own_version() {
        let exe = std::env::current_exe().expect("a path");
        assert!(same(&exe, &own()).expect("readable"));
        assert!(same(&of_process(std::process::id()), &own()).expect("readable"));
        assert!(!same(&exe, Path::new("/bin/sh")).expect("readable"));
        assert_eq!(version(&exe).expect("readable"), Some(Version::own()));
        assert_eq!(version(Path::new("/bin/sh")).expect("readable"), None);
    }

    /// Fails where only sizes are compared, or only the first piece.
    #[test]
    fn the_last_byte_counts() {
        let mut bytes = vec![7_u8; PIECE + 1];
        let before = bytes.clone();
        assert!(same_bytes(before.as_slice(), bytes.as_slice()).expect("readable"));
        bytes[PIECE] = 8;
        assert!(!same_bytes(before.as_slice(), bytes.as_slice()).expect("readable"));
    }

    /// Fails where what looks like the mark and is none ends the search.
    #[test]
    fn the_mark_is_found_behind_what_looks_like_it() {
        let needle = String::from_utf8(Version::needle()).expect("text");
        let text = format!("=={needle}no {needle}12.3.4;");
        assert_eq!(version_in(text.as_bytes()).expect("readable").map(String::from).as_deref(), Some("12.3.4"));
        assert_eq!(version_in(needle.as_bytes()).expect("readable"), None);
    }
}
