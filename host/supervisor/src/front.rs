//! Keeping the front running.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_disk::{DiskError, durable, lock, program};
use jecloud_launch::{Child, Launch, Signal, pid_from};
use jecloud_model::layout::ServerRoot;
use jecloud_model::supervise::{Moment, STEADY};
use rustix::process::PidfdFlags;
use serde::{Deserialize, Serialize};

use crate::binary;
use crate::events::{Events, Watched, watch};
use crate::journal::Journal;
use crate::listeners::{self, Listeners};
use crate::output::{Output, Sink};

/// Who the front is among the lock files: `sys/pids/front.pid`.
const NAME: &str = "front";

/// The name of its pipe.
const PIPE: &str = "front.out";

/// How much longer each start in a row waits after the first, which is at once. Every app of the machine waits for the
/// front, so it is more eager than an app: ten failures cost a second.
const PAUSE: Duration = Duration::from_millis(100);

/// When it cannot be started at all, and the longest wait.
const RETRY: Duration = Duration::from_secs(5);

/// How often is looked whether one has taken the place of another.
const LOOK: Duration = Duration::from_millis(20);

/// How long that may take. One that hangs is killed then, and another one tried.
const TAKEOVER: Duration = Duration::from_secs(15);

/// From SIGTERM to SIGKILL when everything is to end.
const STOP: Duration = Duration::from_secs(5);

/// `sys/front.json`: where the front listens, for those who print addresses, and for the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontDocument {
    /// 1.
    pub format: u32,
    /// The port of the first address.
    pub port: u16,
    /// All of them.
    pub addresses: Vec<SocketAddr>,
}

/// `sys/front.json`; none where no front was ever started.
pub(crate) fn document(root: &ServerRoot) -> Result<Option<FrontDocument>, DiskError> {
    durable::read_json(&document_path(root))
}

fn document_path(root: &ServerRoot) -> PathBuf {
    root.sys().join("front.json")
}

/// The front, or its absence.
pub(crate) struct Front {
    listeners: Listeners,
    state: State,
    /// Ends in a row, for the back-off.
    failures: u32,
    /// How many fronts there were: tells the end of one from that of another.
    count: u64,
    output: Option<Output>,
    /// The front that runs is of an older binary than this process manager, and is to be replaced.
    is_older: bool,
    /// One that was started to take the place of the one that runs, and has not yet done so.
    successor: Option<Running>,
    /// When the next one may be started.
    replace_at: Moment,
}

enum State {
    Down { due: Moment },
    Up(Running),
}

struct Running {
    pid: u32,
    /// As the so-manieth front.
    count: u64,
    /// None for one that an earlier process manager started.
    child: Option<Child>,
    since: Moment,
    /// Since when it is to end, and whether it was killed.
    stopping: Option<(Moment, bool)>,
}

/// What starting a front takes.
pub(crate) struct Starter<'a> {
    pub(crate) root: &'a ServerRoot,
    pub(crate) exe: &'a Path,
    pub(crate) listen: Option<&'a [SocketAddr]>,
    pub(crate) events: &'a Events,
    pub(crate) journal: &'a Journal,
}

impl Front {
    /// `listeners` are those that were handed over, if any were.
    pub(crate) fn new(listeners: Listeners) -> Self {
        Self {
            listeners,
            state: State::Down { due: Moment(0) },
            failures: 0,
            count: 0,
            output: None,
            is_older: false,
            successor: None,
            replace_at: Moment(0),
        }
    }

    /// The sockets, for the next process manager.
    pub(crate) fn take_listeners(&mut self) -> Listeners {
        std::mem::take(&mut self.listeners)
    }

    /// Whether the front that runs is to be replaced and its sockets are not here. It gives them to the process manager
    /// that it starts when there is none.
    pub(crate) fn lacks_sockets(&self) -> bool {
        self.is_older && matches!(self.state, State::Up(_)) && self.listeners.is_empty()
    }

    /// Starts it if it is time to. Returns when to look again.
    pub(crate) fn keep(&mut self, starter: &Starter<'_>, now: Moment) -> Option<Moment> {
        match &self.state {
            State::Up(_) => return self.replace(starter, now),
            State::Down { due } if now < *due => return Some(*due),
            State::Down { .. } => {}
        }
        match self.begin(starter, now) {
            Ok(running) => {
                self.state = State::Up(running);
                None
            }
            Err(why) => {
                starter.journal.say(format!("the front cannot be started: {why}"));
                let due = now.plus(RETRY);
                self.state = State::Down { due };
                Some(due)
            }
        }
    }

    fn begin(&mut self, starter: &Starter<'_>, now: Moment) -> Result<Running, String> {
        self.count += 1;
        if !is_wished(starter.listen, &self.listeners) {
            // Handed over by a front that was told something else.
            self.listeners.clear();
        }
        if self.output.is_none() {
            let sink = Sink::new(starter.root.system_log(NAME), NAME);
            self.output = Some(Output::open(starter.root, PIPE, None, sink).map_err(|error| error.to_string())?);
        }
        if let Some(running) = self.adopt(starter, now) {
            return Ok(running);
        }
        if self.listeners.is_empty() {
            self.listeners = open(starter)?;
        }
        record(starter, &self.listeners)?;
        let running = self.start(starter, now, &[])?;
        starter.journal.say(format!("the front is process {}", running.pid));
        Ok(running)
    }

    /// Starts one with the sockets that there are.
    fn start(&self, starter: &Starter<'_>, now: Moment, more: &[&str]) -> Result<Running, String> {
        let fds = listeners::for_child(self.listeners.iter().map(|(socket, _)| socket));
        let fds = fds.map_err(|error| error.to_string())?;
        let output = self.output.as_ref().ok_or("it has no output")?;
        let launch = Launch::new(starter.exe)
            .args([NAME.as_ref(), "--root".as_ref(), starter.root.path().as_os_str()])
            .args(more)
            .env(crate::lasting_environment())
            .variable(listeners::VARIABLE, self.listeners.len().to_string())
            .cwd(crate::anywhere());
        let writer = output.writer().map_err(|error| error.to_string())?;
        let mut child = jecloud_launch::child(launch, writer, fds).map_err(|error| crate::chain(&error))?;
        if let Err(error) = watch(child.pidfd(), Watched::Front(self.count), starter.events) {
            jecloud_launch::signal_group(child.pid(), Signal::KILL);
            let _ = child.wait();
            return Err(error.to_string());
        }
        Ok(Running { pid: child.pid(), count: self.count, child: Some(child), since: now, stopping: None })
    }

    /// Has a front of this binary take the place of one of an older. The new one begins beside the old one, which accepts
    /// until the new one asks it to leave: so a new one that cannot begin costs nothing.
    fn replace(&mut self, starter: &Starter<'_>, now: Moment) -> Option<Moment> {
        if !self.is_older {
            return None;
        }
        if let Some(successor) = &mut self.successor {
            if lock::holder(&starter.root.pid_file(NAME)).is_ok_and(|holder| holder == Some(successor.pid)) {
                starter.journal.say(format!("the front is process {}, of a newer binary", successor.pid));
                self.promote();
                return None;
            }
            if now.since(successor.since) >= TAKEOVER {
                jecloud_launch::signal_group(successor.pid, Signal::KILL);
                return Some(now.plus(RETRY));
            }
            return Some(now.plus(LOOK));
        }
        if now < self.replace_at {
            return Some(self.replace_at);
        }
        if self.lacks_sockets() {
            starter
                .journal
                .say("the system does not let us copy the front's sockets; it has to give them to another one");
            return None;
        }
        self.count += 1;
        match self.start(starter, now, &["--replace"]) {
            Ok(successor) => {
                starter.journal.say(format!("process {} is to be the front", successor.pid));
                self.successor = Some(successor);
                Some(now.plus(LOOK))
            }
            Err(why) => {
                starter.journal.say(format!("the front cannot be replaced: {why}"));
                self.replace_at = now.plus(RETRY);
                Some(self.replace_at)
            }
        }
    }

    /// The one that was started to be the front is. The one before finishes what it has in flight and ends by itself.
    fn promote(&mut self) {
        if let Some(successor) = self.successor.take() {
            self.state = State::Up(successor);
            self.is_older = false;
            self.failures = 0;
        }
    }

    /// The front that an earlier process manager started, and its sockets where we do not have them.
    fn adopt(&mut self, starter: &Starter<'_>, now: Moment) -> Option<Running> {
        let holder = lock::holder(&starter.root.pid_file(NAME)).ok()??;
        let pidfd = rustix::process::pidfd_open(pid_from(holder)?, PidfdFlags::empty()).ok()?;
        if self.listeners.is_empty() {
            let listeners = listeners::of_process(holder);
            if !listeners.is_empty() && !is_wished(starter.listen, &listeners) {
                // The next one waits for its lock, which it lets go as soon as it accepts nobody any more.
                starter.journal.say(format!("the front (process {holder}) listens elsewhere than it is to"));
                jecloud_launch::terminate(holder);
                return None;
            }
            self.listeners = listeners;
        }
        watch(&pidfd, Watched::Front(self.count), starter.events).ok()?;
        self.is_older = binary::is_older(holder, &program::own());
        starter.journal.say(format!("the front is process {holder}, started by an earlier process manager"));
        Some(Running { pid: holder, count: self.count, child: None, since: now, stopping: None })
    }

    /// A front has ended: the `count`th.
    pub(crate) fn ended(&mut self, count: u64, journal: &Journal, now: Moment) {
        let mut ended = |running: &mut Running| {
            let how = match running.child.as_mut().map(Child::reap) {
                Some(Ok(Some(ended))) => ended.to_string(),
                _ => "has ended".to_owned(),
            };
            journal.say(format!("the front (process {}) {how}", running.pid));
            if let Some(output) = &self.output {
                output.finish();
            }
            if now.since(running.since) >= STEADY {
                self.failures = 0;
            }
            self.failures += 1;
            now.plus(RETRY.min(PAUSE * (self.failures - 1)))
        };
        if let Some(successor) = self.successor.as_mut().filter(|successor| successor.count == count) {
            // Where it had taken over already, the next one finds nobody who holds the lock, and does at once.
            self.replace_at = ended(successor);
            self.successor = None;
            return;
        }
        let State::Up(running) = &mut self.state else { return };
        if running.count != count {
            return;
        }
        let due = ended(running);
        if self.successor.is_some() {
            self.promote();
        } else {
            self.state = State::Down { due };
        }
    }

    /// Ends it. Returns when to look again; none when it is gone.
    pub(crate) fn stop(&mut self, now: Moment) -> Option<Moment> {
        let State::Up(running) = &mut self.state else { return None };
        if let Some(successor) = &mut self.successor {
            successor.stop(now);
        }
        running.stop(now)
    }
}

impl Running {
    fn stop(&mut self, now: Moment) -> Option<Moment> {
        let pid = pid_from(self.pid)?;
        // A child that was not waited for keeps its number. One that is not our child was alive when it was last
        // looked at, and its end would have been told.
        let signal = |signal| {
            let _ = rustix::process::kill_process(pid, signal);
        };
        let (since, killed) = *self.stopping.get_or_insert_with(|| {
            signal(Signal::TERM);
            (now, false)
        });
        let kill_at = since.plus(STOP);
        if now >= kill_at && !killed {
            signal(Signal::KILL);
            self.stopping = Some((since, true));
        }
        Some(if now < kill_at { kill_at } else { now.plus(RETRY) })
    }
}

/// Whether sockets listen where they are to: anywhere, if nothing else is wished.
fn is_wished(listen: Option<&[SocketAddr]>, listeners: &Listeners) -> bool {
    listen.is_none_or(|wished| {
        let addresses = listeners.iter().map(|(_, address)| address);
        wished.len() == listeners.len() && addresses.zip(wished).all(|(address, wished)| address == wished)
    })
}

/// Opens the sockets where they are wished, or where they were the last time.
fn open(starter: &Starter<'_>) -> Result<Listeners, String> {
    let opened = match starter.listen {
        Some(addresses) => listeners::at(addresses),
        None => {
            let last = document(starter.root).map_err(|error| crate::chain(&error))?;
            listeners::anywhere(last.map(|document| document.port))
        }
    };
    opened.map_err(|error| match starter.listen {
        Some(addresses) => format!("cannot listen at {addresses:?}: {error}"),
        None => format!("no port is free: {error}"),
    })
}

/// Writes down where the front listens, before it does.
fn record(starter: &Starter<'_>, listeners: &Listeners) -> Result<(), String> {
    let addresses: Vec<SocketAddr> = listeners.iter().map(|(_, address)| *address).collect();
    record_addresses(starter.root, &addresses).map_err(|error| crate::chain(&error))
}

/// Writes down where the front of a server listens.
///
/// # Errors
///
/// When the file cannot be written.
pub fn record_addresses(root: &ServerRoot, addresses: &[SocketAddr]) -> Result<(), DiskError> {
    let port = addresses.first().map_or(0, SocketAddr::port);
    let wanted = FrontDocument { format: 1, port, addresses: addresses.to_vec() };
    if document(root).ok().flatten().as_ref() == Some(&wanted) {
        return Ok(());
    }
    durable::write_json(&document_path(root), &wanted, 0o644)
}

/// Where the front of a server listens for which nobody has wished anything: where it did, or at a port of this machine's
/// own addresses that is free now.
///
/// # Errors
///
/// When no port is free.
pub fn own_addresses(root: &ServerRoot) -> std::io::Result<Vec<SocketAddr>> {
    match document(root).ok().flatten().filter(|document| !document.addresses.is_empty()) {
        Some(document) => Ok(document.addresses),
        None => Ok(listeners::anywhere(None)?.into_iter().map(|(_, address)| address).collect()),
    }
}
