//! The server roll-forward: observe, plan, perform one step, again, until nothing is left to do.

use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, tree};
use jecloud_model::app::AppDocument;
use jecloud_model::events::{Event, What};
use jecloud_model::rollforward::{Step, plan};

use crate::clock::now;
use crate::error::ServerError;
use crate::observe::observe;
use crate::place::Place;
use crate::server::Server;
use crate::{backup, destroy, tables, users, work};

/// How often a long piece of work looks whether it is still wanted.
const CANCEL_GLANCE: Duration = Duration::from_millis(250);

/// How long one that was asked to run waits for another one that does: that one sees what is new by itself, unless
/// it is just about to end.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// What a roll-forward came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rolled {
    /// There is nothing left to do.
    Settled,
    /// Another one is at work.
    Busy,
}

/// Rolls all apps and environments forward, each by a thread of its own: none waits for another one's build.
///
/// # Errors
///
/// All that went wrong, by place. What went wrong for one stops no other.
pub fn roll_forward_all(server: &Server) -> Result<(), Vec<(Place, ServerError)>> {
    let places = match Place::all(&server.root) {
        Ok(places) => places,
        Err(error) => return Err(vec![(nowhere(server), error)]),
    };
    let mut errors = remove_left_over(server);
    errors.extend(std::thread::scope(|scope| {
        let threads: Vec<_> = places
            .into_iter()
            .map(|place| {
                scope.spawn(move || match forward_or_away(server, &place) {
                    Ok(()) => None,
                    Err(error) => Some((place, error)),
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect::<Vec<_>>()
    }));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Rolls a place forward; a scratch instance that no backup needs any more is destroyed.
fn forward_or_away(server: &Server, place: &Place) -> Result<(), ServerError> {
    if !place.environment.is_scratch() {
        return roll_forward(server, place, false).map(drop);
    }
    let result = match backup::scratch::is_needed(server, place) {
        Ok(true) => roll_forward(server, place, false).map(drop),
        Ok(false) => destroy::destroy(server, place),
        Err(error) => Err(error),
    };
    match result {
        // Whoever needed it has destroyed it meanwhile.
        Err(_) if !tree::exists(place.root.path())? => Ok(()),
        other => other,
    }
}

/// Goes on with what somebody who destroyed an environment left: what was not deleted yet, and its user.
fn remove_left_over(server: &Server) -> Vec<(Place, ServerError)> {
    if let Err(error) = sweep_apps(server) {
        return vec![(nowhere(server), error)];
    }
    let left = match users::left_over(&server.root) {
        Ok(left) => left,
        Err(error) => return vec![(nowhere(server), error)],
    };
    left.into_iter().filter_map(|place| users::remove(server, &place).err().map(|error| (place, error))).collect()
}

/// Deletes environments that lost their names already, and the directories of apps that have none left.
fn sweep_apps(server: &Server) -> Result<(), ServerError> {
    for app in tree::list(server.root.path())? {
        if app.to_str().is_none_or(|name| name.parse::<jecloud_model::ids::AppName>().is_err()) {
            continue;
        }
        let directory = server.root.path().join(app);
        if jecloud_disk::temporary::sweep(&directory)? > 0 && tree::list(&directory)?.is_empty() {
            tree::remove(&directory)?;
        }
    }
    Ok(())
}

/// Stands for the server where no app can be named.
fn nowhere(server: &Server) -> Place {
    let name = "server".parse().unwrap_or_else(|_| unreachable!("a constant that is a valid name"));
    Place::new(&server.root, &name, &jecloud_model::ids::EnvironmentName::production())
}

/// Rolls one app and environment forward. `insist` waits a little for another one that is at work.
pub fn roll_forward(server: &Server, place: &Place, insist: bool) -> Result<Rolled, ServerError> {
    let path = place.root.path().join("rollforward.pid");
    let lock = match insist {
        true => match Lock::acquire(&path, Instant::now() + LOCK_DEADLINE) {
            Ok(lock) => lock,
            Err(error) if error.is_locked() => return Ok(Rolled::Busy),
            Err(error) => return Err(error.into()),
        },
        false => match Lock::try_acquire(&path)? {
            Some(lock) => lock,
            None => return Ok(Rolled::Busy),
        },
    };
    sweep(place)?;
    backup::sweep(place)?;
    let mut settled = false;
    while !settled {
        settled = match turn(server, place) {
            // Somebody deployed something else meanwhile: look again.
            Err(ServerError::Stale(_)) => false,
            Err(error) => {
                tell_why_it_stops(place, &error);
                return Err(error);
            }
            Ok(settled) => settled,
        };
    }
    drop(lock);
    Ok(Rolled::Settled)
}

/// Lets those who wait for a deployment know why it does not go on; another attempt that stops at the same is not worth
/// a second word.
fn tell_why_it_stops(place: &Place, error: &ServerError) {
    let Ok(Some(deployment)) = place.document().map(|document| document.deployment) else { return };
    let text = format!("it stops here, and is tried again: {}", crate::error::chain(error));
    let told = durable::read_text(&place.events(deployment.release)).ok().flatten().unwrap_or_default();
    let last = told.lines().rev().filter_map(|line| serde_json::from_str::<Event>(line).ok()).find_map(|event| {
        match event.what {
            What::Note { text } => Some(text),
            _ => None,
        }
    });
    if last.as_deref() != Some(text.as_str()) {
        place.tell(deployment.release, What::Note { text });
    }
}

/// Removes what writers that died left beside what they wrote.
fn sweep(place: &Place) -> Result<(), ServerError> {
    let newest = place.document()?.newest_release;
    let mut directories = vec![place.root.path().to_owned(), place.root.versions(), place.root.release(newest)];
    let services = place.root.path().join("services");
    directories.extend([services.clone(), place.root.backups()]);
    for service in tree::list(&services)? {
        directories.push(services.join(&service).join("kept"));
        directories.push(services.join(service));
    }
    for directory in directories {
        jecloud_disk::temporary::sweep(&directory)?;
    }
    Ok(())
}

/// One look and what follows from it; whether nothing was left to do.
fn turn(server: &Server, place: &Place) -> Result<bool, ServerError> {
    let document = place.document()?;
    // Who may not write it does not act on it either: processes and routes follow from what it may not understand.
    let path = place.root.app_document();
    document.format.check_writable().map_err(|source| ServerError::Format { path, source })?;
    let seen = observe(&server.root, place, &document)?;
    let steps = plan(&place.app, &place.environment, &document, &seen, now());
    for step in &steps {
        perform(server, place, &document, step)?;
    }
    Ok(steps.is_empty() && !backup::schedule::perform(place, &document)?)
}

fn perform(server: &Server, place: &Place, document: &AppDocument, step: &Step) -> Result<(), ServerError> {
    jecloud_disk::fault::point("rollforward.step")
        .map_err(|source| ServerError::Io { action: "roll forward", source })?;
    match step {
        Step::WriteProcesses(table) => tables::write_processes(server, place, table),
        Step::LinkCurrent(version) => Ok(jecloud_disk::link::switch(&place.root.current(), version.as_str())?),
        Step::WriteRoutes(table) => {
            tables::write_routes(place, table)?;
            // A front that does not answer now reads the table when it starts; the switch itself insists.
            let _ = jecloud_front::client::reload(&server.root, Instant::now() + Duration::from_secs(5));
            Ok(())
        }
        Step::Work(number, state) => {
            let number_of = |document: &AppDocument| document.deployment.as_ref().map(|deployment| deployment.release);
            let cancel = Glance::new(place, |document| number_of(document) != Some(*number));
            let cancel: &dyn Fn() -> bool = &|| cancel.is_due();
            let work = work::Work { server, place, document, number: *number, user: None, cancel };
            work::perform(&work, *state)
        }
        Step::Backup(id, state) => backup::perform(server, place, document, id, *state),
        Step::Restore(_) => backup::restore::perform(server, place, document),
        Step::ForgetBackups(ids) => backup::forget_all(place, ids),
        Step::RecordDrained(release) => {
            place
                .change(|document| {
                    document.drained(*release);
                    Ok::<(), std::convert::Infallible>(())
                })?
                .unwrap_or_else(|never| match never {});
            Ok(())
        }
        Step::WaitUntil(until) => {
            let wait = until.since(now()).min(Duration::from_secs(1));
            let end = Instant::now() + wait;
            while Instant::now() < end {
                tables::pause();
            }
            Ok(())
        }
        Step::DeleteVersions(versions) => {
            for version in versions {
                durable::remove(&place.root.archive(version))?;
                tree::remove(&place.root.version(version))?;
                durable::remove(&place.root.built(version))?;
            }
            Ok(())
        }
        Step::DeleteReleases(releases) => {
            for release in releases {
                tree::remove(&place.root.release(*release))?;
            }
            delete_unused_build_results(place)
        }
    }
}

/// Deletes kept build results that no recorded release uses.
fn delete_unused_build_results(place: &Place) -> Result<(), ServerError> {
    let mut used = std::collections::BTreeSet::new();
    for number in place.releases()?.into_keys() {
        match place.prepared(number)? {
            Some(prepared) => used.extend(prepared.kept.into_values().flatten()),
            // Not prepared yet, or for ever: what it will use is not known, so nothing is deleted now.
            None if place.document()?.deployment.is_some() => return Ok(()),
            None => {}
        }
    }
    for service in tree::list(&place.root.path().join("services"))? {
        let kept = place.root.path().join("services").join(service).join("kept");
        for name in tree::list(&kept)? {
            if !name.to_str().is_some_and(|name| used.contains(name)) {
                tree::remove(&kept.join(name))?;
            }
        }
    }
    Ok(())
}

/// Whether what is being done is not wanted any more; looks at `app.json` now and then.
pub(crate) struct Glance<'a, F> {
    place: &'a Place,
    is_over: F,
    seen: std::cell::Cell<(Option<Instant>, bool)>,
}

impl<'a, F: Fn(&AppDocument) -> bool> Glance<'a, F> {
    /// `is_over` says of `app.json` whether it is not wanted any more.
    pub(crate) fn new(place: &'a Place, is_over: F) -> Self {
        Self { place, is_over, seen: std::cell::Cell::new((None, false)) }
    }

    /// Once it is over it stays so.
    pub(crate) fn is_due(&self) -> bool {
        let (last, due) = self.seen.get();
        if due || last.is_some_and(|last| last.elapsed() < CANCEL_GLANCE) {
            return due;
        }
        let due = match self.place.document() {
            Ok(document) => (self.is_over)(&document),
            // What cannot be read now is read again later.
            Err(_) => false,
        };
        self.seen.set((Some(Instant::now()), due));
        due
    }
}
