//! What all servers of an app share: the key that opens them, and the security group that they are in.

use jecloud_cloud::MachineError;
use sha2::{Digest as _, Sha256};

use crate::answer::Failure;
use crate::api::{Action, Group, InstanceState, Rule, Source};
use crate::caller::{Attempt, Caller};
use crate::error::Ec2Error;
use crate::launch::{TAG_APP, shared_tags};
use crate::settings::Ec2Settings;

/// What the rules say of themselves that let SSH in. Rules that say so and are configured no more are taken away.
const SSH: &str = "jecloud: ssh";
/// The others.
const HTTP: &str = "jecloud: http";
const INSIDE: &str = "jecloud: inside the app";

/// How long instances may take from the order to end until they have ended, in pauses of [`ENDING_PAUSE`].
const ENDING_LOOKS: u32 = 60;
const ENDING_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// How often, and in which pauses, something that was just made is said not to exist.
const LATE_ATTEMPTS: u32 = 5;
const LATE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What [`crate::Ec2Machines::clean_up`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanedUp {
    /// Nothing of the app is left on EC2; this was deleted, by id or name.
    Done(Vec<String>),
    /// Instances of the app are still there, and so is what they share.
    InUse(Vec<String>),
}

/// The name of the key pair on EC2. It depends on the key: another key has another name.
pub(crate) fn key_name(settings: &Ec2Settings) -> String {
    // Without the comment, which says on which machine it was made.
    let key: Vec<&str> = settings.public_key.split_whitespace().take(2).collect();
    let hash = Sha256::digest(key.join(" "));
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("jecloud-{}-{hash}", settings.app)
}

pub(crate) fn group_name(settings: &Ec2Settings) -> String {
    format!("jecloud-{}", settings.app)
}

/// What the group has to let in.
fn rules(settings: &Ec2Settings, group: &str) -> Vec<Rule> {
    let rule = |port, from, description: &str| Rule { port, from, description: description.to_owned() };
    let mut rules: Vec<Rule> =
        settings.ssh_from.iter().map(|from| rule(Some(22), Source::Network(from.clone()), SSH)).collect();
    for port in [80, 443] {
        for everybody in ["0.0.0.0/0", "::/0"] {
            rules.push(rule(Some(port), Source::Network(everybody.to_owned()), HTTP));
        }
    }
    rules.push(rule(None, Source::Group(group.to_owned()), INSIDE));
    rules
}

/// Makes sure that EC2 knows the key; its name there.
pub(crate) fn ensure_key(caller: &Caller, settings: &Ec2Settings, server: &str) -> Result<String, MachineError> {
    let name = key_name(settings);
    let doing = format!("make the SSH key known to EC2 as {name}");
    let attempt = |action| Attempt { doing: &doing, server, otherwise: "no server was launched", action };
    let find = || caller.ask(&attempt(Action::DescribeKeyPairs), |api| api.key_pairs(&[("key-name", &name)]));
    let mut known = find()?;
    if known.is_empty() {
        let tags = shared_tags(&settings.app, &settings.tags);
        let done = caller.retry(|api| api.import_key_pair(&name, &settings.public_key, &tags));
        match done {
            Ok(()) => return Ok(name),
            // By somebody else of us, or by an attempt whose answer was lost.
            Err(failure) if failure.has_code(&["InvalidKeyPair.Duplicate"]) => known = find()?,
            Err(failure) => return Err(caller.in_words(&attempt(Action::ImportKeyPair), &failure)),
        }
    }
    // The name says which key it is; the tag says who made it.
    let is_ours = known.iter().all(|key| key.tags.get(TAG_APP).is_some_and(|app| *app == settings.app.to_string()));
    if is_ours {
        return Ok(name);
    }
    Err(attempt(Action::ImportKeyPair).error(Ec2Error::NotOurs { kind: "key pair", name }, false))
}

/// Makes sure that there is the group, and that it lets in what it has to; its id.
pub(crate) fn ensure_group(
    caller: &Caller,
    settings: &Ec2Settings,
    vpc: &str,
    server: &str,
) -> Result<String, MachineError> {
    let name = group_name(settings);
    let doing = format!("make the security group {name}");
    let attempt = |action| Attempt { doing: &doing, server, otherwise: "no server was launched", action };
    let describe = attempt(Action::DescribeSecurityGroups);
    let app = settings.app.to_string();
    let tag = format!("tag:{TAG_APP}");
    let find = || caller.ask(&describe, |api| api.groups(&[("vpc-id", vpc), (&tag, &app)]));
    let mut known = find()?;
    if known.is_empty() {
        let description = format!("Servers of the JeCloud app {app}");
        let tags = shared_tags(&settings.app, &settings.tags);
        match caller.retry(|api| api.create_group(&name, &description, vpc, &tags)) {
            Ok(id) => known = vec![Group { id, name: name.clone(), tags, rules: Vec::new() }],
            Err(failure) if failure.has_code(&["InvalidGroup.Duplicate"]) => {
                // It may be ours, by somebody else at the same time or by an attempt whose answer was lost.
                known = caller.ask(&describe, |api| api.groups(&[("vpc-id", vpc), ("group-name", &name)]))?;
                if known.is_empty() {
                    let detail = format!("EC2 does not show the security group {name} yet");
                    return Err(describe.error(Ec2Error::NoAnswer { detail }, true));
                }
                known.retain(|group| group.tags.get(TAG_APP) == Some(&app));
            }
            Err(failure) => return Err(caller.in_words(&attempt(Action::CreateSecurityGroup), &failure)),
        }
    }
    known.sort_by(|one, other| (one.name != name, &one.id).cmp(&(other.name != name, &other.id)));
    let Some(group) = known.into_iter().next() else {
        return Err(describe.error(Ec2Error::NotOurs { kind: "security group", name }, false));
    };
    let wanted = rules(settings, &group.id);
    let is_the_same = |one: &Rule, other: &Rule| one.port == other.port && one.from == other.from;
    for rule in wanted.iter().filter(|rule| !group.rules.iter().any(|there| is_the_same(rule, there))) {
        match authorize(caller, &group.id, rule) {
            Err(failure) if !failure.has_code(&["InvalidPermission.Duplicate"]) => {
                return Err(caller.in_words(&attempt(Action::AuthorizeSecurityGroupIngress), &failure));
            }
            _ => {}
        }
    }
    let outdated = |rule: &&Rule| rule.description == SSH && !wanted.iter().any(|wanted| is_the_same(rule, wanted));
    for rule in group.rules.iter().filter(outdated) {
        match caller.retry(|api| api.revoke(&group.id, rule)) {
            Err(failure) if !failure.has_code(&["InvalidPermission.NotFound"]) => {
                return Err(caller.in_words(&attempt(Action::RevokeSecurityGroupIngress), &failure));
            }
            _ => {}
        }
    }
    Ok(group.id)
}

/// Lets something in. A group that was just made is not known everywhere at once.
fn authorize(caller: &Caller, group: &str, rule: &Rule) -> Result<(), Failure> {
    for _ in 1..LATE_ATTEMPTS {
        match caller.retry(|api| api.authorize(group, rule)) {
            Err(failure) if failure.has_code(&["InvalidGroup.NotFound"]) => caller.world.pause(LATE_PAUSE),
            done => return done,
        }
    }
    caller.retry(|api| api.authorize(group, rule))
}

/// Deletes groups and keys of the app where no instance of it is left.
pub(crate) fn clean_up(caller: &Caller, settings: &Ec2Settings) -> Result<CleanedUp, MachineError> {
    let app = settings.app.to_string();
    let tag = format!("tag:{TAG_APP}");
    let doing = format!("remove what the servers of {app} shared");
    let otherwise = "whatever is left of it costs nothing";
    let attempt = |action| Attempt { doing: &doing, server: "", otherwise, action };
    // A group goes only after the last instance that is in it has ended.
    for look in 0..ENDING_LOOKS {
        let instances = caller.ask(&attempt(Action::DescribeInstances), |api| api.instances(&[(&tag, &app)]))?;
        let living: Vec<String> =
            instances.iter().filter(|one| !one.state.is_over()).map(|one| one.id.clone()).collect();
        if !living.is_empty() {
            return Ok(CleanedUp::InUse(living));
        }
        if !instances.iter().any(|one| one.state == InstanceState::ShuttingDown) {
            break;
        }
        if look + 1 < ENDING_LOOKS {
            caller.world.pause(ENDING_PAUSE);
        }
    }
    let mut removed = Vec::new();
    let groups = caller.ask(&attempt(Action::DescribeSecurityGroups), |api| api.groups(&[(&tag, &app)]))?;
    for group in groups.into_iter().filter(|group| group.tags.get(TAG_APP) == Some(&app)) {
        delete_group(caller, &attempt(Action::DeleteSecurityGroup), &group.id)?;
        removed.push(group.id);
    }
    let keys = caller.ask(&attempt(Action::DescribeKeyPairs), |api| api.key_pairs(&[(&tag, &app)]))?;
    for key in keys.into_iter().filter(|key| key.tags.get(TAG_APP) == Some(&app)) {
        // EC2 says yes where there is none.
        caller.ask(&attempt(Action::DeleteKeyPair), |api| api.delete_key_pair(&key.name))?;
        removed.push(key.name);
    }
    Ok(CleanedUp::Done(removed))
}

fn delete_group(caller: &Caller, attempt: &Attempt<'_>, id: &str) -> Result<(), MachineError> {
    for _ in 1..ENDING_LOOKS {
        match caller.retry(|api| api.delete_group(id)) {
            Ok(()) => return Ok(()),
            Err(failure) if failure.has_code(&["InvalidGroup.NotFound"]) => return Ok(()),
            // Network interfaces outlive their instance a little.
            Err(failure) if failure.has_code(&["DependencyViolation", "InvalidGroup.InUse"]) => {
                caller.world.pause(ENDING_PAUSE);
            }
            Err(failure) => return Err(caller.in_words(attempt, &failure)),
        }
    }
    match caller.retry(|api| api.delete_group(id)) {
        Err(failure) if !failure.has_code(&["InvalidGroup.NotFound"]) => Err(caller.in_words(attempt, &failure)),
        _ => Ok(()),
    }
}
