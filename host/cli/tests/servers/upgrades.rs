//! A newer JeCloud deploys to a server that has an older one.

use jecloud_testkit::World;

use crate::another::another;
use crate::app::{self, Kind};
use crate::clients::Clients;
use crate::{network, project};

/// What is installed and what runs, as the server has it: the number of binaries, the one that is called `jecloud`, and
/// those that run.
const LOOK: &str = "ls /usr/local/lib/jecloud | wc -l\nreadlink /usr/local/bin/jecloud\n\
                    for who in supervisor front; do readlink /proc/$(cat /var/cloud/sys/pids/$who.pid)/exe; done\n\
                    cat /etc/cron.d/jecloud | grep -o '/usr[^ ]*/jecloud' | sort -u\n";

/// Two deployments by newer binaries, of which the last is of a newer version, while clients of every kind are at work:
/// not one failed request; what runs on the server and what brings it back at boot is of the newest; the oldest binary is
/// gone. An older JeCloud is told so, and changes nothing.
///
/// Whoever is killed half-way is finished by the next one.
///
/// Fails without the renewal before a server is told anything, when the front is restarted rather than replaced, and
/// without the script that removes old binaries.
#[test]
fn a_newer_jecloud_takes_over_under_load() {
    let Some((network, hosts)) = network(1) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &network, &hosts, "[processes.web]\nhealth = \"/up\"\n");
    project.write("server.js", &app::server(1, Kind::Good));
    project.jecloud(&["deploy"]).ok();
    let looked = project.jecloud_reading(LOOK, &["ssh", "app-1"]).ok();
    let first: Vec<&str> = looked.stdout.lines().collect();
    assert!(first.len() == 5 && first[0] == "1", "{}", looked.said());
    let clients = Clients::begin(&format!("http://{}", hosts[0]));
    let newer = [another(&world, "newer", None), another(&world, "newest", Some("0.2.0"))];
    // Killed half-way: what runs is of the one and what is called `jecloud` of the other.
    for point in ["remote.renew.init", "remote.renew.switch"] {
        let fault = [("JECLOUD_FAULT", format!("{point}#1=crash"))];
        let fault = fault.each_ref().map(|(name, value)| (*name, value.as_str()));
        project.write("server.js", &app::server(2, Kind::Good));
        assert_ne!(
            project.run_with(&fault, &newer[0].display().to_string(), &["deploy", "--force"]).status,
            0,
            "{point}"
        );
    }
    for (newer, version) in newer.iter().zip(2..) {
        project.write("server.js", &app::server(version, Kind::Good));
        project.run(&newer.display().to_string(), &["deploy", "--force"]).ok();
    }
    clients.end(0);
    let looked = project.jecloud_reading(LOOK, &["ssh", "app-1"]).ok();
    let now: Vec<&str> = looked.stdout.lines().collect();
    assert_eq!(now[0], "2", "{}", looked.said());
    assert_ne!(now[1], first[1]);
    assert_eq!(now[2..], [now[1]; 3], "what runs, and what brings it back at boot");

    project.write("server.js", &app::server(9, Kind::Good));
    project.jecloud(&["deploy"]).code(3).says("the server has JeCloud 0.2.0, and this is the older JeCloud 0.1.0");
    assert_eq!(project.jecloud_reading(LOOK, &["ssh", "app-1"]).ok().stdout, looked.stdout);
    crate::says(&hosts[0], "version 3");
}
