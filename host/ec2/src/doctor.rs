//! What is not as it should be on EC2.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jecloud_cloud::MachineError;
use jecloud_model::cloud::CloudState;

use crate::api::{Action, Instance, InstanceState};
use crate::caller::{Attempt, Caller};
use crate::launch::{TAG_APP, TAG_ENVIRONMENT, TAG_LAUNCH, TAG_SERVER, instance_of, token_of};
use crate::settings::Ec2Settings;

/// Something that a person may want to know or to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An instance with the app's tag that the cloud state does not know. It costs money.
    Orphan {
        /// `i-…`.
        instance: String,
        /// Which server its tags say it is; may be empty.
        server: String,
        /// Which environment its tags say it belongs to; may be empty.
        environment: String,
        /// Where.
        region: String,
    },
    /// An instance that somebody has stopped. Its disk costs money, and it serves nobody.
    Stopped {
        /// `i-…`.
        instance: String,
        /// Which server it is.
        server: String,
        /// Where.
        region: String,
    },
    /// A security group of an app that has no servers.
    UnusedGroup {
        /// `sg-…`.
        id: String,
    },
    /// A key pair of an app that has no servers.
    UnusedKey {
        /// Its name.
        name: String,
    },
    /// Something that JeCloud does is not permitted.
    MissingPermission {
        /// As it is called in policies: `ec2:RunInstances`.
        action: String,
    },
    /// Servers can only be launched into a default VPC.
    NoDefaultVpc {
        /// Where.
        region: String,
    },
    /// How much of the account's quota for standard instances is in use. No trouble in itself.
    Vcpus {
        /// Virtual processors of all running instances of the account.
        used: u32,
        /// Those that the servers still need which are recorded but not launched.
        needed: u32,
        /// Where.
        region: String,
    },
}

impl Finding {
    /// Whether it is something to be put right; the others are only to be known.
    pub fn is_trouble(&self) -> bool {
        !matches!(self, Self::Vcpus { .. })
    }

    /// What to do about it, as a sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Orphan { instance, region, .. } => format!(
                "If nobody needs it: `aws ec2 terminate-instances --region {region} --instance-ids {instance}`."
            ),
            Self::Stopped { instance, region, .. } => {
                format!("`aws ec2 start-instances --region {region} --instance-ids {instance}` starts it.")
            }
            Self::UnusedGroup { .. } | Self::UnusedKey { .. } => {
                "It costs nothing; the end of the next `jecloud destroy` removes it.".to_owned()
            }
            Self::MissingPermission { action } => {
                format!("Let whoever administers the AWS account permit {action}, or set AWS_PROFILE to another role.")
            }
            Self::NoDefaultVpc { region } => format!("`aws ec2 create-default-vpc --region {region}` makes one."),
            Self::Vcpus { region, .. } => format!(
                "`aws service-quotas get-service-quota --region {region} --service-code ec2 --quota-code L-1216C47A` \
                 shows how many the account may have."
            ),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orphan { instance, server, environment, .. } => {
                write!(f, "instance {instance} ({server} of {environment}) is not in the cloud state")
            }
            Self::Stopped { instance, server, .. } => write!(f, "instance {instance} ({server}) is stopped"),
            Self::UnusedGroup { id } => write!(f, "security group {id} is left, but the app has no servers"),
            Self::UnusedKey { name } => write!(f, "key pair {name} is left, but the app has no servers"),
            Self::MissingPermission { action } => write!(f, "the AWS credentials do not permit {action}"),
            Self::NoDefaultVpc { region } => write!(f, "the region {region} has no default VPC"),
            Self::Vcpus { used, needed, .. } => {
                write!(f, "{used} vCPUs of the account run, and {needed} more are wanted")
            }
        }
    }
}

/// What the state knows of launches: the instance by token, none where it is not recorded yet.
fn launches(state: &CloudState) -> BTreeMap<&str, Option<&str>> {
    let records = state.environments.values().flat_map(|environment| environment.servers.values());
    records.filter_map(|record| Some((token_of(&record.details)?, instance_of(&record.details)))).collect()
}

pub(crate) fn examine(
    caller: &Caller,
    settings: &Ec2Settings,
    state: &CloudState,
) -> Result<Vec<Finding>, MachineError> {
    let examiner = Examiner { caller, region: caller.api.region().to_owned() };
    let mut findings = Vec::new();
    let denied = examiner.denied()?;
    findings.extend(denied.iter().map(|action| Finding::MissingPermission { action: action.permission() }));
    let may = |action| !denied.contains(&action);
    let app = settings.app.to_string();
    let tag = format!("tag:{TAG_APP}");
    let launches = launches(state);
    if may(Action::DescribeVpcs) && examiner.ask(Action::DescribeVpcs, |api| api.default_vpc())?.is_none() {
        findings.push(Finding::NoDefaultVpc { region: examiner.region.clone() });
    }
    let mut is_in_use = !launches.is_empty();
    if may(Action::DescribeInstances) {
        let instances = examiner.ask(Action::DescribeInstances, |api| api.instances(&[]))?;
        let ours: Vec<&Instance> = instances
            .iter()
            .filter(|one| one.tags.get(TAG_APP) == Some(&app) && one.state != InstanceState::Terminated)
            .collect();
        is_in_use |= !ours.is_empty();
        findings
            .extend(ours.iter().filter(|one| !one.state.is_over()).filter_map(|one| examiner.judge(one, &launches)));
        if may(Action::DescribeInstanceTypes) {
            findings.push(examiner.vcpus(&instances, state)?);
        }
    }
    if is_in_use {
        return Ok(findings);
    }
    if may(Action::DescribeSecurityGroups) {
        let groups = examiner.ask(Action::DescribeSecurityGroups, |api| api.groups(&[(&tag, &app)]))?;
        findings.extend(groups.into_iter().map(|group| Finding::UnusedGroup { id: group.id }));
    }
    if may(Action::DescribeKeyPairs) {
        let keys = examiner.ask(Action::DescribeKeyPairs, |api| api.key_pairs(&[(&tag, &app)]))?;
        findings.extend(keys.into_iter().map(|key| Finding::UnusedKey { name: key.name }));
    }
    Ok(findings)
}

struct Examiner<'a> {
    caller: &'a Caller,
    region: String,
}

impl Examiner<'_> {
    fn ask<T>(
        &self,
        action: Action,
        call: impl FnMut(&dyn crate::Api) -> Result<T, crate::Failure>,
    ) -> Result<T, MachineError> {
        let attempt = Attempt { doing: "examine EC2", server: "", otherwise: "nothing was changed", action };
        self.caller.ask(&attempt, call)
    }

    /// What is not permitted. Other answers say that one was let through to where they come from.
    fn denied(&self) -> Result<BTreeSet<Action>, MachineError> {
        let mut denied = BTreeSet::new();
        for action in Action::ALL {
            match self.caller.retry(|api| api.dry_run(action)) {
                Err(failure) if failure.has_code(&["UnauthorizedOperation", "AccessDenied"]) => {
                    denied.insert(action);
                }
                Err(failure) if failure.is_transient() || is_about_who_asks(&failure) => {
                    let attempt =
                        Attempt { doing: "examine EC2", server: "", otherwise: "nothing was changed", action };
                    return Err(self.caller.in_words(&attempt, &failure));
                }
                _ => {}
            }
        }
        Ok(denied)
    }

    fn judge(&self, instance: &Instance, launches: &BTreeMap<&str, Option<&str>>) -> Option<Finding> {
        let tag = |name: &str| instance.tags.get(name).cloned().unwrap_or_default();
        let known = launches.get(&*tag(TAG_LAUNCH));
        let is_known = known.is_some_and(|recorded| recorded.is_none_or(|id| id == instance.id));
        let (id, region, server) = (instance.id.clone(), self.region.clone(), tag(TAG_SERVER));
        if !is_known {
            return Some(Finding::Orphan { instance: id, server, environment: tag(TAG_ENVIRONMENT), region });
        }
        let is_stopped = matches!(instance.state, InstanceState::Stopped | InstanceState::Stopping);
        is_stopped.then_some(Finding::Stopped { instance: id, server, region })
    }

    fn vcpus(&self, instances: &[Instance], state: &CloudState) -> Result<Finding, MachineError> {
        let mut known: BTreeMap<String, u32> = BTreeMap::new();
        let mut count = |instance_type: &str| -> Result<u32, MachineError> {
            if let Some(vcpus) = known.get(instance_type) {
                return Ok(*vcpus);
            }
            let found = self.ask(Action::DescribeInstanceTypes, |api| api.instance_type(instance_type))?;
            let vcpus = found.map_or(0, |found| found.vcpus);
            known.insert(instance_type.to_owned(), vcpus);
            Ok(vcpus)
        };
        let runs = |one: &&Instance| matches!(one.state, InstanceState::Running | InstanceState::Pending);
        let (mut used, mut needed) = (0, 0);
        for instance in instances.iter().filter(runs) {
            used += count(&instance.instance_type)?;
        }
        for record in state.environments.values().flat_map(|environment| environment.servers.values()) {
            let launch = record.details.get("launch").and_then(|launch| launch.get("type")?.as_str());
            if let (Some(instance_type), None) = (launch, instance_of(&record.details)) {
                needed += count(instance_type)?;
            }
        }
        Ok(Finding::Vcpus { used, needed, region: self.region.clone() })
    }
}

fn is_about_who_asks(failure: &crate::Failure) -> bool {
    use crate::Ec2Error;
    let explained = failure.explain(&crate::answer::Context::default());
    matches!(
        explained,
        Ec2Error::NoCredentials
            | Ec2Error::CredentialsUnavailable { .. }
            | Ec2Error::ExpiredCredentials
            | Ec2Error::WrongCredentials { .. }
            | Ec2Error::ClockSkew { .. }
            | Ec2Error::WrongRegion { .. }
    )
}
