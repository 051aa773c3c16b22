//! `jecloud doctor`: what is not as it should be.

use jecloud_ec2::Finding;
use jecloud_model::cloud::CloudState;

use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::fleet::{self, Member};
use crate::output::{green, print, print_json, yellow};
use crate::project::Project;
use crate::session::{Session, sentence};

/// Something that was found.
struct Found {
    what: String,
    hint: String,
    /// Whether something has to be done about it.
    is_trouble: bool,
}

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open(global, None)?;
    let session = Session::open(&project, &global.env)?;
    let state = session.state()?;
    let mut found = state.as_ref().map(|state| servers(&session, state)).unwrap_or_default();
    if let (Some(machines), Some(state)) = (session.ec2(), &state) {
        let findings = machines?.doctor(state).map_err(|error| Failure::from_machine(Code::NotReachable, &error))?;
        found.extend(findings.iter().map(of_ec2));
    }
    if json {
        let all: Vec<serde_json::Value> = found
            .iter()
            .map(|one| serde_json::json!({"what": one.what, "hint": one.hint, "is_trouble": one.is_trouble}))
            .collect();
        print_json(&all);
        return Ok(());
    }
    for one in &found {
        print(&format!("{} {}", if one.is_trouble { yellow("!") } else { green("✓") }, one.what));
        if !one.hint.is_empty() {
            print(&format!("  {}", sentence(&one.hint)));
        }
    }
    if !found.iter().any(|one| one.is_trouble) {
        print("Nothing is wrong that could be seen.");
    }
    Ok(())
}

fn of_ec2(finding: &Finding) -> Found {
    Found { what: finding.to_string(), hint: finding.hint(), is_trouble: finding.is_trouble() }
}

/// Servers that do not answer, and what was the matter with them lately.
fn servers(session: &Session, state: &CloudState) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, environment) in &state.environments {
        for Member { place, machine } in fleet::members(session, name, environment) {
            if let Err(why) = machine {
                let what = format!("{} of {name} does not answer: {why}", place.server);
                found.push(Found { what, hint: "`jecloud fwd` sets up what is missing".to_owned(), is_trouble: true });
            }
            let trouble = environment.servers.get(&place.server).and_then(|record| record.trouble.as_ref());
            if let Some(trouble) = trouble {
                let what =
                    format!("{} of {name} failed {} times in a row: {}", place.server, trouble.count, trouble.reason);
                found.push(Found { what, hint: "`jecloud fwd` tries again".to_owned(), is_trouble: true });
            }
        }
    }
    found
}
