//! `jecloud backups`: lists the backups of an environment, and deletes some.

use jecloud_model::backup::{BackupState, Manifest};
use jecloud_model::cloud::Basis;

use crate::args::{BackupsAction, Global};
use crate::backups::{self, Sight};
use crate::failure::{Code, Failure};
use crate::fleet::{self, Member};
use crate::output::{Table, ask, bold, dim, duration, green, print, print_json, red, say, size, yellow};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, action: Option<BackupsAction>, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    match action {
        None | Some(BackupsAction::Ls) => list(&session, json),
        Some(BackupsAction::Delete { ids }) => delete(global, &session, &ids),
    }
}

fn list(session: &Session, json: bool) -> Result<(), Failure> {
    let state = session.state()?;
    let sight = backups::look(session, state.as_ref(), &session.environment);
    if json {
        print_json(&as_json(session, &sight));
        return Ok(());
    }
    for trouble in &sight.troubles {
        say(&format!("note: {trouble}"));
    }
    if sight.stored.is_empty() && sight.waiting.is_empty() {
        say(&format!(
            "There are no backups of {} {}. `jecloud backup{}` makes one.",
            session.app,
            session.environment,
            session.environment_flag()
        ));
        return Ok(());
    }
    print(&table(&sight));
    Ok(())
}

fn table(sight: &Sight) -> String {
    let now = backups::now();
    let mut table = Table::new(["id", "service", "age", "size", "contents", "verified", "by", "where"]);
    let mut row = |manifest: &Manifest, place: String| {
        table.row([
            manifest.id.to_string(),
            manifest.service.to_string(),
            duration(now.since(manifest.created)),
            size(manifest.bytes),
            backups::contents_in_words(&manifest.contents),
            if manifest.verified.is_some() { green("yes") } else { dim("no") },
            if manifest.scheduled { "schedule" } else { "hand" }.to_owned(),
            place,
        ]);
    };
    for manifest in sight.complete() {
        let server = sight.waiting.iter().find(|(_, found)| found.backup.id == manifest.id);
        let server = server.map_or_else(String::new, |(server, _)| server.to_string());
        row(manifest, yellow(&format!("waits on {server}")));
    }
    for manifest in &sight.stored {
        row(manifest, "store".to_owned());
    }
    for (server, found) in sight.waiting.iter().filter(|(_, found)| found.backup.state != BackupState::Done) {
        let backup = &found.backup;
        let state = match &backup.failure {
            Some(failure) => red(&format!("failed on {server}: {}", failure.reason)),
            None => yellow(&format!("{} on {server}", backup.state)),
        };
        let by = if backup.scheduled { "schedule" } else { "hand" };
        table.row([
            backup.id.to_string(),
            backup.service.to_string(),
            duration(now.since(backup.requested)),
            dim("-"),
            dim("-"),
            dim("-"),
            by.to_owned(),
            state,
        ]);
    }
    table.render()
}

fn as_json(session: &Session, sight: &Sight) -> serde_json::Value {
    let on_servers: Vec<serde_json::Value> = sight
        .waiting
        .iter()
        .map(|(server, found)| {
            let mut value = serde_json::to_value(&found.backup).unwrap_or_default();
            value["server"] = serde_json::json!(server);
            value
        })
        .collect();
    serde_json::json!({
        "app": session.app,
        "environment": session.environment,
        "stored": sight.stored,
        "on_servers": on_servers,
        "troubles": sight.troubles,
    })
}

fn delete(global: &Global, session: &Session, ids: &[String]) -> Result<(), Failure> {
    let state = session.state()?;
    let sight = backups::look(session, state.as_ref(), &session.environment);
    let mut doomed = Vec::new();
    for text in ids {
        let stored = sight.stored.iter().map(|manifest| &manifest.id);
        let all = stored.chain(sight.waiting.iter().map(|(_, found)| &found.backup.id));
        let mut found: Vec<_> = all.filter(|id| backups::is_meant(text, id)).collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [one] => doomed.push((*one).clone()),
            [] => return Err(none_is_meant(session, text)),
            _ => {
                return Err(
                    Failure::usage(format!("{text} may be any of {} backups", found.len())).hint("Type more of it.")
                );
            }
        }
    }
    let names: Vec<String> = doomed.iter().map(ToString::to_string).collect();
    if !global.yes {
        say(&format!("This deletes {} for good: {}.", backups::number_in_words(doomed.len()), bold(&names.join(", "))));
        if !ask("Go on?") {
            return Err(Failure::usage("nobody said yes").hint("`jecloud backups delete -y ID` does not ask."));
        }
    }
    for manifest in sight.stored.iter().filter(|manifest| doomed.contains(&manifest.id)) {
        session.backups().delete(manifest).map_err(|error| {
            Failure::from_store("the backup was not deleted", &error)
                .world("What has no manifest any more is no backup, and is removed later.")
        })?;
    }
    if let Some((state, environment)) =
        state.as_ref().and_then(|state| Some((state, state.environments.get(&session.environment)?)))
    {
        let basis = Basis::of(state);
        for Member { place, machine } in fleet::members(session, &session.environment, environment) {
            let Ok(machine) = machine else { continue };
            let name = place.server.to_string();
            let own =
                sight.waiting.iter().filter(|(server, _)| *server == place.server).map(|(_, found)| &found.backup);
            for backup in own.filter(|backup| doomed.contains(&backup.id)) {
                jecloud_cloud::Server::new(&*machine, &name)
                    .based_on(&basis)
                    .forget_backup(&session.app, &session.environment, &backup.id)
                    .map_err(|error| Failure::from_machine(Code::of(&error), &error))?;
            }
        }
    }
    print(&format!("Deleted {}.", names.join(", ")));
    Ok(())
}

/// What is said where no backup is called so.
pub(crate) fn none_is_meant(session: &Session, text: &str) -> Failure {
    Failure::usage(format!("there is no backup {text} of {} {}", session.app, session.environment))
        .hint(format!("`jecloud backups{}` lists them.", session.environment_flag()))
}
