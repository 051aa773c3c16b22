//! The hook, called natively as the host calls the component: machines and settings in, packages and plans out.

use jecloud_hook_redis::RedisHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{Context, Health, Package, Plan, Problem, Source};

fn context() -> ContextBuilder {
    testing::context("guestbook").service("redis")
}

/// A server that has Redis 7.0.15.
fn with_redis() -> ContextBuilder {
    context().fact(
        "program:redis-server",
        "/usr/bin/redis-server Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0",
    )
}

/// A fresh Debian 12.
fn debian_12() -> ContextBuilder {
    let candidate = context().fact("candidate:redis-server", "5:7.0.15-1~deb12u1");
    candidate.fact("can-install", "true").fact("package-manager", "apt")
}

fn packages(context: &Context) -> Result<Vec<Package>, Problem> {
    testing::required_packages::<RedisHook>(context)
}

fn plan(context: &Context) -> Result<Plan, Problem> {
    testing::prepare_deploy::<RedisHook>(context)
}

fn problem<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
    let problem = result.expect_err("a problem");
    format!("{}; {}", problem.message, problem.hint)
}

#[test]
fn what_is_there_is_used_and_pinned() {
    let [package] = &packages(&with_redis().build()).expect("packages")[..] else { panic!() };
    assert_eq!((package.name.as_str(), package.version.as_str(), package.pin), ("redis", "7.0.15", true));
    assert_eq!(package.source, Source::Present);
    let [package, tools] = &packages(&debian_12().build()).expect("packages")[..] else { panic!() };
    assert_eq!((tools.name.as_str(), &tools.version, tools.pin), ("redis-tools", &package.version, true));
    assert_eq!((package.name.as_str(), package.version.as_str()), ("redis-server", "5:7.0.15-1~deb12u1"));
    assert_eq!(package.source, Source::Distribution);
    // Once it is installed it is there, and stays the distribution's.
    let installed = with_redis().pin("redis-server", "5:7.0.15-1~deb12u1").build();
    assert_eq!(packages(&installed).expect("packages")[0].source, Source::Distribution);
}

#[test]
fn a_version_that_cannot_be_had_is_refused() {
    let problem_of = |builder: ContextBuilder| problem(packages(&builder.build()));
    assert_eq!(
        problem_of(context()),
        "Redis 7 or later cannot be had: this server has no Redis, and nothing can be installed on it; install \
         redis-server on the server"
    );
    let asked = problem_of(debian_12().setting("version", "8"));
    assert!(asked.starts_with("Redis 8 cannot be had") && asked.contains("offers 5:7.0.15-1~deb12u1"), "{asked}");
    let pinned = problem_of(debian_12().pin("redis-server", "5:7.0.14-1"));
    assert!(pinned.contains("jecloud.lock holds") && pinned.contains("`jecloud upgrade redis`"), "{pinned}");
    // The same Redis, packaged anew, is another package.
    let repackaged = problem_of(debian_12().pin("redis-server", "5:7.0.15-1~deb12u0"));
    assert!(repackaged.contains("Redis 5:7.0.15-1~deb12u0, which jecloud.lock holds"), "{repackaged}");
    let moved = packages(&debian_12().pin("redis", "7.0.15").build()).expect("it is the same Redis");
    assert_eq!(moved[0].version, "5:7.0.15-1~deb12u1");
    // The distribution's is there, and somebody put another one before it.
    let before = context().fact("program:redis-server", "/usr/local/bin/redis-server Redis server v=7.0.16 sha=0");
    let before = before.fact("candidate:redis-server", "5:7.0.15-1").fact("can-install", "true").pin("redis", "7.0.15");
    assert!(packages(&before.clone().build()).is_ok());
    let hidden = problem_of(before.fact("installed:redis-server", "5:7.0.15-1"));
    assert!(hidden.contains("has Redis 7.0.16") && hidden.contains("`jecloud upgrade redis`"), "{hidden}");
    // What is asked for by now counts more than a pin.
    assert!(packages(&debian_12().pin("redis-server", "5:6.0.16-1").setting("version", "7.0").build()).is_ok());
    assert!(packages(&with_redis().setting("version", 7).build()).is_ok());
    let old = context().fact("program:redis-server", "/usr/bin/redis-server Redis server v=6.0.16 sha=0");
    assert!(problem_of(old).contains("has Redis 6.0.16"));
}

#[test]
fn it_listens_where_nobody_else_does_and_its_password_is_in_no_argument() {
    let plan = plan(&with_redis().build()).expect("a plan");
    let [file, _] = &plan.files[..] else { panic!() };
    assert!(plan.files.iter().all(|file| file.mode == 0o600));
    for line in ["bind 127.0.0.1", "port {port:redis}", "requirepass {secret:redis-password}", "appendfsync everysec"] {
        assert!(file.content.lines().any(|found| found == line), "{line} in {}", file.content);
    }
    // Where other servers need it, it listens for them too, and is started anew when it has another address.
    let on = |host: &str, shared: &str| {
        let context = with_redis().fact("host", host).fact("hosts", host).fact("shared", shared).build();
        testing::prepare_deploy::<RedisHook>(&context).expect("a plan").files[0].clone()
    };
    let there = on("10.0.0.7", "true");
    assert_eq!([on("127.0.0.1", "true"), on("10.0.0.7", "false")], [file.clone(), file.clone()]);
    assert!(there.content.lines().any(|line| line == "bind 127.0.0.1 -10.0.0.7"), "{}", there.content);
    assert_ne!(there.path, file.path);
    let [process] = &plan.processes[..] else { panic!() };
    assert_eq!(process.argv, ["redis-server", &file.path]);
    assert!(!process.beside);
    assert_eq!(
        process.health,
        Health::Command(["redis-cli", "-e", "-p", "{port:redis}", "ping"].map(str::to_owned).into())
    );
    assert_eq!(plan.values["REDIS_URL"], "redis://:{secret:redis-password}@{host}:{port:redis}/0");
    assert_eq!(plan.remember["version"], "7.0.15");
}

/// Fails where the file keeps its name: a Redis that runs on would get another configuration when it is started again,
/// and one whose configuration changes would not be restarted.
#[test]
fn another_configuration_is_another_file() {
    let path = |builder: ContextBuilder| plan(&builder.build()).expect("a plan").files[0].path.clone();
    assert_eq!(path(with_redis()), path(with_redis().version(&"1".repeat(64))));
    assert_ne!(path(with_redis()), path(with_redis().setting("memory", "256mb")));
    // Otherwise the older one would run on after an upgrade.
    let repaired = "/usr/bin/redis-server Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 build=1";
    assert_ne!(path(with_redis()), path(context().fact("program:redis-server", repaired)));
}

#[test]
fn settings_reach_the_configuration() {
    let builder = with_redis().setting("memory", "256mb").setting("eviction", "allkeys-lru").setting("sync", "always");
    let content = plan(&builder.build()).expect("a plan").files[0].content.clone();
    for line in ["maxmemory 256mb", "maxmemory-policy allkeys-lru", "appendfsync always"] {
        assert!(content.lines().any(|found| found == line), "{line} in {content}");
    }
    let senseless = problem(plan(&with_redis().setting("eviction", "allkeys-lru").build()));
    assert!(senseless.contains("memory = \"256mb\""), "{senseless}");
}

/// Fails where it is looked at only once it is installed: a Redis that dies is started again as the one on the disk.
#[test]
fn data_is_not_given_to_a_redis_that_might_not_read_it() {
    let of = |version: &str| {
        context().fact("program:redis-server", &format!("/usr/bin/redis-server Redis server v={version} sha=0"))
    };
    let refused = |now: &str, wrote: &str| {
        let context = of(now).remembered("version", wrote).build();
        let installing = problem(packages(&context));
        assert_eq!(problem(plan(&context)), installing);
        installing
    };
    let back = refused("7.0.15", "7.2.4");
    assert!(back.contains("may not be able to read it") && back.contains("keep Redis 7.2"), "{back}");
    let older = refused("7.0.14", "7.0.15");
    assert!(older.contains("is older") && older.contains("version = \"7.0.14\""), "{older}");
    let up = refused("8.0.1", "7.2.4");
    assert!(up.contains("no way back") && up.contains("version = \"8\""), "{up}");
    // Not even where it was asked for: there is no way.
    let context = of("7.0.15").remembered("version", "7.2.4").setting("version", "7.0.15").build();
    assert!(problem(packages(&context)).contains("may not be able to read it"));
    for (now, wrote, asked) in [
        ("7.0.15", "7.0.15", None),
        ("7.0.16", "7.0.15", None),
        ("7.0.14", "7.0.15", Some("7.0.14")),
        ("7.2.0", "7.0.15", None),
        ("8.0.1", "7.2.4", Some("8")),
    ] {
        let mut builder = of(now).remembered("version", wrote);
        if let Some(asked) = asked {
            builder = builder.setting("version", asked);
        }
        assert!(plan(&builder.build()).is_ok(), "{now} after {wrote}");
    }
}

/// Fails where data is given to another Redis that cannot be given back.
#[test]
fn a_backup_comes_before_a_step_without_a_way_back() {
    let wants_backup = |wrote: &str| {
        let plan = plan(&with_redis().setting("version", "7").remembered("version", wrote).build()).expect("a plan");
        plan.options.contains_key("backup-first")
    };
    assert!(wants_backup("6.2.14"));
    assert!(!wants_backup("7.0.11") && !wants_backup("7.0.15"));
}
