//! Several servers prepare at the same time, and what they have prepared waits for the one that runs release commands.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use jecloud_testkit::{Project, Signal, World, eventually};

use crate::{network, says};

/// How long all of them may take for what comes next.
const SOON: Duration = Duration::from_secs(110);

/// Comes to where the test waits, says what it is about to do (its first argument), and does it when it is let go.
const COME: &str = "
const socket = require('node:net').connect(PORT, 'HOST', () => socket.end(process.argv[2]));
socket.on('error', (error) => { console.error(error); process.exit(1); });
socket.on('close', () => process.exit(0)).resume();
setTimeout(() => process.exit(1), 110000);
";

/// Says that it has started and serves.
const SERVER: &str = "
require('node:net').connect(PORT, 'HOST').on('error', () => {}).end('start');
require('node:http').createServer((_, answer) => answer.end('one')).listen(process.env.PORT);
";

/// Where the commands of all servers come to.
struct Meeting(TcpListener);

impl Meeting {
    /// Who came: from which address, to do what. It goes on when the connection is dropped.
    fn next(&self) -> Option<(String, String, TcpStream)> {
        let (mut stream, from) = self.0.accept().ok()?;
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        let mut word = String::new();
        stream.read_to_string(&mut word).expect("a word");
        Some((from.ip().to_string(), word, stream))
    }

    /// So many that came to do this, once all of them are there: the addresses, sorted, and what holds them up.
    #[track_caller]
    fn all(&self, count: usize, what: &str) -> (Vec<String>, Vec<TcpStream>) {
        let mut came = Vec::new();
        eventually(SOON, &format!("{count} times {what}"), || {
            if let Some((from, word, stream)) = self.next() {
                assert_eq!(word, what, "{from}");
                came.push((from, stream));
            }
            (came.len() == count).then_some(())
        });
        came.sort_by(|a, b| a.0.cmp(&b.0));
        came.into_iter().unzip()
    }
}

/// In which state each server deploys something.
fn states(project: &Project) -> Vec<String> {
    let servers = project.status()["servers"].as_array().expect("servers").clone();
    servers.iter().map(|server| server["deployment"]["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// No server's build ends before all have begun with it; while the release command runs on the first one, the other one
/// has prepared and nothing has started there; and whoever deployed is killed then. The next one lets it go on.
///
/// Fails where those that follow are told of the release when the first one has prepared (its build waits for them), and
/// where a server does not wait before it starts what it has prepared.
#[test]
fn all_build_at_the_same_time_and_nothing_starts_before_the_release_command_has_run() {
    let Some((network, hosts)) = network(2) else { return };
    let meeting = Meeting(TcpListener::bind((network.address(), 0)).expect("a port"));
    meeting.0.set_nonblocking(true).expect("a socket");
    let port = meeting.0.local_addr().expect("an address").port();
    let here = |script: &str| script.replace("PORT,", &format!("{port},")).replace("HOST", &network.address());
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = crate::project(&world, &network, &hosts, "");
    project.write("package.json", r#"{"scripts": {"build": "node come.js build"}}"#);
    project.write("Procfile", "web: node server.js\nrelease: node come.js release\n");
    project.write("come.js", &here(COME));
    project.write("server.js", &here(SERVER));

    let deploy = project.spawn(&["deploy"]);
    let (builders, held) = meeting.all(2, "build");
    assert_eq!(builders, hosts);
    drop(held);
    let (migrates, held) = meeting.all(1, "release");
    assert_eq!(migrates, hosts[..1]);
    eventually(SOON, "the other one waits", || (states(&project) == ["preparing", "prepared"]).then_some(()));
    assert!(meeting.next().is_none(), "something has started");
    deploy.signal(Signal::KILL);
    assert_eq!(deploy.wait().status, 128 + 9);
    drop(held);
    let (started, _) = meeting.all(1, "start");
    assert_eq!(started, hosts[..1]);
    eventually(SOON, "nobody lets the other one go on", || (states(&project) == ["ready", "prepared"]).then_some(()));
    project.jecloud(&["fwd"]).ok();
    assert_eq!(meeting.all(1, "start").0, hosts[1..]);
    hosts.iter().for_each(|host| says(host, "one"));
    assert!(meeting.next().is_none(), "something was done twice");
}
