//! JeCloud's own processes, killed under load.

use std::time::{Duration, Instant};

use jecloud_testkit::{World, eventually, get, kill};

use crate::clients::Clients;
use crate::deployed;

/// Nobody notices. Fails when processes are tied to the process manager: by pipes, or by being ended with it.
#[test]
fn the_process_manager() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "");
    let app = project.pid("web.1");
    let clients = Clients::begin(&project.url());
    for _ in 0..3 {
        let pid = world.pid_of("supervisor").expect("it runs");
        kill(pid);
        eventually(Duration::from_secs(15), "another process manager runs", || {
            world.pid_of("supervisor").filter(|other| *other != pid)
        });
    }
    clients.end(0);
    assert_eq!(project.pid("web.1"), app, "the app was not touched");
}

/// Requests in flight are lost with it, but no connection is refused: the sockets stay open. Within two seconds the
/// next front answers.
///
/// Fails when only the front holds the listening sockets.
#[test]
fn the_front() {
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = deployed(&world, "");
    let url = project.url();
    for _ in 0..3 {
        let pid = world.pid_of("front").expect("it runs");
        kill(pid);
        let begin = Instant::now();
        // Not refused: it waits in the kernel until there is somebody to answer.
        let answer = get(&url).expect("an answer");
        assert_eq!(answer.body, "version 1");
        assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    }
}
