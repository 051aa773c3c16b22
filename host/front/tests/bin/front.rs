//! The front alone, as a process: what `jecloud front --root DIR` is in the real binary.

use std::process::ExitCode;

use jecloud_front::Settings;
use jecloud_model::layout::ServerRoot;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (root, replace) = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--root", root] => (*root, false),
        ["--root", root, "--replace"] => (*root, true),
        _ => {
            eprintln!("usage: jecloud-front --root DIR [--replace]");
            return ExitCode::from(2);
        }
    };
    let settings = Settings { replace, ..Settings::default() };
    let listeners = jecloud_front::inherited().map_err(jecloud_front::Error::from);
    match listeners.and_then(|listeners| jecloud_front::run(ServerRoot::new(root), listeners, settings, || {})) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
