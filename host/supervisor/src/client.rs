//! How commands talk to the process manager. Everything here blocks; nothing here waits longer than it is told to.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jecloud_disk::{DiskError, durable, lock};
use jecloud_launch::{Launch, LaunchError, detached, pid_from};
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;
use rustix::fs::{Mode, OFlags};

use crate::protocol::{Answer, LONGEST_ANSWER, Request, SOCKET};
use crate::socket;

/// How long a process manager may take to begin. It is there within milliseconds, except on a machine that is very busy.
const BEGIN: Duration = Duration::from_secs(30);

/// How often a process manager that ends while it begins is started again before that counts as a failure.
const ATTEMPTS: u32 = 3;

/// Between two looks at whether something has happened.
const PAUSE: Duration = Duration::from_millis(10);

/// Why the process manager could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is none.
    #[error("no process manager runs for {}", root.display())]
    NotRunning {
        /// The server's directory.
        root: PathBuf,
    },
    /// There is one, and it did not answer in time or broke off.
    #[error("the process manager of {} does not answer", root.display())]
    NoAnswer {
        /// The server's directory.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It answered something else; most likely it is older or newer than this JeCloud.
    #[error("the process manager of {} does not understand the question; is it of another version?", root.display())]
    NotUnderstood {
        /// The server's directory.
        root: PathBuf,
    },
    /// It could not be started.
    #[error("the process manager of {} could not be started", root.display())]
    Launch {
        /// The server's directory.
        root: PathBuf,
        /// Why.
        source: LaunchError,
    },
    /// It was started and ended again.
    #[error("the process manager of {} ended while it was starting; see {}", root.display(), log.display())]
    Ended {
        /// The server's directory.
        root: PathBuf,
        /// Where it says why.
        log: PathBuf,
    },
    /// A file could not be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What the process manager does, sorted by app, environment and id.
///
/// # Errors
///
/// [`ClientError::NotRunning`] where there is none; also when it does not answer before `deadline`.
pub fn status(root: &ServerRoot, deadline: Instant) -> Result<Vec<ProcessStatus>, ClientError> {
    statuses(root, Request::Status, deadline)
}

/// Has the process manager look at all tables. When this returns, what follows from them has begun: what is no longer
/// wanted was asked to end, what may be started is.
///
/// Callers write the table first, then call [`ensure_running`], then this: in this order the process manager cannot
/// have left for want of work in between without having seen the table.
///
/// # Errors
///
/// As [`status`].
pub fn reconcile(root: &ServerRoot, deadline: Instant) -> Result<Vec<ProcessStatus>, ClientError> {
    statuses(root, Request::Reconcile, deadline)
}

/// Ends all processes, the front and the process manager, and returns when they have ended. That nobody runs already
/// is success. What ends slowly is killed when its own time-out is over, or at the latest by whoever calls this again.
///
/// # Errors
///
/// When they have not ended before `deadline`.
pub fn shutdown(root: &ServerRoot, deadline: Instant) -> Result<(), ClientError> {
    match ask(root, Request::Shutdown, deadline) {
        Ok(Answer::Ended) | Err(ClientError::NotRunning { .. }) => {}
        // It broke off: most likely it has just ended.
        Err(ClientError::NoAnswer { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {}
        Ok(_) => return Err(ClientError::NotUnderstood { root: root.path().to_owned() }),
        Err(error) => return Err(error),
    }
    while lock::holder(&crate::lock_path(root))?.is_some() {
        if Instant::now() >= deadline {
            return Err(no_answer(root, io::ErrorKind::TimedOut.into()));
        }
        pause();
    }
    Ok(())
}

/// Makes sure that a process manager runs, and answers: starts `exe supervisor --root ROOT` where there is none. It
/// goes on when this process ends, and takes no secret of this process's environment along.
///
/// # Errors
///
/// When it cannot be started, or does not answer within half a minute.
pub fn ensure_running(root: &ServerRoot, exe: &Path) -> Result<(), ClientError> {
    let deadline = Instant::now() + BEGIN;
    let mut started: Option<u32> = None;
    let mut attempts = 0;
    loop {
        match status(root, deadline.min(Instant::now() + Duration::from_secs(5))) {
            Ok(_) | Err(ClientError::NotUnderstood { .. }) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
        let begins = started.and_then(pid_from).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
        if !begins && lock::holder(&crate::lock_path(root))?.is_none() {
            if attempts == ATTEMPTS {
                let log = root.system_log(crate::NAME);
                return Err(ClientError::Ended { root: root.path().to_owned(), log });
            }
            attempts += 1;
            started = Some(start(root, exe)?);
        }
        pause();
    }
}

fn start(root: &ServerRoot, exe: &Path) -> Result<u32, ClientError> {
    let failed = |source| ClientError::Launch { root: root.path().to_owned(), source };
    detached(launch(root, exe), error_output(root)?).map_err(failed)
}

/// The command that runs a process manager.
pub(crate) fn launch(root: &ServerRoot, exe: &Path) -> Launch {
    let launch = Launch::new(exe)
        .args(["supervisor".as_ref(), "--root".as_ref(), root.path().as_os_str()])
        .env(crate::lasting_environment())
        .cwd(crate::anywhere());
    Launch { calls_setsid: true, ..launch }
}

/// Where a process manager says what it cannot say itself: its log, opened for appending.
pub(crate) fn error_output(root: &ServerRoot) -> Result<OwnedFd, ClientError> {
    let path = root.system_log(crate::NAME);
    if let Some(directory) = path.parent() {
        durable::create_dirs(directory, 0o755)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::from_raw_mode(0o640)).map_err(|error| no_answer(root, error.into()))
}

fn statuses(root: &ServerRoot, request: Request, deadline: Instant) -> Result<Vec<ProcessStatus>, ClientError> {
    match ask(root, request, deadline)? {
        Answer::Statuses(statuses) => Ok(statuses),
        _ => Err(ClientError::NotUnderstood { root: root.path().to_owned() }),
    }
}

pub(crate) fn ask(root: &ServerRoot, request: Request, deadline: Instant) -> Result<Answer, ClientError> {
    let line = loop {
        match exchange(root, &request, deadline) {
            Ok(line) => break line,
            Err(error) => {
                use io::ErrorKind::{ConnectionRefused, NotFound};
                // A socket whose owner was killed refuses; there is no directory where nothing was ever started.
                let nobody_listens = matches!(error.kind(), ConnectionRefused | NotFound);
                if nobody_listens && lock::holder(&crate::lock_path(root))?.is_none() {
                    return Err(ClientError::NotRunning { root: root.path().to_owned() });
                }
                // One that is beginning, or leaving, holds the lock and does not listen.
                if !nobody_listens || Instant::now() >= deadline {
                    return Err(no_answer(root, error));
                }
            }
        }
        pause();
    };
    serde_json::from_slice(&line).map_err(|_| ClientError::NotUnderstood { root: root.path().to_owned() })
}

fn exchange(root: &ServerRoot, request: &Request, deadline: Instant) -> io::Result<Vec<u8>> {
    let stream = socket::connect(&root.run(), SOCKET)?;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(Some(left)),
    };
    stream.set_write_timeout(left()?)?;
    stream.set_read_timeout(left()?)?;
    let mut question = serde_json::to_vec(request)?;
    question.push(b'\n');
    (&stream).write_all(&question)?;
    let mut line = Vec::new();
    BufReader::new(&stream).take(LONGEST_ANSWER).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

pub(crate) fn no_answer(root: &ServerRoot, source: io::Error) -> ClientError {
    ClientError::NoAnswer { root: root.path().to_owned(), source }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition, with a deadline at every caller")]
pub(crate) fn pause() {
    std::thread::sleep(PAUSE);
}
