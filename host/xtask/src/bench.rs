//! `cargo xtask bench`: how fast JeCloud is, as one table of ratios, each measured against its peer in the same run.
//!
//! This is no test: a goal that is not met is shown, and only what cannot be measured is an error. All load is bounded
//! in time and count and stays on the loopback interface; everything that is started is ended again, by its process
//! id.

mod artifacts;
mod backup;
mod facts;
mod front;
mod hook;
mod http;
mod machine;
mod memory;
mod pack;
mod planning;
mod process;
mod redeploy;
mod scratch;
mod servers;
mod source_tree;
mod statistics;
mod table;
mod version;
mod wrk;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::hooks::workspace_root;
use crate::programs::{self, Program};
use artifacts::Artifacts;
use scratch::Scratch;
use table::{Row, Table};

/// What all measures share.
struct Bench {
    /// The repository.
    root: PathBuf,
    /// Our programs, built for release.
    artifacts: Artifacts,
    /// Where everything is kept meanwhile.
    scratch: Scratch,
    /// Whether somebody wants it to stop.
    interrupted: Arc<AtomicBool>,
}

impl Bench {
    /// To be asked between two runs.
    ///
    /// # Errors
    ///
    /// When this task was interrupted: what it started is ended on the way out.
    fn check_interrupted(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// A measure: its name for `--only`, what it needs of the machine, and how it is taken.
type Measure = (&'static str, &'static [Program], fn(&Bench) -> Result<Vec<Row>>);

const NODE: Program = Program { name: "node", package: "nodejs" };
const CADDY: Program = Program { name: "caddy", package: "caddy" };
const NGINX: Program = Program { name: "nginx", package: "nginx" };
const WRK: Program = Program { name: "wrk", package: "wrk" };
const JQ: Program = Program { name: "jq", package: "jq" };
const IP: Program = Program { name: "ip", package: "iproute2" };
const SSHD: Program = Program { name: "sshd", package: "openssh-server" };
const SSH: Program = Program { name: "ssh", package: "openssh-client" };
const RSYNC: Program = Program { name: "rsync", package: "rsync" };
const BZIP2: Program = Program { name: "bzip2", package: "bzip2" };
const REDIS: Program = Program { name: "redis-server", package: "redis-server" };

const MEASURES: [Measure; 9] = [
    ("redeploy", &[NODE], redeploy::measure),
    ("pack", &[BZIP2], pack::measure),
    ("hook", &[JQ], hook::measure),
    ("front", &[NGINX, CADDY, WRK], front::measure),
    ("memory", &[NODE, CADDY], memory::measure),
    ("version", &[], version::measure),
    ("planning", &[], planning::measure),
    ("backup", &[REDIS], backup::measure),
    ("servers", &[NODE, IP, SSHD, SSH, RSYNC], servers::measure),
];

/// The task.
///
/// # Errors
///
/// When something cannot be built, installed or run; not when a goal is not met.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let is_built = arguments.contains(&"--no-build");
    let arguments: Vec<&str> = arguments.iter().copied().filter(|&argument| argument != "--no-build").collect();
    let measures = chosen(&arguments)?;
    let root = workspace_root()?;
    let mut needed: Vec<Program> = Vec::new();
    for program in measures.iter().flat_map(|(_, programs, _)| programs.iter()) {
        if !needed.contains(program) {
            needed.push(*program);
        }
    }
    if let Some(missing) = programs::install(&needed)? {
        bail!("{missing}");
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot watch for signals")?;
    }
    let artifacts = if is_built { Artifacts::built(&root)? } else { Artifacts::build(&root)? };
    let facts = facts::of_this_machine(&root, &needed);
    eprintln!("{facts}");
    let bench = Bench { root, artifacts, scratch: Scratch::new()?, interrupted };
    let (mut table, mut failed) = (Table::default(), Vec::new());
    for (name, _, measure) in measures {
        eprintln!("measuring {name}");
        match measure(&bench).and_then(|rows| bench.check_interrupted().map(|()| rows)) {
            Ok(rows) => table.add(rows),
            Err(error) => {
                eprintln!("{name} could not be measured: {error:#}");
                failed.push(name);
            }
        }
        bench.check_interrupted()?;
    }
    println!("{facts}\n{table}");
    if !failed.is_empty() {
        bail!("not everything could be measured: {} failed, see above", failed.join(", "));
    }
    Ok(())
}

/// The measures that were asked for: all, or those of `--only NAME` (repeatable).
fn chosen(arguments: &[&str]) -> Result<Vec<Measure>> {
    let mut chosen = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let names: Vec<&str> = MEASURES.iter().map(|(name, ..)| *name).collect();
        let name = match *argument {
            "--only" => arguments.next().with_context(|| format!("--only needs one of {}", names.join(", ")))?,
            _ => bail!("unknown argument {argument}"),
        };
        let measure = MEASURES.iter().find(|(known, ..)| known == name);
        chosen.push(*measure.with_context(|| format!("there is no measure {name}; there are {}", names.join(", ")))?);
    }
    Ok(if chosen.is_empty() { MEASURES.to_vec() } else { chosen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_chosen_by_name() {
        let names = |arguments: &[&str]| {
            let chosen = chosen(arguments).map_err(|error| error.to_string())?;
            Ok(chosen.iter().map(|(name, ..)| *name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).map(|names| names.len()), Ok::<_, String>(MEASURES.len()));
        assert_eq!(names(&["--only", "pack", "--only", "hook"]), Ok(vec!["pack", "hook"]));
        assert!(names(&["--only", "packing"]).is_err_and(|error| error.starts_with("there is no measure packing")));
        assert!(names(&["--only"]).is_err());
        assert!(names(&["pack"]).is_err());
    }
}
