//! The document as it is stored: read back, by newer and older JeClouds, and after people edited it.

use jecloud_model::cloud::{Change, CloudState, InvalidState, ReleaseOutcome};
use serde_json::{Value, json};

use crate::{Story, production};

fn story() -> Story {
    let mut story = Story::new();
    let first = story.deploy(1, 1);
    story.outcome(first, ReleaseOutcome::Serving);
    story.deploy(2, 1);
    story.change(Change::RecordServer {
        environment: production(),
        server: "app-1".parse().unwrap(),
        replaces: None,
        details: serde_json::Map::new(),
    });
    story
}

fn parse(text: &str) -> Result<CloudState, InvalidState> {
    CloudState::parse(text.as_bytes(), &"guestbook".parse().unwrap())
}

#[test]
fn it_is_read_back_as_it_was_written() {
    let state = story().state;
    assert_eq!(parse(&state.to_text()).unwrap(), state);
}

#[test]
fn an_old_writer_keeps_what_a_newer_one_wrote() {
    // Fails without `more` in any of the four structs.
    let mut value: Value = serde_json::from_str(&story().state.to_text()).unwrap();
    value["format"] = json!(7);
    value["new_key"] = json!({"a": [1]});
    value["environments"]["production"]["new_key"] = json!("b");
    value["environments"]["production"]["releases"][0]["new_key"] = json!("c");
    value["environments"]["production"]["servers"]["app-1"]["new_key"] = json!("d");
    let mut story = Story::new();
    story.state = parse(&value.to_string()).unwrap();
    story.change(Change::SetEnv { environment: production(), variables: [("A".to_owned(), "b".to_owned())].into() });
    let written: Value = serde_json::from_str(&story.state.to_text()).unwrap();
    for path in ["/new_key/a/0", "/environments/production/new_key", "/environments/production/releases/0/new_key"] {
        assert_eq!(written.pointer(path), value.pointer(path), "{path}");
    }
    assert_eq!(
        written.pointer("/environments/production/servers/app-1/new_key"),
        value.pointer("/environments/production/servers/app-1/new_key")
    );
}

#[test]
fn what_a_newer_one_forbids_is_refused_before_its_shape_is_looked_at() {
    // Fails without the check of the format before the rest: the shape would be complained about.
    let error = parse(r#"{"format": 9, "min_writer": 9, "clouds": []}"#).unwrap_err();
    assert!(matches!(error, InvalidState::TooOld(_)), "{error}");
}

#[test]
fn what_is_not_a_state_is_refused() {
    let good = story().state.to_text();
    let check = |text: &str, expected: &str| {
        let error = parse(text).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {cause}");
        assert!(message.contains(expected), "{message}");
    };
    check(&good[..good.len() / 2], "damaged: EOF");
    check("", "damaged: EOF");
    check("hello", "damaged: expected value");
    check(&good.replace("\"generation\"", "\"generated\""), "damaged: missing field `generation`");
    check(&good.replace("\"guestbook\"", "\"other\""), "it belongs to the app other, not to guestbook");
    check(
        &good.replace("\"wanted\": 2", "\"wanted\": 5"),
        "wanted of production is 5, which is not among its releases",
    );
    check(
        &good.replace("\"next_release\": 3", "\"next_release\": 2"),
        "next_release of production is 2, and r2 is recorded",
    );
    check(&good.replace("\"release\": 1,", "\"release\": 2,"), "not in the order of their numbers");
}

#[test]
fn people_can_read_it() {
    let text = story().state.to_text();
    assert!(text.starts_with("{\n  \"format\": 1,\n  \"min_writer\": 1,\n  \"cloud_id\""), "{text}");
    assert!(text.ends_with("}\n"));
    assert!(text.contains("\"outcome\": \"serving\""));
}
