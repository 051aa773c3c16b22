//! Compiling in a child process, with a program that does what `jecloud compile-hook` does.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jecloud_sandbox::{ChildCompiler, CompileError, Compiler as _, Limits, Sandbox, SandboxError};
use tempfile::TempDir;

use crate::build::{component, hostile, prepare};

/// `src/bin/compile_hook_for_tests.rs` with these limits.
fn child(limits: Limits) -> ChildCompiler {
    let args = [
        limits.compile_time.as_secs().to_string(),
        limits.compile_memory_bytes.to_string(),
        limits.component_bytes.to_string(),
    ];
    ChildCompiler {
        program: Path::new(env!("CARGO_BIN_EXE_compile-hook-for-tests")).to_owned(),
        args: args.into_iter().map(Into::into).collect(),
        limits,
    }
}

/// A function of many additions: enough work for seconds, in a component of a few megabytes.
fn laborious() -> &'static [u8] {
    static MADE: LazyLock<Vec<u8>> = LazyLock::new(make_laborious);
    &MADE
}

fn make_laborious() -> Vec<u8> {
    let mut body = String::new();
    for function in 0..30 {
        body.push_str(&format!("(func $work{function} (param i32) (result i32) (local.get 0)"));
        for step in 0..4000 {
            body.push_str(&format!("(if (result i32) (i32.rem_u (local.get 0) (i32.const {})) (then (i32.const {step})) (else (call $work{function} (i32.const {step})))) i32.add ", step + 2));
        }
        body.push(')');
    }
    component(&body)
}

#[test]
fn what_a_child_compiles_runs_here() {
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::new(dir.path().join("compiled"), Box::new(child(Limits::default()))).unwrap();
    let hook = sandbox.load(&hostile("harmless")).unwrap();
    prepare(&hook).unwrap().answer.unwrap();
}

/// The child limits itself, without relying on whoever waits for it: here that one has all the time. Fails without
/// `RLIMIT_CPU` in `compile_in_this_process`.
#[test]
fn the_time_of_compiling_is_limited() {
    let strict = child(Limits { compile_time: Duration::from_secs(1), ..Limits::default() });
    let patient =
        ChildCompiler { limits: Limits { compile_time: Duration::from_secs(1000), ..Limits::default() }, ..strict };
    assert_eq!(patient.compile(laborious()), Err(CompileError::Time { seconds: 1000 }));
}

/// A child that uses no processor time does not hold up anybody either. Fails without the time-out in `ChildCompiler`.
#[test]
fn the_patience_with_the_child_is_limited() {
    let limits = Limits { compile_time: Duration::from_millis(100), ..Limits::default() };
    let idle = ChildCompiler { program: "/bin/sleep".into(), args: vec!["100".into()], limits };
    let begin = Instant::now();
    assert!(matches!(idle.compile(&hostile("harmless")), Err(CompileError::Time { .. })));
    assert!(begin.elapsed() < Duration::from_secs(50));
}

/// Fails without `RLIMIT_AS` in `compile_in_this_process`.
#[test]
fn the_memory_of_compiling_is_limited() {
    let limits = Limits { compile_memory_bytes: 96 * 1024 * 1024, ..Limits::default() };
    assert_eq!(child(limits).compile(laborious()), Err(CompileError::Memory { mebibytes: 96 }));
}

/// Fails without the check in `compile_in_this_process`, which does not rely on what called it.
#[test]
fn the_child_looks_at_the_size_too() {
    let limits = Limits { component_bytes: 100, ..Limits::default() };
    let expected = CompileError::Invalid { reason: "it has more than 100 bytes".to_owned() };
    assert_eq!(child(limits).compile(&hostile("harmless")), Err(expected));
}

/// Fails without the check of `artifact_bytes` in `ChildCompiler`.
#[test]
fn the_size_of_what_was_compiled_is_limited() {
    let limits = Limits { artifact_bytes: 1000, ..Limits::default() };
    let error = child(limits).compile(&hostile("harmless")).unwrap_err();
    assert_eq!(error.to_string(), "its machine code has more than 1000 bytes");
}

/// What a fresh engine does not accept (here: memories with 64-bit addresses) is told in the compiler's words.
#[test]
fn what_the_compiler_says_is_handed_on() {
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::new(dir.path().join("compiled"), Box::new(child(Limits::default()))).unwrap();
    let error = sandbox.load(&component("(memory i64 1)")).unwrap_err();
    let SandboxError::Compile { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(&source, CompileError::Invalid { reason } if reason.contains("memory64")), "{source}");
}

#[test]
fn a_compiler_that_is_not_there_or_no_compiler_is_named() {
    let missing = ChildCompiler::new("/nowhere/jecloud").compile(&hostile("harmless")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/jecloud"), "{missing}");
    let silent = ChildCompiler { args: vec![], ..ChildCompiler::new("/bin/true") };
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::new(dir.path().join("compiled"), Box::new(silent)).unwrap();
    let error = sandbox.load(&hostile("harmless")).unwrap_err();
    assert!(matches!(error, SandboxError::Compile { source: CompileError::Failed { .. }, .. }), "{error}");
}
