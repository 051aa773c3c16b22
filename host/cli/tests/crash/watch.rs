//! Somebody who looks all the time: at what `current` names, and at what clients get.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::app::Subject;

/// Looks until it is dropped; what it does not like is a panic of the test then.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Watch {
    /// Begins.
    pub(crate) fn begin(subject: &Subject) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let versions = subject.place().join("source/versions");
        let url = subject.project.url();
        let front = subject.world.server().join("sys/pids/front.pid");
        let threads = vec![
            looker(&stop, &looks, move || complete(&versions)),
            looker(&stop, &looks, move || answered(&url, &front)),
        ];
        Self { stop, looks, threads }
    }

    /// Ends, and says what was wrong at any instant.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let wrong: Vec<String> = self.threads.into_iter().flat_map(|thread| thread.join().expect("a looker")).collect();
        assert!(wrong.is_empty(), "{} times something was wrong, first: {}", wrong.len(), wrong[0]);
        assert!(self.looks.load(Ordering::Relaxed) > 100, "nobody looked");
    }
}

fn looker(
    stop: &Arc<AtomicBool>,
    looks: &Arc<AtomicU64>,
    look: impl Fn() -> Option<String> + Send + 'static,
) -> JoinHandle<Vec<String>> {
    let (stop, looks) = (stop.clone(), looks.clone());
    std::thread::spawn(move || {
        let mut wrong = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            wrong.extend(look());
            looks.fetch_add(1, Ordering::Relaxed);
            // Ten looks in the time of the shortest step, without taking the machine away from what is tested.
            std::thread::sleep(Duration::from_millis(5));
        }
        wrong
    })
}

/// What is wrong with what `current` names.
fn complete(versions: &Path) -> Option<String> {
    let target = match std::fs::read_link(versions.join("current")) {
        Ok(target) => target,
        Err(error) => return Some(format!("current cannot be read: {error}")),
    };
    let whole = ["server.js", "package.json"].iter().all(|name| versions.join(&target).join(name).is_file());
    (!whole).then(|| format!("current names {}, which is not complete", target.display()))
}

/// What is wrong with an answer; nothing where the front itself was replaced meanwhile.
fn answered(url: &str, front: &PathBuf) -> Option<String> {
    let before = std::fs::read_to_string(front).unwrap_or_default();
    let answer = jecloud_testkit::get(url);
    let same_front = std::fs::read_to_string(front).unwrap_or_default() == before;
    match answer {
        Ok(answer) if answer.status == 200 && answer.body.starts_with("version ") => None,
        Ok(answer) => Some(format!("status {}: {}", answer.status, answer.body)),
        Err(error) if same_front => Some(format!("no answer: {error}")),
        Err(_) => None,
    }
}
