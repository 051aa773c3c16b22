//! `jecloud ps`

use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::output::{print, print_json};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let status = super::status::of_server(&session, Some(&global.env))?;
    let Some(environment) = status.environments.into_iter().next() else { return Err(session.nothing_deployed()) };
    let Some(processes) = environment.processes else {
        return Err(Failure::new(Code::NotReachable, "the process manager of this machine does not run")
            .hint(format!("`jecloud fwd{}` starts it.", session.environment_flag())));
    };
    if json {
        print_json(&processes);
    } else if processes.is_empty() {
        print("No processes.");
    } else {
        print(&super::status::table(&processes));
    }
    Ok(())
}
