//! What runs: from the Procfile, the start script, or a file with a usual name.

use jecloud_sdk::testing::ContextBuilder;
use jecloud_sdk::{Plan, Process};

use super::{PLAIN, bare, debian_12, outline, package_json, plan, with_node_20};

#[track_caller]
fn check(context: ContextBuilder, expected: &str) -> Plan {
    let plan = plan(&context.build()).unwrap();
    assert_eq!(outline(&plan), expected);
    plan
}

fn env<'a>(process: &'a Process, name: &str) -> Option<&'a str> {
    process.env.get(name).map(String::as_str)
}

#[test]
fn a_start_script() {
    let plan = check(
        with_node_20()
            .file("package.json", package_json(r#""scripts": {"start": "node --enable-source-maps server.js"}"#)),
        "process web (port-open http): [node] [--enable-source-maps] [server.js]\nroute / web:http",
    );
    let web = &plan.processes[0];
    for (name, value) in [
        ("PORT", "{port:http}"),
        ("NODE_ENV", "production"),
        ("JECLOUD_APP", "{app}"),
        ("JECLOUD_ENV", "{environment}"),
        ("JECLOUD_VERSION", "{version}"),
        ("PATH", "{source}/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        // As npm would set them.
        ("npm_package_name", "guestbook"),
        ("npm_package_version", "1.2.3"),
        ("npm_lifecycle_event", "start"),
    ] {
        assert_eq!(env(web, name), Some(value), "{name}");
    }
    assert_eq!((web.ports.as_slice(), web.replicas, web.beside), (["http".to_owned()].as_slice(), 1, true));
    assert_eq!((web.start_timeout_ms, web.stop_timeout_ms), (60_000, 30_000));
}

#[test]
fn a_procfile() {
    let procfile = "# processes\nweb: node web.js --port $PORT\nworker: node worker.js\n\nrelease: node migrate.js\n\
                    clock_2: bundle exec clock";
    let plan = check(
        with_node_20().file("package.json", PLAIN).file("Procfile", procfile),
        "release release: node migrate.js\n\
         process web (port-open http): [node] [web.js] [--port] [{port:http}]\n\
         process worker (stays-up): [node] [worker.js]\n\
         process clock_2 (stays-up): [sh] [-c] [exec bundle exec clock]\n\
         route / web:http",
    );
    assert_eq!(env(&plan.processes[1], "PORT"), None);
    assert_eq!(env(&plan.processes[1], "NODE_ENV"), Some("production"));
    assert_eq!(plan.release[0].env["JECLOUD_APP"], "{app}");
}

#[test]
fn files_with_usual_names() {
    let note = |file: &str| {
        vec![format!(
            "no Procfile and no start script: `web` runs `node {file}`. To choose, write a Procfile with `web: COMMAND`."
        )]
    };
    for (files, main, runs) in [
        (["server.js", "index.js"].as_slice(), None, "server.js"),
        (&["index.js", "app.js"], None, "index.js"),
        (&["app.js"], None, "app.js"),
        (&["index.js", "app.js"], Some("app.js"), "app.js"),
        (&["index.js"], Some("./dist/main.js"), "dist/main.js"),
        (&[], Some("dist/main.js"), "dist/main.js"),
        // `npm init` writes `index.js` whether there is one or not.
        (&["app.js"], Some("index.js"), "app.js"),
        // As npm does it.
        (&["server.js"], Some("lib/index.js"), "server.js"),
    ] {
        let main = main.map_or("{}".to_owned(), |main: &str| format!("{{\"main\": \"{main}\"}}"));
        let mut context = with_node_20().current_version("aa").file("package.json", main);
        for file in files {
            context = context.file(file, "");
        }
        let plan = check(context, &format!("process web (port-open http): [node] [{runs}]\nroute / web:http"));
        assert_eq!(plan.notes.iter().filter(|note| note.contains("Procfile")).cloned().collect::<Vec<_>>(), note(runs));
    }
    // Without any package.json.
    check(with_node_20().file("index.js", ""), "process web (port-open http): [node] [index.js]\nroute / web:http");
}

/// A package manager that only waits for the script costs memory and a second of every start.
#[test]
fn scripts_run_without_a_package_manager_between() {
    for (scripts, procfile, expected) in [
        (r#""start": "node a.js""#, "web: npm start", "[node] [a.js]"),
        (r#""start": "node a.js""#, "web: yarn start", "[node] [a.js]"),
        (r#""serve": "node a.js""#, "web: npm run serve", "[node] [a.js]"),
        (r#""serve": "node a.js""#, "web: yarn serve", "[node] [a.js]"),
        (r#""serve": "node a.js""#, "web: pnpm run serve", "[node] [a.js]"),
        (
            r#""start": "npm run serve", "serve": "next start -p $PORT""#,
            "web: npm start",
            "[sh] [-c] [exec next start -p '{port:http}']",
        ),
        (r#""start": "a && b""#, "web: npm start", "[sh] [-c] [a && b]"),
        // It does more than that here: what comes before or after is part of the script.
        (r#""start": "node a.js", "prestart": "node b.js""#, "web: npm start", "[sh] [-c] [exec npm start]"),
        (r#""start": "node a.js", "poststart": "node b.js""#, "web: npm start", "[sh] [-c] [exec npm start]"),
        (r#""start": "node a.js""#, "web: npm start -- --verbose", "[sh] [-c] [exec npm start -- --verbose]"),
        (r#""start": "node a.js""#, "web: npx serve", "[sh] [-c] [exec npx serve]"),
    ] {
        let manifest = package_json(&format!(r#""scripts": {{{scripts}}}"#));
        check(
            with_node_20().file("package.json", manifest).file("Procfile", procfile),
            &format!("process web (port-open http): {expected}\nroute / web:http"),
        );
    }
}

#[test]
fn variables_before_a_command() {
    let plan = check(
        with_node_20()
            .file("package.json", package_json(r#""scripts": {"start": "NODE_ENV=staging B=2 node a.js"}"#))
            .file("Procfile", "web: A='{1}' B=1 npm start"),
        "process web (port-open http): [node] [a.js]\nroute / web:http",
    );
    let web = &plan.processes[0];
    assert_eq!(env(web, "A"), Some("{{1}"));
    assert_eq!(env(web, "B"), Some("2"));
    assert_eq!(env(web, "NODE_ENV"), Some("staging"));
}

#[test]
fn the_node_that_was_chosen_runs_it() {
    let plan = check(
        bare().pin("node", "22.11.0").file("package.json", PLAIN).file("Procfile", "web: node a.js\nworker: a\n"),
        "process web (port-open http): [{package:node}/bin/node] [a.js]\n\
         process worker (stays-up): [sh] [-c] [exec a]\n\
         route / web:http",
    );
    let path = env(&plan.processes[1], "PATH").unwrap();
    assert!(path.starts_with("{source}/node_modules/.bin:{package:node}/bin:/usr/local/sbin:"), "{path}");
    // Before its package is installed, as `jecloud plan` asks.
    check(
        debian_12().file("package.json", PLAIN),
        "process web (port-open http): [node] [server.js]\nroute / web:http",
    );
    // One that is found in PATH, but not where a system's programs are.
    let context = bare().fact("program:node", "/opt/{n}/bin/node v22.1.0").file("package.json", PLAIN);
    let plan = plan_of(context);
    let path = env(&plan.processes[0], "PATH").unwrap();
    assert!(path.starts_with("{source}/node_modules/.bin:/opt/{{n}/bin:/usr/local/sbin:"), "{path}");
}

fn plan_of(context: ContextBuilder) -> Plan {
    plan(&context.build()).unwrap()
}

/// Once, at the first deployment, a person learns what was chosen for them.
#[test]
fn the_choice_of_node_is_told_once() {
    let context = || with_node_20().file("package.json", PLAIN);
    assert_eq!(
        plan_of(context()).notes,
        ["nothing asks for a version of Node.js: Node.js 20.20.2 of this server runs the app. To choose, write \
          `version = \"20\"` below [services.node] in jecloud.toml."]
    );
    assert!(plan_of(context().current_version("aa")).notes.is_empty());
    assert!(plan_of(context().file(".nvmrc", "20")).notes.is_empty());
}
