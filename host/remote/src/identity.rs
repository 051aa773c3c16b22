//! With whose keys one logs in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jecloud_disk::durable;
use russh::keys::{PrivateKey, PublicKey, decode_secret_key};

use crate::error::RemoteError;
use crate::key_pair::KeyPair;

/// The files that ssh looks for in `~/.ssh`.
const NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Far above any key, far below what hurts.
const LONGEST_FILE: u64 = 256 << 10;

/// With whose keys one logs in.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The key pair that JeCloud made.
    Key(KeyPair),
    /// The keys of the person.
    Own(OwnKeys),
}

/// Where a person's keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnKeys {
    /// The one file that is to be used, as the configuration says. Then the agent is asked for this key only.
    pub file: Option<PathBuf>,
    /// The socket of an agent.
    pub agent: Option<PathBuf>,
    /// The directory with the usual files: `~/.ssh`.
    pub directory: Option<PathBuf>,
}

impl OwnKeys {
    /// The agent of `SSH_AUTH_SOCK` and `~/.ssh`, as ssh has it. `file` is what the configuration names; `~/` is the
    /// home of the person.
    pub fn from_environment(file: Option<&Path>) -> Self {
        let home = std::env::home_dir();
        let file = file.map(|file| match (file.strip_prefix("~"), &home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => file.to_owned(),
        });
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { file, agent, directory: home.map(|home| home.join(".ssh")) }
    }
}

/// What a login is tried with.
#[derive(Default)]
pub(crate) struct Candidates {
    /// The agent to ask.
    pub(crate) agent: Option<PathBuf>,
    /// The only key of the agent that is meant.
    pub(crate) only: Option<PublicKey>,
    /// Keys, with the words for them.
    pub(crate) keys: Vec<(String, Arc<PrivateKey>)>,
    /// What cannot be used, and why.
    pub(crate) notes: Vec<String>,
}

/// What a file holds.
enum Read {
    Key(Arc<PrivateKey>),
    /// With its public half, where that can be had.
    Encrypted(Option<PublicKey>),
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Key`] and [`RemoteError::Encrypted`] for a file that the configuration names.
    pub(crate) fn candidates(&self) -> Result<Candidates, RemoteError> {
        let own = match self {
            Self::Key(pair) => {
                let keys = vec![("JeCloud's own key".to_owned(), pair.private().clone())];
                return Ok(Candidates { keys, ..Candidates::default() });
            }
            Self::Own(own) => own,
        };
        if let Some(file) = &own.file {
            return named(file, own.agent.as_deref());
        }
        let mut candidates = Candidates { agent: own.agent.clone(), ..Candidates::default() };
        for path in NAMES.iter().filter_map(|name| Some(own.directory.as_ref()?.join(name))) {
            match read(&path) {
                Ok(Some(Read::Key(key))) => candidates.keys.push((in_words(&path), key)),
                Ok(Some(Read::Encrypted(_))) => {
                    let file = path.display();
                    candidates.notes.push(format!("{file} is encrypted; `ssh-add {file}` gives it to the agent"));
                }
                Ok(None) => {}
                Err(error) => candidates.notes.push(error.to_line()),
            }
        }
        Ok(candidates)
    }
}

/// The one that the configuration names.
fn named(path: &Path, agent: Option<&Path>) -> Result<Candidates, RemoteError> {
    let missing = || RemoteError::Key {
        doing: format!("read the SSH key {}", path.display()),
        source: std::io::Error::from(std::io::ErrorKind::NotFound).into(),
    };
    match read(path)?.ok_or_else(missing)? {
        Read::Key(key) => Ok(Candidates { keys: vec![(in_words(path), key)], ..Candidates::default() }),
        Read::Encrypted(public) => match (public, agent) {
            (Some(public), Some(agent)) => Ok(Candidates {
                agent: Some(agent.to_owned()),
                only: Some(public),
                notes: vec![format!("{0} is encrypted; `ssh-add {0}` gives it to the agent", path.display())],
                ..Candidates::default()
            }),
            _ => Err(RemoteError::Encrypted { path: path.display().to_string() }),
        },
    }
}

fn in_words(path: &Path) -> String {
    format!("the key {}", path.display())
}

fn read(path: &Path) -> Result<Option<Read>, RemoteError> {
    let doing = || format!("read the SSH key {}", path.display());
    let bad = |source| RemoteError::Key { doing: doing(), source };
    let found = durable::read_at_most(path, LONGEST_FILE).map_err(|source| bad(source.into()))?;
    let Some(bytes) = found.map(zeroize::Zeroizing::new) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is no text".into()))?;
    if let Ok(key) = PrivateKey::from_openssh(text) {
        let read =
            if key.is_encrypted() { Read::Encrypted(Some(key.public_key().clone())) } else { Read::Key(Arc::new(key)) };
        return Ok(Some(read));
    }
    match decode_secret_key(text, None) {
        Ok(key) => Ok(Some(Read::Key(Arc::new(key)))),
        Err(russh::keys::Error::KeyIsEncrypted) => Ok(Some(Read::Encrypted(public_beside(path)))),
        Err(_) if is_encrypted_pem(text) => Ok(Some(Read::Encrypted(public_beside(path)))),
        // What the library says about the text is not shown: it may quote from it.
        Err(_) => Err(bad("it is no private key of a kind that is known here".into())),
    }
}

fn is_encrypted_pem(text: &str) -> bool {
    text.contains("Proc-Type: 4,ENCRYPTED") || text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// The public half in `NAME.pub`.
fn public_beside(path: &Path) -> Option<PublicKey> {
    let mut name = path.file_name()?.to_owned();
    name.push(".pub");
    let bytes = durable::read_at_most(&path.with_file_name(name), LONGEST_FILE).ok()??;
    PublicKey::from_openssh(std::str::from_utf8(&bytes).ok()?.trim()).ok()
}
