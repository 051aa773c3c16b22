//! The store in S3 over the real protocol, with a server in memory that goes wrong.

mod errors;
mod laws;
mod setup;
mod transfers;
mod writers;

use jecloud_cloud::{ObjectStore as _, Precondition, PutResult, StoreError, keys};
use jecloud_model::ids::AppName;
use jecloud_s3::{Credentials, S3Error, S3Options, S3Store};
use jecloud_testkit::s3::{S3Key, S3Server};

pub(crate) const REGION: &str = "eu-west-1";

pub(crate) fn app() -> AppName {
    "guestbook".parse().unwrap()
}

pub(crate) fn key(key: S3Key) -> Credentials {
    Credentials::Fixed {
        access_key_id: key.id.to_owned(),
        secret_access_key: key.secret.to_owned(),
        session_token: None,
    }
}

pub(crate) fn options(server: &S3Server) -> S3Options {
    let options = S3Options::new(&app()).region(Some(REGION)).endpoint(Some(&server.url()));
    options.credentials(key(S3Server::KEY))
}

pub(crate) fn open(server: &S3Server) -> S3Store {
    S3Store::open(&options(server)).unwrap()
}

/// The first state; its etag.
pub(crate) fn found(store: &S3Store) -> jecloud_cloud::Etag {
    match store.put(keys::STATE, b"1", &Precondition::IfNoneMatch).unwrap() {
        PutResult::Done(etag) => etag,
        other => panic!("{other:?}"),
    }
}

/// What S3 has against it.
pub(crate) fn cause(error: &StoreError) -> &S3Error {
    std::error::Error::source(error).unwrap().downcast_ref().unwrap()
}
