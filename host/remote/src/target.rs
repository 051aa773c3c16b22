//! Where a server listens, and as whom one works there.

use std::fmt;
use std::str::FromStr;

/// The port of SSH.
const PORT: u16 = 22;

/// Who one is where nothing else is said: installing takes root.
const USER: &str = "root";

/// `user@host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The user on the server.
    pub user: String,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is no `user@host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no SSH server: {problem}; it is written [user@]host[:port]")]
pub struct TargetError {
    text: String,
    problem: &'static str,
}

impl FromStr for Target {
    type Err = TargetError;

    /// `host`, `user@host`, `host:2222`, `user@[2001:db8::1]:22`, `2001:db8::1`. The user is root and the port is 22
    /// where nothing else is said.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = |problem| TargetError { text: text.to_owned(), problem };
        let (user, rest) = text.rsplit_once('@').unwrap_or((USER, text));
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(wrong("there is something after the bracket")),
                }
            }
            // With several colons it is an IPv6 address, which has no port unless it has brackets.
            None if rest.matches(':').count() > 1 => (rest, None),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is no port"))?,
            None => PORT,
        };
        let is_plain = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if !is_plain(user) {
            return Err(wrong("the user is missing or has spaces"));
        }
        if !is_plain(host) {
            return Err(wrong("the host is missing or has spaces"));
        }
        Ok(Self { user: user.to_owned(), host: host.to_owned(), port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port } = self;
        match (host.contains(':'), *port) {
            (true, PORT) => write!(f, "{user}@[{host}]"),
            (true, port) => write!(f, "{user}@[{host}]:{port}"),
            (false, PORT) => write!(f, "{user}@{host}"),
            (false, port) => write!(f, "{user}@{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match text.parse::<Target>() {
            Ok(target) => {
                assert_eq!(target.to_string().parse(), Ok(target.clone()), "it is read back");
                target.to_string()
            }
            Err(error) => error.problem.to_owned(),
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn targets_are_read_as_people_write_them() {
        check("db.example.com", "root@db.example.com");
        check("ada@10.0.0.1:2222", "ada@10.0.0.1:2222");
        check("2001:db8::1", "root@[2001:db8::1]");
        check("ada@[2001:db8::1]:2222", "ada@[2001:db8::1]:2222");
        check("a@b@host", "a@b@host");
        check("", "the host is missing or has spaces");
        check("@host", "the user is missing or has spaces");
        check("ada@ho st", "the host is missing or has spaces");
        check("host:ssh", "the port is no port");
        check("host:0", "the port is no port");
        check("[::1", "a bracket is not closed");
        check("[::1]22", "there is something after the bracket");
    }
}
