//! Whoever deploys may die or change: the state lies in S3, and the servers know what they were told.

use jecloud_testkit::s3::S3Server;
use jecloud_testkit::{Output, Project, World};

use crate::{network, project, says, server};

/// Runs a command with credentials, and with more variables.
fn jecloud(project: &Project, more: &[(&str, &str)], args: &[&str]) -> Output {
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", S3Server::KEY.id),
        ("AWS_SECRET_ACCESS_KEY", S3Server::KEY.secret),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    variables.extend(more);
    project.jecloud_with(&variables, args)
}

/// The command is killed at effects of a deployment, one after the other, and somebody with nothing but the project and
/// the credentials goes on. What serves is always the old version or the new one.
///
/// Fails where anything that matters is kept only on the machine that deploys.
#[test]
fn killed_anywhere_and_continued_from_another_machine() {
    let Some((network, hosts)) = network(2) else { return };
    let store = S3Server::start();
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &network, &hosts, "");
    let config = project.read("jecloud.toml").expect("it is there");
    let cloud = format!("[cloud]\nstore = \"s3\"\nregion = \"eu-west-1\"\nendpoint = \"{}\"", store.url());
    project.write("jecloud.toml", &config.replace("[cloud]", &cloud));

    // Without credentials nothing is done, and one is told what is missing.
    project.jecloud_with(&[("AWS_EC2_METADATA_DISABLED", "true")], &["deploy"]).code(1).says("credentials");
    jecloud(&project, &[], &["deploy"]).ok().says("on 2 servers");
    hosts.iter().for_each(|host| says(host, "one"));

    let counter = world.directory().join("points").display().to_string();
    project.write("server.js", &server("counted"));
    jecloud(&project, &[("JECLOUD_FAULT", "*#1000000=crash"), ("JECLOUD_FAULT_COUNTER", &counter)], &["deploy"]).ok();
    let points = std::fs::read_to_string(&counter).expect("the points").lines().count();
    assert!(points > 10, "only {points} points");
    // Neither home nor caches: another machine each time. Seven is prime to the steps of a deployment.
    let mut before = "counted".to_owned();
    for point in (1..=points).step_by(7) {
        let now = format!("version {point}");
        project.write("server.js", &server(&now));
        let home = world.directory().join(format!("laptop-{point}")).display().to_string();
        let fault = format!("*#{point}=crash");
        let died = jecloud(&project, &[("JECLOUD_HOME", &home), ("JECLOUD_FAULT", &fault)], &["deploy"]);
        let context = format!("killed at point {point} of {points}\n{}", died.said());
        for host in &hosts {
            let answer = jecloud_testkit::get(&format!("http://{host}/")).expect("an answer").body;
            assert!(answer == before || answer == now, "{answer:?} from {host}, {context}");
        }
        let other = world.directory().join(format!("other-{point}")).display().to_string();
        let goes_on = jecloud(&project, &[("JECLOUD_HOME", &other)], &["deploy"]);
        assert_eq!(goes_on.status, 0, "{context}\n{}", goes_on.said());
        hosts.iter().for_each(|host| says(host, &now));
        before = now;
    }
    jecloud(&project, &[], &["destroy", "-y"]).ok();
    jecloud(&project, &[], &["status"]).code(1).says("is not deployed");
}
