//! The system users that servers in temporary directories have made, where the tests run as root.

#![expect(clippy::disallowed_methods, reason = "tests look at what JeCloud leaves on the machine, and remove it")]

use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::command::Typed;
use crate::eventually::pause;
use crate::world::base_environment;

/// How long other tests may keep the list of users locked.
const DEADLINE: Duration = Duration::from_secs(30);

/// A user that JeCloud made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeUser {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// The server's directory.
    pub root: String,
}

/// The users that JeCloud made for the servers below a directory, sorted by name.
pub fn made_below(directory: &Path) -> Vec<MadeUser> {
    let mut users = all();
    users.retain(|user| Path::new(&user.root).starts_with(directory));
    users
}

fn all() -> Vec<MadeUser> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users: Vec<MadeUser> = passwd.lines().filter_map(parse).collect();
    users.sort_by(|a, b| a.name.cmp(&b.name));
    users
}

/// The line of a user that is known for ours: its comment is `JeCloud APP ENVIRONMENT ROOT`.
fn parse(line: &str) -> Option<MadeUser> {
    let fields: Vec<&str> = line.split(':').collect();
    let words: Vec<&str> = fields.get(4)?.split(' ').collect();
    let ["JeCloud", _, _, root] = words[..] else { return None };
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(MadeUser { name: fields[0].to_owned(), uid: number(2)?, gid: number(3)?, root: root.to_owned() })
}

/// Removes the users of the servers below a directory, of which nothing runs any more.
pub(crate) fn remove_below(directory: &Path) {
    made_below(directory).iter().for_each(remove);
}

/// Removes what tests that were killed have left: there is a limit to how many users a machine can have.
pub(crate) fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let is_gone = |user: &&MadeUser| user.root.starts_with("/tmp/") && !Path::new(&user.root).exists();
        all().iter().filter(is_gone).for_each(remove);
    });
}

fn remove(user: &MadeUser) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let args = ["--force", "--", &user.name];
        let removed = Typed::new("userdel", &args, Path::new("/"), base_environment(Path::new("/"))).run();
        // Another test may have been faster.
        if removed.status == 0 || !all().contains(user) {
            return;
        }
        if !removed.stderr.contains("lock") || Instant::now() > deadline {
            eprintln!("the user {} cannot be removed: {}", user.name, removed.said());
            return;
        }
        pause();
    }
}
