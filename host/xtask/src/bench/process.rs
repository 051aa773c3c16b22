//! Processes that are measured, or that others are measured against.

#![expect(clippy::disallowed_methods, reason = "a development task starts what it measures, and pauses between looks")]

use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything that is measured may take before it counts as broken.
pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// How long a process may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(2);

/// A program with these arguments, which reads nothing.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Waits for a condition.
///
/// # Errors
///
/// When it does not come true within [`LIMIT`].
pub(super) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > LIMIT {
            bail!("waited {} s in vain for {what}", LIMIT.as_secs());
        }
        pause(PAUSE);
    }
}

/// Does nothing for a while.
pub(super) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Runs a program to its end and returns how long that took. What it prints is not looked at.
///
/// # Errors
///
/// When it does not start or does not succeed.
pub(super) fn time(command: &mut Command) -> Result<Duration> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    let took = start.elapsed();
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(took)
}

/// Runs a program to its end and returns what it printed to standard output.
///
/// # Errors
///
/// When it does not start or does not succeed; with its last words.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, words.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("what {command:?} prints is not UTF-8"))
}

/// A process that is ended, by its id, when this goes.
pub(super) struct Running {
    child: Child,
    what: String,
}

impl Running {
    /// Starts a program whose output nobody wants but in case of failure.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(super) fn start(what: &str, command: &mut Command) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, what: what.to_owned() })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    ///
    /// Where the system cannot say.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.what))
    }

    /// Fails, with its last words, when it has ended.
    ///
    /// # Errors
    ///
    /// As said.
    pub(super) fn check_running(&mut self) -> Result<()> {
        let Some(status) = self.ended()? else { return Ok(()) };
        let mut words = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut words);
        }
        bail!("{} ended with {status}: {}", self.what, words.trim())
    }

    /// Tells it to end, and ends it if it does not.
    fn end(&mut self) {
        let start = Instant::now();
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > END_LIMIT {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            pause(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}
