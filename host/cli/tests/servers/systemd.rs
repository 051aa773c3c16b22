//! Servers that boot systemd: from bare machines to an app that is still there after a power cut, and back to nothing.

use std::time::Duration;

use jecloud_testkit::{Project, SystemdMachines, World, eventually, get};

use crate::app::{self, Kind};
use crate::clients::Clients;
use crate::{says, server};

/// How long an app may take to serve after its machine was switched on, or its process was killed.
const BACK: Duration = Duration::from_secs(60);

/// What `systemd-analyze security` may say at the most; 10 is a process that may do everything.
const MOST_EXPOSED: f64 = 4.0;

/// So many machines, an app for them, and their addresses; none where there cannot be any.
fn begin(count: usize, settings: &str, text: &str) -> Option<(SystemdMachines, Vec<String>, Project)> {
    let mut machines = SystemdMachines::new()?;
    let hosts: Vec<String> = (0..count).map(|_| machines.start()).collect();
    let names: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [{}]\n{settings}",
        machines.key().display(),
        names.join(", ")
    );
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let files = [("jecloud.toml", config.as_str()), ("package.json", "{}"), ("server.js", text)];
    let project = world.project_called("shop", &files);
    Some((machines, hosts, project))
}

/// Our units as a machine has them, by name.
fn units(machines: &SystemdMachines, host: &str) -> Vec<String> {
    let script = "systemctl list-units --all --plain --no-legend --no-pager 'jecloud*' | cut -d' ' -f1";
    machines.tell(host, script).lines().map(str::to_owned).collect()
}

/// Those of processes.
fn processes(machines: &SystemdMachines, host: &str) -> Vec<String> {
    units(machines, host).into_iter().filter(|unit| unit.contains(".web.")).collect()
}

/// What the app tries as it begins, and says.
const CURIOUS: &str = r#"
const fs = require('node:fs');
const attempt = (name, what) => { try { what(); console.log(name, 'worked'); } catch (error) { console.log(name, error.code); } };
attempt('own version', () => fs.writeFileSync('written', 'x'));
attempt('own data', () => fs.writeFileSync(process.env.HOME + '/written', 'x'));
attempt('system', () => fs.writeFileSync('/var/tmp/../lib/written', 'x'));
attempt('server', () => fs.readFileSync('/var/cloud/sys/units'));
attempt('root', () => fs.readdirSync('/root'));
console.log('environment', Object.keys(process.env).filter((name) => /JOURNAL|SYSTEMD|INVOCATION|LOGNAME/.test(name)).join());
console.log('argument', process.argv[2]);
console.log('secret', process.env.SECRET.length);
"#;

/// An app with a command line and a variable that systemd could misread; a version that does not work; processes that are
/// killed; a power cut; and what is left in the end.
///
/// Fails, each by itself: where logs are not followed to the next release; without quoting; without `ProtectSystem` or `ReadWritePaths`; without `jecloud.target`, or where
/// it is not enabled; where a variable is written into a unit; where destroying does not take away what has ended.
#[test]
fn from_bare_machines_through_a_power_cut_to_nothing() {
    let settings = "[env]\nSECRET = \"hunter2 \\\"$HOME\\\\ %n 'x'\"\n";
    let text = format!("{CURIOUS}{}", server("one"));
    let Some((mut machines, hosts, project)) = begin(2, settings, &text) else { return };
    project.write("Procfile", "web: node server.js '100% \"$HOME\" \\ %n'\n");
    project.jecloud(&["deploy"]).ok().says("on 2 servers").says("nodejs 18");
    hosts.iter().for_each(|host| says(host, "one"));
    let secret = "hunter2 \"$HOME\\ %n 'x'".len();
    project
        .jecloud(&["logs"])
        .ok()
        .says("app-1 web.1@1 listening")
        .says("app-2 web.1@1 own version worked")
        .says("own data worked")
        .says("system EROFS")
        .says("server EACCES")
        .says("root EACCES")
        .says("argument 100% \"$HOME\" \\ %n")
        .says(&format!("secret {secret}\n"))
        .says("web.1@1 environment\n");
    project.jecloud(&["ps"]).ok().says("app-1   web.1@1").says("running");
    let first = processes(&machines, &hosts[0]);
    assert_eq!(first, ["jecloud-shop.production.web.1.1.service"]);
    assert_eq!(machines.tell(&hosts[0], "grep -rl hunter2 /etc /run/systemd/generator* || :"), "");
    assert_eq!(machines.tell(&hosts[0], "stat -c %a%U /var/cloud/sys/units/*").lines().next(), Some("600root"));
    systemd_agrees(&machines, &hosts[0]);

    // What a process wrote is shown where it does not begin to work.
    project.write("server.js", "throw new Error('no database');\n");
    project.jecloud(&["deploy"]).code(1).says("exited with status 1").says("no database").says("still serves");
    hosts.iter().for_each(|host| says(host, "one"));
    // As the timer does it once a minute.
    assert_eq!(machines.tell(&hosts[0], "jecloud update-server rollforward --root /var/cloud --quiet; echo $?"), "0\n");
    assert_eq!(processes(&machines, &hosts[0]), first, "nothing is left of what did not work");
    let mut follow = project.spawn(&["logs", "-f", "-p", "web"]);
    follow.wait_for("web.1@1 listening");
    project.write("server.js", &server("two"));
    project.jecloud(&["deploy"]).ok();
    hosts.iter().for_each(|host| says(host, "two"));
    follow.wait_for("app-1 web.1@3 listening");
    follow.wait_for("app-2 web.1@3 listening");
    assert!(!follow.has_ended());
    drop(follow);
    project.jecloud(&["logs", "-p", "worker"]).code(2).says("no process worker").says("app-1: There are: web.1.");

    // Processes that are killed come back, the front among them.
    let kill = "systemctl kill --signal=KILL 'jecloud-*.*.web.*.service' 'jecloud-front@*.service'";
    let pids = "systemctl show --property=MainPID --value 'jecloud-*.*.web.*.service' 'jecloud-front@1.service'";
    let before = machines.tell(&hosts[0], pids);
    assert_eq!(machines.tell(&hosts[0], kill), "");
    eventually(BACK, "they are back", || {
        let now = machines.tell(&hosts[0], pids);
        let pairs = || now.lines().zip(before.lines());
        (now.lines().count() == before.lines().count()
            && pairs().all(|(now, before)| now == before && now.is_empty() || now != before && now != "0"))
        .then_some(())
    });
    says(&hosts[0], "two");
    project.jecloud(&["ps"]).ok().says("running");

    // A machine that loses its power serves again when it has it back, and nobody has done anything.
    machines.kill(&hosts[0]);
    says(&hosts[1], "two");
    machines.power_on(&hosts[0]);
    eventually(BACK, "it serves again", || {
        get(&format!("http://{}/", hosts[0])).ok().filter(|answer| answer.status == 200)
    });
    says(&hosts[0], "two");
    project.jecloud(&["logs"]).ok().says("app-1 web.1@3 listening");

    project.jecloud(&["destroy", "-y"]).ok();
    for host in &hosts {
        assert_eq!(processes(&machines, host), Vec::<String>::new(), "{host}");
        let left = "ls /var/cloud; ls /var/cloud/sys/units; ls /etc/systemd/system | grep 'jecloud-.*\\.web' || :; \
                    grep -c web /etc/systemd/system/jecloud.target || :";
        assert_eq!(machines.tell(host, left), "sys\n0\n", "{host}");
        assert_eq!(get(&format!("http://{host}/")).expect("its front stays").status, 404, "{host}");
    }
}

/// Units that were really written have nothing that systemd does not understand, and are fenced in.
#[track_caller]
fn systemd_agrees(machines: &SystemdMachines, host: &str) {
    let units: Vec<String> = units(machines, host).into_iter().filter(|unit| !unit.ends_with(".slice")).collect();
    assert!(units.len() >= 6, "{units:?}");
    assert_eq!(machines.tell(host, &format!("systemd-analyze verify {}", units.join(" "))), "");
    let services: Vec<&String> =
        units.iter().filter(|unit| unit.contains(".web.") || unit.contains("front@")).collect();
    assert_eq!(services.len(), 2, "{services:?}");
    for service in services {
        let said = machines.tell(host, &format!("systemd-analyze security --no-pager {service} | tail -1"));
        let exposure = said.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        assert!(exposure.is_some_and(|exposure| exposure < MOST_EXPOSED), "{said}");
    }
}

/// Two deployments, a broken version, a rollback and another binary of JeCloud, while clients of every kind are at work:
/// not one failed request.
/// Then everything that was written for a process is removed, and whoever writes it again is killed at each step.
///
/// Fails where the front is restarted rather than replaced, and without `NonBlocking`; where old processes are stopped before the routes are switched; and without the comparison of what systemd has
/// read with what is written.
#[test]
fn nobody_notices_a_deployment_and_every_death_is_repaired() {
    let settings = "[processes.web]\nhealth = \"/up\"\nmemory = \"256M\"\n";
    let Some((machines, hosts, project)) = begin(1, settings, &app::server(1, Kind::Good)) else { return };
    let host = &hosts[0];
    project.jecloud(&["deploy"]).ok();
    let limit = machines.tell(host, "systemctl show --property=MemoryMax --value 'jecloud-*.*.web.*.service'");
    assert_eq!(limit.trim(), (256 << 20).to_string());
    let clients = Clients::begin(&format!("http://{host}"));
    for version in 2..4 {
        project.write("server.js", &app::server(version, Kind::Good));
        project.jecloud(&["deploy"]).ok();
    }
    project.write("server.js", &app::server(4, Kind::Crashes));
    project.jecloud(&["deploy"]).code(1);
    project.jecloud(&["rollback"]).ok();
    // Another binary of JeCloud: its front begins beside the one that runs and takes its place.
    let newer = "cp -L /usr/local/bin/jecloud /usr/local/lib/other && echo more >>/usr/local/lib/other && \
                 /usr/local/lib/other update-server --root /var/cloud init >/dev/null; echo $?";
    assert_eq!(machines.tell(host, newer), "0\n");
    assert_eq!(machines.tell(host, "systemctl is-active jecloud-front@2.service"), "active\n");
    eventually(BACK, "the front that was replaced has finished", || {
        (machines.tell(host, "systemctl is-active jecloud-front@1.service") == "inactive\n").then_some(())
    });
    clients.end(100);

    // Another roll-forward would finish what a death has left: that of the timer, and the one that still drains.
    assert_eq!(machines.tell(host, "systemctl stop jecloud-rollforward.timer"), "");
    assert_eq!(machines.tell(host, "flock --wait 90 /var/cloud/shop/production/rollforward.pid true; echo $?"), "0\n");
    let roll = "jecloud update-server rollforward --root /var/cloud --quiet";
    let ruin = "systemctl stop 'jecloud-*.*.web.*.service'; rm -f /etc/systemd/system/jecloud-*.web.* \
                /etc/systemd/system/jecloud.target /var/cloud/sys/units/*; systemctl daemon-reload";
    let mut deaths = 0;
    for step in 1.. {
        assert_eq!(machines.tell(host, ruin), "");
        let died = machines.tell(host, &format!("JECLOUD_FAULT='systemd.step#{step}=crash' {roll}; echo $?"));
        // What the dead one left is finished by the next, and a third has nothing to do.
        assert_eq!(machines.tell(host, &format!("{roll}; echo $?")), "0\n", "after a death at step {step}");
        eventually(BACK, "it serves again", || {
            get(&format!("http://{host}/")).ok().filter(|answer| answer.body == "version 2")
        });
        let before = machines.tell(host, "systemctl show --property=MainPID --value 'jecloud-*.*.web.*.service'");
        assert_eq!(machines.tell(host, &format!("{roll}; echo $?")), "0\n");
        let after = machines.tell(host, "systemctl show --property=MainPID --value 'jecloud-*.*.web.*.service'");
        assert_eq!(before, after, "it is started anew after a death at step {step}");
        if died == "0\n" {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 5, "only {deaths} deaths");
}
