//! A cloud on this machine: an account with nothing in it, and a machine behind each instance that runs there.
//!
//! EC2 is moto, which speaks its protocol; S3 is a store in memory that does. A machine is a namespace with an SSH
//! server, or a Debian that boots systemd, at the private address of its instance: it comes when the instance runs, and
//! goes when it does not any more.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "machines come and go at a fixed pace, and a key is a file"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::http::request;
use crate::machines::Machines;
use crate::moto::Moto;
use crate::nspawn::SystemdMachines;
use crate::s3::S3Server;

/// How often it is looked whether there is an instance without a machine.
const GLANCE: Duration = Duration::from_millis(100);

/// The key of an app that opens its servers: an object of its own in the app's bucket.
const KEY_PAIR: &str = "ssh-key";

/// The region that it is asked for.
pub const REGION: &str = "eu-west-1";

/// The account, and what stands behind its instances. All of it is ended and removed with this.
pub struct TestCloud {
    moto: Moto,
    store: Arc<S3Server>,
    network: String,
    directories: Vec<PathBuf>,
    stop: Arc<AtomicBool>,
    power: Option<std::thread::JoinHandle<()>>,
}

/// An instance, as the account lists it; one that has ended, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestInstance {
    /// `i-…`
    pub id: String,
    /// `running`, `terminated`.
    pub state: String,
    /// Its private address; one that has ended has none.
    pub address: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl TestCloud {
    /// An account with nothing in it; none where this is not done by root.
    ///
    /// # Panics
    ///
    /// Where the system cannot do it, or moto is not installed: as for [`Machines::new`] and [`Moto::start`].
    pub fn start() -> Option<Self> {
        Self::start_watched(|_| {})
    }

    /// The same, and `on_start` is told the process of each machine as it starts.
    ///
    /// # Panics
    ///
    /// As [`TestCloud::start`].
    pub fn start_watched(on_start: impl FnMut(u32) + Send + 'static) -> Option<Self> {
        let Some(machines) = Machines::new() else {
            eprintln!("left out: only root can make machines of namespaces");
            return None;
        };
        Some(Self::start_on(machines, on_start))
    }

    /// The same with a Debian that boots systemd behind each instance; it has what a fresh one has, and can install more.
    /// None where there cannot be any: then what is missing has been said.
    ///
    /// # Panics
    ///
    /// As for [`SystemdMachines::new`] and [`Moto::start`].
    pub fn start_with_systemd() -> Option<Self> {
        Some(Self::start_on(SystemdMachines::new()?, |_| {}))
    }

    fn start_on(machines: impl Behind, on_start: impl FnMut(u32) + Send + 'static) -> Self {
        let image = serde_json::json!({
            "ami_id": "ami-0aa1", "name": "debian-12-amd64-20260101-1", "owner_id": "136693071363",
            "architecture": "x86_64", "creation_date": "2026-01-01T00:00:00.000Z", "state": "available",
            "public": true, "image_location": "x", "sriov": "simple", "root_device_type": "ebs",
            "root_device_name": "/dev/xvda", "description": "Debian", "image_type": "machine", "platform": "",
            "virtualization_type": "hvm", "hypervisor": "xen",
        });
        // The routes to machines are those of the whole machine: no two clouds may have the same addresses.
        let moto = Moto::start_in(&machines.private_network(), &serde_json::json!([image]));
        let store = Arc::new(S3Server::start());
        let (network, stop) = (machines.name().to_owned(), Arc::new(AtomicBool::new(false)));
        let directories = vec![machines.directory().to_owned(), moto.directory().to_owned()];
        let power = std::thread::spawn({
            let (endpoint, store, stop) = (moto.endpoint(), Arc::clone(&store), Arc::clone(&stop));
            move || Power { machines, endpoint, on_start }.keep_in_step(&store, &stop)
        });
        Self { moto, store, network, directories, stop, power: Some(power) }
    }

    /// The store.
    pub fn store(&self) -> &S3Server {
        &self.store
    }

    /// The name of the network of its machines: see [`Machines::remove_left_over`].
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The directories that are removed with it.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The process that answers for EC2.
    pub fn moto_pid(&self) -> u32 {
        self.moto.pid()
    }

    /// The variables that lead the AWS command line, and JeCloud, to this account.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoint = self.moto.endpoint();
        vec![
            ("AWS_ACCESS_KEY_ID", S3Server::KEY.id.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", S3Server::KEY.secret.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ENDPOINT_URL_EC2", endpoint.clone()),
            ("AWS_ENDPOINT_URL_STS", endpoint),
        ]
    }

    /// The section of jecloud.toml that goes with them.
    pub fn cloud_section(&self) -> String {
        format!(
            "[cloud]\nprovider = \"ec2\"\nregion = \"{REGION}\"\nendpoint = \"{}\"\nconnect = \"private\"\nuser = \"root\"\n",
            self.store.url()
        )
    }

    /// All instances that the account knows, those that have ended too.
    ///
    /// # Panics
    ///
    /// Where the account does not answer; so for all below.
    pub fn instances(&self) -> Vec<TestInstance> {
        instances(&self.moto.endpoint())
    }

    /// The private addresses of the instances that run.
    pub fn running(&self) -> BTreeSet<String> {
        running(&self.moto.endpoint())
    }

    /// Ends an instance as somebody does who does not know of JeCloud.
    pub fn terminate(&self, id: &str) {
        let query = format!("Action=TerminateInstances&Version=2016-11-15&InstanceId.1={id}");
        ask(&self.moto.endpoint(), &query);
    }

    /// What there is in the account, as a text that is another one when anything of it is: instances, groups with what
    /// they let in, keys, objects, and how often each was written.
    pub fn footprint(&self) -> String {
        let endpoint = self.moto.endpoint();
        let groups = ask(&endpoint, "Action=DescribeSecurityGroups&Version=2016-11-15");
        let groups = ["groupId", "fromPort", "cidrIp", "cidrIpv6"].map(|element| all(&groups, element));
        let keys = all(&ask(&endpoint, "Action=DescribeKeyPairs&Version=2016-11-15"), "keyName");
        let mut objects = Vec::new();
        for bucket in self.store.bucket_names() {
            for key in self.store.bucket(&bucket).map(|bucket| bucket.keys).unwrap_or_default() {
                objects.push((self.store.contents(&bucket, &key).len(), key));
            }
        }
        format!("{:?} {groups:?} {keys:?} {objects:?}", self.instances())
    }

    /// What of this app is left in EC2 but instances that have ended: groups and keys, by name.
    pub fn shared_of(&self, app: &str) -> Vec<String> {
        let endpoint = self.moto.endpoint();
        let of = |action: &str, element: &str| {
            let answer = ask(
                &endpoint,
                &format!("Action={action}&Version=2016-11-15&Filter.1.Name=tag%3Ajecloud%3Aapp&Filter.1.Value.1={app}"),
            );
            all(&answer, element)
        };
        [of("DescribeSecurityGroups", "groupName"), of("DescribeKeyPairs", "keyName")].concat()
    }
}

impl Drop for TestCloud {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(power) = self.power.take() {
            let _ = power.join();
        }
    }
}

/// What machines can be of that stand behind instances.
trait Behind: Send + 'static {
    fn name(&self) -> &str;
    fn directory(&self) -> &Path;
    fn key(&self) -> PathBuf;
    fn private_network(&self) -> String;
    fn allow(&self, public_line: &str);
    fn start_at(&mut self, address: &str) -> u32;
    fn kill(&mut self, address: &str);
}

macro_rules! behind {
    ($machines:ty) => {
        impl Behind for $machines {
            fn name(&self) -> &str {
                <$machines>::name(self)
            }

            fn directory(&self) -> &Path {
                <$machines>::directory(self)
            }

            fn key(&self) -> PathBuf {
                <$machines>::key(self)
            }

            fn private_network(&self) -> String {
                <$machines>::private_network(self)
            }

            fn allow(&self, public_line: &str) {
                <$machines>::allow(self, public_line);
            }

            fn start_at(&mut self, address: &str) -> u32 {
                <$machines>::start_at(self, address)
            }

            fn kill(&mut self, address: &str) {
                <$machines>::kill(self, address);
            }
        }
    };
}

behind!(Machines);
behind!(SystemdMachines);

/// Keeps a machine running behind each instance that runs.
struct Power<M, F> {
    machines: M,
    endpoint: String,
    on_start: F,
}

impl<M: Behind, F: FnMut(u32)> Power<M, F> {
    fn keep_in_step(mut self, store: &S3Server, stop: &AtomicBool) {
        let (mut on, mut allowed) = (BTreeSet::new(), BTreeSet::new());
        while !stop.load(Ordering::Relaxed) {
            let running = running(&self.endpoint);
            for bucket in store.bucket_names() {
                let Some(key) = store.contents(&bucket, KEY_PAIR).pop() else { continue };
                if allowed.insert(key.clone()) {
                    self.machines.allow(&self.public_line(&key));
                }
            }
            for address in running.difference(&on.clone()) {
                let process = self.machines.start_at(address);
                (self.on_start)(process);
                on.insert(address.clone());
            }
            for address in on.clone().difference(&running) {
                self.machines.kill(address);
                on.remove(address);
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The public half of a private key.
    fn public_line(&self, private: &[u8]) -> String {
        let path = self.machines.key().with_file_name("key-of-an-app");
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).expect("a file");
        file.write_all(private).expect("the file");
        drop(file);
        let output = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&path).stdin(Stdio::null()).output();
        let output = output.expect("ssh-keygen");
        std::fs::remove_file(&path).expect("the file");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a public key").trim().to_owned()
    }
}

/// One question to EC2.
fn ask(endpoint: &str, query: &str) -> String {
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential=moto/20260101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0");
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("authorization", &*authorization)];
    let answer = request("POST", &format!("{endpoint}/"), &headers, query.as_bytes()).expect("moto answers");
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body
}

fn running(endpoint: &str) -> BTreeSet<String> {
    let running = instances(endpoint).into_iter().filter(|instance| instance.state == "running");
    running.filter_map(|instance| instance.address).collect()
}

fn instances(endpoint: &str) -> Vec<TestInstance> {
    let answer = ask(endpoint, "Action=DescribeInstances&Version=2016-11-15");
    let describe = |text: &str| {
        let (_, state) = text.split_once("<instanceState>").unwrap_or_default();
        let (_, tags) = text.split_once("<tagSet>").unwrap_or_default();
        let (tags, _) = tags.split_once("</tagSet>").unwrap_or_default();
        TestInstance {
            id: text.split_once('<').unwrap_or_default().0.to_owned(),
            state: first(state, "name").unwrap_or_default(),
            address: first(text, "privateIpAddress").filter(|address| !address.is_empty()),
            tags: all(tags, "key").into_iter().zip(all(tags, "value")).collect(),
        }
    };
    answer.split("<instanceId>").skip(1).map(describe).collect()
}

fn first(text: &str, element: &str) -> Option<String> {
    all(text, element).into_iter().next()
}

/// What stands in all elements of this name.
fn all(text: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}
