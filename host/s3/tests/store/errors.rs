//! What people are told.

use std::time::{Duration, Instant, SystemTime};

use jecloud_cloud::{ObjectStore as _, Precondition, PutResult, StateError, StateFile, StoreError, SystemWorld, keys};
use jecloud_s3::{Credentials, S3Error, S3Store};
use jecloud_testkit::s3::{Answer, S3Server};

use crate::{REGION, app, cause, found, key, open, options};

/// Looks into everything that can be printed.
fn assert_no_secret(error: &StoreError) {
    let printed = format!("{error} {error:?} {:#?} {} {}", error, cause(error), error.hint());
    assert!(!printed.contains(S3Server::KEY.secret), "{printed}");
    assert!(!printed.contains("AKIA"), "{printed}");
}

fn opened_with(server: &S3Server, answer: Answer) -> StoreError {
    server.faults(|faults| faults.always = vec![answer]);
    let error = S3Store::open(&options(server)).unwrap_err();
    server.faults(|faults| faults.always.clear());
    assert_no_secret(&error);
    error
}

#[test]
fn what_is_answered_when_it_is_opened() {
    let server = S3Server::start();
    let list = |status, code, message| Answer::new("ListObjectsV2", status, code, message);
    let redirect = list(301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.")
        .header("x-amz-bucket-region", "us-west-2");
    let sts = Answer::new("GetCallerIdentity", 403, "ExpiredToken", "The security token has expired");
    for (answer, expected, hint) in [
        (list(400, "ExpiredToken", "expired"), "the AWS credentials have expired", "log in again"),
        (sts, "the AWS credentials have expired", "aws sso login"),
        (redirect, "is not in the region eu-west-1, but in us-west-2", "region = \"us-west-2\""),
        (
            Answer::denied("ListObjectsV2", "s3:ListBucket"),
            "do not permit s3:ListBucket on the bucket jecloud-guestbook-",
            "permit s3:ListBucket",
        ),
        (list(403, "InvalidAccessKeyId", "no"), "does not accept the credentials", "aws sts get-caller-identity"),
    ] {
        let error = opened_with(&server, answer);
        assert!(matches!(error, StoreError::Hindered { .. }), "{error:?}");
        assert_eq!(error.to_string(), "cannot open the store of guestbook in S3");
        assert!(cause(&error).to_string().contains(expected), "{}", cause(&error));
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
}

#[test]
fn credentials_that_are_not_known_and_secrets_that_do_not_fit() {
    let server = S3Server::start();
    let given = |id: &str, secret: &str| Credentials::Fixed {
        access_key_id: id.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: None,
    };
    let error = S3Store::open(&options(&server).credentials(given("AKIANOBODY", "x"))).unwrap_err();
    assert_eq!(*cause(&error), S3Error::WrongCredentials { code: "InvalidClientTokenId".to_owned() });
    let error = S3Store::open(&options(&server).credentials(given(S3Server::KEY.id, "wrong"))).unwrap_err();
    assert_eq!(*cause(&error), S3Error::WrongCredentials { code: "SignatureDoesNotMatch".to_owned() });
    assert_no_secret(&error);
}

/// Nothing that knows credentials shows them.
#[test]
fn secrets_are_not_shown() {
    let server = S3Server::start();
    let options = options(&server);
    let store = S3Store::open(&options).unwrap();
    let shown = format!("{options:?} {store:?} {:?} {}", key(S3Server::KEY), store.describe());
    assert!(!shown.contains(S3Server::KEY.secret) && !shown.contains(S3Server::KEY.id), "{shown}");
}

#[test]
fn a_clock_that_is_wrong() {
    let server = S3Server::start();
    let there = SystemTime::now() + Duration::from_secs(20 * 60 + 30);
    let there = aws_smithy_types::DateTime::from(there);
    let there = there.fmt(aws_smithy_types::date_time::Format::HttpDate).unwrap();
    let sentence = "The difference between the request time and the current time is too large.";
    let answer = Answer::new("ListObjectsV2", 403, "RequestTimeTooSkewed", sentence).header("date", &there);
    let error = opened_with(&server, answer);
    let text = cause(&error).to_string();
    assert_eq!(text, "the clock of this machine is wrong: it is 20 minutes behind that of AWS");
    assert!(error.hint().contains("timedatectl"), "{}", error.hint());
}

/// Fails where 403 is only a missing permission.
#[test]
fn a_name_that_somebody_else_has() {
    let server = S3Server::start();
    let name = open(&server).bucket().to_owned();
    server.make_bucket_of_another(&name);
    let error = S3Store::open(&options(&server)).unwrap_err();
    assert_eq!(*cause(&error), S3Error::BucketTaken { bucket: name.clone() });
    assert!(error.hint().contains("another name"), "{}", error.hint());
    // Taken between looking and making.
    server.delete_bucket(&name);
    let store = open(&server);
    server.make_bucket_of_another(&name);
    let error = store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap_err();
    assert_eq!(*cause(&error), S3Error::BucketTaken { bucket: name });
}

/// A bucket that somebody else made under our name, and lets us use, is not used: he would read what we write, and
/// write what we read. Fails without the account in every request.
#[test]
fn every_request_says_whose_bucket_it_must_be() {
    let server = S3Server::start();
    let store = open(&server);
    let etag = found(&store);
    let past = store.history(keys::STATE).unwrap();
    assert_eq!(past, []);
    server.delete_bucket(store.bucket());
    server.make_open_bucket_of_another(store.bucket());
    assert!(S3Store::open(&options(&server)).is_err());
    let directory = tempfile::tempdir().unwrap();
    let (from, large) = (directory.path().join("from"), directory.path().join("large"));
    jecloud_disk::durable::replace(&from, b"1", 0o600).unwrap();
    jecloud_disk::durable::replace(&large, &vec![0; 9 << 20], 0o600).unwrap();
    assert!(store.get(keys::STATE).is_err());
    assert!(store.put(keys::STATE, b"2", &Precondition::IfMatch(etag)).is_err());
    assert!(store.put(keys::STATE, b"2", &Precondition::IfNoneMatch).is_err());
    assert!(store.get_to_file("versions/1", &from).is_err());
    assert!(store.list(keys::VERSIONS).is_err());
    assert!(store.exists("versions/1").is_err());
    assert!(store.delete("versions/1").is_err());
    assert!(store.history(keys::STATE).is_err());
    assert!(store.get_past(keys::STATE, "version-000001").is_err());
    assert!(store.put_file("versions/1", &from, &mut |_| {}).is_err());
    assert!(store.put_file("versions/1", &large, &mut |_| {}).is_err());
    assert_eq!(server.bucket(store.bucket()).unwrap().keys, Vec::<String>::new());
}

#[test]
fn each_permission_that_is_missing_is_named() {
    for (request, action) in [
        ("CreateBucket", "s3:CreateBucket"),
        ("PutBucketVersioning", "s3:PutBucketVersioning"),
        ("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
        ("PutBucketPolicy", "s3:PutBucketPolicy"),
        ("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
        ("PutObject", "s3:PutObject"),
        ("DeleteObject", "s3:DeleteObject"),
    ] {
        let server = S3Server::start();
        // Without the words that AWS has for members of the account.
        let plain = Answer::new(request, 403, "AccessDenied", "Access Denied");
        server.faults(|faults| faults.always = vec![plain]);
        let store = open(&server);
        let error = store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap_err();
        let resource = format!("the bucket {}", store.bucket());
        assert_eq!(*cause(&error), S3Error::NotPermitted { action: action.to_owned(), resource }, "{request}");
        assert!(error.hint().contains(action), "{}", error.hint());
        assert_no_secret(&error);
    }
    let server = S3Server::start();
    let store = open(&server);
    found(&store);
    let denied = |request: &str| {
        server.faults(|faults| faults.always = vec![Answer::new(request, 403, "AccessDenied", "Access Denied")]);
    };
    denied("GetObject");
    assert!(store.get(keys::STATE).unwrap_err().hint().contains("s3:GetObject "));
    assert!(store.get_past(keys::STATE, "version-000001").unwrap_err().hint().contains("s3:GetObjectVersion "));
    denied("ListObjectVersions");
    assert!(store.history(keys::STATE).unwrap_err().hint().contains("s3:ListBucketVersions "));
}

/// The hint arrives where commands take theirs from.
#[test]
fn the_state_passes_the_hint_on() {
    let server = S3Server::start();
    let store = open(&server);
    server.faults(|faults| faults.always = vec![Answer::denied("GetObject", "s3:GetObject")]);
    let app = app();
    let error = StateFile::new(&store, &app, &SystemWorld).read().unwrap_err();
    assert!(matches!(error, StateError::Store { .. }), "{error:?}");
    assert!(error.hint().contains("permit s3:GetObject on the bucket"), "{}", error.hint());
}

/// Fails where a missing bucket always counts as an empty one: a state that is known to have been there would be
/// made again from nothing.
#[test]
fn a_bucket_that_was_deleted_is_not_an_empty_one() {
    let server = S3Server::start();
    let store = open(&server);
    let etag = found(&store);
    server.delete_bucket(store.bucket());
    let gone = S3Error::BucketGone { bucket: store.bucket().to_owned() };
    assert_eq!(*cause(&store.get(keys::STATE).unwrap_err()), gone);
    assert_eq!(*cause(&store.history(keys::STATE).unwrap_err()), gone);
    assert_eq!(*cause(&store.exists(keys::STATE).unwrap_err()), gone);
    let error = store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap_err();
    assert_eq!(*cause(&error), gone);
    let result = store.put(keys::STATE, b"1", &Precondition::IfMatch(etag)).unwrap();
    assert!(matches!(result, PutResult::NotFound), "{result:?}");
    assert!(server.bucket(store.bucket()).is_none());
}

/// Fails without time-outs: the server never answers.
#[test]
fn silence_has_an_end() {
    let server = S3Server::start();
    let etag = found(&open(&server));
    let options = options(&server).patience(Duration::from_millis(700));
    let store = S3Store::open(&options).unwrap();
    let begun = Instant::now();
    server.faults(|faults| faults.silent = ["PutObject", "GetObject", "ListObjectsV2"].map(str::to_owned).into());
    let result = store.put(keys::STATE, b"2", &Precondition::IfMatch(etag)).unwrap();
    let PutResult::Unknown(error) = result else { panic!("{result:?}") };
    assert!(error.is_transient() && cause(&error).to_string().contains("no answer in time"), "{error:?}");
    assert!(store.get(keys::STATE).unwrap_err().is_transient());
    assert!(S3Store::open(&options).unwrap_err().is_transient());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// Where nobody listens: no program uses this port, and those for tests are given others.
#[test]
fn a_server_that_is_not_there() {
    let options = jecloud_s3::S3Options::new(&app()).region(Some(REGION)).endpoint(Some("http://127.0.0.1:1"));
    let error = S3Store::open(&options.credentials(key(S3Server::KEY))).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(cause(&error).to_string().contains("onnect"), "{}", cause(&error));
}
