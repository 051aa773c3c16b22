//! What came of a call that did not do what it was for: whether it may have been done, whether it may be repeated, and
//! who has to do what.

use jecloud_aws::Skew;

use crate::error::Ec2Error;

/// What came of a call that did not do what it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was not sent.
    NotSent {
        /// Why.
        error: Ec2Error,
        /// Whether a later attempt may be sent.
        is_transient: bool,
    },
    /// It may have been done: in words, what happened instead of an answer.
    Lost(String),
    /// It was answered by a no.
    Answer(Answer),
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// EC2's word for it: `RequestLimitExceeded`.
    pub code: String,
    /// Its sentence.
    pub message: String,
    /// By how much our clock and the server's differ; none where they agree as well as can be expected.
    pub skew: Option<Skew>,
}

/// What EC2 answers who asks too often, or at the wrong moment.
const TRANSIENT: [&str; 9] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "InternalFailure",
    "ServerInternal",
    "ServiceUnavailable",
    "Unavailable",
    "ConcurrentTagAccess",
];

/// What EC2 answers who wants more than the account may have.
const QUOTAS: [&str; 9] = [
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "VolumeLimitExceeded",
    "MaxIOPSLimitExceeded",
    "SecurityGroupLimitExceeded",
    "RulesPerSecurityGroupLimitExceeded",
    "KeyPairLimitExceeded",
    "PendingVerification",
];

impl Failure {
    /// A no, for whoever implements [`crate::Api`] otherwise.
    pub fn answer(status: u16, code: &str, message: &str) -> Self {
        Self::Answer(Answer { status, code: code.to_owned(), message: message.to_owned(), skew: None })
    }

    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotSent { is_transient, .. } => *is_transient,
            Self::Lost(_) => true,
            Self::Answer(answer) => {
                answer.status >= 500 && !answer.is(&["InsufficientInstanceCapacity", "Unsupported"])
                    || answer.status == 429
                    || answer.is(&TRANSIENT)
            }
        }
    }

    /// Whether it was answered with one of these codes.
    pub fn has_code(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Answer(answer) if answer.is(codes))
    }

    /// In words, in the context of what was attempted.
    pub(crate) fn explain(&self, context: &Context<'_>) -> Ec2Error {
        match self {
            Self::NotSent { error, .. } => error.clone(),
            Self::Lost(detail) => Ec2Error::NoAnswer { detail: detail.clone() },
            Self::Answer(answer) => answer.explain(context),
        }
    }
}

/// What an answer is explained in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Context<'a> {
    /// The permission that it takes: `ec2:RunInstances`.
    pub(crate) action: &'a str,
    pub(crate) region: &'a str,
    pub(crate) instance_type: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) image: &'a str,
}

impl Answer {
    fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&&*self.code)
    }

    fn explain(&self, context: &Context<'_>) -> Ec2Error {
        let owned = |text: &str| text.to_owned();
        let is_late = ["Signature expired", "Signature not yet current"].iter().any(|part| self.message.contains(part));
        let is_refused = self.is(&["AuthFailure", "SignatureDoesNotMatch"]);
        if is_late || self.is(&["RequestExpired", "RequestTimeTooSkewed"]) || (is_refused && self.skew.is_some()) {
            let Skew { ahead, difference } = self.skew.unwrap_or_default();
            return Ec2Error::ClockSkew { ahead, by: difference };
        }
        match &*self.code {
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Ec2Error::ExpiredCredentials,
            "AuthFailure"
            | "SignatureDoesNotMatch"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidAccessKeyId"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "Blocked" => Ec2Error::WrongCredentials { code: self.code.clone() },
            "OptInRequired" => Ec2Error::WrongRegion { region: owned(context.region) },
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "Client.UnauthorizedOperation" => {
                let action = self.denied_action().unwrap_or_else(|| owned(context.action));
                Ec2Error::NotPermitted { action }
            }
            "VPCIdNotSpecified" => Ec2Error::NoDefaultVpc { region: owned(context.region) },
            "InsufficientInstanceCapacity" | "InsufficientHostCapacity" | "InsufficientCapacity" => {
                Ec2Error::NoCapacity { instance_type: owned(context.instance_type), zone: owned(context.zone) }
            }
            "InvalidInstanceType" => {
                Ec2Error::NoSuchType { instance_type: owned(context.instance_type), place: owned(context.region) }
            }
            "Unsupported" | "UnsupportedOperation" if self.message.contains("vailability") => {
                Ec2Error::NoSuchType { instance_type: owned(context.instance_type), place: owned(context.zone) }
            }
            "InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable" | "InvalidAMIID.Malformed" => Ec2Error::NoImage {
                image: owned(context.image),
                region: owned(context.region),
                detail: self.message.clone(),
            },
            "OperationNotPermitted" if self.message.contains("disableApiTermination") => Ec2Error::Protected,
            _ if self.is(&QUOTAS) => Ec2Error::Quota { code: self.code.clone(), message: self.message.clone() },
            _ => Ec2Error::Answered { status: self.status, code: self.code.clone(), message: self.message.clone() },
        }
    }

    /// The action that AWS says is missing.
    fn denied_action(&self) -> Option<String> {
        let rest = self.message.split_once("not authorized to perform: ")?.1;
        let action = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':').next()?;
        (!action.is_empty()).then(|| action.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each by the words of AWS for it.
    #[test]
    fn answers_are_explained() {
        let context = Context {
            action: "ec2:RunInstances",
            region: "eu-west-1",
            instance_type: "t4g.small",
            zone: "eu-west-1a",
            image: "ami-1",
        };
        let denied = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ada is not \
                      authorized to perform: ec2:CreateTags on resource: x because no identity-based policy allows it";
        let late = "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z";
        let zone = "Your requested instance type (x) is not supported in your requested Availability Zone (y).";
        let capacity = "We currently do not have sufficient t4g.small capacity in the Availability Zone you requested";
        for (status, code, message, expected, transient) in [
            (403, "UnauthorizedOperation", denied, "the AWS credentials do not permit ec2:CreateTags", false),
            (403, "UnauthorizedOperation", "no", "the AWS credentials do not permit ec2:RunInstances", false),
            (401, "AuthFailure", "no", "AWS does not accept the credentials (AuthFailure)", false),
            (400, "RequestExpired", "late", "the clock of this machine is wrong", false),
            (403, "SignatureDoesNotMatch", late, "the clock of this machine is wrong", false),
            (400, "ExpiredToken", "", "the AWS credentials have expired", false),
            (
                401,
                "OptInRequired",
                "",
                "the AWS region eu-west-1 does not exist, or is not enabled for this account",
                false,
            ),
            (400, "VPCIdNotSpecified", "", "the region eu-west-1 has no default VPC", false),
            (
                400,
                "VcpuLimitExceeded",
                "2 of 1",
                "the quota of the AWS account is reached (VcpuLimitExceeded): 2 of 1",
                false,
            ),
            (
                400,
                "InstanceLimitExceeded",
                "",
                "the quota of the AWS account is reached (InstanceLimitExceeded): ",
                false,
            ),
            (
                500,
                "InsufficientInstanceCapacity",
                capacity,
                "AWS has no t4g.small at the moment in the zone eu-west-1a",
                false,
            ),
            (400, "Unsupported", zone, "the instance type t4g.small does not exist in eu-west-1a", false),
            (400, "InvalidAMIID.NotFound", "", "there is no image ami-1 in the region eu-west-1", false),
            (503, "RequestLimitExceeded", "slow", "EC2 answered 503 RequestLimitExceeded: slow", true),
            (400, "Throttling", "", "EC2 answered 400 Throttling", true),
            (500, "InternalError", "", "EC2 answered 500 InternalError", true),
            (400, "InvalidParameterValue", "bad", "EC2 answered 400 InvalidParameterValue: bad", false),
        ] {
            let failure = Failure::answer(status, code, message);
            assert_eq!(failure.explain(&context).to_string(), expected, "{status} {code}");
            assert_eq!(failure.is_transient(), transient, "{code}");
        }
    }

    #[test]
    fn a_refused_signature_on_a_machine_with_a_wrong_clock_is_the_clocks_fault() {
        let skew = Some(Skew { ahead: true, difference: std::time::Duration::from_secs(600) });
        let answer = Answer { status: 401, code: "AuthFailure".into(), message: "no".into(), skew };
        let error = Failure::Answer(answer).explain(&Context::default());
        assert_eq!(error.to_string(), "the clock of this machine is wrong: it is 10 min ahead");
        assert!(error.hint().contains("timedatectl"));
    }
}
