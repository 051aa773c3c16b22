//! One process: what is known of it, and what can be done to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

use jecloud_launch::{Child, Ended, Environment, Launch, Signal, User, group_members, signal_group};
use jecloud_model::hook::Identity;
use jecloud_model::ids::InstanceId;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::{Exit, ProcessSpec, ProcessState, ProcessStatus};
use jecloud_model::supervise::{Phase, Seen};
use jecloud_model::time::Timestamp;
use rustix::process::PidfdFlags;

use crate::events::{Events, Watched, watch};
use crate::machine;
use crate::mark::{self, Mark};
use crate::memory::Remembered;
use crate::output::{Output, Sink};
use crate::secrets;
use crate::tables::Place;
use crate::users;

/// A process that was started, until it is forgotten.
pub(crate) struct Instance {
    pub(crate) seen: Seen,
    /// The number of its start.
    pub(crate) start: u64,
    /// While there is a process.
    pub(crate) live: Option<Live>,
    pub(crate) restarts: u64,
    pub(crate) started: Option<Timestamp>,
    pub(crate) last_exit: Option<Exit>,
    /// Stays open while it waits to be started again.
    pub(crate) output: Option<Output>,
}

/// A process, from its start until nothing is left of its group.
pub(crate) struct Live {
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    /// None for one that an earlier process manager started.
    child: Option<Child>,
    /// The process itself has ended; others of its group may not have.
    pub(crate) ended: bool,
}

impl Live {
    /// A process that is our child.
    fn of_child(mut child: Child, start: u64, events: &Events) -> io::Result<Self> {
        let pid = child.pid();
        if let Err(error) = watch(child.pidfd(), Watched::Process(start), events) {
            // A process that nobody can watch is not left behind.
            signal_group(pid, Signal::KILL);
            let _ = child.wait();
            return Err(error);
        }
        // It is there, though it may have ended: nobody has waited for it.
        let start_time = machine::stat(pid).map_or(0, |stat| stat.start_time);
        Ok(Self { pid, start_time, child: Some(child), ended: false })
    }

    /// A process that an earlier process manager started; none where it is not there any more.
    pub(crate) fn adopt(pid: u32, start_time: u64, start: u64, events: &Events) -> Option<Self> {
        let pidfd = rustix::process::pidfd_open(jecloud_launch::pid_from(pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after it was opened: the number belongs to the process behind the descriptor, or to nobody.
        let stat = machine::stat(pid)?;
        (stat.start_time == start_time && stat.lives()).then_some(())?;
        watch(&pidfd, Watched::Process(start), events).ok()?;
        Some(Self { pid, start_time, child: None, ended: false })
    }

    /// Sends a signal to it and everything it started.
    pub(crate) fn signal(&self, signal: Signal) {
        // When the process has ended and was waited for by somebody else, its number means the group only while the
        // group has members.
        if self.child.is_some() || !self.ended || !group_members(self.pid).is_empty() {
            signal_group(self.pid, signal);
        }
    }

    /// Whether anything of it still runs.
    pub(crate) fn runs(&self) -> bool {
        !self.ended || !group_members(self.pid).is_empty()
    }

    /// How it ended. Not asked before it has: then the number may mean another process.
    fn reap(&mut self) -> Exit {
        match self.child.as_mut().map(Child::reap) {
            Some(Ok(Some(Ended::Exit(status)))) => Exit::Status(status),
            Some(Ok(Some(Ended::Signal(signal)))) => Exit::Signal(signal),
            _ => Exit::Unknown,
        }
    }
}

/// What is needed to start processes.
pub(crate) struct Starter<'a> {
    pub(crate) root: &'a ServerRoot,
    pub(crate) events: &'a Events,
}

impl Starter<'_> {
    /// Starts a process. In the error case nothing is left of it; the text says why, for people.
    pub(crate) fn start(&self, place: &Place, spec: &ProcessSpec, start: u64, output: &Output) -> Result<Live, String> {
        let user = self.user(place, spec)?;
        let (program, args) = spec.argv.split_first().ok_or("its command is empty")?;
        let home = self.root.environment(&place.0, &place.1);
        let mut env: BTreeMap<OsString, OsString> = secrets::fill(&spec.env, &home)
            .map_err(|error| crate::chain(&error))?
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mark = Mark {
            app: place.0.clone(),
            environment: place.1.clone(),
            id: spec.id.clone(),
            start,
            spec: mark::spec_digest(spec),
        };
        env.insert(mark::VARIABLE.into(), mark.value(self.root).into());
        let launch = Launch::new(program).args(args).env(Environment::Exactly(env)).cwd(&spec.cwd).user(user);
        let writer = output.writer().map_err(|error| format!("its output cannot be collected: {error}"))?;
        let child = jecloud_launch::child(launch, writer, Vec::new()).map_err(|error| crate::chain(&error))?;
        Live::of_child(child, start, self.events).map_err(|error| format!("it cannot be watched: {error}"))
    }

    /// As whom a process runs, where that is somebody else.
    ///
    /// What is recorded is read each time: an environment can get another user while the process manager runs.
    pub(crate) fn user(&self, place: &Place, spec: &ProcessSpec) -> Result<Option<User>, String> {
        match (spec.run_as, jecloud_launch::is_root()) {
            (Identity::App, _) => users::user_of(self.root, &place.0, &place.1).map_err(|error| crate::chain(&error)),
            (Identity::Root, true) => Ok(None),
            (Identity::Root, false) => Err("it must run as root, and the process manager does not".to_owned()),
        }
    }

    /// Opens the pipe of a process.
    pub(crate) fn output(&self, place: &Place, spec: &ProcessSpec) -> io::Result<Output> {
        let home = self.root.environment(&place.0, &place.1);
        let user = self.user(place, spec).unwrap_or_default();
        Output::open(self.root, &pipe(place, &spec.id), user, Sink::new(home.process_log(&spec.id), &spec.id))
    }
}

/// The name of a process's pipe.
pub(crate) fn pipe(place: &Place, id: &InstanceId) -> String {
    format!("{}.{}.{id}.out", place.0, place.1)
}

impl Instance {
    /// It is not there any more: what it wrote last is written down, then how it ended. None where it was asked to end,
    /// and is forgotten.
    pub(crate) fn over(mut self, now: jecloud_model::supervise::Moment) -> Result<Self, Exit> {
        let exit = self.live.take().map_or(Exit::Unknown, |mut live| live.reap());
        if let Some(output) = &self.output {
            output.finish();
        }
        match self.seen.clone().ended(now) {
            Some(seen) => Ok(Self { seen, last_exit: Some(exit), ..self }),
            None => Err(exit),
        }
    }

    /// For the next process manager.
    pub(crate) fn remembered(&self, place: &Place) -> Remembered {
        Remembered {
            app: place.0.clone(),
            environment: place.1.clone(),
            seen: self.seen.clone(),
            process: self.live.as_ref().map(|live| (live.pid, live.start_time)),
            restarts: self.restarts,
            started: self.started,
            last_exit: self.last_exit.clone(),
        }
    }

    /// For people.
    pub(crate) fn status(&self, place: &Place) -> ProcessStatus {
        let state = match self.seen.phase {
            Phase::Running { .. } if self.live.as_ref().is_some_and(|live| !live.ended) => ProcessState::Running,
            Phase::Running { .. } | Phase::Stopping { .. } => ProcessState::Stopping,
            Phase::Ended { .. } => ProcessState::BackOff,
        };
        ProcessStatus {
            state,
            pid: self.live.as_ref().map(|live| live.pid),
            restarts: self.restarts,
            started: self.live.as_ref().and(self.started),
            last_exit: self.last_exit.clone(),
            ..waiting(place, &self.seen.spec)
        }
    }
}

/// The status of a process that was not started yet.
pub(crate) fn waiting(place: &Place, spec: &ProcessSpec) -> ProcessStatus {
    ProcessStatus {
        app: place.0.clone(),
        environment: place.1.clone(),
        id: spec.id.clone(),
        service: spec.service.clone(),
        state: ProcessState::Waiting,
        pid: None,
        ports: BTreeMap::clone(&spec.ports),
        restarts: 0,
        started: None,
        last_exit: None,
    }
}
