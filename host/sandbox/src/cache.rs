//! Compiled hooks on the disk.
//!
//! Machine code is loaded without being looked at, so whoever can write it runs whatever he likes as us. Therefore a
//! file is used only if it is ours, nobody else can open it, and its authentication code (BLAKE3 with a key) is right
//! under a random key that is kept the same way. Everything else is compiled anew and replaced.
//!
//! What is mapped is the very file that was verified, not what its name leads to by then. Its bytes can be changed
//! between the two only by a program that runs as us, which needs no file to make us run what it likes. Nothing here
//! ever writes into such a file: a new one takes its name.
//!
//! A file holds what the compiler made, so that it can be mapped as it is, then the code (32 bytes). The code covers
//! the component's digest and the engine too, so that a file cannot stand in for another one.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use jecloud_disk::{durable, tree};
use jecloud_model::ids::Digest;
use rustix::fs::{FileType, Mode, chmod, fstat, stat};
use rustix::process::geteuid;

use crate::SandboxError;

/// What keyed BLAKE3 takes.
const KEY_BYTES: usize = blake3::KEY_LEN;
const MAC_BYTES: usize = blake3::OUT_LEN;

/// How much is read at once: small enough to stay in a processor's second cache, which makes verifying twice as fast
/// as with the whole file in fresh memory.
const CHUNK_BYTES: usize = 128 << 10;

/// Of the permission bits, those of others.
const OTHERS: u32 = 0o077;

/// So many of an engine's 64 digits are in the name of a file.
const ENGINE_DIGITS: usize = 16;

/// Of so many engines the newest what they compiled is kept: that of this JeCloud, and that of the one before it, which
/// may still run.
const KEPT_ENGINES: usize = 2;

/// A file that was verified.
pub(crate) struct Stored(OwnedFd);

impl Stored {
    /// A name by which this very file is opened again, as long as this value lives. Its bytes are what the compiler
    /// made, and the code, which no reader of object files looks at.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
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
        self.dir.join(format!("{digest}-{}.cwasm", &self.compatibility[..ENGINE_DIGITS]))
    }

    /// What was stored for a component by this engine; none where there is nothing, or nothing that can be trusted.
    pub(crate) fn load(&self, digest: &Digest) -> Result<Option<Stored>, SandboxError> {
        let key = self.key()?;
        let path = self.path(digest);
        let Some((mut file, size)) = open_private(&path, self.max_bytes + MAC_BYTES)? else { return Ok(None) };
        let Some(artifact_bytes) = size.checked_sub(MAC_BYTES) else { return Ok(None) };
        let mut mac = self.mac(key, digest);
        let mut chunk = vec![0; CHUNK_BYTES.min(artifact_bytes)];
        let mut left = artifact_bytes;
        let mut found = [0; MAC_BYTES];
        // It is read up to the size that it had when it was opened: what does not fit that any more is not authentic.
        let mut verify = || -> std::io::Result<bool> {
            while left > 0 {
                let part = &mut chunk[..CHUNK_BYTES.min(left)];
                file.read_exact(part)?;
                mac.update(part);
                left -= part.len();
            }
            file.read_exact(&mut found)?;
            // The comparison takes the same time wherever the two differ.
            Ok(mac.finalize() == found)
        };
        match verify() {
            Ok(true) => Ok(Some(Stored(file.into()))),
            Ok(false) => Ok(None),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(unusable(&path, error.to_string())),
        }
    }

    /// Stores what was compiled.
    pub(crate) fn store(&self, digest: &Digest, artifact: &[u8]) -> Result<(), SandboxError> {
        let mut mac = self.mac(self.key()?, digest);
        mac.update(artifact);
        let bytes = [artifact, mac.finalize().as_bytes()].concat();
        durable::replace(&self.path(digest), &bytes, 0o600)?;
        self.prune();
        Ok(())
    }

    /// Removes what engines compiled that nobody uses any more: all but the newest few. What cannot be removed now is
    /// when something is compiled the next time.
    fn prune(&self) {
        let mut engines: BTreeMap<String, (SystemTime, Vec<PathBuf>)> = BTreeMap::new();
        for name in tree::list(&self.dir).unwrap_or_default() {
            let Some(engine) = name.to_str().and_then(engine_of) else { continue };
            let path = self.dir.join(&name);
            let Ok(Some(modified)) = tree::modified(&path) else { continue };
            let (newest, files) = engines.entry(engine.to_owned()).or_insert((modified, Vec::new()));
            *newest = modified.max(*newest);
            files.push(path);
        }
        engines.remove(&self.compatibility[..ENGINE_DIGITS]);
        let mut others: Vec<_> = engines.into_values().collect();
        others.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
        for path in others.into_iter().skip(KEPT_ENGINES - 1).flat_map(|(_, files)| files) {
            let _ = durable::remove(&path);
        }
    }

    /// The beginning of a code, which the artifact's bytes complete.
    fn mac(&self, key: &[u8; KEY_BYTES], digest: &Digest) -> blake3::Hasher {
        let mut mac = blake3::Hasher::new_keyed(key);
        // Both are of fixed length: no two triples run together to the same bytes.
        mac.update(digest.as_str().as_bytes());
        mac.update(self.compatibility.as_bytes());
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
            let Some((mut file, KEY_BYTES)) = open_private(&path, KEY_BYTES)? else { return Ok(None) };
            let mut key = [0; KEY_BYTES];
            file.read_exact(&mut key).map_err(|error| unusable(&path, error.to_string()))?;
            Ok(Some(key))
        };
        let key = match stored()? {
            Some(key) => key,
            None => {
                let mut key = [0; KEY_BYTES];
                getrandom::fill(&mut key).map_err(|error| unusable(&path, error.to_string()))?;
                durable::replace(&path, &key, 0o600)?;
                // If two processes make one at the same time, both use the one that stayed.
                stored()?.ok_or_else(|| unusable(&path, "it cannot be kept private".to_owned()))?
            }
        };
        Ok(self.key.get_or_init(|| key))
    }

    fn make_private_dir(&self) -> Result<(), SandboxError> {
        durable::create_dirs(&self.dir, 0o700)?;
        let system = |error: rustix::io::Errno| unusable(&self.dir, error.to_string());
        let found = stat(&self.dir).map_err(system)?;
        if found.st_uid != geteuid().as_raw() {
            return Err(unusable(&self.dir, format!("it belongs to user {}", found.st_uid)));
        }
        if found.st_mode & OTHERS != 0 {
            chmod(&self.dir, Mode::RWXU).map_err(system)?;
        }
        Ok(())
    }
}

/// By which engine a file of this name was compiled; none for what is no such file.
fn engine_of(name: &str) -> Option<&str> {
    let (_, engine) = name.strip_suffix(".cwasm")?.rsplit_once('-')?;
    (engine.len() == ENGINE_DIGITS).then_some(engine)
}

/// A file of at most `max_bytes` that belongs to us and that nobody else can open, and its size; none for every other
/// file, and where there is none. What is checked is the open file, not the name.
fn open_private(
    path: &Path,
    max_bytes: usize,
) -> Result<Option<(impl Read + Into<OwnedFd> + use<>, usize)>, SandboxError> {
    let Some(file) = durable::open(path)? else { return Ok(None) };
    let found = fstat(&file).map_err(|error| unusable(path, error.to_string()))?;
    let is_ours = found.st_uid == geteuid().as_raw()
        && found.st_mode & (OTHERS | 0o7000) == 0
        && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let size = usize::try_from(found.st_size).unwrap_or(usize::MAX);
    Ok((is_ours && size <= max_bytes).then_some((file, size)))
}

fn unusable(path: &Path, reason: String) -> SandboxError {
    SandboxError::Cache { path: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the test puts a file where another engine would look for its own"
    )]

    use super::*;

    /// Fails when nothing is removed, when what this engine compiled is, and when what is no compiled hook is.
    #[test]
    fn what_the_last_two_engines_compiled_is_kept() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("compiled");
        let cache = |engine: &str| Cache::new(path.clone(), engine.repeat(64), 1000);
        let digests = [Digest::of(b"one"), Digest::of(b"other")];
        for (engine, hours) in [("a", 3), ("b", 1), ("c", 2)] {
            for digest in &digests {
                cache(engine).store(digest, b"machine code").unwrap();
                let file = std::fs::File::open(cache(engine).path(digest)).unwrap();
                file.set_modified(SystemTime::now() - std::time::Duration::from_secs(3600 * hours)).unwrap();
            }
        }
        let kept = |engine: &str| digests.iter().filter(|digest| cache(engine).path(digest).exists()).count();
        // When `c` compiled, `a` was the older one of the two others.
        assert_eq!([kept("a"), kept("b"), kept("c")], [0, 2, 2]);
        cache("d").store(&digests[0], b"machine code").unwrap();
        assert_eq!([kept("b"), kept("c"), kept("d")], [2, 0, 1]);
        assert!(path.join("key").exists());
    }

    /// Fails where the code does not cover the engine: machine code of another one would be loaded.
    #[test]
    fn a_file_of_another_engine_is_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let cache = |engine: &str| Cache::new(dir.path().join("compiled"), engine.repeat(64), 1000);
        let (ours, theirs) = (cache("a"), cache("b"));
        let digest = Digest::of(b"component");
        theirs.store(&digest, b"machine code").unwrap();
        let load = |cache: &Cache| cache.load(&digest).unwrap().map(|stored| std::fs::read(stored.path()).unwrap());
        assert!(load(&theirs).unwrap().starts_with(b"machine code"));
        assert_eq!(load(&ours), None);
        // Under our name it is still theirs, although the key is the same.
        std::fs::rename(theirs.path(&digest), ours.path(&digest)).unwrap();
        assert_eq!(load(&ours), None);
    }
}
