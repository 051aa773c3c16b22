//! The planner against a world of pretended processes.

use proptest::prelude::*;

use super::*;
use crate::hook::{Health, Identity};
use crate::limits::Limits;

fn spec(id: &str, generation: u8) -> ProcessSpec {
    ProcessSpec {
        id: id.parse().expect("an id"),
        service: "node".parse().expect("a name"),
        version: "0".repeat(64).parse().expect("a version"),
        argv: vec!["node".to_owned(), generation.to_string()],
        env: BTreeMap::new(),
        cwd: "/".to_owned(),
        run_as: Identity::App,
        ports: BTreeMap::new(),
        health: Health::StaysUp,
        start_timeout_ms: 1000,
        stop_timeout_ms: 10_000,
        limits: Limits::default(),
    }
}

fn seen(spec: &ProcessSpec, phase: Phase, failures: u32) -> Seen {
    Seen { spec: spec.clone(), phase, failures }
}

const RUNNING: Phase = Phase::Running { since: Moment(0) };

#[track_caller]
fn check(wanted: &[&ProcessSpec], seen: &[Seen], now: u64, expected: &[Step]) {
    let wanted: Vec<ProcessSpec> = wanted.iter().copied().cloned().collect();
    assert_eq!(plan(&wanted, seen, Moment(now)), expected);
}

#[test]
fn the_life_of_a_process() {
    let (web, changed, worker) = (spec("web.1", 1), spec("web.1", 2), spec("worker.1", 1));
    let id = || web.id.clone();
    check(&[&worker, &web], &[], 0, &[Step::Start(web.clone()), Step::Start(worker.clone())]);
    check(&[&web, &changed], &[], 0, &[Step::Start(web.clone())]);
    check(&[&web], &[seen(&web, RUNNING, 0)], 99, &[]);

    // Not wanted, or wanted otherwise: SIGTERM, then after the time-out SIGKILL, and only when it is gone the new one.
    check(&[], &[seen(&web, RUNNING, 0)], 5, &[Step::Terminate(id())]);
    check(&[&changed], &[seen(&web, RUNNING, 0)], 5, &[Step::Terminate(id())]);
    let stopping = seen(&web, RUNNING, 0).terminated(Moment(5));
    check(&[&changed], std::slice::from_ref(&stopping), 6, &[Step::WaitUntil(Moment(10_005))]);
    // Wanted again while it stops: it must end first.
    check(&[&web], std::slice::from_ref(&stopping), 6, &[Step::WaitUntil(Moment(10_005))]);
    check(&[&changed], std::slice::from_ref(&stopping), 10_005, &[Step::Kill(id())]);
    check(&[&changed], &[stopping.clone().killed(Moment(10_005))], 99_999, &[]);
    assert_eq!(stopping.ended(Moment(7)), None);

    // What ended by itself waits, unless something else is wanted by now.
    let ended = seen(&web, Phase::Ended { at: Moment(1000) }, 2);
    check(&[&web], std::slice::from_ref(&ended), 1999, &[Step::WaitUntil(Moment(2000))]);
    check(&[&web], std::slice::from_ref(&ended), 2000, &[Step::Start(web.clone())]);
    check(&[&changed], std::slice::from_ref(&ended), 1000, &[Step::Start(changed.clone())]);
    check(&[], std::slice::from_ref(&ended), 1000, &[Step::Forget(id())]);
    assert_eq!(Seen::started(changed, Some(&ended), Moment(0)).failures, 0);
}

#[test]
fn the_first_restart_is_immediate_and_the_others_are_not() {
    let mut process = Seen::started(spec("web.1", 1), None, Moment(0));
    let mut now = Moment(0);
    let mut waits = Vec::new();
    for _ in 0..11 {
        now = now.plus(Duration::from_millis(10));
        process = process.ended(now).expect("remembered");
        let due = process.due().expect("it ended");
        waits.push(due.since(now).as_secs());
        now = due;
        process = Seen::started(process.spec.clone(), Some(&process), now);
    }
    assert_eq!(waits, [0, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30]);
    // Fails without the reset: a process that works for months and ends once waits half a minute.
    let now = now.plus(STEADY);
    let process = process.ended(now).expect("remembered");
    assert_eq!(process.due(), Some(now));
}

/// Something that happens to the pretended world.
#[derive(Debug, Clone)]
enum Event {
    /// These are wanted from now on: id and generation of the spec.
    Want(Vec<(u8, u8)>),
    /// The process with this id ends by itself, if there is one.
    Dies(u8),
    /// The process with this id, if there is one, ignores SIGTERM from now on.
    Stubborn(u8),
    /// It cannot be started the next time.
    Refuses(u8),
    /// Time passes.
    Passes(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        proptest::collection::vec((0..4_u8, 0..2_u8), 0..5).prop_map(Event::Want),
        (0..4_u8).prop_map(Event::Dies),
        (0..4_u8).prop_map(Event::Stubborn),
        (0..4_u8).prop_map(Event::Refuses),
        (0..40_000_u64).prop_map(Event::Passes),
    ];
    proptest::collection::vec(event, 0..40)
}

fn id(number: u8) -> InstanceId {
    format!("web.{}", number + 1).parse().expect("an id")
}

/// Processes that obey, or not, and what the process manager would remember of them.
#[derive(Default)]
struct World {
    now: u64,
    wanted: Vec<ProcessSpec>,
    seen: BTreeMap<InstanceId, Seen>,
    /// What really runs: from which spec, and whether it ignores SIGTERM.
    live: BTreeMap<InstanceId, (ProcessSpec, bool)>,
    refusing: Vec<InstanceId>,
}

impl World {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Want(specs) => {
                let mut wanted: BTreeMap<u8, u8> = BTreeMap::new();
                for (number, generation) in specs {
                    wanted.insert(number, generation);
                }
                let specs = wanted.into_iter().map(|(number, generation)| spec(&id(number).to_string(), generation));
                self.wanted = specs.collect();
            }
            Event::Dies(number) => self.dies(&id(number)),
            Event::Stubborn(number) => {
                if let Some(live) = self.live.get_mut(&id(number)) {
                    live.1 = true;
                }
            }
            Event::Refuses(number) => self.refusing.push(id(number)),
            Event::Passes(milliseconds) => self.now += milliseconds,
        }
    }

    fn dies(&mut self, id: &InstanceId) {
        if self.live.remove(id).is_some() {
            let remembered = self.seen.remove(id).expect("what lives is known");
            if let Some(ended) = remembered.ended(Moment(self.now)) {
                self.seen.insert(id.clone(), ended);
            }
        }
    }

    fn plan(&self) -> Vec<Step> {
        plan(&self.wanted, &self.seen.values().cloned().collect::<Vec<_>>(), Moment(self.now))
    }

    /// Does what the plan says, and checks that it may be done. Returns until when nothing is to be done.
    fn performs(&mut self) -> Option<Moment> {
        let mut until = None;
        for step in self.plan() {
            assert!(until.is_none(), "waiting is the last step");
            match step {
                Step::Start(spec) => {
                    assert!(self.wanted.contains(&spec), "{} is not wanted", spec.id);
                    assert!(!self.live.contains_key(&spec.id), "there would be two processes {}", spec.id);
                    let id = spec.id.clone();
                    let before = self.seen.remove(&id);
                    if let Some(before) = before.as_ref().filter(|before| before.spec == spec) {
                        assert!(before.due().is_some_and(|due| due.0 <= self.now), "{id} is started too early");
                    }
                    let mut process = Seen::started(spec.clone(), before.as_ref(), Moment(self.now));
                    if let Some(place) = self.refusing.iter().position(|refusing| *refusing == id) {
                        self.refusing.remove(place);
                        process = process.ended(Moment(self.now)).expect("it was not asked to end");
                    } else {
                        self.live.insert(id.clone(), (spec, false));
                    }
                    self.seen.insert(id, process);
                }
                Step::Terminate(id) => {
                    let (running, stubborn) = self.live.get(&id).cloned().expect("only what lives is ended");
                    assert!(!self.wanted.contains(&running), "{id} is wanted as it is");
                    let process = self.seen.remove(&id).expect("what lives is known");
                    self.seen.insert(id.clone(), process.terminated(Moment(self.now)));
                    if !stubborn {
                        self.dies(&id);
                    }
                }
                Step::Kill(id) => {
                    let process = self.seen.remove(&id).expect("what lives is known");
                    let Phase::Stopping { since, killed: false } = process.phase else {
                        panic!("{id} was not asked first")
                    };
                    assert!(self.now >= since.0 + u64::from(process.spec.stop_timeout_ms), "{id} had no time to end");
                    self.seen.insert(id.clone(), process.killed(Moment(self.now)));
                    self.dies(&id);
                }
                Step::Forget(id) => {
                    assert!(!self.live.contains_key(&id), "{id} lives");
                    self.seen.remove(&id).expect("known");
                }
                Step::WaitUntil(moment) => {
                    assert!(moment.0 > self.now, "waiting for the past keeps the machine busy");
                    until = Some(moment);
                }
            }
        }
        until
    }
}

proptest! {
    /// Whatever happens: nothing is started twice or without being wanted (asserted in [`World::performs`]), and when
    /// nothing happens any more, exactly what is wanted runs and the plan is empty.
    ///
    /// Fails without `starts.remove` for what stops (two processes of one id), without the comparison of the specs
    /// (the old spec stays), without `Forget` (the plan is never empty).
    #[test]
    fn reality_becomes_what_is_wanted(events in events()) {
        let mut world = World::default();
        for event in events {
            world.happens(event);
            world.performs();
        }
        let mut turns = 0;
        while !world.plan().is_empty() {
            if let Some(until) = world.performs() {
                world.now = until.0;
            }
            turns += 1;
            prop_assert!(turns < 100, "no end: {:?}", world.plan());
        }
        let live: Vec<&ProcessSpec> = world.live.values().map(|(spec, _)| spec).collect();
        prop_assert_eq!(live, world.wanted.iter().collect::<Vec<_>>());
        prop_assert_eq!(world.seen.len(), world.wanted.len());
    }
}
