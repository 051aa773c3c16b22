//! A disk that is really full: a small tmpfs as the home. Needs root, for mounting.

use jecloud_testkit::World;

use crate::app::source;

/// Unmounts at the end, whatever happened.
struct Mounted<'a>(&'a World);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.0.shut_down();
        let home = self.0.home().display().to_string();
        self.0.run("umount", &["--lazy", &home]);
    }
}

/// Fails when the error of a write is lost on its way to the person.
#[test]
fn the_old_version_serves_and_the_reason_is_told() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: mounting a small file system needs root");
        return;
    }
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let home = world.home().display().to_string();
    std::fs::create_dir_all(&home).expect("a directory");
    world.run("mount", &["-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", &home]).ok();
    let _mounted = Mounted(&world);
    let project = world.project_called(
        "full",
        &[("jecloud.toml", "app = \"full\"\n"), ("package.json", "{}"), ("server.js", &source(1))],
    );
    project.jecloud(&["deploy"]).ok();
    // What cannot be compressed, and has no room.
    let mut random: u64 = 88_172_645_463_325_252;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    })
    .take(4 << 20)
    .flatten()
    .collect();
    std::fs::write(project.directory().join("big.bin"), bytes).expect("a file");
    project.write("server.js", &source(2));
    let failed = project.jecloud(&["deploy"]);
    assert_eq!(failed.status, 1, "{}", failed.said());
    assert!(failed.stderr.contains("disk is full") || failed.stderr.contains("No space left"), "{}", failed.said());
    assert_eq!(project.get(), (200, "version 1".to_owned()));
    // With room again, the same command does it.
    project.remove("big.bin");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.get(), (200, "version 2".to_owned()));
}
