//! The beginning of a deployment: its objects into the store, its release into the state.

use std::collections::BTreeMap;

use jecloud_model::cloud::{Change, CloudState};
use jecloud_model::ids::{ReleaseNumber, ServerGroup};
use jecloud_model::release::Release;

use crate::object_store::{ObjectStore, StoreError};
use crate::perform::{Sources, store_object};
use crate::progress::{ObjectName, Progress, Reporter};
use crate::roll_forward::Cloud;
use crate::state::{StateError, StateFile};

/// Puts archives and hooks into the store that are not there yet. Done before their release is recorded, so that no
/// release waits for a laptop that was closed. What is uploaded and then not recorded is deleted after a week.
///
/// # Errors
///
/// When it is not certain that all of them are there.
pub fn upload(store: &dyn ObjectStore, sources: &Sources, reporter: &mut dyn Reporter) -> Result<(), StoreError> {
    let hooks = sources.hooks.keys().map(|digest| ObjectName::Hook(digest.clone()));
    let archives = sources.archives.keys().map(|version| ObjectName::Archive(version.clone()));
    for object in hooks.chain(archives) {
        if !store.exists(&object.key())? {
            store_object(store, sources, &object, &mut |progress: Progress| reporter.report(progress))?;
        }
    }
    Ok(())
}

/// A release that is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its number.
    pub number: ReleaseNumber,
    /// The state with it.
    pub state: CloudState,
}

/// Records a release and wants it. `seen` is the state from which the release was made (none where there was none):
/// it gives the release its number, and when somebody recorded another one since, this is refused as a lost race.
///
/// # Errors
///
/// See [`StateError`].
pub fn record_release(
    cloud: Cloud<'_>,
    seen: Option<&CloudState>,
    mut release: Release,
    scale: BTreeMap<ServerGroup, u32>,
) -> Result<Recorded, StateError> {
    let environment = seen.and_then(|state| state.environments.get(&release.environment));
    let expected = environment.and_then(|environment| environment.newest()).map(|newest| newest.release.number);
    release.number = seen.map_or(ReleaseNumber(1), |state| state.next_release(&release.environment));
    // Several servers switch together, those too that are more than wanted by now.
    let servers = environment.map_or(0, |environment| environment.servers.len());
    release.hold = servers > 1 || scale.values().sum::<u32>() > 1;
    let number = release.number;
    let change = Change::RecordRelease { expected, release: Box::new(release), scale };
    let state = StateFile::new(cloud.store, cloud.app, cloud.world).update(change)?;
    Ok(Recorded { number, state })
}
