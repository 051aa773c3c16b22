//! Copying: the hook writes a consistent copy while the service runs.

use jecloud_disk::{durable, tree};
use jecloud_model::backup::ServerBackup;
use jecloud_model::hook::Contents;
use jecloud_model::ids::{Digest, ReleaseNumber};
use jecloud_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::service::{Kept, Serving, context, driven};
use crate::clock::now;
use crate::error::ServerError;
use crate::users;
use crate::work::Work;

/// `backups/ID.steps.json`: what is known of a copy that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// When it was complete.
    pub(super) created: Timestamp,
    /// The release that served.
    pub(super) release: ReleaseNumber,
    /// The component that made it.
    pub(super) hook: Digest,
    /// What it says is in it.
    pub(super) contents: Contents,
}

/// Begins anew whenever it is done: what an attempt that died has left may be of another instant.
pub(super) fn perform(work: &Work<'_>, backup: &ServerBackup) -> Result<(), ServerError> {
    let serving = Serving::read(work.place, work.number)?;
    let asked = serving.asked(work.server, work.place, &backup.service, &super::what(backup))?;
    durable::remove(&work.place.root.backup_steps(&backup.id))?;
    let directory = super::directory(work.place, &backup.service);
    tree::remove(&directory)?;
    durable::create_dirs(&directory, users::PRIVATE)?;
    if let Some(owner) = work.owner() {
        tree::chown(&directory, owner)?;
    }
    let context = context(&asked, work, &serving, None);
    let function = ("backup", Kept::Nowhere);
    let contents = driven(&asked, work, &serving, &context, function, |asked, context, results, ports| {
        asked.backup(context, results, ports)
    })?;
    let copied = Copied { created: now(), release: work.number, hook: asked.wish.hook.clone(), contents };
    durable::write_json(&work.place.root.backup_steps(&backup.id), &copied, 0o600)?;
    work.place.change_backup(&backup.id, ServerBackup::copied)
}
