//! What others ask the front. These functions block: call them from a thread that may.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jecloud_model::layout::ServerRoot;
use jecloud_model::routes::BackendStatus;

use crate::control::{Answer, Command, SocketDirectory};
pub use crate::control::{Reloaded, Serving};

/// The longest answer: a status of ten thousand backends is well below.
const LONGEST_ANSWER: u64 = 8 << 20;

/// How long a front that was replaced may take to answer.
const OTHERS: Duration = Duration::from_millis(500);

/// Why there is no answer from the front.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on its socket.
    #[error("the front of {root} does not run")]
    NotRunning {
        /// The server's root.
        root: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It took too long, or ended meanwhile.
    #[error("asking the front of {root} failed")]
    Io {
        /// The server's root.
        root: String,
        /// What the kernel said; `TimedOut` when the deadline has passed.
        #[source]
        source: io::Error,
    },
    /// It speaks another version of this protocol.
    #[error("the front of {root} gave an answer that was not asked for: {answer}")]
    Unexpected {
        /// The server's root.
        root: String,
        /// The beginning of the answer.
        answer: String,
    },
}

/// Makes the front read all route tables again.
///
/// When this returns, every new request is answered by the new tables, and everything that an old table sent to a
/// backend that the new ones do not name is in the counts of [`status`]. Look into the result for whether the
/// table that was written is the one in use.
///
/// # Errors
///
/// [`ClientError`]; after `NotRunning` nothing is lost: the front reads the tables when it starts.
pub fn reload(root: &ServerRoot, deadline: Instant) -> Result<Reloaded, ClientError> {
    let reloaded = match ask(root, Command::Reload, deadline)? {
        Answer::Reloaded(reloaded) => reloaded,
        other => return Err(unexpected(root, &other)),
    };
    // Those that finish what is in flight may still get a request on a connection that they have.
    ask_others(root, Command::Reload);
    Ok(reloaded)
}

/// Every backend that has a route or requests in flight, sorted by app, environment and instance. What a front has in
/// flight that was replaced and finishes its requests is counted, too.
///
/// # Errors
///
/// [`ClientError`].
pub fn status(root: &ServerRoot, deadline: Instant) -> Result<Vec<BackendStatus>, ClientError> {
    let mut all = match ask(root, Command::Status, deadline)? {
        Answer::Status(status) => status,
        other => return Err(unexpected(root, &other)),
    };
    for answer in ask_others(root, Command::Status) {
        let Answer::Status(status) = answer else { continue };
        for other in status.into_iter().filter(|other| other.in_flight > 0) {
            let key = |one: &BackendStatus| (one.app.clone(), one.environment.clone(), one.id.clone(), one.address);
            match all.iter_mut().find(|one| key(one) == key(&other)) {
                Some(one) => one.in_flight += other.in_flight,
                None => all.push(BackendStatus { routed: false, ..other }),
            }
        }
    }
    all.sort_by(|a, b| (&a.app, &a.environment, &a.id).cmp(&(&b.app, &b.environment, &b.id)));
    Ok(all)
}

/// Makes the front finish the requests in flight and end, as SIGTERM does. Returns when it has begun to.
///
/// # Errors
///
/// [`ClientError`].
pub fn stop(root: &ServerRoot, deadline: Instant) -> Result<(), ClientError> {
    match ask(root, Command::Stop, deadline)? {
        Answer::Stopping => Ok(()),
        other => Err(unexpected(root, &other)),
    }
}

/// Makes the front that accepts leave that to another one, which waits for its lock: it finishes what is in flight, for
/// [`crate::Settings::retirement`] at the most. Returns when it has begun to.
///
/// # Errors
///
/// [`ClientError`].
pub(crate) fn retire(root: &ServerRoot, deadline: Instant) -> Result<(), ClientError> {
    match ask(root, Command::Retire, deadline)? {
        Answer::Stopping => Ok(()),
        // It is older than this command.
        Answer::NotUnderstood(_) => stop(root, deadline),
        other => Err(unexpected(root, &other)),
    }
}

/// The answers of those that were replaced and finish their requests. They answer from memory, or have just ended.
fn ask_others(root: &ServerRoot, command: Command) -> Vec<Answer> {
    let Ok(directory) = SocketDirectory::open(&root.run()) else { return Vec::new() };
    let streams = directory.others(&root.run()).into_iter();
    let lines = streams.filter_map(|stream| exchange(&stream, command, Instant::now() + OTHERS).ok());
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

fn ask(root: &ServerRoot, command: Command, deadline: Instant) -> Result<Answer, ClientError> {
    let path = || root.path().display().to_string();
    let stream = connect(root).map_err(|source| ClientError::NotRunning { root: path(), source })?;
    let line = exchange(&stream, command, deadline).map_err(|source| ClientError::Io { root: path(), source })?;
    serde_json::from_str(&line)
        .map_err(|_| ClientError::Unexpected { root: path(), answer: line.chars().take(200).collect() })
}

fn connect(root: &ServerRoot) -> io::Result<UnixStream> {
    let directory = SocketDirectory::open(&root.run())?;
    UnixStream::connect(directory.socket())
}

fn exchange(mut stream: &UnixStream, command: Command, deadline: Instant) -> io::Result<String> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    let mut question = serde_json::to_vec(&command)?;
    question.push(b'\n');
    stream.write_all(&question).map_err(timed_out)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream.take(LONGEST_ANSWER));
    while !answer.ends_with(b"\n") {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let piece = match reader.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(timed_out(error)),
        };
        let length = piece.len();
        answer.extend_from_slice(piece);
        reader.consume(length);
    }
    String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A socket's time-out shows as `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

fn unexpected(root: &ServerRoot, answer: &Answer) -> ClientError {
    ClientError::Unexpected {
        root: root.path().display().to_string(),
        answer: format!("{answer:?}").chars().take(200).collect(),
    }
}

impl ClientError {
    /// Whether there is no front: it is about to be started, and reads the tables then.
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { source, .. } if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }
}
