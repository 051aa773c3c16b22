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

/// A disk that is damaged for whoever unpacks the new version: nobody waits for it to get well.
///
/// Fails where only a full disk makes a deployment fail: the command waits for ever.
#[test]
fn a_damaged_disk_is_no_reason_to_wait() {
    let mut subject = Subject::serving();
    for (error, words) in [("EIO", "Input/output error"), ("EACCES", "Permission denied"), ("EROFS", "Read-only")] {
        subject.next();
        let (output, _) = subject.disturbed(&format!("unpack.file#1+=error:{error}"), &["deploy"]);
        let output = output.code(1).says(words).says("Look after the server's disk");
        assert_eq!(subject.project.get(), (200, "version 1".to_owned()), "{}", output.said());
    }
    subject.recover("the disk is well again");
    assert_eq!(subject.project.get().1, format!("version {}", subject.number));
}
