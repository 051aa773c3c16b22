//! What runs gives its place to what is newer.

use std::path::Path;
use std::time::{Duration, Instant};

use jecloud_disk::{fault, lock};
use jecloud_model::layout::ServerRoot;
use jecloud_model::version::Version;

use crate::binary::{self, Binary};
use crate::client::{self, ClientError};
use crate::protocol::{Answer, Request};

/// How long one that was asked to leave may take before it is told by a signal: an older one does not know the question.
const ASKED: Duration = Duration::from_secs(2);

/// How long the one that it starts may take to be there, before another one is started.
const BEGIN: Duration = Duration::from_secs(1);

/// How long the front may take to bring back a process manager: see [`crate::watch`].
const REVIVAL: Duration = Duration::from_secs(4);

/// What [`renew`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Everything that runs is of this binary, or nothing runs.
    Nothing,
    /// Something was replaced.
    Replaced,
    /// What runs is of this newer version, and runs on.
    Newer(Version),
}

/// Has the process manager and the front be of the binary `exe`, where they run and are of another one that is not newer.
/// The processes of the apps run on, and nobody who connects is refused.
///
/// The process manager is replaced here, and replaces the front: whoever dies in between, the next process manager of
/// this binary finds a front of another one.
///
/// # Errors
///
/// When they are not of this binary before `deadline`; what ran before it runs on then, or is started again by whichever
/// of the two is left.
pub fn renew(root: &ServerRoot, exe: &Path, deadline: Instant) -> Result<Renewed, ClientError> {
    let (supervisor, front) = (crate::lock_path(root), root.pid_file("front"));
    let mut result = Renewed::Nothing;
    // Who was asked to leave, since when, and whether by a signal.
    let mut asked: Option<(u32, Instant, bool)> = None;
    // Since when a front runs without a process manager.
    let mut alone: Option<Instant> = None;
    loop {
        let manager = lock::holder(&supervisor)?.map(|pid| (pid, binary::compare(pid, exe)));
        if manager.is_some() {
            alone = None;
        }
        match manager {
            // Nothing runs; or the front alone, which would bring back a process manager of its own binary.
            None if result == Renewed::Nothing
                && !lock::holder(&front)?.is_some_and(|pid| binary::is_older(pid, exe)) =>
            {
                return Ok(result);
            }
            // Its successor is just beginning, or was killed.
            None if asked.is_some_and(|(_, since, by_signal)| !by_signal && since.elapsed() < BEGIN) => {}
            // The front brings back one that has its sockets, also where the system lets nobody copy them: it is only a
            // detour to have that one replaced.
            None if alone.get_or_insert_with(Instant::now).elapsed() < REVIVAL
                && lock::holder(&front)?.is_some_and(|pid| binary::is_older(pid, exe)) => {}
            None => client::ensure_running(root, exe)?,
            Some((_, Binary::Newer(version))) => return Ok(Renewed::Newer(version)),
            Some((pid, Binary::Older)) => {
                result = Renewed::Replaced;
                match &mut asked {
                    Some((who, since, by_signal)) if *who == pid => {
                        if !*by_signal && since.elapsed() >= ASKED {
                            jecloud_launch::terminate(pid);
                            *by_signal = true;
                        }
                    }
                    _ => {
                        fault::point("renew.ask").map_err(|source| client::no_answer(root, source))?;
                        let understood = client::ask(root, Request::Renew { exe: exe.to_owned() }, deadline);
                        let by_signal = !matches!(understood, Ok(Answer::Leaving));
                        if by_signal {
                            jecloud_launch::terminate(pid);
                        }
                        asked = Some((pid, Instant::now(), by_signal));
                        fault::point("renew.asked").map_err(|source| client::no_answer(root, source))?;
                    }
                }
            }
            Some((_, Binary::Unknown)) => {}
            Some((_, Binary::Same)) => match lock::holder(&front)?.map(|pid| binary::compare(pid, exe)) {
                Some(Binary::Same) => return Ok(result),
                // One is just being replaced, or started again.
                None => {}
                Some(Binary::Newer(version)) => return Ok(Renewed::Newer(version)),
                Some(Binary::Older) => result = Renewed::Replaced,
                Some(Binary::Unknown) => {}
            },
        }
        if Instant::now() >= deadline {
            return Err(client::no_answer(root, std::io::ErrorKind::TimedOut.into()));
        }
        client::pause();
    }
}
