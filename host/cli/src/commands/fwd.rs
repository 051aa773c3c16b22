//! `jecloud fwd`: finishes what was begun, from wherever it stopped.

use jecloud_cloud::{End, Options, roll_forward};

use crate::args::Global;
use crate::failure::Failure;
use crate::follow::Watcher;
use crate::output::{Progress, print, print_json, say};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let Some(state) = session.state()? else { return Err(session.nothing_deployed()) };
    let wanted = state.environments.get(&session.environment).and_then(|environment| environment.wanted);
    let options = Options { environment: Some(session.environment.clone()), wake: true, ..Options::default() };
    let mut progress = Progress::new(json);
    let mut watcher = Watcher::new(&session, &mut progress, wanted.unwrap_or_default());
    let report = roll_forward(session.cloud(), &options, &mut watcher)?;
    let woken = std::mem::take(&mut watcher.woken);
    let collected = crate::backups::collect(&session, &report.state, &session.environment, &mut progress);
    for trouble in &collected.troubles {
        say(&format!("note: {trouble}"));
    }
    match report.end {
        End::Unfinished { troubles } => Err(Failure::unfinished("not everything could be finished", &troubles)
            .world(session.world_in_words())
            .hint("Type it again later: nothing is lost.")),
        _ if json => {
            print_json(&serde_json::json!({
                "outcome": "settled", "did": woken, "collected": collected.manifests, "troubles": collected.troubles,
            }));
            Ok(())
        }
        _ => {
            woken.iter().for_each(|sentence| print(sentence));
            print("Nothing is left to do.");
            Ok(())
        }
    }
}
