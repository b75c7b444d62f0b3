//! `farhelm man`: manual pages, from the same definitions as the help.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
    let command = Cli::command().disable_help_subcommand(true);
    match &args.out {
        Some(dir) => write_pages(command, dir).map_err(|error| {
            Failure::new(Exit::Failed, format_args!("can't write manual pages to {}: {error}", dir.display()))
                .next("choose another directory with --out")
        }),
        None => page(&Page::new(command))
            .and_then(|page| io::stdout().write_all(page.as_bytes()))
            .map_err(|error| Failure::of_output(&error)),
    }
}

fn write_pages(mut command: clap::Command, dir: &Path) -> io::Result<()> {
    command.build();
    std::fs::create_dir_all(dir)?;
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().cloned());
        let made = Page::new(command);
        std::fs::write(dir.join(made.get_filename()), page(&made)?)?;
    }
    Ok(())
}

/// The page, with the sections that the generator calls "extra" under the names manual pages have for them.
fn page(made: &Page) -> io::Result<String> {
    let mut page = Vec::new();
    made.render(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    let named = [("Examples:", "EXAMPLES"), ("Example:", "EXAMPLES"), ("Environment:", "ENVIRONMENT")];
    let page = named
        .iter()
        .fold(page, |page, (text, section)| page.replace(&format!(".SH EXTRA\n{text}\n"), &format!(".SH {section}\n")));
    Ok(page.replace("\n\nExit codes:\n", "\n.SH \"EXIT STATUS\"\n"))
}
