//! Machines that boot systemd.

use jecloud_testkit::SystemdMachines;

/// Two machines at the same time, each with its own services and disk; a power cut costs nothing that was written.
///
/// Fails without a control group for each: then stopping a service in one ends that of the other.
#[test]
fn two_machines_and_a_power_cut() {
    let Some(mut machines) = SystemdMachines::new() else { return };
    let (one, other) = (machines.start(), machines.start());
    for machine in [&one, &other] {
        let said = machines.tell(machine, "systemd-run --unit=sleeper sleep 1000; systemctl is-active sleeper");
        assert!(said.ends_with("active\n"), "{said}");
    }
    assert_eq!(
        machines.tell(&one, "systemctl stop sleeper; systemctl is-active sleeper; hostname"),
        "inactive\nmachine2\n"
    );
    assert_eq!(machines.tell(&other, "systemctl is-active sleeper; hostname"), "active\nmachine3\n");
    machines.tell(&one, "echo kept > /var/lib/kept; sync");
    machines.kill(&one);
    machines.power_on(&one);
    assert_eq!(machines.tell(&one, "cat /var/lib/kept; systemctl is-active sleeper"), "kept\ninactive\n");
    assert_eq!(machines.tell(&other, "ls /var/lib/kept >/dev/null 2>&1 || echo none"), "none\n");
}
