//! Placeholders that the host fills in argv, environment values, file contents, working directories and values.
//!
//! | placeholder | what the host puts there |
//! |---|---|
//! | `{source}` | the directory of the version being deployed |
//! | `{data}` | the service's own directory, which survives deployments |
//! | `{package:NAME}` | the directory of an archive package |
//! | `{port:NAME}` | the port that the host gave to the named port of this process |
//! | `{secret:NAME}` | a secret: only in environment values and in files of mode 0600 |
//! | `{host}` | the address by which whoever needs this server's services reaches it |
//! | `{app}` `{environment}` `{version}` `{process}` | names |
//!
//! `{{` stands for `{`.

/// Text that is no template, made safe to stand in one: each `{` is doubled.
///
/// Use it on everything that comes from the app's files or settings.
///
/// ```
/// assert_eq!(jecloud_sdk::template::escape("--json={\"a\":1}"), "--json={{\"a\":1}");
/// ```
pub fn escape(text: &str) -> String {
    text.replace('{', "{{")
}
