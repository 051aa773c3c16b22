//! A small `jecloud update-server`: the commands and answers of the real one, and `app.json` with its real
//! transitions. Where the real one works, this one goes from state to state at once.
//!
//! A release with the variable `FAIL_ON` fails on the server whose directory has that name; a server with a file
//! `refuse` takes nothing, and one with a file `asleep` records what it is told and does not work.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, tree};
use jecloud_model::app::{AppDocument, DeploymentState, Failure, Gates, Outcome, Requested};
use jecloud_model::cloud::{Basis, BasisRefused, KnownClouds};
use jecloud_model::events::{Event, What};
use jecloud_model::ids::{AppName, Digest, EnvironmentName, ReleaseNumber, VersionId};
use jecloud_model::layout::{EnvironmentRoot, ServerRoot};
use jecloud_model::release::Release;
use jecloud_model::time::Timestamp;
use jecloud_model::topology::Order;
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

pub(crate) fn run(args: &[String]) -> ExitCode {
    match command(args) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", json!({"error": error.to_string(), "hint": "look at the server"}));
            let is_outdated = error.downcast_ref::<BasisRefused>().is_some();
            if is_outdated { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}

fn command(args: &[String]) -> Result<Value, Error> {
    let [words @ .., flag, root] = args else { return Err("no --root".into()) };
    assert_eq!(flag, "--root");
    let root = ServerRoot::new(root);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let [before @ .., "--basis", basis] = words.as_slice() {
        accept(&root, &basis.parse()?)?;
        words = before.to_vec();
    }
    if tree::exists(&root.path().join("refuse"))? && words[0] != "status" {
        return Err("the disk is full".into());
    }
    match words[..] {
        ["init"] => {
            durable::create_dirs(&root.sys(), 0o755)?;
            durable::write_json(&root.server_document(), &json!({}), 0o644)?;
        }
        ["status", "--app", app, "--environment", environment] => {
            let place = place(&root, app, environment)?;
            if !tree::exists(place.path())? {
                return Ok(json!({"environments": []}));
            }
            let document = document(&place)?;
            return Ok(json!({"environments": [{"app": app, "environment": environment, "document": document}]}));
        }
        ["want"] => return want(&root),
        ["put-archive", app, environment, version, file] => {
            let place = place(&root, app, environment)?;
            durable::create_dirs(&place.versions(), 0o755)?;
            copy(Path::new(file), &place.archive(&version.parse()?))?;
        }
        ["put-hook", digest, file] => {
            durable::create_dirs(&root.hooks(), 0o755)?;
            copy(Path::new(file), &root.hook(&digest.parse()?))?;
        }
        ["deploy", _] => {
            let Order { release, topology } = serde_json::from_slice(&input()?)?;
            let place = root.environment(&release.app, &release.environment);
            if !tree::exists(&place.archive(&release.version))? {
                return Err("the archive is missing".into());
            }
            let follows = topology.as_ref().is_some_and(|topology| topology.follows);
            let gates = Gates { follows, hold: release.hold };
            let requested =
                change(&place, |document| document.request(&release.version, release.number, gates, now()))??;
            if let Requested::Recorded { aborted } = requested {
                durable::create_dirs(&place.release(release.number), 0o755)?;
                durable::write_json(&place.release(release.number).join("release.json"), &release, 0o644)?;
                let topology = topology.ok_or("it was not told what it has to know of the others")?;
                durable::write_json(&place.release(release.number).join("topology.json"), &topology, 0o644)?;
                if let Some(aborted) = aborted {
                    tell(&place, aborted, What::Aborted)?;
                }
            }
            work(&root, &place)?;
        }
        ["proceed", app, environment, release] => {
            let place = place(&root, app, environment)?;
            change(&place, |document| document.proceed(ReleaseNumber(release.parse().unwrap())))??;
            work(&root, &place)?;
        }
        ["commit", app, environment, release] => {
            let place = place(&root, app, environment)?;
            change(&place, |document| document.commit(ReleaseNumber(release.parse().unwrap())))??;
            work(&root, &place)?;
        }
        ["abort", app, environment, release] => {
            let place = place(&root, app, environment)?;
            let release = ReleaseNumber(release.parse()?);
            change(&place, |document| document.fail(release, Failure::because("it failed elsewhere"), now()))??;
            tell(&place, release, What::Aborted)?;
        }
        ["follow", app, environment, release] => {
            follow(&place(&root, app, environment)?, ReleaseNumber(release.parse()?))?
        }
        ["destroy", app, environment] => drop(tree::remove(place(&root, app, environment)?.path())?),
        ["rollforward"] => {
            let place = place(&root, "guestbook", "production")?;
            if tree::exists(place.path())? {
                work(&root, &place)?;
            }
        }
        _ => return Err(format!("what is {words:?}?").into()),
    }
    Ok(json!({}))
}

/// As the real one does it, for the one app of these tests.
fn accept(root: &ServerRoot, basis: &Basis) -> Result<(), Error> {
    durable::create_dirs(&root.sys(), 0o755)?;
    let _lock = Lock::acquire(&root.sys().join("clouds.lock"), Instant::now() + Duration::from_secs(20))?;
    let mut known: KnownClouds = durable::read_json(&root.known_clouds())?.unwrap_or_default();
    let app: AppName = "guestbook".parse()?;
    known.accept(&app, basis, tree::list(&root.path().join(app.as_str()))?.is_empty())?;
    Ok(durable::write_json(&root.known_clouds(), &known, 0o644)?)
}

fn place(root: &ServerRoot, app: &str, environment: &str) -> Result<EnvironmentRoot, Error> {
    Ok(root.environment(&app.parse::<AppName>()?, &environment.parse::<EnvironmentName>()?))
}

fn input() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let bytes = durable::read(from)?.ok_or_else(|| format!("{} is missing", from.display()))?;
    Ok(durable::replace(to, &bytes, 0o600)?)
}

fn want(root: &ServerRoot) -> Result<Value, Error> {
    let question: Value = serde_json::from_slice(&input()?)?;
    let place = place(root, question["app"].as_str().unwrap(), question["environment"].as_str().unwrap())?;
    let list = |key: &str| -> Vec<String> { serde_json::from_value(question[key].clone()).unwrap() };
    let lacks = |path: PathBuf| !tree::exists(&path).unwrap();
    let mut versions = list("versions");
    versions.retain(|version| lacks(place.archive(&version.parse::<VersionId>().unwrap())));
    let mut hooks = list("hooks");
    hooks.retain(|hook| lacks(root.hook(&hook.parse::<Digest>().unwrap())));
    Ok(json!({"versions": versions, "hooks": hooks}))
}

fn document(place: &EnvironmentRoot) -> Result<AppDocument, Error> {
    Ok(durable::read_json(&place.app_document())?.unwrap_or_default())
}

fn change<T>(place: &EnvironmentRoot, change: impl FnOnce(&mut AppDocument) -> T) -> Result<T, Error> {
    durable::create_dirs(place.path(), 0o755)?;
    let _lock = Lock::acquire(&place.app_lock(), Instant::now() + Duration::from_secs(20))?;
    let before = document(place)?;
    let mut after = before.clone();
    let result = change(&mut after);
    if after != before {
        durable::write_json(&place.app_document(), &after, 0o644)?;
    }
    Ok(result)
}

fn events(place: &EnvironmentRoot, release: ReleaseNumber) -> PathBuf {
    place.release(release).join("events.jsonl")
}

fn tell(place: &EnvironmentRoot, release: ReleaseNumber, what: What) -> Result<(), Error> {
    let line = serde_json::to_string(&Event { at: now(), what })?;
    durable::create_dirs(&place.release(release), 0o755)?;
    Ok(durable::append_line(&events(place, release), &line, 0o644)?)
}

/// From state to state, one at a time, as far as it goes.
fn work(root: &ServerRoot, place: &EnvironmentRoot) -> Result<(), Error> {
    if tree::exists(&root.path().join("asleep"))? {
        return Ok(());
    }
    let lock = place.path().join("work.lock");
    let _lock = Lock::acquire(&lock, Instant::now() + Duration::from_secs(20))?;
    let name = root.path().file_name().unwrap().to_string_lossy().into_owned();
    loop {
        let Some(going) = document(place)?.deployment else { return Ok(()) };
        let release: Option<Release> = durable::read_json(&place.release(going.release).join("release.json"))?;
        let Some(release) = release else { return Ok(()) };
        let doomed = release.env.get("FAIL_ON").is_some_and(|doomed| *doomed == name);
        tell(place, going.release, What::Entered { state: going.state })?;
        if doomed && going.state == DeploymentState::Starting {
            let failure = Failure::because("/up answers 500");
            change(place, |document| document.fail(going.release, failure.clone(), now()))??;
            let what = What::Failed { reason: failure.reason, details: Vec::new(), hint: String::new() };
            return tell(place, going.release, what);
        }
        match going.state {
            DeploymentState::Prepared if going.follows => return Ok(()),
            DeploymentState::Ready if going.hold => return Ok(()),
            DeploymentState::Deployed => {
                change(place, |document| document.succeed(going.release, BTreeMap::new(), now()))??;
                return tell(place, going.release, What::Serving);
            }
            state => change(place, |document| document.finish_state(going.release, state))??,
        }
    }
}

fn follow(place: &EnvironmentRoot, release: ReleaseNumber) -> Result<(), Error> {
    let mut told = 0;
    loop {
        let outcome = document(place)?.outcome(release);
        let text = durable::read_text(&events(place, release))?.unwrap_or_default();
        let mut ended = false;
        for line in text.lines().skip(told) {
            told += 1;
            println!("{line}");
            std::io::stdout().flush()?;
            ended |= serde_json::from_str::<Event>(line).is_ok_and(|event| event.what.is_end());
        }
        if ended || !matches!(outcome, Outcome::Pending { .. }) {
            std::process::exit(0);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
