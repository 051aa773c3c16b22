//! What the process manager knows, and its turns: look at what is wanted and what is there, plan, perform, write down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jecloud_disk::fault;
use jecloud_launch::Signal;
use jecloud_model::ids::InstanceId;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::{Exit, ProcessSpec, ProcessStatus};
use jecloud_model::supervise::{Moment, Phase, Seen, Step, plan};
use tokio::sync::oneshot;

use crate::Settings;
use crate::events::{Event, Events, Watched};
use crate::front::{self, Front};
use crate::instances::{self, Instance, Live, Starter};
use crate::journal::Journal;
use crate::listeners::Listeners;
use crate::memory::Memory;
use crate::output;
use crate::protocol::{Answer, Request};
use crate::tables::{self, Place};
use crate::tick::Tick;
use crate::{clock, machine};

/// How often the tables are read when nothing happens. Whoever changes one says so; this is for who died before that.
const REREAD: Duration = Duration::from_secs(10);

/// How often it is looked whether the last of a process group has ended.
const LINGER: Duration = Duration::from_millis(20);

/// From SIGTERM to SIGKILL for processes of which nothing is known but that they are ours.
pub(crate) const ORPHAN_STOP: Duration = Duration::from_secs(10);

/// The process manager.
pub(crate) struct Manager {
    pub(crate) root: ServerRoot,
    exe: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) events: Events,
    pub(crate) journal: Journal,
    boot: String,
    pub(crate) places: BTreeMap<Place, PlaceState>,
    /// Processes that are ours and match nothing that is wanted.
    pub(crate) orphans: Vec<Orphan>,
    /// The greatest number of a start.
    pub(crate) newest_start: u64,
    /// Something changed that the next process manager has to know.
    pub(crate) changed: bool,
    next_read: Moment,
    problems: Vec<String>,
    front: Front,
    tick: Tick,
    /// Since when nothing is wanted and nobody has asked.
    idle_since: Option<Moment>,
    leaving: Option<Vec<oneshot::Sender<Answer>>>,
    /// It was said that limits are not enforced.
    limits_mentioned: bool,
    /// The binary whose process manager is to take the place of this one.
    renewing: Option<PathBuf>,
}

/// One app and environment.
#[derive(Default)]
pub(crate) struct PlaceState {
    /// None until a table could be read.
    pub(crate) wanted: Option<Vec<ProcessSpec>>,
    has_routes: bool,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
}

/// A process to be ended before anything of its id is started.
pub(crate) struct Orphan {
    pub(crate) place: Place,
    pub(crate) id: InstanceId,
    pub(crate) live: Live,
    pub(crate) start: u64,
    pub(crate) kill_at: Moment,
    pub(crate) killed: bool,
}

impl PlaceState {
    /// What is wanted here. Without a table that can be read, what there is stays.
    fn wanted(&self) -> Vec<ProcessSpec> {
        match &self.wanted {
            Some(wanted) => wanted.clone(),
            None => self.instances.values().map(|instance| instance.seen.spec.clone()).collect(),
        }
    }
}

impl Manager {
    pub(crate) fn new(
        (root, exe, settings): (ServerRoot, PathBuf, Settings),
        listeners: Listeners,
        events: Events,
        journal: Journal,
    ) -> Self {
        let now = clock::moment();
        Self {
            tick: Tick::new(settings.tick, now),
            root,
            exe,
            settings,
            events,
            journal,
            // Without it nothing that is written down can be trusted later; then marks alone are used.
            boot: machine::boot_id().unwrap_or_default(),
            places: BTreeMap::new(),
            orphans: Vec::new(),
            newest_start: 0,
            changed: false,
            next_read: now,
            problems: Vec::new(),
            front: Front::new(listeners),
            idle_since: None,
            leaving: None,
            limits_mentioned: false,
            renewing: None,
        }
    }

    /// Whether another process manager is to take the place of this one: it was asked to, or only one that the front
    /// starts gets the front's sockets.
    pub(crate) fn gives_way(&self) -> bool {
        self.renewing.is_some() || (self.leaving.is_none() && self.front.lacks_sockets())
    }

    /// Everything there is to do now. Returns when to come back if nothing happens, or none when it is time to go.
    pub(crate) fn turn(&mut self) -> Option<Moment> {
        let now = clock::moment();
        if now >= self.next_read {
            self.read_tables(now);
        }
        let mut next = self.next_read;
        let mut wake = |at: Option<Moment>| next = at.map_or(next, |at| next.min(at));
        wake(self.settle(now));
        // A process that cannot be started may be tried once more at once, and then has to wait.
        loop {
            let (acted, until) = self.act(now);
            if !acted {
                wake(until);
                break;
            }
        }
        self.write_down();
        if self.leaving.is_none() {
            if self.settings.front {
                let starter = front::Starter {
                    root: &self.root,
                    exe: &self.exe,
                    listen: self.settings.listen.as_deref(),
                    events: &self.events,
                    journal: &self.journal,
                };
                wake(self.front.keep(&starter, now));
            }
            wake(self.tick.keep(&self.root, &self.exe, &self.events, &self.journal, now));
            wake(self.idle(now));
        }
        if self.leaving.is_some() {
            let front = self.front.stop(now);
            let empty = self.orphans.is_empty() && self.places.values().all(|place| place.instances.is_empty());
            if front.is_none() && empty {
                return None;
            }
            wake(front);
        }
        Some(next)
    }

    /// Looks at all tables. What cannot be read stays as it was.
    pub(crate) fn read_tables(&mut self, now: Moment) {
        self.next_read = now.plus(REREAD);
        let tables = tables::read(&self.root);
        if tables.problems != self.problems {
            for problem in &tables.problems {
                self.journal.say(format!("{problem}; what runs there stays as it is"));
            }
            self.problems = tables.problems;
        }
        if tables.blind {
            return;
        }
        for (place, state) in &mut self.places {
            if !tables.wanted.contains_key(place) {
                state.wanted = Some(Vec::new());
                state.has_routes = false;
            }
        }
        self.places.retain(|place, state| tables.wanted.contains_key(place) || !state.instances.is_empty());
        for (place, wanted) in tables.wanted {
            let state = self.places.entry(place).or_default();
            state.has_routes = wanted.has_routes;
            if wanted.processes.is_some() {
                state.wanted = wanted.processes;
            }
        }
    }

    /// Takes note of what has ended, with everything it started. Returns when to look again.
    fn settle(&mut self, now: Moment) -> Option<Moment> {
        let mut again = false;
        for (place, state) in &mut self.places {
            for (id, mut instance) in std::mem::take(&mut state.instances) {
                if let Some(live) = instance.live.as_ref().filter(|live| live.ended) {
                    if live.runs() {
                        // What was asked to end may take its time. What is left of a process that ended by itself
                        // would only be in the way of the next one.
                        if matches!(instance.seen.phase, Phase::Running { .. }) {
                            live.signal(Signal::KILL);
                        }
                        again = true;
                    } else {
                        self.changed = true;
                        match instance.over(now) {
                            Ok(over) => {
                                let exit = over.last_exit.as_ref().map(in_words).unwrap_or_default();
                                self.journal.say(format!("{} {} {id} {exit}", place.0, place.1));
                                instance = over;
                            }
                            Err(exit) => {
                                let exit = in_words(&exit);
                                self.journal.say(format!("{} {} {id} was stopped and {exit}", place.0, place.1));
                                output::remove(&self.root, &instances::pipe(place, &id));
                                continue;
                            }
                        }
                    }
                }
                state.instances.insert(id, instance);
            }
        }
        self.orphans.retain_mut(|orphan| {
            if now >= orphan.kill_at && !orphan.killed {
                orphan.live.signal(Signal::KILL);
                orphan.killed = true;
            }
            orphan.live.runs()
        });
        (again || !self.orphans.is_empty()).then(|| now.plus(LINGER))
    }

    /// Plans and performs, for every app and environment. Says whether anything was done, and until when nothing is to
    /// be done if not.
    fn act(&mut self, now: Moment) -> (bool, Option<Moment>) {
        let mut acted = false;
        let mut until: Option<Moment> = None;
        let blocked: BTreeSet<(Place, InstanceId)> =
            self.orphans.iter().map(|orphan| (orphan.place.clone(), orphan.id.clone())).collect();
        for place in self.places.keys().cloned().collect::<Vec<_>>() {
            let Some(state) = self.places.get_mut(&place) else { continue };
            let wanted = if self.leaving.is_some() { Vec::new() } else { state.wanted() };
            let seen: Vec<Seen> = state.instances.values().map(|instance| instance.seen.clone()).collect();
            for step in plan(&wanted, &seen, now) {
                match step {
                    Step::WaitUntil(moment) => until = Some(until.map_or(moment, |until| until.min(moment))),
                    Step::Start(spec) if blocked.contains(&(place.clone(), spec.id.clone())) => {}
                    step => {
                        acted = true;
                        self.perform(&place, step, now);
                    }
                }
            }
        }
        (acted, until)
    }

    fn perform(&mut self, place: &Place, step: Step, now: Moment) {
        let Some(state) = self.places.get_mut(place) else { return };
        self.changed = true;
        match step {
            Step::Start(spec) => {
                let before = state.instances.remove(&spec.id);
                let instance = self.start(place, spec, before, now);
                if let Some(state) = self.places.get_mut(place) {
                    state.instances.insert(instance.seen.spec.id.clone(), instance);
                }
            }
            Step::Terminate(id) => {
                if let Some(mut instance) = state.instances.remove(&id) {
                    if let Some(live) = &instance.live {
                        live.signal(Signal::TERM);
                    }
                    instance.seen = instance.seen.terminated(now);
                    state.instances.insert(id, instance);
                }
            }
            Step::Kill(id) => {
                if let Some(mut instance) = state.instances.remove(&id) {
                    if let Some(live) = &instance.live {
                        live.signal(Signal::KILL);
                    }
                    self.journal.say(format!("{} {} {id} did not end in time and is killed", place.0, place.1));
                    instance.seen = instance.seen.killed(now);
                    state.instances.insert(id, instance);
                }
            }
            Step::Forget(id) => {
                state.instances.remove(&id);
                output::remove(&self.root, &instances::pipe(place, &id));
            }
            Step::WaitUntil(_) => {}
        }
    }

    fn start(&mut self, place: &Place, spec: ProcessSpec, before: Option<Instance>, now: Moment) -> Instance {
        // Greater than all before, also than those of which nothing was written down.
        self.newest_start = now.0.max(self.newest_start + 1);
        let start = self.newest_start;
        let starter = Starter { root: &self.root, events: &self.events };
        let again = before.as_ref().filter(|before| before.seen.spec == spec);
        let restarts = again.map_or(0, |before| before.restarts + 1);
        let seen = Seen::started(spec.clone(), before.as_ref().map(|before| &before.seen), now);
        let last_exit = before.as_ref().and_then(|before| before.last_exit.clone());
        let output = match before.and_then(|before| before.output) {
            Some(output) => Ok(output),
            None => starter.output(place, &spec).map_err(|error| format!("its output cannot be collected: {error}")),
        };
        let started = output.and_then(|output| match starter.start(place, &spec, start, &output) {
            Ok(live) => Ok((output, live)),
            Err(why) => Err(why),
        });
        // The moment at which a crash leaves a process of which nothing is written down.
        if let Err(error) = fault::point("supervisor.started") {
            self.journal.say(error.to_string());
        }
        let id = &spec.id;
        if !spec.limits.is_none() && !std::mem::replace(&mut self.limits_mentioned, true) {
            self.journal
                .say(format!("{} {} {id} has limits, which are not enforced here: {}", place.0, place.1, spec.limits));
        }
        match started {
            Ok((output, live)) => {
                self.journal.say(format!("{} {} {id} is process {}", place.0, place.1, live.pid));
                let started = Some(clock::timestamp());
                Instance { seen, start, live: Some(live), restarts, started, last_exit, output: Some(output) }
            }
            Err(why) => {
                self.journal.say(format!("{} {} {id} cannot be started: {why}", place.0, place.1));
                let last_exit = Some(Exit::NotStarted(why));
                let seen = seen.clone().ended(now).unwrap_or(seen);
                Instance { seen, start, live: None, restarts, started: None, last_exit, output: None }
            }
        }
    }

    /// Writes down what the next process manager has to know. When that fails (a full disk), the processes run on, and
    /// it is tried again at the next turn: they can still be found by their marks.
    pub(crate) fn write_down(&mut self) {
        if !self.changed {
            return;
        }
        let remembered = |(place, state): (&Place, &PlaceState)| {
            state.instances.values().map(|instance| instance.remembered(place)).collect::<Vec<_>>()
        };
        let memory = Memory {
            format: 1,
            boot: self.boot.clone(),
            newest_start: self.newest_start,
            processes: self.places.iter().flat_map(remembered).collect(),
        };
        match memory.write(&self.root) {
            Ok(()) => self.changed = false,
            Err(error) => self.journal.say(crate::chain(&error)),
        }
    }

    /// Leaves when nothing was wanted for long enough. Returns when to look again.
    fn idle(&mut self, now: Moment) -> Option<Moment> {
        let busy = |state: &PlaceState| {
            state.has_routes
                || !state.instances.is_empty()
                || state.wanted.as_ref().is_none_or(|wanted| !wanted.is_empty())
        };
        if self.places.values().any(busy) || !self.orphans.is_empty() || !self.problems.is_empty() {
            self.idle_since = None;
            return None;
        }
        let leave_at = self.idle_since.get_or_insert(now).plus(self.settings.idle_exit);
        if now < leave_at {
            return Some(leave_at);
        }
        self.read_tables(now);
        if !self.places.values().any(busy) {
            self.journal.say("nothing is wanted any more");
            self.leaving = Some(Vec::new());
        }
        Some(now)
    }

    /// Takes note of something that happened; [`Manager::turn`] draws the conclusions. What is answered at once is
    /// answered by the second result, after that turn.
    pub(crate) fn note(&mut self, event: Event) -> Option<oneshot::Sender<Answer>> {
        let now = clock::moment();
        match event {
            Event::Ended(Watched::Process(start)) => {
                let instances = self.places.values_mut().flat_map(|state| state.instances.values_mut());
                let lives = instances
                    .filter(|instance| instance.start == start)
                    .filter_map(|instance| instance.live.as_mut())
                    .chain(
                        self.orphans.iter_mut().filter(|orphan| orphan.start == start).map(|orphan| &mut orphan.live),
                    );
                lives.for_each(|live| live.ended = true);
                None
            }
            Event::Ended(Watched::Front(count)) => {
                self.front.ended(count, &self.journal, now);
                None
            }
            Event::Ended(Watched::Tick) => {
                self.tick.ended(&self.journal);
                None
            }
            Event::Asked(request, reply) => {
                self.idle_since = None;
                match request {
                    Request::Status => Some(reply),
                    Request::Reconcile => {
                        self.next_read = now;
                        // It may be leaving because nothing was wanted; now something may be.
                        if self.leaving.as_ref().is_some_and(Vec::is_empty) {
                            self.leaving = None;
                        }
                        Some(reply)
                    }
                    Request::Shutdown => {
                        self.leaving.get_or_insert_default().push(reply);
                        None
                    }
                    Request::Renew { exe } => {
                        // Who is ending everything needs no successor.
                        if self.leaving.is_none() {
                            self.renewing = Some(exe);
                        }
                        let _ = reply.send(Answer::Leaving);
                        None
                    }
                }
            }
        }
    }

    /// Everything that is wanted or there, for people.
    pub(crate) fn statuses(&self) -> Vec<ProcessStatus> {
        let mut statuses = Vec::new();
        for (place, state) in &self.places {
            let mut of_place: BTreeMap<&InstanceId, ProcessStatus> = BTreeMap::new();
            for spec in state.wanted.iter().flatten() {
                of_place.insert(&spec.id, instances::waiting(place, spec));
            }
            for (id, instance) in &state.instances {
                of_place.insert(id, instance.status(place));
            }
            statuses.extend(of_place.into_values());
        }
        statuses
    }

    /// Leaves everything as it is, for the next process manager. Returns its binary and the front's sockets, where one is
    /// to be started.
    pub(crate) fn leave(&mut self) -> Option<(PathBuf, Listeners)> {
        self.write_down();
        // The beginnings of lines that were read already would be lost otherwise.
        for instance in self.places.values().flat_map(|state| state.instances.values()) {
            if let Some(output) = &instance.output {
                output.finish();
            }
        }
        self.renewing.take().map(|exe| (exe, self.front.take_listeners()))
    }

    /// Tells those who asked for the end of everything that it has come.
    pub(crate) fn farewell(&mut self) {
        self.changed = true;
        self.write_down();
        for reply in self.leaving.take().unwrap_or_default() {
            let _ = reply.send(Answer::Ended);
        }
    }
}

/// Continues a sentence that begins with the process.
fn in_words(exit: &Exit) -> String {
    match exit {
        Exit::Status(status) => format!("exited with status {status}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::Unknown => "ended".to_owned(),
        Exit::NotStarted(why) => format!("could not be started: {why}"),
    }
}
