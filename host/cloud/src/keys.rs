//! The names of objects in a store.

use jecloud_model::backup::Manifest;
use jecloud_model::ids::{BackupId, Digest, EnvironmentName, VersionId};

/// The cloud state.
pub const STATE: &str = "state.json";

/// What the keys of archives begin with.
pub const VERSIONS: &str = "versions/";

/// What the keys of hooks begin with.
pub const HOOKS: &str = "hooks/";

/// What backups are sealed with.
pub const BACKUP_KEY: &str = "backup-key.json";

/// `backups/ENV/`, or `backups/` for all environments: what the keys of backups begin with.
pub fn backups(environment: Option<&EnvironmentName>) -> String {
    environment.map_or_else(|| "backups/".to_owned(), |environment| format!("backups/{environment}/"))
}

/// `backups/ENV/SERVICE/ID.json`.
pub fn manifest(manifest: &Manifest) -> String {
    format!("{}{}/{}.json", backups(Some(&manifest.environment)), manifest.service, manifest.id)
}

/// `backups/ENV/SERVICE/ID.sealed`.
pub fn sealed(manifest: &Manifest) -> String {
    format!("{}{}/{}.sealed", backups(Some(&manifest.environment)), manifest.service, manifest.id)
}

/// The backup that has this key.
pub fn backup_id(key: &str) -> Option<BackupId> {
    let name = key.rsplit('/').next()?;
    name.strip_suffix(".sealed").or_else(|| name.strip_suffix(".json"))?.parse().ok()
}

/// `secrets/ENV.json`.
pub fn secrets(environment: &EnvironmentName) -> String {
    format!("secrets/{environment}.json")
}

/// `versions/ID.tar.bz2`.
pub fn archive(version: &VersionId) -> String {
    format!("{VERSIONS}{version}.tar.bz2")
}

/// `hooks/SHA256.wasm`.
pub fn hook(digest: &Digest) -> String {
    format!("{HOOKS}{digest}.wasm")
}

/// The version whose archive has this key.
pub fn version_of(key: &str) -> Option<VersionId> {
    key.strip_prefix(VERSIONS)?.strip_suffix(".tar.bz2")?.parse().ok()
}

/// The hook that has this key.
pub fn hook_of(key: &str) -> Option<Digest> {
    key.strip_prefix(HOOKS)?.strip_suffix(".wasm")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        let digest = Digest::of(b"a");
        let version: VersionId = digest.as_str().parse().unwrap();
        assert_eq!(version_of(&archive(&version)), Some(version));
        assert_eq!(hook_of(&hook(&digest)), Some(digest));
        assert_eq!(version_of("versions/.tar.bz2"), None);
        assert_eq!(hook_of("state.json"), None);
    }
}
