//! Finding out whether a process works.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use jecloud_launch::{Environment, Launch, RunLimits};
use jecloud_model::chain;
use jecloud_model::hook::Health;
use jecloud_model::layout::EnvironmentRoot;
use jecloud_model::processes::{ProcessSpec, ProcessStatus};
use jecloud_model::time::Timestamp;

use crate::secrets;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long a process must stay up that says nothing else about itself: `stays-up` in `wit/types.wit`.
const STAYS_UP: Duration = Duration::from_secs(1);

/// The most that is read of an answer: its status line.
const STATUS_LINE: usize = 1024;

/// What an attempt found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It works.
    Healthy,
    /// Not yet: why, as a half-sentence that follows the process's name.
    NotYet(String),
}

/// Looks once.
pub(crate) fn probe(
    spec: &ProcessSpec,
    status: &ProcessStatus,
    user: Option<jecloud_launch::User>,
    root: &EnvironmentRoot,
    now: Timestamp,
) -> Finding {
    match &spec.health {
        Health::StaysUp => match status.started {
            Some(started) if now.since(started) >= STAYS_UP => Finding::Healthy,
            _ => Finding::NotYet("has not been up for a second".to_owned()),
        },
        Health::PortOpen(port) => match address(spec, port) {
            Some(address) => match TcpStream::connect_timeout(&address, ATTEMPT) {
                Ok(_) => Finding::Healthy,
                Err(_) => Finding::NotYet(format!("does not listen on port {}", address.port())),
            },
            None => unknown_port(port),
        },
        Health::Http { port, path } => match address(spec, port) {
            Some(address) => http(address, path),
            None => unknown_port(port),
        },
        Health::Command(argv) => command(spec, argv, user, root),
    }
}

fn address(spec: &ProcessSpec, port: &str) -> Option<SocketAddr> {
    spec.ports.get(port).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
}

fn unknown_port(port: &str) -> Finding {
    Finding::NotYet(format!("has no port named {port}"))
}

/// A GET that is content with any status below 400.
fn http(address: SocketAddr, path: &str) -> Finding {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, ATTEMPT) else {
        return Finding::NotYet(format!("does not listen on port {}", address.port()));
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: jecloud-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let answer = stream
        .set_read_timeout(Some(ATTEMPT))
        .and_then(|()| stream.set_write_timeout(Some(ATTEMPT)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| {
            let mut line = Vec::new();
            let mut byte = [0];
            while line.len() < STATUS_LINE && byte[0] != b'\n' && stream.read(&mut byte)? == 1 {
                line.push(byte[0]);
            }
            Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
        });
    let line = match answer {
        Ok(line) => line,
        Err(_) => return Finding::NotYet(format!("does not answer GET {path} within {} seconds", ATTEMPT.as_secs())),
    };
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
    match status {
        Some(status) if (100..400).contains(&status) => Finding::Healthy,
        Some(status) => Finding::NotYet(format!("answers GET {path} with status {status}")),
        None => Finding::NotYet(format!("does not answer GET {path} in HTTP")),
    }
}

fn command(spec: &ProcessSpec, argv: &[String], user: Option<jecloud_launch::User>, root: &EnvironmentRoot) -> Finding {
    let Some((program, arguments)) = argv.split_first() else {
        return Finding::NotYet("has an empty health command".to_owned());
    };
    // It is asked as its clients ask it.
    let env = match secrets::filled(root, &spec.env) {
        Ok(env) => env,
        Err(error) => return Finding::NotYet(format!("cannot be asked for its health: {}", chain(&error))),
    };
    let launch = Launch::new(program).args(arguments).cwd(&spec.cwd).user(user).env(Environment::exactly(env));
    let limits = RunLimits { timeout: ATTEMPT, keep_bytes: STATUS_LINE };
    match jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {}) {
        Ok(finished) if finished.status.success() => Finding::Healthy,
        Ok(finished) => Finding::NotYet(format!("is not healthy: {program} {}", finished.status)),
        Err(error) => Finding::NotYet(format!("cannot be asked for its health: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::TcpListener;

    use super::*;
    use jecloud_model::hook::Identity;
    use jecloud_model::layout::ServerRoot;
    use jecloud_model::limits::Limits;
    use jecloud_model::processes::ProcessState;

    fn subject(health: Health, port: u16) -> (ProcessSpec, ProcessStatus) {
        let spec = ProcessSpec {
            id: "web.1@1".parse().expect("valid"),
            service: "app".parse().expect("valid"),
            version: "0".repeat(64).parse().expect("valid"),
            argv: vec!["x".to_owned()],
            env: BTreeMap::from([("PATH".to_owned(), jecloud_launch::DEFAULT_PATH.to_owned())]),
            cwd: "/".to_owned(),
            run_as: Identity::App,
            ports: BTreeMap::from([("http".to_owned(), port)]),
            health,
            start_timeout_ms: 1000,
            stop_timeout_ms: 1000,
            limits: Limits::default(),
        };
        let status = ProcessStatus {
            app: "a".parse().expect("valid"),
            environment: "production".parse().expect("valid"),
            id: spec.id.clone(),
            service: spec.service.clone(),
            state: ProcessState::Running,
            pid: Some(1),
            ports: spec.ports.clone(),
            restarts: 0,
            started: Some(Timestamp::from_millisecond(0)),
            last_exit: None,
        };
        (spec, status)
    }

    fn check(health: Health, port: u16, expected: Result<(), &str>) {
        let (spec, status) = subject(health, port);
        let nowhere = ServerRoot::new("/nowhere").environment(&status.app, &status.environment);
        let found = probe(&spec, &status, None, &nowhere, Timestamp::from_millisecond(1000));
        match expected {
            Ok(()) => assert_eq!(found, Finding::Healthy),
            Err(text) => assert_eq!(found, Finding::NotYet(text.replace("PORT", &port.to_string()))),
        }
    }

    /// Answers every connection with these bytes, until it has answered `count`.
    fn answering(answer: &'static str, count: usize) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(count) {
                let mut stream = stream.expect("a connection");
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    #[test]
    fn all_kinds() {
        let http = || Health::Http { port: "http".to_owned(), path: "/up".to_owned() };
        check(Health::StaysUp, 1, Ok(()));
        check(http(), answering("HTTP/1.1 200 OK\r\n\r\n", 1), Ok(()));
        check(http(), answering("HTTP/1.1 302 Found\r\n\r\n", 1), Ok(()));
        check(http(), answering("HTTP/1.1 500 Oh\r\n\r\n", 1), Err("answers GET /up with status 500"));
        check(http(), answering("HTTP/1.1 404 No\r\n\r\n", 1), Err("answers GET /up with status 404"));
        check(http(), answering("SSH-2.0-x\r\n", 1), Err("does not answer GET /up in HTTP"));
        check(http(), answering("", 1), Err("does not answer GET /up in HTTP"));
        check(Health::PortOpen("http".to_owned()), answering("", 1), Ok(()));
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("one").port();
        check(Health::PortOpen("http".to_owned()), closed, Err("does not listen on port PORT"));
        check(http(), closed, Err("does not listen on port PORT"));
        check(Health::PortOpen("other".to_owned()), closed, Err("has no port named other"));
        check(Health::Command(vec!["true".to_owned()]), 1, Ok(()));
        check(Health::Command(vec!["false".to_owned()]), 1, Err("is not healthy: false exited with status 1"));
    }
}
