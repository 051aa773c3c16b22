//! Clients of every kind, and what they did not like.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No answer may take longer: a slow one takes two seconds, a front that is started anew less than that.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients at work.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<(&'static str, JoinHandle<Vec<String>>)>,
    answers: Arc<AtomicU64>,
}

/// What one client does, again and again.
type Client = fn(&Target, &mut Life) -> io::Result<()>;

/// What clients need to know.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    host: String,
}

impl Target {
    fn of(url: &str) -> Self {
        let authority = url.trim_start_matches("http://");
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        // A name is one below localhost.
        let address = host.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
        Self { address: SocketAddr::new(address, port.parse().expect("a port")), host: authority.to_owned() }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

impl Clients {
    /// One of each kind, two of the common ones.
    pub(crate) fn begin(url: &str) -> Self {
        let target = Target::of(url);
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        let kinds: [(&'static str, Client); 7] = [
            ("keep-alive", keep_alive),
            ("keep-alive", keep_alive),
            ("new connection", new_connection),
            ("new connection", new_connection),
            ("slow answer", slow),
            ("upload", upload),
            ("websocket", websocket),
        ];
        for (kind, client) in kinds {
            let (target, stop, answers) = (target.clone(), stop.clone(), answers.clone());
            let thread = std::thread::spawn(move || {
                let mut life = Life { stop, answers };
                let mut complaints = Vec::new();
                while !life.is_over() {
                    if let Err(error) = client(&target, &mut life) {
                        complaints.push(error.to_string());
                    }
                }
                complaints
            });
            threads.push((kind, thread));
        }
        Self { stop, threads, answers }
    }

    /// Ends them, who had more than so many answers and nothing to complain of.
    #[track_caller]
    pub(crate) fn end(self, answers: u64) {
        let had = self.answers.load(Ordering::Relaxed);
        let complaints = self.complaints();
        let first = &complaints[..complaints.len().min(10)];
        assert!(complaints.is_empty(), "{} of {had} failed: {first:#?}", complaints.len());
        assert!(had > answers, "only {had} requests: that is no load");
    }

    /// Ends them. What each did not like.
    fn complaints(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let complaints = self.threads.into_iter().flat_map(|(kind, thread)| {
            let of_kind = thread.join().expect("a client");
            of_kind.into_iter().map(move |complaint| format!("{kind}: {complaint}"))
        });
        complaints.collect()
    }
}

/// How long a client goes on, and what it has counted.
struct Life {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Life {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requests one after the other on one connection, which the server may close between two.
fn keep_alive(target: &Target, life: &mut Life) -> io::Result<()> {
    let mut connection = BufReader::new(target.connect()?);
    let mut newest = 0;
    while !life.is_over() {
        let sent = write!(connection.get_mut(), "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
        let answer = sent.and_then(|()| read_answer(&mut connection, "GET /"))?;
        let version: u64 = answer.body.trim_start_matches("version ").parse().map_err(|_| wrong(&answer.body))?;
        // A rollback deploys an earlier content under its own number, so a connection may see that; but never a
        // version flicker back and forth within one switch: that is counted by the deployments' test.
        newest = newest.max(version);
        life.answered();
        if answer.closes {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    Ok(())
}

fn new_connection(target: &Target, life: &mut Life) -> io::Result<()> {
    let mut connection = BufReader::new(target.connect()?);
    write!(connection.get_mut(), "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host)?;
    let answer = read_answer(&mut connection, "GET / on a new connection")?;
    if !answer.body.starts_with("version ") {
        return Err(wrong(&answer.body));
    }
    life.answered();
    std::thread::sleep(Duration::from_millis(4));
    Ok(())
}

fn slow(target: &Target, life: &mut Life) -> io::Result<()> {
    let mut connection = BufReader::new(target.connect()?);
    write!(connection.get_mut(), "GET /slow HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host)?;
    let answer = read_answer(&mut connection, "GET /slow")?;
    if !answer.body.ends_with("line 20\nthe end\n") {
        return Err(wrong(&answer.body));
    }
    life.answered();
    Ok(())
}

fn upload(target: &Target, life: &mut Life) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 8;
    let mut connection = BufReader::new(target.connect()?);
    let length = CHUNK * CHUNKS;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
        target.host
    );
    connection.get_mut().write_all(head.as_bytes())?;
    for _ in 0..CHUNKS {
        connection.get_mut().write_all(&[b'x'; CHUNK])?;
        std::thread::sleep(Duration::from_millis(15));
    }
    let answer = read_answer(&mut connection, "POST /upload")?;
    if answer.body != length.to_string() {
        return Err(wrong(&answer.body));
    }
    life.answered();
    Ok(())
}

/// Echoes for a second and a half, then closes by itself and comes again: shorter than the drain.
fn websocket(target: &Target, life: &mut Life) -> io::Result<()> {
    let mut connection = BufReader::new(target.connect()?);
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        target.host
    );
    connection.get_mut().write_all(head.as_bytes())?;
    let status = read_head(&mut connection, "upgrade")?.0;
    if status != 101 {
        return Err(wrong(&format!("status {status} for an upgrade")));
    }
    let begin = Instant::now();
    // A masked text frame with four bytes: RFC 6455, section 5.2. What comes back is exactly that.
    let frame = [0x81, 0x84, 0x01, 0x02, 0x03, 0x04, b'p' ^ 1, b'i' ^ 2, b'n' ^ 3, b'g' ^ 4];
    while begin.elapsed() < Duration::from_millis(1500) && !life.is_over() {
        connection.get_mut().write_all(&frame)?;
        let mut echo = [0; 10];
        connection.read_exact(&mut echo).map_err(|error| wrong(&format!("the echo: {error}")))?;
        if echo != frame {
            return Err(wrong("another echo"));
        }
        life.answered();
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

struct Answer {
    body: String,
    closes: bool,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.chars().take(200).collect::<String>())
}

fn read_head(connection: &mut BufReader<TcpStream>, what: &str) -> io::Result<(u16, Vec<String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(wrong(&format!("{what}: the connection was closed after {} lines of the answer", lines.len())));
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_ascii_lowercase());
    }
    let status = lines.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    Ok((status.ok_or_else(|| wrong("no status line"))?, lines))
}

fn read_answer(connection: &mut BufReader<TcpStream>, what: &str) -> io::Result<Answer> {
    let (status, head) = read_head(connection, what)?;
    let value = |name: &str| head.iter().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()));
    let mut body = Vec::new();
    if value("transfer-encoding:").is_some_and(|encoding| encoding.contains("chunked")) {
        loop {
            let mut size = String::new();
            connection.read_line(&mut size)?;
            let length = usize::from_str_radix(size.trim(), 16).map_err(|_| wrong(&format!("{what}: cut off")))?;
            let mut chunk = vec![0; length + 2];
            connection.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = value("content-length:").and_then(|length| length.parse().ok()) {
        body.resize(length, 0);
        connection.read_exact(&mut body)?;
    } else {
        connection.read_to_end(&mut body)?;
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    if status != 200 {
        return Err(wrong(&format!("{what}: status {status}: {body}")));
    }
    Ok(Answer { body, closes: value("connection:").as_deref() == Some("close") })
}
