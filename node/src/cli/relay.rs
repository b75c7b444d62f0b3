//! `farhelm relay`: a community relay on this machine. This is its front: settings from a file and flags, the key on
//! disk, what is printed. The relay itself is `farhelm-relay`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use farhelm_platform::lock::Lock;
use farhelm_platform::process::Transport;
use farhelm_platform::{config_file, directories};
use farhelm_relay::{Config, Error, Multiaddr, Relay as Running, Status};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::ports::{self, Port};
use super::units::{Size, Span};
use super::{Context, Exit, Failure, home};

/// The settings' file in the configuration directory.
const FILE: &str = "relay.toml";

/// The relay's directory in the state directory: a machine may run a host and a relay, with a key each.
const DIRECTORY: &str = "relay";

/// How often a changed status is said, at the most.
const BETWEEN_STATUS: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "Examples:
  farhelm relay
  farhelm relay --announce /dns4/relay.example.org/tcp/4001
  farhelm relay --tls-cert fullchain.pem --tls-key privkey.pem
  farhelm relay --max-circuits 64 --circuit-bytes 1GiB --circuit-duration 2h
  farhelm relay --config relay.toml

Settings in the file, each with its default:
  listen = [\"/ip4/0.0.0.0/tcp/4001\", \"/ip4/0.0.0.0/udp/4001/quic-v1\"]  # and IPv6
  announce = []               # the global interfaces and the certificate's names
  # tls_cert = \"cert.pem\"     # not set: no TLS WebSocket
  # tls_key = \"key.pem\"
  circuits = 512
  circuits_per_peer = 4
  circuit_bytes = 268435456   # 0: no limit
  circuit_seconds = 3600
  reservations = 1024
  reservation_seconds = 3600
  connections = 4096";

/// Run a relay, through which hosts and phones find each other
///
/// It carries ciphertext: it learns peer ids, addresses, times and volumes, and nothing else. Its key stays on disk,
/// so its addresses survive a restart.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Relay {
    /// Read settings from this file; flags win [default: relay.toml in the configuration directory, if there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Listen here; may be given several times [default: TCP and UDP port 4001 of every interface]
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,

    /// Tell others to reach it here; may be given several times [default: the global interfaces, and the certificate's
    /// names]
    #[arg(long, value_name = "MULTIADDR")]
    announce: Vec<Multiaddr>,

    /// Also serve TLS WebSocket, on port 443 unless --listen says where, with this certificate and its chain (PEM); for
    /// clients in networks that let only the web through. Taken anew when the file changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Circuits at a time [default: 512]
    #[arg(long, value_name = "N")]
    max_circuits: Option<usize>,

    /// Circuits of one peer at a time [default: 4]
    #[arg(long, value_name = "N")]
    circuits_per_peer: Option<usize>,

    /// Bytes that a circuit may carry, both directions together; 0 for no limit [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    circuit_bytes: Option<Size>,

    /// How long a circuit may last [default: 1h]
    #[arg(long, value_name = "DURATION")]
    circuit_duration: Option<Span>,
}

/// What scripts read, one a line.
#[derive(Debug, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum Event {
    Listening { id: String, addresses: Vec<String>, ports: Vec<String> },
    Status { connections: usize, reservations: usize, circuits: usize },
    Certificate { trouble: Option<String> },
    Stopping,
}

pub(super) async fn run(args: Relay, context: &Context) -> Result<(), Failure> {
    let paths = context.directories()?;
    let config = args.over(from_file(args.config.as_deref(), paths.config())?)?;
    let directory = paths.state().join(DIRECTORY);
    directories::private(&directory)?;
    let _lock = Lock::take(&directory, "farhelm relay")?;
    let identity = home::identity(&directory)?;
    let relay = Running::start(&identity, config).await.map_err(not_started)?;
    listening(&relay, context)?;
    let followed = follow(&relay, context).await;
    let said = context.say(&Event::Stopping, || "Stopping.".into());
    relay.shutdown().await;
    followed.and(said)
}

/// Says what others need to use this relay.
fn listening(relay: &Running, context: &Context) -> Result<(), Failure> {
    let addresses: Vec<String> = relay.multiaddrs().iter().map(ToString::to_string).collect();
    let ports: BTreeSet<String> = relay.multiaddrs().iter().filter_map(Port::of).map(|port| port.to_string()).collect();
    let ports: Vec<String> = ports.into_iter().collect();
    let list: String = addresses.iter().map(|address| format!("\n  {address}")).collect();
    // TCP passes where QUIC doesn't, and direct paths are looked for anyway.
    let best = relay.multiaddrs().iter().find(|a| Port::of(a).is_some_and(|port| port.transport == Transport::Tcp));
    let best = best.map(ToString::to_string).or_else(|| addresses.first().cloned()).unwrap_or_default();
    let text = format!(
        "Relay {}\nIt can be reached at{list}\n\nOn the machine with Codex:\n  farhelm host --relay {best}\n\nOpen in the \
         firewall: {}. Ctrl-C stops it.",
        relay.node_id(),
        ports.join(", "),
    );
    context.say(&Event::Listening { id: relay.node_id().to_string(), addresses, ports }, || text)
}

/// Says how the relay stands whenever that has changed, now and then, until the program is stopped.
async fn follow(relay: &Running, context: &Context) -> Result<(), Failure> {
    let (mut said, mut trouble) = (Status::default(), None);
    let mut ticks = interval(BETWEEN_STATUS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while context.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        trouble = certificate(trouble, relay.certificate_trouble(), context)?;
        let status = relay.status();
        if status == said {
            continue;
        }
        let Status { connections, reservations, circuits } = status;
        context.say(&Event::Status { connections, reservations, circuits }, || {
            format!("Reservations: {reservations}, open circuits: {circuits}")
        })?;
        said = status;
    }
    Ok(())
}

/// Says what is wrong with the certificate if that has changed; gives what is.
fn certificate(before: Option<String>, now: Option<String>, context: &Context) -> Result<Option<String>, Failure> {
    if before != now {
        context.say(&Event::Certificate { trouble: now.clone() }, || match &now {
            Some(trouble) => format!("The certificate: {trouble}."),
            None => "The certificate is in order again.".into(),
        })?;
    }
    Ok(now)
}

impl Relay {
    /// The file's settings with the flags over them.
    fn over(&self, mut config: Config) -> Result<Config, Failure> {
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if !self.announce.is_empty() {
            config.announce.clone_from(&self.announce);
        }
        config.tls_cert = self.tls_cert.clone().or(config.tls_cert);
        config.tls_key = self.tls_key.clone().or(config.tls_key);
        config.circuits = self.max_circuits.unwrap_or(config.circuits);
        config.circuits_per_peer = self.circuits_per_peer.unwrap_or(config.circuits_per_peer);
        config.circuit_bytes = self.circuit_bytes.map_or(config.circuit_bytes, |Size(bytes)| bytes);
        if let Some(Span(duration)) = self.circuit_duration {
            let too_long =
                |_| Failure::new(Exit::Usage, "--circuit-duration is longer than a relay can count; shorten it");
            config.circuit_seconds = u32::try_from(duration.as_secs()).map_err(too_long)?;
        }
        config.check().map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(config)
    }
}

/// The settings of the file that was named, or of the usual one if it is there.
fn from_file(named: Option<&Path>, directory: &Path) -> Result<Config, Failure> {
    let usual = directory.join(FILE);
    let path = named.unwrap_or(&usual);
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format_args!("{}: {error}", path.display()))
            .next("`farhelm relay --help` shows what may stand in it")
    };
    match config_file::read(path) {
        Ok(text) => Config::from_toml(&text).map_err(|error| unusable(&error)),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(unusable(&error)),
    }
}

fn not_started(error: Error) -> Failure {
    match &error {
        Error::AddressInUse { address } => ports::taken(address),
        Error::Listen { .. } | Error::NoPublicAddress { .. } => Failure::new(Exit::Listen, error),
        Error::Config(_) => Failure::new(Exit::Usage, error),
        Error::Certificate(_) => Failure::new(Exit::Config, error)
            .next("give --tls-cert the certificate with its chain and --tls-key its unencrypted key, both readable by this user"),
        Error::NoRuntime | Error::Handshake(_) => Failure::new(Exit::Failed, error),
    }
}
