//! Random histories: two roll-forwards with old knowledge, servers that vanish, releases that fail. Whatever happens,
//! nothing moves backwards, nobody switches alone, and when the faults stop everything settles.

use std::time::Duration;

use jecloud_model::app::DeploymentState;
use jecloud_model::cloud::{Change, Scaled, ServerName};
use jecloud_model::ids::ReleaseNumber;
use proptest::prelude::*;

use crate::simulation::World;
use crate::{production, release, scale, scale_of};

#[derive(Debug, Clone)]
enum Action {
    /// Record a release that, on the server of this number, fails in this state.
    Deploy {
        content: u64,
        servers: u32,
        /// Whether not everything runs on all servers, and how.
        split: Option<Split>,
        fate: Option<(u32, DeploymentState)>,
    },
    Observe(usize),
    Perform {
        which: usize,
        times: usize,
    },
    Work {
        server: u32,
        states: usize,
    },
    Disconnect(u32),
    Hide(u32),
    Reconnect(u32),
    Terminate(u32),
    Scale(u32),
    ScaleDatabases(u32),
    Wait(u64),
    Destroy,
}

/// Redis on so many servers of a group of its own.
#[derive(Debug, Clone)]
struct Split {
    databases: u32,
    worker: bool,
    peers: bool,
}

fn split_release() -> impl Strategy<Value = Option<Split>> {
    let split = (1..=2u32, any::<bool>(), any::<bool>());
    proptest::option::of(split.prop_map(|(databases, worker, peers)| Split { databases, worker, peers }))
}

fn action() -> impl Strategy<Value = Action> {
    let fate = proptest::option::of((1..=6u32, proptest::sample::select(&DeploymentState::ALL[..])));
    prop_oneof![
        3 => (0..8u64, 1..=3u32, split_release(), fate)
            .prop_map(|(content, servers, split, fate)| Action::Deploy { content, servers, split, fate }),
        8 => (0..2usize).prop_map(Action::Observe),
        16 => (0..2usize, 1..=2usize).prop_map(|(which, times)| Action::Perform { which, times }),
        4 => (1..=6u32, 1..4usize).prop_map(|(server, states)| Action::Work { server, states }),
        1 => (1..=6u32).prop_map(Action::Disconnect),
        1 => (1..=6u32).prop_map(Action::Hide),
        2 => (1..=6u32).prop_map(Action::Reconnect),
        1 => (1..=6u32).prop_map(Action::Terminate),
        2 => (1..=3u32).prop_map(Action::Scale),
        1 => (1..=2u32).prop_map(Action::ScaleDatabases),
        2 => prop_oneof![1..400u64, Just(8 * 24 * 3600)].prop_map(Action::Wait),
    ]
}

fn name(index: u32) -> ServerName {
    match index {
        1..=3 => format!("app-{index}"),
        4..=5 => format!("db-{}", index - 3),
        _ => "jobs-1".to_owned(),
    }
    .parse()
    .unwrap()
}

fn act(world: &mut World, action: &Action) {
    match action {
        Action::Deploy { content, servers, split, fate } => {
            let number = world.state.next_release(&production());
            let mut scale = scale(*servers);
            if let Some(split) = split {
                scale.extend(scale_of(&[("db", split.databases)]));
                scale.extend(split.worker.then(|| ("jobs".parse().unwrap(), 1)));
            }
            // Servers beyond a smaller scale stay, so a release holds wherever there is more than one.
            let recorded = world.state.environments.get(&production()).map_or(0, |e| e.servers.len());
            let several = recorded > 1 || scale.values().sum::<u32>() > 1;
            let release = release(number.0, *content, several, world.now);
            let release = match split {
                Some(split) => crate::split(release, split.worker, split.peers),
                None => release,
            };
            if world.deploy(release, scale)
                && let Some((server, state)) = fate
            {
                world.fates.insert((number, name(*server)), *state);
            }
        }
        Action::Observe(which) => world.observe(*which),
        Action::Perform { which, times } => world.perform_next(*which, *times),
        Action::Work { server, states } => drop(world.work(&name(*server), *states)),
        Action::Disconnect(server) => {
            if let Some(server) = world.servers.get_mut(&name(*server)) {
                server.reachable = false;
            }
        }
        Action::Hide(server) => {
            if let Some(server) = world.servers.get_mut(&name(*server)) {
                server.hidden.get_or_insert(world.now);
            }
        }
        Action::Reconnect(server) => {
            world.vanish();
            if let Some(server) = world.servers.get_mut(&name(*server)) {
                (server.reachable, server.hidden) = (true, None);
            }
        }
        Action::Terminate(server) => {
            if let Some(launch) = world.servers.get(&name(*server)).map(|server| server.launch) {
                world.terminate(&name(*server), launch);
            }
        }
        Action::Scale(servers) => {
            world.change(Change::Scale {
                environment: production(),
                scale: scale(*servers),
                scaled: Scaled::default(),
            });
        }
        // Without a release that runs there, nobody asks for such servers.
        Action::ScaleDatabases(servers) => {
            let environment = world.state.environments.get(&production());
            if environment.is_some_and(|environment| environment.scale.len() > 1) {
                world.change(Change::Scale {
                    environment: production(),
                    scale: scale_of(&[("db", *servers)]),
                    scaled: Scaled::default(),
                });
            }
        }
        Action::Wait(seconds) => world.now = world.now.plus(Duration::from_secs(*seconds)),
        Action::Destroy => {
            world.change(Change::Destroy { environment: production() });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_settles(actions in proptest::collection::vec(action(), 1..150)) {
        let mut world = World::new();
        for action in &actions {
            act(&mut world, action);
        }
        world.settle();
        world.check_settled();
        // Nor does the passing of time bring up anything that would not end.
        world.now = world.now.plus(Duration::from_secs(30 * 24 * 3600));
        world.settle();
        world.check_settled();
    }

    #[test]
    fn whatever_there_is_can_be_destroyed(actions in proptest::collection::vec(action(), 1..60)) {
        let mut world = World::new();
        for action in &actions {
            act(&mut world, action);
        }
        act(&mut world, &Action::Destroy);
        world.settle();
        world.check_settled();
        prop_assert!(world.state.environments.is_empty());
        prop_assert!(world.stored.versions.is_empty() && world.stored.hooks.is_empty());
    }

    #[test]
    fn a_release_that_fails_nowhere_serves_everywhere(
        actions in proptest::collection::vec(action(), 1..60),
        servers in 1..=3u32,
        split in split_release(),
    ) {
        let mut world = World::new();
        for action in &actions {
            act(&mut world, action);
        }
        world.settle();
        let number = world.state.next_release(&production());
        act(&mut world, &Action::Deploy { content: 100, servers, split, fate: None });
        world.settle();
        world.check_settled();
        prop_assert!(world.state.environments[&production()].serving >= Some(number));
    }
}

#[test]
fn steps_done_twice_are_done_once() {
    // The same history, each step performed once and twice: the same end.
    let run = |times: usize| {
        let mut world = World::new();
        for content in 1..4 {
            act(&mut world, &Action::Deploy { content, servers: 2, split: None, fate: None });
            for _ in 0..40 {
                act(&mut world, &Action::Observe(0));
                while !world.roll_forwards[0].steps.is_empty() {
                    act(&mut world, &Action::Perform { which: 0, times });
                }
            }
        }
        world.check_settled();
        let documents: Vec<_> = world.servers.values().map(|server| server.document.clone()).collect();
        let environment = &world.state.environments[&production()];
        let ends: Vec<_> = environment.releases.iter().map(|r| (r.release.number, r.outcome.clone())).collect();
        (documents, environment.serving, environment.wanted, environment.committed, ends)
    };
    let once = run(1);
    assert_eq!(once.1, Some(ReleaseNumber(3)));
    assert_eq!(once, run(2));
}
