//! A server on which `jecloud update-server …` runs, reached by SSH.

use std::io::Write;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jecloud_cloud::{Interactive, LastWords, Machine, MachineError, ObjectStore, Output, check};
use jecloud_model::layout::ServerRoot;

use crate::binaries::Binaries;
use crate::connect::{Connection, lock};
use crate::drive::{Ended, Finished};
use crate::error::RemoteError;
use crate::objects::{NoObject, Objects, name_of};
use crate::session::Session;
use crate::upload::Upload;

/// What stands before every command where one is not root. Never asks for a password.
const SUDO: [&str; 3] = ["sudo", "-n", "--"];

/// How long a server that was reached before may take to be reached again.
const RECONNECT: Duration = Duration::from_secs(20);

/// So many attempts to upload may in a row not get any further. Each continues where the one before stopped.
const IN_VAIN: usize = 3;

/// So many attempts to upload there are altogether.
const ATTEMPTS: usize = 50;

/// Whether there is a file $1. Not by the exit status: that may be somebody else's.
const THERE_SCRIPT: &str = "if [ -e \"$1\" ]; then echo yes; else echo no; fi";

/// Where things are on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Below which JeCloud keeps everything.
    pub root: ServerRoot,
    /// The `jecloud` that is called: a link to one of `versions`.
    pub program: PathBuf,
    /// Where the binaries are, each as `SHA256/jecloud`.
    pub versions: PathBuf,
}

impl Default for Places {
    /// `/var/cloud`, `/usr/local/bin/jecloud`, `/usr/local/lib/jecloud`.
    fn default() -> Self {
        Self {
            root: ServerRoot::new("/var/cloud"),
            program: PathBuf::from("/usr/local/bin/jecloud"),
            versions: PathBuf::from("/usr/local/lib/jecloud"),
        }
    }
}

/// A server that is reached by SSH. It connects when it is needed, and again when the connection was lost.
///
/// What was begun when the connection was lost is never begun again by itself: the caller has to ask the server.
pub struct RemoteMachine {
    name: String,
    connection: Connection,
    places: Places,
    objects: Arc<Objects>,
    session: Mutex<Option<Session>>,
    /// The directory of a server was seen over the connection that there is.
    was_initialised: AtomicBool,
    peer_address: Option<String>,
    /// Which JeCloud it is to have, and where its front listens; none: what it has.
    setup: Option<(Binaries, Vec<SocketAddr>)>,
    /// It was found to have it, or was given it.
    is_renewed: Mutex<bool>,
}

impl RemoteMachine {
    /// `name` is what messages call it. `objects` is shared by all machines of a process.
    pub fn new(name: impl Into<String>, connection: Connection, places: Places, objects: Arc<Objects>) -> Self {
        let (session, is_renewed, was_initialised) = (Mutex::new(None), Mutex::new(false), AtomicBool::new(false));
        let (name, peer_address, setup) = (name.into(), None, None);
        Self { name, connection, places, objects, session, was_initialised, peer_address, setup, is_renewed }
    }

    /// The same, where other servers reach it by another address than this machine does.
    #[must_use]
    pub fn with_peer_address(self, address: Option<&str>) -> Self {
        Self { peer_address: address.map(str::to_owned), ..self }
    }

    /// The same, which gets the JeCloud of its client before it is told anything, where it has an older one.
    #[must_use]
    pub fn with_setup(self, binaries: Binaries, listen: Vec<SocketAddr>) -> Self {
        Self { setup: Some((binaries, listen)), ..self }
    }

    /// The same, with a session that exists.
    #[must_use]
    pub fn with_session(self, session: Session) -> Self {
        *lock(&self.session) = Some(session);
        self
    }

    /// The connection to it: the one there is, or a new one. Whoever comes while it is made waits for it.
    ///
    /// # Errors
    ///
    /// As [`Session::wait`].
    pub fn session(&self) -> Result<Session, RemoteError> {
        let mut session = lock(&self.session);
        if let Some(session) = session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        self.was_initialised.store(false, Ordering::Relaxed);
        let made = Session::wait(&self.connection, Instant::now() + RECONNECT, &|| false)?;
        Ok(session.insert(made).clone())
    }

    /// Whether the directory of a server was made there. While a connection lasts it is not asked again where it was.
    ///
    /// # Errors
    ///
    /// When there is no telling.
    pub fn is_initialised(&self) -> Result<bool, MachineError> {
        if self.was_initialised.load(Ordering::Relaxed)
            && lock(&self.session).as_ref().is_some_and(|it| !it.is_closed())
        {
            return Ok(true);
        }
        let document = text(&self.places.root.server_document());
        let asked = self.run(&["sh", "-c", THERE_SCRIPT, "sh", &document], b"", Duration::from_secs(60))?;
        let answer = String::from_utf8_lossy(&asked.stdout).into_owned();
        // What a login script writes may come before it.
        match answer.lines().last().filter(|_| asked.is_success()) {
            Some("yes") => {
                self.was_initialised.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Some("no") => Ok(false),
            _ => Err(self.refused("look for its directory", &asked)),
        }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// What stands before every command.
    pub(crate) fn before(&self) -> &'static [&'static str] {
        if self.connection.target.user == "root" { &[] } else { &SUDO }
    }

    /// Runs a command as root. Where the connection turns out to be gone before the server can have begun, it is made
    /// again, once.
    pub(crate) fn run(&self, argv: &[&str], stdin: &[u8], timeout: Duration) -> Result<Finished, MachineError> {
        let argv = [self.before(), argv].concat();
        self.once_more(|session| session.exec(&argv, stdin, timeout)).map_err(|error| self.failed(error))
    }

    fn once_more<T>(&self, mut attempt: impl FnMut(&Session) -> Result<T, RemoteError>) -> Result<T, RemoteError> {
        match attempt(&self.session()?) {
            Err(error) if error.is_before_begin() => {
                self.forget();
                attempt(&self.session()?)
            }
            result => result,
        }
    }

    /// The connection is not used any more: one that does not answer may not have noticed yet that it is dead.
    fn forget(&self) {
        *lock(&self.session) = None;
    }

    /// Puts a file there, with new connections where one is lost.
    pub(crate) fn upload(&self, upload: &Upload<'_>, progress: &mut dyn FnMut(u64)) -> Result<(), MachineError> {
        let (mut in_vain, mut furthest) = (0, None);
        for attempt in 1.. {
            let mut start = None;
            let mut watch = |done| {
                start.get_or_insert(done);
                progress(done);
            };
            let result = self.session().and_then(|session| session.upload(upload, &mut watch));
            in_vain = if start > furthest { 0 } else { in_vain + 1 };
            furthest = start.max(furthest);
            match result {
                Ok(_) => break,
                Err(RemoteError::Lost { .. } | RemoteError::TimedOut { .. })
                    if attempt < ATTEMPTS && in_vain < IN_VAIN =>
                {
                    self.forget();
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    pub(crate) fn failed(&self, error: RemoteError) -> MachineError {
        error.into_machine(&self.name)
    }

    /// The error for a command that is none of `update-server` and failed.
    pub(crate) fn refused(&self, doing: &str, finished: &Finished) -> MachineError {
        match self.session() {
            Ok(session) => self.failed(session.refused(doing, finished)),
            Err(error) => self.failed(error),
        }
    }

    /// [`Machine::call`] with this `jecloud` instead of the one that is called by that name.
    pub(crate) fn call_as(
        &self,
        program: &str,
        args: &[&str],
        stdin: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Output, MachineError> {
        let root = text(self.places.root.path());
        let argv = self.command(args, program, &root);
        let finished = self
            .once_more(|session| session.exec(&argv, stdin.unwrap_or_default(), timeout))
            .map_err(|error| self.failed(error))?;
        self.output(args, finished)
    }

    /// `jecloud update-server ARGS --root ROOT`.
    fn command<'a>(&self, args: &[&'a str], program: &'a str, root: &'a str) -> Vec<&'a str> {
        [self.before(), &[program, "update-server"], args, &["--root", root]].concat()
    }

    /// As [`Self::command`], with the root before everything: what the person typed comes last.
    fn interactive_command<'a>(&self, args: &[&'a str], program: &'a str, root: &'a str) -> Vec<&'a str> {
        [self.before(), &[program, "update-server", "--root", root], args].concat()
    }

    fn output(&self, args: &[&str], finished: Finished) -> Result<Output, MachineError> {
        let status = match finished.ended {
            Ended::Exit(status) => status,
            Ended::Signal(name) => {
                let source = format!("it was ended by SIG{name}").into();
                return Err(MachineError::Unreachable { server: self.name.clone(), doing: doing(args), source });
            }
            Ended::Enough => 0,
        };
        let complains = |who: &str| finished.stderr.starts_with(who.as_bytes());
        if !self.before().is_empty() && status == 1 && complains("sudo:") && finished.stdout.is_empty() {
            return Err(self.refused(&doing(args), &finished));
        }
        if matches!(status, 126 | 127) && finished.stdout.is_empty() {
            return Err(MachineError::Refused {
                error: format!("{} has no JeCloud that can be run: {}", self.connection.target, finished.said()),
                hint: "`jecloud fwd` installs it.".to_owned(),
            });
        }
        Ok(Output { status, stdout: finished.stdout, stderr: finished.stderr })
    }

    fn named(&self, error: MachineError) -> MachineError {
        match error {
            MachineError::Garbled { command, answer, .. } => {
                MachineError::Garbled { server: self.name.clone(), command, answer }
            }
            other => other,
        }
    }
}

fn doing(args: &[&str]) -> String {
    format!("run update-server {}", args.first().copied().unwrap_or_default())
}

/// A path on a server. JeCloud chooses them: they are UTF-8.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Machine for RemoteMachine {
    fn host(&self) -> Option<String> {
        Some(self.connection.target.host.clone())
    }

    fn peer_address(&self) -> Option<String> {
        self.peer_address.clone().or_else(|| self.host())
    }

    fn interact(&self, what: Interactive<'_>) -> Result<i32, MachineError> {
        let session = self.session().map_err(|error| self.failed(error))?;
        let (program, root) = (text(&self.places.program), text(self.places.root.path()));
        let argv = match what {
            Interactive::UpdateServer(args) => Some(self.interactive_command(args, &program, &root)),
            Interactive::Shell => None,
        };
        crate::interact::interact(&session, argv.as_deref()).map_err(|error| self.failed(error))
    }

    fn renew(&self) -> Result<(), MachineError> {
        let Some((binaries, listen)) = &self.setup else { return Ok(()) };
        // Whoever else wants to tell it something waits.
        let mut is_renewed = lock(&self.is_renewed);
        if !*is_renewed {
            if self.is_older(binaries)? {
                self.set_up(binaries, listen)?;
            }
            *is_renewed = true;
        }
        Ok(())
    }

    fn call(&self, args: &[&str], stdin: Option<&[u8]>, timeout: Duration) -> Result<Output, MachineError> {
        self.call_as(&text(&self.places.program), args, stdin, timeout)
    }

    fn follow(
        &self,
        args: &[&str],
        on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), MachineError> {
        let (program, root) = (text(&self.places.program), text(self.places.root.path()));
        let argv = self.command(args, &program, &root);
        let mut last = LastWords::default();
        let mut on_line = |line: &str| if last.take(line) { ControlFlow::Continue(()) } else { on_line(line) };
        let result = self.once_more(|session| session.follow(&argv, &mut on_line, cancel));
        match result {
            Ok(finished) if finished.ended == Ended::Enough => Ok(()),
            Ok(finished) => {
                let finished = Finished { stdout: last.into_bytes(), ..finished };
                check("follow", &self.output(args, finished)?).map_err(|error| self.named(error))
            }
            Err(RemoteError::Cancelled { .. }) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn put_file(
        &self,
        store: &dyn ObjectStore,
        key: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, MachineError> {
        let object = self.objects.fetch(store, key).map_err(|error| match error {
            NoObject::Store(source) => MachineError::Object { server: self.name.clone(), source },
            NoObject::Disk(source) => MachineError::Disk { server: self.name.clone(), source },
        })?;
        let incoming = self.places.root.sys().join("incoming");
        let target = incoming.join(name_of(key));
        let upload = Upload {
            file: &object.path,
            sha256: &object.sha256,
            to: &text(&target),
            mode: 0o600,
            before: self.before(),
            tidy: true,
        };
        self.upload(&upload, progress)?;
        Ok(target)
    }

    fn get_file(&self, path: &Path, to: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<(), MachineError> {
        let path = text(path);
        self.once_more(|session| session.download(&path, self.before(), to, progress))
            .map(drop)
            .map_err(|error| self.failed(error))
    }
}

impl std::fmt::Debug for RemoteMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteMachine").field("name", &self.name).field("target", &self.connection.target).finish()
    }
}
