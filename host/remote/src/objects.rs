//! Objects on their way from the store to servers.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use jecloud_cloud::{ObjectStore, StoreError};
use jecloud_disk::{DiskError, durable, tree};
use jecloud_model::ids::Digest;

use crate::connect::lock;
use crate::upload::sha256_of;

/// So old is nothing that anybody waits for: whoever fetched it died.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);

/// Objects of a store as files of this machine, each fetched and hashed once for all servers that get it at the same
/// time. A file that was fetched is removed when the last of them has it.
#[derive(Debug)]
pub struct Objects {
    directory: PathBuf,
    known: Mutex<HashMap<String, Arc<Mutex<Weak<LocalObject>>>>>,
}

/// An object as a file of this machine.
#[derive(Debug)]
pub(crate) struct LocalObject {
    pub(crate) path: PathBuf,
    pub(crate) sha256: Digest,
    is_fetched: bool,
}

/// Why there is no such file.
pub(crate) enum NoObject {
    Store(StoreError),
    Disk(DiskError),
}

impl Objects {
    /// `directory` is where fetched objects wait; it is made when it is needed. Nobody else uses it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), known: Mutex::default() }
    }

    /// Fetches an object whose key names its content.
    pub(crate) fn fetch(&self, store: &dyn ObjectStore, key: &str) -> Result<Arc<LocalObject>, NoObject> {
        let slot = Arc::clone(lock(&self.known).entry(key.to_owned()).or_default());
        // Whoever else wants the same waits for it; other objects are fetched meanwhile.
        let mut known = lock(&slot);
        if let Some(object) = known.upgrade() {
            return Ok(object);
        }
        let object = Arc::new(self.make(store, key)?);
        *known = Arc::downgrade(&object);
        Ok(object)
    }

    fn make(&self, store: &dyn ObjectStore, key: &str) -> Result<LocalObject, NoObject> {
        let doing = || format!("read {key} in {}", store.describe());
        let unreadable =
            |source: std::io::Error| NoObject::Store(StoreError::Refused { doing: doing(), source: source.into() });
        let missing = || unreadable(std::io::ErrorKind::NotFound.into());
        let (path, is_fetched) = match store.file_of(key) {
            Some(file) => (file, false),
            None => {
                durable::create_dirs(&self.directory, 0o700).map_err(NoObject::Disk)?;
                self.sweep().map_err(NoObject::Disk)?;
                let path = self.directory.join(own_name(key));
                if !store.get_to_file(key, &path).map_err(NoObject::Store)? {
                    return Err(missing());
                }
                (path, true)
            }
        };
        // From here on it is removed when nobody wants it.
        let mut object = LocalObject { path, sha256: Digest::of(b""), is_fetched };
        let mut file = durable::open(&object.path).map_err(NoObject::Disk)?.ok_or_else(missing)?;
        object.sha256 = sha256_of(&mut file).map_err(unreadable)?;
        Ok(object)
    }

    /// Removes what processes left behind that died.
    fn sweep(&self) -> Result<(), DiskError> {
        for name in tree::list(&self.directory)? {
            let path = self.directory.join(name);
            let written = tree::modified(&path)?;
            let age = written.and_then(|written| SystemTime::now().duration_since(written).ok());
            if age.is_some_and(|age| age > LEFT_OVER) {
                durable::remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Drop for LocalObject {
    fn drop(&mut self) {
        if self.is_fetched {
            // What cannot be removed is swept later.
            let _ = durable::remove(&self.path);
        }
    }
}

/// A name that no other file has: one is removed while the same object is fetched again.
fn own_name(key: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}-{}", std::process::id(), name_of(key).to_string_lossy())
}

/// The last segment of a key. Keys name contents, so no two of one kind have the same.
pub(crate) fn name_of(key: &str) -> &OsStr {
    Path::new(key).file_name().unwrap_or(OsStr::new("object"))
}
