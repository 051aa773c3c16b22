//! Whoever works is killed at every single call, before or after it had its effect, and somebody else goes on.

use std::time::Duration;

use jecloud_ec2::CleanedUp;

use crate::cloud::{Faults, Killed};
use crate::life::{End, Life};

/// Has `work` done once for each of its calls, killed there; how many there were.
fn at_every_call(late: Duration, prepare: impl Fn(&mut Life), after: impl Fn(&mut Life)) -> u32 {
    for at in 1.. {
        let mut ends = 0;
        for after_it in [false, true] {
            let mut life = Life::new(u64::from(at), 2);
            prepare(&mut life);
            life.faults(Faults { late, killed: Some(Killed { at, after_it }), ..Faults::default() });
            let machines = life.machines();
            let end = life.settle(&machines);
            life.faults(Faults { late, ..Faults::default() });
            after(&mut life);
            ends += u32::from(end == End::Settled);
        }
        if ends == 2 {
            return at - 1;
        }
        assert_eq!(ends, 0);
    }
    unreachable!()
}

/// The easy half: EC2 shows at once what was launched.
#[test]
fn killed_while_servers_are_made() {
    let calls = at_every_call(
        Duration::ZERO,
        |_| {},
        |life| {
            let machines = life.machines();
            assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
            life.check_all_is_well(2);
            assert_eq!(life.ec2.get().instances.len(), 2, "more were launched than are there");
            life.destroy();
            life.end();
        },
    );
    assert!(calls > 25, "only {calls} calls");
}

/// The same where EC2 does not show for four minutes what was launched. Fails without the client token.
#[test]
fn killed_while_servers_are_made_that_are_not_seen() {
    at_every_call(
        Duration::from_secs(240),
        |_| {},
        |life| {
            let machines = life.machines();
            assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
            life.check_all_is_well(2);
            assert_eq!(life.ec2.get().instances.len(), 2, "more were launched than are there");
        },
    );
}

/// Nobody makes the servers after all. Fails where what is half made is forgotten without being removed, and without
/// the wait until it is certain that nothing was launched.
#[test]
fn killed_while_servers_are_made_then_destroyed() {
    for late in [0, 240] {
        at_every_call(
            Duration::from_secs(late),
            |_| {},
            |life| {
                life.destroy();
                life.end();
            },
        );
    }
}

#[test]
fn killed_while_servers_are_removed() {
    let prepare = |life: &mut Life| {
        let machines = life.machines();
        assert_eq!(life.settle(&machines), End::Settled);
        life.destroy();
    };
    let calls = at_every_call(Duration::ZERO, prepare, Life::end);
    assert!(calls >= 6, "only {calls} calls");
}

/// Fails without going on when there is no such group or key any more.
#[test]
fn killed_while_cleaning_up() {
    for at in 1..40 {
        for after_it in [false, true] {
            let mut life = Life::new(u64::from(at), 1);
            let machines = life.machines();
            assert_eq!(life.settle(&machines), End::Settled);
            life.destroy();
            assert_eq!(life.settle(&machines), End::Settled);
            life.faults(Faults { killed: Some(Killed { at, after_it }), ..Faults::default() });
            let cleaned = machines.clean_up();
            let is_done = matches!(cleaned, Ok(CleanedUp::Done(_)));
            assert_eq!(is_done, !life.ec2.is_killed(), "{cleaned:?}");
            life.faults(Faults::default());
            life.end();
        }
    }
}
