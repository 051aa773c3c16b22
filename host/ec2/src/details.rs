//! Finding out everything that a launch takes.

use std::collections::BTreeSet;

use jecloud_cloud::MachineError;
use jecloud_model::cloud::Place;

use crate::api::{Action, ImageInfo, Subnet};
use crate::caller::{Attempt, Caller};
use crate::connect::Connect;
use crate::error::Ec2Error;
use crate::launch::{Disk, LaunchRequest, Recorded, server_tags};
use crate::settings::{Ec2Settings, Image};
use crate::shared::{ensure_group, ensure_key};

/// A type of server and a zone that has none of it at the moment.
pub(crate) type Full = BTreeSet<(String, String)>;

/// Debian's name and EC2's.
const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "arm64")];

pub(crate) fn resolve(
    caller: &Caller,
    settings: &Ec2Settings,
    connect: &dyn Connect,
    place: &Place,
    full: &Full,
) -> Result<Recorded, MachineError> {
    let server = place.server.to_string();
    let doing = format!("find out how to launch server {server} of {}", place.environment);
    let resolver = Resolver { caller, settings, doing: &doing, server: &server };
    let instance_type = settings.type_of(place).to_owned();
    let account = caller.ask(&resolver.attempt(Action::GetCallerIdentity), |api| api.account())?;
    let image = resolver.image(&instance_type)?;
    connect.fits(&image.architecture)?;
    let (vpc, subnet) = resolver.network(place, &instance_type, full)?;
    // Only where nothing stands in the way of the launch any more something is made.
    let key_name = ensure_key(caller, settings, &server)?;
    let security_group = ensure_group(caller, settings, &vpc, &server)?;
    let token: String = caller.world.random().iter().map(|byte| format!("{byte:02x}")).collect();
    let launch = LaunchRequest {
        region: caller.api.region().to_owned(),
        image: image.id,
        instance_type,
        subnet: subnet.id,
        zone: subnet.zone,
        security_group,
        key_name,
        disk: Disk { device: image.root_device, gib: settings.disk_gib.max(image.root_gib) },
        tags: server_tags(&settings.app, place, &token, &settings.tags),
        client_token: token,
    };
    Ok(Recorded::new(launch, settings.image.to_string(), settings.user.clone(), account))
}

struct Resolver<'a> {
    caller: &'a Caller,
    settings: &'a Ec2Settings,
    doing: &'a str,
    server: &'a str,
}

impl<'a> Resolver<'a> {
    fn attempt(&self, action: Action) -> Attempt<'a> {
        Attempt { doing: self.doing, server: self.server, otherwise: "nothing was launched", action }
    }

    fn region(&self) -> String {
        self.caller.api.region().to_owned()
    }

    fn image(&self, instance_type: &str) -> Result<ImageInfo, MachineError> {
        let attempt = self.attempt(Action::DescribeInstanceTypes);
        let known = self.caller.ask(&attempt, |api| api.instance_type(instance_type))?;
        let known = known.ok_or_else(|| {
            let instance_type = instance_type.to_owned();
            attempt.error(Ec2Error::NoSuchType { instance_type, place: self.region() }, false)
        })?;
        let is_possible = |architecture: &str| known.architectures.iter().any(|one| one == architecture);
        let attempt = self.attempt(Action::DescribeImages);
        let missing = |detail: String| {
            let (image, region) = (self.settings.image.to_string(), self.region());
            attempt.error(Ec2Error::NoImage { image, region, detail }, false)
        };
        match &self.settings.image {
            Image::Id(id) => {
                let image = self.caller.ask(&attempt, |api| api.image(id))?.ok_or_else(|| missing(String::new()))?;
                if is_possible(&image.architecture) {
                    return Ok(image);
                }
                let detail = format!(
                    "it is for {}, and {instance_type} is {}",
                    image.architecture,
                    known.architectures.join(" or ")
                );
                Err(missing(detail))
            }
            Image::Newest { owner, name } => {
                let (debian, architecture) = ARCHITECTURES
                    .into_iter()
                    .find(|(_, architecture)| is_possible(architecture))
                    .ok_or_else(|| missing(format!("{instance_type} is {}", known.architectures.join(" or "))))?;
                let name = name.replace("{arch}", debian);
                let mut images = self.caller.ask(&attempt, |api| api.images(owner, &name))?;
                images.retain(|image| image.architecture == architecture);
                let newest =
                    images.into_iter().max_by(|one, other| (&one.created, &one.id).cmp(&(&other.created, &other.id)));
                newest.ok_or_else(|| missing(format!("nothing of {owner} is named {name}")))
            }
        }
    }

    /// The VPC and the subnet. Servers of a group are spread over the zones.
    fn network(&self, place: &Place, instance_type: &str, full: &Full) -> Result<(String, Subnet), MachineError> {
        let attempt = self.attempt(Action::DescribeVpcs);
        let vpc = self.caller.ask(&attempt, |api| api.default_vpc())?;
        let vpc = vpc.ok_or_else(|| attempt.error(Ec2Error::NoDefaultVpc { region: self.region() }, false))?;
        let attempt = self.attempt(Action::DescribeInstanceTypeOfferings);
        let zones = self.caller.ask(&attempt, |api| api.zones_of_type(instance_type))?;
        let attempt = self.attempt(Action::DescribeSubnets);
        let mut subnets = self.caller.ask(&attempt, |api| api.default_subnets(&vpc))?;
        subnets.retain(|subnet| zones.contains(&subnet.zone));
        subnets.sort_by(|one, other| (&one.zone, &one.id).cmp(&(&other.zone, &other.id)));
        let is_full = |subnet: &Subnet| full.contains(&(instance_type.to_owned(), subnet.zone.clone()));
        if subnets.iter().any(|subnet| !is_full(subnet)) {
            subnets.retain(|subnet| !is_full(subnet));
        }
        let index = place.server.index.saturating_sub(1) as usize;
        let count = subnets.len().max(1);
        let subnet = subnets.into_iter().nth(index % count).ok_or_else(|| {
            let instance_type = instance_type.to_owned();
            attempt.error(Ec2Error::NoSubnet { region: self.region(), instance_type }, false)
        })?;
        Ok((vpc, subnet))
    }
}
