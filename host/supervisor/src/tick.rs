//! Once a minute, the roll-forward looks whether there is something to finish.

use std::path::Path;
use std::time::Duration;

use jecloud_disk::log::MAX_BYTES;
use jecloud_launch::{Child, Launch};
use jecloud_model::layout::ServerRoot;
use jecloud_model::supervise::Moment;

use crate::events::{Events, Watched, watch};
use crate::journal::Journal;
use crate::output::{Output, Sink};

/// The name of its pipe.
const PIPE: &str = "rollforward.out";

/// Starts it in time, and never a second one beside the first.
pub(crate) struct Tick {
    interval: Option<Duration>,
    next: Moment,
    child: Option<Child>,
    output: Option<Output>,
}

impl Tick {
    pub(crate) fn new(interval: Option<Duration>, now: Moment) -> Self {
        Self { interval, next: now, child: None, output: None }
    }

    /// Starts it if it is time to. Returns when to look again.
    pub(crate) fn keep(
        &mut self,
        root: &ServerRoot,
        exe: &Path,
        events: &Events,
        journal: &Journal,
        now: Moment,
    ) -> Option<Moment> {
        let interval = self.interval?;
        if now < self.next {
            return Some(self.next);
        }
        self.next = now.plus(interval);
        if self.child.is_none() {
            match self.begin(root, exe, events) {
                Ok(child) => self.child = Some(child),
                Err(why) => journal.say(format!("the roll-forward cannot be started: {why}")),
            }
        }
        Some(self.next)
    }

    fn begin(&mut self, root: &ServerRoot, exe: &Path, events: &Events) -> Result<Child, String> {
        let output = match &mut self.output {
            Some(output) => output,
            none => {
                // Quiet, unless something is wrong with it: then its words belong beside ours.
                let mut sink = Sink::new(root.system_log(crate::NAME), "rollforward:");
                sink.max_bytes = MAX_BYTES / 10;
                none.insert(Output::open(root, PIPE, None, sink).map_err(|error| error.to_string())?)
            }
        };
        let launch = Launch::new(exe)
            .args(["update-server", "rollforward", "--root"])
            .arg(root.path())
            .arg("--quiet")
            .env(crate::lasting_environment())
            .cwd(crate::anywhere());
        let writer = output.writer().map_err(|error| error.to_string())?;
        let child = jecloud_launch::child(launch, writer, Vec::new()).map_err(|error| crate::chain(&error))?;
        watch(child.pidfd(), Watched::Tick, events).map_err(|error| error.to_string())?;
        Ok(child)
    }

    /// It has ended.
    pub(crate) fn ended(&mut self, journal: &Journal) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(output) = &self.output {
            output.finish();
        }
        if let Ok(Some(how)) = child.reap()
            && !how.success()
        {
            journal.say(format!("the roll-forward {how}"));
        }
    }
}
