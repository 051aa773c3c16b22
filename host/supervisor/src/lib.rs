//! The embedded process manager: `jecloud supervisor --root DIR`.
//!
//! One per server directory. It makes reality match all `APP/ENV/processes.json`, keeps the front running, collects
//! what the processes write, and once a minute has the roll-forward look whether there is something to finish. Nobody
//! else starts or stops a process of an app.
//!
//! * **It decides nothing.** What to do next is [`jecloud_model::supervise::plan`]; it looks at the tables again after
//!   every event and at least every ten seconds, so it never depends on having been told of a change.
//! * **Its death harms nobody.** Processes are not tied to it: they run on, their output waits in a pipe that they
//!   hold open themselves. The next process manager finds them by what the last one wrote down, or, for one that was
//!   started and not yet written down, by a mark in its environment; it neither starts one twice nor forgets one.
//!   A process can wait for the next process manager when it has written more than the pipe holds (64 KiB), and what
//!   it wrote last is lost when it ends before there is one.
//! * **It comes back.** The front watches it ([`watch::revive`]) as it watches the front; every command that needs it
//!   starts it ([`ensure_running`]).
//!
//! SIGTERM and SIGINT end it and leave everything else running. [`renew`] has one of a newer binary take its place, and
//! that one a front of the newer binary take the place of the front. `shutdown` ([`client::shutdown`]) ends the processes and the front too. It ends by itself when nothing was wanted for a minute.
//!
//! Not promised: that limits of memory and processor time are kept (it says so once in its log); that a process which
//! leaves its process group (a daemon) is found and ended. Linux only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_model::chain;
use jecloud_model::layout::ServerRoot;

mod adopt;
pub mod binary;
pub mod client;
mod clock;
mod error;
mod events;
mod front;
mod instances;
mod journal;
mod listeners;
mod machine;
mod manager;
mod mark;
mod memory;
mod output;
mod protocol;
mod renew;
mod run;
pub mod secrets;
mod server;
mod socket;
pub mod tables;
mod tick;
mod users;
pub mod watch;

pub use client::{ClientError, ensure_running};
pub use error::SupervisorError;
pub use front::{FrontDocument, own_addresses, record_addresses};
pub use renew::{Renewed, renew};
pub use run::run;
pub use users::{UserError, user_of};

/// Who the process manager is among the lock files: `sys/pids/supervisor.pid`.
const NAME: &str = "supervisor";

/// How a process manager is to behave. The default is what a server wants.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the front listens; without, port 8080 of this machine's own addresses, or the next free one.
    pub listen: Option<Vec<SocketAddr>>,
    /// Whether there is to be a front.
    pub front: bool,
    /// How often the roll-forward looks whether there is something to finish; none is: never.
    pub tick: Option<Duration>,
    /// After how long without anything that is wanted it ends by itself.
    pub idle_exit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: None, front: true, tick: Some(Duration::from_secs(60)), idle_exit: Duration::from_secs(60) }
    }
}

/// Where the front of this server listens, as recorded; empty where none was ever started.
pub fn addresses(root: &ServerRoot) -> Vec<SocketAddr> {
    front::document(root).ok().flatten().map(|document| document.addresses).unwrap_or_default()
}

/// The lock that the process manager holds while it lives.
fn lock_path(root: &ServerRoot) -> PathBuf {
    root.pid_file(NAME)
}

/// The variables that a process which outlives the command that started it may keep. A person's shell has secrets in
/// its environment that do not belong into a process that runs for months.
fn lasting_environment() -> jecloud_launch::Environment {
    const KEPT: [&str; 15] = [
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "RUST_BACKTRACE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "no_proxy",
    ];
    jecloud_launch::Environment::exactly(std::env::vars_os().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| KEPT.contains(&name) || (name.starts_with("JECLOUD_") && name != mark::VARIABLE))
    }))
}

/// Where a launched `jecloud` stands: nowhere that could be unmounted or removed.
fn anywhere() -> &'static Path {
    Path::new("/")
}
