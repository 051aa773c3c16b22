//! What can be wrong between us and S3, in words.

use std::time::Duration;

/// Why S3 does not do what it was asked, where that is a person's to change or to know. It is the source of the
/// `StoreError` that the store returns. Never says anything of credentials but that they are there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3Error {
    /// Nowhere to be found.
    #[error("there are no AWS credentials")]
    NoCredentials,
    /// They are configured, but what should yield them does not.
    #[error("the AWS credentials could not be obtained: {detail}")]
    CredentialsUnavailable {
        /// What the provider said.
        detail: String,
    },
    /// They were good once.
    #[error("the AWS credentials have expired")]
    ExpiredCredentials,
    /// AWS does not know them, or the secret does not belong to the key.
    #[error("AWS does not accept the credentials ({code})")]
    WrongCredentials {
        /// AWS' word for it: `InvalidAccessKeyId`.
        code: String,
    },
    /// Neither configured nor in the environment.
    #[error("no AWS region is configured")]
    NoRegion,
    /// The bucket is somewhere else, or the store has another region than we sign for.
    #[error("the bucket {bucket} is not in the region {configured}{}", in_words(actual.as_deref(), ", but in "))]
    WrongRegion {
        /// Its name.
        bucket: String,
        /// Where it was looked for.
        configured: String,
        /// Where it is, if S3 said so.
        actual: Option<String>,
    },
    /// The credentials are good, but not for this.
    #[error("the AWS credentials do not permit {action} on {resource}")]
    NotPermitted {
        /// As it is called in policies: `s3:PutObject`.
        action: String,
        /// On what: `the bucket jecloud-guestbook-1234abcd`.
        resource: String,
    },
    /// Names of buckets are shared by all of AWS, and somebody else has it.
    #[error("the bucket name {bucket} belongs to another AWS account")]
    BucketTaken {
        /// The name.
        bucket: String,
    },
    /// It was there when the store was opened, or when it was last written to.
    #[error("the bucket {bucket} has been deleted")]
    BucketGone {
        /// Its name.
        bucket: String,
    },
    /// Requests are signed with the time, and AWS accepts 15 minutes of difference.
    #[error("the clock of this machine is wrong{}", difference_in_words(*.ahead, *.difference))]
    ClockSkew {
        /// Whether it is later here than there.
        ahead: bool,
        /// By how much; zero where it is not known.
        difference: Duration,
    },
    /// The state could be overwritten by two at once.
    #[error("{store} has no conditional writes: {found}")]
    NoConditionalWrites {
        /// Which.
        store: String,
        /// How that was found out.
        found: String,
    },
    /// Another no.
    #[error("S3 answered {status}{}{}", in_words(Some(code), " "), in_words(Some(message), ": "))]
    Answered {
        /// The HTTP status.
        status: u16,
        /// S3's word for it, or empty.
        code: String,
        /// S3's sentence, or empty.
        message: String,
    },
    /// No answer, or none that could be understood.
    #[error("{detail}")]
    NoAnswer {
        /// What happened instead.
        detail: String,
    },
    /// What came is not what was sent.
    #[error("{detail}")]
    Damaged {
        /// How that was noticed.
        detail: String,
    },
}

impl S3Error {
    /// What the person can do, as a fragment; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::NoCredentials => "log in with `aws login` or `aws sso login`, or set AWS_PROFILE, or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
            Self::CredentialsUnavailable { .. } | Self::ExpiredCredentials => {
                "log in again, with `aws login` or `aws sso login`, or get new credentials where these came from"
                    .to_owned()
            }
            Self::WrongCredentials { .. } => {
                "`aws sts get-caller-identity` shows who you are; look at AWS_PROFILE, AWS_ACCESS_KEY_ID and \
                 ~/.aws/credentials"
                    .to_owned()
            }
            Self::NoRegion => {
                "write region = \"eu-west-1\", or where you want it, below [cloud] in jecloud.toml".to_owned()
            }
            Self::WrongRegion { actual: Some(actual), .. } => {
                format!("write region = \"{actual}\" below [cloud] in jecloud.toml")
            }
            Self::WrongRegion { actual: None, .. } => "correct the region below [cloud] in jecloud.toml".to_owned(),
            Self::NotPermitted { action, resource } => {
                format!(
                    "let whoever administers the AWS account permit {action} on {resource}, or set AWS_PROFILE to another role"
                )
            }
            Self::BucketTaken { .. } => {
                "nothing of yours is in it; give the app another name in jecloud.toml".to_owned()
            }
            Self::BucketGone { .. } => {
                "nothing is made anew in its place by this command; if it is gone for good, the next command begins \
                 with an empty one"
                    .to_owned()
            }
            Self::ClockSkew { .. } => {
                "set the clock: `timedatectl set-ntp true` keeps it right from then on".to_owned()
            }
            Self::NoConditionalWrites { .. } => {
                "two deployments at once could overwrite each other there; use Amazon S3, or a store that honours \
                 If-Match and If-None-Match"
                    .to_owned()
            }
            Self::Answered { .. } | Self::NoAnswer { .. } | Self::Damaged { .. } => String::new(),
        }
    }
}

/// With what stands before it; nothing where there is nothing.
fn in_words(text: Option<&str>, before: &str) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(String::new, |text| format!("{before}{text}"))
}

fn difference_in_words(ahead: bool, difference: Duration) -> String {
    let minutes = difference.as_secs() / 60;
    let side = if ahead { "ahead of" } else { "behind" };
    if minutes == 0 { String::new() } else { format!(": it is {minutes} minutes {side} that of AWS") }
}
