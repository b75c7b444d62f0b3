//! `farhelm man`: manual pages, from the same definitions as the help.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::Cli;
use super::exit::{Exit, Failure};

const EXAMPLES: &str = "Examples:
  farhelm man | man -l -
  farhelm man --out ~/.local/share/man/man1";

/// Print the manual page, or write the pages of all commands
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Man {
    /// Write a page for each command into this directory instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Man) -> Result<(), Failure> {
    match &args.out {
        Some(dir) => {
            std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir)).map_err(|error| {
                Failure::new(Exit::Failed, format_args!("can't write manual pages to {}: {error}", dir.display()))
                    .next("choose another directory with --out")
            })
        }
        None => print_page().map_err(|error| Failure::new(Exit::Failed, error)),
    }
}

fn print_page() -> io::Result<()> {
    let mut page = Vec::new();
    Page::new(Cli::command()).render(&mut page)?;
    io::stdout().write_all(&page)
}
