//! Destroying an app's environment on a server: exactly what is below its directory, the processes that run there, and
//! their user.

use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, tree};

use crate::backup::scratch;
use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;
use crate::tables;
use crate::users;

/// How long a roll-forward that is at work may take to notice that there is nothing to deploy any more.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// Destroys it. Done again after a death in the middle, it finishes; done twice, it changes nothing.
pub fn destroy(server: &Server, place: &Place) -> Result<(), ServerError> {
    if !tree::exists(place.root.path())? {
        // Whoever destroyed it may have died right before this.
        return users::remove(server, place);
    }
    // First of all nothing is wanted any more: a roll-forward that is at work stops by itself.
    place
        .change(|document| {
            document.deployment = None;
            document.current_release = None;
            document.draining.clear();
            Ok::<(), std::convert::Infallible>(())
        })?
        .unwrap_or_else(|never| match never {});
    let _lock = Lock::acquire(&place.root.path().join("rollforward.pid"), Instant::now() + LOCK_DEADLINE)?;
    for scratch in scratch::all_of(server, place)? {
        destroy(server, &scratch)?;
    }
    durable::remove(&place.root.route_table())?;
    let _ = jecloud_front::client::reload(&server.root, Instant::now() + Duration::from_secs(5));
    tables::stop_all(server, place)?;
    users::take_back(server, place)?;
    tree::remove(place.root.path())?;
    if let Some(app) = place.root.path().parent()
        && tree::list(app)?.is_empty()
    {
        tree::remove(app)?;
    }
    users::remove(server, place)
}
