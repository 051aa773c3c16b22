//! Servers that are reached by SSH.
//!
//! They are machines of their own on a network of their own: see `jecloud_testkit::Machines`. Only root can make them.

#![expect(clippy::disallowed_methods, reason = "clients that ask at a fixed pace, and a file with counted points")]

mod amazon;
#[path = "../load/another.rs"]
mod another;
#[path = "../load/app.rs"]
mod app;
mod board;
#[path = "../load/clients.rs"]
mod clients;
mod elsewhere;
mod emergencies;
mod groups;
mod killed;
mod mongodb;
mod services;
mod several;
mod systemd;
mod together;
mod under_load;
mod upgrades;

use jecloud_testkit::{Machines, Project, World, get};

/// So many machines, and their addresses; none where this is not done by root.
fn network(machines: usize) -> Option<(Machines, Vec<String>)> {
    let Some(mut network) = Machines::new() else {
        eprintln!("left out: only root can make machines of namespaces");
        return None;
    };
    let hosts = (0..machines).map(|_| network.start()).collect();
    Some((network, hosts))
}

/// An app that answers with a text and the release that it belongs to.
fn server(text: &str) -> String {
    format!(
        "const server = require('node:http').createServer((_, answer) => answer.end('{text}'));\n\
         server.listen(process.env.PORT, () => console.log('listening'));\n\
         process.on('SIGTERM', () => server.close(() => process.exit(0)));\n"
    )
}

/// `settings` are more lines for the servers.
fn project(world: &World, network: &Machines, hosts: &[String], settings: &str) -> Project {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [{}]\n{settings}",
        network.key().display(),
        hosts.join(", ")
    );
    world.project_called("shop", &[("jecloud.toml", &config), ("package.json", "{}"), ("server.js", &server("one"))])
}

#[track_caller]
fn says(address: &str, text: &str) {
    let answer = get(&format!("http://{address}/")).unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!((answer.status, answer.body), (200, text.to_owned()), "{address}");
}
