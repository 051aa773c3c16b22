//! Giving out ports: each release has a document with the ports of its instances, made once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jecloud_disk::durable;
use jecloud_disk::lock::Lock;
use jecloud_model::app::Failure;
use jecloud_model::ids::{InstanceId, ProcessName, ReleaseNumber};

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
    if known.is_empty() {
        let names = needs.iter().flat_map(|(instance, names)| names.iter().map(|name| (&instance.process, name)));
        refuse_taken(&kept, &taken, names)?;
    }
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

/// Looks whether the fixed ports among these can be had, before anything is done for a release that needs them.
///
/// # Errors
///
/// A [`Failure`] that names a port that another app or another program has.
pub(crate) fn check_fixed<'a>(
    server: &Server,
    place: &Place,
    release: ReleaseNumber,
    current: Option<ReleaseNumber>,
    names: impl Iterator<Item = (&'a ProcessName, &'a String)>,
) -> Result<(), ServerError> {
    let kept = current.map(|current| read(place, current)).transpose()?.flatten().unwrap_or_default();
    refuse_taken(&kept, &taken(server, place, release)?, names)
}

/// `kept` is what the release has that runs: those ports are in use, and by us.
fn refuse_taken<'a>(
    kept: &Ports,
    taken: &BTreeSet<u16>,
    names: impl Iterator<Item = (&'a ProcessName, &'a String)>,
) -> Result<(), ServerError> {
    let ours: BTreeSet<u16> = kept.values().flat_map(BTreeMap::values).copied().collect();
    for (process, name) in names {
        let Ok(port) = name.parse::<u16>() else { continue };
        if ours.contains(&port) {
            continue;
        }
        let (who, hint) = if taken.contains(&port) {
            ("another app on this server", "Give one of the two another port, or a server of its own.".to_owned())
        } else if !ports::is_free(port) {
            let hint = format!("`ss -ltnp 'sport = :{port}'` shows which one: end it, then deploy again.");
            ("another program on this server", hint)
        } else {
            continue;
        };
        return Err(Failure::because(format!("{process} must listen on port {port}, which {who} has"))
            .hint(hint)
            .into());
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Fails where the machine is not looked at, and where what runs already is in its own way.
    #[test]
    fn a_fixed_port_that_somebody_has_is_refused() {
        let foreign = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = foreign.local_addr().expect("an address").port();
        let (process, name): (ProcessName, _) = ("clock".parse().expect("a name"), port.to_string());
        let look = |kept: &Ports, taken: &[u16]| {
            let names = [(&process, &name)];
            let looked = refuse_taken(kept, &taken.iter().copied().collect(), names.into_iter());
            looked.err().map(|error| error.into_failure().expect("a failure"))
        };
        let refused = look(&Ports::new(), &[]).expect("it is in use");
        assert_eq!(
            refused.reason,
            format!("clock must listen on port {port}, which another program on this server has")
        );
        assert!(refused.hint.contains(&format!("sport = :{port}")), "{}", refused.hint);
        let instance = InstanceId { process: process.clone(), index: 1, release: None };
        let kept = Ports::from([(instance, BTreeMap::from([(name.clone(), port)]))]);
        assert_eq!(look(&kept, &[port]), None);
        drop(foreign);
        assert_eq!(look(&Ports::new(), &[]), None);
        assert!(
            look(&Ports::new(), &[port])
                .is_some_and(|refused| refused.reason.ends_with("another app on this server has"))
        );
    }
}
