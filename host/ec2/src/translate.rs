//! From and into the words of Amazon's client. Its errors end here: they hold whole requests and answers, which nobody
//! should print.

use std::error::Error;

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{self, InstanceStateName, IpPermission, IpRange, Ipv6Range, Tag, UserIdGroupPair};
use aws_smithy_types::base64;
use jecloud_aws::{Outcome, Skew, Unanswered, shown};

use crate::answer::{Answer, Failure};
use crate::api::{Group, ImageInfo, Instance, InstanceState, InstanceType, KeyPair, Rule, Source, Subnet, Tags};
use crate::error::Ec2Error;

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let not_sent = |error, is_transient| Self::NotSent { error, is_transient };
        match jecloud_aws::outcome(&error) {
            Outcome::Answered(response, error) => Self::Answer(answer(response, error)),
            Outcome::Unanswered(Unanswered::NoCredentials) => not_sent(Ec2Error::NoCredentials, false),
            Outcome::Unanswered(Unanswered::CredentialsUnavailable { detail, is_transient }) => {
                not_sent(Ec2Error::CredentialsUnavailable { detail }, is_transient)
            }
            Outcome::Unanswered(Unanswered::NotMade(detail)) => not_sent(Ec2Error::NoAnswer { detail }, false),
            Outcome::Unanswered(Unanswered::Lost(detail)) => Self::Lost(detail),
        }
    }
}

fn answer(response: &HttpResponse, error: &impl ProvideErrorMetadata) -> Answer {
    Answer {
        status: response.status().as_u16(),
        code: shown(error.code().unwrap_or_default()),
        message: shown(error.message().unwrap_or_default()),
        skew: Skew::of(response),
    }
}

fn tags(tags: &[Tag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default()))).collect()
}

pub(crate) fn instance(instance: &types::Instance) -> Instance {
    let state = instance.state().and_then(|state| state.name());
    let reason = instance.state_reason().and_then(|reason| reason.message.clone());
    Instance {
        id: instance.instance_id.clone().unwrap_or_default(),
        state: match state {
            Some(InstanceStateName::Pending) => InstanceState::Pending,
            Some(InstanceStateName::Running) => InstanceState::Running,
            Some(InstanceStateName::Stopping) => InstanceState::Stopping,
            Some(InstanceStateName::Stopped) => InstanceState::Stopped,
            Some(InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
            Some(InstanceStateName::Terminated) => InstanceState::Terminated,
            _ => InstanceState::Other,
        },
        reason: shown(&reason.unwrap_or_default()),
        instance_type: instance.instance_type().map(|one| one.as_str().to_owned()).unwrap_or_default(),
        public_address: instance.public_ip_address.clone().filter(|address| !address.is_empty()),
        private_address: instance.private_ip_address.clone().filter(|address| !address.is_empty()),
        launched: instance.launch_time().and_then(|time| time.to_millis().ok()).unwrap_or_default(),
        tags: tags(instance.tags()),
    }
}

pub(crate) fn instance_type(found: &types::InstanceTypeInfo) -> InstanceType {
    let architectures = found.processor_info().map(|info| info.supported_architectures()).unwrap_or_default();
    let vcpus = found.v_cpu_info().and_then(|info| info.default_v_cpus()).unwrap_or_default();
    InstanceType {
        architectures: architectures.iter().map(|one| one.as_str().to_owned()).collect(),
        vcpus: u32::try_from(vcpus).unwrap_or_default(),
    }
}

pub(crate) fn image(image: &types::Image) -> ImageInfo {
    let root_device = image.root_device_name.clone().unwrap_or_else(|| "/dev/xvda".to_owned());
    let root = image.block_device_mappings().iter().find(|one| one.device_name() == Some(&root_device));
    let root_gib = root.and_then(|root| root.ebs()?.volume_size()).unwrap_or_default();
    ImageInfo {
        id: image.image_id.clone().unwrap_or_default(),
        name: image.name.clone().unwrap_or_default(),
        architecture: image.architecture().map(|one| one.as_str().to_owned()).unwrap_or_default(),
        created: image.creation_date.clone().unwrap_or_default(),
        root_device,
        root_gib: u32::try_from(root_gib).unwrap_or_default(),
    }
}

pub(crate) fn subnet(subnet: &types::Subnet) -> Subnet {
    let (id, zone) = (subnet.subnet_id.clone(), subnet.availability_zone.clone());
    Subnet { id: id.unwrap_or_default(), zone: zone.unwrap_or_default() }
}

pub(crate) fn key_pair(key: &types::KeyPairInfo) -> KeyPair {
    KeyPair { name: key.key_name.clone().unwrap_or_default(), tags: tags(key.tags()) }
}

pub(crate) fn group(group: &types::SecurityGroup) -> Group {
    Group {
        id: group.group_id.clone().unwrap_or_default(),
        name: group.group_name.clone().unwrap_or_default(),
        tags: tags(group.tags()),
        rules: group.ip_permissions().iter().flat_map(rules).collect(),
    }
}

/// EC2 puts all sources of one range of ports together. What is no rule of our kind is left out.
fn rules(permission: &IpPermission) -> Vec<Rule> {
    let port = match (permission.ip_protocol(), permission.from_port, permission.to_port) {
        (Some("-1"), ..) => None,
        (Some("tcp"), Some(from), Some(to)) if from == to => match u16::try_from(from) {
            Ok(port) => Some(port),
            Err(_) => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let rule = |from: Source, description: Option<&str>| {
        let description = description.unwrap_or_default().to_owned();
        Rule { port, from, description }
    };
    let networks = permission.ip_ranges().iter().filter_map(|range| Some((range.cidr_ip()?, range.description())));
    let more = permission.ipv6_ranges().iter().filter_map(|range| Some((range.cidr_ipv6()?, range.description())));
    let groups = permission
        .user_id_group_pairs()
        .iter()
        .filter_map(|pair| Some(rule(Source::Group(pair.group_id()?.to_owned()), pair.description())));
    let networks = networks.chain(more).map(|(cidr, text)| rule(Source::Network(cidr.to_owned()), text));
    networks.chain(groups).collect()
}

pub(crate) fn permission(rule: &Rule) -> IpPermission {
    let permission = match rule.port {
        Some(port) => IpPermission::builder().ip_protocol("tcp").from_port(i32::from(port)).to_port(i32::from(port)),
        None => IpPermission::builder().ip_protocol("-1"),
    };
    let text = &rule.description;
    match &rule.from {
        Source::Network(cidr) if cidr.contains(':') => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).description(text).build())
        }
        Source::Network(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).description(text).build()),
        Source::Group(id) => {
            permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(id).description(text).build())
        }
    }
    .build()
}

/// EC2 sends it in base64. What is no text is shown as well as possible.
pub(crate) fn console(encoded: &str) -> Option<String> {
    let bytes = base64::decode(encoded.trim()).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_back_as_they_were_written() {
        for from in [
            Source::Network("192.0.2.0/24".into()),
            Source::Network("2001:db8::/32".into()),
            Source::Group("sg-1".into()),
        ] {
            for port in [Some(22), None] {
                let rule = Rule { port, from: from.clone(), description: "why".into() };
                assert_eq!(rules(&permission(&rule)), [rule]);
            }
        }
        let range = IpPermission::builder().ip_protocol("tcp").from_port(1).to_port(9).build();
        assert_eq!(rules(&range), []);
    }
}
