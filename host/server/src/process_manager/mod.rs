//! Who starts, watches and ends the processes of apps on a server, and keeps the front running.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use jecloud_model::ids::InstanceId;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;
pub use jecloud_supervisor::Renewed;

use crate::error::ServerError;
use crate::logs::LogWish;
use crate::place::Place;

mod embedded;
mod systemd;

pub(crate) use systemd::failed;

/// A process manager makes reality match all `processes.json` of a server, whoever dies when. Nobody else starts or
/// stops a process of an app.
pub trait ProcessManager: Send + Sync {
    /// Has it look at all tables; starts it where it does not run. When this returns, what follows from the tables has
    /// begun: what is no longer wanted was asked to end, what may be started is.
    ///
    /// # Errors
    ///
    /// When it does not answer in time, or cannot be started.
    fn reconcile(&self) -> Result<Vec<ProcessStatus>, ServerError>;

    /// What it says about all processes, sorted by app, environment and id. Starts nothing.
    ///
    /// # Errors
    ///
    /// Where it does not run, or does not answer in time.
    fn statuses(&self) -> Result<Vec<ProcessStatus>, ServerError>;

    /// Whether it keeps processes to their [limits](jecloud_model::limits::Limits). Where it does not, people are told.
    fn enforces_limits(&self) -> bool;

    /// Where the front listens; empty where none was ever started.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Has what runs of JeCloud itself, the process manager and the front, be of the binary that this was made with:
    /// what is of another one is replaced, without a refused connection, a failed request, or a process of an app that
    /// is started anew. What is of this binary, or does not run at all, is left as it is, and so is what is of a newer
    /// version: nothing moves backwards.
    ///
    /// Killed at any point and done again, it ends the same.
    ///
    /// # Errors
    ///
    /// When what is to take the place does not begin; what ran before it runs on then.
    fn renew(&self) -> Result<Renewed, ServerError>;

    /// Called once a minute, and after a boot. `is_wanted`: whether any table has processes. Has everything run that
    /// should, and takes away what is left of what has ended.
    ///
    /// # Errors
    ///
    /// As [`ProcessManager::reconcile`].
    fn tend(&self, is_wanted: bool) -> Result<(), ServerError>;

    /// Hands over what processes of an app and environment wrote, in the order in which it was written: lines
    /// `TIME INSTANCE TEXT`.
    ///
    /// # Errors
    ///
    /// When there is nothing to be shown, with the names of what there is.
    fn logs(
        &self,
        place: &Place,
        wish: &LogWish,
        write: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ServerError>;

    /// The last lines that a process wrote, without their times; at most `count`. None where they cannot be read.
    fn last_lines(&self, place: &Place, id: &InstanceId, count: usize) -> Vec<String>;

    /// Ends all processes, the front and itself, and returns when they have ended. That nothing runs is success.
    ///
    /// # Errors
    ///
    /// When they have not ended before `deadline`.
    fn shutdown(&self, deadline: Instant) -> Result<(), ServerError>;
}

/// The process manager of a server: systemd where it runs the machine, JeCloud is root and the server lies at one of its
/// proper places, else the embedded one. `exe` is the `jecloud` binary.
pub fn process_manager(root: &ServerRoot, exe: &Path) -> Box<dyn ProcessManager> {
    if jecloud_launch::is_root() && jecloud_systemd::is_in_charge(root) {
        return Box::new(systemd::BySystemd::new(root.clone(), exe.to_owned()));
    }
    Box::new(embedded::Embedded::new(root.clone(), exe.to_owned()))
}
