//! The key pair by which JeCloud gets into the servers that it makes.

use std::fmt;
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use zeroize::Zeroizing;

use crate::error::RemoteError;

/// An ed25519 key pair. Its `Debug` form shows the public half only.
#[derive(Clone)]
pub struct KeyPair {
    private: Arc<PrivateKey>,
}

/// A private key as OpenSSH writes it: for an object of its own, or for a file that nobody else may read. Wiped when
/// dropped; its `Debug` form shows nothing.
pub struct PrivateText(Zeroizing<String>);

impl KeyPair {
    /// A new one. `comment` is what people see at the end of its public line.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Key`].
    pub fn generate(comment: &str) -> Result<Self, RemoteError> {
        let mut random = russh::keys::key::safe_rng();
        let mut private = PrivateKey::random(&mut random, Algorithm::Ed25519)
            .map_err(|source| RemoteError::Key { doing: "make a key pair".to_owned(), source: source.into() })?;
        private.set_comment(comment);
        Ok(Self { private: Arc::new(private) })
    }

    /// Reads what [`KeyPair::to_private_text`] has written.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Key`] for what is no private key, or an encrypted one. Nothing of it is in the error.
    pub fn from_private_text(text: &[u8]) -> Result<Self, RemoteError> {
        let bad = |source| RemoteError::Key { doing: "read a private key".to_owned(), source };
        let private = PrivateKey::from_openssh(text).map_err(|source| bad(source.into()))?;
        if private.is_encrypted() {
            return Err(bad("it is encrypted".into()));
        }
        Ok(Self { private: Arc::new(private) })
    }

    /// The private half, to be kept.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Key`]; not for a key that was generated or read here.
    pub fn to_private_text(&self) -> Result<PrivateText, RemoteError> {
        let text = self.private.to_openssh(LineEnding::LF);
        let bad = |source: russh::keys::ssh_key::Error| RemoteError::Key {
            doing: "write a private key".to_owned(),
            source: source.into(),
        };
        text.map(PrivateText).map_err(bad)
    }

    /// The line that stands in `authorized_keys` on a server, without a line break.
    pub fn public_line(&self) -> String {
        self.private.public_key().to_openssh().unwrap_or_default().trim_end().to_owned()
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.private.fingerprint(HashAlg::Sha256).to_string()
    }

    pub(crate) fn private(&self) -> &Arc<PrivateKey> {
        &self.private
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.fingerprint()).finish()
    }
}

impl PrivateText {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for PrivateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_is_read_back() {
        let pair = KeyPair::generate("jecloud guestbook").expect("a key pair");
        let text = pair.to_private_text().expect("text");
        let again = KeyPair::from_private_text(text.as_bytes()).expect("read back");
        assert_eq!(again.public_line(), pair.public_line());
        assert!(pair.public_line().starts_with("ssh-ed25519 ") && pair.public_line().ends_with(" jecloud guestbook"));
        assert_ne!(KeyPair::generate("").expect("another").fingerprint(), pair.fingerprint());
    }

    /// Fails with a derived `Debug` on either type.
    #[test]
    fn the_private_half_is_shown_nowhere() {
        let pair = KeyPair::generate("x").expect("a key pair");
        let text = pair.to_private_text().expect("text");
        let secret = String::from_utf8(text.as_bytes().to_vec()).expect("text");
        let line = secret.lines().nth(3).expect("a line of the private half");
        let broken = secret.replace("-----END", "-----DNE");
        let error = KeyPair::from_private_text(broken.as_bytes()).expect_err("it is broken");
        let identity = crate::Identity::Key(pair.clone());
        let shown = format!("{pair:?} {text:?} {identity:?} {error:?} {error}");
        assert!(!shown.contains(line) && !shown.contains(&line[..20]), "{shown}");
        assert!(!shown.contains("41, "), "bytes in decimal: {shown}");
    }
}
