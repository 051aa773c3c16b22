//! Who starts, watches and ends the processes of apps on a server, and keeps the front running.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;

use crate::error::ServerError;

mod embedded;

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

    /// Ends all processes, the front and itself, and returns when they have ended. That nothing runs is success.
    ///
    /// # Errors
    ///
    /// When they have not ended before `deadline`.
    fn shutdown(&self, deadline: Instant) -> Result<(), ServerError>;
}

/// The process manager of a server. `exe` is the `jecloud` binary.
pub fn process_manager(root: &ServerRoot, exe: &Path) -> Box<dyn ProcessManager> {
    Box::new(embedded::Embedded::new(root.clone(), exe.to_owned()))
}
