//! Machines that boot systemd: Debian 12 in containers of `systemd-nspawn`, each with an SSH server, an address and a
//! disk of its own, which it keeps when its power is cut.
//!
//! They reach what this machine reaches, so `apt-get install` works in them where it does here. Only root can make them.
//! Limits of memory and CPU are accepted in them, and cannot be seen working: the control groups are this machine's.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test makes machines out of containers")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::eventually::eventually;
use crate::network::{Network, runs};
use crate::processes::kill;
use crate::sshd::{answers, keygen};

/// The system that every machine begins as, below the repository: made by `cargo xtask test`.
const BASE: &str = "target/tools/debian";

/// Packages that one machine has fetched and the next one need not.
const PACKAGES: &str = "target/tools/debian-packages";

/// Where a machine has them.
const ARCHIVES: &str = "upper/var/cache/apt/archives";

/// How long a machine may take to boot. A second is usual.
const BOOT_TIME: Duration = Duration::from_secs(90);

/// How long what is left of a machine may take to end.
const END_TIME: Duration = Duration::from_secs(30);

/// Becomes a machine. $1 is its directory, $2 its name, $3 its network, $4 the system.
///
/// Each has a control group of its own: otherwise all would have the same one, and each would end the others' services.
/// Like a machine, and unlike other containers, it lets databases keep their keys out of the swap.
const BOOT: &str = r#"
set -eu
mount --make-rprivate /
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        mkdir -p "$hierarchy/$2"
        echo $$ >"$hierarchy/$2/cgroup.procs"
    fi
done
mount -t overlay overlay -o "lowerdir=$4,upperdir=$1/upper,workdir=$1/work" "$1/root"
exec systemd-nspawn --quiet --directory="$1/root" --machine="$2" --register=no --keep-unit --boot --console=pipe \
    --link-journal=no --network-namespace-path="$3" --resolv-conf=copy-host --system-call-filter=@memlock
"#;

/// A network with machines that boot systemd. All of it is ended and removed with this.
pub struct SystemdMachines {
    network: Network,
    machines: Vec<Machine>,
}

struct Machine {
    number: usize,
    address: String,
    process: Option<Child>,
}

impl SystemdMachines {
    /// A network without machines; none where there cannot be any: then what is missing has been said.
    ///
    /// # Panics
    ///
    /// Where the system cannot do it: `ip` and `nft` are needed.
    pub fn new() -> Option<Self> {
        let missing = if !rustix::process::geteuid().is_root() {
            "only root can make machines"
        } else if !base().join("etc/debian_version").is_file() {
            "the system of the machines is not there: `cargo xtask test` makes it"
        } else if !runs("systemd-nspawn", &["--version"]) {
            "systemd-nspawn is not there: install systemd-container"
        } else {
            let mut network = Network::claim()?;
            network.masquerade();
            std::fs::create_dir_all(packages()).expect("a directory");
            return Some(Self { network, machines: Vec::new() });
        };
        eprintln!("left out: {missing}");
        None
    }

    /// The private key that opens all of them, for root.
    pub fn key(&self) -> PathBuf {
        self.network.key()
    }

    /// Starts one more machine, a fresh one, and returns its address.
    ///
    /// # Panics
    ///
    /// When it does not boot in time.
    pub fn start(&mut self) -> String {
        let address = self.network.address_of(self.machines.len() + 2);
        self.start_at(&address);
        address
    }

    /// Starts one more machine, a fresh one, at an address that may be any, and returns its process.
    ///
    /// # Panics
    ///
    /// When it does not boot in time.
    pub fn start_at(&mut self, address: &str) -> u32 {
        let number = self.machines.len() + 2;
        let directory = self.network.directory().join(number.to_string());
        for name in ["upper", "work", "root"] {
            std::fs::create_dir_all(directory.join(name)).expect("a directory");
        }
        let ssh = directory.join("upper/root/.ssh");
        std::fs::create_dir_all(&ssh).expect("a directory");
        std::fs::copy(self.network.authorized_keys(), ssh.join("authorized_keys")).expect("a copy");
        let etc = directory.join("upper/etc/ssh");
        std::fs::create_dir_all(&etc).expect("a directory");
        keygen(&etc.join("ssh_host_ed25519_key"), "");
        std::fs::write(directory.join("upper/etc/hostname"), format!("machine{number}\n")).expect("a name");
        // One that is the same in all machines would be taken for the same machine; it is made at the first boot.
        std::fs::write(directory.join("upper/etc/machine-id"), "").expect("a file");
        let archives = directory.join(ARCHIVES);
        std::fs::create_dir_all(&archives).expect("a directory");
        share(&packages(), &archives);
        self.machines.push(Machine { number, address: address.to_owned(), process: None });
        self.power_on(address);
        self.machines.last().and_then(|machine| machine.process.as_ref()).map_or(0, Child::id)
    }

    /// The same network as [`crate::Machines::private_network`].
    ///
    /// # Panics
    ///
    /// As there.
    pub fn private_network(&self) -> String {
        self.network.private_network()
    }

    /// What the names of its interfaces and namespaces begin with.
    pub fn name(&self) -> &str {
        self.network.name()
    }

    /// Where its files lie.
    pub fn directory(&self) -> &Path {
        self.network.directory()
    }

    /// Lets in whoever has this key, too, on machines that are started from now on: a line of `authorized_keys`.
    pub fn allow(&self, public_line: &str) {
        self.network.allow(public_line);
    }

    /// Starts a machine again that was killed, with the disk that it had.
    ///
    /// # Panics
    ///
    /// When it does not boot in time.
    pub fn power_on(&mut self, address: &str) {
        let machine = self.find(address);
        let number = self.machines[machine].number;
        end_group(&self.network.namespace(number));
        self.network.link(number, address);
        let directory = self.network.directory().join(number.to_string());
        let log = std::fs::File::options().create(true).append(true).open(directory.join("log")).expect("a log");
        let child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", BOOT, "boot"])
            .args([directory.as_os_str(), self.network.namespace(number).as_ref()])
            .arg(Path::new("/run/netns").join(self.network.namespace(number)))
            .arg(base())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("a machine");
        self.machines[machine].process = Some(child);
        answers((address, 22), BOOT_TIME);
        eventually(BOOT_TIME, "the machine has booted", || {
            let state = self.tell(address, "systemctl is-system-running || :");
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
    }

    /// Ends a machine as a power cut does. Its disk keeps what was written.
    pub fn kill(&mut self, address: &str) {
        let machine = self.find(address);
        self.end(machine);
    }

    /// Runs a script in a machine by SSH and returns what it wrote, its errors too.
    pub fn tell(&self, address: &str, script: &str) -> String {
        let output = Command::new("ssh")
            .args(["-q", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "ConnectTimeout=10", "-i"])
            .arg(self.key())
            .arg(format!("root@{address}"))
            .arg(format!("exec 2>&1\n{script}"))
            .stdin(Stdio::null())
            .output()
            .expect("ssh");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn find(&self, address: &str) -> usize {
        self.machines.iter().rposition(|machine| machine.address == address).expect("one of our addresses")
    }

    fn end(&mut self, machine: usize) {
        let Some(mut process) = self.machines[machine].process.take() else { return };
        let number = self.machines[machine].number;
        end_group(&self.network.namespace(number));
        let _ = process.kill();
        let _ = process.wait();
        self.network.unlink(number);
    }

    fn logs(&self) -> String {
        let log = |machine: &Machine| {
            let path = self.network.directory().join(machine.number.to_string()).join("log");
            let text = std::fs::read(path).unwrap_or_default();
            format!("--- {}:\n{}", machine.address, String::from_utf8_lossy(&text))
        };
        self.machines.iter().map(log).collect()
    }
}

/// Ends all that runs in a machine, ours or one that a run which was killed has left: what is in its control groups.
/// It does not end with `systemd-nspawn`.
fn end_group(name: &str) {
    let hierarchies = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let groups: Vec<PathBuf> = hierarchies.iter().map(|place| Path::new(place).join(name)).collect();
    eventually(END_TIME, "the machine has ended", || groups.iter().all(|group| empty(group)).then_some(()));
}

/// Removes a control group with all below it, and kills whatever is in there. Says whether it is gone.
fn empty(group: &Path) -> bool {
    for pid in std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        pid.parse().into_iter().for_each(kill);
    }
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            empty(&entry.path());
        }
    }
    !group.exists() || std::fs::remove_dir(group).is_ok()
}

impl Drop for SystemdMachines {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the machines said:\n{}", self.logs());
            for machine in self.machines.iter().filter(|machine| machine.process.is_some()) {
                let script = "systemctl list-units --all --no-pager 'jecloud*'; journalctl --no-pager -n 60; \
                              journalctl --namespace=jecloud --no-pager -n 60";
                eprintln!("--- {}:\n{}", machine.address, self.tell(&machine.address, script));
            }
        }
        for machine in 0..self.machines.len() {
            self.end(machine);
            share(
                &self.network.directory().join(self.machines[machine].number.to_string()).join(ARCHIVES),
                &packages(),
            );
        }
    }
}

/// Gives the packages of one directory to another one, too. What is missing is fetched: nothing here has to succeed.
fn share(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let (file, name) = (entry.path(), entry.file_name());
        if file.extension().is_some_and(|extension| extension == "deb") && !to.join(&name).exists() {
            // Under its name only when it is complete.
            let new = to.join(format!("{}.{}.new", name.display(), std::process::id()));
            if std::fs::copy(&file, &new).is_ok() {
                let _ = std::fs::rename(&new, to.join(&name));
            }
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn base() -> PathBuf {
    repository().join(BASE)
}

fn packages() -> PathBuf {
    repository().join(PACKAGES)
}
