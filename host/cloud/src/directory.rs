//! An object store in a directory: what `provider = "local"` uses. Keys are paths below it.

use std::io;
use std::path::{Path, PathBuf};

use jecloud_disk::store::{Swap, compare_and_swap};
use jecloud_disk::{DiskError, durable, store, tree};
use jecloud_model::ids::Digest;
use jecloud_model::time::Timestamp;

use crate::keys::STATE;
use crate::object_store::{Etag, Object, ObjectInfo, ObjectStore, PastObject, Precondition, PutResult, StoreError};

/// How many earlier states are kept.
pub const KEPT_STATES: usize = 100;

/// Only the person whose clouds these are reads them: variables of apps are among it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// So much is copied at a time.
const CHUNK: usize = 256 * 1024;

/// See the module.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    root: PathBuf,
}

impl DirectoryStore {
    /// The store in this directory, which is made when the first object is put.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, key: &str) -> PathBuf {
        debug_assert!(
            key.split('/').all(|part| !part.is_empty() && !part.starts_with('.')),
            "keys are made of checked names: {key}"
        );
        self.root.join(key)
    }

    /// Where the earlier contents of an object lie.
    fn history_of(&self, key: &str) -> PathBuf {
        self.root.join("history").join(key)
    }

    /// Keeps a content of an object under the next number, unless it is kept already. Every content is kept as soon as it
    /// is there, so that the newest is not lost either when the file is; and where a crash came in between, before it is
    /// replaced.
    fn keep(&self, key: &str, bytes: &[u8], digest: &Digest) -> Result<(), DiskError> {
        let directory = self.history_of(key);
        durable::create_dirs(&directory, DIRECTORY_MODE)?;
        let kept = past_names(&directory)?;
        if kept.iter().any(|name| name.digest == digest.short()) {
            return Ok(());
        }
        let written = tree::modified(&self.path(key))?.map(Timestamp::from_system);
        let name = PastName {
            number: kept.last().map_or(1, |last| last.number + 1),
            written: written.map_or(0, Timestamp::as_millisecond),
            digest: digest.short().to_owned(),
        };
        match store::create_new(&directory.join(name.to_text()), bytes, FILE_MODE) {
            Err(error) if !error.exists_already() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for surplus in kept.iter().rev().skip(KEPT_STATES) {
            durable::remove(&directory.join(surplus.to_text()))?;
        }
        Ok(())
    }

    fn put_state(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<PutResult, DiskError> {
        let path = self.path(key);
        let current = durable::read(&path)?.map(|bytes| (Digest::of(&bytes), bytes));
        let found = current.as_ref().map(|(digest, _)| digest);
        match (precondition, found) {
            (Precondition::IfMatch(_), None) => return Ok(PutResult::NotFound),
            (Precondition::IfMatch(etag), Some(digest)) if etag.0 != digest.as_str() => {
                return Ok(PutResult::PreconditionFailed);
            }
            (Precondition::IfNoneMatch, Some(_)) => return Ok(PutResult::PreconditionFailed),
            _ => {}
        }
        if let Some((digest, bytes)) = current.as_ref().filter(|_| key == STATE) {
            self.keep(key, bytes, digest)?;
        }
        Ok(match compare_and_swap(&path, found, bytes, FILE_MODE)? {
            Swap::Swapped => {
                let digest = Digest::of(bytes);
                if key == STATE {
                    // It is written, whatever becomes of this; the next one tries again.
                    let _ = self.keep(key, bytes, &digest);
                }
                PutResult::Done(Etag(digest.to_string()))
            }
            Swap::Lost { found: None } => PutResult::NotFound,
            // Without a precondition there is nothing that could have failed: somebody was in the way.
            Swap::Lost { .. } if *precondition == Precondition::None => PutResult::Conflict,
            Swap::Lost { .. } => PutResult::PreconditionFailed,
        })
    }

    fn failed(&self, doing: &str, key: &str, source: DiskError) -> StoreError {
        let doing = format!("{doing} {key} in {}", self.describe());
        if source.is_locked() {
            StoreError::Unreachable { doing, source: source.into() }
        } else {
            StoreError::Refused { doing, source: source.into() }
        }
    }
}

impl ObjectStore for DirectoryStore {
    fn describe(&self) -> String {
        format!("the directory {}", self.root.display())
    }

    fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let bytes = durable::read(&self.path(key)).map_err(|source| self.failed("read", key, source))?;
        Ok(bytes.map(|bytes| Object { etag: Etag(Digest::of(&bytes).to_string()), bytes }))
    }

    fn put(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<PutResult, StoreError> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        durable::create_dirs(parent, DIRECTORY_MODE).map_err(|source| self.failed("write", key, source))?;
        let error = match self.put_state(key, bytes, precondition) {
            Ok(result) => return Ok(result),
            Err(error) if error.is_locked() => return Ok(PutResult::Conflict),
            Err(error) => error,
        };
        // The new content may be there, only not yet durably: then whether it lasts is not known.
        match durable::read(&path) {
            Ok(found) if found.as_deref() != Some(bytes) => Err(self.failed("write", key, error)),
            Ok(_) if durable::sync_dir(parent).is_ok() => Ok(PutResult::Done(Etag(Digest::of(bytes).to_string()))),
            Ok(_) | Err(_) => Ok(PutResult::Unknown(self.failed("write", key, error))),
        }
    }

    fn get_to_file(&self, key: &str, file: &Path) -> Result<bool, StoreError> {
        let failed = |source| self.failed("copy", key, source);
        copy(&self.path(key), file, &mut |_| {}).map_err(failed)
    }

    fn put_file(&self, key: &str, file: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        let failed = |source| self.failed("write", key, source);
        let path = self.path(key);
        if tree::exists(&path).map_err(failed)? {
            return Ok(());
        }
        durable::create_dirs(path.parent().unwrap_or(&self.root), DIRECTORY_MODE).map_err(failed)?;
        if copy(file, &path, progress).map_err(failed)? {
            return Ok(());
        }
        let missing = io::Error::from(io::ErrorKind::NotFound);
        Err(StoreError::Refused { doing: format!("read {}", file.display()), source: missing.into() })
    }

    fn exists(&self, key: &str) -> Result<bool, StoreError> {
        tree::exists(&self.path(key)).map_err(|source| self.failed("find", key, source))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let failed = |source| self.failed("list", prefix, source);
        let mut objects = Vec::new();
        let mut prefixes = vec![prefix.to_owned()];
        while let Some(prefix) = prefixes.pop() {
            let directory = self.root.join(&prefix);
            for name in tree::list(&directory).map_err(failed)? {
                // What begins with a dot is a lock, or something unfinished.
                let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
                let path = directory.join(name);
                if tree::is_dir(&path).map_err(failed)? {
                    prefixes.push(format!("{prefix}{name}/"));
                    continue;
                }
                // It may be deleted while we look.
                let Some(written) = tree::modified(&path).map_err(failed)? else { continue };
                objects.push(ObjectInfo {
                    key: format!("{prefix}{name}"),
                    size: tree::size(&path).unwrap_or(0),
                    written: Timestamp::from_system(written),
                });
            }
        }
        Ok(objects)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        durable::remove(&self.path(key)).map(drop).map_err(|source| self.failed("delete", key, source))
    }

    fn history(&self, key: &str) -> Result<Vec<PastObject>, StoreError> {
        let directory = self.history_of(key);
        let failed = |source| self.failed("list the history of", key, source);
        let names = past_names(&directory).map_err(failed)?;
        let present = durable::read(&self.path(key)).map_err(failed)?.map(|bytes| Digest::of(&bytes));
        let is_past = |name: &&PastName| present.as_ref().is_none_or(|present| present.short() != name.digest);
        Ok(names
            .iter()
            .rev()
            .filter(is_past)
            .take(KEPT_STATES)
            .map(|name| PastObject {
                id: name.number.to_string(),
                size: tree::size(&directory.join(name.to_text())).unwrap_or(0),
                written: Timestamp::from_millisecond(name.written),
            })
            .collect())
    }

    fn get_past(&self, key: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let failed = |source| self.failed("read the history of", key, source);
        let directory = self.history_of(key);
        let names = past_names(&directory).map_err(failed)?;
        match names.iter().find(|name| name.number.to_string() == id) {
            Some(name) => durable::read(&directory.join(name.to_text())).map_err(failed),
            None => Ok(None),
        }
    }

    fn file_of(&self, key: &str) -> Option<PathBuf> {
        Some(self.path(key))
    }
}

/// Copies a file, in constant memory; whether there was one.
fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<bool, DiskError> {
    let Some(mut source) = durable::open(from)? else { return Ok(false) };
    durable::replace_with(to, FILE_MODE, |target| -> Result<(), DiskError> {
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let failed = |action, path: &Path| {
                let path = path.to_owned();
                move |source| DiskError::Io { action, path, source }
            };
            let read = match io::Read::read(&mut source, &mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed("read", from)(error)),
            };
            io::Write::write_all(target, &chunk[..read]).map_err(failed("write", to))?;
            done += read as u64;
            progress(done);
        }
    })?;
    Ok(true)
}

/// The name of a kept content: its number, when it was written, and the beginning of its digest.
struct PastName {
    number: u64,
    written: i64,
    digest: String,
}

impl PastName {
    fn to_text(&self) -> String {
        format!("{:010}-{}-{}", self.number, self.written, self.digest)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (number, written) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { number, written, digest: parts.next()?.to_owned() })
    }
}

/// What is kept, the oldest first.
fn past_names(directory: &Path) -> Result<Vec<PastName>, DiskError> {
    let names = tree::list(directory)?;
    let mut names: Vec<PastName> = names.iter().filter_map(|name| PastName::parse(name.to_str()?)).collect();
    names.sort_by_key(|name| name.number);
    Ok(names)
}
