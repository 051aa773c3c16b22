//! Looking into a tree that may be hostile: links are followed only as long as they stay inside.

use std::io::{self, Read as _};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::error::{DiskError, Result, at};

/// All regular files and links of a tree, relative to it, sorted; those without a UTF-8 name are left out, and so are
/// those below a directory of the name `skip`. Links to directories are not entered.
///
/// # Errors
///
/// [`DiskError::Io`].
pub fn files(root: &Path, skip: &str) -> Result<Vec<String>> {
    let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(at("read the directory", root))?;
    let mut found = Vec::new();
    collect(&dir, "", skip, &mut found).map_err(at("read the directory", root))?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Dir, prefix: &str, skip: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in dir.entries()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if !entry.file_type()?.is_dir() {
            found.push(path);
        } else if name != skip {
            collect(&dir.open_dir(&name)?, &format!("{path}/"), skip, found)?;
        }
    }
    Ok(())
}

/// The content of a file in a tree; none where there is no such file.
///
/// # Errors
///
/// [`DiskError::TooLarge`]; [`DiskError::Io`], also for a link that leads out of the tree.
pub fn read_within(root: &Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let whole = root.join(path);
    let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(at("read the directory", root))?;
    let file = match dir.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read", &whole)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at("read", &whole))?;
    if bytes.len() as u64 > limit { Err(DiskError::TooLarge { path: whole, limit }) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the file is opened by its whole path.
    #[test]
    fn links_do_not_lead_out() {
        let home = tempfile::tempdir().expect("a directory");
        let root = home.path().join("tree");
        std::fs::create_dir_all(root.join("sub")).expect("a directory");
        std::fs::create_dir_all(root.join("skipped")).expect("a directory");
        std::fs::write(home.path().join("secret"), "no").expect("a file");
        std::fs::write(root.join("sub/a"), "yes").expect("a file");
        std::fs::write(root.join("skipped/b"), "no").expect("a file");
        std::os::unix::fs::symlink("../secret", root.join("out")).expect("a link");
        std::os::unix::fs::symlink("sub/a", root.join("in")).expect("a link");
        assert_eq!(files(&root, "skipped").expect("a list"), ["in", "out", "sub/a"]);
        assert_eq!(read_within(&root, "in", 3).expect("readable"), Some(b"yes".to_vec()));
        assert_eq!(read_within(&root, "none", 3).expect("no error"), None);
        assert!(read_within(&root, "out", 10).is_err());
        assert!(matches!(read_within(&root, "sub/a", 2), Err(DiskError::TooLarge { limit: 2, .. })));
    }
}
