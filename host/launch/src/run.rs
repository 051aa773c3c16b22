//! Commands that somebody waits for.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::child::open_pidfd;
use crate::lines::Lines;
use crate::start::prepare;
use crate::{Ended, Input, Launch, LaunchError, Signal, signal_group};

/// From SIGTERM to SIGKILL for a command that took too long or was cancelled.
const GRACE: Duration = Duration::from_secs(2);

/// How often the caller is asked whether it still wants the command.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// How long the output may stay open after the command and its group have ended. Only a process that left the group
/// can hold it open, and what it writes is not the command's.
const DRAIN: Duration = Duration::from_millis(200);

/// What a command may use up.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits {
    /// After this the command and its group are ended: SIGTERM, two seconds later SIGKILL.
    pub timeout: Duration,
    /// So many of the last bytes of each stream are kept.
    pub keep_bytes: usize,
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What became of a command.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: Ended,
    /// The last bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The last bytes of its standard error.
    pub stderr: Vec<u8>,
    /// From the start to the end.
    pub took: Duration,
}

/// Runs a command to its end.
///
/// It gets its own process group. When it has ended, whatever is left of the group is killed. Each line of its output
/// is handed to `on_line` as it comes, without line end, cut at [`crate::LONGEST_LINE`]. `cancel` is asked about
/// every 50 ms; when it says yes, the group is ended as after a time-out.
///
/// Returns also when a process that left the group holds the output open.
///
/// # Errors
///
/// When the command could not be started or watched. A command that fails is no error: see [`Finished::status`].
pub fn run(
    launch: Launch,
    limits: RunLimits,
    cancel: &dyn Fn() -> bool,
    on_line: &mut dyn FnMut(Stream, &str),
) -> Result<Finished, LaunchError> {
    let begin = Instant::now();
    let prepared = prepare(&launch, Vec::new())?;
    let program = prepared.program();
    let other = |source: io::Error| LaunchError::Other { program: program.clone(), source };
    let (stdin, input) = match launch.input {
        Input::Null => (Stdio::null(), Vec::new()),
        Input::Inherit => (Stdio::inherit(), Vec::new()),
        Input::Bytes(bytes) => (Stdio::piped(), bytes),
    };
    let process = prepared.streams(stdin, Stdio::piped(), Stdio::piped(), !launch.calls_setsid).spawn()?;
    let mut group = Group { process, ended: false };
    let mut command = Running {
        pidfd: open_pidfd(group.process.id()).map_err(other)?,
        stdin: group.process.stdin.take(),
        input,
        written: 0,
        out: Collected::new(group.process.stdout.take(), limits.keep_bytes).map_err(other)?,
        err: Collected::new(group.process.stderr.take(), limits.keep_bytes).map_err(other)?,
    };
    command.set_nonblocking().map_err(other)?;

    let deadline = begin.checked_add(limits.timeout);
    let mut stopped: Option<(Ended, Instant)> = None;
    let mut killed = false;
    loop {
        let now = Instant::now();
        match &stopped {
            None => {
                let why = if cancel() {
                    Some(Ended::Cancelled)
                } else {
                    deadline.is_some_and(|deadline| now >= deadline).then_some(Ended::TimedOut)
                };
                if let Some(why) = why {
                    signal_group(group.process.id(), Signal::TERM);
                    stopped = Some((why, now + GRACE));
                }
            }
            Some((_, kill_at)) if !killed && now >= *kill_at => {
                signal_group(group.process.id(), Signal::KILL);
                killed = true;
            }
            Some(_) => {}
        }
        let until_deadline = deadline.map_or(CANCEL_INTERVAL, |deadline| deadline.saturating_duration_since(now));
        let wait = if stopped.is_some() { CANCEL_INTERVAL } else { CANCEL_INTERVAL.min(until_deadline) };
        if command.turn(wait, on_line).map_err(other)? {
            break;
        }
    }
    // Not yet waited for, so the number of the group is still its own.
    signal_group(group.process.id(), Signal::KILL);
    command.drain(on_line).map_err(other)?;
    let status = group.process.wait().map_err(other)?;
    group.ended = true;
    Ok(Finished {
        status: stopped.map_or_else(|| Ended::from(status), |(why, _)| why),
        stdout: command.out.finish(Stream::Out, on_line),
        stderr: command.err.finish(Stream::Err, on_line),
        took: begin.elapsed(),
    })
}

/// Ends the command when its caller is left in another way than through its end: by an error or a panic.
struct Group {
    process: std::process::Child,
    ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            signal_group(self.process.id(), Signal::KILL);
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// The ends of a command that this process holds.
struct Running {
    pidfd: OwnedFd,
    stdin: Option<ChildStdin>,
    input: Vec<u8>,
    written: usize,
    out: Collected<ChildStdout>,
    err: Collected<ChildStderr>,
}

impl Running {
    fn set_nonblocking(&self) -> io::Result<()> {
        if let Some(stdin) = &self.stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        Ok(())
    }

    /// Waits until something happens, at most this long, and deals with it. Says whether the command has ended.
    fn turn(&mut self, wait: Duration, on_line: &mut dyn FnMut(Stream, &str)) -> io::Result<bool> {
        let ready = {
            let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
            let out = watch(&mut fds, self.out.source.as_ref().map(AsFd::as_fd), PollFlags::IN);
            let err = watch(&mut fds, self.err.source.as_ref().map(AsFd::as_fd), PollFlags::IN);
            let stdin = watch(&mut fds, self.stdin.as_ref().map(AsFd::as_fd), PollFlags::OUT);
            let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = |index: Option<usize>| index.is_some_and(|index| !fds[index].revents().is_empty());
            (is_ready(Some(0)), is_ready(out), is_ready(err), is_ready(stdin))
        };
        let (ended, out, err, stdin) = ready;
        if out {
            self.out.read(Stream::Out, on_line)?;
        }
        if err {
            self.err.read(Stream::Err, on_line)?;
        }
        if stdin {
            self.write()?;
        }
        Ok(ended)
    }

    /// Hands over more of the input. A command that does not read all of it is no error.
    fn write(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        while self.written < self.input.len() {
            match stdin.write(&self.input[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        self.stdin = None;
        Ok(())
    }

    /// Reads what was written before the end.
    fn drain(&mut self, on_line: &mut dyn FnMut(Stream, &str)) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN;
        self.stdin = None;
        loop {
            self.out.read(Stream::Out, on_line)?;
            self.err.read(Stream::Err, on_line)?;
            let open = [self.out.source.as_ref().map(AsFd::as_fd), self.err.source.as_ref().map(AsFd::as_fd)];
            let mut fds: Vec<_> =
                open.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if fds.is_empty() || left.is_zero() {
                return Ok(());
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Adds a descriptor to those that are waited for, and says at which place.
fn watch<'fd>(fds: &mut Vec<PollFd<'fd>>, fd: Option<BorrowedFd<'fd>>, flags: PollFlags) -> Option<usize> {
    fds.push(PollFd::from_borrowed_fd(fd?, flags));
    Some(fds.len() - 1)
}

/// One stream of a command: its lines, and the last of its bytes.
struct Collected<S> {
    source: Option<S>,
    lines: Lines,
    kept: Vec<u8>,
    keep: usize,
}

impl<S: io::Read + AsFd> Collected<S> {
    fn new(source: Option<S>, keep: usize) -> io::Result<Self> {
        if let Some(source) = &source {
            rustix::io::ioctl_fionbio(source, true)?;
        }
        Ok(Self { source, lines: Lines::default(), kept: Vec::new(), keep })
    }

    /// Reads what there is, but not for ever: a stream that is never empty must not keep the others waiting.
    fn read(&mut self, stream: Stream, on_line: &mut dyn FnMut(Stream, &str)) -> io::Result<()> {
        let mut buffer = [0; 8192];
        for _ in 0..16 {
            let Some(source) = &mut self.source else { return Ok(()) };
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => {
                    let bytes = &buffer[..count];
                    self.lines.feed(bytes, &mut |line| on_line(stream, line));
                    self.kept.extend_from_slice(bytes);
                    // Twice as much is collected before it is cut, so that not every read moves all of it.
                    if self.kept.len() > self.keep.saturating_mul(2) {
                        self.cut();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(self.keep);
        self.kept.drain(..surplus);
    }

    fn finish(mut self, stream: Stream, on_line: &mut dyn FnMut(Stream, &str)) -> Vec<u8> {
        self.lines.flush(&mut |line| on_line(stream, line));
        self.cut();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_command_costs_no_memory() {
        // Fails without cutting in `read`.
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(&[b'x'; 60_000]).expect("it fits into a pipe");
        let mut collected = Collected::new(Some(reader), 100).expect("a stream");
        collected.read(Stream::Out, &mut |_, _| {}).expect("read");
        assert!(collected.kept.len() <= 200, "{} bytes are kept", collected.kept.len());
        assert_eq!(collected.finish(Stream::Out, &mut |_, _| {}).len(), 100);
    }
}
