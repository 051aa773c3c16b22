//! A set on several servers: what runs where, what the app is told, and who takes members in.

use jecloud_hook_mongodb::MongoHook;
use jecloud_sdk::testing::{self, ContextBuilder};
use jecloud_sdk::{CommandResult, Next, Plan};

/// One of so many servers, `10.0.0.1` and so on, of a set of three.
fn on(index: usize, servers: usize) -> ContextBuilder {
    let hosts: Vec<String> = (1..=servers).map(|index| format!("10.0.0.{index}")).collect();
    testing::context("shop")
        .service("mongodb")
        .setting("replicas", 3)
        .fact("program:mongod", "/usr/bin/mongod db version v7.0.15")
        .fact("program:mongosh", "/usr/bin/mongosh 2.12.0")
        .fact("group", "db")
        .fact("host", &format!("10.0.0.{index}"))
        .fact("hosts", &hosts.join(" "))
}

fn plan(index: usize, servers: usize) -> Plan {
    testing::prepare_deploy::<MongoHook>(&on(index, servers).build()).expect("a plan")
}

/// Fails where who is a member no more is stopped before the others have taken it out of the set.
#[test]
fn every_server_has_a_mongod_and_the_first_are_members() {
    for index in 1..=4 {
        let plan = plan(index, 4);
        let [process] = &plan.processes[..] else { panic!("{:?}", plan.processes) };
        assert_eq!((process.ports.as_slice(), process.beside), (["27017".to_owned()].as_slice(), false));
        assert!(plan.files[0].content.contains(&format!("port: 27017\n  bindIp: 127.0.0.1,10.0.0.{index}\n")));
        assert_eq!(
            plan.values["MONGODB_URL"],
            "mongodb://shop:{secret:mongodb-password}@10.0.0.1:27017,10.0.0.2:27017,10.0.0.3:27017/shop\
             ?replicaSet=rs0&authSource=admin"
        );
        assert_eq!(plan.remember["members"], "3");
    }
    // More or fewer members are no reason to start anything anew.
    assert_eq!(plan(1, 3).processes, plan(1, 4).processes);
}

#[test]
fn too_few_servers_and_a_set_that_is_forgotten_are_refused() {
    let refused = |context: ContextBuilder| {
        let problem = testing::prepare_deploy::<MongoHook>(&context.build()).expect_err("refused");
        format!("{}; {}", problem.message, problem.hint)
    };
    let two = refused(on(1, 2));
    assert!(two.contains("needs as many servers, and there are 2; write `on = \"db\"`"), "{two}");
    let alone = testing::context("shop").service("mongodb").remembered("members", "3");
    let alone = alone.fact("program:mongod", "/usr/bin/mongod db version v7.0.15");
    assert!(refused(alone.fact("program:mongosh", "/usr/bin/mongosh 2")).contains("write `replicas = 1`"));
    let restored = testing::restore::<MongoHook>(&on(1, 3).build(), &[]).expect_err("refused");
    assert!(restored.hint.contains("`replicas = 1`"), "{restored:?}");
}

#[test]
fn the_first_server_makes_the_set_and_takes_the_others_in() {
    let context = |index| on(index, 3).build();
    assert_eq!(testing::started::<MongoHook>(&context(2), &[]), Ok(Next::Done), "it is taken in");
    let Ok(Next::Again(look)) = testing::started::<MongoHook>(&context(1), &[]) else { panic!("nobody looks") };
    assert_eq!(look[0].env["MONGODB_MEMBERS"], "10.0.0.1:27017,10.0.0.2:27017,10.0.0.3:27017");
    assert_eq!(look[0].env["MONGODB_PORT"], "27017");
    let reshape = |results: &[CommandResult]| testing::reshape::<MongoHook>(&context(1), &[], &[], results);
    let Ok(Next::Again(commands)) = reshape(&[]) else { panic!("nobody is taken in") };
    assert_eq!(commands[0].id, "reshape");
    assert!(commands[0].argv.iter().all(|argument| !argument.contains("secret")));
    let result = |exit_status, stdout: &str| CommandResult {
        id: "reshape".to_owned(),
        exit_status: Some(exit_status),
        stdout: stdout.to_owned(),
        stderr: "Error: 10.0.0.3:27017 does not get the data".to_owned(),
    };
    assert_eq!(reshape(&[result(0, "{\"members\":[]}\n")]), Ok(Next::Done));
    assert!(reshape(&[result(1, "")]).expect_err("it failed").message.contains("does not get the data"));
    let alone = testing::context("shop").service("mongodb").build();
    assert_eq!(testing::reshape::<MongoHook>(&alone, &[], &[], &[]), Ok(Next::Done));
}
