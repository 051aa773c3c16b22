//! What commands have in common that make backups, collect them, or tell of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jecloud_cloud::{CollectError, Collecting, FoundBackup, Server, backup_key};
use jecloud_model::backup::{BackupState, Manifest, ServerBackup};
use jecloud_model::backup_policy::BackupPolicy;
use jecloud_model::chain;
use jecloud_model::cloud::{Basis, CloudState, EnvironmentState, ServerName};
use jecloud_model::hook::Contents;
use jecloud_model::ids::{BackupId, EnvironmentName, ServiceName};
use jecloud_model::release::Release;
use jecloud_model::time::Timestamp;

use crate::failure::{Code, Failure};
use crate::fleet::{self, Member, Reached};
use crate::output::{Progress, bold, plural, say, size};
use crate::session::{Session, sentence};

/// Between two questions how far a server is.
const GLANCE: Duration = Duration::from_millis(200);

/// After so many questions with the same answer, what was asked for is asked for once more: whoever worked on it on the
/// server may have died.
const NUDGE: u32 = 150;

/// So often in a row a server may give no answer that was just making a backup.
const SILENT: u32 = 25;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// The services of the release that serves whose data can be backed up, with how that is wanted.
pub(crate) fn policies(environment: &EnvironmentState) -> BTreeMap<ServiceName, BackupPolicy> {
    let release = environment.serving_release().map(|recorded| &recorded.release);
    let services = release.into_iter().flat_map(|release| &release.services);
    services.filter_map(|(name, service)| Some((name.clone(), service.backup.clone()?))).collect()
}

/// Whether a service of a release runs on a server.
pub(crate) fn runs_on(release: &Release, service: &ServiceName, server: &ServerName) -> bool {
    let on = release.services.get(service).and_then(|service| service.on.as_ref());
    on.is_none_or(|group| *group == server.group)
}

/// `12 keys, 3 lists`.
pub(crate) fn contents_in_words(contents: &Contents) -> String {
    let counts: Vec<String> = contents.counts.iter().map(|(name, number)| format!("{name} {number}")).collect();
    if counts.is_empty() { "-".to_owned() } else { counts.join(", ") }
}

/// What came of looking for complete backups on servers.
#[derive(Default)]
pub(crate) struct Collected {
    /// Those that are in the store now.
    pub(crate) manifests: Vec<Manifest>,
    /// What did not work, as sentences.
    pub(crate) troubles: Vec<String>,
}

/// Takes whatever backups are complete on the servers of an environment to the store, and deletes there what is not kept
/// any more.
pub(crate) fn collect(
    session: &Session,
    state: &CloudState,
    name: &EnvironmentName,
    progress: &mut Progress,
) -> Collected {
    let mut collected = Collected::default();
    let Some(environment) = state.environments.get(name) else { return collected };
    let policies = policies(environment);
    if policies.is_empty() {
        return collected;
    }
    let (backups, basis) = (session.backups(), Basis::of(state));
    let mut left = Some(BTreeSet::new());
    for Member { place, machine } in fleet::members(session, name, environment) {
        let server_name = place.server.to_string();
        let Ok(machine) = machine else {
            // Whoever is asked how it is says so already.
            left = None;
            continue;
        };
        let server = Server::new(&*machine, &server_name).based_on(&basis);
        let directory = session.home.path().join("collected").join(session.app.as_str());
        let mut watch = |went| show(progress, &went);
        match backups.collect(server, &*machine, name, &directory, &mut watch) {
            Ok(manifests) => collected.manifests.extend(manifests),
            Err(error) => {
                progress.over();
                collected.troubles.push(in_words(&server_name, &error));
            }
        }
        match (server.backups(&session.app, name), &mut left) {
            (Ok(found), Some(left)) => left.extend(found.backups.into_iter().map(|found| found.backup.id)),
            _ => left = None,
        }
    }
    if let Err(error) = backups.tidy(name, &policies, left.as_ref(), now()) {
        collected.troubles.push(format!("old backups were not deleted: {}.", chain(&error)));
    }
    collected
}

/// As [`collect`], for commands that are about something else: what was collected is a line, and so is what was not.
pub(crate) fn collect_by_the_way(session: &Session, state: &CloudState, progress: &mut Progress) {
    let Collected { troubles, .. } = collect(session, state, &session.environment, progress);
    for trouble in troubles {
        say(&format!("note: {trouble}"));
    }
}

fn in_words(server: &str, error: &CollectError) -> String {
    let hint = sentence(&error.hint());
    format!("a backup on {server} was not collected: {}. {hint}", chain(error)).trim_end().to_owned()
}

fn show(progress: &mut Progress, went: &Collecting) {
    match went {
        Collecting::Fetching(manifest, done) => {
            if *done == 0 || *done <= (1 << 18) {
                progress.begin(&format!("fetching the backup of {}", manifest.service));
            }
            progress.bytes(*done, manifest.sealed_bytes);
        }
        Collecting::Storing(manifest, done) => progress.bytes(*done, manifest.sealed_bytes),
        Collecting::Stored(manifest) => {
            progress.done(&format!("stored the backup of {} ({})", manifest.service, size(manifest.sealed_bytes)));
        }
    }
}

/// A backup that is wanted now.
pub(crate) struct Wanted {
    /// Of what.
    pub(crate) service: ServiceName,
    /// From where.
    pub(crate) server: Reached,
    /// Whether it is tried out.
    pub(crate) verify: bool,
}

/// What became of a backup that was wanted.
pub(crate) struct Made {
    /// Of what.
    pub(crate) service: ServiceName,
    /// What is known of it now, or why there is none.
    pub(crate) result: Result<Manifest, Failure>,
}

/// Makes backups, all at the same time, waits for them, and takes them to the store.
///
/// # Errors
///
/// When not even the first was asked for, or the store cannot be used.
pub(crate) fn make(
    session: &Session,
    state: &CloudState,
    wanted: Vec<Wanted>,
    progress: &mut Progress,
) -> Result<Vec<Made>, Failure> {
    let key = backup_key(&*session.store)
        .map_err(|error| Failure::from_store("the backup cannot be sealed", &error).world("Nothing was changed."))?;
    let basis = Basis::of(state);
    let (mut made, mut asked) = (Vec::new(), Vec::new());
    for Wanted { service, server: (name, machine), verify } in wanted {
        let id = BackupId::new(now(), session.chance());
        let name = name.to_string();
        let server = Server::new(&*machine, &name).based_on(&basis);
        let told = machine
            .renew()
            .and_then(|()| server.put_backup_key(&session.app, &session.environment, &key))
            .and_then(|()| server.backup(&session.app, &session.environment, &service, &id, verify));
        match told {
            Ok(()) => asked.push((service, id, verify, name, machine)),
            Err(error) => made.push(Made { service, result: Err(Failure::from_machine(Code::of(&error), &error)) }),
        }
    }
    let mut done = Vec::new();
    for (service, id, verify, name, machine) in asked {
        let server = Server::new(&*machine, &name).based_on(&basis);
        match wait(session, server, &service, &id, verify, progress) {
            Ok(backup) => match (backup.failure, backup.manifest) {
                (None, Some(manifest)) => {
                    progress.done(&format!("made a backup of {service} ({})", size(manifest.bytes)));
                    done.push(manifest);
                }
                (failure, _) => {
                    progress.failed();
                    made.push(Made { service, result: Err(failed(&backup.id, failure)) });
                }
            },
            Err(failure) => made.push(Made { service, result: Err(failure) }),
        }
    }
    let collected = collect(session, state, &session.environment, progress);
    for manifest in done {
        let is_stored = session.store.exists(&jecloud_cloud::keys::manifest(&manifest)).unwrap_or(false);
        let result = if is_stored { Ok(manifest.clone()) } else { Err(not_collected(session, &manifest, &collected)) };
        made.push(Made { service: manifest.service, result });
    }
    made.sort_by(|one, other| one.service.cmp(&other.service));
    Ok(made)
}

fn failed(id: &BackupId, failure: Option<jecloud_model::app::Failure>) -> Failure {
    let failure = failure.unwrap_or_else(|| jecloud_model::app::Failure::because("nobody said why"));
    Failure::new(Code::Failed, format!("the backup {id} failed: {}", failure.reason))
        .details(failure.details)
        .world("The service runs on. Backups from before are as they were.")
        .hint(failure.hint)
}

fn not_collected(session: &Session, manifest: &Manifest, collected: &Collected) -> Failure {
    Failure::new(Code::NotReachable, format!("the backup {} is not in the store yet", manifest.id))
        .details(collected.troubles.clone())
        .world("It is complete, and waits on its server.")
        .hint(format!("`jecloud fwd{}` takes it to the store.", session.environment_flag()))
}

/// Waits for the end of a backup.
fn wait(
    session: &Session,
    server: Server<'_>,
    service: &ServiceName,
    id: &BackupId,
    verify: bool,
    progress: &mut Progress,
) -> Result<ServerBackup, Failure> {
    let (mut seen, mut silent, mut same) = (None, 0, 0);
    loop {
        match server.backups(&session.app, &session.environment) {
            Ok(found) => {
                silent = 0;
                let found = found.backups.into_iter().find(|FoundBackup { backup, .. }| backup.id == *id);
                let Some(FoundBackup { backup, .. }) = found else {
                    return Err(Failure::new(Code::Failed, format!("the backup {id} of {service} was forgotten"))
                        .world("Somebody else may have collected it.")
                        .hint("`jecloud backups` lists what there is."));
                };
                if backup.state.is_end() {
                    return Ok(backup);
                }
                same = if seen == Some(backup.state) { same + 1 } else { 0 };
                if seen != Some(backup.state) {
                    progress.begin(&format!("{service}: {}", backup.state));
                    seen = Some(backup.state);
                }
                if same == NUDGE {
                    same = 0;
                    // It knows: this is only so that somebody works on it.
                    let _ = server.backup(&session.app, &session.environment, service, id, verify);
                }
            }
            Err(error) => {
                silent += 1;
                if silent == SILENT {
                    return Err(Failure::from_machine(Code::NotReachable, &error)
                        .world("The server goes on with the backup.")
                        .hint(format!("`jecloud fwd{}` collects it later.", session.environment_flag())));
                }
            }
        }
        session.cloud().world.pause(GLANCE);
    }
}

/// The servers on which a service runs that can be reached, in the order of their names, and why others cannot.
pub(crate) fn servers_of(
    session: &Session,
    environment: &EnvironmentState,
    release: &Release,
    service: &ServiceName,
) -> (Vec<Reached>, Vec<String>) {
    let (mut found, mut troubles) = (Vec::new(), Vec::new());
    for Member { place, machine } in fleet::members(session, &session.environment, environment) {
        if !runs_on(release, service, &place.server) {
            continue;
        }
        match machine {
            Ok(machine) => found.push((place.server, machine)),
            Err(why) => troubles.push(format!("{}: {why}", place.server)),
        }
    }
    (found, troubles)
}

/// What servers say of backups of an environment, and what the store has: for `jecloud status` and `jecloud backups`.
#[derive(Default)]
pub(crate) struct Sight {
    /// In the store, the newest first.
    pub(crate) stored: Vec<Manifest>,
    /// On servers.
    pub(crate) waiting: Vec<(ServerName, FoundBackup)>,
    /// What could not be seen, as sentences.
    pub(crate) troubles: Vec<String>,
}

/// Looks for backups of an environment everywhere.
pub(crate) fn look(session: &Session, state: Option<&CloudState>, name: &EnvironmentName) -> Sight {
    let mut sight = Sight::default();
    match session.backups().list(Some(name)) {
        Ok(listing) => {
            sight.stored = listing.manifests;
            let unreadable = listing.unreadable.into_iter();
            sight.troubles.extend(unreadable.map(|key| format!("{key} is not what this JeCloud can read.")));
        }
        Err(error) => sight.troubles.push(format!("The backups in the store cannot be listed: {}.", chain(&error))),
    }
    let environment = state.and_then(|state| state.environments.get(name));
    let Some(environment) = environment.filter(|environment| !policies(environment).is_empty()) else { return sight };
    for Member { place, machine } in fleet::members(session, name, environment) {
        let server = place.server.to_string();
        let answer = machine.and_then(|machine| {
            Server::new(&*machine, &server).backups(&session.app, name).map_err(|error| error.to_advice())
        });
        match answer {
            Ok(found) => sight.waiting.extend(found.backups.into_iter().map(|found| (place.server.clone(), found))),
            Err(why) => sight.troubles.push(format!("{server} does not say what backups it has: {why}")),
        }
    }
    sight
}

impl Sight {
    /// Complete ones that nobody has collected.
    pub(crate) fn complete(&self) -> impl Iterator<Item = &Manifest> {
        let complete = self.waiting.iter().filter(|(_, found)| found.backup.state == BackupState::Done);
        complete
            .filter_map(|(_, found)| found.backup.manifest.as_ref())
            .filter(|manifest| !self.stored.iter().any(|stored| stored.id == manifest.id))
    }

    /// The newest good one of a service, wherever it is.
    pub(crate) fn newest(&self, service: &ServiceName) -> Option<&Manifest> {
        let all = self.stored.iter().chain(self.complete());
        all.filter(|manifest| manifest.service == *service).max_by_key(|manifest| manifest.created)
    }

    /// The last one of a service that failed, if none succeeded after it.
    pub(crate) fn failed(&self, service: &ServiceName) -> Option<&ServerBackup> {
        // Not their ids: of one second any can be the greater one.
        let newest = self.newest(service).map(|manifest| manifest.created);
        let all = self.waiting.iter().map(|(_, found)| &found.backup);
        all.filter(|backup| backup.service == *service && backup.state == BackupState::Failed)
            .filter(|backup| newest.is_none_or(|newest| backup.requested > newest))
            .max_by_key(|backup| backup.requested)
    }
}

/// Whether `id` is what a person means by `text`: all of it, or what it begins or ends with.
pub(crate) fn is_meant(text: &str, id: &BackupId) -> bool {
    text.len() >= 4 && (id.as_str().starts_with(text) || id.as_str().ends_with(text))
}

/// The error for a service that there is no backup of.
pub(crate) fn cannot_be_backed_up(session: &Session, environment: &EnvironmentState, service: &ServiceName) -> Failure {
    let known: Vec<String> = policies(environment).keys().map(ServiceName::to_string).collect();
    let is_there = environment.serving_release().is_some_and(|found| found.release.services.contains_key(service));
    let what = if is_there {
        format!("the hook of {service} cannot back its data up")
    } else {
        let near = jecloud_model::suggest::did_you_mean(service.as_str(), known.iter().map(String::as_str));
        format!("{} has no service {service} in {}{near}", session.app, session.environment)
    };
    let hint = match known.as_slice() {
        [] => "No service of it can be backed up. A release from before this version of JeCloud does not say: deploy again."
            .to_owned(),
        known => format!("These can be backed up: {}.", known.join(", ")),
    };
    Failure::usage(what).hint(hint)
}

/// A line about a backup that was made.
pub(crate) fn made_in_words(manifest: &Manifest) -> String {
    let verified = if manifest.verified.is_some() { ", verified" } else { "" };
    format!(
        "{} {} ({}, sealed {}; {}{verified})",
        bold(manifest.service.as_str()),
        manifest.id,
        size(manifest.bytes),
        size(manifest.sealed_bytes),
        contents_in_words(&manifest.contents)
    )
}

/// `2 backups`.
pub(crate) fn number_in_words(number: usize) -> String {
    plural(number as u64, "backup", "backups")
}
