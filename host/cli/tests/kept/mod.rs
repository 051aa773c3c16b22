//! An app that is a Redis alone, what is in it, and its backups, told to the server as the other end tells it.

#![expect(clippy::disallowed_methods, reason = "looks at files as they lie on the disk")]
// Each of the test programs that have it uses a part of it.
#![allow(dead_code, reason = "no part is used by none of them")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jecloud_testkit::{Output, Project, World, eventually};
use serde_json::Value;

/// How long a backup may take that is restored once, on a machine that does a lot besides.
const END: Duration = Duration::from_secs(120);

/// The name of the app.
pub(crate) const APP: &str = "kept";

/// A deployed app with a Redis.
pub(crate) struct Kept {
    pub(crate) world: World,
    pub(crate) project: Project,
}

impl Kept {
    /// In production. Deploying brings the key of backups.
    pub(crate) fn deployed() -> Self {
        Self::with("")
    }

    /// In production, with this in its jecloud.toml.
    pub(crate) fn with(config: &str) -> Self {
        let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
        let config = format!("app = \"kept\"\n[services.redis]\n{config}");
        let project = world.project_called(APP, &[("jecloud.toml", config.as_str())]);
        project.jecloud(&["deploy"]).ok();
        Self { world, project }
    }

    /// Deploys an environment.
    pub(crate) fn deploy(&self, environment: &str) {
        self.project.jecloud(&["deploy", "-e", environment]).ok();
    }

    /// The directory of an environment on the server.
    pub(crate) fn place(&self, environment: &str) -> PathBuf {
        self.world.server().join(APP).join(environment)
    }

    /// The password that was made for an environment's Redis.
    pub(crate) fn password(&self, environment: &str) -> String {
        let secrets = json(&self.place(environment).join("secrets.json"));
        secrets["redis-password"].as_str().expect("a password").to_owned()
    }

    fn port(&self, environment: &str) -> u16 {
        let table = json(&self.place(environment).join("processes.json"));
        let port = table["processes"][0]["ports"]["redis"].as_u64().expect("a port");
        u16::try_from(port).expect("a port")
    }

    /// A connection to the Redis of an environment.
    pub(crate) fn connect(&self, environment: &str) -> Connection {
        let (port, password) = (self.port(environment), self.password(environment));
        let answers = || {
            let mut connection = Connection { stream: TcpStream::connect(("127.0.0.1", port)).ok()? };
            connection.stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
            (connection.ask(&format!("AUTH {password}")) == "+OK" && connection.ask("PING") == "+PONG")
                .then_some(connection)
        };
        eventually(END, "Redis answers", answers)
    }

    /// Asks production's Redis one thing.
    pub(crate) fn asked(&self, words: &str) -> String {
        self.connect("production").ask(words)
    }

    /// `update-server backup` of production.
    pub(crate) fn backup(&self, id: &str, more: &[&str]) -> Output {
        self.backup_with(&[], id, more)
    }

    pub(crate) fn backup_with(&self, env: &[(&str, &str)], id: &str, more: &[&str]) -> Output {
        let args = [&["update-server", "backup", APP, "production", "redis", id][..], more].concat();
        self.project.jecloud_with(env, &args)
    }

    /// What the server says of backups.
    pub(crate) fn backups(&self, environment: &str) -> Value {
        self.project.jecloud(&["update-server", "backups", APP, environment]).ok().json()
    }

    /// What the server says of one; none where it does not know it.
    pub(crate) fn find(&self, id: &str) -> Option<Value> {
        let all = self.backups("production");
        all["backups"].as_array().into_iter().flatten().find(|backup| backup["id"] == id).cloned()
    }

    /// The backup at its end.
    pub(crate) fn ended(&self, id: &str) -> Value {
        eventually(END, "the backup is at its end", || {
            self.find(id).filter(|backup| backup["state"] == "done" || backup["state"] == "failed")
        })
    }

    /// A backup that must be good.
    pub(crate) fn good(&self, id: &str, more: &[&str]) -> Value {
        self.backup(id, more).ok();
        let backup = self.ended(id);
        assert_eq!(backup["state"], "done", "{backup:#}");
        backup
    }

    /// The manifests of production's backups in the app's store.
    pub(crate) fn stored(&self) -> Vec<Value> {
        let store = self.world.home().join("clouds").join(APP).join("backups/production/redis");
        let documents = names(&store).into_iter().filter(|name| name.ends_with(".json"));
        documents.map(|name| json(&store.join(name))).collect()
    }

    /// A copy of the sealed file, as it comes back from the object store.
    pub(crate) fn fetched(&self, backup: &Value) -> PathBuf {
        let file = backup["file"].as_str().expect("a file");
        let into = self.world.directory().join("fetched.sealed");
        std::fs::copy(file, &into).expect("it can be read");
        into
    }

    /// `update-server restore`.
    pub(crate) fn restore(&self, environment: &str, file: &Path, manifest: &Value) -> Output {
        let file = file.display().to_string();
        let args = ["update-server", "restore", APP, environment, "redis", &file];
        self.project.jecloud_reading(&manifest.to_string(), &args)
    }

    /// The restore at its end.
    pub(crate) fn restored(&self, environment: &str) -> Value {
        eventually(END, "it is brought back", || {
            let restore = self.backups(environment)["restore"].clone();
            (restore["state"] == "done" || restore["state"] == "failed").then_some(restore)
        })
    }

    /// What is left on the server of making backups and bringing them back: nothing, but documents and sealed files.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        let app = self.world.server().join(APP);
        for environment in names(&app) {
            if environment.contains("scratch") {
                left.push(environment);
                continue;
            }
            let place = app.join(&environment);
            let of_services = names(&place.join("services")).into_iter().filter(|name| name != "redis");
            left.extend(of_services.map(|name| format!("{environment}/services/{name}")));
            let copy = place.join("services/redis/backup");
            left.extend(copy.exists().then(|| copy.display().to_string()));
            let is_kept = |name: &String| {
                name.strip_suffix(".json").or(name.strip_suffix(".sealed")).is_some_and(|id| id.len() == 25)
            };
            left.extend(names(&place.join("backups")).into_iter().filter(|name| !is_kept(name)));
        }
        let users = names(&self.world.server().join("sys/users"));
        left.extend(users.into_iter().filter(|name| name.contains("scratch")));
        left
    }
}

/// A connection to Redis.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// What it answers to an inline command, in one line: `+OK`, `$5 hello`.
    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.try_ask(words).unwrap_or_else(|error| format!("nothing: {error}"))
    }

    fn try_ask(&mut self, words: &str) -> std::io::Result<String> {
        self.stream.write_all(format!("{words}\r\n").as_bytes())?;
        let line = self.line()?;
        match line.strip_prefix('$') {
            Some("-1") | None => Ok(line),
            Some(_) => Ok(format!("{line} {}", self.line()?)),
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Sets so many keys of so many bytes, of which nothing is the same as anything else.
    pub(crate) fn fill(&mut self, keys: usize, bytes: usize) {
        let value = vec![b'x'; bytes];
        for key in 0..keys {
            let head = format!("*3\r\n$3\r\nSET\r\n$8\r\nfill{key:04}\r\n${bytes}\r\n");
            self.stream.write_all(head.as_bytes()).expect("written");
            let mut value = value.clone();
            let mut state = (key as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for chunk in value.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
            }
            self.stream.write_all(&value).and_then(|()| self.stream.write_all(b"\r\n")).expect("written");
            assert_eq!(self.line().expect("an answer"), "+OK");
        }
    }
}

/// A JSON document.
pub(crate) fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names: BTreeMap<String, ()> =
        entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), ())).collect();
    names.into_keys().collect()
}
