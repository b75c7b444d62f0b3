//! `farhelm devices`: the phones that may steer this host, what each may do, and how to remove one. Asks the running host, and reads the
//! host's book itself where none runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Subcommand};
use farhelm_core::audit::Record;
use farhelm_core::policy::{Folders, Terms, Until};
use farhelm_platform::lock::Lock;
use farhelm_store::{Audit, Device};

use super::grant::{self, Named};
use super::home::HostHome;
use super::{Context, Exit, Failure, freeze};
use crate::host::audit::of_the_desk_to;
use crate::host::control::{Client, ControlError, DeviceRow, Reply, Request};
use crate::host::devices::{self, Devices as Book, now_ms};
use crate::terminal::sanitize;

/// Show paired phones, change what they may do, or remove them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm devices\n  farhelm devices grant tablet --right viewer --until tonight\n  farhelm devices revoke \"Ann's phone\""
)]
pub(super) struct Devices {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Show paired phones
    #[command(after_help = "Example:\n  farhelm devices list --json")]
    List,
    /// Show one phone: its peer id, what it may do and where, until when, and when it was here
    #[command(after_help = "Example:\n  farhelm devices show tablet")]
    Show {
        /// The phone's name, or its peer id, or the beginning or end of that
        device: String,
    },
    /// Call a phone by another name
    ///
    /// No other phone may be called so. The phone keeps the name that it calls itself.
    #[command(after_help = "Example:\n  farhelm devices rename 12D3KooWK99VoV tablet")]
    Rename {
        /// The phone's name, or its peer id, or the beginning or end of that
        device: String,
        /// Its new name
        name: String,
    },
    Grant(Grant),
    /// Remove a phone; its sessions are cut before this returns
    #[command(after_help = "Example:\n  farhelm devices revoke 12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5")]
    Revoke {
        /// The phone's name, or its peer id, or the beginning or end of that
        device: String,
    },
}

/// Change what a phone may do; what isn't named stays as it is
///
/// It holds from the moment this returns, for sessions under way as well. The last owner may be lowered too: then no
/// phone is owner until one is made so here, as only a phone that is paired while none is becomes owner by itself.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("change").required(true).multiple(true).args(["right", "folders", "host_folders", "until", "for_good"])),
    after_help = "Examples:\n  farhelm devices grant tablet --right viewer --folder . --until 8h\n  farhelm devices grant tablet --host-folders --for-good"
)]
struct Grant {
    /// The phone's name, or its peer id, or the beginning or end of that
    device: String,

    #[command(flatten)]
    named: Named,

    /// In the folder the host was started in and those Codex trusts, instead of folders of its own
    #[arg(long, conflicts_with = "folders")]
    host_folders: bool,

    /// Until it is removed
    #[arg(long, conflicts_with = "until")]
    for_good: bool,
}

impl Grant {
    fn terms(&self) -> Result<Terms, Failure> {
        let named = self.named.terms()?;
        let folders = if self.host_folders { Some(Folders::Host) } else { named.folders };
        let until = if self.for_good { Some(Until::ForGood) } else { named.until };
        Ok(Terms { folders, until, ..named })
    }
}

pub(super) async fn run(args: Devices, context: &Context) -> Result<(), Failure> {
    match args.command.unwrap_or(DevicesCommand::List) {
        DevicesCommand::List => list(context).await,
        DevicesCommand::Show { device } => show(&device, context).await,
        DevicesCommand::Rename { device, name } => rename(&device, &name, context).await,
        DevicesCommand::Grant(args) => grant(&args, context).await,
        DevicesCommand::Revoke { device } => revoke(&device, context).await,
    }
}

pub(super) async fn list(context: &Context) -> Result<(), Failure> {
    let devices = match ask(&Request::Devices { who: None }, context).await? {
        Some(Reply::Devices { devices }) => devices,
        Some(reply) => return Err(refused(reply)),
        None => AtRest::open(context)?.book.list()?.iter().map(|device| DeviceRow::at(device, now_ms())).collect(),
    };
    if devices.is_empty() {
        context.note("No phone is paired. Pair one with `farhelm pair` while `farhelm host` runs.");
    }
    devices.iter().try_for_each(|device| context.say(device, || row(device, SystemTime::now())))?;
    if let Some(frozen) = freeze::standing(context).await? {
        context.note(&format!("None of them can connect: {}.", freeze::because(&frozen)));
    }
    Ok(())
}

async fn show(who: &str, context: &Context) -> Result<(), Failure> {
    let devices = match ask(&Request::Devices { who: Some(who.to_owned()) }, context).await? {
        Some(Reply::Devices { devices }) => devices,
        Some(reply) => return Err(refused(reply)),
        None => vec![DeviceRow::at(&AtRest::open(context)?.book.find(who)?, now_ms())],
    };
    devices.iter().try_for_each(|device| context.say(device, || sheet(device, SystemTime::now())))
}

async fn rename(who: &str, name: &str, context: &Context) -> Result<(), Failure> {
    let request = Request::Rename { who: who.to_owned(), name: name.to_owned() };
    let reply = match ask(&request, context).await? {
        Some(reply) => reply,
        None => {
            let rest = AtRest::open(context)?;
            let device = rest.book.rename(who, name)?;
            rest.record(of_the_desk_to("rename", &device))?;
            Reply::Renamed { device: DeviceRow::at(&device, now_ms()) }
        }
    };
    match &reply {
        Reply::Renamed { device } => context.say(&reply, || format!("It is called {} now.", named(device))),
        _ => Err(refused(reply)),
    }
}

async fn grant(args: &Grant, context: &Context) -> Result<(), Failure> {
    let (who, terms) = (args.device.clone(), args.terms()?);
    let reply = match ask(&Request::Grant { who: who.clone(), terms: terms.clone() }, context).await? {
        Some(reply) => reply,
        None => {
            let rest = AtRest::open(context)?;
            let book = &rest.book;
            let device = book.find(&who)?;
            // What gives something isn't done unrecorded.
            let given = Device { grant: terms.on(device.grant.clone()), ..device };
            rest.record(of_the_desk_to("grant", &given))?;
            let device = book.regrant(given.key, &terms)?.ok_or_else(|| book.unknown(&who))?;
            // Only a running host asks Codex to trust a folder.
            let (device, opened) = (DeviceRow::at(&device, now_ms()), Vec::new());
            Reply::Granted { device, opened, ownerless: book.is_ownerless()? }
        }
    };
    match &reply {
        Reply::Granted { device, opened, ownerless } => {
            let (may, opened) = (grant::sentence(&device.grant), grant::opened(opened));
            let changed = || format!("Changed {}. {may}{opened}", named(device));
            context.say(&reply, changed)?;
            warn(*ownerless, context);
            Ok(())
        }
        _ => Err(refused(reply)),
    }
}

async fn revoke(who: &str, context: &Context) -> Result<(), Failure> {
    let reply = match ask(&Request::Revoke { who: who.to_owned() }, context).await? {
        Some(reply) => reply,
        None => {
            let rest = AtRest::open(context)?;
            let book = &rest.book;
            let device = book.find(who)?;
            book.revoke(device.key)?;
            rest.record(of_the_desk_to("revoke", &device))?;
            Reply::Revoked { device: DeviceRow::at(&device, now_ms()), ownerless: book.is_ownerless()? }
        }
    };
    match &reply {
        Reply::Revoked { device, ownerless } => {
            context.say(&reply, || format!("Removed {}.", named(device)))?;
            warn(*ownerless, context);
            Ok(())
        }
        _ => Err(refused(reply)),
    }
}

/// The desk may lower or remove the last owner; it is told, as no phone becomes one by itself while others are paired.
fn warn(ownerless: bool, context: &Context) {
    if ownerless {
        context.note("No phone is owner now. `farhelm devices grant DEVICE --right owner --for-good` makes one owner.");
    }
}

pub(super) fn refused(reply: Reply) -> Failure {
    match reply {
        Reply::Refused { message, why } => Failure::new(why.into(), message),
        _ => ControlError::Language.into(),
    }
}

fn named(device: &DeviceRow) -> String {
    format!("“{}” ({})", sanitize::line(&device.name), sanitize::line(&device.id))
}

/// Asks the running host; `None` if none runs.
pub(super) async fn ask(request: &Request, context: &Context) -> Result<Option<Reply>, Failure> {
    let runtime = context.directories()?.runtime().to_owned();
    let asked = async {
        match Client::connect(&runtime).await {
            Ok(client) => Ok(Some(client.ask(request).await?)),
            Err(ControlError::NotRunning) => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    context.unless_stopped(asked).await
}

/// The book of a host that doesn't run, and the lock that keeps it from starting meanwhile.
pub(super) struct AtRest {
    pub(super) book: Book,
    audit: Audit,
    _lock: Lock,
}

impl AtRest {
    pub(super) fn open(context: &Context) -> Result<Self, Failure> {
        let HostHome { identity, store, audit, lock, .. } = HostHome::open(context, "farhelm devices")?;
        Ok(Self { book: Book::open(Arc::new(identity), Arc::new(store))?, audit, _lock: lock })
    }

    /// Records what is done here, as a running host does.
    pub(super) fn record(&self, record: Record) -> Result<(), Failure> {
        self.audit.append(record).map(drop).map_err(|error| Failure::new(Exit::State, error))
    }
}

/// All of a phone, a line each.
fn sheet(device: &DeviceRow, now: SystemTime) -> String {
    let (name, id) = (sanitize::line(&device.name), sanitize::line(&device.id));
    let seen = device.last_seen_ms.map_or_else(|| "never".into(), |ms| since(ms, now));
    let may = grant::sentence(&device.grant);
    let contested = device.contested_ms.map(|ms| format!("\n  {} ({})", grant::CONTESTED, since(ms, now)));
    let (paired, contested) = (since(device.paired_at_ms, now), contested.unwrap_or_default());
    format!("{name}\n  peer id  {id}\n  paired   {paired}\n  seen     {seen}\n  {may}{contested}")
}

fn since(ms: u64, now: SystemTime) -> String {
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    ago(now.duration_since(then).unwrap_or_default())
}

fn row(device: &DeviceRow, now: SystemTime) -> String {
    let since = |ms: u64| since(ms, now);
    let seen = device.last_seen_ms.map_or_else(|| "never seen".into(), |ms| format!("seen {}", since(ms)));
    let (name, id) = (sanitize::line(&device.name), sanitize::line(&device.id));
    let grant = grant::row(&device.grant);
    let contested =
        device.contested_ms.map(|ms| format!("\n  {} ({})", grant::CONTESTED, since(ms))).unwrap_or_default();
    format!("{name}  {id}  {grant}  paired {}, {seen}{contested}", since(device.paired_at_ms))
}

/// About how long ago; nobody needs more here.
fn ago(span: Duration) -> String {
    match span.as_secs() {
        0..60 => "just now".into(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86400),
    }
}

impl From<devices::Error> for Failure {
    fn from(error: devices::Error) -> Self {
        let code = match error {
            devices::Error::Who(_) => Exit::NotFound,
            devices::Error::Name(_) => Exit::Usage,
            _ => Exit::State,
        };
        Self::new(code, error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let code = if matches!(error, ControlError::NotRunning) { Exit::Unreachable } else { Exit::Failed };
        Self::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::policy::Right;

    use super::*;
    use crate::host::control::GrantRow;

    #[test]
    fn a_row_says_what_a_phone_may_do_and_when_it_was_seen() {
        let device = DeviceRow {
            id: "12D3Koo".into(),
            name: "Ann's\x1b phone".into(),
            paired_at_ms: 1_000,
            last_seen_ms: Some(7_200_000),
            contested_ms: None,
            grant: GrantRow {
                right: Right::Viewer,
                folders: Some(vec!["/srv/a".into()]),
                until_ms: None,
                expired: false,
            },
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2 * 86_400);
        assert_eq!(row(&device, now), "Ann's␛ phone  12D3Koo  viewer in /srv/a  paired 1 d ago, seen 1 d ago");
        assert_eq!(ago(Duration::from_secs(90)), "1 min ago");
        let sheet = sheet(&device, now);
        assert!(
            sheet
                .starts_with("Ann's␛ phone\n  peer id  12D3Koo\n  paired   1 d ago\n  seen     1 d ago\n  It may read"),
            "{sheet}"
        );
    }
}
