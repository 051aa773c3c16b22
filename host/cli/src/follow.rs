//! Showing a roll-forward: events become lines.

use std::collections::BTreeSet;
use std::time::Duration;

use jecloud_cloud::{End, Options, Progress as Went, Report, Reporter, RolledForward, Sources, roll_forward};
use jecloud_model::app::DeploymentState;
use jecloud_model::cloud::Place;
use jecloud_model::config::Provider;
use jecloud_model::events::{Event, What};
use jecloud_model::ids::ReleaseNumber;

use crate::failure::{Code, Failure};
use crate::interrupt::{self, Phase};
use crate::output::Progress;
use crate::session::{Session, sentence};

/// How long a roll-forward goes on without any progress before it gives the terminal back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shows what goes on with one release.
pub(crate) struct Watcher<'a> {
    progress: &'a mut Progress,
    /// Which release is watched; others are not shown.
    release: ReleaseNumber,
    /// Whether the one server is this machine, which needs no name.
    is_local: bool,
    /// Notes that were shown: several servers have the same to say.
    noted: BTreeSet<String>,
    /// What servers did that were told to look for something to do: sentences.
    pub(crate) woken: Vec<String>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(session: &Session, progress: &'a mut Progress, release: ReleaseNumber) -> Self {
        Self {
            progress,
            release,
            is_local: session.provider == Provider::Local,
            noted: BTreeSet::new(),
            woken: Vec::new(),
        }
    }

    /// A line about a server.
    fn about(&self, place: &Place, text: &str) -> String {
        if self.is_local { text.to_owned() } else { format!("{}: {text}", place.server) }
    }

    fn server(&self, place: &Place) -> String {
        if self.is_local { "this machine".to_owned() } else { format!("server {}", place.server) }
    }

    fn woken(&mut self, place: &Place, rolled: &RolledForward) {
        let name = self.server(place);
        if rolled.renewed {
            self.woken.push(format!("What runs of JeCloud on {name} was replaced by this version."));
        }
        if !rolled.started.is_empty() {
            self.woken.push(format!("On {name}, started what did not run: {}.", rolled.started.join(", ")));
        }
    }

    fn event(&mut self, place: &Place, event: Event) {
        match event.what {
            What::Entered { state } => self.progress.begin(&self.about(place, in_progress(state))),
            What::Finished { state, detail, took_ms } => {
                let text = done(state, &detail);
                if text.is_empty() {
                    self.progress.over();
                } else {
                    self.progress.done_after(&self.about(place, &text), Some(Duration::from_millis(took_ms)));
                }
            }
            What::Command { title, .. } => self.progress.detail(&title),
            What::Output { line } => self.progress.detail(&line),
            What::Note { text } if self.noted.insert(text.clone()) => self.progress.note(&text),
            What::Note { .. } => {}
            What::Failed { .. } => {
                // What is shown as going on may go on at another server.
                if !self.is_local {
                    self.progress.begin(&self.about(place, "failed"));
                }
                self.progress.failed();
            }
            What::Serving | What::Aborted => self.progress.over(),
        }
    }
}

impl Reporter for Watcher<'_> {
    fn report(&mut self, went: Went) {
        match went {
            Went::Handed { .. } => interrupt::enter(Phase::Following),
            Went::Event { release, event, place } if release == self.release => {
                interrupt::enter(Phase::Following);
                self.event(&place, event);
            }
            Went::Woken { place, rolled } => self.woken(&place, &rolled),
            Went::Creating(place) => self.progress.begin(&format!("setting up {}", self.server(&place))),
            Went::Created(place) => self.progress.done(&format!("set up {}", self.server(&place))),
            Went::Removed(place) if !self.is_local => self.progress.done(&format!("removed {}", self.server(&place))),
            Went::Putting { place, .. } if !self.is_local => {
                self.progress.begin(&format!("sending to {}", self.server(&place)));
            }
            Went::Trouble { place, reason, hint } => {
                let hint = if hint.is_empty() { hint } else { format!(" ({})", sentence(&hint)) };
                let text = format!("{}: {reason}{hint}", place.server);
                if self.noted.insert(text.clone()) {
                    self.progress.note(&text);
                }
            }
            _ => {}
        }
    }
}

fn in_progress(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::ExtractingSources => "extracting sources",
        DeploymentState::InstallingPackages => "installing packages",
        DeploymentState::Preparing => "preparing",
        DeploymentState::Prepared => "waiting for the release commands of another server",
        DeploymentState::StartingServices => "starting services",
        DeploymentState::Starting => "starting processes",
        DeploymentState::Ready => "waiting for the other servers",
        DeploymentState::Switching => "switching",
        DeploymentState::Deployed => "asking the services",
    }
}

/// What is said when a state's work is done; nothing where it is not worth a line.
fn done(state: DeploymentState, detail: &str) -> String {
    let with = |text: &str| match detail {
        "" => text.to_owned(),
        detail => format!("{text}: {detail}"),
    };
    match state {
        DeploymentState::ExtractingSources => with("extracted sources"),
        DeploymentState::InstallingPackages => with("packages"),
        DeploymentState::Preparing => with("prepared"),
        DeploymentState::StartingServices if detail.is_empty() => String::new(),
        DeploymentState::StartingServices | DeploymentState::Starting => with("started"),
        DeploymentState::Switching => with("switched"),
        DeploymentState::Prepared | DeploymentState::Ready | DeploymentState::Deployed => String::new(),
    }
}

/// Rolls forward until a release has come to its end, and shows it.
pub(crate) fn until_end(
    session: &Session,
    release: ReleaseNumber,
    sources: Sources,
    progress: &mut Progress,
) -> Result<Report, Failure> {
    let options = Options {
        environment: Some(session.environment.clone()),
        release: Some(release),
        sources,
        wake: false,
        patience: PATIENCE,
        cancel: &|| false,
    };
    let report = roll_forward(session.cloud(), &options, &mut Watcher::new(session, progress, release))?;
    match &report.end {
        End::Serving | End::Settled => Ok(report),
        End::Failed(failure) => {
            progress.failed();
            let what = match report.state.environments.get(&session.environment) {
                Some(environment) => Session::release_in_words(environment, release),
                None => release.to_string(),
            };
            Err(Failure::new(Code::Failed, format!("release {what} failed: {}", failure.reason))
                .details(failure.details.clone())
                .world(session.world_in_words())
                .hint(if failure.hint.is_empty() {
                    format!("Fix the cause and deploy again; `jecloud logs{}` shows more.", session.environment_flag())
                } else {
                    sentence(&failure.hint)
                }))
        }
        End::LostRace { newer } => {
            let newer = newer.map_or_else(|| "its destruction".to_owned(), |newer| format!("release {newer}"));
            Err(Failure::new(Code::LostRace, format!("release {release} was given up for {newer}"))
                .world(session.world_in_words())
                .hint("`jecloud releases` shows who deployed what; deploy again to put yours on top."))
        }
        End::Unfinished { troubles } => Err(Failure::unfinished(
            format!("release {release} is recorded, but the server could not be told about it"),
            troubles,
        )
        .world(session.world_in_words())
        .hint(format!("`jecloud fwd{}` goes on with it, from anywhere.", session.environment_flag()))),
        End::Cancelled => Err(Failure::new(Code::Failed, "cancelled")),
    }
}
