//! Fault points of a build with debug assertions.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Crash,
    Error(i32),
    Torn(usize),
}

/// One part of `JECLOUD_FAULT`.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// None is any point.
    name: Option<String>,
    /// From 1.
    hit: u64,
    /// Also every later hit.
    and_later: bool,
    action: Action,
}

/// What the environment asks for.
#[derive(Debug)]
struct Plan {
    rules: Vec<Rule>,
    counter: Option<PathBuf>,
    log: Option<PathBuf>,
    /// The names hit so far, where there is no counter file.
    hits: Mutex<HashMap<&'static str, u64>>,
}

/// How often a point, and how often any point, has been hit, this time included.
struct Hits {
    name: u64,
    all: u64,
}

/// A place where a test can stop or fail what comes next.
///
/// # Errors
///
/// The error that `JECLOUD_FAULT` asks for here; or that the variable cannot be understood.
pub fn point(name: &'static str) -> io::Result<()> {
    match hit(name)? {
        None => Ok(()),
        Some(_) => die(),
    }
}

/// A writer whose bytes a test can cut off. One hit of the point, however many writes.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    /// So many bytes are still written before the process dies.
    left: Option<usize>,
}

impl<W: Write> Writer<W> {
    /// Wraps a writer, and hits the point.
    ///
    /// # Errors
    ///
    /// As [`point`].
    pub fn new(name: &'static str, inner: W) -> io::Result<Self> {
        Ok(Self { left: hit(name)?, inner })
    }

    /// Gives the writer back. A write that was to be torn and was shorter than that ends here.
    pub fn finish(self) -> W {
        if self.left.is_some() {
            die();
        }
        self.inner
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left else { return self.inner.write(bytes) };
        if bytes.len() < left {
            let written = self.inner.write(bytes)?;
            self.left = Some(left - written);
            return Ok(written);
        }
        self.inner.write_all(&bytes[..left])?;
        self.inner.flush()?;
        die()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SIGKILL to oneself: nothing is run down, nothing is flushed.
fn die() -> ! {
    // The signal cannot be refused; should it be late, nothing may happen until it comes.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

/// Counts a hit. How many bytes are still to be written where a write is to be torn.
fn hit(name: &'static str) -> io::Result<Option<usize>> {
    static PLAN: OnceLock<Result<Option<Plan>, String>> = OnceLock::new();
    let plan = match PLAN.get_or_init(Plan::from_environment) {
        Ok(Some(plan)) => plan,
        Ok(None) => return Ok(None),
        Err(reason) => return Err(io::Error::new(io::ErrorKind::InvalidInput, reason.clone())),
    };
    let hits = plan.count(name)?;
    if let Some(log) = &plan.log {
        OpenOptions::new().append(true).create(true).open(log)?.write_all(format!("{name}\n").as_bytes())?;
    }
    match action(&plan.rules, name, &hits) {
        None => Ok(None),
        Some(Action::Crash) => die(),
        Some(Action::Error(code)) => Err(io::Error::from_raw_os_error(code)),
        Some(Action::Torn(bytes)) => Ok(Some(bytes)),
    }
}

/// What the rules say for this hit. The first that fits.
fn action(rules: &[Rule], name: &str, hits: &Hits) -> Option<Action> {
    rules
        .iter()
        .find(|rule| {
            let hit = match &rule.name {
                Some(wanted) if wanted == name => hits.name,
                Some(_) => return false,
                None => hits.all,
            };
            hit == rule.hit || (rule.and_later && hit > rule.hit)
        })
        .map(|rule| rule.action)
}

impl Plan {
    /// None where no variable is set, which is the usual case and costs nothing.
    fn from_environment() -> Result<Option<Self>, String> {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let rules = match std::env::var("JECLOUD_FAULT") {
            Ok(text) => parse(&text)?,
            Err(std::env::VarError::NotPresent) => Vec::new(),
            Err(error) => return Err(format!("JECLOUD_FAULT: {error}")),
        };
        let (counter, log) = (path("JECLOUD_FAULT_COUNTER"), path("JECLOUD_FAULT_LOG"));
        if rules.is_empty() && counter.is_none() && log.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { rules, counter, log, hits: Mutex::default() }))
    }

    fn count(&self, name: &'static str) -> io::Result<Hits> {
        let Some(counter) = &self.counter else {
            let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
            *hits.entry(name).or_default() += 1;
            return Ok(Hits { name: hits[name], all: hits.values().sum() });
        };
        let mut file = OpenOptions::new().append(true).read(true).create(true).open(counter)?;
        // Released when `file` is closed, or when the process dies.
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        file.write_all(format!("{name}\n").as_bytes())?;
        let before = |wanted: fn(&str, &str) -> bool| text.lines().filter(|line| wanted(line, name)).count() as u64;
        Ok(Hits { name: before(|line, name| line == name) + 1, all: before(|_, _| true) + 1 })
    }
}

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| parse_rule(part).ok_or_else(|| format!("JECLOUD_FAULT: {part:?} is not NAME#N=ACTION")))
        .collect()
}

fn parse_rule(part: &str) -> Option<Rule> {
    let (place, action) = part.split_once('=')?;
    let (name, hit) = place.split_once('#')?;
    let (hit, and_later) = hit.strip_suffix('+').map_or((hit, false), |hit| (hit, true));
    let hit = hit.parse().ok().filter(|hit| *hit > 0)?;
    let action = match action.split_once(':') {
        None if action == "crash" => Action::Crash,
        Some(("error", code)) => Action::Error(error_code(code)?),
        Some(("torn", bytes)) => Action::Torn(bytes.parse().ok()?),
        _ => return None,
    };
    let name = match name {
        "" => return None,
        "*" => None,
        name => Some(name.to_owned()),
    };
    Some(Rule { name, hit, and_later, action })
}

fn error_code(text: &str) -> Option<i32> {
    let errno = match text {
        "ENOSPC" => Errno::NOSPC,
        "EDQUOT" => Errno::DQUOT,
        "EIO" => Errno::IO,
        "EACCES" => Errno::ACCESS,
        "EPERM" => Errno::PERM,
        "EROFS" => Errno::ROFS,
        "ENOENT" => Errno::NOENT,
        "EEXIST" => Errno::EXIST,
        "EMFILE" => Errno::MFILE,
        "ENOMEM" => Errno::NOMEM,
        "EINTR" => Errno::INTR,
        "EPIPE" => Errno::PIPE,
        "ECONNREFUSED" => Errno::CONNREFUSED,
        "ECONNRESET" => Errno::CONNRESET,
        "ETIMEDOUT" => Errno::TIMEDOUT,
        number => return number.parse().ok().filter(|code| *code > 0),
    };
    Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: Option<&str>, hit: u64, and_later: bool, action: Action) -> Rule {
        Rule { name: name.map(str::to_owned), hit, and_later, action }
    }

    #[test]
    fn rules_are_read() {
        let expected = vec![
            rule(Some("replace.write"), 2, false, Action::Torn(7)),
            rule(None, 17, false, Action::Crash),
            rule(Some("link.switch"), 1, true, Action::Error(Errno::NOSPC.raw_os_error())),
        ];
        assert_eq!(parse("replace.write#2=torn:7, *#17=crash,link.switch#1+=error:ENOSPC"), Ok(expected));
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn a_misspelt_rule_is_an_error() {
        for text in
            ["crash", "a=crash", "a#0=crash", "a#x=crash", "#1=crash", "a#1=boom", "a#1=error:NOPE", "a#1=torn:"]
        {
            assert!(parse(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn the_first_rule_that_fits_is_taken() {
        let rules = parse("a#2=error:EIO,*#4=crash,b#1+=torn:3").unwrap();
        let seen = |name, own, all| action(&rules, name, &Hits { name: own, all });
        assert_eq!(seen("a", 1, 1), None);
        assert_eq!(seen("a", 2, 3), Some(Action::Error(Errno::IO.raw_os_error())));
        assert_eq!(seen("c", 1, 4), Some(Action::Crash));
        assert_eq!(seen("b", 9, 9), Some(Action::Torn(3)));
        assert_eq!(seen("a", 3, 5), None);
    }
}
