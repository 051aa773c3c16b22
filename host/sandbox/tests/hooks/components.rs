//! What is a hook, and what is not.

use jecloud_sandbox::{Exports, Inspection, SandboxError, componentize, inspect};
use wasmparser::{Parser, Payload};

use crate::build::{Place, component, context, contract, hostile, module, with_metadata};

/// A component with one more core module, of which there are so many instances. Sections may stand in any order, so
/// they are put behind the others.
pub(crate) fn with_instances(component: &[u8], count: usize) -> Vec<u8> {
    let is_module = |payload: &Payload<'_>| matches!(payload, Payload::ModuleSection { .. });
    let modules = Parser::new(0).parse_all(component).filter(|payload| is_module(payload.as_ref().unwrap())).count();
    let instances = format!("(core instance (instantiate {modules}))").repeat(count);
    let addition = wat::parse_str(format!("(component (core module) {instances})")).unwrap();
    // Both begin with the same preamble of eight bytes.
    let mut all = component.to_vec();
    all.extend_from_slice(&addition[8..]);
    all
}

#[track_caller]
fn not_a_component(outcome: Result<Vec<u8>, SandboxError>, expected: &str) {
    match outcome {
        Err(SandboxError::NotAComponent { reason }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn componentize_says_what_else_it_is() {
    not_a_component(componentize(b""), "it is not WebAssembly");
    not_a_component(componentize(b"#!/bin/sh\n"), "it is not WebAssembly");
    not_a_component(componentize(b"\0asm"), "it is damaged");
    not_a_component(componentize(b"\0asm\x01\0\0\0\xff\xff\xff"), "it is damaged");
    not_a_component(componentize(&module("", "")), "it is a core module without component metadata");
    let mut cut = hostile("harmless");
    cut.truncate(cut.len() - 10);
    not_a_component(componentize(&cut), "unexpected end-of-file");
    // Metadata of a hook around a module that is none.
    let empty = with_metadata(wat::parse_str("(module)").unwrap(), &contract(&[]), "hook");
    not_a_component(componentize(&empty), "it cannot be made a component");
    // It parses, and is not valid: the instance does not exist.
    let invalid = wat::parse_str("(component (alias core export 7 \"x\" (core func)))").unwrap();
    not_a_component(componentize(&invalid), "it is not valid");
}

#[test]
fn a_component_is_taken_as_it_is() {
    let component = hostile("harmless");
    assert_eq!(componentize(&component).unwrap(), component);
    let expected = Inspection {
        imports: vec!["jecloud:hook/log@0.1.0".to_owned()],
        exports: vec!["jecloud:hook/service@0.1.0".to_owned()],
    };
    let found = inspect(&component).unwrap();
    assert_eq!(found.exports, expected.exports);
    assert!(found.imports.contains(&expected.imports[0]), "{found:?}");
}

/// Fails where imports are left to the linker: its words name no import that a person could look for.
#[test]
fn unknown_imports_are_named() {
    let text = r#"(component
        (import "wasi:sockets/tcp@0.2.0" (instance))
        (import "wasi:http/outgoing-handler@0.2.3" (instance))
        (import "wasi:cli/environment@0.3.0" (instance))
        (import "wasi:io/streams@0.2.0" (instance))
        (import "jecloud:hook/log@0.2.0" (instance))
        (import "jecloud:hook/logs@0.1.0" (instance))
        (import "jecloud:hook/log@0.1.0" (instance))
        (import "run" (func)))"#;
    let unknown = wat::parse_str(text).unwrap();
    for outcome in [componentize(&unknown).map(drop), Place::new().sandbox.load(&unknown).map(drop)] {
        match outcome {
            Err(SandboxError::UnknownImports { names }) => assert_eq!(
                names,
                [
                    "wasi:sockets/tcp@0.2.0",
                    "wasi:http/outgoing-handler@0.2.3",
                    "wasi:cli/environment@0.3.0",
                    "jecloud:hook/log@0.2.0",
                    "jecloud:hook/logs@0.1.0",
                    "run"
                ]
            ),
            other => panic!("{other:?}"),
        }
    }
    // A core module that imports something is refused by the name of that import.
    let import = r#"(import "env" "system" (func (param i32) (result i32)))"#;
    let foreign = with_metadata(module(import, ""), &contract(&[]), "hook");
    match componentize(&foreign) {
        Err(SandboxError::UnknownImports { names }) => assert_eq!(names, ["env/system"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_component_without_the_service_is_no_hook() {
    let empty = wat::parse_str("(component)").unwrap();
    let other =
        wat::parse_str(r#"(component (instance $i) (export "jecloud:hook/service@0.2.0" (instance $i)))"#).unwrap();
    for (component, expected) in [(empty, "; it exports nothing"), (other, "; it exports jecloud:hook/service@0.2.0")] {
        let error = Place::new().sandbox.load(&component).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert!(matches!(componentize(&component), Err(SandboxError::NoService { .. })));
    }
}

/// The names fit and the types do not: found before anything runs.
#[test]
fn a_component_with_other_types_does_not_fit_the_contract() {
    let text = r#"(component (instance $i) (export "jecloud:hook/service@0.1.0" (instance $i)))"#;
    let error = Place::new().sandbox.load(&wat::parse_str(text).unwrap()).unwrap_err();
    assert!(matches!(error, SandboxError::Contract { .. }), "{error}");
    let text = r#"(component (import "jecloud:hook/log@0.1.0" (instance (export "write" (func (param "x" u8)))))
        (instance $i) (export "jecloud:hook/service@0.1.0" (instance $i)))"#;
    let error = Place::new().sandbox.load(&wat::parse_str(text).unwrap()).unwrap_err();
    assert!(matches!(error, SandboxError::Contract { .. }), "{error}");
}

#[test]
fn load_names_core_modules_and_missing_files() {
    let place = Place::new();
    let error = place.sandbox.load(&module("", "")).unwrap_err();
    assert!(error.to_string().contains("it is a core module"), "{error}");
    let path = place.dir.path().join("missing.wasm");
    let error = place.sandbox.load_file(&path).unwrap_err();
    assert!(error.to_string().contains("missing.wasm"), "{error}");
    std::fs::write(&path, hostile("harmless")).unwrap();
    place.sandbox.load_file(&path).unwrap().describe().unwrap();
}

#[test]
fn optional_interfaces_are_found() {
    let harmless = Place::new().load(&hostile("harmless"));
    assert_eq!(harmless.exports(), Exports { setup: false, backup: false, topology: false });
    assert!(harmless.started(&context(), &[]).is_none());
    assert!(harmless.backup(&context(), &[]).is_none());
    assert!(harmless.restore(&context(), &[]).is_none());
    assert!(harmless.restored(&context(), &[]).is_none());
    assert!(harmless.reshape(&context(), &[], &[], &[]).is_none());

    let functions = r#"
        (func $next (param i32) (result i32)
          (i32.store8 (i32.const 4100) (i32.const 2))
          (i32.store (i32.const 4104) (i32.const 1234))
          (i32.const 4096))
        (func $step (param i32) (result i32)
          (i32.store8 (i32.const 4108) (i32.const 2))
          (i32.store (i32.const 4112) (i32.const 5678))
          (i32.const 4104))
        (export "jecloud:hook/setup@0.1.0#started" (func $next))
        (export "jecloud:hook/backup@0.1.0#backup" (func $step))
        (export "jecloud:hook/backup@0.1.0#restore" (func $next))
        (export "jecloud:hook/backup@0.1.0#restored" (func $step))
        (export "jecloud:hook/topology@0.1.0#reshape" (func $next))"#;
    let full = componentize(&with_metadata(module("", functions), &contract(&[]), "full-hook")).unwrap();
    let full = Place::new().load(&full);
    assert_eq!(full.exports(), Exports { setup: true, backup: true, topology: true });
    let member = jecloud_model::hook::Member { process: "redis.1".to_owned(), address: "10.0.0.1:6379".to_owned() };
    for answer in [
        full.started(&context(), &[]),
        full.restore(&context(), &[]),
        full.reshape(&context(), std::slice::from_ref(&member), &[], &[]),
    ] {
        assert_eq!(answer.unwrap().unwrap().answer, Ok(jecloud_model::hook::Next::WaitMs(1234)));
    }
    for answer in [full.backup(&context(), &[]), full.restored(&context(), &[])] {
        assert_eq!(answer.unwrap().unwrap().answer, Ok(jecloud_model::hook::Step::WaitMs(5678)));
    }
}

/// What is counted in a backup goes to people and into documents: its shape is checked. Fails without the checks in
/// `answer::contents`.
#[test]
fn what_is_in_a_copy_is_checked() {
    // done({version, counts: [{name, number}, …]}): version at 5000, names at 5100, the list at 5200, entries of 16 bytes.
    let answers = |version: &str, names: &[&str]| {
        let mut data = vec![(5000, version.as_bytes().to_vec())];
        let mut entries = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let at = 5100 + u32::try_from(index).unwrap() * 10;
            data.push((at, name.as_bytes().to_vec()));
            entries.extend([at, u32::try_from(name.len()).unwrap(), 7, 0].iter().flat_map(|word| word.to_le_bytes()));
        }
        data.push((5200, entries));
        let length = u32::try_from(version.len()).unwrap();
        // result: ok at 4104; variant: done at 4108; contents from 4112.
        let words = [5000, length, 5200, u32::try_from(names.len()).unwrap()];
        data.push((4112, words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()));
        let data: String = data
            .iter()
            .map(|(at, bytes)| {
                let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
                format!("(data (i32.const {at}) \"{bytes}\")")
            })
            .collect();
        let functions = format!(
            r#"{data}
            (func $step (param i32) (result i32) (i32.const 4104))
            (func $next (param i32) (result i32) (i32.const 6000))
            (export "jecloud:hook/backup@0.1.0#backup" (func $step))
            (export "jecloud:hook/backup@0.1.0#restore" (func $next))
            (export "jecloud:hook/backup@0.1.0#restored" (func $step))
            (export "jecloud:hook/setup@0.1.0#started" (func $next))
            (export "jecloud:hook/topology@0.1.0#reshape" (func $next))"#
        );
        let hook = componentize(&with_metadata(module("", &functions), &contract(&[]), "full-hook")).unwrap();
        Place::new().load(&hook).backup(&context(), &[]).unwrap().map(|called| called.answer.unwrap())
    };
    let counts = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 7)).collect();
    let contents = jecloud_model::hook::Contents { version: "7.0.15".to_owned(), counts: counts(&["a", "b"]) };
    assert_eq!(answers("7.0.15", &["a", "b"]).unwrap(), jecloud_model::hook::Step::Done(contents));
    for (version, names, expected) in [
        ("", &["a"][..], "no version"),
        ("7\n", &[], "no version"),
        ("7", &["a", "a"], "it counts \"a\" twice"),
        ("7", &[""], "no name of a count"),
        ("7", &["\u{1b}["], "no name of a count"),
    ] {
        let error = answers(version, names).unwrap_err().to_string();
        assert!(error.contains(expected), "{version:?} {names:?}: {error}");
    }
}

#[test]
fn digests_are_those_of_the_bytes() {
    let bytes = component("");
    assert_eq!(*Place::new().load(&bytes).digest(), jecloud_model::ids::Digest::of(&bytes));
}
