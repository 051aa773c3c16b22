//! Ending the instances of a server.

use std::time::Duration;

use jecloud_cloud::MachineError;
use jecloud_model::cloud::{Place, ServerRecord, UNTIL_VISIBLE};

use crate::api::{Action, Instance};
use crate::caller::Attempt;
use crate::error::Ec2Error;
use crate::launch::Recorded;
use crate::machines::Ec2Machines;

/// How long an instance may go on after the order to end.
const ENDING: Duration = Duration::from_secs(120);

impl Ec2Machines {
    /// Ends whatever the recorded launch came to. Where nobody knows whether it came to something, it waits until that
    /// is certain: what is forgotten now would cost money for ever.
    pub(crate) fn terminate(&self, place: &Place, record: &ServerRecord) -> Result<(), MachineError> {
        let recorded = self.recorded(place, record)?;
        let server = place.server.to_string();
        let doing = format!("terminate server {server} of {}", place.environment);
        let otherwise = "what is recorded of it stays, so that it can be tried again";
        let attempt = Attempt { doing: &doing, server: &server, otherwise, action: Action::DescribeInstances };
        let world = &self.caller.world;
        let started = world.now();
        let (mut looks, mut ordered_until) = (0, None);
        loop {
            let found = self.of_launch(&attempt, &recorded)?;
            let living: Vec<String> =
                found.iter().filter(|one| !one.state.is_over()).map(|one| one.id.clone()).collect();
            if !living.is_empty() {
                let end = *ordered_until.get_or_insert_with(|| world.now().plus(ENDING));
                let order = Attempt { action: Action::TerminateInstances, ..attempt };
                match self.caller.retry(|api| api.terminate(&living)) {
                    // It ended meanwhile, or it is not known everywhere yet: the next look tells.
                    Err(failure) if failure.has_code(&["InvalidInstanceID.NotFound"]) => {}
                    Err(failure) => return Err(self.caller.in_words(&order, &failure)),
                    Ok(()) => {}
                }
                looks += 1;
                if !self.pause_until(end, looks) {
                    let detail = format!("{} did not end", living.join(", "));
                    return Err(attempt.error(Ec2Error::NoAnswer { detail }, true));
                }
                continue;
            }
            if !found.is_empty() {
                return Ok(());
            }
            let is_certain =
                self.memory.refusal(recorded.token()).is_some() || self.memory.not_seen(recorded.token(), world.now());
            if is_certain {
                return self.check_account(&attempt, &recorded);
            }
            looks += 1;
            // The first look of this process may have been earlier, but never later.
            if !self.pause_until(started.plus(UNTIL_VISIBLE + Duration::from_secs(1)), looks) {
                let detail = "EC2 does not say whether it was launched".to_owned();
                return Err(attempt.error(Ec2Error::NoAnswer { detail }, true));
            }
        }
    }

    /// Whatever the launch came to, with its instance in any case where one is recorded.
    fn of_launch(&self, attempt: &Attempt<'_>, recorded: &Recorded) -> Result<Vec<Instance>, MachineError> {
        let mut found = self.launched_by(attempt, recorded)?;
        let Some(id) = &recorded.instance else { return Ok(found) };
        if !found.iter().any(|instance| instance.id == *id) {
            let by_id = self.look(attempt, "instance-id", id)?;
            // Without our tags it may be anybody's.
            if let Some(stranger) = by_id.iter().find(|one| !one.state.is_over() && !recorded.is_ours(one)) {
                let why = format!("the tags of {} do not say that it is this server", stranger.id);
                let hint = format!("If it is to go, terminate {} in the AWS console.", stranger.id);
                return Err(attempt.refused(&why, hint));
            }
            found.extend(by_id);
        }
        Ok(found)
    }
}
