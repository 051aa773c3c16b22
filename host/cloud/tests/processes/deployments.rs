//! Deployments from the record to the end, on servers that are processes.

use std::time::Duration;

use jecloud_cloud::{End, ObjectStore as _, Options, Progress, StateError, keys, roll_forward};
use jecloud_model::app::{DeploymentState, Outcome};
use jecloud_model::cloud::{Change, Rejected, ReleaseOutcome, Scaled};
use jecloud_model::events::What;
use jecloud_model::ids::ReleaseNumber;

use crate::cloud::{TestCloud, production};

pub(crate) fn the_first_deployment_and_an_idle_round() {
    let cloud = TestCloud::new();
    let (number, report, heard) = cloud.deploy("hello", 1, &[]);
    assert_eq!(report.end, End::Serving);
    assert_eq!(cloud.document("app-1").current_release, Some(number));
    let environment = cloud.environment();
    assert_eq!((environment.wanted, environment.serving), (Some(number), Some(number)));
    // Every state of the server once, in order, and then the end.
    let states: Vec<DeploymentState> = heard
        .all()
        .into_iter()
        .filter_map(|progress| match progress {
            Progress::Event { event, .. } => match event.what {
                What::Entered { state } => Some(state),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let waits = [DeploymentState::Prepared, DeploymentState::Ready];
    let expected: Vec<_> = DeploymentState::ALL.into_iter().filter(|state| !waits.contains(state)).collect();
    assert_eq!(states, expected);
    assert!(heard.all().iter().any(|progress| matches!(progress, Progress::Ended { .. })));
    // Nothing is left to do, and nothing is written for that.
    let before = cloud.state();
    let report = cloud.roll(None, &mut ()).unwrap();
    assert_eq!(report.end, End::Settled);
    assert_eq!(cloud.state(), before);
    // The release in question has served, whatever has come since.
    cloud.deploy("hello again", 1, &[]);
    assert_eq!(cloud.roll(Some(number), &mut ()).unwrap().end, End::Serving);
}

pub(crate) fn a_release_that_fails_changes_nothing() {
    let cloud = TestCloud::new();
    let (first, ..) = cloud.deploy("good", 1, &[]);
    let (second, report, _) = cloud.deploy("bad", 1, &[("FAIL_ON", "app-1")]);
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, "/up answers 500");
    assert_eq!(cloud.environment().wanted, Some(first));
    assert_eq!(cloud.document("app-1").current_release, Some(first));
    assert_eq!(cloud.roll(None, &mut ()).unwrap().end, End::Settled);
    assert!(matches!(cloud.environment().release(second).unwrap().outcome, ReleaseOutcome::Failed(_)));
}

pub(crate) fn several_servers_switch_together() {
    let cloud = TestCloud::new();
    let (number, report, heard) = cloud.deploy("hello", 3, &[]);
    assert_eq!(report.end, End::Serving);
    assert_eq!(cloud.environment().committed, Some(number));
    // The others were ready before the commit (of the first one it may be heard later: nobody looked any more once its
    // release commands had run), and none switched before it. Nothing started on them before the first one had prepared.
    let (mut ready, mut committed, mut led) = (0, false, false);
    for progress in heard.all() {
        match progress {
            Progress::Committed { .. } => {
                assert!(ready >= 2, "{ready}");
                committed = true;
            }
            Progress::Event { event, place, .. } => match event.what {
                What::Entered { state } if place.server.index == 1 && state.is_prepared() && !led => led = true,
                What::Entered { state } if state.is_started() && !led => panic!("{place:?} enters {state}"),
                What::Entered { state: DeploymentState::Ready } if !committed => ready += 1,
                What::Entered { state } if state.is_switched() => assert!(committed, "switched before the commit"),
                _ => {}
            },
            _ => {}
        }
    }
    assert!(committed);
    // Fails when events are reported again each time a server is followed: before the commit, and after it.
    let mut told: Vec<_> = heard
        .all()
        .into_iter()
        .filter_map(|progress| match progress {
            Progress::Event { place, event, .. } => Some((place, format!("{:?}", event.what))),
            _ => None,
        })
        .collect();
    let events = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), events);
    assert_eq!(cloud.roll(None, &mut ()).unwrap().end, End::Settled);
}

pub(crate) fn nobody_switches_when_one_fails() {
    let cloud = TestCloud::new();
    let (first, ..) = cloud.deploy("good", 2, &[]);
    let (second, report, _) = cloud.deploy("bad", 2, &[("FAIL_ON", "app-2")]);
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, "on server app-2: /up answers 500");
    assert_eq!(cloud.roll(None, &mut ()).unwrap().end, End::Settled);
    for server in ["app-1", "app-2"] {
        let document = cloud.document(server);
        assert_eq!(document.current_release, Some(first), "{server}");
        assert_eq!(document.deployment, None, "{server} still holds what will never be committed");
        assert!(matches!(document.outcome(second), Outcome::Failed(_)), "{server}");
    }
}

pub(crate) fn a_server_that_was_away_catches_up() {
    let cloud = TestCloud::new();
    let (first, ..) = cloud.deploy("one", 2, &[]);
    cloud.cut("app-2");
    let (second, report, _) = cloud.deploy("two", 2, &[]);
    let End::Unfinished { troubles } = report.end else { panic!("{:?}", report.end) };
    let trouble = troubles.iter().next().unwrap();
    assert_eq!(trouble.0.server.to_string(), "app-2");
    assert!(trouble.1.contains("the cable is cut"), "{trouble:?}");
    // The other one is ready and waits.
    assert_eq!(cloud.document("app-1").current_release, Some(first));
    assert_eq!(cloud.document("app-1").outcome(second), Outcome::Pending { state: DeploymentState::Ready });
    cloud.mend("app-2");
    assert_eq!(cloud.roll(Some(second), &mut ()).unwrap().end, End::Serving);
    for server in ["app-1", "app-2"] {
        assert_eq!(cloud.document(server).current_release, Some(second), "{server}");
    }
}

/// A wish for more or fewer servers is a change of the state alone; what serves is brought to the new ones. Fails where
/// servers beyond the scale are not removed, or are removed while they are needed.
pub(crate) fn servers_come_and_go_with_the_scale() {
    let cloud = TestCloud::new();
    let (number, ..) = cloud.deploy("hello", 2, &[]);
    let scale = |count| {
        let scale = [("app".parse().unwrap(), count)].into();
        cloud.change(Change::Scale { environment: production(), scale, scaled: Scaled::default() });
        assert_eq!(cloud.roll(None, &mut ()).unwrap().end, End::Settled);
        let servers: Vec<String> = cloud.environment().servers.keys().map(ToString::to_string).collect();
        for server in &servers {
            assert_eq!(cloud.document(server).current_release, Some(number), "{server}");
        }
        servers
    };
    assert_eq!(scale(3), ["app-1", "app-2", "app-3"]);
    assert_eq!(scale(1), ["app-1"]);
    assert!(!cloud.server("app-2").exists() && !cloud.server("app-3").exists());
    // A new release does not wait for those that are gone.
    let (number, report, _) = cloud.deploy("hello again", 1, &[]);
    assert_eq!(report.end, End::Serving);
    assert_eq!(cloud.document("app-1").current_release, Some(number));
}

pub(crate) fn a_lost_race_is_told() {
    // Fails without `lost_race`: it would be told only after some server had been told about the newer release.
    let cloud = TestCloud::new();
    cloud.cut("app-1");
    let first = cloud.record("mine", 1, &[]).unwrap();
    let second = cloud.record("theirs", 1, &[]).unwrap();
    let record = Change::RecordServer {
        environment: production(),
        server: "app-1".parse().unwrap(),
        replaces: None,
        details: [("directory".to_owned(), cloud.server("app-1").to_string_lossy().into())].into_iter().collect(),
    };
    cloud.change(record);
    assert_eq!(cloud.roll(Some(first), &mut ()).unwrap().end, End::LostRace { newer: Some(second) });
    cloud.mend("app-1");
    assert_eq!(cloud.roll(Some(second), &mut ()).unwrap().end, End::Serving);
    // It is lost as well when somebody deployed between looking and recording.
    let stale = cloud.environment().release(second).unwrap().release.clone();
    let change =
        Change::RecordRelease { expected: Some(first), release: Box::new(stale), scale: cloud.environment().scale };
    let error = cloud.file().update(change).unwrap_err();
    assert!(matches!(error, StateError::Rejected(Rejected::LostRace { newest, .. }) if newest == second), "{error}");
    assert!(!error.hint().is_empty());
}

pub(crate) fn two_roll_forwards_do_the_work_once() {
    let cloud = TestCloud::new();
    for round in 1..=5u64 {
        let number = cloud.record(&format!("content {round}"), 2, &[]).unwrap();
        assert_eq!(number, ReleaseNumber(round));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(cloud.roll(Some(number), &mut ()).unwrap().end, End::Serving));
            }
        });
        let environment = cloud.environment();
        assert_eq!(environment.releases.len() as u64, round, "a release was recorded twice");
        for server in ["app-1", "app-2"] {
            assert_eq!(cloud.document(server).current_release, Some(number));
            assert!(cloud.document(server).recent_failed_deployments.is_empty());
        }
    }
}

pub(crate) fn a_server_that_refuses_backs_off() {
    let cloud = TestCloud::new();
    let (first, ..) = cloud.deploy("one", 1, &[]);
    std::fs::write(cloud.server("app-1").join("refuse"), "").unwrap();
    // What a server refuses to tell is unknown, and its words are passed on.
    let (second, report, _) = cloud.deploy("two", 1, &[]);
    let End::Unfinished { troubles } = report.end else { panic!("{:?}", report.end) };
    assert!(troubles.values().next().unwrap().contains("the disk is full"), "{troubles:?}");
    assert_eq!(cloud.document("app-1").current_release, Some(first));
    std::fs::remove_file(cloud.server("app-1").join("refuse")).unwrap();
    assert_eq!(cloud.roll(Some(second), &mut ()).unwrap().end, End::Serving);
}

pub(crate) fn destroy_leaves_nothing() {
    let cloud = TestCloud::new();
    let (number, ..) = cloud.deploy("one", 2, &[]);
    cloud.change(Change::Destroy { environment: production() });
    let report = cloud.roll(None, &mut ()).unwrap();
    assert_eq!(report.end, End::Settled);
    assert!(cloud.state().environments.is_empty());
    for server in ["app-1", "app-2"] {
        assert!(!cloud.server(server).join("guestbook/production").exists());
    }
    for prefix in [keys::VERSIONS, keys::HOOKS] {
        assert_eq!(cloud.store.list(prefix).unwrap(), []);
    }
    assert_eq!(cloud.roll(Some(number), &mut ()).unwrap().end, End::LostRace { newer: None });
    // And it can be deployed again.
    assert_eq!(cloud.deploy("one", 1, &[]).1.end, End::Serving);
}

pub(crate) fn it_can_be_cancelled() {
    let cloud = TestCloud::new();
    cloud.deploy("one", 2, &[]);
    cloud.cut("app-2");
    let number = cloud.record("two", 2, &[]).unwrap();
    let begin = std::time::Instant::now();
    let cancel = || begin.elapsed() > Duration::from_millis(300);
    let options = Options {
        environment: Some(production()),
        release: Some(number),
        patience: Duration::from_secs(600),
        cancel: &cancel,
        ..Options::default()
    };
    assert_eq!(roll_forward(cloud.cloud(), &options, &mut ()).unwrap().end, End::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(60));
    cloud.mend("app-2");
    assert_eq!(cloud.roll(Some(number), &mut ()).unwrap().end, End::Serving);
}

pub(crate) fn servers_that_fell_asleep_are_woken() {
    // Fails without the nudge: whoever worked on the server has died, and nobody else would.
    let cloud = TestCloud::new();
    cloud.deploy("one", 1, &[]);
    let asleep = cloud.server("app-1").join("asleep");
    std::fs::write(&asleep, "").unwrap();
    let number = cloud.record("two", 1, &[]).unwrap();
    let told = || cloud.document("app-1").newest_release == number;
    let options =
        Options { environment: Some(production()), release: Some(number), cancel: &told, ..Options::default() };
    assert_eq!(roll_forward(cloud.cloud(), &options, &mut ()).unwrap().end, End::Cancelled);
    std::fs::remove_file(&asleep).unwrap();
    let options = Options { cancel: &|| false, wake: true, ..options };
    assert_eq!(roll_forward(cloud.cloud(), &options, &mut ()).unwrap().end, End::Serving);
}
