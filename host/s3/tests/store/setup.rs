//! Making the bucket, also by several attempts that died.

use jecloud_cloud::{ObjectStore as _, Precondition, PutResult, keys};
use jecloud_s3::{S3Store, bucket_name};
use jecloud_testkit::s3::{Answer, S3Bucket, S3Server};

use crate::{REGION, app, cause, found, open, options};

fn assert_complete(bucket: &S3Bucket) {
    assert!(bucket.is_versioned, "{bucket:?}");
    assert!(bucket.is_private, "{bucket:?}");
    assert!(bucket.policy.contains("StateOnlyWithPrecondition"), "{bucket:?}");
    assert!(bucket.lifecycle.len() >= 4, "{bucket:?}");
}

#[test]
fn nothing_is_made_by_looking_and_everything_by_the_first_write() {
    let server = S3Server::start();
    let store = open(&server);
    assert_eq!(store.bucket(), bucket_name(&app(), Some("123456789012"), REGION));
    assert_eq!(store.get(keys::STATE).unwrap(), None);
    assert_eq!(store.list(keys::VERSIONS).unwrap(), []);
    assert_eq!(store.history(keys::STATE).unwrap(), []);
    assert!(server.bucket(store.bucket()).is_none(), "reading made a bucket");
    found(&store);
    let bucket = server.bucket(store.bucket()).unwrap();
    assert_complete(&bucket);
    assert_eq!(bucket.region, REGION);
    assert_eq!(bucket.keys, [keys::STATE], "something of the set-up was left");
}

/// Opening what exists asks who we are and whether it is there: two requests.
#[test]
fn opening_what_exists_is_cheap() {
    let server = S3Server::start();
    found(&open(&server));
    let before = server.calls().len();
    let store = open(&server);
    assert_eq!(server.calls()[before..], ["GetCallerIdentity", "ListObjectsV2"]);
    let etag = store.get(keys::STATE).unwrap().unwrap().etag;
    store.put(keys::STATE, b"2", &Precondition::IfMatch(etag)).unwrap();
    assert_eq!(server.calls()[before + 2..], ["GetObject", "PutObject"]);
}

#[test]
fn the_oldest_region_needs_no_name() {
    let server = S3Server::start();
    let store = S3Store::open(&options(&server).region(Some("us-east-1"))).unwrap();
    found(&store);
    assert_eq!(server.bucket(store.bucket()).unwrap().region, "");
}

/// Killed before and after every request of the set-up, and begun again. Fails where only who makes the bucket
/// completes it, and where a step that was done already is an error.
#[test]
fn killed_after_every_request_and_begun_again() {
    let undisturbed = S3Server::start();
    found(&open(&undisturbed));
    let requests = undisturbed.calls().len() as u64;
    assert!(requests >= 11, "{:?}", undisturbed.calls());
    std::thread::scope(|scope| {
        for dies_after in 1..requests {
            for before_the_answer in [false, true] {
                scope.spawn(move || {
                    let server = S3Server::start();
                    server.faults(|faults| {
                        faults.dies_after = Some(dies_after);
                        faults.dies_before_the_answer = before_the_answer;
                    });
                    let first = S3Store::open(&options(&server));
                    let written = first.map(|store| store.put(keys::STATE, b"1", &Precondition::IfNoneMatch));
                    let is_done = matches!(written, Ok(Ok(PutResult::Done(_))));
                    assert!(!is_done, "it was not killed after {dies_after}");
                    server.faults(|faults| faults.dies_after = None);
                    let store = open(&server);
                    // The very last request may have been done: it is the state itself.
                    match store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap() {
                        PutResult::Done(_) => {}
                        PutResult::PreconditionFailed if dies_after == requests - 1 && before_the_answer => {}
                        other => panic!("{dies_after} {before_the_answer}: {other:?}"),
                    }
                    let bucket = server.bucket(store.bucket()).unwrap();
                    assert_complete(&bucket);
                    assert_eq!(server.contents(store.bucket(), keys::STATE).len(), 1);
                });
            }
        }
    });
}

#[test]
fn several_set_it_up_at_once() {
    let server = S3Server::start();
    let done = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| open(&server).put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap()))
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).filter(|r| matches!(r, PutResult::Done(_))).count()
    });
    assert_eq!(done, 1);
    assert_complete(&server.bucket(open(&server).bucket()).unwrap());
}

/// Fails without patience: AWS does not know a new bucket everywhere at once, and changes it for one at a time.
#[test]
fn a_new_bucket_takes_a_moment() {
    let server = S3Server::start();
    let store = open(&server);
    server.faults(|faults| {
        faults.answers = vec![
            Answer::new("CreateBucket", 409, "OperationAborted", "A conflicting operation is in progress."),
            Answer::new("PutBucketVersioning", 404, "NoSuchBucket", "The specified bucket does not exist"),
            Answer::new("PutBucketVersioning", 404, "NoSuchBucket", "The specified bucket does not exist"),
            Answer::new("PutBucketPolicy", 409, "OperationAborted", "A conflicting operation is in progress."),
            Answer::new("PutObject", 404, "NoSuchBucket", "The specified bucket does not exist"),
        ];
    });
    found(&store);
    assert_eq!(server.faults(|faults| faults.answers.len()), 0);
    assert_complete(&server.bucket(store.bucket()).unwrap());
}

/// Fails without the policy. The server judges it as AWS does.
#[test]
fn the_state_cannot_be_written_without_a_precondition() {
    let server = S3Server::start();
    let store = open(&server);
    let etag = found(&store);
    let error = store.put(keys::STATE, b"2", &Precondition::None).unwrap_err();
    assert!(error.hint().contains("s3:PutObject"), "{error:?}");
    assert!(matches!(store.put("other", b"2", &Precondition::None).unwrap(), PutResult::Done(_)));
    let changed = store.put(keys::STATE, b"2", &Precondition::IfMatch(etag)).unwrap();
    assert!(matches!(changed, PutResult::Done(_)), "{changed:?}");
}

/// Fails without the probe.
#[test]
fn a_store_without_conditional_writes_is_refused() {
    let server = S3Server::start();
    server.faults(|faults| faults.no_conditional_writes = true);
    let store = open(&server);
    let error = store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap_err();
    let text = cause(&error).to_string();
    assert!(text.contains("has no conditional writes") && text.contains("If-None-Match"), "{text}");
    assert!(error.hint().contains("could overwrite each other"), "{}", error.hint());
    // One that knows the one, but not the other.
    server.faults(|faults| {
        faults.no_conditional_writes = false;
        faults.always = vec![Answer::new("PutObject", 501, "NotImplemented", "A header you provided is not known")];
    });
    let error = store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap_err();
    assert!(cause(&error).to_string().contains("does not know If-None-Match"), "{error:?}");
    assert_eq!(server.contents(store.bucket(), keys::STATE).len(), 0);
    // Where it has learnt it, it is used.
    server.faults(|faults| faults.always.clear());
    found(&store);
}

/// Stores of other makers lack what only protects in addition, and have no accounts.
#[test]
fn a_simpler_store_is_used_too() {
    let server = S3Server::start();
    server.faults(|faults| {
        faults.no_accounts = true;
        faults.always = vec![
            Answer::new("PutPublicAccessBlock", 501, "NotImplemented", "not implemented"),
            Answer::new("PutBucketPolicy", 400, "MalformedPolicy", "invalid condition key 's3:if-match'"),
            Answer::new("PutBucketLifecycleConfiguration", 501, "NotImplemented", "not implemented"),
        ];
    });
    let store = open(&server);
    assert_eq!(store.bucket(), bucket_name(&app(), None, REGION));
    found(&store);
    assert!(server.bucket(store.bucket()).unwrap().is_versioned);
}

/// Fails without the look whether the policy lets us write: nobody could ever.
#[test]
fn a_policy_that_is_misunderstood_is_taken_back() {
    let server = S3Server::start();
    server.faults(|faults| faults.policies_ignore_conditions = true);
    let store = open(&server);
    found(&store);
    assert_eq!(server.bucket(store.bucket()).unwrap().policy, "");
}

/// The name depends on the account, so an account that is not known at the moment is not none.
#[test]
fn an_account_that_is_not_known_now_is_not_none() {
    let server = S3Server::start();
    server.faults(|faults| faults.always = vec![Answer::new("GetCallerIdentity", 503, "ServiceUnavailable", "")]);
    let error = S3Store::open(&options(&server)).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}
