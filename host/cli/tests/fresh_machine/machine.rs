//! A Debian 12 with nothing on it, beside this machine: files of its own, processes of its own, the same network.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use jecloud_testkit::{eventually, is_alive};

/// What a login has in its PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why there can be no such machine here; none where there can be one.
pub(crate) fn obstacle() -> Option<&'static str> {
    let works = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !works("sh", &["-c", "test $(id -u) = 0"]) {
        return Some("it needs root");
    }
    if !works("unshare", &["--mount", "--pid", "--fork", "true"]) {
        return Some("root may not make namespaces here");
    }
    if !works("debootstrap", &["--version"]) && !works("apt-get", &["install", "-y", "-q", "debootstrap"]) {
        return Some("debootstrap is not here and cannot be installed");
    }
    None
}

/// A machine. When it is dropped, its processes have ended and its files are gone.
pub(crate) struct Machine {
    root: PathBuf,
    /// `unshare`, whose child is the machine's first process. The kernel ends all others with that one, and the mounts
    /// are in a namespace that nobody else sees.
    outer: Child,
    first: u32,
}

impl Machine {
    /// Installs Debian and starts the machine.
    pub(crate) fn start() -> Self {
        let root = tempfile::Builder::new().prefix("jc-fresh-").tempdir_in("/tmp").expect("a directory in /tmp").keep();
        command("tar", ["-C".as_ref(), root.as_os_str(), "-xf".as_ref(), base().as_os_str()]);
        fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("this machine has a resolver");
        // A way out through a proxy is the same for both.
        for entry in fs::read_dir("/etc/apt/apt.conf.d").into_iter().flatten().flatten() {
            if fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("Proxy")) {
                let to = root.join("etc/apt/apt.conf.d").join(entry.file_name());
                fs::copy(entry.path(), to).expect("a file of apt");
            }
        }
        let mut outer = Command::new("unshare");
        outer.args(["--mount", "--pid", "--fork", "--kill-child"]);
        outer.arg(format!("--mount-proc={}", root.join("proc").display()));
        // The first process takes over those whose parents have ended, and has to wait for them.
        outer.arg("chroot").arg(&root).args(["sh", "-c", "while :; do sleep 1 & wait; done"]);
        let outer = outer.env_clear().env("PATH", PATH).stdin(Stdio::null()).spawn().expect("unshare is here");
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let first = eventually(Duration::from_secs(20), "the machine has a first process", || {
            let child = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            // It is inside, with its own /proc.
            (fs::read_link(format!("/proc/{child}/root")).ok()? == root).then_some(child)
        });
        Self { root, outer, first }
    }

    /// A file of it, by its absolute path.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Has a user of the machine type a line, at home.
    pub(crate) fn types(&self, user: &str, line: &str) -> Output {
        let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--mount", "--pid", "--root", "--wd"]);
        command.args(["--", "setpriv", "--reuid", user, "--regid", user, "--init-groups"]);
        command.args(["sh", "-c", &format!("cd {home} && {line}")]);
        command.env_clear().envs([("PATH", PATH), ("HOME", &home), ("LANG", "C.UTF-8")]).stdin(Stdio::null());
        command.output().expect("nsenter is here")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its own child ends with it, and everything in the namespace with that.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        eventually(Duration::from_secs(20), "the machine has ended", || (!is_alive(self.first)).then_some(()));
        let removed = Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.root).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("{} cannot be removed", self.root.display());
        }
    }
}

/// The archive of a new Debian 12. It is made once, and kept with what the tests were built into.
fn base() -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-12.tar");
    if !kept.exists() {
        let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for tests");
        let tree = made.path().join("tree");
        let words = ["--variant=minbase", "--include=ca-certificates", "bookworm"].map(OsStr::new);
        command("debootstrap", words.into_iter().chain([tree.as_os_str()]));
        // As images of it come: without lists and without downloads.
        for directory in ["var/lib/apt/lists", "var/cache/apt"] {
            fs::remove_dir_all(tree.join(directory)).expect("it is ours");
            fs::create_dir_all(tree.join(directory).join("partial")).expect("it is ours");
        }
        fs::create_dir_all(tree.join("var/cache/apt/archives/partial")).expect("it is ours");
        let archive = made.path().join("archive");
        let words = ["-C".as_ref(), tree.as_os_str(), "-cf".as_ref(), archive.as_os_str(), ".".as_ref()];
        command("tar", words);
        fs::rename(&archive, &kept).expect("a name in the same directory");
    }
    kept
}

/// Runs a program of this machine, which must succeed.
#[track_caller]
fn command<'a>(program: &str, args: impl IntoIterator<Item = &'a OsStr>) {
    let output = Command::new(program).args(args).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = || String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {}\n{}", output.status, said());
}
