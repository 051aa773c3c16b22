//! Links that say which of several directories is the current one.

use std::io;
use std::path::Path;

use crate::error::{DiskError, Result, at};
use crate::temporary::{name_beside, parent_of};
use crate::{durable, fault};

/// Points the link at `target_name`, an entry of the directory that holds the link, durably.
///
/// At every instant the link names the old target or the new one; there is no instant without a link, once there was
/// one.
///
/// # Errors
///
/// [`DiskError::Invalid`] for a target that is not a single name, that does not exist, or a link that is something
/// else than a link; [`DiskError::Io`].
pub fn switch(link: &Path, target_name: &str) -> Result<()> {
    let refuse = |rule| DiskError::Invalid { path: link.to_owned(), value: target_name.to_owned(), rule };
    if target_name.contains(['/', '\0']) || matches!(target_name, "" | "." | "..") {
        return Err(refuse("a link's target is a name beside it"));
    }
    let parent = parent_of(link);
    if parent.join(target_name).symlink_metadata().is_err() {
        return Err(refuse("there is nothing of that name beside the link"));
    }
    match link.symlink_metadata() {
        Ok(found) if !found.is_symlink() => return Err(refuse("something that is not a link has the link's name")),
        _ => {}
    }
    if read(link)?.as_deref() != Some(target_name) {
        replace(link, target_name)?;
    }
    // Also where the link was right: whoever switched it may have died before this.
    fault::point("link.sync-parent").map_err(at("sync the directory of", link))?;
    durable::sync_dir(parent)?;
    fault::point("link.done").map_err(at("switch", link))
}

fn replace(link: &Path, target_name: &str) -> Result<()> {
    loop {
        fault::point("link.create").map_err(at("switch", link))?;
        let temporary = name_beside(link);
        match std::os::unix::fs::symlink(target_name, &temporary) {
            // Left behind by an earlier process that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(at("switch", link))?,
        }
        let renamed = fault::point("link.switch").and_then(|()| std::fs::rename(&temporary, link));
        match renamed {
            Ok(()) => return Ok(()),
            // A link cannot be locked, so a sweeper may have taken it for a left-over.
            Err(error) if error.kind() == io::ErrorKind::NotFound && parent_of(link).is_dir() => {}
            Err(error) => {
                // What cannot be removed now is swept later.
                let _ = std::fs::remove_file(&temporary);
                return Err(at("switch", link)(error));
            }
        }
    }
}

/// What the link names; none where there is no link.
///
/// # Errors
///
/// [`DiskError::Io`], also where something that is not a link has this name.
pub fn read(link: &Path) -> Result<Option<String>> {
    match std::fs::read_link(link) {
        Ok(target) => match target.into_os_string().into_string() {
            Ok(target) => Ok(Some(target)),
            Err(_) => Err(at("read the link", link)(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read the link", link)(error)),
    }
}
