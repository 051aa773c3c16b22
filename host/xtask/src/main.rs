//! Development tasks: `cargo xtask TASK`. One file per task.

mod bench;
mod cloud;
mod hooks;
mod lint;
mod programs;
mod scope;
mod smoke;
mod steps;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK

tasks:
  test           install what the tests need, then run everything that must hold: lint, all tests, hooks --check
  test --quick   only the crates that start no processes
  test -p CRATE  only this crate (repeatable)
  lint           formatting, clippy and documentation; takes --quick and -p too
  bench          measure JeCloud against its peers, and print one table
  bench --only NAME  only this: redeploy, pack, hook, front, memory or version (repeatable)
  bench --no-build   measure what was built last
  cloud up       start a cloud on this machine to play with, and print what to type (as root)
  cloud down     end it and remove all of it
  smoke          try JeCloud with a real AWS account, once, and clean up: `cargo xtask smoke --help`
  hooks          build the hook components into hooks/dist
  hooks --check  fail where hooks/dist is not what its sources make";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["test", arguments @ ..] => test::run(arguments),
        ["lint", arguments @ ..] => lint::run(arguments),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["cloud", arguments @ ..] => cloud::run(arguments),
        ["smoke", arguments @ ..] => smoke::run(arguments),
        ["hooks"] => hooks::build(),
        ["hooks", "--check"] => hooks::check(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
