//! Packages: which, and from where.

use std::collections::BTreeSet;

use super::commands::shorten;
use super::refusal::Findings;
use super::{Allowed, Power, Refusal, url};
use crate::hook::{Archive, Package, Source};
use crate::repository::Repository;

/// What stands for the exact version in the URL of an archive.
const VERSION: &str = "{version}";

/// Checks what `required-packages` returned.
///
/// # Errors
///
/// All packages that are refused. None of them may be installed then.
pub fn check_packages(packages: &[Package], allowed: Allowed<'_>) -> Result<(), Vec<Refusal>> {
    let mut findings = Findings::new(allowed);
    findings.count("packages", "packages", packages.len(), allowed.limits.packages);
    let mut names = BTreeSet::new();
    for (index, package) in packages.iter().enumerate().take(allowed.limits.packages) {
        let line = format!("packages[{index}] {}", shorten(&package.name));
        if !names.insert(&package.name) {
            findings.refuse(&line, "it is asked for twice");
        }
        findings.package(&line, package);
    }
    findings.into_result()
}

/// A name that no package manager takes for an option or a path.
pub(super) fn is_package_name(name: &str) -> bool {
    name.len() <= 100 && is_plain(name, |byte| matches!(byte, b'+' | b'.' | b'_' | b'-'))
}

/// As in Debian and RPM versions; empty is any version.
fn is_version(version: &str) -> bool {
    version.is_empty()
        || version.len() <= 100
            && is_plain(version, |byte| matches!(byte, b'+' | b'.' | b'_' | b'-' | b'~' | b':' | b'^'))
}

/// Letters and digits, and after the first some others.
fn is_plain(text: &str, also: fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also(byte))
}

impl Findings<'_> {
    fn package(&mut self, line: &str, package: &Package) {
        if !is_package_name(&package.name) {
            self.refuse(line, "its name is not a letter or digit, then letters, digits and + . _ -");
            return;
        }
        if !is_version(&package.version) {
            self.refuse(line, format!("{:?} is not a version", shorten(&package.version)));
            return;
        }
        match &package.source {
            Source::Present => {}
            Source::Distribution => {
                self.need(line, &Power::Package(package.name.clone()));
                match Repository::of(&package.options) {
                    Ok(None) => {}
                    Ok(Some(repository)) => {
                        self.url(line, &repository.url);
                        self.url(line, &repository.key);
                    }
                    Err(fault) => self.refuse(line, fault),
                }
            }
            Source::Archive(archive) => self.archive(line, archive),
        }
    }

    fn archive(&mut self, line: &str, archive: &Archive) {
        for url in std::iter::once(&archive.url).chain(&archive.sums_url) {
            self.url(line, url);
        }
        match &archive.sha256 {
            Some(sha256) if sha256.parse::<crate::ids::Digest>().is_err() => {
                self.refuse(line, "its sha256 is not 64 lower-case hex digits");
            }
            Some(_) => {}
            None if archive.sums_url.is_none() => {
                self.refuse(line, "it has neither a sha256 nor a list of sums to verify it by");
            }
            None => {}
        }
        self.range(line, "the number of dropped path segments", archive.strip, 0..=16);
    }

    fn url(&mut self, line: &str, wanted: &str) {
        if wanted.len() > 2048 {
            self.refuse(line, "its URL is longer than 2048 bytes");
            return;
        }
        // A version has no slashes: what covers the URL with any version in its place covers it with every version.
        let url = wanted.replace(VERSION, "0");
        if let Some(fault) = url::fault(&url) {
            self.refuse(line, format!("{:?} is not a URL to fetch from: {fault}", shorten(wanted)));
            return;
        }
        let authority_end = url.find("://").map_or(0, |scheme| scheme + 3);
        let path = wanted.get(authority_end..).and_then(|rest| rest.find(['/', '?']));
        if wanted.find(VERSION).is_some_and(|version| path.is_none_or(|path| version < authority_end + path)) {
            self.refuse(line, "its URL has the version in the name of the host");
            return;
        }
        if self.allowed.limits.mirrors.iter().any(|mirror| url::covers(mirror, &url)) {
            return;
        }
        if url::is_plain(&url) {
            self.refuse(line, format!("{:?} is fetched without encryption", shorten(wanted)));
            return;
        }
        self.need(line, &Power::Repository(url));
    }
}
