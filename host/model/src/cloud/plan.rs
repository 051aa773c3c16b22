//! The planner of the cloud roll-forward: what is to be done next so that the cloud becomes what its state says.
//!
//! What was seen of a server is three-valued: present, absent or unknown. Nothing is ever concluded from the
//! unknown; what a provider does not show is unknown until it was not shown for some minutes. Changes of the state come alone: whatever is planned after one must have seen it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::conclude::conclude;
use super::operation::Change;
use super::peers::Peers;
use super::seen::{Finding, Objects, SeenCloud, SeenEnvironment, SeenServer};
use super::server::{ServerName, ServerRecord};
use super::state::{CloudState, EnvironmentState, RecordedRelease, ReleaseOutcome};
use crate::app::{AppDocument, DeploymentState, Failure, Gates, Outcome};
use crate::ids::{Digest, EnvironmentName, ReleaseNumber, VersionId};
use crate::time::Timestamp;
use crate::topology::Topology;

/// How long archives and hooks are kept that no release references: a week, as on servers.
pub const KEEP_OBJECTS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many of the newest archives, and of the newest hooks, are kept however old they are.
pub const KEEP_OBJECTS: usize = 5;

/// How long after a release was recorded its archive may still be on its way into the store from another machine.
pub const UPLOAD_GRACE: Duration = Duration::from_secs(600);

/// How soon a server is looked at again of which nothing could be seen.
const UNKNOWN_GLANCE: Duration = Duration::from_secs(1);

/// A server of an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which environment.
    pub environment: EnvironmentName,
    /// Which server.
    pub server: ServerName,
}

/// One thing to do. Done twice, each does no harm.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudStep {
    /// Change the state.
    Record(Change),
    /// Ask the provider what it needs to make this server, and record that.
    RecordServer(Place),
    /// Make the server as recorded, or set it up.
    CreateServer(Place),
    /// Put an archive that is at hand into the store.
    StoreArchive(VersionId),
    /// Put a hook that is at hand into the store.
    StoreHook(Digest),
    /// Put a hook from the store onto a server.
    PutHook(Place, Digest),
    /// Put an archive from the store onto a server.
    PutArchive(Place, VersionId),
    /// Tell a server to deploy a release, and what it has to know of the others.
    HandRelease(Place, ReleaseNumber, Box<Topology>),
    /// Watch a server until a release is so far there, or has come to its end.
    AwaitServer {
        /// Where.
        place: Place,
        /// Which release.
        release: ReleaseNumber,
        /// How far.
        until: Until,
    },
    /// Tell a server that the release commands of others have run, so that what it has prepared may start.
    ProceedOnServer(Place, ReleaseNumber),
    /// Tell a server that all are ready, so that it may switch.
    CommitServer(Place, ReleaseNumber),
    /// Tell a server to give up a release that failed elsewhere.
    AbortOnServer(Place, ReleaseNumber),
    /// Delete everything of the environment from a server: its processes get no new requests and finish what they have
    /// begun.
    DestroyOnServer(Place),
    /// Remove a server that nothing is on any more, and record that it is gone.
    RemoveServer(Place),
    /// Delete objects that nothing references.
    DeleteObjects(Objects<()>),
    /// Nothing can be done before this time, when things should be looked at again.
    WaitUntil(Timestamp),
}

/// How far a deployment on a server has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All commands that come before the start of processes have run, those too that only one server runs: on others
    /// what they have prepared may start. Or it waits for that.
    Prepared,
    /// It waits for the others.
    Ready,
    /// To its end.
    End,
}

/// The next steps; empty where all is as it should be. Steps of one server come in the order in which they have to be
/// done, and each is good only if those before it were done; steps of different servers do not depend on each other.
pub fn plan(state: &CloudState, seen: &SeenCloud, now: Timestamp) -> Vec<CloudStep> {
    let mut planner = Planner { seen, now, records: Vec::new(), stores: BTreeSet::new(), work: Vec::new(), wait: None };
    for (name, environment) in &state.environments {
        let Some(servers) = seen.servers.get(name) else { continue };
        Sight { planner: &mut planner, name, environment, servers }.plan();
    }
    let Planner { records, stores, work, wait, .. } = planner;
    if !records.is_empty() {
        return records;
    }
    let mut steps: Vec<CloudStep> = stores
        .into_iter()
        .map(|object| match object {
            Stored::Hook(digest) => CloudStep::StoreHook(digest),
            Stored::Archive(version) => CloudStep::StoreArchive(version),
        })
        .collect();
    if steps.is_empty() {
        steps = work;
    }
    if steps.is_empty() {
        steps.extend(wait.map(CloudStep::WaitUntil));
    }
    if steps.is_empty() {
        steps.extend(unneeded(state, seen, now).map(CloudStep::DeleteObjects));
    }
    steps
}

/// What is planned so far, for all environments.
struct Planner<'a> {
    seen: &'a SeenCloud,
    now: Timestamp,
    records: Vec<CloudStep>,
    stores: BTreeSet<Stored>,
    work: Vec<CloudStep>,
    wait: Option<Timestamp>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Stored {
    Hook(Digest),
    Archive(VersionId),
}

impl Planner<'_> {
    fn wait(&mut self, until: Timestamp) {
        self.wait = Some(self.wait.map_or(until, |other| other.min(until)));
    }
}

/// One environment and what was seen of it.
struct Sight<'a, 'p> {
    planner: &'p mut Planner<'a>,
    name: &'a EnvironmentName,
    environment: &'a EnvironmentState,
    servers: &'a BTreeMap<ServerName, SeenServer>,
}

impl<'a> Sight<'a, '_> {
    fn place(&self, server: &ServerName) -> Place {
        Place { environment: self.name.clone(), server: server.clone() }
    }

    fn record(&mut self, change: Change) {
        self.planner.records.push(CloudStep::Record(change));
    }

    fn work(&mut self, step: CloudStep) {
        self.planner.work.push(step);
    }

    fn seen(&self, server: &ServerName) -> &'a SeenServer {
        self.servers.get(server).unwrap_or(&SeenServer::Unknown)
    }

    fn peers(&self) -> Peers<'a> {
        Peers { environment: self.environment, servers: self.servers }
    }

    fn documents(&self) -> impl Iterator<Item = &'a AppDocument> {
        self.servers.values().filter_map(|server| server.environment()?.document.as_ref())
    }

    fn plan(&mut self) {
        if self.environment.destroying {
            self.plan_destruction();
            return;
        }
        let before = self.planner.records.len();
        self.plan_records();
        if self.planner.records.len() > before {
            return;
        }
        let environment = self.environment;
        let wanted = environment.wanted_release();
        for (server, record) in environment.servers.iter().filter(|(server, _)| environment.wants(server)) {
            self.plan_server(server, record, wanted);
        }
        // Not before the others do their work, and know that it goes: they may be there to take its place.
        if self.all_serve() {
            let surplus = environment.servers.iter().filter(|(server, _)| !environment.wants(server));
            surplus.for_each(|(server, record)| self.plan_removal(server, record));
        }
        if let Some(wanted) = wanted.filter(|wanted| self.may_commit(wanted)) {
            self.record(Change::Commit { environment: self.name.clone(), release: wanted.release.number });
        }
    }

    fn plan_destruction(&mut self) {
        if self.environment.servers.is_empty() {
            self.record(Change::Destroyed { environment: self.name.clone() });
        }
        for (server, record) in &self.environment.servers {
            self.plan_finding(server, record);
            self.plan_removal(server, record);
        }
    }

    /// A server that is not wanted any more: first what is on it, then the server, then what is recorded of it.
    fn plan_removal(&mut self, server: &ServerName, record: &ServerRecord) {
        let place = self.place(server);
        let step = match self.seen(server) {
            // Forgotten first.
            SeenServer::Gone => return,
            SeenServer::Present(seen) if seen.exists || seen.document.is_some() => CloudStep::DestroyOnServer(place),
            // One that is absent may be half made, and nobody would ever know of it again.
            SeenServer::Absent | SeenServer::Present(_) => CloudStep::RemoveServer(place),
            SeenServer::Silent | SeenServer::Unseen | SeenServer::Unknown => {
                return self.planner.wait(self.planner.now.plus(UNKNOWN_GLANCE));
            }
        };
        match record.backs_off_until(self.planner.now) {
            Some(until) => self.planner.wait(until),
            None => self.work(step),
        }
    }

    /// What the look says and the record does not.
    fn plan_finding(&mut self, server: &ServerName, record: &ServerRecord) {
        let (environment, server, details) = (self.name.clone(), server.clone(), record.details.clone());
        match self.seen(&server).finding(record, self.planner.now) {
            Finding::Gone => self.record(Change::ForgetServer { environment, server, details }),
            Finding::Unseen(unseen) => self.record(Change::RecordUnseen { environment, server, details, unseen }),
            Finding::Nothing => {}
        }
    }

    /// Whether the servers that are wanted do all that is wanted of them.
    fn all_serve(&self) -> bool {
        let environment = self.environment;
        let peers = self.peers();
        let serves = |server: &ServerName| match (self.seen(server), environment.wanted_release()) {
            (SeenServer::Present(_), Some(wanted)) => {
                peers.outcome(server, wanted) == Outcome::Serving && !peers.has_changed(server, wanted)
            }
            (SeenServer::Present(_), None) => true,
            _ => false,
        };
        let is_complete = environment.scale.iter().all(|(group, count)| {
            (1..=*count).all(|index| environment.servers.contains_key(&ServerName { group: group.clone(), index }))
        });
        environment.wanted == environment.serving
            && !environment.releases.iter().any(RecordedRelease::is_pending)
            && is_complete
            && environment.wanted_servers().all(serves)
    }

    /// What the state does not say yet: numbers that servers know, servers to be made, ends of releases.
    fn plan_records(&mut self) {
        let environment = self.environment;
        let known = self.documents().map(|document| document.newest_release).max().unwrap_or_default();
        if known >= environment.next_release {
            self.record(Change::SkipReleases { environment: self.name.clone(), known });
        }
        for (group, count) in &environment.scale {
            for index in 1..=*count {
                let server = ServerName { group: group.clone(), index };
                if !environment.servers.contains_key(&server) {
                    let place = self.place(&server);
                    self.planner.records.push(CloudStep::RecordServer(place));
                }
            }
        }
        for (server, record) in &environment.servers {
            self.plan_finding(server, record);
        }
        for recorded in environment.releases.iter().filter(|recorded| recorded.is_pending()) {
            if let Some(outcome) = conclude(&self.peers(), recorded) {
                let release = recorded.release.number;
                self.record(Change::RecordOutcome { environment: self.name.clone(), release, outcome });
            }
        }
    }

    fn plan_server(&mut self, server: &ServerName, record: &ServerRecord, wanted: Option<&'a RecordedRelease>) {
        let seen = match self.seen(server) {
            SeenServer::Silent | SeenServer::Unseen | SeenServer::Unknown => {
                self.planner.wait(self.planner.now.plus(UNKNOWN_GLANCE));
                return;
            }
            // Forgotten first, and planned anew then.
            SeenServer::Gone => return,
            SeenServer::Absent => None,
            SeenServer::Present(seen) => Some(seen),
        };
        let place = self.place(server);
        let before = self.planner.work.len();
        match seen {
            None => self.work(CloudStep::CreateServer(place.clone())),
            Some(seen) => {
                if let Some(wanted) = wanted {
                    self.plan_release(&place, record, seen, wanted);
                }
                self.plan_leftover(&place, seen);
            }
        }
        // Whatever there would be to do here waits until the back-off is over.
        if let Some(until) = record.backs_off_until(self.planner.now)
            && self.planner.work.len() > before
        {
            self.planner.work.truncate(before);
            self.planner.wait(until);
        }
    }

    fn plan_release(
        &mut self,
        place: &Place,
        record: &ServerRecord,
        seen: &'a SeenEnvironment,
        wanted: &'a RecordedRelease,
    ) {
        let release = wanted.release.number;
        let committed = self.environment.committed >= Some(release);
        let wait = |until| CloudStep::AwaitServer { place: place.clone(), release, until };
        let Gates { follows, hold: held } = self.seen(&place.server).gates(release);
        let peers = self.peers();
        // Where others wait for what only this server does, they are told as soon as it is done.
        let leads = peers.is_followed(&place.server, wanted);
        let switches = |hold: bool| if hold { Until::Ready } else { Until::End };
        let until =
            |follows: bool, hold: bool| if follows || (hold && leads) { Until::Prepared } else { switches(hold) };
        match peers.outcome(&place.server, wanted) {
            Outcome::Unknown => {
                if self.plan_objects(place, seen, wanted)
                    && let Some(topology) = peers.topology(&place.server, wanted)
                    && peers.may_begin(&place.server, wanted)
                {
                    let follows = topology.follows;
                    self.work(CloudStep::HandRelease(place.clone(), release, Box::new(topology)));
                    // It waits to be told that all are ready, even where the others have switched long ago.
                    self.work(wait(until(follows, wanted.release.hold)));
                }
            }
            Outcome::Pending { state: DeploymentState::Ready } if held => {
                if committed {
                    self.work(CloudStep::CommitServer(place.clone(), release));
                    self.work(wait(Until::End));
                }
            }
            Outcome::Pending { .. } if follows && peers.may_start(&place.server, wanted) => {
                self.work(CloudStep::ProceedOnServer(place.clone(), release));
                self.work(wait(switches(held)));
            }
            // Whoever it waits for is waited for.
            Outcome::Pending { state: DeploymentState::Prepared } if follows => {}
            Outcome::Pending { state } if state.is_prepared() => self.work(wait(switches(held))),
            Outcome::Pending { .. } => self.work(wait(until(follows, held))),
            Outcome::Serving => self.plan_refresh(&place.server, wanted),
            // While the release is pending, its outcome was concluded from this. Else it serves elsewhere, and it is
            // this server that has a problem.
            Outcome::Failed(failure) => {
                let recorded = record.trouble.as_ref().is_some_and(|trouble| trouble.release == Some(release));
                if !recorded {
                    self.record(Change::RecordServerFailure {
                        environment: place.environment.clone(),
                        server: place.server.clone(),
                        reason: failure.reason,
                        release: Some(release),
                    });
                }
            }
            Outcome::Superseded => self.plan_repeat(seen, release),
        }
    }

    /// A server that serves what is wanted, and was told something else of the others than what is true by now, is told
    /// anew. What was tried and failed is not tried once more: a person has to look at it.
    fn plan_refresh(&mut self, server: &ServerName, wanted: &RecordedRelease) {
        let content = wanted.release.content();
        let failed = self.environment.newest().is_some_and(|newest| {
            newest.release.refreshes == Some(content) && matches!(newest.outcome, ReleaseOutcome::Failed(_))
        });
        let settled = self.environment.serving == Some(wanted.release.number)
            && !self.environment.releases.iter().any(RecordedRelease::is_pending);
        let peers = self.peers();
        let is_busy = |server: &ServerName| matches!(peers.outcome(server, wanted), Outcome::Pending { .. });
        if settled && !failed && peers.has_changed(server, wanted) && !self.environment.wanted_servers().any(is_busy) {
            let refresh = Change::Refresh { environment: self.name.clone(), release: wanted.release.number };
            if self.planner.records.last() != Some(&CloudStep::Record(refresh.clone())) {
                self.record(refresh);
            }
        }
    }

    /// A server that was told something newer than what is wanted takes only what is newer still.
    fn plan_repeat(&mut self, seen: &SeenEnvironment, wanted: ReleaseNumber) {
        let known = seen.document.as_ref().map(|document| document.newest_release).unwrap_or_default();
        // What no record explains was wanted by a state that is newer than this one: nothing moves backwards.
        let explained = self.environment.release(known).is_some();
        let tried = self
            .environment
            .newest()
            .is_some_and(|newest| newest.release.repeats == Some(wanted) && newest.release.refreshes.is_none());
        if explained && !tried {
            let repeat = Change::Repeat { environment: self.name.clone(), release: wanted };
            if self.planner.records.last() != Some(&CloudStep::Record(repeat.clone())) {
                self.record(repeat);
            }
        }
    }

    /// A deployment of something that is not wanted any more.
    fn plan_leftover(&mut self, place: &Place, seen: &SeenEnvironment) {
        let Some(deployment) = seen.document.as_ref().and_then(|document| document.deployment.as_ref()) else { return };
        let release = deployment.release;
        if self.environment.wanted >= Some(release) {
            return;
        }
        let ended = self.environment.release(release).is_some_and(|recorded| !recorded.is_pending());
        if ended && !deployment.state.is_switched() {
            self.work(CloudStep::AbortOnServer(place.clone(), release));
        } else {
            let until = match (deployment.follows, deployment.hold) {
                (true, _) if deployment.state == DeploymentState::Prepared => return,
                (_, true) if deployment.state == DeploymentState::Ready => return,
                (true, _) => Until::Prepared,
                (false, true) => Until::Ready,
                (false, false) => Until::End,
            };
            self.work(CloudStep::AwaitServer { place: place.clone(), release, until });
        }
    }

    /// Plans what a server lacks for a release. Says whether it can be told to deploy it then.
    fn plan_objects(&mut self, place: &Place, seen: &SeenEnvironment, wanted: &'a RecordedRelease) -> bool {
        let release = &wanted.release;
        let group = Some(&place.server.group);
        let asked = release.services.iter().filter(|(name, _)| release.asks(name, group));
        let mut hooks: BTreeSet<&Digest> = asked.map(|(_, service)| &service.hook).collect();
        hooks.retain(|hook| seen.lacks_hooks.contains(*hook));
        let version = Some(&release.version).filter(|version| seen.lacks_versions.contains(*version));
        let Some(stored) = &self.planner.seen.objects else {
            self.planner.wait(self.planner.now.plus(UNKNOWN_GLANCE));
            return hooks.is_empty() && version.is_none();
        };
        let at_hand = &self.planner.seen.at_hand;
        let mut missing = None;
        for hook in &hooks {
            if !stored.hooks.contains_key(*hook) {
                if at_hand.hooks.contains_key(*hook) {
                    self.planner.stores.insert(Stored::Hook((*hook).clone()));
                } else {
                    missing = Some(format!("the hook {}", hook.short()));
                }
            }
        }
        if let Some(version) = version.filter(|version| !stored.versions.contains_key(*version)) {
            if at_hand.versions.contains_key(version) {
                self.planner.stores.insert(Stored::Archive(version.clone()));
            } else {
                missing = Some(format!("the archive of version {}", version.short()));
            }
        }
        if let Some(missing) = missing {
            self.plan_missing_object(place, wanted, &missing);
            return false;
        }
        for hook in hooks {
            self.work(CloudStep::PutHook(place.clone(), hook.clone()));
        }
        if let Some(version) = version {
            self.work(CloudStep::PutArchive(place.clone(), version.clone()));
        }
        true
    }

    /// What a release needs is neither in the store nor here: somebody else may still be uploading it, but not for
    /// ever.
    fn plan_missing_object(&mut self, place: &Place, wanted: &RecordedRelease, what: &str) {
        let now = self.planner.now;
        let end = wanted.release.created.plus(UPLOAD_GRACE);
        if now < end {
            self.planner.wait(now.plus(UNKNOWN_GLANCE).min(end));
            return;
        }
        let reason = format!("{what} is not in the store: its upload was never completed");
        let environment = self.name.clone();
        let release = wanted.release.number;
        if wanted.is_pending() {
            let failure = Failure::because(reason).hint("run `jecloud deploy` again");
            let change = Change::RecordOutcome { environment, release, outcome: ReleaseOutcome::Failed(failure) };
            // Several servers may lack it.
            if self.planner.records.last() != Some(&CloudStep::Record(change.clone())) {
                self.record(change);
            }
        } else {
            let known = self.environment.servers.get(&place.server).and_then(|record| record.trouble.as_ref());
            if known.is_none_or(|trouble| trouble.release != Some(release)) {
                let server = place.server.clone();
                self.record(Change::RecordServerFailure { environment, server, reason, release: Some(release) });
            }
        }
    }

    /// Whether all servers are ready for a release that they switch to together.
    fn may_commit(&self, wanted: &RecordedRelease) -> bool {
        let release = wanted.release.number;
        let peers = self.peers();
        let ready = |server| match peers.outcome(server, wanted) {
            Outcome::Pending { state } => state >= DeploymentState::Ready,
            Outcome::Serving => true,
            Outcome::Unknown | Outcome::Failed(_) | Outcome::Superseded => false,
        };
        wanted.is_pending()
            && wanted.release.hold
            && self.environment.committed < Some(release)
            && self.environment.wanted_servers().next().is_some()
            && self.environment.wanted_servers().all(ready)
    }
}

/// Objects that no release references, that are old enough, and that are not among the newest. Where there is no
/// environment any more, all of them.
fn unneeded(state: &CloudState, seen: &SeenCloud, now: Timestamp) -> Option<Objects<()>> {
    fn old<K: Ord>(objects: &BTreeMap<K, Timestamp>, now: Timestamp) -> impl Iterator<Item = &K> {
        let mut by_age: Vec<(&Timestamp, &K)> = objects.iter().map(|(key, at)| (at, key)).collect();
        by_age.sort_by(|a, b| b.cmp(a));
        by_age
            .into_iter()
            .skip(KEEP_OBJECTS)
            .filter(move |(at, _)| now.since(**at) > KEEP_OBJECTS_FOR)
            .map(|(_, key)| key)
    }
    let objects = seen.objects.as_ref()?;
    let doomed = if state.environments.is_empty() {
        Objects {
            versions: objects.versions.keys().map(|version| (version.clone(), ())).collect(),
            hooks: objects.hooks.keys().map(|hook| (hook.clone(), ())).collect(),
        }
    } else {
        let (versions, hooks) = (state.referenced_versions(), state.referenced_hooks());
        Objects {
            versions: old(&objects.versions, now)
                .filter(|version| !versions.contains(version))
                .map(|version| (version.clone(), ()))
                .collect(),
            hooks: old(&objects.hooks, now)
                .filter(|hook| !hooks.contains(hook))
                .map(|hook| (hook.clone(), ()))
                .collect(),
        }
    };
    (!doomed.versions.is_empty() || !doomed.hooks.is_empty()).then_some(doomed)
}
