//! Sealing: the copy becomes one file that nobody can read or change without the key. In constant memory.

use std::io::{self, Write};

use jecloud_disk::{durable, snapshot, tree};
use jecloud_model::app::{Failure, Stale};
use jecloud_model::backup::{Manifest, ServerBackup};
use jecloud_seal::Sealer;
use lz4_flex::frame::FrameEncoder;

use super::copy::Copied;
use crate::error::ServerError;
use crate::work::Work;

/// Does it again whenever it is done: the copy is there until the sealed file is recorded.
pub(super) fn perform(work: &Work<'_>, backup: &ServerBackup) -> Result<(), ServerError> {
    let place = work.place;
    let directory = super::directory(place, &backup.service);
    let copied: Option<Copied> = durable::read_json(&place.root.backup_steps(&backup.id))?;
    let Some(copied) = copied.filter(|_| tree::is_dir(&directory).unwrap_or(false)) else {
        return place.change_backup(&backup.id, ServerBackup::begin_anew);
    };
    let Some(key) = place.backup_key()? else {
        return Err(Failure::because(format!(
            "{} cannot be sealed: the key is gone from the server",
            super::what(backup)
        ))
        .hint("The service runs on. Ask for a backup again from where the app is deployed: that brings the key.")
        .into());
    };
    let sealed = durable::replace_with(&place.root.backup_file(&backup.id), 0o600, |out| {
        let failed = |source: io::Error| jecloud_disk::DiskError::Io {
            action: "write",
            path: place.root.backup_file(&backup.id),
            source,
        };
        let out = Cancellable { out, cancel: work.cancel };
        let mut packed = FrameEncoder::new(Sealer::new(&key, out).map_err(failed)?);
        let bytes = snapshot::pack(&directory, &mut packed)?;
        let sealer = packed.finish().map_err(|error| failed(io::Error::from(error)))?;
        let (_, totals) = sealer.finish().map_err(failed)?;
        Ok::<_, ServerError>((bytes, totals))
    });
    let (bytes, totals) = match sealed {
        // What was not written to its end is written anew when there is time for it.
        Err(_) if (work.cancel)() => return Err(Stale(work.number).into()),
        sealed => sealed?,
    };
    let manifest = Manifest {
        format: 1,
        id: backup.id.clone(),
        app: place.app.clone(),
        environment: place.environment.clone(),
        service: backup.service.clone(),
        created: copied.created,
        release: copied.release,
        hook: copied.hook,
        contents: copied.contents,
        bytes,
        sealed_bytes: totals.sealed_bytes,
        sha256: totals.sha256,
        scheduled: backup.scheduled,
        verified: None,
    };
    place.change_backup(&backup.id, |backup| backup.sealed(manifest))?;
    durable::remove(&place.root.backup_steps(&backup.id))?;
    tree::remove(&directory)?;
    Ok(())
}

/// Ends when it is not wanted any more.
struct Cancellable<'a> {
    out: &'a mut (dyn Write + Send),
    cancel: &'a dyn Fn() -> bool,
}

impl Write for Cancellable<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if (self.cancel)() {
            return Err(io::Error::other("it is not wanted now"));
        }
        self.out.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
