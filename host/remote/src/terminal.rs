//! A shell, or a command, with which a person speaks: what is typed goes there, what it writes comes here, as it comes.
//!
//! The terminal of this machine is the caller's: making it raw, and telling when its size changes.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connect::block_on;
use crate::drive::{Ended, end_of, open_channel};
use crate::error::RemoteError;
use crate::quote::shell_line;
use crate::runtime::runtime;
use crate::session::Session;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The number under which SSH carries standard error.
const STANDARD_ERROR: u32 = 1;

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: u32,
    /// Lines.
    pub rows: u32,
}

/// A piece of what comes from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Standard output; with a terminal everything.
    Out(Vec<u8>),
    /// Standard error; only without a terminal.
    Err(Vec<u8>),
    /// Nothing more comes.
    Ended(Ended),
}

/// Where to write what is typed. Clones write to the same.
#[derive(Clone)]
pub struct TerminalInput {
    write: Arc<ChannelWriteHalf<Msg>>,
    over: watch::Receiver<bool>,
}

/// Where to read what is written there. Dropping it ends the whole.
pub struct TerminalOutput {
    session: Session,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    over: watch::Sender<bool>,
    ended: Option<Ended>,
}

impl Session {
    /// Starts a command, or the user's shell where there is none. With `terminal` (the name of its kind, as in `TERM`,
    /// and its size) it has one on the server; else its streams are pipes.
    ///
    /// # Errors
    ///
    /// As [`Session::exec`].
    pub fn terminal<A: AsRef<[u8]>>(
        &self,
        argv: Option<&[A]>,
        terminal: Option<(&str, Size)>,
    ) -> Result<(TerminalInput, TerminalOutput), RemoteError> {
        let doing = "open a terminal";
        let line = argv.map(shell_line).transpose()?;
        block_on(async {
            let (read, write) = open_channel(self, doing).await?;
            let begin = async {
                if let Some((kind, Size { columns, rows })) = terminal {
                    write.request_pty(false, kind, columns, rows, 0, 0, &[]).await?;
                }
                match line {
                    Some(line) => write.exec(true, line).await,
                    None => write.request_shell(true).await,
                }
            };
            match timeout(self.timing().noticed(), begin).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.lost(doing, false, Some(error.into()))),
                Err(late) => return Err(self.lost(doing, true, Some(late.into()))),
            }
            let write = Arc::new(write);
            let (over, is_over) = watch::channel(false);
            let input = TerminalInput { write: Arc::clone(&write), over: is_over };
            Ok((input, TerminalOutput { session: self.clone(), read, write, over, ended: None }))
        })?
    }
}

impl TerminalInput {
    /// The terminal of the person has another size now.
    ///
    /// # Errors
    ///
    /// Where it is over.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        self.until_over(self.write.window_change(size.columns, size.rows, 0, 0))
    }

    /// Nothing more is typed.
    ///
    /// # Errors
    ///
    /// Where it is over.
    pub fn finish(&self) -> io::Result<()> {
        self.until_over(self.write.eof())
    }

    fn until_over(&self, writing: impl Future<Output = Result<(), russh::Error>>) -> io::Result<()> {
        let mut over = self.over.clone();
        runtime()?.block_on(async {
            tokio::select! {
                biased;
                // Whoever waits for room in a channel that has gone would wait for ever.
                _ = over.wait_for(|over| *over) => Err(io::ErrorKind::BrokenPipe.into()),
                result = writing => result.map_err(io::Error::other),
            }
        })
    }
}

impl Write for TerminalInput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_over(self.write.data_bytes(bytes.to_vec()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminalOutput {
    /// The next piece; none where there was nothing for so long.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Lost`] where it ended without an exit status; what it did is not known.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Chunk>, RemoteError> {
        let doing = "show a terminal";
        block_on(async {
            let deadline = tokio::time::Instant::now() + patience;
            loop {
                let Ok(message) = tokio::time::timeout_at(deadline, self.read.wait()).await else { return Ok(None) };
                match message {
                    None => {
                        self.over.send_replace(true);
                        return Err(self.session.lost(doing, true, None));
                    }
                    Some(ChannelMsg::Data { data }) => return Ok(Some(Chunk::Out(data.to_vec()))),
                    Some(ChannelMsg::ExtendedData { data, ext: STANDARD_ERROR }) => {
                        return Ok(Some(Chunk::Err(data.to_vec())));
                    }
                    Some(ChannelMsg::Close) => {
                        self.over.send_replace(true);
                        let silent = || self.session.lost(doing, true, Some("it closed without an exit status".into()));
                        return self.ended.take().map(|ended| Some(Chunk::Ended(ended))).ok_or_else(silent);
                    }
                    Some(message) => self.ended = self.ended.take().or_else(|| end_of(&message)),
                }
            }
        })?
    }
}

impl Drop for TerminalOutput {
    fn drop(&mut self) {
        self.over.send_replace(true);
        if let Ok(runtime) = runtime() {
            let _ = runtime.block_on(async { timeout(GOODBYE, self.write.close()).await });
        }
    }
}
