//! A server with one key that it lets in.

use std::time::Duration;

use jecloud_remote::{Connection, HostKeyRule, Identity, KeyPair, Session, Target, Timing};
use jecloud_testkit::Sshd;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Place {
    pub(crate) sshd: Sshd,
    pub(crate) key: KeyPair,
}

impl Place {
    /// A server that runs, with these lines in addition to its configuration.
    pub(crate) fn with(lines: &[&str]) -> Self {
        let mut place = Self::asleep(lines);
        place.sshd.run();
        place
    }

    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// A server that does not run yet.
    pub(crate) fn asleep(lines: &[&str]) -> Self {
        let (sshd, key) = (Sshd::prepare(lines), KeyPair::generate("test").expect("a key"));
        sshd.allow(&key.public_line());
        Self { sshd, key }
    }

    /// To it, or to a cable that leads to it.
    pub(crate) fn connection(&self, port: u16) -> Connection {
        let identity = Identity::Key(self.key.clone());
        Connection::new(target(port), identity, HostKeyRule::FirstContact)
    }

    pub(crate) fn session(&self) -> Session {
        self.session_at(self.sshd.port())
    }

    pub(crate) fn session_at(&self, port: u16) -> Session {
        Session::open(&self.connection(port)).unwrap_or_else(|error| panic!("{}", error.to_line()))
    }
}

pub(crate) fn target(port: u16) -> Target {
    Target { user: Sshd::user(), host: "127.0.0.1".to_owned(), port }
}

/// For those who wait for what does not come.
pub(crate) fn impatient() -> Timing {
    Timing {
        connect: Duration::from_secs(2),
        login: Duration::from_secs(5),
        keep_alive: Duration::from_millis(250),
        unanswered: 3,
        refused: Duration::ZERO,
    }
}
