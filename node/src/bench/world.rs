//! What is measured: a scripted agent, the host, a phone that is paired with it, and a tap on either side of the host.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::Identity;
use farhelm_core::pairing::Ticket;
use farhelm_overlay::{Multiaddr, Protocol};
use farhelm_phone::{Client, key_store};
use farhelm_store::{Journal, Store};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::leg::Leg;
use super::tap::Tap;
use crate::demo::agent::{self, Agent};
use crate::host::app_server::{Options, Source, State};
use crate::host::desk::{Consent, Desk};
use crate::host::{self, Host};

/// How long anything may take before there is a phone to measure with.
pub(super) const STEP: Duration = Duration::from_secs(30);

/// Why something can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scratch folder, or a port on loopback.
    #[error("can't prepare the measurement: {0}")]
    Scratch(#[from] io::Error),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] farhelm_platform::socket::Error),
    /// The scripted agent.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// The host's store.
    #[error(transparent)]
    Store(#[from] farhelm_store::OpenError),
    /// The host.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The phone's network.
    #[error(transparent)]
    Open(#[from] farhelm_phone::OpenError),
    /// The pairing.
    #[error(transparent)]
    Pair(#[from] farhelm_phone::PairError),
    /// A call of the phone's.
    #[error(transparent)]
    Phone(#[from] farhelm_phone::Error),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] farhelm_relay::Error),
    /// Something that should come didn't.
    #[error("waited in vain for {0}")]
    Waited(&'static str),
}

/// All of it.
pub(super) struct World {
    pub(super) tap: Tap,
    pub(super) leg: Leg,
    /// The host as the phone has it.
    pub(super) paired: farhelm_phone::Host,
    phone: Client,
    host: Host,
    agent: Agent,
    scratch: TempDir,
}

impl World {
    /// Builds it, paired and attached.
    pub(super) async fn start() -> Result<Self, Error> {
        let private = std::fs::Permissions::from_mode(0o700);
        let scratch = tempfile::Builder::new().prefix("farhelm-bench-").permissions(private).tempdir()?;
        let path = scratch.path();
        let agent = Agent::start(&path.join("agent.sock"), path).await?;
        let tap = Tap::start(&path.join("tap.sock"), agent.socket())?;
        let (store, journal) = (Store::open(&path.join("store"))?, Journal::open(&path.join("journal"))?);
        let host = Host::start(config(path, tap.socket()), store, journal).await?;
        let mut codex = host.codex();
        let ready = codex.wait_for(|state| matches!(state, State::Ready { .. }));
        within("the scripted agent", ready).await?.map_err(|_| Error::Waited("the host"))?;
        let mut config = farhelm_phone::Config::new("measured phone");
        config.listen = loopback();
        let phone = Client::open(config, Arc::new(key_store::Memory::default())).await?;
        let (leg, paired) = pair(&host, &phone).await?;
        Ok(Self { tap, leg, paired, phone, host, agent, scratch })
    }

    /// Ends everything and removes the scratch folder.
    pub(super) async fn shutdown(self) -> Result<(), Error> {
        self.phone.shutdown().await;
        self.host.shutdown().await;
        self.agent.shutdown().await;
        Ok(self.scratch.close()?)
    }
}

/// The phone is given the tap's address in place of the host's.
async fn pair(host: &Host, phone: &Client) -> Result<(Leg, farhelm_phone::Host), Error> {
    let (events, _desk) = mpsc::channel(8);
    let invitation = host.offer(STEP, Desk::new(Consent::Given, events)).await?;
    let direct = invitation.ticket().direct.iter().find_map(tcp).ok_or(Error::Waited("an address of the host"))?;
    let leg = Leg::start(direct).await?;
    let tapped = Multiaddr::from(leg.address().ip()).with(Protocol::Tcp(leg.address().port()));
    let ticket = Ticket { direct: vec![tapped], relays: Vec::new(), ..invitation.ticket().clone() };
    let pairing = within("the host's answer", phone.pair_with(ticket)).await??;
    let paired = within("the pairing", pairing.finish(STEP)).await??.host;
    within("a session", paired.live(STEP)).await??;
    Ok((leg, paired))
}

fn tcp(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) => Some((ip, port).into()),
        _ => None,
    }
}

pub(super) fn config(path: &Path, socket: &Path) -> host::Config {
    let mut overlay = farhelm_overlay::Config::new(Identity::generate(&mut rand::rng()));
    overlay.listen = loopback();
    let (runtime_dir, codex_home) = (path.join("run"), Some(path.join("codex")));
    host::Config {
        name: "measured host".into(),
        folder: path.to_owned(),
        source: Source::Connect(socket.to_owned()),
        codex: Options { codex: None, codex_home, runtime_dir, environment: Vec::new() },
        settings: Default::default(),
        overlay,
    }
}

fn loopback() -> Vec<Multiaddr> {
    vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a constant address")]
}

pub(super) async fn within<T>(what: &'static str, future: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(STEP, future).await.map_err(|_| Error::Waited(what))
}
