//! One hostile hook per limit. Each comment says what was taken out to see the test fail.

use std::time::{Duration, Instant};

use jecloud_sandbox::{Limits, SandboxError, Why};

use crate::build::{Place, component, context, failure, hook, hostile, prepare, why};

/// The control: without this, all others could fail for a reason of their own.
#[test]
fn a_hook_that_does_no_harm_gets_through() {
    let hook = hook("harmless");
    let description = hook.describe().unwrap().answer;
    assert_eq!((description.name.as_str(), description.version.as_str()), ("evil", "1.0.0"));
    assert_eq!(hook.required_packages(&context()).unwrap().answer, Ok(vec![]));
    assert_eq!(prepare(&hook).unwrap().answer, Ok(jecloud_model::hook::Plan::default()));
    assert_eq!(hook.deployed(&context(), &[]).unwrap().answer, Ok(jecloud_model::hook::Next::Done(())));
}

/// Fails (never ends) without `set_epoch_deadline`, and without the ticker's thread.
#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let hook = Place::with_limits(Limits::default()).load(&hostile("endless-loop"));
    let begin = Instant::now();
    let failure = failure(prepare(&hook));
    let took = begin.elapsed();
    assert_eq!(failure.why, Why::Deadline { limit: Duration::from_secs(2) });
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(20), "{took:?}");
    assert_eq!(failure.last_log.unwrap().message, "about to loop");
}

/// Fails (never ends) where the deadline is set after instantiation.
#[test]
fn a_start_function_has_the_same_deadline() {
    let place = Place::with_limits(Limits { deadline: Duration::from_millis(100), ..Limits::default() });
    let hook = place.load(&hostile("endless-start"));
    assert_eq!(failure(hook.describe()).why, Why::Deadline { limit: Duration::from_millis(100) });
}

/// Fails (never ends) as `an_endless_loop_ends_at_the_deadline`; also if a call of the host put the deadline off.
#[test]
fn a_loop_through_the_host_ends_at_the_deadline() {
    let place = Place::with_limits(Limits { deadline: Duration::from_millis(200), ..Limits::default() });
    let failure = failure(prepare(&place.load(&hostile("endless-log"))));
    assert_eq!(failure.why, Why::Deadline { limit: Duration::from_millis(200) });
    assert_eq!(failure.last_log.unwrap().message, "again and again");
}

/// The deadline of one call must not end another one that began later. Fails where the deadline is counted in ticks
/// from the first call on.
#[test]
fn deadlines_of_calls_that_overlap_are_their_own() {
    let place = Place::with_limits(Limits { deadline: Duration::from_millis(300), ..Limits::default() });
    let (looping, harmless) = (place.load(&hostile("endless-loop")), place.load(&hostile("harmless")));
    std::thread::scope(|scope| {
        let looping = scope.spawn(|| failure(prepare(&looping)).why);
        while !looping.is_finished() {
            prepare(&harmless).unwrap().answer.unwrap();
        }
        assert_eq!(looping.join().unwrap(), Why::Deadline { limit: Duration::from_millis(300) });
    });
}

/// Fails without `Store::limiter`: the memory grows to 4 GiB.
#[test]
fn memory_is_limited() {
    assert_eq!(why("grow-memory"), Why::Memory { limit: 64 * 1024 * 1024 });
}

/// Fails with a limit for each memory, which is what `StoreLimits` of the library does.
#[test]
fn memory_is_limited_over_all_memories_together() {
    assert_eq!(why("grow-several-memories"), Why::Memory { limit: 64 * 1024 * 1024 });
}

/// Fails where only growing is counted, and not what memories begin with.
#[test]
fn memory_is_limited_from_the_beginning() {
    assert_eq!(failure(hook("large-memory").describe()).why, Why::Memory { limit: 64 * 1024 * 1024 });
}

/// Fails without `ResourceLimiter::memories`.
#[test]
fn the_number_of_memories_is_limited() {
    let why = failure(hook("many-memories").describe()).why;
    assert!(matches!(&why, Why::Parts { text } if text.contains("memory")), "{why:?}");
}

/// Fails without `ResourceLimiter::table_growing`, and with one that looks at each table by itself.
#[test]
fn tables_are_limited_together() {
    assert_eq!(why("grow-tables"), Why::Tables { limit: 200_000 });
    assert_eq!(failure(hook("large-table").describe()).why, Why::Tables { limit: 200_000 });
}

/// Fails without `ResourceLimiter::tables`.
#[test]
fn the_number_of_tables_is_limited() {
    let why = failure(Place::new().load(&component(&"(table 0 funcref)".repeat(65))).describe()).why;
    assert!(matches!(&why, Why::Parts { text } if text.contains("table")), "{why:?}");
}

/// Fails without `ResourceLimiter::instances`. An empty module is instantiated 300 times.
#[test]
fn the_number_of_instances_is_limited() {
    let component = crate::components::with_instances(&hostile("harmless"), 300);
    let why = failure(Place::new().load(&component).describe()).why;
    assert!(matches!(&why, Why::Parts { text } if text.contains("instance")), "{why:?}");
}

/// Cannot be taken out: without a limit of our own the library's default applies. Fails if it is not told as what it is.
#[test]
fn the_stack_is_limited() {
    assert_eq!(why("deep-recursion"), Why::Stack);
}

/// Fails without `set_hostcall_fuel`: the default is 128 MiB.
#[test]
fn what_is_handed_over_is_limited() {
    let limit = 8 * 1024 * 1024;
    assert_eq!(failure(hook("huge-list").required_packages(&context())).why, Why::Output { limit });
    assert_eq!(why("huge-text"), Why::Output { limit });
    assert_eq!(why("huge-log-line"), Why::Output { limit });
}

/// Fails without the check of `Limits::input_bytes`: the hook would have to find out that its memory is too small.
#[test]
fn what_is_shown_is_limited() {
    let mut context = context();
    context.inputs.insert("large".to_owned(), vec![b'x'; 16 * 1024 * 1024]);
    let failure = failure(hook("harmless").prepare_deploy(&context));
    assert!(matches!(failure.why, Why::Input { limit: 16_777_216, .. }), "{failure}");
    context.inputs.insert("large".to_owned(), vec![b'x'; 8 * 1024 * 1024]);
    hook("harmless").prepare_deploy(&context).unwrap().answer.unwrap();
}

/// Fails without the two bounds of the journal.
#[test]
fn the_log_is_limited() {
    let log = prepare(&hook("many-log-lines")).unwrap().log;
    assert_eq!((log.lines.len(), log.dropped), (1000, 500));
    assert!(log.lines.iter().all(|line| line.message == "x".repeat(8 * 1024)));
}

/// Fails without the check of `Limits::component_bytes`.
#[test]
fn the_size_of_a_component_is_limited() {
    let mut large = hostile("harmless");
    // A custom section of 32 MiB: the component stays valid.
    large.push(0);
    let content = 32 * 1024 * 1024;
    large.extend(leb128(content + 1));
    large.push(0);
    large.resize(large.len() + content, 0);
    let error = Place::new().sandbox.load(&large).unwrap_err();
    assert!(matches!(error, SandboxError::TooLarge { limit: 33_554_432, .. }), "{error}");
    assert!(matches!(jecloud_sandbox::componentize(&large), Err(SandboxError::TooLarge { .. })));
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A limit ends one call, and nothing else: the next call of the same hook works.
#[test]
fn the_next_call_begins_anew() {
    let hook = hook("grow-memory");
    for _ in 0..20 {
        assert!(matches!(failure(prepare(&hook)).why, Why::Memory { .. }));
        assert_eq!(hook.required_packages(&context()).unwrap().answer, Ok(vec![]));
    }
}

#[test]
fn a_failure_says_all_that_a_person_needs() {
    let place = Place::new();
    let hook = place.load(&hostile("gives-up"));
    let digest = hook.digest().short().to_owned();
    let before = failure(prepare(&hook)).to_string();
    assert_eq!(
        before,
        format!(
            "the hook {digest} failed in prepare-deploy: it gave up (a panic, an abort or an uncaught exception); nothing \
             was changed; its last log line: the last\u{fffd}[2J words"
        )
    );
    hook.describe().unwrap();
    let error = prepare(&hook).unwrap_err();
    assert!(error.to_string().starts_with(&format!("the hook evil ({digest}) failed in prepare-deploy: ")), "{error}");
    assert_eq!(error.hint(), "`jecloud hook inspect evil` shows which hook it is and where it came from.");
}
