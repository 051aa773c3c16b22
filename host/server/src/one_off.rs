//! One-off commands in the surroundings of the release that serves.

use jecloud_launch::{Environment, Input, Launch};
use jecloud_model::app::Failure;

use crate::environment::Surroundings;
use crate::error::ServerError;
use crate::place::Place;
use crate::secrets;
use crate::server::Server;

/// What has to be started for `jecloud run`: as the app's user, in the directory of the version that serves, with the
/// variables that the app's processes have, but for ports.
pub fn one_off(server: &Server, place: &Place, command: &[String]) -> Result<Launch, ServerError> {
    let document = place.document()?;
    let nothing = || ServerError::from(Failure::because("nothing serves yet").hint("Deploy first."));
    let number = document.serving_release().ok_or_else(nothing)?;
    let release = place.release(number)?;
    let prepared = place.prepared(number)?.ok_or_else(nothing)?;
    // What hooks give to processes (PATH above all) belongs to a service: that of the first process.
    let service = prepared
        .processes
        .first()
        .map(|process| process.service.clone())
        .or_else(|| release.services.keys().next().cloned())
        .ok_or_else(nothing)?;
    let user = jecloud_supervisor::user_of(&server.root, &place.app, &place.environment)?;
    let around = Surroundings::new(place, user, &release, &service)?.with_values(&prepared.values);
    let mut env = around.before.clone();
    if let Some(process) = prepared.processes.first() {
        env.extend(process.env.clone());
    }
    env.extend(around.after.clone());
    env.remove("PORT");
    for name in ["TERM", "COLUMNS", "LINES", "NO_COLOR"] {
        if let Ok(value) = std::env::var(name) {
            env.insert(name.to_owned(), jecloud_model::template::escape(&value));
        }
    }
    let (program, arguments) =
        command.split_first().ok_or_else(|| ServerError::Request("there is no command to run".to_owned()))?;
    Ok(Launch::new(program)
        .args(arguments)
        .cwd(place.root.version(&release.version))
        .user(user)
        .input(Input::Inherit)
        .env(Environment::exactly(secrets::filled(&place.root, &env)?)))
}
