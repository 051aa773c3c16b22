//! The `jecloud.toml` that `jecloud init` writes.

use std::fmt::Write as _;

use crate::ids::{AppName, ServiceName};

/// A service that was found to be what the app is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The name of its hook.
    pub service: ServiceName,
    /// What it was told by, for people: `package.json`.
    pub because: String,
}

/// The commented `jecloud.toml` of a new app. Everything that is not needed is there as a comment: lines that begin
/// with `# ` explain, and those with `#` alone are examples that hold when the `#` is deleted.
///
/// What [`super::Config::parse`] reads from it is the name and the detected services, and nothing else.
pub fn template(app: &AppName, detected: &[Detected]) -> String {
    let mut text = format!(
        "# What JeCloud knows about this app. Only the name is needed.\n\
         app = \"{app}\"\n\
         \n\
         # Where it runs: \"local\" is this machine; \"ec2\" makes servers on Amazon EC2; \"ssh\" uses servers you have.\n\
         #[cloud]\n\
         #provider = \"local\"\n\
         #region = \"eu-west-1\"         # for ec2\n\
         #binaries = {{ aarch64 = \"bin/jecloud-aarch64\" }} # for servers of another architecture than this machine\n\
         #store = \"s3\"                 # for ssh: where its state lies; without it, on the machine that deploys\n\
         #listen = \"0.0.0.0:80\"        # for local: where requests are taken; otherwise 8080 or the next free port\n\
         \n\
         # Servers in groups of equal ones. Without any there is one group `app` with one server.\n\
         #[servers.app]\n\
         #count = 1\n\
         #type = \"t4g.small\"            # for ec2\n\
         #hosts = [\"root@192.0.2.1\"]    # for ssh\n\
         \n\
         # What the app is made of and what it needs, with their settings: `jecloud hook ls` shows what there is.\n\
         # Where none is named here, JeCloud looks at the files.\n"
    );
    for Detected { service, because } in detected {
        let because: String = because.chars().filter(|c| !c.is_control()).collect();
        let header = format!("[services.{service}]");
        let _ = writeln!(text, "{header:<30} # found: {because}");
    }
    text.push_str(
        "\n\
         # Processes, by their names in the Procfile (or `web`).\n\
         #[processes.web]\n\
         #count = 2\n\
         #health = \"/up\"               # answers when the process works; without it, the port has to open\n\
         #memory = \"512M\"              # the most that each may use, where systemd runs the processes\n\
         #cpu = 1.5                    # cores\n\
         \n\
         # Variables for the app. Not the place for secrets: this file is for everyone to read.\n\
         #[env]\n\
         #LOG_LEVEL = \"info\"\n\
         \n\
         # What is different in one environment: `jecloud deploy -e staging`.\n\
         #[environments.staging]\n\
         #processes.web.count = 1\n\
         #env.LOG_LEVEL = \"debug\"\n",
    );
    text
}

/// A valid app name that is as near as can be to the name of a directory: `My App_2` gives `my-app-2`. The name of
/// the root directory, or one without a letter or digit of ASCII, gives `app`.
pub fn app_name_from_directory(name: &str) -> AppName {
    let mut plain = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    if plain.starts_with(|c: char| c.is_ascii_digit()) {
        plain.insert_str(0, "app-");
    }
    plain.truncate(31);
    let plain = plain.trim_end_matches('-');
    if plain.is_empty() {
        return "app".parse().expect("`app` is a valid app name");
    }
    // The second is for the one name that is reserved.
    [plain, &format!("app-{plain}")]
        .into_iter()
        .find_map(|name| name.parse().ok())
        .expect("a name made of the allowed characters is valid")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Config, Layer};
    use super::*;
    use crate::ids::EnvironmentName;

    fn detected(names: &[&str]) -> Vec<Detected> {
        names.iter().map(|name| Detected { service: name.parse().unwrap(), because: "a file".to_owned() }).collect()
    }

    #[test]
    fn a_new_app_has_its_name_and_what_was_detected() {
        let app: AppName = "guestbook".parse().unwrap();
        let config =
            Config::parse(&template(&app, &detected(&["clock", "a-service-with-quite-a-long-nam"])), "x").unwrap();
        let production = config.environment(&EnvironmentName::production());
        let names: Vec<_> = production.services.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["a-service-with-quite-a-long-nam", "clock"]);
        let mut expected = Layer::default().resolve(app);
        expected.services.clone_from(&production.services);
        assert_eq!(production, expected);
        assert!(production.services.values().all(|service| *service == super::super::ServiceConfig::default()));
        assert_eq!(config.environments().count(), 0);
    }

    /// Fails when an example in the comments has a misspelt key.
    #[test]
    fn the_examples_in_the_comments_hold() {
        let text = template(&"guestbook".parse().unwrap(), &[]);
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(example) if !example.starts_with(' ') => format!("{example}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::parse(&uncommented, "jecloud.toml").unwrap();
        let staging = config.environment(&"staging".parse().unwrap());
        assert_eq!(staging.env["LOG_LEVEL"], "debug");
        let web = &staging.processes[&"web".parse().unwrap()];
        assert_eq!((web.count, web.health.as_deref()), (Some(1), Some("/up")));
        assert_eq!(staging.cloud.listen.len(), 1);
    }

    #[test]
    fn directories_give_names() {
        for (directory, expected) in [
            ("guestbook", "guestbook"),
            ("My App_2", "my-app-2"),
            ("--weird--", "weird"),
            ("2048", "app-2048"),
            ("sys", "app-sys"),
            ("", "app"),
            ("..", "app"),
            ("/", "app"),
            ("日本", "app"),
            ("über.uns", "ber-uns"),
            ("a-name-that-is-far-too-long-for-an-app", "a-name-that-is-far-too-long-for"),
        ] {
            assert_eq!(app_name_from_directory(directory).as_str(), expected, "{directory:?}");
        }
    }

    proptest! {
        #[test]
        fn every_template_is_read_back(directory in ".*", names in prop::collection::btree_set("[a-z][a-z0-9-]{0,30}", 0..4), because in ".*") {
            let app = app_name_from_directory(&directory);
            let detected: Vec<_> = names
                .iter()
                .map(|name| Detected { service: name.parse().unwrap(), because: because.clone() })
                .collect();
            let config = Config::parse(&template(&app, &detected), "jecloud.toml");
            let config = config.map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
            prop_assert_eq!(config.app(), &app);
            let production = config.environment(&EnvironmentName::production());
            let read: std::collections::BTreeSet<_> = production.services.keys().map(ToString::to_string).collect();
            // Tables that begin with `x-` are ignored, also where a service is called so.
            let named: std::collections::BTreeSet<_> = names.into_iter().filter(|name| !name.starts_with("x-")).collect();
            prop_assert_eq!(read, named);
        }
    }
}
