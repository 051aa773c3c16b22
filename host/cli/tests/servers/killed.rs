//! Whoever makes servers on EC2 is killed at every fault point, one after the other, and each time somebody else goes
//! on, on another machine, with nothing but the project and the credentials.

use std::collections::BTreeSet;

use jecloud_testkit::{Project, TestCloud, World};

use crate::amazon::{jecloud, project};
use crate::{says, server};

/// The points that have to do with anything but the machine at which somebody works.
const OUTSIDE: [&str; 14] = [
    "cloud.store.put",
    "cloud.store.delete",
    "cloud.state.put",
    "cloud.state.put.done",
    "cloud.server.create",
    "cloud.server.remove",
    "cloud.server.put",
    "cloud.server.hand",
    "cloud.server.proceed",
    "cloud.server.commit",
    "cloud.server.abort",
    "cloud.server.destroy",
    "ec2.change",
    "ec2.change.done",
];

struct Journey<'a> {
    cloud: &'a TestCloud,
    world: &'a World,
    project: &'a Project,
    /// What there was, and the points that a run that was killed had come to, the last one its own.
    killed: BTreeSet<(String, Vec<String>)>,
    runs: usize,
}

/// One run: the points that it came to, and whether it was killed at the last one.
struct Run {
    points: Vec<String>,
    was_killed: bool,
}

impl Run {
    /// The first point that has to do with anything outside.
    fn outside(&self) -> usize {
        self.points.iter().position(|point| OUTSIDE.contains(&point.as_str())).unwrap_or(self.points.len())
    }
}

impl Journey<'_> {
    /// Somebody on a machine of their own types this, and is killed as `fault` says.
    fn run(&mut self, args: &[&str], fault: &str) -> Run {
        self.runs += 1;
        let home = self.world.another_home(&format!("machine-{}", self.runs));
        let log = self.world.directory().join("points");
        let _ = std::fs::remove_file(&log);
        let (home, log) = (home.display().to_string(), log.display().to_string());
        let more = [("JECLOUD_HOME", home.as_str()), ("JECLOUD_FAULT", fault), ("JECLOUD_FAULT_LOG", &log)];
        let output = jecloud(self.cloud, self.project, &more, args);
        let _ = std::fs::remove_dir_all(&home);
        let points: Vec<String> =
            std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
        // What is over was destroyed by the one before, who could not say so any more.
        let is_over = output.status == 0 || output.said().contains("is not deployed to production");
        assert!(is_over || output.status == 137, "{fault} at {points:?}\n{}", output.said());
        Run { points, was_killed: !is_over }
    }

    /// Everybody who types this is killed, until the wish is recorded; then everybody who rolls it forward, until there is
    /// no point any more at which nobody was killed.
    fn killed_everywhere(&mut self, args: &[&str]) {
        assert!(self.killed_until(args, |points| points.last().is_some_and(|last| last == "cloud.state.put.done")));
        assert!(!self.killed_until(&["fwd"], |_| false));
    }

    /// Kills whoever types this until that is so, or until somebody came to the end; whether it was so.
    ///
    /// In each state of the world it begins at the first point that concerns the world, and goes on to the next one until
    /// the world is another. So nobody ever passes a point at which nobody was killed when the world was like that. What
    /// can be seen of the world is the account; where a run got past one such point to another, something on a server may
    /// be otherwise, too.
    fn killed_until(&mut self, args: &[&str], is_enough: fn(&[String]) -> bool) -> bool {
        let first: Vec<String> = OUTSIDE.iter().map(|name| format!("{name}#1=crash")).collect();
        let mut fault = first.join(",");
        loop {
            let before = self.cloud.footprint();
            let run = self.run(args, &fault);
            if !run.was_killed {
                return false;
            }
            if is_enough(&run.points) {
                return true;
            }
            let points = run.points[run.outside()..].to_vec();
            let passed = points.iter().filter(|one| OUTSIDE.contains(&one.as_str())).count();
            let is_another_world = passed > 1 || self.cloud.footprint() != before;
            let is_new = self.killed.insert((before, points));
            fault =
                if is_new && is_another_world { first.join(",") } else { format!("*#{}=crash", run.points.len() + 1) };
            assert!(self.runs < 500, "it gets nowhere: {:?}", run.points);
        }
    }

    /// The points before that concern only the machine at which somebody works. All who work come to the same.
    fn killed_before_anything_happens(&mut self, args: &[&str]) {
        for at in 1.. {
            let run = self.run(args, &format!("*#{at}=crash"));
            if run.outside() < run.points.len() {
                assert!(at > 10, "only {at} points");
                return;
            }
        }
    }

    /// What somebody else finds: so many servers that serve, nothing that nobody knows of, and no more than were wanted.
    #[track_caller]
    fn all_is_well(&self, servers: usize, launched: usize) {
        self.all_say("one", servers, launched);
    }

    /// The same with another text.
    #[track_caller]
    fn all_say(&self, text: &str, servers: usize, launched: usize) {
        let hosts = self.cloud.running();
        assert_eq!(hosts.len(), servers, "{hosts:?}");
        hosts.iter().for_each(|host| says(host, text));
        assert_eq!(self.cloud.instances().len(), launched, "a second one was launched");
        jecloud(self.cloud, self.project, &[], &["doctor"]).ok().says("Nothing is wrong that could be seen.");
    }
}

/// From nothing to a server that serves, to two, back to one, and to nothing, killed at every point.
///
/// Fails where a launch is not recorded before it is made (a second one is launched), where what was launched is not
/// looked for before it is launched again, and where what servers share is not removed by whoever destroys what is
/// destroyed already.
#[test]
fn at_every_point_and_continued_by_somebody_else() {
    let Some(cloud) = TestCloud::start() else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &cloud, 1);
    let mut journey = Journey { cloud: &cloud, world: &world, project: &project, killed: BTreeSet::new(), runs: 0 };
    journey.killed_before_anything_happens(&["deploy"]);
    journey.killed_everywhere(&["deploy"]);
    journey.all_is_well(1, 1);
    journey.killed_everywhere(&["scale", "app=2"]);
    journey.all_is_well(2, 2);
    journey.killed_everywhere(&["scale", "app=1"]);
    journey.all_is_well(1, 2);
    journey.killed_everywhere(&["destroy", "-y"]);
    assert!(!journey.killed_until(&["destroy", "-y"], |_| false), "what servers shared is removed");
    let left: Vec<_> = cloud.instances().into_iter().filter(|one| one.state != "terminated").collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(cloud.shared_of("shop"), Vec::<String>::new());
    jecloud(&cloud, &project, &[], &["status"]).code(1).says("is not deployed");
}

/// A new version on two servers and the way back, killed at every point: both switch, nothing is launched for it.
///
/// Fails where a server that waits for the others is not told to go on by whoever comes next: `CommitServer` and
/// `ProceedOnServer` of the planner.
#[test]
fn a_new_version_and_the_way_back() {
    let Some(cloud) = TestCloud::start() else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &cloud, 2);
    let mut journey = Journey { cloud: &cloud, world: &world, project: &project, killed: BTreeSet::new(), runs: 0 };
    jecloud(&cloud, &project, &[], &["deploy"]).ok();
    journey.all_is_well(2, 2);
    project.write("server.js", &server("two"));
    journey.killed_everywhere(&["deploy"]);
    journey.all_say("two", 2, 2);
    journey.killed_everywhere(&["rollback"]);
    journey.all_is_well(2, 2);
    jecloud(&cloud, &project, &[], &["destroy", "-y"]).ok();
}
