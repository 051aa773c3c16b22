//! The policy of the bucket.

use jecloud_cloud::keys::STATE;
use serde_json::{Value, json};

use crate::setup::PROBES;

/// The state is written with a precondition by whoever writes it, also by tools that know nothing of this; and only
/// encrypted connections are accepted, unless the store itself is reached without encryption.
pub(crate) fn bucket_policy(bucket: &str, region: &str, is_encrypted: bool) -> String {
    let arn = format!("arn:{}:s3:::{bucket}", partition(region));
    let mut statements = vec![json!({
        "Sid": "StateOnlyWithPrecondition",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        // With the probes of the set-up, which thus see whether it is understood.
        "Resource": [format!("{arn}/{STATE}"), format!("{arn}/{PROBES}*")],
        // All of these must hold for the denial: neither precondition was given.
        "Condition": { "Null": { "s3:if-match": "true", "s3:if-none-match": "true" } },
    })];
    if is_encrypted {
        statements.push(json!({
            "Sid": "OnlyEncryptedConnections",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }));
    }
    let policy: Value = json!({ "Version": "2012-10-17", "Statement": statements });
    policy.to_string()
}

/// The part of AWS that a region belongs to, as names of resources begin with it.
fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_preconditions_must_be_missing_for_the_state_to_be_refused() {
        let policy: Value = serde_json::from_str(&bucket_policy("b", "eu-west-1", true)).unwrap();
        let state = &policy["Statement"][0];
        assert_eq!(state["Resource"][0], "arn:aws:s3:::b/state.json");
        assert_eq!(state["Condition"]["Null"].as_object().unwrap().len(), 2);
        assert_eq!(policy["Statement"][1]["Condition"]["Bool"]["aws:SecureTransport"], "false");
        assert!(bucket_policy("b", "cn-north-1", true).contains("arn:aws-cn:s3:::b/state.json"));
        assert!(!bucket_policy("b", "eu-west-1", false).contains("SecureTransport"), "nobody could reach it");
    }
}
