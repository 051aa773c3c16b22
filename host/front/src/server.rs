//! The front as a whole: its threads, its control socket, its beginning and its end.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, fault};
use jecloud_model::layout::ServerRoot;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, watch};

use crate::accept::{self, Peer};
use crate::control::{self, Answer, Command, SOCKET, SocketDirectory};
use crate::load::TableStore;
use crate::log::Log;
use crate::router::Router;
use crate::worker::{Ending, Endings, Settings, Worker};
use crate::{Error, Result, client, listen};

/// Threads that serve connections: one per core, and never more than this, because each costs memory.
const MOST_WORKERS: usize = 16;

/// A worker's stack. Its futures live on the heap; the deepest path is parsing a header.
const WORKER_STACK: usize = 512 * 1024;

/// How long the previous front may still hold the lock when this one begins: it lets go as soon as it has stopped
/// accepting.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// When the front ends, idle connections stay open for this long, so that a request that is on its way over one of
/// them is answered (and told that the connection ends) rather than reset.
const LINGER: Duration = Duration::from_secs(1);

/// After the kernel ran out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often one that was replaced looks whether it has finished.
const LOOK: Duration = Duration::from_millis(100);

/// A command is one word.
const LONGEST_COMMAND: u64 = 4096;

/// Serves until `stop` ends or somebody says `stop` on the control socket, then calls `on_stop` and finishes the requests
/// in flight.
///
/// The tables are read and the control socket answers before the first connection is accepted. Who holds the lock
/// accepts, and has the control socket: where one front replaces another, clients wait for the few milliseconds between
/// the two, in the kernel's queue of the sockets that both have. Blocks.
///
/// # Errors
///
/// [`Error`]; none of them occurs once it serves.
pub fn serve(
    root: &ServerRoot,
    listeners: Vec<TcpListener>,
    settings: Settings,
    stop: impl Future<Output = ()>,
    on_stop: impl FnOnce(),
) -> Result<()> {
    let lock_path = root.pid_file("front");
    for directory in [Some(root.run().as_path()), lock_path.parent()].into_iter().flatten() {
        durable::create_dirs(directory, 0o700).map_err(Error::Disk)?;
    }
    let log = Arc::new(Log::open(root).map_err(Error::Disk)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    if settings.replace {
        // Nothing that can go wrong here comes after this: the one that runs serves until this one can.
        fault::point("front.replace.ask").map_err(Error::Runtime)?;
        // One that does not answer is not there, or is just ending.
        let _ = client::retire(root, deadline);
        fault::point("front.replace.asked").map_err(Error::Runtime)?;
    }
    let lock = Lock::acquire(&lock_path, deadline).map_err(Error::Disk)?;
    let result = runtime.block_on(Front::begin(root, listeners, lock, &log)?.run(settings, stop, on_stop));
    if let Err(error) = &result {
        log.line(&format!("failed: {}", jecloud_model::chain(error)));
    }
    result
}

struct Front {
    root: ServerRoot,
    listeners: Vec<TcpListener>,
    lock: Lock,
    log: Arc<Log>,
    router: Arc<Router>,
    tables: Arc<Mutex<TableStore>>,
}

struct Threads {
    workers: Vec<Arc<Worker>>,
    begun: watch::Sender<bool>,
    due: watch::Sender<bool>,
    handles: Vec<JoinHandle<()>>,
}

impl Front {
    fn begin(root: &ServerRoot, listeners: Vec<TcpListener>, lock: Lock, log: &Arc<Log>) -> Result<Self> {
        for listener in &listeners {
            listen::prepare(listener).map_err(Error::Listener)?;
        }
        raise_descriptor_limit();
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let router = Arc::new(Router::new(workers));
        let mut tables = TableStore::new(root.clone());
        for problem in tables.reload(&router).problems {
            log.line(&problem);
        }
        Ok(Self {
            root: root.clone(),
            listeners,
            lock,
            log: Arc::clone(log),
            router,
            tables: Arc::new(Mutex::new(tables)),
        })
    }

    async fn run(self, settings: Settings, stop: impl Future<Output = ()>, on_stop: impl FnOnce()) -> Result<()> {
        let Self { root, listeners, lock, log, router, tables } = self;
        let socket_path = root.run().join(SOCKET);
        let socket_error = |source| Error::Socket { path: socket_path.clone(), source };
        // We hold the lock: a socket of this name belongs to a front that is gone.
        durable::remove(&socket_path).map_err(Error::Disk)?;
        let directory = SocketDirectory::open(&root.run()).map_err(socket_error)?;
        let socket = control::bind(&directory).and_then(UnixListener::from_std).map_err(socket_error)?;

        let threads = Threads::start(&router, &listeners, &log, settings)?;
        let addresses: Vec<String> =
            listeners.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.to_string()).collect();
        drop(listeners);
        let (asked_to_stop, asked_to_retire) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut tasks = tokio::task::JoinSet::new();
        let commander = Commander {
            router: Arc::clone(&router),
            tables,
            log: Arc::clone(&log),
            stop: Arc::clone(&asked_to_stop),
            retire: Arc::clone(&asked_to_retire),
        };
        tasks.spawn(obey(socket, commander));
        log.line(&format!("process {} serves {}", std::process::id(), addresses.join(", ")));
        if settings.replace {
            fault::point("front.replace.begun").map_err(Error::Runtime)?;
        }
        // Those that were here before and were killed.
        drop(directory.others(&root.run()));

        let mut stop = std::pin::pin!(stop);
        let retires = tokio::select! {
            () = &mut stop => false,
            () = asked_to_stop.notified() => false,
            () = asked_to_retire.notified() => true,
        };
        log.line(if retires { "stopping: another one takes over" } else { "stopping" });
        on_stop();
        threads.close();
        // Its own name is for the next front, which may begin while this one finishes what is in flight. Under another
        // one it can still be asked what that is.
        if let Err(error) = directory.step_aside() {
            log.line(&format!("the control socket cannot be renamed: {error}"));
        }
        drop(lock);
        if retires {
            tokio::select! {
                () = threads.retire(&router, settings.retirement) => {}
                () = stop => {}
                () = asked_to_stop.notified() => {}
            }
        }
        threads.finish().await;
        tasks.shutdown().await;
        directory.leave();
        log.line("stopped");
        Ok(())
    }
}

impl Threads {
    fn start(router: &Arc<Router>, listeners: &[TcpListener], log: &Arc<Log>, settings: Settings) -> Result<Self> {
        let (begun, begun_receiver) = watch::channel(false);
        let (due, due_receiver) = watch::channel(false);
        let endings = Endings { begun: begun_receiver, due: due_receiver };
        let (peers, receivers): (Vec<Peer>, Vec<_>) = (0..router.workers())
            .map(|number| {
                let worker = Worker::new(number, Arc::clone(router), Arc::clone(log));
                let (sender, receiver) = mpsc::unbounded_channel();
                (Peer { worker, sender }, receiver)
            })
            .unzip();
        let workers: Vec<Arc<Worker>> = peers.iter().map(|peer| Arc::clone(&peer.worker)).collect();
        let peers: Arc<[Peer]> = peers.into();
        let mut handles = Vec::new();
        for (worker, receiver) in workers.iter().zip(receivers) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
            let listeners: Vec<_> = {
                let _in_runtime = runtime.enter();
                let own = |listener: &TcpListener| accept::register(listener.try_clone()?);
                listeners.iter().map(own).collect::<std::io::Result<_>>().map_err(Error::Listener)?
            };
            let running = Arc::clone(worker).run(listeners, Arc::clone(&peers), receiver, endings.clone(), settings);
            let handle = std::thread::Builder::new()
                .name(format!("front-{}", worker.number))
                .stack_size(WORKER_STACK)
                .spawn(move || runtime.block_on(running))
                .map_err(Error::Runtime)?;
            handles.push(handle);
        }
        Ok(Self { workers, begun, due, handles })
    }

    /// No more connections are accepted, and those that there are end with their next response.
    fn close(&self) {
        for worker in &self.workers {
            worker.set_ending(Ending::Begun);
        }
        self.begun.send_replace(true);
    }

    /// Returns when nothing is in flight any more, upgraded connections included, or when `limit` is over.
    async fn retire(&self, router: &Router, limit: Duration) {
        let end = tokio::time::Instant::now() + limit;
        while tokio::time::Instant::now() < end && router.status().iter().any(|backend| backend.in_flight > 0) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns when the requests in flight are answered, or have had their time.
    async fn finish(self) {
        let Self { workers, begun: _begun, due, handles } = self;
        let end = tokio::time::Instant::now() + LINGER;
        while tokio::time::Instant::now() < end && workers.iter().any(|worker| worker.connections() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for worker in &workers {
            worker.set_ending(Ending::Due);
        }
        due.send_replace(true);
        let _ = tokio::task::spawn_blocking(move || handles.into_iter().for_each(|handle| drop(handle.join()))).await;
    }
}

/// What commands act on.
#[derive(Clone)]
struct Commander {
    router: Arc<Router>,
    tables: Arc<Mutex<TableStore>>,
    log: Arc<Log>,
    stop: Arc<Notify>,
    retire: Arc<Notify>,
}

impl Commander {
    fn obey(&self, line: &str) -> Answer {
        match serde_json::from_str::<Command>(line) {
            Ok(Command::Reload) => {
                let reloaded = self.tables.lock().unwrap_or_else(PoisonError::into_inner).reload(&self.router);
                for problem in &reloaded.problems {
                    self.log.line(problem);
                }
                Answer::Reloaded(reloaded)
            }
            Ok(Command::Status) => Answer::Status(self.router.status()),
            Ok(Command::Stop | Command::Retire) => Answer::Stopping,
            Err(error) => Answer::NotUnderstood(error.to_string()),
        }
    }
}

async fn obey(socket: UnixListener, commander: Commander) {
    let mut conversations = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    conversations.spawn(converse(stream, commander.clone()));
                }
                Err(error) => {
                    commander.log.line(&format!("accepting on the control socket failed: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = conversations.join_next() => {}
        }
    }
}

async fn converse(mut stream: UnixStream, commander: Commander) {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        match (&mut reader).take(LONGEST_COMMAND).read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let answer = commander.obey(&line);
        let Ok(mut bytes) = serde_json::to_vec(&answer) else { return };
        bytes.push(b'\n');
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        // Only now: the one who asked has its answer before the socket closes.
        if matches!(answer, Answer::Stopping) {
            let retires = matches!(serde_json::from_str(&line), Ok(Command::Retire));
            if retires { &commander.retire } else { &commander.stop }.notify_one();
        }
    }
}

/// Every connection takes a descriptor on either side, and the usual soft limit is 1024. Nothing here uses `select`,
/// the reason for which it is that low.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
