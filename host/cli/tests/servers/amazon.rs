//! Servers on EC2: from an account with nothing in it to servers that serve, and back.
//!
//! The account is moto, which speaks the protocol of EC2; behind each instance that runs there, a machine is started at
//! its private address. The state lies in a store that speaks the protocol of S3.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jecloud_testkit::s3::S3Server;
use jecloud_testkit::{Machines, Moto, Output, Project, World, eventually, get, request};

use crate::{says, server};

/// How often it is looked whether there is an instance without a machine.
const GLANCE: Duration = Duration::from_millis(300);

/// The account, and what stands behind its instances.
struct Account {
    moto: Moto,
    store: Arc<S3Server>,
    stop: Arc<AtomicBool>,
    power: Option<std::thread::JoinHandle<()>>,
}

impl Account {
    /// None where this is not done by root.
    fn new(bucket: &str) -> Option<Self> {
        let Some(network) = Machines::new() else {
            eprintln!("left out: only root can make machines of namespaces");
            return None;
        };
        let image = serde_json::json!({
            "ami_id": "ami-0aa1", "name": "debian-12-amd64-20260101-1", "owner_id": "136693071363",
            "architecture": "x86_64", "creation_date": "2026-01-01T00:00:00.000Z", "state": "available",
            "public": true, "image_location": "x", "sriov": "simple", "root_device_type": "ebs",
            "root_device_name": "/dev/xvda", "description": "Debian", "image_type": "machine", "platform": "",
            "virtualization_type": "hvm", "hypervisor": "xen",
        });
        let (moto, store) = (Moto::start(&serde_json::json!([image])), Arc::new(S3Server::start()));
        let stop = Arc::new(AtomicBool::new(false));
        let power = std::thread::spawn({
            let (endpoint, store, stop, bucket) = (moto.endpoint(), store.clone(), stop.clone(), bucket.to_owned());
            move || power(network, &endpoint, &store, &bucket, &stop)
        });
        Some(Self { moto, store, stop, power: Some(power) })
    }

    fn jecloud(&self, project: &Project, more: &[(&str, &str)], args: &[&str]) -> Output {
        let endpoint = self.moto.endpoint();
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID", S3Server::KEY.id),
            ("AWS_SECRET_ACCESS_KEY", S3Server::KEY.secret),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL_EC2", &endpoint),
            ("AWS_ENDPOINT_URL_STS", &endpoint),
        ];
        variables.extend(more);
        project.jecloud_with(&variables, args)
    }

    /// The private addresses of the instances that run.
    fn running(&self) -> BTreeSet<String> {
        running(&self.moto.endpoint())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(power) = self.power.take() {
            let _ = power.join();
        }
    }
}

/// Keeps a machine running behind each instance that runs, until it is told to stop.
fn power(mut network: Machines, endpoint: &str, store: &S3Server, bucket: &str, stop: &AtomicBool) {
    let (mut on, mut has_key) = (BTreeSet::new(), false);
    while !stop.load(Ordering::Relaxed) {
        let running = running(endpoint);
        if let (false, Some(key)) = (has_key, store.contents(bucket, "ssh-key").last()) {
            let pair = jecloud_remote::KeyPair::from_private_text(key).expect("a key pair");
            network.allow(&pair.public_line());
            has_key = true;
        }
        for address in running.difference(&on.clone()) {
            network.start_at(address);
            on.insert(address.clone());
        }
        for address in on.clone().difference(&running) {
            network.kill(address);
            on.remove(address);
        }
        std::thread::sleep(GLANCE);
    }
}

fn running(endpoint: &str) -> BTreeSet<String> {
    let query =
        "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=instance-state-name&Filter.1.Value.1=running";
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=moto/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0",
        ),
    ];
    let answer = request("POST", &format!("{endpoint}/"), &headers, query.as_bytes()).expect("moto answers").body;
    let instances = answer.split("<instanceId>").skip(1);
    let address = |instance: &str| {
        let (_, rest) = instance.split_once("<privateIpAddress>")?;
        Some(rest.split_once("</privateIpAddress>")?.0.to_owned())
    };
    instances.filter_map(address).collect()
}

/// Killed while it makes servers and continued from elsewhere, there are as many as are wanted; two versions, a rollback,
/// more servers and fewer; and in the end nothing that costs anything.
///
/// Fails where a launch is not recorded before it is made, or where what is not wanted any more is not ended.
#[test]
fn from_an_empty_account_to_servers_and_back() {
    let bucket = jecloud_s3::bucket_name(&"shop".parse().expect("a name"), Some("123456789012"), "eu-west-1");
    let Some(account) = Account::new(&bucket) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ec2\"\nregion = \"eu-west-1\"\nendpoint = \"{}\"\n\
         connect = \"private\"\nuser = \"root\"\n[servers.app]\ncount = 2\ntype = \"t3.small\"\n",
        account.store.url()
    );
    let files = [("jecloud.toml", config.as_str()), ("package.json", "{}"), ("server.js", &server("one"))];
    let project = world.project_called("shop", &files);
    let jecloud = |args: &[&str]| account.jecloud(&project, &[], args);

    jecloud(&["status"]).code(1).says("shop is not deployed to production");
    assert_eq!(account.running(), BTreeSet::new(), "asking makes nothing");

    let laptop = world.directory().join("laptop").display().to_string();
    let fault = [("JECLOUD_HOME", laptop.as_str()), ("JECLOUD_FAULT", "cloud.server.create#2=crash")];
    let died = account.jecloud(&project, &fault, &["deploy"]);
    assert_ne!(died.status, 0, "{}", died.said());
    jecloud(&["deploy"]).ok().says("on 2 servers");
    let hosts = account.running();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    hosts.iter().for_each(|host| says(host, "one"));
    jecloud(&["doctor"]).ok();

    project.write("server.js", &server("two"));
    jecloud(&["deploy"]).ok();
    hosts.iter().for_each(|host| says(host, "two"));
    jecloud(&["rollback"]).ok();
    hosts.iter().for_each(|host| says(host, "one"));

    jecloud(&["scale", "app=3"]).ok().says("3 servers now.");
    let three = account.running();
    assert_eq!(three.len(), 3, "{three:?}");
    three.iter().for_each(|host| says(host, "one"));
    jecloud(&["scale", "app=1"]).ok().says("1 server now.");
    eventually(Duration::from_secs(20), "two are terminated", || (account.running().len() == 1).then_some(()));
    let left = account.running();
    left.iter().for_each(|host| says(host, "one"));

    jecloud(&["destroy", "-y"]).ok();
    assert_eq!(account.running(), BTreeSet::new());
    eventually(Duration::from_secs(20), "it is off", || {
        left.iter().all(|host| get(&format!("http://{host}/")).is_err()).then_some(())
    });
    jecloud(&["status"]).code(1).says("is not deployed");
}
