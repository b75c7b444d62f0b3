//! `farhelm phone devices` and `freeze`: an owner's phone looks after the host's devices.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use farhelm_core::policy::{Folders, Terms, Until};
use farhelm_phone::{Device, Host};
use serde_json::{Value, json};

use super::{Context, Exit, Failure, Which, is_part_of, visit};
use crate::cli::when;
use crate::terminal::{ask, sanitize};

/// How long a person may think about it.
const THINKING: Duration = Duration::from_secs(10 * 60);

/// Look after the devices of a host, as an owner: show, rename, change or remove them
///
/// What a stolen owner's phone must not do takes the desk: to make an owner, and to lower or remove one. Nothing is given
/// beyond what this phone has itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone devices\n  farhelm phone devices grant tablet --right viewer --until tonight\n  farhelm phone devices revoke tablet --yes"
)]
pub(super) struct Devices {
    #[command(subcommand)]
    act: Option<Act>,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show the devices
    #[command(after_help = "Example:\n  farhelm phone devices list --json")]
    List,
    /// Call a device by another name
    #[command(after_help = "Example:\n  farhelm phone devices rename 12D3KooWK99VoV tablet")]
    Rename {
        /// Its name, or its peer id, or the beginning or end of that
        device: String,
        /// Its new name
        name: String,
    },
    Grant(Grant),
    /// Remove a device; its sessions are cut before this returns
    #[command(after_help = "Example:\n  farhelm phone devices revoke tablet")]
    Revoke {
        /// Its name, or its peer id, or the beginning or end of that
        device: String,

        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

/// Change what a device may do; what isn't named stays as it is
///
/// Folders are the host's: name them as they are called there, from the root.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("change").required(true).multiple(true).args(["right", "folders", "host_folders", "until", "for_good"])),
    after_help = "Example:\n  farhelm phone devices grant tablet --right viewer --until 8h"
)]
struct Grant {
    /// Its name, or its peer id, or the beginning or end of that
    device: String,

    /// What it may do: operator, all work; approver, decide and read; viewer, read
    #[arg(long)]
    right: Option<farhelm_core::policy::Right>,

    /// In which folder of the host, with what lies in it; several times
    #[arg(long = "folder", value_name = "FOLDER")]
    folders: Vec<String>,

    /// In the folder the host was started in and those Codex trusts, instead of folders of its own
    #[arg(long, conflicts_with = "folders")]
    host_folders: bool,

    /// Until when: 8h, 2d, tonight, or 2030-01-31T18:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<u64>,

    /// Until it is removed
    #[arg(long, conflicts_with = "until")]
    for_good: bool,
}

/// Have a host let no phone in, this one included, until somebody at its desk says `farhelm thaw`
///
/// For when a phone is lost, or something looks wrong. What Codex is doing goes on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone freeze\n  farhelm phone freeze --yes")]
pub(super) struct Freeze {
    /// Don't ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    which: Which,
}

impl Grant {
    fn terms(&self) -> Terms {
        let named = (!self.folders.is_empty()).then(|| Folders::Only(self.folders.clone()));
        let folders = if self.host_folders { Some(Folders::Host) } else { named };
        let until = if self.for_good { Some(Until::ForGood) } else { self.until.map(Until::Ms) };
        Terms { right: self.right, folders, until }
    }
}

pub(super) async fn run(args: Devices, context: &Context) -> Result<(), Failure> {
    let Devices { act, which } = args;
    visit(context, &which, async |host| {
        let devices = host.devices().await?;
        match act.unwrap_or(Act::List) {
            Act::List => devices.iter().try_for_each(|device| context.say(&event(device), || row(device))),
            Act::Rename { device, name } => {
                let renamed = host.rename_device(&find(&devices, &device)?.id, &name).await?;
                context.say(&event(&renamed), || format!("It is called {} now.", sanitize::line(&renamed.name)))
            }
            Act::Grant(args) => {
                let changed = host.grant_device(&find(&devices, &args.device)?.id, &args.terms()).await?;
                context.say(&event(&changed), || format!("Changed: {}", row(&changed)))
            }
            Act::Revoke { device, yes } => revoke(host, find(&devices, &device)?, yes, context).await,
        }
    })
    .await
}

async fn revoke(host: &Host, device: &Device, yes: bool, context: &Context) -> Result<(), Failure> {
    let question = format!("Remove {}? It has to be paired again at the desk.", row(device));
    sure(&question, yes).await?;
    let removed = host.revoke_device(&device.id).await?;
    context.say(&json!({"is": "revoked", "device": event(&removed)}), || {
        format!("Removed {}.", sanitize::line(&removed.name))
    })
}

pub(super) async fn freeze(args: Freeze, context: &Context) -> Result<(), Failure> {
    let question = "Freeze the host? No phone gets in, this one included, until somebody thaws it at the desk.";
    sure(question, args.yes).await?;
    visit(context, &args.which, async |host| {
        host.freeze().await?;
        context.say(&json!({"is": "frozen"}), || "Frozen. `farhelm thaw` at its desk lets phones in again.".to_owned())
    })
    .await
}

async fn sure(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !ask::is_possible() {
        return Err(Failure::new(Exit::Usage, "there is no terminal to ask at").next("pass --yes"));
    }
    match ask::confirm(question, THINKING).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failed, "nothing was done")),
        Err(error) => Err(Failure::new(Exit::Failed, error).next("nothing was done")),
    }
}

fn find<'a>(devices: &'a [Device], who: &str) -> Result<&'a Device, Failure> {
    let fits = |device: &&Device| device.name == who || is_part_of(who, &device.id);
    let mut found = devices.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(device), None) => Ok(device),
        (None, _) => Err(Failure::new(Exit::NotFound, format_args!("no device is called {who:?}"))
            .next("`farhelm phone devices` lists them")),
        _ => Err(Failure::new(Exit::Usage, format_args!("several devices are called {who:?}"))
            .next("name one by its peer id")),
    }
}

fn event(device: &Device) -> Value {
    json!({
        "is": "device",
        "id": device.id,
        "name": device.name,
        "right": device.right,
        "folders": device.folders,
        "until_ms": device.until_ms,
        "expired": device.expired,
        "paired_at_ms": device.paired_at_ms,
        "last_seen_ms": device.last_seen_ms,
        "this": device.is_this,
    })
}

fn row(device: &Device) -> String {
    let Device { id, name, right, folders, until_ms, .. } = device;
    let folders = folders.as_ref().map(|folders| format!(" in {}", folders.join(", "))).unwrap_or_default();
    let until = until_ms.map(|ms| format!(", until {}", when::shown(ms))).unwrap_or_default();
    let this = if device.is_this { "  (this phone)" } else { "" };
    sanitize::line(&format!("{name}  {id}  {right}{folders}{until}{this}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, name: &str) -> Device {
        Device { id: id.into(), name: name.into(), right: "viewer".into(), ..Device::default() }
    }

    #[test]
    fn a_device_is_meant_by_its_name_or_part_of_its_id_and_by_no_less() {
        let devices = [device("12D3KooWaaaa", "tablet"), device("12D3KooWbbbb", "tablet"), device("12D3KooWcccc", "x")];
        assert_eq!(find(&devices, "x").unwrap().id, "12D3KooWcccc");
        assert_eq!(find(&devices, "bbbb").unwrap().id, "12D3KooWbbbb");
        assert_eq!(find(&devices, "tablet").unwrap_err().code(), Exit::Usage);
        assert_eq!(find(&devices, "nobody").unwrap_err().code(), Exit::NotFound);
    }

    #[test]
    fn a_row_drives_no_terminal() {
        let device = Device { folders: Some(vec!["/a".into()]), is_this: true, ..device("12D3KooWaaaa", "a\x1b[2Jb") };
        assert_eq!(row(&device), "a␛[2Jb  12D3KooWaaaa  viewer in /a  (this phone)");
    }
}
