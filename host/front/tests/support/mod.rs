//! What the tests of the front share: a front, backends, tables, clients. All of it real, over real sockets.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part of this")]
#![expect(clippy::disallowed_methods, reason = "tests make the files that the front reads")]

pub mod app;
pub mod http;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jecloud_front::{Settings, client};
use jecloud_model::ids::ReleaseNumber;
use jecloud_model::layout::ServerRoot;
use jecloud_model::routes::{Backend, BackendStatus, Route, RouteTable};
use tokio::sync::oneshot;

/// No wait takes longer than this.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A server's directory.
pub struct Root {
    directory: tempfile::TempDir,
    pub root: ServerRoot,
}

impl Root {
    pub fn new() -> Self {
        Self::below("")
    }

    /// In a directory deeper than the temporary one.
    pub fn below(path: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join(path);
        std::fs::create_dir_all(&root).unwrap();
        Self { directory, root: ServerRoot::new(root) }
    }

    /// Writes a table with one route for everything. Replaced by rename, as the roll-forward does it.
    pub fn route(&self, app: &str, hosts: &[&str], release: u64, backends: &[SocketAddr]) {
        self.routes(app, hosts, release, &[("/", backends)]);
    }

    pub fn routes(&self, app: &str, hosts: &[&str], release: u64, routes: &[(&str, &[SocketAddr])]) {
        let table = RouteTable {
            format: 1,
            app: app.parse().unwrap(),
            environment: "production".parse().unwrap(),
            release: ReleaseNumber(release),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            routes: routes
                .iter()
                .map(|(prefix, addresses)| Route {
                    path_prefix: (*prefix).to_owned(),
                    backends: addresses
                        .iter()
                        .zip(1_u32..)
                        .map(|(address, index)| Backend {
                            id: format!("web.{index}@{release}").parse().unwrap(),
                            address: *address,
                        })
                        .collect(),
                })
                .collect(),
        };
        self.write_table(app, &serde_json::to_string(&table).unwrap());
    }

    pub fn write_table(&self, app: &str, text: &str) {
        let path = self.table(app);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    pub fn table(&self, app: &str) -> PathBuf {
        self.root.environment(&app.parse().unwrap(), &"production".parse().unwrap()).route_table()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.system_log("front")).unwrap_or_default()
    }

    pub async fn reload(&self) -> client::Reloaded {
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || client::reload(&root, Instant::now() + LIMIT).unwrap()).await.unwrap()
    }

    pub async fn status(&self) -> Vec<BackendStatus> {
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || client::status(&root, Instant::now() + LIMIT).unwrap()).await.unwrap()
    }

    /// Requests in flight to a backend.
    pub async fn in_flight(&self, address: SocketAddr) -> u64 {
        self.status().await.iter().filter(|status| status.address == address).map(|status| status.in_flight).sum()
    }

    /// Waits until nothing is in flight to any backend.
    pub async fn wait_until_idle(&self) {
        wait_for("nothing in flight", async || self.status().await.iter().all(|status| status.in_flight == 0)).await;
    }
}

/// A front in a thread of this process.
pub struct Front {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Starts one and waits until it answers on its control socket.
    pub async fn start(root: &Root) -> Self {
        Self::start_with(root, Settings::default()).await
    }

    pub async fn start_with(root: &Root, settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server_root = root.root.clone();
        let thread = std::thread::spawn(move || {
            jecloud_front::serve(
                &server_root,
                vec![listener],
                settings,
                async {
                    let _ = stopped.await;
                },
                || {},
            )
            .unwrap();
        });
        let server_root = root.root.clone();
        wait_for("the front", async || client::status(&server_root, Instant::now() + LIMIT).is_ok()).await;
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Tells it to stop, as SIGTERM does.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub async fn wait_for_end(&mut self) {
        wait_for("the front's end", async || self.has_ended()).await;
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Waits for a condition; fails the test after [`LIMIT`].
pub async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < end, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bounds a future that must end by itself.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took longer than {LIMIT:?}"),
    }
}

/// A port that nobody else gets and nobody listens on: connections to it are refused until somebody binds it with
/// SO_REUSEADDR and listens.
pub struct ReservedPort {
    _socket: std::os::fd::OwnedFd,
    pub address: SocketAddr,
}

impl ReservedPort {
    pub fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = getsockname(&socket).unwrap().try_into().unwrap();
        Self { _socket: socket, address }
    }
}
