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
use crate::processes::ProcessSpec;
use crate::time::Timestamp;

/// How many backups that failed a server remembers.
pub const KEPT_FAILURES: usize = 20;

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

impl ServerBackup {
    /// One that is wanted.
    pub fn wanted(id: BackupId, service: ServiceName, verify: bool, scheduled: bool, now: Timestamp) -> Self {
        let state = BackupState::Copying;
        Self { format: 1, id, service, requested: now, scheduled, verify, state, manifest: None, failure: None }
    }

    /// Whether this asks for the same as another one.
    pub fn is_the_same_wish(&self, other: &Self) -> bool {
        let wish = |backup: &Self| (backup.id.clone(), backup.service.clone(), backup.verify, backup.scheduled);
        wish(self) == wish(other)
    }

    /// The hook has made its copy.
    pub fn copied(&mut self) {
        if self.state == BackupState::Copying {
            self.state = BackupState::Sealing;
        }
    }

    /// The copy is lost, or may be: it has to be made anew.
    pub fn begin_anew(&mut self) {
        if self.state == BackupState::Sealing {
            self.state = BackupState::Copying;
        }
    }

    /// The copy is sealed.
    pub fn sealed(&mut self, manifest: Manifest) {
        if self.state == BackupState::Sealing {
            self.manifest = Some(manifest);
            self.state = if self.verify { BackupState::Verifying } else { BackupState::Done };
        }
    }

    /// The same was found in the scratch instance.
    pub fn verified(&mut self, now: Timestamp) {
        if let (BackupState::Verifying, Some(manifest)) = (self.state, &mut self.manifest) {
            manifest.verified = Some(now);
            self.state = BackupState::Done;
        }
    }

    /// There is none.
    pub fn fail(&mut self, failure: Failure) {
        if !self.state.is_end() {
            self.failure = Some(failure);
            self.state = BackupState::Failed;
        }
    }

    /// Whether what the hook has written, or writes, below its `backup` directory is needed.
    pub fn needs_copy(&self) -> bool {
        matches!(self.state, BackupState::Copying | BackupState::Sealing)
    }
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

impl fmt::Display for RestoreState {
    /// As in documents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unsealing => "unsealing",
            Self::Replacing => "replacing",
            Self::Checking => "checking",
            Self::Done => "done",
            Self::Failed => "failed",
        })
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

impl Restore {
    /// One that is wanted.
    pub fn wanted(service: ServiceName, manifest: Manifest, now: Timestamp) -> Self {
        Self { format: 1, service, requested: now, manifest, state: RestoreState::Unsealing, failure: None }
    }

    /// The work of a state is done. Done twice it changes nothing the second time.
    pub fn finish_state(&mut self, state: RestoreState) {
        if self.state == state && self.failure.is_none() {
            self.state = match state {
                RestoreState::Unsealing => RestoreState::Replacing,
                RestoreState::Replacing => RestoreState::Checking,
                RestoreState::Checking => RestoreState::Done,
                end @ (RestoreState::Done | RestoreState::Failed) => end,
            };
        }
    }

    /// It failed. Where data was replaced, the state is [`RestoreState::Replacing`] again until
    /// [`Restore::data_is_back`].
    pub fn fail(&mut self, failure: Failure) {
        if self.state.is_end() || self.failure.is_some() {
            return;
        }
        self.failure = Some((self.state, failure));
        self.state = match self.state {
            RestoreState::Unsealing => RestoreState::Failed,
            _ => RestoreState::Replacing,
        };
    }

    /// The data that the service had before is where it was.
    pub fn data_is_back(&mut self) {
        if self.is_putting_back() {
            self.state = RestoreState::Failed;
        }
    }

    /// Whether it failed, and the data that the service had before is to be put back.
    pub fn is_putting_back(&self) -> bool {
        self.state == RestoreState::Replacing && self.failure.is_some()
    }

    /// Whether the data is being replaced or looked at: nothing else may be done with the service.
    pub fn holds_the_service(&self) -> bool {
        matches!(self.state, RestoreState::Replacing | RestoreState::Checking)
    }

    /// Whether this process must not run now.
    pub fn stops(&self, spec: &ProcessSpec) -> bool {
        self.state == RestoreState::Replacing && spec.service == self.service && spec.id.release.is_none()
    }
}

/// In which counts a restored service differs from what was copied. The versions are not compared: a newer service may well
/// have been given the data of an older one.
pub fn differences(copied: &Contents, found: &Contents) -> Vec<String> {
    let mut all = Vec::new();
    let names: std::collections::BTreeSet<&String> = copied.counts.keys().chain(found.counts.keys()).collect();
    for name in names {
        let number = |contents: &Contents| contents.counts.get(name).map_or("none".to_owned(), u64::to_string);
        let (before, after) = (number(copied), number(found));
        if before != after {
            all.push(format!("{name}: {after} where {before} were copied"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails where a backup that failed gives data back that was never replaced, and where one that was replaced is not given
    /// back.
    #[test]
    fn what_failed_is_put_back_where_something_was_replaced() {
        for (state, then) in [
            (RestoreState::Unsealing, RestoreState::Failed),
            (RestoreState::Replacing, RestoreState::Replacing),
            (RestoreState::Checking, RestoreState::Replacing),
        ] {
            let now = Timestamp::from_millisecond(0);
            let manifest = Manifest {
                format: 1,
                id: BackupId::new(now, [0; 4]),
                app: "shop".parse().expect("valid"),
                environment: EnvironmentName::production(),
                service: "cache".parse().expect("valid"),
                created: now,
                release: ReleaseNumber(1),
                hook: Digest::of(b"hook"),
                contents: Contents::default(),
                bytes: 1,
                sealed_bytes: 2,
                sha256: Digest::of(b"sealed"),
                scheduled: false,
                verified: None,
            };
            let mut restore = Restore::wanted(manifest.service.clone(), manifest, now);
            restore.state = state;
            restore.fail(Failure::because("of the test"));
            assert_eq!((restore.state, restore.is_putting_back()), (then, then == RestoreState::Replacing));
            assert_eq!(restore.failure.as_ref().map(|(state, _)| *state), Some(state));
            // What is put back is not replaced again, and does not fail a second time.
            restore.finish_state(RestoreState::Replacing);
            restore.fail(Failure::because("of another reason"));
            assert_eq!(restore.state, then);
            restore.data_is_back();
            assert_eq!(restore.state, RestoreState::Failed);
        }
    }
}
