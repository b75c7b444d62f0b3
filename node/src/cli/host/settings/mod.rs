//! `farhelm host settings`: what holds here for every phone. Changes a running host at once, and the file of one that
//! doesn't run.

mod table;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::super::devices;
use super::super::{Context, Exit, Failure};
use crate::host::app_server;
use crate::host::control::{ControlError, Reply, Request};
use crate::host::settings::{Row, Setting, Settings as OnDisk, Value, nearest};
use crate::terminal::ask;

const EXAMPLES: &str = "Examples:
  farhelm host settings
  farhelm host settings set computer_use_mobile on
  farhelm host settings set sandbox read-only
  farhelm host settings unset computer_use_mobile

They stand in config.toml in the configuration directory:
  [floor]
  approval_policy = \"on-request\"   # or \"untrusted\", \"never\"
  sandbox = \"workspace-write\"      # or \"read-only\", \"danger-full-access\"
  network_access = false

  [approvals]
  accept_for_session = false

  [features]                       # else those of Codex's own config.toml
  mobile_keep_awake = false
  computer_use_mobile = false
  remote_connections = true

A running host reads the file within a second of a change, and says here what is wrong with it;
`farhelm config check` says so before. `farhelm config example` shows all it takes, with the patterns for commands.";

/// How long the person at the desk may think about the settings.
const THINKING: Duration = Duration::from_secs(10 * 60);

/// Show or change what holds on this host for every phone
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Settings {
    #[command(subcommand)]
    command: Option<SettingsCommand>,
}

#[derive(Debug, Subcommand)]
enum SettingsCommand {
    /// Change a setting, in the host's own file
    #[command(after_help = "Examples:
  farhelm host settings set remote_connections off
  farhelm host settings set approval_policy untrusted")]
    Set {
        /// Its name, as `farhelm host settings` shows it
        name: String,
        /// What it shall be
        value: String,
    },
    /// Take a setting out of the host's own file, so that Codex's counts, or the default
    #[command(after_help = "Example:\n  farhelm host settings unset remote_connections")]
    Unset {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(args: Settings, context: &Context) -> Result<(), Failure> {
    match args.command {
        None => show(&rows(context).await?, context),
        Some(SettingsCommand::Set { name, value }) => {
            let setting = named(&name)?;
            change(setting, Some(valued(setting, &value)?), context).await
        }
        Some(SettingsCommand::Unset { name }) => change(named(&name)?, None, context).await,
    }
}

/// After a pairing: shows the settings, and at a terminal lets a person change them. The pairing stands whatever
/// becomes of this, so a failure is only said.
pub(in crate::cli) async fn after_pairing(context: &Context) {
    // Scripts ask by themselves.
    if context.json() {
        return;
    }
    let asked = async {
        let rows = rows(context).await?;
        if !(context.screen.attended && ask::is_possible()) {
            context.note(&table::sentence(&rows));
            return Ok(());
        }
        context.note("\nFor every phone:");
        show(&rows, context)?;
        change_some(context).await
    };
    if let Some(Err(failure)) = context.stop.run_until_cancelled(asked).await {
        context.note(&format!("{failure}; `farhelm host settings` shows and changes them."));
    }
}

async fn change_some(context: &Context) -> Result<(), Failure> {
    loop {
        // Nobody there is content.
        let Some(name) = answer("Change one? Its name, or Enter to go on: ").await else { return Ok(()) };
        let changed = match named(&name) {
            Ok(setting) => {
                let which = format!("{} ({}): ", setting.name(), setting.kind());
                let Some(value) = answer(&which).await else { continue };
                match valued(setting, &value) {
                    Ok(value) => change(setting, Some(value), context).await,
                    wrong => wrong.map(drop),
                }
            }
            wrong => wrong.map(drop),
        };
        if let Err(failure) = changed {
            // A terminal that is gone says so with the next question.
            let _ = failure.report(false);
        }
    }
}

/// What a person types; `None` if that is nothing.
async fn answer(question: &str) -> Option<String> {
    let line = ask::line(question, THINKING).await.ok()?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn show(rows: &[Row], context: &Context) -> Result<(), Failure> {
    rows.iter().try_for_each(|row| context.say(row, || table::row(row, context.screen.size.columns)))
}

/// The settings as they stand: of the running host, which reads its file anew for that, or of the files.
async fn rows(context: &Context) -> Result<Vec<Row>, Failure> {
    match devices::ask(&Request::Settings, context).await? {
        Some(Reply::Settings { settings }) => Ok(settings),
        Some(reply) => Err(other(reply)),
        None => Ok(at_rest(context)?.rows()),
    }
}

async fn change(setting: Setting, value: Option<Value>, context: &Context) -> Result<(), Failure> {
    let (name, text) = (setting.name().to_owned(), value.as_ref().map(ToString::to_string));
    let changed = match devices::ask(&Request::Set { name, value: text }, context).await? {
        Some(Reply::Done { changed }) => changed,
        Some(reply) => return Err(other(reply)),
        None => at_rest(context)?.set(setting, value.as_ref())?,
    };
    let row = rows(context).await?.into_iter().find(|row| row.name == setting.name());
    let row = row.ok_or(ControlError::Language)?;
    if !changed {
        context.note("It was so before.");
    }
    show(&[row], context)
}

fn other(reply: Reply) -> Failure {
    match reply {
        Reply::Refused { message, why } => Failure::new(why.into(), message),
        _ => ControlError::Language.into(),
    }
}

/// The settings of a host that doesn't run.
fn at_rest(context: &Context) -> Result<OnDisk, Failure> {
    let settings = OnDisk::open(context.directories()?.config())?;
    app_server::codex_home(None).iter().for_each(|home| settings.read_codex(home));
    Ok(settings)
}

fn named(name: &str) -> Result<Setting, Failure> {
    let names = || Setting::ALL.iter().map(|setting| setting.name());
    Setting::named(name).ok_or_else(|| {
        let unknown = Failure::new(Exit::Usage, format_args!("there is no setting {name:?}"));
        match nearest(name, names()) {
            Some(nearest) => unknown.next(format_args!("did you mean {nearest}?")),
            None => unknown.next(format_args!("there is {}", names().collect::<Vec<_>>().join(", "))),
        }
    })
}

fn valued(setting: Setting, text: &str) -> Result<Value, Failure> {
    setting.read(text).ok_or_else(|| {
        Failure::new(Exit::Usage, format_args!("{} can't be {text:?}", setting.name()))
            .next(format_args!("it is one of: {}", setting.kind()))
    })
}
