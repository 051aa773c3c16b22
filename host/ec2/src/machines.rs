//! Servers on EC2, as the cloud roll-forward wants them.

use std::sync::Arc;

use jecloud_cloud::{Details, Found, MachineError, Machines, World, at_once};
use jecloud_model::cloud::{CloudState, Place, ServerRecord};

use crate::api::{Action, Api, Instance, InstanceState};
use crate::caller::{Attempt, Caller};
use crate::connect::{Connect, Running};
use crate::details;
use crate::doctor::{self, Finding};
use crate::launch::{Recorded, TAG_APP, TAG_LAUNCH};
use crate::memory::{Memory, Refusal};
use crate::settings::{Ec2Settings, Through};
use crate::shared::{self, CleanedUp};

/// Makes servers on EC2 and finds them.
///
/// A server is one instance. What its launch takes is found out and recorded before; the launch is then that request,
/// with its client token, however often it is repeated and by whom. An instance is only adopted or ended when it
/// carries all four of our tags with what is recorded.
///
/// An instance that a person has stopped is not started again: it is unknown until somebody starts or terminates it.
pub struct Ec2Machines {
    pub(crate) settings: Ec2Settings,
    pub(crate) caller: Caller,
    pub(crate) connect: Box<dyn Connect>,
    pub(crate) memory: Memory,
}

impl Ec2Machines {
    /// `api` is where they are made; `connect` reaches them.
    pub fn new(settings: Ec2Settings, api: Arc<dyn Api>, connect: Box<dyn Connect>, world: Arc<dyn World>) -> Self {
        Self { settings, caller: Caller { api, world }, connect, memory: Memory::default() }
    }

    /// Deletes the security group and the key pair of the app, where no instance of it is left. To be called when no
    /// environment has servers any more.
    ///
    /// # Errors
    ///
    /// When it is not certain that they are deleted. May be repeated.
    pub fn clean_up(&self) -> Result<CleanedUp, MachineError> {
        shared::clean_up(&self.caller, &self.settings)
    }

    /// What is not as it should be: with the instances of the app that `state` does not know, with what is left of an
    /// app without servers, with permissions and quotas. Changes nothing.
    ///
    /// # Errors
    ///
    /// When EC2 does not answer. Permissions that are missing are findings and no errors.
    pub fn doctor(&self, state: &CloudState) -> Result<Vec<Finding>, MachineError> {
        doctor::examine(&self.caller, &self.settings, state)
    }

    pub(crate) fn recorded(&self, place: &Place, record: &ServerRecord) -> Result<Recorded, MachineError> {
        let recorded = Recorded::read(place, &record.details)?;
        let (there, here) = (&recorded.launch.region, self.caller.api.region());
        if there == here {
            return Ok(recorded);
        }
        Err(MachineError::Refused {
            error: format!(
                "server {} of {} belongs into the region {there}, but the configured region is {here}",
                place.server, place.environment
            ),
            hint: format!(
                "Write region = \"{there}\" below [cloud] in jecloud.toml; to move, destroy the environment first."
            ),
        })
    }

    /// All instances with a tag or an id.
    pub(crate) fn look(&self, attempt: &Attempt<'_>, key: &str, value: &str) -> Result<Vec<Instance>, MachineError> {
        self.caller.ask(attempt, |api| api.instances(&[(key, value)]))
    }

    /// What a launch came to, as far as it is among these, the oldest first.
    fn launched_among(recorded: &Recorded, mut found: Vec<Instance>) -> Vec<Instance> {
        found.retain(|instance| recorded.is_ours(instance));
        found.sort_by(|one, other| (one.launched, &one.id).cmp(&(other.launched, &other.id)));
        found
    }

    /// What a launch came to, the oldest first.
    pub(crate) fn launched_by(
        &self,
        attempt: &Attempt<'_>,
        recorded: &Recorded,
    ) -> Result<Vec<Instance>, MachineError> {
        let found = self.look(attempt, &format!("tag:{TAG_LAUNCH}"), recorded.token())?;
        Ok(Self::launched_among(recorded, found))
    }

    pub(crate) fn address<'a>(&self, instance: &'a Instance) -> Option<&'a str> {
        match self.settings.connect {
            Through::Public => instance.public_address.as_deref(),
            Through::Private => instance.private_address.as_deref(),
        }
    }

    /// Has `work` done with a running instance.
    pub(crate) fn with_running<T>(
        &self,
        place: &Place,
        recorded: &Recorded,
        instance: &Instance,
        address: &str,
        work: impl FnOnce(&dyn Connect, &Running<'_>) -> Result<T, MachineError>,
    ) -> Result<T, MachineError> {
        let server = place.server.to_string();
        let doing = format!("read the console of server {server} of {}", place.environment);
        let attempt = Attempt { doing: &doing, server: &server, otherwise: "", action: Action::GetConsoleOutput };
        let console = || self.caller.ask(&attempt, |api| api.console_output(&instance.id));
        let running = Running {
            place,
            id: &instance.id,
            address,
            private_address: instance.private_address.as_deref(),
            user: &recorded.user,
            connection: &recorded.connection,
            console: &console,
        };
        work(&*self.connect, &running)
    }

    /// `all` are the instances of the app, where they were asked for already.
    fn search(&self, place: &Place, record: &ServerRecord, all: Option<&[Instance]>) -> Result<Found, MachineError> {
        let recorded = self.recorded(place, record)?;
        let server = place.server.to_string();
        let doing = format!("find server {server} of {}", place.environment);
        let attempt = Attempt {
            doing: &doing,
            server: &server,
            otherwise: "nothing was changed",
            action: Action::DescribeInstances,
        };
        let Some(id) = recorded.instance.clone().or_else(|| self.memory.instance(recorded.token())) else {
            let found = match all {
                Some(all) => Self::launched_among(&recorded, all.to_vec()),
                None => self.launched_by(&attempt, &recorded)?,
            };
            return Ok(self.search_unfinished(place, &recorded, &attempt, &found));
        };
        let found = match all.and_then(|all| all.iter().find(|instance| instance.id == id)) {
            Some(found) => Some(found.clone()),
            // One without our tags is not among them either.
            None => self.look(&attempt, "instance-id", &id)?.into_iter().next(),
        };
        let Some(instance) = found else { return self.not_seen(place, record, &recorded, &attempt, &id) };
        self.memory.seen(recorded.token());
        Ok(self.shown(place, &recorded, &attempt, &instance).unwrap_or_else(Found::Silent))
    }

    /// An instance that EC2 shows.
    fn shown(
        &self,
        place: &Place,
        recorded: &Recorded,
        attempt: &Attempt<'_>,
        instance: &Instance,
    ) -> Result<Found, MachineError> {
        let id = &instance.id;
        if !recorded.is_ours(instance) {
            return Err(attempt.refused(
                &format!("the tags of {id} do not say that it is this server"),
                format!("Give {id} the jecloud: tags back that it had, or terminate it."),
            ));
        }
        match instance.state {
            state if state.is_over() => Ok(self.renew(place, recorded, attempt)),
            // Nothing on it counts before its set-up is recorded.
            _ if recorded.instance.is_none() => Ok(Found::Absent),
            InstanceState::Running => {
                let Some(address) = self.address(instance) else { return Err(self.no_address(attempt, id)) };
                let machine =
                    self.with_running(place, recorded, instance, address, |connect, running| connect.machine(running))?;
                Ok(machine.map_or(Found::Absent, Found::Present))
            }
            InstanceState::Stopped | InstanceState::Stopping => Err(self.stopped(attempt, id)),
            _ => Err(MachineError::Unreachable {
                server: attempt.server.to_owned(),
                doing: attempt.doing.to_owned(),
                source: "it starts".into(),
            }),
        }
    }

    /// What became of a launch of which nothing is recorded: it may not have been tried, or nobody knows.
    fn search_unfinished(
        &self,
        place: &Place,
        recorded: &Recorded,
        attempt: &Attempt<'_>,
        found: &[Instance],
    ) -> Found {
        if found.iter().any(|instance| !instance.state.is_over()) {
            return Found::Absent;
        }
        // The same request would be answered with the instance that has ended.
        if !found.is_empty() {
            return self.renew(place, recorded, attempt);
        }
        let is_outdated = recorded.launch.instance_type != self.settings.type_of(place)
            || recorded.image_setting != self.settings.image.to_string();
        match self.memory.refusal(recorded.token()) {
            Some(refusal) if (refusal == Refusal::Request || is_outdated) => {
                if self.memory.may_renew(place, recorded.token()) { Found::Gone } else { Found::Absent }
            }
            _ => Found::Absent,
        }
    }

    /// A launch that is over makes place for another one.
    fn renew(&self, place: &Place, recorded: &Recorded, attempt: &Attempt<'_>) -> Found {
        // One that was set up had no trouble to start.
        if recorded.instance.is_some() || self.memory.may_renew(place, recorded.token()) {
            return Found::Gone;
        }
        Found::Unknown(attempt.refused(
            "its instances ended several times in a row before they were set up",
            "Look in the AWS console why they ended, then run `jecloud fwd`.".to_owned(),
        ))
    }

    fn not_seen(
        &self,
        place: &Place,
        record: &ServerRecord,
        recorded: &Recorded,
        attempt: &Attempt<'_>,
        id: &str,
    ) -> Result<Found, MachineError> {
        self.check_account(attempt, recorded)?;
        if recorded.instance.is_some() {
            let what_then = match record.unseen_since.zip(record.gone_from()) {
                Some((since, from)) => format!("since {since}; if that is so at {from}, it is taken for gone"),
                None => "which may be a matter of minutes".to_owned(),
            };
            return Ok(Found::Unseen(MachineError::Unreachable {
                server: attempt.server.to_owned(),
                doing: attempt.doing.to_owned(),
                source: format!("EC2 does not show {id}, {what_then}").into(),
            }));
        }
        if self.memory.not_seen(recorded.token(), self.caller.world.now()) {
            return Ok(self.renew(place, recorded, attempt));
        }
        let source = format!("EC2 does not show {id}, which may be a matter of minutes").into();
        Err(MachineError::Unreachable { server: attempt.server.to_owned(), doing: attempt.doing.to_owned(), source })
    }

    /// Who looks into another account sees nothing either, and must not conclude from that.
    pub(crate) fn check_account(&self, attempt: &Attempt<'_>, recorded: &Recorded) -> Result<(), MachineError> {
        let identity = Attempt { action: Action::GetCallerIdentity, ..*attempt };
        let account = self.caller.ask(&identity, |api| api.account())?;
        if account == recorded.account {
            return Ok(());
        }
        Err(attempt.refused(
            &format!("it belongs to the AWS account {}, and these are credentials of {account}", recorded.account),
            "Set AWS_PROFILE to the account that it was made with.".to_owned(),
        ))
    }

    pub(crate) fn stopped(&self, attempt: &Attempt<'_>, id: &str) -> MachineError {
        let region = self.caller.api.region();
        let start = format!("`aws ec2 start-instances --region {region} --instance-ids {id}` starts it");
        attempt.refused(&format!("somebody stopped {id}; {start}"), format!("{start}."))
    }

    pub(crate) fn no_address(&self, attempt: &Attempt<'_>, id: &str) -> MachineError {
        let (kind, hint) = match self.settings.connect {
            Through::Public => (
                "public",
                "Allow public addresses in its subnet, or write connect = \"private\" where you have a way into the VPC.",
            ),
            Through::Private => ("private", "Look at it in the AWS console."),
        };
        attempt.refused(&format!("{id} has no {kind} address"), hint.to_owned())
    }
}

impl Machines for Ec2Machines {
    fn details(&self, place: &Place) -> Result<Details, MachineError> {
        Ok(details::resolve(&self.caller, &self.settings, &*self.connect, place, &self.memory.full())?.to_details())
    }

    fn create(&self, place: &Place, record: &ServerRecord) -> Result<Details, MachineError> {
        self.launch_and_set_up(place, record)
    }

    fn find(&self, place: &Place, record: &ServerRecord) -> Found {
        self.search(place, record, None).unwrap_or_else(Found::Unknown)
    }

    /// One question for all of them. What nobody answered is unknown of each.
    fn find_all(&self, asked: &[(&Place, &ServerRecord)]) -> Vec<Found> {
        if let [(place, record)] = asked {
            return vec![self.find(place, record)];
        }
        if asked.is_empty() {
            return Vec::new();
        }
        let app = &self.settings.app;
        let doing = format!("find the servers of {app}");
        let otherwise = "nothing was changed";
        let attempt = Attempt { doing: &doing, server: "", otherwise, action: Action::DescribeInstances };
        let all = self.look(&attempt, &format!("tag:{TAG_APP}"), app.as_str());
        let find = |(place, record): &(&Place, &ServerRecord)| match &all {
            Ok(all) => self.search(place, record, Some(all)).unwrap_or_else(Found::Unknown),
            Err(MachineError::Refused { error, hint }) => {
                Found::Unknown(MachineError::Refused { error: error.clone(), hint: hint.clone() })
            }
            Err(error) => Found::Unknown(MachineError::Unreachable {
                server: place.server.to_string(),
                doing: doing.clone(),
                source: std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string).into(),
            }),
        };
        let found = at_once(asked, find).into_iter().zip(asked);
        // One that panicked is asked for once more, where that is seen.
        found.map(|(found, (place, record))| found.unwrap_or_else(|| self.find(place, record))).collect()
    }

    fn remove(&self, place: &Place, record: &ServerRecord) -> Result<(), MachineError> {
        self.terminate(place, record)
    }
}
