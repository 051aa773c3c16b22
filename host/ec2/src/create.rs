//! Launching an instance, or finding the one that was launched, and waiting for it.

use std::time::Duration;

use jecloud_cloud::{Details, MachineError};
use jecloud_model::cloud::{Place, ServerRecord, back_off};
use jecloud_model::time::Timestamp;

use crate::answer::{Context, Failure};
use crate::api::{Action, Instance, InstanceState};
use crate::caller::Attempt;
use crate::error::Ec2Error;
use crate::launch::{Recorded, launched};
use crate::machines::Ec2Machines;
use crate::memory::Refusal;

/// So often a launch is sent that was not answered.
const ATTEMPTS: u32 = 6;

/// So often a launch is sent that names something unknown: what was just made is not known everywhere at once.
const LATE_ATTEMPTS: u32 = 3;

/// The longest pause between two looks at an instance that starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What is said of a request that can never be fulfilled, because something that it names is no more.
const OUTDATED: [&str; 7] = [
    "InvalidAMIID.NotFound",
    "InvalidAMIID.Unavailable",
    "InvalidGroup.NotFound",
    "InvalidKeyPair.NotFound",
    "InvalidSubnetID.NotFound",
    "InvalidSubnet.NotFound",
    "InsufficientFreeAddressesInSubnet",
];

/// What is said of a zone that has no such machine.
const FULL: [&str; 3] = ["InsufficientInstanceCapacity", "InsufficientCapacity", "Unsupported"];

impl Ec2Machines {
    pub(crate) fn launch_and_set_up(&self, place: &Place, record: &ServerRecord) -> Result<Details, MachineError> {
        let recorded = self.recorded(place, record)?;
        let server = place.server.to_string();
        let doing = format!("launch server {server} of {}", place.environment);
        let attempt = Attempt {
            doing: &doing,
            server: &server,
            otherwise: "no server was launched",
            action: Action::RunInstances,
        };
        let id = match &recorded.instance {
            Some(id) => id.clone(),
            None => self.adopt_or_launch(&attempt, &recorded)?.id,
        };
        let doing = format!("set up server {server} of {}", place.environment);
        let otherwise = format!("{id} stays, and is taken up again by the next attempt");
        let attempt =
            Attempt { doing: &doing, server: &server, otherwise: &otherwise, action: Action::DescribeInstances };
        let details = self.set_up(place, record, &recorded, &attempt, &id)?;
        self.memory.succeeded(place);
        Ok(details)
    }

    /// The instance that this launch came to: an earlier attempt may have been killed before it could say so.
    fn adopt_or_launch(&self, attempt: &Attempt<'_>, recorded: &Recorded) -> Result<Instance, MachineError> {
        let look = Attempt { action: Action::DescribeInstances, ..*attempt };
        let mut sent = 0;
        loop {
            let found = self.launched_by(&look, recorded)?;
            if let Some(living) = found.iter().find(|instance| !instance.state.is_over()) {
                self.memory.launched(recorded.token(), &living.id);
                return Ok(living.clone());
            }
            if let Some(ended) = found.first() {
                return Err(self.ended(attempt, ended));
            }
            // In another account it would be launched a second time.
            self.check_account(&look, recorded)?;
            self.memory.attempted(recorded.token());
            let failure = match self.caller.api.run(&recorded.launch) {
                Ok(instance) => {
                    self.memory.launched(recorded.token(), &instance.id);
                    return Ok(instance);
                }
                Err(failure) => failure,
            };
            sent += 1;
            let is_late = failure.has_code(&OUTDATED) && sent < LATE_ATTEMPTS;
            if !failure.is_transient() && !is_late {
                self.remember_refusal(recorded, &failure);
                return Err(self.explain_launch(attempt, recorded, &failure));
            }
            if sent >= ATTEMPTS {
                let attempt = Attempt { otherwise: "", ..*attempt };
                return Err(self.explain_launch(&attempt, recorded, &failure));
            }
            self.caller.world.pause(Duration::from_millis(500) * 2_u32.pow(sent - 1));
        }
    }

    fn remember_refusal(&self, recorded: &Recorded, failure: &Failure) {
        let launch = &recorded.launch;
        let is_full = failure.has_code(&FULL);
        let refusal = if is_full || failure.has_code(&OUTDATED) { Refusal::Request } else { Refusal::Other };
        if is_full {
            self.memory.is_full(&launch.instance_type, &launch.zone);
        }
        self.memory.refused(recorded.token(), refusal);
    }

    fn explain_launch(&self, attempt: &Attempt<'_>, recorded: &Recorded, failure: &Failure) -> MachineError {
        let launch = &recorded.launch;
        let permission = attempt.action.permission();
        let context = Context {
            action: &permission,
            region: &launch.region,
            instance_type: &launch.instance_type,
            zone: &launch.zone,
            image: &launch.image,
        };
        attempt.error(failure.explain(&context), failure.is_transient())
    }

    /// Waits until the instance runs and can be reached, and sets it up.
    fn set_up(
        &self,
        place: &Place,
        record: &ServerRecord,
        recorded: &Recorded,
        attempt: &Attempt<'_>,
        id: &str,
    ) -> Result<Details, MachineError> {
        let world = &self.caller.world;
        let end = world.now().plus(self.settings.boot_patience);
        let mut looks = 0;
        loop {
            let found = self.look(attempt, "instance-id", id)?.into_iter().next();
            let mut waits_for = "EC2 does not show it yet".to_owned();
            if let Some(instance) = found {
                if !recorded.is_ours(&instance) {
                    return Err(attempt.refused(
                        &format!("the tags of {id} do not say that it is this server"),
                        format!("Give {id} the jecloud: tags back that it had, or terminate it."),
                    ));
                }
                match instance.state {
                    state if state.is_over() => return Err(self.ended(attempt, &instance)),
                    InstanceState::Stopped | InstanceState::Stopping => return Err(self.stopped(attempt, id)),
                    InstanceState::Running => {
                        let Some(address) = self.address(&instance) else { return Err(self.no_address(attempt, id)) };
                        let connection =
                            self.with_running(place, recorded, &instance, address, |connect, running| {
                                connect.set_up(running)
                            })?;
                        if let Some(connection) = connection {
                            return Ok(launched(&record.details, &instance, connection));
                        }
                        waits_for = format!("it runs but does not answer at {address}");
                    }
                    _ => waits_for = "it starts".to_owned(),
                }
            }
            looks += 1;
            if !self.pause_until(end, looks) {
                let minutes = self.settings.boot_patience.as_secs() / 60;
                let source = Ec2Error::NoAnswer { detail: format!("{id}: after {minutes} min {waits_for}") };
                return Err(attempt.error(source, true));
            }
        }
    }

    /// Pauses before another look; whether there is time for one.
    pub(crate) fn pause_until(&self, end: Timestamp, looks: u32) -> bool {
        let left = end.since(self.caller.world.now());
        if left.is_zero() {
            return false;
        }
        self.caller.world.pause(back_off(looks).min(LONGEST_PAUSE).min(left));
        true
    }

    fn ended(&self, attempt: &Attempt<'_>, instance: &Instance) -> MachineError {
        let reason = if instance.reason.is_empty() { "EC2 does not say why" } else { &instance.reason };
        let detail = format!("{} was terminated: {reason}", instance.id);
        attempt.error(Ec2Error::NoAnswer { detail }, true)
    }
}
