//! An app in this process: a real HTTP/1.1 server whose answers the test steers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// All values of a field.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

#[derive(Debug, Default)]
struct Events {
    seen: Vec<Seen>,
    connections: usize,
    open_connections: usize,
    uploaded: u64,
    /// Requests whose handling was given up because the connection ended.
    abandoned: usize,
}

/// The app. Stops, with all its connections, when it is dropped.
pub struct App {
    pub name: String,
    pub address: SocketAddr,
    events: Arc<Mutex<Events>>,
    gate: watch::Sender<u64>,
    stop: Option<watch::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl App {
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(name: &str, address: SocketAddr) -> Self {
        // A process that another test is just starting holds a copy of every socket for an instant.
        let mut listener = None;
        super::wait_for("the port", async || {
            listener = TcpListener::bind(address).await.ok();
            listener.is_some()
        })
        .await;
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let events = Arc::new(Mutex::new(Events::default()));
        let (gate, opened) = watch::channel(0);
        let (stop, stopped) = watch::channel(());
        let shared = Arc::new(Shared { name: name.to_owned(), events: Arc::clone(&events), gate: opened });
        let task = tokio::spawn(accept(listener, shared, stopped));
        Self { name: name.to_owned(), address, events, gate, stop: Some(stop), task }
    }

    /// Lets `/gated` and `/held` go on up to here.
    pub fn open_gate(&self, to: u64) {
        self.gate.send_replace(to);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.events.lock().unwrap().seen.clone()
    }

    /// The only request so far.
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.events.lock().unwrap().connections
    }

    pub fn open_connections(&self) -> usize {
        self.events.lock().unwrap().open_connections
    }

    /// Bytes of all `/count` bodies so far.
    pub fn uploaded(&self) -> u64 {
        self.events.lock().unwrap().uploaded
    }

    pub fn abandoned(&self) -> usize {
        self.events.lock().unwrap().abandoned
    }

    /// Ends at once, as a killed process does: the port is closed and every connection is cut.
    pub async fn kill(mut self) {
        self.stop.take();
        self.task.abort();
        super::wait_for("the end of the app's connections", async || {
            self.task.is_finished() && self.open_connections() == 0
        })
        .await;
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    name: String,
    events: Arc<Mutex<Events>>,
    gate: watch::Receiver<u64>,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stopped: watch::Receiver<()>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let open = Open::new(&shared);
        let (shared, mut stopped) = (Arc::clone(&shared), stopped.clone());
        tokio::spawn(async move {
            let _open = open;
            let on_request = service_fn(move |request| answer(Arc::clone(&shared), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), on_request)
                .with_upgrades();
            tokio::select! {
                _ = connection => {}
                _ = stopped.changed() => {}
            }
        });
    }
}

struct Open(Arc<Mutex<Events>>);

impl Open {
    fn new(shared: &Shared) -> Self {
        let mut events = shared.events.lock().unwrap();
        events.connections += 1;
        events.open_connections += 1;
        Self(Arc::clone(&shared.events))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().unwrap().open_connections -= 1;
    }
}

/// Counts a request as abandoned unless it was finished.
struct Abandon(Option<Arc<Mutex<Events>>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(events) = self.0.take() {
            events.lock().unwrap().abandoned += 1;
        }
    }
}

async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    shared.events.lock().unwrap().seen.push(Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
    });
    let path = request.uri().path().to_owned();
    let mut gate = shared.gate.clone();
    Ok(match path.as_str() {
        // One chunk per step of the gate, `?N` of them.
        "/gated" => {
            let chunks: u64 = request.uri().query().unwrap().parse().unwrap();
            let abandon = Abandon(Some(Arc::clone(&shared.events)));
            let (sender, body) = channel_body();
            tokio::spawn(async move {
                let mut abandon = abandon;
                for chunk in 1..=chunks {
                    tokio::select! {
                        opened = gate.wait_for(|open| *open >= chunk) => if opened.is_err() { return },
                        () = sender.closed() => return,
                    }
                    if sender.send(Frame::data(Bytes::from(format!("chunk {chunk}\n")))).is_err() {
                        return;
                    }
                }
                abandon.0.take();
            });
            Response::new(body)
        }
        // No answer before the gate is at 1.
        "/held" => {
            let mut abandon = Abandon(Some(Arc::clone(&shared.events)));
            let _ = gate.wait_for(|open| *open >= 1).await;
            abandon.0.take();
            full(&shared.name)
        }
        "/count" => {
            let mut length = 0;
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                if let Some(data) = frame.data_ref() {
                    length += data.len() as u64;
                    shared.events.lock().unwrap().uploaded += data.len() as u64;
                }
            }
            full(&format!("{} {length}", shared.name))
        }
        "/socket" => socket(&mut request),
        "/trailers" => {
            let trailers = request.into_body().collect().await.unwrap().trailers().cloned();
            let (sender, body) = channel_body();
            let sum = trailers.and_then(|fields| fields.get("x-sum").cloned());
            let mut answer = HeaderMap::new();
            answer.insert("x-sum", sum.unwrap_or(HeaderValue::from_static("none")));
            sender.send(Frame::data(Bytes::from_static(b"data"))).unwrap();
            sender.send(Frame::trailers(answer)).unwrap();
            let mut response = Response::new(body);
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum"));
            response
        }
        "/204" => status(StatusCode::NO_CONTENT),
        "/304" => {
            let mut response = status(StatusCode::NOT_MODIFIED);
            response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"x\""));
            response
        }
        "/hops" => {
            let mut response = full(&shared.name);
            for (name, value) in
                [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=9"), ("x-powered-by", "tests")]
            {
                response.headers_mut().append(name, HeaderValue::from_static(value));
            }
            response
        }
        "/length" => full(&"x".repeat(request.uri().query().unwrap().parse().unwrap())),
        _ => full(&shared.name),
    })
}

fn full(text: &str) -> Answer {
    Response::new(Full::from(text.to_owned()).boxed())
}

fn status(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = status;
    response
}

/// Echoes messages until the other side closes.
fn socket(request: &mut Request<Incoming>) -> Answer {
    let key = request.headers().get("sec-websocket-key").cloned();
    let Some(key) = key else { return status(StatusCode::BAD_REQUEST) };
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_text() || socket.send(message).await.is_err() {
                break;
            }
        }
        let _ = socket.close(None).await;
    });
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", &accept)] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A body that is written while it is sent.
pub fn channel_body() -> (mpsc::UnboundedSender<Frame<Bytes>>, BoxBody<Bytes, Infallible>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, ChannelBody(receiver).boxed())
}

struct ChannelBody(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
