//! What the front is told, and what it says.

#![expect(clippy::disallowed_methods, reason = "tests break the files that the front reads")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jecloud_front::Settings;
use jecloud_front::client::{self, ClientError};
use jecloud_model::ids::ReleaseNumber;
use support::app::App;
use support::http::{Client, get, get_once};
use support::{Front, LIMIT, Root, wait_for};

// Fails without: keeping the last good table (404), the check of whose table it is (blog's requests go to shop's app),
// removing what is gone (200 at the end).
#[tokio::test]
async fn a_broken_table_leaves_the_last_good_one() {
    let root = Root::new();
    let (one, two) = (App::start("one").await, App::start("two").await);
    root.route("shop", &["shop.example"], 1, &[one.address]);
    root.route("blog", &["blog.example"], 1, &[two.address]);
    let good = std::fs::read_to_string(root.table("shop")).unwrap();
    let blog = std::fs::read_to_string(root.table("blog")).unwrap();
    let front = Front::start(&root).await;
    for broken in ["", "{", "[]", &good[..good.len() / 2], &good.replace("127.0.0.1", "localhost"), &blog] {
        root.write_table("shop", broken);
        let reloaded = root.reload().await;
        assert_eq!(reloaded.problems.len(), 1, "{reloaded:?}");
        let path = root.table("shop").display().to_string();
        assert!(
            reloaded.problems[0].starts_with(&format!("{path}: the last good table stays in use: ")),
            "{reloaded:?}"
        );
        assert!(root.log().contains(&reloaded.problems[0]), "{}", root.log());
        assert!(reloaded.serves(&"shop".parse().unwrap(), &"production".parse().unwrap(), ReleaseNumber(1)));
        assert_eq!(get_once(front.address, "/").await.unwrap(), (200, "one".to_owned()));
    }
    // What a newer JeCloud wrote may mean something else. Fails without the look at the format.
    root.write_table("shop", &good.replace("\"format\":1", "\"format\":2").replace(":1}", ":9}"));
    let problems = root.reload().await.problems;
    assert!(problems.len() == 1 && problems[0].ends_with("a newer JeCloud wrote it (format 2)"), "{problems:?}");
    // The other app's table is used all the same, and the broken one when it is mended.
    root.write_table("shop", "{");
    root.route("blog", &["blog.example"], 2, &[one.address]);
    let reloaded = root.reload().await;
    assert!(
        reloaded.serves(&"blog".parse().unwrap(), &"production".parse().unwrap(), ReleaseNumber(2)),
        "{reloaded:?}"
    );
    root.route("shop", &["shop.example"], 3, &[two.address]);
    assert!(root.reload().await.problems.is_empty());
    assert_eq!(get_once(front.address, "/").await.unwrap(), (200, "two".to_owned()));
    std::fs::remove_file(root.table("shop")).unwrap();
    std::fs::remove_file(root.table("blog")).unwrap();
    assert!(root.reload().await.serving.is_empty());
    assert_eq!(get_once(front.address, "/").await.unwrap().0, 404);
    // What is no app does not matter.
    for name in ["notes", "Not An App.production.json", "shop.json", "a.b.c.json", ".shop.production.json"] {
        std::fs::write(root.table("shop").with_file_name(name), "").unwrap();
    }
    assert!(root.reload().await.problems.is_empty());
}

// Fails without: reading the tables before the first connection is accepted (404 for the first requests).
#[tokio::test]
async fn a_broken_table_at_the_start_is_left_out() {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    root.write_table("blog", "{");
    let front = Front::start(&root).await;
    assert_eq!(get_once(front.address, "/").await.unwrap(), (200, "app".to_owned()));
    let log = root.log();
    assert!(log.contains("sys/routes/blog.production.json: it is left out: "), "{log}");
}

// Fails without: /proc/self/fd in `SocketDirectory` (the path is too long to bind), fchmod in `bind` (0755).
#[tokio::test]
async fn the_socket_is_private_and_may_lie_deep() {
    let root = Root::below(&format!("{}/{}", "d".repeat(100), "e".repeat(100)));
    let _front = Front::start(&root).await;
    let socket = root.root.run().join("front.sock");
    assert!(socket.as_os_str().len() > 200);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(root.status().await.is_empty());
}

// Fails without: the lock (two fronts take turns at the socket's name); removing a socket that a killed front left.
#[tokio::test]
async fn there_is_one_front() {
    let root = Root::new();
    std::fs::create_dir_all(root.root.run()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.root.run().join("front.sock")).unwrap());
    let mut first = Front::start(&root).await;
    let second_root = root.root.clone();
    let second = std::thread::spawn(move || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        jecloud_front::serve(&second_root, vec![listener], Settings::default(), std::future::pending(), || {})
    });
    wait_for("the second front to give up", async || second.is_finished()).await;
    let error = second.join().unwrap().unwrap_err();
    assert!(matches!(&error, jecloud_front::Error::Disk(disk) if disk.is_locked()), "{error:?}");
    first.stop();
    first.wait_for_end().await;
    assert!(!root.root.run().join("front.sock").exists());
    let mut third = Front::start(&root).await;
    third.stop();
    third.wait_for_end().await;
}

// Fails without: each command's line, the answer to nonsense, more than one command per connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_json_lines() {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 7, &[app.address]);
    let front = Front::start(&root).await;
    let address = app.address;
    let mut client = Client::connect(front.address).await;
    let held = tokio::spawn(async move { client.send(get("/held")).await.unwrap().status() });
    wait_for("the request", async || root.in_flight(address).await == 1).await;
    let stream = UnixStream::connect(root.root.run().join("front.sock")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let status = format!(
        r#"{{"status":[{{"app":"shop","environment":"production","id":"web.1@7","address":"{address}","routed":true,"in_flight":1}}]}}"#
    );
    let reloaded =
        r#"{"reloaded":{"serving":[{"app":"shop","environment":"production","release":7}],"problems":[]}}"#.to_owned();
    for (question, expected) in [("\"status\"\n", &status), ("\"reload\"\n", &reloaded), ("\"status\"\n", &status)] {
        (&stream).write_all(question.as_bytes()).unwrap();
        assert_eq!(&answers.next().unwrap().unwrap(), expected);
    }
    (&stream).write_all(b"nonsense\n").unwrap();
    let answer = answers.next().unwrap().unwrap();
    assert!(answer.starts_with(r#"{"not-understood":""#), "{answer}");
    app.open_gate(1);
    assert_eq!(held.await.unwrap(), 200);
}

// Fails without: `is_not_running`'s two cases, the deadline in `exchange`.
#[test]
fn a_front_that_does_not_answer() {
    let root = Root::new();
    let ask = || client::status(&root.root, Instant::now() + Duration::from_millis(200));
    // No directory, no socket, nobody behind it.
    assert!(ask().unwrap_err().is_not_running());
    std::fs::create_dir_all(root.root.run()).unwrap();
    assert!(ask().unwrap_err().is_not_running());
    let listener = std::os::unix::net::UnixListener::bind(root.root.run().join("front.sock")).unwrap();
    let begin = Instant::now();
    let error = ask().unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(
        matches!(&error, ClientError::Io { source, .. } if source.kind() == std::io::ErrorKind::TimedOut),
        "{error:?}"
    );
    assert!(!error.is_not_running());
    drop(listener);
    assert!(ask().unwrap_err().is_not_running());
}

// Fails without: the distinction between requests and idle connections (the front waits for ever, or cuts), `close` in
// `answer`, the grace for requests in flight.
#[tokio::test]
async fn stopping_finishes_what_is_in_flight() {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    let mut front = Front::start(&root).await;
    let mut idle = Client::connect(front.address).await;
    idle.get("/").await.unwrap();
    let mut active = Client::connect(front.address).await;
    active.get("/").await.unwrap();
    let mut streaming = Client::connect(front.address).await;
    let body = streaming.send(get("/gated?3")).await.unwrap().into_body();
    let mut waiting = Client::connect(front.address).await;
    let held = tokio::spawn(async move { waiting.send(get("/held")).await.unwrap().status() });
    wait_for("two requests", async || root.in_flight(app.address).await == 2).await;
    let mut socket = support::http::open_socket(front.address).await;
    support::http::echo(&mut socket, "hello").await;

    let server_root = root.root.clone();
    tokio::task::spawn_blocking(move || client::stop(&server_root, Instant::now() + LIMIT).unwrap()).await.unwrap();
    // A connection that is in use is told that it ends, and is not cut under a request.
    wait_for("the announcement of the end", async || {
        let response = active.send(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        let ends = response.headers().get("connection").is_some_and(|value| value == "close");
        support::http::text(response.into_body()).await.unwrap();
        ends
    })
    .await;
    wait_for("the end of the idle connection", async || idle.is_closed()).await;
    assert!(tokio::net::TcpStream::connect(front.address).await.is_err(), "still accepting");
    assert!(!front.has_ended());
    app.open_gate(3);
    assert_eq!(support::http::text(body).await.unwrap(), "chunk 1\nchunk 2\nchunk 3\n");
    assert_eq!(held.await.unwrap(), 200);
    // The WebSocket does not hold it up: nothing tells when that would end by itself.
    front.wait_for_end().await;
    assert!(root.log().contains("stopped"), "{}", root.log());
}

// Fails without: the limit of `grace` in `Worker::run` (the front does not end), its line in the log.
#[tokio::test]
async fn stopping_takes_so_long_and_no_longer() {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    let settings = Settings { grace: Duration::from_millis(100), ..Settings::default() };
    let mut front = Front::start_with(&root, settings).await;
    let mut client = Client::connect(front.address).await;
    let held = tokio::spawn(async move { client.send(get("/held")).await.is_err() });
    wait_for("the request", async || app.seen().len() == 1).await;
    front.stop();
    front.wait_for_end().await;
    assert!(held.await.unwrap());
    assert!(root.log().contains("stopping: 1 connections cut after 100ms"), "{}", root.log());
}
