//! Where the cloud state, archives and hooks lie: S3, or a directory.

use std::path::{Path, PathBuf};

use jecloud_model::time::Timestamp;

/// Any cause.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An object store with compare-and-swap on single objects.
///
/// All calls block; a client that is asynchronous blocks inside. Repeating a call does no harm.
pub trait ObjectStore: Send + Sync {
    /// For people: `the directory /home/ada/.local/share/jecloud/clouds/guestbook`.
    fn describe(&self) -> String;

    /// A small object, whole; none where there is none.
    ///
    /// # Errors
    ///
    /// When it could not be asked.
    fn get(&self, key: &str) -> Result<Option<Object>, StoreError>;

    /// Writes a small object, if the precondition holds at that instant. Whoever reads sees the old or the new one.
    ///
    /// # Errors
    ///
    /// When it is certain that nothing was written and that repeating it is of no use.
    fn put(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<PutResult, StoreError>;

    /// Writes an object of any size to a file, in constant memory; whether there is such an object. The file appears
    /// whole or not at all.
    ///
    /// # Errors
    ///
    /// When the object could not be read, or the file not be written.
    fn get_to_file(&self, key: &str, file: &Path) -> Result<bool, StoreError>;

    /// Makes an object of any size from a file, in constant memory. For keys that name their content: where there is
    /// such an object already it stays. `progress` is told how many bytes are done.
    ///
    /// # Errors
    ///
    /// When the file could not be read, or it is not certain that the object is there.
    fn put_file(&self, key: &str, file: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError>;

    /// Whether there is such an object.
    ///
    /// # Errors
    ///
    /// When it could not be asked.
    fn exists(&self, key: &str) -> Result<bool, StoreError>;

    /// All objects whose keys begin with `prefix`, which ends with a slash. In no particular order.
    ///
    /// # Errors
    ///
    /// When it could not be asked.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Deletes an object; one that does not exist is no error.
    ///
    /// # Errors
    ///
    /// When it is not certain that it is gone.
    fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// What an object was before, the newest first; also for one that does not exist any more.
    ///
    /// # Errors
    ///
    /// When it could not be asked.
    fn history(&self, key: &str) -> Result<Vec<PastObject>, StoreError>;

    /// What an object was before, by an id from [`ObjectStore::history`].
    ///
    /// # Errors
    ///
    /// When it could not be asked.
    fn get_past(&self, key: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The file that is the object, where the store is a directory of this machine. It must not be changed.
    fn file_of(&self, key: &str) -> Option<PathBuf> {
        let _ = key;
        None
    }
}

/// An object as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Vec<u8>,
    /// What names this content in [`Precondition::IfMatch`].
    pub etag: Etag,
}

/// Names one content of an object. Equal contents may have equal ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(pub String);

/// What must hold for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// There is no such object.
    IfNoneMatch,
    /// The object has this content.
    IfMatch(Etag),
}

/// What became of a write.
#[derive(Debug)]
pub enum PutResult {
    /// It is written.
    Done(Etag),
    /// The precondition does not hold. Where the client repeats requests by itself, its own earlier one may be why.
    PreconditionFailed,
    /// Another write goes on at the same time (409): nothing was written.
    Conflict,
    /// There is no object that could match.
    NotFound,
    /// It may be written, now or later, or not.
    Unknown(StoreError),
}

/// One of a list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
}

/// What an object was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastObject {
    /// Names it among the contents of this object.
    pub id: String,
    /// In bytes.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may do it later: the network, a time-out, an overload.
    #[error("cannot {doing} now")]
    Unreachable {
        /// What was attempted, on what.
        doing: String,
        /// What was said.
        source: Cause,
    },
    /// Repeating it is of no use: not permitted, disk full. Nothing was changed.
    #[error("cannot {doing}")]
    Refused {
        /// What was attempted, on what.
        doing: String,
        /// What was said.
        source: Cause,
    },
    /// A person has to do something first: log in, be given a permission. Nothing was changed.
    #[error("cannot {doing}")]
    Hindered {
        /// What was attempted, on what.
        doing: String,
        /// What hinders it.
        source: Cause,
        /// What the person can do, as a fragment: `log in with ...`.
        hint: String,
    },
}

impl StoreError {
    /// What the person can do, as a fragment; empty where the message says it all.
    pub fn hint(&self) -> &str {
        match self {
            Self::Hindered { hint, .. } => hint,
            Self::Unreachable { .. } | Self::Refused { .. } => "",
        }
    }

    /// Whether a later attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
