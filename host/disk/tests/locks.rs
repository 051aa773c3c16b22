//! Locks between processes.

mod child;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use jecloud_disk::DiskError;
use jecloud_disk::lock::{Lock, holder};

/// Starts a process that holds the lock until its input ends, and waits until it does.
fn start_holder(path: &Path) -> std::process::Child {
    let mut child = child::start("hold", path);
    let output = BufReader::new(child.stdout.as_mut().unwrap());
    let held = output.lines().map_while(Result::ok).any(|line| line == "held");
    assert!(held, "the child ends without holding the lock");
    child
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(30)
}

#[test]
fn one_process_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollforward.pid");
    let mut other = start_holder(&path);
    assert!(Lock::try_acquire(&path).unwrap().is_none());
    assert_eq!(holder(&path).unwrap(), Some(other.id()));
    let error = Lock::acquire(&path, soon()).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is locked by process {}", path.display(), other.id()));
    assert!(error.is_locked());

    // The holder ends as it should, while we wait.
    drop(other.stdin.take());
    let lock = Lock::acquire(&path, Instant::now() + Duration::from_secs(20)).unwrap();
    assert!(other.wait().unwrap().success());
    assert_eq!(holder(&path).unwrap(), Some(std::process::id()));
    drop(lock);
    assert_eq!(holder(&path).unwrap(), None);
    assert!(path.exists(), "the file is never unlinked");
}

#[test]
fn it_dies_with_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut other = start_holder(&path);
    other.kill().unwrap();
    other.wait().unwrap();
    // The file with the dead one's number is still there, and says nothing.
    assert_eq!(holder(&path).unwrap(), None);
    assert!(Lock::try_acquire(&path).unwrap().is_some());
}

/// Fails without `O_CLOEXEC`: the child keeps the lock when its parent has let it go.
#[test]
fn children_do_not_hold_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::try_acquire(&path).unwrap().unwrap();
    let mut bystander = start_holder(&dir.path().join("another"));
    // Closed rather than unlocked: what counts is who else has the file open.
    std::mem::forget(lock);
    let ours = format!("/proc/{}/fd", bystander.id());
    let open: Vec<_> = std::fs::read_dir(ours).unwrap().flatten().filter_map(|fd| fd.path().read_link().ok()).collect();
    assert!(!open.contains(&path), "{open:?}");
    assert!(open.contains(&dir.path().join("another")), "{open:?}");
    drop(bystander.stdin.take());
    bystander.wait().unwrap();
}

/// Fails when `try_acquire` takes any failure for a holder: those who look take a shared lock for a moment.
#[test]
fn who_looks_does_not_get_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    drop(Lock::try_acquire(&path).unwrap());
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| (0..2000).all(|_| Lock::try_acquire(&path).unwrap().is_some()));
        while !taker.is_finished() {
            holder(&path).unwrap();
        }
        assert!(taker.join().unwrap());
    });
}

#[test]
fn nobody_holds_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(holder(&dir.path().join("nothing")).unwrap(), None);
    assert!(Lock::try_acquire(&dir.path().join("nowhere/lock")).unwrap_err().is_missing());
}

/// A shorter number over a longer one.
#[test]
fn the_number_in_the_file_is_the_holders() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    jecloud_disk::durable::replace(&path, b"12345678901234567890\n", 0o644).unwrap();
    let _lock = Lock::try_acquire(&path).unwrap().unwrap();
    let text = jecloud_disk::durable::read_text(&path).unwrap().unwrap();
    assert_eq!(text, format!("{}\n", std::process::id()));
}

fn hold(path: &Path) -> Result<(), DiskError> {
    let _lock = Lock::acquire(path, Instant::now() + Duration::from_secs(20))?;
    let mut out = std::io::stdout();
    // The test harness may have begun a line.
    writeln!(out, "\nheld").and_then(|()| out.flush()).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    Ok(())
}

/// Not a test: the other end of [`start_holder`].
#[test]
fn child() {
    if let Some((_, path)) = child::job() {
        child::end(hold(&path));
    }
}
