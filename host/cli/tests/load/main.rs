//! Zero failed requests: real clients, from before the first change to after the last one, and not one refused, reset,
//! cut off or answered with an error.
//!
//! All load is on loopback, by a fixed number of threads, and ends with the test.

#![expect(clippy::disallowed_methods, reason = "clients that ask at a fixed pace")]

mod app;
mod clients;
mod deployments;
mod killed;

use jecloud_testkit::{Project, World};

use crate::app::{Kind, server};

/// Version 1 of the app, deployed.
fn deployed(world: &World, configuration: &str) -> Project {
    let toml = format!("app = \"load\"\n\n[processes.web]\nhealth = \"/up\"\n{configuration}");
    let project = world.project_called(
        "load",
        &[("jecloud.toml", &toml), ("package.json", "{}"), ("server.js", &server(1, Kind::Good))],
    );
    project.jecloud(&["deploy"]).ok();
    project
}
