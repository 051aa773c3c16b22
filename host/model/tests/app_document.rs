//! `app.json` from before and from later versions of JeCloud.

use jecloud_model::app::AppDocument;
use jecloud_model::ids::VersionId;

fn version(number: u64) -> VersionId {
    format!("{number:064x}").parse().expect("a valid version")
}

/// A document as DESIGN.md shows it, without the keys that came later; and one from the future keeps its keys.
#[test]
fn documents_of_other_versions() {
    let text = format!(
        r#"{{"format": 1, "min_writer": 1, "current_version": "{}", "deployment": null,
            "aborted_deployment_versions": [], "recent_failed_deployments": [], "invented_later": [1]}}"#,
        version(3)
    );
    let document: AppDocument = serde_json::from_str(&text).expect("readable");
    assert_eq!(document.current_version, Some(version(3)));
    let again = serde_json::to_value(&document).expect("writable");
    assert_eq!(again["invented_later"], serde_json::json!([1]));
    assert!(document.format.check_writable().is_ok());
    // A deployment from before there were gates waits for nobody.
    let deployment =
        r#""deployment": {"version": "V", "release": 4, "request_date": "2026-01-02T03:04:05Z", "state": "preparing"}"#;
    let before = text.replace("\"deployment\": null", &deployment.replace('V', version(4).as_str()));
    let before: AppDocument = serde_json::from_str(&before).expect("readable");
    let deployment = before.deployment.expect("it deploys");
    assert_eq!((deployment.follows, deployment.hold), (false, false));
    let newer = text.replace("\"min_writer\": 1", "\"min_writer\": 2");
    let newer: AppDocument = serde_json::from_str(&newer).expect("readable");
    assert!(newer.format.check_writable().is_err());
}
