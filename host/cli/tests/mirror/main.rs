//! A Node.js that neither the machine nor its distribution has comes from a mirror.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make the archives of a mirror, and look at what is left on the disk"
)]

mod served;

use jecloud_testkit::{Project, World};
use served::{Mirror, archive};

/// No machine has this one, and no distribution.
const VERSION: &str = "22.98.0";
const NEWER: &str = "22.99.1";

/// An app that tells by what it runs, and by what it was built.
fn app(world: &World, mirror: &str, version: &str) -> Project {
    let config =
        |version: &str| format!("app = \"app\"\n[services.node]\nversion = \"{version}\"\nmirror = \"{mirror}\"\n");
    let build = "node -e 'fs.writeFileSync(`built`, process.execPath + ` ` + process.env.npm_of_the_mirror)'";
    let scripts = serde_json::json!({ "start": "node server.js", "build": build });
    let package = serde_json::json!({ "name": "app", "scripts": scripts, "dependencies": { "nothing": "1" } });
    let server = "const built = require('node:fs').readFileSync('built', 'utf8');\n\
                  const text = `${process.execPath} ${built}`;\n\
                  require('node:http').createServer((_, response) => response.end(text)).listen(process.env.PORT);\n";
    let files = [
        ("jecloud.toml", config(version)),
        ("package.json", package.to_string()),
        ("server.js", server.into()),
        ("package-lock.json", r#"{"lockfileVersion": 3}"#.into()),
    ];
    world.project(&files.each_ref().map(|(path, text)| (*path, text.as_str())))
}

/// What lies below `sys/packages`.
fn packages(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.server().join("sys/packages")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Fails where the app runs by another Node.js; where `prepare.rs` does not tell the hook what was installed, since the
/// second deployment then installs all dependencies again; where a pinned version is looked up or fetched again; and
/// where the machine's npm builds.
#[test]
fn a_version_that_nobody_has_is_fetched_once() {
    let (world, mirror) = (World::new(env!("CARGO_BIN_EXE_jecloud")), Mirror::new());
    let (bytes, sum) = archive();
    mirror.release(VERSION, bytes, sum);
    // A range: what is newest in it is found out, and pinned.
    let project = app(&world, &mirror.url(), ">=22.98.0 <23");
    project.jecloud(&["deploy"]).ok().says(&format!("node {VERSION}"));

    let [directory] = &packages(&world)[..] else { panic!("{:?}", packages(&world)) };
    let directory = world.server().join("sys/packages").join(directory);
    let node = directory.join("bin/node").display().to_string();
    let npm = directory.join("lib/node_modules/npm/bin/npm-cli.js").display().to_string();
    assert_eq!(project.get(), (200, format!("{node} {node} {npm}")));
    let lock = project.read("jecloud.lock").expect("it was written");
    assert!(lock.contains(VERSION), "{lock}");
    let asked = mirror.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0], "/latest-v22.x/SHASUMS256.txt");
    assert!(asked[1].starts_with(&format!("/v{VERSION}/node-v{VERSION}-linux-")), "{asked:?}");
    let run = project.jecloud(&["run", "--", "node", "-p", "process.execPath"]).ok();
    assert_eq!(run.stdout.trim(), node);

    // A newer one is there now; what is pinned stays.
    mirror.release(NEWER, bytes, sum);
    project.replace("server.js", "${built}`", "${built} again`");
    let again = project.jecloud(&["deploy"]).ok().says(&format!("node {VERSION}"));
    // By the same Node.js, though the first time only a range was known.
    again.says("install dependencies by package-lock.json: unchanged, kept");
    assert_eq!(project.get(), (200, format!("{node} {node} {npm} again")));
    assert_eq!(mirror.asked(), Vec::<String>::new());
    // Another machine gets exactly the pinned one, by what is committed.
    let other = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let same = app(&other, &mirror.url(), ">=22.98.0 <23");
    same.write("jecloud.lock", &lock);
    same.jecloud(&["deploy"]).ok().says(&format!("node {VERSION}"));
    assert_eq!(mirror.asked()[0], format!("/v{VERSION}/SHASUMS256.txt"));
}

/// What is pinned stays until `jecloud upgrade` moves on, which it does when it is told to.
///
/// Fails where a deployment, `jecloud env set` or a rollback looks for versions anew (without `deploy::again` the variable
/// brought the newer one), where a failed deployment writes its pins, and where `upgrade` writes them unasked.
#[test]
fn a_pin_moves_when_it_is_told_to() {
    let (world, mirror) = (World::new(env!("CARGO_BIN_EXE_jecloud")), Mirror::new());
    let (bytes, sum) = archive();
    mirror.release(VERSION, bytes, sum);
    let project = app(&world, &mirror.url(), ">=22.98.0 <23");
    project.jecloud(&["upgrade"]).ok().says("nothing of service node is pinned yet").says("nothing newer");
    project.jecloud(&["deploy"]).ok().says(&format!("node {VERSION}"));
    let lock = project.read("jecloud.lock").expect("it was written");
    for words in [&["upgrade"][..], &["upgrade", "--check"], &["upgrade", "node", "--yes"]] {
        project.jecloud(words).ok().says("There is nothing newer than what jecloud.lock holds.");
    }

    mirror.release(NEWER, bytes, sum);
    project.jecloud(&["env", "set", "A=1"]).ok().does_not_say(NEWER);
    project.jecloud(&["rollback"]).ok().does_not_say(NEWER);
    project.jecloud(&["deploy"]).ok().does_not_say(NEWER);
    assert!(project.get().1.contains(VERSION) && !project.get().1.contains(NEWER), "{:?}", project.get());
    let checked = project.jecloud(&["upgrade", "--check"]).code(10).says("PACKAGE");
    checked.says(VERSION).says(NEWER);
    let json = project.jecloud(&["upgrade", "--check", "--json"]).code(10).json();
    let change = serde_json::json!({"service": "node", "package": "node", "from": VERSION, "to": NEWER});
    assert_eq!(json["changes"], serde_json::json!([change]));
    // Nobody is there to be asked.
    project.jecloud(&["upgrade"]).code(2).says("not confirmed").says("`jecloud upgrade --yes`").says(NEWER);
    assert_eq!(project.jecloud(&["upgrade", "--json"]).code(2).json()["wrote"], false);
    project.jecloud(&["upgrade", "nod"]).code(2).says("did you mean `node`?").says("Its services are: node.");
    assert_eq!(project.read("jecloud.lock").as_ref(), Some(&lock));

    let serves = project.get();
    project.jecloud(&["upgrade", "node", "-y"]).ok().says(NEWER).says("`jecloud deploy` makes it so");
    assert_eq!(project.read("jecloud.lock"), Some(lock.replace(VERSION, NEWER)));
    assert_eq!(project.get(), serves, "an upgrade touches nothing that runs");
    project.jecloud(&["deploy"]).ok().says(&format!("node {NEWER}"));
    assert!(project.get().1.contains(NEWER), "{:?}", project.get());
    let lock = project.read("jecloud.lock").expect("a lock");

    // Settings that exclude the pin move it, and that is said; where the deployment fails, it stays.
    project.replace("jecloud.toml", ">=22.98.0 <23", VERSION);
    let note =
        format!("service node cannot use node {NEWER} of jecloud.lock with what is asked for now: it uses {VERSION}");
    project.jecloud(&["plan"]).ok().says(&note);
    let server = project.read("server.js").expect("the app");
    project.write("server.js", "process.exit(1)");
    project.jecloud(&["deploy"]).code(1).says(&note);
    assert_eq!(project.read("jecloud.lock").as_ref(), Some(&lock));
    project.write("server.js", &server);
    project.jecloud(&["deploy"]).ok().says(&note);
    assert_eq!(project.read("jecloud.lock"), Some(lock.replace(NEWER, VERSION)));
    // It is not asked for what the settings exclude.
    project.jecloud(&["upgrade", "--check"]).ok();
}

/// Fails without the comparison of the sums in `packages/archive.rs`: the wrong archive would be unpacked and run.
#[test]
fn an_archive_that_is_not_what_its_sum_says_is_not_used() {
    let (world, mirror) = (World::new(env!("CARGO_BIN_EXE_jecloud")), Mirror::new());
    let (bytes, sum) = archive();
    mirror.release(VERSION, bytes, sum);
    mirror.release(NEWER, bytes, &"1".repeat(64));
    let project = app(&world, &mirror.url(), VERSION);
    project.jecloud(&["deploy"]).ok();
    let (before, serves) = (packages(&world), project.get());
    let lock = project.read("jecloud.lock");

    project.replace("jecloud.toml", VERSION, NEWER);
    let failed = project.jecloud(&["deploy"]).code(1).says("is not what its checksum says").says(&format!("v{NEWER}"));
    failed.says(sum).says("Check the mirror");
    assert_eq!(packages(&world), before);
    assert_eq!(project.get(), serves);
    assert_eq!(project.read("jecloud.lock"), lock);

    // The mirror is mended.
    mirror.release(NEWER, bytes, sum);
    project.jecloud(&["deploy"]).ok().says(&format!("node {NEWER}"));
    assert!(project.get().1.contains(NEWER), "{:?}", project.get());
}

/// A mirror that does not answer, one that lacks the version, and one whose archive is none.
#[test]
fn what_is_wrong_with_a_mirror_is_said() {
    let (world, mirror) = (World::new(env!("CARGO_BIN_EXE_jecloud")), Mirror::new());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let away = format!("http://{}", closed.local_addr().expect("it is bound"));
    drop(closed);
    let project = app(&world, &away, VERSION);
    let failed = project.jecloud(&["deploy"]).code(1);
    let failed = failed.says(&format!("cannot fetch {away}/v{VERSION}/SHASUMS256.txt")).says("Connection refused");
    failed.says("hint: ").says("mirror").says("Nothing serves yet");

    project.replace("jecloud.toml", &away, &mirror.url());
    let missing = project.jecloud(&["deploy"]).code(1);
    missing.says(&format!("cannot fetch {}/v{VERSION}/SHASUMS256.txt", mirror.url())).says("404");

    let text = std::sync::Arc::new(b"an error page".to_vec());
    // By `printf 'an error page' | sha256sum`.
    mirror.release(VERSION, &text, "afcdaf6e4c147311d2dcdbd839cf3d254aabd090926147fa99f66f878e036c97");
    let broken = project.jecloud(&["deploy"]).code(1);
    broken.says("cannot be unpacked");
    assert_eq!(packages(&world), Vec::<String>::new());

    let (bytes, sum) = archive();
    mirror.release(VERSION, bytes, sum);
    project.jecloud(&["deploy"]).ok().says(&format!("node {VERSION}"));
}
