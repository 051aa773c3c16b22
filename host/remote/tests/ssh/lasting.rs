//! Connections that last, connections that die, and connections through other servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jecloud_remote::{HostKeyRule, Jump, RemoteError, Session};
use jecloud_testkit::{Cable, holds_for};

use crate::place::{LONG, Place, impatient};

/// Nobody says a word for five seconds. Fails with an idle time-out of three.
#[test]
fn an_idle_connection_is_kept() {
    let place = Place::new();
    let session = place.session();
    holds_for(Duration::from_secs(5), || session.is_closed().then(|| "the connection was closed".to_owned()));
    assert!(session.exec(&["true"], b"", LONG).expect("it runs").is_success());
}

/// Both sides ask whether the other is still there: this server gives up where two questions stay without an answer.
#[test]
fn both_sides_answer_whether_they_are_there() {
    let place = Place::with(&["ClientAliveInterval 1", "ClientAliveCountMax 1"]);
    let mut connection = place.connection(place.sshd.port());
    for keep_alive in [Duration::from_millis(100), Duration::from_secs(15)] {
        connection.timing.keep_alive = keep_alive;
        let session = Session::open(&connection).expect("it is there");
        holds_for(Duration::from_secs(4), || session.is_closed().then(|| "the connection was closed".to_owned()));
        assert!(session.exec(&["true"], b"", LONG).expect("it runs").is_success());
    }
}

/// Fails without keep-alive: nobody ever says that it is gone.
#[test]
fn a_connection_that_died_silently_is_noticed() {
    let place = Place::new();
    let cable = Cable::to(place.sshd.port());
    let mut connection = place.connection(cable.port());
    connection.timing = impatient();
    let session = Session::open(&connection).expect("it is there");
    let begin = Instant::now();
    let mut freeze = |_: &str| {
        cable.freeze();
        std::ops::ControlFlow::Continue(())
    };
    let argv = ["sh", "-c", "echo begun; exec sleep 30"];
    let result = session.follow(&argv, &mut freeze, &|| begin.elapsed() > Duration::from_secs(20));
    assert!(matches!(result, Err(RemoteError::Lost { begun: true, .. })), "{result:?}");
}

/// Both sides exchange keys again and again while megabytes are on their way.
#[test]
fn new_keys_may_be_exchanged_at_any_time() {
    let place = Place::with(&["RekeyLimit 256K"]);
    let session = place.session();
    let bytes: Vec<u8> = (0..4_000_000u32).map(|number| (number >> 4) as u8).collect();
    for _ in 0..2 {
        let finished = session.exec(&["cat"], &bytes, LONG).expect("it runs");
        assert!(finished.stdout == bytes, "{} bytes came back", finished.stdout.len());
    }
}

#[test]
fn a_server_is_reached_through_another() {
    let (mut first, mut behind) = (Place::new(), Place::new());
    let jump = Arc::new(Jump::new(first.connection(first.sshd.port())));
    let mut connection = behind.connection(behind.sshd.port()).via(Arc::clone(&jump));
    let session = Session::open(&connection).expect("through the other");
    assert_eq!(*session.host_key(), behind.sshd.host_key().parse().expect("a host key"));
    let bytes = vec![7; 1_000_000];
    assert!(session.exec(&["cat"], &bytes, LONG).expect("it runs").stdout == bytes);
    // It really goes through the other one.
    first.sshd.stop();
    let result = session.exec(&["true"], b"", LONG);
    assert!(matches!(result, Err(RemoteError::Lost { .. })), "{result:?}");
    // Fails where the one in between is not connected again.
    first.sshd.run();
    let session = Session::wait(&connection, Instant::now() + LONG, &|| false).expect("it is back");
    // The one in between lives as long as what goes through it.
    drop(jump);
    connection.via = None;
    assert!(session.exec(&["cat"], &bytes, LONG).expect("it runs").stdout == bytes);

    let jump = Arc::new(Jump::new(first.connection(first.sshd.port())));
    assert_eq!(*jump.session().expect("it is there").host_key(), first.sshd.host_key().parse().expect("a host key"));
    let mut connection = behind.connection(behind.sshd.port()).via(jump);
    connection.host_key = HostKeyRule::Pinned(first.sshd.host_key().parse().expect("a host key"));
    let changed = Session::open(&connection);
    assert!(matches!(changed, Err(RemoteError::HostKeyChanged { .. })), "{changed:?}");
    behind.sshd.stop();
    let error = Session::open(&connection).expect_err("nobody is there");
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error:?}");
}

/// Fails where whoever writes waits for room in a channel that has gone.
#[test]
fn what_waits_for_room_ends_with_the_connection() {
    let place = Place::new();
    let cable = Cable::to(place.sshd.port());
    let session = place.session_at(cable.port());
    let bytes = vec![7; 20_000_000];
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| session.exec(&["sleep", "30"], &bytes, LONG));
        // As much as fits into the window was sent, and nobody reads it.
        jecloud_testkit::eventually(LONG, "the window is full", || (cable.sent() > 1_000_000).then_some(()));
        cable.cut();
        let result = sending.join().expect("no panic");
        assert!(matches!(result, Err(RemoteError::Lost { begun: true, .. })), "{result:?}");
    });
}
