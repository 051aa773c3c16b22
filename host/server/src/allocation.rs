//! Giving out ports: each release has a document with the ports of its instances, made once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_disk::durable;
use jecloud_disk::lock::Lock;
use jecloud_model::app::Failure;
use jecloud_model::ids::{InstanceId, ReleaseNumber};

use crate::error::ServerError;
use crate::place::Place;
use crate::ports;
use crate::server::Server;

/// Ports by instance and name: `releases/N/ports.json`.
pub type Ports = BTreeMap<InstanceId, BTreeMap<String, u16>>;

/// How long giving out ports waits for another deployment that does the same.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

fn path(place: &Place, release: ReleaseNumber) -> PathBuf {
    place.root.release(release).join("ports.json")
}

fn read(place: &Place, release: ReleaseNumber) -> Result<Option<Ports>, ServerError> {
    Ok(durable::read_json(&path(place, release))?)
}

/// The ports of a release; chosen at the first call, the same ever after. An instance that outlives releases keeps
/// those that it has. A port whose name is a number is that number.
pub fn ports_of(
    server: &Server,
    place: &Place,
    release: ReleaseNumber,
    current: Option<ReleaseNumber>,
    needs: &[(InstanceId, Vec<String>)],
) -> Result<Ports, ServerError> {
    let _lock = Lock::acquire(&server.root.pid_file("ports"), Instant::now() + LOCK_DEADLINE)?;
    let known = read(place, release)?.unwrap_or_default();
    let kept = match current {
        Some(current) => read(place, current)?.unwrap_or_default(),
        None => Ports::new(),
    };
    let mut taken = taken(server, place, release)?;
    let mut given = Ports::new();
    for (instance, names) in needs {
        let mut of_instance = BTreeMap::new();
        for name in names {
            let earlier = known
                .get(instance)
                .or_else(|| kept.get(instance).filter(|_| instance.release.is_none()))
                .and_then(|ports| ports.get(name));
            let port = match (earlier, name.parse::<u16>()) {
                (_, Ok(fixed)) => fixed,
                (Some(port), _) => *port,
                (None, _) => ports::choose(seed(server, place), &taken, &ports::is_free)
                    .ok_or_else(|| Failure::because("no port is free on the server"))?,
            };
            taken.insert(port);
            of_instance.insert(name.clone(), port);
        }
        given.insert(instance.clone(), of_instance);
    }
    if given != known {
        durable::create_dirs(&place.root.release(release), 0o700)?;
        durable::write_json(&path(place, release), &given, 0o644)?;
    }
    Ok(given)
}

/// The ports that other releases have which run or are being deployed.
fn taken(server: &Server, place: &Place, release: ReleaseNumber) -> Result<BTreeSet<u16>, ServerError> {
    let mut taken = BTreeSet::new();
    for other in Place::all(&server.root)? {
        let document = other.document()?;
        let deploying = document.deployment.as_ref().map(|deployment| deployment.release);
        for number in document.running_releases().into_iter().chain(deploying) {
            if other.root != place.root || number != release {
                taken.extend(read(&other, number)?.unwrap_or_default().values().flat_map(BTreeMap::values));
            }
        }
    }
    Ok(taken)
}

/// Where in the range the search begins.
fn seed(server: &Server, place: &Place) -> u64 {
    let key = format!("{} {} {}", server.root.path().display(), place.app, place.environment);
    let digest = jecloud_model::ids::Digest::of(key.as_bytes());
    u64::from_str_radix(digest.short(), 16).unwrap_or(0)
}
