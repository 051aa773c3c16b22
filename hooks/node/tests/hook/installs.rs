//! What makes a version ready: dependencies, build, and what is not needed any more.

use jecloud_sdk::testing::ContextBuilder;
use jecloud_sdk::{Command, Plan};

use super::{bare, outline, package_json, plan, with_node_20};

const NPM_LOCK: &str = r#"{"lockfileVersion": 3}"#;
const DEPENDENCIES: &str = r#""dependencies": {"express": "5"}"#;
const START: &str = r#""scripts": {"start": "node a.js"}"#;
const WEB: &str = "process web (port-open http): [node] [a.js]\nroute / web:http";

#[track_caller]
fn check(context: ContextBuilder, builds: &[&str]) -> Plan {
    let plan = plan(&context.build()).unwrap();
    assert_eq!(outline(&plan), [builds, &[WEB]].concat().join("\n"));
    plan
}

fn app(fields: &[&str]) -> ContextBuilder {
    with_node_20().current_version("aa").file("package.json", package_json(&fields.join(", ")))
}

fn install(plan: &Plan) -> &Command {
    plan.build.iter().find(|command| command.id == "install").expect("an installation")
}

#[test]
fn npm() {
    check(app(&[START]), &[]);
    // A lock file of nothing.
    check(app(&[START]).file("package-lock.json", NPM_LOCK), &[]);
    let plan = check(
        app(&[START, DEPENDENCIES]).file("package-lock.json", NPM_LOCK),
        &["build install once->node_modules: npm ci --omit=dev"],
    );
    let command = install(&plan);
    assert_eq!(command.title, "install dependencies by package-lock.json");
    for (name, value) in [
        ("npm_config_cache", "{data}/npm-cache"),
        ("npm_config_update_notifier", "false"),
        ("npm_config_fund", "false"),
        ("npm_config_audit", "false"),
        ("NODE_ENV", "production"),
        ("CI", "true"),
    ] {
        assert_eq!(command.env[name], value, "{name}");
    }
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    let plan = check(
        app(&[START, DEPENDENCIES]),
        &["build install once->node_modules: npm install --no-package-lock --omit=dev"],
    );
    assert_eq!(
        plan.notes,
        [
            "there is no lock file, so another deployment may get other versions of packages. Run `npm install` and commit \
          the lock file it writes."
        ]
    );
    check(
        app(&[START, DEPENDENCIES]).file("npm-shrinkwrap.json", NPM_LOCK).file("package-lock.json", NPM_LOCK),
        &["build install once->node_modules: npm ci --omit=dev"],
    );
    // Development dependencies alone are not needed.
    check(app(&[START, r#""devDependencies": {"eslint": "9"}"#]).file("package-lock.json", NPM_LOCK), &[]);
}

#[test]
fn a_build_script() {
    let scripts = r#""scripts": {"start": "node a.js", "build": "tsc", "bundle": "vite build"}"#;
    let dev = r#""devDependencies": {"typescript": "5"}"#;
    let app = || app(&[scripts, DEPENDENCIES, dev]).file("package-lock.json", NPM_LOCK);
    let plan = check(
        app(),
        &[
            "build install once->node_modules: npm ci --include=dev",
            "build build: npm run build",
            "build prune: npm prune --omit=dev --ignore-scripts",
        ],
    );
    // Some programs treat warnings as errors where this is set.
    assert!(!plan.build[1].env.contains_key("CI"));
    assert_eq!(plan.build[1].env["NODE_ENV"], "production");
    check(
        app().setting("build", "bundle"),
        &[
            "build install once->node_modules: npm ci --include=dev",
            "build build: npm run bundle",
            "build prune: npm prune --omit=dev --ignore-scripts",
        ],
    );
    check(app().setting("build", false), &["build install once->node_modules: npm ci --omit=dev"]);
    check(
        app().setting("keep_dev_dependencies", true),
        &["build install once->node_modules: npm ci --include=dev", "build build: npm run build"],
    );
}

/// What such scripts do depends on any of the app's files, so what they did for one version is not used for another.
#[test]
fn scripts_that_run_when_dependencies_are_installed() {
    let with = |script: &str| {
        let scripts = format!(r#""scripts": {{"start": "node a.js", "{script}": "x"}}"#);
        app(&[&scripts, DEPENDENCIES, r#""devDependencies": {"husky": "9"}"#]).file("package-lock.json", NPM_LOCK)
    };
    for script in ["preinstall", "install", "postinstall"] {
        check(with(script), &["build install: npm ci --omit=dev"]);
    }
    // `prepare` is for development: it is there with its dependencies, or fails.
    let plan = check(
        with("prepare"),
        &["build install: npm ci --include=dev", "build prune: npm prune --omit=dev --ignore-scripts"],
    );
    assert_eq!(install(&plan).env["HUSKY"], "0");
}

/// Packages of a workspace have directories of dependencies of their own beside the one that is kept.
#[test]
fn workspaces_are_installed_for_every_version() {
    for fields in [r#""workspaces": ["packages/*"]"#, r#""dependencies": {"lib": "file:./lib"}"#] {
        check(app(&[START, fields]).file("package-lock.json", NPM_LOCK), &["build install: npm ci --omit=dev"]);
    }
}

#[test]
fn an_archive_has_its_own_npm() {
    const NODE: &str = "{package:node}/bin/node";
    let context = bare().pin("node", "22.11.0").current_version("aa");
    let scripts = r#""scripts": {"start": "node a.js", "build": "x"}"#;
    let context = context.file("package.json", package_json(&[scripts, DEPENDENCIES].join(", ")));
    let plan = plan(&context.file("package-lock.json", NPM_LOCK).build()).unwrap();
    let npm = format!("{NODE} {{package:node}}/lib/node_modules/npm/bin/npm-cli.js");
    assert_eq!(
        outline(&plan),
        format!(
            "build install once->node_modules: {npm} ci --include=dev\n\
             build build: {npm} run build\n\
             process web (port-open http): [{NODE}] [a.js]\n\
             route / web:http"
        )
    );
}

#[test]
fn old_npm_has_other_words() {
    let context = bare().fact("program:node", "/usr/bin/node v14.21.3").fact("program:npm", "/usr/bin/npm 6.14.18");
    let context = context.current_version("aa").file(".nvmrc", "14").file("package-lock.json", NPM_LOCK);
    check(
        context.file("package.json", package_json(&[START, DEPENDENCIES].join(", "))),
        &["build install once->node_modules: npm ci --production"],
    );
}

#[test]
fn yarn_1() {
    let lock = "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n";
    let app = || app(&[START, DEPENDENCIES]).file("yarn.lock", lock);
    let yarn = "node {data}/package-managers/yarn-1.22.22/node_modules/.bin/yarn";
    let plan = check(
        app(),
        &[
            "build package-manager once->: npm install --no-package-lock",
            &format!(
                "build install once->node_modules: {yarn} install --frozen-lockfile --non-interactive --no-progress \
                 --production"
            ),
        ],
    );
    assert_eq!(install(&plan).env["YARN_CACHE_FOLDER"], "{data}/yarn-cache");
    assert_eq!(plan.build[0].cwd, "{data}/package-managers/yarn-1.22.22");
    assert_eq!(plan.files[0].path, "{data}/package-managers/yarn-1.22.22/package.json");
    // A template: `{{` stands for `{`.
    assert_eq!(plan.files[0].content, "{{\"private\": true, \"dependencies\": {{\"yarn\": \"1.22.22\"}}\n");
    // A process may call it by its name.
    let path = "{source}/node_modules/.bin:{data}/package-managers/yarn-1.22.22/node_modules/.bin:/usr/local/sbin:";
    assert!(plan.processes[0].env["PATH"].starts_with(path), "{}", plan.processes[0].env["PATH"]);
    check(
        app().fact("program:yarn", "/usr/bin/yarn 1.22.22"),
        &[
            "build install once->node_modules: yarn install --frozen-lockfile --non-interactive --no-progress --production",
        ],
    );
    // With a build, its only way to remove development dependencies is another installation.
    let scripts = r#""scripts": {"start": "node a.js", "build": "x"}"#;
    let context = with_node_20().current_version("aa").fact("program:yarn", "/usr/bin/yarn 1.22.22");
    let manifest = package_json(&[scripts, DEPENDENCIES, r#""devDependencies": {"a": "1"}"#].join(", "));
    check(
        context.file("yarn.lock", lock).file("package.json", manifest),
        &[
            "build install once->node_modules: yarn install --frozen-lockfile --non-interactive --no-progress \
             --production=false",
            "build build: yarn run build",
            "build prune: yarn install --frozen-lockfile --production --ignore-scripts --prefer-offline \
             --non-interactive --no-progress",
        ],
    );
}

#[test]
fn later_yarns() {
    let lock = "# This file is generated by running \"yarn install\".\n\n__metadata:\n  version: 8\n  cacheKey: 10c0\n";
    let app = || app(&[START, DEPENDENCIES]).file("yarn.lock", lock);
    let yarn = "node {data}/package-managers/yarn-4.13/node_modules/.bin/yarn";
    let plan = check(
        app(),
        &[
            "build package-manager once->: npm install --no-package-lock",
            &format!("build install once->node_modules: {yarn} install --immutable"),
        ],
    );
    assert_eq!(install(&plan).env["YARN_NODE_LINKER"], "node-modules");
    let with_yarn = app().file(".yarnrc.yml", "nodeLinker: node-modules\n\nyarnPath: .yarn/releases/yarn-4.1.0.cjs\n");
    check(
        with_yarn,
        &["build install once->node_modules: node {source}/.yarn/releases/yarn-4.1.0.cjs install --immutable"],
    );
}

#[test]
fn pnpm() {
    for (lock, version) in [
        ("lockfileVersion: '9.0'\n", "9"),
        ("lockfileVersion: '6.0'\n", "8"),
        ("lockfileVersion: 5.4\n", "7"),
        ("", "10"),
    ] {
        let directory = format!("{{data}}/package-managers/pnpm-{version}");
        let plan = check(
            app(&[START, DEPENDENCIES]).file("pnpm-lock.yaml", lock),
            &[
                "build package-manager once->: npm install --no-package-lock",
                &format!(
                    "build install once->node_modules: node {directory}/node_modules/.bin/pnpm install \
                     --frozen-lockfile --prod"
                ),
            ],
        );
        assert_eq!(install(&plan).env["npm_config_store_dir"], "{data}/pnpm-store");
    }
}

/// `packageManager` of package.json before lock files, and jecloud.toml before both.
#[test]
fn who_names_the_package_manager() {
    let both = || {
        app(&[START, DEPENDENCIES, r#""packageManager": "pnpm@9.15.4+sha512.b2dc""#])
            .file("package-lock.json", NPM_LOCK)
            .file("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")
            .fact("program:pnpm", "/usr/bin/pnpm 9.15.4")
    };
    let plan = check(both(), &["build install once->node_modules: pnpm install --frozen-lockfile --prod"]);
    assert_eq!(
        plan.notes,
        [
            "dependencies are installed with pnpm by pnpm-lock.yaml; package-lock.json is ignored. Remove the one that is \
          not kept up to date."
        ]
    );
    check(both().setting("package_manager", "npm"), &["build install once->node_modules: npm ci --omit=dev"]);
    // Another version on the server is another program.
    let other = plan_of(both().fact("program:pnpm", "/usr/bin/pnpm 10.1.0"));
    assert!(other.files[0].content.contains("\"pnpm\": \"9.15.4\""), "{}", other.files[0].content);
}

/// Node.js knows no certificate that the server's administrator added, if it is not told.
#[test]
fn certificates_of_the_server() {
    for (manager, file) in [
        ("apt", Some("/etc/ssl/certs/ca-certificates.crt")),
        ("dnf", Some("/etc/pki/tls/certs/ca-bundle.crt")),
        ("none", None),
    ] {
        let context = app(&[r#""scripts": {"start": "node a.js", "build": "x"}"#, DEPENDENCIES]);
        let plan = plan_of(context.fact("package-manager", manager));
        for command in &plan.build {
            assert_eq!(command.env.get("NODE_EXTRA_CA_CERTS").map(String::as_str), file, "{manager} {}", command.id);
        }
        assert!(!plan.processes[0].env.contains_key("NODE_EXTRA_CA_CERTS"));
    }
}

fn plan_of(context: ContextBuilder) -> Plan {
    plan(&context.build()).unwrap()
}

/// Dependencies are installed again when, and only when, something that they depend on has changed.
///
/// Fails without the part of the key that the line is about.
#[test]
fn when_dependencies_are_installed_again() {
    let key = |context: ContextBuilder| install(&plan_of(context)).once.clone();
    let base = || app(&[START, DEPENDENCIES]).file("package-lock.json", NPM_LOCK);
    let unchanged = key(base());
    assert!(unchanged.starts_with("install-"), "{unchanged}");
    for (what, context) in [
        ("the version", base().version(&"1".repeat(64))),
        ("the environment", base().environment("staging")),
        ("package.json", app(&[START, DEPENDENCIES, r#""description": "x""#]).file("package-lock.json", NPM_LOCK)),
        ("the Procfile", base().file("Procfile", "web: node a.js")),
        ("a source file", base().file("server.js", "1")),
    ] {
        assert_eq!(key(context), unchanged, "{what} decides about nothing");
    }
    for (what, context) in [
        ("the lock file", base().file("package-lock.json", r#"{"lockfileVersion": 2}"#)),
        ("the lock file's name", app(&[START, DEPENDENCIES]).file("npm-shrinkwrap.json", NPM_LOCK)),
        ("Node.js", base().fact("program:node", "/usr/bin/node v20.20.3")),
        ("npm", base().fact("program:npm", "/usr/bin/npm 11.0.0")),
        ("the machine", base().fact("arch", "aarch64")),
        ("development dependencies", base().setting("keep_dev_dependencies", true)),
        (".npmrc", base().file(".npmrc", "legacy-peer-deps=true")),
        ("an archive", base().pin("node", "20.20.1")),
    ] {
        assert_ne!(key(context), unchanged, "{what} decides");
    }
    // Without a lock file package.json takes its place.
    let without = key(app(&[START, DEPENDENCIES]));
    assert_ne!(key(app(&[START, r#""dependencies": {"express": "4"}"#])), without);
}

/// What is built and what is removed, and the note about it.
#[track_caller]
fn keeps(fields: &[&str], files: &[(&str, &str)], note: Option<&str>) {
    let app = files.iter().fold(app(fields), |app, (path, text)| app.file(path, text));
    let plan = plan(&app.build()).unwrap();
    let notes: Vec<&String> = plan.notes.iter().filter(|note| note.starts_with("development dependencies")).collect();
    match note {
        Some(named) => assert!(notes.len() == 1 && notes[0].contains(named), "{notes:?} does not name {named}"),
        None => assert!(notes.is_empty(), "{notes:?}"),
    }
    let is_pruned = plan.build.iter().any(|command| command.id == "prune");
    let with_dev = install(&plan).argv.iter().any(|word| word == "--include=dev");
    assert_eq!(with_dev && !is_pruned, note.is_some(), "{}", outline(&plan));
}

/// Public samples of several frameworks start what is among their development dependencies, and work where nothing is
/// removed. Fails without `development::needed`: `nest: not found` at the start.
#[test]
fn development_dependencies_that_run() {
    let lock = r#"{"lockfileVersion": 3, "packages": {
        "node_modules/@nestjs/cli": {"dev": true, "bin": {"nest": "bin/nest.js"}},
        "node_modules/strange": {"dev": true, "bin": {"some-tool": "x.js"}},
        "node_modules/vite": {"dev": true},
        "node_modules/express": {"bin": {"serve-it": "x.js"}}}}"#;
    let start =
        |line: &str| format!(r#""scripts": {{"start": "{line}", "build": "tsc", "db": "strange-x; some-tool up"}}"#);
    let dev = r#""devDependencies": {"@nestjs/cli": "11", "strange": "1", "vite": "7"}"#;
    let by_lock = |line: &str, note: Option<&str>| {
        keeps(&[&start(line), DEPENDENCIES, dev], &[("package-lock.json", lock)], note);
    };
    by_lock("nest start", Some("`nest` of @nestjs/cli"));
    by_lock("node server.js", None);
    by_lock("serve-it", None);
    by_lock("npm run db && node server.js", Some("`some-tool` of strange"));
    by_lock("yarn db && node server.js", Some("`some-tool` of strange"));
    by_lock("node node_modules/.bin/some-tool", Some("some-tool` of strange"));
    by_lock("node -r strange/register a.js", Some("`strange/register` of strange"));
    by_lock("node strangers.js", None);
    // A release command runs after the build, when they would be gone.
    let procfile = ("Procfile", "web: node a.js\nrelease: some-tool migrate");
    keeps(&[&start("x"), DEPENDENCIES, dev], &[("package-lock.json", lock), procfile], Some("`some-tool` of strange"));

    // Other lock files name no programs, so names have to tell.
    let by_name = |line: &str, package: &str, is_needed: bool| {
        let dev = format!(r#""devDependencies": {{"{package}": "1"}}"#);
        keeps(&[&start(line), DEPENDENCIES, &dev], &[], is_needed.then_some(package));
    };
    by_name("ts-node src/index.ts", "ts-node", true);
    by_name("nest start", "@nestjs/cli", true);
    by_name("prisma migrate deploy && node a.js", "prisma", true);
    by_name("dotenv -- node a.js", "dotenv-cli", true);
    by_name("babel-node a.js", "@babel/node", true);
    by_name("remix-serve build", "@remix-run/serve", true);
    by_name("nf start", "foreman", true);
    by_name("node a.js", "@types/node", false);
    by_name("node a.js", "@babel/node", false);
    by_name("node a.js", "eslint", false);
    by_name("express-thing", "eslint", false);
}

/// What a person says about it counts.
#[test]
fn development_dependencies_as_a_person_wants_them() {
    let fields = [r#""scripts": {"start": "nest start"}"#, DEPENDENCIES, r#""devDependencies": {"@nestjs/cli": "11"}"#];
    let app = || app(&fields).file("package-lock.json", NPM_LOCK);
    let builds = |context: ContextBuilder| {
        let plan = plan(&context.build()).unwrap();
        (install(&plan).argv.join(" "), plan.notes.len())
    };
    assert_eq!(builds(app()), ("npm ci --include=dev".to_owned(), 1));
    assert_eq!(builds(app().setting("keep_dev_dependencies", true)), ("npm ci --include=dev".to_owned(), 0));
    assert_eq!(builds(app().setting("keep_dev_dependencies", false)), ("npm ci --omit=dev".to_owned(), 0));
}
