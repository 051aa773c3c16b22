//! How one knows that it is the right server.

use std::fmt;
use std::str::FromStr;

use jecloud_cloud::{Details, MachineError};
use jecloud_model::cloud::Place;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use crate::error::RemoteError;

/// The public key by which a server proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey(PublicKey);

/// Which host keys are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyRule {
    /// Exactly this one: it was recorded at first contact.
    Pinned(HostKey),
    /// One of those with these fingerprints (`SHA256:…`), as a server writes them to its console at its first boot.
    Announced(Vec<String>),
    /// Any: nobody knows the server yet. What it shows is to be recorded, and pinned from then on.
    FirstContact,
}

/// Those which are asked for, the best first. No SHA-1.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

impl HostKey {
    pub(crate) fn new(mut key: PublicKey) -> Self {
        key.set_comment("");
        Self(key)
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}

impl fmt::Display for HostKey {
    /// `ssh-ed25519 AAAA…`, as it is recorded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_openssh().unwrap_or_default().trim_end())
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.fingerprint())
    }
}

impl FromStr for HostKey {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let bad = |source: russh::keys::ssh_key::Error| RemoteError::Key {
            doing: "read a host key".to_owned(),
            source: source.into(),
        };
        PublicKey::from_openssh(text.trim()).map(Self::new).map_err(bad)
    }
}

/// Under which the host key of a server is recorded, at the end of its set-up: from then on it is pinned.
const RECORDED: &str = "host_key";

impl HostKey {
    /// What is recorded of a server; none before it was set up.
    ///
    /// # Errors
    ///
    /// [`MachineError::Refused`] where that is no key.
    pub fn recorded(place: &Place, details: &Details) -> Result<Option<Self>, MachineError> {
        let Some(recorded) = details.get(RECORDED) else { return Ok(None) };
        let key = recorded.as_str().unwrap_or_default().parse::<Self>();
        key.map(Some).map_err(|error| error.into_machine(&place.server.to_string()))
    }

    /// Records it.
    pub fn record(&self, details: &mut Details) {
        details.insert(RECORDED.to_owned(), self.to_string().into());
    }
}

impl HostKeyRule {
    pub(crate) fn takes(&self, found: &HostKey) -> bool {
        match self {
            Self::Pinned(pinned) => pinned == found,
            Self::Announced(all) => all.contains(&found.fingerprint()),
            Self::FirstContact => true,
        }
    }

    /// What is expected, for messages.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Pinned(pinned) => pinned.fingerprint(),
            Self::Announced(all) if all.is_empty() => "none".to_owned(),
            Self::Announced(all) => all.join(" or "),
            Self::FirstContact => "any".to_owned(),
        }
    }

    /// What the server is asked for: a server that has got another kind of key since still shows the one that is
    /// pinned.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = ALGORITHMS.to_vec();
        if let Self::Pinned(pinned) = self {
            let kind = |algorithm: &Algorithm| match algorithm {
                Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
                other => other.clone(),
            };
            let pinned = kind(&pinned.0.algorithm());
            algorithms.sort_by_key(|algorithm| kind(algorithm) != pinned);
        }
        algorithms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;

    fn key() -> HostKey {
        KeyPair::generate("root@host").expect("a key").public_line().parse().expect("a host key")
    }

    #[test]
    fn a_host_key_is_read_back_without_its_comment() {
        let key = key();
        assert_eq!(key.to_string().parse::<HostKey>().expect("read back"), key);
        assert_eq!(key.to_string().split(' ').count(), 2, "{key}");
        assert!("ssh-ed25519 nonsense".parse::<HostKey>().is_err());
    }

    #[test]
    fn only_the_expected_key_is_taken() {
        let (one, other) = (key(), key());
        assert!(HostKeyRule::Pinned(one.clone()).takes(&one) && !HostKeyRule::Pinned(one.clone()).takes(&other));
        let announced = HostKeyRule::Announced(vec![other.fingerprint(), one.fingerprint()]);
        assert!(announced.takes(&one) && !announced.takes(&key()));
        assert!(!HostKeyRule::Announced(Vec::new()).takes(&one));
        assert!(HostKeyRule::FirstContact.takes(&other));
    }
}
