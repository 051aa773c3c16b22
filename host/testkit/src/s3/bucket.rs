//! A bucket and what it ever held.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Md5};

use super::S3Bucket;

/// One content of an object, or its deletion.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: String,
    /// None for a deletion.
    pub(super) bytes: Option<Bytes>,
    pub(super) etag: String,
    /// None for what was uploaded in parts: S3 then keeps a checksum of checksums.
    pub(super) crc32: Option<String>,
    pub(super) written: SystemTime,
}

/// Parts that are no object yet.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) parts: BTreeMap<i32, Bytes>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) owner: String,
    /// Whether its owner lets everybody do everything.
    pub(super) is_open: bool,
    pub(super) region: String,
    pub(super) is_versioned: bool,
    pub(super) is_private: bool,
    pub(super) policy: String,
    pub(super) lifecycle: Vec<String>,
    /// By key, the oldest first.
    pub(super) objects: BTreeMap<String, Vec<Version>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    next_id: u64,
}

impl Bucket {
    pub(super) fn new(owner: &str, region: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            is_open: false,
            region: region.to_owned(),
            is_versioned: false,
            is_private: false,
            policy: String::new(),
            lifecycle: Vec::new(),
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            next_id: 0,
        }
    }

    pub(super) fn describe(&self) -> S3Bucket {
        S3Bucket {
            region: self.region.clone(),
            is_versioned: self.is_versioned,
            is_private: self.is_private,
            policy: self.policy.clone(),
            lifecycle: self.lifecycle.clone(),
            keys: self.current().map(|(key, _)| key.to_owned()).collect(),
            unfinished_uploads: self.uploads.len(),
        }
    }

    pub(super) fn contents(&self, key: &str) -> Vec<Bytes> {
        self.objects.get(key).into_iter().flatten().filter_map(|version| version.bytes.clone()).collect()
    }

    /// The newest content of an object that exists.
    pub(super) fn get(&self, key: &str) -> Option<&Version> {
        self.objects.get(key)?.last().filter(|version| version.bytes.is_some())
    }

    /// All objects that exist, by key.
    pub(super) fn current(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.objects.keys().filter_map(|key| Some((key.as_str(), self.get(key)?)))
    }

    pub(super) fn id(&mut self, what: &str) -> String {
        self.next_id += 1;
        format!("{what}-{:06}", self.next_id)
    }

    pub(super) fn put(&mut self, key: &str, bytes: Bytes, parts: Option<usize>) -> Version {
        let etag = match parts {
            None => etag(&bytes),
            Some(parts) => format!("{}-{parts}", etag(&bytes)),
        };
        let crc32 = parts.is_none().then(|| crc32(&bytes));
        self.append(key, Version { id: String::new(), bytes: Some(bytes), etag, crc32, written: SystemTime::now() })
    }

    pub(super) fn delete(&mut self, key: &str) {
        if !self.is_versioned {
            self.objects.remove(key);
        } else {
            let marker = Version {
                id: String::new(),
                bytes: None,
                etag: String::new(),
                crc32: None,
                written: SystemTime::now(),
            };
            self.append(key, marker);
        }
    }

    fn append(&mut self, key: &str, mut version: Version) -> Version {
        version.id = if self.is_versioned { self.id("version") } else { "null".to_owned() };
        let versions = self.objects.entry(key.to_owned()).or_default();
        versions.retain(|before| before.id != version.id);
        versions.push(version.clone());
        version
    }
}

/// As S3 has them: equal contents have equal ones.
pub(super) fn etag(bytes: &[u8]) -> String {
    Md5::checksum(bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn crc32(bytes: &[u8]) -> String {
    let mut hasher = ChecksumHasher { crc32: Some(Crc32::new()), ..ChecksumHasher::default() };
    hasher.update(bytes);
    hasher.finalize().checksum_crc32.unwrap_or_default()
}
