//! The source tree of an app: what of its directory becomes a version.
//!
//! * `.gitignore` and `.jecloudignore` files say what is left out, in the directory and below it, whether or not it
//!   is in a Git repository; `.jecloudignore` wins where they differ. Neither the person's own Git configuration nor
//!   ignore files above the directory count: the same files give the same version everywhere.
//! * `jecloud.lock` in the root is not taken: it belongs to releases, not to versions.
//! * Hidden files are taken. Never taken: `.git`, and `node_modules` wherever it is (dependencies are installed on the
//!   server); [`SourceTree::left_out`] says which were there.
//! * Directories are not entries, except those that have nothing in them at all. One that has only ignored files in
//!   it is not there: a fresh clone does not have it either, and must give the same version.
//! * Of a file's mode only whether its owner may execute it is kept. Links are kept when they are relative and stay
//!   inside. Anything else (FIFO, socket, device) is an error that names it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;
use jecloud_model::ids::VersionId;
use sha2::{Digest as _, Sha256};

use crate::error::{DiskError, Result, at};
use crate::rules::{self, Limits, Refusal, in_words};
use crate::{pack, stream};

/// The directory into which package managers of JavaScript install, which people keep beside their sources and do not
/// mean to deploy. It is what an unwary upload is most often made of.
pub const INSTALLED: &str = "node_modules";

/// What JeCloud writes into the root of the tree after a deployment. It belongs to the release: what was pinned is no
/// new version, or the deployment right after the first one would be another one.
const OURS: &str = jecloud_model::lock::FILE_NAME;

/// The tree as it was when it was looked at. Files are opened when they are read; one that has another size then is
/// an error.
#[derive(Debug)]
pub struct SourceTree {
    root: PathBuf,
    /// By path, in byte order: the order of the archive.
    entries: BTreeMap<Vec<u8>, EntryKind>,
    bytes: u64,
    left_out: Vec<PathBuf>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its length.
        bytes: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory that has nothing in it.
    EmptyDirectory,
    /// A symbolic link.
    Link {
        /// As it is written in the link: relative.
        target: Vec<u8>,
    },
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The version: what [`crate::archive::unpack`] asks for.
    pub version: VersionId,
    /// Files, empty directories and links.
    pub entries: u64,
    /// Of all files together.
    pub bytes: u64,
    /// Of the archive.
    pub packed_bytes: u64,
}

impl SourceTree {
    /// Looks at the tree. Reads ignore files, but no other.
    ///
    /// # Errors
    ///
    /// [`DiskError::Source`] for an entry that cannot be deployed, [`DiskError::Io`] for a directory that is not there.
    pub fn scan(dir: &Path) -> Result<Self> {
        Self::scan_within(dir, &Limits::default())
    }

    /// As [`Self::scan`], with other limits.
    ///
    /// # Errors
    ///
    /// As [`Self::scan`].
    pub fn scan_within(dir: &Path, limits: &Limits) -> Result<Self> {
        let root = dir.canonicalize().map_err(at("read the directory", dir))?;
        if !root.is_dir() {
            return Err(at("read the directory", dir)(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let left_out = Arc::new(Mutex::new(Vec::new()));
        let mut tree = Self { root, entries: BTreeMap::new(), bytes: 0, left_out: Vec::new() };
        let mut directories = Vec::new();
        for found in walk(&tree.root, Arc::clone(&left_out)) {
            let found = found.map_err(|error| tree.walk_error(error))?;
            if found.depth() == 0 {
                continue;
            }
            let path = tree.relative(found.path());
            if let Some(error) = found.error().filter(|error| error.is_io()) {
                return Err(refused(&path, Refusal::Unreadable(error.to_string())));
            }
            let normal = rules::normal_path(&path, limits).map_err(|reason| refused(&path, reason))?;
            if found.file_type().is_some_and(|kind| kind.is_dir()) {
                directories.push(normal);
            } else {
                tree.add(normal, found.path(), limits)?;
            }
        }
        tree.add_empty(&directories, limits)?;
        tree.check_links()?;
        let mut left_out = std::mem::take(&mut *left_out.lock().unwrap_or_else(PoisonError::into_inner));
        left_out.sort();
        tree.left_out = left_out.iter().map(|path| path.strip_prefix(&tree.root).unwrap_or(path).to_owned()).collect();
        Ok(tree)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Files, empty directories and links.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Of all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The `node_modules` that are there, are not ignored, and are not part of the version all the same.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// The paths of all entries below the directory, in byte order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(|path| Path::new(OsStr::from_bytes(path)))
    }

    /// All entries, in the byte order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, &EntryKind)> {
        self.entries.iter().map(|(path, kind)| (Path::new(OsStr::from_bytes(path)), kind))
    }

    /// The content of a file of the tree of at most `limit` bytes; links in the tree are followed. None where the tree
    /// has no such file, whatever lies in the directory.
    ///
    /// # Errors
    ///
    /// [`DiskError::TooLarge`], [`DiskError::Source`], [`DiskError::Changed`].
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let Ok(path) = rules::resolve(b"", path.as_os_str().as_bytes(), &|path| self.link_at(path)) else {
            return Ok(None);
        };
        let Some(EntryKind::File { bytes, .. }) = self.entries.get(&path) else { return Ok(None) };
        if *bytes > limit {
            return Err(DiskError::TooLarge { path: self.absolute(&path), limit });
        }
        let mut content = Vec::with_capacity(usize::try_from(*bytes).unwrap_or(0));
        self.open(&path, *bytes)?
            .take(*bytes + 1)
            .read_to_end(&mut content)
            .map_err(|error| refused(&path, Refusal::Unreadable(error.to_string())))?;
        if content.len() as u64 != *bytes {
            return Err(DiskError::Changed { entry: in_words(&path) });
        }
        Ok(Some(content))
    }

    /// What the version is called: the SHA-256 of the normalised tar stream. Reads all files.
    ///
    /// # Errors
    ///
    /// [`DiskError::Source`] for a file that cannot be read, [`DiskError::Changed`].
    pub fn version(&self) -> Result<VersionId> {
        let mut hash = Sha256::new();
        stream::write(self, &mut |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        Ok(VersionId::from_sha256(hash.finalize().into()))
    }

    /// Writes the version as `tar.bz2`, which any bunzip2 reads. The same tree gives the same bytes, on any machine.
    ///
    /// All cores compress, and memory stays below 100 MB however large the tree is. `progress` gets the bytes of the
    /// tar stream that are done, and how many there will be; the last call has both equal.
    ///
    /// # Errors
    ///
    /// [`DiskError::Source`] for a file that cannot be read, [`DiskError::Changed`], and [`DiskError::Io`] for `out`.
    pub fn pack(&self, out: &mut (dyn Write + Send), progress: &mut dyn FnMut(u64, u64)) -> Result<Packed> {
        pack::pack(self, out, progress)
    }

    /// By raw path, for the stream.
    pub(crate) fn raw_entries(&self) -> impl Iterator<Item = (&[u8], &EntryKind)> {
        self.entries.iter().map(|(path, kind)| (path.as_slice(), kind))
    }

    /// Opens a file of the tree, which must still be a regular file of this size.
    pub(crate) fn open(&self, path: &[u8], bytes: u64) -> Result<File> {
        const FLAGS: i32 = rustix::fs::OFlags::NONBLOCK.union(rustix::fs::OFlags::NOFOLLOW).bits().cast_signed();
        let unreadable = |error: io::Error| refused(path, Refusal::Unreadable(error.to_string()));
        let opened = std::fs::OpenOptions::new().read(true).custom_flags(FLAGS).open(self.absolute(path));
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DiskError::Changed { entry: in_words(path) });
            }
            opened => opened.map_err(unreadable)?,
        };
        let now = file.metadata().map_err(unreadable)?;
        if !now.is_file() || now.len() != bytes {
            return Err(DiskError::Changed { entry: in_words(path) });
        }
        Ok(file)
    }

    fn absolute(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    fn relative(&self, path: &Path) -> Vec<u8> {
        path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_bytes().to_vec()
    }

    fn link_at(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self.entries.get(path) {
            Some(EntryKind::Link { target }) => Some(target.clone()),
            _ => None,
        }
    }

    fn add(&mut self, path: Vec<u8>, absolute: &Path, limits: &Limits) -> Result<()> {
        let unreadable = |error: io::Error| refused(&path, Refusal::Unreadable(error.to_string()));
        let metadata = absolute.symlink_metadata().map_err(unreadable)?;
        let kind = metadata.file_type();
        let kind = if kind.is_file() {
            self.bytes = self.bytes.saturating_add(metadata.len());
            EntryKind::File { bytes: metadata.len(), executable: metadata.mode() & 0o100 != 0 }
        } else if kind.is_symlink() {
            let target = std::fs::read_link(absolute).map_err(unreadable)?.into_os_string().into_vec();
            rules::check_target(&target, limits).map_err(|reason| refused(&path, reason))?;
            EntryKind::Link { target }
        } else if kind.is_dir() {
            EntryKind::EmptyDirectory
        } else {
            let words = if kind.is_fifo() {
                "a FIFO"
            } else if kind.is_socket() {
                "a socket"
            } else if kind.is_char_device() || kind.is_block_device() {
                "a device"
            } else {
                "neither a file, a directory nor a link"
            };
            return Err(refused(&path, Refusal::Kind(words.to_owned())));
        };
        if self.bytes > limits.bytes {
            return Err(refused(&path, Refusal::TooLarge(limits.bytes)));
        }
        if self.len() >= limits.entries {
            return Err(refused(&path, Refusal::TooMany(limits.entries)));
        }
        self.entries.insert(path, kind);
        Ok(())
    }

    /// Adds those directories that have nothing in them, ignored or not.
    fn add_empty(&mut self, directories: &[Vec<u8>], limits: &Limits) -> Result<()> {
        for path in directories {
            let mut below = path.clone();
            below.push(b'/');
            let used = self.entries.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below));
            if used {
                continue;
            }
            let absolute = self.absolute(path);
            let mut content =
                absolute.read_dir().map_err(|error| refused(path, Refusal::Unreadable(error.to_string())))?;
            if content.next().is_none() {
                self.add(path.clone(), &absolute, limits)?;
            }
        }
        Ok(())
    }

    fn check_links(&self) -> Result<()> {
        for (path, kind) in &self.entries {
            if let EntryKind::Link { target } = kind
                && rules::leaves_tree(path, target, &|path| self.link_at(path))
            {
                return Err(refused(path, Refusal::OutsideLink(in_words(target))));
            }
        }
        Ok(())
    }

    fn walk_error(&self, error: ignore::Error) -> DiskError {
        fn path_of(error: &ignore::Error) -> Option<&Path> {
            match error {
                ignore::Error::WithPath { path, .. } => Some(path),
                ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
                ignore::Error::Partial(errors) => errors.iter().find_map(path_of),
                _ => None,
            }
        }
        let path = path_of(&error).unwrap_or(&self.root).to_owned();
        // The walker's own text repeats the path; the kind is what it adds.
        let reason = error.io_error().map_or_else(|| error.to_string(), |io| io.kind().to_string());
        refused(&self.relative(&path), Refusal::Unreadable(reason))
    }
}

fn walk(root: &Path, left_out: Arc<Mutex<Vec<PathBuf>>>) -> ignore::Walk {
    WalkBuilder::new(root)
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(".jecloudignore")
        // So that of several entries that cannot be deployed always the same is named.
        .sort_by_file_name(OsStr::cmp)
        .filter_entry(move |entry| {
            if entry.depth() > 0 && entry.file_name() == INSTALLED {
                left_out.lock().unwrap_or_else(PoisonError::into_inner).push(entry.path().to_owned());
                return false;
            }
            let ours = entry.depth() == 1 && entry.file_name() == OURS;
            entry.depth() == 0 || (entry.file_name() != ".git" && !ours)
        })
        .build()
}

pub(crate) fn refused(path: &[u8], reason: Refusal) -> DiskError {
    DiskError::Source { entry: in_words(path), reason }
}
