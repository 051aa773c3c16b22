//! Verifying: a backup is good when it was restored once. A roll-forward of its own does that in a scratch instance; here is
//! waited for its end, and a deployment does not wait for it.

use std::time::{Duration, Instant};

use jecloud_disk::lock;
use jecloud_model::app::{Failure, Outcome, Stale};
use jecloud_model::backup::{Restore, RestoreState, ServerBackup};

use super::scratch::{self, RELEASE, Scratch};
use super::service::Serving;
use crate::api::spawn_roll_forward;
use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;
use crate::tables;
use crate::work::Work;

/// How long verifying may take: what is not restored by then will hardly be when it is needed.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);

/// How long nobody may work on the scratch instance before somebody is made to: longer than one who was just started needs
/// to begin.
const IDLE: Duration = Duration::from_millis(500);

/// How patient one gets at the most: one that cannot begin is no better for being started often.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

pub(super) fn perform(work: &Work<'_>, backup: &ServerBackup) -> Result<(), ServerError> {
    let end = verified(work, backup);
    let failure = match end.map_err(ServerError::into_failure) {
        Ok(()) => None,
        Err(Err(error)) => return Err(error),
        Err(Ok(failure)) => Some(failure),
    };
    work.place.change_backup(&backup.id, |backup| match failure {
        None => backup.verified(now()),
        Some(failure) => backup.fail(failure),
    })?;
    // Whoever dies here leaves it to the roll-forward that finds a scratch place which nobody needs.
    scratch::remove(work.server, work.place, &backup.id)
}

fn verified(work: &Work<'_>, backup: &ServerBackup) -> Result<(), ServerError> {
    let serving = Serving::read(work.place, work.number)?;
    let place = scratch::make(work.server, work.place, &serving, backup)?;
    let at_work = place.root.path().join("rollforward.pid");
    let mut last_seen_at_work = Instant::now();
    let mut patience = Duration::ZERO;
    loop {
        if (work.cancel)() {
            return Err(Stale(work.number).into());
        }
        match progress(&place, backup)? {
            Progress::Ended => return Ok(()),
            Progress::Going => {}
        }
        if Scratch::of(&place)?.is_some_and(|scratch| now().since(scratch.since) > DEADLINE) {
            let hours = DEADLINE.as_secs() / 3600;
            return Err(Failure::because(format!("it could not be restored into a scratch instance in {hours} hours"))
                .hint(super::KEEP_LOOKING)
                .into());
        }
        if lock::holder(&at_work)?.is_some() {
            last_seen_at_work = Instant::now();
        } else if last_seen_at_work.elapsed() >= patience {
            spawn_roll_forward(work.server, &place)?;
            last_seen_at_work = Instant::now();
            patience = LONGEST_IDLE.min((patience * 2).max(IDLE));
        }
        tables::pause();
    }
}

enum Progress {
    Going,
    Ended,
}

/// How far the scratch instance is; wishes the backup restored when it serves.
fn progress(place: &Place, backup: &ServerBackup) -> Result<Progress, ServerError> {
    let failed = |what: &str, failure: &Failure| -> ServerError {
        Failure::because(format!("{what}: {}", failure.reason))
            .details(failure.details.clone())
            .hint(super::KEEP_LOOKING)
            .into()
    };
    match place.document()?.outcome(RELEASE) {
        Outcome::Failed(failure) => return Err(failed("the scratch instance could not be started", &failure)),
        Outcome::Serving => {}
        _ => return Ok(Progress::Going),
    }
    let _lock = place.lock()?;
    match (place.restore()?, &backup.manifest) {
        (None, Some(manifest)) => {
            place.write_restore(&Restore::wanted(backup.service.clone(), manifest.clone(), now()))?;
            Ok(Progress::Going)
        }
        (Some(Restore { state: RestoreState::Done, .. }), _) => Ok(Progress::Ended),
        (Some(Restore { state: RestoreState::Failed, failure, .. }), _) => {
            let failure = failure.map_or_else(|| Failure::because("nobody knows why"), |(_, failure)| failure);
            Err(failed("it could not be restored into a scratch instance", &failure))
        }
        _ => Ok(Progress::Going),
    }
}
