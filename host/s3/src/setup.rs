//! Making the bucket, and completing one that was half made. Every step can be repeated, so there is no record of how
//! far somebody got: whoever is about to write the first state does them all.

use std::time::Duration;

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::operation::create_bucket::builders::CreateBucketFluentBuilder;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    NoncurrentVersionExpiration, PublicAccessBlockConfiguration, VersioningConfiguration,
};
use jecloud_cloud::keys::{HOOKS, STATE, VERSIONS};
use jecloud_cloud::{Etag, KEPT_STATES, ObjectStore as _, Precondition, StoreError, SystemWorld, World as _};
use jecloud_model::ids::OperationId;

use crate::answer::Failure;
use crate::error::S3Error;
use crate::policy::bucket_policy;
use crate::store::{Known, S3Store};

/// What the keys begin with that are written twice, to see whether the store minds.
pub(crate) const PROBES: &str = "probes/";

/// A step is tried so often, with this pause between: a new bucket is not everywhere at once, and somebody else may be
/// setting it up at the same time.
const ATTEMPTS: u32 = 10;

/// Where there is no answer, the client has tried several times already.
const SILENT_ATTEMPTS: u32 = 3;

const PAUSE: Duration = Duration::from_millis(300);

/// So many days an unfinished upload is kept, and deleted archives and hooks. A state that is not among the newest is
/// kept longer.
const UNFINISHED_DAYS: i32 = 7;
const DELETED_DAYS: i32 = 30;
const STATE_DAYS: i32 = 90;

/// What a store answers that has no such thing as it was asked for.
const UNSUPPORTED: [&str; 5] =
    ["MalformedPolicy", "MalformedXML", "InvalidArgument", "InvalidRequest", "UnsupportedOperation"];

impl S3Store {
    /// Makes sure that the bucket is complete.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        if self.known() == Known::Ready {
            return Ok(());
        }
        self.block_on(self.set_up())?;
        self.set_known(Known::Ready);
        Ok(())
    }

    async fn set_up(&self) -> Result<(), StoreError> {
        self.step("make", "s3:CreateBucket", || self.create()).await?;
        // From here on it was there: where it is not, somebody deleted it.
        self.set_known(Known::Unfinished);
        self.step("set the versioning of", "s3:PutBucketVersioning", || self.keep_versions()).await?;
        self.step("block public access to", "s3:PutBucketPublicAccessBlock", || self.block_public_access()).await?;
        self.step("set the policy of", "s3:PutBucketPolicy", || self.set_policy()).await?;
        self.step("set the lifecycle of", "s3:PutLifecycleConfiguration", || self.set_lifecycle()).await?;
        self.check_conditional_writes().await
    }

    /// One step, until it is done or cannot be.
    async fn step<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        verb: &str,
        action: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let doing = format!("{verb} {}", self.describe());
        let mut attempts = 0;
        loop {
            let failure = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            attempts += 1;
            let most = if failure.has_code(&["NoSuchBucket", "OperationAborted"]) {
                ATTEMPTS
            } else if failure.is_unknown() {
                SILENT_ATTEMPTS
            } else {
                1
            };
            if attempts >= most {
                return Err(self.call(&doing, action).error(&failure));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn create_bucket_request(&self) -> CreateBucketFluentBuilder {
        let request = self.client.create_bucket().bucket(&self.bucket);
        // The oldest region is where buckets are that do not say where, and refuses to be named.
        if self.region == "us-east-1" {
            return request;
        }
        let place = BucketLocationConstraint::from(self.region.as_str());
        request.create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(place).build())
    }

    async fn create(&self) -> Result<(), Failure> {
        if self.known() != Known::Missing {
            return Ok(());
        }
        match self.create_bucket_request().send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            // By somebody else of us, or by an attempt whose answer was lost.
            Err(failure) if failure.has_code(&["BucketAlreadyOwnedByYou"]) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn keep_versions(&self) -> Result<(), Failure> {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.client.put_bucket_versioning().bucket(&self.bucket).versioning_configuration(enabled);
        request.set_expected_bucket_owner(self.owner()).send().await?;
        Ok(())
    }

    async fn block_public_access(&self) -> Result<(), Failure> {
        let all = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let request = self.client.put_public_access_block().bucket(&self.bucket).public_access_block_configuration(all);
        let done = request.set_expected_bucket_owner(self.owner()).send().await;
        self.where_supported(done.map(drop).map_err(Failure::from))
    }

    async fn set_policy(&self) -> Result<(), Failure> {
        let is_encrypted = self.endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https:"));
        let policy = bucket_policy(&self.bucket, &self.region, is_encrypted);
        let request = self.client.put_bucket_policy().bucket(&self.bucket).policy(policy);
        let done = request.set_expected_bucket_owner(self.owner()).send().await;
        self.where_supported(done.map(drop).map_err(Failure::from))
    }

    async fn set_lifecycle(&self) -> Result<(), Failure> {
        let rules = lifecycle().map_err(|error| Failure::NotSent {
            error: S3Error::NoAnswer { detail: error.to_string() },
            is_transient: false,
        })?;
        let request = self.client.put_bucket_lifecycle_configuration().bucket(&self.bucket);
        let request = request.lifecycle_configuration(rules).set_expected_bucket_owner(self.owner());
        self.where_supported(request.send().await.map(drop).map_err(Failure::from))
    }

    /// What protects a bucket in addition may be missing in stores of other makers: nobody has an account there who
    /// was not given one.
    fn where_supported(&self, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(Failure::Answer(answer))
                if self.endpoint.is_some() && (answer.is_unsupported() || answer.is_one_of(&UNSUPPORTED)) =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// Writes an object that must not be there a second time. A store that allows it would also allow two deployments
    /// at once to overwrite each other.
    async fn check_conditional_writes(&self) -> Result<(), StoreError> {
        // Somebody else may be looking at the same time, and take his probe away between two writes of ours.
        let key = format!("{PROBES}{}", OperationId::from_random(SystemWorld.random()));
        let doing = "probe the conditional writes of";
        let write = |precondition| {
            let key = &key;
            async move { self.step(doing, "s3:PutObject", || self.probe(key, &precondition)).await }
        };
        // It may have been written by an attempt whose answer was lost.
        let mut first = write(Precondition::IfNoneMatch).await?;
        if let Probed::Denied(failure) = first {
            // The policy is for probes too. Where it keeps us out, the store does not know what it says.
            let action = "s3:DeleteBucketPolicy";
            if self.endpoint.is_none() || self.step("free", action, || self.delete_policy()).await.is_err() {
                return Err(self.call(&format!("{doing} {}", self.describe()), "s3:PutObject").error(&failure));
            }
            first = write(Precondition::IfNoneMatch).await?;
        }
        let twice = write(Precondition::IfNoneMatch).await?;
        let other = Etag("\"00000000000000000000000000000000\"".to_owned());
        let changed = write(Precondition::IfMatch(other)).await?;
        let delete = || async {
            let request = self.client.delete_object().bucket(&self.bucket).key(&key);
            request.set_expected_bucket_owner(self.owner()).send().await.map(drop).map_err(Failure::from)
        };
        self.step("delete the probe in", "s3:DeleteObject", delete).await?;
        let found = match (first, twice, changed) {
            (_, Probed::Refused, Probed::Refused) => return Ok(()),
            (Probed::Denied(failure), ..) | (_, Probed::Denied(failure), _) | (.., Probed::Denied(failure)) => {
                return Err(self.call(&format!("{doing} {}", self.describe()), "s3:PutObject").error(&failure));
            }
            (Probed::Unsupported, ..) | (_, Probed::Unsupported, _) => "it does not know If-None-Match",
            (_, Probed::Written, _) => "an object that existed was written in spite of If-None-Match",
            (.., Probed::Unsupported) => "it does not know If-Match",
            (.., Probed::Written) => "an object was replaced in spite of an If-Match that did not match",
        };
        let doing = format!("keep the cloud state of {} in {}", self.app, self.describe());
        let store = self.describe();
        let error = S3Error::NoConditionalWrites { store, found: found.to_owned() };
        Err(self.call(&doing, "s3:PutObject").hindered(error))
    }

    async fn probe(&self, key: &str, precondition: &Precondition) -> Result<Probed, Failure> {
        match self.put_once(key, b"A store must refuse to write this twice.\n", precondition).await {
            Ok(_) => Ok(Probed::Written),
            Err(failure) if failure.has_status(412) => Ok(Probed::Refused),
            // Some say no more than the status.
            Err(failure) if failure.has_status(403) && failure.has_code(&["AccessDenied", ""]) => {
                Ok(Probed::Denied(failure))
            }
            Err(Failure::Answer(answer)) if answer.is_unsupported() => Ok(Probed::Unsupported),
            Err(failure) => Err(failure),
        }
    }

    async fn delete_policy(&self) -> Result<(), Failure> {
        let request = self.client.delete_bucket_policy().bucket(&self.bucket);
        request.set_expected_bucket_owner(self.owner()).send().await?;
        Ok(())
    }
}

enum Probed {
    Written,
    Refused,
    Unsupported,
    Denied(Failure),
}

/// What nobody needs any more goes by itself: parts of uploads that nobody completed, and what was deleted or replaced
/// long ago.
fn lifecycle() -> Result<BucketLifecycleConfiguration, BuildError> {
    let rule = |id: &str, prefix: &str| {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
    };
    let after = |days| NoncurrentVersionExpiration::builder().noncurrent_days(days);
    let unfinished = AbortIncompleteMultipartUpload::builder().days_after_initiation(UNFINISHED_DAYS).build();
    let kept = i32::try_from(KEPT_STATES).unwrap_or(i32::MAX);
    BucketLifecycleConfiguration::builder()
        .rules(rule("unfinished-uploads", "").abort_incomplete_multipart_upload(unfinished).build()?)
        .rules(
            rule("old-states", STATE)
                .noncurrent_version_expiration(after(STATE_DAYS).newer_noncurrent_versions(kept).build())
                .build()?,
        )
        .rules(rule("deleted-versions", VERSIONS).noncurrent_version_expiration(after(DELETED_DAYS).build()).build()?)
        .rules(rule("deleted-hooks", HOOKS).noncurrent_version_expiration(after(DELETED_DAYS).build()).build()?)
        .rules(
            rule("probes", PROBES)
                .expiration(LifecycleExpiration::builder().days(1).build())
                .noncurrent_version_expiration(after(1).build())
                .build()?,
        )
        .build()
}
