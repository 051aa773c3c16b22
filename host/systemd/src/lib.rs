//! The process manager of servers that run systemd: it writes units, and systemd does the rest.
//!
//! * **One unit per process** of all `processes.json`, in [`UNITS`], so that everything runs again after a boot before
//!   JeCloud looks at anything. What it is started from lies beside its variables in `sys/units`, for root alone.
//! * **It decides nothing.** What to do next is a pure function of what is wanted and what is there; it is asked at every
//!   change and once a minute, so that whoever died in between left nothing behind that is not finished.
//! * **Each process is fenced in**: it sees the file system read-only but for its own version and its service's directory,
//!   has no rights, its own temporary files, and what it may use of memory and processor time.
//! * **The front** is a socket unit and a service, and two services while one takes the place of the other: clients wait
//!   and are not refused, whatever happens to it. It runs as a user of its own.
//! * **Logs** are a namespace of the journal with a bounded size.
//!
//! Not promised: how a process ended before the one that runs, which systemd does not remember; nor that the lines of an
//! environment which was destroyed are gone from the journal before they are old.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_launch::User;
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;

mod control;
mod error;
mod front;
mod hardening;
mod journal;
mod name;
mod observe;
mod perform;
mod plan;
mod quote;
mod status;
mod unit;

pub use error::SystemdError;
pub use front::{FRONT_USER, Front};
pub use journal::{LogFilter, Logged, logs};
pub use name::UnitName;

/// Where the units of an administrator lie, and those of JeCloud.
pub const UNITS: &str = "/etc/systemd/system";

/// Where servers have their proper place: DESIGN §3, and the home of root on its own machine.
const PROPER_PLACES: [&str; 2] = ["/var/cloud", "/var/lib/jecloud/server"];

/// How long somebody else may take who is just at it: a few calls of `systemctl`.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at whether something has happened.
const PAUSE: Duration = Duration::from_millis(20);

/// As whom the processes of an app and environment run; why not, where nobody can say.
pub type AppUser = Box<dyn Fn(&AppName, &EnvironmentName) -> Result<Option<User>, String> + Send + Sync>;

/// Whether this is a server at one of its proper places: a home that somebody tries things in is nobody's business at
/// boot.
pub fn is_proper(root: &ServerRoot) -> bool {
    PROPER_PLACES.iter().any(|place| root.path() == Path::new(place))
}

/// Whether systemd runs the processes of the server below `root`: where it runs this machine and the server has its
/// proper place. That is the same for whoever asks.
pub fn is_in_charge(root: &ServerRoot) -> bool {
    is_proper(root) && jecloud_disk::tree::is_dir(Path::new("/run/systemd/system")).unwrap_or(false)
}

/// The process manager of one server.
pub struct Systemd {
    root: ServerRoot,
    front: Front,
    app_user: AppUser,
}

impl Systemd {
    /// Nothing is done yet. `exe` is the `jecloud` binary.
    pub fn new(root: ServerRoot, exe: PathBuf, app_user: AppUser) -> Self {
        Self { front: Front::new(root.clone(), exe), root, app_user }
    }

    /// Has systemd run what all tables say. When this returns, what follows from them has begun: what is no longer wanted
    /// was asked to end, what may be started is. What has ended and is not wanted leaves nothing behind.
    ///
    /// # Errors
    ///
    /// When systemd does not do what it is told; everything that can be done is done all the same.
    pub fn reconcile(&self) -> Result<Vec<ProcessStatus>, SystemdError> {
        let _lock = Lock::acquire(&self.root.pid_file("systemd"), Instant::now() + LOCK_DEADLINE)?;
        let (wanted, seen) = self.look()?;
        let steps = plan::plan(&wanted, &seen, &observe::target()?);
        let performed = perform::perform(&self.root, &steps);
        // A front that cannot listen is no reason to leave processes alone.
        performed.and(self.front.keep())?;
        let (wanted, seen) = if steps.is_empty() { (wanted, seen) } else { self.look()? };
        Ok(status::statuses(&wanted, &seen))
    }

    /// What it says about all processes, sorted by app, environment and id. Changes nothing.
    ///
    /// # Errors
    ///
    /// When systemd does not answer.
    pub fn statuses(&self) -> Result<Vec<ProcessStatus>, SystemdError> {
        let (wanted, seen) = self.look()?;
        Ok(status::statuses(&wanted, &seen))
    }

    /// The front.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Ends all processes and the front, and returns when they have ended. They are wanted as before: the next look at the
    /// tables starts them.
    ///
    /// # Errors
    ///
    /// When they have not ended before `deadline`.
    pub fn shutdown(&self, deadline: Instant) -> Result<(), SystemdError> {
        let units: Vec<String> = self.look()?.1.keys().map(UnitName::to_string).chain(front::units()).collect();
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        control::systemctl(&["stop", "--no-block"], &units)?;
        loop {
            if control::show(&units)?.values().all(|shown| shown.has_ended()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(SystemdError::TooSlow { what: "the processes have not ended" });
            }
            pause();
        }
    }

    /// What is wanted, and what there is.
    fn look(&self) -> Result<(plan::AllWanted, plan::AllSeen), SystemdError> {
        let tables = jecloud_supervisor::tables::read(&self.root);
        // First the wishes: what is made for them by somebody else meanwhile is seen then.
        let wanted = observe::wanted(&self.root, &self.app_user, &tables);
        let seen = observe::seen(&self.root, wanted.keys())?;
        Ok((observe::keep_the_unknown(&self.root, &self.app_user, &tables, wanted, &seen), seen))
    }
}

/// Where the front listens, as recorded.
pub fn addresses(root: &ServerRoot) -> Vec<SocketAddr> {
    jecloud_supervisor::addresses(root)
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition, with a deadline at every caller")]
fn pause() {
    std::thread::sleep(PAUSE);
}
