//! As much of bucket policies as denies something here: `Null` and `Bool` conditions on what a request says.

use http::HeaderMap;
use serde_json::Value;

/// Whether a policy denies an action on a resource to a request with these headers, over a connection that is not
/// encrypted. What this does not understand denies. With `ignores_conditions` they count as fulfilled.
pub(super) fn denies(
    policy: &str,
    action: &str,
    resource: &str,
    headers: &HeaderMap,
    ignores_conditions: bool,
) -> bool {
    if policy.is_empty() {
        return false;
    }
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return true };
    let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
    statements.iter().filter(|statement| statement["Effect"] == "Deny").any(|statement| {
        texts(&statement["Action"]).iter().any(|pattern| matches(pattern, action))
            && texts(&statement["Resource"]).iter().any(|pattern| matches(pattern, resource))
            && (ignores_conditions || conditions_hold(&statement["Condition"], headers))
    })
}

fn conditions_hold(conditions: &Value, headers: &HeaderMap) -> bool {
    let Some(operators) = conditions.as_object() else { return true };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().is_some_and(|keys| {
            keys.iter().all(|(key, wanted)| match operator.as_str() {
                "Null" => {
                    let header = key.strip_prefix("s3:").unwrap_or(key);
                    wanted == &Value::from((!headers.contains_key(header)).to_string())
                }
                "Bool" => key == "aws:SecureTransport" && wanted == "false",
                _ => true,
            })
        })
    })
}

/// One text, or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A pattern is a text, or what it begins with and a star.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern == text,
    }
}
