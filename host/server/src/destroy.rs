//! Destroying an app's environment on a server: exactly what is below its directory, and the processes that run there.

use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, tree};
use jecloud_model::format::FORMAT;
use jecloud_model::processes::ProcessTable;

use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;
use crate::tables;

/// How long processes may take to end: the longest stop time-out that a hook may ask for (`wit/types.wit`), and a
/// little.
const STOP_DEADLINE: Duration = Duration::from_secs(11 * 60);

/// How long a roll-forward that is at work may take to notice that there is nothing to deploy any more.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// Destroys it. Done again after a death in the middle, it finishes; done twice, it changes nothing.
pub fn destroy(server: &Server, place: &Place) -> Result<(), ServerError> {
    if !tree::exists(place.root.path())? {
        return Ok(());
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
    durable::remove(&place.root.route_table())?;
    let _ = jecloud_front::client::reload(&server.root, Instant::now() + Duration::from_secs(5));
    if tree::exists(&place.root.process_table())? {
        let nothing = ProcessTable {
            format: FORMAT,
            app: place.app.clone(),
            environment: place.environment.clone(),
            processes: Vec::new(),
        };
        tables::write_processes(server, place, &nothing)?;
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            // Not only asked: what has ended is taken away.
            let statuses = server.processes.reconcile()?;
            let left = statuses.iter().any(|status| status.app == place.app && status.environment == place.environment);
            if !left {
                break;
            }
            if Instant::now() >= deadline {
                return Err(ServerError::Request(
                    "processes that do not end keep the environment from being destroyed".to_owned(),
                ));
            }
            tables::pause();
        }
    }
    tree::remove(place.root.path())?;
    if let Some(app) = place.root.path().parent()
        && tree::list(app)?.is_empty()
    {
        tree::remove(app)?;
    }
    Ok(())
}
