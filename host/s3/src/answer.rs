//! What the client says went wrong, made into what the store's callers need to know: whether it may have been done,
//! whether it may be repeated, and who has to do what.
//!
//! The client's own errors end here. They hold whole requests and answers, which nobody should print.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use jecloud_aws::{Outcome, Skew, Unanswered, shown};
use jecloud_cloud::StoreError;

use crate::error::S3Error;

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
    /// By how much our clock and the server's differ.
    skew: Option<Skew>,
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let not_sent = |error, is_transient| Self::NotSent { error, is_transient };
        match jecloud_aws::outcome(&error) {
            Outcome::Answered(response, error) => Self::Answer(Answer::new(response, error)),
            Outcome::Unanswered(Unanswered::NoCredentials) => not_sent(S3Error::NoCredentials, false),
            Outcome::Unanswered(Unanswered::CredentialsUnavailable { detail, is_transient }) => {
                not_sent(S3Error::CredentialsUnavailable { detail }, is_transient)
            }
            Outcome::Unanswered(Unanswered::NotMade(detail)) => not_sent(S3Error::NoAnswer { detail }, false),
            Outcome::Unanswered(Unanswered::Lost(detail)) => Self::Lost(detail),
        }
    }
}

impl Answer {
    fn new(response: &HttpResponse, error: &impl ProvideErrorMetadata) -> Self {
        let message = shown(error.message().unwrap_or_default());
        let status = response.status().as_u16();
        let region = response.headers().get("x-amz-bucket-region").map(shown);
        Self {
            status,
            code: shown(error.code().unwrap_or_default()),
            region: region.or_else(|| quoted_after(&message, "expecting '")),
            message,
            skew: Skew::of(response),
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
            let Skew { ahead, difference } = self.skew.unwrap_or_default();
            return S3Error::ClockSkew { ahead, difference };
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
}
