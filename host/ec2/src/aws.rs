//! The real EC2.

use aws_config::retry::RetryConfig;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, InstanceType as Type, LocationType, ResourceType, Tag, TagSpecification,
    VolumeType,
};
use jecloud_aws::{Access, configuration};
use jecloud_disk::fault;
use tokio::runtime::Runtime;

use crate::answer::Failure;
use crate::api::{Action, Api, Group, ImageInfo, Instance, InstanceType, KeyPair, Rule, Subnet, Tags};
use crate::error::Ec2Error;
use crate::launch::LaunchRequest;
use crate::translate;

/// A page of an answer has at most so many instances.
const PAGE: i32 = 500;

/// Amazon EC2, or what speaks its protocol, through Amazon's own client. Repeats nothing by itself.
pub struct AwsApi {
    client: Client,
    identity: aws_sdk_sts::Client,
    region: String,
    /// Taken only when it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for AwsApi {
    fn drop(&mut self) {
        // Waiting for it is not allowed everywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl AwsApi {
    /// Prepares to ask. Whether there are credentials shows at the first question.
    ///
    /// # Errors
    ///
    /// When no region is known, or the process cannot start a thread.
    pub fn new(access: &Access) -> Result<Self, Ec2Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ec2")
            .enable_all()
            .build()
            .map_err(|error| Ec2Error::NoAnswer { detail: format!("cannot start a thread: {error}") })?;
        // Whoever calls knows what may be repeated, and when.
        let config = runtime.block_on(configuration(access, RetryConfig::disabled()));
        let region = config.region().map(ToString::to_string).ok_or(Ec2Error::NoRegion)?;
        let (client, identity) = (Client::new(&config), aws_sdk_sts::Client::new(&config));
        Ok(Self { client, identity, region, runtime: Some(runtime) })
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("taken only when it is dropped").block_on(future)
    }

    /// Does one call; its failure in our words.
    fn send<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        Ok(self.block_on(call)?)
    }

    /// Does one call that has an effect. A test can stop before it, and when it had its effect and nobody knows yet.
    fn change<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let stopped = |error: std::io::Error| Failure::Lost(error.to_string());
        fault::point("ec2.change").map_err(stopped)?;
        let done = self.send(call)?;
        fault::point("ec2.change.done").map_err(stopped)?;
        Ok(done)
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn filters(all: &[(&str, &str)]) -> Option<Vec<Filter>> {
    (!all.is_empty()).then(|| all.iter().map(|(name, value)| filter(name, value)).collect())
}

fn specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    let tags = tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

/// What EC2 says when what is looked for does not exist is no failure.
fn or_none<T>(result: Result<T, Failure>, codes: &[&str]) -> Result<Option<T>, Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.has_code(codes) => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Api for AwsApi {
    fn region(&self) -> &str {
        &self.region
    }

    fn account(&self) -> Result<String, Failure> {
        let identity = self.send(self.identity.get_caller_identity().send())?;
        identity.account.ok_or_else(|| Failure::Lost("AWS did not say whose the credentials are".to_owned()))
    }

    fn instance_type(&self, name: &str) -> Result<Option<InstanceType>, Failure> {
        let call = self.client.describe_instance_types().instance_types(Type::from(name)).send();
        let found = or_none(self.send(call), &["InvalidInstanceType"])?;
        Ok(found.and_then(|found| found.instance_types().first().map(translate::instance_type)))
    }

    fn zones_of_type(&self, name: &str) -> Result<Vec<String>, Failure> {
        let pages = self
            .client
            .describe_instance_type_offerings()
            .location_type(LocationType::AvailabilityZone)
            .filters(filter("instance-type", name))
            .into_paginator()
            .items()
            .send()
            .try_collect();
        let offerings = self.send(pages)?;
        Ok(offerings.into_iter().filter_map(|offering| offering.location).collect())
    }

    fn image(&self, id: &str) -> Result<Option<ImageInfo>, Failure> {
        let call = self.client.describe_images().image_ids(id).send();
        let found = or_none(self.send(call), &["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"])?;
        Ok(found.and_then(|found| found.images().first().map(translate::image)))
    }

    fn images(&self, owner: &str, name: &str) -> Result<Vec<ImageInfo>, Failure> {
        let request =
            self.client.describe_images().owners(owner).set_filters(filters(&[("name", name), ("state", "available")]));
        let found = self.send(request.into_paginator().items().send().try_collect())?;
        Ok(found.iter().map(translate::image).collect())
    }

    fn default_vpc(&self) -> Result<Option<String>, Failure> {
        let found = self.send(self.client.describe_vpcs().filters(filter("is-default", "true")).send())?;
        Ok(found.vpcs().first().and_then(|vpc| vpc.vpc_id.clone()))
    }

    fn default_subnets(&self, vpc: &str) -> Result<Vec<Subnet>, Failure> {
        let request = self.client.describe_subnets();
        let request =
            request.set_filters(filters(&[("vpc-id", vpc), ("default-for-az", "true"), ("state", "available")]));
        let found = self.send(request.into_paginator().items().send().try_collect())?;
        Ok(found.iter().map(translate::subnet).collect())
    }

    fn groups(&self, all: &[(&str, &str)]) -> Result<Vec<Group>, Failure> {
        let request = self.client.describe_security_groups().set_filters(filters(all));
        let found = self.send(request.into_paginator().items().send().try_collect())?;
        Ok(found.iter().map(translate::group).collect())
    }

    fn create_group(&self, name: &str, description: &str, vpc: &str, tags: &Tags) -> Result<String, Failure> {
        let request = self.client.create_security_group().group_name(name).description(description).vpc_id(vpc);
        let made = self.change(request.tag_specifications(specification(ResourceType::SecurityGroup, tags)).send())?;
        made.group_id.ok_or_else(|| Failure::Lost("EC2 did not say which group it made".to_owned()))
    }

    fn authorize(&self, group: &str, rule: &Rule) -> Result<(), Failure> {
        let request = self.client.authorize_security_group_ingress().group_id(group);
        self.change(request.ip_permissions(translate::permission(rule)).send()).map(drop)
    }

    fn revoke(&self, group: &str, rule: &Rule) -> Result<(), Failure> {
        let request = self.client.revoke_security_group_ingress().group_id(group);
        self.change(request.ip_permissions(translate::permission(rule)).send()).map(drop)
    }

    fn delete_group(&self, id: &str) -> Result<(), Failure> {
        self.change(self.client.delete_security_group().group_id(id).send()).map(drop)
    }

    fn key_pairs(&self, all: &[(&str, &str)]) -> Result<Vec<KeyPair>, Failure> {
        let found = self.send(self.client.describe_key_pairs().set_filters(filters(all)).send())?;
        Ok(found.key_pairs().iter().map(translate::key_pair).collect())
    }

    fn import_key_pair(&self, name: &str, public_key: &str, tags: &Tags) -> Result<(), Failure> {
        let request = self.client.import_key_pair().key_name(name).public_key_material(Blob::new(public_key));
        self.change(request.tag_specifications(specification(ResourceType::KeyPair, tags)).send()).map(drop)
    }

    fn delete_key_pair(&self, name: &str) -> Result<(), Failure> {
        self.change(self.client.delete_key_pair().key_name(name).send()).map(drop)
    }

    fn instances(&self, all: &[(&str, &str)]) -> Result<Vec<Instance>, Failure> {
        let pages = self.client.describe_instances().set_filters(filters(all)).into_paginator().page_size(PAGE);
        let found = self.send(pages.items().send().try_collect())?;
        Ok(found.iter().flat_map(|reservation| reservation.instances()).map(translate::instance).collect())
    }

    fn run(&self, request: &LaunchRequest) -> Result<Instance, Failure> {
        let disk = EbsBlockDevice::builder()
            .volume_type(VolumeType::Gp3)
            .volume_size(i32::try_from(request.disk.gib).unwrap_or(i32::MAX))
            .encrypted(true)
            .delete_on_termination(true)
            .build();
        let disk = BlockDeviceMapping::builder().device_name(&request.disk.device).ebs(disk).build();
        let network = InstanceNetworkInterfaceSpecification::builder()
            .device_index(0)
            .subnet_id(&request.subnet)
            .groups(&request.security_group)
            .associate_public_ip_address(true)
            .build();
        // Only who can make requests with a header of its own gets at the machine's role.
        let metadata = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build();
        let call = self
            .client
            .run_instances()
            .min_count(1)
            .max_count(1)
            .client_token(&request.client_token)
            .image_id(&request.image)
            .instance_type(Type::from(request.instance_type.as_str()))
            .key_name(&request.key_name)
            .network_interfaces(network)
            .block_device_mappings(disk)
            .metadata_options(metadata)
            .tag_specifications(specification(ResourceType::Instance, &request.tags))
            .tag_specifications(specification(ResourceType::Volume, &request.tags));
        let launched = self.change(call.send())?;
        let instance = launched.instances().first().map(translate::instance);
        instance.ok_or_else(|| Failure::Lost("EC2 did not say which instance it launched".to_owned()))
    }

    fn terminate(&self, ids: &[String]) -> Result<(), Failure> {
        let request = self.client.terminate_instances().set_instance_ids(Some(ids.to_vec()));
        self.change(request.send()).map(drop)
    }

    fn console_output(&self, id: &str) -> Result<Option<String>, Failure> {
        let found = self.send(self.client.get_console_output().instance_id(id).send())?;
        Ok(found.output.as_deref().and_then(translate::console))
    }

    fn dry_run(&self, action: Action) -> Result<(), Failure> {
        /// Nothing has such an id: who is let through is told so, and who is not is told that.
        const NONE: &str = "00000000000000000";
        let client = &self.client;
        let (group, instance) = (format!("sg-{NONE}"), format!("i-{NONE}"));
        let rule =
            Rule { port: Some(22), from: crate::Source::Network("192.0.2.0/32".into()), description: String::new() };
        let permission = translate::permission(&rule);
        let asked = match action {
            Action::DescribeInstanceTypes => self.send(client.describe_instance_types().dry_run(true).send()).map(drop),
            Action::DescribeInstanceTypeOfferings => {
                self.send(client.describe_instance_type_offerings().dry_run(true).send()).map(drop)
            }
            Action::DescribeImages => self.send(client.describe_images().owners("self").dry_run(true).send()).map(drop),
            Action::DescribeVpcs => self.send(client.describe_vpcs().dry_run(true).send()).map(drop),
            Action::DescribeSubnets => self.send(client.describe_subnets().dry_run(true).send()).map(drop),
            Action::DescribeSecurityGroups => {
                self.send(client.describe_security_groups().dry_run(true).send()).map(drop)
            }
            Action::CreateSecurityGroup => {
                let call = client.create_security_group().group_name("jecloud").description("jecloud").dry_run(true);
                self.send(call.send()).map(drop)
            }
            Action::AuthorizeSecurityGroupIngress => {
                let call = client.authorize_security_group_ingress().group_id(group).ip_permissions(permission);
                self.send(call.dry_run(true).send()).map(drop)
            }
            Action::RevokeSecurityGroupIngress => {
                let call = client.revoke_security_group_ingress().group_id(group).ip_permissions(permission);
                self.send(call.dry_run(true).send()).map(drop)
            }
            Action::DeleteSecurityGroup => {
                self.send(client.delete_security_group().group_id(group).dry_run(true).send()).map(drop)
            }
            Action::DescribeKeyPairs => self.send(client.describe_key_pairs().dry_run(true).send()).map(drop),
            Action::ImportKeyPair => {
                let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
                let call = client.import_key_pair().key_name("jecloud").public_key_material(Blob::new(key));
                self.send(call.dry_run(true).send()).map(drop)
            }
            Action::DeleteKeyPair => {
                self.send(client.delete_key_pair().key_name("jecloud").dry_run(true).send()).map(drop)
            }
            Action::DescribeInstances => self.send(client.describe_instances().dry_run(true).send()).map(drop),
            Action::RunInstances => {
                let call = client.run_instances().min_count(1).max_count(1).image_id(format!("ami-{NONE}"));
                self.send(call.instance_type(Type::T3Micro).dry_run(true).send()).map(drop)
            }
            Action::CreateTags => {
                let tag = Tag::builder().key(crate::TAG_APP).value("").build();
                self.send(client.create_tags().resources(instance).tags(tag).dry_run(true).send()).map(drop)
            }
            Action::TerminateInstances => {
                self.send(client.terminate_instances().instance_ids(instance).dry_run(true).send()).map(drop)
            }
            Action::GetConsoleOutput => {
                self.send(client.get_console_output().instance_id(instance).dry_run(true).send()).map(drop)
            }
            Action::GetCallerIdentity => self.account().map(drop),
        };
        or_none(asked, &["DryRunOperation"]).map(drop)
    }
}
