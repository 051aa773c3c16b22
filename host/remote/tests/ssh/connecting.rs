//! Getting into a server, and making sure that it is the right one.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use jecloud_cloud::{Machine as _, MachineError};
use jecloud_remote::{HostKey, HostKeyRule, Identity, KeyPair, Places, RemoteError, RemoteMachine, Session};
use jecloud_testkit::{Cable, eventually};

use crate::machine::objects;
use crate::place::{LONG, Place, impatient};

fn host_key(place: &Place) -> HostKey {
    place.sshd.host_key().parse().expect("a host key")
}

#[test]
fn the_first_contact_tells_the_key_to_pin() {
    let place = Place::new();
    let mut connection = place.connection(place.sshd.port());
    let seen = Session::open(&connection).expect("first contact").host_key().clone();
    assert_eq!(seen, host_key(&place));
    for rule in [HostKeyRule::Pinned(seen.clone()), HostKeyRule::Announced(vec![seen.fingerprint()])] {
        connection.host_key = rule;
        let session = Session::open(&connection).expect("it is known");
        assert!(session.exec(&["true"], b"", LONG).expect("it runs").is_success());
    }
    let other = KeyPair::generate("other").expect("a key").fingerprint();
    connection.host_key = HostKeyRule::Announced(vec![other]);
    assert!(matches!(Session::open(&connection), Err(RemoteError::HostKeyChanged { .. })));
}

/// Fails without the check in `HostKeyRule::takes`.
#[test]
fn a_changed_host_key_stops_everything() {
    let mut place = Place::new();
    let old = place.session().host_key().clone();
    place.sshd.stop();
    place.sshd.new_host_key();
    place.sshd.run();
    let mut connection = place.connection(place.sshd.port());
    connection.host_key = HostKeyRule::Pinned(old.clone());
    let error = Session::wait(&connection, Instant::now() + LONG, &|| false).expect_err("it is somebody else");
    let RemoteError::HostKeyChanged { expected, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((expected, found), (&old.fingerprint(), &host_key(&place).fingerprint()));
    assert_eq!(error.state(), "Nothing was sent to it.");
    // Not even a key was shown to it.
    assert!(!place.sshd.log().contains("publickey"), "{}", place.sshd.log());

    let machine = RemoteMachine::new("app-1", connection, Places::default(), objects(&place));
    let refused = machine.call(&["status"], None, LONG).expect_err("it is somebody else");
    let MachineError::Refused { error, hint } = &refused else { panic!("{refused:?}") };
    for part in ["the host key of", "is not the expected one", &old.fingerprint(), "Nothing was sent to it"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(hint.contains("ssh-keygen -lf") && hint.contains("jecloud state edit"), "{hint}");
}

#[test]
fn a_key_that_is_not_known_there_is_denied() {
    let place = Place::new();
    let mut connection = place.connection(place.sshd.port());
    connection.identity = Identity::Key(KeyPair::generate("stranger").expect("a key"));
    let error = Session::open(&connection).expect_err("nobody knows it");
    assert!(matches!(error, RemoteError::Denied { .. }), "{error:?}");
    assert!(error.hint().contains(".ssh/authorized_keys"), "{}", error.hint());
    connection.timing = impatient();
    let begin = Instant::now();
    let error = Session::wait(&connection, begin + LONG, &|| false).expect_err("nobody knows it");
    assert!(matches!(error, RemoteError::Denied { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "it gave up after {:?}", begin.elapsed());
}

/// Fails where the first failure is the last.
#[test]
fn a_server_that_boots_is_waited_for() {
    let mut place = Place::asleep(&[]);
    let cable = Cable::to(place.sshd.port());
    let connection = place.connection(cable.port());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Session::wait(&connection, Instant::now() + LONG, &|| false));
        eventually(LONG, "it was tried twice", || (cable.connections() >= 2).then_some(()));
        place.sshd.run();
        let session = waiting.join().expect("no panic").expect("it came");
        assert!(session.exec(&["true"], b"", LONG).expect("it runs").is_success());
    });
}

/// Fails without the time that a refused key is tried again.
#[test]
fn a_key_that_is_installed_late_is_waited_for() {
    let (place, late) = (Place::new(), KeyPair::generate("late").expect("a key"));
    let mut connection = place.connection(place.sshd.port());
    connection.identity = Identity::Key(late.clone());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Session::wait(&connection, Instant::now() + LONG, &|| false));
        eventually(LONG, "it was refused", || place.sshd.log().contains("Failed publickey").then_some(()));
        place.sshd.allow(&late.public_line());
        waiting.join().expect("no panic").expect("it came");
    });
}

#[test]
fn nobody_there_is_told_in_time_with_the_reason() {
    let place = Place::asleep(&[]);
    let mut connection = place.connection(place.sshd.port());
    let begin = Instant::now();
    let error = Session::wait(&connection, begin + Duration::from_secs(1), &|| false).expect_err("nobody is there");
    assert!(matches!(error, RemoteError::Unreachable { .. }) && error.is_transient(), "{error:?}");
    assert!(error.to_line().contains("refused"), "{}", error.to_line());
    assert!(begin.elapsed() < Duration::from_secs(10));

    // Somebody who accepts and says nothing.
    let mute = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    connection.target.port = mute.local_addr().expect("an address").port();
    connection.timing.login = Duration::from_millis(300);
    let begin = Instant::now();
    let error = Session::open(&connection).expect_err("it says nothing");
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(10));

    let begin = Instant::now();
    let cancelled = Session::wait(&connection, begin + LONG, &|| begin.elapsed() > Duration::from_millis(100));
    assert!(matches!(cancelled, Err(RemoteError::Cancelled { .. })), "{cancelled:?}");

    connection.target.host = "no-such-host.invalid".to_owned();
    let error = Session::wait(&connection, Instant::now() + LONG, &|| false).expect_err("no such name");
    assert!(matches!(error, RemoteError::Unresolved { .. } | RemoteError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_connection_that_breaks_while_logging_in_is_tried_again() {
    let place = Place::new();
    let cable = Cable::to(place.sshd.port());
    for bytes in [1, 50, 1000, 1800] {
        cable.break_after_receiving(bytes);
        let error = Session::open(&place.connection(cable.port())).expect_err("it breaks");
        assert!(error.is_transient() && error.is_before_begin(), "after {bytes}: {error:?}");
    }
    cable.mend();
    Session::open(&place.connection(cable.port())).expect("it is mended");
}
