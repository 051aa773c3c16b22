//! The system user of an environment: a crash at every effect that makes, gives or removes.

use jecloud_testkit::made_below;

use crate::app::Subject;

/// What a person types again after a crash leaves exactly one user, as whom the app runs, and `destroy` leaves none.
///
/// Fails when the user is made before it is recorded (killed in between, `destroy` would leave it), when `destroy` forgets
/// the record before the user is gone, and when nobody removes what a writer of the record left beside it.
#[test]
fn a_crash_while_the_user_is_made_or_removed() {
    let probe = Subject::serving();
    if made_below(probe.world.directory()).is_empty() {
        eprintln!("left out: without root there are no users");
        return;
    }
    for (point, number) in [("user.make", 1), ("give.begin", 1), ("give.mode", 1), ("command.run", 1)] {
        let subject = Subject::empty();
        let (_, hit) = subject.disturbed(&format!("{point}#{number}=crash"), &["deploy"]);
        assert!(hit > 0);
        subject.recover(point);
        assert_eq!(made_below(subject.world.directory()).len(), 1, "{point}");
        assert_eq!(subject.project.get(), (200, "version 1".to_owned()), "{point}");
        subject.project.jecloud(&["destroy", "-y"]).ok();
        assert_eq!(made_below(subject.world.directory()), [], "{point}");
    }
    let (output, points) = probe.disturbed("*#1000000=crash", &["destroy", "-y"]);
    output.ok();
    let users = || probe.world.server().join("sys/users");
    // Evenly spaced, and where the last effects but one are.
    let faults = (1..=points).step_by(8).map(|point| format!("*#{point}"));
    for fault in faults.chain(["user.remove#1".to_owned(), "remove-tree.done#1".to_owned()]) {
        probe.project.jecloud(&["deploy"]).ok();
        let context = format!("a crash at {fault} of {points} points of destroying");
        probe.disturbed(&format!("{fault}=crash"), &["destroy", "-y"]);
        // It was finished by then, or it is now: by whoever wants it destroyed, or by the server's own roll-forward.
        let again = probe.project.jecloud(&["destroy", "-y"]);
        assert!(again.status == 0 || again.stderr.contains("is not deployed"), "{context}: {}", again.said());
        assert_eq!(made_below(probe.world.directory()), [], "{context}");
        let records = std::fs::read_dir(users()).expect("a directory").count();
        assert_eq!((probe.place().exists(), records), (false, 0), "{context}");
    }
}
