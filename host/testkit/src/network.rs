//! A network of machines on this one: a bridge, and a network namespace per machine at the other end of a link.

#![expect(clippy::disallowed_methods, reason = "a test makes a network")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::sshd::keygen;

/// A bridge that is ours, and a directory for what its machines need. Removed with this.
pub(crate) struct Network {
    directory: TempDir,
    name: String,
    subnet: u8,
    /// The numbers of the machines that have a link.
    linked: Vec<usize>,
    is_masqueraded: bool,
}

impl Network {
    /// A network that nobody else has; none where this is not done by root.
    ///
    /// # Panics
    ///
    /// Where the system cannot do it: `ip` is needed.
    pub(crate) fn claim() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let directory = TempDir::new_in("/tmp").expect("a directory");
        // A name of an interface has 15 characters.
        let (name, subnet) = (0..=255)
            .map(|subnet| (format!("jcb{subnet}"), subnet))
            .find(|(name, _)| runs("ip", &["link", "add", name, "type", "bridge"]))
            .expect("a network that is free");
        let network = Self { directory, name, subnet, linked: Vec::new(), is_masqueraded: false };
        let ours = format!("{}/24", network.address_of(1));
        must("ip", &["address", "add", &ours, "dev", &network.name]);
        must("ip", &["link", "set", &network.name, "up"]);
        keygen(&network.key(), "");
        Some(network)
    }

    /// See [`crate::Machines::private_network`].
    pub(crate) fn private_network(&self) -> String {
        // The addresses that providers use between themselves and their customers: RFC 6598.
        assert!(self.subnet < 64, "so many networks at the same time");
        format!("100.{}.0.0/16", 64 + self.subnet)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Removes the links and namespaces of a network whose owner was killed. Its processes ended with it.
    pub(crate) fn remove_left_over(name: &str) {
        let namespaces = Command::new("ip").args(["netns", "list"]).stdin(Stdio::null()).output();
        let namespaces = namespaces.map(|output| output.stdout).unwrap_or_default();
        // `jcb0-2 (id: 3)`
        for line in String::from_utf8_lossy(&namespaces).lines() {
            let namespace = line.split_whitespace().next().unwrap_or_default();
            let Some((owner, number)) = namespace.rsplit_once('-') else { continue };
            if owner == name {
                runs("ip", &["link", "delete", &format!("{name}p{number}")]);
                runs("ip", &["netns", "delete", namespace]);
            }
        }
        runs("ip", &["link", "delete", name]);
    }

    /// Below it lies all that the machines need.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The private key that opens all machines, for root.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// The lines of `authorized_keys`.
    pub(crate) fn authorized_keys(&self) -> PathBuf {
        self.key().with_extension("pub")
    }

    /// Lets in whoever has this key, too.
    pub(crate) fn allow(&self, public_line: &str) {
        let path = self.authorized_keys();
        let text = std::fs::read_to_string(&path).expect("the file");
        std::fs::write(path, format!("{text}{public_line}\n")).expect("the file");
    }

    pub(crate) fn address_of(&self, number: usize) -> String {
        format!("10.213.{}.{number}", self.subnet)
    }

    pub(crate) fn namespace(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// The end of a machine's link that is ours.
    pub(crate) fn outside(&self, number: usize) -> String {
        format!("{}p{number}", self.name)
    }

    /// Gives a machine a link, at an address that may be any.
    pub(crate) fn link(&mut self, number: usize, address: &str) {
        let namespace = self.namespace(number);
        let (inside, outside) = (format!("eth{number}"), self.outside(number));
        self.unlink(number);
        self.linked.push(number);
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
    }

    /// Removes a machine's link and its namespace, where there are any: ours, or what a run that was killed has left.
    ///
    /// The name of the network is claimed by its bridge, so that nobody else has them. A namespace that is deleted ends
    /// some time later, and its link with it: whoever wants the name again right away must have removed the link.
    pub(crate) fn unlink(&mut self, number: usize) {
        runs("ip", &["link", "delete", &self.outside(number)]);
        runs("ip", &["netns", "delete", &self.namespace(number)]);
        self.linked.retain(|linked| *linked != number);
    }

    /// Lets the machines reach what this machine reaches. This one forwards packets from then on.
    pub(crate) fn masquerade(&mut self) {
        self.is_masqueraded = true;
        runs("nft", &["delete", "table", "ip", &self.name]);
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("this machine forwards packets");
        must("nft", &["add", "table", "ip", &self.name]);
        let chain = ["add", "chain", "ip", &self.name, "out", "{ type nat hook postrouting priority 100 ; }"];
        must("nft", &chain);
        let from = format!("{{ {}/24, {} }}", self.address_of(0), self.private_network());
        let rule = ["add", "rule", "ip", &self.name, "out", "ip", "saddr", &from, "oifname", "!=", &self.name];
        must("nft", &[rule.as_slice(), &["masquerade"]].concat());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in self.linked.clone() {
            self.unlink(number);
        }
        if self.is_masqueraded {
            runs("nft", &["delete", "table", "ip", &self.name]);
        }
        runs("ip", &["link", "delete", &self.name]);
    }
}

/// Whether a command succeeds.
pub(crate) fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[track_caller]
pub(crate) fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}
