//! Handing the tables to those who act on them: the process manager and the front.

use std::time::{Duration, Instant};

use jecloud_disk::{durable, tree};
use jecloud_model::format::FORMAT;
use jecloud_model::ids::ReleaseNumber;
use jecloud_model::layout::ServerRoot;
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
        // Not only asked: what has ended is taken away.
        let statuses = server.processes.reconcile()?;
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

/// Writes the route table. The front that runs uses it when it is told; one that starts later reads it then.
pub(crate) fn write_routes(place: &Place, table: &RouteTable) -> Result<(), ServerError> {
    let path = place.root.route_table();
    if let Some(directory) = path.parent() {
        durable::create_dirs(directory, 0o755)?;
    }
    Ok(durable::write_json(&path, table, 0o644)?)
}

/// Returns when the front sends the requests for a place to this release. `revive` has a front start where none runs.
///
/// # Errors
///
/// When it has not done so before `deadline`: it does not answer, or uses another table, and says why.
pub(crate) fn until_front_serves(
    root: &ServerRoot,
    place: &Place,
    release: ReleaseNumber,
    deadline: Instant,
    revive: &dyn Fn() -> Result<(), ServerError>,
) -> Result<(), ServerError> {
    loop {
        let attempt = Instant::now() + Duration::from_secs(5);
        let result = jecloud_front::client::reload(root, attempt);
        let is_late = Instant::now() >= deadline;
        match result {
            Ok(reloaded) if reloaded.serves(&place.app, &place.environment, release) => return Ok(()),
            Ok(reloaded) if is_late => {
                let why = match reloaded.problems.is_empty() {
                    true => "it has no routes of it".to_owned(),
                    false => reloaded.problems.join("; "),
                };
                return Err(ServerError::Request(format!("the front does not switch to release {release}: {why}")));
            }
            Err(error) if is_late => return Err(ServerError::Supervisor(Box::new(error))),
            Ok(_) => {}
            // It is being started: the process manager keeps it running.
            Err(_) => revive()?,
        }
        pause();
    }
}

/// Between two looks at something that changes by itself.
#[expect(clippy::disallowed_methods, reason = "polling a condition, with a deadline at every caller")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real front on the real tables: fails without the look at what it says it serves.
    #[test]
    fn what_the_front_does_not_serve_is_not_switched_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = ServerRoot::new(directory.path());
        let place = Place::new(&root, &"shop".parse().expect("a name"), &"production".parse().expect("a name"));
        durable::create_dirs(place.root.path(), 0o755).expect("made");
        let routes = |app: &str| RouteTable {
            format: 1,
            app: app.parse().expect("a name"),
            environment: place.environment.clone(),
            release: ReleaseNumber(2),
            hosts: Vec::new(),
            routes: Vec::new(),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let serves = |milliseconds| {
            let deadline = Instant::now() + Duration::from_millis(milliseconds);
            until_front_serves(&root, &place, ReleaseNumber(2), deadline, &|| Ok(()))
        };
        let settings = jecloud_front::Settings::default();
        std::thread::scope(|scope| {
            let front =
                scope.spawn(|| jecloud_front::serve(&root, vec![listener], settings, std::future::pending(), || {}));
            // Nothing of it, then something that it cannot use.
            let answers = || jecloud_front::client::status(&root, Instant::now() + Duration::from_secs(20)).is_ok();
            while !answers() && !front.is_finished() {
                pause();
            }
            let refused = serves(100).expect_err("there is no table");
            assert!(refused.to_string().contains("does not switch to release r2: it has no routes"), "{refused}");
            write_routes(&place, &routes("blog")).expect("written");
            let refused = serves(100).expect_err("it is not the app's");
            assert!(refused.to_string().contains("it says it is of blog/production"), "{refused}");
            write_routes(&place, &routes("shop")).expect("written");
            serves(20_000).expect("it serves");
            jecloud_front::client::stop(&root, Instant::now() + Duration::from_secs(20)).expect("it ends");
            front.join().expect("it ends").expect("well");
        });
    }
}
