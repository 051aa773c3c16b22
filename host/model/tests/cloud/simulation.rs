//! Servers and a store that exist in memory only, and roll-forwards that act on them from what they saw earlier.
//!
//! A server's `app.json` is the real one, changed by its own transitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jecloud_model::app::{AppDocument, Deployment, DeploymentState, Failure, Gates, Outcome, Requested};
use jecloud_model::cloud::{
    Change, CloudState, CloudStep, Objects, Operation, Place, ReleaseOutcome, SeenCloud, SeenEnvironment, SeenServer,
    ServerName, ServerRecord, UNTIL_VISIBLE, apply, plan,
};
use jecloud_model::ids::ServerGroup;
use jecloud_model::ids::{Digest, OperationId, ReleaseNumber, VersionId};
use jecloud_model::release::Release;
use jecloud_model::time::Timestamp;
use jecloud_model::topology::{Told, Topology};

use crate::laws::{check_change, check_plan, leader};
use crate::{Story, operation_id, production, start};

/// A server that was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    /// Which request it was made from: a second one from the same request does not come into being.
    pub(crate) launch: u64,
    pub(crate) reachable: bool,
    /// Since when its provider does not show it.
    pub(crate) hidden: Option<Timestamp>,
    pub(crate) exists: bool,
    pub(crate) document: Option<AppDocument>,
    pub(crate) versions: BTreeSet<VersionId>,
    pub(crate) hooks: BTreeSet<Digest>,
    /// What it was told of the others with each release.
    pub(crate) told: BTreeMap<ReleaseNumber, Topology>,
}

/// What a roll-forward knows and means to do. It may be out of date.
#[derive(Debug, Clone, Default)]
pub(crate) struct RollForward {
    pub(crate) state: Option<CloudState>,
    pub(crate) steps: Vec<CloudStep>,
}

pub(crate) struct World {
    pub(crate) state: CloudState,
    pub(crate) now: Timestamp,
    pub(crate) servers: BTreeMap<ServerName, Server>,
    pub(crate) stored: Objects<Timestamp>,
    pub(crate) at_hand: Objects<()>,
    /// In which state a release fails on which server.
    pub(crate) fates: BTreeMap<(ReleaseNumber, ServerName), DeploymentState>,
    pub(crate) roll_forwards: [RollForward; 2],
    /// Requests whose servers exist no more.
    pub(crate) removed: BTreeSet<u64>,
    /// For which releases which servers have run all release commands.
    migrated: BTreeSet<(ReleaseNumber, ServerName)>,
    /// Those of them of which the provider does not even say so.
    pub(crate) vanished: BTreeSet<u64>,
    launches: u64,
    operations: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            state: Story::new().state,
            now: start(),
            servers: BTreeMap::new(),
            stored: Objects::default(),
            at_hand: Objects::default(),
            fates: BTreeMap::new(),
            roll_forwards: Default::default(),
            removed: BTreeSet::new(),
            migrated: BTreeSet::new(),
            vanished: BTreeSet::new(),
            launches: 0,
            operations: 100,
        }
    }

    pub(crate) fn operation(&mut self, change: Change) -> Operation {
        self.operations += 1;
        let id: OperationId = operation_id(self.operations);
        Operation { id, change }
    }

    /// Changes the state if the change still fits; what is promised of every change is checked.
    pub(crate) fn change(&mut self, change: Change) -> bool {
        let operation = self.operation(change);
        let Ok(next) = apply(&self.state, &operation, self.now) else { return false };
        check_change(&self.state, &next, &operation.change);
        assert_eq!(apply(&next, &operation, self.now).as_ref(), Ok(&next), "applied twice");
        self.state = next;
        true
    }

    pub(crate) fn deploy(&mut self, release: Release, scale: BTreeMap<ServerGroup, u32>) -> bool {
        let expected = self
            .state
            .environments
            .get(&production())
            .and_then(|environment| environment.newest())
            .map(|newest| newest.release.number);
        self.at_hand.versions.insert(release.version.clone(), ());
        self.at_hand.hooks.extend(release.services.values().map(|service| (service.hook.clone(), ())));
        self.change(Change::RecordRelease { expected, release: Box::new(release), scale })
    }

    pub(crate) fn see(&self, state: &CloudState) -> SeenCloud {
        let mut seen =
            SeenCloud { objects: Some(self.stored.clone()), at_hand: self.at_hand.clone(), ..SeenCloud::default() };
        for (name, environment) in &state.environments {
            let servers = seen.servers.entry(name.clone()).or_default();
            for (server, record) in &environment.servers {
                servers.insert(server.clone(), self.see_server(server, launch(record), state));
            }
        }
        seen
    }

    fn see_server(&self, name: &ServerName, launch: u64, state: &CloudState) -> SeenServer {
        if self.vanished.contains(&launch) {
            return SeenServer::Unseen;
        }
        if self.removed.contains(&launch) {
            return SeenServer::Gone;
        }
        let Some(server) = self.servers.get(name).filter(|server| server.launch == launch) else {
            return SeenServer::Absent;
        };
        if server.hidden.is_some() {
            return SeenServer::Unseen;
        }
        if !server.reachable {
            return if launch.is_multiple_of(2) { SeenServer::Unknown } else { SeenServer::Silent };
        }
        let mut seen = SeenEnvironment {
            exists: server.exists,
            document: server.document.clone(),
            address: Some(address(server)),
            ..SeenEnvironment::default()
        };
        let environment = &state.environments[&production()];
        for (number, topology) in &server.told {
            let gives = match environment.release(*number) {
                Some(recorded) => gives(&recorded.release, topology),
                None => BTreeMap::new(),
            };
            seen.told.insert(*number, Told { topology: topology.clone(), gives });
        }
        if let Some(wanted) = state.environments.get(&production()).and_then(|environment| environment.wanted_release())
        {
            let version = &wanted.release.version;
            seen.lacks_versions = [version.clone()].into_iter().filter(|id| !server.versions.contains(id)).collect();
            let hooks = wanted.release.services.values().map(|service| service.hook.clone());
            seen.lacks_hooks = hooks.filter(|hook| !server.hooks.contains(hook)).collect();
        }
        SeenServer::Present(Box::new(seen))
    }

    /// One of the roll-forwards looks and plans.
    pub(crate) fn observe(&mut self, which: usize) {
        self.vanish();
        let seen = self.see(&self.state);
        let steps = plan(&self.state, &seen, self.now);
        check_plan(&self.state, &seen, &steps, self.now);
        self.roll_forwards[which] = RollForward { state: Some(self.state.clone()), steps };
    }

    /// One of the roll-forwards performs the next step of its plan, so many times.
    pub(crate) fn perform_next(&mut self, which: usize, times: usize) {
        if self.roll_forwards[which].steps.is_empty() {
            return;
        }
        let step = self.roll_forwards[which].steps.remove(0);
        let state = self.roll_forwards[which].state.clone().unwrap_or_else(|| self.state.clone());
        for _ in 0..times {
            if !self.perform(&state, &step) {
                // What comes after a step that failed was planned for a world in which it succeeded.
                self.roll_forwards[which].steps.clear();
            }
        }
    }

    fn server(&mut self, place: &Place) -> Option<&mut Server> {
        self.servers.get_mut(&place.server).filter(|server| server.reachable && server.hidden.is_none())
    }

    /// Performs a step that was planned from `state`; whether it succeeded.
    pub(crate) fn perform(&mut self, state: &CloudState, step: &CloudStep) -> bool {
        let now = self.now;
        let release = |number: ReleaseNumber| {
            state.environments.get(&production()).and_then(|e| e.release(number)).map(|r| r.release.clone())
        };
        match step {
            CloudStep::Record(change) => drop(self.change(change.clone())),
            CloudStep::RecordServer(place) => {
                let Place { environment, server } = place.clone();
                self.launches += 1;
                let details = serde_json::Map::from_iter([("launch".to_owned(), self.launches.into())]);
                self.change(Change::RecordServer { environment, server, replaces: None, details });
            }
            CloudStep::CreateServer(place) => {
                let Some(launch) = planned_launch(state, place).filter(|launch| !self.removed.contains(launch)) else {
                    return false;
                };
                let new = Server { launch, reachable: true, ..Server::default() };
                let server = self.servers.entry(place.server.clone()).or_insert(new);
                assert_eq!(server.launch, launch, "two servers under one name");
            }
            CloudStep::RemoveServer(place) => {
                let Some(launch) = planned_launch(state, place) else { return false };
                self.terminate(&place.server, launch);
                let details = state.environments[&production()].servers[&place.server].details.clone();
                let Place { environment, server } = place.clone();
                self.change(Change::ForgetServer { environment, server, details });
            }
            CloudStep::StoreArchive(version) => drop(self.stored.versions.insert(version.clone(), now)),
            CloudStep::StoreHook(hook) => drop(self.stored.hooks.insert(hook.clone(), now)),
            CloudStep::PutHook(place, hook) => {
                let stored = self.stored.hooks.contains_key(hook);
                let Some(server) = self.server(place).filter(|_| stored) else { return false };
                server.hooks.insert(hook.clone());
            }
            CloudStep::PutArchive(place, version) => {
                let stored = self.stored.versions.contains_key(version);
                let Some(server) = self.server(place).filter(|_| stored) else { return false };
                server.versions.insert(version.clone());
                server.exists = true;
            }
            CloudStep::HandRelease(place, number, topology) => {
                let Some(release) = release(*number) else { return false };
                let Some(server) = self.server(place) else { return false };
                if !server.versions.contains(&release.version) {
                    return false;
                }
                server.exists = true;
                let document = server.document.get_or_insert_default();
                let gates = Gates { follows: topology.follows, hold: release.hold };
                match document.request(&release.version, *number, gates, now) {
                    Ok(Requested::Recorded { .. }) => drop(server.told.insert(*number, (**topology).clone())),
                    Ok(Requested::Known) => {}
                    Err(_) => return false,
                }
            }
            CloudStep::AwaitServer { place, .. } => return self.work(&place.server.clone(), 10),
            CloudStep::ProceedOnServer(place, number) => {
                let Some(server) = self.server(place) else { return false };
                return server.document.as_mut().is_some_and(|document| document.proceed(*number).is_ok());
            }
            CloudStep::CommitServer(place, number) => {
                let Some(server) = self.server(place) else { return false };
                return server.document.as_mut().is_some_and(|document| document.commit(*number).is_ok());
            }
            CloudStep::AbortOnServer(place, number) => {
                let Some(server) = self.server(place) else { return false };
                let Some(document) = server.document.as_mut() else { return false };
                let switched = document.deployment.as_ref().is_none_or(|going| going.state.is_switched());
                return !switched && document.fail(*number, Failure::because("it failed elsewhere"), now).is_ok();
            }
            CloudStep::DestroyOnServer(place) => {
                let Some(server) = self.server(place) else { return false };
                let Server { launch, hooks, .. } = server.clone();
                *server = Server { launch, reachable: true, hooks, ..Server::default() };
            }
            CloudStep::DeleteObjects(objects) => {
                for version in objects.versions.keys() {
                    let referenced = self.state.referenced_versions().contains(version);
                    assert!(!referenced, "an archive was deleted that a release needs");
                    self.stored.versions.remove(version);
                }
                self.stored.hooks.retain(|hook, _| !objects.hooks.contains_key(hook));
            }
            CloudStep::WaitUntil(until) => self.now = self.now.max(*until),
        }
        true
    }

    /// The server that was made from this request ends for good.
    pub(crate) fn terminate(&mut self, name: &ServerName, launch: u64) {
        self.removed.insert(launch);
        if self.servers.get(name).is_some_and(|server| server.launch == launch) {
            self.servers.remove(name);
        }
    }

    /// What was not shown for five minutes is not there: that is what providers promise.
    pub(crate) fn vanish(&mut self) {
        let now = self.now;
        let is_over = |server: &Server| server.hidden.is_some_and(|since| now.since(since) >= UNTIL_VISIBLE);
        let over: Vec<_> = self
            .servers
            .iter()
            .filter(|(_, server)| is_over(server))
            .map(|(name, server)| (name.clone(), server.launch))
            .collect();
        for (name, launch) in over {
            self.terminate(&name, launch);
            self.vanished.insert(launch);
        }
    }

    /// A server gets on with what it was told, so many states.
    pub(crate) fn work(&mut self, name: &ServerName, states: usize) -> bool {
        let now = self.now;
        for _ in 0..states {
            let Some(server) = self.servers.get_mut(name) else { return false };
            let Some(document) = server.document.as_mut() else { return false };
            for draining in document.draining.clone() {
                document.drained(draining.release);
            }
            let Some(going) = document.deployment.clone() else { return true };
            let fate = self.fates.get(&(going.release, name.clone()));
            let done = if fate == Some(&going.state) {
                document.fail(going.release, Failure::because("it was meant to fail"), now)
            } else {
                match going.state {
                    DeploymentState::Prepared if going.follows => return true,
                    DeploymentState::Ready if going.hold => return true,
                    DeploymentState::Deployed => document.succeed(going.release, BTreeMap::new(), now),
                    state => document.finish_state(going.release, state),
                }
            };
            done.unwrap();
            self.check_start(name, &going);
            self.check_switch(name);
        }
        true
    }

    /// Nothing starts before the release commands of whoever runs them have run.
    fn check_start(&mut self, name: &ServerName, before: &Deployment) {
        let document = self.servers[name].document.as_ref().unwrap();
        let going = document.deployment.as_ref().filter(|going| going.release == before.release);
        let Some(going) = going.filter(|going| going.state != before.state) else { return };
        let number = going.release;
        if before.state == DeploymentState::Preparing {
            self.migrated.insert((number, name.clone()));
        }
        let Some(environment) = self.state.environments.get(&production()) else { return };
        let Some(recorded) = environment.release(number) else { return };
        if !going.state.is_started() || before.state.is_started() || recorded.release.repeats.is_some() {
            return;
        }
        if let Some(leader) = leader(&recorded.release, &name.group) {
            let ran = self.migrated.contains(&(number, leader.clone()));
            assert!(ran, "{number} starts on {name} before the release commands have run on {leader}");
        }
    }

    /// Where several servers switch together, none has switched before all were ready.
    fn check_switch(&self, name: &ServerName) {
        let Some(environment) = self.state.environments.get(&production()) else { return };
        let document = self.servers[name].document.as_ref().unwrap();
        let Some(serving) = document.serving_release().and_then(|number| environment.release(number)) else { return };
        let number = serving.release.number;
        if serving.release.hold {
            assert!(environment.committed >= Some(number), "{number} was switched on {name} without a commit");
        }
    }

    /// All faults stop, and one roll-forward goes on to the end.
    pub(crate) fn settle(&mut self) {
        self.vanish();
        for server in self.servers.values_mut() {
            (server.reachable, server.hidden) = (true, None);
        }
        self.roll_forwards = Default::default();
        for _ in 0..500 {
            self.observe(0);
            let steps = self.roll_forwards[0].steps.clone();
            if steps.is_empty() {
                return;
            }
            let state = self.state.clone();
            for step in &steps {
                self.perform(&state, step);
            }
            let only_waits = steps.iter().all(|step| matches!(step, CloudStep::WaitUntil(_)));
            self.now = self.now.plus(Duration::from_secs(if only_waits { 60 } else { 1 }));
        }
        panic!("no fixpoint: {:#?}\n{:#?}", self.roll_forwards[0].steps, self.state);
    }

    /// What holds when there is nothing left to do.
    pub(crate) fn check_settled(&self) {
        let seen = self.see(&self.state);
        assert_eq!(plan(&self.state, &seen, self.now), []);
        let Some(environment) = self.state.environments.get(&production()) else {
            assert!(self.servers.is_empty(), "a server was left");
            return;
        };
        assert!(environment.releases.iter().all(|recorded| !recorded.is_pending()), "a release has no outcome");
        assert_eq!(environment.wanted, environment.serving, "{environment:#?}");
        let wanted_servers: BTreeSet<&ServerName> = environment.wanted_servers().collect();
        let has_trouble = wanted_servers.iter().any(|name| environment.servers[*name].trouble.is_some());
        let alive: BTreeSet<&ServerName> = self.servers.keys().collect();
        assert_eq!(alive, environment.servers.keys().collect(), "servers that nobody knows of, or the other way round");
        let Some(wanted) = environment.wanted_release() else { return };
        let number = wanted.release.number;
        let newest = environment.newest().unwrap();
        let gave_up = newest.release.refreshes.is_some() && newest.outcome != ReleaseOutcome::Serving;
        // One of several that know each other stays until they have been told that it goes.
        assert!(has_trouble || gave_up || alive == wanted_servers, "servers that nobody wants: {alive:?}");
        for (name, record) in environment.servers.iter().filter(|(name, _)| environment.wants(name)) {
            let server = &self.servers[name];
            let ours = record.trouble.as_ref().is_some_and(|trouble| trouble.release == Some(number));
            if ours {
                continue;
            }
            // One that waits for a service on a server that has a trouble was never told.
            let document = server.document.clone().unwrap_or_default();
            let waits = has_trouble && document.outcome(number) == Outcome::Unknown && wanted.release.is_split();
            let runs = document.current_release.filter(|runs| {
                let recorded = environment.release(*runs);
                *runs == number || recorded.is_some_and(|found| found.release.content() == wanted.release.content())
            });
            assert!(runs.is_some() || waits, "{name} does not serve {number}: {document:?}");
            assert_eq!(document.deployment, None, "{name} still deploys something");
            let Some(runs) = runs.filter(|_| !gave_up && !has_trouble) else { continue };
            let told = &server.told[&runs];
            assert_eq!(told.server.as_ref(), Some(name), "it was told that it is another one");
            assert!(
                told.is_the_same(&self.expected(name)),
                "{name} was told {told:?}, and {:?} is true",
                self.expected(name)
            );
        }
    }

    /// What a server has to know of the others, found out in another way than the planner does: with redis on `db`, that
    /// is where it is, for all others; and for those that redis runs on, who they are.
    pub(crate) fn expected(&self, name: &ServerName) -> Topology {
        let environment = &self.state.environments[&production()];
        let release = &environment.wanted_release().unwrap().release;
        let mut topology = Topology::default();
        let Some(redis) = release.services.get(&"redis".parse().unwrap()) else { return topology };
        let databases: Vec<&Server> = environment
            .wanted_servers()
            .filter(|server| server.group.as_str() == "db")
            .map(|server| &self.servers[server])
            .collect();
        let addresses: Vec<String> = databases.into_iter().map(address).collect();
        if name.group.as_str() == "db" {
            topology.address = Some(address(&self.servers[name]));
            topology.shared = true;
            if redis.peers {
                topology.members.insert("redis".parse().unwrap(), addresses);
            }
        } else if name.group.as_str() == "app" || !release.processes.is_empty() {
            let members = if redis.peers { addresses.join(",") } else { String::new() };
            topology.values.insert("REDIS_URL".to_owned(), format!("redis://{} {members}", addresses[0]));
        }
        topology
    }

    /// Which machine each server is, and which release it runs.
    pub(crate) fn running(&self) -> BTreeMap<ServerName, (u64, Option<ReleaseNumber>)> {
        let current = |server: &Server| server.document.as_ref().and_then(|document| document.current_release);
        self.servers.iter().map(|(name, server)| (name.clone(), (server.launch, current(server)))).collect()
    }
}

fn address(server: &Server) -> String {
    format!("10.0.0.{}", server.launch)
}

/// What the services of a server give, from what it was told.
fn gives(
    release: &Release,
    topology: &Topology,
) -> BTreeMap<jecloud_model::ids::ServiceName, BTreeMap<String, String>> {
    let here = release.services.iter().filter(|(_, service)| service.belongs_to(topology.group()));
    here.map(|(name, service)| {
        let members = topology.members.get(name).cloned().unwrap_or_default().join(",");
        let value = format!("{name}://{} {members}", topology.host());
        // What it does not say that it gives stays where it is.
        let undeclared = ("OTHER".to_owned(), "x".to_owned());
        (name.clone(), service.gives.iter().map(|key| (key.clone(), value.clone())).chain([undeclared]).collect())
    })
    .collect()
}

/// Which request is recorded of a server.
fn launch(record: &ServerRecord) -> u64 {
    record.details["launch"].as_u64().unwrap()
}

fn planned_launch(state: &CloudState, place: &Place) -> Option<u64> {
    Some(launch(state.environments.get(&production())?.servers.get(&place.server)?))
}
