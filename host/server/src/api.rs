//! What `jecloud update-server` can be told: each call records or answers, and is done again without harm.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jecloud_disk::lock;
use jecloud_disk::log::{self, RotatingLog};
use jecloud_disk::{durable, tree};
use jecloud_launch::Launch;
use jecloud_model::app::{AppDocument, DeploymentState, Gates, Outcome, Requested};
use jecloud_model::cloud::Basis;
use jecloud_model::events::{Event, What};
use jecloud_model::ids::{AppName, Digest, EnvironmentName, ReleaseNumber, VersionId};
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessStatus;
use jecloud_model::secrets::SecretValue;
use jecloud_model::topology::{Order, Told, Topology};
use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;
use crate::process_manager::{Renewed, process_manager};
use crate::server::{self, Server, ServerDocument};
use crate::tables;
use crate::users;
use crate::wishes;

/// Makes the directory of a server, and where JeCloud is root what brings it back at boot. `exe` is the binary that is to
/// be started then.
///
/// # Errors
///
/// Among others [`ServerError::Request`] where systemd does not take its units.
pub fn init(
    root: &ServerRoot,
    exe: &Path,
    listen: Option<Vec<std::net::SocketAddr>>,
) -> Result<ServerDocument, ServerError> {
    for directory in [root.path().to_owned(), root.sys(), root.sys().join("pids"), root.sys().join("logs")] {
        durable::create_dirs(&directory, 0o755)?;
    }
    durable::create_dirs(&root.run(), 0o700)?;
    durable::create_dirs(&root.hooks(), 0o755)?;
    let before = server::document(root)?;
    let mut document = before.clone();
    if jecloud_launch::is_root() && jecloud_systemd::is_in_charge(root) {
        crate::users::make(jecloud_systemd::FRONT_USER, "the front of JeCloud")?;
    }
    if listen.is_some() {
        document.listen = listen;
    }
    if document != before || !Server::is_initialised(root)? {
        document
            .format
            .check_writable()
            .map_err(|source| ServerError::Format { path: root.server_document(), source })?;
        durable::write_json(&root.server_document(), &document, 0o644)?;
    }
    renew(root, exe)?;
    Ok(document)
}

/// Has what runs here of JeCloud, and what brings it back at boot, be of this binary. Nothing that is asked of the apps
/// is lost by that. Returns whether something had to be replaced.
///
/// # Errors
///
/// [`ServerError::Newer`] where what runs is newer: then nothing was changed.
pub fn renew(root: &ServerRoot, exe: &Path) -> Result<bool, ServerError> {
    let is_renewed = match process_manager(root, exe).renew()? {
        Renewed::Nothing => false,
        Renewed::Replaced => true,
        Renewed::Newer(running) => return Err(ServerError::Newer { running }),
    };
    crate::boot::install(root, exe)?;
    Ok(is_renewed)
}

/// What a roll-forward that somebody asked for did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledForward {
    /// Whether JeCloud's own processes were replaced by those of this binary.
    pub renewed: bool,
    /// Processes of apps that did not run and were started: `shop production web.1`.
    pub started: Vec<String>,
}

/// The processes that run, with their numbers; none where there is no process manager.
pub fn running(server: &Server) -> BTreeMap<String, u32> {
    let name = |status: &ProcessStatus| format!("{} {} {}", status.app, status.environment, status.id.short());
    let statuses = server.processes.statuses().unwrap_or_default();
    statuses.iter().filter_map(|status| Some((name(status), status.pid?))).collect()
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// All apps and environments that were asked for.
    pub environments: Vec<EnvironmentStatus>,
    /// Where the front listens; empty where it does not run.
    pub addresses: Vec<std::net::SocketAddr>,
}

/// What a server says about one app and environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentStatus {
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// `app.json`.
    pub document: AppDocument,
    /// Host names that its front answers for; none where nothing here takes requests.
    pub hosts: Vec<String>,
    /// What the process manager says; none where it does not run.
    pub processes: Option<Vec<ProcessStatus>>,
    /// What is known of the releases that it runs or deploys: what other servers are told of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<ReleaseNumber, Told>,
    /// What a person has to know about what runs.
    #[serde(default)]
    pub notes: Vec<String>,
    /// From which state of which cloud the server was told something about the app the last time.
    #[serde(default)]
    pub basis: Option<Basis>,
}

/// Answers for all apps and environments, or for some: also for one that was destroyed but for its user, so that whoever
/// wants it destroyed goes on with it. Starts nothing.
pub fn status(
    root: &ServerRoot,
    exe: &Path,
    app: Option<&AppName>,
    environment: Option<&EnvironmentName>,
) -> Result<ServerStatus, ServerError> {
    let manager = process_manager(root, exe);
    let processes = manager.statuses().ok();
    let mut environments = Vec::new();
    let known = crate::basis::known(root)?;
    for place in Place::all(root)?.into_iter().chain(users::left_over(root)?) {
        // What a backup is tried out in is nobody's environment.
        if place.environment.is_scratch()
            || app.is_some_and(|app| *app != place.app)
            || environment.is_some_and(|environment| *environment != place.environment)
        {
            continue;
        }
        let document = place.document()?;
        let serving = document.serving_release();
        let prepared = match serving {
            Some(release) => place.prepared(release)?,
            None => None,
        };
        let own = |status: &&ProcessStatus| status.app == place.app && status.environment == place.environment;
        environments.push(EnvironmentStatus {
            processes: processes.as_ref().map(|all| all.iter().filter(own).cloned().collect()),
            hosts: prepared
                .filter(|prepared| !prepared.routes.is_empty())
                .map(|prepared| prepared.hosts)
                .unwrap_or_default(),
            told: told(&place, &document)?,
            notes: serving
                .and_then(|release| place.release(release).ok())
                .and_then(|release| wishes::not_enforced(&release.processes, &*manager))
                .into_iter()
                .collect(),
            basis: known.apps.get(&place.app).cloned(),
            app: place.app,
            environment: place.environment,
            document,
        });
    }
    Ok(ServerStatus { environments, addresses: manager.addresses() })
}

/// What is to be said of the releases that run here or are being deployed.
fn told(place: &Place, document: &AppDocument) -> Result<BTreeMap<ReleaseNumber, Told>, ServerError> {
    let deploying = document.deployment.as_ref().map(|deployment| deployment.release);
    let of = |number: ReleaseNumber| {
        let gives = place.prepared(number)?.map(|prepared| prepared.gives).unwrap_or_default();
        Ok((number, Told { topology: place.topology(number)?, gives }))
    };
    document.current_release.into_iter().chain(deploying).map(of).collect()
}

/// The question of which objects are missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// Whose archives.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Which.
    #[serde(flatten)]
    pub objects: Objects,
}

/// Objects by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// Archives of an app and environment.
    #[serde(default)]
    pub versions: Vec<VersionId>,
    /// Hook components.
    #[serde(default)]
    pub hooks: Vec<Digest>,
}

/// Which of these objects are not here yet. A version that is unpacked needs no archive.
pub fn missing(root: &ServerRoot, question: Question) -> Result<Objects, ServerError> {
    let place = Place::new(root, &question.app, &question.environment);
    let asked = question.objects;
    let mut missing = Objects::default();
    for version in asked.versions {
        if !tree::exists(&place.root.version(&version))? && !tree::exists(&place.root.archive(&version))? {
            missing.versions.push(version);
        }
    }
    for hook in asked.hooks {
        if !tree::exists(&root.hook(&hook))? {
            missing.hooks.push(hook);
        }
    }
    Ok(missing)
}

/// Puts an archive in place. Its content is verified when it is unpacked.
pub fn put_archive(place: &Place, version: &VersionId, file: &Path) -> Result<(), ServerError> {
    place.make()?;
    let mut from = durable::open(file)?.ok_or_else(|| ServerError::Missing { path: file.to_owned() })?;
    durable::replace_with(&place.root.archive(version), 0o600, |out| {
        std::io::copy(&mut from, out).map_err(|source| ServerError::Io { action: "copy the archive", source })?;
        Ok(())
    })
}

/// Puts a hook in place if it is what its digest says.
pub fn put_hook(root: &ServerRoot, digest: &Digest, file: &Path) -> Result<(), ServerError> {
    let mut from = durable::open(file)?.ok_or_else(|| ServerError::Missing { path: file.to_owned() })?;
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(|source| ServerError::Io { action: "read the hook", source })?;
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(ServerError::Request(format!("{} is {found}, not {digest}", file.display())));
    }
    durable::create_dirs(&root.hooks(), 0o755)?;
    Ok(durable::replace(&root.hook(digest), &bytes, 0o644)?)
}

/// Keeps the secrets of an environment: processes that are started from now on get these.
pub fn put_secrets(place: &Place, secrets: &BTreeMap<String, SecretValue>) -> Result<(), ServerError> {
    place.make()?;
    let path = place.root.secrets();
    if durable::read_json::<BTreeMap<String, SecretValue>>(&path).ok().flatten().as_ref() == Some(secrets) {
        return Ok(());
    }
    Ok(durable::write_json(&path, secrets, 0o600)?)
}

/// Records the wish to deploy a release and has a roll-forward begin with it. Returns at once. What runs here of an older
/// JeCloud is renewed before.
///
/// # Errors
///
/// Among others [`ServerError::Request`] where not all of a new release runs on every server and nobody says which one
/// this is.
pub fn deploy(server: &Server, order: &Order) -> Result<Requested, ServerError> {
    renew(&server.root, &server.exe)?;
    let Order { release, topology } = order;
    let place = Place::new(&server.root, &release.app, &release.environment);
    place.make()?;
    let known = place.document()?.newest_release;
    if release.number > known {
        let topology = match topology {
            Some(topology) => topology.clone(),
            None if release.is_split() => {
                let release = release.number;
                return Err(ServerError::Request(format!(
                    "{release} is new here, and nobody says which server this is"
                )));
            }
            None => Topology::default(),
        };
        place.write_topology(release.number, &topology)?;
        place.write_release(release)?;
    }
    let gates = Gates { follows: place.topology(release.number)?.follows, hold: release.hold };
    let requested = place.change(|document| document.request(&release.version, release.number, gates, now()))??;
    if let Requested::Recorded { aborted: Some(aborted) } = &requested {
        place.tell(*aborted, What::Aborted);
    }
    spawn_roll_forward(server, &place)?;
    Ok(requested)
}

/// Lets a release start for which the release commands of other servers had to run.
pub fn proceed(server: &Server, place: &Place, release: ReleaseNumber) -> Result<(), ServerError> {
    place.change(|document| document.proceed(release))??;
    spawn_roll_forward(server, place)
}

/// Lets a release that is held go on.
pub fn commit(server: &Server, place: &Place, release: ReleaseNumber) -> Result<(), ServerError> {
    place.change(|document| document.commit(release))??;
    spawn_roll_forward(server, place)
}

/// Gives up a release that is not switched yet.
pub fn abort(server: &Server, place: &Place, release: ReleaseNumber) -> Result<(), ServerError> {
    let aborted = place
        .change(|document| Ok::<_, std::convert::Infallible>(document.abort(release)))?
        .unwrap_or_else(|never| match never {});
    if aborted {
        place.tell(release, What::Aborted);
    }
    spawn_roll_forward(server, place)
}

/// Starts a roll-forward that outlives whoever asked for it.
pub fn spawn_roll_forward(server: &Server, place: &Place) -> Result<(), ServerError> {
    jecloud_disk::fault::point("deploy.spawn").map_err(|source| ServerError::Io { action: "roll forward", source })?;
    let log = server.root.system_log("rollforward");
    let output = RotatingLog::open(&log, log::MAX_BYTES, log::KEEP)?.file()?;
    let launch = Launch::new(&server.exe)
        .args(["update-server", "rollforward", "--root"])
        .arg(server.root.path())
        .args(["--app", place.app.as_str(), "--environment", place.environment.as_str()])
        .cwd("/");
    jecloud_launch::detached(launch, output.into())?;
    Ok(())
}

/// How long `follow` is content with a deployment that nobody works on before it starts a roll-forward itself: longer
/// than one that was just spawned needs to begin.
const IDLE: Duration = Duration::from_millis(500);

/// How much more patient it gets with each that it started: one that cannot begin is no better for being started often.
const LESS_AND_LESS_OFTEN: u32 = 2;

/// How patient it gets at the most.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

/// Tells the events of a release from its beginning to its end. Returns the outcome.
pub fn follow(
    server: &Server,
    place: &Place,
    release: ReleaseNumber,
    on_event: &mut dyn FnMut(&Event) -> std::io::Result<()>,
) -> Result<Outcome, ServerError> {
    let path = place.events(release);
    let mut told = 0;
    let at_work = place.root.path().join("rollforward.pid");
    let mut last_seen_at_work = Instant::now();
    let mut patience = IDLE;
    let mut wait_told = None;
    loop {
        let outcome = place.document()?.outcome(release);
        let text = durable::read_text(&path)?.unwrap_or_default();
        // A last line without an end is still being written.
        let complete = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut ended = false;
        for line in complete.lines().skip(told) {
            told += 1;
            if let Ok(event) = serde_json::from_str::<Event>(line) {
                ended |= event.what.is_end();
                on_event(&event).map_err(|source| ServerError::Io { action: "tell what happens", source })?;
            }
        }
        if !matches!(outcome, Outcome::Pending { .. }) {
            if !ended {
                // Whoever recorded the end died before telling it.
                if let Some(what) = end_of(&outcome) {
                    on_event(&Event { at: now(), what })
                        .map_err(|source| ServerError::Io { action: "tell what happens", source })?;
                }
            }
            return Ok(outcome);
        }
        let waits = match outcome {
            Outcome::Pending { state: state @ (DeploymentState::Prepared | DeploymentState::Ready) } => Some(state),
            _ => None,
        };
        let is_idle = lock::holder(&at_work)?.is_none();
        if let Some(state) = waits.filter(|waits| is_idle && wait_told != Some(*waits)) {
            // It waits for the other servers, and so would whoever follows it and is to tell it that they are so far.
            on_event(&Event { at: now(), what: What::Entered { state } })
                .map_err(|source| ServerError::Io { action: "tell what happens", source })?;
            wait_told = waits;
        }
        let nobody_works = waits.is_none() && is_idle;
        if !nobody_works {
            last_seen_at_work = Instant::now();
        } else if last_seen_at_work.elapsed() > patience {
            // Whoever worked on it has died.
            spawn_roll_forward(server, place)?;
            last_seen_at_work = Instant::now();
            patience = LONGEST_IDLE.min(patience * LESS_AND_LESS_OFTEN);
        }
        tables::pause();
    }
}

fn end_of(outcome: &Outcome) -> Option<What> {
    match outcome {
        Outcome::Serving => Some(What::Serving),
        Outcome::Superseded => Some(What::Aborted),
        Outcome::Failed(failure) => Some(What::Failed {
            reason: failure.reason.clone(),
            details: failure.details.clone(),
            hint: failure.hint.clone(),
        }),
        Outcome::Unknown | Outcome::Pending { .. } => None,
    }
}

/// The exact versions that a release resolved to.
pub fn pins(
    place: &Place,
    release: ReleaseNumber,
) -> Result<BTreeMap<jecloud_model::ids::ServiceName, BTreeMap<String, String>>, ServerError> {
    Ok(place.prepared(release)?.map(|prepared| prepared.pins).unwrap_or_default())
}

/// Has the process manager run where anything is wanted of it: after a boot, or after everything was killed.
pub fn revive(server: &Server) -> Result<(), ServerError> {
    let mut is_wanted = false;
    for place in Place::all(&server.root)? {
        let table: Option<jecloud_model::processes::ProcessTable> =
            durable::read_json(&place.root.process_table()).unwrap_or_default();
        is_wanted |= table.is_some_and(|table| !table.processes.is_empty());
    }
    server.processes.tend(is_wanted)
}
