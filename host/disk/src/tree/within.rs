//! Looking into a tree that may be hostile: links are followed only as long as they stay inside.

use std::io::{self, Read as _};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};

use crate::error::{DiskError, Result, at};

/// All regular files and links of a tree, relative to it, sorted; those without a UTF-8 name are left out, and so are
/// those below a directory of the name `skip`. Links to directories are not entered.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn files(root: &Path, skip: &str) -> Result<Vec<String>> {
    let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(at("read the directory", root))?;
    let mut found = Vec::new();
    collect(&dir, "", skip, &mut found).map_err(at("read the directory", root))?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Dir, prefix: &str, skip: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in dir.entries()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if !entry.file_type()?.is_dir() {
            found.push(path);
        } else if name != skip {
            collect(&dir.open_dir(&name)?, &format!("{path}/"), skip, found)?;
        }
    }
    Ok(())
}

/// The content of a file in a tree; none where there is no such file.
///
/// # Errors
///
/// [`DiskError::TooLarge`]; [`DiskError::Io`], also for a link that leads out of the tree.
pub fn read_within(root: &Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let whole = root.join(path);
    let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(at("read the directory", root))?;
    let mut options = OpenOptions::new();
    // Opening a FIFO would wait for its writer, and the tree's owner may have put one here.
    options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = match dir.open_with(path, &options) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", &whole)(error)),
    };
    if !file.metadata().map_err(at("read", &whole))?.is_file() {
        return Err(at("read", &whole)(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at("read", &whole))?;
    if bytes.len() as u64 > limit { Err(DiskError::TooLarge { path: whole, limit }) } else { Ok(Some(bytes)) }
}
