//! Looking at servers and store: what the planner is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use jecloud_model::app::Outcome;
use jecloud_model::cloud::{
    BasisRefused, CloudState, EnvironmentState, Objects, Place, SeenEnvironment, SeenServer, ServerName, ServerRecord,
};
use jecloud_model::ids::EnvironmentName;
use jecloud_model::time::Timestamp;

use crate::keys::{HOOKS, VERSIONS, hook_of, version_of};
use crate::machines::{Found, Machine, MachineError, Machines, at_once};
use crate::object_store::{ObjectStore, StoreError};
use crate::protocol::{Server, Wants};

/// Servers, as far as they could be seen.
#[derive(Default)]
pub(crate) struct Sighting {
    pub(crate) servers: BTreeMap<EnvironmentName, BTreeMap<jecloud_model::cloud::ServerName, SeenServer>>,
    pub(crate) machines: BTreeMap<Place, Arc<dyn Machine>>,
    /// Why of some nothing could be seen, and what the person can do.
    pub(crate) unreachable: BTreeMap<Place, String>,
    /// One that belongs to another cloud: what is on it says nothing about this one.
    pub(crate) stranger: Option<(ServerName, BasisRefused)>,
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
    let places: Vec<(&Place, &ServerRecord)> = asked.iter().map(|(place, record, _)| (place, *record)).collect();
    let found: Vec<_> = asked.iter().zip(machines.find_all(&places)).collect();
    let looks = at_once(&found, |((place, _, environment), found)| server(found, state, place, environment));
    for ((place, ..), look) in asked.iter().zip(looks) {
        let look = look.unwrap_or_else(|| Look::without_answer(SeenServer::Unknown, "a bug"));
        if let Some(servers) = sighting.servers.get_mut(&place.environment) {
            servers.insert(place.server.clone(), look.seen);
        }
        if let Some(machine) = look.machine {
            sighting.machines.insert(place.clone(), machine);
        }
        if let Some(refused) = look.stranger {
            sighting.stranger.get_or_insert((place.server.clone(), refused));
        }
        if let Some(why) = look.why {
            sighting.unreachable.insert(place.clone(), why);
        }
    }
    sighting
}

struct Look {
    seen: SeenServer,
    machine: Option<Arc<dyn Machine>>,
    why: Option<String>,
    stranger: Option<BasisRefused>,
}

impl Look {
    fn without_answer(seen: SeenServer, why: impl Into<String>) -> Self {
        Self { seen, machine: None, why: Some(why.into()), stranger: None }
    }
}

fn server(found: &Found, state: &CloudState, place: &Place, environment: &EnvironmentState) -> Look {
    let look = |seen, machine| Look { seen, machine, why: None, stranger: None };
    match found {
        Found::Absent => look(SeenServer::Absent, None),
        Found::Gone => look(SeenServer::Gone, None),
        Found::Silent(error) => Look::without_answer(SeenServer::Silent, error.to_advice()),
        Found::Unseen(error) => Look::without_answer(SeenServer::Unseen, error.to_advice()),
        Found::Unknown(error) => Look::without_answer(SeenServer::Unknown, error.to_advice()),
        Found::Present(machine) => match ask(&**machine, state, place, environment) {
            Ok(Ok(seen)) => look(SeenServer::Present(Box::new(seen)), Some(Arc::clone(machine))),
            Ok(Err(refused)) => {
                let look = Look::without_answer(SeenServer::Silent, refused.to_string());
                Look { stranger: Some(refused), ..look }
            }
            Err(error) => {
                let look = Look::without_answer(SeenServer::Silent, error.to_advice());
                Look { machine: Some(Arc::clone(machine)), ..look }
            }
        },
    }
}

fn ask(
    machine: &dyn Machine,
    state: &CloudState,
    place: &Place,
    environment: &EnvironmentState,
) -> Result<Result<SeenEnvironment, BasisRefused>, MachineError> {
    let (app, name) = (&state.app, place.server.to_string());
    let server = Server::new(machine, &name);
    let status = server.status(app, &place.environment)?;
    if let Some(known) = status.as_ref().and_then(|status| status.basis.clone())
        && known.cloud != state.cloud_id
    {
        return Ok(Err(BasisRefused::OtherCloud { app: app.clone(), asked: state.cloud_id.clone(), known }));
    }
    let mut seen =
        SeenEnvironment { exists: status.is_some(), address: machine.peer_address(), ..SeenEnvironment::default() };
    if let Some(status) = status {
        (seen.document, seen.told) = (status.document, status.told);
    }
    let Some(wanted) = environment.wanted_release().filter(|_| !environment.destroying) else { return Ok(Ok(seen)) };
    let told = seen.document.as_ref().map_or(Outcome::Unknown, |document| document.outcome(wanted.release.number));
    if told == Outcome::Unknown {
        let release = &wanted.release;
        let asked = release.services.iter().filter(|(name, _)| release.asks(name, Some(&place.server.group)));
        let needed = Wants {
            versions: [release.version.clone()].into(),
            hooks: asked.map(|(_, service)| service.hook.clone()).collect(),
        };
        let lacks = server.want(app, &place.environment, &needed)?;
        seen.lacks_versions = lacks.versions;
        seen.lacks_hooks = lacks.hooks;
    }
    Ok(Ok(seen))
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
