//! Scratch instances: a service alone, in a place of its own, into which a backup is restored only to see whether that can
//! be done. It is deployed as any environment is, and destroyed as any is; nobody but this server ever hears of it.

use std::collections::{BTreeMap, BTreeSet};

use jecloud_disk::{durable, tree};
use jecloud_model::app::Gates;
use jecloud_model::backup::{BackupState, ServerBackup};
use jecloud_model::format::Format;
use jecloud_model::ids::{BackupId, Digest, EnvironmentName, ProcessName, ReleaseNumber, VersionId};
use jecloud_model::layout::ServerRoot;
use jecloud_model::release::{Release, ReleaseService};
use jecloud_model::time::Timestamp;
use jecloud_model::topology::Topology;
use serde::{Deserialize, Serialize};

use super::service::Serving;
use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;
use crate::{destroy, users};

/// Its only release.
pub(super) const RELEASE: ReleaseNumber = ReleaseNumber(1);

/// `scratch.json`: what a scratch place is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scratch {
    /// 1.
    pub(super) format: u32,
    /// Of which environment the backup is.
    pub(super) environment: EnvironmentName,
    /// Which backup.
    pub(super) backup: BackupId,
    /// Since when it is there.
    pub(super) since: Timestamp,
    /// Whether the service is of the version that was copied: what is found must be too.
    pub(super) is_same_version: bool,
}

impl Scratch {
    /// What a place is for; none where it is no scratch place.
    pub(crate) fn of(place: &Place) -> Result<Option<Self>, ServerError> {
        match place.environment.is_scratch() {
            true => Ok(durable::read_json(&place.root.scratch_document())?),
            false => Ok(None),
        }
    }

    /// The place of the environment whose backup it is.
    pub(super) fn origin(&self, root: &ServerRoot, scratch: &Place) -> Place {
        Place::new(root, &scratch.app, &self.environment)
    }
}

/// Where the scratch instance of a backup is, or would be.
pub(super) fn place(root: &ServerRoot, of: &Place, id: &BackupId) -> Place {
    Place::new(root, &of.app, &EnvironmentName::scratch(id))
}

/// Makes the scratch place of a backup, with the service as it serves, and wishes it deployed. Killed at any point and done
/// again, it ends the same.
pub(super) fn make(
    server: &Server,
    of: &Place,
    serving: &Serving,
    backup: &ServerBackup,
) -> Result<Place, ServerError> {
    let place = place(&server.root, of, &backup.id);
    place.make()?;
    if Scratch::of(&place)?.is_none() {
        let is_same_version =
            backup.manifest.as_ref().is_some_and(|manifest| manifest.release == serving.release.number);
        let (environment, id) = (of.environment.clone(), backup.id.clone());
        let scratch = Scratch { format: 1, environment, backup: id, since: now(), is_same_version };
        durable::write_json(&place.root.scratch_document(), &scratch, 0o600)?;
    }
    if let Some(secrets) = durable::read(&of.root.secrets())? {
        durable::replace(&place.root.secrets(), &secrets, 0o600)?;
    }
    let release = release(&place, serving, backup);
    // Nothing of the app is in it: the service is alone.
    durable::create_dirs(&place.root.version(&release.version), users::PRIVATE)?;
    if place.document()?.newest_release < RELEASE {
        place.write_topology(RELEASE, &Topology::default())?;
        place.write_release(&release)?;
        place.change(|document| document.request(&release.version, RELEASE, Gates::default(), now()))??;
    }
    Ok(place)
}

/// The release that serves, but for everything that is not the service's.
fn release(place: &Place, serving: &Serving, backup: &ServerBackup) -> Release {
    let service = &backup.service;
    let of_service = serving.release.services.get(service).map(|wish| {
        // What the release resolved to is what runs.
        let mut pins = wish.pins.clone();
        pins.extend(serving.prepared.pins.get(service).cloned().unwrap_or_default());
        (
            service.clone(),
            ReleaseService { pins, on: None, gives: Vec::new(), peers: false, backup: None, ..wish.clone() },
        )
    });
    let own = serving.prepared.processes.iter().filter(|spec| spec.service == *service);
    let own: BTreeSet<&ProcessName> = own.map(|spec| &spec.id.process).collect();
    let wishes = serving.release.processes.iter().filter(|(name, _)| own.contains(name));
    Release {
        format: Format::default(),
        app: place.app.clone(),
        environment: place.environment.clone(),
        number: RELEASE,
        version: nothing(),
        services: of_service.into_iter().collect(),
        processes: wishes
            .map(|(name, wish)| (name.clone(), jecloud_model::release::ProcessWish { on: None, ..wish.clone() }))
            .collect(),
        env: BTreeMap::new(),
        secrets: serving.release.secrets.clone(),
        hosts: Vec::new(),
        hold: false,
        created: now(),
        created_by: format!("backup {}", backup.id),
        repeats: None,
        refreshes: None,
    }
}

/// The version of a source tree without files: two blocks of zeros are its tar stream.
fn nothing() -> VersionId {
    let digest = Digest::of(&[0; 1024]);
    digest.as_str().parse().unwrap_or_else(|_| unreachable!("both are SHA-256"))
}

/// Destroys the scratch place of a backup, if there is one.
pub(super) fn remove(server: &Server, of: &Place, id: &BackupId) -> Result<(), ServerError> {
    destroy::destroy(server, &place(&server.root, of, id))
}

/// Whether a backup needs this scratch place. Who finds one that none needs destroys it.
pub(crate) fn is_needed(server: &Server, place: &Place) -> Result<bool, ServerError> {
    // Without its document it is half made or half destroyed: who verifies makes it anew.
    let Some(scratch) = Scratch::of(place)? else { return Ok(false) };
    let backup = scratch.origin(&server.root, place).backup(&scratch.backup)?;
    Ok(backup.is_some_and(|backup| backup.state == BackupState::Verifying))
}

/// The scratch places of an environment.
pub(crate) fn all_of(server: &Server, of: &Place) -> Result<Vec<Place>, ServerError> {
    let mut places = Vec::new();
    for name in tree::list(&server.root.path().join(of.app.as_str()))? {
        let Some(Ok(environment)) = name.to_str().map(str::parse::<EnvironmentName>) else { continue };
        let place = Place::new(&server.root, &of.app, &environment);
        if Scratch::of(&place)?.is_some_and(|scratch| scratch.environment == of.environment) {
            places.push(place);
        }
    }
    Ok(places)
}
