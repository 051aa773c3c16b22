//! The real `jecloud` on a server that is reached by SSH: a real sshd on loopback, with a directory for a root.
//!
//! As root only: elsewhere JeCloud would have to become it, which no test may. It says so then.

#![expect(clippy::disallowed_methods, reason = "the tests look at what JeCloud leaves on the server")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jecloud_cloud::{
    Cloud, DirectoryStore, End, Found, Machines as _, ObjectStore as _, Options, Sources, StateFile, SystemWorld, keys,
    record_release, roll_forward, upload,
};
use jecloud_model::cloud::{Place, ServerRecord};
use jecloud_model::ids::{AppName, EnvironmentName};
use jecloud_model::layout::ServerRoot;
use jecloud_model::release::Release;
use jecloud_remote::{Binaries, Identity, KeyPair, Objects, Places, SshMachines, Target};
use jecloud_testkit::{Cable, Sshd, World};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A server, and how it is reached.
struct Far {
    sshd: Sshd,
    cable: Cable,
    key: KeyPair,
    directory: PathBuf,
    port: u16,
}

impl Far {
    /// One whose files are below the directory of a world; that ends what runs there.
    fn new(world: &World) -> Self {
        let (sshd, key) = (Sshd::start(&[]), KeyPair::generate("test").expect("a key"));
        sshd.allow(&key.public_line());
        let cable = Cable::to(sshd.port());
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        let directory = world.directory().join("far");
        // The app's user passes through.
        jecloud_disk::durable::create_dirs(&directory, 0o755).expect("a directory");
        Self { sshd, cable, key, directory, port }
    }

    fn places(&self) -> Places {
        Places {
            root: ServerRoot::new(self.directory.join("cloud")),
            program: self.directory.join("bin/jecloud"),
            versions: self.directory.join("lib"),
        }
    }

    /// As another laptop would have them: nothing is known but the key and the host.
    fn machines(&self) -> SshMachines {
        let target = Target { user: Sshd::user(), host: "127.0.0.1".to_owned(), port: self.cable.port() };
        let objects = Arc::new(Objects::new(self.directory.join("objects")));
        let mut machines = SshMachines::new([(place(), target)].into(), Identity::Key(self.key.clone()), objects);
        machines.places = self.places();
        machines.binaries = Binaries { own: env!("CARGO_BIN_EXE_jecloud").into(), others: BTreeMap::new() };
        machines.listen = vec![([127, 0, 0, 1], self.port).into()];
        machines
    }
}

fn place() -> Place {
    Place { environment: EnvironmentName::production(), server: "app-1".parse().expect("a name") }
}

/// Whether the test can run here.
fn can_run(test: &str) -> bool {
    let can = Sshd::user() == "root";
    if !can {
        eprintln!("left out, because it takes root: {test}");
    }
    can
}

/// A server that was made: its record, as the cloud state has it.
fn created(machines: &SshMachines) -> ServerRecord {
    let details = machines.details(&place()).expect("it is in the list");
    let record = ServerRecord { details, ..ServerRecord::default() };
    assert!(matches!(machines.find(&place(), &record), Found::Absent), "nobody has set it up");
    let details = machines.create(&place(), &record).unwrap_or_else(|error| panic!("{}", error.to_line()));
    ServerRecord { details, ..record }
}

fn target_of(link: &Path) -> PathBuf {
    std::fs::read_link(link).expect("a link")
}

#[test]
fn jecloud_installs_itself_and_finds_its_server_again() {
    if !can_run("jecloud_installs_itself_and_finds_its_server_again") {
        return;
    }
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let mut far = Far::new(&world);
    let machines = far.machines();
    let record = created(&machines);
    assert_eq!(record.details["host_key"], far.sshd.host_key().rsplit_once(' ').expect("a comment").0);
    let installed = target_of(&far.places().program);
    assert!(installed.starts_with(far.places().versions) && installed.ends_with("jecloud"));

    // Done again nothing is sent that is there.
    let before = far.cable.sent();
    assert_eq!(machines.create(&place(), &record).expect("it is there"), record.details);
    assert!(far.cable.sent() - before < 30_000, "{} bytes were sent", far.cable.sent() - before);

    // Another laptop, which has the state only.
    let Found::Present(machine) = far.machines().find(&place(), &record) else { panic!("it is there") };
    let output = machine.call(&["status"], None, LONG).expect("it answers");
    assert_eq!(output.status, 0);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["environments"], serde_json::json!([]));
    // Its own words where it says no.
    let refused = machine.call(&["put-hook", &"0".repeat(64), "/nowhere"], None, LONG).expect("it answers");
    assert_ne!(refused.status, 0);
    let said: serde_json::Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert!(said["error"].as_str().is_some_and(|error| error.contains("/nowhere")), "{said}");

    // What was set up and is gone is absent; a machine with another host key is nobody that we know.
    std::fs::remove_dir_all(far.places().root.path()).expect("it was there");
    assert!(matches!(far.machines().find(&place(), &record), Found::Absent));
    far.sshd.stop();
    far.sshd.new_host_key();
    far.sshd.run();
    let Found::Unknown(error) = far.machines().find(&place(), &record) else { panic!("it is another one") };
    assert!(error.to_line().contains("host key"), "{}", error.to_line());
}

/// The release of an app that was deployed on this machine, with its objects.
fn release_of(world: &World, app: &AppName) -> (Release, Sources) {
    let near = DirectoryStore::new(world.home().join("clouds").join(app.as_str()));
    let known = StateFile::new(&near, app, &SystemWorld).read().expect("readable").expect("it was deployed");
    let environment = &known.state.environments[&EnvironmentName::production()];
    let release = environment.releases.last().expect("a release").release.clone();
    let file = |key: String| near.file_of(&key).expect("it was stored");
    let hooks = release.services.values().map(|service| service.hook.clone());
    let sources = Sources {
        archives: [(release.version.clone(), file(keys::archive(&release.version)))].into(),
        hooks: hooks.map(|hook| (hook.clone(), file(keys::hook(&hook)))).collect(),
    };
    (release, sources)
}

/// The whole way: installed, set up, handed objects and a release, followed until it serves.
#[test]
fn an_app_is_deployed_to_a_server_by_ssh() {
    if !can_run("an_app_is_deployed_to_a_server_by_ssh") {
        return;
    }
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let app: AppName = "guestbook".parse().expect("a name");
    let server = "require('node:http').createServer((request, response) => response.end('from afar\\n'))\
                  .listen(process.env.PORT)\n";
    let package = r#"{"name": "guestbook", "version": "1.0.0", "scripts": {"start": "node server.js"}}"#;
    let files = [("package.json", package), ("jecloud.toml", "app = \"guestbook\"\n"), ("server.js", server)];
    world.project(&files).jecloud(&["deploy"]).ok();
    let (release, sources) = release_of(&world, &app);
    world.shut_down();

    let far = Far::new(&world);
    let machines = far.machines();
    let store = DirectoryStore::new(far.directory.join("store"));
    let cloud = Cloud { app: &app, store: &store, machines: &machines, world: &SystemWorld };
    upload(&store, &sources, &mut ()).expect("it is stored");
    let number = record_release(cloud, None, release, [("app".parse().expect("a group"), 1)].into());
    let number = number.expect("it is recorded").number;
    let environment = Some(EnvironmentName::production());
    let options = Options { environment, release: Some(number), ..Options::default() };
    let begin = Instant::now();
    let report = roll_forward(cloud, &options, &mut ()).expect("it rolls forward");
    assert!(matches!(report.end, End::Serving), "{report:?}");
    println!("installed and deployed in {:?}", begin.elapsed());
    assert_eq!(world.get(&format!("http://127.0.0.1:{}/", far.port)), (200, "from afar\n".to_owned()));

    // From elsewhere, with the state only: there is nothing to do.
    let machines = far.machines();
    let cloud = Cloud { machines: &machines, ..cloud };
    let report = roll_forward(cloud, &Options::default(), &mut ()).expect("it rolls forward");
    assert!(matches!(report.end, End::Settled), "{report:?}");
}
