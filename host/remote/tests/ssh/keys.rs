//! The keys of a person, in files and with an agent.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jecloud_remote::{Connection, HostKeyRule, Identity, OwnKeys, RemoteError, Session};
use jecloud_testkit::{Sshd, eventually};

use crate::place::{LONG, target};

/// A server, and a key `id_ed25519` that it lets in.
fn server() -> (Sshd, PathBuf) {
    let sshd = Sshd::start(&[]);
    let key = sshd.keygen("id_ed25519", "");
    let line = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
    sshd.allow(line.trim());
    (sshd, key)
}

fn open(sshd: &Sshd, own: OwnKeys) -> Result<Session, RemoteError> {
    Session::open(&Connection::new(target(sshd.port()), Identity::Own(own), HostKeyRule::FirstContact))
}

fn encrypt(key: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-p", "-P", "", "-N", "secret words", "-f"]).arg(key).stdout(Stdio::null());
    assert!(command.status().expect("ssh-keygen").success());
}

/// An agent with this key.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn with(key: &Path) -> Self {
        let socket = key.with_file_name("agent");
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().expect("ssh-agent");
        let agent = Self { process, socket };
        eventually(LONG, "the agent answers", || agent.socket.exists().then_some(()));
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket).stdin(Stdio::null());
        assert!(add.status().expect("ssh-add").success());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_file_that_is_named_and_the_usual_files_are_used() {
    let (sshd, key) = server();
    open(&sshd, OwnKeys { file: Some(key.clone()), ..OwnKeys::default() }).expect("the named file");
    let directory = key.parent().map(Path::to_owned);
    open(&sshd, OwnKeys { directory, ..OwnKeys::default() }).expect("the usual file");
    let missing = open(&sshd, OwnKeys { file: Some(sshd.path("nowhere")), ..OwnKeys::default() });
    assert!(matches!(missing, Err(RemoteError::Key { .. })), "{missing:?}");
    let none = open(&sshd, OwnKeys { directory: Some(sshd.path("nowhere")), ..OwnKeys::default() });
    assert!(matches!(none, Err(RemoteError::NoKey { .. })), "{none:?}");
}

/// Other kinds of keys than our own: people have them.
#[test]
fn rsa_and_ecdsa_keys_and_the_old_format_are_used() {
    let sshd = Sshd::start(&[]);
    for (name, arguments) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("old-rsa", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ] {
        let key = sshd.path(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-f"]).arg(&key).args(arguments);
        assert!(command.status().expect("ssh-keygen").success());
        sshd.allow(std::fs::read_to_string(sshd.path(&format!("{name}.pub"))).expect("a public key").trim());
        let own = OwnKeys { file: Some(key), ..OwnKeys::default() };
        let session = open(&sshd, own).unwrap_or_else(|error| panic!("{name}: {}", error.to_line()));
        assert!(session.exec(&["true"], b"", LONG).expect("it runs").is_success());
    }
}

#[test]
fn an_encrypted_key_needs_the_agent() {
    let (sshd, key) = server();
    let agent = Agent::with(&key);
    encrypt(&key);
    let named = OwnKeys { file: Some(key.clone()), ..OwnKeys::default() };
    let error = open(&sshd, named.clone()).expect_err("it is encrypted");
    assert!(matches!(error, RemoteError::Encrypted { .. }), "{error:?}");
    assert_eq!(error.hint(), format!("`ssh-add {}` gives it to the agent.", key.display()));
    open(&sshd, OwnKeys { agent: Some(agent.socket.clone()), ..named }).expect("the agent has it");
    // Nobody named it: the agent alone is enough, and without it the message says why nothing was tried.
    open(&sshd, OwnKeys { agent: Some(agent.socket.clone()), ..OwnKeys::default() }).expect("the agent has it");
    let error = open(&sshd, OwnKeys { directory: key.parent().map(Path::to_owned), ..OwnKeys::default() });
    let error = error.expect_err("it is encrypted");
    assert!(matches!(error, RemoteError::NoKey { .. }) && error.hint().contains("is encrypted"), "{error:?}");
}

#[test]
fn only_the_key_that_is_named_is_asked_of_the_agent() {
    let (sshd, key) = server();
    let agent = Agent::with(&key);
    let other = sshd.keygen("other", "secret words");
    let own = OwnKeys { file: Some(other), agent: Some(agent.socket.clone()), ..OwnKeys::default() };
    let error = open(&sshd, own).expect_err("the agent has another one");
    assert!(matches!(error, RemoteError::NoKey { .. }) && error.hint().contains("is encrypted"), "{error:?}");
}
