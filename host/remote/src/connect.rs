//! From a target to a session: connect, make sure it is the right server, log in; again, while it boots.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{Disconnect, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::authenticate::{Refusal, authenticate};
use crate::error::{Cause, RemoteError};
use crate::host_key::{HostKey, HostKeyRule};
use crate::identity::{Candidates, Identity};
use crate::runtime::runtime;
use crate::session::Session;
use crate::target::Target;

/// The first pause between two attempts. Each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often a caller who waits is asked whether it still wants to.
pub(crate) const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// Everything that is needed to get into a server.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where, and as whom.
    pub target: Target,
    /// With whose keys.
    pub identity: Identity,
    /// Which host keys are taken.
    pub host_key: HostKeyRule,
    /// A server through which this one is reached; none where it can be reached from here.
    pub via: Option<Arc<Jump>>,
    /// How long things may take.
    pub timing: Timing,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Until somebody answers at the port.
    pub connect: Duration,
    /// From there until one is logged in.
    pub login: Duration,
    /// After so long without a word from the server it is asked for one. There is no other limit to silence.
    pub keep_alive: Duration,
    /// So many questions may stay without an answer; then the connection is lost.
    pub unanswered: usize,
    /// While a server boots it may refuse a key, because it has not got it yet: for so long, from the first refusal,
    /// [`Session::wait`] tries again.
    pub refused: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            login: Duration::from_secs(20),
            keep_alive: Duration::from_secs(15),
            unanswered: 3,
            refused: Duration::from_secs(60),
        }
    }
}

impl Timing {
    /// How long a connection can be dead before that is noticed.
    pub(crate) fn noticed(&self) -> Duration {
        self.keep_alive * u32::try_from(self.unanswered + 1).unwrap_or(u32::MAX)
    }
}

impl Connection {
    /// To a server that is reached from here, with the usual times.
    pub fn new(target: Target, identity: Identity, host_key: HostKeyRule) -> Self {
        Self { target, identity, host_key, via: None, timing: Timing::default() }
    }

    /// Through another server.
    #[must_use]
    pub fn via(mut self, jump: Arc<Jump>) -> Self {
        self.via = Some(jump);
        self
    }
}

/// A server through which others are reached. One connection to it serves all of them; it is made when it is needed, and
/// again when it was lost.
#[derive(Debug)]
pub struct Jump {
    connection: Connection,
    session: tokio::sync::Mutex<Option<Session>>,
}

impl Jump {
    /// Through this one; nothing is connected yet.
    pub fn new(connection: Connection) -> Self {
        Self { connection, session: tokio::sync::Mutex::const_new(None) }
    }

    /// The connection to it, to learn its host key, say.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn session(&self) -> Result<Session, RemoteError> {
        block_on(self.connected())?
    }

    async fn connected(&self) -> Result<Session, RemoteError> {
        let mut session = self.session.lock().await;
        if let Some(session) = session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        let candidates = self.connection.identity.candidates()?;
        // It may itself be behind another.
        let made = Box::pin(open(&self.connection, &candidates)).await?;
        Ok(session.insert(made).clone())
    }
}

/// What is learned about a server while connecting, by the task that speaks with it.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub(crate) host_key: Option<HostKey>,
    /// Its last words.
    pub(crate) farewell: Option<String>,
    /// Its last words were that too many keys were tried.
    pub(crate) too_many: bool,
}

/// The side of the library that is called back.
pub(crate) struct Client {
    rule: HostKeyRule,
    learned: Arc<Mutex<Learned>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = HostKey::new(shown.public_key());
        // Keys are exchanged again later, when nobody may have become somebody else.
        let before = lock(&self.learned).host_key.replace(key.clone());
        Ok(self.rule.takes(&key) && before.is_none_or(|before| before == key))
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let mut learned = lock(&self.learned);
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                learned.too_many = said.message.contains("Too many authentication failures")
                    || matches!(said.reason_code, Disconnect::NoMoreAuthMethodsAvailable);
                learned.farewell = Some(said.message);
                Ok(())
            }
            DisconnectReason::Error(error) => {
                learned.farewell = Some(error.to_string());
                Err(error)
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A byte stream to a server, of whichever kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Session {
    /// Connects, once.
    ///
    /// # Errors
    ///
    /// Those of [`RemoteError`] that are about connecting; nothing was done on the server then.
    pub fn open(connection: &Connection) -> Result<Self, RemoteError> {
        let candidates = connection.identity.candidates()?;
        block_on(open(connection, &candidates))?
    }

    /// Connects to a server that may still be booting: again and again until the deadline. A changed host key, and keys
    /// that are refused for longer than [`Timing::refused`], end it at once. `cancel` is asked several times a second
    /// whether to give up.
    ///
    /// # Errors
    ///
    /// As [`Session::open`], the last one; [`RemoteError::Cancelled`].
    pub fn wait(
        connection: &Connection,
        deadline: Instant,
        cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, RemoteError> {
        let candidates = connection.identity.candidates()?;
        block_on(async {
            tokio::select! {
                result = wait(connection, &candidates, deadline) => result,
                () = asked(cancel) => {
                    let doing = "connecting".to_owned();
                    Err(RemoteError::Cancelled { target: connection.target.to_string(), doing })
                }
            }
        })?
    }
}

/// Blocks on the runtime of this crate.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, RemoteError> {
    let failed = |source: io::Error| RemoteError::Local { doing: "start threads".to_owned(), source: source.into() };
    Ok(runtime().map_err(failed)?.block_on(future))
}

/// Ends when the caller says yes.
pub(crate) async fn asked(cancel: &dyn Fn() -> bool) {
    while !cancel() {
        tokio::time::sleep(CANCEL_INTERVAL).await;
    }
}

async fn wait(connection: &Connection, candidates: &Candidates, deadline: Instant) -> Result<Session, RemoteError> {
    let mut pause = FIRST_PAUSE;
    let mut first_refusal = None;
    loop {
        let error = match open(connection, candidates).await {
            Ok(session) => return Ok(session),
            Err(error @ RemoteError::Denied { .. }) => {
                let since: Instant = *first_refusal.get_or_insert_with(Instant::now);
                if since.elapsed() >= connection.timing.refused {
                    return Err(error);
                }
                error
            }
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

async fn open(connection: &Connection, candidates: &Candidates) -> Result<Session, RemoteError> {
    let Timing { login, .. } = connection.timing;
    let target = connection.target.to_string();
    let (stream, through) = stream(connection).await?;
    let learned = Arc::new(Mutex::new(Learned::default()));
    let log_in = async {
        let client = Client { rule: connection.host_key.clone(), learned: Arc::clone(&learned) };
        let connected = client::connect_stream(config(connection), stream, client).await;
        let mut handle = connected.map_err(|error| no_connection(connection, &learned, error))?;
        match authenticate(&mut handle, &connection.target.user, candidates).await {
            Ok(()) => Ok(handle),
            Err(refusal) => Err(no_login(&connection.target, &learned, &handle, candidates, refusal)),
        }
    };
    let handle = match timeout(login, log_in).await {
        Ok(handle) => handle?,
        Err(_) => {
            let source = format!("it said nothing that lets one log in within {} s", login.as_secs()).into();
            return Err(RemoteError::Unreachable { target, source });
        }
    };
    let host_key = lock(&learned).host_key.clone();
    let Some(host_key) = host_key else {
        return Err(RemoteError::Incompatible { target, source: "it showed no host key".into() });
    };
    Ok(Session::new(handle, connection, host_key, learned, through))
}

fn config(connection: &Connection) -> Arc<client::Config> {
    let preferred = Preferred { key: Cow::Owned(connection.host_key.algorithms()), ..Preferred::DEFAULT };
    Arc::new(client::Config {
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(connection.timing.keep_alive),
        keepalive_max: connection.timing.unanswered,
        nodelay: true,
        ..client::Config::default()
    })
}

/// The stream to a server, and the session through which it goes.
async fn stream(connection: &Connection) -> Result<(Box<dyn Stream>, Option<Session>), RemoteError> {
    let Connection { target, via, timing, .. } = connection;
    let unreachable = |source: Cause| RemoteError::Unreachable { target: target.to_string(), source };
    let too_late = || unreachable(format!("nobody answered within {} s", timing.connect.as_secs()).into());
    if let Some(jump) = via {
        let jump = jump.connected().await?;
        let opening = jump.handle().channel_open_direct_tcpip(&*target.host, target.port.into(), "127.0.0.1", 0);
        let channel = timeout(timing.connect, opening).await.map_err(|_| too_late())?;
        let failed = |error: russh::Error| unreachable(format!("{} cannot reach it: {error}", jump.target()).into());
        let stream = Box::new(channel.map_err(failed)?.into_stream());
        return Ok((stream, Some(jump)));
    }
    let looked_up = timeout(timing.connect, tokio::net::lookup_host((&*target.host, target.port))).await;
    let unresolved = |source: io::Error| RemoteError::Unresolved { target: target.to_string(), source: source.into() };
    let addresses: Vec<SocketAddr> = looked_up.map_err(|_| too_late())?.map_err(unresolved)?.collect();
    let connected = timeout(timing.connect, TcpStream::connect(&*addresses)).await;
    let stream = connected.map_err(|_| too_late())?.map_err(|error| unreachable(error.into()))?;
    // Without the first a small message waits for the answer to the one before; without the second a server that is
    // gone is noticed only when there is something to read from it. What a system does not have is done without.
    let _ = stream.set_nodelay(true);
    let patience = u32::try_from(timing.noticed().as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, patience);
    Ok((Box::new(stream), None))
}

/// Why there is no encrypted connection.
fn no_connection(connection: &Connection, learned: &Mutex<Learned>, error: russh::Error) -> RemoteError {
    let target = connection.target.to_string();
    match (error, &lock(learned).host_key) {
        (russh::Error::UnknownKey, Some(found)) => {
            let expected = connection.host_key.expected();
            RemoteError::HostKeyChanged { target, expected, found: found.fingerprint() }
        }
        (
            error @ (russh::Error::NoCommonAlgo { .. }
            | russh::Error::Version
            | russh::Error::WrongServerSig
            | russh::Error::StrictKeyExchangeViolation { .. }),
            _,
        ) => RemoteError::Incompatible { target, source: error.into() },
        // A machine that boots accepts connections before it can serve them.
        (error, _) => RemoteError::Unreachable { target, source: error.into() },
    }
}

/// Why one is not logged in.
fn no_login(
    target: &Target,
    learned: &Mutex<Learned>,
    handle: &Handle<Client>,
    candidates: &Candidates,
    refusal: Refusal,
) -> RemoteError {
    let target = target.to_string();
    let learned = lock(learned);
    match refusal {
        Refusal::NoKey { notes } => RemoteError::NoKey { target, notes: [candidates.notes.clone(), notes].concat() },
        Refusal::Denied { .. } if handle.is_closed() && !learned.too_many => {
            let farewell = learned.farewell.clone().unwrap_or_else(|| "it closed the connection".to_owned());
            RemoteError::Unreachable { target, source: farewell.into() }
        }
        Refusal::Denied { tried, notes } => {
            let mut notes = [candidates.notes.clone(), notes].concat();
            if learned.too_many {
                notes.push("It takes no more attempts; name the right key in jecloud.toml".to_owned());
            }
            RemoteError::Denied { target, tried: tried.join(", "), notes }
        }
        Refusal::Lost(error) => RemoteError::Unreachable { target, source: error.into() },
    }
}
