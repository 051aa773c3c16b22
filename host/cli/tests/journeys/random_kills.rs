//! MongoDB, Redis, the app and JeCloud are killed at random while guests write: what was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jecloud_testkit::{Project, World, eventually, holds_for, kill, request};

use crate::mongodb::can_be_tried;
use crate::world;

/// How long it goes on where nobody says: long enough for some thirty deaths.
const SECONDS: u64 = 25;

/// Says how many seconds it goes on.
const LENGTH: &str = "JECLOUD_KILL_SECONDS";

/// Says from which number chance begins.
const SEED: &str = "JECLOUD_KILL_SEED";

/// How long everything may take to answer in the end.
const BACK: Duration = Duration::from_secs(120);

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Entries, which are in MongoDB.
    entries: Mutex<BTreeSet<String>>,
    /// The highest count of visits that Redis gave.
    visits: AtomicU64,
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Writes until it is told to stop. What gets no answer may be written or not; what gets one is.
fn write(project: &Project, writer: usize, stop: &AtomicBool, acknowledged: &Acknowledged) {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let url = project.url();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let text = format!("{writer}-{number}");
        let body = format!("name=Ada&text={text}");
        if request("POST", &format!("{url}/entries"), &headers, body.as_bytes())
            .is_ok_and(|answer| answer.status == 303)
        {
            acknowledged.entries.lock().expect("nobody panics with it").insert(format!("Ada: {text}"));
        }
        let Ok(page) = request("GET", &format!("{url}/"), &[], b"") else { continue };
        let count = page.body.split("Visit number ").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
        if let Some(visits) = count.filter(|_| page.status == 200) {
            acknowledged.visits.fetch_max(visits, Ordering::Relaxed);
        }
    }
}

/// Kills one process after the other; now and then all, and then somebody looks. How many were killed.
fn kill_at_random(world: &World, project: &Project, seed: u64, until: Instant) -> u32 {
    let mut state = seed;
    // https://en.wikipedia.org/wiki/Xorshift
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut killed = 0;
    while Instant::now() < until {
        let processes = world.processes();
        let all = random(8) == 0;
        let chosen = usize::try_from(random(processes.len().max(1) as u64)).expect("small");
        for (index, pid) in processes.into_iter().enumerate() {
            if all || index == chosen {
                kill(pid);
                killed += 1;
            }
        }
        if all || random(3) == 0 {
            // It may meet what the next one does at the same time; whoever looks later goes on.
            let _ = project.jecloud(&["fwd"]);
        }
        // Some die while they come back, some while they work.
        holds_for(Duration::from_millis(random(1200)), || None);
    }
    killed
}

/// MongoDB acknowledges what is in its journal, and Redis what it has given to the kernel (`everysec`: only a power cut
/// could take the last second): a SIGKILL takes neither. `JECLOUD_KILL_SECONDS=300` goes on for five minutes.
///
/// Fails with `writeConcern` `w: 0` in the app, with `appendonly no` in the configuration of Redis, and where `mongod` is
/// started beside its own data.
#[test]
fn what_was_acknowledged_is_there() {
    if !can_be_tried() {
        return;
    }
    let world = world();
    let project = world.copy_example("guestbook");
    project.jecloud(&["deploy"]).ok();
    let seed = from_environment(SEED).unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    let length = Duration::from_secs(from_environment(LENGTH).unwrap_or(SECONDS));
    eprintln!("{SEED}={seed}");
    let (stop, acknowledged) = (AtomicBool::new(false), Acknowledged::default());
    let killed = std::thread::scope(|scope| {
        for writer in 0..2 {
            let (project, stop, acknowledged) = (&project, &stop, &acknowledged);
            scope.spawn(move || write(project, writer, stop, acknowledged));
        }
        let killed = kill_at_random(&world, &project, seed, Instant::now() + length);
        stop.store(true, Ordering::Relaxed);
        killed
    });
    project.jecloud(&["fwd"]).ok();
    let ask = || project.get_path("/entries").ok().filter(|answer| answer.status == 200);
    let answer = eventually(BACK, "the app answers", ask).body;
    let found: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let texts = found["entries"].as_array().into_iter().flatten();
    let entries: BTreeSet<String> = texts.filter_map(|text| text.as_str().map(str::to_owned)).collect();
    let expected = acknowledged.entries.into_inner().expect("nobody panicked");
    let visits = acknowledged.visits.into_inner();
    eprintln!("{killed} killed, {} entries and {visits} visits acknowledged", expected.len());
    assert!(killed > 5 && !expected.is_empty() && visits > 0, "nothing was tried");
    let lost: Vec<&String> = expected.difference(&entries).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(found["visits"].as_u64() >= Some(visits), "{visits} visits were acknowledged: {answer}");
}
