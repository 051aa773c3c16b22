//! The lines of a log as they are written, across rotations.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Part, files};
use crate::error::{Result, at};

/// The most that one call of [`Follow::lines`] reads.
const MOST: usize = 1 << 20;

/// A place in a log, up to which everything has been handed out.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// The file that is read; none as long as there is no log.
    current: Option<(File, (u64, u64))>,
    offset: u64,
    /// A line whose end has not been written yet.
    unfinished: Vec<u8>,
}

impl Follow {
    /// From the end of the log as it is now; a log that does not exist yet is read from its start.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn from_end(path: &Path) -> Result<Self> {
        super::tail_and_follow(path, 0, None).map(|(_, follow)| follow)
    }

    pub(super) fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), current: None, offset: 0, unfinished: Vec::new() }
    }

    pub(super) fn from(path: &Path, part: Part) -> Self {
        let current = Some((part.file, part.id));
        Self { path: path.to_owned(), current, offset: part.bytes, unfinished: Vec::new() }
    }

    /// The whole lines that were written since the last call; none when there are none at the moment. Does not wait.
    ///
    /// A writer that rotates faster than this is called costs the lines that are rotated away for good.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let path = self.path.clone();
        let mut lines = Vec::new();
        loop {
            let read = self.read().map_err(at("read the log", &path))?;
            if read > 0 {
                lines.extend(self.take_lines());
                if lines.is_empty() || self.unfinished.len() > MOST {
                    continue;
                }
                return Ok(lines);
            }
            if !self.next_file()? {
                return Ok(lines);
            }
        }
    }

    /// Waits until something may have been written, but not longer than this. May return early.
    ///
    /// # Errors
    ///
    /// [`crate::DiskError::Io`].
    pub fn wait(&self, at_most: Duration) -> Result<()> {
        wait::until_changed(&self.path, at_most, || self.has_more()).map_err(at("wait for the log", &self.path))
    }

    /// Whether [`Self::lines`] would find something to read.
    fn has_more(&self) -> bool {
        let there = super::identity_of(&self.path).ok().flatten();
        match &self.current {
            None => there.is_some(),
            Some((file, id)) => there != Some(*id) || file.metadata().is_ok_and(|found| found.len() != self.offset),
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let Some((file, _)) = &self.current else { return Ok(0) };
        let length = file.metadata()?.len();
        if length < self.offset {
            // Somebody emptied it.
            self.offset = 0;
            self.unfinished.clear();
        }
        let mut buffer = vec![0; usize::try_from(length - self.offset).unwrap_or(MOST).min(MOST)];
        let read = file.read_at(&mut buffer, self.offset)?;
        self.offset += read as u64;
        self.unfinished.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    fn take_lines(&mut self) -> Vec<String> {
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.unfinished.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unfinished, rest);
        whole[..end].split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Goes on to the file that was begun after the current one; whether there is one.
    fn next_file(&mut self) -> Result<bool> {
        // Most of the time there is none, and one look tells.
        let there = super::identity_of(&self.path)?;
        if there.is_none() || there == self.current.as_ref().map(|(_, id)| *id) {
            return Ok(false);
        }
        let mut parts = files(&self.path)?;
        let next = match &self.current {
            None => parts.len().checked_sub(1),
            // Where it is rotated away for good, the oldest is the nearest.
            Some((_, id)) => match parts.iter().position(|part| part.id == *id) {
                Some(0) => None,
                Some(found) => Some(found - 1),
                None => parts.len().checked_sub(1),
            },
        };
        let Some(next) = next else { return Ok(false) };
        // What was appended to the current one after the last read and before it was rotated comes first.
        if self.read().map_err(at("read the log", &self.path))? > 0 {
            return Ok(true);
        }
        let next = parts.swap_remove(next);
        if !self.unfinished.is_empty() {
            // The next file begins with a new line, so this one is whole.
            self.unfinished.push(b'\n');
        }
        self.current = Some((next.file, next.id));
        self.offset = 0;
        Ok(true)
    }
}

#[cfg(target_os = "linux")]
mod wait {
    use std::io;
    use std::mem::MaybeUninit;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec};
    use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
    use rustix::io::Errno;

    use crate::temporary::parent_of;

    /// Watches the directory, because the file is another one after a rotation.
    pub(super) fn until_changed(path: &Path, at_most: Duration, changed: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + at_most;
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, parent_of(path), flags)?;
        // Looked at after the watch began, so nothing falls between the two.
        while !changed() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match rustix::event::poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            // Events of other files in the directory: taken away, so that the next poll waits.
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(&watch, &mut buffer);
            while events.next().is_ok() {}
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod wait {
    use std::io;
    use std::path::Path;
    use std::time::{Duration, Instant};

    /// Looks again and again.
    pub(super) fn until_changed(_path: &Path, at_most: Duration, changed: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + at_most;
        while !changed() && Instant::now() < deadline {
            #[expect(clippy::disallowed_methods, reason = "the pause between two looks, where nothing else wakes us")]
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::RotatingLog;

    /// Between the look that finds nothing more in a file and the look for the next file, lines are written to the
    /// first and it is rotated. Fails without reading it once more: `two` is lost.
    #[test]
    fn what_is_written_just_before_a_rotation_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = RotatingLog::open(&path, 8, 3).unwrap();
        log.append_line("one").unwrap();
        let mut follow = Follow::from_end(&path).unwrap();
        assert_eq!(follow.read().unwrap(), 0);
        log.append_line("two").unwrap();
        log.append_line("three").unwrap();
        assert!(follow.next_file().unwrap());
        let mut lines = follow.take_lines();
        lines.extend(follow.lines().unwrap());
        assert_eq!(lines, ["two", "three"]);
    }
}
