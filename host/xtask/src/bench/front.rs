//! The front against other reverse proxies, under the same load and before the same upstream.

#![expect(clippy::disallowed_methods, reason = "writes the configuration files of the proxies")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Bench;
use super::http::{Place, free_port};
use super::process::{Running, command, wait_for};
use super::statistics::{median, median_ratio};
use super::table::{Row, time as in_words};
use super::wrk::{self, Load};

/// Rounds of load that count.
const ROUNDS: usize = 5;
/// How long each proxy is loaded in a round.
const ROUND: Duration = Duration::from_secs(4);
/// How long each is loaded before the first round.
const WARM_UP: Duration = Duration::from_secs(2);

/// Requests per second, to nginx's.
const NGINX_GOAL: f64 = 0.9;
/// Requests per second, to Caddy's.
const CADDY_GOAL: f64 = 1.5;

/// Bytes of the upstream's answer.
const BODY_BYTES: usize = 1000;

/// A proxy, and what came of loading it.
struct Proxy {
    place: Place,
    _process: Running,
    loads: Vec<Load>,
}

impl Proxy {
    fn new(name: &str, port: u16, mut process: Running) -> Result<Self> {
        let place = Place::port(port);
        wait_for(name, || {
            process.check_running()?;
            let answer = place.get();
            Ok(answer.filter(|answer| answer.starts_with("HTTP/1.1 200 ") && answer.contains(&body())))
        })?;
        Ok(Self { place, _process: process, loads: Vec::new() })
    }

    fn requests_per_second(&self) -> Vec<f64> {
        self.loads.iter().map(|load| load.requests_per_second).collect()
    }

    fn p99(&self) -> f64 {
        median(self.loads.iter().map(|load| load.p99.as_secs_f64()))
    }
}

/// Requests per second and the 99th percentile of the latency, in alternating rounds.
///
/// # Errors
///
/// When a proxy does not start, or a request fails.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.scratch.directory("front")?;
    let upstream_port = free_port()?;
    let _upstream =
        Proxy::new("the upstream", upstream_port, start_nginx(&directory, "upstream", &upstream(upstream_port))?)?;
    let port = free_port()?;
    let nginx = Proxy::new("nginx", port, start_nginx(&directory, "nginx", &nginx_proxy(port, upstream_port))?)?;
    let port = free_port()?;
    let file = directory.join("Caddyfile");
    write(&file, &caddyfile(port, upstream_port))?;
    let caddy = Proxy::new("Caddy", port, Running::start("caddy", &mut caddy(&directory, &file))?)?;
    let ours = start_front(bench, &directory, upstream_port)?;

    let mut proxies = [ours, nginx, caddy];
    for proxy in &proxies {
        wrk::load(&proxy.place, WARM_UP)?;
    }
    for round in 0..ROUNDS {
        for turn in 0..proxies.len() {
            bench.check_interrupted()?;
            // Another one begins each round.
            let proxy = &mut proxies[(round + turn) % 3];
            let load = wrk::load(&proxy.place, ROUND)?;
            proxy.loads.push(load);
        }
    }
    let [ours, nginx, caddy] = &proxies;
    let compare = |peer: &Proxy, name: &str, goal: f64| {
        let ratio = median_ratio(&ours.requests_per_second(), &peer.requests_per_second(), |number| number);
        Row {
            measure: format!("front, requests/s, {}", wrk::description()),
            ours: format!("{:.0}", median(ours.requests_per_second())),
            peer: format!("{:.0}, {name}", median(peer.requests_per_second())),
            ratio: format!("{ratio:.2} ×"),
            goal: format!("≥ {goal} ×"),
            met: Some(ratio >= goal),
        }
    };
    let latency = |peer: &Proxy, name: &str, is_goal: bool| Row {
        measure: format!("front, p99, {}", wrk::description()),
        ours: in_words(ours.p99()),
        peer: format!("{}, {name}", in_words(peer.p99())),
        ratio: format!("{:.2} × as long", ours.p99() / peer.p99()),
        goal: if is_goal { "≤ 1 ×".to_owned() } else { String::new() },
        met: is_goal.then(|| ours.p99() <= peer.p99()),
    };
    Ok(vec![
        compare(nginx, "nginx", NGINX_GOAL),
        compare(caddy, "Caddy", CADDY_GOAL),
        latency(caddy, "Caddy", true),
        latency(nginx, "nginx", false),
    ])
}

/// The front on a socket that it inherits, as by whoever keeps it running.
fn start_front(bench: &Bench, directory: &Path, upstream: u16) -> Result<Proxy> {
    let root = directory.join("server");
    let tables = root.join("sys/routes");
    std::fs::create_dir_all(&tables).with_context(|| format!("cannot make {}", tables.display()))?;
    let routes = serde_json::json!({
        "format": 1,
        "app": "bench",
        "environment": "production",
        "release": 1,
        "hosts": [],
        "routes": [{
            "path_prefix": "/",
            "backends": [{"id": "web.1@1", "address": format!("127.0.0.1:{upstream}")}],
        }],
    });
    write(&tables.join("bench.production.json"), &routes.to_string())?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let port = listener.local_addr().context("a socket has no address")?.port();
    let mut front = command("/bin/sh");
    // The shell moves the socket to where the protocol for handing sockets over wants it.
    front.args(["-c", "exec 3<&0 </dev/null; exec \"$0\" --root \"$1\""]).arg(&bench.artifacts.front).arg(&root);
    front.stdin(Stdio::from(OwnedFd::from(listener))).env("LISTEN_FDS", "1").env_remove("LISTEN_PID");
    Proxy::new("the front", port, Running::start("the front", &mut front)?)
}

fn start_nginx(directory: &Path, name: &str, server: &str) -> Result<Running> {
    let directory = directory.join(name);
    std::fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let path = |name: &str| directory.join(name).display().to_string();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {};\n", path(kind)))
        .concat();
    let config = format!(
        "daemon off;\nworker_processes auto;\npid {};\nerror_log {};\nevents {{ worker_connections 1024; }}\n\
         http {{\n{temporary}    access_log off;\n    keepalive_requests 1000000000;\n{server}}}\n",
        path("pid"),
        path("error.log"),
    );
    let file = directory.join("nginx.conf");
    write(&file, &config)?;
    let program = crate::programs::find("nginx").context("there is no nginx")?;
    let mut nginx = command(program);
    nginx.arg("-p").arg(&directory).arg("-e").arg(path("error.log")).arg("-c").arg(&file);
    Running::start(name, &mut nginx)
}

/// Answers everything at once.
fn upstream(port: u16) -> String {
    format!("    server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"{}\"; }} }}\n", body())
}

fn body() -> String {
    "x".repeat(BODY_BYTES)
}

/// As nginx's documentation has it for upstreams that keep connections open.
fn nginx_proxy(port: u16, upstream: u16) -> String {
    format!(
        "    upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}\n    \
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header Host $host; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n"
    )
}

/// Caddy's own defaults, without what listens elsewhere.
pub(super) fn caddyfile(port: u16, upstream: u16) -> String {
    format!(
        "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://127.0.0.1:{port} {{\n\treverse_proxy 127.0.0.1:{upstream}\n}}\n"
    )
}

/// Caddy, which keeps its files below a directory.
pub(super) fn caddy(directory: &Path, file: &Path) -> Command {
    let mut caddy = command("caddy");
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        caddy.env(variable, directory);
    }
    caddy
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
