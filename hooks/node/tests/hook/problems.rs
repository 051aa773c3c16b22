//! What a person is told when it cannot work: what is wrong, in which file and line, and what to write.

use jecloud_sdk::testing::ContextBuilder;

use super::{PLAIN, bare, package_json, packages, plan, with_node_20};

/// Both calls must say the same: the first one that fails is the one that is shown.
#[track_caller]
fn check(context: ContextBuilder, message: &str, hint: &str) {
    let context = context.build();
    for problem in [packages(&context).unwrap_err(), plan(&context).unwrap_err()] {
        assert_eq!((problem.message.as_str(), problem.hint.as_str()), (message, hint));
    }
}

fn app(manifest: &str) -> ContextBuilder {
    with_node_20().file("package.json", manifest)
}

#[test]
fn broken_package_json() {
    check(
        app("{\n  \"name\": \"guestbook\"\n  \"version\": \"1.0.0\"\n}\n"),
        "package.json is not JSON: line 3, column 3: expected `,` or `}`",
        "the line is: \"version\": \"1.0.0\"",
    );
    check(
        app("{\n  \"scripts\": {\n    \"start\": \"node .\",\n  }\n}"),
        "package.json is not JSON: line 4, column 3: trailing comma",
        "the line is: }",
    );
    check(app("{"), "package.json is not JSON: line 1, column 1: EOF while parsing an object", "the line is: {");
    check(app(" \n"), "package.json is empty", "`npm init` writes one");
    check(app("[]"), "package.json is not a JSON object", "it begins with { and ends with }");
    check(app(r#"{"scripts": "node ."}"#), "`scripts` in package.json is not an object: \"node .\"", "");
    check(
        app(r#"{"scripts": {"start": ["node"]}}"#),
        "`scripts.start` in package.json is not a string: [\"node\"]",
        "",
    );
    check(
        app(r#"{"dependencies": ["express"]}"#),
        "`dependencies` in package.json is not an object: [\"express\"]",
        "",
    );
    check(app(r#"{"engines": {"node": 22}}"#), "`engines.node` in package.json is not a string: 22", "");
    check(
        with_node_20().file("package.json", b"{\"name\": \"\xff\"}"),
        "package.json is not UTF-8 text: byte 11 is wrong",
        "",
    );
    // A byte order mark is no error, as for npm.
    assert!(plan(&app(&format!("\u{feff}{PLAIN}")).build()).is_ok());
}

#[test]
fn nothing_to_run() {
    const HINT: &str = "add a file `Procfile` with the line `web: node YOUR-FILE.js`";
    check(with_node_20(), "there is no package.json, and no server.js, index.js, app.js", HINT);
    check(
        app("{}"),
        "nothing says how the app is started: there is no Procfile, no `start` among the scripts of package.json, and \
         no server.js, index.js, app.js",
        HINT,
    );
    check(
        app(r#"{"main": "index.js"}"#),
        "nothing says how the app is started: there is no Procfile, no `start` among the scripts of package.json, and \
         no server.js, index.js, app.js",
        HINT,
    );
}

#[test]
fn procfile() {
    let lines = |text: &str| app(PLAIN).file("Procfile", text);
    check(
        lines("web: node .\nworker node worker.js\n"),
        "Procfile, line 2: `worker node worker.js` has no colon",
        "write `NAME: COMMAND`, as `web: node server.js`",
    );
    check(
        lines("# ours\n\nWeb: node .\n"),
        "Procfile, line 3: `Web` cannot be the name of a process",
        "use a lower-case letter, then up to 30 lower-case letters, digits, hyphens and underscores",
    );
    check(lines("web:"), "Procfile, line 1: `web` has no command", "write it after the colon");
    check(lines("web: node .\nweb: node ."), "Procfile, line 2: `web` is in line 1 already", "give it another name");
    check(
        lines("# nothing\n"),
        "Procfile names no process",
        "write `web: node server.js`, or remove the file to have the start script of package.json run",
    );
    check(
        lines("web: node 'server.js"),
        "Procfile, line 1: a single quote is not closed",
        "the command is: node 'server.js",
    );
    check(
        lines("web: npm run strat"),
        "Procfile, line 1: package.json has no script `strat`",
        "add \"strat\" to \"scripts\" in package.json, or change the Procfile",
    );
}

#[test]
fn scripts() {
    check(
        app(r#"{"scripts": {"start": "npm run serve", "serve": "npm start"}}"#),
        "the scripts that `npm start` runs call each other in a circle",
        "",
    );
    check(
        app(PLAIN).setting("build", "bundle"),
        "`build` in jecloud.toml names the script `bundle`, which package.json does not have",
        "its scripts are: start",
    );
}

#[test]
fn versions_of_node() {
    let engines = |range: &str| app(&package_json(&format!(r#""engines": {{"node": "{range}"}}"#)));
    const OVERRULE: &str = "change `engines.node` in package.json, for example to `24`, or overrule it with `version` \
                            below [services.node] in jecloud.toml";
    check(
        engines(">=99"),
        "no version of Node.js satisfies `>=99`, which `engines.node` in package.json asks for",
        OVERRULE,
    );
    check(
        engines(">=22 <20"),
        "no version of Node.js satisfies `>=22 <20`, which `engines.node` in package.json asks for",
        OVERRULE,
    );
    const FORMS: &str = "write a version such as `24` or `24.1.0`, a range, or `lts/*`";
    check(
        app(PLAIN).file(".nvmrc", "lts/unicorn"),
        ".nvmrc asks for Node.js `lts/unicorn`, which is no version, range or known alias",
        FORMS,
    );
    check(
        app(PLAIN).setting("version", "twenty"),
        "`version` in jecloud.toml asks for Node.js `twenty`, which is no version, range or known alias",
        FORMS,
    );
    check(
        bare().fact("arch", "riscv64").file("package.json", PLAIN).file(".nvmrc", "22"),
        "Node.js `22`, which .nvmrc asks for, is not on this server (it has no Node.js), and there is no official \
         archive of it for linux on `riscv64`",
        "install it on the server, or change .nvmrc, for example to `24`, or overrule it with `version` below \
         [services.node] in jecloud.toml",
    );
}

#[test]
fn package_managers() {
    check(
        app(r#"{"packageManager": "bun@1.1.0", "scripts": {"start": "node ."}}"#),
        "`packageManager` in package.json is `bun@1.1.0`, which is no package manager that is known here",
        "write `npm`, `yarn` or `pnpm`, with a version if wanted: `pnpm@9.15.0`",
    );
    check(
        app(PLAIN)
            .file("yarn.lock", "")
            .file(".yarnrc.yml", "yarnPath: ../yarn.cjs\n")
            .setting("package_manager", "yarn@4.1.0"),
        "`yarnPath` in .yarnrc.yml is `../yarn.cjs`, which is not a file of the app",
        "`yarn set version stable` writes one below .yarn/releases",
    );
}
