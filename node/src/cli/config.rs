//! `farhelm config`: the host's `config.toml` as a file. What it says for a running host, and changes of single settings,
//! are `farhelm host settings`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Failure};
use crate::host::settings::{EXAMPLE, FILE, Settings};
use crate::terminal::sanitize;

/// Check the host's config.toml, say where it is, or print an example of it
///
/// It sets what holds on this host for every phone: the floor for Codex's work, which commands are never accepted from
/// a phone, which take two people or make the phone ask its owner again, and the switches. A running host reads it
/// within a second of a change.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm config check\n  farhelm config example > config.toml")]
pub(super) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with a file, and in which line; nothing is changed
    #[command(after_help = "Examples:\n  farhelm config check\n  farhelm config check new.toml --json")]
    Check {
        /// The file; without it, the host's own
        file: Option<PathBuf>,
    },
    /// Say where the host's file is, or would be
    #[command(after_help = "Example:\n  farhelm config path")]
    Path,
    /// Print a file with every key, its default and what it means
    #[command(after_help = "Example:\n  farhelm config example > config.toml")]
    Example,
}

pub(super) fn run(args: &Config, context: &Context) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Check { file } => check(file.as_deref(), context),
        ConfigCommand::Path => {
            let path = own(context)?;
            context.say(&json!({"is": "config-path", "path": path, "exists": path.exists()}), || shown(&path))
        }
        ConfigCommand::Example => {
            context.say(&json!({"is": "config-example", "text": EXAMPLE}), || EXAMPLE.trim_end().to_owned())
        }
    }
}

fn check(file: Option<&Path>, context: &Context) -> Result<(), Failure> {
    let path = file.map_or_else(|| own(context), |file| Ok(file.to_owned()))?;
    // The host's own may be missing: then everything is as by default.
    let is_missing = file.is_none() && !path.exists();
    if !is_missing {
        Settings::check(&path)?;
    }
    let event = json!({"is": "config-checked", "path": path, "exists": !is_missing});
    context.say(&event, || match is_missing {
        true => format!("{} is not there, so everything is as by default.", shown(&path)),
        false => format!("{} is in order.", shown(&path)),
    })
}

fn own(context: &Context) -> Result<PathBuf, Failure> {
    Ok(context.directories()?.config().join(FILE))
}

fn shown(path: &Path) -> String {
    sanitize::line(&path.display().to_string())
}
