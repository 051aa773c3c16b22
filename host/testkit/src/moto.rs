//! EC2, S3 and STS on this machine: moto, which speaks their protocols. Behind its instances is no machine.
//!
//! It serves one request at a time: it checks and writes without a lock. It shows instances as running at once, does not
//! know client tokens, and lets a security group in use be deleted.

#![expect(clippy::disallowed_methods, reason = "a test starts a server")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// Where `cargo xtask test` installs it.
const PYTHON: &str = "target/tools/moto/bin/python";

/// How long it may take to answer: it loads for a second or two, and other tests run at the same time.
const START: Duration = Duration::from_secs(60);

/// One thread, on a port that is free; ends when its input does, also where the test was killed.
const SERVE: &str = "
import os, sys, threading
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
import moto.ec2.models.amis as images
import moto.ec2.models.vpcs as networks
# The dates of images are read once for each region, and are dates already at the second time.
parse = images.parse_timestamp
images.parse_timestamp = lambda date: parse(date) if isinstance(date, str) else date
# Several on one machine, each with machines behind its instances, must not give out the same addresses.
make_vpc = networks.VPCBackend.create_vpc
def create_vpc(self, *arguments, **options):
    if options.get('is_default') and 'DEFAULT_VPC' in os.environ:
        options['cidr_block'] = os.environ['DEFAULT_VPC']
    return make_vpc(self, *arguments, **options)
networks.VPCBackend.create_vpc = create_vpc
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server = make_server('127.0.0.1', 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.port, flush=True)
server.serve_forever()
";

/// A server that knows nothing but what a test makes. It is ended with this.
pub struct Moto {
    port: u16,
    process: Child,
    complained: mpsc::Receiver<Vec<u8>>,
    directory: TempDir,
}

/// So much of what it said is shown when a test failed.
const SHOWN: usize = 4096;

impl Moto {
    /// A new one, with these images: a list in the form of moto's own.
    ///
    /// # Panics
    ///
    /// Where it is not installed, with what to type, and where it does not start.
    pub fn start(images: &serde_json::Value) -> Self {
        Self::start_in("172.31.0.0/16", images)
    }

    /// The same; the default VPC has the addresses of this network.
    ///
    /// # Panics
    ///
    /// As [`Moto::start`].
    pub fn start_in(network: &str, images: &serde_json::Value) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python: PathBuf = root.join(PYTHON);
        assert!(python.exists(), "{PYTHON} is missing: `cargo xtask test -p jecloud-ec2` installs it");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("images.json");
        std::fs::write(&file, images.to_string()).expect("a file");
        let mut process = Command::new(python)
            .args(["-c", SERVE])
            .env("DEFAULT_VPC", network)
            .env("MOTO_AMIS_PATH", file)
            .env("MOTO_ENABLE_AMI_VALIDATION", "true")
            .env("MOTO_ENABLE_KEYPAIR_VALIDATION", "true")
            .env("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "true")
            // It looks for credentials of its own otherwise.
            .env("AWS_ACCESS_KEY_ID", "moto")
            .env("AWS_SECRET_ACCESS_KEY", "moto")
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python starts");
        let (sender, lines) = mpsc::channel();
        let output = process.stdout.take().expect("its output");
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(line);
        });
        // It says a line about each request, for which there must be room.
        let mut complaints = process.stderr.take().expect("its complaints");
        let (complain, complained) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = complaints.read(&mut bytes) {
                let _ = complain.send(bytes[..count].to_vec());
            }
        });
        let line = lines.recv_timeout(START).unwrap_or_default();
        let port = line.trim().parse().unwrap_or_else(|_| {
            let _ = process.kill();
            let words: Vec<u8> = complained.iter().flatten().collect();
            panic!("moto does not start: {}", String::from_utf8_lossy(&words))
        });
        Self { port, process, complained, directory }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where its files lie.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let words: Vec<u8> = self.complained.iter().flatten().collect();
            let last = &words[words.len().saturating_sub(SHOWN)..];
            eprintln!("the last that moto said:\n{}", String::from_utf8_lossy(last));
        }
    }
}
