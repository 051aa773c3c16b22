//! What goes wrong, as the protocol says it.

use std::time::Duration;

use jecloud_cloud::Machines;
use jecloud_ec2::{Api, AwsApi, Failure, Image};
use jecloud_model::cloud::ServerRecord;

use crate::{access, api, machines, place, settings, start};

#[test]
fn what_does_not_exist() {
    let moto = start();
    let api = api(&moto);
    assert_eq!(api.instance_type("t9.huge"), Ok(None));
    assert_eq!(api.image("ami-0ffffffffffffffff"), Ok(None));
    assert_eq!(api.instances(&[("instance-id", "i-0ffffffffffffffff")]), Ok(Vec::new()));
    let gone = api.terminate(&["i-0ffffffffffffffff".to_owned()]).unwrap_err();
    assert!(gone.has_code(&["InvalidInstanceID.NotFound"]), "{gone:?}");
    assert_eq!(api.delete_key_pair("none"), Ok(()));

    let mut settings = settings();
    settings.image = Image::Id("ami-0ffffffffffffffff".to_owned());
    let error = machines(settings, &api).details(&place("app-1")).unwrap_err();
    let expected = "cannot find out how to launch server app-1 of production: there is no image ami-0ffffffffffffffff \
                    in the region eu-west-1; nothing was launched";
    assert_eq!(error.to_line(), expected);
    assert!(error.hint().contains("belongs to one region"), "{}", error.hint());
}

/// What a recorded launch names was deleted meanwhile: the answer is understood as one that is for good.
#[test]
fn a_launch_that_names_what_is_gone() {
    let moto = start();
    let api = api(&moto);
    let machines = machines(settings(), &api);
    let record = ServerRecord { details: machines.details(&place("app-1")).unwrap(), ..ServerRecord::default() };
    let key = record.details["launch"]["key_name"].as_str().unwrap();
    api.delete_key_pair(key).unwrap();
    let error = machines.create(&place("app-1"), &record).unwrap_err().to_line();
    assert!(error.contains("InvalidKeyPair.NotFound") && error.ends_with("no server was launched"), "{error}");
    assert!(matches!(machines.find(&place("app-1"), &record), jecloud_cloud::Found::Gone));
}

#[test]
fn a_type_that_the_region_does_not_have() {
    let moto = start();
    let mut other = access(&moto);
    other.region = Some("eu-west-3".to_owned());
    let api = std::sync::Arc::new(AwsApi::new(&other).unwrap());
    let mut settings = settings();
    settings.default_type = "p5.48xlarge".to_owned();
    let error = machines(settings, &api).details(&place("app-1")).unwrap_err().to_line();
    assert!(error.contains("p5.48xlarge") && error.contains("eu-west-3"), "{error}");
}

#[test]
fn nobody_answers() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", taken.local_addr().unwrap());
    let mut access = access(&start());
    access.endpoint = Some(endpoint);
    access.patience = Duration::from_millis(300);
    let silent = AwsApi::new(&access).unwrap().default_vpc().unwrap_err();
    assert_eq!(silent, Failure::Lost("there was no answer in time".to_owned()));
    drop(taken);
    let refused = AwsApi::new(&access).unwrap().default_vpc().unwrap_err();
    assert!(matches!(&refused, Failure::Lost(why) if why.contains("refused")), "{refused:?}");
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", access(&start()));
    assert!(!shown.contains("secret") && !shown.contains("AKIA"), "{shown}");
}
