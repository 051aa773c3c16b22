//! What `cargo xtask smoke` can be told.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

pub(super) const USAGE: &str = "usage: cargo xtask smoke --region REGION [OPTIONS]

Deploys an app to servers that are made on EC2, and removes everything again. Says before what it costs, and asks.
Credentials come from where the AWS command line finds them.

  --region REGION     where, as in eu-west-1
  --type TYPE         what servers it makes (t3.small)
  --image AMI         from which image (the newest Debian 12)
  --user USER         who may become root there (admin)
  --connect private   by private addresses, for whoever has a way into the VPC
  --endpoint URL      another store than S3; AWS_ENDPOINT_URL_EC2 and AWS_ENDPOINT_URL_STS name what stands for the rest
  --jecloud FILE      the binary to try (built from here)
  --yes               does not ask";

/// What the person wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) region: String,
    pub(super) machine_type: String,
    pub(super) image: Option<String>,
    pub(super) user: Option<String>,
    pub(super) connect: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) jecloud: Option<PathBuf>,
    pub(super) yes: bool,
}

impl Options {
    /// None where help is wanted.
    pub(super) fn parse(arguments: &[&str]) -> Result<Option<Self>> {
        let mut options = Self { machine_type: "t3.small".to_owned(), ..Self::default() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                let value = rest.next().filter(|value| !value.starts_with("--"));
                let value = value.with_context(|| format!("{argument} needs a value\n\n{USAGE}"))?;
                if value.contains(['"', '\\']) || value.chars().any(char::is_control) {
                    bail!("{value:?} is no value for {argument}");
                }
                Ok((*value).to_owned())
            };
            match *argument {
                "--help" | "-h" => return Ok(None),
                "--yes" => options.yes = true,
                "--region" => options.region = value()?,
                "--type" => options.machine_type = value()?,
                "--image" => options.image = Some(value()?),
                "--user" => options.user = Some(value()?),
                "--connect" => options.connect = Some(value()?),
                "--endpoint" => options.endpoint = Some(value()?),
                "--jecloud" => options.jecloud = Some(value()?.into()),
                other => bail!("{other} is not known\n\n{USAGE}"),
            }
        }
        if options.region.is_empty() {
            bail!("in which region?\n\n{USAGE}");
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--region", "eu-west-1", "--yes", "--user", "root"]).unwrap().unwrap();
        let expected = Options {
            region: "eu-west-1".to_owned(),
            machine_type: "t3.small".to_owned(),
            user: Some("root".to_owned()),
            yes: true,
            ..Options::default()
        };
        assert_eq!(options, expected);
        assert_eq!(Options::parse(&["--help"]).unwrap(), None);
    }

    /// Fails where what somebody meant to say is passed over: it costs money.
    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [&["--regoin", "x"][..], &[], &["--region"], &["--region", "--yes"], &["--region", "a\"\nx = \""]]
        {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
