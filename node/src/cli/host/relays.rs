//! `farhelm host relays`: the relays a host is reachable through. Changes a running host at once, and the book of one
//! that doesn't run.

use clap::{Args, Subcommand};

use super::super::devices::ask;
use super::super::home::HostHome;
use super::super::{Context, Exit, Failure};
use crate::host;
use crate::host::control::{ControlError, RelayRow, Reply, Request};
use crate::terminal::sanitize;

/// Show, add or remove the relays this host is reachable through
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  farhelm host relays list
  farhelm host relays add /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq")]
pub(super) struct Relays {
    #[command(subcommand)]
    command: RelaysCommand,
}

#[derive(Debug, Subcommand)]
enum RelaysCommand {
    /// Show the relays, and whether the running host holds a reservation there
    #[command(after_help = "Example:\n  farhelm host relays list --json")]
    List,
    /// Add a relay
    #[command(after_help = "Example:
  farhelm host relays add /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq")]
    Add {
        /// Its address, as `farhelm relay` prints it
        #[arg(value_name = "MULTIADDR")]
        relay: String,
    },
    /// Remove a relay
    #[command(after_help = "Example:
  farhelm host relays remove /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq")]
    Remove {
        /// Its address, as `list` shows it
        #[arg(value_name = "MULTIADDR")]
        relay: String,
    },
}

pub(super) async fn run(args: Relays, context: &Context) -> Result<(), Failure> {
    match args.command {
        RelaysCommand::List => list(context).await,
        RelaysCommand::Add { relay } => add(&relay, context).await,
        RelaysCommand::Remove { relay } => remove(&relay, context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let relays = match ask(&Request::Relays, context).await? {
        Some(Reply::Relays { relays }) => relays,
        Some(_) => return Err(ControlError::Language.into()),
        None => {
            let relays = HostHome::open(context, "farhelm host relays")?.store.relays()?;
            relays.into_iter().map(|address| RelayRow { address, reserved: None }).collect()
        }
    };
    if relays.is_empty() {
        context.note("No relay is known. Add one with `farhelm host relays add MULTIADDR`.");
    }
    relays.iter().try_for_each(|relay| context.say(relay, || row(relay)))
}

async fn add(relay: &str, context: &Context) -> Result<(), Failure> {
    let address = host::relay_address(relay)?.to_string();
    let changed = match ask(&Request::AddRelay { address: address.clone() }, context).await? {
        Some(reply) => changed(reply)?,
        None => HostHome::open(context, "farhelm host relays")?.store.add_relay(&address)?,
    };
    let done = Reply::Done { changed };
    context.say(&done, || format!("{} {address}", if changed { "Added" } else { "Known already:" }))
}

async fn remove(relay: &str, context: &Context) -> Result<(), Failure> {
    let changed = match ask(&Request::RemoveRelay { address: relay.to_owned() }, context).await? {
        Some(reply) => changed(reply)?,
        None => HostHome::open(context, "farhelm host relays")?.store.remove_relay(relay)?,
    };
    if !changed {
        let unknown = Failure::new(Exit::NotFound, format_args!("{relay} is not among the relays of this host"));
        return Err(unknown.next("`farhelm host relays list` shows them"));
    }
    context.say(&Reply::Done { changed }, || format!("Removed {}", sanitize::line(relay)))
}

fn changed(reply: Reply) -> Result<bool, Failure> {
    match reply {
        Reply::Done { changed } => Ok(changed),
        Reply::Refused { message, why } => Err(Failure::new(why.into(), message)),
        _ => Err(ControlError::Language.into()),
    }
}

fn row(relay: &RelayRow) -> String {
    let state = match relay.reserved {
        Some(true) => "reserved",
        Some(false) => "not reserved",
        None => "host not running",
    };
    format!("{state:<16}  {}", sanitize::line(&relay.address))
}

impl From<farhelm_store::Error> for Failure {
    fn from(error: farhelm_store::Error) -> Self {
        Self::new(Exit::State, error)
    }
}
