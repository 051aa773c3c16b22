//! Commands with deadlines.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start the program as a person does, not as JeCloud starts others"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::eventually::pause;
use crate::processes::send;

/// How long a command may take. A command that takes longer is ended, and the test fails with its output.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How long the output of a command that has ended may still come. Whoever holds it open longer was started by the
/// command and keeps what it must not keep.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What is to be started.
pub(crate) struct Typed {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) cwd: PathBuf,
    /// All of its environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) input: Vec<u8>,
}

impl Typed {
    pub(crate) fn new(program: impl Into<PathBuf>, args: &[&str], cwd: &Path, env: BTreeMap<String, String>) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { program: program.into(), args, cwd: cwd.to_owned(), env, input: Vec::new() }
    }

    /// For messages.
    fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::iter::once(name).chain(self.args.iter().cloned()).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    #[track_caller]
    pub(crate) fn spawn(self) -> Spawned {
        let line = self.line();
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.cwd).env_clear().envs(&self.env).process_group(0);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() });
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{line}` cannot be started: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            // On a thread: the program may write before it reads.
            std::thread::spawn(move || stdin.write_all(&self.input));
        }
        let stdout = Pipe::new(child.stdout.take());
        let stderr = Pipe::new(child.stderr.take());
        Spawned { line, child, begin: Instant::now(), stdout, stderr, ended: None }
    }
}

/// What is read from one of a command's outputs, as it comes.
struct Pipe(Arc<Mutex<Gathered>>);

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Pipe {
    fn new(pipe: Option<impl Read + Send + 'static>) -> Self {
        let read = Arc::new(Mutex::new(Gathered::default()));
        let Some(mut pipe) = pipe else { return Self(read) };
        let of_thread = Arc::clone(&read);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut read = of_thread.lock().unwrap_or_else(PoisonError::into_inner);
                read.bytes.extend_from_slice(&buffer[..count]);
                if count == 0 {
                    read.is_closed = true;
                    return;
                }
            }
        });
        Self(read)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes).into_owned()
    }

    fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }
}

/// A command that runs. It is ended when this is dropped.
pub struct Spawned {
    line: String,
    child: Child,
    begin: Instant,
    stdout: Pipe,
    stderr: Pipe,
    ended: Option<ExitStatus>,
}

impl Spawned {
    /// Its process, which leads a process group of its own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, which: Signal) {
        send(self.pid(), which);
    }

    /// Sends a signal to the process group, as Ctrl-C does.
    pub fn signal_group(&self, which: Signal) {
        if let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, which);
        }
    }

    /// Waits until one of its outputs holds a text.
    ///
    /// # Panics
    ///
    /// Where the command ends without having written it, or writes it too late.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        loop {
            let is_over = self.has_ended() && self.stdout.is_closed() && self.stderr.is_closed();
            if self.stdout.text().contains(text) || self.stderr.text().contains(text) {
                return;
            }
            let is_late = self.begin.elapsed() > DEADLINE;
            assert!(!is_over && !is_late, "`{}` did not write {text:?}\n{}", self.line, self.said());
            pause();
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended.is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// Where it takes longer than [`DEADLINE`], or where something that it has started holds its output open.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        while !self.has_ended() {
            if self.begin.elapsed() > DEADLINE {
                self.signal_group(Signal::KILL);
                panic!("`{}` has not ended after {DEADLINE:?}\n{}", self.line, self.said());
            }
            pause();
        }
        let took = self.begin.elapsed();
        let end = Instant::now() + LAST_WORDS;
        while !(self.stdout.is_closed() && self.stderr.is_closed()) {
            assert!(Instant::now() < end, "something holds the output of `{}` open\n{}", self.line, self.said());
            pause();
        }
        let status = self.ended.expect("it has ended");
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        Output { line: self.line.clone(), status: code, stdout, stderr, took }
    }

    fn said(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal_group(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Output {
    /// What was typed.
    pub line: String,
    /// The exit status; for a signal 128 and its number, as shells have it.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From its start to its end.
    pub took: Duration,
}

impl Output {
    /// It must have succeeded.
    ///
    /// # Panics
    ///
    /// Where it has not.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// It must have ended with this exit status.
    ///
    /// # Panics
    ///
    /// Where it has not.
    #[track_caller]
    pub fn code(self, status: i32) -> Self {
        assert_eq!(self.status, status, "the exit status of `{}`\n{}", self.line, self.said());
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// Where it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}` did not write JSON: {error}\n{}", self.line, self.said()))
    }

    /// One of the outputs must hold this text.
    ///
    /// # Panics
    ///
    /// Where none does.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(found, "`{}` does not say {text:?}\n{}", self.line, self.said());
        self
    }

    /// None of the outputs may hold this text.
    ///
    /// # Panics
    ///
    /// Where one does.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(!found, "`{}` says {text:?}\n{}", self.line, self.said());
        self
    }

    /// Both outputs, for messages.
    pub fn said(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}
