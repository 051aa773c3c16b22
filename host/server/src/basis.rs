//! On what those base it who tell the server to do something: it is noted before anything is done, and what is older than
//! what was noted is refused.

use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, fault, tree};
use jecloud_model::cloud::{Basis, KnownClouds};
use jecloud_model::ids::AppName;
use jecloud_model::layout::ServerRoot;

use crate::error::ServerError;

/// How long one waits for another who tells the server something: each needs milliseconds, and seconds where JeCloud itself
/// is renewed.
const DEADLINE: Duration = Duration::from_secs(30);

/// As long as this exists, nobody else tells the server anything from a newer state.
#[derive(Debug)]
#[must_use]
pub struct Accepted(#[expect(dead_code, reason = "held, not used")] Lock);

/// Takes note of the state on which somebody bases what the server is to do for an app.
///
/// # Errors
///
/// [`ServerError::Basis`] where that is older than what is known, or of another cloud: nothing was changed.
pub fn accept(root: &ServerRoot, app: &AppName, basis: &Basis) -> Result<Accepted, ServerError> {
    let lock = Lock::acquire(&root.pid_file("clouds"), Instant::now() + DEADLINE)?;
    let path = root.known_clouds();
    let mut known = known(root)?;
    let before = known.clone();
    known.accept(app, basis, is_empty(root, app)?)?;
    if known != before {
        known.format.check_writable().map_err(|source| ServerError::Format { path: path.clone(), source })?;
        durable::write_json(&path, &known, 0o644)?;
    }
    fault::point("basis.noted").map_err(|source| ServerError::Io { action: "go on", source })?;
    Ok(Accepted(lock))
}

/// What is known of clouds.
pub(crate) fn known(root: &ServerRoot) -> Result<KnownClouds, ServerError> {
    Ok(durable::read_json(&root.known_clouds())?.unwrap_or_default())
}

/// Whether nothing of the app is on this server.
fn is_empty(root: &ServerRoot, app: &AppName) -> Result<bool, ServerError> {
    Ok(tree::list(&root.path().join(app.as_str()))?.is_empty())
}
