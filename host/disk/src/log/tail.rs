//! The last lines of a log, read from the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{Follow, Part, files};
use crate::error::{Result, at};

/// How much is read at a time, going backwards.
const STEP: u64 = 64 << 10;

/// The last `lines` lines of a log, oldest first, also those that were rotated away.
///
/// With `since`, the beginning of a time as it stands at the beginning of lines (`2026-11-24T07:45`), only lines of
/// that time and later; a line that does not begin with a digit belongs to the one before. No more of the log is read
/// than that. A log that does not exist has no lines.
///
/// # Errors
///
/// [`crate::DiskError::Io`].
pub fn tail(path: &Path, lines: usize, since: Option<&str>) -> Result<Vec<String>> {
    last_lines(&files(path)?, lines, since).map_err(at("read the log", path))
}

/// As [`tail`], and what follows: no line is in both, and none in neither.
///
/// # Errors
///
/// [`crate::DiskError::Io`].
pub fn tail_and_follow(path: &Path, lines: usize, since: Option<&str>) -> Result<(Vec<String>, Follow)> {
    let mut parts = files(path)?;
    // A line that is still being written is left to the follower.
    if let Some(newest) = parts.first_mut() {
        newest.bytes = end_of_last_line(&newest.file, newest.bytes).map_err(at("read the log", path))?;
    }
    let last = last_lines(&parts, lines, since).map_err(at("read the log", path))?;
    let follow = match parts.into_iter().next() {
        Some(newest) => Follow::from(path, newest),
        None => Follow::from_start(path),
    };
    Ok((last, follow))
}

fn last_lines(parts: &[Part], lines: usize, since: Option<&str>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    // Lines without a time that stand after one that is still to come.
    let mut kept = 0;
    'parts: for part in parts {
        let mut backwards = Backwards::new(&part.file, part.bytes);
        while found.len() < lines
            && let Some(line) = backwards.next_line()?
        {
            if let Some(since) = since
                && line.first().is_some_and(u8::is_ascii_digit)
            {
                if is_before(&line, since) {
                    found.truncate(kept);
                    break 'parts;
                }
                kept = found.len() + 1;
            }
            found.push(String::from_utf8_lossy(&line).into_owned());
        }
        if found.len() >= lines {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Whether a line's time is before `since`, as far as `since` says it.
fn is_before(line: &[u8], since: &str) -> bool {
    &line[..line.len().min(since.len())] < since.as_bytes()
}

fn end_of_last_line(file: &File, mut end: u64) -> io::Result<u64> {
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        buffer.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.read_exact_at(&mut buffer, start)?;
        if let Some(at) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Lines of a file from the last to the first.
struct Backwards<'a> {
    file: &'a File,
    /// What is before this is not read yet.
    start: u64,
    /// Read, and not handed out yet.
    buffer: Vec<u8>,
}

impl<'a> Backwards<'a> {
    fn new(file: &'a File, end: u64) -> Self {
        Self { file, start: end, buffer: Vec::new() }
    }

    /// Without its line break.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.buffer.is_empty() && self.start == 0 {
            return Ok(None);
        }
        let mut searched = 0;
        loop {
            let end = self.buffer.len().saturating_sub(usize::from(self.buffer.last() == Some(&b'\n')));
            let unsearched = &self.buffer[..end.saturating_sub(searched)];
            if let Some(at) = unsearched.iter().rposition(|byte| *byte == b'\n') {
                let line = self.buffer[at + 1..end].to_vec();
                self.buffer.truncate(at + 1);
                return Ok(Some(line));
            }
            if self.start == 0 {
                let line = self.buffer[..end].to_vec();
                self.buffer.clear();
                return Ok(Some(line));
            }
            searched = end;
            let from = self.start.saturating_sub(STEP);
            let mut before = vec![0; usize::try_from(self.start - from).unwrap_or(0)];
            self.file.read_exact_at(&mut before, from)?;
            before.append(&mut self.buffer);
            self.buffer = before;
            self.start = from;
        }
    }
}
