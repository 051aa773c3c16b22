//! What holds of every change, of every plan, and of who comes first, whatever has happened.

use std::collections::BTreeMap;

use jecloud_model::app::{DeploymentState, Outcome};
use jecloud_model::cloud::{
    Change, CloudState, CloudStep, EnvironmentState, Place, RecordedRelease, SeenCloud, SeenServer, ServerName,
    UNTIL_VISIBLE,
};
use jecloud_model::ids::ServerGroup;
use jecloud_model::release::Release;
use jecloud_model::time::Timestamp;

use crate::production;

/// Whatever is changed: nothing moves backwards.
pub(crate) fn check_change(before: &CloudState, after: &CloudState, change: &Change) {
    assert_eq!(after.generation, before.generation.next());
    let Some(new) = after.environments.get(&production()) else { return };
    let Some(old) = before.environments.get(&production()) else { return };
    assert!(new.next_release >= old.next_release, "a release number was given out twice");
    assert!(new.committed >= old.committed, "a commit was taken back");
    assert!(new.serving >= old.serving, "an older release is said to serve");
    if new.wanted < old.wanted {
        let failed = old.wanted.and_then(|number| new.release(number)).unwrap();
        assert!(!failed.is_pending(), "a release is not wanted any more and has not failed: {change:?}");
        assert_eq!(new.wanted, new.serving);
    }
    for recorded in &old.releases {
        if let Some(now) = new.release(recorded.release.number) {
            assert_eq!(now.release, recorded.release, "a release was changed");
        }
    }
}

/// Whatever is planned: nothing is concluded from what was not seen.
pub(crate) fn check_plan(state: &CloudState, seen: &SeenCloud, steps: &[CloudStep], now: Timestamp) {
    let records = steps.iter().filter(|step| matches!(step, CloudStep::Record(_) | CloudStep::RecordServer(_)));
    let records = records.count();
    assert!(records == 0 || records == steps.len(), "a change of the state does not come alone: {steps:?}");
    let Some(environment) = state.environments.get(&production()) else { return };
    let servers = &seen.servers[&production()];
    for step in steps {
        if let CloudStep::Record(Change::Commit { release, .. }) = step {
            for name in environment.wanted_servers() {
                let SeenServer::Present(seen) = &servers[name] else { panic!("a commit without seeing {name}") };
                let outcome = seen.document.as_ref().unwrap().outcome(*release);
                let refreshes = environment.release(*release).is_some_and(|found| found.release.refreshes.is_some());
                let ready = matches!(&outcome, Outcome::Pending { state } if *state >= DeploymentState::Ready)
                    || outcome == Outcome::Serving
                    || (outcome == Outcome::Unknown && refreshes);
                assert!(ready, "a commit while {name} is not ready: {outcome:?}");
            }
        }
        match step {
            CloudStep::HandRelease(place, number, topology) => {
                let release = &environment.release(*number).unwrap();
                check_order(environment, servers, place, release, !topology.follows);
                assert_eq!(topology.server.as_ref(), Some(&place.server));
            }
            CloudStep::ProceedOnServer(place, number) => {
                check_order(environment, servers, place, environment.release(*number).unwrap(), true);
            }
            CloudStep::Record(Change::Destroyed { .. }) => {
                assert!(environment.servers.is_empty(), "a server is forgotten")
            }
            CloudStep::Record(Change::ForgetServer { server, .. }) => {
                let since = environment.servers[server].unseen_since;
                let is_gone = match servers[server] {
                    SeenServer::Gone => true,
                    SeenServer::Unseen => since.is_some_and(|since| now.since(since) >= UNTIL_VISIBLE),
                    _ => false,
                };
                assert!(is_gone, "{server} may be there, or half made");
            }
            CloudStep::RemoveServer(place) => {
                match &servers[&place.server] {
                    SeenServer::Present(seen) => {
                        assert!(!seen.exists && seen.document.is_none(), "removed with something on it");
                    }
                    SeenServer::Absent => {}
                    other => panic!("removed without a look: {other:?}"),
                }
                assert!(environment.destroying || !environment.wants(&place.server), "removed and wanted");
            }
            _ => {}
        }
    }
}

/// The server whose release commands come before anything starts on a group: the first of its group is always one that
/// was never given up.
pub(crate) fn leader(release: &Release, group: &ServerGroup) -> Option<ServerName> {
    let on = match (release.is_split(), group.as_str()) {
        (true, "jobs") if release.processes.is_empty() => return None,
        (true, "jobs") | (false, _) => "app",
        (true, group) => group,
    };
    Some(format!("{on}-1").parse().unwrap())
}

/// Whoever begins with a release: what it needs has started; and whoever may start: what only one server runs has run.
fn check_order(
    environment: &EnvironmentState,
    servers: &BTreeMap<ServerName, SeenServer>,
    place: &Place,
    wanted: &RecordedRelease,
    may_start: bool,
) {
    let release = &wanted.release;
    let group = place.server.group.as_str();
    let state = |name: &ServerName| {
        let SeenServer::Present(seen) = &servers[name] else { return None };
        let document = seen.document.as_ref()?;
        match document.outcome(release.number) {
            Outcome::Pending { state } => Some(state),
            Outcome::Serving => Some(DeploymentState::Deployed),
            // It may go on with what it has.
            Outcome::Unknown if release.refreshes.is_some() => Some(DeploymentState::Deployed),
            _ => None,
        }
    };
    let first = |group: &str| environment.wanted_servers().find(|name| name.group.as_str() == group);
    let needs_redis = release.is_split() && (group == "app" || (group == "jobs" && !release.processes.is_empty()));
    if needs_redis {
        let database = first("db").expect("a database before those who need it");
        assert!(state(database) >= Some(DeploymentState::Ready), "{} begins before {database}", place.server);
    }
    let leader = leader(release, &place.server.group).filter(|leader| *leader != place.server);
    let is_led = leader.is_some() && wanted.is_pending() && release.repeats.is_none();
    if let Some(leader) = leader.filter(|_| is_led && may_start) {
        assert!(state(&leader) >= Some(DeploymentState::Prepared), "{} starts before {leader}", place.server);
    }
    assert!(is_led || may_start, "{} waits for nobody", place.server);
}
