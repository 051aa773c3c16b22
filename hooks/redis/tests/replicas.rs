//! Several Redis: what runs where, who follows whom, and what is refused.

use jecloud_hook_redis::RedisHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{CommandResult, Next, Plan};

const REDIS: &str = "/usr/bin/redis-server Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0";

/// One of several servers, `10.0.0.1` and so on.
fn on(index: usize, servers: usize) -> ContextBuilder {
    let hosts: Vec<String> = (1..=servers).map(|index| format!("10.0.0.{index}")).collect();
    testing::context("shop")
        .service("redis")
        .setting("replicas", 1)
        .fact("program:redis-server", REDIS)
        .fact("group", "db")
        .fact("host", &format!("10.0.0.{index}"))
        .fact("hosts", &hosts.join(" "))
}

fn plan(index: usize) -> Plan {
    testing::prepare_deploy::<RedisHook>(&on(index, 3).build()).expect("a plan")
}

fn file<'a>(plan: &'a Plan, name: &str) -> &'a str {
    let found = plan.files.iter().find(|file| file.path.ends_with(name));
    &found.unwrap_or_else(|| panic!("no {name}")).content
}

#[test]
fn redis_on_two_servers_and_a_sentinel_on_three() {
    let names = |plan: &Plan| plan.processes.iter().map(|process| process.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&plan(1)), ["redis", "sentinel"]);
    assert_eq!(names(&plan(2)), ["redis", "sentinel"]);
    assert_eq!(names(&plan(3)), ["sentinel"]);
    // The one leads, the other follows, until Redis decides something else.
    assert!(!file(&plan(1), "leader.beginning").contains("replicaof"));
    assert_eq!(file(&plan(2), "leader.beginning"), "replicaof 10.0.0.1 6379\n");
    for index in 1..=3 {
        let plan = plan(index);
        assert!(file(&plan, "sentinel.beginning").contains("sentinel monitor shop 10.0.0.1 6379 2\n"));
        assert_eq!(plan.values["REDIS_SENTINELS"], "10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379");
        assert_eq!(plan.values["REDIS_URL"], "redis://:{secret:redis-password}@10.0.0.1:6379/0");
        // What Redis wrote is never replaced, and nothing that holds the password can be read by others.
        assert!(plan.build.iter().all(|command| command.argv[..2] == ["cp", "--no-clobber"]));
        assert!(plan.files.iter().all(|file| file.mode == 0o600 && !file.path.ends_with("leader.conf")));
        assert!(plan.processes.iter().all(|process| !process.argv.concat().contains("secret")));
    }
}

#[test]
fn too_few_servers_are_refused() {
    let refused = |context: ContextBuilder| {
        let problem = testing::prepare_deploy::<RedisHook>(&context.build()).expect_err("refused");
        format!("{}; {}", problem.message, problem.hint)
    };
    let two = refused(on(1, 2));
    assert!(two.starts_with("`replicas = 1` needs 3 servers, of which one can be lost, and there are 2; "), "{two}");
    assert!(two.contains("`count = 3` below [servers.db]"), "{two}");
    assert!(refused(on(1, 3).setting("replicas", 3)).contains("needs 4 servers"));
    assert!(testing::prepare_deploy::<RedisHook>(&on(1, 2).setting("replicas", 0).build()).is_ok());
    let restored = testing::restore::<RedisHook>(&on(1, 3).build(), &[]).expect_err("refused");
    assert!(restored.hint.contains("`replicas = 0`"), "{restored:?}");
}

fn result(id: &str, stdout: &str) -> CommandResult {
    CommandResult { id: id.to_owned(), exit_status: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

/// A server that takes the place of a lost one is made as the one who leads, with nothing in it. Fails where `started` does
/// not ask the others: two would lead, and the app could be sent to the empty one.
#[test]
fn who_comes_back_empty_follows_the_one_who_leads() {
    let started =
        |index: usize, results: &[CommandResult]| testing::started::<RedisHook>(&on(index, 3).build(), results);
    let Ok(Next::Again(questions)) = started(1, &[]) else { panic!("nobody is asked") };
    let asked: Vec<String> = questions.iter().map(|command| command.argv[3].clone()).collect();
    assert_eq!(asked, ["127.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let leads = result("role", "role:master\r\n");
    let says =
        |leader: &str| [leads.clone(), result("leader-0", &format!("{leader}\n6379\n")), result("leader-1", "\n")];
    let Ok(Next::Again(follow)) = started(1, &says("10.0.0.2")) else { panic!("it leads too") };
    assert_eq!(follow[0].argv[6..], ["replicaof", "10.0.0.2", "6379"].map(str::to_owned));
    // Who leads, or follows already, or is told of somebody who is none of them, is left alone.
    assert_eq!(started(1, &says("10.0.0.1")), Ok(Next::Done));
    assert_eq!(started(1, &says("10.9.9.9")), Ok(Next::Done));
    assert_eq!(started(1, &[result("role", "role:slave\r\n"), says("10.0.0.2")[1].clone()]), Ok(Next::Done));
    assert_eq!(started(3, &[]), Ok(Next::Done), "there is no Redis");
}
