//! Plans for single situations.

use std::collections::BTreeMap;
use std::time::Duration;

use jecloud_model::app::{AppDocument, DeploymentState, Failure, Gates};
use jecloud_model::cloud::{
    Change, CloudStep, Objects, Place, ReleaseOutcome, Scaled, SeenCloud, SeenEnvironment, SeenServer, ServerName,
    UPLOAD_GRACE, Until, plan,
};
use jecloud_model::ids::ReleaseNumber;
use jecloud_model::topology::Topology;

use crate::simulation::World;
use crate::{Story, hook, production, release, start, version};

fn place(server: &str) -> Place {
    Place { environment: production(), server: server.parse().unwrap() }
}

fn present(document: Option<AppDocument>) -> SeenServer {
    SeenServer::Present(Box::new(SeenEnvironment { exists: true, document, ..SeenEnvironment::default() }))
}

/// A server that was told a release and is so far.
fn document(release: u64, content: u64, state: DeploymentState, hold: bool) -> AppDocument {
    let mut document = AppDocument::default();
    let gates = Gates { hold, follows: false };
    document.request(&version(content), ReleaseNumber(release), gates, start()).unwrap();
    document.deployment.as_mut().unwrap().state = state;
    document
}

fn seen(servers: impl IntoIterator<Item = (&'static str, SeenServer)>) -> SeenCloud {
    let servers = servers.into_iter().map(|(name, seen)| (name.parse().unwrap(), seen)).collect();
    SeenCloud {
        servers: BTreeMap::from([(production(), servers)]),
        objects: Some(Objects::default()),
        at_hand: Objects::default(),
    }
}

/// A release for so many servers, which are recorded.
fn deployed(servers: u32) -> Story {
    let mut story = Story::new();
    story.deploy(1, servers);
    for index in 1..=servers {
        story.change(Change::RecordServer {
            environment: production(),
            server: format!("app-{index}").parse().unwrap(),
            replaces: None,
            details: serde_json::Map::new(),
        });
    }
    story
}

#[test]
fn the_first_deployment_step_by_step() {
    let mut world = World::new();
    assert!(world.deploy(release(1, 1, false, start()), crate::scale(1)));
    let mut steps = Vec::new();
    for _ in 0..20 {
        world.observe(0);
        steps.extend(world.roll_forwards[0].steps.clone());
        let state = world.state.clone();
        for step in world.roll_forwards[0].steps.clone() {
            assert!(world.perform(&state, &step));
        }
    }
    let number = ReleaseNumber(1);
    let outcome = ReleaseOutcome::Serving;
    let once = ["node".parse().unwrap()].into();
    let alone = Topology { server: "app-1".parse().ok(), once, ..Topology::default() };
    assert_eq!(
        steps,
        [
            CloudStep::RecordServer(place("app-1")),
            CloudStep::CreateServer(place("app-1")),
            CloudStep::StoreHook(hook(1)),
            CloudStep::StoreArchive(version(1)),
            CloudStep::PutHook(place("app-1"), hook(1)),
            CloudStep::PutArchive(place("app-1"), version(1)),
            CloudStep::HandRelease(place("app-1"), number, Box::new(alone)),
            CloudStep::AwaitServer { place: place("app-1"), release: number, until: Until::End },
            CloudStep::Record(Change::RecordOutcome { environment: production(), release: number, outcome }),
        ]
    );
}

#[test]
fn nothing_is_concluded_from_the_unknown() {
    let story = deployed(2);
    let ready = present(Some(document(1, 1, DeploymentState::Ready, true)));
    let steps = plan(&story.state, &seen([("app-1", ready), ("app-2", SeenServer::Unknown)]), story.now);
    assert_eq!(steps, [CloudStep::WaitUntil(story.now.plus(Duration::from_secs(1)))]);
}

#[test]
fn an_unknown_server_may_still_come_to_run_what_it_was_told() {
    // Fails without `all_seen` in `conclude`: app-2 may be about to serve release 1.
    let mut story = deployed(2);
    story.deploy(2, 2);
    let newer = present(Some(document(2, 2, DeploymentState::Preparing, true)));
    let steps = plan(&story.state, &seen([("app-1", newer), ("app-2", SeenServer::Unknown)]), story.now);
    assert!(!steps.iter().any(|step| matches!(step, CloudStep::Record(_))), "{steps:?}");
}

#[test]
fn an_environment_is_forgotten_when_it_is_certain_that_nothing_is_left() {
    // Fails when an unknown server counts as one without anything.
    let mut story = deployed(2);
    story.change(Change::Destroy { environment: production() });
    let gone = || SeenServer::Present(Box::default());
    let steps = |first, second| plan(&story.state, &seen([("app-1", first), ("app-2", second)]), story.now);
    let remove = |server| CloudStep::RemoveServer(place(server));
    assert_eq!(steps(gone(), SeenServer::Unknown), [remove("app-1")]);
    assert_eq!(steps(gone(), present(None)), [remove("app-1"), CloudStep::DestroyOnServer(place("app-2"))]);
    let forgotten = |server: &str| {
        let (environment, server) = (production(), server.parse().unwrap());
        CloudStep::Record(Change::ForgetServer { environment, server, details: serde_json::Map::new() })
    };
    // Fails when one that is absent is forgotten: whoever was launching it may have been killed, and it is there.
    assert_eq!(steps(gone(), SeenServer::Absent), [remove("app-1"), remove("app-2")]);
    assert_eq!(steps(SeenServer::Gone, SeenServer::Absent), [forgotten("app-1")]);
    assert_eq!(steps(SeenServer::Gone, SeenServer::Gone), [forgotten("app-1"), forgotten("app-2")]);
    for server in ["app-1", "app-2"] {
        let CloudStep::Record(change) = forgotten(server) else { unreachable!() };
        story.change(change);
    }
    let end = CloudStep::Record(Change::Destroyed { environment: production() });
    assert_eq!(plan(&story.state, &seen([]), story.now), [end]);
}

/// Fails without the check that all others serve: the last server that serves would be removed for one that may never.
#[test]
fn a_server_is_removed_when_the_others_serve() {
    let mut story = deployed(2);
    story.outcome(ReleaseNumber(1), ReleaseOutcome::Serving);
    story.change(Change::Scale { environment: production(), scale: crate::scale(1), scaled: Scaled::default() });
    let serving = |content| {
        let mut document = document(1, content, DeploymentState::Deployed, false);
        document.succeed(ReleaseNumber(1), BTreeMap::new(), start()).unwrap();
        present(Some(document))
    };
    let steps =
        |story: &Story, first, second| plan(&story.state, &seen([("app-1", first), ("app-2", second)]), story.now);
    assert_eq!(steps(&story, SeenServer::Unknown, serving(1)).len(), 1);
    assert!(
        steps(&story, SeenServer::Absent, serving(1))
            .iter()
            .all(|step| *step == CloudStep::CreateServer(place("app-1")))
    );
    assert_eq!(steps(&story, serving(1), serving(1)), [CloudStep::DestroyOnServer(place("app-2"))]);
    let empty = SeenServer::Present(Box::default());
    assert_eq!(steps(&story, serving(1), empty), [CloudStep::RemoveServer(place("app-2"))]);
    // Nor while a release is on its way.
    story.deploy(2, 1);
    assert!(!steps(&story, serving(1), serving(1)).contains(&CloudStep::DestroyOnServer(place("app-2"))));
}

#[test]
fn one_commit_when_all_are_ready_then_everybody_switches() {
    let mut story = deployed(2);
    let ready = || present(Some(document(1, 1, DeploymentState::Ready, true)));
    let all = seen([("app-1", ready()), ("app-2", ready())]);
    let commit = Change::Commit { environment: production(), release: ReleaseNumber(1) };
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::Record(commit.clone())]);
    story.change(commit);
    let steps = plan(&story.state, &all, story.now);
    let committed: Vec<&CloudStep> = steps.iter().filter(|step| matches!(step, CloudStep::CommitServer(..))).collect();
    assert_eq!(committed.len(), 2);
}

/// The leader has its release commands to run; the other one has prepared all that it can.
///
/// Fails where the one that waits is waited for (nobody would ever let it go on), and where it goes on before the leader
/// was seen to have prepared.
#[test]
fn who_follows_is_let_go_on_when_the_leader_has_prepared() {
    let story = deployed(2);
    let number = ReleaseNumber(1);
    let follower = |state| {
        let mut document = document(1, 1, state, true);
        document.deployment.as_mut().unwrap().follows = true;
        present(Some(document))
    };
    let leader = |state| present(Some(document(1, 1, state, true)));
    let steps = |first, second| plan(&story.state, &seen([("app-1", first), ("app-2", second)]), story.now);
    let wait = |server, until| CloudStep::AwaitServer { place: place(server), release: number, until };
    let (preparing, prepared) = (DeploymentState::Preparing, DeploymentState::Prepared);
    assert_eq!(
        steps(leader(preparing), follower(preparing)),
        [wait("app-1", Until::Prepared), wait("app-2", Until::Prepared)]
    );
    assert_eq!(steps(leader(preparing), follower(prepared)), [wait("app-1", Until::Prepared)]);
    let look_again = CloudStep::WaitUntil(story.now.plus(Duration::from_secs(1)));
    assert_eq!(steps(SeenServer::Unknown, follower(prepared)), [look_again]);
    assert_eq!(steps(SeenServer::Absent, follower(prepared)), [CloudStep::CreateServer(place("app-1"))]);
    // Whoever finds them like that lets it go on, whether or not it has come to the gate.
    let proceed = CloudStep::ProceedOnServer(place("app-2"), number);
    let go_on = [wait("app-1", Until::Ready), proceed, wait("app-2", Until::Ready)];
    for state in [preparing, prepared] {
        assert_eq!(steps(leader(DeploymentState::StartingServices), follower(state)), go_on);
    }
    let steps = steps(leader(DeploymentState::Ready), follower(prepared));
    assert_eq!(steps, go_on[1..]);
}

/// Fails where one that waits counts as one that may still come to serve: release 1 would be pending for ever.
#[test]
fn who_follows_is_given_up_with_the_leader() {
    let mut story = deployed(2);
    let number = ReleaseNumber(1);
    let mut failed = document(1, 1, DeploymentState::Preparing, true);
    failed.fail(number, Failure::because("the release command failed"), story.now).unwrap();
    let mut waiting = document(1, 1, DeploymentState::Prepared, false);
    waiting.deployment.as_mut().unwrap().follows = true;
    let all = seen([("app-1", present(Some(failed))), ("app-2", present(Some(waiting.clone())))]);
    let [CloudStep::Record(Change::RecordOutcome { outcome, .. })] = &plan(&story.state, &all, story.now)[..] else {
        panic!()
    };
    story.outcome(number, outcome.clone());
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::AbortOnServer(place("app-2"), number)]);

    // And where something newer was wanted meanwhile that failed, so that nothing is wanted any more.
    let mut story = deployed(2);
    let second = story.deploy(2, 2);
    story.outcome(second, ReleaseOutcome::Failed(Failure::because("it does not start")));
    let all = seen([("app-1", present(None)), ("app-2", present(Some(waiting)))]);
    let aborted =
        Change::RecordOutcome { environment: production(), release: number, outcome: ReleaseOutcome::Aborted };
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::Record(aborted)]);
}

/// A server waits with something that this state knows nothing of, because it was set back. Fails where it is waited for:
/// it would never end.
#[test]
fn what_nobody_knows_of_is_not_waited_for_at_a_gate() {
    let mut story = deployed(1);
    story.outcome(ReleaseNumber(1), ReleaseOutcome::Serving);
    story.change(Change::SkipReleases { environment: production(), known: ReleaseNumber(9) });
    for (state, follows) in [(DeploymentState::Prepared, true), (DeploymentState::Ready, false)] {
        let mut waiting = AppDocument { current_release: Some(ReleaseNumber(1)), ..AppDocument::default() };
        let gates = Gates { follows, hold: true };
        waiting.request(&version(9), ReleaseNumber(9), gates, start()).unwrap();
        let deploying = present(Some(waiting.clone()));
        let until = if follows { Until::Prepared } else { Until::Ready };
        let wait = CloudStep::AwaitServer { place: place("app-1"), release: ReleaseNumber(9), until };
        assert_eq!(plan(&story.state, &seen([("app-1", deploying)]), story.now), [wait]);
        waiting.deployment.as_mut().unwrap().state = state;
        assert_eq!(plan(&story.state, &seen([("app-1", present(Some(waiting)))]), story.now), []);
    }
}

#[test]
fn a_failure_before_the_commit_ends_the_release_everywhere() {
    let mut story = deployed(2);
    let mut failed = document(1, 1, DeploymentState::Starting, true);
    failed.fail(ReleaseNumber(1), Failure::because("/up answers 500"), story.now).unwrap();
    let ready = present(Some(document(1, 1, DeploymentState::Ready, true)));
    let all = seen([("app-1", ready), ("app-2", present(Some(failed)))]);
    let steps = plan(&story.state, &all, story.now);
    let [CloudStep::Record(Change::RecordOutcome { outcome: ReleaseOutcome::Failed(failure), .. })] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(failure.reason, "on server app-2: /up answers 500");
    story.outcome(ReleaseNumber(1), ReleaseOutcome::Failed(failure.clone()));
    // Fails without the leftovers: app-1 would keep processes running that nobody will ever commit.
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::AbortOnServer(place("app-1"), ReleaseNumber(1))]);
}

#[test]
fn what_is_held_and_not_wanted_any_more_is_given_up() {
    // Fails without `holds` in `conclude`: release 1 would stay pending for ever. Found by a random history.
    let mut story = deployed(2);
    let second = story.deploy(2, 2);
    story.outcome(second, ReleaseOutcome::Failed(Failure::because("it does not start")));
    let ready = present(Some(document(1, 1, DeploymentState::Ready, true)));
    let mut failed = document(2, 2, DeploymentState::Starting, true);
    failed.fail(second, Failure::because("it does not start"), story.now).unwrap();
    let all = seen([("app-1", ready), ("app-2", present(Some(failed)))]);
    let (environment, release, outcome) = (production(), ReleaseNumber(1), ReleaseOutcome::Aborted);
    let aborted = Change::RecordOutcome { environment, release, outcome };
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::Record(aborted.clone())]);
    story.change(aborted);
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::AbortOnServer(place("app-1"), release)]);
}

#[test]
fn one_servers_failure_does_not_stop_the_others() {
    // Fails when a back-off ends the planning of the environment.
    let mut story = deployed(2);
    story.change(Change::RecordServerFailure {
        environment: production(),
        server: "app-1".parse().unwrap(),
        reason: "no such machine type here".to_owned(),
        release: None,
    });
    let all = seen([("app-1", SeenServer::Absent), ("app-2", SeenServer::Absent)]);
    assert_eq!(plan(&story.state, &all, story.now), [CloudStep::CreateServer(place("app-2"))]);
    let later = story.now.plus(Duration::from_secs(1));
    assert_eq!(plan(&story.state, &all, later).len(), 2);
}

#[test]
fn an_archive_that_never_arrives_fails_the_release_after_a_while() {
    let story = deployed(1);
    let mut lacking = SeenEnvironment { exists: true, ..SeenEnvironment::default() };
    lacking.lacks_versions.insert(version(1));
    let all = seen([("app-1", SeenServer::Present(Box::new(lacking)))]);
    // Somebody else may be uploading it just now.
    let soon = plan(&story.state, &all, story.now);
    assert!(matches!(soon[..], [CloudStep::WaitUntil(_)]), "{soon:?}");
    let late = plan(&story.state, &all, story.now.plus(UPLOAD_GRACE));
    let [CloudStep::Record(Change::RecordOutcome { outcome: ReleaseOutcome::Failed(failure), .. })] = &late[..] else {
        panic!("{late:?}")
    };
    assert!(failure.reason.contains("is not in the store"), "{failure:?}");
}

#[test]
fn a_server_that_knows_something_newer_than_the_state_is_not_moved_backwards() {
    let mut story = deployed(1);
    let mut newer = document(9, 9, DeploymentState::Deployed, false);
    newer.succeed(ReleaseNumber(9), BTreeMap::new(), story.now).unwrap();
    let all = seen([("app-1", present(Some(newer)))]);
    let steps = plan(&story.state, &all, story.now);
    for step in steps {
        let CloudStep::Record(change) = step else { panic!("{step:?}") };
        story.change(change);
    }
    assert_eq!(story.state.next_release(&production()), ReleaseNumber(10));
    let recorded = story.environment().release(ReleaseNumber(1)).unwrap();
    let ReleaseOutcome::Failed(failure) = &recorded.outcome else { panic!("{recorded:?}") };
    assert!(failure.reason.contains("newer"), "{failure:?}");
    assert_eq!(plan(&story.state, &all, story.now), []);
}

#[test]
fn objects_are_deleted_when_they_are_old_unneeded_and_not_among_the_newest() {
    let mut story = deployed(1);
    story.outcome(ReleaseNumber(1), ReleaseOutcome::Serving);
    let mut serving = document(1, 1, DeploymentState::Deployed, false);
    serving.succeed(ReleaseNumber(1), BTreeMap::new(), story.now).unwrap();
    let mut all = seen([("app-1", present(Some(serving)))]);
    let day = Duration::from_secs(24 * 3600);
    // Version 1 is the oldest and serves; of the others, those older than a week go, but for the newest five.
    let now = story.now.plus(day * 20);
    let versions = (1..=12).map(|content| (version(content), story.now.plus(day * (content as u32)))).collect();
    all.objects = Some(Objects { versions, hooks: BTreeMap::new() });
    let [CloudStep::DeleteObjects(doomed)] = &plan(&story.state, &all, now)[..] else { panic!() };
    let expected: BTreeMap<_, ()> = (2..=7).map(|content| (version(content), ())).collect();
    assert_eq!(doomed.versions, expected);
    // Nothing is deleted where the store could not be looked at, or where there is something else to do.
    all.objects = None;
    assert_eq!(plan(&story.state, &all, now), []);
}

#[test]
fn environments_that_were_not_looked_at_are_left_alone() {
    let story = deployed(1);
    assert_eq!(plan(&story.state, &SeenCloud::default(), story.now), []);
}

/// Everything that can be seen of a thousand servers in the middle of a deployment.
fn many(count: u32) -> (Story, SeenCloud) {
    let story = deployed(count);
    let states = DeploymentState::ALL;
    let servers: BTreeMap<ServerName, SeenServer> = (1..=count)
        .map(|index| {
            let state = states[index as usize % states.len()];
            let seen = match index % 10 {
                0 => SeenServer::Unknown,
                1 => SeenServer::Absent,
                2 => present(None),
                _ => present(Some(document(1, 1, state, true))),
            };
            (format!("app-{index}").parse().unwrap(), seen)
        })
        .collect();
    let seen = SeenCloud {
        servers: BTreeMap::from([(production(), servers)]),
        objects: Some(Objects::default()),
        at_hand: Objects::default(),
    };
    (story, seen)
}

/// A plan takes about half a millisecond; `cargo xtask bench` measures it.
#[test]
fn a_thousand_servers_have_their_steps_in_one_plan() {
    let (story, seen) = many(1000);
    assert!(plan(&story.state, &seen, story.now).len() > 500);
}

/// What a provider does not show is gone when that was recorded five minutes ago and still is so. Fails when one look is
/// enough, when anything but an answer counts as a look, when a sighting takes nothing back, and when another machine
/// that was made under the name takes over what was said of the one before.
#[test]
fn what_is_not_shown_for_five_minutes_is_gone() {
    for destroying in [false, true] {
        let mut story = deployed(1);
        if destroying {
            story.change(Change::Destroy { environment: production() });
        }
        let records = |story: &Story, server| -> Vec<Change> {
            let steps = plan(&story.state, &seen([("app-1", server)]), story.now);
            let record = |step| match step {
                CloudStep::Record(change) => Some(change),
                _ => None,
            };
            steps.into_iter().filter_map(record).collect()
        };
        let (environment, server) = (production(), "app-1".parse::<ServerName>().unwrap());
        let details = serde_json::Map::new();
        let unseen = |unseen| Change::RecordUnseen {
            environment: production(),
            server: "app-1".parse().unwrap(),
            details: serde_json::Map::new(),
            unseen,
        };
        let sightings = || [SeenServer::Silent, SeenServer::Absent, present(None)];
        for sighting in sightings().into_iter().chain([SeenServer::Unknown]) {
            assert_eq!(records(&story, sighting), []);
        }
        assert_eq!(records(&story, SeenServer::Unseen), [unseen(true)]);
        story.change(unseen(true));
        assert!(story.try_change(unseen(true)).is_err(), "the first one says since when");
        let first = story.now;
        for seconds in [0, 299, 300, 3600] {
            story.now = first.plus(Duration::from_secs(seconds));
            for sighting in sightings() {
                assert_eq!(records(&story, sighting), [unseen(false)]);
            }
            assert_eq!(records(&story, SeenServer::Unknown), []);
            let forget = Change::ForgetServer {
                environment: environment.clone(),
                server: server.clone(),
                details: details.clone(),
            };
            assert_eq!(records(&story, SeenServer::Unseen), if seconds < 300 { vec![] } else { vec![forget] });
        }
        // The clock of whoever looks now is behind.
        story.now = start();
        assert_eq!(records(&story, SeenServer::Unseen), []);
        if !destroying {
            let made = serde_json::Map::from_iter([("launch".to_owned(), 2.into())]);
            let replaces = Some(details);
            story.change(Change::RecordServer { environment, server: server.clone(), replaces, details: made });
        } else {
            story.change(unseen(false));
        }
        assert_eq!(story.environment().servers[&server].unseen_since, None);
        assert!(story.try_change(unseen(false)).is_err());
    }
}
