//! Backups of services: what is known of one, on a server while it is made and in the object store from then on.
//!
//! A server makes a backup by itself: the wish is recorded first, its roll-forward does the rest, and whoever reaches the
//! server takes the sealed file to the object store. The store has `backups/ENV/SERVICE/ID.json`, a [`Manifest`], beside
//! `backups/ENV/SERVICE/ID.sealed`; the manifest is written last.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::app::Failure;
use crate::hook::Contents;
use crate::ids::{AppName, BackupId, Digest, EnvironmentName, ReleaseNumber, ServiceName};
use crate::time::Timestamp;

/// What is known of a backup for good. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// Which.
    pub id: BackupId,
    /// Of which app.
    pub app: AppName,
    /// Of which environment.
    pub environment: EnvironmentName,
    /// Of which service.
    pub service: ServiceName,
    /// When the copy was complete.
    pub created: Timestamp,
    /// The release that served then.
    pub release: ReleaseNumber,
    /// The component that made the copy.
    pub hook: Digest,
    /// What is in it: the service's version, and what the hook counts.
    pub contents: Contents,
    /// How many bytes the copy has.
    pub bytes: u64,
    /// How many bytes the sealed file has.
    pub sealed_bytes: u64,
    /// The SHA-256 of the sealed file.
    pub sha256: Digest,
    /// Whether the schedule asked for it.
    pub scheduled: bool,
    /// When it was restored into a scratch instance and the same was found in that; none where nobody tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Timestamp>,
}

/// How far a backup is on its server. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupState {
    /// The hook writes a consistent copy below the service's `backup` directory.
    Copying,
    /// The copy is packed and sealed into one file.
    Sealing,
    /// It is restored into a scratch instance, and what is found there compared.
    Verifying,
    /// It is good.
    Done,
    /// There is none: see the failure.
    Failed,
}

impl BackupState {
    /// Whether nothing more happens to it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

impl fmt::Display for BackupState {
    /// As in documents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Copying => "copying",
            Self::Sealing => "sealing",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Failed => "failed",
        })
    }
}

/// `APP/ENV/backups/ID.json` on a server: a backup that is wanted, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerBackup {
    /// 1.
    pub format: u32,
    /// Which.
    pub id: BackupId,
    /// Of which service.
    pub service: ServiceName,
    /// When it was asked for.
    pub requested: Timestamp,
    /// Whether the schedule asked for it.
    #[serde(default)]
    pub scheduled: bool,
    /// Whether it is to be verified.
    #[serde(default)]
    pub verify: bool,
    /// How far it is.
    pub state: BackupState,
    /// What is known of it: from [`BackupState::Verifying`] on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// How far bringing a backup back is. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreState {
    /// The sealed file is verified and unpacked into the service's `backup` directory. The service runs.
    Unsealing,
    /// The service's processes are stopped, and the hook replaces the data.
    Replacing,
    /// They run again, and the hook makes the data this environment's own and says what is in it.
    Checking,
    /// The service has the data of the backup.
    Done,
    /// See the failure: before [`RestoreState::Replacing`] nothing was changed.
    Failed,
}

impl RestoreState {
    /// Whether nothing more happens to it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// `APP/ENV/restore.json` on a server: a backup that is to be brought back, or the last one that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// 1.
    pub format: u32,
    /// Into which service.
    pub service: ServiceName,
    /// When it was asked for.
    pub requested: Timestamp,
    /// What is to be brought back; it may be of another environment of the app.
    pub manifest: Manifest,
    /// How far it is.
    pub state: RestoreState,
    /// In which state it failed, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<(RestoreState, Failure)>,
}
