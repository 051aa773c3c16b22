//! What processes write, from their pipe into their log.
//!
//! The pipe is a FIFO in `sys/run` that both sides have open for reading and writing. So it never breaks: while there
//! is no process manager, what a process writes waits in it (64 KiB; then the process waits), and the next process
//! manager opens it by its name and goes on. It is lost only when the process and the process manager both end before
//! it was read.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use jecloud_disk::durable;
use jecloud_disk::log::{KEEP, MAX_BYTES, RotatingLog};
use jecloud_launch::{Lines, User};
use jecloud_model::layout::ServerRoot;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::clock;
use crate::events::readable;

/// So much is read in one go.
const CHUNK: usize = 16 * 1024;

/// So many chunks are read before others get their turn.
const CHUNKS: usize = 16;

/// When a process has ended, so much of what is left in its pipe is read at most. The pipe holds 64 KiB; more can come
/// only from something that the process left behind and that still writes.
const LAST_CHUNKS: usize = 64;

/// Where the lines of one process go.
pub(crate) struct Sink {
    /// The log.
    pub(crate) path: PathBuf,
    /// What stands between the time and the text: the instance's id.
    pub(crate) label: String,
    /// The largest size of a log file, in bytes.
    pub(crate) max_bytes: u64,
}

impl Sink {
    pub(crate) fn new(path: PathBuf, label: impl ToString) -> Self {
        Self { path, label: label.to_string(), max_bytes: MAX_BYTES }
    }
}

/// An open pipe. Dropping it stops the reading; what is in the pipe stays there while somebody has it open.
pub(crate) struct Output {
    inner: Rc<RefCell<Inner>>,
    reading: JoinHandle<()>,
}

struct Inner {
    fifo: OwnedFd,
    lines: Lines,
    sink: Sink,
    log: Option<RotatingLog>,
}

impl Output {
    /// Opens the pipe called `name`, or makes it, and begins to read. `user` is whose process will write into it, where
    /// that is somebody else.
    pub(crate) fn open(root: &ServerRoot, name: &str, user: Option<User>, sink: Sink) -> io::Result<Self> {
        let fifo = open_fifo(&root.run().join(name), user)?;
        let readable = readable(fifo.try_clone()?)?;
        let inner = Rc::new(RefCell::new(Inner { fifo, lines: Lines::default(), sink, log: None }));
        let reader = Rc::clone(&inner);
        let reading = tokio::task::spawn_local(async move {
            loop {
                let Ok(mut guard) = readable.readable().await else { return };
                if reader.borrow_mut().pump(CHUNKS) {
                    guard.clear_ready();
                } else {
                    tokio::task::yield_now().await;
                }
            }
        });
        Ok(Self { inner, reading })
    }

    /// The pipe as the process gets it: its reads and writes wait, unlike ours.
    pub(crate) fn writer(&self) -> io::Result<OwnedFd> {
        // Through the descriptor, not the name: it is surely the same pipe.
        let path = format!("/proc/self/fd/{}", self.inner.borrow().fifo.as_raw_fd());
        Ok(rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Writes down everything that is in the pipe: the process has ended.
    pub(crate) fn finish(&self) {
        self.inner.borrow_mut().finish();
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Inner {
    /// Moves what is there from the pipe into the log. Says whether the pipe is empty now.
    fn pump(&mut self, chunks: usize) -> bool {
        let mut buffer = [0; CHUNK];
        for _ in 0..chunks {
            match rustix::io::read(&self.fifo, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return true,
                Ok(count) => {
                    let mut lines = std::mem::take(&mut self.lines);
                    let mut text = String::new();
                    let head = self.head();
                    lines.feed(&buffer[..count], &mut |line| add(&mut text, &head, line));
                    self.lines = lines;
                    self.write(&text);
                }
                Err(Errno::INTR) => {}
                // Not to be expected of a pipe, and trying again at once would keep the machine busy.
                Err(_) => return true,
            }
        }
        false
    }

    fn finish(&mut self) {
        self.pump(LAST_CHUNKS);
        let mut text = String::new();
        let head = self.head();
        self.lines.flush(&mut |line| add(&mut text, &head, line));
        self.write(&text);
    }

    fn head(&self) -> String {
        format!("{} {} ", clock::timestamp(), self.sink.label)
    }

    /// Lines that cannot be written are lost: a full disk must not stop the process that writes them.
    fn write(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.log.is_none() {
            let directory = self.sink.path.parent().unwrap_or(&self.sink.path);
            self.log = durable::create_dirs(directory, 0o755)
                .and_then(|()| RotatingLog::open(&self.sink.path, self.sink.max_bytes, KEEP))
                .ok();
        }
        if let Some(log) = &mut self.log
            && log.append(text.as_bytes()).is_err()
        {
            // Opened anew for the next lines: its directory may have been removed.
            self.log = None;
        }
    }
}

fn add(text: &mut String, head: &str, line: &str) {
    text.push_str(head);
    text.push_str(line);
    text.push('\n');
}

/// Removes a pipe that nobody needs any more.
pub(crate) fn remove(root: &ServerRoot, name: &str) {
    let _ = rustix::fs::unlinkat(CWD, root.run().join(name), AtFlags::empty());
}

fn open_fifo(path: &Path, user: Option<User>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::open(path, flags, Mode::empty())
        .ok()
        .filter(|fd| rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo));
    let fifo = match opened {
        Some(fifo) => fifo,
        None => {
            match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            rustix::fs::mkfifoat(CWD, path, Mode::from_raw_mode(0o600))?;
            rustix::fs::open(path, flags, Mode::empty())?
        }
    };
    if let Some(user) = user {
        // A program may open `/dev/stdout` by name, which asks for the right to do so.
        rustix::fs::fchown(fifo.as_fd(), Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    }
    Ok(fifo)
}
