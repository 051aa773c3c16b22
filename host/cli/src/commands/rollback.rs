//! `jecloud rollback`: an earlier release once more, with everything that it needs already on the server.

use std::time::Instant;

use jecloud_cloud::Sources;
use jecloud_model::cloud::ReleaseOutcome;
use jecloud_model::ids::ReleaseNumber;
use jecloud_model::release::Release;

use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::interrupt;
use crate::output::{Progress, bold, say};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, release: Option<ReleaseNumber>, json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let known = session.state()?;
    let environment = session.environment_state()?;
    let target = match release {
        Some(number) => environment.release(number).ok_or_else(|| {
            Failure::usage(format!("there is no release {number} of {}", session.environment))
                .hint("`jecloud releases` lists them.")
        })?,
        None => environment.previous_release().ok_or_else(|| {
            Failure::new(Code::Failed, format!("no release of {} served before this one", session.environment))
                .world(session.world_in_words())
                .hint("`jecloud releases` lists them all.")
        })?,
    };
    if let ReleaseOutcome::Failed(failure) = &target.outcome {
        say(&format!("note: {} failed when it was deployed: {}", target.release.number, failure.reason));
    }
    let words = Session::release_in_words(&environment, target.release.number);
    if !json {
        say(&format!("Rolling {} back to {words} in {}\n", bold(session.app.as_str()), bold(global.env.as_str())));
    }
    let flag = session.environment_flag();
    interrupt::watch(format!(
        "Interrupted: the rollback goes on without you. `jecloud status{flag}` shows how far it is, `jecloud fwd{flag}` follows it."
    ));
    let again = Release { repeats: Some(target.release.number), ..super::deploy::again(&session, &target.release) };
    let mut progress = Progress::new(json);
    // It may have run on other groups than what serves now.
    let scale = if target.scale.is_empty() { environment.scale.clone() } else { target.scale.clone() };
    let recorded = super::deploy::record(&session, known.as_ref(), again, scale, Sources::default(), &mut progress)?;
    super::deploy::finish(&session, &project, &recorded, None, begin, &mut progress, json)
}
