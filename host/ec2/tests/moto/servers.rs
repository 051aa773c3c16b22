//! From an account with nothing in it to servers, and back.

use jecloud_cloud::{Found, Machines};
use jecloud_ec2::{Action, Api, CleanedUp, Failure, Finding, InstanceState, Rule, Source, instance_of};
use jecloud_model::cloud::{CloudState, Place, ServerRecord};

use crate::{api, machines, place, settings, start};

fn seen(machines: &impl Machines, place: &Place, record: &ServerRecord) -> &'static str {
    match machines.find(place, record) {
        Found::Present(_) => "present",
        Found::Absent => "absent",
        Found::Gone => "gone",
        Found::Silent(error) | Found::Unseen(error) | Found::Unknown(error) => panic!("{}", error.to_line()),
    }
}

#[test]
fn from_nothing_to_a_server_and_back() {
    let moto = start();
    let api = api(&moto);
    let machines = machines(settings(), &api);
    let place = place("app-1");
    let mut record = ServerRecord { details: machines.details(&place).unwrap(), ..ServerRecord::default() };
    let launch = record.details["launch"].clone();
    assert_eq!((&launch["image"], &launch["type"]), (&"ami-0aa2".into(), &"t3.small".into()));
    assert_eq!(seen(&machines, &place, &record), "absent");

    let before = record.clone();
    record.details = machines.create(&place, &record).unwrap();
    let id = instance_of(&record.details).unwrap().to_owned();
    assert_eq!(record.details["launch"], launch);
    // The reply may have been lost before it was recorded: it is the same server, and stays the only one.
    assert_eq!(machines.create(&place, &before).unwrap(), record.details);
    assert_eq!(machines.create(&place, &record).unwrap(), record.details);
    let all = api.instances(&[]).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0].id, all[0].state, &*all[0].instance_type), (&id, InstanceState::Running, "t3.small"));
    let tags = serde_json::to_value(&all[0].tags).unwrap();
    assert_eq!(tags, launch["tags"]);
    assert_eq!(all[0].public_address.as_deref(), record.details["public_address"].as_str());
    assert_eq!(seen(&machines, &place, &record), "absent", "it says that it was wiped");
    assert_eq!(machines.clean_up().unwrap(), CleanedUp::InUse(vec![id.clone()]));

    machines.remove(&place, &record).unwrap();
    machines.remove(&place, &record).unwrap();
    assert_eq!(seen(&machines, &place, &record), "gone");
    assert!(matches!(machines.clean_up().unwrap(), CleanedUp::Done(removed) if removed.len() == 2));
    assert!(api.groups(&[("tag:jecloud:app", "guestbook")]).unwrap().is_empty());
    assert!(api.key_pairs(&[]).unwrap().is_empty());
}

/// What was launched, but not recorded, is removed too.
#[test]
fn what_is_half_made_is_removed() {
    let moto = start();
    let api = api(&moto);
    let machines = machines(settings(), &api);
    let place = place("app-1");
    let record = ServerRecord { details: machines.details(&place).unwrap(), ..ServerRecord::default() };
    machines.create(&place, &record).unwrap();
    machines.remove(&place, &record).unwrap();
    assert!(api.instances(&[]).unwrap()[0].state.is_over());
}

#[test]
fn the_type_decides_about_the_image() {
    let moto = start();
    let mut settings = settings();
    settings.default_type = "t4g.small".to_owned();
    let details = machines(settings, &api(&moto)).details(&place("app-1")).unwrap();
    assert_eq!(details["launch"]["image"], "ami-0aa3");
}

#[test]
fn rules_are_understood_and_taken_back() {
    let moto = start();
    let api = api(&moto);
    let vpc = api.default_vpc().unwrap().expect("a default VPC");
    let subnets = api.default_subnets(&vpc).unwrap();
    assert!(subnets.len() > 1 && subnets.iter().all(|subnet| subnet.zone.starts_with("eu-west-1")), "{subnets:?}");
    assert!(api.zones_of_type("t3.small").unwrap().contains(&subnets[0].zone));
    let tags: jecloud_ec2::Tags = [("jecloud:app".to_owned(), "x".to_owned())].into();
    let id = api.create_group("jecloud-x", "a group", &vpc, &tags).unwrap();
    let rule = |port, from| Rule { port, from, description: "why".to_owned() };
    let rules = [
        rule(Some(22), Source::Network("192.0.2.0/24".to_owned())),
        rule(Some(80), Source::Network("::/0".to_owned())),
        rule(None, Source::Group(id.clone())),
    ];
    for one in &rules {
        api.authorize(&id, one).unwrap();
        let again = api.authorize(&id, one).unwrap_err();
        assert!(again.has_code(&["InvalidPermission.Duplicate"]), "{again:?}");
    }
    let mut found = api.groups(&[("group-name", "jecloud-x")]).unwrap().remove(0).rules;
    // It keeps no text of what lets in a group.
    found.iter_mut().for_each(|rule| rule.description = "why".to_owned());
    found.sort();
    let mut expected = rules.to_vec();
    expected.sort();
    assert_eq!(found, expected);
    for one in &rules {
        api.revoke(&id, one).unwrap();
    }
    assert_eq!(api.groups(&[("group-name", "jecloud-x")]).unwrap()[0].rules, []);
    let twice = api.create_group("jecloud-x", "a group", &vpc, &tags).unwrap_err();
    assert!(twice.has_code(&["InvalidGroup.Duplicate"]), "{twice:?}");
    api.delete_group(&id).unwrap();
    assert!(api.delete_group(&id).unwrap_err().has_code(&["InvalidGroup.NotFound"]));
}

#[test]
fn the_doctor_finds_orphans() {
    let moto = start();
    let api = api(&moto);
    let machines = machines(settings(), &api);
    let record = ServerRecord { details: machines.details(&place("app-1")).unwrap(), ..ServerRecord::default() };
    let details = machines.create(&place("app-1"), &record).unwrap();
    let state = CloudState::found(&"guestbook".parse().unwrap(), &"0".repeat(32).parse().unwrap());
    let found = machines.doctor(&state).unwrap();
    let orphan = instance_of(&details).unwrap();
    assert!(matches!(&found[0], Finding::Orphan { instance, .. } if instance == orphan), "{found:?}");
    assert!(matches!(found.last(), Some(Finding::Vcpus { used: 2, needed: 0, .. })), "{found:?}");
}

/// All questions about permissions are well formed: none is refused for its form.
#[test]
fn permissions_are_asked_for() {
    let moto = start();
    let api = api(&moto);
    for action in Action::ALL {
        match api.dry_run(action) {
            Ok(()) => {}
            Err(Failure::Answer(answer)) => {
                let is_missing = answer.code.contains("NotFound") || answer.status == 501;
                assert!(is_missing, "{action:?}: {answer:?}");
            }
            Err(failure) => panic!("{action:?}: {failure:?}"),
        }
    }
}
