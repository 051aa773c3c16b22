//! Limits of memory and processor time, as a person gives them.

#![expect(clippy::disallowed_methods, reason = "what the process manager is told is the point")]

use serde_json::{Value, json};

use crate::{app, production, world};

/// They arrive at the process manager, of an environment its own; a change starts the process anew; where nobody keeps
/// them, that is said wherever a person looks. Fails where a release, or what is prepared of it, is made without them,
/// and without `wishes::not_enforced`.
#[test]
fn limits_reach_the_process_manager_and_that_nobody_keeps_them_is_said() {
    const SAID: &str = "limits are not enforced here";
    let world = world();
    let project = app(&world, "app", "good");
    let limits = || -> Value {
        let text = std::fs::read(production(&project).join("processes.json")).expect("what is wanted");
        let table: Value = serde_json::from_slice(&text).expect("JSON");
        table["processes"][0]["limits"].clone()
    };
    project.jecloud(&["deploy"]).ok().does_not_say(SAID);
    project.jecloud(&["status"]).ok().does_not_say(SAID);
    assert_eq!(limits(), Value::Null);
    let before = project.pid("web.1");

    let config = "app = \"app\"\n[processes.web]\nmemory = \"512M\"\ncpu = 1.5\n\
                  [environments.production]\nprocesses.web.cpu = 0.5\n";
    project.write("jecloud.toml", config);
    project.jecloud(&["plan"]).ok().says("with at most memory 512M, cpu 0.5").says(SAID);
    project.jecloud(&["deploy"]).ok().says(SAID).says("web (memory 512M, cpu 0.5)");
    assert_eq!(limits(), json!({"memory_bytes": 512 << 20, "cpu_millis": 500}));
    assert_ne!(project.pid("web.1"), before);
    project.jecloud(&["status"]).ok().says(SAID);
    let log = std::fs::read_to_string(world.server().join("sys/logs/supervisor.log")).expect("a log");
    assert_eq!(log.matches("which are not enforced here").count(), 1, "{log}");
    project.jecloud(&["deploy"]).ok().says("nothing changed since r2");
}
