//! One request: from the client to a backend, and the response back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::backend::{Backend, Lease};
use crate::body::{BackendBody, RequestBody, ResponseBody};
use crate::connect::connect;
use crate::headers::{Client, prepare_request, prepare_response, wanted_upgrade};
use crate::pool::Connection;
use crate::router::{NoBackend, Tried};
use crate::routing::NoRoute;
use crate::tunnel;
use crate::worker::{Ending, Session, Worker};

/// How long a request waits for a backend that accepts it: long enough for a process to be started again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Between two rounds over the backends of a route: short at first, because most gaps are.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How often a request is sent again whose connection was closed while it waited for an answer. A request that
/// makes processes crash must not do so for five seconds.
const MOST_REPLAYS: u32 = 2;

/// Answers one request. Never fails: what goes wrong becomes a response.
pub(crate) async fn answer(session: &Session, request: Request<Incoming>) -> Response<ResponseBody> {
    let Session { worker, client } = session;
    let version = request.version();
    let mut response = match Target::of(&request) {
        Ok(target) => forward(worker, client, target, request).await,
        Err(Refusal::Method) => text(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not supported here.\n"),
        Err(Refusal::Host) => text(StatusCode::BAD_REQUEST, "The request has no valid host name.\n"),
    };
    if worker.has_reached(Ending::Begun)
        && version < Version::HTTP_2
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a request is for.
struct Target {
    /// As the client sent it; none in an HTTP/1.0 request without one.
    host: Option<HeaderValue>,
    /// In the form that an origin server gets.
    uri: Uri,
}

/// Why a request goes nowhere.
enum Refusal {
    Method,
    Host,
}

impl Target {
    fn of(request: &Request<Incoming>) -> Result<Self, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Method);
        }
        let mut fields = request.headers().get_all(header::HOST).iter();
        let (field, more) = (fields.next(), fields.next());
        if more.is_some() {
            return Err(Refusal::Host);
        }
        // The authority of an absolute target (any version) and of HTTP/2 comes before the field (RFC 9112, 3.2.2).
        let authority = request.uri().authority();
        let host = match authority {
            Some(authority) => Some(HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Host)?),
            None => field.cloned(),
        };
        match &host {
            Some(host) if !is_host(host.as_bytes()) => return Err(Refusal::Host),
            None if request.version() > Version::HTTP_10 => return Err(Refusal::Host),
            _ => {}
        }
        let uri = match authority {
            None => request.uri().clone(),
            Some(_) => request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")).into(),
        };
        Ok(Self { host, uri })
    }

    fn host(&self) -> &str {
        self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default()
    }
}

/// Letters, digits and what names, IP addresses and ports are made of.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]%~!$&'()*+,;=".contains(byte))
}

/// Sends a request to one backend after the other until one answers.
///
/// What seldom happens is boxed: the size of this future is moved for every request.
async fn forward(
    worker: &Arc<Worker>,
    client: &Client,
    target: Target,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (mut outgoing, client_upgrade) = prepare(client, &target, request);
    // A request without a body that changes nothing when it is done twice can be sent again.
    let copy = (matches!(outgoing.body(), RequestBody::Empty) && outgoing.method().is_idempotent())
        .then(|| (outgoing.method().clone(), outgoing.headers().clone()));

    let mut patience = Patience::default();
    let mut tried = Tried::default();
    let mut replays = 0;
    loop {
        let lease = match worker.router.acquire(worker.number, target.host(), target.uri.path(), &tried) {
            Ok(lease) => lease,
            Err(NoBackend::NoRoute(why)) => return no_route(why),
            Err(NoBackend::AllTried) => {
                if !Box::pin(patience.pause()).await {
                    return unable(worker, &target);
                }
                tried.clear();
                continue;
            }
        };
        let backend = lease.backend();
        let fresh_only = replays > 0;
        let (mut connection, reused) = match (!fresh_only).then(|| backend.pools.take(worker.number, copy.is_none())) {
            Some(Some(connection)) => (connection, true),
            _ => match Box::pin(connect(backend, patience.left())).await {
                Ok(connection) => (connection, false),
                Err(error) => {
                    refused(worker, backend, &error);
                    tried.add(backend);
                    continue;
                }
            },
        };
        match connection.sender.try_send_request(outgoing).await {
            Ok(response) => {
                if backend.accepted() {
                    worker.log.line(&format!("{}: answers again", name(backend)));
                }
                return respond(worker, response, connection, lease, client_upgrade);
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let error = error.into_error();
                backend.pools.clear(worker.number);
                if !reused {
                    refused(worker, backend, &error);
                    tried.add(backend);
                }
                outgoing = match (unsent, &copy) {
                    // Not a byte of it was written.
                    (Some(request), _) => request,
                    (None, Some(copy)) if replays < MOST_REPLAYS && is_closed_connection(&error) => {
                        replays += 1;
                        again(copy, &target.uri)
                    }
                    (None, _) => {
                        worker.log.line(&format!(
                            "{}: no answer to a request: {}",
                            name(backend),
                            jecloud_model::chain(&error)
                        ));
                        return text(StatusCode::BAD_GATEWAY, "The app closed the connection without an answer.\n");
                    }
                };
            }
        }
    }
}

/// The request as the backend gets it, and the client's side of a switch of protocols, where it asks for one.
fn prepare(
    client: &Client,
    target: &Target,
    mut request: Request<Incoming>,
) -> (Request<RequestBody>, Option<OnUpgrade>) {
    let wanted = if request.version() == Version::HTTP_11 { wanted_upgrade(request.headers()) } else { None };
    let client_upgrade = wanted.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    prepare_request(&mut parts.headers, client, target.host.clone(), wanted);
    let body = if body.is_end_stream() { RequestBody::Empty } else { RequestBody::Streaming(body) };
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = target.uri.clone();
    *outgoing.headers_mut() = parts.headers;
    (outgoing, client_upgrade)
}

fn again((method, headers): &(Method, HeaderMap), uri: &Uri) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    request
}

/// The response as the client gets it.
fn respond(
    worker: &Arc<Worker>,
    mut response: Response<Incoming>,
    connection: Connection,
    lease: Lease,
    client_upgrade: Option<OnUpgrade>,
) -> Response<ResponseBody> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switching {
        let Some(client_upgrade) = client_upgrade else {
            worker.log.line(&format!("{}: switched protocols without being asked", name(lease.backend())));
            return text(StatusCode::BAD_GATEWAY, "The app gave an answer that nobody had asked for.\n");
        };
        tunnel::start(client_upgrade, hyper::upgrade::on(&mut response), lease);
        prepare_response(response.headers_mut(), true);
        return response.map(|_| ResponseBody::Own(Full::default()));
    }
    prepare_response(response.headers_mut(), false);
    response.map(|body| ResponseBody::Backend(BackendBody::new(body, connection, lease)))
}

/// How long a request has been waiting for a backend that accepts it.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
    pauses: u32,
}

impl Patience {
    /// Waits a little; false when it has waited long enough.
    async fn pause(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            return false;
        }
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.pauses)).min(LONGEST_PAUSE);
        self.pauses += 1;
        tokio::time::sleep(pause).await;
        true
    }

    /// How long connecting may take. Never nothing: every round tries.
    fn left(&self) -> Duration {
        let passed = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        PATIENCE.saturating_sub(passed).max(LONGEST_PAUSE)
    }
}

fn refused(worker: &Worker, backend: &Backend, error: &(dyn std::error::Error + 'static)) {
    if backend.refused() {
        worker.log.line(&format!("{}: does not accept requests: {}", name(backend), jecloud_model::chain(error)));
    }
}

fn name(backend: &Backend) -> String {
    let key = &backend.key;
    format!("{}/{} {} at {}", key.app, key.environment, key.id, key.address)
}

/// Whether the connection ended, rather than that something was said on it that is not HTTP.
fn is_closed_connection(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>())
}

fn no_route(why: NoRoute) -> Response<ResponseBody> {
    // Which names there are is nobody's business who does not know one.
    text(
        StatusCode::NOT_FOUND,
        match why {
            NoRoute::Host => "No app answers for this host name.\n",
            NoRoute::Path => "Nothing in this app answers for this path.\n",
        },
    )
}

fn unable(worker: &Worker, target: &Target) -> Response<ResponseBody> {
    let refused = worker.router.has_backend(worker.number, target.host(), target.uri.path());
    let (status, words) = if refused {
        (StatusCode::BAD_GATEWAY, "The app does not accept requests at the moment.\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "The app is not running at the moment.\n")
    };
    let mut response = text(status, words);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn text(status: StatusCode, words: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Own(Full::new(Bytes::from_static(words.as_bytes()))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The client's address as a header value.
pub(crate) fn client_of(peer: SocketAddr) -> Client {
    // A dual-stack listener shows IPv4 clients as ::ffff:192.0.2.1.
    let address = peer.ip().to_canonical().to_string();
    Client {
        address: HeaderValue::from_str(&address).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        scheme: HeaderValue::from_static("http"),
    }
}
