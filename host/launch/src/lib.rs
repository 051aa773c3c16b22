//! The only place that starts processes.
//!
//! Four ways to start one, by who waits for it: [`run`] waits and collects what it writes, [`interactive`] hands it
//! the terminal, [`child`] leaves waiting to the caller, and [`detached`] expects that nobody does.
//!
//! Except for `interactive`, every process becomes the leader of a process group of its own, so that it can be
//! ended together with whatever it started, and it inherits no file that was not meant for it.
//!
//! Not promised: that a process which left its group (a daemon) is ended too. Linux only.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod child;
mod find;
mod group;
mod lines;
mod run;
mod start;
mod terminal;
mod user;

pub use child::{Child, child, detached};
pub use find::{DEFAULT_PATH, find_program};
pub use group::{Signal, group_members, kill_all_of, pid_from, signal_group, terminate};
pub use lines::{LONGEST_LINE, Lines};
pub use run::{Finished, RunLimits, Stream, run};
pub use terminal::interactive;
pub use user::{Group, User, group, is_root};

/// What is to be started.
///
/// Its `Debug` form shows neither values of the environment nor the input: both may be secret.
#[derive(Clone)]
pub struct Launch {
    /// A name that is searched in the `PATH` of the new process, or a path; a relative one starts at `cwd`.
    pub program: PathBuf,
    /// Without the program's name.
    pub args: Vec<OsString>,
    /// The environment of the new process.
    pub env: Environment,
    /// The working directory; without one, that of this process.
    pub cwd: Option<PathBuf>,
    /// As whom it runs: the user and group ids are set and all supplementary groups dropped. Only root can.
    /// Without one, as whoever this process is.
    pub user: Option<User>,
    /// What it reads.
    pub input: Input,
    /// The program itself begins by starting a new session (`setsid`), and is therefore not put into a process group
    /// of its own: the leader of a group may not start a session.
    pub calls_setsid: bool,
}

/// The environment of a new process.
#[derive(Clone)]
pub enum Environment {
    /// That of this process with these changes; `None` takes a variable out.
    Inherit(BTreeMap<OsString, Option<OsString>>),
    /// Exactly these variables.
    Exactly(BTreeMap<OsString, OsString>),
}

/// What a new process reads from its standard input.
#[derive(Clone)]
pub enum Input {
    /// Nothing.
    Null,
    /// What this process would read.
    Inherit,
    /// These bytes, then the end. Only [`run`] can hand them over; the others start the process with no input.
    Bytes(Vec<u8>),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It was ended because it took too long.
    TimedOut,
    /// It was ended because the caller wished so.
    Cancelled,
}

/// Why a process could not be started, or not be watched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("the program {} was not found in {searched}", program.display())]
    NotFound {
        /// As the caller named it.
        program: PathBuf,
        /// The `PATH`, or the directory of a program that was named by its path.
        searched: String,
    },
    /// The system refuses to start it as this user.
    #[error("not permitted to start {}", program.display())]
    Permission {
        /// The file.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and is no program for this machine, or the interpreter it names is missing.
    #[error("{} is not a program that this machine can execute", program.display())]
    NotExecutable {
        /// The file.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its working directory cannot be entered.
    #[error("cannot use {} as the working directory of {}", path.display(), program.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot start or watch {}", program.display())]
    Other {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Launch {
    /// A program without arguments, with the environment and the working directory of this process, and no input.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Environment::Inherit(BTreeMap::new()),
            cwd: None,
            user: None,
            input: Input::Null,
            calls_setsid: false,
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// With this environment.
    #[must_use]
    pub fn env(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }

    /// With this variable set, whatever the environment is otherwise.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        match &mut self.env {
            Environment::Inherit(changes) => drop(changes.insert(name, Some(value))),
            Environment::Exactly(all) => drop(all.insert(name, value)),
        }
        self
    }

    /// In this directory.
    #[must_use]
    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.cwd = Some(directory.as_ref().to_owned());
        self
    }

    /// As this user; `None` is whoever this process is.
    #[must_use]
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// With this input.
    #[must_use]
    pub fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, names): (_, Vec<&OsString>) = match &self.env {
            Environment::Inherit(changes) => ("inherited, changed", changes.keys().collect()),
            Environment::Exactly(all) => ("exactly", all.keys().collect()),
        };
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &(kind, names))
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// Exactly these variables.
    pub fn exactly<K: AsRef<OsStr>, V: AsRef<OsStr>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Exactly(
            variables.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect(),
        )
    }
}

impl Ended {
    /// Whether it exited with status 0.
    pub fn success(self) -> bool {
        self == Self::Exit(0)
    }

    /// The exit status as a shell would have it: for a signal 128 and its number; 1 for what was broken off.
    pub fn code(self) -> i32 {
        match self {
            Self::Exit(status) => status,
            Self::Signal(signal) => 128 + signal,
            Self::TimedOut | Self::Cancelled => 1,
        }
    }
}

impl From<std::process::ExitStatus> for Ended {
    fn from(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Not reached for a process that has ended; the raw status is the least wrong answer.
            (None, None) => Self::Exit(status.into_raw()),
        }
    }
}

impl fmt::Display for Ended {
    /// Continues a sentence that begins with the program: "exited with status 1".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exited with status {status}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was ended by {name}"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Self::TimedOut => f.write_str("took too long and was ended"),
            Self::Cancelled => f.write_str("was cancelled"),
        }
    }
}

/// The signals that people meet, by name. The numbers are the same on all Linux architectures that Rust serves but
/// MIPS and SPARC, on which the name of SIGBUS would be wrong.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}
