//! Who asks, where, and with which patience.

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// A connection that is not made within this time is not made.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a small request may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// How Amazon is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// The region; without one, the one that the AWS command line would use.
    pub region: Option<String>,
    /// Something of another maker that speaks the protocol: `http://127.0.0.1:5000`.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// A request that is not answered within this time counts as lost.
    pub patience: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self { region: None, endpoint: None, credentials: Credentials::Default, patience: PATIENCE }
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

/// What every client is made from.
pub async fn configuration(access: &Access, retries: RetryConfig) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT.min(access.patience))
        .read_timeout(access.patience)
        .operation_attempt_timeout(access.patience)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &access.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Credentials::Fixed { access_key_id, secret_access_key, session_token } = &access.credentials {
        let credentials = aws_credential_types::Credentials::new(
            access_key_id,
            secret_access_key,
            session_token.clone(),
            None,
            "given to JeCloud",
        );
        loader = loader.credentials_provider(SharedCredentialsProvider::new(credentials));
    }
    loader.load().await
}

/// With the cryptography that everything else here uses too, and through the proxy that the environment names.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut builder = Connector::builder();
        if let Some(settings) = settings {
            builder = builder.connector_settings(settings.clone());
        }
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        builder.proxy_config(ProxyConfig::from_env()).tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}
