//! Unsealing: the sealed file is opened and unpacked beside the service's data. The service runs, and nothing of it changes.

use std::cell::RefCell;
use std::io::{self, BufReader, Read};

use jecloud_disk::{DiskError, Limits, durable, snapshot, tree};
use jecloud_model::app::Failure;
use jecloud_model::backup::Restore;
use jecloud_model::ids::Digest;
use jecloud_seal::Opener;
use lz4_flex::frame::FrameDecoder;
use sha2::{Digest as _, Sha256};

use super::super::service::{Serving, context};
use crate::error::ServerError;
use crate::work::Work;

/// What is left free of the disk in any case.
const SLACK: u64 = 64 << 20;

pub(super) fn perform(work: &Work<'_>, restore: &Restore) -> Result<(), ServerError> {
    let serving = Serving::read(work.place, work.number)?;
    let asked = super::asked(work, &serving, restore)?;
    // Asking does nothing: a hook that will not have this copy says so before anything of the service stops.
    let context = context(&asked, work, &serving, Some(&restore.manifest.contents.version));
    asked.restore(&context, &[], &serving.prepared.ports(&restore.service))?;
    let into = work.place.root.service_restoring(&restore.service);
    if tree::exists(&into)? {
        // It has its name only when it is whole.
        return Ok(());
    }
    enough_space(work, restore)?;
    let (path, key) = super::sealed(work)?;
    let gone =
        |what: &str| Failure::because(format!("{what} is gone from the server")).hint("Bring it back once more.");
    let Some(key) = key else { return Err(gone("the key of backups").into()) };
    let Some(file) = durable::open(&path)? else { return Err(gone("the sealed file").into()) };
    let stopped = || (work.cancel)();
    let hash = RefCell::new(Sha256::new());
    let hashed = Hashed { inner: file, hash: &hash, stopped: &stopped };
    let opener = Opener::new(&key, BufReader::with_capacity(128 << 10, hashed)).map_err(damaged)?;
    let limits = Limits { bytes: restore.manifest.bytes, ..Limits::default() };
    let expected = restore.manifest.sha256.clone();
    let unpacked = snapshot::unpack(FrameDecoder::new(opener), &into, work.owner(), &limits, |packed| {
        // To the very end: only then it is known that nothing is missing.
        io::copy(&mut packed.into_inner(), &mut io::sink()).map_err(damaged)?;
        let found = Digest::from_sha256(hash.take().finalize().into());
        match found == expected {
            true => Ok(()),
            false => Err(DiskError::Damaged {
                what: "it is another file than the one that its manifest is of",
                source: None,
            }),
        }
    });
    unpacked.map_err(|error| match error.is_about_the_archive() {
        true => Failure::because(crate::error::chain(&error))
            .hint("Bring it back once more, or take another backup.")
            .into(),
        false => ServerError::from(error),
    })
}

fn damaged(source: io::Error) -> DiskError {
    DiskError::Damaged { what: "it cannot be opened", source: Some(source) }
}

/// Room for the copy, for what the hook makes of it, and for the data that there was before.
fn enough_space(work: &Work<'_>, restore: &Restore) -> Result<(), ServerError> {
    let data = work.place.root.service(&restore.service);
    let before = if tree::exists(&data)? { tree::size(&data)? } else { 0 };
    let needed = restore.manifest.bytes.saturating_mul(2).saturating_add(before).saturating_add(SLACK);
    let free = tree::free_bytes(work.place.root.path())?;
    if free >= needed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Failure::because(format!(
        "there are {} MiB free on the server's disk, and {} MiB are needed: for the copy, for what the service makes of it, and \
         for the data that it has now until all is well",
        mib(free),
        mib(needed)
    ))
    .hint("Make room on the server, then bring it back once more.")
    .into())
}

/// Reads, and hashes what was read.
struct Hashed<'a, R> {
    inner: R,
    hash: &'a RefCell<Sha256>,
    stopped: &'a dyn Fn() -> bool,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stopped)() {
            return Err(io::Error::other("it is not wanted any more"));
        }
        let read = self.inner.read(buffer)?;
        self.hash.borrow_mut().update(&buffer[..read]);
        Ok(read)
    }
}
