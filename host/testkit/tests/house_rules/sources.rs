//! Rules about Rust sources.

use crate::none;
use crate::repository::{files, rust_files};

/// A file that is longer is about more than one thing.
const MOST_LINES: usize = 600;

/// The services that people ask for most, and so those that would creep in first.
const SERVICES: [&str; 3] = ["node", "mongodb", "redis"];

/// Lines of the core that name a service all the same: path, a part of the line, why it must.
const NAMES_A_SERVICE: [(&str, &str, &str); 0] = [];

#[test]
fn no_file_is_longer_than_600_lines() {
    let long = |(path, lines): (String, usize)| (lines > MOST_LINES).then(|| format!("{path}: {lines} lines"));
    let wrong = rust_files().map(|file| (file.path.clone(), file.text().lines().count())).filter_map(long);
    none("split these by what they are about", wrong.collect());
}

/// Names that say nothing gather what belongs nowhere.
#[test]
fn no_file_is_called_utils_or_common() {
    let is_vague = |segment: &str| {
        let stem = segment.split('.').next().unwrap_or_default();
        ["util", "utils", "common", "misc", "helpers"].contains(&stem)
    };
    assert!(is_vague("utils.rs") && is_vague("common") && !is_vague("commons.rs"));
    let wrong = files().into_iter().map(|file| file.path).filter(|path| path.split('/').any(is_vague));
    none("name these after what they are about", wrong.collect());
}

#[test]
fn the_core_knows_no_service() {
    assert_eq!(services_in("a Node.js app"), ["node"]);
    assert_eq!(services_in("\"redis\" REDIS mongodb"), ["mongodb", "redis"]);
    assert_eq!(services_in("nodes, inode, node_modules, rediscover, hello_node"), Vec::<&str>::new());
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\n    node\n}\n"), "a\n");
    assert_eq!(without_tests("a\n#[cfg(test)]\n#[path(x)]\nmod tests {\n    node\n}\n"), "a\n");
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), "a\n#[cfg(test)]\nmod tests;\nb\n");

    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| is_core(&file.path)) {
        for (number, line) in without_tests(&file.text()).lines().enumerate() {
            let is_allowed = NAMES_A_SERVICE.iter().any(|(path, part, _)| *path == file.path && line.contains(part));
            if !services_in(line).is_empty() && !is_allowed {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("services are known under hooks/ and examples/ only", wrong);
}

/// Whether a file is a part of what is built into the binary, or of what describes that.
fn is_core(path: &str) -> bool {
    // What is used to develop and to test the core runs it with services.
    let is_for_tests = path.starts_with("host/xtask/")
        || path.starts_with("host/testkit/")
        || path.split('/').any(|segment| segment == "tests" || segment == "tests.rs" || segment == "examples");
    path.starts_with("host/") && [".rs", ".toml"].iter().any(|end| path.ends_with(end)) && !is_for_tests
}

/// The text up to its tests, which are the last thing in a file.
fn without_tests(text: &str) -> &str {
    let mut tests = text.match_indices("#[cfg(test)]\n").map(|(at, mark)| (at, &text[at + mark.len()..]));
    let is_module = |rest: &str| {
        let mut lines = rest.lines().skip_while(|line| line.starts_with('#'));
        lines.next().is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    tests.find(|(_, rest)| is_module(rest)).map_or(text, |(at, _)| &text[..at])
}

/// The services that a text names as whole words.
fn services_in(text: &str) -> Vec<&'static str> {
    let lower = text.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> = lower.split(|c| !is_word(c)).collect();
    SERVICES.into_iter().filter(|service| words.contains(service)).collect()
}

#[test]
fn exceptions_have_reasons() {
    // Put together, so that this file does not break its own rule.
    let allow = |inner: &str| format!("#[{}({inner})]", "allow");
    assert_eq!(without_reason(&allow("dead_code")), [1]);
    assert_eq!(without_reason(&allow("dead_code, reason = \"why\"")), Vec::<usize>::new());
    assert_eq!(without_reason(&format!("\n{}", allow("\n    dead_code\n"))), [2]);

    let wrong = rust_files().flat_map(|file| {
        without_reason(&file.text()).into_iter().map(|line| format!("{}:{line}", file.path)).collect::<Vec<_>>()
    });
    none("say `reason = \"…\"`", wrong.collect());
}

/// The lines on which an exception to a lint begins that does not say why.
fn without_reason(text: &str) -> Vec<usize> {
    let starts = ["allow(", "expect("].iter().flat_map(|lint| {
        ["#[", "#!["]
            .iter()
            .flat_map(move |open| text.match_indices(&format!("{open}{lint}")).map(|(at, _)| at).collect::<Vec<_>>())
    });
    let mut lines: Vec<usize> = starts
        .filter(|&at| {
            let rest = &text[at..];
            !rest[..rest.find(")]").unwrap_or(rest.len())].contains("reason = \"")
        })
        .map(|at| text[..at].matches('\n').count() + 1)
        .collect();
    lines.sort_unstable();
    lines
}

/// A test that does not run promises what nobody knows.
#[test]
fn every_test_runs() {
    let skipped = format!("#[{}", "ignore");
    // At the beginning of a line: what only talks about it stands within one.
    let skips = |text: &str| text.lines().any(|line| line.trim_start().starts_with(&skipped));
    let wrong = rust_files().filter(|file| skips(&file.text())).map(|file| file.path);
    none("repair or delete the tests that are skipped in", wrong.collect());
}
