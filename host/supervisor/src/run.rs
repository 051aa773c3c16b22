//! The process manager as a process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_disk::lock::{self, Lock};
use jecloud_disk::{durable, fault};
use jecloud_model::layout::ServerRoot;
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::journal::Journal;
use crate::listeners::{self, Listeners};
use crate::manager::Manager;
use crate::protocol::{Answer, SOCKET};
use crate::{Settings, SupervisorError, client, clock, lock_path, machine, server, socket};

/// Runs the process manager of a server until SIGTERM or SIGINT (everything it started runs on), until it is asked to
/// end everything, or until nothing was wanted for [`Settings::idle_exit`].
///
/// `exe` is the `jecloud` binary, for the front and the roll-forward. To be called at the beginning of a process that
/// does nothing else: it starts a session of its own, and takes over the sockets that were handed to it.
///
/// # Errors
///
/// When there is one already, or when it cannot begin. Once it has begun it does not give up.
pub fn run(root: ServerRoot, exe: PathBuf, settings: Settings) -> Result<(), SupervisorError> {
    let listeners = listeners::inherited();
    // It fails for the leader of a process group, who is nobody's background process and needs no session.
    let _ = rustix::process::setsid();
    // Processes do not inherit the taste of whoever happened to start the process manager.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let pids = lock_path(&root);
    for directory in pids.parent().into_iter().chain(root.system_log(crate::NAME).parent()) {
        durable::create_dirs(directory, 0o755)?;
    }
    durable::create_dirs(&root.run(), 0o755)?;
    // A process that the last one was just starting holds the lock until it is there: it will be found by its mark.
    let Some(lock) = Lock::try_acquire(&pids)? else {
        let holder = lock::holder(&pids)?.filter(|pid| *pid != 0);
        return Err(SupervisorError::AlreadyRunning { root: root.path().to_owned(), holder });
    };
    let setup = |source| SupervisorError::Setup { root: root.path().to_owned(), source };
    let journal = Journal::open(&root)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup)?;
    let successor = LocalSet::new().block_on(&runtime, live(root.clone(), exe, settings, listeners, journal))?;
    drop(lock);
    if let Some((exe, listeners)) = successor {
        succeed(&root, &exe, &listeners)?;
    }
    Ok(())
}

/// Starts the process manager that takes the place of this one, with the front's sockets. Where that fails, or this one
/// is killed before, the front starts one of its own binary, or whoever wants something next does.
fn succeed(root: &ServerRoot, exe: &Path, sockets: &Listeners) -> Result<(), SupervisorError> {
    let setup = |source| SupervisorError::Setup { root: root.path().to_owned(), source };
    fault::point("supervisor.renew.released").map_err(setup)?;
    let fds = listeners::for_child(sockets.iter().map(|(socket, _)| socket)).map_err(setup)?;
    let launch = client::launch(root, exe).variable(listeners::VARIABLE, sockets.len().to_string());
    let output = client::error_output(root).map_err(|error| setup(std::io::Error::other(error)))?;
    jecloud_launch::child(launch, output, fds).map_err(|error| setup(std::io::Error::other(error)))?;
    fault::point("supervisor.renew.started").map_err(setup)
}

async fn live(
    root: ServerRoot,
    exe: PathBuf,
    settings: Settings,
    listeners: Listeners,
    journal: Journal,
) -> Result<Option<(PathBuf, Listeners)>, SupervisorError> {
    let setup = |source| SupervisorError::Setup { root: root.path().to_owned(), source };
    let in_socket = |source| SupervisorError::Socket { path: root.run().join(SOCKET), source };
    let (events, mut inbox) = mpsc::unbounded_channel();
    let mut terminate = signal(SignalKind::terminate()).map_err(setup)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(setup)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(setup)?;
    journal.say(format!("process manager {} begins", std::process::id()));
    let mut manager = Manager::new((root.clone(), exe, settings), listeners, events.clone(), journal);
    manager.read_tables(clock::moment());
    manager.adopt(&machine::boot_id().unwrap_or_default());
    // Bound before the first turn, so that whoever waits for us waits for its end and not for luck.
    let listener = socket::bind(&root.run(), SOCKET).map_err(in_socket)?;
    let serving = server::serve(listener, events).map_err(in_socket)?;

    let mut replies: Vec<oneshot::Sender<Answer>> = Vec::new();
    let stays = loop {
        let next = manager.turn();
        if !replies.is_empty() {
            let statuses = manager.statuses();
            for reply in replies.drain(..) {
                let _ = reply.send(Answer::Statuses(statuses.clone()));
            }
        }
        let Some(next) = next else { break false };
        if manager.gives_way() {
            break true;
        }
        let wait = next.since(clock::moment()).max(Duration::from_millis(1));
        tokio::select! {
            event = inbox.recv() => replies.extend(event.and_then(|event| manager.note(event))),
            () = tokio::time::sleep(wait) => {}
            _ = hang_up.recv() => {}
            _ = terminate.recv() => break true,
            _ = interrupt.recv() => break true,
        }
        while let Ok(event) = inbox.try_recv() {
            replies.extend(manager.note(event));
        }
    };
    // The answers are written by other tasks, which get their turns here.
    yield_turns().await;
    serving.abort();
    socket::unbind(&root.run(), SOCKET);
    let mut successor = None;
    if stays {
        fault::point("supervisor.renew.leave").map_err(setup)?;
        manager.journal.say("the process manager leaves everything running");
        successor = manager.leave();
    } else {
        manager.farewell();
        // Whoever gets no answer sees that the lock is free.
        yield_turns().await;
    }
    Ok(successor)
}

async fn yield_turns() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}
