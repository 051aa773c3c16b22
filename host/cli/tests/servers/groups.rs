//! Several groups of servers: what runs on which of them.

use std::time::Duration;

use jecloud_testkit::{Machines, Project, World, eventually, get};

use crate::{board, network, says};

/// An app with a process that takes requests and one that does not. What the release command has done is counted.
fn groups(world: &World, network: &Machines, config: &str) -> Project {
    let settings = format!("app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n", network.key().display());
    let worker = "console.log('at work'); setInterval(() => {}, 1000);\n";
    world.project_called(
        "shop",
        &[
            ("jecloud.toml", &format!("{settings}{config}")),
            ("package.json", "{}"),
            ("Procfile", "web: node server.js\nworker: node worker.js\nrelease: node release.js\n"),
            ("server.js", &crate::server("one")),
            ("worker.js", worker),
            ("release.js", "console.log('migrated');\n"),
        ],
    )
}

/// Which processes run where: `app-1 web.1`.
fn processes(project: &Project, environment: &str) -> Vec<String> {
    let listed = project.jecloud(&["ps", "-e", environment, "--json"]).ok().json();
    let mut all: Vec<String> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter(|process| process["state"] == "running")
        .map(|process| {
            assert!(process["server"].as_str().unwrap().starts_with(process["group"].as_str().unwrap()), "{process}");
            let id = process["id"].as_str().unwrap();
            format!("{} {}", process["server"].as_str().unwrap(), id.split('@').next().unwrap())
        })
        .collect();
    all.sort();
    all
}

/// On which servers the release command has run for a release.
fn migrated(project: &Project, servers: &[&str], release: u64) -> Vec<String> {
    let script = format!("cat /var/cloud/shop/production/releases/{release}/events.jsonl; exit 0\n");
    let ran = |server: &&&str| project.jecloud_reading(&script, &["ssh", server]).code(0).stdout.contains("migrated");
    servers.iter().filter(ran).map(|server| (*server).to_owned()).collect()
}

/// The web runs on `app` and the worker on `jobs`; one group grows; the worker moves to the other group and back out;
/// in staging everything is on one server.
///
/// Fails where a server runs what belongs to another group, or the release command runs on more than one of them.
#[test]
fn every_group_runs_its_own_part() {
    let Some((network, hosts)) = network(4) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = format!(
        "[servers.app]\ncount = 1\nhosts = [\"{}\", \"{}\"]\n[servers.jobs]\nhosts = [\"{}\"]\n\
         [processes.worker]\non = \"jobs\"\n\
         [environments.staging]\nservers.app.hosts = [\"{}\"]\nprocesses.worker.on = \"app\"\n",
        hosts[0], hosts[1], hosts[2], hosts[3]
    );
    let project = groups(&world, &network, &config);

    let first = project.jecloud(&["deploy"]).ok().says("on 2 servers").says(&format!("http://{}", hosts[0]));
    assert!(!first.stdout.contains(&hosts[2]), "nothing takes requests there: {}", first.said());
    assert_eq!(processes(&project, "production"), ["app-1 web.1", "jobs-1 worker.1"]);
    says(&hosts[0], "one");
    assert_ne!(get(&format!("http://{}/", hosts[2])).map_or(0, |answer| answer.status), 200);
    assert_eq!(migrated(&project, &["app-1", "jobs-1"], 1), ["app-1"]);
    project.jecloud(&["ps"]).ok().says("app-1   web.1").says("jobs-1  worker.1");
    project.jecloud(&["logs", "-p", "worker"]).ok().says("jobs-1 worker.1@1 at work");
    project.jecloud(&["deploy"]).ok().says("nothing changed since r1");
    project.jecloud(&["plan"]).ok().says("On each server of app:").says("On each server of jobs:");

    // One group grows, and the other one is left alone.
    let worker = project.jecloud(&["ps", "--json"]).ok().json()[1]["pid"].clone();
    project.jecloud(&["scale", "app=2"]).ok().says("3 servers now.");
    assert_eq!(processes(&project, "production"), ["app-1 web.1", "app-2 web.1", "jobs-1 worker.1"]);
    assert_eq!(project.jecloud(&["ps", "--json"]).ok().json()[2]["pid"], worker, "the worker was started anew");
    project.jecloud(&["scale", "worker=2"]).ok();
    let both = ["app-1 web.1", "app-2 web.1", "jobs-1 worker.1", "jobs-1 worker.2"];
    assert_eq!(processes(&project, "production"), both);

    // A process that no service has is found although no server asks all services.
    let right = project.read("jecloud.toml").expect("it is there");
    project.write("jecloud.toml", &right.replacen("[processes.worker]", "[processes.wroker]", 1));
    project.jecloud(&["deploy"]).code(1).says("wroker").says("still serves");
    project.write("jecloud.toml", &right);

    // The web moves to where the worker is, and the worker to where the web was.
    project.write("jecloud.toml", &right.replacen("on = \"jobs\"", "on = \"app\"\n[processes.web]\non = \"jobs\"", 1));
    project.write("server.js", &crate::server("two"));
    let moved = project.jecloud(&["deploy"]).ok().says(&format!("http://{}", hosts[2]));
    assert!(!moved.stdout.contains(&format!("{}\n", hosts[0])), "{}", moved.said());
    let runs = ["app-1 worker.1", "app-1 worker.2", "app-2 worker.1", "app-2 worker.2", "jobs-1 web.1"];
    jecloud_testkit::eventually(std::time::Duration::from_secs(60), "the old ones have ended", || {
        (processes(&project, "production") == runs).then_some(())
    });
    says(&hosts[2], "two");
    let release = project.jecloud(&["releases", "--json"]).ok().json()[0]["release"].as_u64().expect("a number");
    assert_eq!(migrated(&project, &["app-1", "app-2", "jobs-1"], release), ["app-1"]);
    // Back to what was before, with all that it needs.
    project.jecloud(&["rollback"]).ok();
    jecloud_testkit::eventually(std::time::Duration::from_secs(60), "the old ones have ended", || {
        (processes(&project, "production") == both).then_some(())
    });
    says(&hosts[0], "one");

    // Another environment has all on one server, and no server for the group that nothing runs on.
    project.write("jecloud.toml", &right);
    let staging = project.jecloud(&["deploy", "-e", "staging"]).ok();
    staging.says("on 1 server").says("nothing runs on [servers.jobs], so it has no servers");
    assert_eq!(processes(&project, "staging"), ["app-1 web.1", "app-1 worker.1"]);
    project.jecloud(&["scale", "-e", "staging", "jobs=2"]).code(2).says("nothing runs on [servers.jobs]");
    assert_eq!(processes(&project, "production"), both);
}

/// The release that each server runs.
fn releases(project: &Project) -> Vec<(String, u64)> {
    let status = project.jecloud(&["status", "--json"]).ok().json();
    let servers = status["environments"][0]["servers"].as_array().expect("servers").clone();
    let of = |server: &serde_json::Value| {
        (server["name"].as_str().unwrap().to_owned(), server["current_release"].as_u64().unwrap_or(0))
    };
    servers.iter().map(of).collect()
}

/// A service on servers of its own gives its address to the app, which starts when the service is there; more of these
/// servers, which the service asks for, and only those deploy anew to whom it matters.
///
/// Fails where the app is told nothing of other servers (it finds no `BOARD_URL`), or is told before the service has
/// started (it gives up where the board does not answer), or is not told anew.
#[test]
fn what_a_service_gives_reaches_other_servers() {
    let Some((network, hosts)) = network(4) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = format!(
        "[servers.app]\nhosts = [\"{}\"]\n[servers.board]\ncount = 1\nhosts = [\"{}\", \"{}\"]\n\
         [servers.jobs]\nhosts = [\"{}\"]\n[services.node]\n[processes.worker]\non = \"jobs\"\n",
        hosts[0], hosts[1], hosts[2], hosts[3]
    );
    let project = groups(&world, &network, &config);
    std::fs::write(project.directory().join("board.wasm"), board::component()).expect("a file");
    project.jecloud(&["hook", "add", "-y", "./board.wasm"]).ok().says("Wrote [services.board]");
    let added = project.read("jecloud.toml").expect("it is there");
    project.write("jecloud.toml", &format!("{added}on = \"board\"\n"));
    project.write(
        "board.js",
        "require('node:http').createServer((_, answer) => answer.end(`board at ${process.env.AT}`))\n\
         .listen(process.env.PORT, '0.0.0.0');\n",
    );
    let asks = "require('node:http').get(process.env.BOARD_URL, (found) => {\n\
                let said = ''; found.on('data', (part) => said += part); found.on('end', () => start(said));\n\
                }).on('error', (error) => { console.error(error); process.exit(1); });\n";
    let server = "function start(said) { require('node:http').createServer((_, answer) => answer.end(said))\n\
                  .listen(process.env.PORT); }\n";
    project.write("server.js", &format!("{asks}{server}"));

    project.jecloud(&["deploy"]).ok().says("on 3 servers");
    says(&hosts[0], &format!("board at {}", hosts[1]));
    assert_eq!(processes(&project, "production"), ["app-1 web.1", "board-1 board.1", "jobs-1 worker.1"]);
    project.jecloud(&["run", "--", "node", "-p", "process.env.BOARD_URL"]).ok().says(&hosts[1]);
    let all = |release| ["app-1", "board-1", "jobs-1"].map(|server| (server.to_owned(), release)).to_vec();
    assert_eq!(releases(&project), all(1));

    // Another count of processes is another release of everything; another board matters to all that use it.
    project.jecloud(&["scale", "web=2"]).ok();
    assert_eq!(releases(&project), all(2));
    project.jecloud(&["scale", "board=2"]).ok();
    let four = ["app-1", "board-1", "board-2", "jobs-1"].map(|server| (server.to_owned(), 3));
    assert_eq!(releases(&project), four);
    says(&hosts[0], &format!("board at {}", hosts[1]));
    project.jecloud(&["releases"]).ok().says("r2 again: servers have changed");
    project.jecloud(&["deploy"]).ok().says("nothing changed since r3");
}

/// An app that asks Redis, which is where `REDIS_URL` says, and answers with what that says.
const CLIENT: &str = "
const { hostname, port, password } = new URL(process.env.REDIS_URL);
require('node:http').createServer((request, response) => {
  const socket = require('node:net').connect(port, hostname);
  let answer = '';
  socket.on('data', (data) => (answer += data));
  socket.on('error', (error) => { response.statusCode = 503; response.end(error.code); });
  socket.on('end', () => response.end(answer.split('\\r\\n')[1]));
  socket.write(`AUTH ${password}\\r\\nINCR visits\\r\\nQUIT\\r\\n`);
}).listen(process.env.PORT);
";

/// The names of the secrets that a server has, and its hooks.
fn handed(project: &Project, server: &str) -> (Vec<String>, Vec<String>) {
    let script = "cat /var/cloud/shop/production/secrets.json; echo; ls /var/cloud/sys/hooks; exit 0\n";
    let said = project.jecloud_reading(script, &["ssh", server]).code(0).stdout.clone();
    let (secrets, hooks) = said.split_once("\n}\n").unwrap_or_else(|| panic!("{said}"));
    let secrets: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&format!("{secrets}}}")).unwrap_or_else(|error| panic!("{error}: {said}"));
    let hooks = hooks.lines().filter_map(|line| line.trim().strip_suffix(".wasm")).map(str::to_owned).collect();
    (secrets.into_keys().collect(), hooks)
}

/// What the component of a hook is called.
fn hook(name: &str) -> String {
    let file = format!("{}/../../hooks/dist/{name}.sha256", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(file).expect("it is built").split_whitespace().next().expect("a digest").to_owned()
}

/// A real Redis on a server of its own, which all servers of the app use.
///
/// Each server has only the hooks that it asks, and only the secrets that it needs: that of Redis has none of the app's, and
/// those of the app have the password because it is in `REDIS_URL`.
///
/// Fails where Redis listens for its own server only, and where the app looks for it on its own.
#[test]
fn redis_has_a_server_of_its_own() {
    let Some((network, hosts)) = network(3) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [\"{}\", \"{}\"]\n\
         [servers.db]\nhosts = [\"{}\"]\n[services.node]\n[services.redis]\non = \"db\"\n",
        network.key().display(),
        hosts[0],
        hosts[1],
        hosts[2]
    );
    let files = [("jecloud.toml", config.as_str()), ("package.json", "{}"), ("server.js", CLIENT)];
    let project = world.project_called("shop", &files);
    project.jecloud_reading("hunter2", &["env", "set", "--secret", "TOKEN"]).ok();
    project.jecloud(&["deploy"]).ok().says("on 3 servers");
    assert_eq!(processes(&project, "production"), ["app-1 web.1", "app-2 web.1", "db-1 redis.1"]);
    says(&hosts[0], ":1");
    says(&hosts[1], ":2");
    project.jecloud(&["run", "--", "node", "-p", "process.env.TOKEN"]).ok().says("hunter2");
    // It has never written anything, which is no mistake; that there is no such process is one.
    assert_eq!(project.jecloud(&["logs", "-p", "web"]).ok().stdout, "");
    let unknown = project.jecloud(&["logs", "-p", "nobody"]).code(2).says("no process nobody has written anything");
    unknown.says("app-1: There are: web.1.").says("db-1: There are: redis.1.");
    let (node, redis) = (hook("node"), hook("redis"));
    assert_eq!(handed(&project, "app-1"), (vec!["TOKEN".to_owned(), "redis-password".to_owned()], vec![node.clone()]));
    assert_eq!(handed(&project, "db-1"), (vec!["redis-password".to_owned()], vec![redis.clone()]));
    // It runs on, and keeps what it was given, while the app is deployed again.
    project.write("server.js", &format!("{CLIENT}// once more\n"));
    project.write("jecloud.toml", &format!("{config}[processes.web]\ncount = 1\n"));
    project.jecloud(&["deploy"]).ok();
    says(&hosts[0], ":3");
    assert_eq!(handed(&project, "db-1"), (vec!["redis-password".to_owned()], vec![redis]));
    // A name that none has is found by those who have both hooks.
    project.write("jecloud.toml", &format!("{config}[processes.wbe]\ncount = 1\n"));
    project.jecloud(&["deploy"]).code(1).says("wbe").says("still serves");
}

/// The same app for several Redis: it asks a Sentinel who leads.
const SENTINEL_CLIENT: &str = "
const net = require('node:net');
const { password } = new URL(process.env.REDIS_URL);
const ask = (port, host, words) => new Promise((resolve, reject) => {
  const socket = net.connect({ port, host, timeout: 5000 });
  let answer = '';
  socket.on('data', (data) => (answer += data));
  socket.on('timeout', () => socket.destroy(new Error('silent')));
  socket.on('error', reject);
  socket.on('end', () => resolve(answer.split('\\r\\n')));
  // A Sentinel knows no QUIT.
  socket.end(`AUTH ${password}\\r\\n${words}\\r\\n`);
});
const leader = async () => {
  for (const sentinel of process.env.REDIS_SENTINELS.split(',')) {
    const [host, port] = sentinel.split(':');
    const words = `SENTINEL get-master-addr-by-name ${process.env.REDIS_SENTINEL_NAME}`;
    const answer = await ask(port, host, words).catch(() => []);
    if (answer[3]) return { host: answer[3], port: answer[5] };
  }
  throw new Error('nobody leads');
};
const ready = async ({ host, port }) => {
  const sentinels = process.env.REDIS_SENTINELS.split(',').map((sentinel) => sentinel.split(':'));
  const known = await Promise.all(sentinels.map(([host, port]) => ask(port, host, 'INFO sentinel')));
  const complete = known.filter((lines) => lines.some((line) => line.endsWith('slaves=1,sentinels=3')));
  const replica = (await ask(port, host, 'INFO replication')).find((line) => line.startsWith('slave0:')) ?? '';
  return `${complete.length} sentinels, ${/state=online/.test(replica) ? 'one follows' : 'nobody follows'}`;
};
const visit = ({ host, port }) => ask(port, host, 'INCR visits').then((answer) => `${host} ${answer[1]}`);
require('node:http').createServer((request, response) => leader()
  .then(request.url === '/ready' ? ready : visit)
  .then((text) => response.end(text))
  .catch((error) => { response.statusCode = 503; response.end(error.message); })
).listen(process.env.PORT);
";

/// Two Redis and three Sentinels. The server of the one who leads loses its power: another one takes its place with what
/// was written.
///
/// Fails without the Sentinels: nobody takes its place.
#[test]
fn one_redis_takes_the_place_of_another() {
    let Some((mut network, hosts)) = network(4) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [\"{}\"]\n\
         [servers.db]\nhosts = [\"{}\", \"{}\", \"{}\"]\n[services.node]\n[services.redis]\non = \"db\"\nreplicas = 1\n",
        network.key().display(),
        hosts[0],
        hosts[1],
        hosts[2],
        hosts[3]
    );
    let files = [("jecloud.toml", config.as_str()), ("package.json", "{}"), ("server.js", SENTINEL_CLIENT)];
    let project = world.project_called("shop", &files);
    project.jecloud(&["deploy"]).ok().says("on 4 servers");
    let all = ["app-1 web.1", "db-1 redis.1", "db-1 sentinel.1", "db-2 redis.1", "db-2 sentinel.1", "db-3 sentinel.1"];
    assert_eq!(processes(&project, "production"), all);
    let answer = || get(&format!("http://{}/", hosts[0])).ok().filter(|answer| answer.status == 200);
    let from = |leader: &str| {
        let from_it = || answer().filter(|answer| answer.body.starts_with(leader));
        let answer = eventually(Duration::from_secs(60), "an answer of the one who leads", from_it).body;
        let (_, visits) = answer.split_once(" :").expect("what Redis says");
        visits.parse::<u32>().expect("a number")
    };
    // Nobody takes the place of one before all know each other and the other one has everything.
    let all_is_well = || {
        let said = get(&format!("http://{}/ready", hosts[0])).ok()?.body;
        (said == "3 sentinels, one follows").then_some(())
    };
    eventually(Duration::from_secs(60), "all know each other", all_is_well);
    assert_eq!(from(&hosts[1]), 1);
    network.kill(&hosts[1]);
    // What got no answer meanwhile may have been counted too.
    let visits = from(&hosts[2]);
    assert!(visits > 1, "what was written is there: {visits}");
    assert!(from(&hosts[2]) > visits);
}
