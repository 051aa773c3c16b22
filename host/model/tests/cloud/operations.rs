//! Changes of the state, one by one.

use jecloud_model::app::Failure;
use jecloud_model::cloud::{Change, KEPT_OPERATIONS, KEPT_RELEASES, Operation, Rejected, ReleaseOutcome, apply};
use jecloud_model::ids::{Generation, ReleaseNumber};

use crate::{Story, operation_id, production, release, scale};

fn failed() -> ReleaseOutcome {
    ReleaseOutcome::Failed(Failure::because("it did not start"))
}

#[test]
fn an_operation_is_applied_once() {
    // Fails without the look into the ring: there would be two releases.
    let story = Story::new();
    let change =
        Change::RecordRelease { expected: None, release: Box::new(release(1, 1, false, story.now)), scale: scale(1) };
    let operation = Operation { id: operation_id(7), change };
    let once = apply(&story.state, &operation, story.now).unwrap();
    let twice = apply(&once, &operation, story.now).unwrap();
    assert_eq!(once, twice);
    assert_eq!(once.generation, Generation(1));
}

#[test]
fn the_ring_is_bounded_and_keeps_the_newest() {
    let mut story = Story::new();
    for _ in 0..KEPT_OPERATIONS + 10 {
        story.change(Change::SetEnv { environment: production(), variables: Default::default() });
    }
    assert_eq!(story.state.recent_operations.len(), KEPT_OPERATIONS);
    assert!(!story.state.has_applied(&operation_id(10)));
    assert!(story.state.has_applied(&operation_id(11)));
    assert_eq!(story.state.generation, Generation(KEPT_OPERATIONS as u64 + 10));
}

#[test]
fn whoever_looked_before_another_one_deployed_has_lost_the_race() {
    // Fails without the comparison with `expected`: the number alone would be wrong, which says nothing to people.
    let mut story = Story::new();
    story.deploy(1, 1);
    story.deploy(2, 1);
    let late = Change::RecordRelease {
        expected: Some(ReleaseNumber(1)),
        release: Box::new(release(2, 9, false, story.now)),
        scale: scale(1),
    };
    let before = story.state.clone();
    let error = story.try_change(late).unwrap_err();
    assert_eq!(error, Rejected::LostRace { environment: production(), newest: ReleaseNumber(2) });
    assert_eq!(story.state, before);
    let wrong = Change::RecordRelease {
        expected: Some(ReleaseNumber(2)),
        release: Box::new(release(2, 9, false, story.now)),
        scale: scale(1),
    };
    assert!(matches!(story.try_change(wrong), Err(Rejected::WrongNumber { next: ReleaseNumber(3), .. })));
}

#[test]
fn what_is_wanted_falls_back_to_what_serves() {
    let mut story = Story::new();
    let first = story.deploy(1, 1);
    story.outcome(first, failed());
    assert_eq!(story.environment().wanted, None);
    let second = story.deploy(2, 1);
    story.outcome(second, ReleaseOutcome::Serving);
    let third = story.deploy(3, 1);
    assert_eq!(story.environment().wanted, Some(third));
    story.outcome(third, failed());
    assert_eq!(story.environment().wanted, Some(second));
    assert_eq!(story.environment().serving, Some(second));
    assert_eq!(story.state.next_release(&production()), ReleaseNumber(4));
}

#[test]
fn a_late_outcome_moves_nothing_backwards() {
    // Fails without "only what is pending gets an outcome" and without the comparison with `serving`.
    let mut story = Story::new();
    let first = story.deploy(1, 1);
    let second = story.deploy(2, 1);
    story.outcome(second, ReleaseOutcome::Serving);
    story.outcome(first, ReleaseOutcome::Serving);
    assert_eq!(story.environment().serving, Some(second));
    assert_eq!(story.environment().wanted, Some(second));
    assert_eq!(story.environment().release(first).unwrap().outcome, ReleaseOutcome::Superseded);
    let late = Change::RecordOutcome { environment: production(), release: second, outcome: failed() };
    assert!(matches!(story.try_change(late), Err(Rejected::Stale { .. })));
    assert_eq!(story.environment().serving, Some(second));
    let unknown = Change::RecordOutcome { environment: production(), release: ReleaseNumber(9), outcome: failed() };
    assert!(matches!(story.try_change(unknown), Err(Rejected::NoRelease { .. })));
}

#[test]
fn what_came_to_serve_while_something_newer_failed_is_what_is_fallen_back_to() {
    let mut story = Story::new();
    let first = story.deploy(1, 1);
    story.outcome(first, ReleaseOutcome::Serving);
    let second = story.deploy(2, 1);
    let third = story.deploy(3, 1);
    // The order in which two roll-forwards record it does not matter.
    story.outcome(third, failed());
    assert_eq!(story.environment().wanted, Some(first));
    story.outcome(second, ReleaseOutcome::Serving);
    assert_eq!(story.environment().wanted, Some(second));
    assert_eq!(story.environment().release(first).unwrap().outcome, ReleaseOutcome::Superseded);
}

#[test]
fn a_commit_holds_for_the_wanted_release_only_and_once() {
    let mut story = Story::new();
    let first = story.deploy(1, 2);
    let commit = |release| Change::Commit { environment: production(), release };
    story.change(commit(first));
    assert_eq!(story.environment().committed, Some(first));
    assert!(matches!(story.try_change(commit(first)), Err(Rejected::Stale { .. })));
    let second = story.deploy(2, 2);
    assert!(matches!(story.try_change(commit(first)), Err(Rejected::Stale { .. })));
    story.outcome(second, failed());
    assert!(matches!(story.try_change(commit(second)), Err(Rejected::Stale { .. })));
    assert_eq!(story.environment().committed, Some(first));
}

#[test]
fn variables_are_set_and_unset() {
    let mut story = Story::new();
    let set = |name: &str, value: &str| Change::SetEnv {
        environment: production(),
        variables: [(name.to_owned(), value.to_owned())].into(),
    };
    story.change(set("A", "1"));
    story.change(set("B", "2"));
    story.change(set("A", "3"));
    let unset = Change::UnsetEnv { environment: production(), variables: vec!["B".to_owned(), "C".to_owned()] };
    story.change(unset);
    assert_eq!(story.environment().env, [("A".to_owned(), "3".to_owned())].into());
    let first = story.deploy(1, 1);
    assert_eq!(first, ReleaseNumber(1), "setting variables gave out a number");
}

#[test]
fn what_is_being_destroyed_takes_nothing_new() {
    let mut story = Story::new();
    story.deploy(1, 1);
    let environment = production();
    assert!(matches!(
        story.try_change(Change::Destroyed { environment: environment.clone() }),
        Err(Rejected::NotDestroying(_))
    ));
    story.change(Change::Destroy { environment: environment.clone() });
    let late = Change::RecordRelease {
        expected: Some(ReleaseNumber(1)),
        release: Box::new(release(2, 2, false, story.now)),
        scale: scale(1),
    };
    assert!(matches!(story.try_change(late), Err(Rejected::Destroying(_))));
    story.change(Change::Destroyed { environment: environment.clone() });
    assert!(story.state.environments.is_empty());
    assert!(matches!(story.try_change(Change::Destroy { environment }), Err(Rejected::NoEnvironment(_))));
}

#[test]
fn failures_of_a_server_back_off_and_are_forgotten_when_it_works() {
    let mut story = Story::new();
    let first = story.deploy(1, 1);
    let server: jecloud_model::cloud::ServerName = "app-1".parse().unwrap();
    let details = serde_json::Map::new;
    let record = |replaces| Change::RecordServer {
        environment: production(),
        server: server.clone(),
        replaces,
        details: details(),
    };
    let failure = Change::RecordServerFailure {
        environment: production(),
        server: server.clone(),
        reason: "quota".to_owned(),
        release: None,
    };
    assert!(matches!(story.try_change(failure.clone()), Err(Rejected::NoServer { .. })));
    story.change(record(None));
    let mut pauses = Vec::new();
    for _ in 0..5 {
        story.change(failure.clone());
        let until = story.environment().servers[&server].backs_off_until(story.now).unwrap();
        pauses.push(until.since(story.now).as_secs());
    }
    assert_eq!(pauses, [1, 2, 3, 5, 8]);
    story.outcome(first, ReleaseOutcome::Serving);
    assert_eq!(story.environment().servers[&server].trouble, None);
    story.change(failure);
    story.change(record(Some(details())));
    assert_eq!(story.environment().servers[&server].trouble, None);
}

/// Two that make a server at the same time agree on one request; what is gone is forgotten only as what it was. Fails
/// where `replaces` or `details` are not compared: a machine would run that no record knows.
#[test]
fn a_server_is_recorded_once_and_forgotten_as_what_it_was() {
    let mut story = Story::new();
    story.deploy(1, 1);
    let environment = production();
    let server: jecloud_model::cloud::ServerName = "app-1".parse().unwrap();
    let launch = |number: u64| serde_json::Map::from_iter([("launch".to_owned(), number.into())]);
    let record = |replaces: Option<u64>, number| Change::RecordServer {
        environment: production(),
        server: server.clone(),
        replaces: replaces.map(launch),
        details: launch(number),
    };
    let forget =
        |number| Change::ForgetServer { environment: production(), server: server.clone(), details: launch(number) };
    let stale = Err(Rejected::Stale { environment });
    assert_eq!(story.try_change(record(Some(1), 2)), stale);
    story.change(record(None, 1));
    assert_eq!(story.try_change(record(None, 2)), stale);
    assert_eq!(story.try_change(record(Some(2), 3)), stale);
    story.change(record(Some(1), 2));
    assert_eq!(story.try_change(forget(1)), stale);
    story.change(forget(2));
    assert_eq!(story.try_change(forget(2)), stale);
    assert!(story.environment().servers.is_empty());
}

#[test]
fn the_newest_releases_are_kept_and_what_is_referenced() {
    // Fails without the references in `trim`: what serves would be forgotten.
    let mut story = Story::new();
    let first = story.deploy(1, 1);
    story.outcome(first, ReleaseOutcome::Serving);
    let second = story.deploy(2, 1);
    for content in 3..100 {
        let release = story.deploy(content, 1);
        story.outcome(release, failed());
    }
    let releases = &story.environment().releases;
    assert_eq!(releases[0].release.number, first);
    assert_eq!(releases[1].release.number, second, "a pending release was forgotten");
    assert_eq!(releases.len(), KEPT_RELEASES + 2);
    assert_eq!(releases.last().unwrap().release.number, ReleaseNumber(99));
}

#[test]
fn a_rollback_goes_to_what_served_before_and_differs() {
    let mut story = Story::new();
    for content in [1, 2, 3, 3] {
        let release = story.deploy(content, 1);
        story.outcome(release, if content == 2 { failed() } else { ReleaseOutcome::Serving });
    }
    assert_eq!(story.environment().previous_release().unwrap().release.number, ReleaseNumber(1));
}

#[test]
fn a_release_of_another_app_is_refused() {
    let mut story = Story::new();
    let mut stray = release(1, 1, false, story.now);
    stray.app = "other".parse().unwrap();
    let change = Change::RecordRelease { expected: None, release: Box::new(stray), scale: scale(1) };
    assert!(matches!(story.try_change(change), Err(Rejected::OtherApp { .. })));
    assert!(story.state.environments.is_empty());
}
