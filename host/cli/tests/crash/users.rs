//! The system user of an environment: a crash at every effect that makes, gives or removes.

use jecloud_testkit::made_below;

use crate::app::Subject;

/// What a person types again after a crash leaves exactly one user, as whom the app runs, and `destroy` leaves none.
///
/// Fails when the user is made before it is recorded (killed in between, `destroy` would leave it), and when `destroy`
/// forgets the record before the user is gone.
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
    for point in (1..=points).step_by(3) {
        probe.project.jecloud(&["deploy"]).ok();
        let context = format!("a crash at point {point} of {points} of destroying");
        probe.disturbed(&format!("*#{point}=crash"), &["destroy", "-y"]);
        // It was finished by then, or it is now.
        let again = probe.project.jecloud(&["destroy", "-y"]);
        assert!(again.status == 0 || again.stderr.contains("is not deployed"), "{context}: {}", again.said());
        assert_eq!(made_below(probe.world.directory()), [], "{context}");
        let records = std::fs::read_dir(users()).expect("a directory").count();
        assert!(!probe.place().exists() && records == 0, "{context}");
    }
}
