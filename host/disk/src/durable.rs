//! Documents: after a crash at any instant, a document is the old or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{DiskError, Result, at};
use crate::fault;
use crate::temporary::{TemporaryFile, parent_of};

/// The most that [`read`] and [`read_json`] read: 64 MiB, far above any document of ours, far below what hurts.
pub const DOCUMENT_LIMIT: u64 = 64 << 20;

/// Puts `bytes` under `path`, in place of what was there, with exactly this mode.
///
/// When it returns, the bytes are on the disk. A crash before that leaves the old file or the new one, whole.
///
/// # Errors
///
/// [`DiskError::Io`]; the old file is untouched, unless only the last step failed (making the new name durable).
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    replace_with(path, mode, |out| out.write_all(bytes).map_err(at("write", path)))
}

/// As [`replace`], with bytes that are produced while writing. They are not buffered here.
///
/// # Errors
///
/// What `write` returns, and as [`replace`]. In both cases the old file is untouched.
pub fn replace_with<T, E: From<DiskError>>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<T, E>,
) -> Result<T, E> {
    fault::point("replace.create").map_err(at("create", path))?;
    let temporary = TemporaryFile::beside(path, mode).map_err(at("create", path))?;
    let mut out = fault::Writer::new("replace.write", &temporary.file).map_err(at("write", path))?;
    let made = write(&mut out)?;
    out.finish();
    fault::point("replace.sync").map_err(at("sync", path))?;
    temporary.file.sync_all().map_err(at("sync", path))?;
    fault::point("replace.rename").map_err(at("replace", path))?;
    temporary.rename(path).map_err(at("replace", path))?;
    fault::point("replace.sync-parent").map_err(at("sync the directory of", path))?;
    sync_dir(parent_of(path))?;
    fault::point("replace.done").map_err(at("replace", path))?;
    Ok(made)
}

/// Makes the names in a directory durable.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("sync the directory", dir))
}

/// A regular file to read from; none where there is no such file.
///
/// # Errors
///
/// [`DiskError::Io`], also for what is not a regular file. Never waits, as opening a FIFO would.
pub fn open(path: &Path) -> Result<Option<File>> {
    const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", path)(error)),
    };
    let kind = file.metadata().map_err(at("read", path))?.file_type();
    if kind.is_dir() {
        return Err(at("read", path)(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !kind.is_file() {
        return Err(at("read", path)(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    Ok(Some(file))
}

/// The whole of a file of at most [`DOCUMENT_LIMIT`] bytes; none where there is no such file.
///
/// # Errors
///
/// [`DiskError::Io`], [`DiskError::TooLarge`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    read_at_most(path, DOCUMENT_LIMIT)
}

/// The whole of a file of at most `limit` bytes; none where there is no such file.
///
/// # Errors
///
/// [`DiskError::Io`], [`DiskError::TooLarge`].
pub fn read_at_most(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(DiskError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(bytes))
}

/// The whole of a text file; none where there is no such file.
///
/// # Errors
///
/// As [`read`], and [`DiskError::Io`] for what is not UTF-8.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let not_text = |_| at("read", path)(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"));
    String::from_utf8(bytes).map(Some).map_err(not_text)
}

/// A JSON document; none where there is no such file.
///
/// # Errors
///
/// As [`read`]; [`DiskError::TruncatedDocument`] for one that ends early, an empty file too;
/// [`DiskError::NotADocument`] for what is not JSON or not of this shape.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| {
        let path = path.to_owned();
        if source.is_eof() {
            DiskError::TruncatedDocument { path, source }
        } else {
            DiskError::NotADocument { path, source }
        }
    })
}

/// Puts a JSON document under `path`, as [`replace`] does: indented for people, with a line break at the end.
///
/// # Errors
///
/// As [`replace`]; [`DiskError::NotWritable`] for a value that JSON cannot hold.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T, mode: u32) -> Result<()> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| DiskError::NotWritable { path: path.to_owned(), source })?;
    bytes.push(b'\n');
    replace(path, &bytes, mode)
}

/// Removes a file or a link, durably; whether there was one. Directories: [`crate::tree::remove`].
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn remove(path: &Path) -> Result<bool> {
    fault::point("remove.unlink").map_err(at("remove", path))?;
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at("remove", path)(error)),
    }
    fault::point("remove.sync-parent").map_err(at("sync the directory of", path))?;
    sync_dir(parent_of(path))?;
    fault::point("remove.done").map_err(at("remove", path))?;
    Ok(true)
}

/// Appends one line, durably; the file is made with this mode where there is none.
///
/// After a crash the line is there, or a part of it, or nothing. The next line never continues such a part.
///
/// # Errors
///
/// [`DiskError::Io`]; [`DiskError::Invalid`] for a line with a line break in it.
pub fn append_line(path: &Path, line: &str, mode: u32) -> Result<()> {
    if line.contains('\n') {
        let rule = "one line has no line break in it";
        return Err(DiskError::Invalid { path: path.to_owned(), value: line.to_owned(), rule });
    }
    fault::point("append.open").map_err(at("append to", path))?;
    let opened = OpenOptions::new().append(true).read(true).open(path);
    let (mut file, new) = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = OpenOptions::new().append(true).read(true).create(true).mode(mode).open(path);
            (file.map_err(at("create", path))?, true)
        }
        opened => (opened.map_err(at("append to", path))?, false),
    };
    if new {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(at("create", path))?;
    }
    let mut bytes = Vec::with_capacity(line.len() + 2);
    if ends_within_a_line(&mut file).map_err(at("append to", path))? {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    let mut out = fault::Writer::new("append.write", &file).map_err(at("append to", path))?;
    out.write_all(&bytes).map_err(at("append to", path))?;
    out.finish();
    fault::point("append.sync").map_err(at("sync", path))?;
    file.sync_data().map_err(at("sync", path))?;
    if new {
        sync_dir(parent_of(path))?;
    }
    fault::point("append.done").map_err(at("append to", path))?;
    Ok(())
}

/// Whether a file has something after its last line break: a line that a crash cut off.
pub(crate) fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != *b"\n")
}

/// Makes a directory and those above it that are missing, each with this mode, durably. One that exists stays as it
/// is.
///
/// # Errors
///
/// [`DiskError::Io`], also where something else than a directory is in the way.
pub fn create_dirs(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    if parent != path {
        create_dirs(parent, mode)?;
    }
    fault::point("create-dir.make").map_err(at("create the directory", path))?;
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        // Somebody else was faster, or something that is no directory is in the way.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) => return Err(at("create the directory", path)(error)),
    }
    // The umask may have taken bits away.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
        .map_err(at("set the mode of", path))?;
    fault::point("create-dir.sync-parent").map_err(at("sync the directory of", path))?;
    sync_dir(parent)
}
