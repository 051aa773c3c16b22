//! The fingerprints on a server's console, as cloud-init writes them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jecloud_remote::{HostKeyRule, RemoteError, Session, fingerprints_on_console};

/// Debian's script, where `cargo xtask test` unpacks it.
const SCRIPT: &str = "target/tools/cloud-init/usr/lib/cloud-init/write-ssh-key-fingerprints";

/// Runs the script of Debian's cloud-init as it does at the first boot, on a machine whose /etc/ssh is this directory.
fn console(keys: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can give a script an /etc/ssh of its own");
        return None;
    }
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(SCRIPT);
    assert!(script.exists(), "{SCRIPT} is missing: `cargo xtask test -p jecloud-remote` unpacks it");
    let mount = "mount --make-rprivate / && mount --bind \"$1\" /etc/ssh && exec sh \"$2\" '' ssh-dss";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", mount, "sh"]).arg(keys).arg(&script).stdin(Stdio::null());
    let output = command.output().expect("unshare");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

/// Of a server with keys of three kinds, the fingerprints are found among everything else that a console shows, and the
/// server is let through by them; one with another key is not.
///
/// Fails where the fingerprints are searched for outside of what cloud-init marks: somebody's key in a log would do.
#[test]
fn what_cloud_init_writes_is_understood() {
    let mut place = crate::place::Place::new();
    let keys = tempfile::tempdir().expect("a directory");
    for kind in ["ecdsa", "rsa"] {
        let path = keys.path().join(format!("ssh_host_{kind}_key"));
        let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(path).status();
        assert!(made.expect("ssh-keygen").success());
    }
    std::fs::write(keys.path().join("ssh_host_ed25519_key.pub"), place.sshd.host_key()).expect("a key");
    let Some(said) = console(keys.path()) else { return };

    let evil = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let log = format!("[   12.3] sshd[7]: Accepted publickey for x: ED25519 {evil} root@evil (ED25519)");
    let all = fingerprints_on_console(&format!("[    0.0] Linux\r\n{log}\n{said}\n{log}\nlogin: "));
    assert_eq!(all.len(), 3, "{said}");
    assert!(!all.iter().any(|one| one == evil));
    // What EC2 shows may begin in the middle.
    let middle = said.find("SHA256:").expect("a fingerprint");
    assert_eq!(fingerprints_on_console(&said[middle..]), Vec::<String>::new());

    let mut connection = place.connection(place.sshd.port());
    connection.host_key = HostKeyRule::Announced(all);
    Session::open(&connection).expect("it is the one that was announced");
    place.sshd.stop();
    place.sshd.new_host_key();
    place.sshd.run();
    assert!(matches!(Session::open(&connection), Err(RemoteError::HostKeyChanged { .. })));
}
