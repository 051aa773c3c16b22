//! The object store of an app in Amazon S3, or in a store that speaks its protocol.
//!
//! One bucket per app, account and region. Opening it asks who we are and whether the bucket is there; it is made, and
//! what is unfinished of it completed, by the first write. What is written conditionally is never repeated in here:
//! whoever calls looks first what became of it (`jecloud_cloud::StateFile` does).
//!
//! Not promised: use from within an asynchronous runtime, since every call blocks.

mod answer;
mod connect;
mod error;
mod name;
mod options;
mod policy;
mod setup;
mod store;
mod transfer;

pub use error::S3Error;
pub use jecloud_aws::Credentials;
pub use name::bucket_name;
pub use options::S3Options;
pub use store::S3Store;
