//! `farhelm host`: this machine's Codex, steerable from paired phones. This is the host's face at the terminal; the
//! host itself is `crate::host`.

mod relays;
mod report;
pub(super) mod settings;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use farhelm_overlay::Multiaddr;
use farhelm_platform::socket;
use tokio::net::UnixListener;

use super::home::{HostHome, machine_name};
use super::pair::{self, Pair};
use super::paths::Paths;
use super::{Context, Exit, Failure, ports};
use crate::host::app_server::{self, Source, State};
use crate::host::{self, control};
use crate::terminal::ask;
use report::Report;

const EXAMPLES: &str = "Examples:
  farhelm host
  farhelm host --relay /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq
  farhelm host --own-server --name laptop
  farhelm host --connect unix:///run/user/1000/codex.sock --yes";

/// Where the socket of an app-server of our own goes, in the runtime directory.
const APP_SERVER: &str = "codex";

/// How long the first code waits for the first word about Codex.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// Let paired phones steer the Codex of this machine
///
/// Attaches to Codex's app-server daemon, which a plain `codex` at the desk uses by itself, and starts it when it
/// isn't running. Threads started from a phone work in the folder this command was started in, and ask before they
/// leave it. On the first start it shows the code for a phone; later, `farhelm pair` does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Host {
    #[command(subcommand)]
    command: Option<HostCommand>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum HostCommand {
    Relays(relays::Relays),
    Settings(settings::Settings),
}

#[derive(Debug, Args)]
struct Options {
    /// Be reachable through this relay, now and from now on; may be given several times
    #[arg(long = "relay", value_name = "MULTIADDR")]
    relays: Vec<String>,

    /// Use the app-server that listens on this socket
    #[arg(long, value_name = "unix://PATH", conflicts_with = "own_server")]
    connect: Option<UnixAddress>,

    /// Start an app-server of our own instead of using the daemon
    #[arg(long)]
    own_server: bool,

    /// Pair the first phone without asking at the terminal; its code then ends after a minute
    #[arg(long)]
    yes: bool,

    /// What phones call this host [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Listen here instead of on every interface, on a port that follows from the host's key; may be given several
    /// times
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,

    #[command(flatten)]
    paths: Paths,

    /// Don't ask the router to lead ports to this host (UPnP, NAT-PMP, PCP)
    #[arg(long)]
    no_port_mapping: bool,

    /// Tell everybody in this network that this host is here, and under which key, so that phones with --mdns find it
    /// without a relay
    #[arg(long)]
    mdns: bool,

    /// The codex program [default: the one on PATH]
    #[arg(long, value_name = "PATH")]
    codex: Option<PathBuf>,
}

pub(super) async fn run(args: Host, context: &Context) -> Result<(), Failure> {
    match args.command {
        Some(HostCommand::Relays(args)) => relays::run(args, context).await,
        Some(HostCommand::Settings(args)) => settings::run(args, context).await,
        None => serve(args.options, context).await,
    }
}

async fn serve(options: Options, context: &Context) -> Result<(), Failure> {
    // Judged before anything is started or remembered.
    options.relays.iter().try_for_each(|relay| host::relay_address(relay).map(drop))?;
    let HostHome { directories, identity, store, journal, audit, lock } = HostHome::open(context, "farhelm host")?;
    directories.moved_runtime().iter().for_each(|moved| context.note(moved));
    let (listener, entry) = socket::bind(&directories.runtime().join(control::SOCKET))?;
    let listener = UnixListener::from_std(listener).map_err(|error| Failure::new(Exit::State, error))?;

    let config = options.config(identity, &directories)?;
    let report = Report::new(context, &config);
    let host = host::Host::start_recorded(config, store, journal, audit).await?;
    host.add_relays(&options.relays).await?;
    if !options.no_port_mapping && host.settings().network().port_mapping {
        host.map_ports();
    }
    if options.mdns || host.settings().network().mdns {
        host.announce();
    }
    let serving = tokio::spawn(control::serve(host.clone(), listener, context.stop.clone()));
    report.started(&host)?;
    let first = first_phone(&options, &host, &directories, context);
    let watched = report.follow(&host);
    let (_, followed) = tokio::join!(first, watched);

    report.stopping(&host).await?;
    host.shutdown().await;
    // Ends with `context.stop`; an error would be its panic, which was reported.
    let _ = serving.await;
    drop(entry);
    drop(lock);
    followed
}

/// On the first start: the code for the first phone, at this terminal. The host runs on whatever becomes of it.
async fn first_phone(
    options: &Options,
    host: &host::Host,
    directories: &farhelm_platform::directories::Directories,
    context: &Context,
) {
    match host.devices().list() {
        Ok(devices) if devices.is_empty() => {}
        Ok(_) => return,
        Err(error) => return context.note(&error.to_string()),
    }
    if !options.yes && !ask::is_possible() {
        return context.note("No phone is paired yet, and there is no terminal to ask at: run `farhelm pair` at one.");
    }
    // What is said of Codex shall not push the code off the screen.
    let mut codex = host.codex();
    let known = codex.wait_for(|state| !matches!(state, State::Connecting { why: None }));
    let _ = context.stop.run_until_cancelled(tokio::time::timeout(FIRST_LOOK, known)).await;
    let args = Pair { yes: options.yes, ..Pair::default() };
    if let Err(failure) = pair::attend(&args, directories.runtime(), context).await
        && failure.code() != Exit::Interrupted
    {
        context.note(&format!("{failure}; `farhelm pair` shows a fresh code."));
    }
}

impl Options {
    fn config(
        &self,
        identity: farhelm_core::identity::Identity,
        directories: &farhelm_platform::directories::Directories,
    ) -> Result<host::Config, Failure> {
        let folder = std::env::current_dir().map_err(|error| {
            Failure::new(Exit::Failed, format_args!("can't tell the folder this was started in: {error}"))
                .next("start it in a folder that exists")
        })?;
        let own = || host::listen::addresses(identity.node_id());
        let listen = if self.listen.is_empty() { own() } else { self.listen.clone() };
        let settings = host::settings::Settings::open(directories.config())?;
        let policy = self.paths.paths.unwrap_or_else(|| settings.network().paths);
        let overlay = farhelm_overlay::Config { listen, policy, ..farhelm_overlay::Config::new(identity) };
        let codex = app_server::Options {
            codex: self.codex.clone(),
            codex_home: None,
            runtime_dir: directories.runtime().join(APP_SERVER),
            environment: Vec::new(),
        };
        let name = self.name.clone().unwrap_or_else(machine_name);
        Ok(host::Config { name, folder, source: self.source(), codex, settings, overlay })
    }

    fn source(&self) -> Source {
        match &self.connect {
            Some(UnixAddress(path)) => Source::Connect(path.clone()),
            None if self.own_server => Source::Own,
            None => Source::Auto,
        }
    }
}

/// `unix://` and an absolute path, as Codex writes the addresses of its sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UnixAddress(PathBuf);

impl FromStr for UnixAddress {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix://").map(PathBuf::from);
        path.filter(|path| path.is_absolute()).map(Self).ok_or("write it as unix:///absolute/path")
    }
}

impl From<host::Error> for Failure {
    fn from(error: host::Error) -> Self {
        let code = match &error {
            host::Error::Overlay(farhelm_overlay::Error::AddressInUse { address }) => return ports::taken(address),
            host::Error::Overlay(farhelm_overlay::Error::Listen { .. }) => Exit::Listen,
            host::Error::Overlay(_) => Exit::Failed,
            host::Error::Devices(_) | host::Error::Store(_) | host::Error::Unrecorded(_) => Exit::State,
            host::Error::RelayAddress(_) | host::Error::Terms(_) => Exit::Usage,
            host::Error::Unreachable => Exit::Unreachable,
            host::Error::Settings(_) | host::Error::SwitchedOff | host::Error::Frozen => {
                control::Why::from(&error).into()
            }
        };
        Self::new(code, error)
    }
}

impl From<host::settings::Error> for Failure {
    fn from(error: host::settings::Error) -> Self {
        host::Error::from(error).into()
    }
}

impl From<socket::Error> for Failure {
    fn from(error: socket::Error) -> Self {
        Self::new(Exit::State, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_named_by_an_absolute_path() {
        assert_eq!("unix:///run/codex.sock".parse(), Ok(UnixAddress("/run/codex.sock".into())));
        for text in ["/run/codex.sock", "unix://codex.sock", "ws://127.0.0.1:1", ""] {
            assert!(text.parse::<UnixAddress>().is_err(), "{text}");
        }
    }
}
