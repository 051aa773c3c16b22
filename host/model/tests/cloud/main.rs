//! The cloud state and its planner: examples, and random histories on simulated servers.

mod groups;
mod histories;
mod laws;
mod operations;
mod planning;
mod simulation;
mod stored;

use std::collections::BTreeMap;

use jecloud_model::cloud::{Change, CloudState, Operation, Rejected, apply};
use jecloud_model::format::Format;
use jecloud_model::hook::Powers;
use jecloud_model::ids::{Digest, EnvironmentName, OperationId, ReleaseNumber, ServerGroup, VersionId};
use jecloud_model::release::{ProcessWish, Release, ReleaseService};
use jecloud_model::time::Timestamp;

/// Half a year after the epoch, so that things can be older.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_millisecond(15_000_000_000)
}

pub(crate) fn production() -> EnvironmentName {
    EnvironmentName::production()
}

pub(crate) fn version(content: u64) -> VersionId {
    Digest::of(&content.to_le_bytes()).as_str().parse().unwrap()
}

pub(crate) fn hook(content: u64) -> Digest {
    Digest::of(format!("hook {content}").as_bytes())
}

pub(crate) fn operation_id(number: u64) -> OperationId {
    format!("{number:032x}").parse().unwrap()
}

pub(crate) fn scale(count: u32) -> BTreeMap<ServerGroup, u32> {
    BTreeMap::from([("app".parse().unwrap(), count)])
}

pub(crate) fn release(number: u64, content: u64, hold: bool, now: Timestamp) -> Release {
    let service = ReleaseService {
        hook: hook(content % 3),
        settings: serde_json::Map::new(),
        powers: Powers::default(),
        pins: BTreeMap::new(),
        on: None,
        gives: Vec::new(),
        peers: false,
        backup: None,
        apart: false,
    };
    Release {
        format: Format::default(),
        app: "guestbook".parse().unwrap(),
        environment: production(),
        number: ReleaseNumber(number),
        version: version(content),
        services: BTreeMap::from([("node".parse().unwrap(), service)]),
        processes: BTreeMap::new(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        hosts: Vec::new(),
        hold,
        created: now,
        created_by: "ada@laptop".to_owned(),
        repeats: None,
        refreshes: None,
    }
}

/// How many servers of each group there should be.
pub(crate) fn scale_of(groups: &[(&str, u32)]) -> BTreeMap<ServerGroup, u32> {
    groups.iter().map(|(group, count)| (group.parse().unwrap(), *count)).collect()
}

/// The same release with node on `app`, its worker on `jobs`, and on `db` a redis that gives `REDIS_URL`, and with
/// `peers` asks for its servers.
pub(crate) fn split(mut release: Release, worker: bool, peers: bool) -> Release {
    let node = release.services.values().next().cloned().unwrap();
    let redis = ReleaseService {
        hook: hook(7),
        on: "db".parse().ok(),
        gives: vec!["REDIS_URL".to_owned()],
        peers,
        ..node.clone()
    };
    release.services = BTreeMap::from([
        ("node".parse().unwrap(), ReleaseService { on: "app".parse().ok(), ..node }),
        ("redis".parse().unwrap(), redis),
    ]);
    if worker {
        let wish = ProcessWish { on: "jobs".parse().ok(), ..ProcessWish::default() };
        release.processes.insert("worker".parse().unwrap(), wish);
    }
    release
}

/// A state with operations applied to it one after the other.
pub(crate) struct Story {
    pub(crate) state: CloudState,
    pub(crate) now: Timestamp,
    next: u64,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { state: CloudState::found(&"guestbook".parse().unwrap(), &operation_id(1)), now: start(), next: 1 }
    }

    pub(crate) fn try_change(&mut self, change: Change) -> Result<(), Rejected> {
        let operation = Operation { id: operation_id(self.next), change };
        self.next += 1;
        self.state = apply(&self.state, &operation, self.now)?;
        Ok(())
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.try_change(change).unwrap();
    }

    /// Records the next release.
    pub(crate) fn deploy(&mut self, content: u64, servers: u32) -> ReleaseNumber {
        let number = self.state.next_release(&production());
        let expected = self
            .state
            .environments
            .get(&production())
            .and_then(|environment| environment.newest())
            .map(|newest| newest.release.number);
        let release = Box::new(release(number.0, content, servers > 1, self.now));
        self.change(Change::RecordRelease { expected, release, scale: scale(servers) });
        number
    }

    pub(crate) fn environment(&self) -> &jecloud_model::cloud::EnvironmentState {
        &self.state.environments[&production()]
    }

    pub(crate) fn outcome(&mut self, release: ReleaseNumber, outcome: jecloud_model::cloud::ReleaseOutcome) {
        self.change(Change::RecordOutcome { environment: production(), release, outcome });
    }
}
