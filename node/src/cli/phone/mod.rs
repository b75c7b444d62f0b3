//! `farhelm phone`: the phone in a terminal, for where no app is (yet), for scripts and for tests.
//!
//! Without a command it is a screen (`screen`). Every command is a visit: it opens the phone's client, does one thing and says goodbye. Results go to standard
//! output; texts of the host and of Codex are made safe before a person sees them.

mod answer;
mod choose;
mod decide;
mod devices;
mod failure;
mod follow;
mod heads;
mod history;
mod hosts;
mod images;
mod keep;
mod key_store;
mod pair;
mod queue;
mod report;
mod say;
mod screen;
mod threads;
mod work;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use farhelm_overlay::Multiaddr;
use farhelm_phone::{Client, Config, Connection, Error, Host, KeyStore, KnownHost, Standing};
use zeroize::Zeroizing;

use super::home::machine_name;
use super::paths::Paths;
use super::{Context, Exit, Failure};
use key_store::Files;

use crate::nearby;

/// Where the phone keeps its key and what it knows of hosts, below the state directory.
pub(super) const DIRECTORY: &str = "phone";
/// The phone's journal, beside it.
pub(super) const JOURNAL: &str = "phone-journal.redb";

/// How long a command waits for its host to answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long a host is tried again that can't be reached: a relay may just be coming back.
const RETRIES: Duration = Duration::from_secs(10);

/// The name under which this phone is listed at hosts, beside the client's own values in the store.
const DEVICE_NAME: &str = "device-name";

/// Be the phone: pair with a host, start and follow threads, approve and decline
///
/// Without a command it fills the terminal: what waits on any host, threads as they happen, approvals. `?` lists its keys.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone\n  farhelm phone pair\n  farhelm phone start \"fix the failing test\"\n  farhelm phone approve"
)]
pub(super) struct Phone {
    #[command(flatten)]
    paths: Paths,
    /// Look for hosts in this network, too: those that were started with --mdns are found without a relay
    #[arg(long)]
    mdns: bool,
    #[command(subcommand)]
    command: Option<PhoneCommand>,
}

#[derive(Debug, Subcommand)]
enum PhoneCommand {
    Pair(pair::Pair),
    Hosts(hosts::Hosts),
    Heads(heads::Heads),
    Devices(devices::Devices),
    Freeze(devices::Freeze),
    Threads(threads::Threads),
    Start(threads::Start),
    Send(threads::Send),
    Show(history::Show),
    Watch(follow::Watch),
    Search(history::Search),
    Goal(history::Goal),
    Images(images::Images),
    Steer(work::Steer),
    Interrupt(work::Interrupt),
    Queue(queue::Queue),
    Review(work::Review),
    Compact(work::Compact),
    Model(choose::Model),
    Effort(choose::Effort),
    Usage(choose::Usage),
    Rename(keep::Rename),
    Archive(keep::Archive),
    Unarchive(keep::Unarchive),
    Fork(keep::Fork),
    Approve(decide::Approve),
    Decline(decide::Decline),
    Diff(decide::Diff),
    Answer(answer::Answer),
    Forget(hosts::Forget),
}

/// The relays of every host that the phone here is paired with; nothing is made where no phone is.
pub(super) async fn relays(context: &Context) -> Result<Vec<Multiaddr>, Box<dyn std::error::Error>> {
    let directory = context.directories()?.state().join(DIRECTORY);
    if !directory.exists() {
        return Ok(Vec::new());
    }
    Ok(farhelm_phone::relays(Arc::new(Files::at(directory))).await?)
}

/// Which host is meant.
#[derive(Debug, Clone, Default, Args)]
struct Which {
    /// The host's name, or its peer id, or the beginning or end of that; not needed where there is only one
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

pub(super) async fn run(args: Phone, context: &Context) -> Result<(), Failure> {
    let mut context = context.clone();
    context.paths = args.paths.paths.unwrap_or_default();
    context.mdns = args.mdns;
    let context = &context;
    let Some(command) = args.command else { return screen::run(context).await };
    match command {
        PhoneCommand::Pair(args) => pair::run(args, context).await,
        PhoneCommand::Hosts(args) => hosts::run(&args, context).await,
        PhoneCommand::Devices(args) => devices::run(args, context).await,
        PhoneCommand::Freeze(args) => devices::freeze(args, context).await,
        PhoneCommand::Heads(args) => heads::run(args, context).await,
        PhoneCommand::Threads(args) => threads::list(args, context).await,
        PhoneCommand::Start(args) => threads::start(args, context).await,
        PhoneCommand::Send(args) => threads::send(args, context).await,
        PhoneCommand::Show(args) => history::show(args, context).await,
        PhoneCommand::Watch(args) => follow::run(args, context).await,
        PhoneCommand::Search(args) => history::search(args, context).await,
        PhoneCommand::Goal(args) => history::goal(args, context).await,
        PhoneCommand::Images(args) => images::run(args, context).await,
        PhoneCommand::Steer(args) => work::steer(args, context).await,
        PhoneCommand::Interrupt(args) => work::interrupt(args, context).await,
        PhoneCommand::Queue(args) => queue::run(args, context).await,
        PhoneCommand::Review(args) => work::review(args, context).await,
        PhoneCommand::Compact(args) => work::compact(args, context).await,
        PhoneCommand::Model(args) => choose::model(args, context).await,
        PhoneCommand::Effort(args) => choose::effort(args, context).await,
        PhoneCommand::Usage(args) => choose::usage(args, context).await,
        PhoneCommand::Rename(args) => keep::rename(args, context).await,
        PhoneCommand::Archive(args) => keep::archive(args, context).await,
        PhoneCommand::Unarchive(args) => keep::unarchive(args, context).await,
        PhoneCommand::Fork(args) => keep::fork(args, context).await,
        PhoneCommand::Approve(args) => decide::approve(args, context).await,
        PhoneCommand::Decline(args) => decide::decline(args, context).await,
        PhoneCommand::Diff(args) => decide::diff(args, context).await,
        PhoneCommand::Answer(args) => answer::run(args, context).await,
        PhoneCommand::Forget(args) => hosts::forget(args, context).await,
    }
}

/// The phone's client over the files of this user.
async fn open(context: &Context, rename: Option<&str>) -> Result<Client, Failure> {
    let directories = context.directories()?;
    directories.prepare()?;
    let store = Arc::new(Files::at(directories.state().join(DIRECTORY)));
    let name = device_name(&store, rename).await.map_err(|error| Failure::new(Exit::State, error))?;
    let journal = Some(directories.state().join(JOURNAL));
    let client = Client::open(Config { journal, paths: context.paths, ..Config::new(name) }, store).await?;
    if context.mdns {
        tokio::spawn(look_around(client.clone()));
    }
    Ok(client)
}

/// Until the program ends.
async fn look_around(client: Client) {
    let looked = nearby::browse(|host, addresses| {
        let client = client.clone();
        async move { client.found_nearby(host, addresses).await }
    });
    if let Err(error) = looked.await {
        tracing::warn!(%error, "not looking for hosts in this network");
    }
}

async fn device_name(store: &Files, rename: Option<&str>) -> Result<String, farhelm_phone::key_store::Error> {
    if let Some(name) = rename {
        store.put(DEVICE_NAME, Zeroizing::new(name.as_bytes().to_vec())).await?;
    }
    let stored = store.get(DEVICE_NAME).await?;
    Ok(stored.map_or_else(machine_name, |name| String::from_utf8_lossy(&name).into_owned()))
}

/// Visits a host: connects, lets `act` do its part, and says goodbye whatever came of it.
async fn visit<T>(
    context: &Context,
    which: &Which,
    act: impl AsyncFnOnce(&Host) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let client = open(context, None).await?;
    let visited = context
        .unless_stopped(async {
            let known = choose(client.hosts().await?, which.host.as_deref())?;
            let host = client.connect(known.id).await?;
            attach(&host).await?;
            act(&host).await
        })
        .await;
    client.shutdown().await;
    visited
}

/// Waits until the host answers. A try that is still under way is let finish: an address that doesn't answer takes
/// longer to fail than one that refuses. What only a person at the desk can change isn't waited for.
async fn attach(host: &Host) -> Result<(), Failure> {
    let mut state = host.state();
    let is_answered = |state: &Connection| match state {
        Connection::Connecting => false,
        Connection::Away { why, .. } => why.is_for_the_desk(),
        Connection::CatchingUp(_) | Connection::Live(_) | Connection::Removed { .. } => true,
    };
    // What was answered then: it may be on its way again, as when another program of this phone comes.
    if let Ok(Ok(answered)) = tokio::time::timeout(RETRIES, state.wait_for(is_answered)).await {
        return match *answered {
            Connection::Away { why, .. } => Err(Error::Away(why).into()),
            Connection::Removed { at_ms } => Err(Error::Removed { at_ms }.into()),
            _ => Ok(()),
        };
    }
    let tried = state.wait_for(|state| !matches!(state, Connection::Connecting));
    let _ = tokio::time::timeout(PATIENCE, tried).await;
    Ok(host.live(Duration::ZERO).await.map(drop)?)
}

/// The one host that is meant.
fn choose(known: Vec<KnownHost>, which: Option<&str>) -> Result<KnownHost, Failure> {
    let of = |fits: &dyn Fn(&KnownHost) -> bool| known.iter().filter(|host| fits(host)).cloned().collect::<Vec<_>>();
    let mut found = match which {
        None => of(&|host| matches!(host.standing, Standing::Paired | Standing::Pending)),
        Some(which) => of(&|host| host.name == which || host.id.to_string() == which),
    };
    if found.is_empty() {
        // Of one that can't be used one is told why.
        found = of(&|host| which.is_none_or(|which| is_part_of(which, &host.id.to_string())));
    }
    match (found.len(), which) {
        (1, _) => Ok(found.remove(0)),
        (0, None) => Err(Failure::new(Exit::NotFound, "this phone is paired with no host")
            .next("show a code with `farhelm pair` at the desk, then run `farhelm phone pair`")),
        (0, Some(which)) => Err(Failure::new(Exit::NotFound, format_args!("no host is called {which:?}"))
            .next("`farhelm phone hosts` lists them")),
        (count, None) => Err(Failure::new(Exit::Usage, format_args!("this phone is paired with {count} hosts"))
            .next("name one with --host; `farhelm phone hosts` lists them")),
        (_, Some(which)) => Err(Failure::new(Exit::Usage, format_args!("{which:?} could be more than one host"))
            .next("give more of its peer id; `farhelm phone hosts` lists them")),
    }
}

/// Whether a person may mean this id: by its beginning or its end, and by enough of it.
fn is_part_of(part: &str, id: &str) -> bool {
    part.len() >= 4 && (id.starts_with(part) || id.ends_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use farhelm_core::identity::Identity;

    fn host(seed: u8, name: &str, standing: Standing) -> KnownHost {
        let (id, name) = (Identity::from_seed(&[seed; 32]).node_id(), name.into());
        KnownHost { id, name, standing, entitlement: None, head: None, broken: None }
    }

    fn code(known: &[KnownHost], which: Option<&str>) -> Result<KnownHost, Exit> {
        choose(known.to_vec(), which).map_err(|failure| failure.code())
    }

    #[test]
    fn the_only_host_need_not_be_named() {
        let desk = host(1, "desk", Standing::Paired);
        let gone = host(2, "old", Standing::Removed { at_ms: 1 });
        assert_eq!(code(&[], None), Err(Exit::NotFound));
        assert_eq!(code(std::slice::from_ref(&desk), None), Ok(desk.clone()));
        assert_eq!(code(&[desk.clone(), gone.clone()], None), Ok(desk.clone()));
        assert_eq!(code(std::slice::from_ref(&gone), None), Ok(gone.clone()));
        assert_eq!(code(&[desk.clone(), host(3, "laptop", Standing::Pending)], None), Err(Exit::Usage));
    }

    #[test]
    fn a_host_is_found_by_name_or_part_of_its_id() {
        let known = [host(1, "desk", Standing::Paired), host(2, "laptop", Standing::Paired)];
        let id = known[1].id.to_string();
        for which in ["laptop", &id, &id[id.len() - 6..]] {
            assert_eq!(code(&known, Some(which)), Ok(known[1].clone()));
        }
        assert_eq!(code(&known, Some("12D3")), Err(Exit::Usage));
        assert_eq!(code(&known, Some("lap")), Err(Exit::NotFound));
        let twins = [host(1, "desk", Standing::Paired), host(2, "desk", Standing::Paired)];
        assert_eq!(code(&twins, Some("desk")), Err(Exit::Usage));
    }
}
