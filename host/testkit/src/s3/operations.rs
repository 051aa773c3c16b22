//! What the requests do.

use std::sync::{MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketVersioningStatus, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeleteMarkerEntry,
    DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition, GetObjectInput, GetObjectOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectVersion,
    PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput, PutBucketPolicyInput,
    PutBucketPolicyOutput, PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectInput, PutObjectOutput,
    PutPublicAccessBlockInput, PutPublicAccessBlockOutput, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::account;
use super::bucket::{Bucket, Upload, crc32, etag};
use super::policy::denies;
use super::service::{Inside, Shared};

/// So many bytes of a download come at once.
const CHUNK: usize = 64 * 1024;

/// So many entries a list has, unless fewer are asked for. Fewer than in S3, so that pages are turned.
const PAGE: i32 = 50;

/// The store.
pub(super) struct Memory(pub(super) Shared);

impl Memory {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account that asks.
fn caller<T>(request: &S3Request<T>) -> &'static str {
    let credentials = request.credentials.as_ref();
    credentials.and_then(|credentials| account(&credentials.access_key)).map_or("nobody", |(account, _)| account)
}

/// A bucket, for who may do this with this object in it.
fn bucket_for<'a, T>(
    inside: &'a mut Inside,
    request: &S3Request<T>,
    name: &str,
    action: &str,
    key: Option<&str>,
) -> S3Result<&'a mut Bucket> {
    let ignores_conditions = inside.faults.policies_ignore_conditions;
    let Some(bucket) = inside.buckets.get_mut(name) else {
        return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
    };
    let expected = request.headers.get("x-amz-expected-bucket-owner").and_then(|value| value.to_str().ok());
    let resource = match key {
        Some(key) => format!("arn:aws:s3:::{name}/{key}"),
        None => format!("arn:aws:s3:::{name}"),
    };
    let is_denied = !(bucket.is_open || bucket.owner == caller(request))
        || expected.is_some_and(|expected| expected != bucket.owner)
        || denies(&bucket.policy, action, &resource, &request.headers, ignores_conditions);
    if is_denied { Err(s3_error!(AccessDenied, "Access Denied")) } else { Ok(bucket) }
}

/// Whether a write may happen.
fn check(
    bucket: &Bucket,
    key: &str,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let current = bucket.get(key).map(|version| version.etag.as_str());
    let failed = || s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold");
    match (if_match, current) {
        (Some(_), None) => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        (Some(ETagCondition::ETag(wanted)), Some(current)) if wanted.value() != current => return Err(failed()),
        _ => {}
    }
    if if_none_match.is_some() && current.is_some() { Err(failed()) } else { Ok(()) }
}

async fn whole(body: Option<StreamingBlob>, checksum: Option<&str>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|_| s3_error!(IncompleteBody))?);
        }
    }
    if checksum.is_some_and(|checksum| checksum != crc32(&bytes)) {
        return Err(s3_error!(BadDigest, "The checksum is not that of what arrived."));
    }
    Ok(bytes.freeze())
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let owner = caller(&request);
        let configuration = request.input.create_bucket_configuration.as_ref();
        let place = configuration.and_then(|configuration| configuration.location_constraint.clone());
        let place = place.map(|place| place.as_str().to_owned()).unwrap_or_default();
        // The oldest region has no name here, and the others must be the one that was signed for.
        let signed_for = request.region.as_ref().map(|region| region.as_str().to_owned()).unwrap_or_default();
        if place == "us-east-1" || (!place.is_empty() && place != signed_for) {
            return Err(s3_error!(InvalidLocationConstraint, "The specified location-constraint is not valid"));
        }
        if place.is_empty() && signed_for != "us-east-1" {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to."
            ));
        }
        let mut inside = self.inside();
        match inside.buckets.get(&request.input.bucket) {
            Some(bucket) if bucket.owner == owner => return Err(s3_error!(BucketAlreadyOwnedByYou)),
            Some(_) => return Err(s3_error!(BucketAlreadyExists)),
            None => {}
        }
        inside.buckets.insert(request.input.bucket, Bucket::new(owner, &place));
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let mut inside = self.inside();
        let bucket = bucket_for(&mut inside, &request, &request.input.bucket, "s3:PutBucketVersioning", None)?;
        let status = request.input.versioning_configuration.status.as_ref();
        bucket.is_versioned = status.is_some_and(|status| status.as_str() == BucketVersioningStatus::ENABLED);
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let mut inside = self.inside();
        let bucket = bucket_for(&mut inside, &request, &request.input.bucket, "s3:PutBucketPublicAccessBlock", None)?;
        let wanted = &request.input.public_access_block_configuration;
        let all = [
            wanted.block_public_acls,
            wanted.block_public_policy,
            wanted.ignore_public_acls,
            wanted.restrict_public_buckets,
        ];
        bucket.is_private = all.into_iter().all(|setting| setting == Some(true));
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let mut inside = self.inside();
        let bucket = bucket_for(&mut inside, &request, &request.input.bucket, "s3:PutBucketPolicy", None)?;
        if serde_json::from_str::<serde_json::Value>(&request.input.policy).is_err() {
            return Err(s3_error!(MalformedPolicy));
        }
        bucket.policy.clone_from(&request.input.policy);
        Ok(S3Response::new(PutBucketPolicyOutput::default()))
    }

    async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        let mut inside = self.inside();
        let bucket = bucket_for(&mut inside, &request, &request.input.bucket, "s3:DeleteBucketPolicy", None)?;
        bucket.policy.clear();
        Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let mut inside = self.inside();
        let bucket = bucket_for(&mut inside, &request, &request.input.bucket, "s3:PutLifecycleConfiguration", None)?;
        let rules = request.input.lifecycle_configuration.map(|lifecycle| lifecycle.rules).unwrap_or_default();
        bucket.lifecycle = rules.into_iter().filter_map(|rule| rule.id).collect();
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let bytes = whole(request.input.body.take(), request.input.checksum_crc32.as_deref()).await?;
        let mut inside = self.inside();
        let is_checked = !inside.faults.no_conditional_writes;
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:PutObject", Some(&input.key))?;
        if is_checked {
            check(bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        }
        let version = bucket.put(&input.key, bytes, None);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(version.etag)),
            version_id: Some(version.id),
            checksum_crc32: version.crc32,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut inside = self.inside();
        let (ends_after, is_damaged) = (inside.faults.downloads_end_after, inside.faults.downloads_are_damaged);
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:GetObject", Some(&input.key))?;
        let version = match &input.version_id {
            None => bucket.get(&input.key).ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?,
            Some(id) if !id.starts_with("version-") => {
                return Err(s3_error!(InvalidArgument, "Invalid version id specified"));
            }
            Some(id) => {
                let versions = bucket.objects.get(&input.key).map(Vec::as_slice).unwrap_or_default();
                let found = versions.iter().find(|version| version.id == *id);
                found.ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))?
            }
        };
        let Some(bytes) = version.bytes.clone() else { return Err(s3_error!(MethodNotAllowed)) };
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && wanted.value() != version.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let length = bytes.len() as u64;
        let (part, content_range) = match &input.range {
            None => (bytes, None),
            Some(range) => {
                let range = range.check(length).map_err(|_| s3_error!(InvalidRange))?;
                let header = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let (from, to) = (range.start as usize, range.end as usize);
                (bytes.slice(from..to), Some(header))
            }
        };
        let checksum = version.crc32.clone().filter(|_| content_range.is_none() && input.checksum_mode.is_some());
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(part.len()).ok(),
            content_range,
            body: Some(download(&part, ends_after, is_damaged)),
            e_tag: Some(ETag::Strong(version.etag.clone())),
            last_modified: Some(version.written.into()),
            version_id: Some(version.id.clone()),
            checksum_crc32: checksum,
            ..GetObjectOutput::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut inside = self.inside();
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:DeleteObject", Some(&input.key))?;
        bucket.delete(&input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let mut inside = self.inside();
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:ListBucket", None)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().unwrap_or_default();
        let most = input.max_keys.unwrap_or(PAGE).min(PAGE);
        let found = bucket.current().filter(|(key, _)| key.starts_with(&prefix) && *key > after.as_str());
        let mut contents: Vec<Object> = found
            .map(|(key, version)| Object {
                key: Some(key.to_owned()),
                size: version.bytes.as_ref().and_then(|bytes| i64::try_from(bytes.len()).ok()),
                e_tag: Some(ETag::Strong(version.etag.clone())),
                last_modified: Some(version.written.into()),
                ..Object::default()
            })
            .collect();
        let is_truncated = contents.len() > most as usize;
        contents.truncate(most as usize);
        let next = contents.last().filter(|_| is_truncated).and_then(|object| object.key.clone());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(is_truncated),
            next_continuation_token: next,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let mut inside = self.inside();
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:ListBucketVersions", None)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let marker = (input.key_marker.as_deref(), input.version_id_marker.as_deref());
        // By key, then the newest first.
        let all = bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).flat_map(|(key, versions)| {
            versions.iter().rev().enumerate().map(move |(age, version)| (key, age == 0, version))
        });
        let all: Vec<_> = all.collect();
        let begin = match marker {
            (Some(key), Some(id)) => {
                let last = all.iter().position(|(found, _, version)| *found == key && version.id == id);
                last.map_or(all.len(), |last| last + 1)
            }
            (Some(key), None) => all.iter().position(|(found, ..)| found.as_str() > key).unwrap_or(all.len()),
            _ => 0,
        };
        let page: Vec<_> = all[begin..].iter().take(PAGE as usize).collect();
        let is_truncated = begin + page.len() < all.len();
        let mut output = ListObjectVersionsOutput {
            is_truncated: Some(is_truncated),
            next_key_marker: page.last().filter(|_| is_truncated).map(|(key, ..)| (*key).clone()),
            next_version_id_marker: page.last().filter(|_| is_truncated).map(|(_, _, version)| version.id.clone()),
            ..ListObjectVersionsOutput::default()
        };
        for (key, is_latest, version) in page {
            let (key, id) = (Some((*key).clone()), Some(version.id.clone()));
            let (is_latest, last_modified) = (Some(*is_latest), Some(version.written.into()));
            match &version.bytes {
                Some(bytes) => output.versions.get_or_insert_default().push(ObjectVersion {
                    key,
                    version_id: id,
                    is_latest,
                    last_modified,
                    size: i64::try_from(bytes.len()).ok(),
                    e_tag: Some(ETag::Strong(version.etag.clone())),
                    ..ObjectVersion::default()
                }),
                None => output.delete_markers.get_or_insert_default().push(DeleteMarkerEntry {
                    key,
                    version_id: id,
                    is_latest,
                    last_modified,
                    ..DeleteMarkerEntry::default()
                }),
            }
        }
        Ok(S3Response::new(output))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut inside = self.inside();
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:PutObject", Some(&input.key))?;
        let id = bucket.id("upload");
        bucket.uploads.insert(id.clone(), Upload { key: input.key.clone(), ..Upload::default() });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let bytes = whole(request.input.body.take(), request.input.checksum_crc32.as_deref()).await?;
        let mut inside = self.inside();
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:PutObject", Some(&input.key))?;
        let upload = bucket.uploads.get_mut(&input.upload_id).filter(|upload| upload.key == input.key);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload, "The specified upload does not exist."))?;
        let output = UploadPartOutput {
            e_tag: Some(ETag::Strong(etag(&bytes))),
            checksum_crc32: Some(crc32(&bytes)),
            ..UploadPartOutput::default()
        };
        upload.parts.insert(input.part_number, bytes);
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut inside = self.inside();
        let is_checked = !inside.faults.no_conditional_writes;
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:PutObject", Some(&input.key))?;
        if is_checked {
            check(bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        }
        let upload = bucket.uploads.get(&input.upload_id);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload, "The specified upload does not exist."))?;
        let named = input.multipart_upload.as_ref().and_then(|named| named.parts.clone()).unwrap_or_default();
        let mut bytes = BytesMut::new();
        for part in &named {
            let found = part.part_number.and_then(|number| upload.parts.get(&number));
            let found = found.ok_or_else(|| s3_error!(InvalidPart))?;
            if part.checksum_crc32.as_ref().is_some_and(|checksum| *checksum != crc32(found)) {
                return Err(s3_error!(InvalidPart, "The checksum of a part is another."));
            }
            bytes.extend_from_slice(found);
        }
        let version = bucket.put(&input.key, bytes.freeze(), Some(named.len()));
        bucket.uploads.remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(ETag::Strong(version.etag)),
            version_id: Some(version.id),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut inside = self.inside();
        let input = &request.input;
        let bucket = bucket_for(&mut inside, &request, &input.bucket, "s3:AbortMultipartUpload", Some(&input.key))?;
        bucket.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The bytes in chunks, as far as they come, and as they come.
fn download(bytes: &Bytes, ends_after: Option<u64>, is_damaged: bool) -> StreamingBlob {
    let mut bytes = bytes.clone();
    if is_damaged && !bytes.is_empty() {
        let mut other = BytesMut::from(&bytes[..]);
        other[0] ^= 1;
        bytes = other.freeze();
    }
    let end = ends_after.map_or(bytes.len(), |end| bytes.len().min(end as usize));
    let is_cut = end < bytes.len();
    let mut chunks: Vec<std::io::Result<Bytes>> =
        (0..end).step_by(CHUNK).map(|from| Ok(bytes.slice(from..end.min(from + CHUNK)))).collect();
    if is_cut {
        chunks.push(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    }
    StreamingBlob::wrap(stream::iter(chunks))
}
