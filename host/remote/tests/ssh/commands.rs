//! Commands: what they get, what they say, how they end.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jecloud_remote::{Ended, RemoteError};
use jecloud_testkit::{Cable, eventually, kill, pids_that_mention};

use crate::place::{LONG, Place};

fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

#[test]
fn hostile_arguments_arrive_as_they_are() {
    let place = Place::new();
    let session = place.session();
    let hostile = ["", "it's", "$(reboot)", "`x`", "a\nb", "*", "~", "\\", "-n", "a\"b", "ä€", ";", "&&", "\u{1b}[0m"];
    let argv: Vec<&str> = ["printf", "%s\\0"].into_iter().chain(hostile).collect();
    let finished = session.exec(&argv, b"", LONG).expect("it runs");
    let expected: String = hostile.iter().map(|argument| format!("{argument}\0")).collect();
    assert_eq!(String::from_utf8_lossy(&finished.stdout), expected);
}

#[test]
fn exit_statuses_and_signals_are_told() {
    let place = Place::new();
    let session = place.session();
    for status in [0, 1, 7, 126, 255] {
        let finished = session.exec(&sh(&format!("exit {status}")), b"", LONG).expect("it runs");
        assert_eq!(finished.ended, Ended::Exit(status));
    }
    assert_eq!(session.exec(&["no-such-program"], b"", LONG).expect("it runs").ended, Ended::Exit(127));
    assert_eq!(session.exec(&sh("kill -KILL $$"), b"", LONG).expect("it runs").ended, Ended::Signal("KILL".to_owned()));
}

#[test]
fn megabytes_go_there_and_come_back() {
    let place = Place::new();
    let session = place.session();
    let bytes: Vec<u8> = (0..6_000_000u32).map(|number| ((number * 7) >> 3) as u8).collect();
    let finished = session.exec(&["cat"], &bytes, LONG).expect("it runs");
    assert!(finished.stdout == bytes, "{} bytes came back", finished.stdout.len());
    // A command that does not read what it gets is no error.
    assert_eq!(session.exec(&["true"], &bytes, LONG).expect("it runs").ended, Ended::Exit(0));
}

#[test]
fn the_two_streams_are_apart_and_bounded() {
    let place = Place::new();
    let session = place.session();
    let finished = session.exec(&sh("echo out; echo err >&2"), b"", LONG).expect("it runs");
    assert_eq!((&*finished.stdout, &*finished.stderr), (&b"out\n"[..], &b"err\n"[..]));
    let noisy = session.exec(&sh("head -c 3000000 /dev/zero >&2; echo end >&2"), b"", LONG).expect("it runs");
    assert_eq!(noisy.stderr.len(), 64 << 10);
    assert!(noisy.stderr.ends_with(b"end\n"));
}

/// Fails where the end of a channel without an exit status is taken for success.
#[test]
fn a_command_that_is_cut_off_is_unknown() {
    let place = Place::new();
    let cable = Cable::to(place.sshd.port());
    cable.break_after_receiving(300_000);
    let session = place.session_at(cable.port());
    let result = session.exec(&sh("head -c 1000000 /dev/zero"), b"", LONG);
    assert!(matches!(result, Err(RemoteError::Lost { begun: true, .. })), "{result:?}");
    // Nothing can have begun on a connection that is gone.
    let again = session.exec(&["true"], b"", LONG).expect_err("it is gone");
    assert!(again.is_before_begin(), "{again:?}");
}

/// Fails where an exit status is believed before the channel was closed: then output is missing from some successes.
#[test]
fn wherever_it_is_cut_a_success_is_whole() {
    let place = Place::new();
    // More than a pipe hands over at once: the exit status overtakes the end of the output.
    let script = sh("echo one; echo two >&2; head -c 60000 /dev/zero; exit 5");
    let whole = place.session().exec(&script, b"", LONG).expect("it runs");
    let cable = Cable::to(place.sshd.port());
    let session = place.session_at(cable.port());
    session.exec(&script, b"", LONG).expect("it runs");
    let all = cable.received();
    let mut lost = 0;
    for cut in (all.saturating_sub(60_000)..all + 100).step_by(1_000).chain((all - 300..all + 40).step_by(20)) {
        cable.break_after_receiving(cut);
        // Within the login: another test.
        let Ok(session) = jecloud_remote::Session::open(&place.connection(cable.port())) else { continue };
        match session.exec(&script, b"", LONG) {
            Ok(finished) => assert_eq!(finished, whole, "cut after {cut} of {all}"),
            Err(error) => {
                assert!(matches!(error, RemoteError::Lost { .. }), "{error:?}");
                lost += 1;
            }
        }
    }
    assert!(lost > 5, "only {lost} were lost");
}

#[test]
fn what_takes_too_long_is_ended() {
    let place = Place::new();
    let session = place.session();
    let mark = place.sshd.path("mark");
    std::fs::write(&mark, "").expect("a file");
    let begin = Instant::now();
    let result = session.exec(&["tail", "-f", mark.to_str().expect("UTF-8")], b"", Duration::from_millis(300));
    assert!(matches!(result, Err(RemoteError::TimedOut { .. })), "{result:?}");
    assert!(begin.elapsed() < Duration::from_secs(10));
    eventually(LONG, "tail ends", || pids_that_mention(&mark).is_empty().then_some(()));
    assert_eq!(session.exec(&["true"], b"", LONG).expect("the connection is kept").ended, Ended::Exit(0));
}

#[test]
fn lines_come_as_they_are_written() {
    let place = Place::new();
    let go_on = place.sshd.path("go-on");
    let script = format!("echo one; until [ -e {0} ]; do sleep 0.02; done; echo two; printf three", go_on.display());
    let mut lines = Vec::new();
    let finished = place.session().follow(
        &sh(&script),
        &mut |line| {
            // Only if the line is here before the command ends does it end at all.
            std::fs::write(&go_on, "").expect("a file");
            lines.push(line.to_owned());
            ControlFlow::Continue(())
        },
        &|| false,
    );
    assert_eq!(finished.expect("it runs").ended, Ended::Exit(0));
    assert_eq!(lines, ["one", "two", "three"]);
}

#[test]
fn whoever_has_seen_enough_is_let_go_and_the_command_ends() {
    let place = Place::new();
    let session = place.session();
    let mark = place.sshd.path("mark");
    std::fs::write(&mark, "one\ntwo\n").expect("a file");
    let argv = ["tail", "-n", "+1", "-f", mark.to_str().expect("UTF-8")];
    let mut lines = Vec::new();
    let mut on_line = |line: &str| {
        lines.push(line.to_owned());
        ControlFlow::Break(())
    };
    assert_eq!(session.follow(&argv, &mut on_line, &|| false).expect("it runs").ended, Ended::Enough);
    assert_eq!(lines, ["one"]);
    eventually(LONG, "tail ends", || pids_that_mention(&mark).is_empty().then_some(()));

    let cancelled = AtomicBool::new(false);
    let mut on_line = |_: &str| {
        cancelled.store(true, Ordering::SeqCst);
        ControlFlow::Continue(())
    };
    let result = session.follow(&argv, &mut on_line, &|| cancelled.load(Ordering::SeqCst));
    assert!(matches!(result, Err(RemoteError::Cancelled { .. })), "{result:?}");
    eventually(LONG, "tail ends", || pids_that_mention(&mark).is_empty().then_some(()));
}

/// Fails where the end of the output is waited for: a process that was left behind has it open for ten minutes.
#[test]
fn a_process_left_behind_keeps_nobody_waiting() {
    let place = Place::new();
    let begin = Instant::now();
    let finished = place.session().exec(&sh("sleep 600 & echo $!"), b"", LONG).expect("it runs");
    let pid: u32 = String::from_utf8_lossy(&finished.stdout).trim().parse().expect("a number");
    kill(pid);
    assert_eq!(finished.ended, Ended::Exit(0));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// Fails where a server that allows no more channels just now is not asked again: it allows ten.
#[test]
fn many_threads_share_a_connection() {
    let place = Place::new();
    let session = place.session();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let session = session.clone();
            scope.spawn(move || {
                for _ in 0..5 {
                    let script = format!("cat; echo {number}");
                    let finished = session.exec(&sh(&script), &[b'x'; 100_000], LONG).expect("it runs");
                    assert!(finished.stdout.len() > 100_000, "{} bytes", finished.stdout.len());
                    assert!(finished.stdout.ends_with(format!("{number}\n").as_bytes()));
                }
            });
        }
    });
}
