//! Machines of their own for tests: each with its processes, its network address and its files, and an SSH server.
//!
//! What a machine reads is this machine's system; what it writes is its own and is gone with it. Only root can make
//! them.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test makes machines out of namespaces")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::network::Network;
use crate::sshd::{answers, keygen};

/// How long a machine may take to answer.
const START: Duration = Duration::from_secs(30);

/// How lines of its SSH server begin that say of every connection the same.
const ORDINARY: [&str; 8] = [
    "Accepted ",
    "Close session",
    "Connection from",
    "Postponed ",
    "Received disconnect",
    "Starting session",
    "Transferred",
    "User child",
];

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
    network: Network,
    machines: Vec<(String, Child)>,
}

impl Machines {
    /// A network without machines; none where this is not done by root.
    ///
    /// # Panics
    ///
    /// Where the system cannot do it: `ip` and `unshare` are needed.
    pub fn new() -> Option<Self> {
        Some(Self { network: Network::claim()?, machines: Vec::new() })
    }

    /// A network of 65 536 addresses that no other network of machines on this machine is given, for
    /// [`Machines::start_at`]. None of them is used otherwise.
    ///
    /// # Panics
    ///
    /// Where there are more than 64 networks at the same time.
    pub fn private_network(&self) -> String {
        self.network.private_network()
    }

    /// The address at which machines reach this one.
    pub fn address(&self) -> String {
        self.network.address_of(1)
    }

    /// What the names of its interfaces and namespaces begin with.
    pub fn name(&self) -> &str {
        self.network.name()
    }

    /// Where its files lie.
    pub fn directory(&self) -> &Path {
        self.network.directory()
    }

    /// Removes the links and namespaces of a network whose owner was killed. Its processes ended with it.
    pub fn remove_left_over(name: &str) {
        Network::remove_left_over(name);
    }

    /// The private key that opens all of them, for root.
    pub fn key(&self) -> PathBuf {
        self.network.key()
    }

    /// Lets in whoever has this key, too: a line of `authorized_keys`.
    pub fn allow(&self, public_line: &str) {
        self.network.allow(public_line);
    }

    /// Starts one more machine, and returns its address.
    pub fn start(&mut self) -> String {
        let address = self.network.address_of(self.machines.len() + 2);
        self.start_at(&address);
        address
    }

    /// Starts one more machine at an address that may be any, and returns its process.
    ///
    /// It ends at the latest with the thread that starts it, however that ends.
    pub fn start_at(&mut self, address: &str) -> u32 {
        let number = self.machines.len() + 2;
        // One that was killed still has the address.
        let before: Vec<usize> =
            (2..).zip(&self.machines).filter(|(_, one)| one.0 == address).map(|(n, _)| n).collect();
        before.into_iter().for_each(|number| self.network.unlink(number));
        self.network.link(number, address);
        let directory = self.network.directory().to_owned();
        let machine = directory.join(number.to_string());
        std::fs::create_dir(&machine).expect("a directory");
        let host_key = directory.join(format!("host-key-{number}"));
        keygen(&host_key, "");
        let log = std::fs::File::create(directory.join(format!("log-{number}"))).expect("a log");
        let child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "--",
                "ip",
                "netns",
                "exec",
                &self.network.namespace(number),
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--",
            ])
            .args(["sh", "-c", BOOT, "boot"])
            .arg(&machine)
            .args(["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-o", "UsePAM=no", "-o", "StrictModes=no"])
            .args(["-o", "PermitRootLogin=prohibit-password", "-o", "MaxStartups=100"])
            .args(["-o", "LogLevel=VERBOSE"])
            .arg("-o")
            .arg(format!("HostKey={}", host_key.display()))
            .arg("-o")
            .arg(format!("AuthorizedKeysFile={}", self.network.authorized_keys().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a machine");
        let process = child.id();
        self.machines.push((address.to_owned(), child));
        answers((address, 22), START);
        process
    }

    /// So many bytes have gone to a machine and come from it, with everything around them on the wire.
    pub fn bytes(&self, address: &str) -> u64 {
        let index = self.machines.iter().position(|(known, _)| known == address).expect("one of our addresses");
        let statistics = Path::new("/sys/class/net").join(self.network.outside(index + 2)).join("statistics");
        let read = |name: &str| {
            let text = std::fs::read_to_string(statistics.join(name)).expect("the kernel counts");
            text.trim().parse::<u64>().expect("a number")
        };
        read("rx_bytes") + read("tx_bytes")
    }

    /// So many commands were begun on a machine by SSH.
    pub fn commands(&self, address: &str) -> usize {
        let index = self.machines.iter().rposition(|(known, _)| known == address).expect("one of our addresses");
        let log = self.network.directory().join(format!("log-{}", index + 2));
        let said = std::fs::read_to_string(log).expect("the log");
        said.lines().filter(|line| line.starts_with("Starting session: command")).count()
    }

    /// Ends a machine as a power cut does. What it wrote is gone.
    pub fn kill(&mut self, address: &str) {
        let (_, machine) = self.machines.iter_mut().rfind(|(known, _)| known == address).expect("one of our addresses");
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
    }

    fn logs(&self) -> String {
        let read = |number: usize| {
            let path: &Path = &self.network.directory().join(format!("log-{number}"));
            let said = std::fs::read_to_string(path).unwrap_or_default();
            let is_told = |line: &&str| !ORDINARY.iter().any(|ordinary| line.starts_with(ordinary));
            said.lines().filter(is_told).map(|line| format!("{line}\n")).collect::<String>()
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
