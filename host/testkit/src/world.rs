//! A place of its own for each test.

#![expect(clippy::disallowed_methods, reason = "tests look at what JeCloud leaves on the disk, and make what it finds")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{Output, Spawned, Typed};
use crate::eventually::pause;
use crate::processes::{pids_that_mention, send};
use crate::project::Project;
use crate::{compiled, http};

/// Where programs are searched: that of a plain login, whatever the test was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long what was killed may take to be gone.
const END: Duration = Duration::from_secs(20);

/// A hermetic place: a `JECLOUD_HOME`, a `HOME` and projects of its own, and an environment with nothing of the test's
/// but how the world outside is reached.
///
/// When the last clone and the last [`Project`] are dropped, everything that runs for it is ended and its directory is
/// removed; with `JECLOUD_KEEP=1` the directory of a test that failed stays, and its path is printed.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    /// As it was given.
    built: PathBuf,
    jecloud: PathBuf,
    directory: PathBuf,
}

impl World {
    /// A new world for this binary: `env!("CARGO_BIN_EXE_jecloud")`.
    ///
    /// # Panics
    ///
    /// Where its directory cannot be made.
    #[track_caller]
    pub fn new(jecloud: impl Into<PathBuf>) -> Self {
        // In /tmp whatever TMPDIR says: the path of a socket has room for 108 bytes. The app's user must be able to
        // pass through.
        crate::users::sweep();
        let directory = tempfile::Builder::new()
            .prefix("jc-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .expect("a directory in /tmp")
            .keep();
        // A name of its own for the binary: the one that was given gets another file when somebody builds meanwhile,
        // and with it other hooks. Where /tmp is another file system, the binary is taken as it is.
        let given = jecloud.into();
        let own = directory.join("jecloud");
        let jecloud = if std::fs::hard_link(&given, &own).is_ok() { own } else { given.clone() };
        let world = Self(Arc::new(Inner { built: given.clone(), jecloud, directory }));
        for directory in [world.home(), world.projects(), world.directory().join("user")] {
            std::fs::create_dir(&directory).expect("a directory in a new one");
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        compiled::seed(&given, &world.home());
        world
    }

    /// Everything of this world is below it.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// `JECLOUD_HOME`.
    pub fn home(&self) -> PathBuf {
        self.directory().join("home")
    }

    /// Another home in which nothing was ever done: that of another machine, for `JECLOUD_HOME`. The built-in hooks are
    /// compiled there already, which saves time and means nothing.
    pub fn another_home(&self, name: &str) -> PathBuf {
        let home = self.directory().join(name);
        std::fs::create_dir(&home).expect("a new directory");
        compiled::seed(&self.0.built, &home);
        home
    }

    /// The directory of the server of this world: `JECLOUD_HOME/server`.
    pub fn server(&self) -> PathBuf {
        self.home().join("server")
    }

    fn projects(&self) -> PathBuf {
        self.directory().join("projects")
    }

    /// The binary under test.
    pub fn jecloud_path(&self) -> &Path {
        &self.0.jecloud
    }

    /// All variables that commands get.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut env = base_environment(&self.directory().join("user"));
        env.insert("JECLOUD_HOME".to_owned(), self.home().display().to_string());
        env
    }

    /// A copy of `examples/NAME`, without what earlier deployments and installations left there.
    ///
    /// # Panics
    ///
    /// Where there is no such example, or a project of this name already.
    #[track_caller]
    pub fn copy_example(&self, name: &str) -> Project {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let directory = self.projects().join(name);
        copy_tree(&examples.join(name), &directory);
        Project::new(self.clone(), directory)
    }

    /// A directory `app` with these files.
    ///
    /// # Panics
    ///
    /// Where there is a project of this name already.
    #[track_caller]
    pub fn project(&self, files: &[(&str, &str)]) -> Project {
        self.project_called("app", files)
    }

    /// A directory of this name with these files.
    ///
    /// # Panics
    ///
    /// Where there is a project of this name already.
    #[track_caller]
    pub fn project_called(&self, name: &str, files: &[(&str, &str)]) -> Project {
        let directory = self.projects().join(name);
        std::fs::create_dir(&directory).expect("a new directory");
        let project = Project::new(self.clone(), directory);
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// A `jecloud` command that is typed in no project.
    #[track_caller]
    pub fn jecloud(&self, args: &[&str]) -> Output {
        Typed::new(self.jecloud_path(), args, &self.directory().join("user"), self.environment()).run()
    }

    /// Any other program, with the environment of this world.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        Typed::new(program, args, &self.directory().join("user"), self.environment()).run()
    }

    /// Any other program, in the background.
    #[track_caller]
    pub fn spawn(&self, program: &str, args: &[&str]) -> Spawned {
        Typed::new(program, args, &self.directory().join("user"), self.environment()).spawn()
    }

    /// What a URL answers: status and body. See [`http::get`] for one that may fail.
    ///
    /// # Panics
    ///
    /// Where there is no answer.
    #[track_caller]
    pub fn get(&self, url: &str) -> (u16, String) {
        match http::get(url) {
            Ok(response) => (response.status, response.body),
            Err(error) => panic!("GET {url}: {error}"),
        }
    }

    /// The process that a pid file of the server names, if it runs: `supervisor`, `front`.
    pub fn pid_of(&self, who: &str) -> Option<u32> {
        let path = self.server().join("sys/pids").join(format!("{who}.pid"));
        let pid = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
        // The number may have been given to somebody else since.
        self.processes().contains(&pid).then_some(pid)
    }

    /// All live processes that belong to this world.
    pub fn processes(&self) -> Vec<u32> {
        pids_that_mention(self.directory())
    }

    /// Ends the process manager, the front and all processes as a person would.
    #[track_caller]
    pub fn shut_down(&self) {
        let root = self.server().display().to_string();
        self.jecloud(&["update-server", "shutdown", "--root", &root]).ok();
    }
}

/// How the world outside is reached, where a machine has to be told: all that is taken over from the test's environment.
const WAY_OUT: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What every command gets.
pub(crate) fn base_environment(home: &Path) -> BTreeMap<String, String> {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env: BTreeMap<_, _> =
        WAY_OUT.iter().filter_map(|name| Some(variable(name, &std::env::var(name).ok()?))).collect();
    env.extend([variable("PATH", PATH), variable("HOME", &home.display().to_string()), variable("LANG", "C.UTF-8")]);
    env
}

impl Drop for Inner {
    fn drop(&mut self) {
        let root = self.directory.join("home/server");
        let env = base_environment(&self.directory.join("user"));
        if !pids_that_mention(&self.directory).is_empty() {
            let args = ["update-server", "shutdown", "--root", &root.display().to_string()];
            let shutdown = || Typed::new(&self.jecloud, &args, Path::new("/"), env).run();
            // A test that failed may have left anything; what stays is killed.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(shutdown));
        }
        let end = Instant::now() + END;
        loop {
            let left = pids_that_mention(&self.directory);
            if left.is_empty() {
                break;
            }
            if Instant::now() > end {
                eprintln!("processes {left:?} of {} cannot be ended", self.directory.display());
                break;
            }
            left.into_iter().for_each(|pid| send(pid, Signal::KILL));
            pause();
        }
        crate::users::remove_below(&self.directory);
        let is_wanted = std::thread::panicking() && std::env::var("JECLOUD_KEEP").is_ok_and(|keep| keep == "1");
        if is_wanted {
            eprintln!("kept: {}", self.directory.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{} cannot be removed: {error}", self.directory.display());
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let name = entry.file_name();
        if name == "node_modules" || name == "jecloud.lock" {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
    }
}
