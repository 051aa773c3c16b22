//! The files of the repository.

use std::path::{Path, PathBuf};

/// A file, and its path relative to the root of the repository, with `/` between segments.
pub(crate) struct File {
    pub(crate) path: String,
    absolute: PathBuf,
}

impl File {
    /// The whole text.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.absolute).unwrap_or_else(|error| panic!("reading {}: {error}", self.path))
    }

    /// `rs` of `a.rs`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the root of the repository")
}

/// All files but those that git ignores, sorted. Those that are about to be added count as well.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut walk = ignore::WalkBuilder::new(&root);
    // A hidden file can be a rule breaker too, but `.git` is not ours; what npm installs is not either.
    let is_foreign = |name: &std::ffi::OsStr| name == ".git" || name == "node_modules" || name == "target";
    walk.hidden(false).require_git(false).parents(false).git_global(false).sort_by_file_name(Ord::cmp);
    walk.filter_entry(move |entry| !is_foreign(entry.file_name()));
    let files: Vec<_> = walk
        .build()
        .map(|entry| entry.expect("walking through the repository"))
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .map(|entry| {
            let relative = entry.path().strip_prefix(&root).expect("below the root");
            File { path: relative.to_str().expect("names are UTF-8").to_owned(), absolute: entry.into_path() }
        })
        .collect();
    assert!(files.len() > 50, "only {} files were found below {}", files.len(), root.display());
    files
}

/// All Rust sources.
pub(crate) fn rust_files() -> impl Iterator<Item = File> {
    files().into_iter().filter(|file| file.has_extension("rs"))
}
