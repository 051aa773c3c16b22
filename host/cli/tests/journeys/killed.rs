//! SIGKILL for everything that runs.

use jecloud_testkit::{Project, World, eventually, get, is_alive, kill};

use crate::{SOON, app, world};

#[track_caller]
fn answers_again(project: &Project, url: &str) {
    eventually(SOON, "the app answers", || {
        let response = get(url).ok()?;
        (response.status == 200 && response.body == "good").then_some(())
    });
    project.jecloud(&["ps"]).ok().says("running");
}

/// The process of this name. A deployment does not wait for the front: its sockets are open before it runs.
#[track_caller]
fn pid_of(world: &World, who: &str) -> u32 {
    eventually(SOON, &format!("{who} runs"), || world.pid_of(who))
}

#[test]
fn a_process_that_is_killed_is_started_again() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let (url, pid) = (project.url(), project.pid("web.1"));
    kill(pid);
    answers_again(&project, &url);
    let status = eventually(SOON, "web.1 runs again", || {
        let process = project.status()["processes"][0].clone();
        (process["state"] == "running").then_some(process)
    });
    assert_eq!(status["restarts"], 1);
    assert_ne!(status["pid"], pid);
}

/// The process manager and the front watch over each other. Fails where the new process manager does not take over
/// what runs: the app's process would be another one.
#[test]
fn the_process_manager_and_the_front_come_back_and_the_app_never_notices() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let (url, app) = (project.url(), project.pid("web.1"));
    for who in ["supervisor", "front", "supervisor"] {
        let old = pid_of(&world, who);
        kill(old);
        eventually(SOON, &format!("{who} comes back"), || world.pid_of(who).filter(|new| *new != old));
        answers_again(&project, &url);
        assert_eq!(project.pid("web.1"), app, "after the death of the {who}");
    }
    // What is alive is not only there but works.
    project.write("server.js", &crate::answers("better"));
    project.jecloud(&["deploy"]).ok();
    assert_eq!(world.get(&url).1, "better");
}

#[test]
fn when_both_are_killed_at_once_the_next_command_brings_everything_back() {
    let world = world();
    let project = app(&world, "app", "good");
    project.jecloud(&["deploy"]).ok();
    let (url, app) = (project.url(), project.pid("web.1"));
    let both = ["supervisor", "front"].map(|who| pid_of(&world, who));
    // Stopped first, so that none of them has the time to bring the other one back.
    for signal in ["-STOP", "-KILL"] {
        world.run("kill", &[signal, &both[0].to_string(), &both[1].to_string()]).ok();
    }
    eventually(SOON, "both end", || both.iter().all(|&pid| !is_alive(pid)).then_some(()));
    assert!(is_alive(app), "the app survives both");
    project.jecloud(&["status"]).ok().says("The process manager does not run.").says("jecloud fwd");
    project.jecloud(&["fwd"]).ok();
    answers_again(&project, &url);
    assert_eq!(project.pid("web.1"), app);
}
