//! The first command on a fresh Debian 12 with nothing on it: Node.js is installed by the distribution's package
//! manager, pinned, and the app serves. Who is not root is told what to type.

#![expect(clippy::disallowed_methods, reason = "tests set up a machine from the outside")]

mod machine;

use std::fs;
use std::path::Path;
use std::process::Output;

use machine::Machine;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), b"\n", &output.stderr].concat()).into_owned()
}

/// What a command that must succeed wrote to standard output.
#[track_caller]
fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", output.status, said(output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Fails without `apt::lacks_lists`, since a fresh machine knows no packages; and without the installation itself.
#[test]
fn the_first_command() {
    if let Some(obstacle) = machine::obstacle() {
        eprintln!("left out: {obstacle}");
        return;
    }
    let machine = Machine::start();
    fs::copy(env!("CARGO_BIN_EXE_jecloud"), machine.path("/usr/local/bin/jecloud")).expect("a new file");
    let version = machine.types("root", "jecloud version");
    if said(&version).contains("GLIBC") {
        eprintln!("left out: the binary was built on a newer system than Debian 12");
        return;
    }
    ok(&version);
    ok(&machine.types("root", "useradd -m tester"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello-node");
    for home in ["/root", "/home/tester"] {
        let project = machine.path(home).join("hello-node");
        fs::create_dir(&project).expect("a new directory");
        for file in ["package.json", "server.js", "jecloud.toml"] {
            fs::copy(example.join(file), project.join(file)).expect("a file of the example");
        }
    }
    // Not the official archives: some machines reach them and some do not.
    let configuration = machine.path("/home/tester/hello-node/jecloud.toml");
    let text = fs::read_to_string(&configuration).expect("it was copied");
    fs::write(&configuration, format!("{text}\n[services.node]\nmirror = \"http://127.0.0.1:9\"\n"))
        .expect("it is ours");
    ok(&machine.types("root", "chown -R tester: /home/tester"));

    assert!(!machine.types("root", "command -v node").status.success(), "the machine is not fresh");
    let refused = machine.types("tester", "jecloud deploy hello-node");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    for text in ["cannot fetch http://127.0.0.1:9/", "Nothing serves yet", "`sudo apt-get install nodejs`"] {
        assert!(said(&refused).contains(text), "{text}\n{}", said(&refused));
    }

    let deployed = machine.types("root", "jecloud deploy hello-node");
    ok(&deployed);
    assert!(said(&deployed).contains("Finished in "), "{}", said(&deployed));
    let status = ok(&machine.types("root", "cd hello-node && jecloud status --json"));
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let environment = &status["environments"][0];
    // Its network is this machine's.
    let answer = jecloud_testkit::get(environment["url"].as_str().expect("a URL")).expect("an answer");
    assert_eq!((answer.status, answer.body.contains("Hello from hello-node")), (200, true), "{}", answer.body);
    let pid = &environment["processes"][0]["pid"];
    assert_eq!(ok(&machine.types("root", &format!("stat -c %U /proc/{pid}"))), "jc-hello-node-production");

    let package = ok(&machine.types("root", "dpkg-query --show --showformat='${db:Status-Status} ${Version}' nodejs"));
    let (status, package) = package.split_once(' ').expect("two words");
    let node = ok(&machine.types("root", "node --version")).trim_start_matches('v').to_owned();
    assert_eq!((status, package.starts_with(&node)), ("installed", true), "{package} {node}");
    let lock = fs::read_to_string(machine.path("/root/hello-node/jecloud.lock")).expect("it was written");
    assert!(lock.contains(&node), "{lock}");
}
