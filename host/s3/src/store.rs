//! The store itself: small objects, lists and history.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_smithy_types::retry::RetryConfig;
use jecloud_cloud::keys::STATE;
use jecloud_cloud::{
    Etag, KEPT_STATES, Object, ObjectInfo, ObjectStore, PastObject, Precondition, PutResult, StoreError,
};
use jecloud_model::ids::AppName;
use jecloud_model::time::Timestamp;
use tokio::runtime::Runtime;

use crate::answer::{Call, Failure};
use crate::connect::{Connection, connect, without_secrets};
use crate::error::S3Error;
use crate::name::bucket_name;
use crate::options::S3Options;

/// The most that is read into memory at once: 64 MiB, as of a directory.
const SMALL_LIMIT: u64 = jecloud_disk::durable::DOCUMENT_LIMIT;

/// An app's store in S3. See the crate.
pub struct S3Store {
    pub(crate) client: Client,
    pub(crate) app: AppName,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) endpoint: Option<String>,
    account: Option<String>,
    pub(crate) known: Mutex<Known>,
    /// Only taken out by `drop`.
    runtime: Option<Runtime>,
}

/// What is known of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// There is none.
    Missing,
    /// There is one, but who made it may have died before it was complete.
    Unfinished,
    /// It is complete.
    Ready,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Store")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Drop for S3Store {
    fn drop(&mut self) {
        // Waiting for it is not allowed everywhere that a store may be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl S3Store {
    /// Finds out who asks, and whether the bucket is there. Nothing is made: that is done by the first write.
    ///
    /// # Errors
    ///
    /// [`StoreError::Hindered`] where a person has to do something first; its source is an [`S3Error`].
    pub fn open(options: &S3Options) -> Result<Self, StoreError> {
        let doing = format!("open the store of {} in S3", options.app);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|source| StoreError::Refused { doing: doing.clone(), source: source.into() })?;
        let Connection { client, region, endpoint, account } = runtime.block_on(connect(options, &doing))?;
        let store = Self {
            bucket: bucket_name(&options.app, account.as_deref(), &region),
            client,
            app: options.app.clone(),
            region,
            endpoint,
            account,
            known: Mutex::new(Known::Missing),
            runtime: Some(runtime),
        };
        store.set_known(store.block_on(store.look(&doing))?);
        Ok(store)
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether the bucket is there, and complete: the state is only ever written to one that is.
    async fn look(&self, doing: &str) -> Result<Known, StoreError> {
        // One question for both, and unlike HEAD its answers say what is wrong.
        let failure = match self.first_key(STATE).await {
            Ok(Some(key)) if key == STATE => return Ok(Known::Ready),
            Ok(_) => return Ok(Known::Unfinished),
            Err(failure) if failure.has_code(&["NoSuchBucket"]) => return Ok(Known::Missing),
            Err(failure) => failure,
        };
        let call = self.call(doing, "s3:ListBucket");
        if failure.has_status(403) && failure.has_code(&["AccessDenied"]) && self.belongs_to_another(&failure).await {
            return Err(call.hindered(S3Error::BucketTaken { bucket: self.bucket.clone() }));
        }
        Err(call.error(&failure))
    }

    /// Whether a bucket that we may not look into is somebody else's. To us, AWS names the permission that is missing.
    async fn belongs_to_another(&self, failure: &Failure) -> bool {
        if failure.answer().is_some_and(|answer| answer.denied_action().is_some()) {
            return false;
        }
        let made = self.create_bucket_request().send().await;
        made.map_err(Failure::from).is_err_and(|failure| failure.has_code(&["BucketAlreadyExists"]))
    }

    /// The first key that begins with `prefix`.
    async fn first_key(&self, prefix: &str) -> Result<Option<String>, Failure> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).max_keys(1);
        let listed = request.set_expected_bucket_owner(self.owner()).send().await?;
        Ok(listed.contents.unwrap_or_default().into_iter().next().and_then(|object| object.key))
    }

    async fn get_object(
        &self,
        key: &str,
        version: Option<&str>,
        doing: &str,
    ) -> Result<Option<GetObjectOutput>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key).set_version_id(version.map(str::to_owned));
        let failure = match request.set_expected_bucket_owner(self.owner()).send().await {
            Ok(found) => return Ok(Some(found)),
            Err(error) => Failure::from(error),
        };
        // Of an id that is none S3 says 400, of the id of a deletion 405.
        let is_no_id = version.is_some() && (failure.has_code(&["InvalidArgument"]) || failure.has_status(405));
        if failure.has_code(&["NoSuchKey", "NoSuchVersion"]) || is_no_id {
            return Ok(None);
        }
        let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        self.without_bucket((), &failure, &self.call(doing, action)).map(|()| None)
    }

    /// What a request found, where the bucket was missing and is not known to have been there; else its failure.
    pub(crate) fn without_bucket<T>(&self, nothing: T, failure: &Failure, call: &Call<'_>) -> Result<T, StoreError> {
        if failure.has_code(&["NoSuchBucket"]) && self.known() == Known::Missing {
            return Ok(nothing);
        }
        Err(call.error(failure))
    }

    async fn read_whole(&self, found: GetObjectOutput, doing: &str) -> Result<Vec<u8>, StoreError> {
        let call = self.call(doing, "s3:GetObject");
        let length = found.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        if length > SMALL_LIMIT {
            let detail = format!("it has {length} bytes, which is too much to be what it should be");
            return Err(call.hindered(S3Error::Damaged { detail }));
        }
        match found.body.collect().await {
            Ok(body) => Ok(body.to_vec()),
            Err(error) => Err(call.unreachable(S3Error::Damaged { detail: error.to_string() })),
        }
    }

    pub(crate) async fn put_once(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<Etag, Failure> {
        let mut request = self.client.put_object().bucket(&self.bucket).key(key);
        request = match precondition {
            Precondition::None => request,
            Precondition::IfNoneMatch => request.if_none_match("*"),
            Precondition::IfMatch(etag) => request.if_match(&etag.0),
        };
        let body = ByteStream::from(bytes.to_vec());
        let request = request.body(body).set_expected_bucket_owner(self.owner()).customize();
        // Repeated by the client, a write could meet itself, and its 412 would say that somebody else was faster.
        let written = request.config_override(Builder::new().retry_config(RetryConfig::disabled())).send().await?;
        match written.e_tag {
            Some(etag) => Ok(Etag(etag)),
            None => Err(Failure::Lost("S3 did not say what was written".to_owned())),
        }
    }

    async fn list_all(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Failure> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = request.set_expected_bucket_owner(self.owner()).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let contents = page?.contents.unwrap_or_default();
            objects.extend(contents.into_iter().filter_map(|object| {
                let (size, written) = (size(object.size), timestamp(object.last_modified));
                Some(ObjectInfo { key: object.key?, size, written })
            }));
        }
        Ok(objects)
    }

    /// The contents before the current one, the newest first, no more than a directory keeps.
    async fn past(&self, key: &str) -> Result<Vec<PastObject>, Failure> {
        let mut past = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(key);
            let request = request.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = request.set_expected_bucket_owner(self.owner()).send().await?;
            for version in page.versions.unwrap_or_default() {
                let is_past = version.key.as_deref() == Some(key) && version.is_latest != Some(true);
                if let (true, Some(id)) = (is_past, version.version_id) {
                    let (size, written) = (size(version.size), timestamp(version.last_modified));
                    past.push(PastObject { id, size, written });
                }
            }
            // Keys are in order: after the next one there are none of ours.
            let goes_on = page.is_truncated == Some(true) && page.next_key_marker.as_deref() == Some(key);
            if !goes_on || past.len() >= KEPT_STATES {
                past.truncate(KEPT_STATES);
                return Ok(past);
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    pub(crate) fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_known(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Whose bucket it must be: that with our name in somebody else's account is none of ours.
    pub(crate) fn owner(&self) -> Option<String> {
        self.account.clone()
    }

    pub(crate) fn call<'a>(&'a self, doing: &'a str, action: &'static str) -> Call<'a> {
        Call { doing, action, bucket: &self.bucket, region: &self.region }
    }

    pub(crate) fn doing(&self, verb: &str, key: &str) -> String {
        format!("{verb} {key} in {}", self.describe())
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("taken only when the store is dropped")
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }
}

fn size(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

fn timestamp(time: Option<DateTime>) -> Timestamp {
    Timestamp::from_millisecond(time.and_then(|time| time.to_millis().ok()).unwrap_or_default())
}

impl ObjectStore for S3Store {
    fn describe(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("the bucket {} at {}", self.bucket, without_secrets(endpoint)),
            None => format!("the bucket {} in {}", self.bucket, self.region),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let doing = self.doing("read", key);
        self.block_on(async {
            let Some(mut found) = self.get_object(key, None, &doing).await? else { return Ok(None) };
            let Some(etag) = found.e_tag.take() else {
                let detail = "S3 did not say which content it is".to_owned();
                return Err(self.call(&doing, "s3:GetObject").unreachable(S3Error::Damaged { detail }));
            };
            let bytes = self.read_whole(found, &doing).await?;
            Ok(Some(Object { bytes, etag: Etag(etag) }))
        })
    }

    fn put(&self, key: &str, bytes: &[u8], precondition: &Precondition) -> Result<PutResult, StoreError> {
        match self.prepare() {
            Ok(()) => {}
            // Whoever calls tries again after looking, which is what is needed here too.
            Err(error) if error.is_transient() => return Ok(PutResult::Unknown(error)),
            Err(error) => return Err(error),
        }
        let doing = self.doing("write", key);
        let call = self.call(&doing, "s3:PutObject");
        let failure = match self.block_on(self.put_once(key, bytes, precondition)) {
            Ok(etag) => return Ok(PutResult::Done(etag)),
            Err(failure) => failure,
        };
        let is_match = matches!(precondition, Precondition::IfMatch(_));
        let status = failure.answer().map(|answer| answer.status);
        match status {
            Some(412) => Ok(PutResult::PreconditionFailed),
            Some(409) => Ok(PutResult::Conflict),
            Some(404) if is_match => Ok(PutResult::NotFound),
            _ if failure.is_unknown() => Ok(PutResult::Unknown(call.error(&failure))),
            _ => Err(call.error(&failure)),
        }
    }

    fn get_to_file(&self, key: &str, file: &Path) -> Result<bool, StoreError> {
        self.download(key, file)
    }

    fn put_file(&self, key: &str, file: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        if self.exists(key)? {
            return Ok(());
        }
        self.upload(key, file, progress)
    }

    fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let doing = self.doing("find", key);
        match self.block_on(self.first_key(key)) {
            Ok(first) => Ok(first.as_deref() == Some(key)),
            Err(failure) => self.without_bucket(false, &failure, &self.call(&doing, "s3:ListBucket")),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let doing = self.doing("list", prefix);
        match self.block_on(self.list_all(prefix)) {
            Ok(objects) => Ok(objects),
            Err(failure) => self.without_bucket(Vec::new(), &failure, &self.call(&doing, "s3:ListBucket")),
        }
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let doing = self.doing("delete", key);
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        match self.block_on(request.set_expected_bucket_owner(self.owner()).send()).map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.has_code(&["NoSuchKey"]) => Ok(()),
            Err(failure) => self.without_bucket((), &failure, &self.call(&doing, "s3:DeleteObject")),
        }
    }

    fn history(&self, key: &str) -> Result<Vec<PastObject>, StoreError> {
        let doing = self.doing("list the history of", key);
        match self.block_on(self.past(key)) {
            Ok(past) => Ok(past),
            Err(failure) => self.without_bucket(Vec::new(), &failure, &self.call(&doing, "s3:ListBucketVersions")),
        }
    }

    fn get_past(&self, key: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let doing = self.doing("read the history of", key);
        self.block_on(async {
            match self.get_object(key, Some(id), &doing).await? {
                Some(found) => self.read_whole(found, &doing).await.map(Some),
                None => Ok(None),
            }
        })
    }
}
