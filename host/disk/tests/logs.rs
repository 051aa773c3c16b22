//! Logs: bounded, complete, and read from the end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jecloud_disk::log::{Follow, RotatingLog, tail, tail_and_follow};

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number:04}")).collect()
}

/// Ten bytes a line.
fn write(log: &mut RotatingLog, range: std::ops::Range<usize>) {
    for line in numbers(range) {
        log.append_line(&line).unwrap();
    }
}

#[test]
fn it_is_rotated_between_lines_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut log = RotatingLog::open(&path, 100, 3).unwrap();
    write(&mut log, 0..1000);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let all = [read("x.log.2"), read("x.log.1"), read("x.log")].concat();
    assert_eq!(all.lines().collect::<Vec<_>>(), numbers(970..1000));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    for name in ["x.log", "x.log.1", "x.log.2"] {
        assert!(read(name).len() <= 100);
    }
    assert_eq!(tail(&path, usize::MAX, None).unwrap(), numbers(970..1000));
}

#[test]
fn a_log_of_one_file_is_bounded_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    write(&mut RotatingLog::open(&path, 100, 1).unwrap(), 0..25);
    assert_eq!(tail(&path, 100, None).unwrap(), numbers(20..25));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_line_that_is_longer_than_a_file_is_bounded_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = RotatingLog::open(&dir.path().join("x.log"), 100, 3).unwrap();
    log.append_line(&"x".repeat(10_000)).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        assert!(entry.unwrap().metadata().unwrap().len() <= 100);
    }
}

/// A writer dies within a line; the next one does not continue it.
#[test]
fn a_torn_line_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    fs::File::create(&path).map(|mut file| std::io::Write::write_all(&mut file, b"whole\nto")).unwrap().unwrap();
    RotatingLog::open(&path, 100, 3).unwrap().append_line("next").unwrap();
    assert_eq!(tail(&path, 10, None).unwrap(), ["whole", "to", "next"]);
}

#[test]
fn line_breaks_within_a_line_are_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    RotatingLog::open(&path, 100, 3).unwrap().append_line("a\nb\n").unwrap();
    assert_eq!(tail(&path, 10, None).unwrap(), ["a b"]);
}

/// For a process that writes by itself.
#[test]
fn the_file_itself_is_the_one_with_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut log = RotatingLog::open(&path, 100, 3).unwrap();
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    std::io::Write::write_all(&mut log.file().unwrap(), b"by itself\n").unwrap();
    log.append_line("by the log").unwrap();
    assert_eq!(tail(&path, 10, None).unwrap(), ["by itself", "by the log"]);
}

/// Fails without looking whether the file still has the name: one of the writers goes on in `x.log.1`, `x.log.2` and
/// in a file without a name, and its lines are lost.
#[test]
fn several_writers_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let mut log = RotatingLog::open(&path, 100, 300).unwrap();
            scope.spawn(move || {
                for number in 0..500 {
                    log.append_line(&format!("{writer} {number:04}")).unwrap();
                }
            });
        }
    });
    // 14 000 bytes, and a file is rotated when 7 more do not fit, so with 94 at least. Fails when a writer that has waited
    // for another's rotation rotates again: then there are several hundred.
    assert!(fs::read_dir(dir.path()).unwrap().count() <= 149);
    let lines = tail(&path, usize::MAX, None).unwrap();
    for writer in 0..4 {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{writer} "))).cloned().collect();
        let expected: Vec<_> = (0..500).map(|number| format!("{writer} {number:04}")).collect();
        assert_eq!(own.len(), expected.len());
        // A writer that was overtaken by a rotation may write one line into the older file.
        let mut sorted = own;
        sorted.sort();
        assert_eq!(sorted, expected);
    }
}

#[test]
fn the_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    assert!(tail(&path, 10, None).unwrap().is_empty(), "there is no log yet");
    let mut log = RotatingLog::open(&path, 200, 3).unwrap();
    assert!(tail(&path, 10, None).unwrap().is_empty(), "it is empty");
    write(&mut log, 0..55);
    for count in [0, 1, 14, 15, 16, 35, 55] {
        assert_eq!(tail(&path, count, None).unwrap(), numbers(55 - count..55), "{count}");
    }
    assert_eq!(tail(&path, 56, None).unwrap(), numbers(0..55));
    // A gap in the numbers, as a crash during a rotation leaves it.
    fs::rename(dir.path().join("x.log.1"), dir.path().join("x.log.3")).unwrap();
    fs::rename(dir.path().join("x.log.2"), dir.path().join("x.log.1")).unwrap();
    assert_eq!(tail(&path, 100, None).unwrap().len(), 55);
}

/// Lines that are longer than what is read at a time, and ends that fall on its border.
#[test]
fn long_lines_are_read_backwards() {
    let dir = tempfile::tempdir().unwrap();
    for length in [65_534, 65_535, 65_536, 65_537, 200_000] {
        let path = dir.path().join(format!("{length}.log"));
        let mut log = RotatingLog::open(&path, 10_000_000, 3).unwrap();
        let lines = ["a".repeat(length), String::new(), "b".to_owned(), "c".repeat(length)];
        for line in &lines {
            log.append_line(line).unwrap();
        }
        assert_eq!(tail(&path, 10, None).unwrap(), lines, "{length}");
        assert_eq!(tail(&path, 2, None).unwrap(), lines[2..], "{length}");
    }
}

#[test]
fn since() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut log = RotatingLog::open(&path, 60, 10).unwrap();
    let lines = [
        "2026-11-24T07:44:59.000Z one",
        "    at one",
        "2026-11-24T07:45:00.000Z two",
        "    at two",
        "2026-11-24T07:46:00.000Z three",
    ];
    for line in lines {
        log.append_line(line).unwrap();
    }
    let since = |count, since| tail(&path, count, Some(since)).unwrap();
    assert_eq!(since(100, "2026-11-24T07:45"), lines[2..]);
    assert_eq!(since(100, "2026-11-24T07:45:01"), lines[4..]);
    assert_eq!(since(100, "2026-11-24T07"), lines);
    assert_eq!(since(100, "2027"), [""; 0]);
    assert_eq!(since(2, "2026"), lines[3..]);
}

/// Reads until there are so many lines.
fn follow_until(follow: &mut Follow, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut lines = Vec::new();
    while lines.len() < count {
        assert!(Instant::now() < deadline, "only {} lines", lines.len());
        follow.wait(Duration::from_secs(1)).unwrap();
        lines.extend(follow.lines().unwrap());
    }
    lines
}

/// Fails when it stays with the file that it began with, and when it jumps to the newest.
#[test]
fn following_goes_on_after_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut log = RotatingLog::open(&path, 100, 5).unwrap();
    write(&mut log, 0..8);
    let (last, mut follow) = tail_and_follow(&path, 3, None).unwrap();
    assert_eq!(last, numbers(5..8));
    assert!(follow.lines().unwrap().is_empty());
    // Three rotations between two looks.
    write(&mut log, 8..38);
    assert_eq!(follow_until(&mut follow, 30), numbers(8..38));
    write(&mut log, 38..40);
    assert_eq!(follow_until(&mut follow, 2), numbers(38..40));
    // More than is kept: the lines that are left, and no line twice.
    write(&mut log, 40..200);
    assert_eq!(follow_until(&mut follow, 50), numbers(150..200));
}

#[test]
fn every_line_is_followed_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    // There is no log yet.
    let mut follow = Follow::from_end(&path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| write(&mut RotatingLog::open(&path, 1000, 1000).unwrap(), 0..5000));
        assert_eq!(follow_until(&mut follow, 5000), numbers(0..5000));
    });
}

#[test]
fn a_line_is_handed_out_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("x.log");
    let mut log = RotatingLog::open(path, 100, 3).unwrap();
    log.append(b"whole\nha").unwrap();
    let (last, mut follow) = tail_and_follow(path, 10, None).unwrap();
    assert_eq!(last, ["whole"]);
    assert!(follow.lines().unwrap().is_empty());
    log.append(b"lf\n").unwrap();
    assert_eq!(follow_until(&mut follow, 1), ["half"]);
    // Somebody empties the file.
    fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
    assert!(follow.lines().unwrap().is_empty());
    log.append_line("new").unwrap();
    assert_eq!(follow_until(&mut follow, 1), ["new"]);
}

/// Fails when waiting is only looking at the clock: it would take the whole minute.
#[test]
fn waiting_ends_when_something_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut log = RotatingLog::open(&path, 100, 3).unwrap();
    let follow = Follow::from_end(&path).unwrap();
    let start = Instant::now();
    follow.wait(Duration::from_millis(20)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20), "nothing was written");
    std::thread::scope(|scope| {
        scope.spawn(|| log.append_line("x").unwrap());
        follow.wait(Duration::from_secs(60)).unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(50));
}
