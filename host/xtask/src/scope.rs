//! Which crates a task is about.

use anyhow::{Result, bail};

/// The crates that neither start processes nor need a network, and the rules that all files keep.
const PURE: [&str; 5] = ["jecloud-model", "jecloud-sdk", "jecloud-hook-node", "jecloud-testkit", "xtask"];

/// A choice of crates, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    Workspace,
    /// `--quick`: [`PURE`].
    Quick,
    /// `-p CRATE`, once or more often.
    Crates(Vec<String>),
}

impl Scope {
    /// From the arguments of a task.
    ///
    /// # Errors
    ///
    /// For every other argument.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut scope = Self::Workspace;
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match (*argument, &mut scope) {
                ("--quick", Self::Workspace) => scope = Self::Quick,
                ("-p" | "--package", Self::Workspace | Self::Crates(_)) => {
                    let Some(name) = arguments.next() else { bail!("{argument} needs the name of a crate") };
                    match &mut scope {
                        Self::Crates(names) => names.push((*name).to_owned()),
                        _ => scope = Self::Crates(vec![(*name).to_owned()]),
                    }
                }
                ("-p" | "--package" | "--quick", _) => bail!("--quick chooses crates, and so does -p: use one of them"),
                _ => bail!("unknown argument {argument}"),
            }
        }
        Ok(scope)
    }

    /// The arguments by which cargo is told.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        let packages = |names: Vec<_>| names.into_iter().flat_map(|name| ["--package", name]).collect();
        match self {
            Self::Workspace => vec!["--workspace"],
            Self::Quick => packages(PURE.to_vec()),
            Self::Crates(names) => packages(names.iter().map(String::as_str).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "cargo is asked for the names of crates")]

    use super::*;

    fn check(arguments: &[&str], expected: &str) {
        let said = match Scope::parse(arguments) {
            Ok(scope) => scope.arguments().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn crates_are_chosen_as_by_cargo() {
        check(&[], "--workspace");
        check(&["-p", "a", "--package", "b"], "--package a --package b");
        check(&["-p"], "-p needs the name of a crate");
        check(&["--fast"], "unknown argument --fast");
        // Fails without the arm for a second choice: the crates would silently be those of one of them.
        check(&["--quick", "-p", "a"], "--quick chooses crates, and so does -p: use one of them");
        check(&["-p", "a", "--quick"], "--quick chooses crates, and so does -p: use one of them");
    }

    // Fails when a crate is renamed and PURE is not.
    #[test]
    fn pure_crates_exist() {
        let output = std::process::Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: Vec<&str> =
            metadata["packages"].as_array().unwrap().iter().filter_map(|package| package["name"].as_str()).collect();
        for name in PURE {
            assert!(names.contains(&name), "{name} is not one of {names:?}");
        }
    }
}
