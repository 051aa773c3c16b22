//! Handing the tables to those who act on them: the process manager and the front.

use std::time::{Duration, Instant};

use jecloud_disk::{durable, tree};
use jecloud_model::format::FORMAT;
use jecloud_model::processes::ProcessTable;
use jecloud_model::routes::RouteTable;

use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;

/// Writes `processes.json` and has the process manager act on it; starts that where it does not run.
pub(crate) fn write_processes(server: &Server, place: &Place, table: &ProcessTable) -> Result<(), ServerError> {
    durable::create_dirs(&place.root.logs(), 0o755)?;
    durable::write_json(&place.root.process_table(), table, 0o600)?;
    server.processes.reconcile()?;
    Ok(())
}

/// How long processes may take to end: the longest stop time-out that a hook may ask for (`wit/types.wit`), and a
/// little.
const STOP_DEADLINE: Duration = Duration::from_secs(11 * 60);

/// Has no process of the place be wanted, and returns when there is none.
pub(crate) fn stop_all(server: &Server, place: &Place) -> Result<(), ServerError> {
    if !tree::exists(&place.root.process_table())? {
        return Ok(());
    }
    let nothing = ProcessTable {
        format: FORMAT,
        app: place.app.clone(),
        environment: place.environment.clone(),
        processes: Vec::new(),
    };
    write_processes(server, place, &nothing)?;
    let deadline = Instant::now() + STOP_DEADLINE;
    loop {
        let statuses = server.processes.statuses()?;
        let is_left = statuses.iter().any(|status| status.app == place.app && status.environment == place.environment);
        if !is_left {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ServerError::Request(format!("processes of {} {} do not end", place.app, place.environment)));
        }
        pause();
    }
}

/// Writes `routes.json`. The front that runs uses it when it is told; one that starts later reads it then.
pub(crate) fn write_routes(place: &Place, table: &RouteTable) -> Result<(), ServerError> {
    Ok(durable::write_json(&place.root.route_table(), table, 0o644)?)
}

/// Returns when the front uses the routes that are on the disk.
pub(crate) fn reload_front(server: &Server, deadline: Instant) -> Result<(), ServerError> {
    loop {
        let attempt = Instant::now() + Duration::from_secs(5);
        match jecloud_front::client::reload(&server.root, attempt) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(ServerError::Supervisor(Box::new(error))),
            // It is being started: the process manager keeps it running.
            Err(_) => {
                server.processes.reconcile()?;
                pause();
            }
        }
    }
}

/// Between two looks at something that changes by itself.
#[expect(clippy::disallowed_methods, reason = "polling a condition, with a deadline at every caller")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
