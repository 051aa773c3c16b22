//! From what is wanted of a process to its unit and its variables: a pure function, but for the file of its program.

use std::fmt::Write as _;

use jecloud_launch::{DEFAULT_PATH, User, find_program};
use jecloud_model::hook::Identity;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessSpec;

use crate::name::UnitName;
use crate::observe::environment_file;
use crate::{hardening, journal, quote};

/// What systemd sets by itself and an app is not to see where nobody has wished it.
const NOT_OURS: [&str; 9] =
    ["HOME", "INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LOGNAME", "PATH", "SHELL", "SYSTEMD_EXEC_PID", "USER"];

/// From the end of a process to its next start.
const RESTART: &str = "1s";

/// A process that ends so often within [`BURST_TIME`] is left alone; it is tried again when [`crate::plan::RETRY`] is
/// over.
const BURST: u32 = 10;

/// See [`BURST`].
const BURST_TIME: &str = "2min";

/// What is written for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The unit.
    pub(crate) unit: String,
    /// Its variables, secrets filled in.
    pub(crate) environment: String,
}

/// What is written for a process, or why it cannot be started.
///
/// `user` is as whom it runs, where that is not root; `variables` are complete.
pub(crate) fn render(
    root: &ServerRoot,
    name: &UnitName,
    spec: &ProcessSpec,
    user: Option<User>,
    variables: &[(String, String)],
) -> Result<Files, String> {
    let user = match (spec.run_as, user) {
        (Identity::Root, _) => None,
        (Identity::App, Some(user)) => Some(user),
        (Identity::App, None) => return Err("there is no user as whom it could run".to_owned()),
    };
    let (program, arguments) = spec.argv.split_first().ok_or("its command is empty")?;
    let program = program_file(program, spec, variables)?;
    let words: Vec<String> = std::iter::once(&program).chain(arguments).map(|word| quote::word(word)).collect();
    let cwd = quote::line(&spec.cwd).ok_or("its directory has a name that systemd does not take")?;
    let place = root.environment(&name.app, &name.environment);
    let writable = [place.version(&spec.version), place.service(&spec.service)];
    let writable: Vec<String> = writable.iter().map(|path| quote::word(&format!("-{}", path.display()))).collect();
    let (app, environment, id) = (&name.app, &name.environment, &spec.id);
    let mut unit = format!(
        "# Written by JeCloud, and written anew: changes belong into a drop-in.\n\
         [Unit]\n\
         Description=JeCloud: {id} of {app} {environment}\n\
         After=network.target\n\
         StartLimitIntervalSec={BURST_TIME}\n\
         StartLimitBurst={BURST}\n\n\
         [Service]\n\
         Type=exec\n\
         ExecStart=:{}\n\
         WorkingDirectory={cwd}\n\
         EnvironmentFile={}\n\
         Restart=always\n\
         RestartSec={RESTART}\n\
         KillSignal=SIGTERM\n\
         TimeoutStopSec={}ms\n\
         Slice=jecloud.slice\n",
        words.join(" "),
        environment_file(root, name).display(),
        spec.stop_timeout_ms,
    );
    let unset: Vec<&str> =
        NOT_OURS.into_iter().filter(|known| variables.iter().all(|(name, _)| name != known)).collect();
    let _ = writeln!(unit, "UnsetEnvironment={}", unset.join(" "));
    unit.push_str(&journal::lines(name));
    if let Some(User { uid, gid }) = user {
        let _ = writeln!(unit, "User={uid}\nGroup={gid}");
    }
    let _ = writeln!(unit, "ReadWritePaths={}", writable.join(" "));
    if user.is_some() {
        unit.push_str("ProtectHome=yes\n");
    }
    if let Some(bytes) = spec.limits.memory_bytes {
        let _ = writeln!(unit, "MemoryMax={bytes}");
    }
    if let Some(millis) = spec.limits.cpu_millis {
        let _ = writeln!(unit, "CPUQuota={}.{}%", millis / 10, millis % 10);
    }
    unit.push_str(&hardening::lines(user.is_none()));
    let environment = variables.iter().map(|(name, value)| quote::variable(name, value)).collect();
    Ok(Files { unit, environment })
}

/// The program's file: systemd looks for a name in directories of its own, and takes no path from anywhere.
fn program_file(program: &str, spec: &ProcessSpec, variables: &[(String, String)]) -> Result<String, String> {
    let missing = |place: &str| format!("the program {program} was not found in {place}");
    if program.starts_with('/') {
        return Ok(program.to_owned());
    }
    if program.contains('/') {
        return Ok(format!("{}/{program}", spec.cwd));
    }
    let path = variables.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let found = find_program(program, path).ok_or_else(|| missing(path))?;
    found.into_os_string().into_string().map_err(|_| missing(path))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use jecloud_model::hook::Health;
    use jecloud_model::limits::Limits;

    use super::*;

    /// A process of the app `shop`, by its command.
    pub(crate) fn spec(id: &str, argv: &[&str]) -> ProcessSpec {
        ProcessSpec {
            id: id.parse().expect("valid"),
            service: "app".parse().expect("valid"),
            version: "0".repeat(64).parse().expect("valid"),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            cwd: "/srv/it".to_owned(),
            run_as: Identity::App,
            ports: BTreeMap::new(),
            health: Health::StaysUp,
            start_timeout_ms: 1000,
            stop_timeout_ms: 2500,
            limits: Limits::default(),
        }
    }

    pub(crate) fn name(id: &str) -> UnitName {
        UnitName {
            app: "shop".parse().expect("valid"),
            environment: "production".parse().expect("valid"),
            id: id.parse().expect("valid"),
        }
    }

    fn rendered(spec: &ProcessSpec, variables: &[(&str, &str)]) -> Result<Files, String> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let user = Some(User { uid: 990, gid: 991 });
        render(&ServerRoot::new("/var/cloud"), &name("web.1@7"), spec, user, &variables)
    }

    #[track_caller]
    fn has(unit: &str, line: &str) {
        assert!(unit.lines().any(|found| found == line), "no line {line:?} in:\n{unit}");
    }

    #[test]
    fn a_process_of_an_app() {
        let files = rendered(&spec("web.1@7", &["/bin/sh", "-c", "echo $A 100%"]), &[("A", "b")]).expect("a unit");
        has(&files.unit, r#"ExecStart=:"/bin/sh" "-c" "echo $A 100%%""#);
        has(&files.unit, "User=990");
        has(&files.unit, "Group=991");
        has(&files.unit, "TimeoutStopSec=2500ms");
        has(&files.unit, "ProtectSystem=strict");
        has(&files.unit, "CapabilityBoundingSet=");
        has(&files.unit, "EnvironmentFile=/var/cloud/sys/units/jecloud-shop.production.web.1.7.service.env");
        let version = "0".repeat(64);
        has(
            &files.unit,
            &format!(
                "ReadWritePaths=\"-/var/cloud/shop/production/source/versions/{version}\" \
                 \"-/var/cloud/shop/production/services/app\""
            ),
        );
        assert_eq!(files.environment, "A=\"b\"\n");
    }

    /// Fails where variables are written into the unit, which everybody may read.
    #[test]
    fn values_are_only_in_the_file_for_root() {
        let files = rendered(&spec("web.1@7", &["/bin/true"]), &[("PASSWORD", "hunter2")]).expect("a unit");
        assert!(!files.unit.contains("hunter2"), "{}", files.unit);
        assert_eq!(files.environment, "PASSWORD=\"hunter2\"\n");
    }

    #[test]
    fn what_systemd_sets_is_not_inherited() {
        let files = rendered(&spec("web.1@7", &["/bin/true"]), &[("HOME", "/x"), ("USER", "y")]).expect("a unit");
        let line = files.unit.lines().find(|line| line.starts_with("UnsetEnvironment=")).expect("a line");
        assert!(!line.contains("HOME") && !line.contains("USER"), "{line}");
        assert!(line.contains("JOURNAL_STREAM") && line.contains("LOGNAME"), "{line}");
    }

    #[test]
    fn limits() {
        let limits = Limits { memory_bytes: Some(512 << 20), cpu_millis: Some(1505) };
        let files = rendered(&ProcessSpec { limits, ..spec("web.1@7", &["/bin/true"]) }, &[]).expect("a unit");
        has(&files.unit, "MemoryMax=536870912");
        has(&files.unit, "CPUQuota=150.5%");
        let none = rendered(&spec("web.1@7", &["/bin/true"]), &[]).expect("a unit");
        assert!(!none.unit.contains("MemoryMax") && !none.unit.contains("CPUQuota"), "{}", none.unit);
    }

    #[test]
    fn programs_are_found() {
        let exec = |program: &str, path: &str| {
            let files = rendered(&spec("web.1@7", &[program]), &[("PATH", path)])?;
            Ok::<_, String>(files.unit.lines().find(|line| line.starts_with("ExecStart=")).expect("one").to_owned())
        };
        assert_eq!(exec("sh", "/nowhere:/bin").as_deref(), Ok("ExecStart=:\"/bin/sh\""));
        assert_eq!(exec("bin/run", "/bin").as_deref(), Ok("ExecStart=:\"/srv/it/bin/run\""));
        assert_eq!(exec("sh", "/nowhere"), Err("the program sh was not found in /nowhere".to_owned()));
    }

    /// Fails when a user that is not known is taken for root.
    #[test]
    fn nobody_is_not_root() {
        let app = spec("web.1@7", &["/bin/true"]);
        let none = render(&ServerRoot::new("/var/cloud"), &name("web.1@7"), &app, None, &[]);
        assert!(none.is_err());
        let root = ProcessSpec { run_as: Identity::Root, ..app };
        let root = render(&ServerRoot::new("/var/cloud"), &name("web.1@7"), &root, None, &[]).expect("a unit");
        assert!(!root.unit.contains("User="), "{}", root.unit);
        has(&root.unit, "NoNewPrivileges=yes");
    }

    #[test]
    fn a_directory_cannot_bring_more_settings() {
        let bad = ProcessSpec { cwd: "/x\nUser=0".to_owned(), ..spec("web.1@7", &["/bin/true"]) };
        assert!(rendered(&bad, &[]).is_err());
    }
}
