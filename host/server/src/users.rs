//! The system user of an app and environment: made before its first release, removed with it.

use std::path::Path;
use std::time::{Duration, Instant};

use jecloud_disk::lock::Lock;
use jecloud_disk::{durable, fault, tree};
use jecloud_launch::{Launch, RunLimits, User};
use jecloud_model::app::Failure;
use jecloud_model::format::Format;
use jecloud_model::layout::ServerRoot;
use jecloud_model::processes::ProcessTable;
use jecloud_model::user::{self, UserDocument};

use crate::error::ServerError;
use crate::place::Place;
use crate::server::Server;
use crate::tables;

/// How long somebody else may keep the machine's list of users locked, and how long a change of it may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long processes that were killed may take to be gone.
const END: Duration = Duration::from_secs(20);

/// Who may look into the directory of an environment and into what is its user's: that user, and nobody else.
pub(crate) const PRIVATE: u32 = 0o750;

/// Makes sure that an environment has a user of its own, and that everything in it is that user's. None where JeCloud is
/// not root. `say` tells people what they should know.
///
/// What is not the user's yet is given to it while nothing of the environment runs: what ran before runs again
/// afterwards, as that user. Killed at any point and done again, it ends the same.
///
/// # Errors
///
/// A [`Failure`] where the user cannot be made, or is somebody else's.
pub(crate) fn ensure(server: &Server, place: &Place, say: &dyn Fn(String)) -> Result<Option<User>, ServerError> {
    if !jecloud_launch::is_root() {
        return Ok(None);
    }
    let (document, user) = own(server, place)?;
    let owner = (user.uid, user.gid);
    if document.files != Some(owner) {
        hand_over(server, place, owner, &|| say(format!("it gets a user of its own, {}", document.user)))?;
        write(server, place, &UserDocument { files: Some(owner), ..document })?;
    }
    Ok(Some(user))
}

/// The user of a place: recorded, and there.
fn own(server: &Server, place: &Place) -> Result<(UserDocument, User), ServerError> {
    let _lock = lock(server)?;
    let known = read(server, place)?;
    let comment = user::comment(&server.root, &place.app, &place.environment);
    let readable =
        user::readable_name(&place.app, &place.environment).filter(|_| jecloud_systemd::is_proper(&server.root));
    let unique = user::unique_name(&server.root, &place.app, &place.environment);
    let recorded = known.as_ref().map(|document| document.user.clone());
    let names: Vec<String> = recorded.into_iter().chain(readable).chain([unique]).collect();
    for name in &names {
        let found = User::lookup_with_comment(name);
        let is_ours = found.as_ref().is_none_or(|(_, of_it)| *of_it == comment);
        if !is_ours || (found.is_none() && jecloud_launch::group(name).is_some_and(|group| group.has_members)) {
            continue;
        }
        let document = match &known {
            Some(known) if known.user == *name => known.clone(),
            _ => UserDocument {
                format: Format::default(),
                app: place.app.clone(),
                environment: place.environment.clone(),
                user: name.clone(),
                files: None,
            },
        };
        if known.as_ref() != Some(&document) {
            write(server, place, &document)?;
        }
        if let Some(user) = make(name, &comment)? {
            return Ok((document, user));
        }
    }
    Err(Failure::because(format!(
        "there is a user {} on the server already, which is not JeCloud's",
        names.join(" and ")
    ))
    .hint("Rename or remove it (`userdel`), then deploy again.")
    .into())
}

/// Makes a user without a password, a home or a shell, and its group; what is there already stays. None where another
/// one of that name was made meanwhile.
pub(crate) fn make(name: &str, comment: &str) -> Result<Option<User>, ServerError> {
    if User::lookup(name).is_none() {
        fault::point("user.make").map_err(|source| ServerError::Io { action: "make a user", source })?;
        let group = match jecloud_launch::group(name) {
            // Left behind by somebody who died, or who was slower.
            Some(_) => vec!["--gid", name],
            None => vec!["--user-group"],
        };
        let plain = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"];
        let arguments = plain.into_iter().chain(group).chain(["--comment", comment, "--", name]);
        change("useradd", arguments, &|| User::lookup(name).is_some())?;
    }
    let Some((user, found)) = User::lookup_with_comment(name) else { return Ok(None) };
    if found != comment {
        return Ok(None);
    }
    if jecloud_launch::group(name).is_none() {
        // The number would be given away again otherwise.
        fault::point("user.make-group").map_err(|source| ServerError::Io { action: "make a group", source })?;
        let number = user.gid.to_string();
        let arguments = ["--system", "--gid", &number, "--", name];
        change("groupadd", arguments, &|| jecloud_launch::group(name).is_some())?;
    }
    Ok(Some(user))
}

/// Has a program change the machine's list of users; waits while somebody else does.
fn change<'a>(
    program: &str,
    arguments: impl IntoIterator<Item = &'a str>,
    is_done: &dyn Fn() -> bool,
) -> Result<(), ServerError> {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let launch = Launch::new(program).args(&arguments).cwd("/");
        let limits = RunLimits { timeout: DEADLINE, keep_bytes: 4096 };
        let finished = jecloud_launch::run(launch, limits, &|| false, &mut |_, _| {})?;
        if finished.status.success() || is_done() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
        if said.contains("lock") && Instant::now() < deadline {
            tables::pause();
            continue;
        }
        let name = arguments.last().copied().unwrap_or_default();
        return Err(Failure::because(format!("the user {name} cannot be made or removed on the server"))
            .details(vec![format!("{program} {}: {said}", finished.status)])
            .hint("Try the same command on the server by hand, then deploy again.")
            .into());
    }
}

/// Gives everything that belongs to the environment to its user.
fn hand_over(server: &Server, place: &Place, owner: (u32, u32), say: &dyn Fn()) -> Result<(), ServerError> {
    let ran: Option<ProcessTable> = durable::read_json(&place.root.process_table())?;
    let ran = ran.filter(|table| !table.processes.is_empty());
    if ran.is_some() {
        say();
        tables::stop_all(server, place)?;
    }
    for version in tree::list(&place.root.versions())? {
        let directory = place.root.versions().join(version);
        if tree::is_dir(&directory)? {
            tree::chown(&directory, owner)?;
            tree::give(&directory, owner, PRIVATE)?;
        }
    }
    let services = place.root.path().join("services");
    for service in tree::list(&services)? {
        let service = services.join(service);
        for name in tree::list(&service)? {
            // What was built is kept by root.
            if name != "kept" {
                tree::chown(&service.join(name), owner)?;
            }
        }
        tree::give(&service, owner, PRIVATE)?;
    }
    // What lies beside them is for its user to pass through, and for nobody else.
    tree::give(place.root.path(), (0, owner.1), PRIVATE)?;
    match ran {
        Some(ran) => tables::write_processes(server, place, &ran),
        None => Ok(()),
    }
}

/// Records that nothing is the user's any more: the files are about to be deleted, and what comes in their place is to be
/// given to it anew.
pub(crate) fn take_back(server: &Server, place: &Place) -> Result<(), ServerError> {
    match read(server, place)? {
        Some(document) if document.files.is_some() => write(server, place, &UserDocument { files: None, ..document }),
        _ => Ok(()),
    }
}

/// Removes the user of an environment that is no more, with whatever still runs as it. Only one that is recorded, that
/// is called as ours are, and of which the machine says that it is ours.
pub(crate) fn remove(server: &Server, place: &Place) -> Result<(), ServerError> {
    let _lock = lock(server)?;
    if tree::exists(place.root.path())? {
        // It was made anew meanwhile.
        return Ok(());
    }
    let Some(document) = read(server, place)? else { return Ok(()) };
    let name = document.user.as_str();
    if jecloud_launch::is_root() && name.starts_with(user::PREFIX) {
        let comment = user::comment(&server.root, &place.app, &place.environment);
        match User::lookup_with_comment(name) {
            Some((user, found)) if found == comment => {
                end_all_of(user)?;
                fault::point("user.remove").map_err(|source| ServerError::Io { action: "remove a user", source })?;
                // It looks for processes in other containers too, whose users have the same numbers: hence by force.
                change("userdel", ["--force", "--", name], &|| User::lookup(name).is_none())?;
                remove_group(name)?;
            }
            Some(_) => {}
            None => remove_group(name)?,
        }
    }
    durable::remove(&server.root.user_document(&place.app, &place.environment))?;
    Ok(())
}

/// Environments that are no more but for their users: whoever destroyed them died before those were removed.
pub(crate) fn left_over(root: &ServerRoot) -> Result<Vec<Place>, ServerError> {
    let records = root.sys().join("users");
    let mut places = Vec::new();
    for name in tree::list(&records)? {
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        // One that cannot be read belongs to nobody who could be named.
        let Ok(Some(UserDocument { app, environment, .. })) = durable::read_json(&records.join(name)) else { continue };
        let place = Place::new(root, &app, &environment);
        if !tree::exists(place.root.path())? {
            places.push(place);
        }
    }
    Ok(places)
}

/// Held by whoever makes or removes a user.
fn lock(server: &Server) -> Result<Lock, ServerError> {
    Ok(Lock::acquire(&server.root.pid_file("users"), Instant::now() + DEADLINE + DEADLINE)?)
}

/// `userdel` removes it on most distributions.
fn remove_group(name: &str) -> Result<(), ServerError> {
    let group = jecloud_launch::group(name);
    if group.is_none_or(|group| group.has_members) {
        return Ok(());
    }
    fault::point("user.remove-group").map_err(|source| ServerError::Io { action: "remove a group", source })?;
    change("groupdel", ["--", name], &|| jecloud_launch::group(name).is_none())
}

/// Kills every process of a user: one that has left its process group was not ended with the others, and would be that
/// of whoever gets the number next.
fn end_all_of(user: User) -> Result<(), ServerError> {
    let deadline = Instant::now() + END;
    loop {
        let left = jecloud_launch::kill_all_of(user);
        if left == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ServerError::Request(format!(
                "{left} processes of user {} that do not end keep the environment from being destroyed",
                user.uid
            )));
        }
        tables::pause();
    }
}

/// What is recorded. What writers that died left beside it is removed.
fn read(server: &Server, place: &Place) -> Result<Option<UserDocument>, ServerError> {
    jecloud_disk::temporary::sweep(&server.root.sys().join("users"))?;
    Ok(durable::read_json(&server.root.user_document(&place.app, &place.environment))?)
}

fn write(server: &Server, place: &Place, document: &UserDocument) -> Result<(), ServerError> {
    let path = server.root.user_document(&place.app, &place.environment);
    durable::create_dirs(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    Ok(durable::write_json(&path, document, 0o644)?)
}
