//! systemd runs the processes: see `jecloud_systemd`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_model::chain;
use jecloud_model::ids::InstanceId;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;
use jecloud_systemd::{LogFilter, Systemd, SystemdError};

use super::{ProcessManager, Renewed};
use crate::error::ServerError;
use crate::logs::{self, LogWish};
use crate::place::Place;

/// How long a front may take to take the place of another one.
const RENEWAL: Duration = Duration::from_secs(20);

/// So many of the last lines are looked through for who wrote any.
const LOOKED_THROUGH: usize = 10_000;

/// The process manager of a server that runs systemd.
pub(super) struct BySystemd {
    root: ServerRoot,
    systemd: Systemd,
}

impl BySystemd {
    pub(super) fn new(root: ServerRoot, exe: PathBuf) -> Self {
        let of_root = root.clone();
        let app_user = move |app: &_, environment: &_| {
            jecloud_supervisor::user_of(&of_root, app, environment).map_err(|error| chain(&error))
        };
        Self { systemd: Systemd::new(root.clone(), exe, Box::new(app_user)), root }
    }
}

impl ProcessManager for BySystemd {
    fn reconcile(&self) -> Result<Vec<ProcessStatus>, ServerError> {
        self.systemd.reconcile().map_err(failed)
    }

    fn statuses(&self) -> Result<Vec<ProcessStatus>, ServerError> {
        self.systemd.statuses().map_err(failed)
    }

    fn enforces_limits(&self) -> bool {
        true
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        jecloud_systemd::addresses(&self.root)
    }

    fn renew(&self) -> Result<Renewed, ServerError> {
        self.systemd.front().renew(Instant::now() + RENEWAL).map_err(failed)
    }

    fn tend(&self, _is_wanted: bool) -> Result<(), ServerError> {
        self.reconcile().map(drop)
    }

    fn logs(
        &self,
        place: &Place,
        wish: &LogWish,
        write: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ServerError> {
        let since = wish.since.as_deref().map(str::parse).transpose();
        let since = since.map_err(|_| ServerError::Request("the time of the first line is none".to_owned()))?;
        let filter =
            LogFilter { process: wish.process.clone(), since, lines: wish.lines, follow: wish.follow, ..all(place) };
        let mut is_empty = true;
        let mut on_line = |line: jecloud_systemd::Logged| {
            is_empty = false;
            write(&format!("{} {} {}", line.at, line.id, line.text))
        };
        jecloud_systemd::logs(&filter, &mut on_line).map_err(failed)?;
        // That nothing was written since then is no mistake of the person.
        if !is_empty || wish.follow {
            return Ok(());
        }
        let mut known = BTreeSet::new();
        let mut note = |line: jecloud_systemd::Logged| {
            known.insert(line.id.short());
            ControlFlow::Continue(())
        };
        jecloud_systemd::logs(&all(place), &mut note).map_err(failed)?;
        logs::nothing(place, wish, known)
    }

    fn last_lines(&self, place: &Place, id: &InstanceId, count: usize) -> Vec<String> {
        let filter = LogFilter { instance: Some(id.clone()), lines: count, ..all(place) };
        let mut lines = Vec::new();
        let mut collect = |line: jecloud_systemd::Logged| {
            lines.push(line.text);
            ControlFlow::Continue(())
        };
        // What cannot be shown is not the reason why the process failed.
        let _ = jecloud_systemd::logs(&filter, &mut collect);
        lines
    }

    fn shutdown(&self, deadline: Instant) -> Result<(), ServerError> {
        self.systemd.shutdown(deadline).map_err(failed)
    }
}

/// The last lines of all processes.
fn all(place: &Place) -> LogFilter {
    LogFilter {
        app: place.app.clone(),
        environment: place.environment.clone(),
        process: None,
        instance: None,
        lines: LOOKED_THROUGH,
        since: None,
        follow: false,
    }
}

/// What the disk says is the disk's, whoever asked it.
pub(crate) fn failed(error: SystemdError) -> ServerError {
    match error {
        SystemdError::Disk(error) => error.into(),
        error => ServerError::Supervisor(Box::new(error)),
    }
}
