//! Servers that boot systemd: from bare machines to an app that is still there after a power cut.

use std::time::Duration;

use jecloud_testkit::{Project, SystemdMachines, World, eventually};

use crate::{says, server};

/// How long an app may take to serve after its machine was switched on.
const BACK: Duration = Duration::from_secs(30);

fn project(world: &World, machines: &SystemdMachines, hosts: &[String]) -> Project {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [{}]\n[env]\nSECRET = \"hunter2\"\n",
        machines.key().display(),
        hosts.join(", ")
    );
    world.project_called("shop", &[("jecloud.toml", &config), ("package.json", "{}"), ("server.js", &server("one"))])
}

#[test]
fn from_a_bare_machine_through_a_power_cut_to_nothing() {
    let Some(mut machines) = SystemdMachines::new() else { return };
    let hosts = [machines.start()];
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &machines, &hosts);
    let tell = |script: &str| machines.tell(&hosts[0], script);
    tell("apt-get -qq update");
    let said = project.jecloud(&["deploy"]).ok();
    eprintln!("{}", said.said());
    says(&hosts[0], "one");
    eprintln!(
        "{}",
        tell(
            "systemctl list-units 'jecloud*' --no-pager --all; systemd-analyze verify /etc/systemd/system/jecloud*; systemd-analyze security jecloud-front@1.service jecloud-shop* --no-pager | grep -i overall"
        )
    );
    eprintln!("{}", project.jecloud(&["logs"]).said());
    eprintln!("{}", project.jecloud(&["ps"]).said());
    eprintln!("{}", project.jecloud(&["status"]).said());
    eprintln!("{}", project.jecloud(&["destroy", "-y"]).said());
    eprintln!(
        "{}",
        tell(
            "systemctl list-units 'jecloud*' --no-pager --all; ls -la /var/cloud /etc/systemd/system /var/cloud/sys/*"
        )
    );
}
