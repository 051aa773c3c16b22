//! What is recorded of a server: the request that launches it, complete, and what came of it.

use std::collections::BTreeMap;

use jecloud_cloud::{Details, MachineError};
use jecloud_model::cloud::Place;
use jecloud_model::ids::AppName;
use serde::{Deserialize, Serialize};

use crate::api::{Instance, Tags};

/// Whose an instance, a security group or a key pair is.
pub const TAG_APP: &str = "jecloud:app";
/// The environment that an instance belongs to.
pub const TAG_ENVIRONMENT: &str = "jecloud:environment";
/// Which server of the environment an instance is.
pub const TAG_SERVER: &str = "jecloud:server";
/// The client token of the request that launched an instance.
pub const TAG_LAUNCH: &str = "jecloud:launch";

const LAUNCH: &str = "launch";
const IMAGE_SETTING: &str = "image_setting";
const USER: &str = "user";
const ACCOUNT: &str = "account";
const INSTANCE: &str = "instance";
const PUBLIC_ADDRESS: &str = "public_address";
const PRIVATE_ADDRESS: &str = "private_address";
const CONNECTION: &str = "connection";

/// The request that launches an instance. Made anew from what is recorded, it is the same to the byte, so that EC2
/// knows a repetition for what it is. Fields that this version does not know cannot be repeated and are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRequest {
    /// The region that it goes to.
    pub region: String,
    /// The image: `ami-…`.
    pub image: String,
    /// The type: `t4g.small`.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// The subnet: `subnet-…`.
    pub subnet: String,
    /// The zone of the subnet, for people.
    pub zone: String,
    /// The security group: `sg-…`.
    pub security_group: String,
    /// The name of the key pair.
    pub key_name: String,
    /// The disk.
    pub disk: Disk,
    /// The tags of the instance and of its disk.
    pub tags: Tags,
    /// Makes EC2 know a repetition; random.
    pub client_token: String,
}

/// The root volume: gp3, encrypted, deleted with the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// As the image names it: `/dev/xvda`.
    pub device: String,
    /// Its size.
    pub gib: u32,
}

/// What is recorded of a server, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) launch: LaunchRequest,
    /// The setting that the image was found by.
    pub(crate) image_setting: String,
    pub(crate) user: String,
    /// The number of the account that it is launched in.
    pub(crate) account: String,
    /// None before it is set up.
    pub(crate) instance: Option<String>,
    /// What whoever connected wants to be remembered.
    pub(crate) connection: Details,
}

impl Recorded {
    pub(crate) fn new(launch: LaunchRequest, image_setting: String, user: String, account: String) -> Self {
        Self { launch, image_setting, user, account, instance: None, connection: Details::new() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.launch.client_token
    }

    /// Before the launch.
    pub(crate) fn to_details(&self) -> Details {
        let launch = serde_json::to_value(&self.launch).expect("strings and numbers are JSON");
        Details::from_iter([
            (LAUNCH.to_owned(), launch),
            (IMAGE_SETTING.to_owned(), self.image_setting.clone().into()),
            (USER.to_owned(), self.user.clone().into()),
            (ACCOUNT.to_owned(), self.account.clone().into()),
        ])
    }

    pub(crate) fn read(place: &Place, details: &Details) -> Result<Self, MachineError> {
        let wrong = |error: String| MachineError::Refused {
            error: format!(
                "what the cloud state says of server {} of {} is no launch: {error}",
                place.server, place.environment
            ),
            hint: "`jecloud state history` shows what was recorded before; a newer JeCloud may have written it."
                .to_owned(),
        };
        let text = |key: &str| details.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let launch = details.get(LAUNCH).ok_or_else(|| wrong("there is none".to_owned()))?;
        let connection = details.get(CONNECTION).and_then(|value| value.as_object()).cloned().unwrap_or_default();
        Ok(Self {
            launch: LaunchRequest::deserialize(launch).map_err(|error| wrong(error.to_string()))?,
            image_setting: text(IMAGE_SETTING).unwrap_or_default(),
            user: text(USER).unwrap_or_default(),
            account: text(ACCOUNT).unwrap_or_default(),
            instance: text(INSTANCE),
            connection,
        })
    }

    /// Whether an instance carries all four of our tags for this server and this launch.
    pub(crate) fn is_ours(&self, instance: &Instance) -> bool {
        OWN.iter().all(|tag| {
            let recorded = self.launch.tags.get(*tag);
            recorded.is_some() && instance.tags.get(*tag) == recorded
        })
    }
}

const OWN: [&str; 4] = [TAG_APP, TAG_ENVIRONMENT, TAG_SERVER, TAG_LAUNCH];

/// What is recorded from now on of a server that is set up. Whatever else is recorded stays.
pub(crate) fn launched(details: &Details, instance: &Instance, connection: Details) -> Details {
    let mut details = details.clone();
    details.insert(INSTANCE.to_owned(), instance.id.clone().into());
    for (key, address) in [(PUBLIC_ADDRESS, &instance.public_address), (PRIVATE_ADDRESS, &instance.private_address)] {
        match address {
            Some(address) => details.insert(key.to_owned(), address.clone().into()),
            None => details.remove(key),
        };
    }
    details.insert(CONNECTION.to_owned(), connection.into());
    details
}

/// The id of the instance that is recorded of a server; none before it is set up.
pub fn instance_of(details: &Details) -> Option<&str> {
    details.get(INSTANCE)?.as_str()
}

/// The client token under which a server was or will be launched.
pub(crate) fn token_of(details: &Details) -> Option<&str> {
    details.get(LAUNCH)?.get("client_token")?.as_str()
}

/// Tags for what a whole app shares.
pub(crate) fn shared_tags(app: &AppName, more: &BTreeMap<String, String>) -> Tags {
    let is_free = |name: &str| !name.starts_with("jecloud:") && !name.starts_with("aws:");
    let mut tags: Tags = more.iter().filter(|(name, _)| is_free(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    tags.insert(TAG_APP.to_owned(), app.to_string());
    tags
}

/// Tags for a server.
pub(crate) fn server_tags(app: &AppName, place: &Place, token: &str, more: &BTreeMap<String, String>) -> Tags {
    let mut tags = shared_tags(app, more);
    tags.entry("Name".to_owned()).or_insert_with(|| format!("{app}-{}-{}", place.environment, place.server));
    tags.insert(TAG_ENVIRONMENT.to_owned(), place.environment.to_string());
    tags.insert(TAG_SERVER.to_owned(), place.server.to_string());
    tags.insert(TAG_LAUNCH.to_owned(), token.to_owned());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { environment: "staging".parse().unwrap(), server: "app-1".parse().unwrap() }
    }

    fn request() -> LaunchRequest {
        let more = [("team", "blue"), ("jecloud:app", "other"), ("aws:x", "y")];
        let more = more.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        LaunchRequest {
            region: "eu-west-1".into(),
            image: "ami-1".into(),
            instance_type: "t4g.small".into(),
            subnet: "subnet-1".into(),
            zone: "eu-west-1a".into(),
            security_group: "sg-1".into(),
            key_name: "jecloud-guestbook".into(),
            disk: Disk { device: "/dev/xvda".into(), gib: 20 },
            tags: server_tags(&"guestbook".parse().unwrap(), &place(), "token", &more),
            client_token: "token".into(),
        }
    }

    #[test]
    fn a_request_is_read_back_as_it_was_recorded() {
        let recorded = Recorded::new(request(), "ami-1".into(), "admin".into(), "1234".into());
        assert_eq!(Recorded::read(&place(), &recorded.to_details()).unwrap(), recorded);
        assert_eq!(token_of(&recorded.to_details()), Some("token"));
    }

    /// Fails without `deny_unknown_fields`: a retry without what a newer JeCloud asked for is another request.
    #[test]
    fn a_request_with_unknown_fields_is_not_repeated() {
        let mut details = Recorded::new(request(), String::new(), String::new(), String::new()).to_details();
        details[LAUNCH]["spot"] = true.into();
        let error = Recorded::read(&place(), &details).unwrap_err();
        assert!(error.to_line().contains("unknown field `spot`"), "{}", error.to_line());
        assert!(Recorded::read(&place(), &Details::new()).is_err());
    }

    #[test]
    fn tags_of_people_do_not_replace_ours() {
        let tags: Vec<(String, String)> = request().tags.into_iter().collect();
        let tags: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "Name=guestbook-staging-app-1",
            "jecloud:app=guestbook",
            "jecloud:environment=staging",
            "jecloud:launch=token",
            "jecloud:server=app-1",
            "team=blue",
        ];
        assert_eq!(tags, expected);
    }
}
