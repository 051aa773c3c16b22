//! Other binaries of JeCloud.

use std::path::PathBuf;

use jecloud_testkit::World;

/// Another binary of JeCloud: this one with a few more bytes behind its end, which nobody reads. With a version it says
/// that it is of that one, in the place where every binary says it.
pub(crate) fn another(world: &World, name: &str, version: Option<&str>) -> PathBuf {
    let mut bytes = std::fs::read(world.jecloud_path()).expect("readable");
    if let Some(version) = version {
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(version.len(), own.len(), "it has to fit");
        let (from, to) = (format!("jecloud-binary={own};"), format!("jecloud-binary={version};"));
        let mut places = 0;
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from.as_bytes()) {
            at += found;
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            places += 1;
            at += to.len();
        }
        assert!(places > 0, "it says nowhere which version it is");
    }
    bytes.extend_from_slice(name.as_bytes());
    let path = world.directory().join(name);
    std::fs::write(&path, bytes).expect("written");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    path
}
