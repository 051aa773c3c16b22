//! Replacing: the processes of the service are stopped, what they have is kept aside, and the hook replaces it.

use std::time::{Duration, Instant};

use jecloud_disk::tree;
use jecloud_model::app::{Failure, Stale};
use jecloud_model::backup::Restore;

use super::super::service::{Kept, Serving, context, driven};
use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;
use crate::tables;
use crate::work::Work;

/// How long processes may take to end: the longest stop time-out that a hook may ask for (`wit/types.wit`), and a little.
const STOP_DEADLINE: Duration = Duration::from_secs(11 * 60);

pub(super) fn perform(work: &Work<'_>, restore: &Restore) -> Result<(), ServerError> {
    stopped(work.server, work.place, restore, work.cancel)?;
    keep_aside(work.place, restore)?;
    let serving = Serving::read(work.place, work.number)?;
    let asked = super::asked(work, &serving, restore)?;
    let context = context(&asked, work, &serving, Some(&restore.manifest.contents.version));
    let function = ("restore", Kept::In(work.place.root.restore_steps()));
    driven(&asked, work, &serving, &context, function, |asked, context, results, ports| {
        asked.restore(context, results, ports)
    })?;
    // Before it is recorded that this is the data.
    Ok(tree::sync(&work.place.root.service(&restore.service))?)
}

/// Keeps the data that there is, and puts the copy where the hook finds it.
fn keep_aside(place: &Place, restore: &Restore) -> Result<(), ServerError> {
    let (data, before) = (place.root.service(&restore.service), place.root.service_before(&restore.service));
    let (copy, directory) =
        (place.root.service_restoring(&restore.service), super::super::directory(place, &restore.service));
    if !tree::exists(&before)? {
        // No part of the data: what was to be sealed is, or begins anew.
        tree::remove(&directory)?;
        tree::duplicate(&data, &before)?;
    }
    if tree::exists(&copy)? {
        tree::remove(&directory)?;
        tree::rename(&copy, &directory)?;
    }
    Ok(())
}

/// Returns when no process of the service runs that outlives releases: the planner has taken them out of the table.
pub(super) fn stopped(
    server: &Server,
    place: &Place,
    restore: &Restore,
    cancel: &dyn Fn() -> bool,
) -> Result<(), ServerError> {
    let deadline = Instant::now() + STOP_DEADLINE;
    loop {
        let statuses = server.processes.reconcile()?;
        let left = statuses.iter().find(|status| {
            let is_here = status.app == place.app && status.environment == place.environment;
            is_here && status.service == restore.service && status.id.release.is_none()
        });
        let Some(left) = left else { return Ok(()) };
        if cancel() {
            return Err(Stale(place.document()?.newest_release).into());
        }
        if Instant::now() >= deadline {
            return Err(Failure::because(format!("{} does not end", left.id.short())).into());
        }
        tables::pause();
    }
}
