//! Packages that are archives: fetched, verified, unpacked below `sys/packages`.

use std::io::{Read, Write};
use std::time::Duration;

use jecloud_disk::archive::{Compression, unpack_package};
use jecloud_disk::{DiskError, Limits, durable, tree};
use jecloud_model::app::Failure;
use jecloud_model::hook::Archive;
use jecloud_model::ids::Digest;
use jecloud_model::layout::ServerRoot;
use sha2::Digest as _;

use super::{Requirement, sums};
use crate::error::{ServerError, chain};

/// How long a mirror may take to accept a connection and to begin its answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// How long one file may take.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The longest list of sums that is read. Real ones have some hundred lines.
const LONGEST_SUMS: u64 = 4 << 20;

/// The largest archive that is fetched.
const LARGEST_ARCHIVE: u64 = 2 << 30;

/// Makes sure that an archive package is there. Returns its exact version.
///
/// # Errors
///
/// A [`Failure`] that names the URL, where something cannot be fetched or is not what its sum says.
pub fn install(
    root: &ServerRoot,
    name: &str,
    requirement: &Requirement,
    archive: &Archive,
    cancel: &dyn Fn() -> bool,
) -> Result<String, ServerError> {
    if !is_plain(name) {
        return Err(Failure::because(format!("{name:?} cannot be the name of a package")).into());
    }
    if requirement.is_exact() && tree::exists(&root.package(name, requirement.as_str()))? {
        return Ok(requirement.as_str().to_owned());
    }
    let list = list(archive)?;
    let version = choose(name, requirement, archive, list.as_deref())?;
    let directory = root.package(name, &version);
    if tree::exists(&directory)? {
        return Ok(version);
    }
    let url = archive.url.replace("{version}", &version);
    let file = file_pattern(archive).replace("{version}", &version);
    let expected: Digest = match (&archive.sha256, &list) {
        (Some(sum), _) => sum
            .parse()
            .map_err(|error| Failure::because(format!("the hook names an impossible checksum for {name}: {error}")))?,
        (None, Some(list)) => sums::find(list, &file).ok_or_else(|| {
            Failure::because(format!("no checksum for {file} in {}", archive.sums_url.as_deref().unwrap_or_default()))
        })?,
        (None, None) => return Err(Failure::because(format!("the hook names no checksum for {name}")).into()),
    };
    let parent = root.sys().join("packages");
    durable::create_dirs(&parent, 0o755)?;
    let download = parent.join(format!(".{name}-{version}.download"));
    fetch(&url, &download, &expected, cancel)?;
    let compression = Compression::of_name(&file).ok_or_else(|| {
        ServerError::from(Failure::because(format!(
            "{file} is no archive of a kind that can be unpacked (tar.gz, tar.bz2)"
        )))
    })?;
    let opened = durable::open(&download)?.ok_or_else(|| ServerError::Missing { path: download.clone() })?;
    let unpacked = unpack_package(opened, compression, &directory, archive.strip, &Limits::default());
    durable::remove(&download)?;
    unpacked.map_err(|error| failure_unless_disk(error, &url))?;
    Ok(version)
}

/// The version that would be installed of an archive package. Where only one can be meant, nobody is asked.
///
/// # Errors
///
/// A [`Failure`] that names the URL, where the list of versions cannot be fetched or has none that will do.
pub(crate) fn exact(name: &str, requirement: &Requirement, archive: &Archive) -> Result<String, ServerError> {
    let list = if requirement.is_exact() { None } else { list(archive)? };
    choose(name, requirement, archive, list.as_deref())
}

/// The list of sums of an archive, where it has one.
fn list(archive: &Archive) -> Result<Option<String>, ServerError> {
    archive.sums_url.as_deref().map(text).transpose()
}

/// How files are called in that list.
fn file_pattern(archive: &Archive) -> &str {
    archive.url.rsplit('/').next().unwrap_or_default()
}

fn choose(name: &str, requirement: &Requirement, archive: &Archive, list: Option<&str>) -> Result<String, ServerError> {
    let version = match list {
        _ if requirement.is_exact() => requirement.as_str().to_owned(),
        Some(list) => sums::resolve(list, file_pattern(archive), requirement)
            .ok_or_else(|| {
                Failure::because(format!(
                    "there is no {name} {} in {}",
                    requirement.in_words(),
                    archive.sums_url.as_deref().unwrap_or_default()
                ))
            })?
            .to_owned(),
        None => {
            return Err(Failure::because(format!(
                "the hook asks for {name} {} without saying which versions there are",
                requirement.in_words()
            ))
            .into());
        }
    };
    if !is_plain(&version) {
        return Err(Failure::because(format!("{version:?} cannot be a version of {name}")).into());
    }
    Ok(version)
}

/// Whether a text can be part of a file name: no separator, no leading dot.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+' | b'~'))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_DEADLINE))
        .timeout_recv_response(Some(CONNECT_DEADLINE))
        .timeout_global(Some(TRANSFER_DEADLINE))
        .user_agent(concat!("jecloud/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn cannot_fetch(url: &str, why: &dyn std::error::Error) -> ServerError {
    Failure::because(format!("cannot fetch {url}: {}", chain(why)))
        .hint("Check the server's way to the internet, or name a mirror in the service's settings.")
        .into()
}

fn text(url: &str) -> Result<String, ServerError> {
    let mut response = agent().get(url).call().map_err(|error| cannot_fetch(url, &error))?;
    response.body_mut().with_config().limit(LONGEST_SUMS).read_to_string().map_err(|error| cannot_fetch(url, &error))
}

/// Puts a file into place if its content has the expected sum.
pub(super) fn fetch(
    url: &str,
    into: &std::path::Path,
    expected: &Digest,
    cancel: &dyn Fn() -> bool,
) -> Result<(), ServerError> {
    let response = agent().get(url).call().map_err(|error| cannot_fetch(url, &error))?;
    let mut body = response.into_body().into_with_config().limit(LARGEST_ARCHIVE).reader();
    durable::replace_with(into, 0o600, |out: &mut (dyn Write + Send)| {
        let mut hash = sha2::Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            if cancel() {
                return Err(Failure::because("another deployment took its place").into());
            }
            let count = body.read(&mut buffer).map_err(|error| cannot_fetch(url, &error))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            out.write_all(&buffer[..count])
                .map_err(|source| ServerError::Io { action: "write a downloaded package", source })?;
        }
        let found = Digest::from_sha256(hash.finalize().into());
        if found == *expected {
            return Ok(());
        }
        Err(Failure::because(format!("{url} is not what its checksum says"))
            .details(vec![format!("expected {expected}"), format!("found    {found}")])
            .hint("Nothing of it was used. Check the mirror.")
            .into())
    })
}

fn failure_unless_disk(error: DiskError, url: &str) -> ServerError {
    if !error.is_about_the_archive() {
        return error.into();
    }
    Failure::because(format!("the archive {url} cannot be unpacked: {}", chain(&error))).into()
}
