//! The person's terminal, given to something on a server.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::SIGWINCH;

use crate::drive::Ended;
use crate::error::RemoteError;
use crate::session::Session;
use crate::terminal::{Chunk, Size, TerminalInput};

/// How often it is looked whether the terminal has another size.
const GLANCE: Duration = Duration::from_millis(250);

/// The most that is read of what is typed at once.
const TYPED: usize = 16 * 1024;

/// A terminal that hands over every key as it is, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
}

/// Runs a command, or the user's shell, with this process's standard input, output and error. Where both ends are
/// terminals it has one on the server too. Returns its exit status as a shell would have it.
///
/// # Errors
///
/// As [`Session::exec`]; where the connection is lost, what it did is not known.
pub(crate) fn interact(session: &Session, argv: Option<&[&str]>) -> Result<i32, RemoteError> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let kind = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let terminal = size().filter(|_| is_terminal).map(|size| (kind.as_str(), size));
    let (input, mut output) = session.terminal(argv, terminal)?;
    let local = |doing: &str, source: io::Error| RemoteError::Local { doing: doing.to_owned(), source: source.into() };
    let raw = match terminal {
        Some(_) => Some(Raw::new().map_err(|error| local("take over the terminal", error))?),
        None => None,
    };
    let resized = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGWINCH, Arc::clone(&resized))
        .map_err(|error| local("watch the terminal's size", error))?;
    // It ends with the process: nothing else could end a read of the terminal.
    std::thread::spawn({
        let input = input.clone();
        move || hand_over(input)
    });
    let status = loop {
        if resized.swap(false, Ordering::Relaxed)
            && let Some(size) = size()
        {
            // Where it is over, that is said by what comes next.
            let _ = input.resize(size);
        }
        let written = match output.next(GLANCE)? {
            None => Ok(()),
            Some(Chunk::Out(bytes)) => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
            Some(Chunk::Err(bytes)) => io::stderr().write_all(&bytes),
            Some(Chunk::Ended(Ended::Exit(status))) => break status,
            // 128 and the number is what shells say; the protocol carries names.
            Some(Chunk::Ended(_)) => break 255,
        };
        if written.is_err() {
            break 1;
        }
    };
    drop(raw);
    Ok(status)
}

fn hand_over(mut input: TerminalInput) {
    let mut typed = vec![0; TYPED];
    loop {
        match io::stdin().read(&mut typed) {
            Ok(0) | Err(_) => {
                let _ = input.finish();
                return;
            }
            Ok(count) if input.write_all(&typed[..count]).is_err() => return,
            Ok(_) => {}
        }
    }
}
