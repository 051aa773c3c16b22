//! `jecloud completions`

use clap::CommandFactory as _;

use crate::args::Cli;

pub(crate) fn run(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "jecloud", &mut script);
    crate::output::print(String::from_utf8_lossy(&script).trim_end());
}
