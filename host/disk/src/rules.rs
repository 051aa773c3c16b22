//! What a version may consist of. The same rules when it is packed and when it is unpacked, so that what cannot be
//! unpacked on a server is already refused at the desk.

use std::collections::VecDeque;
use std::fmt;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and links together.
    pub entries: u64,
    /// Bytes of all files together, unpacked.
    pub bytes: u64,
    /// Bytes of one name between two slashes. File systems allow 255.
    pub segment: usize,
    /// Bytes of a whole path, and of a link's target. Linux allows 4096.
    pub path: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 200_000, bytes: 4 << 30, segment: 255, path: 4096 }
    }
}

/// Why an entry is not allowed in a version. To be read after "it": what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The path begins with a slash.
    AbsolutePath,
    /// The path has `..` in it.
    ParentPath,
    /// There is no name left.
    EmptyPath,
    /// The path has a NUL or a line break in it.
    Unprintable,
    /// A name between two slashes is longer than so many bytes.
    LongName(usize),
    /// The path, or a link's target, is longer than so many bytes.
    LongPath(usize),
    /// A link whose target begins with a slash.
    AbsoluteLink(String),
    /// A link whose target is outside of the tree.
    OutsideLink(String),
    /// A link without a target.
    EmptyLink,
    /// A hard link, where those are not allowed.
    HardLink,
    /// A hard link to something that is not a regular file further up in the archive.
    BadHardLink(String),
    /// A socket, FIFO, device, or a kind that we do not know; in words.
    Kind(String),
    /// A second entry of the same path.
    Duplicate,
    /// An entry below something that is a link.
    BelowLink(String),
    /// An entry below something that is a file.
    BelowFile(String),
    /// More than so many entries.
    TooMany(u64),
    /// More than so many bytes.
    TooLarge(u64),
    /// It cannot be read; the reason.
    Unreadable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AbsolutePath => write!(f, "its path is absolute"),
            Self::ParentPath => write!(f, "its path has \"..\" in it"),
            Self::EmptyPath => write!(f, "its path is empty"),
            Self::Unprintable => write!(f, "its path has a line break or a NUL in it"),
            Self::LongName(limit) => write!(f, "a name in its path is longer than {limit} bytes"),
            Self::LongPath(limit) => write!(f, "its path or its target is longer than {limit} bytes"),
            Self::AbsoluteLink(target) => write!(f, "it is a link to the absolute path {target:?}"),
            Self::OutsideLink(target) => write!(f, "it is a link to {target:?}, which is outside of the tree"),
            Self::EmptyLink => write!(f, "it is a link to nothing"),
            Self::HardLink => write!(f, "it is a hard link"),
            Self::BadHardLink(target) => {
                write!(f, "it is a hard link to {target:?}, which is not a file further up in the archive")
            }
            Self::Kind(kind) => write!(f, "it is {kind}"),
            Self::Duplicate => write!(f, "there is an entry of the same path before it"),
            Self::BelowLink(link) => write!(f, "it is below {link:?}, which is a link"),
            Self::BelowFile(file) => write!(f, "it is below {file:?}, which is not a directory"),
            Self::TooMany(limit) => write!(f, "it is one entry more than the {limit} that are allowed"),
            Self::TooLarge(limit) => write!(f, "with it there are more than the {limit} bytes that are allowed"),
            Self::Unreadable(reason) => write!(f, "it cannot be read ({reason})"),
        }
    }
}

/// The path without empty and `.` segments and without a slash at the end. Empty for the root of the tree itself.
pub(crate) fn normal_path(path: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
    if path.starts_with(b"/") {
        return Err(Refusal::AbsolutePath);
    }
    if path.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) {
        return Err(Refusal::Unprintable);
    }
    if path.len() > limits.path {
        return Err(Refusal::LongPath(limits.path));
    }
    let mut normal = Vec::with_capacity(path.len());
    for segment in path.split(|byte| *byte == b'/').filter(|segment| !matches!(*segment, b"" | b".")) {
        if segment == b".." {
            return Err(Refusal::ParentPath);
        }
        if segment.len() > limits.segment {
            return Err(Refusal::LongName(limits.segment));
        }
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(segment);
    }
    Ok(normal)
}

/// What is wrong with a link's target by itself; whether it leaves the tree is [`leaves_tree`]'s matter.
pub(crate) fn check_target(target: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if target.is_empty() {
        return Err(Refusal::EmptyLink);
    }
    if target.starts_with(b"/") {
        return Err(Refusal::AbsoluteLink(in_words(target)));
    }
    if target.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) {
        return Err(Refusal::Unprintable);
    }
    if target.len() > limits.path {
        return Err(Refusal::LongPath(limits.path));
    }
    Ok(())
}

/// The most links that are followed for one path, as Linux has it.
const MOST_LINKS: usize = 40;

/// Where a path below the root leads when the links in it are followed: a path below the root that ends in no link.
/// `None` where it leaves the root, or goes round in circles.
///
/// It is not enough to count `..` in the text: with `up -> ..` in `d`, `d/up/../x` looks like `d/x` and is outside.
pub(crate) fn resolve(
    from: &[u8],
    path: &[u8],
    link_at: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Unresolved> {
    let mut reached: Vec<u8> = from.to_vec();
    let mut ahead: VecDeque<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    if path.starts_with(b"/") {
        return Err(Unresolved::Outside);
    }
    let mut links = 0;
    while let Some(segment) = ahead.pop_front() {
        match segment.as_slice() {
            b"" | b"." => continue,
            b".." if reached.is_empty() => return Err(Unresolved::Outside),
            b".." => {
                reached.truncate(parent_length(&reached));
                continue;
            }
            _ => {}
        }
        let parent = reached.len();
        if parent > 0 {
            reached.push(b'/');
        }
        reached.extend_from_slice(&segment);
        let Some(target) = link_at(&reached) else { continue };
        links += 1;
        if links > MOST_LINKS {
            return Err(Unresolved::Circle);
        }
        if target.starts_with(b"/") {
            return Err(Unresolved::Outside);
        }
        reached.truncate(parent);
        for segment in target.rsplit(|byte| *byte == b'/') {
            ahead.push_front(segment.to_vec());
        }
    }
    Ok(reached)
}

/// Why a path leads nowhere below the root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    Outside,
    Circle,
}

/// Whether a link leads out of the tree. One that goes round in circles leads nowhere, so not out either.
pub(crate) fn leaves_tree(link: &[u8], target: &[u8], link_at: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    resolve(parent(link), target, link_at) == Err(Unresolved::Outside)
}

/// The directory part of a normal path; empty for the root.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    &path[..parent_length(path)]
}

fn parent_length(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

/// For messages: what is not UTF-8 is shown as such.
pub(crate) fn in_words(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.len() > 300 {
        let cut = (0..=300).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &[u8]) -> Result<String, Refusal> {
        normal_path(path, &Limits::default()).map(|path| in_words(&path))
    }

    #[test]
    fn paths() {
        assert_eq!(normal(b"./a//b/./c/").as_deref(), Ok("a/b/c"));
        assert_eq!(normal(b"./").as_deref(), Ok(""));
        assert_eq!(normal(b"..a/b..").as_deref(), Ok("..a/b.."));
        assert_eq!(normal(b"/etc/passwd"), Err(Refusal::AbsolutePath));
        assert_eq!(normal(b"a/../b"), Err(Refusal::ParentPath));
        assert_eq!(normal(b".."), Err(Refusal::ParentPath));
        assert_eq!(normal(b"a\nb"), Err(Refusal::Unprintable));
        assert_eq!(normal(b"a\0b"), Err(Refusal::Unprintable));
        assert_eq!(normal(&[b'a'; 256]), Err(Refusal::LongName(255)));
        assert_eq!(normal("ab/".repeat(1400).as_bytes()), Err(Refusal::LongPath(4096)));
    }

    #[test]
    fn links_that_leave_the_tree() {
        let links = |path: &[u8]| match path {
            b"d/up" => Some(b"..".to_vec()),
            b"round" => Some(b"round".to_vec()),
            b"deep" => Some(b"x/y/z".to_vec()),
            _ => None,
        };
        for (link, target, leaves) in [
            ("a", "b", false),
            ("a", "..", true),
            ("d/a", "..", false),
            ("d/a", "../..", true),
            ("d/a", "../../d", true),
            ("a", "d/../b", false),
            // Fails without following links: by its text it stays inside.
            ("a", "d/up/../x", true),
            ("a", "d/up/x", false),
            ("a", "deep/../../../b", false),
            ("a", "deep/../../../../b", true),
            ("a", "round/../../b", false),
            ("a", "/etc", true),
        ] {
            assert_eq!(leaves_tree(link.as_bytes(), target.as_bytes(), &links), leaves, "{link} -> {target}");
        }
    }
}
