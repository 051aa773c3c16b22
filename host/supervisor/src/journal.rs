//! The process manager's own log: `sys/logs/supervisor.log`.

use std::cell::RefCell;

use jecloud_disk::log::{KEEP, MAX_BYTES, RotatingLog};
use jecloud_model::layout::ServerRoot;

use crate::clock;

/// Writes lines with their time. A disk that is full does not stop anything: then a line is not written.
pub(crate) struct Journal {
    log: RefCell<RotatingLog>,
}

impl Journal {
    pub(crate) fn open(root: &ServerRoot) -> jecloud_disk::Result<Self> {
        let path = root.system_log(crate::NAME);
        // A tenth of what an app may write: this one has little to say.
        Ok(Self { log: RefCell::new(RotatingLog::open(&path, MAX_BYTES / 10, KEEP)?) })
    }

    pub(crate) fn say(&self, text: impl AsRef<str>) {
        let line = format!("{} {}", clock::timestamp(), text.as_ref());
        let _ = self.log.borrow_mut().append_line(&line);
    }
}
