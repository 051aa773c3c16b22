//! What is known before the store is opened.

use std::time::Duration;

use jecloud_aws::{Access, Credentials};
use jecloud_model::ids::AppName;

/// Where the store of an app is, and who asks.
#[derive(Debug, Clone)]
pub struct S3Options {
    pub(crate) app: AppName,
    pub(crate) access: Access,
}

impl S3Options {
    /// The store of `app` in Amazon S3, with region, endpoint and credentials from where the AWS command line finds
    /// them.
    pub fn new(app: &AppName) -> Self {
        Self { app: app.clone(), access: Access::default() }
    }

    /// In this region, if one is given.
    #[must_use]
    pub fn region(mut self, region: Option<&str>) -> Self {
        self.access.region = region.map(str::to_owned);
        self
    }

    /// In a store of another maker, if its URL is given: `http://127.0.0.1:9000`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Option<&str>) -> Self {
        self.access.endpoint = endpoint.map(str::to_owned);
        self
    }

    /// With these credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.access.credentials = credentials;
        self
    }

    /// A small request that is not answered within this time counts as lost. Uploads and downloads may take longer,
    /// as long as bytes flow.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.access.patience = patience;
        self
    }
}
