//! What the sandbox is not.

use crate::build::{Place, hostile, prepare, source_dir};

/// Invariant 7: a hook can reach nothing, because nothing that could reach anything is in the program. Fails when
/// somebody adds one of these crates anywhere in the workspace.
#[test]
fn no_implementation_of_wasi_is_linked() {
    let lock = std::fs::read_to_string(source_dir("../../Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"wasmtime\""), "this is the lock file that counts");
    let forbidden: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| {
            name.starts_with("wasmtime-wasi") || name.starts_with("wasi-common") || *name == "wasi-cap-std-sync"
        })
        .collect();
    assert_eq!(forbidden, Vec::<&str>::new());
}

/// The same arguments give the same answer and the same log, in every sandbox.
#[test]
fn calls_are_repeatable() {
    let component = hostile("many-log-lines");
    let (one, two) = (Place::new().load(&component), Place::new().load(&component));
    assert_eq!(prepare(&one).unwrap(), prepare(&two).unwrap());
    assert_eq!(prepare(&one).unwrap(), prepare(&one).unwrap());
}

/// All threads may call the same hook at the same time.
#[test]
fn hooks_are_shared_between_threads() {
    let hook = Place::new().load(&hostile("harmless"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    prepare(&hook).unwrap().answer.unwrap();
                }
            });
        }
    });
}
