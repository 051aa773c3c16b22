//! The work of each state of a deployment, a file per state.

mod ask;
mod extract;
pub(crate) mod packages;
mod prepare;
pub(crate) mod start;
pub(crate) mod steps;
mod switch;

use std::collections::BTreeMap;

use jecloud_launch::User;
use jecloud_model::app::{AppDocument, DeploymentState, Failure};
use jecloud_model::events::What;
use jecloud_model::ids::{ReleaseNumber, ServiceName};

use crate::clock::now;
use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;
use crate::users;

/// One state of one deployment, at work.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) server: &'a Server,
    pub(crate) place: &'a Place,
    pub(crate) document: &'a AppDocument,
    pub(crate) number: ReleaseNumber,
    /// As whom the app runs, where JeCloud is root.
    pub(crate) user: Option<User>,
    /// Whether the deployment is not wanted any more.
    pub(crate) cancel: &'a dyn Fn() -> bool,
}

impl Work<'_> {
    /// To whom the app's files belong, where that is not whoever JeCloud is.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        self.user.map(|user| (user.uid, user.gid))
    }
}

/// What a state's work came to.
enum Done {
    /// The next state may begin; this is what there is to say about it.
    Finished(String),
    /// All is done: what the hooks want to be told next time.
    Deployed(BTreeMap<ServiceName, BTreeMap<String, String>>),
}

/// Does the work of a state and records that it is done, or that the deployment failed.
///
/// # Errors
///
/// What stops this attempt without saying anything about the deployment: it is in the same state afterwards.
pub(crate) fn perform(work: &Work<'_>, state: DeploymentState) -> Result<(), ServerError> {
    let number = work.number;
    let begin = now();
    work.place.change(|document| document.start(number, begin))??;
    work.place.tell(number, What::Entered { state });
    let done = user(work, state).and_then(|user| states_work(&Work { user, ..*work }, state));
    let done = match done.map_err(ServerError::into_failure) {
        Ok(done) => done,
        Err(Err(error)) => return Err(error),
        Err(Ok(failure)) => return record_failure(work, failure),
    };
    let finished = |detail: String| What::Finished {
        state,
        detail,
        took_ms: u64::try_from(now().since(begin).as_millis()).unwrap_or(u64::MAX),
    };
    match done {
        Done::Finished(detail) => {
            work.place.change(|document| document.finish_state(number, state))??;
            work.place.tell(number, finished(detail));
        }
        Done::Deployed(remembered) => {
            work.place.change(|document| document.succeed(number, remembered, now()))??;
            work.place.tell(number, finished(String::new()));
            work.place.tell(number, What::Serving);
        }
    }
    Ok(())
}

/// As whom the app runs, from now on where nothing of the release runs yet.
fn user(work: &Work<'_>, state: DeploymentState) -> Result<Option<User>, ServerError> {
    match state {
        DeploymentState::ExtractingSources | DeploymentState::InstallingPackages | DeploymentState::Preparing => {
            users::ensure(work.server, work.place, &|text| work.place.tell(work.number, What::Note { text }))
        }
        DeploymentState::StartingServices | DeploymentState::Starting | DeploymentState::Deployed => {
            Ok(jecloud_supervisor::user_of(&work.server.root, &work.place.app, &work.place.environment)?)
        }
        // Nothing is done in them as anybody.
        DeploymentState::Prepared | DeploymentState::Ready | DeploymentState::Switching => Ok(None),
    }
}

fn states_work(work: &Work<'_>, state: DeploymentState) -> Result<Done, ServerError> {
    match state {
        DeploymentState::ExtractingSources => extract::perform(work).map(Done::Finished),
        DeploymentState::InstallingPackages => packages::perform(work).map(Done::Finished),
        DeploymentState::Preparing => prepare::perform(work).map(Done::Finished),
        DeploymentState::StartingServices => start::services(work).map(Done::Finished),
        DeploymentState::Starting => start::perform(work).map(Done::Finished),
        DeploymentState::Prepared | DeploymentState::Ready => Ok(Done::Finished(String::new())),
        DeploymentState::Switching => switch::perform(work).map(Done::Finished),
        DeploymentState::Deployed => ask::perform(work).map(Done::Deployed),
    }
}

fn record_failure(work: &Work<'_>, failure: Failure) -> Result<(), ServerError> {
    work.place.change(|document| document.fail(work.number, failure.clone(), now()))??;
    work.place.tell(work.number, What::Failed { reason: failure.reason, details: failure.details, hint: failure.hint });
    Ok(())
}
