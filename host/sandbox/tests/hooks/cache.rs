//! The cache: what it may hold, who may read it, and what is never run.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jecloud_sandbox::{CompileError, Compiler, InProcessCompiler, Limits, Sandbox, SandboxError};
use tempfile::TempDir;

use crate::build::hostile;

/// Counts how often something had to be compiled.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Compiler for Counting {
    fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        InProcessCompiler.compile(component)
    }
}

/// A cache that outlives the sandboxes that use it.
struct Kept {
    dir: TempDir,
    compiled: Counting,
}

impl Kept {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), compiled: Counting::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("sys/hooks/compiled")
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox::with_limits(self.path(), Box::new(self.compiled.clone()), Limits::default()).unwrap()
    }

    /// Loads and calls a hook in a new sandbox; how often that compiled something.
    #[track_caller]
    fn load(&self, name: &str) -> usize {
        let before = self.compiled.0.load(Ordering::SeqCst);
        self.sandbox().load(&hostile(name)).unwrap().describe().unwrap();
        self.compiled.0.load(Ordering::SeqCst) - before
    }

    /// The one compiled hook in it.
    fn artifact(&self) -> PathBuf {
        let is_artifact = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cwasm");
        let found: Vec<PathBuf> =
            std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()).filter(is_artifact).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_hook_is_compiled_once() {
    let kept = Kept::new();
    assert_eq!(kept.load("harmless"), 1);
    assert_eq!(kept.load("harmless"), 0);
    assert_eq!(kept.load("says-no"), 1);
    assert_eq!(kept.load("harmless"), 0);
}

/// Fails with any other mode in the code.
#[test]
fn everything_is_private() {
    let kept = Kept::new();
    kept.load("harmless");
    assert_eq!(mode(&kept.path()), 0o700);
    assert_eq!(mode(&kept.artifact()), 0o600);
    assert_eq!(mode(&kept.path().join("key")), 0o600);
}

/// Every single bit counts. Fails without the verification of the code: some of these crash the test.
#[test]
fn a_changed_file_is_compiled_anew() {
    let kept = Kept::new();
    kept.load("harmless");
    let good = std::fs::read(kept.artifact()).unwrap();
    let changes: [fn(&mut Vec<u8>); 7] = [
        |bytes| bytes[0] ^= 1,
        |bytes| bytes[31] ^= 1,
        |bytes| bytes[32] ^= 1,
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(20),
        |bytes| bytes.clear(),
    ];
    for change in changes {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(kept.artifact(), bytes).unwrap();
        assert_eq!(kept.load("harmless"), 1);
        assert_eq!(kept.load("harmless"), 0, "it was not replaced");
    }
    let middle = good.len() / 2;
    let mut bytes = good.clone();
    bytes[middle] ^= 0x80;
    std::fs::write(kept.artifact(), bytes).unwrap();
    assert_eq!(kept.load("harmless"), 1);
}

/// Fails where the code covers the compiled bytes only: the file of one hook would be run as another.
#[test]
fn a_file_does_not_stand_in_for_another() {
    let kept = Kept::new();
    kept.load("harmless");
    let harmless = kept.artifact();
    let bytes = std::fs::read(&harmless).unwrap();
    std::fs::remove_file(&harmless).unwrap();
    kept.load("says-no");
    std::fs::write(kept.artifact(), bytes).unwrap();
    assert_eq!(kept.load("says-no"), 1);
}

/// Fails without the check of the mode.
#[test]
fn a_file_that_others_can_open_is_compiled_anew() {
    for loose in [0o644, 0o660, 0o606, 0o610, 0o4600] {
        let kept = Kept::new();
        kept.load("harmless");
        set_mode(&kept.artifact(), loose);
        assert_eq!(kept.load("harmless"), 1, "{loose:o}");
        assert_eq!(mode(&kept.artifact()), 0o600);
    }
}

/// A key that others could read authenticates nothing. Fails without the check of the mode of the key.
#[test]
fn a_key_that_others_can_read_is_replaced() {
    let kept = Kept::new();
    kept.load("harmless");
    let key = kept.path().join("key");
    let before = std::fs::read(&key).unwrap();
    set_mode(&key, 0o640);
    assert_eq!(kept.load("harmless"), 1);
    assert_ne!(std::fs::read(&key).unwrap(), before);
    assert_eq!(mode(&key), 0o600);
    // One of another length is none.
    std::fs::write(&key, b"short").unwrap();
    assert_eq!(kept.load("harmless"), 1);
    assert_eq!(kept.load("harmless"), 0);
}

#[test]
fn two_caches_have_two_keys() {
    let (one, two) = (Kept::new(), Kept::new());
    one.load("harmless");
    two.load("harmless");
    assert_ne!(std::fs::read(one.path().join("key")).unwrap(), std::fs::read(two.path().join("key")).unwrap());
}

#[test]
fn a_directory_that_others_can_enter_is_closed() {
    let kept = Kept::new();
    kept.load("harmless");
    set_mode(&kept.path(), 0o755);
    assert_eq!(kept.load("harmless"), 0);
    assert_eq!(mode(&kept.path()), 0o700);
}

/// Fails without the checks of the owner. Only root can give files away, so only there it can be seen.
#[test]
fn what_belongs_to_somebody_else_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let kept = Kept::new();
    kept.load("harmless");
    chown(kept.artifact(), Some(65534), None).unwrap();
    assert_eq!(kept.load("harmless"), 1);
    chown(kept.path().join("key"), Some(65534), None).unwrap();
    assert_eq!(kept.load("harmless"), 1);
    assert_eq!(kept.load("harmless"), 0);
    chown(kept.path(), Some(65534), None).unwrap();
    let error = kept.sandbox().load(&hostile("harmless")).unwrap_err();
    assert!(matches!(&error, SandboxError::Cache { reason, .. } if reason == "it belongs to user 65534"), "{error}");
}

/// What is in the way under the name of a compiled hook is an error or replaced, and never waited for.
#[test]
fn what_is_no_file_is_no_compiled_hook() {
    let kept = Kept::new();
    kept.load("harmless");
    let artifact = kept.artifact();
    let elsewhere = kept.dir.path().join("elsewhere");
    std::fs::rename(&artifact, &elsewhere).unwrap();
    symlink(&elsewhere, &artifact).unwrap();
    // Its target is ours, private and authentic, so nothing is wrong with it.
    assert!(kept.load("harmless") <= 1);
    std::fs::remove_file(&artifact).unwrap();
    symlink("/dev/zero", &artifact).unwrap();
    let outcome = kept.sandbox().load(&hostile("harmless"));
    assert!(outcome.is_ok() || matches!(outcome, Err(SandboxError::Disk(_))), "{outcome:?}");
}

/// A cache that cannot be written is an error that names it, not a slow success.
#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, b"").unwrap();
    let sandbox = Sandbox::new(path.join("compiled"), Box::new(InProcessCompiler)).unwrap();
    let error = sandbox.load(&hostile("harmless")).unwrap_err();
    assert!(matches!(&error, SandboxError::Disk(cause) if cause.to_string().contains("file")), "{error:?}");
}

/// Fails where a component is read although it was compiled before.
#[test]
fn a_known_component_is_read_only_to_be_compiled() {
    let kept = Kept::new();
    let component = hostile("harmless");
    let digest = jecloud_model::ids::Digest::of(&component);
    let read = || Ok::<_, SandboxError>(component.clone());
    let not_read = || -> Result<Vec<u8>, SandboxError> { panic!("it was read") };
    let sandbox = kept.sandbox();
    sandbox.load_known(&digest, read).unwrap().describe().unwrap();
    sandbox.load_known(&digest, not_read).unwrap().describe().unwrap();
    kept.sandbox().load_known(&digest, not_read).unwrap().describe().unwrap();
    assert_eq!(kept.compiled.0.load(Ordering::SeqCst), 1);
}

/// Fails without the comparison in `load_known`: a file under the name of one hook would run as another.
#[test]
fn a_known_component_has_the_digest_that_is_known() {
    let kept = Kept::new();
    let digest = jecloud_model::ids::Digest::of(&hostile("harmless"));
    let other = || Ok::<_, SandboxError>(hostile("says-no"));
    let error = kept.sandbox().load_known(&digest, other).unwrap_err();
    assert!(matches!(error, SandboxError::OtherDigest { .. }), "{error}");
    let missing = || Err(SandboxError::NotAComponent { reason: "there is none".to_owned() });
    assert!(kept.sandbox().load_known(&digest, missing).unwrap_err().to_string().ends_with("there is none"));
    assert_eq!(kept.compiled.0.load(Ordering::SeqCst), 0);
}

/// A sandbox compiles and verifies a hook once, however often it is loaded. Fails without the map of loaded hooks: the
/// file is gone by then.
#[test]
fn a_loaded_hook_stays_in_memory() {
    let kept = Kept::new();
    let sandbox = kept.sandbox();
    sandbox.load(&hostile("harmless")).unwrap();
    std::fs::remove_dir_all(kept.path()).unwrap();
    sandbox.load(&hostile("harmless")).unwrap().describe().unwrap();
    assert_eq!(kept.compiled.0.load(Ordering::SeqCst), 1);
}
