//! `jecloud deploy`: pack, record, and watch it become true.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jecloud_cloud::{Sources, StoreError, record_release, upload};
use jecloud_disk::source::SourceTree;
use jecloud_disk::{durable, tree};
use jecloud_model::cloud::{CloudState, EnvironmentState, ReleaseOutcome};
use jecloud_model::config::{Provider, ServerConfig};
use jecloud_model::ids::{Digest, ReleaseNumber, ServerGroup, VersionId};
use jecloud_model::release::Release;
use jecloud_model::time::Timestamp;

use crate::args::Global;
use crate::compose::{Circumstances, Composed, anew, compose};
use crate::failure::{Code, Failure};
use crate::follow::until_end;
use crate::home::Home;
use crate::hooks::Resolved;
use crate::interrupt::{self, Phase};
use crate::listen;
use crate::output::{self, Progress, bold, plural, print, print_json, say, size};
use crate::project::{CONFIG, Project};
use crate::providers;
use crate::session::{self, Session};

pub(crate) fn run(global: &Global, dir: Option<&Path>, force: bool, json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let project = open_or_init(global, dir)?;
    let wished = project.environment(&global.env);
    let session = Session::open(&project, &global.env)?;
    let known = session.state()?;
    let environment = known.as_ref().and_then(|state| state.environments.get(&session.environment));
    if environment.is_none() {
        warn_of_misspelt_environment(&project, &session);
    }
    let deploy_flag = session.environment_flag();
    interrupt::watch(format!(
        "Interrupted: the deployment goes on without you. `jecloud status{deploy_flag}` shows how far it is, `jecloud fwd{deploy_flag}` follows it."
    ));
    let mut progress = Progress::new(json);
    let scale = scale(&project, &session, environment);
    providers::check_scale(&project, &session.environment, &scale)?;
    for group in idle_groups(&project, &session) {
        say(&format!(
            "note: nothing runs on [servers.{group}], so it has no servers: write `on = \"{group}\"` for a service or process."
        ));
    }
    if !json {
        let place = session.where_in_words(scale.values().sum());
        say(&format!("Deploying {} to {} {place}\n", bold(wished.app.as_str()), bold(global.env.as_str())));
    }
    let packed = Packed::pack(&session, &project, &mut progress)?;
    let mut composed = composed(&session, &project, &packed.tree, &packed.version, known.as_ref(), &scale)?;
    for note in composed.notes() {
        say(&format!("note: {note}"));
    }
    if !composed.missing_secrets.is_empty() {
        let made = session.secrets().generate(&composed.missing_secrets).map_err(|error| no_secrets(&error))?;
        composed.release.secrets = made.used_by(&composed.release).0;
    }
    if session.provider == Provider::Local {
        listen::apply(&session, &wished.cloud.listen)?;
    }
    let same_scale = environment.is_some_and(|environment| environment.scale == scale);
    if !force
        && same_scale
        && let Some(unchanged) = unchanged(&session, known.as_ref(), &composed.release)?
    {
        return already(&session, &project, unchanged, &composed.hooks, begin, json);
    }
    let sources = packed.sources(&session.home, &composed)?;
    let Composed { release, hooks, .. } = composed;
    let release = record(&session, known.as_ref(), release, scale, sources, &mut progress)?;
    finish(&session, &project, &release, Some(&hooks), begin, &mut progress, json)
}

/// The groups on which nothing runs.
pub(crate) fn idle_groups(project: &Project, session: &Session) -> Vec<ServerGroup> {
    match session.provider {
        // All groups are this machine.
        Provider::Local => Vec::new(),
        _ => project.environment(&session.environment).idle_groups().into_iter().cloned().collect(),
    }
}

/// How many servers of which group there should be: what jecloud.toml says, with what `jecloud scale` recorded laid
/// over it; none of a group on which nothing runs.
pub(crate) fn scale(
    project: &Project,
    session: &Session,
    environment: Option<&EnvironmentState>,
) -> BTreeMap<ServerGroup, u32> {
    let wished = project.environment(&session.environment);
    let scaled = environment.map(|environment| environment.scaled.servers.clone()).unwrap_or_default();
    let idle = idle_groups(project, session);
    let count = |(group, servers): (&ServerGroup, &ServerConfig)| {
        let wanted = scaled.get(group).copied().unwrap_or(servers.count);
        (group.clone(), if idle.contains(group) { 0 } else { wanted })
    };
    wished.servers.iter().map(count).collect()
}

/// The project; where there is none, a person is offered to have one made.
fn open_or_init(global: &Global, dir: Option<&Path>) -> Result<Project, Failure> {
    let directory = Project::directory(global, dir)?;
    if let Some(found) = Project::find(&directory, dir)? {
        return Project::read(found);
    }
    let question = format!("There is no {CONFIG} in {}. Write one?", directory.display());
    if global.yes || output::ask(&question) {
        super::init::write(&directory)?;
        return Project::read(directory);
    }
    Err(Project::missing(&directory, dir))
}

/// Any name is an environment; one that looks like another one that exists is probably a slip.
fn warn_of_misspelt_environment(project: &Project, session: &Session) {
    if let Some(near) = project.config.unknown_environment_hint(&session.environment) {
        say(&format!("note: {} is a new environment; did you mean {near}?", session.environment));
    }
}

/// A source tree that is in the store, or in a file on its way there.
pub(crate) struct Packed {
    pub(crate) tree: SourceTree,
    pub(crate) version: VersionId,
    /// None where the store has it already.
    archive: Option<PathBuf>,
}

impl Packed {
    /// Looks at the tree, and packs it unless the store has it already.
    fn pack(session: &Session, project: &Project, progress: &mut Progress) -> Result<Self, Failure> {
        if session.home.path() == project.directory {
            return Err(Failure::usage("JECLOUD_HOME is the app's own directory, and would become a part of the app")
                .hint("Set JECLOUD_HOME to another directory, or leave it out."));
        }
        progress.begin("packing");
        let tree = SourceTree::scan(&project.directory).map_err(cannot_pack)?;
        let version = tree.version().map_err(cannot_pack)?;
        let what = format!("{}, {}", plural(tree.len(), "file", "files"), size(tree.bytes()));
        let in_store = session
            .store
            .exists(&jecloud_cloud::keys::archive(&version))
            .map_err(|error| Failure::from_store("the app's store cannot be used", &error))?;
        if in_store {
            progress.done(&format!("looked at {what}: version {}", version.short()));
            return Ok(Self { tree, version, archive: None });
        }
        let directory = session.home.path().join("packing");
        durable::create_dirs(&directory, 0o700)?;
        jecloud_disk::temporary::sweep(&directory)?;
        let path = directory.join(format!("{version}.tar.bz2"));
        let packed =
            durable::replace_with(&path, 0o600, |out| tree.pack(out, &mut |done, total| progress.bytes(done, total)))
                .map_err(cannot_pack)?;
        if packed.version != version {
            durable::remove(&path)?;
            return Err(Failure::new(Code::Failed, "files changed while they were being packed")
                .world("Nothing was recorded.")
                .hint("Deploy again when nothing writes into the directory."));
        }
        let compressed = size(packed.packed_bytes);
        progress.done(&format!("packed {what} into {compressed}: version {}", version.short()));
        Ok(Self { tree, version, archive: Some(path) })
    }

    /// The files that have to get into the store.
    fn sources(&self, home: &Home, composed: &Composed) -> Result<Sources, Failure> {
        let mut sources = Sources { archives: BTreeMap::new(), hooks: hook_files(home, composed)? };
        sources.archives.extend(self.archive.clone().map(|path| (self.version.clone(), path)));
        Ok(sources)
    }
}

fn cannot_pack(error: jecloud_disk::DiskError) -> Failure {
    let hint = match error {
        jecloud_disk::DiskError::Source { .. } => "Take it out of the app's directory, or name it in .jecloudignore.",
        _ => "",
    };
    Failure::from_error(Code::Failed, "the app's directory cannot be packed", &error)
        .world("Nothing was recorded.")
        .hint(hint)
}

/// The hooks of a release as files.
pub(crate) fn hook_files(home: &Home, composed: &Composed) -> Result<BTreeMap<Digest, PathBuf>, Failure> {
    let directory = home.path().join("hooks");
    durable::create_dirs(&directory, 0o755)?;
    let mut files = BTreeMap::new();
    for hook in &composed.hooks {
        let path = home.hook(&hook.digest);
        if !tree::exists(&path)? {
            durable::replace(&path, &hook.wasm, 0o644)?;
        }
        files.insert(hook.digest.clone(), path);
    }
    Ok(files)
}

/// The release as it would be recorded now.
pub(crate) fn composed(
    session: &Session,
    project: &Project,
    tree: &SourceTree,
    version: &VersionId,
    known: Option<&CloudState>,
    scale: &BTreeMap<ServerGroup, u32>,
) -> Result<Composed, Failure> {
    let sandbox = session::sandbox(&session.home.server())?;
    let (no_variables, no_wishes) = (BTreeMap::new(), BTreeMap::new());
    let environment = known.and_then(|state| state.environments.get(&session.environment));
    let circumstances = Circumstances {
        number: known.map_or(ReleaseNumber(1), |state| state.next_release(&session.environment)),
        env: environment.map_or(&no_variables, |environment| &environment.env),
        secrets: &session.secrets().read().map_err(|error| no_secrets(&error))?,
        scaled: environment.map_or(&no_wishes, |environment| &environment.scaled.processes),
        hold: scale.values().sum::<u32>() > 1,
        now: Timestamp::from_system(std::time::SystemTime::now()),
    };
    compose(project, &session.environment, tree, version.clone(), &sandbox, session, &circumstances)
}

/// The secrets of the environment cannot be read or written.
pub(crate) fn no_secrets(error: &StoreError) -> Failure {
    Failure::from_store("the secrets of the environment cannot be used", error).world("Nothing was recorded.")
}

/// The release that serves, if this one would be no other.
pub(crate) fn unchanged(
    session: &Session,
    known: Option<&CloudState>,
    release: &Release,
) -> Result<Option<ReleaseNumber>, Failure> {
    let environment = known.and_then(|state| state.environments.get(&session.environment));
    let Some((environment, serving)) = environment.and_then(|found| Some((found, found.serving_release()?))) else {
        return Ok(None);
    };
    let number = serving.release.number;
    let nothing_else_is_wanted = environment.wanted == Some(number) && !environment.destroying;
    if !nothing_else_is_wanted
        || serving.outcome != ReleaseOutcome::Serving
        || serving.release.version != release.version
    {
        return Ok(None);
    }
    let resolved = super::server::pins(session, number)?;
    Ok(serving.release.would_be_the_same(release, &resolved).then_some(number))
}

/// Nothing changed: what was recorded is made sure of, and that is all.
fn already(
    session: &Session,
    project: &Project,
    number: ReleaseNumber,
    hooks: &[Resolved],
    begin: Instant,
    json: bool,
) -> Result<(), Failure> {
    let mut progress = Progress::new(true);
    until_end(session, number, Sources::default(), &mut progress)?;
    // Whoever deployed it may not have waited for its end.
    write_pins(session, project, number, hooks)?;
    collect_backups(session, &mut progress)?;
    let urls = super::status::urls(session)?;
    if json {
        print_json(&serde_json::json!({
            "release": number, "outcome": "unchanged", "url": urls.first(), "urls": urls,
            "took_ms": milliseconds(begin),
        }));
    } else {
        print(&format!("\nFinished in {}: nothing changed since {number}, which serves.", seconds(begin)));
        urls.iter().for_each(|url| print(url));
        say("`jecloud deploy --force` replaces its processes all the same.");
    }
    Ok(())
}

/// Records a release, with its objects in the store before.
pub(crate) fn record(
    session: &Session,
    known: Option<&CloudState>,
    release: Release,
    scale: BTreeMap<ServerGroup, u32>,
    sources: Sources,
    progress: &mut Progress,
) -> Result<Release, Failure> {
    progress.begin("storing");
    upload(&*session.store, &sources, &mut ())
        .map_err(|error| Failure::from_store("the app's store cannot be written", &error))?;
    for archive in sources.archives.values() {
        durable::remove(archive)?;
    }
    progress.begin("recording");
    interrupt::enter(Phase::Handing);
    let release = Release { hold: scale.values().sum::<u32>() > 1, ..release };
    let recorded = record_release(session.cloud(), known, release.clone(), scale).inspect_err(|_| {
        interrupt::enter(Phase::Before);
    })?;
    progress.done(&format!("recorded release {} of {}", recorded.number, session.environment));
    let of_state = recorded.state.environments.get(&session.environment);
    let found = of_state.and_then(|environment| environment.release(recorded.number));
    Ok(found.map_or(Release { number: recorded.number, ..release }, |found| found.release.clone()))
}

/// Watches a release come to its end, and says what came of it. For a deployment, whose hooks these are, jecloud.lock
/// then holds what it came to.
pub(crate) fn finish(
    session: &Session,
    project: &Project,
    release: &Release,
    hooks: Option<&[Resolved]>,
    begin: Instant,
    progress: &mut Progress,
    json: bool,
) -> Result<(), Failure> {
    until_end(session, release.number, Sources::default(), progress)?;
    let pins = match hooks {
        Some(hooks) => write_pins(session, project, release.number, hooks)?,
        None => false,
    };
    collect_backups(session, progress)?;
    let urls = super::status::urls(session)?;
    if json {
        print_json(&serde_json::json!({
            "release": release.number, "version": release.version, "outcome": "serving", "url": urls.first(),
            "urls": urls, "took_ms": milliseconds(begin),
        }));
        return Ok(());
    }
    if pins {
        say("    wrote jecloud.lock: commit it, so that every deployment uses the same versions");
    }
    let what = format!("{} ({}) serves", release.number, release.version.short());
    print(&format!("\nFinished in {}: {what}.", seconds(begin)));
    urls.iter().for_each(|url| print(url));
    if urls.is_empty() {
        print("It has no process that takes requests.");
    }
    Ok(())
}

/// What servers have made meanwhile by themselves is taken to the store by whoever comes by.
fn collect_backups(session: &Session, progress: &mut Progress) -> Result<(), Failure> {
    if let Some(state) = session.state()? {
        crate::backups::collect_by_the_way(session, &state, progress);
    }
    Ok(())
}

/// Records in jecloud.lock the hooks of a release that serves, and the exact versions to which it resolved; whether the
/// file changed. One that failed moves no pin: who goes back to what was asked for before gets what was before.
fn write_pins(
    session: &Session,
    project: &Project,
    release: ReleaseNumber,
    hooks: &[Resolved],
) -> Result<bool, Failure> {
    let mut lock = project.lock.clone();
    for (service, pinned) in super::server::pins(session, release)? {
        if !pinned.is_empty() {
            lock.set_pins(&service, pinned);
        }
    }
    // What somebody approved for a service of that name stays approved.
    for hook in hooks.iter().filter(|hook| hook.builtin && project.lock.approved(&hook.service).is_none()) {
        lock.set_hook(&hook.service, Some(hook.locked()));
    }
    project.write_lock(&lock)
}

/// A release once more, with the exact versions to which it resolved where it was recorded without: what is there already
/// is not looked for anew.
pub(crate) fn again(session: &Session, release: &Release) -> Release {
    let mut again = anew(release);
    if again.services.values().any(|service| service.pins.is_empty()) {
        // Where no server can be asked, the servers find out.
        let mut resolved = super::server::pins(session, release.number).unwrap_or_default();
        for (name, service) in again.services.iter_mut().filter(|(_, service)| service.pins.is_empty()) {
            service.pins = resolved.remove(name).unwrap_or_default();
        }
    }
    again
}

fn milliseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// With two digits: deployments are compared.
fn seconds(begin: Instant) -> String {
    format!("{:.2} s", begin.elapsed().as_secs_f64())
}
