//! What servers are launched from, what they share, and what is found out about it.

use jecloud_cloud::Machines;
use jecloud_ec2::{Action, Api as _, CleanedUp, Failure, Finding, Group, Image, KeyPair, Tags};
use jecloud_model::cloud::Place;

use crate::cloud::{Faults, let_in};
use crate::life::{End, Life, place};

fn launch(life: &Life, place: &Place) -> serde_json::Value {
    life.machines().details(place).expect("details")["launch"].clone()
}

fn refusal(life: &Life) -> (String, String) {
    let error = life.machines().details(&place("app-1")).expect_err("an error");
    (error.to_line(), error.hint().to_owned())
}

#[test]
fn everything_that_a_launch_takes_is_recorded() {
    let mut life = Life::new(1, 1);
    let app = launch(&life, &place("app-1"));
    assert_eq!(app["image"], "ami-new");
    assert_eq!(app["type"], "t3.small");
    assert_eq!(app["disk"], serde_json::json!({ "device": "/dev/xvda", "gib": 20 }));
    assert_eq!(app["tags"]["jecloud:launch"], app["client_token"]);
    assert_ne!(launch(&life, &place("app-1"))["client_token"], app["client_token"]);
    // Servers of a group are spread over the zones that have the type.
    let zones = ["app-1", "app-2", "app-3"].map(|server| launch(&life, &place(server))["zone"].clone());
    assert_eq!(zones, ["eu-west-1a", "eu-west-1b", "eu-west-1a"]);
    let db = place("db-1");
    life.settings.types.insert((db.environment.clone(), db.server.group.clone()), "t4g.medium".to_owned());
    assert_eq!(launch(&life, &db)["image"], "ami-arm");
    life.settings.disk_gib = 1;
    life.settings.image = Image::Id("ami-old".to_owned());
    let app = launch(&life, &place("app-1"));
    assert_eq!((&app["image"], &app["disk"]["gib"]), (&"ami-old".into(), &8.into()));
}

/// What could not be set up is not launched, and nothing is made for it. Fails without asking before the launch: then it
/// is found out on a machine that costs money.
#[test]
fn nothing_is_launched_that_no_binary_is_for() {
    let mut life = Life::new(1, 1);
    *life.network.unfit.lock().unwrap() = Some("arm64".to_owned());
    life.settings.default_type = "t4g.small".to_owned();
    assert_eq!(refusal(&life), ("the server needs a JeCloud for arm64".to_owned(), "Build one.".to_owned()));
    {
        let inside = life.ec2.get();
        assert!(inside.groups.is_empty() && inside.keys.is_empty(), "{:?} {:?}", inside.groups, inside.keys);
    }
    life.settings.default_type = "t3.small".to_owned();
    assert_eq!(launch(&life, &place("app-1"))["image"], "ami-new");
}

/// One message and one hint each, and nothing that is half made.
#[test]
fn what_stands_in_the_way_is_said() {
    let mut life = Life::new(1, 1);
    life.ec2.get().has_no_vpc = true;
    let (error, hint) = refusal(&life);
    let expected = "cannot find out how to launch server app-1 of production: the region eu-west-1 has no default VPC; \
                    nothing was launched";
    assert_eq!(error, expected);
    assert!(hint.contains("create-default-vpc"), "{hint}");
    life.ec2.get().has_no_vpc = false;
    life.settings.default_type = "t9.huge".to_owned();
    assert!(refusal(&life).0.contains("the instance type t9.huge does not exist in eu-west-1"));
    life.settings.default_type = "t4g.small".to_owned();
    life.settings.image = Image::Id("ami-new".to_owned());
    assert!(refusal(&life).0.contains("it is for x86_64, and t4g.small is arm64"), "{:?}", refusal(&life));
    life.settings.image = Image::Newest { owner: "self".to_owned(), name: "none-{arch}".to_owned() };
    assert!(refusal(&life).0.contains("nothing of self is named none-arm64"), "{:?}", refusal(&life));
    life.settings.image = Image::default();
    life.faults(Faults { denied: vec![Action::ImportKeyPair], ..Faults::default() });
    let (error, hint) = refusal(&life);
    assert!(error.contains("do not permit ec2:ImportKeyPair"), "{error}");
    assert!(hint.contains("permit ec2:ImportKeyPair"), "{hint}");
    assert!(life.ec2.get().groups.is_empty() && life.ec2.get().keys.is_empty());
}

#[test]
fn the_group_lets_in_what_it_has_to() {
    let mut life = Life::new(1, 1);
    launch(&life, &place("app-1"));
    let group = life.ec2.get().groups[0].clone();
    assert_eq!(let_in(&group, Some(22)), ["0.0.0.0/0"]);
    assert_eq!(let_in(&group, Some(80)), ["0.0.0.0/0", "::/0"]);
    assert_eq!(let_in(&group, Some(443)), ["0.0.0.0/0", "::/0"]);
    assert_eq!(let_in(&group, None), [group.id.as_str()]);
    // What a person has added stays; a network that is configured no more goes.
    let other = jecloud_ec2::Rule {
        port: Some(5432),
        from: jecloud_ec2::Source::Network("198.51.100.0/24".to_owned()),
        description: String::new(),
    };
    life.ec2.authorize(&group.id, &other).unwrap();
    life.settings.ssh_from = vec!["203.0.113.0/24".to_owned()];
    launch(&life, &place("app-2"));
    let groups = life.ec2.get().groups.clone();
    assert_eq!(groups.len(), 1);
    assert_eq!(let_in(&groups[0], Some(22)), ["203.0.113.0/24"]);
    assert_eq!(let_in(&groups[0], Some(5432)), ["198.51.100.0/24"]);
}

/// Fails without the look at the tags: somebody else's group of the same name would get our rules, or be deleted.
#[test]
fn what_others_have_is_left_alone() {
    let life = Life::new(1, 1);
    let others = Group { id: "sg-x".into(), name: "jecloud-guestbook".into(), tags: Tags::new(), rules: Vec::new() };
    life.ec2.get().groups.push(others.clone());
    let (error, hint) = refusal(&life);
    assert!(error.contains("security group jecloud-guestbook which does not carry the tags"), "{error}");
    assert!(hint.contains("AWS console"), "{hint}");
    life.ec2.get().keys.push(KeyPair { name: "ada".into(), tags: Tags::new() });
    assert!(matches!(life.machines().clean_up().unwrap(), CleanedUp::Done(removed) if removed.len() == 1));
    assert_eq!(life.ec2.get().groups, [others]);
    assert_eq!(life.ec2.get().keys.len(), 1);
}

#[test]
fn what_servers_share_stays_while_there_are_servers() {
    let mut life = Life::new(1, 1);
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled);
    let living = life.ec2.living();
    assert_eq!(machines.clean_up().unwrap(), CleanedUp::InUse(living));
    assert_eq!(life.ec2.get().groups.len(), 1);
    assert_eq!(life.ec2.get().keys.len(), 1);
    life.destroy();
    life.end();
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let mut life = Life::new(1, 2);
    let machines = life.machines();
    assert_eq!(life.settle(&machines), End::Settled);
    let vcpus = |used, needed| Finding::Vcpus { used, needed, region: "eu-west-1".to_owned() };
    assert_eq!(machines.doctor(&life.state).unwrap(), [vcpus(4, 0)]);

    let mut forgetful = life.state.clone();
    forgetful.environments.values_mut().for_each(|environment| {
        environment.servers.pop_last();
    });
    let found = machines.doctor(&forgetful).unwrap();
    let orphan = life.ec2.living()[1].clone();
    assert_eq!(found[0].to_string(), format!("instance {orphan} (app-2 of production) is not in the cloud state"));
    assert!(found[0].is_trouble() && found[0].hint().contains(&orphan));

    life.ec2.get().instances[0].is_stopped = true;
    life.ec2.get().has_no_vpc = true;
    life.faults(Faults { denied: vec![Action::TerminateInstances], ..Faults::default() });
    let found: Vec<String> = machines.doctor(&life.state).unwrap().iter().map(ToString::to_string).collect();
    let stopped = format!("instance {} (app-1) is stopped", life.ec2.living()[0]);
    let expected = [
        "the AWS credentials do not permit ec2:TerminateInstances",
        "the region eu-west-1 has no default VPC",
        &stopped,
        "2 vCPUs of the account run, and 0 more are wanted",
    ];
    assert_eq!(found, expected);

    life.faults(Faults::default());
    life.ec2.get().instances[0].is_stopped = false;
    life.destroy();
    assert_eq!(life.settle(&machines), End::Settled);
    life.ec2.get().instances.clear();
    let found = machines.doctor(&life.state).unwrap();
    assert!(found.iter().any(|finding| matches!(finding, Finding::UnusedGroup { .. })), "{found:?}");
    assert!(found.iter().any(|finding| matches!(finding, Finding::UnusedKey { .. })), "{found:?}");
}

/// Somebody who has no credentials is told so, and not that everything is permitted.
#[test]
fn the_doctor_needs_credentials() {
    let life = Life::new(1, 0);
    life.faults(Faults { lost: 100, ..Faults::default() });
    assert!(life.machines().doctor(&life.state).is_err());
    assert!(!Failure::answer(401, "AuthFailure", "no").is_transient());
}
