//! Which Node.js is asked for, and where it comes from.

use super::{PLAIN, bare, debian_12, package_json, packages, with_node_20};
use jecloud_hook_node::NodeHook;
use jecloud_sdk::OptionValue;
use jecloud_sdk::testing::{self, ContextBuilder};

#[track_caller]
fn check(context: ContextBuilder, expected: &str) {
    let context = context.build();
    assert_eq!(packages(&context).map_err(|problem| problem.to_string()), Ok(expected.to_owned()));
}

const LTS: &str = "https://nodejs.org/dist/v{version}/node-v{version}-linux-x64.tar.gz strip 1 \
                   https://nodejs.org/dist/latest-v24.x/SHASUMS256.txt";

/// What an archive of a version or line looks like in the list of packages.
fn archive(version: &str) -> String {
    let directory = if version.contains('.') { format!("v{version}") } else { format!("latest-v{version}.x") };
    format!(
        "node {version} pinned archive https://nodejs.org/dist/v{{version}}/node-v{{version}}-linux-x64.tar.gz strip 1 \
         https://nodejs.org/dist/{directory}/SHASUMS256.txt"
    )
}

#[test]
fn nothing_is_asked_for() {
    let app = |context: ContextBuilder| context.file("package.json", PLAIN);
    check(app(with_node_20()), "node 20.20.2 pinned present");
    check(app(debian_12()), "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution");
    check(app(bare()), &format!("node 24 pinned archive {LTS}"));
    // Too old to be taken without being asked for.
    check(app(bare().fact("program:node", "/usr/bin/node v12.22.12")), &archive("24"));
    check(app(debian_12().fact("candidate:nodejs", "12.22.12~dfsg-1~deb11u4")), &archive("24"));
    // What cannot be read is not there.
    check(app(bare().fact("program:node", "/usr/bin/node segmentation fault")), &archive("24"));
}

/// The first that says something wins: jecloud.toml, .node-version, .nvmrc, package.json.
#[test]
fn the_order_of_those_who_ask() {
    let engines = package_json(r#""engines": {"node": "18.x"}, "scripts": {"start": "node ."}"#);
    let by_engines = || bare().file("package.json", &engines);
    check(by_engines(), &archive("18"));
    check(by_engines().file(".nvmrc", "20"), &archive("20"));
    check(by_engines().file(".nvmrc", "20").file(".node-version", "21"), &archive("21"));
    check(by_engines().file(".nvmrc", "20").file(".node-version", "21").setting("version", "22"), &archive("22"));
    // An empty file says nothing.
    check(by_engines().file(".nvmrc", "\n# later\n"), &archive("18"));
    check(bare().file("package.json", PLAIN).setting("version", 22), &archive("22"));
}

#[test]
fn files_of_version_managers() {
    for (text, version) in [
        ("22", "22"),
        ("v22\n", "22"),
        ("22.11.0", "22.11.0"),
        ("v22.11.0\r\n", "22.11.0"),
        ("# ours\n\n20 # until May\n", "20"),
        ("lts/*", "24"),
        ("lts/jod", "22"),
        ("lts/Krypton", "24"),
        ("lts/hydrogen", "18"),
        ("node", "24"),
        ("stable", "24"),
        ("system", "24"),
        ("node@20", "20"),
        ("22.x", "22"),
        (">=20", "24"),
    ] {
        check(bare().file("package.json", PLAIN).file(".nvmrc", text), &archive(version));
    }
}

/// Ranges as npm reads them. Where one allows a whole line, the newest of the line is asked for; long-term ones first.
#[test]
fn ranges_of_engines() {
    for (range, version) in [
        ("*", "24"),
        ("", "24"),
        (">=18", "24"),
        (">=18.0.0 <23", "22"),
        ("18.x || 20.x", "20"),
        ("^20.9.0", "20"),
        ("^20.9.0 || >=22.0.0", "24"),
        (">= 14", "24"),
        (">= 14 < 17", "16"),
        ("~ 20.9 || 18", "18"),
        ("<18", "16"),
        ("<=20.5.0", "18"),
        ("14 - 16", "16"),
        ("21", "21"),
        ("21 || 23", "23"),
        (">=25", "26"),
        (">=27", "27"),
        // No whole line: the lowest that will do.
        ("~20.9.0", "20.9.0"),
        ("20.9.x", "20.9.0"),
        (">=20.9.0 <20.12", "20.9.0"),
        (">20.9.0 <20.12", "20.9.1"),
        ("=20.9.3", "20.9.3"),
        ("v20.9.3", "20.9.3"),
    ] {
        let manifest = package_json(&format!(r#""engines": {{"node": "{range}"}}, "scripts": {{"start": "node ."}}"#));
        check(bare().file("package.json", manifest), &archive(version));
    }
}

#[test]
fn what_is_on_the_machine_is_used_where_it_will_do() {
    let asks = |context: ContextBuilder, wanted: &str| context.file("package.json", PLAIN).file(".nvmrc", wanted);
    check(asks(with_node_20(), "20"), "node 20.20.2 pinned present");
    check(asks(with_node_20(), "^20.9 || >=22"), "node 20.20.2 pinned present");
    check(asks(with_node_20(), "lts/*"), "node 20.20.2 pinned present");
    check(asks(with_node_20(), "node"), "node 20.20.2 pinned present");
    check(asks(with_node_20(), "20.20.1"), &archive("20.20.1"));
    check(asks(with_node_20(), "22"), &archive("22"));
    check(asks(bare().fact("program:node", "/usr/bin/node v12.22.12"), "12"), "node 12.22.12 pinned present");
    // The distribution's comes before an archive.
    check(asks(debian_12(), ">=18"), "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution");
    check(asks(debian_12(), "20"), &archive("20"));
    // Only where it can be installed.
    check(asks(debian_12().fact("can-install", "false"), "18"), &archive("18"));
}

#[test]
fn a_pin_is_used_exactly() {
    let app = |context: ContextBuilder| context.file("package.json", PLAIN);
    check(app(with_node_20().pin("node", "20.20.2")), "node 20.20.2 pinned present");
    // Another machine has another one.
    check(app(with_node_20().pin("node", "20.1.0")), &archive("20.1.0"));
    check(app(debian_12().pin("node", "20.1.0")), &archive("20.1.0"));
    check(app(with_node_20().pin("node", "20.1.0").file(".nvmrc", "20")), &archive("20.1.0"));
    // What was installed from the distribution on the first machine was found there afterwards: fails where the second
    // machine, as fresh as the first, may not install the same.
    check(app(debian_12().pin("node", "18.20.4")), "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution");
    // The distribution's: as long as it has that very package, or the machine has that release from wherever.
    let pinned = |context: ContextBuilder| app(context.pin("nodejs", "18.20.4+dfsg-1~deb12u1"));
    check(pinned(debian_12()), "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution");
    check(pinned(debian_12().fact("candidate:nodejs", "18.20.4+dfsg-1~deb12u9")), &archive("18.20.4"));
    check(
        pinned(debian_12().fact("program:node", "/usr/bin/node v18.20.4")),
        "nodejs 18.20.4+dfsg-1~deb12u1 pinned present",
    );
    check(pinned(with_node_20()), &archive("18.20.4"));
    // What is asked for by now excludes it: it gives way.
    check(app(with_node_20().pin("node", "18.1.0").file(".nvmrc", "20")), "node 20.20.2 pinned present");
    check(app(bare().pin("node", "18.1.0").setting("version", "22")), &archive("22"));
}

/// npm is asked for where it is needed, and not with a package that has it already.
#[test]
fn npm_comes_along() {
    let needs = package_json(r#""dependencies": {"express": "5"}, "scripts": {"start": "node ."}"#);
    let app = |context: ContextBuilder| context.file("package.json", &needs);
    check(app(with_node_20()), "node 20.20.2 pinned present");
    check(app(debian_12()), "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution\nnpm 9.2.0~ds1-1 free distribution");
    check(
        app(debian_12().fact("candidate:nodejs", "22.11.0-1nodesource1")),
        "nodejs 22.11.0-1nodesource1 pinned distribution",
    );
    // The machine's Node.js has no npm: its package, else an archive, which has one.
    let without = |context: ContextBuilder| app(context.fact("program:node", "/usr/bin/node v18.20.4"));
    check(without(debian_12()), "node 18.20.4 pinned present\nnpm 9.2.0~ds1-1 free distribution");
    check(without(bare()), &archive("24"));
    // Nothing to install: no npm.
    check(debian_12().file("package.json", PLAIN), "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution");
    // But a process may need it.
    let web = debian_12().file("package.json", PLAIN).file("Procfile", "web: npm exec serve");
    check(web, "nodejs 18.20.4+dfsg-1~deb12u1 pinned distribution\nnpm 9.2.0~ds1-1 free distribution");
}

#[test]
fn mirrors_and_kinds_of_servers() {
    let app = || bare().file("server.js", "");
    check(
        app().setting("mirror", "https://mirror.example/node/").setting("version", "22.1.0"),
        "node 22.1.0 pinned archive https://mirror.example/node/v{version}/node-v{version}-linux-x64.tar.gz strip 1 \
         https://mirror.example/node/v22.1.0/SHASUMS256.txt",
    );
    check(
        app().fact("arch", "aarch64").setting("version", "22"),
        "node 22 pinned archive https://nodejs.org/dist/v{version}/node-v{version}-linux-arm64.tar.gz strip 1 \
         https://nodejs.org/dist/latest-v22.x/SHASUMS256.txt",
    );
}

/// Where the archive cannot be fetched, a person is told what to type. Fails where the command would install a Node.js
/// that will not do.
#[test]
fn what_to_do_by_hand() {
    let hint = |context: ContextBuilder| {
        let packages = testing::required_packages::<NodeHook>(&context.build()).unwrap();
        match packages[0].options.get("hint") {
            Some(OptionValue::Text(hint)) => hint.clone(),
            other => panic!("{other:?}"),
        }
    };
    let debian = || bare().fact("package-manager", "apt").fact("candidate:nodejs", "18.20.4+dfsg-1~deb12u1");
    let app = |context: ContextBuilder| context.file("package.json", PLAIN);
    assert_eq!(hint(app(debian())), "Or type `sudo apt-get install nodejs`, then deploy again.");
    assert_eq!(
        hint(app(debian()).setting("version", "18")),
        "Or type `sudo apt-get install nodejs`, then deploy again."
    );
    assert_eq!(hint(app(debian()).setting("version", "22")), "Or install Node.js 22 on the server, then deploy again.");
    let with_build = r#"{"scripts": {"start": "node a.js", "build": "x"}}"#;
    assert_eq!(
        hint(debian().file("package.json", with_build)),
        "Or type `sudo apt-get install nodejs npm`, then deploy again."
    );
    let without_lists = bare().fact("package-manager", "apt");
    assert_eq!(
        hint(app(without_lists)),
        "Or type `sudo apt-get update`, then `sudo apt-get install nodejs`, then deploy again."
    );
    assert!(hint(app(bare())).starts_with("Or install Node.js "));
}
