//! The handle of a running relay: start it, look at it, stop it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farhelm_core::identity::{Identity, NodeId};
use farhelm_overlay::websocket::Tls;
use farhelm_overlay::{Multiaddr, Protocol};
use libp2p::noise;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::announce::{self, Places};
use crate::certificate::{self, Trouble};
use crate::config::{self, Config};
use crate::ledger::Ledger;
use crate::sockets::listen;
use crate::swarm;
use crate::task::Task;

/// Events a slow subscriber may lag behind before it loses the oldest (and is told so).
const EVENTS: usize = 256;

/// Why a relay can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not called from within a tokio runtime.
    #[error("a relay needs a tokio runtime to run in")]
    NoRuntime,
    /// Its settings make no sense.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Its certificate can't be used.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// The Noise keys couldn't be made.
    #[error("the handshake keys can't be made: {0}")]
    Handshake(#[from] noise::Error),
    /// Somebody else listens there. The program adds who.
    #[error("{address} is in use; stop what holds it, or listen elsewhere")]
    AddressInUse {
        /// The address.
        address: Multiaddr,
    },
    /// Can't listen there for another reason.
    #[error("can't listen on {address}: {source}; check the address and your rights to it")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: io::Error,
    },
    /// The machine has no public address and none was given.
    #[error(
        "this machine has no public address, so nobody could find the relay; if a public address leads here (a \
         forwarded port, a DNS name), pass it: --announce /ip4/<address>/tcp/{port}, and the same with \
         /udp/{port}/quic-v1"
    )]
    NoPublicAddress {
        /// The port it would have listened on.
        port: u16,
    },
}

/// What happens at the relay. A subscriber that lags loses the oldest and is told so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node can be reached through us.
    ReservationAccepted {
        /// Who.
        peer: NodeId,
        /// Whether it had one already.
        renewed: bool,
    },
    /// A node was refused one.
    ReservationDenied {
        /// Who.
        peer: NodeId,
        /// libp2p's status.
        reason: String,
    },
    /// It ran out, or the node left.
    ReservationEnded {
        /// Who.
        peer: NodeId,
    },
    /// A connection didn't answer and was closed.
    ConnectionSilent {
        /// Whose.
        peer: NodeId,
    },
    /// One node reaches another through us.
    CircuitOpened {
        /// The one that called.
        from: NodeId,
        /// The one that was called.
        to: NodeId,
    },
    /// A call was refused.
    CircuitDenied {
        /// The one that called.
        from: NodeId,
        /// The one that was called.
        to: NodeId,
        /// libp2p's status.
        reason: String,
    },
    /// A circuit ended.
    CircuitClosed {
        /// The one that called.
        from: NodeId,
        /// The one that was called.
        to: NodeId,
        /// Why, if it wasn't the nodes' own doing.
        reason: Option<String>,
    },
    /// The certificate's files have changed, and new connections get the new one.
    CertificateRenewed,
    /// They have changed and can't be used; the old one stays.
    CertificateRefused {
        /// Why.
        reason: String,
    },
}

/// How the relay stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Connections to clients.
    pub connections: usize,
    /// Peers that hold a reservation.
    pub reservations: usize,
    /// Circuits that carry something.
    pub circuits: usize,
}

struct Inner {
    id: NodeId,
    multiaddrs: Vec<Multiaddr>,
    status: Arc<Mutex<Status>>,
    trouble: Trouble,
    events: broadcast::Sender<Event>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

/// A running relay. Cheap to clone; it stops when the last handle is dropped.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({})", self.0.id)
    }
}

impl Relay {
    /// Starts a relay in the current tokio runtime; when this returns it listens and serves.
    pub async fn start(identity: &Identity, config: Config) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        config.check()?;
        let ledger = Arc::new(Mutex::new(Ledger::new(config.reservations)));
        let (events, _) = broadcast::channel(EVENTS);
        let tls = Serving::of(&config, &events).await?;
        let mut swarm = swarm::build(identity, &config, ledger.clone(), tls.tls)?;
        let sockets = listen(&mut swarm, &config.sockets()).await?;
        let announced = announced(&config, &sockets, tls.hosts)?;
        // libp2p lists the newest first, and what stands first in a ticket is what fits in it.
        for address in announced.iter().rev() {
            swarm.add_external_address(address.clone());
        }
        let id = identity.node_id();
        let multiaddrs = announced.into_iter().map(|a| a.with(Protocol::P2p(id.to_peer_id()))).collect();
        let (stop, stopped) = mpsc::channel(1);
        let status = Arc::new(Mutex::new(Status::default()));
        let task = Task::new(swarm, ledger, status.clone(), events.clone(), tls.renewal);
        runtime.spawn(task.run(stopped));
        Ok(Self(Arc::new(Inner { id, multiaddrs, status, trouble: tls.trouble, events, stop })))
    }

    /// This relay.
    pub fn node_id(&self) -> NodeId {
        self.0.id
    }

    /// The addresses to give to others, the relay's peer id included.
    pub fn multiaddrs(&self) -> &[Multiaddr] {
        &self.0.multiaddrs
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        lock(&self.0.status).clone()
    }

    /// What is wrong with the certificate, in words: why clients refuse it, or why what is in its files isn't served.
    pub fn certificate_trouble(&self) -> Option<String> {
        lock(&self.0.trouble).clone()
    }

    /// Closes every connection and frees the ports, for every clone of this handle. Takes 2 s at most.
    pub async fn shutdown(self) {
        let (reply, done) = oneshot::channel();
        if self.0.stop.send(reply).await.is_ok() {
            // An error means the task is gone: just as well.
            let _ = done.await;
        }
    }
}

/// What TLS needs, if the relay is to speak it.
#[derive(Default)]
struct Serving {
    tls: Tls,
    hosts: Vec<Multiaddr>,
    renewal: Option<AbortOnDropHandle<()>>,
    trouble: Trouble,
}

impl Serving {
    async fn of(config: &Config, events: &broadcast::Sender<Event>) -> Result<Self, Error> {
        let Some(files) = config.certificate() else { return Ok(Self::default()) };
        let trouble = Trouble::default();
        let (served, hosts, renewal) = files.load(events.clone(), trouble.clone()).await?;
        Ok(Self {
            tls: Tls { served: Some(served), ..Tls::default() },
            hosts,
            renewal: Some(AbortOnDropHandle::new(tokio::spawn(renewal.run()))),
            trouble,
        })
    }
}

fn announced(config: &Config, sockets: &[Multiaddr], hosts: Vec<Multiaddr>) -> Result<Vec<Multiaddr>, Error> {
    if config.announce.is_empty() && sockets.iter().any(is_memory) {
        return Ok(sockets.to_vec());
    }
    let interfaces: Vec<IpAddr> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, "can't list the network interfaces");
            Vec::new()
        }
    };
    let announced = announce::choose(&config.announce, sockets, &Places { interfaces, hosts });
    if announced.is_empty() { Err(Error::NoPublicAddress { port: port(sockets) }) } else { Ok(announced) }
}

fn is_memory(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Memory(_)))
}

fn port(sockets: &[Multiaddr]) -> u16 {
    let port = sockets.iter().flat_map(|socket| socket.iter()).find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    port.unwrap_or(config::PORT)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
