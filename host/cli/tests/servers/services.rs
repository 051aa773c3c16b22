//! Services that a server's distribution installs, on machines that boot systemd.

use std::time::Duration;

use jecloud_testkit::{SystemdMachines, World, eventually, get};

use crate::says;

/// How long a machine's services may take after its power was cut.
const BACK: Duration = Duration::from_secs(60);

/// Answers with what Redis has counted.
const COUNTER: &str = "
const { hostname, port, password } = new URL(process.env.REDIS_URL);
const server = require('node:http').createServer((request, response) => {
  const socket = require('node:net').connect(port, hostname);
  let answer = '';
  socket.on('data', (data) => (answer += data));
  socket.on('error', (error) => { response.statusCode = 503; response.end(error.code); });
  socket.on('end', () => response.end(answer.split('\\r\\n')[1]));
  socket.write(`AUTH ${password}\\r\\nGET count\\r\\nINCR count\\r\\nQUIT\\r\\n`);
});
server.listen(process.env.PORT);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
";

/// Debian would start its own Redis on port 6379, for everybody on the machine and without a password, now and at every
/// boot. What was on the machine before goes on, and its policy is none again.
///
/// Fails without `NotStarted` in `packages/apt.rs`, and after a boot where what was not started is not disabled.
#[test]
fn what_is_installed_is_not_started_beside_ours() {
    let Some(mut machines) = SystemdMachines::new() else { return };
    let host = machines.start();
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = format!(
        "app = \"shop\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [\"{host}\"]\n\
         [services.node]\n[services.redis]\nsync = \"always\"\n",
        machines.key().display(),
    );
    let files = [("jecloud.toml", config.as_str()), ("package.json", "{}"), ("server.js", COUNTER)];
    let project = world.project_called("shop", &files);
    let cron = machines.tell(&host, "systemctl show --value --property=MainPID cron");
    project.jecloud(&["deploy"]).ok().says("redis-server 5:7").says("redis-tools 5:7");
    // Exactly these packages are pinned; what is newer would be asked of the distribution.
    let lock = project.read("jecloud.lock").expect("a lock");
    assert!(lock.contains("redis-server = \"5:7") && lock.contains("nodejs = \"18"), "{lock}");
    project.jecloud(&["upgrade", "--check"]).ok().says("There is nothing newer");

    let only_ours = |machines: &SystemdMachines| {
        let running =
            machines.tell(&host, "cat /proc/[0-9]*/comm 2>/dev/null | grep --count --line-regexp redis-server");
        assert_eq!(running.trim(), "1");
        assert_eq!(machines.tell(&host, "ss -Hltn 'sport = :6379'").trim(), "");
        assert_eq!(machines.tell(&host, "systemctl is-enabled redis-server").trim(), "disabled");
        assert_eq!(machines.tell(&host, "ls /usr/sbin/policy-rc.d 2>/dev/null; true").trim(), "");
    };
    only_ours(&machines);
    assert_eq!(machines.tell(&host, "systemctl show --value --property=MainPID cron"), cron, "it was left alone");
    says(&host, "$-1");

    machines.kill(&host);
    machines.power_on(&host);
    let counted = || get(&format!("http://{host}/")).ok().filter(|answer| answer.status == 200);
    let answer = eventually(BACK, "what was written is there", counted);
    assert_eq!(answer.body, "$1");
    only_ours(&machines);
    project.jecloud(&["destroy", "--yes"]).ok();
}
