//! The app that is deployed, and a deployment that is disturbed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jecloud_testkit::{Output, Project, World};

/// An app that answers with its number. Starts in some 60 ms.
pub(crate) fn source(number: u64) -> String {
    format!(
        "const server = require('node:http').createServer((_, answer) => answer.end('version {number}'));\n\
         server.listen(process.env.PORT);\n\
         process.on('SIGTERM', () => server.close(() => process.exit(0)));\n"
    )
}

/// A place where version 1 serves.
pub(crate) struct Subject {
    pub(crate) world: World,
    pub(crate) project: Project,
    /// The number that is deployed, or being deployed.
    pub(crate) number: u64,
}

impl Subject {
    /// Deploys version 1, undisturbed.
    pub(crate) fn serving() -> Self {
        let subject = Self::empty();
        subject.project.jecloud(&["deploy"]).ok();
        subject
    }

    /// Version 1, not deployed.
    pub(crate) fn empty() -> Self {
        let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
        let project = world.project_called(
            "crash",
            &[("jecloud.toml", "app = \"crash\"\n"), ("package.json", "{}"), ("server.js", &source(1))],
        );
        Self { world, project, number: 1 }
    }

    /// Writes the next version into the project.
    pub(crate) fn next(&mut self) {
        self.number += 1;
        self.project.write("server.js", &source(self.number));
    }

    /// Runs a command with a fault; what it comes to is the caller's to judge. Returns how many points were hit.
    pub(crate) fn disturbed(&self, fault: &str, args: &[&str]) -> (Output, u64) {
        static COUNTERS: AtomicU64 = AtomicU64::new(0);
        let counter = self.world.directory().join(format!("counter-{}", COUNTERS.fetch_add(1, Ordering::Relaxed)));
        let counter_text = counter.display().to_string();
        let output =
            self.project.jecloud_with(&[("JECLOUD_FAULT", fault), ("JECLOUD_FAULT_COUNTER", &counter_text)], args);
        (output, lines(&counter))
    }

    /// The directory of the environment on the server.
    pub(crate) fn place(&self) -> PathBuf {
        self.world.server().join("crash/production")
    }

    /// What a person does after a crash: `fwd`, and `deploy` where nothing was recorded. Both must succeed.
    pub(crate) fn recover(&self, context: &str) {
        let forward = self.project.jecloud(&["fwd"]);
        assert!(forward.status == 0, "{context}: fwd: {}", forward.said());
        let again = self.project.jecloud(&["deploy"]);
        assert!(again.status == 0, "{context}: deploy: {}", again.said());
    }
}

fn lines(path: &std::path::Path) -> u64 {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count() as u64)
}
