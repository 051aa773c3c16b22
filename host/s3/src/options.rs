//! What is known before the store is opened.

use std::fmt;
use std::time::Duration;

use jecloud_model::ids::AppName;

/// How long a small request may take, all in all, before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the store of an app is, and who asks.
#[derive(Debug, Clone)]
pub struct S3Options {
    pub(crate) app: AppName,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) credentials: Credentials,
    pub(crate) patience: Duration,
}

impl S3Options {
    /// The store of `app` in Amazon S3, with region, endpoint and credentials from where the AWS command line finds
    /// them.
    pub fn new(app: &AppName) -> Self {
        Self { app: app.clone(), region: None, endpoint: None, credentials: Credentials::Default, patience: PATIENCE }
    }

    /// In this region, if one is given.
    #[must_use]
    pub fn region(mut self, region: Option<&str>) -> Self {
        self.region = region.map(str::to_owned);
        self
    }

    /// In a store of another maker, if its URL is given: `http://127.0.0.1:9000`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Option<&str>) -> Self {
        self.endpoint = endpoint.map(str::to_owned);
        self
    }

    /// With these credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// A small request that is not answered within this time counts as lost. Uploads and downloads may take longer,
    /// as long as bytes flow.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Who asks. The secret parts are never shown, by `Debug` neither.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Whoever the AWS command line would be: the environment, the shared files, single sign-on, the machine's role.
    #[default]
    Default,
    /// Given.
    Fixed {
        /// `AKIA...`.
        access_key_id: String,
        /// Secret.
        secret_access_key: String,
        /// Of temporary credentials. Secret.
        session_token: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Default => "Default",
            Self::Fixed { .. } => "Fixed(..)",
        })
    }
}
