//! Processes that are measured, or that others are measured against.

#![expect(
    clippy::disallowed_methods,
    reason = "a development task starts what it measures, looks at its memory, and pauses between looks"
)]

use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
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

/// Runs a program to its end and returns how long that took, and how many bytes of memory it had at its peak.
///
/// # Errors
///
/// As [`time`], and when its memory cannot be seen.
pub(super) fn watched(what: &str, command: &mut Command) -> Result<(Duration, f64)> {
    let start = Instant::now();
    let mut running = Running::start(what, command)?;
    let mut peak = 0.0_f64;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
        // The kernel keeps the peak, so only what is added after the last look is missed.
        peak = peak.max(high_water(&status).unwrap_or(0.0));
        if let Some(status) = running.ended()? {
            if !status.success() {
                bail!("{what} ended with {status}: {}", running.last_words());
            }
            ensure!(peak > 0.0, "the memory of {what} could not be seen");
            return Ok((start.elapsed(), peak));
        }
        pause(PAUSE);
    }
}

/// The most memory that a process ever had resident, in bytes, from its `/proc/ID/status`.
pub(super) fn high_water(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
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
        let words = self.last_words();
        bail!("{} ended with {status}: {words}", self.what)
    }

    /// What it wrote to standard error, once it has ended.
    pub(super) fn last_words(&mut self) -> String {
        let mut words = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut words);
        }
        words.trim().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "Name:\tpack\nVmPeak:\t  123 kB\nVmHWM:\t   31416 kB\nVmRSS:\t   100 kB\n";
        assert!(high_water(status).is_some_and(|bytes| (bytes - 31416.0 * 1024.0).abs() < 0.5));
        // A process that has ended and was not waited for has no memory any more.
        assert_eq!(high_water("Name:\tpack\nState:\tZ (zombie)\n"), None);
    }
}
