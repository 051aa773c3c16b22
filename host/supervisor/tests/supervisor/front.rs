//! The front is kept running, and whoever connects is never refused.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use jecloud_launch::Signal;
use jecloud_supervisor::{addresses, client};

use crate::support::{Server, kill, lives, sh, soon, until, wait_for};

/// The front's answer: its number. Whoever is refused fails the test.
#[track_caller]
fn ask(address: SocketAddr) -> u32 {
    let stream = TcpStream::connect(address).expect("nobody is refused");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line) {
        Ok(count) if count > 0 => line.trim().parse().expect("a number"),
        // A connection that was accepted and not answered by a front that was killed; the next one is.
        _ => ask(address),
    }
}

#[track_caller]
fn address(server: &Server) -> SocketAddr {
    wait_for("an address", || addresses(&server.root).first().copied())
}

fn front_holder(server: &Server) -> Option<u32> {
    jecloud_disk::lock::holder(&server.root.pid_file("front")).expect("readable").filter(|pid| *pid > 1)
}

fn document(server: &Server) -> PathBuf {
    server.root.sys().join("front.json")
}

#[test]
fn a_killed_front_is_replaced_and_nobody_is_refused() {
    let server = Server::new("export JECLOUD_TEST_FRONT=1");
    server.begin();
    let address = address(&server);
    assert!((8080..=8180).contains(&address.port()) && address.ip().is_loopback());
    let first = ask(address);
    kill(first, Signal::KILL);
    // Fails where the process manager does not keep the sockets open.
    let second = ask(address);
    assert_ne!(second, first);
    // Both families, where there are two.
    for address in addresses(&server.root) {
        assert_eq!(ask(address), second);
    }
    until("what it says is in its log", || {
        fs::read_to_string(server.root.system_log("front"))
            .is_ok_and(|log| log.contains(&format!("front {second} listens")))
    });
    client::shutdown(&server.root, soon()).expect("everything ends");
    assert!(!lives(second));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn both_come_back_whichever_is_killed() {
    let server = Server::new("export JECLOUD_TEST_FRONT=1");
    server.want(&[sh("web.1", "exec sleep 1000")]);
    let address = address(&server);
    let front = ask(address);
    let web = server.pid("web.1");
    for _ in 0..2 {
        let supervisor = server.kill_supervisor();
        assert_eq!(ask(address), front);
        // Nobody calls `ensure_running` here: the front starts the next one.
        until("there is another", || server.supervisor().is_some_and(|pid| pid != supervisor));
        assert_eq!((server.pid("web.1"), ask(address)), (web, front));
        assert_eq!(front_holder(&server), Some(front));
    }
    // The process manager that was started by the front has the front's sockets: fails where `revive` does not hand
    // them over (with `listeners::of_process` taken out, which does the same where it is allowed).
    kill(front, Signal::KILL);
    let second = ask(address);
    assert_ne!(second, front);
    // And so on: the new front watches, too.
    let supervisor = server.kill_supervisor();
    until("there is another", || server.supervisor().is_some_and(|pid| pid != supervisor));
    assert_eq!((server.pid("web.1"), ask(address)), (web, second));
}

#[test]
fn a_front_that_runs_is_not_started_twice() {
    let server = Server::new("export JECLOUD_TEST_FRONT=1 JECLOUD_TEST_NO_REVIVE=1");
    server.begin();
    let address = address(&server);
    let front = ask(address);
    server.kill_supervisor();
    server.begin();
    assert_eq!((ask(address), front_holder(&server)), (front, Some(front)));
    until("it is found", || server.journal().contains(&format!("the front is process {front}, started by an earlier")));
    // Its end is seen.
    kill(front, Signal::KILL);
    let second = wait_for("another front", || {
        let line = TcpStream::connect(address).ok().and_then(|stream| {
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).ok().map(|_| line)
        })?;
        line.trim().parse::<u32>().ok()
    });
    assert_ne!(second, front);
}

#[test]
fn the_port_stays_the_same_unless_it_is_taken() {
    let server = Server::new("export JECLOUD_TEST_FRONT=1");
    server.begin();
    let first = address(&server);
    ask(first);
    client::shutdown(&server.root, soon()).expect("everything ends");
    server.begin();
    until("it listens", || TcpStream::connect(first).is_ok());
    assert_eq!(address(&server), first, "fails where the port is not remembered and another test took 8080");
    client::shutdown(&server.root, soon()).expect("everything ends");

    let _taken = TcpListener::bind(first).expect("free");
    let before = fs::read_to_string(document(&server)).expect("readable");
    server.begin();
    until("another address is recorded", || fs::read_to_string(document(&server)).is_ok_and(|text| text != before));
    let second = address(&server);
    assert_ne!(second.port(), first.port());
    assert_eq!(Some(ask(second)), front_holder(&server));
}

#[test]
fn the_front_listens_where_it_is_told_to() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let server = Server::new(&format!("export JECLOUD_TEST_FRONT=1 JECLOUD_TEST_LISTEN={free}"));
    server.begin();
    assert_eq!(address(&server), free);
    ask(free);
    assert_eq!(addresses(&server.root), [free]);
}

#[test]
fn a_front_that_listens_elsewhere_is_moved() {
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (one, other) = (free(), free());
    let server = Server::new("export JECLOUD_TEST_FRONT=1; . \"${0%/*}/listen\"");
    let tell = |address| {
        fs::write(server.root.path().join("listen"), format!("export JECLOUD_TEST_LISTEN={address}\n"))
            .expect("written");
    };
    tell(one);
    server.begin();
    let first = ask(wait_for("an address", || addresses(&server.root).first().copied()));
    assert_eq!(addresses(&server.root), [one]);
    tell(other);
    server.kill_supervisor();
    // Whoever starts the next one, this command or the front with its sockets: fails without `is_wished`.
    server.begin();
    until("it has moved", || TcpStream::connect(other).is_ok());
    assert_ne!(ask(other), first);
    assert_eq!(addresses(&server.root), [other]);
}

#[test]
fn routes_keep_it_and_without_anything_the_front_ends_too() {
    let server = Server::new("export JECLOUD_TEST_FRONT=1 JECLOUD_TEST_IDLE=300 JECLOUD_TEST_TICK=200");
    let routes = |routes: &str| {
        let place = server.place();
        fs::create_dir_all(place.path()).expect("made");
        let text = format!(
            r#"{{"format":1,"app":"shop","environment":"production","release":1,"hosts":[],"routes":[{routes}]}}"#
        );
        fs::create_dir_all(place.route_table().parent().expect("a directory")).expect("made");
        fs::write(place.route_table(), text).expect("written");
    };
    routes(r#"{"path_prefix":"/","backends":[]}"#);
    server.begin();
    let supervisor = server.supervisor().expect("it runs");
    let front = ask(address(&server));
    // It is not asked anything, which would count as work: five looks of the roll-forward take a second, in which it
    // would have left.
    let ticks = || fs::read_to_string(server.root.path().join("ticks")).unwrap_or_default();
    until("five looks", || ticks().lines().count() >= 5);
    assert_eq!(server.supervisor(), Some(supervisor), "fails where routes do not count");
    routes("");
    client::reconcile(&server.root, soon()).expect("an answer");
    until("it has left", || server.supervisor().is_none());
    assert!(!lives(front));
}

#[test]
fn the_rollforward_looks_again_and_again_and_never_twice_at_once() {
    let server = Server::new("export JECLOUD_TEST_TICK=200");
    let ticks = || fs::read_to_string(server.root.path().join("ticks")).unwrap_or_default();
    let wait = server.root.path().join("tick-must-wait");
    server.begin();
    until("three looks", || ticks().lines().count() >= 3);
    fs::write(&wait, "").expect("written");
    // One hangs now, for several intervals.
    let running = server.root.path().join("tick-is-running");
    let before = wait_for("one that hangs", || {
        let count = ticks().lines().count();
        std::thread::park_timeout(Duration::from_millis(700));
        (running.exists() && ticks().lines().count() == count).then_some(count)
    });
    fs::remove_file(&wait).expect("removed");
    until("it goes on", || ticks().lines().count() > before);
    // Fails without the look at the one that runs.
    assert!(!ticks().contains("a second one"), "{}", ticks());
    until("what it says is in the log", || server.journal().contains("rollforward: the roll-forward says something"));
}
