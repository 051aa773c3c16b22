//! What takes a process of its own: where credentials are found, and how much memory transfers take.
//!
//! This program is its own helper: started with `open` or `transfer` it uses a store. Without, it runs the checks, or
//! those whose names contain the first argument.

#![expect(clippy::disallowed_methods, reason = "the tests start processes and look at files by hand")]

use std::error::Error as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use jecloud_cloud::ObjectStore as _;
use jecloud_s3::{Credentials, S3Options, S3Store};
use jecloud_testkit::s3::S3Server;

/// What is sent: more than may be in memory.
const LARGE: u64 = 128 << 20;

/// What may be in memory for it: four parts of 8 MiB, what is on its way of them, and something to spare.
const BOUND: u64 = 72 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("open") => return open(),
        Some("transfer") => return transfer(&args[1], Path::new(&args[2])),
        _ => {}
    }
    let checks: &[(&str, fn())] = &[
        ("without_credentials", without_credentials),
        ("without_a_region", without_a_region),
        ("credentials_of_the_environment", credentials_of_the_environment),
        ("credentials_of_a_profile", credentials_of_a_profile),
        ("credentials_of_a_program", credentials_of_a_program),
        ("an_expired_login", an_expired_login),
        ("memory_is_bounded", memory_is_bounded),
    ];
    let wanted = args.iter().find(|arg| !arg.starts_with('-'));
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, check) in checks.iter().filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(&**wanted))) {
        if std::panic::catch_unwind(check).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed.push(*name);
        }
    }
    println!("\ntest result: {passed} passed; {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Opens the store that the environment says, as the command line will.
fn open() -> ExitCode {
    match S3Store::open(&S3Options::new(&"guestbook".parse().expect("a name"))) {
        Ok(store) => {
            println!("{}", store.describe());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            println!("{error}: {cause}\nhint: {}\n{error:?}", error.hint());
            ExitCode::FAILURE
        }
    }
}

/// `open` with nothing in its environment but this, and a home of its own; what it wrote.
fn opened(home: &Path, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("open").env_clear().env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(S3Server::KEY.secret), "{text}");
    (output.status.success(), text)
}

/// A home with these files below `.aws`.
fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    for (name, text) in files {
        std::fs::write(home.path().join(".aws").join(name), text).unwrap();
    }
    home
}

/// On a machine that has no roles to give, and on one where something that is not Amazon's answers for it.
fn without_credentials() {
    let server = S3Server::start();
    let home = home(&[]);
    let region = ("AWS_REGION", "eu-west-1");
    let elsewhere = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*server.url());
    for environment in [&[region][..], &[region, elsewhere, ("AWS_EC2_METADATA_DISABLED", "false")]] {
        let (done, text) = opened(home.path(), environment);
        assert!(!done && text.contains("there are no AWS credentials\n"), "{text}");
        assert!(text.contains("hint: log in with `aws login` or `aws sso login`, or set AWS_PROFILE"), "{text}");
    }
    assert!(!server.calls().is_empty(), "the machine was not asked");
}

fn without_a_region() {
    let home = home(&[]);
    let (id, secret) = (S3Server::KEY.id, S3Server::KEY.secret);
    let (done, text) = opened(home.path(), &[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)]);
    assert!(!done && text.contains("no AWS region is configured"), "{text}");
    assert!(text.contains("below [cloud] in jecloud.toml"), "{text}");
}

/// The store is found by the environment too, and asked who we are.
fn credentials_of_the_environment() {
    let server = S3Server::start();
    let home = home(&[]);
    let (done, text) = opened(
        home.path(),
        &[
            ("AWS_ACCESS_KEY_ID", S3Server::KEY.id),
            ("AWS_SECRET_ACCESS_KEY", S3Server::KEY.secret),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_S3", &server.url()),
        ],
    );
    assert!(done, "{text}");
    assert_eq!(text, format!("the bucket jecloud-guestbook-8365695b at {}\n", server.url()));
    assert_eq!(server.calls(), ["GetCallerIdentity", "ListObjectsV2"]);
}

fn credentials_of_a_profile() {
    let server = S3Server::start();
    let (id, secret) = (S3Server::KEY.id, S3Server::KEY.secret);
    let home = home(&[
        ("credentials", &format!("[work]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")),
        ("config", &format!("[profile work]\nregion = eu-west-1\nendpoint_url = {}\n", server.url())),
    ]);
    let (done, text) = opened(home.path(), &[("AWS_PROFILE", "work")]);
    assert!(done && text.contains("jecloud-guestbook-8365695b"), "{text}");
}

/// Fails without the feature of aws-config for it.
fn credentials_of_a_program() {
    let server = S3Server::start();
    let (id, secret) = (S3Server::KEY.id, S3Server::KEY.secret);
    let answer = format!("{{\"Version\": 1, \"AccessKeyId\": \"{id}\", \"SecretAccessKey\": \"{secret}\"}}");
    let home = home(&[("answer.json", &answer)]);
    let program = format!("cat {}/.aws/answer.json", home.path().display());
    let config = format!("[default]\nregion = eu-west-1\ncredential_process = {program}\n");
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    let environment = [("AWS_ENDPOINT_URL", &*server.url()), ("PATH", "/usr/bin:/bin")];
    let (done, text) = opened(home.path(), &environment);
    assert!(done && text.contains("jecloud-guestbook-8365695b"), "{text}");
}

/// Fails without the feature of aws-config for single sign-on: that would be no credentials, with another hint.
fn an_expired_login() {
    let config = "[default]\nregion = eu-west-1\nsso_session = work\nsso_account_id = 123456789012\n\
                  sso_role_name = admin\n[sso-session work]\nsso_region = eu-west-1\n\
                  sso_start_url = https://example.com/start\nsso_registration_scopes = sso:account:access\n";
    let home = home(&[("config", config)]);
    let (done, text) = opened(home.path(), &[]);
    assert!(!done && text.contains("the AWS credentials could not be obtained"), "{text}");
    assert!(text.contains("hint: log in again, with `aws login` or `aws sso login`"), "{text}");
}

/// Sends a file and fetches it again; how much more memory that took than the process had before, in bytes.
fn transfer(url: &str, directory: &Path) -> ExitCode {
    let credentials = Credentials::Fixed {
        access_key_id: S3Server::KEY.id.to_owned(),
        secret_access_key: S3Server::KEY.secret.to_owned(),
        session_token: None,
    };
    let options = S3Options::new(&"guestbook".parse().expect("a name")).region(Some("eu-west-1")).endpoint(Some(url));
    let store = S3Store::open(&options.credentials(credentials)).expect("a store");
    let before = memory("VmRSS:");
    store.put_file("versions/1", &directory.join("from"), &mut |_| {}).expect("an upload");
    assert!(store.get_to_file("versions/1", &directory.join("to")).expect("a download"));
    println!("{}", memory("VmHWM:").saturating_sub(before));
    ExitCode::SUCCESS
}

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Fails where a file is read whole, up or down.
fn memory_is_bounded() {
    let server = S3Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let bytes: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
    std::fs::write(&from, &bytes).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["transfer", &server.url()]).arg(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let took: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(took < BOUND, "{} MiB were taken for {} MiB", took >> 20, LARGE >> 20);
    assert!(std::fs::read(&to).unwrap() == bytes, "another content");
}
