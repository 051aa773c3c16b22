//! The empty world: everything that toolchains import is there, and there is nothing in it.

use jecloud_sandbox::{Called, Imports, Level, Why, componentize, inspect};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldItem};

use crate::build::{Place, contract, failure, module, prepare, source_dir, with_metadata};

/// Imports of all functions of WASI in the world, as a toolchain writes them: `$get-stdin`, `$output-stream.flush`.
fn imports(resolve: &Resolve) -> String {
    let mut text = String::new();
    let world = resolve.worlds.iter().map(|(_, world)| world).find(|world| world.name == "wasi-hook").unwrap();
    for item in world.imports.values() {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.id_of(*id).unwrap();
        if !interface.starts_with("wasi:") {
            continue;
        }
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let types = |types: &[WasmType]| types.iter().map(|kind| core_type(*kind)).collect::<Vec<_>>().join(" ");
            let short = name.strip_prefix("[method]").unwrap_or(name);
            let short = if short == "now" || short == "resolution" {
                format!("{}.{short}", clock(&interface))
            } else {
                short.to_owned()
            };
            text.push_str(&format!(
                "(import \"{interface}\" \"{name}\" (func ${short} (param {}) (result {})))\n",
                types(&signature.params),
                types(&signature.results)
            ));
        }
    }
    text
}

fn clock(interface: &str) -> &str {
    if interface.contains("wall") { "wall" } else { "monotonic" }
}

fn core_type(kind: WasmType) -> &'static str {
    match kind {
        WasmType::I64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::PointerOrI64 => "i64",
    }
}

/// A hook that imports all of it, with this `prepare-deploy`.
fn component(prepare: &str) -> Vec<u8> {
    let wasi = std::fs::read_to_string(source_dir("tests/wasi.wit")).unwrap();
    let resolve = contract(&[("wasi.wit", &wasi)]);
    let body = format!(
        "(func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable))) (func $prepare (param i32) (result i32) (local $a i32) (local $b i64) {prepare} (call $empty-answer))"
    );
    componentize(&with_metadata(module(&imports(&resolve), &body), &resolve, "wasi-hook")).unwrap()
}

/// What the hook logged, if every `$check` in it held.
#[track_caller]
fn run(prepare_body: &str) -> Vec<(Level, String)> {
    let Called { answer, log } =
        prepare(&Place::new().load(&component(prepare_body))).unwrap_or_else(|error| panic!("{error}"));
    answer.unwrap();
    log.lines.into_iter().map(|line| (line.level, line.message)).collect()
}

/// Fails when a definition of ours has another type than WASI, or is missing.
#[test]
fn everything_that_toolchains_import_links() {
    let component = component("");
    let inspection = inspect(&component).unwrap();
    assert_eq!(inspection.kind().unwrap(), Imports::Wasi);
    assert_eq!(inspection.imports.iter().filter(|name| name.starts_with("wasi:")).count(), 20, "{inspection:?}");
    assert_eq!(run(""), []);
}

/// A list is written as pointer and length; an option begins with 0 where there is nothing.
#[test]
fn there_is_no_environment_and_there_are_no_files() {
    // SAFETY of the test: these variables are there, so an empty answer is not the truth by chance.
    assert!(std::env::vars().count() > 0 && std::env::args().count() > 0);
    run("(i64.store (i32.const 64) (i64.const -1))
         (call $get-environment (i32.const 64)) (call $check (i32.eqz (i32.load (i32.const 68))))
         (i64.store (i32.const 64) (i64.const -1))
         (call $get-arguments (i32.const 64)) (call $check (i32.eqz (i32.load (i32.const 68))))
         (i64.store (i32.const 64) (i64.const -1))
         (call $initial-cwd (i32.const 64)) (call $check (i32.eqz (i32.load8_u (i32.const 64))))
         (i64.store (i32.const 64) (i64.const -1))
         (call $get-directories (i32.const 64)) (call $check (i32.eqz (i32.load (i32.const 68))))
         (i64.store (i32.const 64) (i64.const -1))
         (call $get-terminal-stdin (i32.const 64)) (call $check (i32.eqz (i32.load8_u (i32.const 64))))
         (i64.store (i32.const 64) (i64.const -1))
         (call $get-terminal-stdout (i32.const 64)) (call $check (i32.eqz (i32.load8_u (i32.const 64))))
         (i64.store (i32.const 64) (i64.const -1))
         (call $get-terminal-stderr (i32.const 64)) (call $check (i32.eqz (i32.load8_u (i32.const 64))))");
}

/// Fails with a clock of the machine.
#[test]
fn clocks_begin_in_2020_and_go_on_when_looked_at() {
    run("(call $wall.now (i32.const 64))
         (call $check (i64.eq (i64.load (i32.const 64)) (i64.const 1577836800)))
         (call $check (i32.eqz (i32.load (i32.const 72))))
         (call $wall.now (i32.const 64))
         (call $check (i32.eq (i32.load (i32.const 72)) (i32.const 1000000)))
         (call $wall.resolution (i32.const 64))
         (call $check (i32.eq (i32.load (i32.const 72)) (i32.const 1000000)))
         (call $check (i64.eq (call $monotonic.now) (i64.const 2000000)))
         (call $check (i64.eq (call $monotonic.now) (i64.const 3000000)))
         (call $check (i64.eq (call $monotonic.resolution) (i64.const 1000000)))");
}

/// A loop that waits for a second to pass ends. Fails (at the deadline) with a clock that stands still.
#[test]
fn waiting_for_a_clock_ends() {
    run("(loop $wait (br_if $wait (i64.lt_u (call $monotonic.now) (i64.const 1000000000))))");
}

/// Everything that can be waited for is there already.
#[test]
fn waiting_takes_no_time() {
    run("(local.set $a (call $subscribe-duration (i64.const -1)))
         (call $check (call $pollable.ready (local.get $a)))
         (call $pollable.block (local.get $a))
         (i32.store (i32.const 128) (local.get $a))
         (i32.store (i32.const 132) (call $subscribe-instant (i64.const -1)))
         (call $poll (i32.const 128) (i32.const 2) (i32.const 64))
         (call $check (i32.eq (i32.load (i32.const 68)) (i32.const 2)))
         (call $check (i32.eq (i32.load (i32.load (i32.const 64))) (i32.const 0)))
         (call $check (i32.eq (i32.load (i32.add (i32.load (i32.const 64)) (i32.const 4))) (i32.const 1)))");
}

/// Fails with randomness of the machine.
#[test]
fn random_numbers_are_the_same_in_every_call() {
    let component = component(
        "(local.set $b (call $get-random-u64))
         (call $check (i64.ne (local.get $b) (call $get-random-u64)))
         (call $check (i64.ne (local.get $b) (call $get-insecure-random-u64)))
         (call $insecure-seed (i32.const 64))
         (call $check (i64.ne (i64.load (i32.const 64)) (i64.load (i32.const 72))))
         (call $get-random-bytes (i64.const 40) (i32.const 64))
         (call $check (i32.eq (i32.load (i32.const 68)) (i32.const 40)))
         (call $output-stream.write (call $get-stdout) (i32.load (i32.const 64)) (i32.load (i32.const 68)) (i32.const 64))",
    );
    let (one, two) = (Place::new().load(&component), Place::new().load(&component));
    let first = prepare(&one).unwrap();
    assert!(!first.log.lines.is_empty());
    assert_eq!(first, prepare(&one).unwrap());
    assert_eq!(first, prepare(&two).unwrap());
}

/// The host makes them, so a hook cannot have any number of them. Fails without the limit.
#[test]
fn random_bytes_are_limited() {
    for function in ["get-random-bytes", "get-insecure-random-bytes"] {
        let component = component(&format!("(call ${function} (i64.const 1000000000000) (i32.const 64))"));
        let why = failure(prepare(&Place::new().load(&component))).why;
        assert_eq!(why, Why::Other("it asked for 1000000000000 random bytes at once".to_owned()));
    }
}

#[test]
fn outputs_go_to_the_log_by_lines() {
    let lines = run("(i64.store (i32.const 200) (i64.const 0x64636261_0a6f6e65)) ;; eno?abcd
         (memory.copy (i32.const 300) (i32.const 200) (i32.const 8))
         (local.set $a (call $get-stdout))
         (call $output-stream.check-write (local.get $a) (i32.const 64))
         (call $check (i32.eqz (i32.load8_u (i32.const 64))))
         (call $check (i64.ge_u (i64.load (i32.const 72)) (i64.const 8)))
         (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 200) (i32.const 8) (i32.const 64))
         (call $check (i32.eqz (i32.load8_u (i32.const 64))))
         (call $output-stream.write (call $get-stderr) (i32.const 200) (i32.const 3) (i32.const 64))
         (call $output-stream.flush (local.get $a) (i32.const 64))
         (call $check (i32.eqz (i32.load8_u (i32.const 64))))
         (call $output-stream.write (local.get $a) (i32.const 200) (i32.const 4) (i32.const 64))");
    let expected = [(Level::Info, "eno"), (Level::Info, "abcdeno"), (Level::Warn, "eno")];
    assert_eq!(lines, expected.map(|(level, text)| (level, text.to_owned())));
}

/// A hook that writes one endless line keeps the host from growing. Fails without `LONGEST_LINE`.
#[test]
fn an_endless_line_is_cut() {
    let lines = run("(memory.fill (i32.const 8192) (i32.const 120) (i32.const 60000))
         (local.set $a (call $get-stdout))
         (loop $more
           (call $output-stream.write (local.get $a) (i32.const 8192) (i32.const 60000) (i32.const 64))
           (local.set $b (i64.add (local.get $b) (i64.const 1)))
           (br_if $more (i64.lt_u (local.get $b) (i64.const 100))))");
    assert!(lines.len() == 50, "{}", lines.len());
    assert!(lines.iter().all(|(_, line)| line.len() <= 8 * 1024));
}

/// `closed` is the second of the stream errors; a result begins with 1 where it is an error.
#[test]
fn the_input_is_at_its_end() {
    run("(local.set $a (call $get-stdin))
         (call $input-stream.read (local.get $a) (i64.const 10) (i32.const 64))
         (call $check (i32.and (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 68))))
         (call $input-stream.blocking-read (local.get $a) (i64.const 10) (i32.const 64))
         (call $check (i32.and (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 68))))
         (call $input-stream.skip (local.get $a) (i64.const 10) (i32.const 64))
         (call $check (i32.and (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 72))))
         (call $output-stream.splice (call $get-stdout) (local.get $a) (i64.const 10) (i32.const 64))
         (call $check (i32.load8_u (i32.const 64)))
         (call $check (call $pollable.ready (call $input-stream.subscribe (local.get $a))))");
}

#[test]
fn exit_ends_the_call() {
    let call = |body: &str| failure(prepare(&Place::new().load(&component(body)))).why;
    assert_eq!(call("(call $exit (i32.const 0))"), Why::Exit);
    let missing = Why::NoSuchThing { function: "wasi:cli/exit exit-with-code".to_owned() };
    assert_eq!(call("(call $exit-with-code (i32.const 0))"), missing);
}

/// There is no descriptor, and none can be made up: the host did not hand one out.
#[test]
fn files_cannot_be_made_up() {
    for call in [
        "(call $descriptor.open-at (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 128))",
        "(call $descriptor.read-via-stream (i32.const 1) (i64.const 0) (i32.const 128))",
        "(call $input-stream.read (i32.const 7) (i64.const 0) (i32.const 128))",
        "(call $descriptor.stat (call $get-stdout) (i32.const 128))",
    ] {
        let why = failure(prepare(&Place::new().load(&component(call)))).why;
        assert!(matches!(&why, Why::Other(text) | Why::Trap(text) if text.contains("handle")), "{call}: {why:?}");
    }
}
