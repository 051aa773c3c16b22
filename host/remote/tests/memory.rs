//! In a process of its own: what it ever used of memory is looked at.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "/proc knows what this process used")]

use jecloud_model::ids::Digest;
use jecloud_remote::{Connection, HostKeyRule, Identity, KeyPair, Session, Target, Upload};
use jecloud_testkit::Sshd;

const MIB: usize = 1 << 20;

/// The most that this process ever used, in MiB.
fn peak() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("it is always there");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let number: usize = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    number / 1024
}

/// Fails where the file is read whole.
#[test]
fn an_upload_needs_no_more_memory_for_a_large_file() {
    let (sshd, key) = (Sshd::start(&[]), KeyPair::generate("test").expect("a key"));
    sshd.allow(&key.public_line());
    let target = Target { user: Sshd::user(), host: "127.0.0.1".to_owned(), port: sshd.port() };
    let session = Session::open(&Connection::new(target, Identity::Key(key), HostKeyRule::FirstContact));
    let session = session.expect("it is there");
    let put = |name: &str, bytes: Vec<u8>| {
        let (file, to) = (sshd.path(name), sshd.path(&format!("{name}.there")));
        std::fs::write(&file, &bytes).expect("a file");
        let sha256 = Digest::of(&bytes);
        drop(bytes);
        let upload = Upload {
            file: &file,
            sha256: &sha256,
            to: to.to_str().expect("UTF-8"),
            mode: 0o600,
            before: &[],
            tidy: false,
        };
        session.upload(&upload, &mut |_| {}).expect("it arrives");
    };
    // What the test itself needs counts too, so the large one is made in pieces.
    put("small", vec![1; MIB]);
    let large = sshd.path("large");
    let piece = vec![2; MIB];
    let mut hash = sha2::Sha256::default();
    {
        use sha2::Digest as _;
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&large).expect("a file");
        for _ in 0..96 {
            file.write_all(&piece).expect("room");
            hash.update(&piece);
        }
    }
    let before = peak();
    let sha256 = Digest::from_sha256(sha2::Digest::finalize(hash).into());
    let to = sshd.path("large.there");
    let upload = Upload {
        file: &large,
        sha256: &sha256,
        to: to.to_str().expect("UTF-8"),
        mode: 0o600,
        before: &[],
        tidy: false,
    };
    session.upload(&upload, &mut |_| {}).expect("it arrives");
    assert_eq!(to.metadata().expect("it is there").len(), 96 * MIB as u64);
    assert!(peak() < before + 24, "{before} MiB before, {} MiB after", peak());
}
