//! JeCloud's own process manager: `jecloud supervisor`.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_disk::log;
use jecloud_model::ids::InstanceId;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;
use jecloud_supervisor::{ClientError, client};

use super::{ProcessManager, Renewed};
use crate::error::ServerError;
use crate::logs::{self, LogWish};
use crate::place::Place;

/// How long it may take to answer. It begins steps and does not wait for their ends.
const DEADLINE: Duration = Duration::from_secs(20);

/// So many lines of a log are looked through for those of one process: other releases write into it, too.
const LOOKED_THROUGH: usize = 1000;

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

    fn renew(&self) -> Result<Renewed, ServerError> {
        jecloud_supervisor::renew(&self.root, &self.exe, Instant::now() + DEADLINE).map_err(failed)
    }

    fn tend(&self, is_wanted: bool) -> Result<(), ServerError> {
        if is_wanted {
            self.reconcile()?;
        }
        Ok(())
    }

    fn logs(
        &self,
        place: &Place,
        wish: &LogWish,
        write: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ServerError> {
        logs::of_files(place, wish, write)
    }

    fn last_lines(&self, place: &Place, id: &InstanceId, count: usize) -> Vec<String> {
        let prefix = format!(" {id} ");
        let lines = log::tail(&place.root.process_log(id), LOOKED_THROUGH, None).unwrap_or_default();
        let own: Vec<String> = lines.iter().filter_map(|line| Some(line.split_once(&prefix)?.1.to_owned())).collect();
        own[own.len().saturating_sub(count)..].to_vec()
    }

    fn shutdown(&self, deadline: Instant) -> Result<(), ServerError> {
        client::shutdown(&self.root, deadline).map_err(failed)
    }
}

fn failed(error: ClientError) -> ServerError {
    ServerError::Supervisor(Box::new(error))
}
