//! Putting back: what was to be brought back is of no use, and the service gets the data that it had before.

use jecloud_disk::tree;
use jecloud_model::backup::Restore;

use super::replace::stopped;
use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;

/// Killed at any point and done again, it ends the same.
pub(super) fn perform(server: &Server, place: &Place, restore: &Restore) -> Result<(), ServerError> {
    stopped(server, place, restore, &|| false)?;
    let (data, before) = (place.root.service(&restore.service), place.root.service_before(&restore.service));
    // Where it was not kept yet, nothing was replaced.
    if tree::exists(&before)? {
        tree::remove(&data)?;
        tree::rename(&before, &data)?;
    }
    place.change_restore(Restore::data_is_back)?;
    super::clean(place, restore)
}
