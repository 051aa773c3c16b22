//! `jecloud update-server` and the processes that stay: what is typed by JeCloud, not by people.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jecloud_cloud::{Options, roll_forward};
use jecloud_disk::log::{KEEP, MAX_BYTES, RotatingLog};
use jecloud_model::cloud::Basis;
use jecloud_model::ids::{AppName, EnvironmentName, ReleaseNumber, ServiceName};
use jecloud_model::layout::ServerRoot;
use jecloud_model::time::Timestamp;
use jecloud_model::topology::Order;
use jecloud_seal::Key;
use jecloud_server::api::RolledForward;
use jecloud_server::{LogWish, Place, Server, ServerError, api, backup, basis, destroy, process_manager, rollforward};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::args::{Cli, ServerAction};
use crate::failure::{Code, Failure};
use crate::fleet;
use crate::home::Home;
use crate::output::print_json_line;
use crate::session::{self, Session};

/// The most that is read from standard input: a release with all its variables, or the inputs of a plan.
const LONGEST_INPUT: u64 = 64 << 20;

/// How long the process manager may take to end everything.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(11 * 60);

pub(crate) fn run(root: Option<PathBuf>, basis: Option<&Basis>, action: ServerAction) -> Result<ExitCode, Failure> {
    let root = match root {
        Some(root) => ServerRoot::new(root),
        None => Home::from_environment()?.server(),
    };
    // Who types it by hand, in an emergency, bases it on nothing but their own judgement.
    let accept = |app: &AppName| basis.map(|basis| basis::accept(&root, app, basis)).transpose();
    match action {
        ServerAction::Init { listen } => {
            let listen = (!listen.is_empty()).then_some(listen);
            print_json_line(&api::init(&root, &session::executable()?, listen)?);
        }
        ServerAction::Status { app, environment } => {
            print_json_line(&api::status(&root, &session::executable()?, app.as_ref(), environment.as_ref())?);
        }
        ServerAction::Want => print_json_line(&api::missing(&root, input()?)?),
        ServerAction::PutArchive { app, environment, version, file } => {
            api::put_archive(&Place::new(&root, &app, &environment), &version, &file)?;
        }
        ServerAction::PutHook { digest, file } => api::put_hook(&root, &digest, &file)?,
        ServerAction::PutSecrets { app, environment } => {
            // The parser's own message would show what stands there.
            let secrets = input().map_err(|_| Failure::usage("standard input holds no secrets"))?;
            let _accepted = accept(&app)?;
            api::put_secrets(&Place::new(&root, &app, &environment), &secrets)?;
        }
        ServerAction::Deploy { version } => {
            let order: Order = input()?;
            let found = &order.release.version;
            if *found != version {
                return Err(Failure::usage(format!("the release on standard input is of version {found}")));
            }
            let server = session::local_server(root.clone())?;
            let _accepted = accept(&order.release.app)?;
            api::deploy(&server, &order)?;
        }
        ServerAction::Proceed { app, environment, release } => {
            let server = session::local_server(root.clone())?;
            let _accepted = accept(&app)?;
            api::proceed(&server, &Place::new(&server.root, &app, &environment), release)?;
        }
        ServerAction::Commit { app, environment, release } => {
            let server = session::local_server(root.clone())?;
            let _accepted = accept(&app)?;
            api::commit(&server, &Place::new(&server.root, &app, &environment), release)?;
        }
        ServerAction::Abort { app, environment, release } => {
            let server = session::local_server(root.clone())?;
            let _accepted = accept(&app)?;
            api::abort(&server, &Place::new(&server.root, &app, &environment), release)?;
        }
        ServerAction::Follow { app, environment, release } => {
            let server = session::local_server(root)?;
            let place = Place::new(&server.root, &app, &environment);
            api::follow(&server, &place, release, &mut |event| {
                let line = serde_json::to_string(event).map_err(std::io::Error::other)?;
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())
            })?;
        }
        ServerAction::Destroy { app, environment } => {
            let server = session::local_server(root.clone())?;
            // Others need not wait until the processes have ended.
            drop(accept(&app)?);
            destroy::destroy(&server, &Place::new(&server.root, &app, &environment))?;
        }
        ServerAction::Rollforward { app, environment, quiet } => return roll(root, app, environment, quiet),
        ServerAction::Plan => {
            let server = session::local_server(root)?;
            print_json_line(&jecloud_server::plan(&server, &input()?)?);
        }
        ServerAction::Logs { app, environment, lines, since, process, follow } => {
            let process = process.as_deref().map(Cli::process_filter).transpose();
            let process = process.map_err(|error| Failure::usage(format!("--process: {error}")))?;
            let wish = LogWish { lines, since, process, follow };
            // Whoever reads may have enough.
            let mut write = |line: &str| match writeln!(std::io::stdout().lock(), "{line}") {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let processes = process_manager(&root, &session::executable()?);
            processes.logs(&Place::new(&root, &app, &environment), &wish, &mut write)?;
        }
        ServerAction::Run { app, environment, command } => {
            let server = session::local_server(root)?;
            let launch = jecloud_server::one_off(&server, &Place::new(&server.root, &app, &environment), &command)?;
            let ended =
                jecloud_launch::interactive(launch).map_err(|error| Failure::usage(jecloud_server::chain(&error)))?;
            return Ok(ExitCode::from(u8::try_from(ended.code()).unwrap_or(1)));
        }
        ServerAction::Pins { app, environment, release } => {
            print_json_line(&api::pins(&Place::new(&root, &app, &environment), release)?);
        }
        ServerAction::PutBackupKey { app, environment } => {
            let key = backup_key()?;
            let _accepted = accept(&app)?;
            backup::put_key(&Place::new(&root, &app, &environment), &key)?;
        }
        ServerAction::Backup { app, environment, service, id, verify, scheduled } => {
            let server = session::local_server(root.clone())?;
            let _accepted = accept(&app)?;
            backup::request(&server, &Place::new(&root, &app, &environment), &service, &id, verify, scheduled)?;
        }
        ServerAction::Backups { app, environment } => {
            print_json_line(&backup::list(&Place::new(&root, &app, &environment))?);
        }
        ServerAction::ForgetBackup { app, environment, id } => {
            let _accepted = accept(&app)?;
            backup::forget(&Place::new(&root, &app, &environment), &id)?;
        }
        ServerAction::Restore { app, environment, service, file } => {
            let manifest = input()?;
            let server = session::local_server(root.clone())?;
            let _accepted = accept(&app)?;
            backup::restore(&server, &Place::new(&root, &app, &environment), &service, &file, &manifest)?;
        }
        ServerAction::Shutdown => {
            process_manager(&root, &session::executable()?)
                .shutdown(Instant::now() + SHUTDOWN_DEADLINE)
                .map_err(|error| Failure::from_error(Code::Failed, "the process manager cannot be ended", &error))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A JSON document on standard input.
fn input<T: DeserializeOwned>() -> Result<T, Failure> {
    let mut text = Vec::new();
    std::io::stdin()
        .take(LONGEST_INPUT)
        .read_to_end(&mut text)
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::usage(format!("standard input is not what was expected: {error}")))
}

/// The key on standard input. Errors do not say what stands there.
fn backup_key() -> Result<Key, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    std::io::stdin()
        .take(128)
        .read_to_string(&mut text)
        .map_err(|_| Failure::usage("standard input cannot be read as text"))?;
    text.parse().map_err(|_| Failure::usage("standard input holds no key: a key is 64 hex digits"))
}

/// Rolls one environment forward, or all, and with them the clouds of this machine.
fn roll(
    root: ServerRoot,
    app: Option<AppName>,
    environment: Option<EnvironmentName>,
    quiet: bool,
) -> Result<ExitCode, Failure> {
    if !Server::is_initialised(&root)? {
        return Ok(ExitCode::SUCCESS);
    }
    let server = session::local_server(root)?;
    // Who typed `jecloud fwd` has this binary; the one that looks once a minute is of the binary that runs.
    let is_asked = !quiet && app.is_none();
    let mut did = RolledForward::default();
    let before = api::running(&server);
    if is_asked {
        did.renewed = api::renew(&server.root, &server.exe)?;
    }
    let result = match (app, environment) {
        (Some(app), Some(environment)) => {
            let place = Place::new(&server.root, &app, &environment);
            rollforward::roll_forward(&server, &place, true).map(drop).map_err(|error| vec![(place, error)])
        }
        _ => {
            clouds(&server.root);
            let result = rollforward::roll_forward_all(&server);
            // Where nothing runs any more that should, everything is wanted all the same.
            api::revive(&server)?;
            result
        }
    };
    let Err(errors) = result else {
        if is_asked {
            let started = |(name, pid): (String, u32)| (before.get(&name) != Some(&pid)).then_some(name);
            did.started = api::running(&server).into_iter().filter_map(started).collect();
            print_json_line(&did);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let lines: Vec<String> = errors.iter().map(|(place, error)| in_one_line(place, error)).collect();
    let log = server.root.system_log("rollforward");
    let now = Timestamp::from_system(std::time::SystemTime::now());
    if let Ok(mut log) = RotatingLog::open(&log, MAX_BYTES, KEEP) {
        for line in &lines {
            let _ = log.append_line(&format!("{now} {line}"));
        }
    }
    if quiet {
        return Ok(ExitCode::from(Code::Failed as u8));
    }
    Err(Failure::new(Code::Failed, "not everything could be rolled forward").details(lines))
}

fn in_one_line(place: &Place, error: &ServerError) -> String {
    format!("{} {}: {}", place.app, place.environment, jecloud_server::chain(error))
}

/// What was recorded in a cloud of this machine, and nobody handed to the server because whoever recorded it died.
fn clouds(root: &ServerRoot) {
    let Some(home) = Home::of_server(root) else { return };
    let names = jecloud_disk::tree::list(&home.clouds()).unwrap_or_default();
    for app in names.iter().filter_map(|name| name.to_str()?.parse::<AppName>().ok()) {
        let Ok(session) = Session::at(home.clone(), &app, &EnvironmentName::production()) else { continue };
        let options = Options { patience: Duration::ZERO, ..Options::default() };
        // What cannot be done now is done at the next turn; the state has the reasons.
        let _ = roll_forward(session.cloud(), &options, &mut ());
    }
}

/// The exact versions to which a release resolved, asked of the servers it runs on.
pub(crate) fn pins(
    session: &Session,
    release: ReleaseNumber,
) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, Failure> {
    let mut all: BTreeMap<ServiceName, BTreeMap<String, String>> = BTreeMap::new();
    let environment = session.environment_state()?;
    // A server for which nothing had changed goes on with the release whose content this one has.
    let content = environment.release(release).map_or(release, |recorded| recorded.release.content());
    let numbers = std::collections::BTreeSet::from([content, release]);
    let members = fleet::members(session, &session.environment, &environment);
    let machines: Vec<_> = members.into_iter().filter_map(|member| member.machine.ok()).collect();
    let asked = fleet::at_once(machines, |machine| {
        let of = |number: &ReleaseNumber| {
            let number = number.0.to_string();
            let args = ["pins", session.app.as_str(), session.environment.as_str(), &number];
            machine.call(&args, None, Duration::from_secs(60))
        };
        numbers.iter().map(of).collect::<Result<Vec<_>, _>>()
    });
    for answers in asked {
        let answers = answers.map_err(|error| {
            Failure::from_error(Code::NotReachable, "the server cannot be asked for its versions", &error)
        })?;
        for output in answers {
            let pins: BTreeMap<ServiceName, BTreeMap<String, String>> =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            for (service, pinned) in pins {
                all.entry(service).or_default().extend(pinned);
            }
        }
    }
    Ok(all)
}

/// `jecloud supervisor`
pub(crate) fn supervisor(root: PathBuf) -> Result<(), Failure> {
    let root = ServerRoot::new(root);
    let document = jecloud_server::document(&root)?;
    let settings = jecloud_supervisor::Settings { listen: document.listen, ..jecloud_supervisor::Settings::default() };
    jecloud_supervisor::run(root, session::executable()?, settings)
        .map_err(|error| Failure::from_error(Code::Failed, "the process manager ended", &error))
}

/// `jecloud front`
pub(crate) fn front(root: PathBuf, replace: bool) -> Result<(), Failure> {
    let root = ServerRoot::new(root);
    let failed = |error: &dyn std::error::Error| Failure::from_error(Code::Failed, "the front ended", error);
    let listeners = jecloud_front::inherited().map_err(|error| failed(&error))?;
    // Each of the two brings the other back.
    let leaving = Arc::new(AtomicBool::new(false));
    let sockets: Vec<OwnedFd> = listeners
        .iter()
        .map(|listener| listener.try_clone().map(OwnedFd::from))
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    // systemd needs nobody to bring it back.
    let watcher = match jecloud_systemd::is_in_charge(&root) {
        true => None,
        false => {
            let (root, exe, leaving) = (root.clone(), session::executable()?, leaving.clone());
            let watch = move || jecloud_supervisor::watch::revive(&root, &exe, &sockets, &leaving);
            Some(std::thread::spawn(watch))
        }
    };
    let settings = jecloud_front::Settings { replace, ..jecloud_front::Settings::default() };
    // One that finishes its last requests brings nobody back: its binary may be an older one.
    let ended = jecloud_front::run(root, listeners, settings, || leaving.store(true, Ordering::Relaxed));
    leaving.store(true, Ordering::Relaxed);
    let _ = watcher.map(std::thread::JoinHandle::join);
    ended.map_err(|error| failed(&error))
}

/// `jecloud compile-hook`
pub(crate) fn compile_hook() -> Result<(), Failure> {
    let limits = jecloud_sandbox::Limits::default();
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    jecloud_sandbox::compile_in_this_process(&limits, input, output)
        .map_err(|error| Failure::new(Code::Failed, jecloud_server::chain(&error)))?;
    Ok(())
}
