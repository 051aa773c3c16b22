//! `jecloud ssh`: a shell on a server.

use std::process::ExitCode;

use jecloud_cloud::Interactive;
use jecloud_model::cloud::ServerName;

use super::run::{Which, interact};
use crate::args::Global;
use crate::failure::Failure;
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, server: Option<&ServerName>) -> Result<ExitCode, Failure> {
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let which = server.map_or(Which::Any, Which::Named);
    interact(&session, &which, Interactive::Shell)
}
