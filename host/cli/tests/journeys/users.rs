//! Who may read what.

#![expect(clippy::disallowed_methods, reason = "the modes of what JeCloud writes are the point")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::{app, serves, world};

/// As root the app runs as a user without rights. Otherwise it runs as whoever JeCloud is, and there is nobody to
/// protect from it.
#[test]
fn the_app_cannot_read_what_belongs_to_root() {
    let world = world();
    let secret = world.directory().join("only-for-its-owner");
    std::fs::write(&secret, "top secret").expect("a file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let owner = std::fs::metadata(&secret).expect("it is there").uid();
    let project = app(&world, "app", "");
    let read = format!("require('node:fs').readFileSync({:?}, 'utf8')", secret.display().to_string());
    let try_read = format!("let read; try {{ read = {read} }} catch (error) {{ read = error.code }}");
    let answer = "response.end(`${process.getuid()} ${process.getgroups().length} ${read}`)";
    project.write("server.js", &serves(&format!("{try_read}; {answer}")));
    project.jecloud(&["deploy"]).ok();
    if owner == 0 {
        let user = world.run("id", &["-u", "jecloud-app"]).ok().stdout;
        assert_eq!(project.get().1, format!("{} 1 EACCES", user.trim()));
        // What builds and what is typed with `run` is the same user.
        project.jecloud(&["run", "--", "cat", &secret.display().to_string()]).code(1).says("Permission denied");
    } else {
        assert!(project.get().1.starts_with(&format!("{owner} ")));
    }
}

/// All files below a directory that hold a text.
pub(crate) fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

/// Fails where one of the documents that hold variables is written for everyone, or where a log or a command line
/// shows them.
#[test]
fn variables_are_only_in_files_that_nobody_else_can_read() {
    const VALUE: &str = "correct-horse-battery-staple";
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let set = project.jecloud(&["env", "set", &format!("SECRET={VALUE}")]).ok();
    project.jecloud(&["deploy", "--force"]).ok();
    project.jecloud(&["run", "--", "sh", "-c", "test -n \"$SECRET\""]).ok();
    let set = set.does_not_say(VALUE);

    let files = holding(&world.home(), VALUE);
    assert!(files.len() >= 3, "the state, the release, the processes: {files:?}");
    for path in &files {
        let mode = std::fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode, 0o600, "{} after\n{}", path.display(), set.said());
        assert_ne!(path.extension().and_then(|end| end.to_str()), Some("log"), "{}", path.display());
    }
    assert_eq!(project.read("jecloud.lock").map(|lock| lock.contains(VALUE)), Some(false));
    for pid in world.processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(VALUE), "process {pid}");
    }
    for reading in [&["status"][..], &["plan"], &["releases"], &["status", "--json"], &["releases", "--json"]] {
        project.jecloud(reading).ok().does_not_say(VALUE);
    }
}
