//! What can be wrong between us and EC2, in words.

use std::time::Duration;

/// Why EC2 does not do what it was asked, where that is a person's to change or to know. Never says anything of
/// credentials but that they are there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ec2Error {
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
        /// AWS' word for it: `AuthFailure`.
        code: String,
    },
    /// Neither configured nor in the environment.
    #[error("no AWS region is configured")]
    NoRegion,
    /// There is none of that name, or it is not enabled for the account.
    #[error("the AWS region {region} does not exist, or is not enabled for this account")]
    WrongRegion {
        /// As it is configured.
        region: String,
    },
    /// The credentials are good, but not for this.
    #[error("the AWS credentials do not permit {action}")]
    NotPermitted {
        /// As it is called in policies: `ec2:RunInstances`.
        action: String,
    },
    /// Requests are signed with the time, and AWS accepts five minutes of difference.
    #[error("the clock of this machine is wrong{}", difference(*.ahead, *.by))]
    ClockSkew {
        /// Whether it is later here than there.
        ahead: bool,
        /// By how much; zero where it is not known.
        by: Duration,
    },
    /// Somebody deleted it.
    #[error("the region {region} has no default VPC")]
    NoDefaultVpc {
        /// Where.
        region: String,
    },
    /// The default VPC has no subnet that servers of this type can be put into.
    #[error("the default VPC of {region} has no default subnet in a zone that offers {instance_type}")]
    NoSubnet {
        /// Where.
        region: String,
        /// The type of server.
        instance_type: String,
    },
    /// The account may not have so many.
    #[error("the quota of the AWS account is reached ({code}): {message}")]
    Quota {
        /// AWS' word for it: `VcpuLimitExceeded`.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// AWS has no such machine at the moment.
    #[error("AWS has no {instance_type} at the moment in the zone {zone}")]
    NoCapacity {
        /// The type of server.
        instance_type: String,
        /// Where.
        zone: String,
    },
    /// There is no such type, or not there.
    #[error("the instance type {instance_type} does not exist in {place}")]
    NoSuchType {
        /// The type.
        instance_type: String,
        /// The region or the zone.
        place: String,
    },
    /// The image is not there, or not for this account.
    #[error("there is no image {image} in the region {region}{}", after(": ", .detail))]
    NoImage {
        /// As it was looked for.
        image: String,
        /// Where.
        region: String,
        /// What there is to say besides.
        detail: String,
    },
    /// Something that belongs to somebody else stands in the way.
    #[error("there is a {kind} {name} which does not carry the tags of this app")]
    NotOurs {
        /// `security group`.
        kind: &'static str,
        /// Its name or id.
        name: String,
    },
    /// A person has forbidden it.
    #[error("the server is protected against termination")]
    Protected,
    /// Another no.
    #[error("EC2 answered {status} {code}{}", after(": ", .message))]
    Answered {
        /// The HTTP status.
        status: u16,
        /// EC2's word for it.
        code: String,
        /// EC2's sentence, or empty.
        message: String,
    },
    /// No answer, or none that could be understood.
    #[error("{detail}")]
    NoAnswer {
        /// What happened instead.
        detail: String,
    },
}

impl Ec2Error {
    /// What the person can do, as a sentence; empty where the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::NoCredentials => "Log in with `aws login` or `aws sso login`, or set AWS_PROFILE, or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
                .to_owned(),
            Self::CredentialsUnavailable { .. } | Self::ExpiredCredentials => {
                "Log in again, with `aws login` or `aws sso login`, or get new credentials where these came from."
                    .to_owned()
            }
            Self::WrongCredentials { .. } => {
                "`aws sts get-caller-identity` shows who you are; look at AWS_PROFILE, AWS_ACCESS_KEY_ID and \
                 ~/.aws/credentials."
                    .to_owned()
            }
            Self::NoRegion => {
                "Write region = \"eu-west-1\", or where you want it, below [cloud] in jecloud.toml.".to_owned()
            }
            Self::WrongRegion { .. } => {
                "Correct the region below [cloud] in jecloud.toml; `aws ec2 describe-regions` lists those of the \
                 account."
                    .to_owned()
            }
            Self::NotPermitted { action } => format!(
                "Let whoever administers the AWS account permit {action}, or set AWS_PROFILE to another role. \
                 `jecloud doctor` lists everything that is missing."
            ),
            Self::ClockSkew { .. } => "Set the clock: `sudo timedatectl set-ntp true`.".to_owned(),
            Self::NoDefaultVpc { region } => format!(
                "`aws ec2 create-default-vpc --region {region}` makes one; or choose another region in jecloud.toml."
            ),
            Self::NoSubnet { region, .. } => format!(
                "`aws ec2 create-default-subnet --region {region} --availability-zone ZONE` makes one; or choose \
                 another type in jecloud.toml."
            ),
            Self::Quota { .. } => "Ask for more under Service Quotas in the AWS console (`Running On-Demand Standard \
                 instances`), or choose a smaller type or count in jecloud.toml."
                .to_owned(),
            Self::NoCapacity { .. } => "Try again later, or choose another type in jecloud.toml.".to_owned(),
            Self::NoSuchType { place, .. } => format!(
                "Choose another type in jecloud.toml; `aws ec2 describe-instance-type-offerings --region {place}` \
                 lists what there is."
            ),
            Self::NoImage { .. } => {
                "Correct the image below [cloud] in jecloud.toml: an id begins with ami-, and belongs to one region."
                    .to_owned()
            }
            Self::NotOurs { kind, name } => {
                format!("Look at the {kind} {name} in the AWS console; if nobody needs it, rename or delete it.")
            }
            Self::Protected => {
                "If it is to go, remove the protection: `aws ec2 modify-instance-attribute --instance-id ID \
                 --no-disable-api-termination`."
                    .to_owned()
            }
            Self::Answered { .. } | Self::NoAnswer { .. } => String::new(),
        }
    }
}

fn after(before: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}") }
}

fn difference(ahead: bool, by: Duration) -> String {
    match by.as_secs() / 60 {
        0 => String::new(),
        minutes => format!(": it is {minutes} min {}", if ahead { "ahead" } else { "behind" }),
    }
}
