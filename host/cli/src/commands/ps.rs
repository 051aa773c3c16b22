//! `jecloud ps`

use jecloud_model::cloud::ServerName;
use jecloud_model::processes::ProcessStatus;

use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::output::{print, print_json};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, json: bool) -> Result<(), Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let seen = super::status::of_one(&session)?.ok_or_else(|| session.nothing_deployed())?;
    let Some(processes) = seen.processes() else {
        return Err(Failure::new(Code::NotReachable, "no process manager runs that could be asked")
            .hint(format!("`jecloud fwd{}` starts it.", session.environment_flag())));
    };
    if json {
        print_json(&processes.iter().map(as_json).collect::<Vec<_>>());
    } else if processes.is_empty() {
        print("No processes.");
    } else {
        print(&super::status::table(&processes));
    }
    Ok(())
}

/// A process as the process manager says it, and where it is.
fn as_json((server, process): &(Option<ServerName>, ProcessStatus)) -> serde_json::Value {
    let mut value = serde_json::json!(process);
    value["server"] = serde_json::json!(server);
    value["group"] = serde_json::json!(server.as_ref().map(|server| &server.group));
    value
}
