//! `jecloud run`: a command once, where and as the app's processes run.

use std::process::ExitCode;

use jecloud_cloud::Interactive;

use crate::args::Global;
use crate::failure::{Code, Failure};
use crate::fleet;
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, command: &[String]) -> Result<ExitCode, Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let mut args = vec!["run", session.app.as_str(), session.environment.as_str(), "--"];
    args.extend(command.iter().map(String::as_str));
    interact(&session, None, Interactive::UpdateServer(&args))
}

/// Gives the terminal to something on a server: on this one, else on the first that can be reached.
pub(crate) fn interact(
    session: &Session,
    server: Option<&jecloud_model::cloud::ServerName>,
    what: Interactive<'_>,
) -> Result<ExitCode, Failure> {
    let servers = fleet::reachable(session)?;
    let chosen = match server {
        None => servers.first(),
        Some(wanted) => servers.iter().find(|(name, _)| name == wanted),
    };
    let known = || servers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ");
    let (_, machine) = chosen.ok_or_else(|| {
        let wanted = server.map(ToString::to_string).unwrap_or_default();
        Failure::usage(format!("there is no server {wanted}, or it cannot be reached"))
            .hint(format!("There are: {}.", known()))
    })?;
    let status = machine.interact(what).map_err(|error| Failure::from_machine(Code::of(&error), &error))?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}
