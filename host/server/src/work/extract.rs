//! Extracting sources: the archive becomes a directory, whole or not at all.

use jecloud_disk::{archive, durable, tree};
use jecloud_model::app::Failure;

use super::Work;
use crate::error::{ServerError, chain};

pub(super) fn perform(work: &Work<'_>) -> Result<String, ServerError> {
    let release = work.place.release(work.number)?;
    let versions = work.place.root.versions();
    let directory = work.place.root.version(&release.version);
    if tree::exists(&directory)? {
        return Ok("unpacked before".to_owned());
    }
    let path = work.place.root.archive(&release.version);
    let Some(opened) = durable::open(&path)? else {
        return Err(Failure::because(format!(
            "the archive of version {} is not on the server",
            release.version.short()
        ))
        .hint("Deploy again: it is uploaded anew.")
        .into());
    };
    // What was built went with the directory that is not there.
    durable::remove(&work.place.root.built(&release.version))?;
    match archive::unpack(opened, &versions, &release.version, work.owner()) {
        Ok(()) => Ok(String::new()),
        Err(error) if error.is_about_the_archive() => {
            // Whatever is wrong with it, it must not be found again by the next deployment of the same version.
            durable::remove(&path)?;
            Err(Failure::because(format!("version {} cannot be unpacked: {}", release.version.short(), chain(&error)))
                .into())
        }
        Err(error) => Err(error.into()),
    }
}
