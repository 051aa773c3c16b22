//! Files from a server, in constant memory.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::drive::{Drive, Ended, Finished, Stream, Tail};
use crate::error::RemoteError;
use crate::quote::shell_line;
use crate::session::Session;

/// For how long nothing need move: a disk that sleeps, a line that is slow.
const STALL: Duration = Duration::from_secs(300);

/// How much is kept of what the server complains about.
const KEEP: usize = 64 << 10;

impl Session {
    /// Reads a file of the server into `to`. `before` is what stands before the command: `sudo -n --`, or nothing.
    /// `progress` is told how many bytes were written. Returns how many bytes there were.
    ///
    /// # Errors
    ///
    /// [`RemoteError`]; then `to` has got a beginning of the file. Only where there is none it has got all of it.
    pub fn download(
        &self,
        path: &str,
        before: &[&str],
        to: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, RemoteError> {
        let doing = format!("read {path}");
        let argv = [before, &["cat", "--", path]].concat();
        let mut stderr = Tail::new(KEEP);
        let (mut done, mut failed) = (0, None);
        let ended = self.drive(Drive {
            doing: &doing,
            line: shell_line(&argv)?,
            input: &mut std::io::empty(),
            sent: &mut |_| {},
            output: &mut |stream, bytes| match stream {
                Stream::Out => match to.write_all(bytes) {
                    Ok(()) => {
                        done += bytes.len() as u64;
                        progress(done);
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                },
                Stream::Err => {
                    stderr.push(bytes);
                    ControlFlow::Continue(())
                }
            },
            timeout: None,
            stall: Some(STALL),
            cancel: &|| false,
        })?;
        if let Some(source) = failed {
            return Err(RemoteError::Local { doing: format!("write what {doing} gave"), source: source.into() });
        }
        if ended != Ended::Exit(0) {
            let finished = Finished { ended, stdout: Vec::new(), stderr: stderr.finish() };
            return Err(self.refused(&doing, &finished));
        }
        to.flush().map_err(|source| RemoteError::Local {
            doing: format!("write what {doing} gave"),
            source: source.into(),
        })?;
        Ok(done)
    }
}
