//! `[cloud] listen`: where the front of this machine listens.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jecloud_disk::lock::{self, Lock};
use jecloud_server::{Server, api};

use crate::failure::{Code, Failure};
use crate::output::say;
use crate::session::{self, Session};

/// How long the process manager and the front may take to end: requests in flight are finished first.
const DEADLINE: Duration = Duration::from_secs(45);

/// Has the front listen where the configuration says, from the next start of the process manager on; where that runs
/// and listens elsewhere, it is started anew. The processes of the apps run on meanwhile.
///
/// A machine has one front: what the last deployment said counts for all apps.
pub(crate) fn apply(session: &Session, wanted: &[SocketAddr]) -> Result<(), Failure> {
    let root = session.home.server();
    if wanted.is_empty() {
        return Ok(());
    }
    let before = jecloud_server::document(&root)?.listen;
    if before.as_deref() == Some(wanted) && Server::is_initialised(&root)? {
        return Ok(());
    }
    api::init(&root, &session::executable()?, Some(wanted.to_vec()))?;
    let (supervisor, front) = (root.pid_file("supervisor"), root.pid_file("front"));
    let Some(pid) = lock::holder(&supervisor)? else { return Ok(()) };
    say("    the front moves to another address: requests are refused for a moment");
    let deadline = Instant::now() + DEADLINE;
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Code::Failed, "the front cannot be moved to another address", error)
            .hint("`jecloud fwd` starts what does not run.")
    };
    // The process manager first: it would start the front again.
    jecloud_launch::terminate(pid);
    drop(Lock::acquire(&supervisor, deadline).map_err(|error| failed(&error))?);
    // One that does not answer has ended already.
    let _ = jecloud_front::client::stop(&root, deadline);
    drop(Lock::acquire(&front, deadline).map_err(|error| failed(&error))?);
    jecloud_supervisor::ensure_running(&root, &session::executable()?).map_err(|error| failed(&error))
}
