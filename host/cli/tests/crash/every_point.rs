//! A crash at every effect of a deployment over another one, and at pairs of them.

use std::collections::BTreeMap;

use crate::app::Subject;
use crate::tree;
use crate::watch::Watch;

/// A fault that never happens: the points are only counted.
const NEVER: &str = "*#1000000=crash";

/// How a seeded sample of pairs is drawn: enough to meet every kind of step with every other one over time.
const PAIRS: u64 = 30;

/// Deploys once undisturbed: how many points that hits, and what it leaves.
fn undisturbed(subject: &mut Subject) -> (u64, BTreeMap<String, String>) {
    subject.next();
    let (output, points) = subject.disturbed(NEVER, &["deploy"]);
    output.ok();
    subject.recover("undisturbed");
    (points, tree::serving(&subject.place()))
}

/// What must hold after a disturbed deployment was rolled forward.
fn check(subject: &Subject, expected: &BTreeMap<String, String>, context: &str) {
    assert_eq!(subject.project.get(), (200, format!("version {}", subject.number)), "{context}");
    let found = tree::serving(&subject.place());
    for (path, content) in expected {
        assert_eq!(found.get(path), Some(content), "{context}: {path}");
    }
    let more: Vec<&String> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
    assert!(more.is_empty(), "{context}: left behind: {more:?}");
    // The fixpoint: nothing is left to do.
    let again = subject.project.jecloud(&["fwd"]).ok();
    assert!(again.stdout.contains("Nothing is left to do."), "{context}: {}", again.said());
}

/// Crashes at every `parts`-th point, from the `part`-th on.
fn crash_at_every(part: u64, parts: u64) {
    let mut subject = Subject::serving();
    let (points, expected) = undisturbed(&mut subject);
    assert!(points > 60, "only {points} points: are faults compiled in?");
    let watch = Watch::begin(&subject);
    let mut crashes = 0;
    for point in
        (1..=points).skip(usize::try_from(part).expect("small")).step_by(usize::try_from(parts).expect("small"))
    {
        subject.next();
        let context = format!("a crash at point {point} of {points}");
        let (_, hit) = subject.disturbed(&format!("*#{point}=crash"), &["deploy"]);
        crashes += u64::from(hit >= point);
        subject.recover(&context);
        check(&subject, &expected, &context);
    }
    watch.end();
    // The number of points varies a little with timing; nearly all must have been hit.
    assert!(crashes * parts * 10 >= points * 8, "only {crashes} crashes of {points} points happened");
}

/// Invariants 1, 2, 3 and 6. Split in two so that both cores work.
///
/// Fails when `durable::replace` writes in place, when `link::switch` removes before it links, when the archive is
/// unpacked under its own name, when `prepare` does not look for what it did before, and when `follow` does not start
/// a roll-forward where nobody works.
#[test]
fn every_odd_point() {
    crash_at_every(0, 2);
}

/// See `every_odd_point`.
#[test]
fn every_even_point() {
    crash_at_every(1, 2);
}

/// A second crash while the first one is recovered from. The sample is drawn by a fixed rule, so a failure is
/// repeated by running the test again.
#[test]
fn pairs_of_points() {
    let mut subject = Subject::serving();
    let (points, expected) = undisturbed(&mut subject);
    let watch = Watch::begin(&subject);
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut draw = |below: u64| {
        // The generator of Marsaglia's "Xorshift RNGs" (2003), with his triple 13, 7, 17.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        1 + random % below
    };
    for _ in 0..PAIRS {
        let (first, second) = (draw(points), draw(points / 2));
        let context = format!("crashes at points {first} of the deployment and {second} of the recovery");
        subject.next();
        subject.disturbed(&format!("*#{first}=crash"), &["deploy"]);
        subject.disturbed(&format!("*#{second}=crash"), &["fwd"]);
        subject.recover(&context);
        check(&subject, &expected, &context);
    }
    watch.end();
}

/// A crash at points of a rollback, evenly spaced: it takes the same path, so not every one is needed again.
#[test]
fn points_of_a_rollback() {
    let mut subject = Subject::serving();
    undisturbed(&mut subject);
    let watch = Watch::begin(&subject);
    let (_, points) = subject.disturbed(NEVER, &["rollback"]);
    for point in (1..=points).step_by(6) {
        let before = subject.project.get().1;
        let context = format!("a crash at point {point} of {points} of a rollback");
        subject.disturbed(&format!("*#{point}=crash"), &["rollback"]);
        let forward = subject.project.jecloud(&["fwd"]);
        assert_eq!(forward.status, 0, "{context}: {}", forward.said());
        let after = subject.project.get();
        assert_eq!(after.0, 200, "{context}");
        // It was recorded and happened, or it was not.
        let recorded = subject.project.jecloud(&["releases", "--json"]).json();
        let newest = recorded[0]["outcome"].clone();
        assert_eq!(newest, "serving", "{context}: {recorded}");
        assert!(after.1.starts_with("version "), "{context}: {} then {}", before, after.1);
    }
    watch.end();
}

/// A crash at points of the very first deployment, in which the process manager and the front are started too.
#[test]
fn points_of_a_first_deployment() {
    let count = {
        let (output, points, _subject) = first(NEVER);
        output.ok();
        points
    };
    for point in (1..=count).step_by(12) {
        let context = format!("a crash at point {point} of {count} of a first deployment");
        let (_, _, subject) = first(&format!("*#{point}=crash"));
        // Where not even the wish was recorded, `fwd` has nothing to finish, and says so.
        subject.project.jecloud(&["fwd"]);
        let again = subject.project.jecloud(&["deploy"]);
        assert_eq!(again.status, 0, "{context}: {}", again.said());
        assert_eq!(subject.project.get(), (200, "version 1".to_owned()), "{context}");
    }
}

/// A first deployment with a fault, in a world of its own.
fn first(fault: &str) -> (jecloud_testkit::Output, u64, Subject) {
    let subject = Subject::empty();
    let (output, points) = subject.disturbed(fault, &["deploy"]);
    (output, points, subject)
}
