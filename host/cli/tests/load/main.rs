//! Zero failed requests: real clients, from before the first change to after the last one, and not one refused, reset,
//! cut off or answered with an error.
//!
//! All load is on loopback, by a fixed number of threads, and ends with the test.

#![expect(clippy::disallowed_methods, reason = "clients that ask at a fixed pace")]

mod another;
mod app;
mod clients;
mod deployments;
mod killed;
mod upgrades;

use jecloud_testkit::{Project, World};

use crate::app::{Kind, server};

/// Version 1 of the app.
fn files() -> [(&'static str, String); 3] {
    let toml = "app = \"load\"\n\n[processes.web]\nhealth = \"/up\"\n".to_owned();
    [("jecloud.toml", toml), ("package.json", "{}".to_owned()), ("server.js", server(1, Kind::Good))]
}

/// The same, deployed, with more lines of configuration.
fn deployed(world: &World, configuration: &str) -> Project {
    let mut files = files();
    files[0].1.push_str(configuration);
    let project = world.project_called("load", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    project.jecloud(&["deploy"]).ok();
    project
}
