//! The Node.js service hook.
//!
//! What it does, in the order in which the host calls it:
//!
//! 1. [`requirement`] finds out which Node.js the app wants, [`runtime`] where to get it.
//! 2. [`install`] plans what makes the app ready: its dependencies by the [`manager`] that its lock file belongs to,
//!    the build script, and the removal of development dependencies, unless what runs needs one ([`development`]).
//! 3. [`processes`] plans what runs: the [`procfile`]'s [`command_line`]s, or the start script of the [`manifest`].

pub mod command_line;
pub mod development;
pub mod install;
pub mod manager;
pub mod manifest;
pub mod processes;
pub mod procfile;
pub mod requirement;
pub mod runtime;
pub mod settings;

use jecloud_sdk::{Context, Description, Package, Plan, Problem, ServiceHook};

use install::Installation;
use manifest::Manifest;
use processes::Processes;
use requirement::Requirement;
use runtime::Runtime;
use settings::Settings;

/// The Node.js service hook.
#[derive(Debug)]
pub struct NodeHook;

/// How long a source file may be: as long as the host allows. Lock files and bundled programs have megabytes.
const LONGEST_INPUT: u32 = 8 * 1024 * 1024;

/// The source files that decide about anything.
const INPUTS: [&str; 16] = [
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    ".pnpmfile.cjs",
    ".node-version",
    ".nvmrc",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "Procfile",
    "server.js",
    "index.js",
    "app.js",
];

/// The facts about a server that decide about anything.
const FACTS: [&str; 10] = [
    "os",
    "arch",
    "package-manager",
    "can-install",
    "program:node",
    "program:npm",
    "program:yarn",
    "program:pnpm",
    "candidate:nodejs",
    "candidate:npm",
];

/// The programs that it has run, all as the app's user.
const PROGRAMS: [&str; 6] = ["node", "npm", "yarn", "pnpm", "sh", "{package:node}/bin/node"];

/// All that one call finds out.
struct Found {
    settings: Settings,
    requirement: Option<Requirement>,
    installation: Option<Installation>,
    processes: Processes,
    runtime: Runtime,
}

impl Found {
    fn of(context: &Context) -> Result<Self, Problem> {
        let settings = Settings::of(context)?;
        let manifest = Manifest::of(context)?;
        let requirement = Requirement::of(context, &settings, manifest.as_ref())?;
        let processes = Processes::of(context, manifest.as_ref())?;
        let installation =
            manifest.map(|manifest| Installation::of(context, &settings, &manifest, &processes)).transpose()?;
        let needs_npm = installation.as_ref().is_some_and(Installation::needs_npm)
            || ["npm", "npx"].iter().any(|program| processes.call(program));
        let runtime = Runtime::choose(context, requirement.as_ref(), needs_npm)?;
        Ok(Self { settings, requirement, installation, processes, runtime })
    }

    /// The variables of every command and process.
    fn env(&self) -> Vec<(String, String)> {
        let manager = self.installation.as_ref().and_then(Installation::path);
        let path = self.runtime.path(manager.as_deref());
        [
            ("NODE_ENV", "production"),
            ("JECLOUD_APP", "{app}"),
            ("JECLOUD_ENV", "{environment}"),
            ("JECLOUD_VERSION", "{version}"),
            ("PATH", &path),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// What a person may want to know about the choice of Node.js, at the first deployment.
    fn note(&self, context: &Context) -> Option<String> {
        if context.current_version().is_some() || self.requirement.is_some() {
            return None;
        }
        Some(format!(
            "nothing asks for a version of Node.js: {} runs the app. To choose, write `version = \"{}\"` below \
             [services.{}] in jecloud.toml.",
            self.runtime.describe(),
            self.runtime.major(),
            if context.service().is_empty() { "node" } else { context.service() }
        ))
    }
}

impl ServiceHook for NodeHook {
    fn describe() -> Description {
        let mut description =
            Description::new("node", env!("CARGO_PKG_VERSION"), "Node.js apps: dependencies, build, processes")
                .settings_schema(settings::SCHEMA)
                .detect("package.json")
                .detect("server.js")
                .detect("index.js")
                .package("nodejs")
                .package("npm")
                .repository(settings::OFFICIAL_MIRROR);
        for glob in INPUTS {
            description = description.input_up_to(glob, LONGEST_INPUT, 1);
        }
        for fact in FACTS {
            description = description.fact(fact);
        }
        for program in PROGRAMS {
            description = description.program(program);
        }
        description
    }

    fn required_packages(context: &Context) -> Result<Vec<Package>, Problem> {
        let found = Found::of(context)?;
        found.runtime.packages(context, &found.settings, found.requirement.as_ref())
    }

    fn prepare_deploy(context: &Context) -> Result<Plan, Problem> {
        let found = Found::of(context)?;
        let env = found.env();
        let mut plan = Plan::new();
        plan.notes.extend(found.note(context));
        plan.notes.extend(found.processes.notes.iter().cloned());
        if let Some(installation) = &found.installation {
            plan = installation.plan(plan, context, &found.runtime, &env);
        }
        Ok(found.processes.plan(plan, &found.runtime, &env))
    }
}

jecloud_sdk::export!(NodeHook);
