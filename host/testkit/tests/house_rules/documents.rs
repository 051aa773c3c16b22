//! Rules about documents: their links lead somewhere, and what they promise is tested.

use std::path::{Component, Path, PathBuf};

use crate::none;
use crate::repository::{files, root};

#[test]
fn links_lead_to_files_that_exist() {
    let text =
        "[a](b.md#c) ![d](<e f.png>) [g](https://h) [i](#j)\n```\n[k](l)\n```\n`[m](n)` [o](p \"q\")\n[r]: s/t.md\n";
    assert_eq!(links(text), [(1, "b.md"), (1, "e f.png"), (5, "p"), (6, "s/t.md")]);

    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| file.has_extension("md")) {
        for (line, link) in links(&file.text()) {
            let target = match link.strip_prefix('/') {
                Some(from_root) => PathBuf::from(from_root),
                None => Path::new(&file.path).parent().unwrap_or(Path::new("")).join(link),
            };
            if !normal(&target).is_some_and(|target| root().join(target).exists()) {
                wrong.push(format!("{}:{line}: {link}", file.path));
            }
        }
    }
    none("there is no such file", wrong);
}

/// The path without `.` and `..`; none where it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(segment) => normal.push(segment),
            Component::CurDir => {}
            _ => {
                if !normal.pop() {
                    return None;
                }
            }
        }
    }
    Some(normal)
}

/// The links of a document to files, without fragments, and the lines they are on. What is shown as code is none.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let definition = line.starts_with('[').then(|| line.split_once("]: ")).flatten().map(|(_, target)| target);
        // Every second piece is between backticks.
        let prose = line.split('`').step_by(2);
        let inline = prose.flat_map(|piece| piece.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        for target in inline.chain(definition) {
            let target = match target.strip_prefix('<') {
                Some(quoted) => quoted.split('>').next().unwrap_or_default(),
                None => target.split_whitespace().next().unwrap_or_default(),
            };
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                links.push((number + 1, path));
            }
        }
    }
    links
}

/// One of the numbered promises of ARCHITECTURE.md.
#[derive(Debug, PartialEq)]
struct Invariant<'a> {
    number: usize,
    /// `path/to/file.rs::function`.
    tests: Vec<&'a str>,
}

/// The numbered list below the heading that speaks of invariants. `Test: file.rs::function` in a line names a test
/// of the invariant it belongs to; there may be several of such lines.
fn invariants(text: &str) -> Vec<Invariant<'_>> {
    let mut invariants: Vec<Invariant<'_>> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        if line.starts_with('#') {
            is_inside = line.to_lowercase().contains("invariants");
        }
        if !is_inside {
            continue;
        }
        let number = line.split_once(". ").and_then(|(number, _)| number.parse().ok());
        if let Some(number) = number {
            invariants.push(Invariant { number, tests: Vec::new() });
        }
        if let (Some((_, tests)), Some(invariant)) = (line.split_once("Test: "), invariants.last_mut()) {
            let tests = tests.split(|c: char| c.is_whitespace() || c == ',' || c == '`');
            invariant.tests.extend(tests.map(|test| test.trim_end_matches('.')).filter(|test| test.contains(".rs::")));
        }
    }
    invariants
}

/// Whether a source has a test function of this name.
fn has_test(source: &str, function: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_attribute = |line: &&str| line.starts_with('#') || line.starts_with("//") || line.ends_with(")]");
    lines.iter().enumerate().any(|(at, line)| {
        let is_function = line
            .trim_start_matches("async ")
            .strip_prefix("fn ")
            .is_some_and(|rest| rest.strip_prefix(function).is_some_and(|rest| rest.starts_with(['(', '<'])));
        let mut above = lines[..at].iter().rev().take_while(|line| is_attribute(line));
        is_function && above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let text =
        "# A\n1. no\n## Invariants\n1. One.\n   Test: `a/b.rs::c`, d.rs::e.\n2. Two.\nTest: f.rs::g\n## B\n3. no\n";
    let expected = [(1, vec!["a/b.rs::c", "d.rs::e"]), (2, vec!["f.rs::g"])];
    assert_eq!(invariants(text), expected.map(|(number, tests)| Invariant { number, tests }));
    let source = "#[test]\n/// Why.\nfn a() {}\nfn b() {}\n    #[tokio::test(flavor = \"x\")]\n    async fn c() {}\n";
    assert!(has_test(source, "a") && has_test(source, "c"));
    assert!(!has_test(source, "b") && !has_test(source, "d") && !has_test("fn a() {}", "a"));

    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let invariants = invariants(&text);
    assert!(!invariants.is_empty(), "ARCHITECTURE.md has no numbered list below a heading that speaks of invariants");
    let mut wrong = Vec::new();
    for (expected, invariant) in (1..).zip(&invariants) {
        let number = invariant.number;
        if number != expected {
            wrong.push(format!("{number} stands where {expected} should"));
        }
        if invariant.tests.is_empty() {
            wrong.push(format!("{number} names no test: add a line `Test: path/to/file.rs::function`"));
        }
        for test in &invariant.tests {
            let (path, function) = test.split_once("::").expect("a test is named by file and function");
            match std::fs::read_to_string(root().join(path)) {
                Err(error) => wrong.push(format!("{number}: {path}: {error}")),
                Ok(source) if !has_test(&source, function) => {
                    wrong.push(format!("{number}: {path} has no test {function}"))
                }
                Ok(_) => {}
            }
        }
    }
    none("the invariants of ARCHITECTURE.md", wrong);
}
