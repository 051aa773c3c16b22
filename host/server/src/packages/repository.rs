//! Repositories beside those of the distribution: their keys and the files by which package managers know them.

use std::path::Path;

use jecloud_disk::{durable, tree};
use jecloud_model::app::Failure;
use jecloud_model::repository::Repository;

use super::archive;
use crate::error::ServerError;

/// The largest key that is fetched: real ones have a few kilobytes.
const LARGEST_KEY: u64 = 1 << 20;

/// The file of a repository's key, fetched and verified if it is not there, and what is in it.
///
/// # Errors
///
/// A [`Failure`] where it cannot be fetched, or is not what its sum says.
pub(super) fn key(repository: &Repository, path: &Path, cancel: &dyn Fn() -> bool) -> Result<Vec<u8>, ServerError> {
    let is_it = |bytes: &Vec<u8>| jecloud_model::ids::Digest::of(bytes) == repository.key_sha256;
    if let Some(bytes) = durable::read_at_most(path, LARGEST_KEY)?.filter(is_it) {
        return Ok(bytes);
    }
    if let Some(directory) = path.parent() {
        durable::create_dirs(directory, 0o755)?;
    }
    archive::fetch(&repository.key, path, &repository.key_sha256, cancel)?;
    // Those who verify do so as a user without rights.
    tree::set_mode(path, 0o644)?;
    let bytes = durable::read_at_most(path, LARGEST_KEY)?;
    bytes.ok_or_else(|| Failure::because(format!("the key {} is not a key", repository.key)).into())
}

/// Writes the file by which a package manager knows a repository; whether it had to be written.
pub(super) fn write(path: &Path, text: &str) -> Result<bool, ServerError> {
    if durable::read_text(path)?.as_deref() == Some(text) {
        return Ok(false);
    }
    if let Some(directory) = path.parent() {
        durable::create_dirs(directory, 0o755)?;
    }
    durable::replace(path, text.as_bytes(), 0o644)?;
    Ok(true)
}
