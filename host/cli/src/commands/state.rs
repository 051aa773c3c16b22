//! `jecloud state`: the cloud state, for those who have to look inside.

use std::path::Path;

use jecloud_cloud::StateError;
use jecloud_disk::durable;
use jecloud_launch::Launch;
use jecloud_model::cloud::InvalidState;

use crate::args::{Global, StateAction};
use crate::failure::{Code, Failure};
use crate::output::{Table, print, print_json, size};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, action: StateAction) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    match action {
        StateAction::Show { id: None } => {
            let (text, _) = session.state_file().text()?.ok_or_else(|| session.nothing_deployed())?;
            print(text.trim_end());
            Ok(())
        }
        StateAction::Show { id: Some(id) } => {
            print(past(&session, &id)?.trim_end());
            Ok(())
        }
        StateAction::Edit { from } => edit(&session, from.as_deref()),
        StateAction::Restore { id } => restore(&session, id.as_deref()),
        StateAction::History { json } => history(&session, json),
    }
}

fn restore(session: &Session, id: Option<&str>) -> Result<(), Failure> {
    let restored = session.state_file().restore(id).map_err(|error| {
        let failure = match &error {
            // Otherwise this would read as if the recorded state were damaged.
            StateError::Invalid { source: InvalidState::Damaged(_) | InvalidState::Contradiction(_), .. } => {
                Failure::usage(format!("the earlier state cannot be used: {}", jecloud_server::chain(&error)))
                    .hint("`jecloud state history` lists the others.")
            }
            _ => Failure::from(error),
        };
        failure.world("The state is as it was; what runs on the servers goes on.")
    })?;
    let Some((state, id)) = restored else {
        return match id {
            Some(id) => Err(no_such(id)),
            None => Err(Failure::new(Code::Failed, "there is no earlier state that can be used")
                .world("Nothing was changed; what runs on the servers goes on.")
                .hint("`jecloud state history` lists what there is, and `jecloud state edit` opens an editor.")),
        };
    };
    print(&format!("Restored {id} as generation {}.", state.generation));
    let environments = state.environments.keys().map(|name| format!("`jecloud fwd -e {name}`")).collect::<Vec<_>>();
    if !environments.is_empty() {
        print(&format!(
            "What changed since then is not recorded any more: look with `jecloud status`, then {}.",
            environments.join(", ")
        ));
    }
    Ok(())
}

fn no_such(id: &str) -> Failure {
    Failure::usage(format!("there is no earlier state {id}")).hint("`jecloud state history` lists them.")
}

fn past(session: &Session, id: &str) -> Result<String, Failure> {
    session.state_file().past_text(id)?.ok_or_else(|| no_such(id))
}

fn history(session: &Session, json: bool) -> Result<(), Failure> {
    let past = session.state_file().history()?;
    if json {
        let rows: Vec<serde_json::Value> = past
            .iter()
            .map(|past| {
                serde_json::json!({
                    "id": past.id, "written": past.written, "bytes": past.size, "generation": past.generation,
                })
            })
            .collect();
        print_json(&rows);
        return Ok(());
    }
    if past.is_empty() {
        session.state()?.ok_or_else(|| session.nothing_deployed())?;
        print("There is no earlier state: this is the first.");
        return Ok(());
    }
    let mut table = Table::new(["id", "generation", "written", "size"]);
    for past in past {
        let generation = past.generation.map_or_else(|| "damaged".to_owned(), |generation| generation.to_string());
        table.row([past.id, generation, past.written.to_string(), size(past.size)]);
    }
    print(&table.render());
    Ok(())
}

fn edit(session: &Session, from: Option<&str>) -> Result<(), Failure> {
    let current = session.state_file().text()?;
    let etag = current.as_ref().map(|(_, etag)| etag.clone());
    let before = match from {
        Some(id) => past(session, id)?,
        None => current.map(|(text, _)| text).ok_or_else(|| session.nothing_deployed())?,
    };
    let directory = session.home.path().join("editing");
    durable::create_dirs(&directory, 0o700)?;
    let path = directory.join(format!("{}-{}.json", session.app, std::process::id()));
    durable::replace(&path, before.as_bytes(), 0o600)?;
    if let Err(failure) = open_editor(&path) {
        // What nobody has written needs no rescue.
        if durable::read_text(&path)?.as_deref() == Some(before.as_str()) {
            durable::remove(&path)?;
        }
        return Err(failure);
    }
    let after = durable::read_text(&path)?.unwrap_or_default();
    if after == before && from.is_none() {
        durable::remove(&path)?;
        print("Nothing was changed.");
        return Ok(());
    }
    let state = session.state_file().edit(&after, etag).map_err(|error| {
        let failure = match &error {
            // Otherwise this would read as if the recorded state were damaged.
            StateError::Invalid { source, .. } => {
                Failure::usage(format!("what you wrote is no cloud state: {}", jecloud_server::chain(source)))
                    .hint("Type `jecloud state edit` again.")
            }
            _ => Failure::from(error),
        };
        failure.world(format!("The state is as it was; what you wrote is in {}.", path.display()))
    })?;
    durable::remove(&path)?;
    print(&format!("Wrote generation {}.", state.generation));
    Ok(())
}

fn open_editor(path: &Path) -> Result<(), Failure> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // `code --wait`: a program with arguments.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let launch = Launch::new(program).args(words).arg(path);
    let ended = jecloud_launch::interactive(launch).map_err(|error| {
        Failure::new(Code::Failed, format!("the editor cannot be started: {}", jecloud_server::chain(&error)))
            .world("Nothing was changed.")
            .hint("Set EDITOR to the one that you like.")
    })?;
    if ended.success() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("the editor {ended}")).world("Nothing was changed."))
}
