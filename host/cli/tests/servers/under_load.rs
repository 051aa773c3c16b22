//! Clients of several servers notice nothing.

use jecloud_testkit::World;

use crate::app::{self, Kind};
use crate::clients::Clients;
use crate::{network, project};

/// Two deployments, one of a broken version, a rollback, and a server that comes and goes, while clients of every kind
/// are at work at both of the other servers: not one failed request.
///
/// Fails where a server switches before it is told to and its new processes are not there yet, or where a server that is
/// wanted is emptied with those that are not.
#[test]
fn nobody_notices_a_deployment_or_a_scale() {
    let Some((network, hosts)) = network(3) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &network, &hosts, "count = 2\n[processes.web]\nhealth = \"/up\"\n");
    project.write("server.js", &app::server(1, Kind::Good));
    project.jecloud(&["deploy"]).ok();
    let clients: Vec<Clients> = hosts[..2].iter().map(|host| Clients::begin(&format!("http://{host}"))).collect();
    for version in 2..4 {
        project.write("server.js", &app::server(version, Kind::Good));
        project.jecloud(&["deploy"]).ok();
    }
    project.write("server.js", &app::server(4, Kind::Crashes));
    project.jecloud(&["deploy"]).code(1);
    project.jecloud(&["rollback"]).ok();
    project.jecloud(&["scale", "app=3"]).ok();
    project.jecloud(&["scale", "app=2"]).ok();
    for (host, clients) in hosts.iter().zip(clients) {
        eprintln!("at {host}:");
        clients.end(100);
    }
}
