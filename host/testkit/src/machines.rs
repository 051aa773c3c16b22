//! Machines of their own for tests: each with its processes, its network address and its files, and an SSH server.
//!
//! What a machine reads is this machine's system; what it writes is its own and is gone with it. Only root can make
//! them.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test makes machines out of namespaces")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::sshd::{answers, keygen};

/// How long a machine may take to answer.
const START: Duration = Duration::from_secs(30);

/// Makes the files of a machine and becomes its SSH server. $1 is its directory, the rest the command.
///
/// The lower layer is the system, the upper one is in memory: a file system cannot lie below itself.
const BOOT: &str = r#"
set -eu
directory=$1; shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 machine "$directory"
mkdir "$directory/upper" "$directory/work" "$directory/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$directory/root"
cd "$directory/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
mkdir run/sshd
rm -rf var/lib/jecloud var/cloud usr/local/bin/jecloud usr/local/lib/jecloud etc/cron.d/jecloud
exec chroot . "$@"
"#;

/// A network with machines. All of it is ended and removed with this.
pub struct Machines {
    directory: TempDir,
    name: String,
    subnet: u8,
    machines: Vec<(String, Child)>,
}

impl Machines {
    /// A network without machines; none where this is not done by root.
    ///
    /// # Panics
    ///
    /// Where the system cannot do it: `ip` and `unshare` are needed.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let directory = TempDir::new_in("/tmp").expect("a directory");
        // A name of an interface has 15 characters.
        let (name, subnet) = (0..=255)
            .map(|subnet| (format!("jcb{subnet}"), subnet))
            .find(|(name, _)| runs("ip", &["link", "add", name, "type", "bridge"]))
            .expect("a network that is free");
        let network = Self { directory, name, subnet, machines: Vec::new() };
        let ours = format!("{}/24", network.address_of(1));
        must("ip", &["address", "add", &ours, "dev", &network.name]);
        must("ip", &["link", "set", &network.name, "up"]);
        keygen(&network.key(), "");
        Some(network)
    }

    /// The private key that opens all of them, for root.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    fn address_of(&self, number: usize) -> String {
        format!("10.213.{}.{number}", self.subnet)
    }

    fn namespace(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// The end of a machine's link that is ours.
    fn outside(&self, number: usize) -> String {
        format!("{}p{number}", self.name)
    }

    /// Removes a machine's link and its namespace, where there are any: ours, or what a run that was killed has left.
    ///
    /// The name of the network is claimed by its bridge, so that nobody else has them. A namespace that is deleted ends
    /// some time later, and its link with it: whoever wants the name again right away must have removed the link.
    fn remove_link(&self, number: usize) {
        runs("ip", &["link", "delete", &self.outside(number)]);
        runs("ip", &["netns", "delete", &self.namespace(number)]);
    }

    /// Lets in whoever has this key, too: a line of `authorized_keys`.
    pub fn allow(&self, public_line: &str) {
        let path = self.key().with_extension("pub");
        let text = std::fs::read_to_string(&path).expect("the file");
        std::fs::write(path, format!("{text}{public_line}\n")).expect("the file");
    }

    /// Starts one more machine, and returns its address.
    pub fn start(&mut self) -> String {
        let address = self.address_of(self.machines.len() + 2);
        self.start_at(&address);
        address
    }

    /// Starts one more machine at an address that may be any.
    pub fn start_at(&mut self, address: &str) {
        let number = self.machines.len() + 2;
        let namespace = self.namespace(number);
        let (inside, outside) = (format!("eth{number}"), self.outside(number));
        self.remove_link(number);
        must("ip", &["netns", "add", &namespace]);
        must("ip", &["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &namespace]);
        must("ip", &["link", "set", &outside, "master", &self.name, "up"]);
        must("ip", &["-n", &namespace, "address", "add", &format!("{address}/32"), "dev", &inside]);
        must("ip", &["-n", &namespace, "link", "set", &inside, "up"]);
        must("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        // Both sides reach each other on the wire, whatever the addresses look like.
        must("ip", &["-n", &namespace, "route", "add", &self.address_of(1), "dev", &inside]);
        // Machines of one network need nobody in between.
        let all = format!("{}/24", self.address_of(0));
        must("ip", &["-n", &namespace, "route", "add", &all, "dev", &inside]);
        must("ip", &["-n", &namespace, "route", "add", "default", "via", &self.address_of(1)]);
        must("ip", &["route", "replace", &format!("{address}/32"), "dev", &self.name]);
        let machine = self.directory.path().join(number.to_string());
        std::fs::create_dir(&machine).expect("a directory");
        let host_key = self.directory.path().join(format!("host-key-{number}"));
        keygen(&host_key, "");
        let log = std::fs::File::create(self.directory.path().join(format!("log-{number}"))).expect("a log");
        let child = Command::new("ip")
            .args(["netns", "exec", &namespace, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--"])
            .args(["sh", "-c", BOOT, "boot"])
            .arg(&machine)
            .args(["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-o", "UsePAM=no", "-o", "StrictModes=no"])
            .args(["-o", "PermitRootLogin=prohibit-password", "-o", "MaxStartups=100"])
            .arg("-o")
            .arg(format!("HostKey={}", host_key.display()))
            .arg("-o")
            .arg(format!("AuthorizedKeysFile={}", self.key().with_extension("pub").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a machine");
        self.machines.push((address.to_owned(), child));
        answers((address, 22), START);
    }

    /// So many bytes have gone to a machine and come from it, with everything around them on the wire.
    pub fn bytes(&self, address: &str) -> u64 {
        let index = self.machines.iter().position(|(known, _)| known == address).expect("one of our addresses");
        let statistics = Path::new("/sys/class/net").join(self.outside(index + 2)).join("statistics");
        let read = |name: &str| {
            let text = std::fs::read_to_string(statistics.join(name)).expect("the kernel counts");
            text.trim().parse::<u64>().expect("a number")
        };
        read("rx_bytes") + read("tx_bytes")
    }

    /// Ends a machine as a power cut does. What it wrote is gone.
    pub fn kill(&mut self, address: &str) {
        let (_, machine) = self.machines.iter_mut().find(|(known, _)| known == address).expect("one of our addresses");
        let _ = machine.kill();
        let _ = machine.wait();
    }

    /// The processes of all machines as this machine sees them end with the first of each: that is what `--kill-child`
    /// and the namespace are for.
    fn end(&mut self) {
        for (_, machine) in &mut self.machines {
            let _ = machine.kill();
            let _ = machine.wait();
        }
        for number in 2..self.machines.len() + 2 {
            self.remove_link(number);
        }
        runs("ip", &["link", "delete", &self.name]);
    }

    fn logs(&self) -> String {
        let read = |number: usize| {
            let path: &Path = &self.directory.path().join(format!("log-{number}"));
            std::fs::read_to_string(path).unwrap_or_default()
        };
        (2..self.machines.len() + 2).map(read).collect()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the machines said:\n{}", self.logs());
        }
        self.end();
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[track_caller]
fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}
