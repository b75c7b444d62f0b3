//! `farhelm completions`: completions for a shell, from the same definitions as the help.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::exit::Failure;

const EXAMPLES: &str = "Examples:
  farhelm completions bash > ~/.local/share/bash-completion/completions/farhelm
  farhelm completions zsh > ~/.zfunc/_farhelm
  farhelm completions fish > ~/.config/fish/completions/farhelm.fish";

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

pub(super) fn run(args: &Completions) -> Result<(), Failure> {
    // Collected first: the generator panics when its output can't be written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "farhelm", &mut script);
    io::stdout().write_all(&script).map_err(|error| Failure::of_output(&error))
}
