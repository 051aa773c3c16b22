//! What passes through the front, and how.

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Frame;
use hyper::{Request, Version};
use jecloud_front::Settings;
use support::app::{App, channel_body};
use support::http::{Client, connect_http2, echo, get, get_once, open_socket, raw, text};
use support::{Front, Root, wait_for, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn one_app() -> (Root, App, Front) {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    let front = Front::start(&root).await;
    (root, app, front)
}

// Fails without: `prepare_request` (the client's claims arrive), `prepare_response` (hop-by-hop fields come back).
#[tokio::test]
async fn fields_on_the_wire() {
    let (_root, app, front) = one_app().await;
    let answer = raw(
        front.address,
        b"GET /hops?a=%20b HTTP/1.1\r\nHost: Shop.Example:8080\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
          Forwarded: for=10.0.0.1\r\nCookie: a=b\r\nConnection: close, x-drop\r\nX-Drop: 1\r\n\r\n",
    )
    .await
    .to_lowercase();
    let seen = app.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/hops?a=%20b"));
    for (name, expected) in [
        ("host", &["Shop.Example:8080"][..]),
        ("x-forwarded-host", &["Shop.Example:8080"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("cookie", &["a=b"]),
        ("forwarded", &[]),
        ("x-drop", &[]),
        ("connection", &[]),
    ] {
        assert_eq!(seen.values(name), expected, "{name}");
    }
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    assert!(answer.contains("x-powered-by: tests\r\n"), "{answer}");
    assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
}

// Fails without: `Target::of` taking the authority (Host is that of the field), the origin form of the target.
#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let (_root, app, front) = one_app().await;
    raw(front.address, b"GET http://shop.example/x?y HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
        .await;
    raw(front.address, b"GET http://shop.example HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n").await;
    let seen = app.seen();
    assert_eq!(seen[0].target, "/x?y");
    assert_eq!(seen[1].target, "/");
    for request in seen {
        assert_eq!(request.values("host"), ["shop.example"]);
        assert_eq!(request.values("x-forwarded-host"), ["shop.example"]);
    }
}

/// The status line's number, or 0 where the connection just ended.
async fn status_of(front: &Front, request: &[u8]) -> u16 {
    raw(front.address, request).await.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

// Fails without: the checks of `Target::of` (200), hyper's limits in `Protocols` (200 for the large ones). The app must
// not see any of these.
#[tokio::test]
async fn what_is_not_a_proper_request_is_refused() {
    let (_root, app, front) = one_app().await;
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: 1\r\n".repeat(200));
    let large_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "x".repeat(200_000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000));
    for (request, expected) in [
        (&b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\nConnection: close\r\n\r\n", 400),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (many_fields.as_bytes(), 431),
        (large_field.as_bytes(), 431),
        (long_target.as_bytes(), 431),
    ] {
        let status = status_of(&front, request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
        // Too long a target has a status of its own, where hyper finds it before it counts the whole head.
        assert!(status == expected || (expected == 431 && status == 414), "{shown:?}: {status}");
    }
    assert_eq!(app.seen().len(), 0, "{:?}", app.seen());
}

// A body that is framed in two ways is read in one (the chunks), and passed on with that framing alone, so that the
// app cannot see another request in it. Fails without: hyper's parser between the two (fields passed on as they are).
#[tokio::test]
async fn a_request_cannot_be_smuggled() {
    let (_root, app, front) = one_app().await;
    for fields in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let request = format!(
            "POST /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
            smuggled.len()
        );
        let answer = raw(front.address, request.as_bytes()).await;
        assert!(answer.ends_with(&format!("app {}", smuggled.len())), "{answer}");
    }
    for request in app.seen() {
        assert_eq!(request.target, "/count");
        assert_eq!(request.values("content-length"), Vec::<String>::new());
        assert_eq!(request.values("transfer-encoding"), ["chunked"]);
    }
}

// Fails without: keeping content-length of a HEAD's answer, hyper's knowledge of bodiless answers.
#[tokio::test]
async fn answers_without_a_body() {
    let (root, _app, front) = one_app().await;
    let mut client = Client::connect(front.address).await;
    let head = Request::head("/length?1234").header("host", "a").body(Empty::new().boxed()).unwrap();
    let response = client.send(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "1234");
    assert_eq!(text(response.into_body()).await.unwrap(), "");
    for (path, status) in [("/204", 204), ("/304", 304)] {
        let response = client.send(get(path)).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().contains_key("etag"), status == 304);
        assert!(!response.headers().contains_key("transfer-encoding"));
        assert_eq!(text(response.into_body()).await.unwrap(), "");
    }
    // All over one connection: it is still good.
    assert_eq!(client.get("/").await.unwrap(), (200, "app".to_owned()));
    root.wait_until_idle().await;
}

// Fails without: polling the body only when a backend has taken the request (100 comes at once), hyper's 100.
#[tokio::test]
async fn expect_continue() {
    let (_root, app, front) = one_app().await;
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream
        .write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 25];
    within("100", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut rest = String::new();
    within("the answer", stream.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("app 3"), "{rest}");
    assert_eq!(app.only().values("expect"), Vec::<String>::new());

    // Without a route nobody asks for the body.
    root_without_routes_says_404_at_once().await;
}

async fn root_without_routes_says_404_at_once() {
    let root = Root::new();
    let front = Front::start(&root).await;
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let answer = raw(front.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.ends_with("No app answers for this host name.\n"), "{answer}");
}

// Fails without: `te` and `trailer` passing through `prepare_request`, frames that are not data in the bodies.
#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (_root, _app, front) = one_app().await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let (sender, body) = channel_body();
        sender.send(Frame::data(Bytes::from_static(b"data"))).unwrap();
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("x-sum", "17".parse().unwrap());
        sender.send(Frame::trailers(trailers)).unwrap();
        drop(sender);
        let request = Request::post(format!("http://{}/trailers", front.address))
            .header("host", front.address.to_string())
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .body(body)
            .unwrap();
        let response = if version == Version::HTTP_2 {
            connect_http2(front.address).await.send_request(request).await.unwrap()
        } else {
            Client::connect(front.address).await.send(request).await.unwrap()
        };
        let collected = within("the body", response.into_body().collect()).await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "17", "{version:?}");
        assert_eq!(collected.to_bytes(), "data");
    }
}

// Fails without: passing each frame on as it comes (the client waits for the end, which never comes).
#[tokio::test]
async fn bodies_are_not_buffered() {
    let (root, app, front) = one_app().await;
    let mut client = Client::connect(front.address).await;
    let mut body = client.send(get("/gated?3")).await.unwrap().into_body();
    for chunk in 1..=3 {
        app.open_gate(chunk);
        let data = within("a chunk", body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, format!("chunk {chunk}\n"));
    }
    assert!(within("the end", body.frame()).await.is_none());

    let (sender, upload) = channel_body();
    let request = Request::post("/count").header("host", "a").body(upload).unwrap();
    let answer = tokio::spawn(async move { client.send(request).await.unwrap() });
    for piece in 1..=3 {
        sender.send(Frame::data(Bytes::from_static(b"0123456789"))).unwrap();
        wait_for("a piece", async || app.uploaded() == piece * 10).await;
    }
    drop(sender);
    assert_eq!(text(answer.await.unwrap().into_body()).await.unwrap(), "app 30");
    root.wait_until_idle().await;
}

// 64 MiB in each direction, through a process that keeps a few kilobytes of them. Fails without flow control only
// when memory is looked at; what it proves is that nothing is lost on the way.
#[tokio::test]
async fn large_bodies_arrive_whole() {
    const LENGTH: usize = 64 << 20;
    let (_root, _app, front) = one_app().await;
    let mut client = Client::connect(front.address).await;
    let body = Full::from(vec![b'x'; LENGTH]).boxed();
    let request = Request::put("/count").header("host", "a").body(body).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), format!("app {LENGTH}"));
    let (status, body) = client.get(&format!("/length?{LENGTH}")).await.unwrap();
    assert_eq!((status, body.len()), (200, LENGTH));
}

// Fails without: the end of the lease with the body or the request (the count stays), closing the backend's connection
// (the app goes on working for nobody).
#[tokio::test]
async fn a_client_that_goes_away_ends_its_request() {
    let (root, app, front) = one_app().await;
    // While it waits for the answer.
    let mut waiting = Client::connect(front.address).await;
    let pending = tokio::spawn(async move { waiting.send(get("/held")).await.map(|_| ()) });
    wait_for("the request", async || app.seen().len() == 1).await;
    assert_eq!(root.in_flight(app.address).await, 1);
    pending.abort();
    wait_for("the app to notice", async || app.abandoned() == 1).await;
    // In the middle of the answer.
    let mut reading = Client::connect(front.address).await;
    let mut body = reading.send(get("/gated?3")).await.unwrap().into_body();
    app.open_gate(1);
    within("a chunk", body.frame()).await.unwrap().unwrap();
    assert_eq!(root.in_flight(app.address).await, 1);
    drop((body, reading));
    app.open_gate(2);
    wait_for("the app to notice", async || app.abandoned() == 2).await;
    // In the middle of an upload.
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    wait_for("the upload's beginning", async || app.uploaded() == 3).await;
    assert_eq!(root.in_flight(app.address).await, 1);
    drop(stream);
    root.wait_until_idle().await;
    wait_for("the connections to the app to end", async || app.open_connections() == 0).await;
}

// Fails without: `wanted_upgrade`, `tunnel` (the handshake fails), the lease in the tunnel (0 in flight), the limit for
// a client that does not close (the count stays at 1).
#[tokio::test]
async fn web_sockets_count_until_they_are_closed() {
    let (root, app, front) = one_app().await;
    let mut sockets = Vec::new();
    for number in 1..=3 {
        let mut socket = open_socket(front.address).await;
        echo(&mut socket, &format!("hello {number}")).await;
        echo(&mut socket, &"x".repeat(300_000)).await;
        assert_eq!(root.in_flight(app.address).await, number);
        sockets.push(socket);
    }
    // Closed in good order, by the client's death, and by the app while the client does nothing.
    sockets.pop().unwrap().close(None).await.unwrap();
    wait_for("two left", async || root.in_flight(app.address).await == 2).await;
    drop(sockets.pop());
    wait_for("one left", async || root.in_flight(app.address).await == 1).await;
    use futures_util::SinkExt;
    let mut last = sockets.pop().unwrap();
    last.send(tokio_tungstenite::tungstenite::Message::binary(&b"end"[..])).await.unwrap();
    let closed = within("the app's close", last.next()).await.unwrap().unwrap();
    assert!(closed.is_close(), "{closed:?}");
    root.wait_until_idle().await;
    drop(last);
}

// Fails without: the refusal of 101 in `respond` (the connection is no longer in step), `h2c` in `wanted_upgrade`.
#[tokio::test]
async fn nobody_switches_protocols_unasked() {
    let (root, app, front) = one_app().await;
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let request = format!("GET /socket HTTP/1.1\r\nHost: a\r\n{key}Connection: close\r\n\r\n");
    let answer = raw(front.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = raw(front.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = app.seen();
    assert_eq!(seen[1].values("upgrade"), Vec::<String>::new());
    assert_eq!(seen[1].values("http2-settings"), Vec::<String>::new());
    root.wait_until_idle().await;
}

// Fails without: `speaks_http2` (hyper's HTTP/1.1 parser refuses the preface), joining cookies, `:authority` as Host.
#[tokio::test]
async fn http2_without_tls() {
    let (root, app, front) = one_app().await;
    let mut client = connect_http2(front.address).await;
    let request = |path: &str| {
        Request::get(format!("http://shop.example{path}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Empty::new().boxed())
            .unwrap()
    };
    let response = within("an answer", client.send_request(request("/hops"))).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert!(!response.headers().contains_key("x-hop"));
    assert_eq!(text(response.into_body()).await.unwrap(), "app");
    let seen = app.only();
    assert_eq!(seen.target, "/hops");
    assert_eq!(seen.values("host"), ["shop.example"]);
    assert_eq!(seen.values("cookie"), ["a=1; b=2"]);
    // Many at once, over one connection.
    let mut answers = Vec::new();
    for _ in 0..100 {
        let mut client = client.clone();
        let request = request("/");
        answers.push(tokio::spawn(async move { text(client.send_request(request).await.unwrap().into_body()).await }));
    }
    for answer in answers {
        assert_eq!(within("an answer", answer).await.unwrap().unwrap(), "app");
    }
    // A stream that its client gives up.
    let response = client.send_request(request("/gated?3")).await.unwrap();
    assert_eq!(root.in_flight(app.address).await, 1);
    drop(response);
    root.wait_until_idle().await;
    wait_for("the app to notice", async || app.abandoned() == 1).await;
}

// Fails without: the loop in `speaks_http2` (a request that begins with a lonely P is taken for HTTP/1.1 or cut).
#[tokio::test]
async fn the_first_bytes_may_come_one_by_one() {
    let (_root, app, front) = one_app().await;
    for request in [
        &b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in request {
            stream.write_all(std::slice::from_ref(byte)).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 9];
        within("an answer", stream.read_exact(&mut answer)).await.unwrap();
        // HTTP/2's answer is a SETTINGS frame: type 4, stream 0.
        assert!(answer == *b"HTTP/1.1 " || (answer[3] == 4 && answer[5..] == [0; 4]), "{answer:?}");
    }
    assert_eq!(app.only().method, "PUT");
}

// Fails without: `HTTP/1.0` in `Target::of` (400), the empty Host for the app.
#[tokio::test]
async fn http_1_0() {
    let (_root, app, front) = one_app().await;
    let answer = raw(front.address, b"GET /gated?1 HTTP/1.0\r\n\r\n");
    app.open_gate(1);
    let answer = answer.await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nchunk 1\n"), "{answer}");
    assert_eq!(app.only().values("host"), [""]);
    assert_eq!(app.only().values("x-forwarded-host"), Vec::<String>::new());
}

// Fails without: pools (25 connections), a pool's age limit (the connection is open after three seconds).
#[tokio::test]
async fn connections_to_apps_are_kept_for_a_short_time() {
    let (_root, app, front) = one_app().await;
    let mut client = Client::connect(front.address).await;
    for _ in 0..25 {
        assert_eq!(client.get("/").await.unwrap().0, 200);
    }
    assert_eq!(app.connections(), 1);
    wait_for("the idle connection to be closed", async || app.open_connections() == 0).await;
    assert_eq!(client.get("/").await.unwrap().0, 200);
    assert_eq!(app.connections(), 2);
}

// Fails without: `Host` and `Path` in the router: the pure table is in `routing.rs`, this is the wire.
#[tokio::test]
async fn hosts_and_paths_choose_the_app() {
    let root = Root::new();
    let (shop, api, blog) = (App::start("shop").await, App::start("api").await, App::start("blog").await);
    root.routes("shop", &["shop.example"], 1, &[("/", &[shop.address]), ("/api", &[api.address])]);
    root.routes("blog", &["blog.example"], 1, &[("/posts", &[blog.address])]);
    let front = Front::start(&root).await;
    for (host, path, expected) in [
        ("shop.example", "/", "shop"),
        ("SHOP.example:80", "/api/x", "api"),
        ("shop.example", "/apis", "shop"),
        ("blog.example", "/posts", "blog"),
        ("blog.example", "/", "Nothing in this app answers for this path.\n"),
        ("other.example", "/", "No app answers for this host name.\n"),
    ] {
        let request = Request::get(path).header("host", host).body(Empty::new().boxed()).unwrap();
        let response = Client::connect(front.address).await.send(request).await.unwrap();
        let status = response.status().as_u16();
        let body = text(response.into_body()).await.unwrap();
        assert_eq!(
            (status, body.as_str()),
            (if expected.ends_with('\n') { 404 } else { 200 }, expected),
            "{host} {path}"
        );
    }
    assert_eq!(get_once(front.address, "/").await.unwrap().1, "shop");
}

// Fails without: `header_read_timeout` (the second to fourth connection stay open), the limit in `speaks_http2` (the
// first one).
#[tokio::test]
async fn clients_that_say_nothing_are_closed() {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    let settings = Settings { header_limit: Duration::from_millis(300), ..Settings::default() };
    let front = Front::start_with(&root, settings).await;
    // A response that takes longer than the limit is none of them.
    let mut reading = Client::connect(front.address).await;
    let mut body = reading.send(get("/gated?2")).await.unwrap().into_body();
    let mut silent = Vec::new();
    for beginning in ["", "P", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    for mut stream in silent {
        let mut answer = Vec::new();
        let _ = within("the end of the connection", stream.read_to_end(&mut answer)).await;
    }
    app.open_gate(2);
    for _ in 0..2 {
        assert!(within("a chunk", body.frame()).await.unwrap().is_ok());
    }
    assert!(within("the end", body.frame()).await.is_none());
    root.wait_until_idle().await;
}
