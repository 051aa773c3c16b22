//! Files from a server: all of it, or an error.

use std::path::PathBuf;

use jecloud_cloud::{CollectError, Machine as _, MachineError, fetch};
use jecloud_model::backup::Manifest;
use jecloud_model::hook::Contents;
use jecloud_model::ids::{Digest, EnvironmentName, ReleaseNumber};
use jecloud_model::time::Timestamp;
use jecloud_remote::RemoteError;
use jecloud_testkit::Cable;

use crate::machine::machine;
use crate::place::Place;

/// A sealed file on the server, with a name that needs quotes, and what is known of it.
struct Sealed {
    file: PathBuf,
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl Sealed {
    fn new(place: &Place, length: usize) -> Self {
        let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + at / 253) as u8).collect();
        let file = place.sshd.path("a friend's $(backup)");
        std::fs::write(&file, &bytes).expect("a file");
        let manifest = Manifest {
            format: 1,
            id: "20261124T190812Z-3f2a9c01".parse().expect("an id"),
            app: "shop".parse().expect("valid"),
            environment: EnvironmentName::production(),
            service: "db".parse().expect("valid"),
            created: Timestamp::from_millisecond(0),
            release: ReleaseNumber(1),
            hook: Digest::of(b"hook"),
            contents: Contents::default(),
            bytes: 0,
            sealed_bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            scheduled: false,
            verified: None,
        };
        Self { file, bytes, manifest }
    }
}

#[test]
fn everything_arrives_and_progress_is_told() {
    let place = Place::new();
    for length in [0, 1, 3_000_000] {
        let sealed = Sealed::new(&place, length);
        let (mut out, mut told) = (Vec::new(), vec![]);
        machine(&place, place.sshd.port())
            .get_file(&sealed.file, &mut out, &mut |done| told.push(done))
            .expect("it arrives");
        assert!(out == sealed.bytes, "{} of {length} bytes", out.len());
        assert!(told.is_sorted() && told.last().copied().unwrap_or(0) == length as u64);
    }
}

/// Fails where an end of the channel without an exit status is taken for the end of the file, and where the file gets its
/// name before it was compared with the manifest.
#[test]
fn wherever_it_is_cut_there_is_no_file() {
    let place = Place::new();
    let sealed = Sealed::new(&place, 200_000);
    let target = place.sshd.path("here/backup.sealed");
    std::fs::create_dir_all(target.parent().expect("a directory")).expect("a directory");
    let cable = Cable::to(place.sshd.port());
    let fetch_it = || fetch(&machine(&place, cable.port()), &sealed.manifest, &sealed.file, &target, &mut |_| {});
    fetch_it().expect("it arrives");
    let all = cable.received();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(target.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(&target).expect("it was there");
    let cuts = (all - 3_000..all - 100).step_by(400).chain((all - 200_000..all).step_by(60_000));
    for cut in cuts {
        cable.break_after_receiving(cut);
        match fetch_it() {
            // What was cut off after the exit status makes no difference.
            Ok(()) => assert!(std::fs::read(&target).expect("a file") == sealed.bytes, "cut at {cut}"),
            Err(error) => {
                assert!(matches!(error, CollectError::Machine(MachineError::Unreachable { .. })), "{error:?}");
                let left: Vec<_> = target.parent().expect("a directory").read_dir().expect("a list").collect();
                assert!(left.is_empty(), "cut at {cut}: {left:?}");
            }
        }
        let _ = std::fs::remove_file(&target);
    }
    cable.mend();
    fetch_it().expect("it arrives");
}

/// Fails without the comparison with the manifest.
#[test]
fn what_arrives_as_something_else_gets_no_name() {
    let place = Place::new();
    let sealed = Sealed::new(&place, 100_000);
    let mut changed = sealed.bytes.clone();
    changed[50_000] ^= 1;
    let target = place.sshd.path("backup.sealed");
    for other in [&changed[..], &sealed.bytes[..99_999], &[]] {
        std::fs::write(&sealed.file, other).expect("a file");
        let machine = machine(&place, place.sshd.port());
        let error = fetch(&machine, &sealed.manifest, &sealed.file, &target, &mut |_| {}).expect_err("it is different");
        assert!(matches!(error, CollectError::Different { .. }), "{error:?}");
        assert!(!target.exists());
    }
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let place = Place::new();
    let error = place
        .session()
        .download("/nowhere/to be found", &[], &mut Vec::new(), &mut |_| {})
        .expect_err("there is no such file");
    let RemoteError::Failed { said, .. } = &error else { panic!("{error:?}") };
    assert!(said.contains("No such file"), "{said}");
}

/// Whoever writes has no room: the server is told to stop, and the error says whose disk it is.
#[test]
fn what_cannot_be_written_here_ends_it() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new();
    let sealed = Sealed::new(&place, 3_000_000);
    let path = sealed.file.to_str().expect("UTF-8");
    let session = place.session();
    let error = session.download(path, &[], &mut Full(100_000), &mut |_| {}).expect_err("there is no room");
    assert!(matches!(error, RemoteError::Local { .. }), "{error:?}");
    let mut out = Vec::new();
    session.download(path, &[], &mut out, &mut |_| {}).expect("the connection goes on");
    assert!(out == sealed.bytes);
}
