//! From nothing to several servers that serve, as a person would type it.

use std::time::Duration;

use jecloud_testkit::{World, get, normalise};

use crate::{network, project, says, server};

/// What one types first, and again and again. A deployment of changed code begins so many commands on each server that a
/// slow line is no matter: each of them costs two round trips.
///
/// The counts fail where what is known is asked again: whether the server is one, which JeCloud it has, what all servers
/// say between the moment in which they are seen to be ready and that in which they are told so.
#[test]
fn from_nothing_to_several_servers_and_back() {
    let Some((mut network, hosts)) = network(3) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &network, &hosts, "count = 2\n");

    // Nothing is there yet.
    project.jecloud(&["status"]).code(1).says("shop is not deployed to production");
    let first = project.jecloud(&["deploy"]).ok().says("on 2 servers").says("r1");
    for host in &hosts[..2] {
        says(host, "one");
        assert!(first.stdout.contains(&format!("http://{host}")), "{}", normalise(&first.said()));
    }
    project.jecloud(&["status"]).ok().says("app-1").says("app-2").does_not_say("app-3");
    project.jecloud(&["logs"]).ok().says("app-1 web.1@1 listening").says("app-2 web.1@1 listening");
    project.jecloud(&["run", "--", "node", "-p", "process.env.JECLOUD_APP"]).ok().says("shop");
    project.jecloud_reading("hostname; exit 7\n", &["ssh", "app-2"]).code(7);
    project.jecloud(&["plan"]).ok().says("Nothing changed since r1").says("node server.js");

    // A version that does not work on one of them is switched to nowhere.
    project.write("server.js", "throw new Error('no database');\n");
    project.jecloud(&["deploy"]).code(1).says("on server app-").says("no database").says("still serves");
    hosts[..2].iter().for_each(|host| says(host, "one"));
    project.write("server.js", &server("two"));
    let before: Vec<usize> = hosts[..2].iter().map(|host| network.commands(host)).collect();
    project.jecloud(&["deploy"]).ok();
    let commands: Vec<usize> =
        hosts[..2].iter().zip(before).map(|(host, before)| network.commands(host) - before).collect();
    assert!(commands[0] <= 17 && commands[1] <= 18, "{commands:?}");
    hosts[..2].iter().for_each(|host| says(host, "two"));
    project.jecloud(&["rollback"]).ok();
    hosts[..2].iter().for_each(|host| says(host, "one"));

    // One more, and only one.
    project.jecloud(&["scale", "app=3"]).ok().says("3 servers now.");
    hosts.iter().for_each(|host| says(host, "one"));
    project.jecloud(&["scale", "app=4"]).code(2).says("4 servers are wanted, and [servers.app] names 3 hosts");
    project.jecloud(&["scale", "app=1", "web=2"]).ok();
    says(&hosts[0], "one");
    for host in &hosts[1..] {
        assert_eq!(get(&format!("http://{host}/")).expect("its front stays").status, 404, "{host}");
    }
    project.jecloud(&["ps"]).ok().says("app-1   web.1").says("app-1   web.2");
    // What was scaled by hand is not undone by the next deployment.
    project.write("server.js", &server("three"));
    let before = network.commands(&hosts[0]);
    project.jecloud(&["deploy"]).ok().says("on 1 server");
    let commands = network.commands(&hosts[0]) - before;
    assert!(commands <= 12, "{commands}");
    says(&hosts[0], "three");

    // A server that nobody knows any more is not spoken to.
    network.kill(&hosts[0]);
    let away = project.jecloud(&["status"]).ok().says("app-1 does not answer");
    assert!(away.took < Duration::from_secs(60), "{:?}", away.took);
}
