//! `jecloud run`: a command once, where and as the app's processes run.

use std::process::ExitCode;

use jecloud_launch::Ended;

use crate::args::Global;
use crate::failure::Failure;
use crate::project::Project;
use crate::session::{self, Session};

pub(crate) fn run(global: &Global, command: &[String]) -> Result<ExitCode, Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    session.environment_state()?;
    let server = session::local_server(session.home.server())?;
    let place = jecloud_server::Place::new(&server.root, &session.app, &session.environment);
    let launch = jecloud_server::one_off(&server, &place, command)?;
    let ended = jecloud_launch::interactive(launch).map_err(|error| Failure::usage(jecloud_server::chain(&error)))?;
    Ok(exit_code(ended))
}

/// As a shell would have it.
pub(crate) fn exit_code(ended: Ended) -> ExitCode {
    let code = match ended {
        Ended::Exit(status) => status,
        Ended::Signal(signal) => 128 + signal,
        Ended::TimedOut | Ended::Cancelled => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
