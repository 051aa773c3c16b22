//! Upgrades of JeCloud itself under load: what runs gives its place to what is newer, and nobody notices.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jecloud_testkit::{Project, World, eventually, is_alive};

use crate::another::another;
use crate::app::{Kind, server};
use crate::clients::Clients;
use crate::{deployed, files};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(40);

/// Whether a process that JeCloud keeps running is of this binary.
fn is_of(world: &World, who: &str, binary: &Path) -> bool {
    world.pid_of(who).is_some_and(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary))
}

#[track_caller]
fn all_are_of(world: &World, binary: &Path) {
    for who in ["supervisor", "front"] {
        assert!(is_of(world, who, binary), "the {who} is not of {}", binary.display());
    }
}

fn type_as(project: &Project, binary: &Path, args: &[&str]) -> jecloud_testkit::Output {
    project.run(&binary.display().to_string(), args)
}

/// Three newer binaries one after the other, each of which deploys, while clients of every kind are at work. A download
/// and a WebSocket that began before the first of them go on through all of it: the front that they began with finishes
/// them. The processes of what is not deployed anew stay.
///
/// Fails when the new front does not get the sockets, when it begins before the old one has let go or the old one ends
/// without finishing, and without the old front's answer about what is in flight (the app's processes are ended under the
/// download).
#[test]
fn newer_binaries_take_over_and_nobody_notices() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "");
    // Another app of the same machine, which nobody deploys.
    let quiet = world.project_called(
        "quiet",
        &[("jecloud.toml", "app = \"quiet\"\n"), ("package.json", "{}"), ("server.js", &server(1, Kind::Good))],
    );
    quiet.jecloud(&["deploy"]).ok();
    let untouched = quiet.pid("web.1");
    all_are_of(&world, world.jecloud_path());
    let clients = Clients::begin(&project.url());
    let mut long = Long::begin(&quiet.url());
    let mut fronts = vec![world.pid_of("front").expect("it runs")];
    for number in 2..5 {
        let newer = another(&world, &format!("jecloud-{number}"), None);
        project.write("server.js", &server(number, Kind::Good));
        type_as(&project, &newer, &["deploy"]).ok();
        all_are_of(&world, &newer);
        assert_eq!(project.get().1, format!("version {number}"));
        long.goes_on();
        fronts.push(world.pid_of("front").expect("it runs"));
    }
    assert!(is_alive(fronts[0]), "the first front finishes what it has");
    clients.end(500);
    assert_eq!(quiet.pid("web.1"), untouched, "what was not deployed was not touched");
    long.end();
    // Nothing is left of the fronts that were replaced.
    eventually(LONG, "the fronts that were replaced have ended", || {
        fronts[..3].iter().all(|pid| !is_alive(*pid)).then_some(())
    });
    let left = std::fs::read_dir(world.server().join("sys/run")).expect("a directory");
    let left: Vec<_> = left
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("front-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A newer version is not replaced by an older one, neither by a deployment nor by `fwd`; equal binaries change nothing;
/// and the newer one that only finishes what there is renews what runs, too.
///
/// Fails without the comparison of versions, and when binaries are told apart by anything but their contents.
#[test]
fn nothing_goes_back_to_an_older_version_by_itself() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "");
    let pids = || (world.pid_of("supervisor"), world.pid_of("front"), project.pid("web.1"));
    let before = pids();
    let copy = world.directory().join("copy");
    std::fs::copy(world.jecloud_path(), &copy).expect("copied");
    type_as(&project, &copy, &["fwd"]).ok();
    project.jecloud(&["deploy"]).ok();
    assert_eq!(pids(), before, "it is the same JeCloud");

    let newer = another(&world, "jecloud-new", Some("0.2.0"));
    type_as(&project, &newer, &["version"]).ok().says("jecloud 0.2.0");
    let forward = type_as(&project, &newer, &["fwd"]).ok();
    forward.says("What runs of JeCloud on this machine was replaced by this version.").says("Nothing is left to do.");
    type_as(&project, &newer, &["fwd"]).ok().does_not_say("replaced");
    all_are_of(&world, &newer);
    let after = pids();
    assert_eq!(after.2, before.2, "the app was not touched");

    project.write("server.js", &server(2, Kind::Good));
    let refused =
        project.jecloud(&["deploy"]).code(3).says("JeCloud 0.2.0 runs here, and this is the older JeCloud 0.1.0");
    assert!(refused.took < Duration::from_secs(20), "it is no use to wait: {:?}", refused.took);
    project.jecloud(&["fwd"]).code(3).says("Install JeCloud 0.2.0 or newer");
    assert_eq!((pids(), project.get().1), (after, "version 1".to_owned()));
    // What was wished for is recorded, and the newer one does it.
    type_as(&project, &newer, &["fwd"]).ok();
    assert_eq!(project.get().1, "version 2");
}

/// A newer binary whose front does not begin the first three times: the old one serves until one does.
///
/// Fails when the old front is asked to leave before the new one can begin, and when there is no next attempt.
#[test]
fn a_front_that_cannot_begin_costs_nothing() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let counter = world.directory().join("points").display().to_string();
    let fault = (1..4).map(|hit| format!("front.replace.ask#{hit}=error:EMFILE")).collect::<Vec<_>>().join(",");
    // From the beginning: the new front has the environment of the process manager before.
    let armed = [("JECLOUD_FAULT", fault.as_str()), ("JECLOUD_FAULT_COUNTER", counter.as_str())];
    let project = world.project_called("load", &files().each_ref().map(|(name, text)| (*name, text.as_str())));
    project.jecloud_with(&armed, &["deploy"]).ok();
    let clients = Clients::begin(&project.url());
    let newer = another(&world, "jecloud-new", None);
    type_as(&project, &newer, &["fwd"]).ok();
    all_are_of(&world, &newer);
    let hits = std::fs::read_to_string(&counter).expect("points were hit");
    assert_eq!(hits.lines().filter(|line| *line == "front.replace.ask").count(), 4);
    clients.end(0);
}

/// SIGKILL at every point of the exchange, in whichever process comes to it: the app's processes are never touched, no
/// connection is refused, and the next command finishes what was begun.
///
/// Fails when the process manager lets go of the front's sockets before another one has them, when one that finds a front
/// of an older binary leaves it there, and when what is killed half-way keeps the next one from beginning.
#[test]
fn killed_at_every_point_of_the_exchange() {
    const POINTS: [&str; 8] = [
        "renew.ask",
        "renew.asked",
        "supervisor.renew.leave",
        "supervisor.renew.released",
        "supervisor.renew.started",
        "front.replace.ask",
        "front.replace.asked",
        "front.replace.begun",
    ];
    for point in POINTS {
        let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
        let counter = world.directory().join("points").display().to_string();
        // From the beginning: whoever leaves has to have the fault in its environment as well as whoever comes. It is hit
        // once, in all processes together.
        let fault = format!("{point}#1=crash");
        let armed = [("JECLOUD_FAULT", fault.as_str()), ("JECLOUD_FAULT_COUNTER", counter.as_str())];
        let project = world.project_called("load", &files().each_ref().map(|(name, text)| (*name, text.as_str())));
        project.jecloud_with(&armed, &["deploy"]).ok();
        let (app, url) = (project.pid("web.1"), project.url());
        let newer = another(&world, "newer", None);
        let first = project.run_with(&armed, &newer.display().to_string(), &["fwd"]);
        let hit = std::fs::read_to_string(&counter).unwrap_or_default();
        assert!(hit.lines().any(|line| line == point), "{point} is not on the way: {}", first.said());
        let answer = jecloud_testkit::get(&url).unwrap_or_else(|error| panic!("{point}: {error}"));
        assert_eq!(answer.body, "version 1", "{point}");
        type_as(&project, &newer, &["fwd"]).ok();
        for who in ["supervisor", "front"] {
            assert!(is_of(&world, who, &newer), "{point}: the {who} is an older one");
        }
        assert_eq!(project.pid("web.1"), app, "{point}: the app was not touched");
    }
}

/// A download and a WebSocket that last.
struct Long {
    download: BufReader<TcpStream>,
    socket: TcpStream,
    lines: u64,
}

impl Long {
    fn begin(url: &str) -> Self {
        let authority = url.trim_start_matches("http://");
        let port = authority.rsplit_once(':').map_or("80", |(_, port)| port);
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connected");
            stream.set_read_timeout(Some(LONG)).expect("set");
            stream
        };
        let (download, mut socket) = (connect(), connect());
        write!(&download, "GET /endless HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").expect("sent");
        write!(
            socket,
            "GET /socket HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .expect("sent");
        let mut long = Self { download: BufReader::new(download), socket, lines: 0 };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            long.socket.read_exact(&mut byte).expect("the head of the answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        long.goes_on();
        long
    }

    /// Both get more than they had.
    #[track_caller]
    fn goes_on(&mut self) {
        // What was written meanwhile comes first.
        let wanted = Instant::now() + Duration::from_millis(300);
        while Instant::now() < wanted {
            let mut line = String::new();
            assert_ne!(
                self.download.read_line(&mut line).expect("more of the download"),
                0,
                "the download was cut off"
            );
            self.lines += u64::from(line.starts_with("line "));
        }
        self.socket.write_all(b"\x81\x84\x01\x02\x03\x04qkmc").expect("sent");
        let mut echo = [0; 10];
        self.socket.read_exact(&mut echo).expect("an echo");
    }

    fn end(self) {
        assert!(self.lines > 20, "{} lines", self.lines);
    }
}
