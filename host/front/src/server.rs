//! The front as a whole: its threads, its control socket, its beginning and its end.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jecloud_disk::durable;
use jecloud_disk::lock::Lock;
use jecloud_model::layout::ServerRoot;
use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, watch};

use crate::control::{self, Answer, Command, SOCKET, SocketDirectory};
use crate::load::TableStore;
use crate::log::Log;
use crate::router::Router;
use crate::worker::{Accepted, Phase, Worker};
use crate::{Error, Result, listen};

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

/// A command is one word.
const LONGEST_COMMAND: u64 = 4096;

/// Serves until `stop` ends or somebody says `stop` on the control socket, then finishes the requests in flight.
///
/// The tables are read and the control socket answers before the first connection is accepted. Blocks.
///
/// # Errors
///
/// [`Error`]; none of them occurs once it serves.
pub fn serve(root: &ServerRoot, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) -> Result<()> {
    let lock_path = root.pid_file("front");
    for directory in [Some(root.run().as_path()), lock_path.parent()].into_iter().flatten() {
        durable::create_dirs(directory, 0o700).map_err(Error::Disk)?;
    }
    let lock = Lock::acquire(&lock_path, Instant::now() + LOCK_PATIENCE).map_err(Error::Disk)?;
    let log = Arc::new(Log::open(root).map_err(Error::Disk)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let result = runtime.block_on(Front::begin(root, listeners, lock, &log)?.run(stop));
    if let Err(error) = &result {
        log.line(&format!("failed: {}", crate::proxy::chain(error)));
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
    workers: Vec<(Arc<Worker>, mpsc::UnboundedSender<Accepted>)>,
    phase: watch::Sender<Phase>,
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

    async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self { root, listeners, lock, log, router, tables } = self;
        let socket_path = root.run().join(SOCKET);
        let socket_error = |source| Error::Socket { path: socket_path.clone(), source };
        // We hold the lock: a socket of this name belongs to a front that is gone.
        durable::remove(&socket_path).map_err(Error::Disk)?;
        let directory = SocketDirectory::open(&root.run()).map_err(socket_error)?;
        let socket = control::bind(&directory).and_then(UnixListener::from_std).map_err(socket_error)?;

        let threads = Threads::start(&router, &log)?;
        let addresses: Vec<String> =
            listeners.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.to_string()).collect();
        let asked_to_stop = Arc::new(Notify::new());
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listeners {
            #[expect(unsafe_code, reason = "the type cannot promise to keep its descriptor; a TcpListener does")]
            // SAFETY: a TcpListener owns one descriptor, the same one until it is dropped.
            let listener = unsafe { AsyncFd::register(listener) }.map_err(|error| Error::Listener(error.into()))?;
            tasks.spawn(accept(listener, threads.workers.clone(), Arc::clone(&log)));
        }
        let commander = Commander { router, tables, log: Arc::clone(&log), stop: Arc::clone(&asked_to_stop) };
        tasks.spawn(obey(socket, commander));
        log.line(&format!("process {} serves {}", std::process::id(), addresses.join(", ")));

        tokio::select! {
            () = stop => {}
            () = asked_to_stop.notified() => {}
        }
        log.line("stopping");
        // Accepting ends here; answers on the control socket, too.
        tasks.shutdown().await;
        durable::remove(&socket_path).map_err(Error::Disk)?;
        // The next front may begin while this one finishes what is in flight.
        drop(lock);
        threads.stop().await;
        log.line("stopped");
        Ok(())
    }
}

impl Threads {
    fn start(router: &Arc<Router>, log: &Arc<Log>) -> Result<Self> {
        let (phase, _) = watch::channel(Phase::Serving);
        let mut threads = Self { workers: Vec::new(), phase, handles: Vec::new() };
        for number in 0..router.workers() {
            let worker = Worker::new(number, Arc::clone(router), Arc::clone(log));
            let (sender, receiver) = mpsc::unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
            let running = Arc::clone(&worker).run(receiver, threads.phase.subscribe());
            let handle = std::thread::Builder::new()
                .name(format!("front-{number}"))
                .stack_size(WORKER_STACK)
                .spawn(move || runtime.block_on(running))
                .map_err(Error::Runtime)?;
            threads.workers.push((worker, sender));
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// Returns when the requests in flight are answered, or have had their time.
    async fn stop(self) {
        let Self { workers, phase, handles } = self;
        for (worker, _) in &workers {
            worker.close();
        }
        phase.send_replace(Phase::Closing);
        let end = tokio::time::Instant::now() + LINGER;
        while tokio::time::Instant::now() < end && workers.iter().any(|(worker, _)| worker.connections() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        phase.send_replace(Phase::Closed);
        // Without senders the workers know that nobody else comes.
        drop(workers);
        let _ = tokio::task::spawn_blocking(move || handles.into_iter().for_each(|handle| drop(handle.join()))).await;
    }
}

/// Accepts connections and gives each to the worker that has the fewest.
async fn accept(
    listener: AsyncFd<TcpListener>,
    workers: Vec<(Arc<Worker>, mpsc::UnboundedSender<Accepted>)>,
    log: Arc<Log>,
) {
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        match ready.try_io(|listener| Ok(accept_one(listener.get_ref())?)) {
            Ok(Ok(Some((stream, peer)))) => {
                if let Some((worker, sender)) = workers.iter().min_by_key(|(worker, _)| worker.connections()) {
                    let _ = sender.send(worker.admit(stream, peer));
                }
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                log.line(&format!("accepting a connection failed: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// None for a connection that was gone before it was accepted.
fn accept_one(listener: &TcpListener) -> rustix::io::Result<Option<(TcpStream, SocketAddr)>> {
    use rustix::io::Errno;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::acceptfrom_with(listener, flags) {
        Ok((stream, peer)) => {
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            Ok(peer.map(|peer| (TcpStream::from(stream), peer)))
        }
        Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What commands act on.
#[derive(Clone)]
struct Commander {
    router: Arc<Router>,
    tables: Arc<Mutex<TableStore>>,
    log: Arc<Log>,
    stop: Arc<Notify>,
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
            Ok(Command::Stop) => Answer::Stopping,
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
            commander.stop.notify_one();
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
