//! Servers that are made on Amazon EC2: `provider = "ec2"`.
//!
//! [`Ec2Machines`] makes and finds them for the cloud roll-forward. It asks EC2 through an [`Api`], of which
//! [`AwsApi`] is the real one, and leaves talking to a running instance to a [`Connect`].
//!
//! What is never done here: to touch an instance without our tags, to launch a second instance for one record, to
//! conclude from silence, or to write a secret anywhere. This crate alone depends on Amazon's client for EC2: nothing
//! else waits while that is compiled.

mod answer;
mod api;
mod aws;
mod caller;
mod connect;
mod create;
mod details;
mod doctor;
mod error;
mod launch;
mod machines;
mod memory;
mod remove;
mod settings;
mod shared;
mod translate;

pub use answer::{Answer, Failure};
pub use api::{
    Action, Api, Group, ImageInfo, Instance, InstanceState, InstanceType, KeyPair, Rule, Source, Subnet, Tags,
};
pub use aws::AwsApi;
pub use connect::{Connect, Running};
pub use doctor::Finding;
pub use error::Ec2Error;
pub use jecloud_aws::{Access, Credentials, Skew};
pub use launch::{Disk, LaunchRequest, TAG_APP, TAG_ENVIRONMENT, TAG_LAUNCH, TAG_SERVER, instance_of};
pub use machines::Ec2Machines;
pub use settings::{DEBIAN, Ec2Settings, Image, Through};
pub use shared::CleanedUp;
