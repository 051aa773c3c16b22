//! The promise: whatever happens to backends and tables, no request fails.

mod support;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Frame;
use support::app::{App, channel_body};
use support::http::{Client, echo, get, get_once, open_socket, post, text};
use support::{Front, ReservedPort, Root, wait_for, within};

/// Clients that ask all the time, and stop at the first answer that is not as it should be.
struct Load {
    done: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Two clients that keep their connection, one that opens a new one for each request, one that posts.
    fn start(front: &Front) -> Self {
        let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for kind in ["keep", "keep", "new", "post"] {
            let (done, answers, address) = (Arc::clone(&done), Arc::clone(&answers), front.address);
            tasks.push(tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !done.load(Ordering::Relaxed) {
                    let answer = match kind {
                        "keep" => client.get("/").await.unwrap(),
                        "new" => get_once(address, "/").await.unwrap(),
                        _ => {
                            let response = client.send(post("/count", "some words")).await.unwrap();
                            (response.status().as_u16(), text(response.into_body()).await.unwrap())
                        }
                    };
                    assert_eq!(answer.0, 200, "{kind}: {answer:?}");
                    if kind == "post" {
                        assert!(answer.1.ends_with(" 10"), "{answer:?}");
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Self { done, answers, tasks }
    }

    /// Waits for more answers.
    async fn go_on(&self, more: u64) {
        let wanted = self.answers.load(Ordering::Relaxed) + more;
        wait_for("answers", async || {
            self.answers.load(Ordering::Relaxed) >= wanted || self.tasks.iter().any(|task| task.is_finished())
        })
        .await;
    }

    /// Fails where a client met a failure.
    async fn finish(self) {
        self.done.store(true, Ordering::Relaxed);
        for task in self.tasks {
            within("the end of a client", task).await.unwrap();
        }
    }
}

// Fails without: `retired` in `Router::replace` (in-flight counts of the slow requests are lost), keeping connections
// in use when a pool is closed (the slow ones are cut), the wait for the reload's answer in `client::reload`.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_swapped_under_load() {
    const SWAPS: u64 = 50;
    let root = Root::new();
    let apps = [App::start("one").await, App::start("two").await];
    root.route("shop", &[], 1, &[apps[0].address]);
    let front = Front::start(&root).await;

    // What takes as long as all the swaps together: a response and an upload that go on by one piece per swap, and
    // a WebSocket. All of them begin at app one.
    let mut slow = Client::connect(front.address).await;
    let mut slow_response = slow.send(get(&format!("/gated?{}", SWAPS + 1))).await.unwrap().into_body();
    let (upload, body) = channel_body();
    let address = front.address;
    let uploading = tokio::spawn(async move {
        let request = Request::post("/count").header("host", "shop.example").body(body).unwrap();
        let mut client = Client::connect(address).await;
        text(client.send(request).await.unwrap().into_body()).await.unwrap()
    });
    upload.send(Frame::data(Bytes::from_static(b"0123456789"))).unwrap();
    wait_for("the upload's beginning", async || apps[0].uploaded() == 10).await;
    let mut socket = open_socket(front.address).await;
    let load = Load::start(&front);

    for swap in 1..=SWAPS {
        let (serving, release) = (&apps[usize::try_from(swap % 2).unwrap()], swap + 1);
        root.route("shop", &[], release, &[serving.address]);
        let reloaded = root.reload().await;
        assert_eq!(reloaded.problems, Vec::<String>::new());
        assert!(reloaded.serving[0].release.0 == release);
        // New requests go to the new one, over old connections and new ones.
        assert_eq!(slow_and_new(&front).await, [serving.name.as_str(); 2]);
        apps[0].open_gate(swap);
        let chunk = within("a chunk", slow_response.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(chunk, format!("chunk {swap}\n"));
        let before = apps[0].uploaded();
        upload.send(Frame::data(Bytes::from_static(b"0123456789"))).unwrap();
        wait_for("the upload", async || apps[0].uploaded() >= before + 10).await;
        echo(&mut socket, &format!("message {swap}")).await;
        let mut fresh = open_socket(front.address).await;
        echo(&mut fresh, "hello").await;
        load.go_on(8).await;
    }
    // The three slow ones, at the backend of the first table.
    let first = root.status().await.into_iter().find(|status| status.id.to_string() == "web.1@1").unwrap();
    assert!(!first.routed && first.in_flight == 3, "{first:?}");
    apps[0].open_gate(SWAPS + 1);
    assert!(within("the last chunk", slow_response.frame()).await.unwrap().is_ok());
    assert!(within("the end of the slow response", slow_response.frame()).await.is_none());
    drop(upload);
    assert_eq!(within("the upload", uploading).await.unwrap(), format!("one {}", (SWAPS + 1) * 10));
    drop(socket);
    load.finish().await;
    root.wait_until_idle().await;
}

async fn slow_and_new(front: &Front) -> [String; 2] {
    let mut client = Client::connect(front.address).await;
    let first = client.get("/").await.unwrap().1;
    assert_eq!(client.get("/").await.unwrap().1, first);
    [first, get_once(front.address, "/").await.unwrap().1]
}

// A deployment as the roll-forward makes it: start beside, switch, wait for zero, end the old one at once.
//
// Fails without: `Lease` in the body (the count reaches zero before the response has passed and the app is ended under
// it), taking other backends than those of the new table.
#[tokio::test(flavor = "multi_thread")]
async fn backends_are_replaced_and_ended_under_load() {
    const DEPLOYMENTS: u64 = 25;
    let root = Root::new();
    let mut serving = App::start("0").await;
    root.route("shop", &[], 1, &[serving.address]);
    let front = Front::start(&root).await;
    let load = Load::start(&front);
    for deployment in 1..=DEPLOYMENTS {
        load.go_on(20).await;
        let next = App::start(&deployment.to_string()).await;
        root.route("shop", &[], deployment + 1, &[next.address]);
        root.reload().await;
        wait_for("the old backend to be idle", async || root.in_flight(serving.address).await == 0).await;
        wait_for("the pool of the old backend to be empty", async || serving.open_connections() == 0).await;
        std::mem::replace(&mut serving, next).kill().await;
    }
    load.finish().await;
    root.wait_until_idle().await;
}

/// When the process was killed.
struct Death {
    /// At this moment.
    now: bool,
    last: Option<Instant>,
}

impl Death {
    /// Whether it may have hit a request that began then.
    fn excuses(&self, begin: Instant) -> bool {
        self.now || self.last.is_some_and(|last| begin <= last)
    }
}

struct Process(Child);

impl Process {
    #[expect(clippy::disallowed_methods, reason = "a process that the test kills")]
    fn start(port: &ReservedPort) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_front-test-app"));
        Self(command.arg(port.address.to_string()).stdin(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

// Fails without: the rounds in `forward` (502 at the first refusal), the replay of what was sent and not answered
// (502 for those in flight at the kill).
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_killed_and_started_again() {
    const KILLS: usize = 5;
    let root = Root::new();
    let port = ReservedPort::new();
    root.route("shop", &[], 1, &[port.address]);
    let front = Front::start(&root).await;
    let mut process = Process::start(&port);

    let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let death = Arc::new(std::sync::Mutex::new(Death { now: false, last: None }));
    let mut tasks = Vec::new();
    for kind in ["keep", "keep", "keep", "new", "post"] {
        let (done, answers, address) = (Arc::clone(&done), Arc::clone(&answers), front.address);
        let death = Arc::clone(&death);
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            while !done.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let status = match kind {
                    "keep" => client.get("/").await.unwrap().0,
                    "new" => get_once(address, "/").await.unwrap().0,
                    _ => client.send(post("/", "some words")).await.unwrap().status().as_u16(),
                };
                // A post that the process may have read before it was killed cannot be sent again; one that
                // began after the kill has no excuse.
                let excused = kind == "post" && death.lock().unwrap().excuses(begin);
                assert!(status == 200 || excused, "{kind}: {status}");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..KILLS {
        let wanted = answers.load(Ordering::Relaxed) + 200;
        wait_for("answers", async || {
            answers.load(Ordering::Relaxed) >= wanted || tasks.iter().any(|t| t.is_finished())
        })
        .await;
        let refusals = root.log().matches("does not accept requests").count();
        death.lock().unwrap().now = true;
        process.kill();
        *death.lock().unwrap() = Death { now: false, last: Some(Instant::now()) };
        // Everybody waits now.
        wait_for("a refusal", async || root.log().matches("does not accept requests").count() > refusals).await;
        wait_for("requests that wait", async || get_in_flight_total(&root).await == 0).await;
        process = Process::start(&port);
    }
    let wanted = answers.load(Ordering::Relaxed) + 200;
    wait_for("answers", async || answers.load(Ordering::Relaxed) >= wanted || tasks.iter().any(|t| t.is_finished()))
        .await;
    done.store(true, Ordering::Relaxed);
    for task in tasks {
        within("the end of a client", task).await.unwrap();
    }
    root.wait_until_idle().await;
}

async fn get_in_flight_total(root: &Root) -> u64 {
    root.status().await.iter().map(|status| status.in_flight).sum()
}

// The race between the end of a connection and the next request is in `pool.rs`; this is the wire.
//
// Fails without: `is_ready` in `Pools::take` together with using the request again that hyper gives back unsent.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_the_app_closed_is_not_used() {
    let root = Root::new();
    let port = ReservedPort::new();
    root.route("shop", &[], 1, &[port.address]);
    let front = Front::start(&root).await;
    let mut client = Client::connect(front.address).await;
    for round in 0..200 {
        let app = App::start_at("app", port.address).await;
        let response = client.send(post("/count", "some words")).await.unwrap();
        assert_eq!(response.status(), 200, "round {round}");
        assert_eq!(text(response.into_body()).await.unwrap(), "app 10");
        // The next post comes at the same moment as the end of the connection.
        app.kill().await;
    }
}

// Fails without: asking the next backend after a refusal (502), telling the first refusal from the others (50 lines).
#[tokio::test(flavor = "multi_thread")]
async fn of_two_backends_one_refuses() {
    let root = Root::new();
    let port = ReservedPort::new();
    let app = App::start("able").await;
    root.route("shop", &[], 1, &[port.address, app.address]);
    let front = Front::start(&root).await;
    let begin = Instant::now();
    for _ in 0..50 {
        let mut client = Client::connect(front.address).await;
        let response = client.send(post("/count", "some words")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(text(response.into_body()).await.unwrap(), "able 10");
    }
    assert!(begin.elapsed() < std::time::Duration::from_secs(4), "{:?}", begin.elapsed());
    let log = root.log();
    assert_eq!(log.matches("does not accept requests").count(), 1, "{log}");
}

// Fails without: the end of `Patience` (the client waits for ever), `unable`'s distinction.
#[tokio::test(flavor = "multi_thread")]
async fn patience_ends() {
    let root = Root::new();
    let port = ReservedPort::new();
    root.routes("shop", &[], 1, &[("/", &[port.address]), ("/none", &[])]);
    let front = Front::start(&root).await;
    let begin = Instant::now();
    let (refused, none) = tokio::join!(get_once(front.address, "/"), get_once(front.address, "/none"));
    assert_eq!(refused.unwrap(), (502, "The app does not accept requests at the moment.\n".to_owned()));
    assert_eq!(none.unwrap(), (503, "The app is not running at the moment.\n".to_owned()));
    let waited = begin.elapsed().as_secs_f32();
    assert!((5.0..9.0).contains(&waited), "{waited}");
    root.wait_until_idle().await;
}
