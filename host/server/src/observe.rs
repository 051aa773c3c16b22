//! What there is: the eyes of the planner.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jecloud_disk::{durable, link, tree};
use jecloud_model::app::AppDocument;
use jecloud_model::ids::{ReleaseNumber, VersionId};
use jecloud_model::layout::ServerRoot;
use jecloud_model::rollforward::Seen;
use jecloud_model::time::Timestamp;

use crate::error::ServerError;
use crate::place::Place;

/// How long the front may take to say what is in flight. It answers from memory.
const FRONT_DEADLINE: Duration = Duration::from_millis(500);

/// Looks at everything that `plan` compares.
pub(crate) fn observe(root: &ServerRoot, place: &Place, document: &AppDocument) -> Result<Seen, ServerError> {
    let mut prepared = BTreeMap::new();
    for release in document.running_releases() {
        // A document that cannot be read counts as lost: what runs is left alone, and the deployment goes on.
        if let Ok(Some(found)) = place.prepared(release) {
            prepared.insert(release, found);
        }
    }
    Ok(Seen {
        current_link: link::read(&place.root.current())?.and_then(|name| name.parse().ok()),
        process_table: durable::read_json(&place.root.process_table()).unwrap_or_default(),
        route_table: durable::read_json(&place.root.route_table()).unwrap_or_default(),
        prepared,
        in_flight: if document.draining.is_empty() { None } else { in_flight(root, place) },
        versions: versions(place)?,
        backups: place.backups()?,
        restore: place.restore()?,
        releases: place.releases()?.into_iter().map(|(number, release)| (number, release.version)).collect(),
    })
}

/// Requests in flight by release.
fn in_flight(root: &ServerRoot, place: &Place) -> Option<BTreeMap<ReleaseNumber, u64>> {
    let backends = jecloud_front::client::status(root, Instant::now() + FRONT_DEADLINE).ok()?;
    let mut counts = BTreeMap::new();
    for backend in backends {
        if let (true, true, Some(release)) =
            (backend.app == place.app, backend.environment == place.environment, backend.id.release)
        {
            *counts.entry(release).or_insert(0) += backend.in_flight;
        }
    }
    Some(counts)
}

/// Versions that are there, unpacked or as archives, with the time of their arrival.
fn versions(place: &Place) -> Result<BTreeMap<VersionId, Timestamp>, ServerError> {
    let mut versions = BTreeMap::new();
    for name in tree::list(&place.root.versions())?.into_iter().filter_map(|name| name.into_string().ok()) {
        let id = name.strip_suffix(".tar.bz2").unwrap_or(&name);
        let Ok(version) = id.parse::<VersionId>() else { continue };
        let path = place.root.versions().join(&name);
        let Some(modified) = tree::modified(&path)? else { continue };
        let arrived = Timestamp::from_system(modified);
        let newest = versions.entry(version).or_insert(arrived);
        *newest = arrived.max(*newest);
    }
    Ok(versions)
}
