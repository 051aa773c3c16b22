//! What runs: the processes of the Procfile, else the start script, else a file with a usual name.

use jecloud_sdk::{Command, Context, Plan, Problem, Process, template};
use std::collections::BTreeSet;
use std::time::Duration;

use crate::command_line::CommandLine;
use crate::development;
use crate::manifest::{self, Manifest};
use crate::procfile;
use crate::runtime::Runtime;

/// The process type that gets requests, as everywhere where Procfiles are read.
const WEB: &str = "web";
/// The line of a Procfile that is run once before each release.
const RELEASE: &str = "release";
/// The named port of [`WEB`].
const HTTP: &str = "http";
/// What stands for that port's number in a template.
const PORT: &str = "{port:http}";

/// How long the release command may take: as long as the host allows, since migrations of much data take long.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How many scripts may call each other by the package manager before it is a loop.
const DEEPEST_SCRIPT: usize = 8;

/// Files that are run where nothing says what to run.
const USUAL_FILES: [&str; 3] = ["server.js", "index.js", "app.js"];

/// Everything that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// In the order of the Procfile.
    all: Vec<Launch>,
    /// The words of all command lines, and of the scripts that they run.
    pub words: BTreeSet<String>,
    /// Guesses that were made.
    pub notes: Vec<String>,
}

/// One process, or the release command.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Launch {
    name: String,
    line: CommandLine,
    /// Variables that the package manager would set, had it run the script.
    env: Vec<(String, String)>,
}

impl Processes {
    /// Finds out what runs.
    ///
    /// # Errors
    /// When nothing says it, or the Procfile is wrong.
    pub fn of(context: &Context, manifest: Option<&Manifest>) -> Result<Self, Problem> {
        if let Some(text) = context.text(procfile::FILE)? {
            let mut all = Vec::new();
            let mut words = BTreeSet::new();
            for entry in procfile::parse(text)? {
                let launch =
                    Launch::new(context, manifest, &entry.name, &entry.command).map_err(|problem| Problem {
                        message: format!("{}, line {}: {}", procfile::FILE, entry.line, problem.message),
                        hint: problem.hint,
                    })?;
                all.push(launch);
                words.extend(development::words(&entry.command, manifest));
            }
            return Ok(Self { all, words, notes: Vec::new() });
        }
        let (command, notes) = default_command(context, manifest)?;
        let words = development::words(&command, manifest);
        Ok(Self { all: vec![Launch::new(context, manifest, WEB, &command)?], words, notes })
    }

    /// Whether one of them calls this program.
    pub fn call(&self, program: &str) -> bool {
        self.all.iter().any(|launch| {
            let words: Vec<&str> = match &launch.line {
                CommandLine::Simple(simple) => simple.words.iter().take(1).map(String::as_str).collect(),
                CommandLine::Shell(shell) => shell.text.split_whitespace().collect(),
            };
            words.contains(&program)
        })
    }

    /// Adds them to a plan. `env` is for all of them.
    pub fn plan(&self, mut plan: Plan, runtime: &Runtime, env: &[(String, String)]) -> Plan {
        for launch in &self.all {
            let own = launch.env.iter().chain(launch.assignments()).cloned();
            let env = env.iter().cloned().chain(own);
            let argv = launch.argv(runtime);
            plan = match launch.name.as_str() {
                RELEASE => plan.release(
                    Command::new(RELEASE, "release command of the Procfile")
                        .argv(argv)
                        .envs(env)
                        .timeout(RELEASE_TIMEOUT),
                ),
                WEB => plan
                    .process(Process::new(WEB).argv(argv).env("PORT", PORT).envs(env).port(HTTP).health_port(HTTP))
                    .route("/", WEB, HTTP),
                name => plan.process(Process::new(name).argv(argv).envs(env)),
            };
        }
        plan
    }
}

impl Launch {
    fn new(context: &Context, manifest: Option<&Manifest>, name: &str, command: &str) -> Result<Self, Problem> {
        let mut launch = Self { name: name.to_owned(), line: parse(name, command)?, env: Vec::new() };
        // `npm start` costs a second process of tens of megabytes that only waits: run what it would run.
        for _ in 0..DEEPEST_SCRIPT {
            let CommandLine::Simple(simple) = &launch.line else { return Ok(launch) };
            let Some(script) = script_of(&simple.words, manifest) else { return Ok(launch) };
            let (script, line) = match resolve(context, manifest, script)? {
                Some(found) => found,
                None => return Ok(launch),
            };
            let outer = simple.env.clone();
            launch.env.extend(outer);
            launch.env.extend(script_env(manifest, &script));
            launch.line = parse(name, &line)
                .map_err(|problem| Problem::new(format!("script `{script}` of package.json: {}", problem.message)))?;
        }
        Err(Problem::new(format!("the scripts that `{command}` runs call each other in a circle")))
    }

    fn assignments(&self) -> &[(String, String)] {
        match &self.line {
            CommandLine::Simple(simple) => &simple.env,
            CommandLine::Shell(_) => &[],
        }
    }

    fn argv(&self, runtime: &Runtime) -> Vec<String> {
        match &self.line {
            CommandLine::Simple(simple) => match simple.words.split_first() {
                Some((program, arguments)) if program == "node" || program == "nodejs" => {
                    std::iter::once(runtime.node().to_owned()).chain(arguments.iter().cloned()).collect()
                }
                // Programs of the app's packages are found in its PATH, not in the system's.
                _ => simple.shell_argv(),
            },
            CommandLine::Shell(shell) => shell.argv(),
        }
    }
}

fn parse(name: &str, command: &str) -> Result<CommandLine, Problem> {
    CommandLine::parse(command, (name == WEB).then_some(PORT))
        .map_err(|problem| problem.hint(format!("the command is: {command}")))
}

/// The script that these words have a package manager run, where they do nothing else.
fn script_of<'a>(words: &'a [String], manifest: Option<&Manifest>) -> Option<&'a str> {
    let words: Vec<&'a str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["npm" | "yarn" | "pnpm", "start"] => Some("start"),
        ["npm" | "yarn" | "pnpm", "run", name] | ["npm", "run-script", name] => Some(name),
        // Both also run other things by this form, but scripts of package.json come first.
        ["yarn" | "pnpm", name] if manifest.is_some_and(|manifest| manifest.scripts.contains_key(*name)) => Some(name),
        _ => None,
    }
}

/// The command line of a script. None where the package manager does more than to run it.
fn resolve(context: &Context, manifest: Option<&Manifest>, script: &str) -> Result<Option<(String, String)>, Problem> {
    let scripts = manifest.map(|manifest| &manifest.scripts);
    let get = |name: &str| scripts.and_then(|scripts| scripts.get(name)).cloned();
    if get(&format!("pre{script}")).is_some() || get(&format!("post{script}")).is_some() {
        return Ok(None);
    }
    match get(script) {
        Some(line) => Ok(Some((script.to_owned(), line))),
        // As npm does it.
        None if script == "start" && context.file("server.js").is_some() => {
            Ok(Some((script.to_owned(), "node server.js".to_owned())))
        }
        None => Err(Problem::new(format!("package.json has no script `{script}`"))
            .hint(format!("add \"{script}\" to \"scripts\" in package.json, or change the Procfile"))),
    }
}

/// What a package manager tells a script.
fn script_env(manifest: Option<&Manifest>, script: &str) -> Vec<(String, String)> {
    let manifest = manifest.cloned().unwrap_or_default();
    let mut env = vec![("npm_lifecycle_event".to_owned(), template::escape(script))];
    for (name, value) in [("npm_package_name", manifest.name), ("npm_package_version", manifest.version)] {
        env.extend(value.map(|value| (name.to_owned(), template::escape(&value))));
    }
    env
}

/// What `web` runs where there is no Procfile, with a note where that is a guess.
fn default_command(context: &Context, manifest: Option<&Manifest>) -> Result<(String, Vec<String>), Problem> {
    if manifest.is_some_and(|manifest| manifest.scripts.contains_key("start")) {
        return Ok(("npm start".to_owned(), Vec::new()));
    }
    // A usual file at the top is there for certain; another main file may be one that the build makes.
    let main = manifest.and_then(|manifest| manifest.main.as_deref()).map(|main| main.trim_start_matches("./"));
    let is_missing = |file: &str| USUAL_FILES.contains(&file) && context.file(file).is_none();
    let file = match main {
        Some(main) if !main.is_empty() && !is_missing(main) && context.file("server.js").is_none() => Some(main),
        _ => USUAL_FILES.into_iter().find(|file| context.file(file).is_some()),
    };
    let Some(file) = file else {
        let problem = match manifest {
            None => Problem::new(format!("there is no {}, and no {}", manifest::FILE, USUAL_FILES.join(", "))),
            Some(_) => Problem::new(format!(
                "nothing says how the app is started: there is no Procfile, no `start` among the scripts of {}, and no {}",
                manifest::FILE,
                USUAL_FILES.join(", ")
            )),
        };
        return Err(problem.hint("add a file `Procfile` with the line `web: node YOUR-FILE.js`"));
    };
    let note = format!(
        "no Procfile and no start script: `web` runs `node {file}`. To choose, write a Procfile with `web: COMMAND`."
    );
    Ok((format!("node {}", quoted(file)), vec![note]))
}

/// A file name as one word of a command line.
fn quoted(file: &str) -> String {
    format!("'{}'", file.replace('\'', ""))
}
