//! `jecloud releases`

use jecloud_model::cloud::{EnvironmentState, RecordedRelease, ReleaseOutcome};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Table, dim, green, print, print_json, red};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let environment = session.environment_state()?;
    if json {
        let releases: Vec<serde_json::Value> =
            environment.releases.iter().rev().map(|recorded| as_json(&environment, recorded)).collect();
        print_json(&releases);
        return Ok(());
    }
    let mut table = Table::new(["release", "version", "when", "who", "what"]);
    for recorded in environment.releases.iter().rev() {
        let release = &recorded.release;
        table.row([
            release.number.to_string(),
            release.version.short().to_owned(),
            release.created.to_string(),
            release.created_by.clone(),
            in_words(&environment, recorded),
        ]);
    }
    print(&table.render());
    Ok(())
}

fn in_words(environment: &EnvironmentState, recorded: &RecordedRelease) -> String {
    let outcome = match &recorded.outcome {
        ReleaseOutcome::Recorded => "being deployed".to_owned(),
        ReleaseOutcome::Serving if environment.serving == Some(recorded.release.number) => green("serves"),
        ReleaseOutcome::Serving | ReleaseOutcome::Superseded => "served".to_owned(),
        ReleaseOutcome::Failed(failure) => format!("{}: {}", red("failed"), failure.reason),
        ReleaseOutcome::Aborted => "given up for a newer one".to_owned(),
    };
    match (recorded.release.repeats, recorded.release.refreshes) {
        (_, Some(refreshes)) => format!("{outcome} {}", dim(&format!("({refreshes} again: servers have changed)"))),
        (Some(repeats), None) => format!("{outcome} {}", dim(&format!("(back to {repeats})"))),
        (None, None) => outcome,
    }
}

fn as_json(environment: &EnvironmentState, recorded: &RecordedRelease) -> serde_json::Value {
    let (outcome, reason) = match &recorded.outcome {
        ReleaseOutcome::Recorded => ("pending", None),
        ReleaseOutcome::Serving if environment.serving == Some(recorded.release.number) => ("serving", None),
        ReleaseOutcome::Serving | ReleaseOutcome::Superseded => ("superseded", None),
        ReleaseOutcome::Failed(failure) => ("failed", Some(&failure.reason)),
        ReleaseOutcome::Aborted => ("aborted", None),
    };
    serde_json::json!({
        "release": recorded.release.number,
        "version": recorded.release.version,
        "created": recorded.release.created,
        "created_by": recorded.release.created_by,
        "repeats": recorded.release.repeats,
        "refreshes": recorded.release.refreshes,
        "outcome": outcome,
        "reason": reason,
    })
}
