//! Logging in.

use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};

use crate::connect::Client;
use crate::identity::Candidates;

/// A server closes after so many attempts; OpenSSH's default is six.
const MOST_ATTEMPTS: usize = 6;

/// Why one is not logged in.
pub(crate) enum Refusal {
    /// There was nothing to try.
    NoKey { notes: Vec<String> },
    /// Nothing of what was tried is taken.
    Denied { tried: Vec<String>, notes: Vec<String> },
    /// The connection was lost.
    Lost(russh::Error),
}

/// One login, with everything that there is, until the server takes something.
struct Login<'a> {
    handle: &'a mut Handle<Client>,
    user: &'a str,
    tried: Vec<String>,
    notes: Vec<String>,
}

/// Logs in as this user, as ssh does: with the keys of the agent, then with those in files.
pub(crate) async fn authenticate(
    handle: &mut Handle<Client>,
    user: &str,
    candidates: &Candidates,
) -> Result<(), Refusal> {
    let mut login = Login { handle, user, tried: Vec::new(), notes: Vec::new() };
    if login.with_agent(candidates).await? || login.with_files(candidates).await? {
        return Ok(());
    }
    let Login { tried, notes, .. } = login;
    Err(if tried.is_empty() { Refusal::NoKey { notes } } else { Refusal::Denied { tried, notes } })
}

impl Login<'_> {
    async fn with_agent(&mut self, candidates: &Candidates) -> Result<bool, Refusal> {
        let Some(socket) = &candidates.agent else { return Ok(false) };
        let mut agent = match AgentClient::connect_uds(socket).await {
            Ok(agent) => agent,
            Err(error) => {
                self.notes.push(format!("The agent at {} does not answer: {error}", socket.display()));
                return Ok(false);
            }
        };
        if let Some(binding) = self.handle.agent_session_binding() {
            // An agent that does not know this has no keys that need it.
            let _ = agent.bind_session(binding, false).await;
        }
        let all = match agent.request_identities().await {
            Ok(all) => all,
            Err(error) => {
                self.notes.push(format!("The agent at {} shows no keys: {error}", socket.display()));
                return Ok(false);
            }
        };
        let only = candidates.only.as_ref().map(|key| key.key_data());
        let meant = all.into_iter().filter(|one| only.is_none_or(|only| one.public_key().key_data() == only));
        for identity in meant.take(MOST_ATTEMPTS) {
            let words = format!("the agent's key {}", named(identity.comment()));
            let hash = self.hash_for(&identity.public_key().algorithm()).await?;
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(self.user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(self.user, certificate, hash, &mut agent).await
                }
            };
            match result {
                Ok(result) => {
                    if self.takes(words, result)? {
                        return Ok(true);
                    }
                }
                // The agent does not sign with this one: locked, or the person said no.
                Err(error) => self.notes.push(format!("{words} cannot be used: {error}")),
            }
        }
        Ok(false)
    }

    async fn with_files(&mut self, candidates: &Candidates) -> Result<bool, Refusal> {
        for (words, key) in &candidates.keys {
            let hash = self.hash_for(&key.algorithm()).await?;
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let result = self.handle.authenticate_publickey(self.user, key).await.map_err(Refusal::Lost)?;
            if self.takes(words.clone(), result)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one is in. It is of no use to go on where the server takes no keys, or has gone.
    fn takes(&mut self, words: String, result: AuthResult) -> Result<bool, Refusal> {
        self.tried.push(words);
        let AuthResult::Failure { remaining_methods, .. } = result else { return Ok(true) };
        if !goes_on(&remaining_methods) || self.handle.is_closed() {
            let (tried, notes) = (std::mem::take(&mut self.tried), std::mem::take(&mut self.notes));
            return Err(Refusal::Denied { tried, notes });
        }
        Ok(false)
    }

    /// RSA keys sign in several ways; the old one is refused by newer servers.
    async fn hash_for(&self, algorithm: &Algorithm) -> Result<Option<HashAlg>, Refusal> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(Refusal::Lost)?;
        Ok(best.unwrap_or(Some(HashAlg::Sha512)))
    }
}

fn goes_on(methods: &MethodSet) -> bool {
    methods.contains(&MethodKind::PublicKey)
}

fn named(comment: &str) -> &str {
    if comment.is_empty() { "without a name" } else { comment }
}
