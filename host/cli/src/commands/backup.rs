//! `jecloud backup`: makes backups of services now, and takes them to the app's store.

use std::time::Instant;

use jecloud_model::ids::ServiceName;

use crate::args::Global;
use crate::backups::{self, Made, Wanted};
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{Progress, print, print_json, say};
use crate::project::Project;
use crate::session::Session;

pub(crate) fn run(global: &Global, service: Option<&ServiceName>, verify: bool, json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let project = Project::open_to_operate(global)?;
    let session = Session::open(&project, &global.env)?;
    let environment = session.environment_state()?;
    let state = session.state()?.ok_or_else(|| session.nothing_deployed())?;
    let Some(serving) = environment.serving_release() else {
        return Err(Failure::usage(format!("nothing serves in {}: there is no data yet", session.environment))
            .hint(format!("`jecloud status{}` says how far it is.", session.environment_flag())));
    };
    let mut policies = backups::policies(&environment);
    match service {
        Some(service) if !policies.contains_key(service) => {
            return Err(backups::cannot_be_backed_up(&session, &environment, service));
        }
        Some(service) => policies.retain(|name, _| name == service),
        None if policies.is_empty() => {
            return Err(Failure::usage(format!("no service of {} can be backed up", session.app)).hint(
                "`jecloud hook inspect NAME` shows what a hook can do. A release from before this version of JeCloud \
                 does not say: deploy again.",
            ));
        }
        None => {}
    }
    let flag = session.environment_flag();
    interrupt::watch(format!("Interrupted: the servers go on with it. `jecloud fwd{flag}` collects what they make."));
    let mut wanted = Vec::new();
    for (service, policy) in policies {
        let (mut servers, troubles) = backups::servers_of(&session, &environment, &serving.release, &service);
        if servers.is_empty() {
            return Err(Failure::new(
                crate::failure::Code::NotReachable,
                format!("no server of {service} can be reached"),
            )
            .details(troubles)
            .world("Nothing was changed.")
            .hint(format!("`jecloud status{flag}` shows how it is.")));
        }
        if servers.len() > 1 && !json {
            say(&format!("note: {service} runs on {} servers: this is what {} has.", servers.len(), servers[0].0));
        }
        wanted.push(Wanted { service, server: servers.swap_remove(0), verify: verify || policy.verify });
    }
    let mut progress = Progress::new(json);
    let made = backups::make(&session, &state, wanted, &mut progress)?;
    finish(&session, made, begin, json)
}

fn finish(session: &Session, made: Vec<Made>, begin: Instant, json: bool) -> Result<(), Failure> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for Made { service, result } in made {
        match result {
            Ok(manifest) => good.push(manifest),
            Err(failure) => bad.push((service, failure)),
        }
    }
    if json && bad.is_empty() {
        print_json(&serde_json::json!({"backups": good}));
        return Ok(());
    }
    if !json {
        print("");
        good.iter().for_each(|manifest| print(&backups::made_in_words(manifest)));
    }
    let all = bad.len();
    let Some((service, first)) = bad.into_iter().next() else {
        let number = backups::number_in_words(good.len());
        print(&format!("Finished in {:.2} s: {number} in the store.", begin.elapsed().as_secs_f64()));
        return Ok(());
    };
    let what =
        if all == 1 { first.what.clone() } else { format!("{all} backups failed; that of {service}: {}", first.what) };
    let world = if first.world.is_empty() { session.world_in_words() } else { first.world.clone() };
    Err(Failure { what, world, ..first })
}
