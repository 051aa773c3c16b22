//! Effects that fail instead of never returning.

use crate::app::Subject;

/// A full disk at points of a deployment: it fails or is finished later, never half; the old version serves on.
///
/// Fails when a write that failed is taken for done.
#[test]
fn no_space_at_any_point() {
    let mut subject = Subject::serving();
    let mut failed = 0;
    subject.next();
    let (output, points) = subject.disturbed("*#1000000=crash", &["deploy"]);
    output.ok();
    for point in (1..=points).step_by(5) {
        let before = subject.project.get().1;
        subject.next();
        let context = format!("no space at point {point} of {points}");
        let (output, _) = subject.disturbed(&format!("*#{point}=error:ENOSPC"), &["deploy"]);
        let now = subject.project.get();
        assert_eq!(now.0, 200, "{context}");
        let new = format!("version {}", subject.number);
        if output.status == 0 {
            assert_eq!(now.1, new, "{context}: {}", output.said());
        } else {
            failed += 1;
            assert!(now.1 == before || now.1 == new, "{context}: {} after {}", now.1, output.said());
        }
        // There is room again.
        subject.recover(&context);
        assert_eq!(subject.project.get(), (200, new), "{context}");
    }
    assert!(failed > 3, "no fault had any effect");
}
