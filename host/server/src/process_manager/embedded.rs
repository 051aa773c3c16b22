//! JeCloud's own process manager: `jecloud supervisor`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;
use jecloud_supervisor::{ClientError, client};

use super::ProcessManager;
use crate::error::ServerError;

/// How long it may take to answer. It begins steps and does not wait for their ends.
const DEADLINE: Duration = Duration::from_secs(20);

/// The embedded process manager of one server.
pub(super) struct Embedded {
    root: ServerRoot,
    exe: PathBuf,
}

impl Embedded {
    pub(super) fn new(root: ServerRoot, exe: PathBuf) -> Self {
        Self { root, exe }
    }
}

impl ProcessManager for Embedded {
    fn reconcile(&self) -> Result<Vec<ProcessStatus>, ServerError> {
        jecloud_supervisor::ensure_running(&self.root, &self.exe).map_err(failed)?;
        client::reconcile(&self.root, Instant::now() + DEADLINE).map_err(failed)
    }

    fn statuses(&self) -> Result<Vec<ProcessStatus>, ServerError> {
        client::status(&self.root, Instant::now() + DEADLINE).map_err(failed)
    }

    fn enforces_limits(&self) -> bool {
        false
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        jecloud_supervisor::addresses(&self.root)
    }

    fn shutdown(&self, deadline: Instant) -> Result<(), ServerError> {
        client::shutdown(&self.root, deadline).map_err(failed)
    }
}

fn failed(error: ClientError) -> ServerError {
    ServerError::Supervisor(Box::new(error))
}
