//! `test-cloud up|down`: a cloud on this machine to play with. `cargo xtask cloud` is how people type it.

#![expect(clippy::disallowed_methods, reason = "it starts itself once more, in the background")]

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use jecloud_testkit::Playground;

const USAGE: &str = "usage: test-cloud up DIRECTORY DIRECTORY-OF-JECLOUD | test-cloud down DIRECTORY";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["up", directory, jecloud] => up(directory, jecloud),
        ["down", directory] => down(directory),
        ["serve", directory] => Playground::at(Path::new(directory)).and_then(|playground| playground.serve()),
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

fn up(directory: &str, jecloud: &str) -> Result<()> {
    let mut serve = Command::new(std::env::current_exe()?);
    serve.arg("serve").arg(std::path::absolute(directory)?);
    print!("{}", Playground::at(Path::new(directory))?.up(&mut serve, Path::new(jecloud))?);
    Ok(())
}

fn down(directory: &str) -> Result<()> {
    let was_there = Playground::at(Path::new(directory))?.down()?;
    println!("{}", if was_there { "The test cloud is gone." } else { "There is no test cloud." });
    Ok(())
}
