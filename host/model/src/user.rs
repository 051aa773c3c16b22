//! The system user of an app and environment, where JeCloud is root: its name, and what is recorded of it.
//!
//! One that has files and processes of its own, so that no app can read those of another one, nor signal them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::ids::{AppName, Digest, EnvironmentName};
use crate::layout::ServerRoot;

/// How all names of such users begin.
pub const PREFIX: &str = "jc-";

/// The most characters that a name may have: `useradd` of every distribution takes so many.
pub const LONGEST: usize = 32;

/// The digits of a hash in a name: two of ten thousand environments share one once in millions of machines.
const DIGITS: usize = 12;

/// `sys/users/APP.ENV.json`: which user an environment has. It is there before the user is, and until after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDocument {
    /// See [`Format`].
    #[serde(flatten)]
    pub format: Format,
    /// Whose.
    pub app: AppName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// The name of the user, and of its group.
    pub user: String,
    /// The numbers of the user and the group to which all files of the environment were given. None until that is done;
    /// other than those that the user has where somebody removed it and it was made anew.
    #[serde(default)]
    pub files: Option<(u32, u32)>,
}

/// A name that can be read, `jc-guestbook-staging`; none where it would be too long, or could also be read as that of
/// another app and environment.
///
/// No two environments of one server have the same. On another server of the same machine they do.
pub fn readable_name(app: &AppName, environment: &EnvironmentName) -> Option<String> {
    let name = format!("{PREFIX}{app}-{environment}");
    (!environment.as_str().contains('-') && name.len() <= LONGEST).then_some(name)
}

/// A name that no other environment of any server has. It has a `_`, unlike any that can be read.
pub fn unique_name(root: &ServerRoot, app: &AppName, environment: &EnvironmentName) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut key = root.path().as_os_str().as_bytes().to_vec();
    // What is in between is in no name.
    key.extend_from_slice(format!("\0{app}\0{environment}").as_bytes());
    let digest = Digest::of(&key);
    let mut stem = format!("{app}-{environment}");
    stem.truncate(LONGEST - PREFIX.len() - 1 - DIGITS);
    format!("{PREFIX}{}_{}", stem.trim_end_matches('-'), &digest.as_str()[..DIGITS])
}

/// What the machine's list of users says about such a user (the GECOS field): by this it is known for ours.
pub fn comment(root: &ServerRoot, app: &AppName, environment: &EnvironmentName) -> String {
    format!("JeCloud {app} {environment} {}", shown(root.path()))
}

/// The path, or a hash of one that cannot stand in a list of users.
fn shown(path: &Path) -> String {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    match path.to_str().filter(|text| is_plain(text)) {
        Some(text) => text.to_owned(),
        None => {
            use std::os::unix::ffi::OsStrExt as _;
            Digest::of(path.as_os_str().as_bytes()).as_str().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(app: &str, environment: &str) -> (AppName, EnvironmentName) {
        (app.parse().expect("a name"), environment.parse().expect("a name"))
    }

    /// All names of some lengths with hyphens wherever they can be, and long ones that begin alike. Fails when a name
    /// with a hyphen in the environment is taken as it is (`a-b c` and `a b-c`), when what is cut off does not count, and when
    /// a hashed name could be a readable one.
    #[test]
    fn no_two_environments_share_a_name() {
        let mut parts: Vec<String> = vec![String::new()];
        let mut names: Vec<String> = Vec::new();
        for _ in 0..5 {
            parts = parts.iter().flat_map(|part| ["a", "b", "-"].map(|next| format!("{part}{next}"))).collect();
            names.extend(parts.iter().filter(|part| part.parse::<AppName>().is_ok()).cloned());
        }
        let long = (0..100).map(|n| format!("an-app-with-a-long-name-{n}"));
        names.extend(long.chain((0..100).map(|n| format!("anappwithalongname{n}"))));
        let root = ServerRoot::new("/var/lib/jecloud/server");
        let mut seen: BTreeMap<String, (AppName, EnvironmentName)> = BTreeMap::new();
        for app in &names {
            for environment in &names {
                let (app, environment) = place(app, environment);
                let unique = unique_name(&root, &app, &environment);
                for name in readable_name(&app, &environment).into_iter().chain([unique]) {
                    let rest = name.strip_prefix(PREFIX).expect("the prefix");
                    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
                    assert!(name.len() <= LONGEST && !rest.is_empty() && rest.bytes().all(plain), "{name}");
                    let other = seen.insert(name.clone(), (app.clone(), environment.clone()));
                    assert_eq!(other, None, "{name} is also that of {app} {environment}");
                }
            }
        }
        assert!(seen.len() > 50_000, "only {} names", seen.len());
    }

    #[test]
    fn names_are_readable_where_they_are_short() {
        let (app, environment) = place("guestbook", "staging");
        assert_eq!(readable_name(&app, &environment).as_deref(), Some("jc-guestbook-staging"));
        let (app, environment) = place("guest-book", "staging");
        assert_eq!(readable_name(&app, &environment).as_deref(), Some("jc-guest-book-staging"));
        let (app, environment) = place("guestbook", "pull-request-1234567890");
        assert_eq!(readable_name(&app, &environment), None);
        let root = ServerRoot::new("/var/lib/jecloud/server");
        let name = unique_name(&root, &app, &environment);
        assert!(name.starts_with("jc-guestbook-pull-r_") && name.len() == LONGEST, "{name}");
        assert_ne!(name, unique_name(&ServerRoot::new("/elsewhere"), &app, &environment));
    }

    #[test]
    fn comments_hold_nothing_that_a_list_of_users_cannot() {
        let (app, environment) = place("guestbook", "staging");
        let comment = |root: &str| comment(&ServerRoot::new(root), &app, &environment);
        assert_eq!(comment("/var/lib/jecloud/server"), "JeCloud guestbook staging /var/lib/jecloud/server");
        for odd in ["/a:b", "/a\nb", "/a,b", "/a b", "/ä"] {
            assert!(comment(odd).bytes().all(|b| b.is_ascii_alphanumeric() || b == b' '), "{}", comment(odd));
            assert_ne!(comment(odd), comment("/other odd"));
        }
    }
}
