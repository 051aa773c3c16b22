//! The commands that make a version ready to run: dependencies, build, and what is not needed any more.

use std::collections::BTreeMap;
use std::time::Duration;

use jecloud_sdk::{Command, Context, Plan, Problem, template};
use sha2::{Digest as _, Sha256};

use crate::development;
use crate::manager::{Kind, Manager};
use crate::manifest::{self, Manifest};
use crate::processes::Processes;
use crate::runtime::Runtime;
use crate::settings::{Build, Settings};

/// How long installing may take. Packages that compile C++ take their time on small servers.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long a build may take.
const BUILD_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Where dependencies are.
const NODE_MODULES: &str = "node_modules";

/// Files that change what is installed, beside the lock file.
const CONFIGURATION: [&str; 5] = [".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", "pnpm-workspace.yaml"];

/// Everything that is done before processes start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    manager: Manager,
    /// The script that builds the app.
    script: Option<String>,
    /// Whether there is anything to install.
    installs: bool,
    /// Whether development dependencies are installed.
    with_dev: bool,
    /// Whether they are removed after the build.
    prunes: bool,
    /// Whether what is installed depends on nothing but the lock file and the like.
    is_reusable: bool,
    /// Guesses that were made.
    notes: Vec<String>,
}

impl Installation {
    /// Finds out what is to be done.
    ///
    /// Development dependencies are installed where something needs them before the app runs: a build script, or a
    /// `prepare` script. They are removed afterwards, so that an app finds the same packages with and without a build;
    /// unless what runs needs one of them.
    ///
    /// # Errors
    /// When the package manager is not known, or the build script does not exist.
    pub fn of(
        context: &Context,
        settings: &Settings,
        manifest: &Manifest,
        processes: &Processes,
    ) -> Result<Self, Problem> {
        let manager = Manager::of(context, settings, manifest)?;
        let script = build_script(settings, manifest)?;
        let needed = development::needed(&processes.words, manifest, context);
        let keeps_dev = settings.keep_dev_dependencies.unwrap_or(needed.is_some());
        let builds = script.is_some() || manifest.has_development_scripts();
        let with_dev = builds || keeps_dev || manager.kind == Kind::YarnBerry;
        let has_dev = !manifest.dev_packages.is_empty();
        let has_workspace = manifest.has_local_packages || context.file("pnpm-workspace.yaml").is_some();
        let installs =
            manifest.has_dependencies || has_workspace || manifest.has_lifecycle_scripts() || (with_dev && has_dev);
        let mut notes = manager.notes.clone();
        if let (Some((word, package)), None) = (needed, settings.keep_dev_dependencies) {
            notes.push(format!(
                "development dependencies are kept, since `{word}` of {package} is one of them and is needed to run. To \
                 keep fewer, move it to `dependencies`."
            ));
        }
        if installs && manager.lock.is_none() {
            notes.push(format!(
                "there is no lock file, so another deployment may get other versions of packages. \
                 Run `{} install` and commit the lock file it writes.",
                manager.name()
            ));
        }
        Ok(Self {
            prunes: installs && with_dev && has_dev && !keeps_dev && manager.kind != Kind::YarnBerry,
            // Packages of directories may have a node_modules of their own, which is not among what is kept.
            is_reusable: !manifest.has_lifecycle_scripts() && !has_workspace,
            manager,
            script,
            installs,
            with_dev,
            notes,
        })
    }

    /// Whether npm must be there.
    pub fn needs_npm(&self) -> bool {
        self.runs_manager() && self.manager.needs_npm()
    }

    /// The directory of the package manager's program, where that is not in the PATH anyway.
    pub fn path(&self) -> Option<String> {
        self.runs_manager().then(|| self.manager.path()).flatten()
    }

    fn runs_manager(&self) -> bool {
        self.installs || self.script.is_some()
    }

    /// Adds it to a plan. `env` is that of the processes; the build gets it too.
    pub fn plan(&self, mut plan: Plan, context: &Context, runtime: &Runtime, env: &[(String, String)]) -> Plan {
        plan.notes.extend(self.notes.iter().cloned());
        if !self.runs_manager() {
            return plan;
        }
        let manager = &self.manager;
        let quiet = environment(manager.kind, context, env);
        if let Some((package, version)) = manager.package() {
            // In a directory of its own, and not by `--prefix`: that would have npm read other configuration.
            let directory = manager.directory();
            let content = format!("{{{{\"private\": true, \"dependencies\": {{{{\"{package}\": \"{version}\"}}}}\n");
            let install = ["install".to_owned(), "--no-package-lock".to_owned()];
            plan = plan.file(format!("{directory}/package.json"), content, 0o644).build(
                Command::new("package-manager", format!("install {package} {version}"))
                    .argv(runtime.npm().into_iter().chain(install))
                    .cwd(directory)
                    .envs(environment(Kind::Npm, context, env))
                    .timeout(INSTALL_TIMEOUT)
                    .once(key(&["package-manager", package, version, &runtime.version, arch(context)])),
            );
        }
        if self.installs {
            let arguments = self.install_arguments(runtime);
            let title = match manager.lock {
                Some(lock) => format!("install dependencies by {lock}"),
                None => format!("install dependencies of {}", manifest::FILE),
            };
            let mut command = Command::new("install", title)
                .argv(manager.argv(runtime).into_iter().chain(arguments.iter().map(|word| (*word).to_owned())))
                .envs(quiet.clone())
                .timeout(INSTALL_TIMEOUT);
            if self.is_reusable {
                command = command.once(self.once(context, runtime, &arguments)).produces(NODE_MODULES);
            }
            plan = plan.build(command);
        }
        if let Some(script) = &self.script {
            let run = ["run".to_owned(), template::escape(script)];
            plan = plan.build(
                Command::new("build", format!("{} run {script}", manager.name()))
                    .argv(manager.argv(runtime).into_iter().chain(run))
                    .envs(env.iter().cloned())
                    .envs(caches(manager.kind))
                    .envs(certificates(context))
                    .timeout(BUILD_TIMEOUT),
            );
        }
        if self.prunes {
            let arguments = self.prune_arguments(runtime).into_iter().map(str::to_owned);
            plan = plan.build(
                Command::new("prune", "remove development dependencies")
                    .argv(manager.argv(runtime).into_iter().chain(arguments))
                    .envs(quiet)
                    .timeout(INSTALL_TIMEOUT),
            );
        }
        plan
    }

    fn install_arguments(&self, runtime: &Runtime) -> Vec<&'static str> {
        let is_locked = self.manager.lock.is_some();
        match self.manager.kind {
            Kind::Npm => {
                let mut arguments = if is_locked { vec!["ci"] } else { vec!["install", "--no-package-lock"] };
                arguments.push(match (self.with_dev, has_npm_6(runtime)) {
                    (true, false) => "--include=dev",
                    (false, false) => "--omit=dev",
                    (true, true) => "--production=false",
                    (false, true) => "--production",
                });
                arguments
            }
            Kind::YarnClassic => {
                let lock = if is_locked { "--frozen-lockfile" } else { "--no-lockfile" };
                let dev = if self.with_dev { "--production=false" } else { "--production" };
                vec!["install", lock, "--non-interactive", "--no-progress", dev]
            }
            // Yarn 2 and later install all of them, or need a plugin.
            Kind::YarnBerry if is_locked => vec!["install", "--immutable"],
            Kind::YarnBerry => vec!["install", "--no-immutable"],
            Kind::Pnpm => {
                let lock = if is_locked { "--frozen-lockfile" } else { "--no-lockfile" };
                let dev = if self.with_dev { "--prod=false" } else { "--prod" };
                vec!["install", lock, dev]
            }
        }
    }

    fn prune_arguments(&self, runtime: &Runtime) -> Vec<&'static str> {
        match self.manager.kind {
            Kind::Npm if has_npm_6(runtime) => vec!["prune", "--production"],
            Kind::Npm => vec!["prune", "--omit=dev", "--ignore-scripts"],
            // Yarn 1 has no command for it: an installation without them removes them.
            Kind::YarnClassic | Kind::YarnBerry => vec![
                "install",
                if self.manager.lock.is_some() { "--frozen-lockfile" } else { "--no-lockfile" },
                "--production",
                "--ignore-scripts",
                "--prefer-offline",
                "--non-interactive",
                "--no-progress",
            ],
            Kind::Pnpm => vec!["prune", "--prod", "--ignore-scripts"],
        }
    }

    /// The key of an installation: everything that it depends on.
    fn once(&self, context: &Context, runtime: &Runtime, arguments: &[&str]) -> String {
        let npm = context.program("npm").map_or("", |npm| npm.version_text);
        // A bundled npm has the version of its Node.js; one of the server may change beside it.
        let npm = if runtime.source == crate::runtime::Source::Archive { "" } else { npm };
        let manager = format!("{:?} {}", self.manager.kind, self.manager.version);
        let arguments = arguments.join(" ");
        let mut parts = vec![
            "install".to_owned(),
            manager,
            npm.to_owned(),
            runtime.version.clone(),
            arch(context).to_owned(),
            arguments,
        ];
        // Without a lock file package.json decides.
        for file in CONFIGURATION.into_iter().chain([self.manager.lock.unwrap_or(manifest::FILE)]) {
            if let Some(content) = context.file(file) {
                parts.push(format!("{file} {}", hex(&Sha256::digest(content))));
            }
        }
        key(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Variables for a package manager itself: those of the processes, its caches, and no questions.
fn environment(kind: Kind, context: &Context, env: &[(String, String)]) -> BTreeMap<String, String> {
    let quiet = [
        // Nobody is there to answer.
        ("CI", "true"),
        // Hooks of a version control system that is not there.
        ("HUSKY", "0"),
    ];
    let quiet = quiet.map(|(name, value)| (name.to_owned(), value.to_owned()));
    env.iter().cloned().chain(caches(kind)).chain(certificates(context)).chain(quiet).collect()
}

/// Has Node.js trust whom the server trusts: it has a list of its own, and a network where all traffic goes through a
/// company's proxy has certificates that are not in it.
fn certificates(context: &Context) -> Option<(String, String)> {
    let file = match context.fact("package-manager")? {
        "apt" => "/etc/ssl/certs/ca-certificates.crt",
        "dnf" => "/etc/pki/tls/certs/ca-bundle.crt",
        _ => return None,
    };
    Some(("NODE_EXTRA_CA_CERTS".to_owned(), file.to_owned()))
}

/// Which script builds the app, if any.
fn build_script(settings: &Settings, manifest: &Manifest) -> Result<Option<String>, Problem> {
    let has = |name: &str| manifest.scripts.contains_key(name);
    match settings.build() {
        Build::Off => Ok(None),
        Build::Default => Ok(has("build").then(|| "build".to_owned())),
        Build::Script(name) if has(name) => Ok(Some(name.to_owned())),
        Build::Script(name) => {
            let known: Vec<&str> = manifest.scripts.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Problem::new(format!(
                "`build` in jecloud.toml names the script `{name}`, which {} does not have",
                manifest::FILE
            ))
            .hint(format!("its scripts are: {known}")))
        }
    }
}

/// npm 6, which knows other words for the same, came with Node.js up to 14.
fn has_npm_6(runtime: &Runtime) -> bool {
    runtime.major() < 15
}

/// Variables by which package managers keep what they downloaded in the service's own directory, and stay quiet.
/// npm's are always there, since it installs the others.
fn caches(kind: Kind) -> Vec<(String, String)> {
    let npm: &[(&str, &str)] = &[
        ("npm_config_cache", "{data}/npm-cache"),
        ("npm_config_update_notifier", "false"),
        ("npm_config_fund", "false"),
        ("npm_config_audit", "false"),
        ("npm_config_progress", "false"),
    ];
    let own: &[(&str, &str)] = match kind {
        Kind::Npm => &[],
        Kind::Pnpm => &[
            ("npm_config_store_dir", "{data}/pnpm-store"),
            // A hard link would let an app that writes into its packages change those of all other versions.
            ("npm_config_package_import_method", "clone-or-copy"),
        ],
        Kind::YarnClassic => &[("YARN_CACHE_FOLDER", "{data}/yarn-cache")],
        Kind::YarnBerry => &[
            ("YARN_GLOBAL_FOLDER", "{data}/yarn"),
            ("YARN_ENABLE_TELEMETRY", "0"),
            // What it makes else is not a directory of packages, and Node.js needs an option to find it.
            ("YARN_NODE_LINKER", "node-modules"),
        ],
    };
    npm.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn arch(context: &Context) -> &str {
    context.fact("arch").unwrap_or_default()
}

/// A short text that is the same for the same parts only.
fn key(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    // 128 bits: enough that two never meet by chance.
    format!("{}-{}", parts.first().copied().unwrap_or_default(), hex(&digest.finalize()[..16]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
