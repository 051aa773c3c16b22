//! Shells with which a person speaks.

use std::io::Write as _;
use std::time::Instant;

use jecloud_remote::{Chunk, Ended, RemoteError, Size, TerminalOutput};
use jecloud_testkit::Cable;

use crate::place::{LONG, Place};

const SIZE: Size = Size { columns: 91, rows: 37 };

/// Everything that comes until the text comes, or the end.
fn read_until(output: &mut TerminalOutput, text: &str) -> (String, Option<Ended>) {
    let (mut seen, begin) = (String::new(), Instant::now());
    while !seen.contains(text) || text.is_empty() {
        assert!(begin.elapsed() < LONG, "so far: {seen}");
        match output.next(LONG).expect("it is there") {
            Some(Chunk::Out(bytes)) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Chunk::Err(bytes)) => seen.push_str(&format!("<{}>", String::from_utf8_lossy(&bytes))),
            Some(Chunk::Ended(ended)) => return (seen, Some(ended)),
            None => {}
        }
    }
    (seen, None)
}

#[test]
fn a_shell_has_a_terminal_of_this_size_and_is_told_of_another() {
    let place = Place::new();
    let (mut input, mut output) =
        place.session().terminal::<&str>(None, Some(("xterm-256color", SIZE))).expect("a shell");
    // The answers are not a part of what is typed, which the terminal shows too.
    input.write_all(b"stty size; echo $TERM; echo 'rea''dy'\n").expect("it takes it");
    let (seen, _) = read_until(&mut output, "ready");
    assert!(seen.contains("37 91") && seen.contains("xterm-256color"), "{seen}");
    input.resize(Size { columns: 50, rows: 20 }).expect("it takes it");
    input.write_all(b"stty size; exit 3\n").expect("it takes it");
    let (seen, ended) = read_until(&mut output, "");
    assert!(seen.contains("20 50"), "{seen}");
    assert_eq!(ended, Some(Ended::Exit(3)));
    assert!(input.write_all(b"anybody?").is_err(), "it is over");
}

#[test]
fn without_a_terminal_the_streams_are_apart() {
    let place = Place::new();
    let argv = ["sh", "-c", "read line; echo \"got $line\"; cat >&2"];
    let (mut input, mut output) = place.session().terminal(Some(&argv), None).expect("a command");
    input.write_all(b"hello\nand more").expect("it takes it");
    input.finish().expect("it takes it");
    let (seen, ended) = read_until(&mut output, "");
    assert_eq!(ended, Some(Ended::Exit(0)));
    assert!(seen.contains("got hello\n") && seen.contains("<and more>"), "{seen}");
}

#[test]
fn a_shell_whose_connection_is_lost_has_no_exit_status() {
    let place = Place::new();
    let cable = Cable::to(place.sshd.port());
    let session = place.session_at(cable.port());
    let (mut input, mut output) = session.terminal::<&str>(None, Some(("xterm", SIZE))).expect("a shell");
    input.write_all(b"echo 'rea''dy'\n").expect("it takes it");
    read_until(&mut output, "ready");
    cable.cut();
    let error = loop {
        match output.next(LONG) {
            Ok(Some(Chunk::Ended(ended))) => panic!("{ended:?}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RemoteError::Lost { begun: true, .. }), "{error:?}");
}
