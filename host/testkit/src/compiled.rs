//! The built-in hooks, compiled once for all worlds.
//!
//! Compiling takes seconds in a debug build, and each world would have to do it. JeCloud itself verifies what it finds
//! in its cache and by which engine it was compiled, so that a stale file here is not used.

#![expect(clippy::disallowed_methods, reason = "files are copied from one world to another")]

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::command::Typed;
use crate::world::base_environment;

/// Where the cache lies in a home.
const CACHE: &str = "server/sys/hooks/compiled";

/// Puts the compiled hooks into a new home.
pub(crate) fn seed(jecloud: &Path, home: &Path) {
    let template = template(jecloud);
    let to = home.join(CACHE);
    private_dir(&to);
    for entry in std::fs::read_dir(template.join(CACHE)).expect("the cache of compiled hooks").flatten() {
        let path = to.join(entry.file_name());
        // A file that is just being written by another test process is not copied, and is not missed.
        if std::fs::copy(entry.path(), &path).is_ok() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
        }
    }
}

/// A home beside the binary in which every built-in hook was compiled. It stays for the next test processes.
fn template(jecloud: &Path) -> PathBuf {
    static IS_MADE: Mutex<bool> = Mutex::new(false);
    let home = jecloud.parent().expect("the directory of the binary").join("compiled-hooks-for-tests");
    let mut is_made = IS_MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*is_made {
        private_dir(&home);
        let mut env = base_environment(&home);
        env.insert("JECLOUD_HOME".to_owned(), home.display().to_string());
        Typed::new(jecloud, &["hook", "inspect", "node"], &home, env).run().ok();
        *is_made = true;
    }
    home
}

fn private_dir(path: &Path) {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path.parent().expect("a parent")).expect("a parent");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).expect("a directory");
}
