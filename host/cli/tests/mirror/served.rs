//! A mirror of Node.js on this machine: archives of the official layout, their sums, and a server for them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How the official archives call this kind of machine.
const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };

/// What is served, by path, and what was asked for.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, Arc<Vec<u8>>>,
    asked: Vec<String>,
}

/// A mirror that serves until the test's process ends, or until it goes away.
pub(crate) struct Mirror {
    shelf: Arc<Mutex<Shelf>>,
    port: u16,
}

impl Mirror {
    /// A mirror with nothing in it.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let of_thread = Arc::clone(&shelf);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who breaks off is the client's affair.
                let _ = answer(stream, &of_thread);
            }
        });
        Self { shelf, port }
    }

    /// What a person writes as `mirror`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a release there, in its own directory and as the newest of its line, with `sum` as the sum of its archive.
    pub(crate) fn release(&self, version: &str, archive: &Arc<Vec<u8>>, sum: &str) {
        let major = version.split('.').next().expect("a major version");
        let file = format!("node-v{version}-{PLATFORM}.tar.gz");
        // Real lists name all kinds of machines, and kinds of files.
        let other = "0".repeat(64);
        let sums = format!("{other}  node-v{version}-headers.tar.gz\n{other}  node-v{version}.tar.gz\n{sum}  {file}\n");
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in [format!("v{version}"), format!("latest-v{major}.x")] {
            shelf.files.insert(format!("/{directory}/SHASUMS256.txt"), Arc::new(sums.clone().into_bytes()));
            shelf.files.insert(format!("/{directory}/{file}"), Arc::clone(archive));
        }
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner).asked)
    }
}

fn answer(stream: TcpStream, shelf: &Mutex<Shelf>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let found = {
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.asked.push(path.clone());
        shelf.files.get(&path).cloned()
    };
    let mut stream = &stream;
    match found {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Some(content) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
            stream.write_all(&content)
        }
    }
}

/// The archive of a release: the layout is the official one, its `bin/node` is this machine's, and its npm is one that
/// tells that it ran. And the archive's sum.
pub(crate) fn archive() -> &'static (Arc<Vec<u8>>, String) {
    static MADE: OnceLock<(Arc<Vec<u8>>, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().join("node-of-the-mirror");
        let npm = top.join("lib/node_modules/npm/bin");
        for directory in [&top.join("bin"), &npm] {
            std::fs::create_dir_all(directory).expect("a directory in a new one");
        }
        let node = output("sh", &["-c", "readlink -f \"$(command -v node)\""], directory.path());
        let node = String::from_utf8(node).expect("a path");
        std::fs::copy(node.trim(), top.join("bin/node")).expect("this machine has a Node.js");
        std::fs::write(npm.join("npm-cli.js"), NPM).expect("a new file");
        std::os::unix::fs::symlink("../lib/node_modules/npm/bin/npm-cli.js", top.join("bin/npm")).expect("a new link");
        output(
            "tar",
            &["-c", "--use-compress-program=gzip -1", "-f", "made.tar.gz", "node-of-the-mirror"],
            directory.path(),
        );
        let sum = String::from_utf8(output("sha256sum", &["made.tar.gz"], directory.path())).expect("a sum");
        let bytes = std::fs::read(directory.path().join("made.tar.gz")).expect("tar made it");
        (Arc::new(bytes), sum.split(' ').next().expect("a sum").to_owned())
    })
}

/// Stands in the place of npm, so that it can be told from this machine's, and needs nothing from anywhere: it runs a
/// script in the same way, and installs an empty package.
const NPM: &str = "\
const { scripts } = JSON.parse(require('node:fs').readFileSync('package.json', 'utf8'));
const [verb, name] = process.argv.slice(2).filter((word) => !word.startsWith('-'));
if (verb === 'ci') {
  require('node:fs').mkdirSync('node_modules/nothing', { recursive: true });
  process.exit();
}
if (verb !== 'run') throw new Error(`${verb} was not expected`);
const env = { ...process.env, npm_of_the_mirror: __filename };
require('node:child_process').execSync(scripts[name], { env, stdio: 'inherit' });
";

fn output(program: &str, args: &[&str], cwd: &Path) -> Vec<u8> {
    let output = Command::new(program).args(args).current_dir(cwd).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
