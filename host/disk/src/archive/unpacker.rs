//! Writes the entries of a tar stream below one directory, or refuses them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use tar::EntryType;

use crate::archive::copy_content;
use crate::error::{DiskError, Result, at};
use crate::rules::{self, Limits, Refusal, in_words};
use crate::tar_walk::{Found, TarWalk};
use crate::{Owner, fault, tree};

/// In what versions and packages differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Who gets everything.
    pub(crate) owner: Option<Owner>,
    /// So many parts of each path are left out.
    pub(crate) strip: u32,
    /// Whether hard links are made or refused.
    pub(crate) hard_links: bool,
}

/// What a path was made to.
#[derive(Debug, PartialEq, Eq)]
enum Made {
    /// By an entry of its own, or because something is below it.
    Directory {
        explicit: bool,
    },
    File,
    Link {
        target: Vec<u8>,
    },
}

/// The state of unpacking one archive.
#[derive(Debug)]
pub(crate) struct Unpacker<'a> {
    dir: &'a Dir,
    limits: &'a Limits,
    policy: Policy,
    made: HashMap<Vec<u8>, Made>,
    entries: u64,
    bytes: u64,
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(dir: &'a Dir, limits: &'a Limits, policy: Policy) -> Self {
        Self { dir, limits, policy, made: HashMap::new(), entries: 0, bytes: 0 }
    }

    /// Unpacks all of it.
    pub(crate) fn unpack(mut self, stream: &mut impl Read) -> Result<()> {
        let mut walk = TarWalk::new(stream);
        while let Some(entry) = walk.next()? {
            self.entry(&entry, &mut walk)?;
        }
        self.check_links()
    }

    fn entry(&mut self, entry: &Found, content: &mut impl Read) -> Result<()> {
        let refuse = |reason| DiskError::Entry { entry: in_words(&entry.path), reason };
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(refuse(Refusal::TooMany(self.limits.entries)));
        }
        let path = rules::normal_path(&entry.path, self.limits).map_err(refuse)?;
        let Some(path) = strip(&path, self.policy.strip) else { return Ok(()) };
        if path.is_empty() {
            // The root itself, which some archives name.
            let root = entry.kind == EntryType::Directory;
            return if root { Ok(()) } else { Err(refuse(Refusal::EmptyPath)) };
        }
        self.parents(path, entry)?;
        match entry.kind {
            EntryType::Directory => self.directory(path, entry),
            EntryType::Regular | EntryType::Continuous => {
                self.vacant(path).map_err(refuse)?;
                self.bytes = self.bytes.saturating_add(entry.bytes);
                if self.bytes > self.limits.bytes {
                    return Err(refuse(Refusal::TooLarge(self.limits.bytes)));
                }
                self.file(path, entry, content)
            }
            EntryType::Symlink => {
                rules::check_target(&entry.target, self.limits).map_err(refuse)?;
                self.vacant(path).map_err(refuse)?;
                self.link(path, &entry.target)
            }
            EntryType::Link if !self.policy.hard_links => Err(refuse(Refusal::HardLink)),
            EntryType::Link => {
                self.vacant(path).map_err(refuse)?;
                let bad = || refuse(Refusal::BadHardLink(in_words(&entry.target)));
                let target = rules::normal_path(&entry.target, self.limits).map_err(|_| bad())?;
                let target = strip(&target, self.policy.strip).ok_or_else(bad)?;
                if self.made.get(target) != Some(&Made::File) {
                    return Err(bad());
                }
                self.hard_link(target, path)
            }
            kind => Err(refuse(Refusal::Kind(kind_in_words(kind)))),
        }
    }

    /// Makes the directories above an entry that have no entry of their own.
    fn parents(&mut self, path: &[u8], entry: &Found) -> Result<()> {
        let refuse = |reason| DiskError::Entry { entry: in_words(&entry.path), reason };
        for end in path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at) {
            let above = &path[..end];
            match self.made.get(above) {
                Some(Made::Directory { .. }) => {}
                Some(Made::Link { .. }) => return Err(refuse(Refusal::BelowLink(in_words(above)))),
                Some(Made::File) => return Err(refuse(Refusal::BelowFile(in_words(above)))),
                None => self.make_directory(above, false)?,
            }
        }
        Ok(())
    }

    fn vacant(&self, path: &[u8]) -> Result<(), Refusal> {
        if self.made.contains_key(path) { Err(Refusal::Duplicate) } else { Ok(()) }
    }

    fn directory(&mut self, path: &[u8], entry: &Found) -> Result<()> {
        match self.made.get_mut(path) {
            None => self.make_directory(path, true),
            Some(Made::Directory { explicit: explicit @ false }) => {
                *explicit = true;
                Ok(())
            }
            Some(_) => Err(DiskError::Entry { entry: in_words(&entry.path), reason: Refusal::Duplicate }),
        }
    }

    fn make_directory(&mut self, path: &[u8], explicit: bool) -> Result<()> {
        let place = place(path);
        self.make_empty(&place).map_err(at("make the directory", &place))?;
        self.made.insert(path.to_vec(), Made::Directory { explicit });
        Ok(())
    }

    fn make_empty(&self, place: &Path) -> io::Result<()> {
        fault::point("unpack.directory")?;
        self.dir.create_dir(place)?;
        // As a file: a handle for names only, as `open_dir` gives it, cannot change the directory itself.
        let made = self.dir.open(place)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
        Ok(tree::chown_open(&made, self.policy.owner)?)
    }

    fn file(&mut self, path: &[u8], entry: &Found, content: &mut impl Read) -> Result<()> {
        let place = place(path);
        fault::point("unpack.file").map_err(at("create", &place))?;
        let mode = if entry.mode & 0o111 != 0 { 0o755 } else { 0o644 };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let file = self.dir.open_with(&place, &options).map_err(at("create", &place))?;
        let mut out = fault::Writer::new("unpack.write", file).map_err(at("write", &place))?;
        copy_content(content, &mut out, &place)?;
        let file = out.finish();
        tree::chown_open(&file, self.policy.owner).map_err(at("change the owner of", &place))?;
        // After the owner, because the umask may have taken bits away and a change of owner may do so too.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(at("set the mode of", &place))?;
        self.made.insert(path.to_vec(), Made::File);
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let place = place(path);
        fault::point("unpack.link").map_err(at("make the link", &place))?;
        self.dir.symlink_contents(OsStr::from_bytes(target), &place).map_err(at("make the link", &place))?;
        if let Some((uid, gid)) = self.policy.owner {
            // Nothing above it is a link: `parents` made or checked every part of the path.
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(self.dir, &place, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(at("change the owner of", &place))?;
        }
        self.made.insert(path.to_vec(), Made::Link { target: target.to_vec() });
        Ok(())
    }

    fn hard_link(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let place = place(to);
        fault::point("unpack.link").map_err(at("make the link", &place))?;
        self.dir.hard_link(self::place(from), self.dir, &place).map_err(at("make the link", &place))?;
        self.made.insert(to.to_vec(), Made::File);
        Ok(())
    }

    /// Where links lead is known only when all of them are: nothing was written through one until now.
    fn check_links(&self) -> Result<()> {
        let link_at = |path: &[u8]| match self.made.get(path) {
            Some(Made::Link { target }) => Some(target.clone()),
            _ => None,
        };
        let mut outside: Vec<&Vec<u8>> = Vec::new();
        for (path, made) in &self.made {
            if let Made::Link { target } = made
                && rules::leaves_tree(path, target, &link_at)
            {
                outside.push(path);
            }
        }
        // The first by name, so that the same archive is always refused with the same words.
        match outside.into_iter().min() {
            None => Ok(()),
            Some(path) => {
                let target = link_at(path).unwrap_or_default();
                Err(DiskError::Entry { entry: in_words(path), reason: Refusal::OutsideLink(in_words(&target)) })
            }
        }
    }
}

fn place(path: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(path)).to_owned()
}

/// The path without its first parts; none where it has no more than those. The root has none, and stays.
fn strip(path: &[u8], parts: u32) -> Option<&[u8]> {
    if parts > 0 && path.is_empty() {
        return None;
    }
    let mut rest = path;
    for _ in 0..parts {
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        rest = &rest[slash + 1..];
    }
    Some(rest)
}

fn kind_in_words(kind: EntryType) -> String {
    match kind {
        EntryType::Fifo => "a FIFO".to_owned(),
        EntryType::Char | EntryType::Block => "a device".to_owned(),
        EntryType::GNUSparse => "a sparse file".to_owned(),
        other => format!("of a kind that is not known ({:?})", char::from(other.as_byte())),
    }
}
