//! Answers that are no answers. Each fails without the check that its name says.

use jecloud_sandbox::Why;

use crate::build::{context, failure, hook, prepare, why};

#[track_caller]
fn invalid_description(name: &str, expected: &str) {
    match failure(hook(name).describe()).why {
        Why::Answer(text) => assert!(text.contains(expected), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn invalid_plan(name: &str, expected: &str) {
    match why(name) {
        Why::Answer(text) => assert!(text.contains(expected), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn descriptions_are_checked() {
    invalid_description("bad-service-name", "\"../../etc\" is not a valid service name");
    invalid_description("bad-version", "\"1.0\" is not a version");
    invalid_description("bad-schema", "its settings-schema is not JSON");
    invalid_description("bad-input", "\"../../*\" is not a glob inside of the app");
    invalid_description("greedy-input", "its input \"**\" may have more than 8388608 bytes");
    invalid_description("bad-power", "the power to \"write below /etc\" cannot be granted");
}

#[test]
fn plans_are_checked() {
    invalid_plan("bad-route", "routes[0]: \"Web!\" is not a valid process name");
    invalid_plan("same-value-twice", "values has \"KEY\" twice");
    invalid_plan("same-option-twice", "options has \"KEY\" twice");
}

#[test]
fn a_no_of_the_hook_is_an_answer() {
    let problem = prepare(&hook("says-no")).unwrap().answer.unwrap_err();
    assert_eq!((problem.message.as_str(), problem.hint.as_str()), ("no \u{fffd}[2Jway", ""));
}

#[test]
fn traps_are_told_apart() {
    assert_eq!(why("gives-up"), Why::GaveUp);
    assert!(matches!(why("divides-by-zero"), Why::Trap(text) if text.contains("divide by zero")));
    assert!(matches!(why("out-of-bounds"), Why::Trap(text) if text.contains("out of bounds")));
}

/// The library looks at what comes back before we see it.
#[test]
fn answers_that_do_not_fit_the_types_are_refused() {
    for name in ["dangling-answer", "dangling-text", "not-utf-8"] {
        assert!(matches!(why(name), Why::Other(_)), "{name}: {:?}", why(name));
    }
    let why = failure(hook("no-variant").deployed(&context(), &[])).why;
    assert!(matches!(why, Why::Other(_)), "{why:?}");
}

/// Fails where a store is kept between calls.
#[test]
fn every_call_has_a_store_of_its_own() {
    let hook = hook("counts-calls");
    for _ in 0..3 {
        prepare(&hook).unwrap().answer.unwrap();
    }
}
