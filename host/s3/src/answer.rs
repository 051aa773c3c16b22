//! What the client says went wrong, made into what the store's callers need to know: whether it may have been done,
//! whether it may be repeated, and who has to do what.
//!
//! The client's own errors end here. They hold whole requests and answers, which nobody should print.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use jecloud_cloud::StoreError;

use crate::error::S3Error;

/// The longest text of somebody else that is shown, in characters.
const LONGEST_TEXT: usize = 300;

const NOT_IN_TIME: &str = "there was no answer in time";

/// What came of a request that did not do what it was for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not sent.
    NotSent {
        error: S3Error,
        /// Whether a later attempt may be sent.
        is_transient: bool,
    },
    /// It may have been done.
    Lost(String),
    /// It was answered.
    Answer(Answer),
}

/// A no.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Empty where the answer had no body.
    pub(crate) code: String,
    message: String,
    /// Where the bucket is.
    region: Option<String>,
    /// The server's clock, less ours.
    skew: Option<Skew>,
}

#[derive(Debug, Clone, Copy)]
struct Skew {
    ahead: bool,
    difference: Duration,
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        if let Some(failure) = of_credentials(&error) {
            return failure;
        }
        match &error {
            SdkError::ServiceError(context) => Self::Answer(Answer::new(context.raw(), context.err())),
            SdkError::ConstructionFailure(_) => {
                Self::NotSent { error: S3Error::NoAnswer { detail: chain(&error) }, is_transient: false }
            }
            SdkError::TimeoutError(_) => Self::Lost(NOT_IN_TIME.to_owned()),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Lost(NOT_IN_TIME.to_owned()),
            // The client's own words say no more than that it failed.
            _ => Self::Lost(error.source().map_or_else(|| chain(&error), chain)),
        }
    }
}

/// Whether there were no credentials to send it with.
fn of_credentials(error: &(dyn Error + 'static)) -> Option<Failure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            let is_transient = matches!(error, CredentialsError::ProviderTimedOut(_));
            let error = match error {
                CredentialsError::CredentialsNotLoaded(_) => S3Error::NoCredentials,
                // Asking the machine for its role is the last thing that is tried: nothing else was configured.
                other if other.source().is_some_and(|source| source.is::<ImdsError>()) => S3Error::NoCredentials,
                other => S3Error::CredentialsUnavailable { detail: other.source().map_or_else(|| chain(other), chain) },
            };
            return Some(Failure::NotSent { error, is_transient });
        }
        next = error.source();
    }
    None
}

/// An error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        // Some repeat their cause in their own words.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    shown(&text)
}

/// A text of somebody else: one line, and not too long.
fn shown(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST_TEXT) {
        line.truncate(end);
        line.push('…');
    }
    line
}

impl Answer {
    fn new(response: &HttpResponse, error: &impl ProvideErrorMetadata) -> Self {
        let header = |name| response.headers().get(name);
        let message = shown(error.message().unwrap_or_default());
        let status = response.status().as_u16();
        let skew = header("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        Self {
            status,
            code: shown(error.code().unwrap_or_default()),
            region: header("x-amz-bucket-region").map(shown).or_else(|| quoted_after(&message, "expecting '")),
            message,
            skew: skew.and_then(|there| Skew::between(SystemTime::now(), SystemTime::try_from(there).ok()?)),
        }
    }

    /// Whether the same request may be answered with a yes later.
    fn is_transient(&self) -> bool {
        const CODES: [&str; 9] = [
            "RequestTimeout",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "RequestLimitExceeded",
            "OperationAborted",
            "ConditionalRequestConflict",
            // What arrived is not what was sent.
            "BadDigest",
            "XAmzContentSHA256Mismatch",
        ];
        (self.status >= 500 && !self.is_unsupported()) || [408, 429].contains(&self.status) || self.is_one_of(&CODES)
    }

    /// Whether the store does not know what it was asked to do.
    pub(crate) fn is_unsupported(&self) -> bool {
        [405, 501].contains(&self.status) || self.is_one_of(&["NotImplemented", "XNotImplemented", "MethodNotAllowed"])
    }

    pub(crate) fn is_one_of(&self, codes: &[&str]) -> bool {
        codes.contains(&&*self.code)
    }

    /// In words, in the context of what was attempted.
    fn explain(&self, call: &Call<'_>) -> S3Error {
        let bucket = || call.bucket.to_owned();
        let is_late = ["Signature expired", "Signature not yet current"].iter().any(|part| self.message.contains(part));
        if is_late || self.is_one_of(&["RequestTimeTooSkewed", "RequestExpired"]) {
            let skew = self.skew.unwrap_or(Skew { ahead: false, difference: Duration::ZERO });
            return S3Error::ClockSkew { ahead: skew.ahead, difference: skew.difference };
        }
        let names_region = self.message.contains("region");
        match &*self.code {
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => S3Error::ExpiredCredentials,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "InvalidSecurity"
            | "UnrecognizedClientException"
            | "NotSignedUp"
            | "IncompleteSignature" => S3Error::WrongCredentials { code: self.code.clone() },
            "AuthorizationHeaderMalformed" if !names_region => S3Error::WrongCredentials { code: self.code.clone() },
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException" => self.wrong_region(call),
            _ if [301, 307].contains(&self.status) => self.wrong_region(call),
            "BucketAlreadyExists" => S3Error::BucketTaken { bucket: bucket() },
            "NoSuchBucket" => S3Error::BucketGone { bucket: bucket() },
            "AccessDenied" | "AllAccessDisabled" => self.not_permitted(call),
            _ if self.status == 403 => self.not_permitted(call),
            _ => S3Error::Answered { status: self.status, code: self.code.clone(), message: self.message.clone() },
        }
    }

    fn wrong_region(&self, call: &Call<'_>) -> S3Error {
        let (bucket, configured) = (call.bucket.to_owned(), call.region.to_owned());
        let actual = self.region.clone().filter(|actual| *actual != configured);
        S3Error::WrongRegion { bucket, configured, actual }
    }

    fn not_permitted(&self, call: &Call<'_>) -> S3Error {
        let action = self.denied_action().unwrap_or_else(|| call.action.to_owned());
        S3Error::NotPermitted { action, resource: call.resource() }
    }

    /// The action that AWS says is missing. It says so to members of the account only.
    pub(crate) fn denied_action(&self) -> Option<String> {
        let rest = self.message.split_once("not authorized to perform: ")?.1;
        let action = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':').next()?;
        (!action.is_empty()).then(|| action.to_owned())
    }
}

impl Skew {
    /// None where both agree as well as can be expected.
    fn between(here: SystemTime, there: SystemTime) -> Option<Self> {
        let (ahead, difference) = match here.duration_since(there) {
            Ok(difference) => (true, difference),
            Err(error) => (false, error.duration()),
        };
        (difference > Duration::from_secs(60)).then_some(Self { ahead, difference })
    }
}

/// What stands in quotes after some words.
fn quoted_after(text: &str, before: &str) -> Option<String> {
    let rest = text.split_once(before)?.1;
    Some(rest.split_once('\'')?.0.to_owned())
}

/// What was attempted: the context that an answer is explained in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// `read state.json in the bucket ...`.
    pub(crate) doing: &'a str,
    /// The permission that it takes.
    pub(crate) action: &'static str,
    pub(crate) bucket: &'a str,
    pub(crate) region: &'a str,
}

impl Call<'_> {
    fn resource(&self) -> String {
        if self.bucket.is_empty() { "the account".to_owned() } else { format!("the bucket {}", self.bucket) }
    }

    /// The failure for whoever called the store.
    pub(crate) fn error(&self, failure: &Failure) -> StoreError {
        match failure {
            Failure::NotSent { error, is_transient: false } => self.hindered(error.clone()),
            Failure::NotSent { error, is_transient: true } => self.unreachable(error.clone()),
            Failure::Lost(detail) => self.unreachable(S3Error::NoAnswer { detail: detail.clone() }),
            Failure::Answer(answer) if answer.is_transient() => self.unreachable(answer.explain(self)),
            Failure::Answer(answer) => self.hindered(answer.explain(self)),
        }
    }

    /// A later attempt may succeed.
    pub(crate) fn unreachable(&self, error: S3Error) -> StoreError {
        StoreError::Unreachable { doing: self.doing.to_owned(), source: error.into() }
    }

    /// Where a person can do something about it that is said too.
    pub(crate) fn hindered(&self, error: S3Error) -> StoreError {
        let (doing, hint) = (self.doing.to_owned(), error.hint());
        if hint.is_empty() {
            StoreError::Refused { doing, source: error.into() }
        } else {
            StoreError::Hindered { doing, source: error.into(), hint }
        }
    }
}

impl Failure {
    /// Whether what was asked for may have been done, now or later.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            Self::NotSent { is_transient, .. } => *is_transient,
            Self::Lost(_) => true,
            Self::Answer(answer) => answer.is_transient(),
        }
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::NotSent { .. } | Self::Lost(_) => None,
        }
    }

    /// Whether it was answered by this status or, where there are some, one of these codes.
    pub(crate) fn has_code(&self, codes: &[&str]) -> bool {
        self.answer().is_some_and(|answer| answer.is_one_of(codes))
    }

    pub(crate) fn has_status(&self, status: u16) -> bool {
        self.answer().is_some_and(|answer| answer.status == status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(status: u16, code: &str, message: &str) -> (S3Error, bool) {
        let answer = Answer { status, code: code.into(), message: message.into(), region: None, skew: None };
        let call = Call { doing: "read", action: "s3:GetObject", bucket: "b", region: "eu-west-1" };
        (answer.explain(&call), answer.is_transient())
    }

    /// Each by the words of AWS for it; what a server in memory cannot be made to say is only here.
    #[test]
    fn answers_are_explained() {
        let words = |status, code, message| {
            let (error, is_transient) = explained(status, code, message);
            format!("{error}{}", if is_transient { " (transient)" } else { "" })
        };
        let denied =
            "User: arn:aws:iam::1:user/ada is not authorized to perform: s3:PutBucketPolicy on resource: \"x\"";
        let malformed = "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'";
        let late = "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z";
        for (status, code, message, expected) in [
            (403, "AccessDenied", denied, "the AWS credentials do not permit s3:PutBucketPolicy on the bucket b"),
            (403, "AccessDenied", "no", "the AWS credentials do not permit s3:GetObject on the bucket b"),
            (403, "", "", "the AWS credentials do not permit s3:GetObject on the bucket b"),
            (403, "SignatureDoesNotMatch", late, "the clock of this machine is wrong"),
            (403, "SignatureDoesNotMatch", "no", "AWS does not accept the credentials (SignatureDoesNotMatch)"),
            (400, "AuthorizationHeaderMalformed", malformed, "the bucket b is not in the region eu-west-1"),
            (301, "", "", "the bucket b is not in the region eu-west-1"),
            (400, "ExpiredToken", "no", "the AWS credentials have expired"),
            (503, "SlowDown", "slow", "S3 answered 503 SlowDown: slow (transient)"),
            (501, "NotImplemented", "", "S3 answered 501 NotImplemented"),
            (409, "OperationAborted", "", "S3 answered 409 OperationAborted (transient)"),
            (400, "RequestTimeout", "", "S3 answered 400 RequestTimeout (transient)"),
            (400, "EntityTooLarge", "", "S3 answered 400 EntityTooLarge"),
        ] {
            assert_eq!(words(status, code, message), expected, "{status} {code}");
        }
        assert_eq!(quoted_after(malformed, "expecting '").as_deref(), Some("us-east-1"));
    }

    #[test]
    fn texts_of_others_are_one_short_line() {
        assert_eq!(shown("a\n  b"), "a b");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), LONGEST_TEXT + 1);
    }
}
