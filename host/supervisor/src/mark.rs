//! The mark in the environment of every process that is started, by which one is found that was started and not
//! written down any more.

use jecloud_model::ids::{AppName, Digest, EnvironmentName, InstanceId};
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessSpec;

use crate::machine::{self, Stat};

/// `ROOT/APP/ENV/ID/START/SPEC`: hash of the server's directory, whose process, the number of this start, hash of what
/// it was started from.
pub(crate) const VARIABLE: &str = "JECLOUD_INSTANCE";

/// Hashes are shortened: these tell apart, they do not authenticate.
const DIGITS: usize = 16;

/// What the variable says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) app: AppName,
    pub(crate) environment: EnvironmentName,
    pub(crate) id: InstanceId,
    /// Each start of this server's processes has a greater number than all before.
    pub(crate) start: u64,
    /// See [`spec_digest`].
    pub(crate) spec: String,
}

/// A process with a mark that was not written down.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) mark: Mark,
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
}

impl Mark {
    /// The variable's value.
    pub(crate) fn value(&self, root: &ServerRoot) -> String {
        let Self { app, environment, id, start, spec } = self;
        format!("{}/{app}/{environment}/{id}/{start}/{spec}", root_digest(root))
    }

    fn parse(value: &str, root: &str) -> Option<Self> {
        let mut parts = value.split('/');
        (parts.next()? == root).then_some(())?;
        let mark = Self {
            app: parts.next()?.parse().ok()?,
            environment: parts.next()?.parse().ok()?,
            id: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            spec: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(mark)
    }
}

/// Tells processes of one server's directory from those of another on the same machine.
fn root_digest(root: &ServerRoot) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    short(Digest::of(root.path().as_os_str().as_bytes()))
}

/// Tells what a process was started from. Secrets are not in a spec, so nothing can be guessed from it.
pub(crate) fn spec_digest(spec: &ProcessSpec) -> String {
    short(Digest::of(&serde_json::to_vec(spec).unwrap_or_default()))
}

fn short(digest: Digest) -> String {
    digest.as_str()[..DIGITS].to_owned()
}

/// The processes of this server that were started after the start number `newest` and not by us: at most one of each
/// id.
///
/// Whatever a process starts inherits its mark, so that the mark alone is not enough: it must lead a process group, as
/// all that we start do, and of several that do (it made groups of its own) it is the oldest.
pub(crate) fn find(root: &ServerRoot, newest: u64) -> Vec<Found> {
    let digest = root_digest(root);
    let mut found: Vec<Found> = machine::pids()
        .into_iter()
        .filter_map(|pid| {
            let mark = Mark::parse(&machine::variable(pid, VARIABLE)?, &digest)?;
            let Stat { group, start_time, .. } = machine::stat(pid).filter(Stat::lives)?;
            (mark.start > newest && group == pid).then_some(Found { mark, pid, start_time })
        })
        .collect();
    let key = |found: &Found| (found.mark.app.clone(), found.mark.environment.clone(), found.mark.id.clone());
    found.sort_by_key(|found| (key(found), std::cmp::Reverse(found.mark.start), found.start_time, found.pid));
    found.dedup_by_key(|found| key(found));
    found
}

/// Whether a process was started by a process manager of this server, or by something that was.
pub(crate) fn is_ours(root: &ServerRoot, pid: u32) -> bool {
    machine::variable(pid, VARIABLE).is_some_and(|value| Mark::parse(&value, &root_digest(root)).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let root = ServerRoot::new("/var/cloud");
        let mark = Mark {
            app: "shop".parse().expect("a name"),
            environment: "production".parse().expect("a name"),
            id: "web.1@7".parse().expect("an id"),
            start: 4711,
            spec: "0123456789abcdef".to_owned(),
        };
        let value = mark.value(&root);
        assert_eq!(Mark::parse(&value, &root_digest(&root)), Some(mark));
        assert_eq!(Mark::parse(&value, &root_digest(&ServerRoot::new("/other"))), None);
        assert_eq!(Mark::parse(&format!("{value}/more"), &root_digest(&root)), None);
        assert_eq!(Mark::parse("", &root_digest(&root)), None);
    }
}
