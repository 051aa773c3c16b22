//! Which JeCloud goes to which server.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use jecloud_cloud::MachineError;
use jecloud_disk::{DiskError, durable, program, tree};
use jecloud_model::ids::Digest;
use jecloud_model::version::Version;

use crate::connect::lock;
use crate::upload::sha256_of;

/// What the header of an executable for Linux says at byte 18, by the name that `uname -m` has for the architecture:
/// the ELF specification, e_machine.
const ARCHITECTURES: [(&str, u16); 3] = [("x86_64", 62), ("aarch64", 183), ("riscv64", 243)];

/// What the header of an executable says about the system at byte 7: System V, which compilers write, or Linux.
const SYSTEMS: [u8; 2] = [0, 3];

/// What it says at byte 16: a program, or one that may be loaded anywhere.
const KINDS: [u16; 2] = [2, 3];

/// Which binary goes to which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The one that runs here; it is used where it fits.
    pub own: PathBuf,
    /// For other architectures, by the names that `uname -m` has for them: what the configuration says.
    pub others: BTreeMap<String, PathBuf>,
}

impl Default for Binaries {
    /// `/proc/self/exe`, and no others.
    fn default() -> Self {
        Self { own: program::own(), others: BTreeMap::new() }
    }
}

impl Binaries {
    /// The binary for an architecture: the one that the configuration names for it, or else this very one if it fits.
    ///
    /// # Errors
    ///
    /// [`MachineError::Refused`] where there is none, where it is for another architecture or no program for Linux at all,
    /// or where it is another version of JeCloud than this one.
    pub fn for_architecture(&self, architecture: &str) -> Result<PathBuf, MachineError> {
        let disk = |source| MachineError::Disk { server: architecture.to_owned(), source };
        let named = self.others.get(architecture);
        let chosen = named.unwrap_or(&self.own);
        let found = architecture_of(chosen).map_err(disk)?;
        if found.as_deref() != Some(architecture) {
            let what = match found {
                Some(found) => format!("is for {found}"),
                None if !tree::exists(chosen).map_err(disk)? => "does not exist".to_owned(),
                None => "is no program for Linux with 64 bits".to_owned(),
            };
            let hint = match named {
                Some(_) => format!(
                    "Name another file in [cloud] binaries: `cargo build --release --target {architecture}-unknown-linux-gnu` \
                     makes one."
                ),
                None => format!(
                    "Build one with `cargo build --release --target {architecture}-unknown-linux-gnu`, and say where it is: \
                     [cloud] binaries = {{ {architecture} = \"PATH\" }} in jecloud.toml, or JECLOUD_BINARIES=DIRECTORY with \
                     a file jecloud-{architecture}."
                ),
            };
            return Err(MachineError::Refused {
                error: format!("the server needs a JeCloud for {architecture}, and {} {what}", chosen.display()),
                hint,
            });
        }
        let own = Version::own();
        match named.map(|named| program::version(named)).transpose().map_err(disk)? {
            Some(Some(version)) if version != own => Err(MachineError::Refused {
                error: format!("{} is JeCloud {version}, and this one is {own}", chosen.display()),
                hint: format!("Servers get what their client is. Build {own} for {architecture}."),
            }),
            Some(None) => Err(MachineError::Refused {
                error: format!("{} is no JeCloud", chosen.display()),
                hint: "Name another file in [cloud] binaries.".to_owned(),
            }),
            _ => Ok(chosen.clone()),
        }
    }
}

/// For which architecture a file is a program for Linux; none where it is no such thing.
fn architecture_of(path: &Path) -> Result<Option<String>, DiskError> {
    let Some(mut file) = durable::open(path)? else { return Ok(None) };
    let mut header = [0; 20];
    // 64 bits, little-endian, version 1: all that there is.
    if file.read_exact(&mut header).is_err() || header[..7] != *b"\x7fELF\x02\x01\x01" {
        return Ok(None);
    }
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if !SYSTEMS.contains(&header[7]) || !KINDS.contains(&number(16)) {
        return Ok(None);
    }
    let known = ARCHITECTURES.iter().find(|(_, machine)| *machine == number(18));
    Ok(known.map(|(name, _)| (*name).to_owned()))
}

/// The SHA-256 of a binary. It is hashed once for all servers.
pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    type Known = HashMap<PathBuf, (u64, Option<SystemTime>, Digest)>;
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let mut file = durable::open(path).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    let metadata = file.metadata()?;
    let (size, modified) = (metadata.len(), metadata.modified().ok());
    // Whoever else wants it waits.
    let mut known = lock(KNOWN.get_or_init(Mutex::default));
    if let Some((.., digest)) = known.get(path).filter(|(a, b, _)| (*a, *b) == (size, modified)) {
        return Ok(digest.clone());
    }
    let digest = sha256_of(&mut file)?;
    known.insert(path.to_owned(), (size, modified, digest.clone()));
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = std::env::consts::ARCH;

    /// Writes a copy of this program whose header says something else at a byte.
    fn changed(directory: &Path, name: &str, at: usize, bytes: &[u8]) -> PathBuf {
        let path = directory.join(name);
        let mut file = durable::open(&program::own()).expect("readable").expect("it is there");
        let mut copy = Vec::new();
        file.read_to_end(&mut copy).expect("readable");
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        durable::replace(&path, &copy, 0o755).expect("written");
        path
    }

    fn other() -> (&'static str, u16) {
        *ARCHITECTURES.iter().find(|(name, _)| *name != HERE).expect("there are several")
    }

    #[test]
    fn programs_are_told_apart() {
        assert_eq!(architecture_of(&program::own()).expect("readable").as_deref(), Some(HERE));
        for path in ["/etc/passwd", "/nowhere"] {
            assert_eq!(architecture_of(Path::new(path)).expect("no error"), None);
        }
        let directory = tempfile::tempdir().expect("a directory");
        let architecture =
            |name, at, bytes: &[u8]| architecture_of(&changed(directory.path(), name, at, bytes)).expect("readable");
        let (name, machine) = other();
        assert_eq!(architecture("other", 18, &machine.to_le_bytes()).as_deref(), Some(name));
        // Fails without each of the checks: 32 bits, FreeBSD, a library's object file, an architecture unheard of.
        assert_eq!(architecture("short", 4, &[1]), None);
        assert_eq!(architecture("system", 7, &[9]), None);
        assert_eq!(architecture("object", 16, &[1, 0]), None);
        assert_eq!(architecture("unknown", 18, &[0xff, 0xff]), None);
    }

    #[test]
    fn the_one_that_fits_is_chosen_and_what_does_not_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let (name, machine) = other();
        let fits = changed(directory.path(), "fits", 18, &machine.to_le_bytes());
        let with =
            |path: &Path| Binaries { others: [(name.to_owned(), path.to_owned())].into(), ..Binaries::default() };
        let refused = |binaries: &Binaries| match binaries.for_architecture(name) {
            Err(MachineError::Refused { error, hint }) => format!("{error}; {hint}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(Binaries::default().for_architecture(HERE).expect("itself"), program::own());
        assert_eq!(with(&fits).for_architecture(name).expect("it fits"), fits);
        assert_eq!(with(&fits).for_architecture(HERE).expect("itself"), program::own());
        let said = refused(&Binaries::default());
        assert!(said.contains(&format!("is for {HERE}; Build one with")) && said.contains("binaries = {"), "{said}");
        assert!(refused(&with(&program::own())).contains(&format!("is for {HERE}; Name another")));
        assert!(refused(&with(Path::new("/nowhere"))).contains("/nowhere does not exist"));
        assert!(refused(&with(Path::new("/etc/passwd"))).contains("is no program for Linux with 64 bits"));
        // Some other program, for the right architecture.
        let header = durable::read(&fits).expect("readable").expect("it is there");
        let stranger = directory.path().join("stranger");
        durable::replace(&stranger, &header[..64], 0o755).expect("written");
        assert!(refused(&with(&stranger)).contains("is no JeCloud"));
        // Another version of JeCloud: fails without the look at its mark.
        let mark = [Version::needle(), b"99.0.0;".to_vec()].concat();
        let older = directory.path().join("older");
        durable::replace(&older, &[&header[..64], &mark].concat(), 0o755).expect("written");
        assert!(refused(&with(&older)).contains("is JeCloud 99.0.0, and this one is"), "{}", refused(&with(&older)));
    }
}
