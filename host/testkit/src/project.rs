//! The directory of an app, as the person sees it who works in it.

#![expect(clippy::disallowed_methods, reason = "tests write the files of an app")]

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{Output, Spawned, Typed};
use crate::http::{self, Response};
use crate::world::World;

/// The directory of an app in a [`World`].
#[derive(Clone)]
pub struct Project {
    world: World,
    directory: PathBuf,
}

impl Project {
    pub(crate) fn new(world: World, directory: PathBuf) -> Self {
        Self { world, directory }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where it lives.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Writes a file, and the directories above it.
    ///
    /// # Panics
    ///
    /// Where it cannot be written; so for all below.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("the directories above a file");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Reads a file; none where there is none.
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.join(path)).ok()
    }

    /// Removes a file.
    #[track_caller]
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.directory.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Replaces a text in a file that must hold it.
    #[track_caller]
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path).unwrap_or_else(|| panic!("there is no {path}"));
        assert!(text.contains(from), "{path} does not hold {from:?}");
        self.write(path, &text.replace(from, to));
    }

    /// A `jecloud` command, typed in this directory.
    #[track_caller]
    pub fn jecloud(&self, args: &[&str]) -> Output {
        self.typed(&[], args).run()
    }

    /// The same with more variables; one of the world's own is replaced.
    #[track_caller]
    pub fn jecloud_with(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        self.typed(env, args).run()
    }

    /// The same with something on standard input, which is no terminal.
    #[track_caller]
    pub fn jecloud_reading(&self, input: &str, args: &[&str]) -> Output {
        Typed { input: input.as_bytes().to_vec(), ..self.typed(&[], args) }.run()
    }

    /// The same with something on standard input and more variables.
    #[track_caller]
    pub fn jecloud_reading_with(&self, env: &[(&str, &str)], input: &str, args: &[&str]) -> Output {
        Typed { input: input.as_bytes().to_vec(), ..self.typed(env, args) }.run()
    }

    /// The same in the background.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Spawned {
        self.typed(&[], args).spawn()
    }

    /// The same in the background with more variables.
    #[track_caller]
    pub fn spawn_with(&self, env: &[(&str, &str)], args: &[&str]) -> Spawned {
        self.typed(env, args).spawn()
    }

    /// Any other program, in this directory and with the environment of the world.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        Typed { program: program.into(), ..self.typed(&[], args) }.run()
    }

    /// Any other program with more variables.
    #[track_caller]
    pub fn run_with(&self, env: &[(&str, &str)], program: &str, args: &[&str]) -> Output {
        Typed { program: program.into(), ..self.typed(env, args) }.run()
    }

    /// Any other program with something on standard input.
    #[track_caller]
    pub fn run_reading(&self, input: &str, program: &str, args: &[&str]) -> Output {
        Typed { program: program.into(), input: input.as_bytes().to_vec(), ..self.typed(&[], args) }.run()
    }

    fn typed(&self, env: &[(&str, &str)], args: &[&str]) -> Typed {
        let mut all = self.world.environment();
        all.extend(env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Typed::new(self.world.jecloud_path(), args, &self.directory, all)
    }

    /// `status --json` of the production environment.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.status_of("production")
    }

    /// `status --json` of one environment.
    #[track_caller]
    pub fn status_of(&self, environment: &str) -> Value {
        let status = self.jecloud(&["status", "--json"]).ok().json();
        let found = status["environments"].as_array().into_iter().flatten().find(|found| found["name"] == environment);
        found.unwrap_or_else(|| panic!("status does not tell of {environment}: {status:#}")).clone()
    }

    /// The URL at which the production environment is found.
    #[track_caller]
    pub fn url(&self) -> String {
        self.url_of("production")
    }

    /// The URL at which an environment is found.
    #[track_caller]
    pub fn url_of(&self, environment: &str) -> String {
        let status = self.status_of(environment);
        status["url"].as_str().unwrap_or_else(|| panic!("no url in {status:#}")).to_owned()
    }

    /// The process of this name, such as `web.1`, in the production environment: the one that runs, where several
    /// releases have one.
    #[track_caller]
    pub fn pid(&self, name: &str) -> u32 {
        let status = self.status();
        let processes = status["processes"].as_array().into_iter().flatten();
        let mut running = processes.filter(|process| process["name"] == name && process["state"] == "running");
        let pid = running.next().and_then(|process| process["pid"].as_u64());
        pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_else(|| panic!("{name} does not run: {status:#}"))
    }

    /// What the app answers at `/`: status and body.
    #[track_caller]
    pub fn get(&self) -> (u16, String) {
        self.world.get(&self.url())
    }

    /// What the app answers at a path.
    ///
    /// # Errors
    ///
    /// As for [`http::get`].
    pub fn get_path(&self, path: &str) -> std::io::Result<Response> {
        http::get(&format!("{}{path}", self.url()))
    }
}
