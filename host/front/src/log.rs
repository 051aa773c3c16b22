//! The front's log: starts, stops and failures. Never a path, a query or a header field: those can hold secrets.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jecloud_disk::log::RotatingLog;
use jecloud_disk::{DiskError, durable};
use jecloud_model::layout::ServerRoot;
use jecloud_model::time::Timestamp;

/// One file of it: weeks of a front that has little to say.
const MOST_BYTES: u64 = 1 << 20;
/// Files, the one that is written included.
const FILES: u32 = 3;

/// Lines within [`PERIOD`]; more are counted, not written. What fails fails for every request.
const MOST_LINES: u32 = 50;
/// See [`MOST_LINES`].
const PERIOD: Duration = Duration::from_secs(10);

/// What systemd sets where the standard error of a service goes to its journal, which keeps the time and the size: man 5
/// systemd.exec.
const JOURNAL: &str = "JOURNAL_STREAM";

/// `sys/logs/front.log`, or the journal; for all threads.
#[derive(Debug)]
pub(crate) struct Log(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// None is the journal.
    file: Option<RotatingLog>,
    begin: Instant,
    lines: u32,
}

impl Log {
    pub(crate) fn open(root: &ServerRoot) -> Result<Self, DiskError> {
        let file = if std::env::var_os(JOURNAL).is_some() { None } else { Some(Self::file(root)?) };
        Ok(Self(Mutex::new(Inner { file, begin: Instant::now(), lines: 0 })))
    }

    fn file(root: &ServerRoot) -> Result<RotatingLog, DiskError> {
        let path = root.system_log("front");
        if let Some(directory) = path.parent() {
            durable::create_dirs(directory, 0o755)?;
        }
        RotatingLog::open(&path, MOST_BYTES, FILES)
    }

    /// Writes one line, with the time before it. A log that cannot be written must not stop the front.
    pub(crate) fn line(&self, text: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.begin.elapsed() >= PERIOD {
            let left_out = inner.lines.saturating_sub(MOST_LINES);
            if left_out > 0 {
                inner.write(&format!("{left_out} more lines in {PERIOD:?} were left out"));
            }
            inner.begin = Instant::now();
            inner.lines = 0;
        }
        inner.lines += 1;
        if inner.lines <= MOST_LINES {
            inner.write(text);
        }
    }
}

impl Inner {
    fn write(&mut self, text: &str) {
        // Where it fails there is nobody to tell.
        let _ = match &mut self.file {
            Some(file) => {
                let now = Timestamp::from_system(SystemTime::now());
                file.append_line(&format!("{now} {text}")).map_err(drop)
            }
            None => writeln!(std::io::stderr().lock(), "{text}").map_err(drop),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails without: the count of lines (200 are written).
    #[test]
    fn what_fails_for_every_request_does_not_fill_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let root = ServerRoot::new(directory.path());
        let log = Log::open(&root).unwrap();
        for number in 0..200 {
            log.line(&format!("failure {number}"));
        }
        // Not yet: the period has not ended.
        let text = durable::read_text(&root.system_log("front")).unwrap().unwrap();
        assert_eq!(text.lines().count(), 50);
        log.0.lock().unwrap().begin -= PERIOD;
        log.line("later");
        let text = durable::read_text(&root.system_log("front")).unwrap().unwrap();
        let last: Vec<&str> = text.lines().skip(50).map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(last, ["150 more lines in 10s were left out", "later"]);
    }
}
