//! Switching: the planner has pointed link and routes at the new version; here the front confirms that it uses them:
//! that is asked for by the number of the release, not concluded from an answer.

use std::time::{Duration, Instant};

use super::Work;
use crate::error::ServerError;
use crate::tables;

/// How long the front may take. It only has to read a few small files.
const FRONT_DEADLINE: Duration = Duration::from_secs(20);

/// There is no failing here, only trying again: the commit point lies behind.
pub(super) fn perform(work: &Work<'_>) -> Result<String, ServerError> {
    let Work { server, place, number, .. } = work;
    let revive = || server.processes.reconcile().map(drop);
    tables::until_front_serves(&server.root, place, *number, Instant::now() + FRONT_DEADLINE, &revive)?;
    Ok(String::new())
}
