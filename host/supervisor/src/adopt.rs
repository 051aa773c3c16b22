//! Taking over what an earlier process manager started.

use std::collections::btree_map::Entry;

use jecloud_launch::{Signal, group_members, signal_group};
use jecloud_model::processes::{Exit, ProcessSpec};
use jecloud_model::supervise::{Moment, Seen};

use crate::instances::{Instance, Live, Starter};
use crate::manager::{Manager, ORPHAN_STOP, Orphan};
use crate::mark::{self, Found};
use crate::memory::{Memory, Remembered};
use crate::tables::Place;
use crate::{chain, clock};

impl Manager {
    /// Finds the processes that run already: those that were written down, and those that were started right before
    /// the last process manager died. To be called once, after the tables were read.
    pub(crate) fn adopt(&mut self, boot: &str) {
        let now = clock::moment();
        let memory = Memory::read(&self.root, boot).unwrap_or_else(|error| {
            self.journal.say(format!("{}; looking for processes by their marks", chain(&error)));
            None
        });
        let memory = memory.unwrap_or_default();
        // The numbers of starts from here on are greater than any that was written down, and those of processes found
        // by their marks are, too: each of them gets a new one here.
        self.newest_start = memory.newest_start.max(now.0);
        let found = mark::find(&self.root, memory.newest_start);
        for remembered in memory.processes {
            self.take_over(remembered, now);
        }
        for found in found {
            self.take_in(found, now);
        }
        self.changed = true;
    }

    /// A process that was written down: it runs, or it has ended in the meantime.
    fn take_over(&mut self, remembered: Remembered, now: Moment) {
        self.newest_start += 1;
        let start = self.newest_start;
        let Remembered { app, environment, seen, process, restarts, started, last_exit } = remembered;
        let place: Place = (app, environment);
        let id = seen.spec.id.clone();
        let live = process.and_then(|(pid, start_time)| Live::adopt(pid, start_time, start, &self.events));
        if let Some(live) = &live {
            self.journal.say(format!("{} {} {id} is process {} as before", place.0, place.1, live.pid));
        }
        let mut instance = Instance { seen, start, live, restarts, started, last_exit, output: None };
        instance.output = self.starter().output(&place, &instance.seen.spec).ok();
        if let (Some((pid, _)), None) = (process, &instance.live) {
            self.journal.say(format!("{} {} {id} has ended while nobody looked", place.0, place.1));
            sweep(&self.root, pid);
            match instance.over(now) {
                Ok(over) => instance = Instance { last_exit: Some(Exit::Unknown), ..over },
                Err(_) => return,
            }
        }
        self.places.entry(place).or_default().instances.insert(id, instance);
    }

    /// A process that was not written down.
    fn take_in(&mut self, found: Found, now: Moment) {
        self.newest_start += 1;
        let start = self.newest_start;
        let Found { mark, pid, start_time } = found;
        let place: Place = (mark.app, mark.environment);
        let id = mark.id;
        let Some(live) = Live::adopt(pid, start_time, start, &self.events) else { return };
        let state = self.places.entry(place.clone()).or_default();
        let spec = state.wanted.iter().flatten().find(|spec| spec.id == id && mark::spec_digest(spec) == mark.spec);
        let spec: Option<ProcessSpec> = spec.cloned();
        let before = match state.instances.entry(id.clone()) {
            // Another of this id lives and was written down; whatever this is, it is not to go on beside it.
            Entry::Occupied(entry) if entry.get().live.is_some() => None,
            Entry::Occupied(entry) => spec.is_some().then(|| Some(entry.remove())),
            Entry::Vacant(_) => spec.is_some().then_some(None),
        };
        if let (Some(spec), Some(before)) = (spec, before) {
            self.journal.say(format!("{} {} {id} is process {pid}, found by its mark", place.0, place.1));
            let again = before.as_ref().filter(|before| before.seen.spec == spec);
            let restarts = again.map_or(0, |before| before.restarts + 1);
            let last_exit = before.as_ref().and_then(|before| before.last_exit.clone());
            let seen = Seen::started(spec.clone(), before.as_ref().map(|before| &before.seen), since(start_time));
            let output = before.and_then(|before| before.output).or_else(|| self.starter().output(&place, &spec).ok());
            let started = Some(clock::timestamp());
            let instance = Instance { seen, start, live: Some(live), restarts, started, last_exit, output };
            self.places.entry(place).or_default().instances.insert(id, instance);
        } else {
            self.journal.say(format!("{} {} {id} is process {pid}, which is not wanted and ended", place.0, place.1));
            live.signal(Signal::TERM);
            let kill_at = now.plus(ORPHAN_STOP);
            self.orphans.push(Orphan { place, id, live, start, kill_at, killed: false });
        }
    }

    fn starter(&self) -> Starter<'_> {
        Starter { root: &self.root, events: &self.events }
    }
}

/// Kills what a process left of its group when it ended while nobody looked: it would be in the way of the next one.
///
/// By now the number of the group may be that of a group that is none of our business, so the mark is asked first.
fn sweep(root: &jecloud_model::layout::ServerRoot, group: u32) {
    if group_members(group).into_iter().any(|pid| mark::is_ours(root, pid)) {
        signal_group(group, Signal::KILL);
    }
}

/// The kernel counts in hundredths of a second, on every architecture that matters here.
fn since(start_time: u64) -> Moment {
    Moment(start_time.saturating_mul(10))
}
