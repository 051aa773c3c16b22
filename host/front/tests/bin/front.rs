//! The front alone, as a process: what `jecloud front --root DIR` is in the real binary.

use std::process::ExitCode;

use jecloud_model::layout::ServerRoot;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, root] = arguments.as_slice() else {
        eprintln!("usage: jecloud-front --root DIR");
        return ExitCode::from(2);
    };
    if flag != "--root" {
        eprintln!("usage: jecloud-front --root DIR");
        return ExitCode::from(2);
    }
    let listeners = jecloud_front::inherited().map_err(jecloud_front::Error::from);
    match listeners.and_then(|listeners| jecloud_front::run(ServerRoot::new(root), listeners)) {
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
