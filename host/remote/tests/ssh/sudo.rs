//! A user who is not root. Users and rights of this machine are covered for the server alone, in a mount namespace of
//! its own; that takes root.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jecloud_cloud::{Machine as _, MachineError};
use jecloud_remote::{Binaries, Connection, RemoteMachine, Session};
use jecloud_testkit::Sshd;

use crate::machine::{objects, places};
use crate::place::{LONG, Place};

/// Covers three files and becomes what is named after them.
const COVER: &str = "mount --bind \"$1\" /etc/passwd && mount --bind \"$2\" /etc/shadow && \
                     mount --bind \"$3\" /etc/sudoers && shift 3 && exec \"$@\"";

/// A server with a user `ada`, who may do this.
fn server(rights: &str) -> (Place, Connection) {
    let mut place = Place::asleep(&[]);
    // Keys are read with the rights of the user.
    mode(&place.sshd.path("."), 0o755);
    mode(&place.sshd.path("home"), 0o777);
    let passwd = std::fs::read_to_string("/etc/passwd").expect("readable");
    let shadow = std::fs::read_to_string("/etc/shadow").expect("readable");
    let write = |name: &str, text: String, bits: u32| {
        let path = place.sshd.path(name);
        std::fs::write(&path, text).expect("a file");
        mode(&path, bits);
        path.to_str().expect("UTF-8").to_owned()
    };
    let files = [
        write("passwd", format!("{passwd}ada:x:61234:61234::/tmp:/bin/sh\n"), 0o644),
        write("shadow", format!("{shadow}ada:*:19000:0:99999:7:::\n"), 0o600),
        write("sudoers", format!("root ALL=(ALL:ALL) ALL\nada {rights}\n"), 0o440),
    ];
    let words = ["unshare", "-m", "sh", "-c", COVER, "sh"];
    place.sshd.start_by(&[&words[..], &[&files[0], &files[1], &files[2]]].concat());
    place.sshd.run();
    let mut connection = place.connection(place.sshd.port());
    connection.target.user = "ada".to_owned();
    (place, connection)
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).expect("it is ours");
}

fn can_run(test: &str) -> bool {
    let can = Sshd::user() == "root";
    if !can {
        eprintln!("left out, because it takes root: {test}");
    }
    can
}

/// Fails without `sudo` before every command: nothing of this may be written by the user.
#[test]
fn whoever_may_become_root_without_a_password_installs() {
    if !can_run("whoever_may_become_root_without_a_password_installs") {
        return;
    }
    let (place, connection) = server("ALL=(ALL) NOPASSWD: ALL");
    let who = Session::open(&connection).expect("it is there").exec(&["id", "-un"], b"", LONG).expect("it runs");
    assert_eq!(who.stdout, b"ada\n");
    let machine = RemoteMachine::new("app-1", connection, places(&place), objects(&place));
    assert!(!machine.is_initialised().expect("it answers"));
    // It fits, and is content with everything that it is told.
    let binaries = Binaries { own: "/bin/true".into(), others: Default::default() };
    let installed = machine.install(&binaries, &mut |_| {}).unwrap_or_else(|error| panic!("{}", error.to_line()));
    let program = place.sshd.path("bin/jecloud");
    let to = place.sshd.path("lib").join(installed.sha256.as_str()).join("jecloud");
    assert_eq!(std::fs::read_link(&program).expect("a link"), to);
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(to.metadata().expect("it is there").uid(), 0);
    assert_eq!(machine.call(&["status"], None, LONG).expect("it runs").status, 0);
    // Again, and with another one: the link is switched, and nothing unfinished stays beside it.
    machine.install(&binaries, &mut |_| {}).expect("it is there");
    let other = Binaries { own: "/bin/echo".into(), others: Default::default() };
    assert_eq!(machine.install(&other, &mut |_| {}).expect("it fits").version, "version");
    assert_ne!(std::fs::read_link(&program).expect("a link"), to);
    assert_eq!(std::fs::read_dir(place.sshd.path("bin")).expect("it is there").count(), 1);
}

#[test]
fn whoever_needs_a_password_is_told_what_to_do() {
    if !can_run("whoever_needs_a_password_is_told_what_to_do") {
        return;
    }
    let (place, connection) = server("ALL=(ALL) ALL");
    let machine = RemoteMachine::new("app-1", connection, places(&place), objects(&place));
    let errors = [
        machine.install(&Binaries::default(), &mut |_| {}).expect_err("it may not"),
        machine.call(&["status"], None, LONG).expect_err("it may not"),
    ];
    for error in errors {
        let MachineError::Refused { error, hint } = &error else { panic!("{error:?}") };
        assert!(error.contains("a password is required"), "{error}");
        assert!(hint.contains("NOPASSWD: ALL"), "{hint}");
    }
}
