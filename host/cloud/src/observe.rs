//! Looking at servers and store: what the planner is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use jecloud_model::app::Outcome;
use jecloud_model::cloud::{CloudState, EnvironmentState, Objects, Place, SeenEnvironment, SeenServer, ServerRecord};
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::time::Timestamp;

use crate::keys::{HOOKS, VERSIONS, hook_of, version_of};
use crate::machines::{Found, Machine, MachineError, Machines};
use crate::object_store::{ObjectStore, StoreError};
use crate::protocol::{Server, Wants};

/// So many servers are asked, or worked on, at the same time.
pub(crate) const AT_ONCE: usize = 32;

/// Servers, as far as they could be seen.
#[derive(Default)]
pub(crate) struct Sighting {
    pub(crate) servers: BTreeMap<EnvironmentName, BTreeMap<jecloud_model::cloud::ServerName, SeenServer>>,
    pub(crate) machines: BTreeMap<Place, Arc<dyn Machine>>,
    /// Why of some nothing could be seen.
    pub(crate) unreachable: BTreeMap<Place, String>,
}

/// Asks all servers of the environments that are meant, many at a time.
pub(crate) fn servers(machines: &dyn Machines, state: &CloudState, only: Option<&EnvironmentName>) -> Sighting {
    let mut sighting = Sighting::default();
    let mut asked: Vec<(Place, &ServerRecord, &EnvironmentState)> = Vec::new();
    for (name, environment) in state.environments.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        sighting.servers.insert(name.clone(), BTreeMap::new());
        for (server, record) in &environment.servers {
            let place = Place { environment: name.clone(), server: server.clone() };
            asked.push((place, record, environment));
        }
    }
    for group in asked.chunks(AT_ONCE) {
        let look = |(place, record, environment): &(Place, &ServerRecord, &EnvironmentState)| {
            server(machines, &state.app, place, record, environment)
        };
        let seen: Vec<Look> = match group {
            [one] => vec![look(one)],
            _ => std::thread::scope(|scope| {
                let threads: Vec<_> = group.iter().map(|one| scope.spawn(move || look(one))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Look::unknown("a bug"))).collect()
            }),
        };
        for ((place, ..), look) in group.iter().zip(seen) {
            if let Some(servers) = sighting.servers.get_mut(&place.environment) {
                servers.insert(place.server.clone(), look.seen);
            }
            if let Some(machine) = look.machine {
                sighting.machines.insert(place.clone(), machine);
            }
            if let Some(why) = look.why {
                sighting.unreachable.insert(place.clone(), why);
            }
        }
    }
    sighting
}

struct Look {
    seen: SeenServer,
    machine: Option<Arc<dyn Machine>>,
    why: Option<String>,
}

impl Look {
    fn unknown(why: impl Into<String>) -> Self {
        Self { seen: SeenServer::Unknown, machine: None, why: Some(why.into()) }
    }
}

fn server(
    machines: &dyn Machines,
    app: &AppName,
    place: &Place,
    record: &ServerRecord,
    environment: &EnvironmentState,
) -> Look {
    match machines.find(place, record) {
        Found::Absent => Look { seen: SeenServer::Absent, machine: None, why: None },
        Found::Gone => Look { seen: SeenServer::Gone, machine: None, why: None },
        Found::Unknown(error) => Look::unknown(error.to_line()),
        Found::Present(machine) => match ask(&*machine, app, place, environment) {
            Ok(seen) => Look { seen: SeenServer::Present(Box::new(seen)), machine: Some(machine), why: None },
            Err(error) => Look { machine: Some(machine), ..Look::unknown(error.to_line()) },
        },
    }
}

fn ask(
    machine: &dyn Machine,
    app: &AppName,
    place: &Place,
    environment: &EnvironmentState,
) -> Result<SeenEnvironment, MachineError> {
    let name = place.server.to_string();
    let server = Server::new(machine, &name);
    let status = server.status(app, &place.environment)?;
    let mut seen =
        SeenEnvironment { exists: status.is_some(), address: machine.peer_address(), ..SeenEnvironment::default() };
    if let Some(status) = status {
        (seen.document, seen.told) = (status.document, status.told);
    }
    let Some(wanted) = environment.wanted_release().filter(|_| !environment.destroying) else { return Ok(seen) };
    let told = seen.document.as_ref().map_or(Outcome::Unknown, |document| document.outcome(wanted.release.number));
    if told == Outcome::Unknown {
        let needed = Wants {
            versions: [wanted.release.version.clone()].into(),
            hooks: wanted.release.services.values().map(|service| service.hook.clone()).collect(),
        };
        let lacks = server.want(app, &place.environment, &needed)?;
        seen.lacks_versions = lacks.versions;
        seen.lacks_hooks = lacks.hooks;
    }
    Ok(seen)
}

/// Everything in the store, by the time of its arrival.
pub(crate) fn objects(store: &dyn ObjectStore) -> Result<Objects<Timestamp>, StoreError> {
    let versions = store.list(VERSIONS)?.into_iter();
    let hooks = store.list(HOOKS)?.into_iter();
    Ok(Objects {
        versions: versions.filter_map(|object| Some((version_of(&object.key)?, object.written))).collect(),
        hooks: hooks.filter_map(|object| Some((hook_of(&object.key)?, object.written))).collect(),
    })
}
