//! The command line: one definition for parsing, help, completions and manual pages, and one file a command.
//!
//! A command's `run` takes its arguments and a [`Context`] and returns a [`Failure`] at worst; what it does is in
//! other rooms (`host`, `demo`, the phone and relay crates). Doc comments of the arguments are the help.

mod audit;
mod bench;
#[cfg(test)]
mod capabilities;
mod completions;
mod config;
mod context;
mod demo;
mod devices;
mod doctor;
mod exit;
mod freeze;
mod grant;
mod home;
mod host;
mod man;
mod pair;
mod paths;
mod phone;
mod policy;
mod ports;
mod relay;
pub mod units;
mod when;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use context::Context;
pub use exit::{Exit, Failure};

/// Replaces what `-v` says about the log, in the syntax of `tracing_subscriber::EnvFilter`.
const LOG_VARIABLE: &str = "FARHELM_LOG";

/// What the options that every command takes stand under in the help.
const GLOBAL: &str = "Everywhere";

/// Steer the Codex on your desk from your phone, over libp2p, with no account and no company in the middle
#[derive(Debug, Parser)]
#[command(name = "farhelm", version, after_long_help = after_long_help())]
#[command(arg_required_else_help = true, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print results as JSON, one object a line
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,

    /// Keep keys, devices and sockets here instead of the user's own directories
    #[arg(long, global = true, value_name = "DIR", env = "FARHELM_STATE_DIR", hide_env_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from), help_heading = GLOBAL)]
    state_dir: Option<PathBuf>,

    /// Say more on standard error; again for even more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = GLOBAL)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Host(host::Host),
    Config(config::Config),
    Pair(pair::Pair),
    Devices(devices::Devices),
    Freeze(freeze::Freeze),
    Thaw(freeze::Thaw),
    Phone(phone::Phone),
    Relay(relay::Relay),
    Policy(policy::Policy),
    Audit(audit::Audit),
    Doctor(doctor::Doctor),
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
}

fn after_long_help() -> String {
    let environment = format!(
        "Environment:\n  FARHELM_STATE_DIR  as --state-dir\n  {LOG_VARIABLE}        what to log, instead of -v (as in \
         farhelm=debug)\n  NO_COLOR           print without colours"
    );
    format!("{environment}\n\n{}", Exit::table())
}

/// Parses the command line, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.verbose);
    let json = cli.json;
    match run(cli) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            // Where nobody can be told, the code still tells.
            let _ = failure.report(json);
            failure.code().into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context::new(cli.state_dir.as_deref(), cli.json);
    match cli.command {
        Command::Demo(args) => block_on(&context, demo::run(args, &context)),
        Command::Host(args) => block_on(&context, host::run(args, &context)),
        Command::Config(args) => config::run(&args, &context),
        Command::Pair(args) => block_on(&context, pair::run(args, &context)),
        Command::Devices(args) => block_on(&context, devices::run(args, &context)),
        Command::Freeze(_) => block_on(&context, freeze::freeze(&context)),
        Command::Thaw(args) => block_on(&context, freeze::thaw(&args, &context)),
        Command::Phone(args) => block_on(&context, phone::run(args, &context)),
        Command::Relay(args) => block_on(&context, relay::run(args, &context)),
        Command::Policy(args) => policy::run(&args, &context),
        Command::Audit(args) => audit::run(&args, &context),
        Command::Doctor(args) => block_on(&context, doctor::run(args, &context)),
        Command::Bench(args) => block_on(&context, bench::run(args, &context)),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Runs an asynchronous command. At its end the runtime isn't waited for: a thread may hang in a terminal's read.
fn block_on(context: &Context, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(Exit::Failed, error))?;
    let ended = runtime.block_on(async {
        context.watch_signals().map_err(|error| Failure::new(Exit::Failed, error))?;
        command.await
    });
    runtime.shutdown_background();
    ended
}

fn start_log(verbose: u8) {
    let from_flag = match verbose {
        0 => "off,farhelm=error",
        1 => "warn,farhelm=info",
        2 => "info,farhelm=debug",
        _ => "debug,farhelm=trace",
    };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(from_flag));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    /// The long help of a command and of all below it, as at a terminal of 80 columns.
    fn helps(mut command: clap::Command, path: &str, out: &mut Vec<(String, String)>) {
        command = command.term_width(80);
        for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
            helps(below.clone(), &format!("{path}-{}", below.get_name()), out);
        }
        out.push((path.to_owned(), command.render_long_help().to_string()));
    }

    /// What a shell would make of an example: quotes hold words together, redirections end it.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('"').enumerate();
        let words = parts.flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.take_while(|word| !matches!(word.as_str(), ">" | "<" | "|")).collect()
    }

    #[test]
    fn every_help_is_as_reviewed() {
        let mut command = Cli::command();
        command.build();
        let mut all = Vec::new();
        helps(command, "farhelm", &mut all);
        for (path, help) in all {
            insta::assert_snapshot!(path, help);
        }
    }

    #[test]
    fn every_command_shows_examples_that_parse() {
        let mut left: Vec<clap::Command> = Cli::command().get_subcommands().cloned().collect();
        while let Some(command) = left.pop() {
            left.extend(command.get_subcommands().cloned());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> = help.lines().map(str::trim).filter(|line| line.starts_with("farhelm ")).collect();
            assert!(!examples.is_empty(), "{} has no example", command.get_name());
            for example in examples {
                if let Err(error) = Cli::try_parse_from(words(example)) {
                    panic!("{example}: {error}");
                }
            }
        }
    }
}
