//! The runtime that serves all sessions of this process.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Encrypting for several servers at once is the only work that is done on it.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, started at first use. Callers block on it, from threads that are not its own.
pub(crate) fn runtime() -> std::io::Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let started = Builder::new_multi_thread().worker_threads(THREADS).thread_name("ssh").enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| started))
}
