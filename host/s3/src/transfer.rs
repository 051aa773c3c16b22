//! Objects of any size, in constant memory.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use jecloud_cloud::{ObjectStore as _, StoreError};
use jecloud_disk::{DiskError, durable};
use tokio::task::JoinSet;

use crate::answer::Failure;
use crate::error::S3Error;
use crate::store::S3Store;

/// Only the person whose app it is reads what is downloaded.
const FILE_MODE: u32 = 0o600;

/// What is larger is sent in parts of this size: S3 wants at least 5 MiB.
const PART: u64 = 8 << 20;

/// S3 takes 10 000 parts of an object.
const MOST_PARTS: u64 = 9000;

/// So many parts are on their way at once, and in memory.
const AT_ONCE: usize = 4;

/// How long one part, or a whole download, may take. Whether bytes flow at all is looked at apart from this.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How often an interrupted download goes on without having got anything.
const IDLE_ATTEMPTS: u32 = 5;

/// How often an upload is sent to its place while others put the same there.
const CONFLICTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// What the current thread does while others send: it alone may tell how far they are.
struct Upload {
    id: String,
    parts: Vec<CompletedPart>,
    done: u64,
}

impl S3Store {
    pub(crate) fn upload(&self, key: &str, file: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        let reading = format!("read {}", file.display());
        let refused = |source: jecloud_cloud::Cause| StoreError::Refused { doing: reading.clone(), source };
        let Some(source) = durable::open(file).map_err(|error| refused(error.into()))? else {
            return Err(refused(io::Error::from(io::ErrorKind::NotFound).into()));
        };
        let size = source.metadata().map_err(|error| refused(error.into()))?.len();
        self.prepare()?;
        let part = PART.max(size.div_ceil(MOST_PARTS));
        // The file may have grown since: what was there counts.
        let mut source = source.take(size);
        let mut next = || -> Result<Bytes, StoreError> {
            let mut bytes = Vec::with_capacity(usize::try_from(part.min(size)).unwrap_or_default());
            (&mut source).take(part).read_to_end(&mut bytes).map_err(|error| refused(error.into()))?;
            Ok(Bytes::from(bytes))
        };
        if size <= part {
            let bytes = next()?;
            self.put_whole(key, bytes)?;
        } else {
            self.put_in_parts(key, size, &mut next, progress)?;
        }
        progress(size);
        Ok(())
    }

    /// Large requests have more time than small ones.
    fn patient() -> Builder {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(PATIENCE)
            .operation_attempt_timeout(PATIENCE)
            .build();
        Builder::new().timeout_config(timeouts)
    }

    fn put_whole(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.until_it_is_there(key, || async {
            let request = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*");
            let request = request.set_expected_bucket_owner(self.owner()).body(ByteStream::from(bytes.clone()));
            request.customize().config_override(Self::patient()).send().await.map(drop).map_err(Failure::from)
        })
    }

    /// Puts an object whose key names its content: that it is there already is as good.
    fn until_it_is_there<F: Future<Output = Result<(), Failure>>>(
        &self,
        key: &str,
        attempt: impl Fn() -> F,
    ) -> Result<(), StoreError> {
        let doing = self.doing("write", key);
        self.block_on(async {
            let mut conflicts = 0;
            loop {
                match attempt().await {
                    Ok(()) => return Ok(()),
                    Err(failure) if failure.has_status(412) => return Ok(()),
                    Err(failure) if failure.has_status(409) && conflicts < CONFLICTS => conflicts += 1,
                    Err(failure) => return Err(self.call(&doing, "s3:PutObject").error(&failure)),
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    }

    fn put_in_parts(
        &self,
        key: &str,
        size: u64,
        next: &mut dyn FnMut() -> Result<Bytes, StoreError>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        let doing = self.doing("write", key);
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).set_expected_bucket_owner(self.owner());
        let begun = self.block_on(request.send()).map_err(Failure::from);
        let id = match begun.map(|begun| begun.upload_id) {
            Ok(Some(id)) => id,
            Ok(None) => {
                let detail = "S3 did not say which upload it is".to_owned();
                return Err(self.call(&doing, "s3:PutObject").unreachable(S3Error::NoAnswer { detail }));
            }
            Err(failure) => return Err(self.call(&doing, "s3:PutObject").error(&failure)),
        };
        let mut upload = Upload { id, parts: Vec::new(), done: 0 };
        let sent = self
            .send_parts(key, &mut upload, next, progress)
            .and_then(|()| if upload.done == size { Ok(()) } else { Err(changed(&doing)) });
        if let Err(error) = sent.and_then(|()| self.complete(key, &mut upload)) {
            // Where this fails too, the bucket forgets it after some days.
            let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&upload.id);
            let _ = self.block_on(request.set_expected_bucket_owner(self.owner()).send());
            return Err(error);
        }
        Ok(())
    }

    fn send_parts(
        &self,
        key: &str,
        upload: &mut Upload,
        next: &mut dyn FnMut() -> Result<Bytes, StoreError>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        let doing = self.doing("write", key);
        let mut sending = JoinSet::new();
        let mut number = 0;
        let mut is_read = false;
        loop {
            while !is_read && sending.len() < AT_ONCE {
                let bytes = next()?;
                is_read = bytes.is_empty();
                if is_read {
                    break;
                }
                number += 1;
                sending.spawn_on(self.send_part(key, &upload.id, number, bytes), self.runtime().handle());
            }
            let Some(sent) = self.block_on(sending.join_next()) else { return Ok(()) };
            let sent = sent.unwrap_or_else(|error| Err(Failure::Lost(error.to_string())));
            let (part, size) = sent.map_err(|failure| self.call(&doing, "s3:PutObject").error(&failure))?;
            upload.parts.push(part);
            upload.done += size;
            progress(upload.done);
        }
    }

    fn send_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(CompletedPart, u64), Failure>> + Send + 'static {
        let size = bytes.len() as u64;
        let request = self.client.upload_part().bucket(&self.bucket).key(key).upload_id(upload).part_number(number);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(bytes));
        let sending = request.set_expected_bucket_owner(self.owner()).customize().config_override(Self::patient());
        async move {
            let sent = sending.send().await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
            Ok((part.set_checksum_crc32(sent.checksum_crc32).build(), size))
        }
    }

    fn complete(&self, key: &str, upload: &mut Upload) -> Result<(), StoreError> {
        upload.parts.sort_by_key(|part| part.part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(upload.parts.clone())).build();
        let done = self.until_it_is_there(key, || {
            let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(key);
            let request = request.upload_id(&upload.id).multipart_upload(parts.clone()).if_none_match("*");
            let request = request.set_expected_bucket_owner(self.owner());
            let request = request.customize().config_override(Self::patient());
            async move { request.send().await.map(drop).map_err(Failure::from) }
        });
        // An upload that is completed is no upload any more: the answer to an earlier attempt was lost.
        match done {
            Err(error) if !self.exists(key)? => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn download(&self, key: &str, file: &Path) -> Result<bool, StoreError> {
        let doing = self.doing("copy", key);
        let Some(first) = self.block_on(self.begin(key, 0, None, &doing))? else { return Ok(false) };
        let copied = durable::replace_with(file, FILE_MODE, |out| {
            self.copy(key, first, &doing, &mut |bytes| {
                out.write_all(bytes).map_err(|source| StoreError::Refused {
                    doing: format!("write {}", file.display()),
                    source: source.into(),
                })
            })
            .map_err(CopyError::Store)
        });
        match copied {
            Ok(()) => Ok(true),
            Err(CopyError::Store(error)) => Err(error),
            Err(CopyError::Disk(source)) => Err(StoreError::Refused { doing, source: source.into() }),
        }
    }

    /// The object from some byte on; none where there is no such object.
    async fn begin(
        &self,
        key: &str,
        from: u64,
        etag: Option<&str>,
        doing: &str,
    ) -> Result<Option<GetObjectOutput>, StoreError> {
        let mut request = self.client.get_object().bucket(&self.bucket).key(key);
        if from > 0 {
            request = request.range(format!("bytes={from}-"));
        }
        let request = request.set_if_match(etag.map(str::to_owned)).set_expected_bucket_owner(self.owner());
        match request.customize().config_override(Self::patient()).send().await.map_err(Failure::from) {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.has_code(&["NoSuchKey"]) => Ok(None),
            Err(failure) => self.without_bucket(None, &failure, &self.call(doing, "s3:GetObject")),
        }
    }

    /// Copies the bytes as they come. What is interrupted goes on where it was.
    fn copy(
        &self,
        key: &str,
        first: GetObjectOutput,
        doing: &str,
        write: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let size = first.content_length.and_then(|length| u64::try_from(length).ok());
        let etag = first.e_tag.clone();
        let (mut body, mut done, mut idle) = (first.body, 0, 0);
        loop {
            let error = match self.block_on(body.next()) {
                Some(Ok(bytes)) => {
                    write(&bytes)?;
                    done += bytes.len() as u64;
                    idle = 0;
                    continue;
                }
                None if size.is_none_or(|size| size == done) => return Ok(()),
                None => "it ended early".to_owned(),
                Some(Err(error)) => jecloud_model::chain(&error),
            };
            idle += 1;
            // The end was there, but what came does not have the checksum that S3 keeps.
            let is_whole = size == Some(done);
            if idle > IDLE_ATTEMPTS || is_whole {
                return Err(self.call(doing, "s3:GetObject").unreachable(S3Error::Damaged { detail: error }));
            }
            let next = self.block_on(async {
                tokio::time::sleep(PAUSE).await;
                self.begin(key, done, etag.as_deref(), doing).await
            });
            body = match next? {
                Some(found) => found.body,
                None => return Err(changed(doing)),
            };
        }
    }
}

/// Something that should have stayed as it was did not.
fn changed(doing: &str) -> StoreError {
    let detail = "it was changed meanwhile".to_owned();
    StoreError::Unreachable { doing: doing.to_owned(), source: S3Error::Damaged { detail }.into() }
}

/// Why a copy ended.
enum CopyError {
    Store(StoreError),
    Disk(DiskError),
}

impl From<DiskError> for CopyError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}
