//! Keys, and a server for repositories that are signed with them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use jecloud_model::ids::Digest;
use jecloud_model::repository::Repository;

use crate::run;

/// A key of nobody. What works on it ends with it.
pub(crate) struct Key {
    home: tempfile::TempDir,
    name: String,
}

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        let key = Self { home: tempfile::tempdir().expect("a directory"), name: format!("{name}@example.com") };
        key.gpg(&["--passphrase", "", "--quick-generate-key", &key.name, "rsa2048", "sign", "never"]);
        key
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs gpg with this key.
    pub(crate) fn gpg(&self, arguments: &[&str]) -> String {
        let home = self.home().display().to_string();
        run("gpg", &[&["--homedir", &home, "--batch", "--quiet", "--yes"], arguments].concat())
    }

    /// The key as others get it.
    pub(crate) fn public(&self) -> String {
        self.gpg(&["--armor", "--export", &self.name])
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        run("gpgconf", &["--homedir", &self.home().display().to_string(), "--kill", "gpg-agent"]);
    }
}

/// Serves the files of a directory over HTTP on loopback, until the test's process ends. Its URL.
pub(crate) fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who breaks off is the client's affair.
            let _ = answer(&stream, &directory);
        }
    });
    url
}

fn answer(mut stream: &TcpStream, directory: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').replace("/./", "/");
    let (status, content) = match std::fs::read(directory.join(path.trim_start_matches("./"))) {
        Ok(content) => ("200 OK", content),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&content)
}

/// The repository at this URL, with the key that is served beside it.
pub(crate) fn repository(directory: &Path, url: &str, key: &Key) -> Repository {
    let (text, file) = (key.public(), format!("{}.asc", key.name()));
    std::fs::write(directory.join(&file), &text).expect("a file");
    Repository {
        url: url.to_owned(),
        key: format!("{url}/{file}"),
        key_sha256: Digest::of(text.as_bytes()),
        suite: "./".to_owned(),
        components: Vec::new(),
    }
}
