//! What is asked of EC2, one call each. [`crate::AwsApi`] is the real one; tests have a cloud in memory behind it.

use std::collections::BTreeMap;

use crate::answer::Failure;
use crate::launch::LaunchRequest;

/// Tags, by name.
pub type Tags = BTreeMap<String, String>;

/// EC2, in one region, for one account. Each method is one call, or one for each page of the answer; none repeats itself
/// or remembers anything. All block.
pub trait Api: Send + Sync {
    /// The region that is asked.
    fn region(&self) -> &str;

    /// What machines of this type are; none where the region has none of them.
    ///
    /// # Errors
    ///
    /// Here as everywhere in this trait: when it was not done, or it is not known whether it was.
    fn instance_type(&self, name: &str) -> Result<Option<InstanceType>, Failure>;

    /// The zones that have machines of this type.
    fn zones_of_type(&self, name: &str) -> Result<Vec<String>, Failure>;

    /// The image with this id, if there is one.
    fn image(&self, id: &str) -> Result<Option<ImageInfo>, Failure>;

    /// The images of an owner whose name matches.
    fn images(&self, owner: &str, name: &str) -> Result<Vec<ImageInfo>, Failure>;

    /// The VPC that an account has from the beginning.
    fn default_vpc(&self) -> Result<Option<String>, Failure>;

    /// The default subnets of a VPC.
    fn default_subnets(&self, vpc: &str) -> Result<Vec<Subnet>, Failure>;

    /// The number of the account that asks.
    fn account(&self) -> Result<String, Failure>;

    /// The security groups that match.
    fn groups(&self, filters: &[(&str, &str)]) -> Result<Vec<Group>, Failure>;

    /// Makes a security group and returns its id.
    fn create_group(&self, name: &str, description: &str, vpc: &str, tags: &Tags) -> Result<String, Failure>;

    /// Lets something in.
    fn authorize(&self, group: &str, rule: &Rule) -> Result<(), Failure>;

    /// Lets something in no more.
    fn revoke(&self, group: &str, rule: &Rule) -> Result<(), Failure>;

    /// Deletes a security group.
    fn delete_group(&self, id: &str) -> Result<(), Failure>;

    /// The key pairs that match.
    fn key_pairs(&self, filters: &[(&str, &str)]) -> Result<Vec<KeyPair>, Failure>;

    /// Makes a public key known, as an OpenSSH line.
    fn import_key_pair(&self, name: &str, public_key: &str, tags: &Tags) -> Result<(), Failure>;

    /// Forgets a public key.
    fn delete_key_pair(&self, name: &str) -> Result<(), Failure>;

    /// The instances that match, those that have ended recently too.
    fn instances(&self, filters: &[(&str, &str)]) -> Result<Vec<Instance>, Failure>;

    /// Launches one instance. The same request, with the same token, launches no second one.
    fn run(&self, request: &LaunchRequest) -> Result<Instance, Failure>;

    /// Ends instances for good.
    fn terminate(&self, ids: &[String]) -> Result<(), Failure>;

    /// What an instance wrote to its console, as far as EC2 has it.
    fn console_output(&self, id: &str) -> Result<Option<String>, Failure>;

    /// Asks whether something would be permitted, without doing it.
    fn dry_run(&self, action: Action) -> Result<(), Failure>;
}

/// What machines of a type are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    /// As EC2 names them: `x86_64`, `arm64`.
    pub architectures: Vec<String>,
    /// How many virtual processors it has.
    pub vcpus: u32,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `ami-…`.
    pub id: String,
    /// As its owner named it.
    pub name: String,
    /// As EC2 names it: `x86_64`, `arm64`.
    pub architecture: String,
    /// When it was made, in RFC 3339: later ones sort after earlier ones.
    pub created: String,
    /// Under which name its root volume is attached: `/dev/xvda`.
    pub root_device: String,
    /// What its root volume needs at least.
    pub root_gib: u32,
}

/// A part of a VPC that lies in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: String,
    /// `eu-west-1a`.
    pub zone: String,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `sg-…`.
    pub id: String,
    /// Its name, unique in its VPC.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it lets in.
    pub rules: Vec<Rule>,
}

/// What a security group lets in: one protocol and range of ports, from one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The TCP port; none for everything.
    pub port: Option<u16>,
    /// From where.
    pub from: Source,
    /// What it says of itself.
    pub description: String,
}

/// From where something is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// From a network, in CIDR notation.
    Network(String),
    /// From whatever is in this group.
    Group(String),
}

/// A public key that EC2 knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// Its name, unique in the region.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
}

/// An instance, as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// What it does.
    pub state: InstanceState,
    /// Why it does that, in EC2's words; mostly empty.
    pub reason: String,
    /// Its type.
    pub instance_type: String,
    /// Its address for everybody, while it has one.
    pub public_address: Option<String>,
    /// Its address inside of the VPC.
    pub private_address: Option<String>,
    /// When it was launched, in milliseconds since 1970.
    pub launched: i64,
    /// Its tags.
    pub tags: Tags,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It starts.
    Pending,
    /// It runs, or boots.
    Running,
    /// It is being stopped.
    Stopping,
    /// It does not run, and could be started again.
    Stopped,
    /// It ends.
    ShuttingDown,
    /// It has ended.
    Terminated,
    /// Something that this version does not know.
    Other,
}

impl InstanceState {
    /// Whether it has ended, or is about to: there is no way back from there.
    pub fn is_over(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// What JeCloud does with EC2, as the permissions for it are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `ec2:DescribeInstanceTypes`
    DescribeInstanceTypes,
    /// `ec2:DescribeInstanceTypeOfferings`
    DescribeInstanceTypeOfferings,
    /// `ec2:DescribeImages`
    DescribeImages,
    /// `ec2:DescribeVpcs`
    DescribeVpcs,
    /// `ec2:DescribeSubnets`
    DescribeSubnets,
    /// `ec2:DescribeSecurityGroups`
    DescribeSecurityGroups,
    /// `ec2:CreateSecurityGroup`
    CreateSecurityGroup,
    /// `ec2:AuthorizeSecurityGroupIngress`
    AuthorizeSecurityGroupIngress,
    /// `ec2:RevokeSecurityGroupIngress`
    RevokeSecurityGroupIngress,
    /// `ec2:DeleteSecurityGroup`
    DeleteSecurityGroup,
    /// `ec2:DescribeKeyPairs`
    DescribeKeyPairs,
    /// `ec2:ImportKeyPair`
    ImportKeyPair,
    /// `ec2:DeleteKeyPair`
    DeleteKeyPair,
    /// `ec2:DescribeInstances`
    DescribeInstances,
    /// `ec2:RunInstances`
    RunInstances,
    /// `ec2:CreateTags`
    CreateTags,
    /// `ec2:TerminateInstances`
    TerminateInstances,
    /// `ec2:GetConsoleOutput`
    GetConsoleOutput,
    /// `sts:GetCallerIdentity`, which everybody may.
    GetCallerIdentity,
}

impl Action {
    /// All that need a permission.
    pub const ALL: [Self; 18] = [
        Self::DescribeInstanceTypes,
        Self::DescribeInstanceTypeOfferings,
        Self::DescribeImages,
        Self::DescribeVpcs,
        Self::DescribeSubnets,
        Self::DescribeSecurityGroups,
        Self::CreateSecurityGroup,
        Self::AuthorizeSecurityGroupIngress,
        Self::RevokeSecurityGroupIngress,
        Self::DeleteSecurityGroup,
        Self::DescribeKeyPairs,
        Self::ImportKeyPair,
        Self::DeleteKeyPair,
        Self::DescribeInstances,
        Self::RunInstances,
        Self::CreateTags,
        Self::TerminateInstances,
        Self::GetConsoleOutput,
    ];

    /// As it is called in policies: `ec2:RunInstances`.
    pub fn permission(self) -> String {
        let service = if self == Self::GetCallerIdentity { "sts" } else { "ec2" };
        format!("{service}:{self:?}")
    }
}
