//! The border: what is handed to a hook, and what comes back.
//!
//! What comes back is checked for its shape here: names are names, versions versions, a key occurs once. An answer that
//! is wrong is wrong as a whole, and the text says where. Whether it may be done is another question
//! (`jecloud_model::powers`).

use std::collections::BTreeMap;

use jecloud_model::hook as model;
use jecloud_model::ids::{InvalidId, ProcessName};
use jecloud_model::powers::check_powers;

use crate::bindings::exports::jecloud::hook::{backup, topology};
use crate::bindings::jecloud::hook::types as wit;
use crate::journal::{cut, printable};

pub(crate) use backup::Step as GotStep;
pub(crate) use wit::{CommandResult as GivenResult, Context as GivenContext, Problem as GotProblem};

/// The checked answer, or what is wrong with it as a half-sentence.
pub(crate) type Checked<T> = Result<T, String>;

/// The longest message and hint of a problem, in bytes.
const LONGEST_PROBLEM: usize = 8 * 1024;
/// The largest input that a hook may ask for, in bytes, and the most files (`wit/types.wit`).
const LARGEST_INPUT: u32 = 8 * 1024 * 1024;
const MOST_FILES: u32 = 1000;
/// The longest name of something that is counted in a backup, and the longest version, in bytes.
const LONGEST_NAME: usize = 255;
/// The most things that are counted in a backup.
const MOST_COUNTS: usize = 10_000;
/// The most entries of any list of a description.
const MOST_ENTRIES: usize = 500;

// ------------------------------------------------------------------ given

/// About as many bytes as a context takes on the way in.
pub(crate) fn context_bytes(context: &model::Context) -> usize {
    let texts =
        |map: &BTreeMap<String, String>| map.iter().map(|(name, value)| name.len() + value.len() + 16).sum::<usize>();
    let inputs: usize = context.inputs.iter().map(|(path, content)| path.len() + content.len() + 16).sum();
    let options: usize = context.options.iter().map(|(key, value)| key.len() + option_bytes(value) + 32).sum();
    context.settings.len()
        + inputs
        + options
        + texts(&context.pins)
        + texts(&context.facts)
        + texts(&context.remembered)
}

fn option_bytes(value: &model::OptionValue) -> usize {
    match value {
        model::OptionValue::Flag(_) | model::OptionValue::Integer(_) => 8,
        model::OptionValue::Text(text) => text.len(),
        model::OptionValue::Texts(texts) => texts.iter().map(|text| text.len() + 8).sum(),
    }
}

pub(crate) fn give_context(context: &model::Context) -> wit::Context {
    let inputs = context.inputs.iter();
    wit::Context {
        app: context.app.to_string(),
        environment: context.environment.to_string(),
        service: context.service.to_string(),
        version: context.version.to_string(),
        current_version: context.current_version.as_ref().map(ToString::to_string),
        settings: context.settings.clone(),
        pins: give_pairs(&context.pins),
        inputs: inputs.map(|(path, content)| wit::InputFile { path: path.clone(), content: content.clone() }).collect(),
        facts: give_pairs(&context.facts),
        remembered: give_pairs(&context.remembered),
        options: give_options(&context.options),
    }
}

fn give_pairs(pairs: &BTreeMap<String, String>) -> Vec<wit::Pair> {
    pairs.iter().map(|(name, value)| wit::Pair { name: name.clone(), value: value.clone() }).collect()
}

fn give_options(options: &model::Options) -> wit::Options {
    let value = |value: &model::OptionValue| match value {
        model::OptionValue::Flag(flag) => wit::OptionValue::Flag(*flag),
        model::OptionValue::Integer(integer) => wit::OptionValue::Integer(*integer),
        model::OptionValue::Text(text) => wit::OptionValue::Text(text.clone()),
        model::OptionValue::Texts(texts) => wit::OptionValue::Texts(texts.clone()),
    };
    options.iter().map(|(key, option)| wit::Entry { key: key.clone(), value: value(option) }).collect()
}

pub(crate) fn results_bytes(results: &[model::CommandResult]) -> usize {
    results.iter().map(|result| result.id.len() + result.stdout.len() + result.stderr.len() + 32).sum()
}

pub(crate) fn give_results(results: &[model::CommandResult]) -> Vec<wit::CommandResult> {
    let give = |result: &model::CommandResult| wit::CommandResult {
        id: result.id.clone(),
        exit_status: result.exit_status,
        stdout: result.stdout.clone(),
        stderr: result.stderr.clone(),
    };
    results.iter().map(give).collect()
}

pub(crate) fn give_members(members: &[model::Member]) -> Vec<topology::Member> {
    let give =
        |member: &model::Member| topology::Member { process: member.process.clone(), address: member.address.clone() };
    members.iter().map(give).collect()
}

// ------------------------------------------------------------------ got

pub(crate) fn description(got: wit::Description) -> Checked<model::Description> {
    let powers = powers(got.powers);
    if let Some(fault) = check_powers(&powers).into_iter().next() {
        return Err(fault);
    }
    if !is_version(&got.version) {
        return Err(format!("{:?} is not a version like 1.2.3", quoted(&got.version)));
    }
    if !got.settings_schema.is_empty() {
        match serde_json::from_str::<serde_json::Value>(&got.settings_schema) {
            Ok(serde_json::Value::Object(_)) => {}
            Ok(_) => return Err("its settings-schema is not a JSON object".to_owned()),
            Err(error) => return Err(format!("its settings-schema is not JSON: {error}")),
        }
    }
    for (what, count) in [("detect", got.detect.len()), ("inputs", got.inputs.len()), ("facts", got.facts.len())] {
        if count > MOST_ENTRIES {
            return Err(format!("{what} has {count} entries; at most {MOST_ENTRIES} are allowed"));
        }
    }
    for input in &got.inputs {
        if input.max_bytes > LARGEST_INPUT {
            return Err(format!("its input {:?} may have more than {LARGEST_INPUT} bytes", quoted(&input.glob)));
        }
        if input.max_files > MOST_FILES {
            return Err(format!("its input {:?} may be more than {MOST_FILES} files", quoted(&input.glob)));
        }
    }
    for glob in got.inputs.iter().map(|input| &input.glob).chain(&got.detect) {
        if glob.is_empty() || glob.starts_with('/') || glob.split('/').any(|segment| segment == "..") {
            return Err(format!("{:?} is not a glob inside of the app", quoted(glob)));
        }
    }
    let inputs = got.inputs.into_iter();
    Ok(model::Description {
        name: got.name.parse().map_err(|error: InvalidId| error.to_string())?,
        version: got.version,
        summary: printable(cut(&got.summary, 500)).replace(['\n', '\t'], " "),
        settings_schema: got.settings_schema,
        detect: got.detect,
        inputs: inputs
            .map(|input| model::Input { glob: input.glob, max_bytes: input.max_bytes, max_files: input.max_files })
            .collect(),
        facts: got.facts,
        powers,
        options: options("options", got.options)?,
    })
}

/// `1.2.3`, with what semantic versions may have behind it.
fn is_version(version: &str) -> bool {
    let (core, rest) = match version.find(['-', '+']) {
        Some(end) => version.split_at(end),
        None => (version, ""),
    };
    let is_number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && rest.len() <= 64
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
}

fn powers(got: wit::Powers) -> model::Powers {
    let program =
        |power: wit::ProgramPower| model::ProgramPower { program: power.program, run_as: identity(power.run_as) };
    model::Powers {
        packages: got.packages,
        repositories: got.repositories,
        programs: got.programs.into_iter().map(program).collect(),
        ports: got.ports,
        paths: got.paths,
        secrets: got.secrets,
    }
}

fn identity(got: wit::Identity) -> model::Identity {
    match got {
        wit::Identity::App => model::Identity::App,
        wit::Identity::Root => model::Identity::Root,
    }
}

pub(crate) fn problem(got: wit::Problem) -> model::Problem {
    let clean = |text: &str| printable(cut(text, LONGEST_PROBLEM));
    let message = clean(&got.message);
    let message = if message.trim().is_empty() { "the hook gives no reason".to_owned() } else { message };
    model::Problem { message, hint: clean(&got.hint) }
}

pub(crate) fn packages(got: Vec<wit::Package>) -> Checked<Vec<model::Package>> {
    let package = |(index, got): (usize, wit::Package)| {
        let source = match got.source {
            wit::Source::Present => model::Source::Present,
            wit::Source::Distribution => model::Source::Distribution,
            wit::Source::Archive(archive) => model::Source::Archive(model::Archive {
                sums_url: archive.sums_url,
                url: archive.url,
                sha256: archive.sha256,
                strip: archive.strip,
            }),
        };
        let options = options(&format!("packages[{index}].options"), got.options)?;
        Ok(model::Package { name: got.name, version: got.version, source, pin: got.pin, options })
    };
    got.into_iter().enumerate().map(package).collect()
}

pub(crate) fn plan(got: wit::Plan) -> Checked<model::Plan> {
    let file = |file: wit::File| model::File { path: file.path, content: file.content, mode: file.mode };
    let route = |(index, route): (usize, wit::Route)| {
        Ok::<_, String>(model::HookRoute {
            process: process_name(&format!("routes[{index}]"), &route.process)?,
            port: route.port,
            path_prefix: route.path_prefix,
            options: options(&format!("routes[{index}].options"), route.options)?,
        })
    };
    Ok(model::Plan {
        files: got.files.into_iter().map(file).collect(),
        checks: commands("checks", got.checks)?,
        build: commands("build", got.build)?,
        release: commands("release", got.release)?,
        processes: got.processes.into_iter().enumerate().map(process).collect::<Checked<_>>()?,
        routes: got.routes.into_iter().enumerate().map(route).collect::<Checked<_>>()?,
        values: pairs("values", got.values)?,
        remember: pairs("remember", got.remember)?,
        notes: got.notes,
        options: options("options", got.options)?,
    })
}

fn commands(list: &str, got: Vec<wit::Command>) -> Checked<Vec<model::Command>> {
    let command = |(index, got): (usize, wit::Command)| {
        Ok(model::Command {
            id: got.id,
            title: got.title,
            argv: got.argv,
            env: pairs(&format!("{list}[{index}].env"), got.env)?,
            cwd: got.cwd,
            run_as: identity(got.run_as),
            timeout_ms: got.timeout_ms,
            once: got.once,
            produces: got.produces,
            options: options(&format!("{list}[{index}].options"), got.options)?,
        })
    };
    got.into_iter().enumerate().map(command).collect()
}

fn process((index, got): (usize, wit::Process)) -> Checked<model::Process> {
    let place = format!("processes[{index}]");
    let health = match got.health {
        wit::Health::StaysUp => model::Health::StaysUp,
        wit::Health::PortOpen(port) => model::Health::PortOpen(port),
        wit::Health::Http(http) => model::Health::Http { port: http.port, path: http.path },
        wit::Health::Command(argv) => model::Health::Command(argv),
    };
    Ok(model::Process {
        name: process_name(&place, &got.name)?,
        argv: got.argv,
        env: pairs(&format!("{place}.env"), got.env)?,
        cwd: got.cwd,
        ports: got.ports,
        health,
        start_timeout_ms: got.start_timeout_ms,
        stop_timeout_ms: got.stop_timeout_ms,
        run_as: identity(got.run_as),
        replicas: got.replicas,
        shards: got.shards,
        beside: got.beside,
        options: options(&format!("{place}.options"), got.options)?,
    })
}

pub(crate) fn next(got: wit::Next) -> Checked<model::Next> {
    Ok(match got {
        wit::Next::Done => model::Next::Done(()),
        wit::Next::Again(again) => model::Next::Again(commands("again", again)?),
        wit::Next::WaitMs(wait) => model::Next::WaitMs(wait),
    })
}

pub(crate) fn backup_step(got: GotStep) -> Checked<model::Step<model::Contents>> {
    Ok(match got {
        GotStep::Done(got) => model::Step::Done(contents(got)?),
        GotStep::Again(again) => model::Step::Again(commands("again", again)?),
        GotStep::WaitMs(wait) => model::Step::WaitMs(wait),
    })
}

/// Something short for people, on one line.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && text == printable(text) && !text.contains(char::is_control)
}

fn contents(got: backup::Contents) -> Checked<model::Contents> {
    if !is_name(&got.version) {
        return Err(format!("{:?} is no version of what is in a copy", quoted(&got.version)));
    }
    if got.counts.len() > MOST_COUNTS {
        return Err(format!("it counts {} things; at most {MOST_COUNTS} are allowed", got.counts.len()));
    }
    let mut counts = BTreeMap::new();
    for backup::Count { name, number } in got.counts {
        if !is_name(&name) {
            return Err(format!("{:?} is no name of a count", quoted(&name)));
        }
        if counts.insert(name.clone(), number).is_some() {
            return Err(format!("it counts {:?} twice", quoted(&name)));
        }
    }
    Ok(model::Contents { version: got.version, counts })
}

fn process_name(place: &str, got: &str) -> Checked<ProcessName> {
    got.parse().map_err(|error: InvalidId| format!("{place}: {error}"))
}

fn pairs(place: &str, got: Vec<wit::Pair>) -> Checked<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for pair in got {
        if let Some(twice) = pairs.insert(pair.name.clone(), pair.value).map(|_| pair.name) {
            return Err(format!("{place} has {:?} twice", quoted(&twice)));
        }
    }
    Ok(pairs)
}

fn options(place: &str, got: wit::Options) -> Checked<model::Options> {
    let mut options = BTreeMap::new();
    for entry in got {
        let value = match entry.value {
            wit::OptionValue::Flag(flag) => model::OptionValue::Flag(flag),
            wit::OptionValue::Integer(integer) => model::OptionValue::Integer(integer),
            wit::OptionValue::Text(text) => model::OptionValue::Text(text),
            wit::OptionValue::Texts(texts) => model::OptionValue::Texts(texts),
        };
        if options.insert(entry.key.clone(), value).is_some() {
            return Err(format!("{place} has {:?} twice", quoted(&entry.key)));
        }
    }
    Ok(options)
}

/// A part of an answer, for an error message.
fn quoted(text: &str) -> String {
    text.chars().take(80).collect()
}
