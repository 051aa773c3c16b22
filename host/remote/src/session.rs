//! A connection to a server, over which commands run.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jecloud_launch::Lines;
use russh::client::Handle;

use crate::connect::{Client, Connection, Learned, Timing, block_on, lock};
use crate::drive::{Drive, Ended, Finished, Stream, Tail, drive};
use crate::error::RemoteError;
use crate::host_key::HostKey;
use crate::quote::shell_line;
use crate::target::Target;

/// The last bytes of standard output that [`Session::exec`] keeps.
const KEEP_STDOUT: usize = 16 << 20;

/// The last bytes of standard error that are kept.
const KEEP_STDERR: usize = 64 << 10;

/// A connection to a server. Clones are the same connection; it ends with the last of them.
///
/// Whoever looks on while a command runs should not take long: while one waits, everything that comes over this
/// connection waits.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle<Client>,
    target: Target,
    host_key: HostKey,
    timing: Timing,
    learned: Arc<Mutex<Learned>>,
    /// Lives as long as what goes through it.
    _via: Option<Session>,
}

impl Session {
    pub(crate) fn new(
        handle: Handle<Client>,
        connection: &Connection,
        host_key: HostKey,
        learned: Arc<Mutex<Learned>>,
        via: Option<Session>,
    ) -> Self {
        let Connection { target, timing, .. } = connection.clone();
        Self { inner: Arc::new(Inner { handle, target, host_key, timing, learned, _via: via }) }
    }

    /// The host key that the server has shown: after the first contact it is to be recorded, and pinned.
    pub fn host_key(&self) -> &HostKey {
        &self.inner.host_key
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.inner.handle.is_closed()
    }

    /// Runs a command to its end: exactly this program with exactly these arguments, whatever is in them. `stdin` is
    /// what it reads. The last 16 MiB of its output are kept, and the last 64 KiB of its complaints.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Lost`] where no exit status came, [`RemoteError::TimedOut`]; both leave open what it did. A
    /// command that fails is no error: see [`Finished::ended`].
    pub fn exec<A: AsRef<[u8]>>(&self, argv: &[A], stdin: &[u8], timeout: Duration) -> Result<Finished, RemoteError> {
        let (mut stdout, mut stderr) = (Tail::new(KEEP_STDOUT), Tail::new(KEEP_STDERR));
        let mut input = stdin;
        let ended = self.drive(Drive {
            doing: &in_words(argv),
            line: shell_line(argv)?,
            input: &mut input,
            sent: &mut |_| {},
            output: &mut |stream, bytes| {
                match stream {
                    Stream::Out => stdout.push(bytes),
                    Stream::Err => stderr.push(bytes),
                }
                ControlFlow::Continue(())
            },
            timeout: Some(timeout),
            stall: None,
            cancel: &|| false,
        })?;
        Ok(Finished { ended, stdout: stdout.finish(), stderr: stderr.finish() })
    }

    /// Runs a command and hands over each line that it writes to standard output, without its end, as it comes, until
    /// it ends or the caller breaks off; then it is asked to end. `cancel` is asked several times a second whether to
    /// give up. `stdout` of the result is empty.
    ///
    /// # Errors
    ///
    /// As [`Session::exec`], and [`RemoteError::Cancelled`].
    pub fn follow<A: AsRef<[u8]>>(
        &self,
        argv: &[A],
        on_line: &mut dyn FnMut(&str) -> ControlFlow<()>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Finished, RemoteError> {
        let mut stderr = Tail::new(KEEP_STDERR);
        let mut lines = Lines::default();
        let mut flow = ControlFlow::Continue(());
        let ended = self.drive(Drive {
            doing: &in_words(argv),
            line: shell_line(argv)?,
            input: &mut std::io::empty(),
            sent: &mut |_| {},
            output: &mut |stream, bytes| {
                match stream {
                    Stream::Out => lines.feed(bytes, &mut |line| {
                        if flow.is_continue() {
                            flow = on_line(line);
                        }
                    }),
                    Stream::Err => stderr.push(bytes),
                }
                flow
            },
            timeout: None,
            stall: None,
            cancel,
        })?;
        lines.flush(&mut |line| {
            if flow.is_continue() {
                flow = on_line(line);
            }
        });
        Ok(Finished { ended, stdout: Vec::new(), stderr: stderr.finish() })
    }

    /// Runs a command that reads a stream of any length. Bounded is not the time it takes, but that in which nothing
    /// moves.
    pub(crate) fn pour<A: AsRef<[u8]>>(
        &self,
        doing: &str,
        argv: &[A],
        input: &mut dyn Read,
        sent: &mut dyn FnMut(u64),
        stall: Duration,
    ) -> Result<Finished, RemoteError> {
        let (mut stdout, mut stderr) = (Tail::new(KEEP_STDERR), Tail::new(KEEP_STDERR));
        let ended = self.drive(Drive {
            doing,
            line: shell_line(argv)?,
            input,
            sent,
            output: &mut |stream, bytes| {
                match stream {
                    Stream::Out => stdout.push(bytes),
                    Stream::Err => stderr.push(bytes),
                }
                ControlFlow::Continue(())
            },
            timeout: None,
            stall: Some(stall),
            cancel: &|| false,
        })?;
        Ok(Finished { ended, stdout: stdout.finish(), stderr: stderr.finish() })
    }

    pub(crate) fn drive(&self, what: Drive<'_>) -> Result<Ended, RemoteError> {
        block_on(drive(self, what))?
    }

    pub(crate) fn handle(&self) -> &Handle<Client> {
        &self.inner.handle
    }

    pub(crate) fn target(&self) -> String {
        self.inner.target.to_string()
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.inner.timing
    }

    /// The last words of a server that has gone.
    pub(crate) fn farewell(&self) -> Option<String> {
        lock(&self.inner.learned).farewell.clone()
    }
}

/// For messages: the program, and of JeCloud what it is told. Nothing else of the arguments: they may be anything.
fn in_words<A: AsRef<[u8]>>(argv: &[A]) -> String {
    let mut words = argv.iter().map(|word| String::from_utf8_lossy(word.as_ref()));
    // What begins with a dash belongs to sudo.
    let program = words.find(|word| *word != "sudo" && !word.starts_with('-')).unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    match (words.next().as_deref(), words.next()) {
        (Some("update-server"), Some(action)) => format!("run {program} update-server {action}"),
        _ => format!("run {program}"),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("target", &self.target()).field("host_key", self.host_key()).finish()
    }
}

impl Finished {
    /// Whether it exited with status 0.
    pub fn is_success(&self) -> bool {
        self.ended == Ended::Exit(0)
    }

    /// Its complaints, or its output where it has none: the last 300 characters, in one line.
    pub fn said(&self) -> String {
        let bytes = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(bytes);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let skip = text.chars().count().saturating_sub(300);
        let end: String = text.chars().skip(skip).collect();
        match (&self.ended, end.is_empty()) {
            (_, false) => end,
            (Ended::Exit(status), true) => format!("exit status {status}, and nothing more"),
            (Ended::Signal(name), true) => format!("ended by SIG{name}"),
            (Ended::Enough, true) => "nothing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_what_runs_and_no_arguments() {
        assert_eq!(
            in_words(&["sudo", "-n", "--", "/usr/bin/jecloud", "update-server", "want"]),
            "run jecloud update-server want"
        );
        assert_eq!(in_words(&["mysql", "-psecret", "x"]), "run mysql");
    }
}
