//! The front as a process: sockets that it inherits, signals.

#![expect(clippy::disallowed_methods, reason = "the process is what is tested")]

mod support;

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use command_fds::{CommandFdExt, FdMapping};
use jecloud_front::client;
use rustix::process::{Pid, Signal};
use support::app::App;
use support::http::{Client, get, get_once, text};
use support::{LIMIT, Root, wait_for, within};

struct Process(Child);

impl Process {
    fn spawn(root: &Root, sockets: &[OwnedFd], count: &str) -> Self {
        Self::spawn_with(root, sockets, count, &[])
    }

    fn spawn_with(root: &Root, sockets: &[OwnedFd], count: &str, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jecloud-front"));
        command.arg("--root").arg(root.root.path()).args(more).env("LISTEN_FDS", count).env_remove("LISTEN_PID");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mappings = sockets
            .iter()
            .zip(3..)
            .map(|(socket, child_fd)| FdMapping { parent_fd: socket.as_fd().try_clone_to_owned().unwrap(), child_fd })
            .collect();
        command.fd_mappings(mappings).unwrap();
        Self(command.spawn().unwrap())
    }

    async fn start(root: &Root, listener: &TcpListener) -> Self {
        let process = Self::spawn(root, &[listener.as_fd().try_clone_to_owned().unwrap()], "1");
        let server_root = root.root.clone();
        wait_for("the front", async || client::status(&server_root, Instant::now() + LIMIT).is_ok()).await;
        process
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    async fn wait_for_end(&mut self) -> Option<i32> {
        wait_for("the end of the process", async || self.0.try_wait().unwrap().is_some()).await;
        self.0.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// Fails without: the inherited listener (refused while no front runs), releasing the lock when stopping begins and the
// linger of idle connections (a keep-alive client is reset), reading the tables before accepting.
#[tokio::test(flavor = "multi_thread")]
async fn the_front_is_replaced_and_nobody_notices() {
    const RESTARTS: usize = 5;
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut process = Process::start(&root, &listener).await;
    let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for keep in [true, true, false] {
        let (done, answers) = (Arc::clone(&done), Arc::clone(&answers));
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            while !done.load(Ordering::Relaxed) {
                // A connection that was announced to end has ended.
                if client.is_closed() || !keep {
                    client = Client::connect(address).await;
                }
                let response = client.send(get("/")).await.unwrap();
                assert_eq!(response.status(), 200);
                let ends = response.headers().get("connection").is_some_and(|value| value == "close");
                assert_eq!(text(response.into_body()).await.unwrap(), "app");
                if ends {
                    client = Client::connect(address).await;
                }
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..RESTARTS {
        let wanted = answers.load(Ordering::Relaxed) + 100;
        wait_for("answers", async || {
            answers.load(Ordering::Relaxed) >= wanted || tasks.iter().any(|t| t.is_finished())
        })
        .await;
        process.signal(Signal::TERM);
        // The next one begins while the old one ends, or after it: both must do.
        assert_eq!(process.wait_for_end().await, Some(0));
        process = Process::start(&root, &listener).await;
    }
    done.store(true, Ordering::Relaxed);
    for task in tasks {
        within("the end of a client", task).await.unwrap();
    }
    // Killed, too, it leaves the socket to the next one.
    process.signal(Signal::KILL);
    process.wait_for_end().await;
    let waiting = tokio::spawn(get_once(address, "/"));
    let _process = Process::start(&root, &listener).await;
    assert_eq!(within("an answer", waiting).await.unwrap().unwrap(), (200, "app".to_owned()));
}

// Fails without: the handler of SIGTERM (the process is gone, the client is cut).
#[tokio::test]
async fn sigterm_finishes_requests_in_flight() {
    let root = Root::new();
    let app = App::start("app").await;
    root.route("shop", &[], 1, &[app.address]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut process = Process::start(&root, &listener).await;
    let mut client = Client::connect(address).await;
    let body = client.send(get("/gated?2")).await.unwrap().into_body();
    app.open_gate(1);
    process.signal(Signal::TERM);
    wait_for("the log", async || root.log().contains("stopping")).await;
    // A second front takes over before the first has ended, because it lets go of the lock.
    let mut second = Process::start(&root, &listener).await;
    assert!(process.0.try_wait().unwrap().is_none());
    assert_eq!(get_once(address, "/").await.unwrap(), (200, "app".to_owned()));
    app.open_gate(2);
    assert_eq!(text(body).await.unwrap(), "chunk 1\nchunk 2\n");
    assert_eq!(process.wait_for_end().await, Some(0));
    second.signal(Signal::INT);
    assert_eq!(second.wait_for_end().await, Some(0));
}

// A front replaces another one under the same sockets: what is in flight through the old one is counted and finished,
// upgraded connections too; a connection that it keeps hears of new tables. Fails without: `step_aside` and `others` (0 in
// flight; the old tables), `retire` (the WebSocket is cut), the wait for `Ending::Due` in `Worker::run`, `leave`.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_replaced_finishes_what_it_has() {
    let root = Root::new();
    let (app, other) = (App::start("app").await, App::start("other").await);
    root.route("shop", &[], 1, &[app.address]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut first = Process::start(&root, &listener).await;
    let mut client = Client::connect(address).await;
    let body = client.send(get("/gated?2")).await.unwrap().into_body();
    let mut socket = support::http::open_socket(address).await;
    support::http::echo(&mut socket, "before").await;
    let mut kept = Client::connect(address).await;
    assert_eq!(kept.get("/").await.unwrap().1, "app");
    assert_eq!(root.in_flight(app.address).await, 2);
    // What a front left behind that was killed while it finished.
    drop(std::os::unix::net::UnixListener::bind(root.root.run().join("front-1.sock")).unwrap());

    let sockets = [listener.as_fd().try_clone_to_owned().unwrap()];
    let second = Process::spawn_with(&root, &sockets, "1", &["--replace"]);
    let pid = root.root.pid_file("front");
    wait_for("the second one", async || {
        std::fs::read_to_string(&pid).is_ok_and(|text| text.trim() == second.0.id().to_string())
    })
    .await;
    wait_for("its answer", async || client::status(&root.root, Instant::now() + LIMIT).is_ok()).await;
    assert_eq!(root.in_flight(app.address).await, 2, "what the first one has in flight counts");
    root.route("shop", &[], 2, &[other.address]);
    root.reload().await;
    assert_eq!(kept.get("/").await.unwrap().1, "other", "also through the first one");
    assert_eq!(get_once(address, "/").await.unwrap(), (200, "other".to_owned()));
    assert!(!root.root.run().join("front-1.sock").exists());

    app.open_gate(2);
    assert_eq!(text(body).await.unwrap(), "chunk 1\nchunk 2\n");
    // Longer than idle connections have.
    let end = Instant::now() + std::time::Duration::from_secs(2);
    while Instant::now() < end {
        support::http::echo(&mut socket, "after").await;
    }
    assert!(first.0.try_wait().unwrap().is_none(), "it waits for the WebSocket");
    drop(socket);
    assert_eq!(first.wait_for_end().await, Some(0));
    assert_eq!(root.in_flight(app.address).await, 0);
    let names = std::fs::read_dir(root.root.run()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["front.sock"]);
}

// Fails without: each check of `inherited` and `take`.
#[tokio::test]
async fn without_good_sockets_it_says_why() {
    let root = Root::new();
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let not_listening = || OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let unix = || OwnedFd::from(std::os::unix::net::UnixListener::bind(root.root.path().join("x.sock")).unwrap());
    for (sockets, count, expected) in [
        (vec![], "0", "LISTEN_FDS is \"0\", not a number from 1 to 64"),
        (vec![listener()], "one", "LISTEN_FDS is \"one\", not a number from 1 to 64"),
        (vec![listener()], "2", "inherited descriptor 4 is not a listening TCP socket"),
        (vec![not_listening()], "1", "inherited descriptor 3 is not a listening TCP socket"),
        (vec![unix()], "1", "inherited descriptor 3 is not a listening TCP socket"),
    ] {
        let mut process = Process::spawn(&root, &sockets, count);
        assert_eq!(process.wait_for_end().await, Some(1), "{count}");
        let mut words = String::new();
        std::io::Read::read_to_string(process.0.stderr.as_mut().unwrap(), &mut words).unwrap();
        assert!(words.contains("the front has nothing to listen on"), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}
