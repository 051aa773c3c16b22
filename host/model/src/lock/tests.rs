use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn powers() -> Powers {
    Powers {
        packages: vec!["tzdata".to_owned()],
        repositories: vec!["https://example.org/dist/".to_owned()],
        programs: vec![
            ProgramPower { program: "make".to_owned(), run_as: Identity::App },
            ProgramPower { program: "date".to_owned(), run_as: Identity::Root },
        ],
        ports: vec![443, 80],
        paths: vec!["/etc/clock".to_owned()],
        secrets: vec!["TOKEN".to_owned()],
    }
}

fn example() -> Lock {
    let mut lock = Lock::default();
    let hook = LockedHook {
        name: name("clock"),
        version: "0.1.0".to_owned(),
        digest: Digest::of(b""),
        powers: powers(),
        builtin: false,
    };
    lock.set_hook(&name("watch"), Some(hook));
    lock.set_pins(
        &name("watch"),
        [("tzdata".to_owned(), "2026a-1".to_owned()), ("@a/b".to_owned(), "1".to_owned())].into(),
    );
    lock.set_pins(&name("bell"), [("brass".to_owned(), "1.2.3".to_owned())].into());
    lock
}

const EXAMPLE: &str = r#"# Written by JeCloud. Commit it: it holds exact versions, and the hooks with what they may do.
format = 1

[services.bell.pins]
brass = "1.2.3"

[services.watch]
hook = "clock"
version = "0.1.0"
digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[services.watch.powers]
packages = [
    "tzdata",
]
repositories = [
    "https://example.org/dist/",
]
programs = [
    { program = "date", run-as = "root" },
    { program = "make", run-as = "app" },
]
ports = [
    80,
    443,
]
paths = [
    "/etc/clock",
]
secrets = [
    "TOKEN",
]

[services.watch.pins]
"@a/b" = "1"
tzdata = "2026a-1"
"#;

/// Other JeClouds have written files like this one: it must stay readable, and the same content the same bytes.
#[test]
fn the_text_of_the_file() {
    assert_eq!(example().render(), EXAMPLE);
    assert_eq!(Lock::parse(EXAMPLE), Ok(example()));
}

#[test]
fn what_is_recorded_is_given_back() {
    let mut lock = example();
    assert_eq!(lock.pins(&name("bell"))["brass"], "1.2.3");
    assert_eq!(lock.pins(&name("nobody")), BTreeMap::new());
    assert_eq!(lock.hook(&name("bell")), None);
    assert_eq!(lock.hook(&name("watch")).unwrap().name, name("clock"));
    lock.set_hook(&name("watch"), None);
    assert!(!lock.pins(&name("watch")).is_empty(), "the pins went with the hook");
    lock.set_pins(&name("watch"), BTreeMap::new());
    assert_eq!(lock.services().collect::<Vec<_>>(), [&name("bell")]);
    lock.retain(|service| *service != name("bell"));
    assert_eq!(lock, Lock::default());
}

#[test]
fn what_came_with_jecloud_was_not_approved() {
    let mut lock = example();
    let builtin = LockedHook { builtin: true, ..lock.hook(&name("watch")).unwrap().clone() };
    lock.set_hook(&name("bell"), Some(builtin.clone()));
    assert!(lock.render().contains("\nbuiltin = true\n"));
    assert_eq!((lock.builtin(&name("bell")), lock.approved(&name("bell"))), (Some(&builtin), None));
    assert!(lock.builtin(&name("watch")).is_none() && lock.approved(&name("watch")).is_some());
}

#[test]
fn an_empty_lock_is_a_file_too() {
    let text = Lock::default().render();
    assert_eq!(Lock::parse(&text), Ok(Lock::default()));
}

fn error(text: &str) -> String {
    Lock::parse(text).expect_err("the text was accepted").to_string()
}

/// Fails without the check for markers: the message is then about TOML.
#[test]
fn markers_of_a_merge_are_recognised() {
    let text = EXAMPLE
        .replace("brass = \"1.2.3\"\n", "<<<<<<< HEAD\nbrass = \"1.2.3\"\n=======\nbrass = \"1.2.4\"\n>>>>>>> other\n");
    assert_eq!(Lock::parse(&text), Err(LockError::Conflict { line: 5 }));
}

/// An old writer must not lose what a newer one wrote. Fails without the checks for `others`.
#[test]
fn what_a_newer_jecloud_wrote_is_not_lost() {
    for (from, to, what) in [
        ("format = 1", "format = 2\nfuture = [", None),
        ("format = 1", "format = 2\nfuture = 1", Some("format 2")),
        ("format = 1", "format = 1\nfuture = 1", Some("the key `future`")),
        ("format = 1", "format = 1\n[x-future]", Some("the key `x-future`")),
        ("brass", "[services.bell.future]\nbrass", Some("the key `services.bell.future`")),
        ("[services.watch.powers]", "future = 1\n[services.watch.powers]", Some("the key `services.watch.future`")),
        ("paths = [", "sockets = []\npaths = [", Some("the key `services.watch.powers.sockets`")),
        ("\"app\" }", "\"app\", group = \"x\" }", Some("the key `services.watch.powers.programs[1].group`")),
    ] {
        assert!(EXAMPLE.contains(from));
        let result = Lock::parse(&EXAMPLE.replacen(from, to, 1));
        match (&result, what) {
            (Err(LockError::Newer { what }), Some(expected)) => assert_eq!(what, expected),
            (Err(LockError::Invalid(_)), None) => {}
            _ => panic!("{to}: {result:?}"),
        }
    }
    assert_eq!(
        error("format = 2"),
        "jecloud.lock has format 2, which this JeCloud does not know: a newer one wrote it; update JeCloud"
    );
}

#[test]
fn damage_is_named_by_its_place() {
    const HEAD: &str = "jecloud.lock is damaged; delete it, and what it held is found out or asked for again\n";
    for (from, to, expected) in [
        ("format = 1\n", "", "jecloud.lock:1:1: the key `format` is missing"),
        ("format = 1", "format = 'x'", "jecloud.lock:2:10: `format` must be a whole number, found a string"),
        (
            "\"clock\"",
            "\"Clock\"",
            "jecloud.lock:8:8: `services.watch.hook` is \"Clock\", which is not a valid service \
            name: a lower-case letter, then up to 30 lower-case letters, digits and hyphens",
        ),
        ("version = \"0.1.0\"\n", "", "jecloud.lock:7:11: the key `version` is missing"),
        (
            "sha256:e3",
            "sha256:E3",
            "jecloud.lock:10:10: `services.watch.digest` must be `sha256:` and 64 lower-case hex digits",
        ),
        (
            "\"app\"",
            "\"me\"",
            "jecloud.lock:21:34: `services.watch.powers.programs[1].run-as` must be \"app\" or \"root\"",
        ),
        (", run-as = \"app\"", "", "jecloud.lock:21:5: the key `run-as` is missing"),
        ("443", "65536", "jecloud.lock:25:5: `services.watch.powers.ports[1]` must be a port, found the number 65536"),
        ("\"1.2.3\"", "1", "jecloud.lock:5:9: `services.bell.pins.brass` must be a string, found the number 1"),
        ("= \"1.2.3\"", "", "jecloud.lock:5:7: not TOML: key with no value, expected `=`"),
    ] {
        assert!(EXAMPLE.contains(from));
        assert_eq!(error(&EXAMPLE.replacen(from, to, 1)), format!("{HEAD}{expected}"));
    }
}

fn some_powers() -> impl Strategy<Value = Powers> {
    let texts = || vec("[^\0]{0,5}", 0..3);
    let identity = prop::sample::select(vec![Identity::App, Identity::Root]);
    let program = ("[^\0]{0,5}", identity).prop_map(|(program, run_as)| ProgramPower { program, run_as });
    (texts(), texts(), vec(program, 0..3), vec(any::<u16>(), 0..3), texts(), texts()).prop_map(
        |(packages, repositories, programs, ports, paths, secrets)| Powers {
            packages,
            repositories,
            programs,
            ports,
            paths,
            secrets,
        },
    )
}

fn some_lock() -> impl Strategy<Value = Lock> {
    let hook = ("[a-z][a-z-]{0,3}", "[^\0]{0,8}", any::<u8>(), some_powers()).prop_map(|(hook, version, n, powers)| {
        LockedHook { name: name(&hook), version, digest: Digest::of(&[n]), powers, builtin: n % 2 == 0 }
    });
    let service = (option::of(hook), btree_map("[^\0]{0,6}", "[^\0]{0,6}", 0..4));
    btree_map("[a-z][a-z-]{0,3}", service, 0..4).prop_map(|services| {
        let mut lock = Lock::default();
        for (service, (hook, pins)) in services {
            lock.set_hook(&name(&service), hook);
            lock.set_pins(&name(&service), pins);
        }
        lock
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(lock in some_lock()) {
        prop_assert_eq!(Lock::parse(&lock.render()), Ok(lock));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}", at in 0..EXAMPLE.len(), removed in 0usize..40) {
        let _ = Lock::parse(&text);
        let mut damaged = EXAMPLE.to_owned();
        damaged.replace_range(at..(at + removed).min(EXAMPLE.len()), &text);
        if let Ok(lock) = Lock::parse(&damaged) {
            prop_assert_eq!(Lock::parse(&lock.render()), Ok(lock));
        }
    }
}
