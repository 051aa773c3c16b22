//! A machine that is connected to when it is needed, and again when the connection was lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jecloud_cloud::{DirectoryStore, Machine as _, MachineError, ObjectStore as _};
use jecloud_model::layout::ServerRoot;
use jecloud_remote::{Binaries, Objects, Places, RemoteMachine};
use jecloud_testkit::Cable;

use crate::place::{LONG, Place, impatient};

pub(crate) fn objects(place: &Place) -> Arc<Objects> {
    Arc::new(Objects::new(place.sshd.path("objects")))
}

pub(crate) fn places(place: &Place) -> Places {
    Places {
        root: ServerRoot::new(place.sshd.path("root")),
        program: place.sshd.path("bin/jecloud"),
        versions: place.sshd.path("lib"),
    }
}

pub(crate) fn machine(place: &Place, port: u16) -> RemoteMachine {
    let mut connection = place.connection(port);
    connection.timing = impatient();
    RemoteMachine::new("app-1", connection, places(place), objects(place))
}

/// Fails without the second attempt where nothing was begun.
#[test]
fn a_connection_that_was_lost_between_two_calls_is_made_again() {
    let place = Place::new();
    let cable = Cable::to(place.sshd.port());
    let machine = machine(&place, cable.port());
    assert!(!machine.is_initialised().expect("it answers"));
    assert!(!machine.is_initialised().expect("it answers"));
    assert_eq!(cable.connections(), 1, "one connection is used for all");
    cable.cut();
    assert!(!machine.is_initialised().expect("it answers again"));
    assert_eq!(cable.connections(), 2);
}

#[test]
fn a_server_without_jecloud_says_so() {
    let place = Place::new();
    let error = machine(&place, place.sshd.port()).call(&["status"], None, LONG).expect_err("there is none");
    let MachineError::Refused { error, hint } = &error else { panic!("{error:?}") };
    assert!(error.contains("has no JeCloud") && !hint.is_empty(), "{error} {hint}");
}

#[test]
fn a_binary_for_another_architecture_is_refused() {
    let place = Place::new();
    let machine = machine(&place, place.sshd.port());
    let script = place.sshd.path("script");
    std::fs::write(&script, "#!/bin/sh\n").expect("a file");
    let mut foreign = std::fs::read("/bin/true").expect("a program");
    foreign[18..20].copy_from_slice(&if cfg!(target_arch = "x86_64") { [183, 0] } else { [62, 0] });
    let other = place.sshd.path("foreign");
    std::fs::write(&other, foreign).expect("a file");
    let named =
        Binaries { own: Binaries::default().own, others: [(std::env::consts::ARCH.to_owned(), script.clone())].into() };
    for (binaries, part) in [
        (Binaries { own: script, others: Default::default() }, "no program for Linux"),
        (Binaries { own: other, others: Default::default() }, "needs a JeCloud for"),
        (named, "no program for Linux"),
    ] {
        let error = machine.install(&binaries, &mut |_| {}).expect_err("it does not fit");
        let MachineError::Refused { error, hint } = &error else { panic!("{error:?}") };
        assert!(error.contains(part) && hint.contains("cargo build --release --target"), "{error} {hint}");
    }
    assert!(!place.sshd.path("bin/jecloud").exists() && !place.sshd.path("lib").exists());
}

/// Fails where the name is switched before the binary was tried: `false` fits, and does not know `version`.
#[test]
fn a_binary_that_does_not_run_there_is_never_called_jecloud() {
    let place = Place::new();
    let binaries = Binaries { own: "/bin/false".into(), others: Default::default() };
    let error = machine(&place, place.sshd.port()).install(&binaries, &mut |_| {}).expect_err("it says no");
    assert!(error.to_line().contains("does not run there"), "{error:?}");
    assert!(!place.sshd.path("bin/jecloud").exists());
}

#[test]
fn an_object_of_a_store_is_put_where_the_server_takes_it() {
    let place = Place::new();
    let store = DirectoryStore::new(place.sshd.path("store"));
    let source = place.sshd.path("source");
    std::fs::write(&source, vec![5; 300_000]).expect("a file");
    store.put_file("versions/abc.tar.bz2", &source, &mut |_| {}).expect("stored");
    let cable = Cable::to(place.sshd.port());
    let machine = machine(&place, cable.port());
    // All connections break in the middle, more often than it is tried in vain: what has arrived is used.
    cable.break_after_sending(60_000);
    let mut last = 0;
    let path = machine.put_file(&store, "versions/abc.tar.bz2", &mut |done| last = done).expect("it is there");
    assert_eq!(path, place.sshd.path("root/sys/incoming/abc.tar.bz2"));
    assert!(std::fs::read(&path).expect("it is there") == vec![5; 300_000]);
    assert_eq!(last, 300_000);
    assert!(cable.connections() > 4, "{} connections", cable.connections());
    let missing = machine.put_file(&store, "versions/none", &mut |_| {});
    assert!(matches!(missing, Err(MachineError::Object { .. })), "{missing:?}");
}

/// What is a day old was taken, or nobody asks for it.
#[test]
fn what_was_taken_long_ago_is_removed() {
    let place = Place::new();
    let store = DirectoryStore::new(place.sshd.path("store"));
    let source = place.sshd.path("source");
    std::fs::write(&source, "new").expect("a file");
    store.put_file("hooks/new.wasm", &source, &mut |_| {}).expect("stored");
    let incoming = place.sshd.path("root/sys/incoming");
    std::fs::create_dir_all(&incoming).expect("a directory");
    let old = incoming.join("old.tar.bz2");
    let written = std::time::SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    let file = std::fs::File::create(&old).expect("a file");
    file.set_modified(written).expect("its time");
    let machine = machine(&place, place.sshd.port());
    let path = machine.put_file(&store, "hooks/new.wasm", &mut |_| {}).expect("it is there");
    assert!(path.exists() && !old.exists());
}

#[test]
fn a_machine_may_be_used_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<RemoteMachine>();
    is_shared::<jecloud_remote::SshMachines>();
    is_shared::<jecloud_remote::Session>();
    assert!(Path::new("/usr/sbin/sshd").is_file(), "openssh-server is missing");
}
