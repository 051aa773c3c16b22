//! Whole journeys, as a person types them: each test is a terminal session in a place of its own.

mod backups;
mod broken;
mod configuration;
mod destroy;
mod environments;
mod express;
mod first_deploy;
mod generations;
mod hooks;
mod interrupted;
#[path = "../kept/mod.rs"]
mod kept;
mod killed;
mod limits;
mod mongodb;
mod mongodb_backups;
mod package_managers;
mod random_kills;
mod redis_disk;
mod redis_versions;
mod rollback;
mod secrets;
mod server_backups;
mod services;
mod state;
mod users;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use jecloud_testkit::{Project, World, normalise};

/// How long what happens by itself may take.
const SOON: Duration = Duration::from_secs(30);

/// A new place for the binary under test.
#[track_caller]
fn world() -> World {
    World::new(env!("CARGO_BIN_EXE_jecloud"))
}

/// An app without dependencies that answers everything with a text.
#[track_caller]
fn app(world: &World, name: &str, answer: &str) -> Project {
    let package = format!(r#"{{"name": "{name}", "version": "1.0.0", "scripts": {{"start": "node server.js"}}}}"#);
    let config = format!("app = \"{name}\"\n");
    let files = [("package.json", package.as_str()), ("jecloud.toml", &config), ("server.js", &answers(answer))];
    world.project_called(name, &files)
}

/// A `server.js` that answers everything with a text.
fn answers(text: &str) -> String {
    serves(&format!("response.end({text:?})"))
}

/// A `server.js` that does this with every `request` and `response`.
fn serves(handler: &str) -> String {
    format!(
        "const server = require('node:http').createServer((request, response) => {{ {handler} }});\n\
         server.listen(process.env.PORT, () => console.log('listening'));\n\
         process.on('SIGTERM', () => server.close(() => process.exit(0)));\n"
    )
}

/// The directory of the production environment on the server.
fn production(project: &Project) -> PathBuf {
    let name = project.directory().file_name().expect("a project has a name");
    project.world().server().join(name).join("production")
}

/// The titles of the commands that a release of the production environment ran.
#[track_caller]
fn commands_of(project: &Project, release: u32) -> Vec<String> {
    let app = project.directory().file_name().expect("a project has a name").to_string_lossy().into_owned();
    let release = release.to_string();
    let events = project.jecloud(&["update-server", "follow", &app, "production", &release]).ok().stdout;
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an event"));
    let titles = events.filter_map(|event| event["title"].as_str().map(str::to_owned));
    titles.collect()
}

/// The steps of a deployment, without what depends on which Node.js the machine has.
fn steps(text: &str) -> String {
    let text = normalise(text);
    let lines = text.lines().filter(|line| !line.contains("asks for a version of Node.js")).map(|line| {
        match line.strip_prefix("  ✓ packages: ") {
            Some(_) => "  ✓ packages: […]",
            None => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
