//! On which ports a process listens: for the person whose app listens on another one than it was given.

use std::collections::BTreeSet;
use std::path::Path;

use jecloud_disk::{durable, tree};

/// The state of a listening socket in `/proc/net/tcp`: `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// The TCP ports on which the processes of a group listen. Empty where that cannot be found out.
pub(crate) fn ports(leader: u32) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = members(leader).iter().flat_map(|pid| sockets(pid)).collect();
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| durable::read_text(table.as_ref()).ok().flatten())
        .flat_map(|table| table.lines().filter_map(|line| listener(line, &sockets)).collect::<Vec<_>>())
        .collect()
}

/// The processes of a group.
fn members(leader: u32) -> Vec<String> {
    let names = tree::list("/proc".as_ref()).unwrap_or_default().into_iter();
    let pids = names.filter_map(|name| name.into_string().ok()).filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let is_member = |pid: &String| {
        let stat = durable::read_text(&Path::new("/proc").join(pid).join("stat")).ok().flatten().unwrap_or_default();
        group(&stat) == Some(leader)
    };
    pids.filter(is_member).collect()
}

/// The group by `/proc/PID/stat`: the third word after the program's name, which is in parentheses and may hold anything.
fn group(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// The numbers of the sockets that a process has open.
fn sockets(pid: &str) -> Vec<String> {
    let directory = Path::new("/proc").join(pid).join("fd");
    let names = tree::list(&directory).unwrap_or_default().into_iter();
    let targets = names.filter_map(|name| jecloud_disk::link::read(&directory.join(name)).ok().flatten());
    targets.filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

/// The port of a line of `/proc/net/tcp`, if it is that of a listener among these sockets.
fn listener(line: &str, sockets: &BTreeSet<String>) -> Option<u16> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, number) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (*state == LISTEN && sockets.contains(*number)).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails where connections count, or sockets of others.
    #[test]
    fn what_a_process_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stat = durable::read_text("/proc/self/stat".as_ref()).unwrap().unwrap();
        let found = ports(group(&stat).unwrap());
        assert!(found.contains(&port), "{found:?}");
        assert!(!found.contains(&connection.local_addr().unwrap().port()), "{found:?}");
        drop((listener, connection));
        assert!(!ports(group(&stat).unwrap()).contains(&port));
        assert_eq!(ports(0), BTreeSet::new());
    }

    #[test]
    fn names_of_programs_may_hold_anything() {
        assert_eq!(group("7 (a) b) S 1 42 42 0 -1"), Some(42));
        assert_eq!(group("7 (a"), None);
    }
}
