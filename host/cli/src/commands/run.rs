//! `jecloud run`: a command once, where and as the app's processes run.

use std::process::ExitCode;

use jecloud_cloud::Interactive;
use jecloud_model::cloud::ServerName;
use jecloud_model::ids::ServerGroup;

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
    let wished = project.environment(&session.environment);
    let group = wished.group(None);
    interact(&session, &Which::Of(group), Interactive::UpdateServer(&args))
}

/// Which server is meant.
pub(crate) enum Which<'a> {
    /// The first that can be reached.
    Any,
    /// The first of this group, where one of them can be reached.
    Of(&'a ServerGroup),
    /// This one.
    Named(&'a ServerName),
}

/// Gives the terminal to something on a server.
pub(crate) fn interact(session: &Session, which: &Which<'_>, what: Interactive<'_>) -> Result<ExitCode, Failure> {
    let servers = fleet::reachable(session)?;
    let chosen = match which {
        Which::Any => servers.first(),
        Which::Of(group) => servers.iter().find(|(name, _)| name.group == **group).or(servers.first()),
        Which::Named(wanted) => servers.iter().find(|(name, _)| name == *wanted),
    };
    let known = || servers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ");
    let (_, machine) = chosen.ok_or_else(|| {
        let wanted = if let Which::Named(name) = which { name.to_string() } else { String::new() };
        Failure::usage(format!("there is no server {wanted}, or it cannot be reached"))
            .hint(format!("There are: {}.", known()))
    })?;
    let status = machine.interact(what).map_err(|error| Failure::from_machine(Code::of(&error), &error))?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}
