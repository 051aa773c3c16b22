//! What is in a directory, to be compared.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// By path: what it is.
pub(crate) type Snapshot = BTreeMap<String, Item>;

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// With its mode.
    Directory(u32),
    /// With its mode and content.
    File(u32, Vec<u8>),
    /// With its target.
    Link(String),
}

/// All of a directory.
pub(crate) fn of(dir: &Path) -> Snapshot {
    let mut all = Snapshot::new();
    add(dir, dir, &mut all);
    all
}

fn add(root: &Path, dir: &Path, all: &mut Snapshot) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let found = path.symlink_metadata().unwrap();
        let mode = found.permissions().mode() & 0o7777;
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let item = if found.is_dir() {
            add(root, &path, all);
            Item::Directory(mode)
        } else if found.is_symlink() {
            Item::Link(fs::read_link(&path).unwrap().to_string_lossy().into_owned())
        } else {
            Item::File(mode, fs::read(&path).unwrap())
        };
        all.insert(name, item);
    }
}

/// Whether everything in a directory, and itself, belongs to this owner.
pub(crate) fn all_belong_to(path: &Path, owner: (u32, u32)) -> bool {
    let found = path.symlink_metadata().unwrap();
    (found.uid(), found.gid()) == owner
        && (!found.is_dir() || fs::read_dir(path).unwrap().all(|entry| all_belong_to(&entry.unwrap().path(), owner)))
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    use std::io::Write as _;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(content.as_ref()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
