//! What can go wrong, and with what.

use std::io;
use std::path::{Path, PathBuf};

use jecloud_model::ids::VersionId;

use crate::rules::Refusal;

/// The result of everything in this crate.
pub type Result<T, E = DiskError> = std::result::Result<T, E>;

/// Why something with the file system failed. Each message names what it was done to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, to be read after "cannot": `write`.
        action: &'static str,
        /// What it was attempted on.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A stored document is not JSON, or not of the expected shape.
    #[error("{} is not a valid document", path.display())]
    NotADocument {
        /// The document.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A stored document ends too early.
    #[error("{} is truncated: it ends in the middle of the document", path.display())]
    TruncatedDocument {
        /// The document.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// A value cannot be written as JSON.
    #[error("cannot write {} as JSON", path.display())]
    NotWritable {
        /// The document that was to be written.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file is longer than its reader is prepared for.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// Something that was to be created new exists already.
    #[error("{} exists already", path.display())]
    Exists {
        /// What exists.
        path: PathBuf,
    },
    /// Somebody else holds the lock, and did so until the deadline.
    #[error("{} is locked by {}", path.display(), holder_in_words(*holder))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it; none where it is not known.
        holder: Option<u32>,
    },
    /// The call itself is wrong: a line with a line break in it, a link target with a slash.
    #[error("cannot use {value:?} for {}: {rule}", path.display())]
    Invalid {
        /// What it was to be used for.
        path: PathBuf,
        /// What came in.
        value: String,
        /// What it would have to be.
        rule: &'static str,
    },
    /// An entry of an app's source tree cannot be part of a version.
    #[error("{entry:?} cannot be deployed: {reason}")]
    Source {
        /// The path below the app's directory.
        entry: String,
        /// Why.
        reason: Refusal,
    },
    /// A file of an app's source tree became another while it was being read.
    #[error("{entry:?} changed while it was being packed")]
    Changed {
        /// The path below the app's directory.
        entry: String,
    },
    /// An archive's entry is not allowed. Nothing of the archive was kept.
    #[error("the archive's entry {entry:?} is refused: {reason}")]
    Entry {
        /// The entry's path as the archive gives it.
        entry: String,
        /// Why.
        reason: Refusal,
    },
    /// An archive is cut off, damaged, or followed by something else. Nothing of it was kept.
    #[error("the archive is damaged: {what}")]
    Damaged {
        /// In which way.
        what: &'static str,
        /// What the reader said.
        #[source]
        source: Option<io::Error>,
    },
    /// An archive's content is not what its name says. Nothing of it was kept.
    #[error("the archive holds version {found}, not {expected}")]
    OtherVersion {
        /// The version that was asked for.
        expected: VersionId,
        /// The version that the archive holds.
        found: VersionId,
    },
}

fn holder_in_words(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl DiskError {
    /// What the operating system said, where it was asked.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Damaged { source, .. } => source.as_ref(),
            _ => None,
        }
    }

    /// The disk is full, or a quota is reached.
    pub fn is_out_of_space(&self) -> bool {
        self.io().is_some_and(|io| matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Something that has to be there is not.
    pub fn is_missing(&self) -> bool {
        self.io().is_some_and(|io| io.kind() == io::ErrorKind::NotFound)
    }

    /// The user we run as may not do this.
    pub fn is_denied(&self) -> bool {
        self.io().is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied)
    }

    /// What it lies on cannot be written at all.
    pub fn is_read_only(&self) -> bool {
        self.io().is_some_and(|io| io.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// An archive is to blame, and will be as long as it is the same one: it is damaged, or holds what it must not.
    pub fn is_about_the_archive(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Entry { .. } | Self::OtherVersion { .. })
    }

    /// Somebody else holds the lock.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// The thing that was to be created new exists already.
    pub fn exists_already(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }
}

/// For `map_err`: an [`io::Error`] with what was attempted on what.
pub(crate) fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> DiskError {
    move |source| DiskError::Io { action, path: path.to_owned(), source: source.into() }
}
