//! Servers that are reached by SSH: how long until a bare one serves, and what a redeployment costs.
//!
//! The servers are machines made of namespaces on this one: what they read is this machine's system, so that Node.js is
//! there already, and all of them share its cores.

#![expect(clippy::disallowed_methods, reason = "writes a configuration and moves files for the peers")]

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jecloud_testkit::Machines;

use super::Bench;
use super::http::Place;
use super::machine::HelloNode;
use super::process::{command, time, wait_for, watched};
use super::statistics::{median, median_ratio, median_seconds};
use super::table::{Row, megabytes, time as in_words};

/// Servers in all.
const SERVERS: usize = 4;
/// Bare servers that are made to serve, one after the other.
const FRESH: usize = 3;
/// Rounds of redeployments that count, after one that does not.
const ROUNDS: usize = 5;

/// From a bare server to a served app, in seconds.
const FRESH_GOAL: f64 = 60.0;
/// Redeployment to one server, in seconds.
const ONE_GOAL: f64 = 3.0;
/// Redeployment to four servers, as a multiple of that to one.
const FOUR_GOAL: f64 = 1.5;

/// An app, and a `JECLOUD_HOME`, for some of the servers.
struct Project {
    jecloud: PathBuf,
    home: PathBuf,
    app: HelloNode,
    hosts: Vec<String>,
}

impl Project {
    fn new(bench: &Bench, name: &str, key: &Path, hosts: &[String]) -> Result<Self> {
        let home = bench.scratch.directory(&format!("{name}-home"))?;
        let app = HelloNode::copy(bench, name)?;
        let listed: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
        let config = format!(
            "app = \"{name}\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [{}]\n",
            key.display(),
            listed.join(", ")
        );
        std::fs::write(app.directory.join("jecloud.toml"), config).context("cannot write jecloud.toml")?;
        Ok(Self { jecloud: bench.artifacts.jecloud.clone(), home, app, hosts: hosts.to_vec() })
    }

    fn deploy(&self) -> Command {
        let mut deploy = command(&self.jecloud);
        deploy.args(["deploy", "-y"]).arg(&self.app.directory);
        deploy.env("JECLOUD_HOME", &self.home).env("NO_COLOR", "1").current_dir(&self.home);
        deploy
    }

    /// Waits until all of its servers say this.
    fn serves(&self, greeting: &str) -> Result<()> {
        for host in &self.hosts {
            let address: SocketAddr = format!("{host}:80").parse().context("an address")?;
            let place = Place { address, host: host.clone() };
            wait_for("the new version", || Ok(place.get().filter(|answer| answer.contains(greeting))))?;
        }
        Ok(())
    }
}

/// Bare servers, against `scp` of JeCloud's own binary, which is most of what has to be done there; redeployments, against
/// `rsync` of the same change and the start of a process by `ssh`.
///
/// # Errors
///
/// Where this is not done by root, or a deployment fails.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut network = Machines::new().context("only root can make machines of namespaces")?;
    let mut rows = vec![fresh(bench, &mut network)?];
    rows.extend(redeployments(bench, &mut network)?);
    Ok(rows)
}

fn fresh(bench: &Bench, network: &mut Machines) -> Result<Row> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for number in 0..FRESH {
        bench.check_interrupted()?;
        let host = network.start();
        let project = Project::new(bench, &format!("fresh-{number}"), &network.key(), std::slice::from_ref(&host))?;
        let start = Instant::now();
        told_with_times(&mut project.deploy(), start)?;
        project.serves("Hello from")?;
        ours.push(start.elapsed());
        // With its own protocol: the servers have no SFTP.
        let mut scp = command("scp");
        scp.arg("-O")
            .args(OPTIONS)
            .arg("-i")
            .arg(network.key())
            .arg(&project.jecloud)
            .arg(format!("root@{host}:/root/jecloud"));
        peer.push(time(&mut scp)?);
    }
    let seconds = median_seconds(&ours);
    Ok(Row {
        measure: "bare server (with Node.js) until it serves".to_owned(),
        ours: in_words(seconds),
        peer: format!("{}, scp of the binary", in_words(median_seconds(&peer))),
        ratio: format!("{:.2} × as long", median_ratio(&ours, &peer, |time| time.as_secs_f64())),
        goal: format!("≤ {FRESH_GOAL} s"),
        met: Some(seconds <= FRESH_GOAL),
    })
}

/// Runs a command and shows each line of what it says with its time: where the time goes.
fn told_with_times(command: &mut Command, start: Instant) -> Result<()> {
    let (output, input) = std::io::pipe().context("cannot make a pipe")?;
    command.stdout(input.try_clone().context("cannot share a pipe")?).stderr(input);
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // It holds the end to write to, as long as it is there.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in std::io::BufReader::new(output).lines() {
        eprintln!("  {:>7.3} s  {}", start.elapsed().as_secs_f64(), line.context("what it says")?);
    }
    let status = child.wait().context("cannot wait for jecloud")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// What one round of redeployments took.
struct Round {
    one: Duration,
    four: Duration,
    peer: Duration,
    bytes: f64,
    peer_bytes: f64,
    memory: f64,
}

fn redeployments(bench: &Bench, network: &mut Machines) -> Result<Vec<Row>> {
    let hosts: Vec<String> = (0..SERVERS).map(|_| network.start()).collect();
    let one = Project::new(bench, "one-server", &network.key(), &[network.start()])?;
    let four = Project::new(bench, "four-servers", &network.key(), &hosts)?;
    let by_hand = ByHand { host: network.start(), key: network.key() };
    let mut rounds = Vec::new();
    for number in 0..=ROUNDS {
        bench.check_interrupted()?;
        let greeting = one.app.greet(number)?;
        let before = network.bytes(&one.hosts[0]);
        let start = Instant::now();
        time(&mut one.deploy())?;
        one.serves(&greeting)?;
        let took = start.elapsed();
        let bytes = network.bytes(&one.hosts[0]) - before;
        let greeting = four.app.greet(number)?;
        let start = Instant::now();
        let (_, memory) = watched("jecloud deploy", &mut four.deploy())?;
        four.serves(&greeting)?;
        let took_four = start.elapsed();
        let before = network.bytes(&by_hand.host);
        let peer = by_hand.redeploy(&one.app.directory)?;
        let peer_bytes = network.bytes(&by_hand.host) - before;
        rounds.push(Round {
            one: took,
            four: took_four,
            peer,
            bytes: bytes as f64,
            peer_bytes: peer_bytes as f64,
            memory,
        });
    }
    // The first round sets everything up.
    Ok(rows(&rounds[1..]))
}

fn rows(rounds: &[Round]) -> Vec<Row> {
    let times = |which: fn(&Round) -> Duration| rounds.iter().map(which).collect::<Vec<_>>();
    let (one, four, peer) = (times(|round| round.one), times(|round| round.four), times(|round| round.peer));
    let one_seconds = median_seconds(&one);
    let to_four = median_ratio(&four, &one, |time| time.as_secs_f64());
    let bytes = median(rounds.iter().map(|round| round.bytes));
    let peer_bytes = median(rounds.iter().map(|round| round.peer_bytes));
    vec![
        Row {
            measure: "redeploy by SSH, changed code, one server".to_owned(),
            ours: in_words(one_seconds),
            peer: format!("{}, rsync and a start by ssh", in_words(median_seconds(&peer))),
            ratio: format!("{:.2} × as long", median_ratio(&one, &peer, |time| time.as_secs_f64())),
            goal: format!("≤ {ONE_GOAL} s"),
            met: Some(one_seconds <= ONE_GOAL),
        },
        Row {
            measure: format!("redeploy by SSH, changed code, {SERVERS} servers"),
            ours: in_words(median_seconds(&four)),
            peer: format!("{}, one server", in_words(one_seconds)),
            ratio: format!("{to_four:.2} × as long"),
            goal: format!("≤ {FOUR_GOAL} ×"),
            met: Some(to_four <= FOUR_GOAL),
        },
        Row {
            measure: "the same, bytes on the wire, one server".to_owned(),
            ours: format!("{:.1} kB", bytes / 1e3),
            peer: format!("{:.1} kB, rsync and a start by ssh", peer_bytes / 1e3),
            ratio: format!("{:.2} × as many", bytes / peer_bytes),
            goal: String::new(),
            met: None,
        },
        Row {
            measure: format!("the same, memory of the command at its peak, {SERVERS} servers"),
            ours: megabytes(median(rounds.iter().map(|round| round.memory))),
            peer: String::new(),
            ratio: String::new(),
            goal: String::new(),
            met: None,
        },
    ]
}

/// For `ssh` and those that use it: machines that are made anew have keys that nobody knows.
const OPTIONS: [&str; 6] =
    ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"];

/// What a person does without JeCloud.
struct ByHand {
    host: String,
    key: PathBuf,
}

impl ByHand {
    /// Copies a directory there, checks that a new process answers, and says how long that took. It ends again: the
    /// next one needs its port.
    fn redeploy(&self, directory: &Path) -> Result<Duration> {
        const START: &str = "cd /root/app && PORT=8000 exec timeout 60 bash -c 'node server.js >/dev/null & node=$!; \
                             until exec 3<>/dev/tcp/127.0.0.1/8000; do kill -0 $node || exit 1; done 2>/dev/null; \
                             kill $node'";
        let key = self.key.display();
        let remote_shell = format!("ssh {} -i {key}", OPTIONS.join(" "));
        let start = Instant::now();
        let mut rsync = command("rsync");
        rsync.args(["-az", "-e", &remote_shell]).arg(format!("{}/", directory.display()));
        time(rsync.arg(format!("root@{}:/root/app/", self.host)))?;
        let mut ssh = command("ssh");
        ssh.args(OPTIONS).arg("-i").arg(&self.key).arg(format!("root@{}", self.host));
        time(ssh.arg(START))?;
        Ok(start.elapsed())
    }
}
