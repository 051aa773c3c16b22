//! One command on a server, from its beginning to its end.

use std::io::Read;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::{Duration, Instant};

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::{timeout, timeout_at};

use crate::connect::CANCEL_INTERVAL;
use crate::error::{Cause, RemoteError};
use crate::session::Session;

/// How much of the input is read, and handed over, at once: a packet. One that arrives in part is of no use, so that
/// larger ones, which cost less, lose more where the connection breaks.
const CHUNK: usize = 8 << 10;

/// How long nothing may have come after the exit status before the server is asked whether that was all. A process that
/// the command left behind may hold its output open.
const QUIET: Duration = Duration::from_secs(1);

/// How long saying goodbye to a command may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The number under which SSH carries standard error.
const STANDARD_ERROR: u32 = 1;

/// Which stream bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exit(i32),
    /// By this signal: `KILL`.
    Signal(String),
    /// The one who looked on has seen enough.
    Enough,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// The last bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The last bytes of its standard error.
    pub stderr: Vec<u8>,
}

/// What a command is given and who looks on. Everything here runs on the thread that waits.
pub(crate) struct Drive<'a> {
    /// For messages: "run jecloud".
    pub(crate) doing: &'a str,
    /// The line for the shell.
    pub(crate) line: Vec<u8>,
    /// What the command reads.
    pub(crate) input: &'a mut dyn Read,
    /// Is told how many bytes were handed over, all in all.
    pub(crate) sent: &'a mut dyn FnMut(u64),
    /// Gets what the command writes.
    pub(crate) output: &'a mut dyn FnMut(Stream, &[u8]) -> ControlFlow<()>,
    /// How long it may take altogether; none where that is not known.
    pub(crate) timeout: Option<Duration>,
    /// For how long nothing need move in either direction; none where silence is normal.
    pub(crate) stall: Option<Duration>,
    /// Asked several times a second whether to give up.
    pub(crate) cancel: &'a dyn Fn() -> bool,
}

/// The answer to the question whether a server is still there.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), russh::Error>> + 'a>>;

/// What of a command is known so far.
struct Course {
    begin: Instant,
    last_move: Instant,
    last_word: Instant,
    ended: Option<Ended>,
}

/// Opens a channel. Until it is open nothing was begun. A server that has as many as it allows (OpenSSH: ten) is asked
/// again, until it answers as late as one that is dead.
pub(crate) async fn open_channel(
    session: &Session,
    doing: &str,
) -> Result<(ChannelReadHalf, ChannelWriteHalf<Msg>), RemoteError> {
    use russh::ChannelOpenFailure::{ConnectFailed, ResourceShortage};
    let patience = session.timing().noticed();
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let said = match timeout_at(deadline, session.handle().channel_open_session()).await {
            Ok(Ok(channel)) => return Ok(channel.split()),
            Ok(Err(russh::Error::ChannelOpenFailure(ConnectFailed | ResourceShortage)))
                if tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(CANCEL_INTERVAL).await;
                continue;
            }
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => format!("it opens no more channels ({reason:?})"),
            Ok(Err(error)) => return Err(session.lost(doing, false, Some(error.into()))),
            Err(_) => format!("no answer within {} s", patience.as_secs()),
        };
        let (target, doing) = (session.target(), doing.to_owned());
        return Err(RemoteError::Lost { target, doing, begun: false, source: said.into() });
    }
}

/// Runs a command to its end.
pub(crate) async fn drive(session: &Session, drive: Drive<'_>) -> Result<Ended, RemoteError> {
    let Drive { doing, line, input, sent, output, timeout: limit, stall, cancel } = drive;
    if cancel() {
        return Err(RemoteError::Cancelled { target: session.target(), doing: doing.to_owned() });
    }
    let (mut read, write) = open_channel(session, doing).await?;
    match timeout(session.timing().noticed(), write.exec(true, line)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(session.lost(doing, false, Some(error.into()))),
        Err(late) => return Err(session.lost(doing, true, Some(late.into()))),
    }
    let now = Instant::now();
    let mut course = Course { begin: now, last_move: now, last_word: now, ended: None };
    let mut total = 0;
    let mut fed = false;
    // The input goes its own way: its end is moved by the other arm, which must not wait for it.
    let (progress, mut progressed) = tokio::sync::mpsc::unbounded_channel();
    let mut feeding = Box::pin(feed(&write, input, progress));
    let mut question: Option<Answer<'_>> = None;
    let mut tick = tokio::time::interval(CANCEL_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            // The clock first: a command that always has something to say does not keep it from being looked at.
            biased;
            _ = tick.tick() => {
                if cancel() {
                    break Err(RemoteError::Cancelled { target: session.target(), doing: doing.to_owned() });
                }
                if let Some(after) = course.too_long(limit, stall) {
                    break Err(RemoteError::TimedOut { target: session.target(), doing: doing.to_owned(), after });
                }
                if course.ended.is_some() && question.is_none() && course.last_word.elapsed() > QUIET {
                    question = Some(Box::pin(session.handle().send_ping()));
                }
            }
            Some(count) = progressed.recv() => {
                total += count;
                course.last_move = Instant::now();
                sent(total);
            }
            message = read.wait() => {
                course.last_move = Instant::now();
                match message {
                    // Only a channel that was closed in due form has delivered everything.
                    None => break Err(session.lost(doing, true, None)),
                    Some(ChannelMsg::Close) => break match course.ended.take() {
                        Some(ended) => Ok(ended),
                        None => Err(session.lost(doing, true, Some("it closed without an exit status".into()))),
                    },
                    Some(ChannelMsg::Failure) => break Err(RemoteError::Failed {
                        target: session.target(),
                        doing: doing.to_owned(),
                        said: "it runs no commands".to_owned(),
                        hint: "The account on the server must be allowed to run commands.".to_owned(),
                    }),
                    Some(message) => {
                        if course.hear(message, output).is_break() {
                            break Ok(Ended::Enough);
                        }
                        question = None;
                    }
                }
            }
            result = &mut feeding, if !fed => {
                fed = true;
                if let Err(source) = result {
                    let doing = "read what is to be sent".to_owned();
                    break Err(RemoteError::Local { doing, source: source.into() });
                }
            }
            _ = async { match &mut question { Some(question) => question.await, None => std::future::pending().await } } => {
                // It has answered, and whatever it had to say stood before that in the queue.
                match course.ended.take() {
                    Some(ended) if !session.is_closed() => break Ok(ended),
                    _ => break Err(session.lost(doing, true, None)),
                }
            }
        }
    };
    drop(feeding);
    while let Ok(count) = progressed.try_recv() {
        total += count;
        sent(total);
    }
    if !matches!(result, Ok(Ended::Exit(_) | Ended::Signal(_))) && !session.is_closed() {
        let _ = timeout(GOODBYE, write.signal(Sig::TERM)).await;
    }
    // After a close in due form it is not needed, and does no harm.
    let _ = timeout(GOODBYE, write.close()).await;
    result
}

impl Course {
    fn hear(
        &mut self,
        message: ChannelMsg,
        output: &mut dyn FnMut(Stream, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.last_word = Instant::now();
        match message {
            ChannelMsg::Data { data } => return output(Stream::Out, &data),
            ChannelMsg::ExtendedData { data, ext: STANDARD_ERROR } => return output(Stream::Err, &data),
            message => self.ended = self.ended.take().or_else(|| end_of(&message)),
        }
        ControlFlow::Continue(())
    }

    /// After how long it is given up, if it is.
    fn too_long(&self, limit: Option<Duration>, stall: Option<Duration>) -> Option<Duration> {
        limit
            .filter(|limit| self.begin.elapsed() >= *limit)
            .or_else(|| stall.filter(|stall| self.last_move.elapsed() >= *stall))
    }
}

/// The end of a command that a message tells.
pub(crate) fn end_of(message: &ChannelMsg) -> Option<Ended> {
    match message {
        ChannelMsg::ExitStatus { exit_status } => Some(Ended::Exit(exit_status.cast_signed())),
        ChannelMsg::ExitSignal { signal_name, .. } => Some(Ended::Signal(match signal_name {
            Sig::Custom(name) => name.clone(),
            known => format!("{known:?}"),
        })),
        _ => None,
    }
}

/// Hands over the input, and its end.
async fn feed(
    write: &ChannelWriteHalf<Msg>,
    input: &mut dyn Read,
    progress: tokio::sync::mpsc::UnboundedSender<u64>,
) -> std::io::Result<()> {
    loop {
        let mut chunk = vec![0; CHUNK];
        let count = match input.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        chunk.truncate(count);
        // That the channel is gone is told by its other half.
        if count == 0 {
            let _ = write.eof().await;
            return Ok(());
        }
        if write.data_bytes(chunk).await.is_err() {
            return Ok(());
        }
        let _ = progress.send(count as u64);
    }
}

/// The last bytes of a stream.
pub(crate) struct Tail {
    kept: Vec<u8>,
    keep: usize,
}

impl Tail {
    pub(crate) fn new(keep: usize) -> Self {
        Self { kept: Vec::new(), keep }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        // Twice as much is collected before it is cut, so that not every piece moves all of it.
        if self.kept.len() > self.keep.saturating_mul(2) {
            self.cut();
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.cut();
        self.kept
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(self.keep);
        self.kept.drain(..surplus);
    }
}

impl Session {
    /// The connection is gone. `source` is what was said, where something was.
    pub(crate) fn lost(&self, doing: &str, begun: bool, source: Option<Cause>) -> RemoteError {
        let source = self.farewell().map(Cause::from).or(source);
        RemoteError::Lost {
            target: self.target(),
            doing: doing.to_owned(),
            begun,
            source: source.unwrap_or_else(|| "it closed the connection".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_bytes_are_kept() {
        let mut tail = Tail::new(4);
        for _ in 0..1000 {
            tail.push(b"abcdef");
            assert!(tail.kept.len() <= 14, "{} bytes are kept", tail.kept.len());
        }
        assert_eq!(tail.finish(), b"cdef");
    }
}
