//! Files up and down, over connections that break.

#![expect(clippy::disallowed_methods, reason = "the tests look at files by hand")]

use std::path::Path;

use jecloud_cloud::{ObjectStore as _, Precondition};
use jecloud_s3::S3Error;
use jecloud_testkit::s3::{Answer, S3Server};

use crate::{cause, found, open};

/// Bytes that do not repeat in step with parts or chunks.
fn file(path: &Path, size: u32) -> Vec<u8> {
    let bytes: Vec<u8> = (0..size).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(path, &bytes).unwrap();
    bytes
}

/// 20 MiB and a bit: three parts. Fails without repeating parts, without the check whether a completed upload is
/// there, and without going on in the middle of a download.
#[test]
fn large_files_arrive_over_bad_connections() {
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let bytes = file(&from, (20 << 20) + 12345);
    // The answer to the last request is lost too.
    for seed in 1..=3 {
        let key = format!("versions/{seed}");
        server.faults(|faults| {
            (faults.seed, faults.lost_replies_percent, faults.refused_percent) = (seed, 10, 5);
            faults.downloads_end_after = Some(3 << 20);
        });
        let mut reported = Vec::new();
        store.put_file(&key, &from, &mut |done| reported.push(done)).unwrap();
        assert!(reported.len() >= 3 && reported.is_sorted() && reported.last() == Some(&(bytes.len() as u64)));
        assert!(store.get_to_file(&key, &to).unwrap());
        assert!(std::fs::read(&to).unwrap() == bytes, "another content");
    }
    server.faults(|faults| *faults = jecloud_testkit::s3::S3Faults::default());
    let bucket = server.bucket(store.bucket()).unwrap();
    assert_eq!(bucket.keys, ["state.json", "versions/1", "versions/2", "versions/3"]);
}

/// Fails without the look whether it is there: where an upload was completed and the answer was lost, there is no such
/// upload any more.
#[test]
fn an_upload_that_was_completed_without_an_answer_is_complete() {
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    file(&from, 9 << 20);
    let gone = || Answer::new("CompleteMultipartUpload", 404, "NoSuchUpload", "It does not exist.");
    server.faults(|faults| faults.answers = vec![gone()]);
    let error = store.put_file("versions/1", &from, &mut |_| {}).unwrap_err();
    assert!(!error.is_transient() && !store.exists("versions/1").unwrap(), "it is not there, and that was not said");
    server.faults(|faults| faults.answers = vec![gone()]);
    let mut appears = |_| {
        store.put("versions/1", b"1", &Precondition::None).unwrap();
    };
    store.put_file("versions/1", &from, &mut appears).unwrap();
}

/// Fails where 412 is an error: the client repeats what it does not know to be done, and meets its own write.
#[test]
fn an_upload_that_meets_itself_is_there() {
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    for (size, request) in [(1000, "PutObject"), (9 << 20, "CompleteMultipartUpload")] {
        let bytes = file(&from, size);
        server.faults(|faults| faults.lost_replies = vec![request.to_owned()]);
        let key = format!("versions/{size}");
        store.put_file(&key, &from, &mut |_| {}).unwrap();
        let contents = server.contents(store.bucket(), &key);
        assert!(contents.len() == 1 && contents[0] == bytes, "{request}");
        assert!(server.faults(|faults| faults.lost_replies.is_empty()));
    }
}

/// Fails without the abort: parts are paid for.
#[test]
fn an_upload_that_fails_leaves_nothing() {
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    file(&from, 20 << 20);
    for request in ["UploadPart", "CompleteMultipartUpload"] {
        server.faults(|faults| faults.always = vec![Answer::new(request, 403, "AccessDenied", "Access Denied")]);
        let error = store.put_file("versions/1", &from, &mut |_| {}).unwrap_err();
        assert!(matches!(cause(&error), S3Error::NotPermitted { action, .. } if action == "s3:PutObject"), "{error:?}");
        assert_eq!(server.bucket(store.bucket()).unwrap().unfinished_uploads, 0, "{request}");
        assert!(!store.exists("versions/1").unwrap());
    }
}

/// Fails without checksums: one byte is another, and nobody says so.
#[test]
fn what_was_damaged_on_its_way_is_not_used() {
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    file(&from, 1 << 20);
    store.put_file("hooks/1", &from, &mut |_| {}).unwrap();
    server.faults(|faults| faults.downloads_are_damaged = true);
    let error = store.get_to_file("hooks/1", &to).unwrap_err();
    assert!(matches!(cause(&error), S3Error::Damaged { .. }), "{error:?}");
    assert!(!to.exists(), "a damaged file appeared");
    assert!(matches!(cause(&store.get("hooks/1").unwrap_err()), S3Error::Damaged { .. }));
    server.faults(|faults| faults.downloads_are_damaged = false);
    assert!(store.get_to_file("hooks/1", &to).unwrap());
}

/// Downloads that never get on end.
#[test]
fn a_download_that_does_not_get_on_ends() {
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    file(&from, 1 << 20);
    store.put_file("hooks/1", &from, &mut |_| {}).unwrap();
    server.faults(|faults| faults.downloads_end_after = Some(0));
    let error = store.get_to_file("hooks/1", &to).unwrap_err();
    assert!(error.is_transient() && !to.exists(), "{error:?}");
}
