//! Compiled hooks on the disk.
//!
//! Machine code is loaded without being looked at, so whoever can write it runs whatever he likes as us. Therefore a
//! file is used only if it is ours, nobody else can open it, and its authentication code (HMAC-SHA256) is right under
//! a random key that is kept the same way. It is read into memory first, then verified, then loaded from there: what
//! was verified is what is run. Everything else is compiled anew and replaced.
//!
//! A file holds the code (32 bytes), then what the compiler made. The code covers the component's digest and the
//! engine too, so that a file cannot stand in for another one.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jecloud_disk::durable;
use jecloud_model::ids::Digest;
use rustix::fs::{FileType, Mode, chmod, fstat, stat};
use rustix::process::geteuid;
use sha2::Sha256;

use crate::SandboxError;

/// One block of the hash: what HMAC takes without hashing the key first.
const KEY_BYTES: usize = 64;
const MAC_BYTES: usize = 32;

/// Of the permission bits, those of others.
const OTHERS: u32 = 0o077;

/// A file that was verified.
pub(crate) struct Stored(Vec<u8>);

impl Stored {
    /// What the compiler made.
    pub(crate) fn artifact(&self) -> &[u8] {
        &self.0[MAC_BYTES..]
    }
}

/// The cache of one engine.
pub(crate) struct Cache {
    dir: PathBuf,
    /// See [`crate::engine::compatibility`].
    compatibility: String,
    max_bytes: usize,
    key: OnceLock<[u8; KEY_BYTES]>,
}

impl Cache {
    pub(crate) fn new(dir: PathBuf, compatibility: String, max_bytes: usize) -> Self {
        Self { dir, compatibility, max_bytes, key: OnceLock::new() }
    }

    /// `DIGEST-ENGINE.cwasm`; of the engine's 64 digits 16 are enough to tell files apart, and the code covers all.
    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}-{}.cwasm", &self.compatibility[..16]))
    }

    /// What was stored for a component by this engine; none where there is nothing, or nothing that can be trusted.
    pub(crate) fn load(&self, digest: &Digest) -> Result<Option<Stored>, SandboxError> {
        let key = self.key()?;
        let Some(bytes) = read_private(&self.path(digest), self.max_bytes + MAC_BYTES)? else { return Ok(None) };
        let Some((mac, artifact)) = bytes.split_at_checked(MAC_BYTES) else { return Ok(None) };
        if self.mac(key, digest, artifact).verify_slice(mac).is_err() {
            return Ok(None);
        }
        Ok(Some(Stored(bytes)))
    }

    /// Stores what was compiled.
    pub(crate) fn store(&self, digest: &Digest, artifact: &[u8]) -> Result<(), SandboxError> {
        let key = self.key()?;
        let mut bytes = self.mac(key, digest, artifact).finalize().into_bytes().to_vec();
        bytes.extend_from_slice(artifact);
        Ok(durable::replace(&self.path(digest), &bytes, 0o600)?)
    }

    fn mac(&self, key: &[u8; KEY_BYTES], digest: &Digest, artifact: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(key.into());
        // Both are of fixed length: no two triples run together to the same bytes.
        mac.update(digest.as_str().as_bytes());
        mac.update(self.compatibility.as_bytes());
        mac.update(artifact);
        mac
    }

    /// The key, made when it is first needed. One that is not private any more is replaced, which makes everything
    /// that it authenticated worthless.
    fn key(&self) -> Result<&[u8; KEY_BYTES], SandboxError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        self.make_private_dir()?;
        let path = self.dir.join("key");
        let stored = || -> Result<Option<[u8; KEY_BYTES]>, SandboxError> {
            Ok(read_private(&path, KEY_BYTES)?.and_then(|bytes| bytes.try_into().ok()))
        };
        let key = match stored()? {
            Some(key) => key,
            None => {
                let mut key = [0; KEY_BYTES];
                getrandom::fill(&mut key).map_err(|error| self.unusable(&path, error.to_string()))?;
                durable::replace(&path, &key, 0o600)?;
                // If two processes make one at the same time, both use the one that stayed.
                stored()?.ok_or_else(|| self.unusable(&path, "it cannot be kept private".to_owned()))?
            }
        };
        Ok(self.key.get_or_init(|| key))
    }

    fn make_private_dir(&self) -> Result<(), SandboxError> {
        durable::create_dirs(&self.dir, 0o700)?;
        let system = |error: rustix::io::Errno| self.unusable(&self.dir, error.to_string());
        let found = stat(&self.dir).map_err(system)?;
        if found.st_uid != geteuid().as_raw() {
            return Err(self.unusable(&self.dir, format!("it belongs to user {}", found.st_uid)));
        }
        if found.st_mode & OTHERS != 0 {
            chmod(&self.dir, Mode::RWXU).map_err(system)?;
        }
        Ok(())
    }

    fn unusable(&self, path: &Path, reason: String) -> SandboxError {
        SandboxError::Cache { path: path.display().to_string(), reason }
    }
}

/// The bytes of a file that belongs to us and that nobody else can open; none for every other file, and where there is
/// none. What is checked is the open file, not the name.
fn read_private(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, SandboxError> {
    let Some(mut file) = durable::open(path)? else { return Ok(None) };
    let unusable = |reason: String| SandboxError::Cache { path: path.display().to_string(), reason };
    let found = fstat(&file).map_err(|error| unusable(error.to_string()))?;
    let is_ours = found.st_uid == geteuid().as_raw()
        && found.st_mode & (OTHERS | 0o7000) == 0
        && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let size = usize::try_from(found.st_size).unwrap_or(usize::MAX);
    if !is_ours || size > max_bytes {
        return Ok(None);
    }
    // One read of the size that it has now: what does not fit that any more fails the verification.
    let mut bytes = vec![0; size];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the test puts a file where another engine would look for its own")]

    use super::*;

    /// Fails where the code does not cover the engine: machine code of another one would be loaded.
    #[test]
    fn a_file_of_another_engine_is_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let cache = |engine: &str| Cache::new(dir.path().join("compiled"), engine.repeat(64), 1000);
        let (ours, theirs) = (cache("a"), cache("b"));
        let digest = Digest::of(b"component");
        theirs.store(&digest, b"machine code").unwrap();
        let load = |cache: &Cache| cache.load(&digest).unwrap().map(|stored| stored.artifact().to_vec());
        assert_eq!(load(&theirs).as_deref(), Some(&b"machine code"[..]));
        assert_eq!(load(&ours), None);
        // Under our name it is still theirs, although the key is the same.
        std::fs::rename(theirs.path(&digest), ours.path(&digest)).unwrap();
        assert_eq!(load(&ours), None);
    }
}
