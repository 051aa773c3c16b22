//! MongoDB out of a repository that is signed, on a server that runs systemd and had none before.

#![expect(clippy::disallowed_types, reason = "serves the files of a repository")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jecloud_testkit::{Project, SystemdMachines, World, eventually};

use crate::network;

/// How long MongoDB may take to be back after a power cut.
const BACK: Duration = Duration::from_secs(60);

/// The packages that stand for MongoDB's own: made by `cargo xtask test`.
fn packages() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/mongodb");
    let found = std::fs::canonicalize(place).ok().filter(|place| place.join("jecloud-pins.txt").exists());
    if found.is_none() {
        eprintln!("left out: `cargo xtask test` makes packages of MongoDB");
    }
    found
}

/// Runs a program, which must succeed. What it says.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sum(path: &Path) -> String {
    run("sha256sum", &[&path.display().to_string()])[..64].to_owned()
}

/// A repository as MongoDB's is laid out, of the packages in a directory, signed with a key of its own. The key is served
/// beside it; what works on it ends here.
fn publish(into: &Path, packages: &Path) {
    let suite = into.join("dists/bookworm/mongodb-org/6.0");
    let index = suite.join("main/binary-amd64/Packages");
    std::fs::create_dir_all(index.parent().expect("a directory")).expect("directories");
    let mut text = String::new();
    for entry in std::fs::read_dir(packages).expect("packages").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let control = run("dpkg-deb", &["--field", &path.display().to_string()]);
            let (name, bytes) = (entry.file_name(), entry.metadata().expect("a file").len());
            text += &format!("{control}Filename: pool/{}\nSize: {bytes}\nSHA256: {}\n\n", name.display(), sum(&path));
        }
    }
    std::fs::write(&index, &text).expect("a file");
    let date = run("date", &["--utc", "--rfc-email"]);
    let release = format!(
        "Suite: bookworm/mongodb-org/6.0\nComponents: main\nArchitectures: amd64\nDate: {date}SHA256:\n {} {} \
         main/binary-amd64/Packages\n",
        sum(&index),
        text.len()
    );
    std::fs::write(suite.join("Release"), release).expect("a file");
    let home = into.join("gpg").display().to_string();
    run("mkdir", &["-m", "700", &home]);
    let gpg =
        |arguments: &[&str]| run("gpg", &[&["--homedir", &home, "--batch", "--quiet", "--yes"], arguments].concat());
    gpg(&["--passphrase", "", "--quick-generate-key", "signer@example.com", "rsa2048", "sign", "never"]);
    let [signed, unsigned] = ["InRelease", "Release"].map(|name| suite.join(name).display().to_string());
    gpg(&["--output", &signed, "--clearsign", &unsigned]);
    let key = gpg(&["--armor", "--export", "signer@example.com"]);
    std::fs::write(into.join("key.asc"), key).expect("a file");
    run("gpgconf", &["--homedir", &home, "--kill", "gpg-agent"]);
}

/// Serves a directory, with the packages below `pool`, on an address until the test's process ends. Its URL.
fn serve(address: &str, directory: PathBuf, pool: PathBuf) -> String {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who breaks off is the client's affair.
            let _ = answer(&stream, &directory, &pool);
        }
    });
    url
}

fn answer(mut stream: &TcpStream, directory: &Path, pool: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let path = path.strip_prefix("pool/").map_or_else(|| directory.join(path), |name| pool.join(name));
    match std::fs::File::open(&path).ok().filter(|_| path.is_file()) {
        Some(mut file) => {
            let bytes = file.metadata()?.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n")?;
            std::io::copy(&mut file, &mut stream).map(drop)
        }
        None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}

/// Asks the MongoDB of a machine, as the user that its key stands for.
fn asked(machines: &SystemdMachines, host: &str, script: &str) -> String {
    let services = "/var/cloud/kept/production/services/mongodb";
    machines.tell(
        host,
        &format!(
            "export PORT=$(sed -n 's/^ *port: //p' {services}/mongod-*.conf) KEY=$(cat {services}/key) HOME=/root\n\
             exec mongosh --quiet --norc --nodb --eval \"db = connect('mongodb://127.0.0.1:' + process.env.PORT + \
             '/kept?directConnection=true'); db.getSiblingDB('local').auth('__system', process.env.KEY); print({script})\"\n"
        ),
    )
}

/// It is installed out of the repository of its series, with the key that belongs to it and no other, is pinned, runs as a
/// unit, and has what was written after a power cut.
///
/// Fails where the sum of the key is not compared, where the suite is another one, where the version is not pinned, and
/// where `mongod` is not started at boot.
#[test]
fn it_comes_out_of_its_repository() {
    let Some(packages) = packages() else { return };
    let Some(mut machines) = SystemdMachines::new() else { return };
    let host = machines.start();
    // What takes a machine with a lot to do beside longer than a command may take here: its lists, and what is Debian's own.
    let script = "echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/fast; apt-get -qq update && \
                  DEBIAN_FRONTEND=noninteractive apt-get -qq install libcurl4 liblzma5 libssl3 >&2";
    machines.tell(&host, script);
    let (network, _) = host.rsplit_once('.').expect("an address");
    let directory = tempfile::tempdir().expect("a directory");
    publish(directory.path(), &packages);
    let key = sum(&directory.path().join("key.asc"));
    let url = serve(&format!("{network}.1"), directory.path().to_owned(), packages);
    let config = |key: &str| {
        format!(
            "app = \"kept\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.app]\nhosts = [\"{host}\"]\n\
             [services.mongodb]\nversion = \"6.0\"\nmirror = \"{url}\"\nkey = \"{url}/key.asc\"\nkey_sha256 = \"{key}\"\n",
            machines.key().display()
        )
    };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let project = world.project_called("kept", &[("jecloud.toml", &config(&"0".repeat(64)))]);
    project.jecloud(&["deploy"]).code(1).says("is not what its checksum says");
    assert_eq!(machines.tell(&host, "ls /usr/bin/mongo* /etc/apt/sources.list.d/jecloud-* 2>/dev/null || :"), "");
    project.write("jecloud.toml", &config(&key));
    project.jecloud(&["deploy"]).ok().says("mongodb-org-server 6.0.5").says("started: mongodb.1");
    let lock = project.read("jecloud.lock").expect("it was written");
    assert!(lock.contains("mongodb-org-server") && lock.contains("6.0.5"), "{lock}");
    assert_eq!(asked(&machines, &host, "db.things.insertOne({ kept: true }).acknowledged"), "true\n");
    let units = "systemctl list-units --plain --no-legend 'jecloud-kept.*.mongodb.*' | cut -d' ' -f1,4";
    assert!(machines.tell(&host, units).contains("running"), "{}", machines.tell(&host, units));

    machines.kill(&host);
    machines.power_on(&host);
    eventually(BACK, "it has what was written", || {
        (asked(&machines, &host, "db.things.countDocuments({ kept: true })") == "1\n").then_some(())
    });
    project.jecloud(&["destroy", "--yes"]).ok();
    assert_eq!(machines.tell(&host, "ls /var/cloud/kept 2>/dev/null || :"), "");
}

/// What the app's user is answered by the set, or by one of it; none where it is not.
fn told(project: &Project, addresses: &[String], more: &str, script: &str) -> Option<String> {
    let path = project.world().home().join("remote/kept/secrets/production.json");
    let secrets: serde_json::Value = serde_json::from_slice(&std::fs::read(path).expect("secrets")).expect("JSON");
    let password = secrets["secrets"]["mongodb-password"]["value"].as_str().expect("it was made");
    let addresses: Vec<String> = addresses.iter().map(|host| format!("{host}:27017")).collect();
    let url = format!(
        "mongodb://kept:{password}@{}/kept?authSource=admin&serverSelectionTimeoutMS=5000&{more}",
        addresses.join(",")
    );
    let output = Command::new("mongosh").args(["--quiet", "--norc", &url, "--eval", script]).output().expect("mongosh");
    if !output.status.success() {
        eprintln!("{script}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One member becomes three, one again, and three; then the server of the one that writes loses its power for good.
///
/// Fails where nobody calls `reshape` (there is one member), where a member counts before it has the data, and where who
/// writes is taken out of the set without handing that over.
#[test]
fn a_set_grows_shrinks_and_survives() {
    if packages().is_none() {
        return;
    }
    let Some((mut network, hosts)) = network(3) else { return };
    let world = World::new(env!("CARGO_BIN_EXE_jecloud"));
    let config = |servers: usize, replicas: usize| {
        let quoted: Vec<String> = hosts[..servers].iter().map(|host| format!("\"{host}\"")).collect();
        format!(
            "app = \"kept\"\n[cloud]\nprovider = \"ssh\"\nkey = \"{}\"\n[servers.db]\nhosts = [{}]\n\
             [services.mongodb]\nreplicas = {replicas}\n",
            network.key().display(),
            quoted.join(", ")
        )
    };
    let project = world.project_called("kept", &[("jecloud.toml", config(3, 1).as_str())]);
    project.jecloud(&["deploy"]).ok();
    let insert = |text: &str| {
        format!("db.words.insertOne({{ text: '{text}' }}, {{ writeConcern: {{ w: 'majority' }} }}).acknowledged")
    };
    let tell = |hosts: &[String], script: &str| told(&project, hosts, "replicaSet=rs0", script);
    assert_eq!(tell(&hosts[..1], &insert("one")).as_deref(), Some("true"));
    let members = || {
        let script = "db.hello().hosts.join(' ')";
        told(&project, &hosts[..1], "directConnection=true", script).map(|said| said.split(' ').count())
    };
    for replicas in [3, 1, 3] {
        project.write("jecloud.toml", &config(3, replicas));
        project.jecloud(&["deploy"]).ok();
        assert_eq!(members(), Some(replicas));
        assert_eq!(tell(&hosts[..replicas], &insert(&format!("{replicas}"))).as_deref(), Some("true"));
    }
    let leader = tell(&hosts, "db.hello().primary").expect("somebody writes");
    network.kill(leader.split(':').next().expect("an address"));
    let again = || tell(&hosts, &insert("again")).filter(|said| said == "true");
    eventually(BACK, "another one writes", again);
    let texts = tell(&hosts, "db.words.find().sort({ _id: 1 }).map(({ text }) => text).toArray().join(' ')");
    let texts = texts.expect("what was written");
    // What got no answer while nobody wrote may be there too.
    assert!(texts.starts_with("one 3 1 3 again"), "{texts}");
}
