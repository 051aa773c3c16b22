//! The server's state machine and planner, put through thousands of histories: deployments, failures, aborts and
//! deaths in any order. What a step does is simulated here by the few lines that the real performer amounts to.

use std::collections::BTreeMap;
use std::time::Duration;

use jecloud_model::app::{AppDocument, DeploymentState, Failure, Gates, Outcome, RequestRefused, Requested};
use jecloud_model::backup::{BackupState, KEPT_FAILURES, Manifest, Restore, RestoreState, ServerBackup};
use jecloud_model::hook::{Contents, Health, Identity};
use jecloud_model::ids::{
    AppName, BackupId, Digest, EnvironmentName, InstanceId, ReleaseNumber, ServiceName, VersionId,
};
use jecloud_model::limits::Limits;
use jecloud_model::prepared::{Prepared, PreparedRoute};
use jecloud_model::processes::ProcessSpec;
use jecloud_model::rollforward::{DRAIN_TIME, KEEP_VERSIONS, KEEP_VERSIONS_FOR, Seen, Step, plan};
use jecloud_model::time::Timestamp;
use proptest::prelude::*;

fn app() -> AppName {
    "guestbook".parse().expect("a valid name")
}

fn environment() -> EnvironmentName {
    EnvironmentName::production()
}

fn service() -> ServiceName {
    "app".parse().expect("a valid name")
}

fn manifest(id: &BackupId, now: Timestamp) -> Manifest {
    Manifest {
        format: 1,
        id: id.clone(),
        app: app(),
        environment: environment(),
        service: service(),
        created: now,
        release: ReleaseNumber(1),
        hook: Digest::of(b"hook"),
        contents: Contents::default(),
        bytes: 1,
        sealed_bytes: 2,
        sha256: Digest::of(b"sealed"),
        scheduled: false,
        verified: None,
    }
}

fn version(number: u64) -> VersionId {
    format!("{number:064x}").parse().expect("a valid version")
}

fn spec(id: &str, release: ReleaseNumber, argument: &str) -> ProcessSpec {
    ProcessSpec {
        id: id.parse().expect("a valid id"),
        service: "app".parse().expect("a valid name"),
        version: version(release.0),
        argv: vec!["run".to_owned(), argument.to_owned()],
        env: BTreeMap::new(),
        cwd: "/".to_owned(),
        run_as: Identity::App,
        ports: BTreeMap::from([("http".to_owned(), 20_000 + u16::try_from(release.0).unwrap_or(0))]),
        health: Health::StaysUp,
        start_timeout_ms: 1000,
        stop_timeout_ms: 1000,
        limits: Limits::default(),
    }
}

/// A release with one `web` of its own and one `db` that outlives releases.
fn prepared(release: ReleaseNumber) -> Prepared {
    Prepared {
        format: 1,
        release,
        version: version(release.0),
        processes: vec![
            spec(&format!("web.1@{}", release.0), release, "web"),
            spec("db.1", ReleaseNumber(0), &format!("settings of every third release {}", release.0 / 3)),
        ],
        routes: vec![PreparedRoute {
            process: "web".parse().expect("a valid name"),
            port: "http".to_owned(),
            path_prefix: "/".to_owned(),
        }],
        hosts: vec!["guestbook.localhost".to_owned()],
        pins: BTreeMap::new(),
        remember: BTreeMap::new(),
        kept: BTreeMap::new(),
        values: BTreeMap::new(),
        gives: BTreeMap::new(),
    }
}

/// A server, as far as the planner can tell.
#[derive(Debug, Clone, Default)]
struct World {
    document: AppDocument,
    prepared: BTreeMap<ReleaseNumber, Prepared>,
    seen: Seen,
    clock: u64,
    front_answers: bool,
    in_flight: BTreeMap<ReleaseNumber, u64>,
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000).plus(Duration::from_millis(self.clock))
    }

    fn observe(&self) -> Seen {
        let mut seen = self.seen.clone();
        let running = self.document.running_releases();
        seen.prepared =
            self.prepared.iter().filter(|(r, _)| running.contains(r)).map(|(r, p)| (*r, p.clone())).collect();
        seen.in_flight = self.front_answers.then(|| self.in_flight.clone());
        seen
    }

    fn plan(&self) -> Vec<Step> {
        plan(&app(), &environment(), &self.document, &self.observe(), self.now())
    }

    fn request(&mut self, number: u64) -> Result<Requested, RequestRefused> {
        self.request_with(number, Gates::default())
    }

    fn request_with(&mut self, number: u64, gates: Gates) -> Result<Requested, RequestRefused> {
        let release = ReleaseNumber(number);
        self.seen.releases.insert(release, version(number));
        self.document.request(&version(number), release, gates, self.now())
    }

    /// The server is told that what it follows has run.
    fn proceed(&mut self) {
        if let Some(release) = self.document.deployment.as_ref().map(|deployment| deployment.release) {
            self.document.proceed(release).expect("it is being deployed");
        }
    }

    /// Performs a step; `fails` says whether its work fails.
    fn perform(&mut self, step: &Step, fails: bool) {
        let now = self.now();
        match step {
            Step::WriteProcesses(table) => self.seen.process_table = Some(table.clone()),
            Step::LinkCurrent(version) => self.seen.current_link = Some(version.clone()),
            Step::WriteRoutes(routes) => self.seen.route_table = Some(routes.clone()),
            Step::Work(release, state) => {
                let held = self.seen.restore.as_ref().is_some_and(Restore::holds_the_service);
                assert!(!held, "a deployment while data is half replaced");
                let can_fail = *state != DeploymentState::Switching;
                if fails && can_fail {
                    let _ = self.document.fail(*release, Failure::because("of the test"), now);
                    return;
                }
                match state {
                    DeploymentState::ExtractingSources => {
                        self.seen.versions.insert(version(release.0), now);
                    }
                    DeploymentState::Preparing => {
                        self.prepared.insert(*release, prepared(*release));
                    }
                    _ => {}
                }
                if *state == DeploymentState::Deployed {
                    let _ = self.document.succeed(*release, BTreeMap::new(), now);
                } else {
                    let _ = self.document.finish_state(*release, *state);
                }
            }
            Step::Backup(id, state) => self.back_up(id, *state, fails),
            Step::Restore(state) => self.restore(*state, fails),
            Step::ForgetBackups(ids) => self.seen.backups.retain(|id, _| !ids.contains(id)),
            Step::RecordDrained(release) => self.document.drained(*release),
            Step::WaitUntil(until) => {
                assert!(*until > now, "a wait that is over");
                self.clock += u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX);
            }
            Step::DeleteVersions(versions) => self.seen.versions.retain(|version, _| !versions.contains(version)),
            Step::DeleteReleases(releases) => {
                self.seen.releases.retain(|release, _| !releases.contains(release));
                self.prepared.retain(|release, _| !releases.contains(release));
            }
        }
    }

    fn want_backup(&mut self, number: u32, verify: bool) {
        if self.seen.restore.as_ref().is_none_or(|restore| restore.state.is_end()) {
            let id = BackupId::new(self.now(), number.to_be_bytes());
            let wanted = ServerBackup::wanted(id.clone(), service(), verify, false, self.now());
            self.seen.backups.insert(id, wanted);
        }
    }

    fn want_restore(&mut self) {
        if self.seen.restore.as_ref().is_none_or(|restore| restore.state.is_end()) {
            let id = BackupId::new(self.now(), [0; 4]);
            self.seen.restore = Some(Restore::wanted(service(), manifest(&id, self.now()), self.now()));
        }
    }

    /// As the real one: what is not in this state any more is left alone, and where nothing serves there is none.
    fn back_up(&mut self, id: &BackupId, state: BackupState, fails: bool) {
        assert!(self.document.deployment.is_none(), "a backup during a deployment");
        let (now, serves) = (self.now(), self.document.current_release.is_some());
        let others_sealing =
            self.seen.backups.values().any(|other| other.id != *id && other.state == BackupState::Sealing);
        let Some(backup) = self.seen.backups.get_mut(id).filter(|backup| backup.state == state) else { return };
        match state {
            _ if fails || !serves => backup.fail(Failure::because("of the test")),
            BackupState::Copying => {
                assert!(!others_sealing, "a copy takes the place of one that is not sealed yet");
                backup.copied();
            }
            BackupState::Sealing => backup.sealed(manifest(id, now)),
            BackupState::Verifying => backup.verified(now),
            BackupState::Done | BackupState::Failed => panic!("nothing is to be done for it"),
        }
    }

    fn restore(&mut self, state: RestoreState, fails: bool) {
        let runs = |spec: &ProcessSpec| spec.id.release.is_none();
        let database_runs = self.seen.process_table.iter().flat_map(|table| &table.processes).any(runs);
        let serves = self.document.current_release.is_some();
        let copies = self.seen.backups.values().any(ServerBackup::needs_copy);
        let restore = self.seen.restore.as_mut().expect("something is to be restored");
        match state {
            RestoreState::Unsealing => assert!(!copies, "what is not sealed yet would be replaced"),
            RestoreState::Replacing => assert!(!database_runs, "the data of a process that runs is replaced"),
            RestoreState::Checking => assert!(database_runs || !serves, "nobody is there to be asked"),
            RestoreState::Done | RestoreState::Failed => panic!("nothing is to be done for it"),
        }
        match restore.is_putting_back() {
            true => restore.data_is_back(),
            false if fails || !serves => restore.fail(Failure::because("of the test")),
            false => restore.finish_state(state),
        }
    }

    /// What must hold after every single step.
    fn check_laws(&self, served_before: bool) {
        if let Some(routes) = &self.seen.route_table {
            let table = self.seen.process_table.as_ref().expect("routes without processes");
            for backend in routes.routes.iter().flat_map(|route| &route.backends) {
                assert!(table.processes.iter().any(|spec| spec.id == backend.id), "a route leads to no process");
            }
        }
        if let Some(link) = &self.seen.current_link {
            assert!(self.seen.versions.contains_key(link), "current names a version that is gone");
        }
        assert!(!served_before || self.seen.route_table.is_some(), "routes vanished");
        if let Some(waiting) = self.document.deployment.as_ref().filter(|deployment| deployment.follows) {
            let mut running = self.seen.process_table.iter().flat_map(|table| &table.processes);
            assert!(running.all(|spec| spec.version != waiting.version), "it started and was to wait");
        }
    }

    /// Rolls forward until nothing is left to do; returns how many steps that took.
    fn settle(&mut self) -> usize {
        for count in 0..1000 {
            let steps = self.plan();
            let Some(step) = steps.first() else { return count };
            let served = self.seen.route_table.is_some();
            self.perform(step, false);
            self.check_laws(served);
        }
        panic!("no fixpoint: {:#?}", self.plan());
    }
}

#[derive(Debug, Clone)]
enum Act {
    Request { follows: bool },
    Proceed,
    Step { fails: bool, twice: bool },
    Pass(u64),
    InFlight(bool),
    Backup(bool),
    Restore,
    FrontAnswers(bool),
    LoseTables,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => any::<bool>().prop_map(|follows| Act::Request { follows }),
        1 => Just(Act::Proceed),
        12 => (prop::bool::weighted(0.1), any::<bool>()).prop_map(|(fails, twice)| Act::Step { fails, twice }),
        1 => (0u64..40_000).prop_map(Act::Pass),
        1 => any::<bool>().prop_map(Act::InFlight),
        2 => any::<bool>().prop_map(Act::Backup),
        1 => Just(Act::Restore),
        1 => any::<bool>().prop_map(Act::FrontAnswers),
        1 => Just(Act::LoseTables),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Invariants 1, 3 and 6 on the planner: at every instant routes lead to processes that run and `current` to a
    /// version that is there; a step done twice is a step done once; when faults stop, the plan becomes empty and
    /// the newest release that did not fail serves alone.
    ///
    /// Backups and restores in between: all come to an end, no copy takes the place of another one, and data is replaced
    /// while nobody uses it and nothing is deployed.
    ///
    /// Fails without the restore in `wanted_processes`, where a deployment does not wait for `holds_the_service`, where what
    /// is copied comes before what is sealed. Fails without the processes of draining releases in `running_releases`, when `fail` forgets a switched release, and without the empty routes
    /// after a first release that failed.
    #[test]
    fn every_history_reaches_a_fixpoint(acts in prop::collection::vec(act(), 0..120)) {
        let mut world = World { front_answers: true, ..World::default() };
        let mut number = 0;
        let mut backups = 0;
        for act in acts {
            let served = world.seen.route_table.is_some();
            match act {
                Act::Request { follows } => {
                    number += 1;
                    let gates = Gates { follows, hold: false };
                    world.request_with(number, gates).expect("a newer release is accepted");
                }
                Act::Proceed => world.proceed(),
                Act::Step { fails, twice } => {
                    if let Some(step) = world.plan().first().cloned() {
                        world.perform(&step, fails);
                        world.check_laws(served);
                        if twice && !matches!(step, Step::WaitUntil(_)) {
                            let once = world.clone();
                            world.perform(&step, fails);
                            prop_assert_eq!(&once.document, &world.document);
                            // A restore that failed is put back by the same step, which is another one then.
                            if !matches!(step, Step::Restore(_)) {
                                prop_assert_eq!(&once.seen.backups, &world.seen.backups);
                            }
                        }
                    }
                }
                Act::Pass(milliseconds) => world.clock += milliseconds,
                Act::InFlight(some) => {
                    let running = world.document.running_releases();
                    world.in_flight = running.into_iter().map(|release| (release, u64::from(some))).collect();
                }
                Act::Backup(verify) => {
                    backups += 1;
                    world.want_backup(backups, verify);
                }
                Act::Restore => world.want_restore(),
                Act::FrontAnswers(answers) => world.front_answers = answers,
                Act::LoseTables => {
                    // Torn by hand: rewritten from the documents. Routes may not be lost while the front has them.
                    world.seen.process_table = world.seen.process_table.take().filter(|_| world.seen.route_table.is_some());
                }
            }
            world.check_laws(served);
        }
        world.settle();
        // Whoever waits does so without a step that would be done again and again, and then goes on.
        prop_assert!(world.plan().is_empty());
        world.proceed();
        world.settle();
        prop_assert!(world.plan().is_empty());
        prop_assert_eq!(&world.document.deployment, &None);
        prop_assert_eq!(&world.document.draining, &vec![]);
        prop_assert!(world.seen.backups.values().all(|backup| backup.state.is_end()));
        prop_assert!(world.seen.restore.iter().all(|restore| restore.state.is_end()));
        let serving = world.document.current_release;
        let ids: Vec<InstanceId> = world.seen.process_table.iter().flat_map(|t| &t.processes).map(|s| s.id.clone()).collect();
        match serving {
            None => prop_assert!(ids.is_empty()),
            Some(release) => {
                prop_assert_eq!(ids.len(), 2);
                let own: InstanceId = format!("web.1@{}", release.0).parse().expect("a valid id");
                prop_assert!(ids.contains(&own));
                prop_assert_eq!(world.seen.route_table.map(|routes| routes.release), Some(release));
                prop_assert_eq!(world.seen.current_link, Some(version(release.0)));
            }
        }
        if number > 0 {
            let outcome = world.document.outcome(ReleaseNumber(number));
            prop_assert!(matches!(outcome, Outcome::Serving | Outcome::Failed(_)), "{:?}", outcome);
        }
    }
}

#[test]
fn an_undisturbed_deployment() {
    let mut world = World { front_answers: true, ..World::default() };
    world.request(1).expect("accepted");
    world.settle();
    assert_eq!(world.document.current_release, Some(ReleaseNumber(1)));
    world.in_flight.insert(ReleaseNumber(1), 1);
    world.request(2).expect("accepted");
    let began = world.now();
    world.settle();
    // A request in flight holds the old processes for the whole of the drain time, and no longer.
    assert!(world.now().since(began) >= DRAIN_TIME);
    assert!(world.now().since(began) <= DRAIN_TIME + Duration::from_secs(1));
    assert_eq!(world.document.current_release, Some(ReleaseNumber(2)));
}

/// What outlives releases is there before what needs it, and as long as anybody does.
///
/// Fails where the processes of a release begin with those that outlive releases, and where a release that has no use for
/// one ends it under the feet of those that run.
#[test]
fn services_come_first_and_go_last() {
    let ids = |world: &World| -> Vec<String> {
        world.seen.process_table.iter().flat_map(|table| &table.processes).map(|spec| spec.id.to_string()).collect()
    };
    let mut world = World { front_answers: true, ..World::default() };
    world.request(1).expect("accepted");
    let mut seen = Vec::new();
    while world.document.deployment.is_some() {
        let step = world.plan().first().cloned().expect("something to do");
        if matches!(step, Step::Work(_, DeploymentState::StartingServices | DeploymentState::Starting)) {
            seen.push(ids(&world));
        }
        world.perform(&step, false);
    }
    assert_eq!(seen, [vec!["db.1".to_owned()], vec!["db.1".to_owned(), "web.1@1".to_owned()]]);

    // The next release needs no database any more. A request in flight keeps the old one running for a while.
    world.in_flight.insert(ReleaseNumber(1), 1);
    world.request(2).expect("accepted");
    while world.document.current_release != Some(ReleaseNumber(2)) {
        let step = world.plan().first().cloned().expect("something to do");
        world.perform(&step, false);
        if let Some(prepared) = world.prepared.get_mut(&ReleaseNumber(2)) {
            prepared.processes.retain(|spec| spec.id.release.is_some());
        }
        assert!(ids(&world).contains(&"db.1".to_owned()), "{:?}", ids(&world));
    }
    world.in_flight.clear();
    world.settle();
    assert_eq!(ids(&world), ["web.1@2"]);
}

/// Invariant 5 on a server. Fails without the comparison with `newest_release`.
#[test]
fn nothing_moves_backwards() {
    let mut world = World::default();
    world.request(7).expect("accepted");
    assert_eq!(world.request(7), Ok(Requested::Known));
    assert!(matches!(world.request(6), Err(RequestRefused::Backwards { .. })));
    let other = world.document.request(&version(8), ReleaseNumber(7), Gates::default(), world.now());
    assert!(matches!(other, Err(RequestRefused::OtherVersion { .. })));
}

#[test]
fn a_newer_request_aborts_the_one_before() {
    let mut world = World { front_answers: true, ..World::default() };
    world.request(1).expect("accepted");
    let aborted = world.request(2).expect("accepted");
    assert_eq!(aborted, Requested::Recorded { aborted: Some(ReleaseNumber(1)) });
    assert_eq!(world.document.aborted_deployment_versions, vec![version(1)]);
    assert_eq!(world.document.outcome(ReleaseNumber(1)), Outcome::Superseded);
    assert!(world.document.finish_state(ReleaseNumber(1), DeploymentState::ExtractingSources).is_err());
}

#[test]
fn one_that_is_held_waits_for_the_commit() {
    let mut world = World { front_answers: true, ..World::default() };
    let gates = Gates { hold: true, follows: false };
    world.document.request(&version(1), ReleaseNumber(1), gates, world.now()).expect("accepted");
    world.settle();
    assert_eq!(world.document.outcome(ReleaseNumber(1)), Outcome::Pending { state: DeploymentState::Ready });
    assert_eq!(world.seen.route_table, None);
    world.document.commit(ReleaseNumber(1)).expect("it is ready");
    world.settle();
    assert_eq!(world.document.outcome(ReleaseNumber(1)), Outcome::Serving);
}

/// What follows another server prepares all, starts nothing, and has no step that would be done again and again.
///
/// Fails where the planner does not look at `follows`, and where `finish_state` passes the gate by.
#[test]
fn one_that_follows_prepares_and_starts_nothing() {
    for hold in [false, true] {
        let mut world = World { front_answers: true, ..World::default() };
        let gates = Gates { follows: true, hold };
        world.request_with(1, gates).expect("accepted");
        world.settle();
        assert_eq!(world.document.outcome(ReleaseNumber(1)), Outcome::Pending { state: DeploymentState::Prepared });
        assert!(world.prepared.contains_key(&ReleaseNumber(1)), "it has prepared nothing");
        assert_eq!((&world.seen.process_table, world.plan()), (&None, vec![]));
        let mut proceeding = world.document.clone();
        proceeding.proceed(ReleaseNumber(1)).expect("it is told");
        let once = proceeding.clone();
        proceeding.proceed(ReleaseNumber(1)).expect("told twice is told once");
        assert_eq!(proceeding, once);
        assert!(proceeding.proceed(ReleaseNumber(2)).is_err());
        world.document = proceeding;
        world.settle();
        let ready = Outcome::Pending { state: DeploymentState::Ready };
        assert_eq!(world.document.outcome(ReleaseNumber(1)), if hold { ready } else { Outcome::Serving });
        assert!(world.seen.process_table.is_some());
    }
    // One that is told before it has come to the gate finds it open.
    let mut world = World { front_answers: true, ..World::default() };
    world.request_with(1, Gates { follows: true, hold: false }).expect("accepted");
    world.document.proceed(ReleaseNumber(1)).expect("it is told");
    world.settle();
    assert_eq!(world.document.outcome(ReleaseNumber(1)), Outcome::Serving);
    assert_eq!(world.document.proceed(ReleaseNumber(1)), Ok(()), "told twice is told once");
}

/// Fails when `prune` forgets any of what it keeps.
#[test]
fn old_versions_are_pruned_but_for_the_newest_five() {
    let mut world = World { front_answers: true, ..World::default() };
    for number in 1..=9 {
        world.request(number).expect("accepted");
        world.settle();
        world.clock += 1000;
    }
    assert_eq!(world.seen.versions.len(), 9, "all are young");
    world.clock += u64::try_from(KEEP_VERSIONS_FOR.as_millis()).expect("fits");
    world.settle();
    let kept: Vec<VersionId> = world.seen.versions.keys().cloned().collect();
    assert_eq!(kept, (5..=9).map(version).collect::<Vec<_>>());
    assert_eq!(kept.len(), KEEP_VERSIONS);
    assert_eq!(world.seen.releases.keys().map(|r| r.0).collect::<Vec<_>>(), (5..=9).collect::<Vec<_>>());
}

/// Invariant 1 where nothing ever succeeded: the first release failed after its switch, so `current` names it for
/// good. Fails without the rule that pruning keeps `current_link`.
#[test]
fn what_current_names_is_never_pruned() {
    let mut world = World { front_answers: true, ..World::default() };
    for number in 1..=8 {
        world.request(number).expect("accepted");
        let fatal = if number == 1 { DeploymentState::Deployed } else { DeploymentState::Starting };
        while world.document.deployment.is_some() {
            let step = world.plan().first().cloned().expect("something to do");
            let fails = step == Step::Work(ReleaseNumber(number), fatal);
            world.perform(&step, fails);
        }
        world.clock += 1000;
    }
    world.clock += 2 * u64::try_from(KEEP_VERSIONS_FOR.as_millis()).expect("fits");
    world.settle();
    assert_eq!(world.seen.current_link, Some(version(1)));
    assert!(world.seen.versions.contains_key(&version(1)));
    assert!(!world.seen.versions.contains_key(&version(2)));
}

/// Fails where failures are kept for ever, where the newest are forgotten, and where one that was made is.
#[test]
fn old_failures_are_forgotten_and_nothing_else() {
    let mut world = World::default();
    for number in 0..30 {
        world.clock += 1000;
        world.want_backup(number, false);
    }
    let ids: Vec<BackupId> = world.seen.backups.keys().cloned().collect();
    for (number, id) in ids.iter().enumerate() {
        let backup = world.seen.backups.get_mut(id).expect("wanted");
        match number {
            0 => {
                backup.copied();
                backup.sealed(manifest(id, Timestamp::from_millisecond(0)));
            }
            _ => backup.fail(Failure::because("of the test")),
        }
    }
    world.settle();
    let left: Vec<&BackupId> = world.seen.backups.keys().collect();
    assert_eq!(left[0], &ids[0]);
    assert_eq!(left[1..], ids[ids.len() - KEPT_FAILURES..].iter().collect::<Vec<_>>());
}
