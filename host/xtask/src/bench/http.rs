//! The smallest client that can tell which version answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Where something answers, as `jecloud status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Always this machine: names below `localhost` need no resolver then.
    pub(super) address: SocketAddr,
    /// For the `Host` field.
    pub(super) host: String,
}

impl Place {
    /// A port of this machine.
    pub(super) fn port(port: u16) -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), host: format!("127.0.0.1:{port}") }
    }

    /// From `http://NAME:PORT`; without a port, 80.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let host = url.strip_prefix("http://")?.trim_end_matches('/');
        let port = match host.rsplit_once(':') {
            Some((_, port)) => port.parse().ok()?,
            None => 80,
        };
        Some(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), host: host.to_owned() })
    }

    /// Asks for `/` on a new connection and returns all of the answer, header included; none where nobody answers.
    pub(super) fn get(&self) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, LIMIT).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned()).filter(|answer| !answer.is_empty())
    }
}

/// A port on which nobody listens now. Somebody else may take it before it is used, which is then found out.
///
/// # Errors
///
/// Where there is none.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr().context("a socket has no address")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_urls() {
        let place = Place::of_url("http://hello-node.localhost:8081").unwrap();
        assert_eq!((place.address.port(), place.host.as_str()), (8081, "hello-node.localhost:8081"));
        assert_eq!(Place::of_url("http://a.localhost/").map(|place| place.address.port()), Some(80));
        assert_eq!(Place::of_url("https://a.localhost"), None);
    }

    #[test]
    fn the_whole_answer_is_returned() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::port(listener.local_addr().unwrap().port());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        assert_eq!(place.get().as_deref(), Some("HTTP/1.1 200 OK\r\n\r\nhello"));
        assert!(server.join().unwrap().contains(&format!("Host: {}\r\n", place.host)));
        assert_eq!(place.get(), None);
    }
}
