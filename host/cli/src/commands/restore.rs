//! `jecloud restore`: replaces the data of a service by what is in a backup, of this environment or of another one.

use std::time::{Duration, Instant};

use jecloud_cloud::{Server, existing_backup_key, keys};
use jecloud_model::backup::{Manifest, Restore, RestoreState};
use jecloud_model::cloud::Basis;
use jecloud_model::ids::{EnvironmentName, ServiceName};

use crate::args::Global;
use crate::backups;
use crate::failure::{Code, Failure};
use crate::interrupt;
use crate::output::{Progress, ask, bold, duration, print, say, size};
use crate::project::Project;
use crate::session::Session;

/// Between two questions how far the server is.
const GLANCE: Duration = Duration::from_millis(200);

/// So often in a row the server may give no answer.
const SILENT: u32 = 25;

pub(crate) fn run(
    global: &Global,
    service: &ServiceName,
    backup: Option<&str>,
    into: Option<&EnvironmentName>,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let project = Project::open_to_operate(global)?;
    let source = Session::open(&project, &global.env)?;
    let session = Session::open(&project, into.unwrap_or(&global.env))?;
    let mut progress = Progress::new(false);
    let state = session.state()?.ok_or_else(|| session.nothing_deployed())?;
    let environment = session.environment_state()?;
    let Some(release) = environment.serving_release().map(|found| &found.release) else {
        return Err(Failure::usage(format!(
            "nothing serves in {}: no data can be replaced there",
            session.environment
        ))
        .hint(format!("`jecloud deploy{}` comes first.", session.environment_flag())));
    };
    if !backups::policies(&environment).contains_key(service) {
        return Err(backups::cannot_be_backed_up(&session, &environment, service));
    }
    // One that still waits on a server may be the newest.
    let collected = backups::collect(&source, &state, &source.environment, &mut progress);
    for trouble in collected.troubles {
        say(&format!("note: {trouble}"));
    }
    let manifest = chosen(&source, service, backup)?;
    let (mut servers, troubles) = backups::servers_of(&session, &environment, release, service);
    if servers.len() + troubles.len() > 1 {
        return Err(Failure::usage(format!(
            "{service} runs on {} servers of {}: which of them would have the data afterwards?",
            servers.len() + troubles.len(),
            session.environment
        ))
        .hint("Scale its group to one server, restore, and scale it back."));
    }
    let Some((name, machine)) = servers.pop() else {
        return Err(Failure::new(Code::NotReachable, format!("the server of {service} cannot be reached"))
            .details(troubles)
            .world("Nothing was changed.")
            .hint(format!("`jecloud status{}` shows how it is.", session.environment_flag())));
    };
    confirm(global, &session, service, &manifest)?;
    let flag = session.environment_flag();
    interrupt::watch(format!("Interrupted: the server goes on with what it was told. `jecloud fwd{flag}` sees to it."));
    let unusable = |error| Failure::from_store("the backup cannot be opened", &error).world("Nothing was changed.");
    let key = existing_backup_key(&*session.store).map_err(unusable)?.ok_or_else(|| {
        Failure::new(Code::Failed, format!("the key of the backups is not in {} any more", session.store.describe()))
            .world("Nothing was changed.")
            .hint(format!(
                "Put {} back from a copy of the store: without it no backup can be opened.",
                keys::BACKUP_KEY
            ))
    })?;
    let name = name.to_string();
    let basis = Basis::of(&state);
    let server = Server::new(&*machine, &name).based_on(&basis);
    let refused = |error| Failure::from_machine(Code::of(&error), &error).world("Nothing was changed.");
    machine.renew().map_err(refused)?;
    server.put_backup_key(&session.app, &session.environment, &key).map_err(refused)?;
    progress.begin("sending the backup");
    let total = manifest.sealed_bytes;
    let file = machine
        .put_file(&*session.store, &keys::sealed(&manifest), &mut |done| progress.bytes(done, total))
        .map_err(refused)?;
    progress.over();
    server.restore(&session.app, &session.environment, service, &manifest, &file).map_err(refused)?;
    let restore = wait(&session, server, &manifest, &mut progress)?;
    finish(&session, service, &restore, begin)
}

/// The backup that is meant: the newest where none is named.
fn chosen(source: &Session, service: &ServiceName, backup: Option<&str>) -> Result<Manifest, Failure> {
    let listing = source
        .backups()
        .list(Some(&source.environment))
        .map_err(|error| Failure::from_store("the backups cannot be listed", &error).world("Nothing was changed."))?;
    let own: Vec<&Manifest> = listing.manifests.iter().filter(|manifest| manifest.service == *service).collect();
    let Some(text) = backup else {
        let newest = own.first().copied().cloned();
        return newest.ok_or_else(|| {
            Failure::usage(format!("there is no backup of {service} in {}", source.environment))
                .hint(format!("`jecloud backups{}` lists what there is.", source.environment_flag()))
        });
    };
    let meant: Vec<&Manifest> = own.into_iter().filter(|manifest| backups::is_meant(text, &manifest.id)).collect();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(super::backups::none_is_meant(source, text)),
        _ => Err(Failure::usage(format!("{text} may be any of {} backups", meant.len())).hint("Type more of it.")),
    }
}

fn confirm(global: &Global, session: &Session, service: &ServiceName, manifest: &Manifest) -> Result<(), Failure> {
    if global.yes {
        return Ok(());
    }
    let age = duration(backups::now().since(manifest.created));
    say(&format!(
        "This replaces all data of {} in {} {} by backup {}:\n  of {}, {age} old, {}, {} {}; {}",
        bold(service.as_str()),
        bold(session.environment.as_str()),
        session.where_in_words(1),
        bold(manifest.id.as_str()),
        manifest.environment,
        size(manifest.bytes),
        manifest.service,
        manifest.contents.version,
        backups::contents_in_words(&manifest.contents)
    ));
    if ask("What is there now is lost. Go on?") {
        return Ok(());
    }
    Err(Failure::usage("nobody said yes").hint("`jecloud restore -y` does not ask."))
}

fn wait(
    session: &Session,
    server: Server<'_>,
    manifest: &Manifest,
    progress: &mut Progress,
) -> Result<Restore, Failure> {
    let flag = session.environment_flag();
    let (mut seen, mut silent) = (None, 0);
    loop {
        match server.backups(&session.app, &session.environment) {
            Ok(found) => {
                silent = 0;
                let restore = found.restore.filter(|restore| restore.manifest.id == manifest.id);
                let Some(restore) = restore else {
                    return Err(Failure::new(Code::LostRace, "another backup is being restored there now")
                        .world("It may have the data of the one or of the other.")
                        .hint(format!("`jecloud status{flag}` shows what goes on.")));
                };
                if restore.state.is_end() {
                    return Ok(restore);
                }
                if seen != Some(restore.state) {
                    let doing = match restore.state {
                        RestoreState::Unsealing => "unsealing",
                        RestoreState::Replacing if restore.failure.is_some() => "putting back what was there",
                        RestoreState::Replacing => "replacing the data",
                        _ => "checking what is there",
                    };
                    progress.begin(doing);
                    seen = Some(restore.state);
                }
            }
            Err(error) => {
                silent += 1;
                if silent == SILENT {
                    return Err(Failure::from_machine(Code::NotReachable, &error)
                        .world("The server goes on with it.")
                        .hint(format!("`jecloud status{flag}` shows how far it is.")));
                }
            }
        }
        session.cloud().world.pause(GLANCE);
    }
}

fn finish(session: &Session, service: &ServiceName, restore: &Restore, begin: Instant) -> Result<(), Failure> {
    let manifest = &restore.manifest;
    if let Some((state, failure)) = &restore.failure {
        let world = match state {
            RestoreState::Unsealing => format!("Nothing was changed: {service} has the data that it had."),
            _ => format!("{service} has the data again that it had before."),
        };
        let what = format!("backup {} could not be restored into {service}: {}", manifest.id, failure.reason);
        return Err(Failure::new(Code::Failed, what)
            .details(failure.details.clone())
            .world(world)
            .hint(failure.hint.clone()));
    }
    print(&format!(
        "Finished in {:.2} s: {} in {} has what backup {} has ({}).",
        begin.elapsed().as_secs_f64(),
        bold(service.as_str()),
        bold(session.environment.as_str()),
        manifest.id,
        backups::contents_in_words(&manifest.contents)
    ));
    Ok(())
}
