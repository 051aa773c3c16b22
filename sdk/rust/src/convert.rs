//! Between the types of this crate and those of the generated bindings. Compiled natively too, so that a change of the
//! contract breaks every build, not only that of components.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bindings::backup::exports::jecloud::hook::backup;
use crate::bindings::jecloud::hook::types as wit;
use crate::bindings::topology::exports::jecloud::hook::topology;
use crate::command::millis;
use crate::{
    Archive, BackupStep, Command, CommandResult, Contents, Context, Description, File, Health, Identity, Input, Member,
    Next, OptionValue, Options, Package, Plan, Powers, Problem, Process, Route, Source,
};

impl From<wit::Context> for Context {
    fn from(context: wit::Context) -> Self {
        Self {
            app: context.app,
            environment: context.environment,
            service: context.service,
            version: context.version,
            current_version: context.current_version,
            settings: context.settings,
            pins: map(context.pins),
            inputs: context.inputs.into_iter().map(|file| (file.path, file.content)).collect(),
            facts: map(context.facts),
            remembered: map(context.remembered),
            options: context.options.into_iter().map(|entry| (entry.key, entry.value.into())).collect(),
        }
    }
}

impl From<wit::OptionValue> for OptionValue {
    fn from(value: wit::OptionValue) -> Self {
        match value {
            wit::OptionValue::Flag(flag) => Self::Flag(flag),
            wit::OptionValue::Integer(integer) => Self::Integer(integer),
            wit::OptionValue::Text(text) => Self::Text(text),
            wit::OptionValue::Texts(texts) => Self::Texts(texts),
        }
    }
}

impl From<wit::CommandResult> for CommandResult {
    fn from(result: wit::CommandResult) -> Self {
        Self { id: result.id, exit_status: result.exit_status, stdout: result.stdout, stderr: result.stderr }
    }
}

impl From<OptionValue> for wit::OptionValue {
    fn from(value: OptionValue) -> Self {
        match value {
            OptionValue::Flag(flag) => Self::Flag(flag),
            OptionValue::Integer(integer) => Self::Integer(integer),
            OptionValue::Text(text) => Self::Text(text),
            OptionValue::Texts(texts) => Self::Texts(texts),
        }
    }
}

impl From<Problem> for wit::Problem {
    fn from(problem: Problem) -> Self {
        Self { message: problem.message, hint: problem.hint }
    }
}

impl From<Identity> for wit::Identity {
    fn from(identity: Identity) -> Self {
        match identity {
            Identity::App => Self::App,
            Identity::Root => Self::Root,
        }
    }
}

impl From<Input> for wit::Input {
    fn from(input: Input) -> Self {
        Self { glob: input.glob, max_bytes: input.max_bytes, max_files: input.max_files }
    }
}

impl From<Powers> for wit::Powers {
    fn from(powers: Powers) -> Self {
        let programs = powers.programs.into_iter();
        Self {
            packages: powers.packages,
            repositories: powers.repositories,
            programs: programs.map(|(program, run_as)| wit::ProgramPower { program, run_as: run_as.into() }).collect(),
            ports: powers.ports,
            paths: powers.paths,
            secrets: powers.secrets,
        }
    }
}

impl From<Description> for wit::Description {
    fn from(description: Description) -> Self {
        Self {
            name: description.name,
            version: description.version,
            summary: description.summary,
            settings_schema: description.settings_schema,
            detect: description.detect,
            inputs: list(description.inputs),
            facts: description.facts,
            powers: description.powers.into(),
            options: options(description.options),
        }
    }
}

impl From<Source> for wit::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Present => Self::Present,
            Source::Distribution => Self::Distribution,
            Source::Archive(Archive { url, sums_url, sha256, strip }) => {
                Self::Archive(wit::Archive { sums_url, url, sha256, strip })
            }
        }
    }
}

impl From<Package> for wit::Package {
    fn from(package: Package) -> Self {
        Self {
            name: package.name,
            version: package.version,
            source: package.source.into(),
            pin: package.pin,
            options: options(package.options),
        }
    }
}

impl From<File> for wit::File {
    fn from(file: File) -> Self {
        Self { path: file.path, content: file.content, mode: file.mode }
    }
}

impl From<Command> for wit::Command {
    fn from(command: Command) -> Self {
        Self {
            id: command.id,
            title: command.title,
            argv: command.argv,
            env: pairs(command.env),
            cwd: command.cwd,
            run_as: command.run_as.into(),
            timeout_ms: command.timeout_ms,
            once: command.once,
            produces: command.produces,
            options: options(command.options),
        }
    }
}

impl From<Health> for wit::Health {
    fn from(health: Health) -> Self {
        match health {
            Health::StaysUp => Self::StaysUp,
            Health::PortOpen(port) => Self::PortOpen(port),
            Health::Http { port, path } => Self::Http(wit::HttpHealth { port, path }),
            Health::Command(argv) => Self::Command(argv),
        }
    }
}

impl From<Process> for wit::Process {
    fn from(process: Process) -> Self {
        Self {
            name: process.name,
            argv: process.argv,
            env: pairs(process.env),
            cwd: process.cwd,
            ports: process.ports,
            health: process.health.into(),
            start_timeout_ms: process.start_timeout_ms,
            stop_timeout_ms: process.stop_timeout_ms,
            run_as: process.run_as.into(),
            replicas: process.replicas,
            shards: process.shards,
            beside: process.beside,
            options: options(process.options),
        }
    }
}

impl From<Route> for wit::Route {
    fn from(route: Route) -> Self {
        Self {
            process: route.process,
            port: route.port,
            path_prefix: route.path_prefix,
            options: options(route.options),
        }
    }
}

impl From<Plan> for wit::Plan {
    fn from(plan: Plan) -> Self {
        Self {
            files: list(plan.files),
            checks: list(plan.checks),
            build: list(plan.build),
            release: list(plan.release),
            processes: list(plan.processes),
            routes: list(plan.routes),
            values: pairs(plan.values),
            remember: pairs(plan.remember),
            notes: plan.notes,
            options: options(plan.options),
        }
    }
}

impl From<Next> for wit::Next {
    fn from(next: Next) -> Self {
        match next {
            Next::Done => Self::Done,
            Next::Again(commands) => Self::Again(list(commands)),
            Next::Wait(time) => Self::WaitMs(wait_millis(time)),
        }
    }
}

impl From<BackupStep> for backup::Step {
    fn from(step: BackupStep) -> Self {
        match step {
            BackupStep::Done(Contents { version, counts }) => {
                let counts = counts.into_iter().map(|(name, number)| backup::Count { name, number }).collect();
                Self::Done(backup::Contents { version, counts })
            }
            BackupStep::Again(commands) => Self::Again(list(commands)),
            BackupStep::Wait(time) => Self::WaitMs(wait_millis(time)),
        }
    }
}

impl From<topology::Member> for Member {
    fn from(member: topology::Member) -> Self {
        Self { process: member.process, address: member.address }
    }
}

/// A wait of less than a millisecond is still a wait: 0 would be asked again without a pause.
fn wait_millis(time: Duration) -> u32 {
    millis(time).max(1)
}

/// Every element converted, in order.
pub(crate) fn list<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

fn map(pairs: Vec<wit::Pair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

fn pairs(map: BTreeMap<String, String>) -> Vec<wit::Pair> {
    map.into_iter().map(|(name, value)| wit::Pair { name, value }).collect()
}

fn options(options: Options) -> wit::Options {
    options.into_iter().map(|(key, value)| wit::Entry { key, value: value.into() }).collect()
}
