//! Uploads: cut anywhere, continued, verified.

use std::path::PathBuf;

use jecloud_model::ids::Digest;
use jecloud_remote::{RemoteError, Session, Upload, Uploaded};
use jecloud_testkit::Cable;

use crate::place::Place;

/// Between two cuts.
const PIECE: u64 = 64 << 10;

/// A file here, and where it goes.
struct Parcel {
    file: PathBuf,
    bytes: Vec<u8>,
    sha256: Digest,
    to: PathBuf,
}

impl Parcel {
    /// Bytes that no compression makes shorter.
    fn new(place: &Place, length: usize) -> Self {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        let bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length).collect();
        let file = place.sshd.path("parcel");
        std::fs::write(&file, &bytes).expect("a file");
        let to = place.sshd.path("there/of a friend's/parcel");
        Self { file, sha256: Digest::of(&bytes), bytes, to }
    }

    fn upload(&self) -> Upload<'_> {
        let to = self.to.to_str().expect("UTF-8");
        Upload { file: &self.file, sha256: &self.sha256, to, mode: 0o640, before: &[], tidy: false }
    }

    fn part(&self) -> PathBuf {
        self.to.with_file_name("parcel.part")
    }

    fn has_arrived(&self) -> bool {
        match std::fs::read(&self.to) {
            Ok(found) => {
                assert!(found == self.bytes, "something else has the final name");
                true
            }
            Err(_) => false,
        }
    }
}

/// Fails without looking at what is there, and without writing where it belongs.
#[test]
fn an_upload_that_is_cut_every_64_kib_arrives_and_sends_everything_about_once() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 2 << 20);
    let cable = Cable::to(place.sshd.port());
    let mut attempts = 0_u32;
    let mut starts = Vec::new();
    // What a login takes goes through the cable too.
    drop(place.session_at(cable.port()));
    cable.break_after_sending(cable.sent() + PIECE);
    let before = cable.sent();
    loop {
        attempts += 1;
        assert!(attempts <= 100, "no progress: {starts:?}");
        let mut first = None;
        let Ok(session) = Session::open(&place.connection(cable.port())) else { panic!("it cannot log in") };
        let result = session.upload(&parcel.upload(), &mut |done| {
            first.get_or_insert(done);
        });
        starts.extend(first);
        match result {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, RemoteError::Lost { .. }), "{error:?}"),
        }
        assert!(!parcel.has_arrived() || attempts > 20, "it cannot be whole after {attempts}");
    }
    assert!(parcel.has_arrived());
    assert!(!parcel.part().exists());
    assert!(attempts >= 25, "only {attempts} attempts: it was not cut");
    assert!(starts.is_sorted(), "it never goes back: {starts:?}");
    let sent = cable.sent() - before;
    let logins = u64::from(attempts) * 8 * 1024;
    assert!(sent < (2 << 20) * 5 / 4 + logins, "{sent} bytes were sent in {attempts} attempts");
}

/// Fails where a cut is taken for the end of the file: something shorter would get the final name, or what was there
/// would be thrown away.
#[test]
fn wherever_it_is_cut_the_final_name_has_all_or_nothing() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 200_000);
    let cable = Cable::to(place.sshd.port());
    place.session_at(cable.port()).upload(&parcel.upload(), &mut |_| {}).expect("it arrives");
    let all = cable.sent();
    for cut in (all - 8_000..all).step_by(800) {
        std::fs::remove_file(&parcel.to).expect("it was there");
        cable.break_after_sending(cut);
        let session = place.session_at(cable.port());
        let first = session.upload(&parcel.upload(), &mut |_| {});
        // An answer that was lost is not the same as a file that was: asking tells.
        if first.is_ok() {
            assert!(parcel.has_arrived());
        }
        parcel.has_arrived();
        cable.mend();
        place.session_at(cable.port()).upload(&parcel.upload(), &mut |_| {}).expect("it arrives");
        assert!(parcel.has_arrived());
    }
}

#[test]
fn what_is_there_is_not_sent_again() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 500_000);
    let cable = Cable::to(place.sshd.port());
    let session = place.session_at(cable.port());
    let mut progress = Vec::new();
    let uploaded = session.upload(&parcel.upload(), &mut |done| progress.push(done)).expect("it arrives");
    assert_eq!(uploaded, Uploaded::Sent { from: 0 });
    assert!(progress.is_sorted() && progress.len() > 5, "{progress:?}");
    assert_eq!((progress.first(), progress.last()), (Some(&0), Some(&500_000)));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &std::path::Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&parcel.to), 0o640);
    assert_eq!(mode(parcel.to.parent().expect("a directory")), 0o700);
    let before = cable.sent();
    assert_eq!(session.upload(&parcel.upload(), &mut |_| {}).expect("it is there"), Uploaded::WasThere);
    assert!(cable.sent() - before < 10_000, "{} bytes were sent", cable.sent() - before);
}

/// Fails without the hash of what an earlier attempt left.
#[test]
fn a_part_that_is_something_else_is_not_continued() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 300_000);
    std::fs::create_dir_all(parcel.to.parent().expect("a directory")).expect("a directory");
    let session = place.session();
    let mut wrong = parcel.bytes[..100_000].to_vec();
    wrong[50_000] ^= 1;
    let longer = [&parcel.bytes[..], b"x"].concat();
    let nothing = Vec::new();
    for (part, from) in [(&wrong, 0), (&longer, 0), (&nothing, 0), (&parcel.bytes[..100_000].to_vec(), 100_000)] {
        let _ = std::fs::remove_file(&parcel.to);
        std::fs::write(parcel.part(), part).expect("a file");
        let uploaded = session.upload(&parcel.upload(), &mut |_| {}).expect("it arrives");
        assert_eq!(uploaded, Uploaded::Sent { from });
        assert!(parcel.has_arrived());
    }
    // All of it is there, and only the name is missing.
    std::fs::rename(&parcel.to, parcel.part()).expect("it is there");
    let uploaded = session.upload(&parcel.upload(), &mut |_| {}).expect("it arrives");
    assert_eq!(uploaded, Uploaded::Sent { from: 300_000 });
    assert!(parcel.has_arrived());
    // What has the final name and is something else is replaced.
    std::fs::write(&parcel.to, "something else").expect("a file");
    session.upload(&parcel.upload(), &mut |_| {}).expect("it arrives");
    assert!(parcel.has_arrived());
}

/// Fails without the check before the name is given.
#[test]
fn what_arrives_as_something_else_gets_no_name() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 100_000);
    let mut changed = parcel.bytes.clone();
    changed[99_999] ^= 1;
    std::fs::write(&parcel.file, &changed).expect("a file");
    let error = place.session().upload(&parcel.upload(), &mut |_| {}).expect_err("it was changed");
    assert!(matches!(error, RemoteError::Failed { .. }), "{error:?}");
    assert!(!parcel.has_arrived() && !parcel.part().exists());
    let error = Upload { file: &place.sshd.path("nowhere"), ..parcel.upload() };
    assert!(place.session().upload(&error, &mut |_| {}).is_err());
}

#[test]
fn two_at_the_same_time_do_each_other_no_harm() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 1_000_000);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| place.session().upload(&parcel.upload(), &mut |_| {}));
        }
    });
    place.session().upload(&parcel.upload(), &mut |_| {}).expect("it arrives");
    assert!(parcel.has_arrived());
}

#[test]
fn a_place_that_cannot_be_written_to_is_told() {
    let place = Place::new();
    let parcel = Parcel::new(&place, 1000);
    let error = place.session().upload(&Upload { to: "/proc/nothing/here", ..parcel.upload() }, &mut |_| {});
    let error = error.expect_err("nobody can write there");
    assert!(matches!(&error, RemoteError::Failed { said, .. } if said.contains("/proc/nothing")), "{error:?}");
}
