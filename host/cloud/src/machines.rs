//! Servers as the cloud roll-forward sees them: something that can be made, found, and asked to run
//! `jecloud update-server …`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jecloud_model::cloud::{Place, ServerRecord};

use crate::object_store::{Cause, ObjectStore, StoreError};

/// What a provider records of a server: see [`ServerRecord::details`].
pub type Details = serde_json::Map<String, serde_json::Value>;

/// Makes servers and finds them: EC2, SSH hosts, or this machine. All calls block.
pub trait Machines: Send + Sync {
    /// Everything that [`Machines::create`] needs, so that repeating it later, from anywhere, makes the same server
    /// and not a second one. Makes no server; what all servers of an app share may be made.
    ///
    /// # Errors
    ///
    /// When the provider could not be asked, or has no such thing.
    fn details(&self, place: &Place) -> Result<Details, MachineError>;

    /// Makes the server and sets it up, as far as that is not done yet. Returns what is to be recorded of it from
    /// now on.
    ///
    /// # Errors
    ///
    /// When it is not certain that the server can be used.
    fn create(&self, place: &Place, record: &ServerRecord) -> Result<Details, MachineError>;

    /// Finds the server.
    fn find(&self, place: &Place, record: &ServerRecord) -> Found;

    /// Finds several servers, in the same order. A provider that can be asked for all of them at once is.
    fn find_all(&self, asked: &[(&Place, &ServerRecord)]) -> Vec<Found> {
        at_once(asked, |(place, record)| self.find(place, record))
            .into_iter()
            .zip(asked)
            .map(|(found, (place, _))| found.unwrap_or_else(|| Found::Unknown(MachineError::bug(place, "find it"))))
            .collect()
    }

    /// Removes the server, on which nothing of the environment is left, or which was not made to its end: whatever an
    /// attempt to make it that was killed left behind goes too. What is recorded of it is forgotten afterwards.
    /// A machine that was not made by us is left as it is.
    ///
    /// # Errors
    ///
    /// When it is not certain that it ends.
    fn remove(&self, place: &Place, record: &ServerRecord) -> Result<(), MachineError>;
}

/// So many servers are asked, or worked on, at the same time.
pub(crate) const AT_ONCE: usize = 32;

/// Does the same for all of them, many at a time; results come in the order of the items, none for one that panicked.
pub fn at_once<I: Sync, R: Send>(items: &[I], work: impl Fn(&I) -> R + Sync) -> Vec<Option<R>> {
    let mut results = Vec::new();
    for group in items.chunks(AT_ONCE) {
        match group {
            [one] => results.push(Some(work(one))),
            _ => std::thread::scope(|scope| {
                let work = &work;
                let threads: Vec<_> = group.iter().map(|one| scope.spawn(move || work(one))).collect();
                results.extend(threads.into_iter().map(|thread| thread.join().ok()));
            }),
        }
    }
    results
}

/// What became of the search for a server.
pub enum Found {
    /// It is there.
    Present(Arc<dyn Machine>),
    /// It is certain that it does not exist yet, or was not set up to its end.
    Absent,
    /// It is certain that it existed and does not exist any more.
    Gone,
    /// Its provider shows it, and it cannot be talked to.
    Silent(MachineError),
    /// Its provider shows nothing, although it was set up: it may be there all the same.
    Unseen(MachineError),
    /// There is no telling.
    Unknown(MachineError),
}

/// What gets this process's terminal on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interactive<'a> {
    /// `jecloud update-server ARGS`.
    UpdateServer(&'a [&'a str]),
    /// The user's shell.
    Shell,
}

/// A server that can be talked to.
pub trait Machine: Send + Sync {
    /// The name or address by which requests reach it; none where names below `localhost` do.
    fn host(&self) -> Option<String>;

    /// The address by which other servers of the app reach it: inside of their network, where they share one.
    fn peer_address(&self) -> Option<String> {
        self.host()
    }

    /// Has the server have this JeCloud, if it has an older one, before it is told anything: what runs there gives its
    /// place to it without a dropped connection. Costs little when it is there already.
    ///
    /// # Errors
    ///
    /// [`MachineError::Outdated`] where the server has a newer one.
    fn renew(&self) -> Result<(), MachineError>;

    /// Runs something that has standard input, output and error of this process, and waits for its end. Returns its
    /// exit status as a shell would have it.
    ///
    /// # Errors
    ///
    /// When it could not be started, or the connection was lost.
    fn interact(&self, what: Interactive<'_>) -> Result<i32, MachineError>;

    /// Runs `jecloud update-server ARGS` there, with `stdin` as its input.
    ///
    /// # Errors
    ///
    /// When it did not run to its end within `timeout`, as far as is known. It may have had its effect.
    fn call(&self, args: &[&str], stdin: Option<&[u8]>, timeout: Duration) -> Result<Output, MachineError>;

    /// Runs `jecloud update-server ARGS` there and hands over each line that it writes, until it ends or the caller
    /// breaks off. `cancel` is asked several times a second whether to go on.
    ///
    /// # Errors
    ///
    /// When it could not be started, or the connection was lost.
    fn follow(
        &self,
        args: &[&str],
        on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), MachineError>;

    /// Puts an object onto the server and returns its path there, from which the server copies it. What an earlier
    /// attempt has put there is used.
    ///
    /// # Errors
    ///
    /// When it is not certain that the object is there, whole.
    fn put_file(
        &self,
        store: &dyn ObjectStore,
        key: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, MachineError>;

    /// Reads a file of the server, in constant memory. `progress` is told how many bytes were written to `to`.
    ///
    /// # Errors
    ///
    /// When it was not read to its end, as far as is known: what was written to `to` is then any beginning of it. A file
    /// that changes meanwhile is not noticed; the caller knows what it should be.
    fn get_file(&self, path: &Path, to: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<(), MachineError>;
}

/// What a command wrote and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// The last of its complaints.
    pub stderr: Vec<u8>,
}

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// It may do it later.
    #[error("cannot reach server {server}: {doing} did not come to an end")]
    Unreachable {
        /// Which.
        server: String,
        /// What was attempted.
        doing: String,
        /// What was said.
        source: Cause,
    },
    /// It was asked, and says no.
    #[error("{error}")]
    Refused {
        /// Its words.
        error: String,
        /// What the person can do, in its words; may be empty.
        hint: String,
    },
    /// It was asked, and somebody else has gone on: what it was asked for is based on an older state than it knows, or
    /// comes from an older JeCloud than runs there. Nothing was changed.
    #[error("{error}")]
    Outdated {
        /// Its words.
        error: String,
        /// What the person can do.
        hint: String,
    },
    /// It answers something else than this protocol.
    #[error("server {server} gave an answer to {command} that makes no sense: {answer}")]
    Garbled {
        /// Which.
        server: String,
        /// The command.
        command: String,
        /// The end of what it said.
        answer: String,
    },
    /// What it should get could not be read.
    #[error("cannot give server {server} what it needs")]
    Object {
        /// Which.
        server: String,
        /// Why.
        source: StoreError,
    },
    /// The file system of this machine refuses.
    #[error("cannot prepare server {server}")]
    Disk {
        /// Which.
        server: String,
        /// Why.
        source: jecloud_disk::DiskError,
    },
}

impl MachineError {
    /// What the person can do; empty where the message says it all.
    pub fn hint(&self) -> &str {
        match self {
            Self::Refused { hint, .. } | Self::Outdated { hint, .. } => hint,
            _ => "",
        }
    }

    /// Whoever worked has panicked.
    pub(crate) fn bug(place: &Place, doing: &str) -> Self {
        let (server, doing) = (place.server.to_string(), doing.to_owned());
        Self::Unreachable { server, doing, source: "a bug".into() }
    }

    /// The message with all its causes and what the person can do, in one line.
    pub fn to_advice(&self) -> String {
        let (line, hint) = (self.to_line(), self.hint());
        if hint.is_empty() { line } else { format!("{line}. {hint}") }
    }

    /// The message with all its causes, in one line.
    pub fn to_line(&self) -> String {
        jecloud_model::chain(self)
    }
}
