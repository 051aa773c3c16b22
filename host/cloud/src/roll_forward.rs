//! The cloud roll-forward: observe, plan, perform, record, repeat, until nothing is left to do.
//!
//! It remembers nothing that matters: it can be killed at any point and started again elsewhere, and two at once do
//! the work once. What can be done on several servers is done on all of them at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use jecloud_model::app::Failure;
use jecloud_model::cloud::{
    Basis, Change, CloudState, CloudStep, Objects, Place, ReleaseOutcome, SeenCloud, ServerName, ServerRecord,
    back_off, plan,
};
use jecloud_model::ids::{AppName, EnvironmentName, Generation, ReleaseNumber};
use jecloud_model::time::Timestamp;

use crate::machines::{AT_ONCE, Details, MachineError, Machines};
use crate::object_store::{ObjectStore, StoreError};
use crate::observe::{self, Sighting};
use crate::perform::{Followed, Performed, Sources, Workplace, delete_objects, store_object};
use crate::progress::{ObjectName, Progress, Reporter};
use crate::protocol::Server;
use crate::secrets::SecretsFile;
use crate::state::{StateError, StateFile};
use crate::world::World;

/// The cloud of one app: where its state lies and how its servers are reached.
#[derive(Clone, Copy)]
pub struct Cloud<'a> {
    /// Whose.
    pub app: &'a AppName,
    /// Where state, archives and hooks lie.
    pub store: &'a dyn ObjectStore,
    /// Its servers.
    pub machines: &'a dyn Machines,
    /// Clock and chance.
    pub world: &'a dyn World,
}

/// How far to go.
pub struct Options<'a> {
    /// Only this environment; the others are not looked at.
    pub environment: Option<EnvironmentName>,
    /// Stop when the end of this release (of `environment`) is recorded, whatever else there would be to do.
    pub release: Option<ReleaseNumber>,
    /// What may be put into the store.
    pub sources: Sources,
    /// Also tell servers that seem to be at work what to do once more, and at the end have all of them do whatever
    /// they find to do: `jecloud fwd`.
    pub wake: bool,
    /// How long to go on without any progress.
    pub patience: Duration,
    /// Whether to stop now.
    pub cancel: &'a (dyn Fn() -> bool + Sync),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            environment: None,
            release: None,
            sources: Sources::default(),
            wake: false,
            patience: Duration::from_secs(30),
            cancel: &|| false,
        }
    }
}

/// How a roll-forward ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The state as it was then.
    pub state: CloudState,
    /// How.
    pub end: End,
}

/// How a roll-forward ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// All is as it should be.
    Settled,
    /// The release in question serves, or has served.
    Serving,
    /// The release in question failed; what served before it serves.
    Failed(Failure),
    /// Somebody recorded this newer release after the one in question, which was given up for it.
    LostRace {
        /// The newer one; none where the environment is being destroyed.
        newer: Option<ReleaseNumber>,
    },
    /// Everything is recorded, but not everything could be done in time; any later roll-forward goes on.
    Unfinished {
        /// What is in the way and what the person can do, by place.
        troubles: BTreeMap<Place, String>,
    },
    /// The caller has cancelled it. What is recorded goes on on the servers.
    Cancelled,
}

/// Why a roll-forward could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RollForwardError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server knows a newer state than the one in the store, or belongs to another cloud, or has a newer JeCloud.
    #[error("server {server} is not told anything: {error}")]
    Outdated {
        /// Which.
        server: ServerName,
        /// Why, in its words.
        error: String,
        /// What the person can do.
        hint: String,
    },
}

impl RollForwardError {
    /// What the person can do; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::State(error) => error.hint(),
            Self::Store(_) => String::new(),
            Self::Outdated { hint, .. } => hint.clone(),
        }
    }
}

/// Makes reality match the state.
///
/// # Errors
///
/// When the state or the store cannot be used. Troubles of servers are no errors: see [`End`].
pub fn roll_forward(
    cloud: Cloud<'_>,
    options: &Options<'_>,
    reporter: &mut dyn Reporter,
) -> Result<Report, RollForwardError> {
    let mut run = Run {
        cloud,
        options,
        reporter,
        followed: Followed::default(),
        stored: None,
        nudged: BTreeMap::new(),
        troubles: BTreeMap::new(),
        idle_rounds: 0,
        last_progress: cloud.world.now(),
        outdated: None,
        just_seen: None,
    };
    loop {
        if let Some(report) = run.round()? {
            return Ok(report);
        }
    }
}

struct Run<'a, 'r> {
    cloud: Cloud<'a>,
    options: &'a Options<'a>,
    reporter: &'r mut dyn Reporter,
    followed: Followed,
    /// What is in the store, until something in it is changed.
    stored: Option<Objects<Timestamp>>,
    /// Whether a place is to be told once more, when it is waited for. One that was told in this run is not, unless
    /// waiting came to nothing.
    nudged: BTreeMap<Place, bool>,
    troubles: BTreeMap<Place, String>,
    /// Rounds in a row in which nothing was achieved.
    idle_rounds: u32,
    last_progress: Timestamp,
    /// A server that did not do what follows from the state of this generation, because that is not the newest one.
    outdated: Option<(Generation, RollForwardError)>,
    /// What was seen a moment ago, where nothing was done since that servers or other plans could have to do with.
    just_seen: Option<Sighting>,
}

impl Run<'_, '_> {
    fn file(&self) -> StateFile<'_> {
        StateFile::new(self.cloud.store, self.cloud.app, self.cloud.world)
    }

    /// Once around; the report when that was the last time.
    fn round(&mut self) -> Result<Option<Report>, RollForwardError> {
        let Some(known) = self.file().read()? else {
            return Err(StateError::Nothing { app: self.cloud.app.clone() }.into());
        };
        let state = known.state;
        match self.outdated.take() {
            // Looking again shows nothing newer: it is not that somebody was faster a moment ago.
            Some((generation, error)) if generation >= state.generation => return Err(error),
            _ => {}
        }
        if let Some(end) = self.end_of_release(&state) {
            return Ok(Some(Report { state, end }));
        }
        if (self.options.cancel)() {
            return Ok(Some(Report { state, end: End::Cancelled }));
        }
        let look = || observe::servers(self.cloud.machines, &state, self.options.environment.as_ref());
        let mut sighting = self.just_seen.take().unwrap_or_else(look);
        if let Some((server, refused)) = sighting.stranger.take() {
            let (error, hint) = (refused.to_string(), refused.hint());
            return Err(RollForwardError::Outdated { server, error, hint });
        }
        if self.stored.is_none() {
            self.stored = observe::objects(self.cloud.store).ok();
        }
        let seen = SeenCloud {
            servers: sighting.servers.clone(),
            objects: self.stored.clone(),
            at_hand: self.options.sources.at_hand(),
        };
        let steps = plan(&state, &seen, self.cloud.world.now());
        if let Some(newer) = self.lost_race(&state, &steps) {
            return Ok(Some(Report { state, end: End::LostRace { newer } }));
        }
        if steps.is_empty() {
            let troubles = if self.options.wake { self.wake_servers(&sighting)? } else { BTreeMap::new() };
            let end = if troubles.is_empty() { End::Settled } else { End::Unfinished { troubles } };
            return Ok(Some(Report { state, end }));
        }
        self.troubles.retain(|place, _| sighting.machines.contains_key(place));
        self.troubles.extend(sighting.unreachable.clone());
        let (state, progressed) = self.perform(state, &sighting, &steps)?;
        if progressed {
            self.idle_rounds = 0;
            self.last_progress = self.cloud.world.now();
            // All were seen to be ready, and are told so at once.
            let is_commit = |step: &CloudStep| matches!(step, CloudStep::Record(Change::Commit { .. }));
            self.just_seen = steps.iter().all(is_commit).then_some(sighting);
            return Ok(None);
        }
        if let Some(end) = self.end_of_release(&state) {
            return Ok(Some(Report { state, end }));
        }
        Ok(self.be_patient(&steps).then(|| {
            let troubles = self.troubles.clone();
            Report { state, end: End::Unfinished { troubles } }
        }))
    }

    /// Lets time pass after a round in which nothing was achieved; whether there were too many of them.
    fn be_patient(&mut self, steps: &[CloudStep]) -> bool {
        self.idle_rounds += 1;
        let now = self.cloud.world.now();
        let end = self.last_progress.plus(self.options.patience);
        if now >= end {
            return true;
        }
        // A quick second look first: mostly it is a server that is just coming or going.
        let pause = if self.idle_rounds == 1 { Duration::from_millis(100) } else { back_off(self.idle_rounds - 1) };
        let planned = match steps {
            [CloudStep::WaitUntil(until)] => {
                self.reporter.report(Progress::Waiting(*until));
                until.since(now)
            }
            _ => Duration::ZERO,
        };
        let until = now.plus(pause.max(planned)).min(end);
        // In small steps, so that the caller can cancel.
        while !(self.options.cancel)() && self.cloud.world.now() < until {
            let left = until.since(self.cloud.world.now());
            self.cloud.world.pause(left.min(Duration::from_millis(100)));
        }
        false
    }

    /// What became of the release in question, if that is recorded.
    fn end_of_release(&self, state: &CloudState) -> Option<End> {
        let number = self.options.release?;
        let environment = state.environments.get(self.options.environment.as_ref()?);
        let Some(environment) = environment else { return Some(End::LostRace { newer: None }) };
        let newer = environment.newest().map(|newest| newest.release.number).filter(|newest| *newest > number);
        match environment.release(number).map(|recorded| &recorded.outcome) {
            Some(ReleaseOutcome::Recorded) => None,
            Some(ReleaseOutcome::Serving | ReleaseOutcome::Superseded) => Some(End::Serving),
            Some(ReleaseOutcome::Failed(failure)) => Some(End::Failed(failure.clone())),
            Some(ReleaseOutcome::Aborted) | None => Some(End::LostRace { newer }),
        }
    }

    /// Whether something newer is wanted than the release in question, whose end is not just going to be recorded.
    fn lost_race(&self, state: &CloudState, steps: &[CloudStep]) -> Option<Option<ReleaseNumber>> {
        let number = self.options.release?;
        let environment = state.environments.get(self.options.environment.as_ref()?)?;
        let ends = steps
            .iter()
            .any(|step| matches!(step, CloudStep::Record(Change::RecordOutcome { release, .. }) if *release == number));
        if ends {
            return None;
        }
        if environment.destroying {
            return Some(None);
        }
        environment.wanted.filter(|wanted| *wanted > number).map(Some)
    }

    /// Performs a plan; the state after it, and whether anything was achieved.
    fn perform(
        &mut self,
        mut state: CloudState,
        sighting: &Sighting,
        steps: &[CloudStep],
    ) -> Result<(CloudState, bool), RollForwardError> {
        let basis = Basis::of(&state);
        let mut progressed = false;
        let mut by_place: BTreeMap<Place, Vec<&CloudStep>> = BTreeMap::new();
        for step in steps {
            match step {
                CloudStep::Record(change) => progressed |= self.record(&mut state, change.clone())?,
                CloudStep::RecordServer(place) => progressed |= self.record_server(&mut state, place)?,
                CloudStep::StoreArchive(version) => {
                    self.store(&ObjectName::Archive(version.clone()))?;
                    progressed = true;
                }
                CloudStep::StoreHook(digest) => {
                    self.store(&ObjectName::Hook(digest.clone()))?;
                    progressed = true;
                }
                CloudStep::DeleteObjects(objects) => {
                    let deleted = delete_objects(self.cloud.store, objects)?;
                    self.stored = None;
                    self.reporter.report(Progress::Deleted(deleted));
                    progressed = true;
                }
                CloudStep::WaitUntil(_) => {}
                CloudStep::CreateServer(place)
                | CloudStep::PutHook(place, _)
                | CloudStep::PutArchive(place, _)
                | CloudStep::HandRelease(place, ..)
                | CloudStep::AwaitServer { place, .. }
                | CloudStep::ProceedOnServer(place, _)
                | CloudStep::CommitServer(place, _)
                | CloudStep::AbortOnServer(place, _)
                | CloudStep::DestroyOnServer(place)
                | CloudStep::RemoveServer(place) => by_place.entry(place.clone()).or_default().push(step),
            }
        }
        let by_place: Vec<(Place, Vec<&CloudStep>)> = by_place.into_iter().collect();
        for group in by_place.chunks(AT_ONCE) {
            let results = self.work(&state, &basis, sighting, group);
            for (place, result) in results {
                progressed |= self.record_result(&mut state, &basis, place, result)?;
            }
        }
        Ok((state, progressed))
    }

    /// Works at several places at the same time, each step of a place after the one before it.
    fn work(
        &mut self,
        state: &CloudState,
        basis: &Basis,
        sighting: &Sighting,
        group: &[(Place, Vec<&CloudStep>)],
    ) -> Vec<(Place, Worked)> {
        let (sender, receiver) = mpsc::channel();
        let nudges: Vec<bool> =
            group.iter().map(|(place, _)| self.nudged.get(place).copied().unwrap_or(self.options.wake)).collect();
        let (cloud, followed, options) = (self.cloud, &self.followed, self.options);
        let in_vain = AtomicBool::new(false);
        let mut last_progress = self.last_progress;
        let reporter = &mut *self.reporter;
        let worked = std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .iter()
                .zip(nudges)
                .map(|((place, steps), nudge)| {
                    let workplace = Workplace {
                        store: cloud.store,
                        machines: cloud.machines,
                        world: cloud.world,
                        state,
                        basis,
                        place,
                        machine: sighting.machines.get(place).map(|machine| &**machine),
                        followed,
                        nudge,
                        progress: sender.clone(),
                        cancel: options.cancel,
                        in_vain: &in_vain,
                    };
                    scope.spawn(move || work_at(&workplace, steps))
                })
                .collect();
            drop(sender);
            for progress in receiver {
                last_progress = cloud.world.now();
                reporter.report(progress);
            }
            threads
                .into_iter()
                .zip(group)
                .map(|(thread, (place, _))| {
                    let worked = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    (place.clone(), worked)
                })
                .collect()
        });
        self.last_progress = last_progress;
        worked
    }

    /// Records what work at a place came to; whether that was anything.
    fn record_result(
        &mut self,
        state: &mut CloudState,
        basis: &Basis,
        place: Place,
        worked: Worked,
    ) -> Result<bool, RollForwardError> {
        let mut progressed = worked.done > 0;
        if let Some(details) = worked.created {
            let recorded = state
                .environments
                .get(&place.environment)
                .and_then(|environment| environment.servers.get(&place.server));
            let replaces = recorded.filter(|record| record.details != details || record.trouble.is_some());
            if let Some(replaces) = replaces.map(|record| record.details.clone()) {
                self.record_created(state, &place, replaces, details)?;
            }
        }
        if let Some(details) = worked.removed {
            let (environment, server) = (place.environment.clone(), place.server.clone());
            self.record(state, Change::ForgetServer { environment, server, details })?;
        }
        if worked.handed {
            self.nudged.insert(place.clone(), false);
        }
        if worked.unfinished {
            self.nudged.insert(place.clone(), true);
        }
        if let Some(MachineError::Outdated { error, hint }) = worked.error {
            // Not the server's failure. What is recorded of it meanwhile decides what comes next.
            self.troubles.insert(place.clone(), error.clone());
            self.outdated = Some((basis.generation, RollForwardError::Outdated { server: place.server, error, hint }));
            return Ok(true);
        }
        if let Some(error) = worked.error {
            let reason = error.to_line();
            let hint = error.hint().to_owned();
            self.reporter.report(Progress::Trouble { place: place.clone(), reason: reason.clone(), hint });
            self.troubles.insert(place.clone(), error.to_advice());
            progressed = false;
            let Place { environment, server } = place;
            self.record(state, Change::RecordServerFailure { environment, server, reason, release: None })?;
        }
        Ok(progressed)
    }

    /// Records what was made. Where somebody has decided meanwhile that there should be no such server, nobody else will
    /// ever know of this one: it is removed.
    fn record_created(
        &mut self,
        state: &mut CloudState,
        place: &Place,
        replaces: Details,
        details: Details,
    ) -> Result<(), RollForwardError> {
        let (environment, server) = (place.environment.clone(), place.server.clone());
        let change = Change::RecordServer { environment, server, replaces: Some(replaces), details: details.clone() };
        if self.record(state, change)? {
            return Ok(());
        }
        let Some(known) = self.file().read()? else { return Ok(()) };
        let environment = known.state.environments.get(&place.environment);
        // Whoever made the same server at the same time has recorded it.
        if environment.is_some_and(|environment| environment.servers.contains_key(&place.server)) {
            return Ok(());
        }
        let record = ServerRecord { details, ..ServerRecord::default() };
        if let Err(error) = self.cloud.machines.remove(place, &record) {
            let (reason, hint) = (error.to_line(), error.hint().to_owned());
            self.reporter.report(Progress::Trouble { place: place.clone(), reason, hint });
        }
        Ok(())
    }

    fn record_server(&mut self, state: &mut CloudState, place: &Place) -> Result<bool, RollForwardError> {
        match self.cloud.machines.details(place) {
            Ok(details) => {
                let Place { environment, server } = place.clone();
                self.record(state, Change::RecordServer { environment, server, replaces: None, details })
            }
            Err(error) => {
                let (reason, hint) = (error.to_line(), error.hint().to_owned());
                self.reporter.report(Progress::Trouble { place: place.clone(), reason, hint });
                self.troubles.insert(place.clone(), error.to_advice());
                Ok(false)
            }
        }
    }

    /// Changes the state; whether the change still fitted.
    fn record(&mut self, state: &mut CloudState, change: Change) -> Result<bool, RollForwardError> {
        if let Change::Destroyed { environment } = &change {
            // Before nobody remembers that there were any.
            SecretsFile::new(self.cloud.store, environment, self.cloud.world).delete()?;
        }
        match self.file().update(change.clone()) {
            Ok(written) => *state = written,
            // Somebody else was faster, and has probably recorded the same.
            Err(StateError::Rejected(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        match change {
            Change::RecordOutcome { environment, release, outcome } => {
                self.reporter.report(Progress::Ended { environment, release, outcome });
            }
            Change::Commit { environment, release } => {
                self.reporter.report(Progress::Committed { environment, release });
            }
            Change::Destroyed { environment } => self.reporter.report(Progress::Forgotten(environment)),
            _ => {}
        }
        Ok(true)
    }

    fn store(&mut self, object: &ObjectName) -> Result<(), RollForwardError> {
        let reporter = &mut *self.reporter;
        store_object(self.cloud.store, &self.options.sources, object, &mut |progress| reporter.report(progress))?;
        self.stored = None;
        Ok(())
    }

    /// Has all servers do whatever they find to do. What they could not, by place.
    fn wake_servers(&mut self, sighting: &Sighting) -> Result<BTreeMap<Place, String>, RollForwardError> {
        let mut troubles = sighting.unreachable.clone();
        for (place, machine) in &sighting.machines {
            let name = place.server.to_string();
            match machine.renew().and_then(|()| Server::new(&**machine, &name).roll_forward()) {
                Ok(rolled) => self.reporter.report(Progress::Woken { place: place.clone(), rolled }),
                Err(MachineError::Outdated { error, hint }) => {
                    return Err(RollForwardError::Outdated { server: place.server.clone(), error, hint });
                }
                Err(error) => {
                    let (reason, hint) = (error.to_line(), error.hint().to_owned());
                    troubles.insert(place.clone(), reason.clone());
                    self.reporter.report(Progress::Trouble { place: place.clone(), reason, hint });
                }
            }
        }
        Ok(troubles)
    }
}

/// What work at a place came to.
#[derive(Default)]
struct Worked {
    done: usize,
    created: Option<Details>,
    removed: Option<Details>,
    handed: bool,
    unfinished: bool,
    error: Option<MachineError>,
}

fn work_at(workplace: &Workplace<'_>, steps: &[&CloudStep]) -> Worked {
    let mut worked = Worked::default();
    for step in steps {
        if (workplace.cancel)() {
            break;
        }
        match workplace.perform(step) {
            Ok(Performed::Created(details)) => worked.created = Some(details),
            Ok(Performed::Removed(details)) => worked.removed = Some(details),
            Ok(Performed::Done) => worked.handed |= matches!(step, CloudStep::HandRelease(..)),
            Ok(Performed::Unfinished) => {
                worked.unfinished = true;
                break;
            }
            Err(error) => {
                worked.error = Some(error);
                break;
            }
        }
        worked.done += 1;
    }
    worked
}
