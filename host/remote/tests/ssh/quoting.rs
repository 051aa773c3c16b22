//! The line for the shell, tried on a real one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use jecloud_launch::{Launch, RunLimits, run};
use jecloud_remote::shell_line;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::place::LONG;

/// Arguments as a shell hands them on: each with a zero byte behind it.
fn through_a_shell(argv: &[Vec<u8>]) -> Vec<u8> {
    let words = [b"printf".to_vec(), b"%s\\0".to_vec()].into_iter().chain(argv.iter().cloned());
    let line = shell_line(&words.collect::<Vec<_>>()).expect("a line");
    let launch = Launch::new("sh").arg("-c").arg(OsStr::from_bytes(&line));
    let limits = RunLimits { timeout: LONG, keep_bytes: 1 << 20 };
    let finished = run(launch, limits, &|| false, &mut |_, _| {}).expect("sh");
    assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    finished.stdout
}

fn expected(argv: &[Vec<u8>]) -> Vec<u8> {
    argv.iter().flat_map(|argument| [argument, &b"\0"[..]].concat()).collect()
}

/// What means something to a shell, more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(b"'\"\\$`\n\r\t *?[]{}()<>|&;#~=!%^-\x7f\x80\xff".to_vec());
    vec(prop_oneof![special, 1..=255u8], 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    // Fails without the case for the single quote.
    #[test]
    fn a_shell_hands_on_exactly_these_arguments(argv in vec(bytes(), 1..6)) {
        prop_assert_eq!(through_a_shell(&argv), expected(&argv));
    }
}

/// Fails where only words are quoted that seem to need it.
#[test]
fn a_program_with_the_name_of_something_of_the_shell_is_a_program() {
    for word in ["if", "while", "A=b", "~", "-c", "!", "{"] {
        let line = shell_line(&[word, "x"]).expect("a line");
        let launch = Launch::new("sh").arg("-c").arg(OsStr::from_bytes(&line));
        let limits = RunLimits { timeout: LONG, keep_bytes: 4096 };
        let finished = run(launch, limits, &|| false, &mut |_, _| {}).expect("sh");
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert!(said.contains("not found"), "{word}: {said}");
    }
}
