//! What the tests start in place of `jecloud`: the process manager as it is, a front that answers every connection with
//! its own number, and a roll-forward that leaves a trace.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a stand-in for other crates, used by tests only"
)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_model::layout::ServerRoot;
use jecloud_supervisor::{Settings, SupervisorError, watch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["supervisor", "--root", root] => supervisor(ServerRoot::new(*root)),
        ["front", "--root", root] => front(&ServerRoot::new(*root)),
        ["update-server", "rollforward", "--root", root, "--quiet"] => rollforward(Path::new(root)),
        other => Err(format!("not understood: {other:?}").into()),
    }
}

/// The script that started us, which knows the settings of the test.
fn exe() -> PathBuf {
    std::env::var_os("JECLOUD_TEST_EXE").map(PathBuf::from).unwrap_or_default()
}

fn setting(name: &str) -> Option<String> {
    std::env::var(format!("JECLOUD_TEST_{name}")).ok()
}

fn milliseconds(name: &str) -> Option<Duration> {
    setting(name)?.parse().ok().map(Duration::from_millis)
}

fn supervisor(root: ServerRoot) -> Result<(), Box<dyn std::error::Error>> {
    let default = Settings::default();
    let settings = Settings {
        listen: setting("LISTEN").map(|address| vec![address.parse().expect("an address")]),
        front: setting("FRONT").is_some(),
        tick: milliseconds("TICK"),
        idle_exit: milliseconds("IDLE").unwrap_or(default.idle_exit),
    };
    match jecloud_supervisor::run(root, exe(), settings) {
        // Two that are started at once are no mistake.
        Err(SupervisorError::AlreadyRunning { .. }) => Ok(()),
        other => Ok(other?),
    }
}

fn front(root: &ServerRoot) -> Result<(), Box<dyn std::error::Error>> {
    let count: i32 = std::env::var("LISTEN_FDS")?.parse()?;
    let sockets: Vec<OwnedFd> = (3..3 + count)
        .map(|number| {
            #[expect(unsafe_code, reason = "the sockets are handed over by number")]
            // SAFETY: handed over to this process, and taken once.
            unsafe {
                OwnedFd::from_raw_fd(number)
            }
        })
        .collect();
    let _lock = Lock::acquire(&root.pid_file("front"), Instant::now() + Duration::from_secs(5))?;
    println!("front {} listens", std::process::id());
    let mut threads = Vec::new();
    for socket in &sockets {
        let listener = TcpListener::from(socket.try_clone()?);
        threads.push(std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = writeln!(&client, "{}", std::process::id());
            }
        }));
    }
    if setting("NO_REVIVE").is_none() {
        watch::revive(root, &exe(), &sockets, &AtomicBool::new(false));
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn rollforward(root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let trace = |text: &str| -> std::io::Result<()> {
        writeln!(OpenOptions::new().create(true).append(true).open(root.join("ticks"))?, "{text}")
    };
    let running = root.join("tick-is-running");
    if OpenOptions::new().write(true).create_new(true).open(&running).is_err() {
        trace("a second one at once")?;
    }
    trace("tick")?;
    while root.join("tick-must-wait").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_file(running)?;
    println!("the roll-forward says something");
    Ok(())
}
