//! A real OpenSSH server on loopback, with keys of its own.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test starts a server and writes its files")]

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::eventually;
use crate::processes::{self, kill};

/// Debian's and everybody's place; it wants to be started by its full path.
const SSHD: &str = "/usr/sbin/sshd";

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(20);

/// An OpenSSH server. It knows one user, whoever runs the test, and the keys that it is given. It is ended with this.
pub struct Sshd {
    directory: TempDir,
    port: u16,
    lines: Vec<String>,
    process: Option<Child>,
    before: Vec<String>,
}

impl Sshd {
    /// A server with these lines in addition to its configuration, running.
    pub fn start(lines: &[&str]) -> Self {
        let mut sshd = Self::prepare(lines);
        sshd.run();
        sshd
    }

    /// One that does not run yet; its port is taken by nobody.
    pub fn prepare(lines: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let sshd = Self { directory, port, lines, process: None, before: Vec::new() };
        sshd.new_host_key();
        std::fs::write(sshd.path("authorized_keys"), "").expect("a file");
        std::fs::create_dir(sshd.path("home")).expect("a directory");
        sshd
    }

    /// What stands before the command that starts it: to start it in a namespace, say.
    pub fn start_by(&mut self, before: &[&str]) {
        self.before = before.iter().map(|word| (*word).to_owned()).collect();
    }

    /// The user whom it knows: whoever runs the test.
    pub fn user() -> String {
        let output = Command::new("id").arg("-un").output().expect("id");
        String::from_utf8(output.stdout).expect("a name").trim().to_owned()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file in its own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets in whoever has this key: a line of `authorized_keys`.
    pub fn allow(&self, public_line: &str) {
        let path = self.path("authorized_keys");
        let mut text = std::fs::read_to_string(&path).expect("the file");
        let _ = writeln!(text, "{public_line}");
        std::fs::write(path, text).expect("the file");
    }

    /// Gives it another host key, as a machine has that was set up anew. One that runs has to be started again.
    pub fn new_host_key(&self) {
        let path = self.path("host_key");
        let _ = std::fs::remove_file(&path);
        keygen(&path, "");
    }

    /// The public half of its host key.
    pub fn host_key(&self) -> String {
        std::fs::read_to_string(self.path("host_key.pub")).expect("a public key").trim().to_owned()
    }

    /// Makes a key pair `NAME` and `NAME.pub` in its directory by `ssh-keygen`, encrypted if there is a passphrase.
    pub fn keygen(&self, name: &str, passphrase: &str) -> PathBuf {
        let path = self.path(name);
        keygen(&path, passphrase);
        path
    }

    /// Runs it, and waits until it answers.
    pub fn run(&mut self) {
        assert!(Path::new(SSHD).is_file(), "{SSHD} is missing: install openssh-server");
        // It refuses to start without, and packages make it only at boot.
        let _ = std::fs::create_dir_all("/run/sshd");
        let here = |name: &str| self.path(name).display().to_string();
        let mut text = format!(
            "ListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             SetEnv HOME={}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             PrintMotd no\nMaxStartups 100\nLogLevel VERBOSE\n",
            here("host_key"),
            here("authorized_keys"),
            // What this user's shell does at its start is nobody's business here.
            here("home")
        );
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        std::fs::write(self.path("sshd_config"), text).expect("a file");
        let log = std::fs::File::create(self.path("log")).expect("a log");
        let words: Vec<&str> = self.before.iter().map(String::as_str).chain([SSHD]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["-D", "-e", "-f"]).arg(self.path("sshd_config"));
        command.args(["-p", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("sshd"));
        answers(("127.0.0.1", self.port), START);
    }

    /// Ends it, with everything that it has started for connections.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        for pid in below(process.id()).into_iter().chain([process.id()]) {
            kill(pid);
        }
        let _ = process.wait();
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How many processes work for connections.
    pub fn workers(&self) -> usize {
        self.process.as_ref().map_or(0, |process| below(process.id()).len())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- sshd said:\n{}", self.log());
        }
        self.stop();
    }
}

/// All processes below this one, those first that are further down. What has left its parent is not among them.
fn below(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<u32> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let own = |parent: u32| pids.iter().copied().filter(move |pid| processes::parent_of(*pid) == Some(parent));
    let mut found: Vec<u32> = vec![pid];
    let mut next = 0;
    while next < found.len() {
        found.extend(own(found[next]).collect::<Vec<_>>());
        next += 1;
    }
    found.into_iter().skip(1).rev().filter(|pid| processes::is_alive(*pid)).collect()
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Waits until an SSH server answers there.
pub(crate) fn answers(address: impl ToSocketAddrs, deadline: Duration) {
    eventually(deadline, "sshd answers", || {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.read_exact(&mut [0; 4]).ok()
    });
}

/// Makes a key pair `PATH` and `PATH.pub`, encrypted if there is a passphrase.
pub(crate) fn keygen(path: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f"]).arg(path);
    let status = command.stdin(Stdio::null()).status().expect("ssh-keygen");
    assert!(status.success(), "ssh-keygen: {status}");
}
