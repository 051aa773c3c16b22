//! What people and providers do behind our back, end to end.

use std::time::Duration;

use jecloud_testkit::{TestCloud, World, eventually};

use crate::amazon::{jecloud, project};
use crate::{network, says, server};

/// What it is called, what becomes of the text of the state (none: it is deleted), and what is said about it.
type Damage = (&'static str, fn(&str) -> Option<String>, &'static str);

/// On EC2, with the state in S3: a state that was deleted, truncated, or written by a newer JeCloud is refused and
/// restored from the versions of the bucket, and the servers are those that there were. A server that somebody terminated
/// is replaced.
///
/// Fails where the history of an object that is deleted is not found (a new cloud would be made beside the old one), and
/// where an instance that has ended counts as one that is only not reached.
#[test]
fn states_and_servers_that_somebody_deleted() {
    let Some(cloud) = TestCloud::start() else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = project(&world, &cloud, 1);
    let jecloud = |args: &[&str]| jecloud(&cloud, &project, &[], args);
    jecloud(&["deploy"]).ok();
    let [host] = cloud.running().into_iter().collect::<Vec<_>>().try_into().expect("one server");
    let [bucket] = cloud.store().bucket_names().try_into().expect("one bucket");
    let text = || {
        let newest = cloud.store().contents(&bucket, "state.json").pop().expect("a state");
        String::from_utf8(newest.to_vec()).expect("text")
    };
    let damages: [Damage; 3] = [
        ("deleted", |_| None, "has been deleted from"),
        ("truncated", |text| Some(text[..text.len() / 3].to_owned()), "it is damaged: EOF while parsing"),
        ("newer", |text| Some(text.replace("\"min_writer\": 1", "\"min_writer\": 9")), "written by a newer JeCloud"),
    ];
    for (what, damage, said) in damages {
        let before = text();
        cloud.store().write_by_hand(&bucket, "state.json", damage(&before).as_deref());
        let footprint = cloud.footprint();
        for command in [&["deploy"][..], &["destroy", "-y"], &["status"]] {
            jecloud(command).code(1).says(said).says("what runs on the servers goes on");
        }
        says(&host, "one");
        if what == "newer" {
            jecloud(&["state", "restore"]).code(1).says(said);
            assert_eq!(cloud.footprint(), footprint, "{what}");
            cloud.store().write_by_hand(&bucket, "state.json", Some(&before));
        } else {
            assert_eq!(cloud.footprint(), footprint, "{what}");
            jecloud(&["state", "restore"]).ok();
        }
        jecloud(&["fwd"]).ok();
        says(&host, "one");
    }
    assert_eq!(cloud.instances().len(), 1, "nothing was launched for that");

    cloud.terminate(&cloud.instances()[0].id);
    eventually(Duration::from_secs(20), "it is off", || {
        jecloud_testkit::get(&format!("http://{host}/")).err().map(drop)
    });
    project.write("server.js", &server("two"));
    jecloud(&["deploy"]).ok();
    let running = cloud.running();
    assert_eq!((running.len(), cloud.instances().len()), (1, 2), "{running:?}");
    running.iter().for_each(|host| says(host, "two"));

    jecloud(&["doctor"]).ok().says("Nothing is wrong that could be seen.");
    jecloud(&["destroy", "-y"]).ok();
    assert_eq!(cloud.shared_of("shop"), Vec::<String>::new());
}

/// A server that shows another host key gets nothing: neither a command nor an archive, and the person is told what to
/// do about it. Fails where a key that changed is taken for a new one.
#[test]
fn a_host_key_that_changed_stops_everything() {
    let Some((mut network, hosts)) = network(1) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = crate::project(&world, &network, &hosts, "");
    project.jecloud(&["deploy"]).ok();
    says(&hosts[0], "one");
    network.kill(&hosts[0]);
    // Somebody else's machine, at the same address.
    network.start_at(&hosts[0]);
    project.write("server.js", &server("two"));
    for command in [&["deploy"][..], &["fwd"]] {
        let refused = project.jecloud(command);
        assert_ne!(refused.status, 0, "{}", refused.said());
        refused.says("host key").says("only then remove its host_key with `jecloud state edit`");
    }
    let listens = jecloud_testkit::get(&format!("http://{}/", hosts[0]));
    assert!(listens.is_err(), "something was installed: {listens:?}");
}
