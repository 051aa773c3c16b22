//! `jecloud destroy`: deletes an environment, after the person has typed the app's name.

use jecloud_cloud::{End, Options, Progress as Went, Reporter, roll_forward};
use jecloud_ec2::CleanedUp;
use jecloud_model::cloud::Change;

use super::last_backup;
use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::output::{ask_text, bold, print, say};
use crate::project::Project;
use crate::session::Session;

struct Quiet;

impl Reporter for Quiet {
    fn report(&mut self, went: Went) {
        if let Went::Trouble { place, reason, .. } = went {
            say(&format!("  {}: {reason}", place.server));
        }
    }
}

pub(crate) fn run(global: &Global, no_backup: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let state = session.state()?;
    let environment = state.as_ref().and_then(|state| state.environments.get(&session.environment));
    let Some(environment) = environment else {
        // Whoever destroyed it may have died before that was over.
        if state.as_ref().is_some_and(|state| state.environments.is_empty()) {
            clean_up(&session)?;
        }
        return Err(session.nothing_deployed());
    };
    let servers = environment.servers.len();
    if !global.yes {
        say(&format!(
            "This deletes the environment {} of {} {}: its processes, all its versions and all the data of its services.",
            bold(global.env.as_str()),
            bold(session.app.as_str()),
            session.where_in_words(u32::try_from(servers).unwrap_or(u32::MAX))
        ));
        last_backup::data_in_words(&session, state.as_ref(), environment, no_backup).iter().for_each(|line| say(line));
        match ask_text(&format!("Type the app's name ({}) to go on:", session.app)) {
            Some(answer) if answer == session.app.as_str() => {}
            Some(_) => return Err(Failure::usage("that is not the app's name")),
            None => {
                return Err(Failure::usage("destroy asks for the app's name, and nobody can be asked here")
                    .hint("`jecloud destroy -y` does not ask."));
            }
        }
    }
    if let (false, Some(state)) = (no_backup || environment.destroying, &state) {
        last_backup::make(&session, state, environment)?;
    }
    session.state_file().update(Change::Destroy { environment: session.environment.clone() })?;
    let options = Options { environment: Some(session.environment.clone()), ..Options::default() };
    let report = roll_forward(session.cloud(), &options, &mut Quiet)?;
    match report.end {
        End::Unfinished { troubles } => Err(Failure::unfinished("not everything could be deleted yet", &troubles)
            .world("That it is to be deleted is recorded.")
            .hint(format!("`jecloud fwd{}` goes on with it.", session.environment_flag()))),
        _ => {
            if report.state.environments.is_empty() {
                clean_up(&session)?;
            }
            print(&format!("Destroyed {} of {}.", session.environment, session.app));
            Ok(())
        }
    }
}

/// Removes what servers shared, after the last one.
fn clean_up(session: &Session) -> Result<(), Failure> {
    let Some(machines) = session.ec2() else { return Ok(()) };
    let cleaned = machines?.clean_up().map_err(|error| {
        Failure::new(Code::NotReachable, error.to_line())
            .world("The servers are gone.")
            .hint("`jecloud destroy` tries again to remove what they shared.")
    })?;
    if let CleanedUp::InUse(instances) = cleaned {
        let instances = instances.join(", ");
        say(&format!("note: {instances} still shut down; `jecloud destroy` once more removes what they shared."));
    }
    Ok(())
}
