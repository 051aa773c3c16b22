//! What goes wrong on the way to EC2 and inside of it.

use std::time::Duration;

use jecloud_cloud::{Found, Machines, World};
use jecloud_ec2::{Api as _, Failure};
use jecloud_model::cloud::{SeenServer, UNTIL_VISIBLE};

use crate::cloud::Faults;
use crate::life::{End, Life, place, production};

fn up(servers: u32) -> Life {
    let mut life = Life::new(1, servers);
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
    life
}

fn found(life: &Life, machines: &impl Machines, server: &str) -> (&'static str, String) {
    match machines.find(&place(server), &life.record(server).expect("a record")) {
        Found::Present(_) => ("present", String::new()),
        Found::Absent => ("absent", String::new()),
        Found::Gone => ("gone", String::new()),
        Found::Silent(error) => ("silent", error.to_line()),
        Found::Unseen(error) => ("unseen", error.to_line()),
        Found::Unknown(error) => ("unknown", error.to_line()),
    }
}

/// Fails without the client token (a launch whose answer was lost is made again), and where an order that was carried
/// out before is an error the second time.
#[test]
fn fifteen_percent_of_the_calls_are_lost() {
    for seed in 0..60 {
        let mut life = Life::new(seed, 3);
        let late = Duration::from_secs(seed % 4 * 60);
        life.faults(Faults { lost: 15, late, ..Faults::default() });
        let machines = life.machines();
        assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
        assert_eq!(life.ec2.get().instances.len(), 3, "seed {seed}: more were launched than are wanted");
        life.destroy();
        assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
        assert!(life.ec2.living().is_empty(), "seed {seed}: orphans");
    }
}

/// Each that changes something is carried out, and nobody is told so. Fails where the second time is an error: without
/// any of the answers that mean "that is so already" being taken for a yes.
#[test]
fn an_answer_is_lost() {
    let changes =
        ["create_group", "authorize", "import_key_pair", "run", "terminate", "delete_group", "delete_key_pair"];
    for name in changes {
        let mut life = Life::new(1, 2);
        life.faults(Faults { loses_answer_of: Some(name), ..Faults::default() });
        let machines = life.machines();
        assert_eq!(life.settle(&machines), End::Settled, "{name}");
        assert_eq!(life.ec2.get().instances.len(), 2, "{name}");
        life.destroy();
        life.end();
        assert_eq!(life.ec2.get().faults.loses_answer_of, None, "{name} is not called");
        assert_eq!(life.troubles, Vec::<String>::new(), "{name}");
    }
}

/// Fails where "no such instance" is taken for an answer although the instance is shown.
#[test]
fn an_order_to_end_that_is_not_understood() {
    let mut life = up(1);
    life.faults(Faults { knows_not_what_to_end: 2, ..Faults::default() });
    life.destroy();
    life.end();
    assert_eq!(life.troubles, Vec::<String>::new());
}

/// Fails without the look at what the launch came to: the same request would be answered with what has ended.
#[test]
fn terminated_before_anybody_recorded_it() {
    let mut life = Life::new(1, 1);
    let machines = life.machines();
    let details = machines.details(&place("app-1")).unwrap();
    life.record_server("app-1", details.clone());
    let request = serde_json::from_value(details["launch"].clone()).unwrap();
    let launched = life.ec2.run(&request).unwrap();
    life.ec2.end(&launched.id);
    let (machines, before) = (life.machines(), life.ec2.clock.now());
    assert_eq!(life.settle(&machines), End::Settled);
    // And not only when EC2 has forgotten it.
    assert!(life.ec2.clock.now().since(before) < Duration::from_secs(600));
    life.check_all_is_well(1);
    assert_eq!(life.ec2.get().instances.len(), 2);
}

/// Fails without pauses and repetitions; endless throttling is an error that says what happened.
#[test]
fn throttled() {
    let mut life = Life::new(1, 2);
    life.faults(Faults { throttled: 5, ..Faults::default() });
    let machines = life.machines();
    let before = life.ec2.clock.now();
    assert_eq!(life.settle(&machines), End::Settled);
    assert_eq!(life.troubles, Vec::<String>::new());
    assert!(life.ec2.clock.now().since(before) > Duration::from_secs(10), "without pauses");
    life.check_all_is_well(2);

    life.faults(Faults { throttled: u32::MAX, ..Faults::default() });
    let (seen, why) = found(&life, &machines, "app-1");
    assert_eq!(seen, "unknown");
    assert_eq!(
        why,
        "cannot reach server app-1: find server app-1 of production did not come to an end: EC2 answered 503 \
         RequestLimitExceeded: Request limit exceeded."
    );
    // Bounded in calls.
    assert_eq!(life.ec2.get().calls, 6);
}

/// Servers are looked for by one question, however many there are, and what is wrong with one is said of that one: one
/// that nobody made, one that somebody terminated, one whose tags were taken. Fails where each is asked for, and where
/// one that is not among the app's instances is taken for one that is not there.
#[test]
fn one_question_for_all_servers() {
    let mut life = Life::new(1, 4);
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled);
    let look = |life: &mut Life, faults: Faults| {
        life.faults(faults);
        let places: Vec<_> = (1..=4).map(|index| place(&format!("app-{index}"))).collect();
        let records: Vec<_> = places.iter().map(|one| life.record(&one.server.to_string()).expect("it")).collect();
        let seen = machines.find_all(&places.iter().zip(&records).collect::<Vec<_>>());
        let seen: Vec<String> = seen
            .into_iter()
            .map(|found| match found {
                Found::Present(_) => "present".to_owned(),
                Found::Absent => "absent".to_owned(),
                Found::Gone => "gone".to_owned(),
                Found::Silent(error) | Found::Unseen(error) | Found::Unknown(error) => error.to_line(),
            })
            .collect();
        (seen, life.ec2.get().calls)
    };
    assert_eq!(look(&mut life, Faults::default()), (vec!["present".to_owned(); 4], 1));

    let ids = life.ec2.living();
    life.ec2.end(&ids[1]);
    life.ec2.clock.pause(Duration::from_secs(60));
    life.ec2.get().instances[2].tags.clear();
    let (seen, calls) = look(&mut life, Faults::default());
    assert_eq!((seen.iter().filter(|one| *one == "present").count(), calls), (2, 2), "{seen:?}");
    assert_eq!(seen.iter().filter(|one| *one == "gone").count(), 1, "{seen:?}");
    assert_eq!(seen.iter().filter(|one| one.contains("the tags of")).count(), 1, "{seen:?}");

    // Nobody answers: each is unknown, and one is asked as often as for one.
    let (seen, calls) = look(&mut life, Faults { throttled: u32::MAX, ..Faults::default() });
    assert_eq!(calls, 6);
    assert_eq!(
        seen[0],
        "cannot reach server app-1: find the servers of guestbook did not come to an end: EC2 answered 503 \
         RequestLimitExceeded: Request limit exceeded."
    );
}

/// Each look is that of another process, which ends before the next one begins. Fails when one look that shows nothing is
/// enough, when the time between two looks is shorter, when what was recorded is not taken back at a sighting, and when
/// it is remembered by a process instead of recorded: then nobody ever comes to know.
#[test]
fn not_seen_for_five_minutes() {
    let mut life = up(1);
    let almost = UNTIL_VISIBLE - Duration::from_secs(1);
    let since = life.ec2.clock.now();
    let hide = |life: &Life, how_long| {
        let until = life.ec2.clock.now().plus(how_long);
        life.ec2.get().instances[0].hidden_until = until;
        until
    };
    let hidden_until = hide(&life, almost);
    while life.ec2.clock.now() < hidden_until {
        life.pass_by();
        let (seen, why) = found(&life, &life.machines(), "app-1");
        assert_eq!(seen, "unseen");
        assert!(
            why.ends_with(&format!(
                "since {since}; if that is so at {}, it is taken for gone",
                since.plus(UNTIL_VISIBLE)
            )),
            "{why}"
        );
        life.ec2.clock.pause(Duration::from_secs(20));
    }
    life.pass_by();
    assert_eq!(life.record("app-1").unwrap().unseen_since, None);

    // Nor are absences added up that lie on both sides of a sighting, be it of one that somebody has stopped.
    for is_stopped in [false, true] {
        life.ec2.get().instances[0].is_stopped = is_stopped;
        hide(&life, almost);
        life.pass_by();
        assert_eq!(life.record("app-1").unwrap().unseen_since, Some(life.ec2.clock.now()));
        life.ec2.clock.pause(almost);
        life.pass_by();
        assert_eq!(life.record("app-1").unwrap().unseen_since, None);
    }
    life.ec2.get().instances[0].is_stopped = false;
    assert_eq!(life.settle(&life.machines()), End::Settled);
    life.check_all_is_well(1);
    assert_eq!(life.ec2.get().instances.len(), 1);
}

/// Somebody ended it, and nobody looked while EC2 still said so. Processes that live for a moment come to know that it is
/// gone, and make another one.
#[test]
fn forgotten_by_ec2() {
    let mut life = up(1);
    let first = life.ec2.living()[0].clone();
    life.ec2.end(&first);
    life.ec2.clock.pause(Duration::from_secs(7200));
    let before = life.record("app-1").unwrap();
    life.pass_by();
    life.ec2.clock.pause(UNTIL_VISIBLE - Duration::from_secs(1));
    life.pass_by();
    assert_eq!(life.record("app-1").unwrap().details, before.details);
    // Nobody answers: that is no second look.
    life.ec2.clock.pause(Duration::from_secs(1));
    life.faults(Faults { lost: 100, ..Faults::default() });
    life.pass_by();
    assert_eq!(life.record("app-1").unwrap().details, before.details);
    life.faults(Faults::default());
    life.pass_by();
    assert_eq!(life.record("app-1"), None);
    assert_eq!(life.settle(&life.machines()), End::Settled);
    life.check_all_is_well(1);
    assert_ne!(life.ec2.living(), [first]);
}

/// Fails without the number of the account: whoever sees nothing concludes that nothing is there.
#[test]
fn credentials_of_another_account() {
    let mut life = up(1);
    let machines = life.machines();
    let instances = std::mem::take(&mut life.ec2.get().instances);
    life.ec2.get().account = "444455556666".to_owned();
    for _ in 0..3 {
        let (seen, why) = found(&life, &machines, "app-1");
        assert_eq!(seen, "unknown");
        assert!(why.contains("belongs to the AWS account 111122223333"), "{why}");
        life.ec2.clock.pause(UNTIL_VISIBLE);
    }
    let error = machines.remove(&place("app-1"), &life.record("app-1").unwrap()).unwrap_err();
    assert!(error.to_line().contains("444455556666") && error.hint().contains("AWS_PROFILE"), "{}", error.to_line());
    life.ec2.get().account = "111122223333".to_owned();
    life.ec2.get().instances = instances;
    life.check_all_is_well(1);
}

/// Fails without asking for the account before the launch: the record would be given up for one in the other account.
#[test]
fn nothing_is_launched_in_another_account() {
    let life = Life::new(1, 1);
    let machines = life.machines();
    let details = machines.details(&place("app-1")).unwrap();
    let record = jecloud_model::cloud::ServerRecord { details, ..jecloud_model::cloud::ServerRecord::default() };
    life.ec2.get().account = "444455556666".to_owned();
    let error = machines.create(&place("app-1"), &record).unwrap_err();
    assert!(error.to_line().contains("belongs to the AWS account 111122223333"), "{}", error.to_line());
    assert!(matches!(machines.find(&place("app-1"), &record), Found::Absent));
    assert!(life.ec2.living().is_empty());
}

/// Fails without the patience with what was just made.
#[test]
fn a_new_group_is_known_after_some_seconds() {
    let mut life = Life::new(1, 2);
    life.faults(Faults { late_groups: Duration::from_secs(3), ..Faults::default() });
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled);
    assert_eq!(life.troubles, Vec::<String>::new());
    life.check_all_is_well(2);
    assert_eq!(life.ec2.get().groups.len(), 1);
}

#[test]
fn terminated_behind_our_back() {
    let mut life = up(2);
    let first = life.ec2.living()[0].clone();
    life.ec2.end(&first);
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled);
    life.check_all_is_well(2);
    assert_eq!(life.ec2.get().instances.len(), 3);
    assert!(!life.ec2.living().contains(&first));
}

/// An instance that somebody stopped is neither replaced nor started.
#[test]
fn stopped_by_a_person() {
    let mut life = up(1);
    life.ec2.get().instances[0].is_stopped = true;
    let machines = life.machines();
    let (seen, why) = found(&life, &machines, "app-1");
    assert_eq!(seen, "silent");
    assert!(why.contains("somebody stopped i-") && why.contains("aws ec2 start-instances --region eu-west-1"), "{why}");
    assert_eq!(life.settle(&machines), End::Stuck);
    assert_eq!(life.ec2.get().instances.len(), 1);
}

/// Fails without the comparison of the tags.
#[test]
fn what_does_not_carry_our_tags_is_never_touched() {
    for tag in [jecloud_ec2::TAG_APP, jecloud_ec2::TAG_ENVIRONMENT, jecloud_ec2::TAG_SERVER, jecloud_ec2::TAG_LAUNCH] {
        let mut life = up(1);
        life.ec2.get().instances[0].tags.insert(tag.to_owned(), "other".to_owned());
        let machines = life.machines();
        assert_eq!(found(&life, &machines, "app-1").0, "silent");
        let error = machines.remove(&place("app-1"), &life.record("app-1").unwrap()).unwrap_err();
        assert!(error.to_line().contains("do not say that it is this server"), "{}", error.to_line());
        life.destroy();
        assert_eq!(life.settle(&machines), End::Stuck);
        assert_eq!(life.ec2.living().len(), 1, "{tag}");
        assert_eq!(life.ec2.get().called.get("terminate"), None);
    }
}

/// Fails when a refused launch is repeated for ever as it was recorded.
#[test]
fn a_smaller_type_after_a_refused_launch() {
    let mut life = Life::new(1, 1);
    life.settings.default_type = "m7i.24xlarge".to_owned();
    life.faults(Faults { refuses: Some(("VcpuLimitExceeded", "")), ..Faults::default() });
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Stuck);
    let expected = "cannot launch server app-1 of production: the quota of the AWS account is reached \
                    (VcpuLimitExceeded): not in ; no server was launched";
    assert_eq!(life.troubles[0], expected);
    life.settings.default_type = "t3.small".to_owned();
    // The old request is still refused when the next process comes, and the new one is not.
    let machines = life.machines();
    let record = life.record("app-1").unwrap();
    assert!(machines.create(&place("app-1"), &record).is_err());
    life.faults(Faults::default());
    assert_eq!(life.settle(&machines), End::Settled);
    assert_eq!(life.ec2.get().instances[0].request.instance_type, "t3.small");
    life.check_all_is_well(1);
}

/// EC2 remembers tokens for a while only. Fails without the look for what was launched before.
#[test]
fn a_launch_that_ec2_has_forgotten_is_adopted() {
    let life = Life::new(1, 1);
    let machines = life.machines();
    let details = machines.details(&place("app-1")).unwrap();
    let record = jecloud_model::cloud::ServerRecord { details, ..jecloud_model::cloud::ServerRecord::default() };
    let made = machines.create(&place("app-1"), &record).unwrap();
    life.faults(Faults { forgets_tokens: true, ..Faults::default() });
    life.ec2.clock.pause(Duration::from_secs(2 * 24 * 3600));
    assert_eq!(life.machines().create(&place("app-1"), &record).unwrap(), made);
    assert_eq!(life.ec2.living().len(), 1);
}

#[test]
fn a_zone_without_capacity_is_avoided() {
    let mut life = Life::new(1, 3);
    life.faults(Faults { refuses: Some(("InsufficientInstanceCapacity", "1a")), ..Faults::default() });
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
    life.check_all_is_well(3);
    // Zone c has no such type: only b is left.
    let zones: Vec<String> = life.ec2.get().instances.iter().map(|made| made.request.zone.clone()).collect();
    assert_eq!(zones, ["eu-west-1b"; 3]);
    assert!(
        life.troubles[0].contains("AWS has no t3.small at the moment in the zone eu-west-1a"),
        "{:?}",
        life.troubles
    );
}

/// Fails without the record being given up: it names a group that somebody deleted.
#[test]
fn what_a_recorded_launch_names_is_gone() {
    let mut life = Life::new(1, 1);
    let machines = life.machines();
    let details = machines.details(&place("app-1")).unwrap();
    life.record_server("app-1", details);
    life.ec2.get().groups.clear();
    life.ec2.get().keys.clear();
    assert_eq!(life.settle(&machines), End::Settled, "{:?}", life.troubles);
    life.check_all_is_well(1);
}

/// Fails without a limit: machines would be launched for ever.
#[test]
fn machines_that_end_as_they_start() {
    let mut life = Life::new(1, 1);
    life.faults(Faults { ends_at_once: true, ..Faults::default() });
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Stuck);
    let launched = life.ec2.get().instances.len();
    assert!((2..=4).contains(&launched), "{launched} instances");
    let last = life.troubles.last().unwrap();
    assert!(last.contains("ended several times in a row"), "{last}");
    life.faults(Faults::default());
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled);
    life.check_all_is_well(1);
}

/// Two processes work at the same time from the same record.
#[test]
fn two_at_once_make_one_server() {
    let life = Life::new(1, 1);
    life.faults(Faults { late: Duration::from_secs(60), ..Faults::default() });
    let (one, other) = (life.machines(), life.machines());
    let record = jecloud_model::cloud::ServerRecord {
        details: one.details(&place("app-1")).unwrap(),
        ..jecloud_model::cloud::ServerRecord::default()
    };
    let details: Vec<_> = std::thread::scope(|scope| {
        let threads = [&one, &other].map(|machines| scope.spawn(|| machines.create(&place("app-1"), &record).unwrap()));
        threads.map(|thread| thread.join().unwrap()).into_iter().collect()
    });
    assert_eq!(details[0], details[1]);
    assert_eq!(life.ec2.living().len(), 1);
}

/// Every call of every step is lost for good: nothing panics, and nothing is concluded.
#[test]
fn nothing_is_concluded_from_silence() {
    let mut life = up(1);
    life.faults(Faults { lost: 100, ..Faults::default() });
    let machines = life.machines();
    for _ in 0..3 {
        let seen = life.look(&machines);
        assert_eq!(seen.servers[&production()].values().next(), Some(&SeenServer::Unknown));
        life.ec2.clock.pause(UNTIL_VISIBLE);
    }
    assert!(machines.clean_up().is_err() && machines.details(&place("app-2")).is_err());
    life.faults(Faults::default());
    life.check_all_is_well(1);
    assert!(Failure::Lost(String::new()).is_transient());
}
