//! A Redis on a disk that is really full: a small tmpfs. Needs root, for mounting.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test fills a disk")]

use std::io::Write as _;

use jecloud_testkit::{World, eventually, is_alive, kill};

use crate::services::{SERVER, answers, asked};
use crate::{SOON, world};

/// Unmounts at the end, whatever happened.
struct Mounted<'a>(&'a World);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.0.shut_down();
        self.0.run("umount", &["--lazy", &self.0.home().display().to_string()]);
    }
}

/// Fails where Redis goes on without writing down (`appendonly no`), and where a deployment that finds no room leaves
/// something else than before.
#[test]
fn a_full_disk_damages_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: mounting a small file system needs root");
        return;
    }
    let world = world();
    let home = world.home();
    // Not below the mount: the compiled hooks are there already.
    let small = world.directory().join("small");
    std::fs::create_dir(&small).expect("a directory");
    let (from, to) = (format!("{}/.", home.display()), small.display().to_string());
    world.run("mount", &["-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", &to]).ok();
    world.run("cp", &["-a", &from, &to]).ok();
    world.run("mount", &["--move", &to, &home.display().to_string()]).ok();
    let _mounted = Mounted(&world);

    let config = "app = \"guestbook\"\n[services.node]\n[services.redis]\nsync = \"always\"\n";
    let files = [("package.json", "{}"), ("jecloud.toml", config), ("server.js", SERVER)];
    let project = world.project_called("guestbook", &files);
    project.jecloud(&["deploy"]).ok();
    assert_eq!(asked(&project, "SET before 1"), "+OK");
    let (redis, url) = (project.pid("redis.1"), project.url());

    let filler = home.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write(&[7; 64 * 1024]).is_ok_and(|count| count > 0) {}
    drop(file);
    let get = |words: &str| {
        let answer = jecloud_testkit::get(&format!("{url}/{}", words.replace(' ', "%20")));
        answer.map_or_else(|error| error.to_string(), |answer| answer.body)
    };
    // A page of the file may have room for some more; then nothing is acknowledged any more.
    let long = format!("SET lost {}", "x".repeat(6000));
    eventually(SOON, "Redis says that it cannot write", || (!get(&long).starts_with("+OK")).then_some(()));
    project.replace("jecloud.toml", "sync =", "memory = \"32mb\"\nsync =");
    project.write("server.js", &format!("{SERVER}// the second\n"));
    let failed = project.jecloud(&["deploy"]).code(1);
    assert!(failed.said().contains("disk is full") || failed.said().contains("No space left"), "{}", failed.said());

    // With room again everything is as it was, also after a death.
    std::fs::remove_file(&filler).expect("our file");
    project.jecloud(&["fwd"]);
    eventually(SOON, "Redis writes again", || get("SET after 2").starts_with("+OK").then_some(()));
    assert_eq!(asked(&project, "GET before"), "$1 1");
    assert_eq!(asked(&project, "CONFIG GET maxmemory"), "*2 $9 maxmemory $1 0");
    let now = project.pid("redis.1");
    kill(now);
    eventually(SOON, "it has ended", || (!is_alive(now)).then_some(()));
    answers(&project);
    assert_eq!((asked(&project, "GET before"), asked(&project, "GET after")), ("$1 1".to_owned(), "$1 2".to_owned()));
    project.jecloud(&["deploy"]).ok();
    assert_eq!(asked(&project, "GET after"), "$1 2");
    assert_eq!(asked(&project, "CONFIG GET maxmemory"), "*2 $9 maxmemory $8 33554432");
    assert_ne!(project.pid("redis.1"), redis);
}
