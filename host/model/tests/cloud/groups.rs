//! Several groups of servers: what each is told, in which order, and when it is told anew.

use std::collections::BTreeSet;
use std::time::Duration;

use jecloud_model::cloud::{Change, CloudStep, ReleaseOutcome, Scaled, ServerName, Until};
use jecloud_model::ids::ReleaseNumber;
use jecloud_model::release::ReleaseService;
use proptest::prelude::*;

use crate::simulation::World;
use crate::{production, release, scale_of, split};

/// Everything serves: two servers of `app`, some of `db`, one of `jobs`.
fn serving(databases: u32, peers: bool) -> World {
    let mut world = World::new();
    let release = split(release(1, 1, true, world.now), true, peers);
    assert!(world.deploy(release, scale_of(&[("app", 2), ("db", databases), ("jobs", 1)])));
    world.settle();
    world.check_settled();
    assert_eq!(world.state.environments[&production()].serving, Some(ReleaseNumber(1)));
    world
}

fn scale(world: &mut World, group: &str, count: u32) {
    let (environment, scaled) = (production(), Scaled::default());
    assert!(world.change(Change::Scale { environment, scale: scale_of(&[(group, count)]), scaled }));
}

/// The servers that run another release than before, and those that are new.
fn redeployed(world: &mut World) -> Vec<String> {
    let before = world.running();
    world.settle();
    world.check_settled();
    let changed = world.running().into_iter().filter(|(name, runs)| before.get(name) != Some(runs));
    changed.map(|(name, _)| name.to_string()).collect()
}

/// Fails without the comparison of what a server was told (all would deploy anew), and without the refresh (none would,
/// and those that need it would keep looking for a database that is gone).
#[test]
fn a_change_of_peers_redeploys_exactly_those_to_whom_it_matters() {
    // Servers of groups that nobody needs anything from come and go.
    let mut world = serving(1, false);
    scale(&mut world, "app", 3);
    assert_eq!(redeployed(&mut world), ["app-3"]);
    scale(&mut world, "app", 1);
    assert_eq!(redeployed(&mut world), [""; 0]);
    // One more database: nobody asked for all of them.
    scale(&mut world, "db", 2);
    assert_eq!(redeployed(&mut world), ["db-2"]);
    scale(&mut world, "db", 1);
    assert_eq!(redeployed(&mut world), [""; 0]);
    // The database is lost, and another one takes its place at another address.
    let lost = "db-1".parse().unwrap();
    let launch = world.servers[&lost].launch;
    world.terminate(&lost, launch);
    assert_eq!(redeployed(&mut world), ["app-1", "db-1", "jobs-1"]);

    // Where redis asks who it runs with, those who are there are told, and whoever uses them.
    let mut world = serving(1, true);
    scale(&mut world, "jobs", 2);
    assert_eq!(redeployed(&mut world), ["jobs-2"]);
    scale(&mut world, "db", 2);
    assert_eq!(redeployed(&mut world), ["app-1", "app-2", "db-1", "db-2", "jobs-1", "jobs-2"]);
}

/// One of several that know each other is shaped out by those who stay before it goes, and stays where that fails.
///
/// Fails where `all_serve` does not ask whether what others were told has changed: it would go when the refresh has failed.
#[test]
fn who_knows_its_peers_is_told_before_one_of_them_goes() {
    let mut world = serving(3, true);
    scale(&mut world, "db", 2);
    let all = steps(&mut world);
    let going = |step: &CloudStep| matches!(step, CloudStep::DestroyOnServer(place) | CloudStep::RemoveServer(place) if place.server.group.as_str() == "db");
    let first = all.iter().position(going).expect("it goes");
    let told = |step: &CloudStep| match step {
        CloudStep::HandRelease(place, _, topology) if place.server.group.as_str() == "db" => {
            assert_eq!(topology.members.values().map(Vec::len).collect::<Vec<_>>(), [2]);
            Some(place.server.to_string())
        }
        _ => None,
    };
    assert_eq!(all[..first].iter().filter_map(told).collect::<BTreeSet<_>>().len(), 2, "{all:#?}");
    assert_eq!(all[first..].iter().filter_map(told).count(), 0);

    let number = world.state.next_release(&production());
    world.fates.insert((number, "db-1".parse().unwrap()), jecloud_model::app::DeploymentState::Starting);
    scale(&mut world, "db", 1);
    assert_eq!(rounds(&mut world).iter().filter(|step| going(step)).count(), 0, "it has its data for itself");
}

/// The steps of a first deployment, each with its server, until it serves.
fn steps(world: &mut World) -> Vec<CloudStep> {
    let all = rounds(world);
    world.check_settled();
    all
}

/// The same without looking at how it ends.
fn rounds(world: &mut World) -> Vec<CloudStep> {
    let mut all = Vec::new();
    for _ in 0..30 {
        world.observe(0);
        let steps = world.roll_forwards[0].steps.clone();
        let state = world.state.clone();
        steps.iter().for_each(|step| assert!(world.perform(&state, step), "{step:?}"));
        all.extend(steps);
    }
    all
}

/// Fails without `may_begin`: all would be told at once. Fails without `Topology::follows` (nobody would have to be let go
/// on), and where those that only follow are told later than whom they follow.
#[test]
fn what_others_need_comes_first_and_release_commands_run_on_one_server() {
    let mut world = World::new();
    let release = split(release(1, 1, true, world.now), true, false);
    assert!(world.deploy(release, scale_of(&[("app", 2), ("db", 2), ("jobs", 1)])));
    let steps = steps(&mut world);
    let handed: Vec<String> = steps
        .iter()
        .filter_map(|step| match step {
            CloudStep::HandRelease(place, _, topology) => {
                let once: Vec<&str> = topology.once.iter().map(|service| service.as_str()).collect();
                let follows = if topology.follows { "follows" } else { "" };
                Some(format!("{} {}{follows}", place.server, once.join(" ")))
            }
            CloudStep::ProceedOnServer(place, _) => Some(format!("{} goes on", place.server)),
            _ => None,
        })
        .collect();
    let databases = ["db-1 redis", "db-2 follows", "db-2 goes on"];
    let others = ["app-1 node", "app-2 follows", "jobs-1 follows", "app-2 goes on", "jobs-1 goes on"];
    assert_eq!(handed, [&databases[..], &others[..]].concat());
    // All are watched only until they have prepared: then others may go on, or they themselves.
    let prepared: BTreeSet<&ServerName> = steps
        .iter()
        .filter_map(|step| match step {
            CloudStep::AwaitServer { place, until: Until::Prepared, .. } => Some(&place.server),
            _ => None,
        })
        .collect();
    let all = ["app-1", "app-2", "db-1", "db-2", "jobs-1"].map(|name| name.parse::<ServerName>().unwrap());
    assert_eq!(prepared, all.iter().collect());
}

/// Release commands of one group come before those of another one that follows it. Fails where a server that has release
/// commands of its own is told like one that has none: both would migrate at the same time.
#[test]
fn release_commands_of_groups_run_one_after_the_other() {
    let mut world = World::new();
    let mut release = split(release(1, 1, true, world.now), true, false);
    // Python belongs to `jobs`, where the worker of node runs as well.
    let python = ReleaseService { on: "jobs".parse().ok(), ..release.services[&"node".parse().unwrap()].clone() };
    release.services.insert("python".parse().unwrap(), python);
    assert!(world.deploy(release, scale_of(&[("app", 1), ("db", 1), ("jobs", 2)])));
    let begun = |step: CloudStep| match step {
        CloudStep::HandRelease(place, ..) => Some(place.server.to_string()),
        _ => None,
    };
    let begun: Vec<String> = steps(&mut world).into_iter().filter_map(begun).collect();
    assert_eq!(begun, ["db-1", "app-1", "jobs-2", "jobs-1"]);
}

/// Fails without the scale in the recorded release: the databases of what serves would be removed.
#[test]
fn what_fails_takes_no_servers_from_what_serves() {
    let mut world = serving(1, false);
    let number = world.state.next_release(&production());
    world.fates.insert((number, "app-1".parse().unwrap()), jecloud_model::app::DeploymentState::Starting);
    assert!(world.deploy(release(number.0, 2, true, world.now), scale_of(&[("app", 1)])));
    assert_eq!(redeployed(&mut world), [""; 0]);
    assert_eq!(world.running().len(), 4);
    // Nor does one that succeeds leave any.
    let number = world.state.next_release(&production());
    assert!(world.deploy(release(number.0, 2, true, world.now), scale_of(&[("app", 1)])));
    assert_eq!(redeployed(&mut world), ["app-1"]);
    assert_eq!(world.running().len(), 1);
}

/// Such a release is not recorded by `jecloud deploy`; by hand it may be. Fails without the case in `conclude`: it would
/// be pending for ever.
#[test]
fn groups_that_need_each_other_fail_the_release() {
    let mut world = World::new();
    let mut release = split(release(1, 1, true, world.now), false, false);
    let service = |on: &str, gives: &[&str]| jecloud_model::release::ReleaseService {
        on: on.parse().ok(),
        gives: gives.iter().map(|name| (*name).to_owned()).collect(),
        ..release.services.values().next().cloned().unwrap()
    };
    let (cache, python) = (service("app", &["CACHE_URL"]), service("db", &[]));
    release.services.extend([("cache".parse().unwrap(), cache), ("python".parse().unwrap(), python)]);
    assert!(world.deploy(release, scale_of(&[("app", 1), ("db", 1)])));
    world.settle();
    let recorded = &world.state.environments[&production()].releases[0];
    let ReleaseOutcome::Failed(failure) = &recorded.outcome else { panic!("{recorded:?}") };
    assert!(failure.reason.contains("app and db need each other"), "{failure:?}");
}

/// A refresh that fails is not tried for ever. Fails too where a refresh is recorded while a server still deploys what it
/// refreshes: given up for it, that server would have to be told once more.
#[test]
fn a_refresh_that_fails_is_left_to_a_person() {
    let mut world = serving(1, false);
    let number = world.state.next_release(&production());
    world.fates.insert((number, "app-1".parse().unwrap()), jecloud_model::app::DeploymentState::Starting);
    let lost = "db-1".parse().unwrap();
    let launch = world.servers[&lost].launch;
    world.terminate(&lost, launch);
    world.settle();
    world.check_settled();
    let environment = &world.state.environments[&production()];
    assert_eq!((environment.serving, environment.next_release), (Some(ReleaseNumber(1)), ReleaseNumber(number.0 + 1)));
    // The next deployment tells everybody everything.
    let number = world.state.next_release(&production());
    let release = split(release(number.0, 2, true, world.now), true, false);
    assert!(world.deploy(release, scale_of(&[("app", 2), ("db", 1), ("jobs", 1)])));
    world.settle();
    world.check_settled();
    assert_eq!(world.state.environments[&production()].serving, Some(number));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes and goes while all is well: a server deploys anew if and only if what it has to know has changed.
    #[test]
    fn exactly_the_needed_redeploys(
        peers in any::<bool>(),
        changes in proptest::collection::vec((0..4usize, 1..=3u32), 1..12),
    ) {
        let mut world = serving(1, peers);
        for (what, count) in changes {
            let running = world.running();
            let before: Vec<_> = running.keys().map(|name| (name.clone(), world.expected(name))).collect();
            match what {
                3 => {
                    let lost = "db-1".parse().unwrap();
                    let launch = world.servers[&lost].launch;
                    world.terminate(&lost, launch);
                }
                group => scale(&mut world, ["app", "db", "jobs"][group], count),
            }
            world.now = world.now.plus(Duration::from_secs(1));
            world.settle();
            world.check_settled();
            let now = world.running();
            for (name, expected) in before.into_iter().filter(|(name, _)| now.contains_key(name)) {
                let changed = !expected.is_the_same(&world.expected(&name));
                prop_assert_eq!(running[&name] != now[&name], changed, "{}", name);
            }
        }
    }
}
