//! Plans for a state of many servers, again and again: `plan SERVERS COUNT`. For measuring.
//!
//! The servers are in the middle of a deployment, a tenth of them not seen and a tenth not there yet. Prints the medians in
//! microseconds: of one plan, and of reading the same state from its JSON text.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use jecloud_model::app::{AppDocument, DeploymentState, Gates};
use jecloud_model::cloud::{
    Change, CloudState, Objects, Operation, SeenCloud, SeenEnvironment, SeenServer, ServerName, apply, plan,
};
use jecloud_model::ids::{Digest, EnvironmentName, ReleaseNumber, VersionId};
use jecloud_model::release::Release;
use jecloud_model::time::Timestamp;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, count] = arguments.as_slice() else { return Err("usage: plan SERVERS COUNT".into()) };
    let (servers, count): (u32, usize) = (servers.parse()?, count.parse()?);
    let now = Timestamp::from_millisecond(15_000_000_000);
    let version: VersionId = Digest::of(b"a version").as_str().parse()?;
    let state = state(servers, &version, now)?;
    let seen = seen(servers, &version, now)?;
    let text = serde_json::to_vec_pretty(&state)?;

    let (mut plans, mut reads, mut steps) = (Vec::new(), Vec::new(), 0);
    for _ in 0..count {
        let start = Instant::now();
        steps = plan(&state, &seen, now).len();
        plans.push(start.elapsed());
        let start = Instant::now();
        let read: CloudState = serde_json::from_slice(&text)?;
        reads.push(start.elapsed());
        assert!(read == state, "the state is not what was written");
    }
    println!("steps {steps}");
    for (name, mut durations) in [("plan", plans), ("read", reads)] {
        durations.sort_unstable();
        println!("{name} {}", durations[durations.len() / 2].as_micros());
    }
    Ok(())
}

/// A first release on its way to so many servers, all of them recorded.
fn state(servers: u32, version: &VersionId, now: Timestamp) -> Result<CloudState, Box<dyn Error>> {
    let environment = EnvironmentName::production();
    let release: Release = serde_json::from_value(json!({
        "format": 1, "min_writer": 1, "app": "guestbook", "environment": environment, "release": 1, "version": version,
        "services": {}, "processes": {}, "env": {}, "hosts": [], "hold": true, "created": now, "created_by": "ada@laptop",
    }))?;
    let mut state = CloudState::found(&"guestbook".parse()?, &format!("{:032x}", 1).parse()?);
    let wish = Change::RecordRelease {
        expected: None,
        release: Box::new(release),
        scale: BTreeMap::from([("app".parse()?, servers)]),
    };
    let records = (1..=servers).map(|index| {
        Ok::<_, Box<dyn Error>>(Change::RecordServer {
            environment: environment.clone(),
            server: name(index)?,
            replaces: None,
            details: serde_json::Map::new(),
        })
    });
    for (number, change) in (2_u32..).zip(std::iter::once(Ok(wish)).chain(records)) {
        let operation = Operation { id: format!("{number:032x}").parse()?, change: change? };
        state = apply(&state, &operation, now)?;
    }
    Ok(state)
}

/// What such servers look like half-way.
fn seen(servers: u32, version: &VersionId, now: Timestamp) -> Result<SeenCloud, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for index in 1..=servers {
        let seen = match index % 10 {
            0 => SeenServer::Unknown,
            1 => SeenServer::Absent,
            _ => {
                let mut document = AppDocument::default();
                document.request(version, ReleaseNumber(1), Gates { follows: false, hold: true }, now)?;
                if let Some(deployment) = &mut document.deployment {
                    deployment.state = DeploymentState::ALL[index as usize % DeploymentState::ALL.len()];
                }
                let seen = SeenEnvironment { exists: true, document: Some(document), ..SeenEnvironment::default() };
                SeenServer::Present(Box::new(seen))
            }
        };
        all.insert(name(index)?, seen);
    }
    Ok(SeenCloud {
        servers: BTreeMap::from([(EnvironmentName::production(), all)]),
        objects: Some(Objects::default()),
        at_hand: Objects::default(),
    })
}

fn name(index: u32) -> Result<ServerName, Box<dyn Error>> {
    Ok(format!("app-{index}").parse()?)
}
