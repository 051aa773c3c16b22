//! The threads that serve connections. Each has a runtime of its own: a connection, its requests and the connections
//! to backends that they use stay on one thread, and nothing is handed from core to core on the way.

use std::net::{SocketAddr, TcpListener, TcpStream as StdTcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::accept::{Peer, accept};
use crate::headers::Client;
use crate::io::Socket;
use crate::log::Log;
use crate::proxy;
use crate::router::Router;

/// What can be chosen. The defaults are meant for servers; tests have less time.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a client may take to send a request's header fields, from when the connection was opened or the
    /// previous response was complete. So it is also how long an idle connection is kept. 75 s, as nginx keeps them.
    pub header_limit: Duration,
    /// How long requests in flight may still take when the front is told to stop. 30 s, as a process that is replaced
    /// has.
    pub grace: Duration,
    /// The same where another front has taken its place: nobody waits for its end then, and a download or a WebSocket
    /// may take its time. 10 minutes.
    pub retirement: Duration,
    /// Whether to take the place of a front that runs: it is asked to leave as soon as this one can begin. Otherwise this
    /// one waits until the other has ended.
    pub replace: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_limit: Duration::from_secs(75),
            grace: Duration::from_secs(30),
            retirement: Duration::from_secs(600),
            replace: false,
        }
    }
}

/// Header fields of a request. hyper answers 431 to more.
const MOST_HEADERS: usize = 100;
/// Bytes of a request's header fields and first line. Common app servers accept 16 KiB, so nothing is lost by this.
const LARGEST_HEADER: u32 = 64 * 1024;
/// How much of a body is in the front's memory at a time, per connection and direction.
const BUFFER: usize = 64 * 1024;
/// Requests at the same time on one HTTP/2 connection.
const MOST_STREAMS: u32 = 200;

/// The beginning of HTTP/2's preface. No method of HTTP/1.1 begins like this.
const PREFACE: &[u8] = b"PRI";
/// Between two looks at a connection that has begun with less than [`PREFACE`].
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// How far the end has come. Each step is a message of its own, and is in [`Worker::ending`] before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Ending {
    /// Responses say that the connection ends with them.
    Begun = 1,
    /// Connections without a request are closed.
    Due = 2,
}

/// Both steps to the end, to be waited for. An error in receiving means that the sender is gone: the end, too.
#[derive(Debug, Clone)]
pub(crate) struct Endings {
    pub(crate) begun: watch::Receiver<bool>,
    pub(crate) due: watch::Receiver<bool>,
}

impl Endings {
    async fn reached(self, step: Ending) {
        let mut step = match step {
            Ending::Begun => self.begun,
            Ending::Due => self.due,
        };
        let _ = step.wait_for(|reached| *reached).await;
    }
}

/// What the requests of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    /// From 0.
    pub(crate) number: usize,
    pub(crate) router: Arc<Router>,
    pub(crate) log: Arc<Log>,
    /// 0, or an [`Ending`].
    ending: AtomicU8,
    connections: AtomicUsize,
    /// Told when the last connection has ended.
    empty: Notify,
}

/// A client's connection on its way to a worker, counted as one of that worker's.
pub(crate) struct Accepted {
    stream: StdTcpStream,
    peer: SocketAddr,
    counted: Counted,
}

struct Counted(Arc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.empty.notify_one();
        }
    }
}

impl Worker {
    pub(crate) fn new(number: usize, router: Arc<Router>, log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            number,
            router,
            log,
            ending: AtomicU8::new(0),
            connections: AtomicUsize::new(0),
            empty: Notify::new(),
        })
    }

    /// Client connections that it has.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The end has come so far.
    pub(crate) fn set_ending(&self, step: Ending) {
        self.ending.store(step as u8, Ordering::SeqCst);
    }

    pub(crate) fn has_reached(&self, step: Ending) -> bool {
        self.ending.load(Ordering::SeqCst) >= step as u8
    }

    /// Counts a connection as this worker's. The stream must not block.
    pub(crate) fn admit(self: &Arc<Self>, stream: StdTcpStream, peer: SocketAddr) -> Accepted {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Accepted { stream, peer, counted: Counted(Arc::clone(self)) }
    }

    /// Accepts and serves until [`Ending::Begun`], then waits for the connections to end, for a while. Upgraded
    /// connections do not count there: nothing tells when they end by themselves.
    pub(crate) async fn run(
        self: Arc<Self>,
        listeners: Vec<AsyncFd<TcpListener>>,
        peers: Arc<[Peer]>,
        mut handed_over: mpsc::UnboundedReceiver<Accepted>,
        endings: Endings,
        settings: Settings,
    ) {
        let grace = settings.grace;
        let protocols = Arc::new(Protocols::new(settings));
        let start = {
            let endings = endings.clone();
            move |accepted| drop(tokio::spawn(serve(accepted, Arc::clone(&protocols), endings.clone())))
        };
        for listener in listeners {
            let accepting = accept(listener, Arc::clone(&self), Arc::clone(&peers), start.clone());
            let closing = endings.clone().reached(Ending::Begun);
            tokio::spawn(async move {
                tokio::select! {
                    () = accepting => {}
                    () = closing => {}
                }
            });
        }
        // When nobody accepts any more, nobody hands over: the channel ends.
        drop(peers);
        while let Some(accepted) = handed_over.recv().await {
            start(accepted);
        }
        // Who was replaced has more time before that, see `Threads::retire`.
        endings.reached(Ending::Due).await;
        let end = Instant::now() + grace;
        while self.connections() > 0 {
            if tokio::time::timeout_at(end, self.empty.notified()).await.is_err() {
                self.log.line(&format!("stopping: {} connections cut after {grace:?}", self.connections()));
                return;
            }
        }
    }
}

/// The settings of the protocols.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_limit: Duration,
}

impl Protocols {
    fn new(settings: Settings) -> Self {
        let Settings { header_limit, .. } = settings;
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(header_limit).max_headers(MOST_HEADERS).max_buf_size(BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(LARGEST_HEADER)
            .max_concurrent_streams(MOST_STREAMS)
            .max_send_buf_size(BUFFER)
            .keep_alive_interval(header_limit);
        Self { http1, http2, header_limit }
    }
}

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) worker: Arc<Worker>,
    pub(crate) client: Client,
}

async fn serve(accepted: Accepted, protocols: Arc<Protocols>, endings: Endings) {
    let Accepted { stream, peer, counted } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let is_http2 = tokio::select! {
        is_http2 = speaks_http2(&stream, protocols.header_limit) => is_http2,
        () = endings.clone().reached(Ending::Due) => return,
    };
    let worker: &Worker = &counted.0;
    let session = Arc::new(Session { worker: Arc::clone(&counted.0), client: proxy::client_of(peer) });
    let service = service_fn(move |request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, std::convert::Infallible>(proxy::answer(&session, request).await) }
    });
    let io = Socket::new(stream);
    // Errors of client connections are everyday life: clients go away.
    match is_http2 {
        Some(true) => {
            let connection = protocols.http2.serve_connection(io, service);
            // HTTP/2 tells its clients which request is the last, so nothing is lost by doing it at once.
            let _ = finish(connection, http2::Connection::graceful_shutdown, worker, endings, Ending::Begun).await;
        }
        Some(false) => {
            let connection = protocols.http1.serve_connection(io, service).with_upgrades();
            let shutdown = http1::UpgradeableConnection::graceful_shutdown;
            let _ = finish(connection, shutdown, worker, endings, Ending::Due).await;
        }
        None => {}
    }
}

/// Drives a connection to its end, and asks it to end when `step` is reached.
async fn finish<C: Future>(
    connection: C,
    shutdown: impl FnOnce(Pin<&mut C>),
    worker: &Worker,
    endings: Endings,
    step: Ending,
) -> C::Output {
    let mut connection = std::pin::pin!(connection);
    let mut reached = std::pin::pin!(endings.reached(step));
    let mut listening = false;
    let output = std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        // The message is there to wake this task, whose waker is always the same one: polling for it once is enough,
        // and doing it for every request would cost something.
        let now = worker.has_reached(step) || (!listening && reached.as_mut().poll(cx).is_ready());
        listening = true;
        if now { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    match output {
        Some(output) => output,
        None => {
            shutdown(connection.as_mut());
            connection.await
        }
    }
}

/// Looks at the first bytes without taking them; none for a connection that ends before, or says nothing.
async fn speaks_http2(stream: &TcpStream, limit: Duration) -> Option<bool> {
    let looking = async {
        let mut bytes = [0_u8; PREFACE.len()];
        loop {
            let seen = match stream.peek(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => &bytes[..count],
            };
            if seen == PREFACE {
                return Some(true);
            }
            if !PREFACE.starts_with(seen) {
                return Some(false);
            }
            tokio::time::sleep(PREFACE_PAUSE).await;
        }
    };
    tokio::time::timeout(limit, looking).await.ok().flatten()
}
