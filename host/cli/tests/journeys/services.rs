//! An app with a real Redis beside it.

#![expect(clippy::disallowed_methods, reason = "reads the password that was made, to look for it elsewhere")]

use jecloud_testkit::{Project, eventually, is_alive, kill};

use crate::users::holding;
use crate::{SOON, production, world};

/// An app that hands what is asked of it to Redis as an inline command, and answers with what that says. Like many an app
/// it falls over where its database is not there when it starts.
pub(crate) const SERVER: &str = "
const { hostname, port, password } = new URL(process.env.REDIS_URL);
const server = require('node:http').createServer((request, response) => {
  const socket = require('node:net').connect(port, hostname);
  const words = decodeURIComponent(request.url.slice(1));
  let answer = '';
  socket.on('data', (data) => (answer += data));
  socket.on('error', (error) => { response.statusCode = 503; response.end(error.code); });
  socket.on('end', () => response.end(answer.replace(/^\\+OK\\r\\n/, '').replace(/\\+OK\\r\\n$/, '')));
  socket.write(`AUTH ${password}\\r\\n${words}\\r\\nQUIT\\r\\n`);
});
const first = require('node:net').connect(port, hostname, () => first.end(() => server.listen(process.env.PORT)));
first.on('error', () => process.exit(1));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
";

#[track_caller]
pub(crate) fn asked(project: &Project, words: &str) -> String {
    let path = format!("/{}", words.replace(' ', "%20"));
    let answer = project.get_path(&path).unwrap_or_else(|error| panic!("{words}: {error}"));
    assert_eq!(answer.status, 200, "{words}: {}", answer.body);
    answer.body.trim().replace("\r\n", " ")
}

pub(crate) fn answers(project: &Project) {
    let ping = || project.get_path("/PING").ok().filter(|answer| answer.body.contains("PONG"));
    eventually(SOON, "the app and its Redis answer", ping);
}

fn app(config: &str) -> (jecloud_testkit::World, Project) {
    let world = world();
    let config = format!("app = \"guestbook\"\n[services.node]\n[services.redis]\n{config}");
    let files = [("package.json", "{}"), ("jecloud.toml", config.as_str()), ("server.js", SERVER)];
    let project = world.project_called("guestbook", &files);
    (world, project)
}

/// From nothing through deployments, deaths and a rollback to nothing: Redis runs on where nothing of it changes, keeps what
/// was written, is reached by the app alone, and takes its data along when it is destroyed.
///
/// Fails where Redis is started anew with every release, where its password is an argument or is logged, and where it keeps
/// nothing.
#[test]
fn redis_keeps_what_is_written() {
    let (world, project) = app("sync = \"always\"\n");
    project.jecloud(&["deploy"]).ok().says("redis.1");
    assert_eq!(asked(&project, "SET greeting hello"), "+OK");
    let redis = project.pid("redis.1");
    project.write("server.js", &format!("{SERVER}// the second\n"));
    project.jecloud(&["deploy"]).ok();
    assert_eq!(project.pid("redis.1"), redis, "nothing of Redis changed");
    assert_eq!(asked(&project, "GET greeting"), "$5 hello");

    // Nobody gets in without the password, which nobody is shown.
    let secrets = std::fs::read(world.home().join("clouds/guestbook/secrets/production.json")).expect("secrets");
    let secrets: serde_json::Value = serde_json::from_slice(&secrets).expect("JSON");
    let password = secrets["secrets"]["redis-password"]["value"].as_str().expect("a password").to_owned();
    let conf = std::fs::read_dir(production(&project).join("services/redis")).expect("its directory");
    let conf = conf.flatten().find(|entry| entry.path().extension().is_some_and(|end| end == "conf")).expect("a file");
    let text = std::fs::read_to_string(conf.path()).expect("its configuration");
    let port = text.lines().find_map(|line| line.strip_prefix("port ")).expect("a port");
    project.run("redis-cli", &["-e", "-p", port, "get", "greeting"]).code(1).says("NOAUTH");
    let mut holders = holding(&world.home(), &password);
    holders.retain(|path| !path.ends_with("secrets.json") && !path.ends_with("secrets/production.json"));
    assert_eq!(holders, [conf.path()]);
    for pid in world.processes() {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&arguments).contains(&password));
    }
    for words in [&["status", "--json"][..], &["plan", "--json"], &["logs"], &["env", "--json"], &["state", "show"]] {
        project.jecloud(words).ok().does_not_say(&password);
    }
    project.jecloud(&["env"]).ok().says("redis-password").says("made for a service");
    project.jecloud(&["env", "unset", "redis-password"]).code(2).says("made for a service");

    // Its death, and that of everything.
    assert_eq!(asked(&project, "SET greeting again"), "+OK");
    kill(redis);
    eventually(SOON, "it comes back", || (project.pid("redis.1") != redis).then_some(()));
    answers(&project);
    assert_eq!(asked(&project, "GET greeting"), "$5 again");
    for pid in world.processes() {
        kill(pid);
    }
    project.jecloud(&["fwd"]).ok();
    answers(&project);
    assert_eq!(asked(&project, "GET greeting"), "$5 again");
    project.jecloud(&["rollback"]).ok();
    assert_eq!(asked(&project, "GET greeting"), "$5 again");

    // Another configuration is another start, with the same data.
    let redis = project.pid("redis.1");
    project.replace(
        "jecloud.toml",
        "sync = \"always\"",
        "sync = \"everysec\"\nmemory = \"64mb\"\neviction = \"allkeys-lru\"",
    );
    project.jecloud(&["deploy"]).ok();
    assert_ne!(project.pid("redis.1"), redis);
    assert_eq!(asked(&project, "GET greeting"), "$5 again");
    assert_eq!(asked(&project, "CONFIG GET maxmemory"), "*2 $9 maxmemory $8 67108864");

    let redis = project.pid("redis.1");
    project.jecloud(&["destroy", "--yes"]).ok();
    assert!(!is_alive(redis) && !production(&project).exists());
}

/// What can be known before anything happens is refused before; what serves goes on.
#[test]
fn settings_that_cannot_be_are_refused() {
    let (_world, project) = app("");
    project.jecloud(&["deploy"]).ok();
    assert_eq!(asked(&project, "SET a 1"), "+OK");
    let redis = project.pid("redis.1");
    let refused = |settings: &str, code: i32, what: &str| {
        let config = format!("app = \"guestbook\"\n[services.node]\n[services.redis]\n{settings}");
        project.write("jecloud.toml", &config);
        project.jecloud(&["deploy"]).code(code).says(what);
        assert_eq!(project.pid("redis.1"), redis);
        assert_eq!(asked(&project, "GET a"), "$1 1");
    };
    refused("evicton = \"noeviction\"\n", 2, "evicton");
    refused("eviction = \"sometimes\"\n", 2, "eviction");
    refused("eviction = \"allkeys-lru\"\n", 1, "memory = \"256mb\"");
    refused("version = \"3.2\"\n", 1, "cannot be had");
}
