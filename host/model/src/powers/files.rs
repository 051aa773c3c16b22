//! Where files may lie.

use super::refusal::Findings;
use super::{Power, plan::Gaps};
use crate::hook::File;
use crate::template::{Piece, Placeholder, Template};

/// Directories that no power opens: the kernel's, the loader's, the administrator's, and those that decide who may log
/// in, what runs at boot and as whom. A service's own directory below /etc or /var is another matter.
const NEVER: [&str; 25] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/cron.monthly",
    "/etc/cron.weekly",
    "/etc/init.d",
    "/etc/ld.so.conf.d",
    "/etc/pam.d",
    "/etc/profile.d",
    "/etc/ssh",
    "/etc/sudoers.d",
    "/etc/systemd",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/cloud",
    "/var/spool/cron",
];

/// The segments of a path without empty ones and `.`; `None` where one is `..` or has characters that no path needs.
pub(super) fn segments(path: &str) -> Option<Vec<&str>> {
    if path.chars().any(char::is_control) {
        return None;
    }
    let segments: Vec<&str> = path.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    (!segments.contains(&"..")).then_some(segments)
}

/// Whether a relative path names something inside: at least one segment, none of them `..`.
pub(super) fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && segments(path).is_some_and(|segments| !segments.is_empty())
}

/// Whether an absolute path is another, or lies below it.
pub(super) fn path_covers(above: &str, path: &str) -> bool {
    if !above.starts_with('/') || !path.starts_with('/') {
        return false;
    }
    match (segments(above), segments(path)) {
        (Some(above), Some(path)) => path.starts_with(&above),
        _ => false,
    }
}

/// Why the host lets no hook write there, whatever was granted.
pub(super) fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("it is not absolute");
    }
    let Some(parts) = segments(path) else { return Some("it has .. segments or control characters") };
    if parts.len() < 2 {
        return Some("it is a whole top-level directory");
    }
    NEVER.iter().any(|never| path_covers(never, path)).then_some("no hook may write there")
}

/// What a template that begins with `{source}` or `{data}` has behind it, gaps as they are written. `None` where it
/// begins otherwise, or has gaps whose values may contain slashes.
pub(super) fn below_own(template: &Template) -> Option<(&Placeholder, String)> {
    let (first, rest) = template.pieces().split_first()?;
    let Piece::Gap(root @ (Placeholder::Source | Placeholder::Data)) = first else { return None };
    let mut path = String::new();
    for piece in rest {
        match piece {
            Piece::Text(text) => path.push_str(text),
            Piece::Gap(gap) if is_segment(gap) => path.push_str(&gap.to_string()),
            Piece::Gap(_) => return None,
        }
    }
    Some((root, path))
}

/// Gaps that are filled in with a name or number: one path segment, or a part of one.
fn is_segment(gap: &Placeholder) -> bool {
    matches!(
        gap,
        Placeholder::App
            | Placeholder::Environment
            | Placeholder::Version
            | Placeholder::Process
            | Placeholder::Port(_)
    )
}

impl Findings<'_> {
    pub(super) fn file(&mut self, line: &str, file: &File, gaps: Gaps<'_>) {
        let limits = self.allowed.limits;
        self.file_path(line, file);
        self.count(line, "bytes of content", file.content.len(), limits.file_bytes);
        let gaps = Gaps { secrets: file.mode == 0o600, ..gaps };
        self.template(line, "its content", &file.content, gaps);
        if file.mode & !0o777 != 0 {
            self.refuse(line, format!("its mode {:o} has bits beyond read, write and execute", file.mode));
        } else if file.mode & 0o022 != 0 {
            self.refuse(line, format!("its mode {:o} lets others write it", file.mode));
        } else if file.mode & 0o400 == 0 {
            self.refuse(line, format!("its mode {:o} does not let its owner read it", file.mode));
        }
    }

    fn file_path(&mut self, line: &str, file: &File) {
        let gaps = Gaps::NAMES;
        let Some(template) = self.template(line, "its path", &file.path, gaps) else { return };
        self.count(line, "bytes of path", file.path.len(), 4096);
        if let Some((root, rest)) = below_own(&template) {
            if !rest.starts_with('/') || !is_inside(&rest[1..]) {
                self.refuse(line, "its path does not stay inside of {source} or {data}");
            }
            // Programs below {source} need no power because they are the app's; so nothing else may come there.
            if *root == Placeholder::Source && file.mode & 0o111 != 0 {
                self.refuse(line, "a hook makes no executable files below {source}: programs there are the app's own");
            }
        } else if file.path.starts_with('/') {
            match path_fault(&file.path) {
                Some(fault) => self.refuse(line, format!("its path cannot be used: {fault}")),
                None => self.need(line, &Power::Path(file.path.clone())),
            }
        } else {
            self.refuse(line, "its path is neither below {source} or {data} nor absolute");
        }
    }
}
