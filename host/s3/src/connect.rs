//! The clients: who asks, and where.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_types::service_config::ServiceConfigKey;
use jecloud_aws::configuration;
use jecloud_cloud::StoreError;

use crate::answer::{Answer, Call, Failure};
use crate::error::S3Error;
use crate::options::S3Options;

/// What may be repeated is sent so often, with pauses that begin with [`FIRST_PAUSE`] and double.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What is known of the other side.
pub(crate) struct Connection {
    pub(crate) client: aws_sdk_s3::Client,
    pub(crate) region: String,
    /// The URL of a store that is not Amazon's.
    pub(crate) endpoint: Option<String>,
    /// The number of the account; none where the store has no accounts.
    pub(crate) account: Option<String>,
}

/// Connects, as far as one does: who asks is found out.
pub(crate) async fn connect(options: &S3Options, doing: &str) -> Result<Connection, StoreError> {
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE);
    let config = configuration(&options.access, retries).await;
    let mut call = Call { doing, action: "sts:GetCallerIdentity", bucket: "", region: "" };
    let Some(region) = config.region().map(ToString::to_string) else { return Err(call.hindered(S3Error::NoRegion)) };
    call.region = &region;
    let endpoint = endpoint(&config);
    let mut builder = aws_sdk_s3::config::Builder::from(&config);
    // Names of hosts that begin with the bucket exist where somebody made them: at Amazon.
    builder.set_force_path_style(endpoint.is_some().then_some(true));
    let account = account(&config, endpoint.as_deref(), &call).await?;
    Ok(Connection { client: aws_sdk_s3::Client::from_conf(builder.build()), region, endpoint, account })
}

/// The URL of a store that is not Amazon's, as the S3 client finds it.
fn endpoint(config: &SdkConfig) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    let given = config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return given;
    }
    config.service_config().and_then(|service| service.load_config(key)).or(given)
}

/// The number of the account.
async fn account(config: &SdkConfig, endpoint: Option<&str>, call: &Call<'_>) -> Result<Option<String>, StoreError> {
    let mut builder = aws_sdk_sts::config::Builder::from(config);
    // Amazon does not know the accounts of others.
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let asked = aws_sdk_sts::Client::from_conf(builder.build()).get_caller_identity().send().await;
    match asked.map_err(Failure::from) {
        Ok(identity) => match identity.account {
            Some(account) => Ok(Some(account)),
            None => Err(call.unreachable(S3Error::NoAnswer { detail: "AWS did not say whose they are".to_owned() })),
        },
        Err(failure) if endpoint.is_some() && failure.answer().is_some_and(knows_no_accounts) => Ok(None),
        Err(failure) => Err(call.error(&failure)),
    }
}

/// Whether the store answered that it does not know the question. What may be answered otherwise another time is not
/// among these: the name of the bucket depends on it.
fn knows_no_accounts(answer: &Answer) -> bool {
    const CODES: [&str; 5] =
        ["InvalidAction", "InvalidRequest", "InvalidParameterValue", "MissingParameter", "InvalidArgument"];
    answer.is_unsupported() || answer.status == 404 || (answer.status == 400 && answer.is_one_of(&CODES))
}

/// The URL without a user's name and password in it, to be shown.
pub(crate) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority_ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_ends);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        assert_eq!(without_secrets("https://ada:pass@host:1/a?key=b#c"), "https://host:1/a");
        assert_eq!(without_secrets("http://127.0.0.1:9000"), "http://127.0.0.1:9000");
        assert_eq!(without_secrets("ada:pass@host"), "host");
    }
}
