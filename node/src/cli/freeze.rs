//! `farhelm freeze` and `thaw`: no phone does anything here, until a person at the desk lets them in again. Asks the
//! running host, and changes the host's store itself where none runs.

use std::time::Duration;

use clap::Args;

use super::devices::{self, AtRest, ask};
use super::{Context, Exit, Failure, when};
use crate::host::audit::of_the_desk;
use crate::host::control::{DeviceRow, FrozenRow, FrozenWhy, Reply, Request};
use crate::host::devices::now_ms;
use crate::terminal::{ask as terminal, sanitize};

/// How long the person at the desk may look at the devices.
const THINKING: Duration = Duration::from_secs(10 * 60);

/// Let no phone in, and have nothing done for any, until `farhelm thaw`
///
/// Sessions end at once, codes that are shown are void, and what phones have asked for and isn't done yet is refused.
/// What Codex is doing goes on, and is decided at the desk. It holds when the host is started again, too.
///
/// For when a phone is lost, or something looks wrong: look at `farhelm devices` then, and remove what isn't yours.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  farhelm freeze")]
pub(super) struct Freeze {}

/// Let phones in again after `farhelm freeze`, or after the host froze by itself
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm thaw\n  farhelm thaw --yes")]
pub(super) struct Thaw {
    /// Don't ask, also where the host was restored from a backup
    #[arg(long)]
    yes: bool,
}

pub(super) async fn freeze(context: &Context) -> Result<(), Failure> {
    let reply = match ask(&Request::Freeze, context).await? {
        Some(reply) => reply,
        None => AtRest::open(context)?.freeze()?,
    };
    match &reply {
        Reply::Frozen { changed: true, .. } => context.say(&reply, || {
            "Frozen: no phone can connect, pair, or have anything done here. What Codex is doing goes on.\n  \
             → `farhelm devices` shows who is paired; `farhelm thaw` lets phones in again"
                .into()
        }),
        Reply::Frozen { frozen: Some(frozen), .. } => {
            context.say(&reply, || format!("It was frozen before: {}.", because(frozen)))
        }
        _ => Err(devices::refused(reply)),
    }
}

pub(super) async fn thaw(args: &Thaw, context: &Context) -> Result<(), Failure> {
    if let Some(FrozenRow { by: FrozenWhy::Restored, .. }) = standing(context).await?
        && !args.yes
    {
        confirm(context).await?;
    }
    let reply = match ask(&Request::Thaw, context).await? {
        Some(reply) => reply,
        None => AtRest::open(context)?.thaw()?,
    };
    match &reply {
        Reply::Thawed { was: Some(was) } => {
            context.say(&reply, || format!("Thawed: paired phones can connect again. It was {}.", because(was)))
        }
        Reply::Thawed { was: None } => context.say(&reply, || "It was not frozen.".into()),
        _ => Err(devices::refused(reply)),
    }
}

/// How it is frozen, if it is.
pub(super) async fn standing(context: &Context) -> Result<Option<FrozenRow>, Failure> {
    match ask(&Request::Frozen, context).await? {
        Some(Reply::Frozen { frozen, .. }) => Ok(frozen),
        Some(reply) => Err(devices::refused(reply)),
        None => AtRest::open(context)?.frozen(),
    }
}

/// What was restored may hold devices that were removed since: somebody looks at them first.
async fn confirm(context: &Context) -> Result<(), Failure> {
    let hint = "look at `farhelm devices`, remove what was removed before, and pass --yes";
    if !terminal::is_possible() {
        return Err(Failure::new(Exit::Usage, "this host was restored, and there is no terminal to ask at").next(hint));
    }
    context.note("This host has met a newer word of its own, so an older state was put in place. Paired in it are:");
    devices::list(context).await?;
    let question = "A phone that was removed since is in this list again. Shall all of them be let in?";
    match terminal::confirm(question, THINKING).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Declined, "it stays frozen").next(hint)),
        Err(error) => Err(Failure::new(Exit::Failed, error).next(hint)),
    }
}

/// Since when and why, for people.
pub(super) fn because(frozen: &FrozenRow) -> String {
    let at = when::shown(frozen.at_ms);
    match &frozen.by {
        FrozenWhy::Desk => format!("frozen at the desk on {at}"),
        FrozenWhy::Device { id, name } => {
            let name = name.as_deref().map_or("a phone that is not paired any more".into(), |name| format!("“{name}”"));
            format!("frozen by {} ({}) on {at}", sanitize::line(&name), sanitize::line(id))
        }
        FrozenWhy::Restored => format!("frozen by itself on {at}, as an older state was put in its place"),
    }
}

impl AtRest {
    fn freeze(&self) -> Result<Reply, Failure> {
        let changed = self.book.freeze(farhelm_store::FrozenBy::Desk)?;
        self.record(of_the_desk("freeze", None))?;
        Ok(Reply::Frozen { frozen: self.frozen()?, changed })
    }

    fn thaw(&self) -> Result<Reply, Failure> {
        self.record(of_the_desk("thaw", None))?;
        let was = self.book.thaw()?;
        Ok(Reply::Thawed { was: was.map(|was| FrozenRow::of(&was, &self.devices())) })
    }

    fn frozen(&self) -> Result<Option<FrozenRow>, Failure> {
        let frozen = *self.book.frozen().borrow();
        Ok(frozen.map(|frozen| FrozenRow::of(&frozen, &self.devices())))
    }

    fn devices(&self) -> Vec<DeviceRow> {
        self.book.list().unwrap_or_default().iter().map(|device| DeviceRow::at(device, now_ms())).collect()
    }
}
