//! The handle of a running relay, and the task behind it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_overlay::transport::is_taken;
use farhelm_overlay::{Multiaddr, Protocol};
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, noise, ping, relay};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::announce;
use crate::config::{self, Config};
use crate::ledger::Ledger;
use crate::swarm::{self, Behaviour, BehaviourEvent};

/// Events a slow subscriber may lag behind before it loses the oldest (and is told so).
const EVENTS: usize = 256;

/// How long sockets get to say which port they have, where the system chose it.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long connections get to close at shutdown.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Why a relay can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not called from within a tokio runtime.
    #[error("a relay needs a tokio runtime to run in")]
    NoRuntime,
    /// Its settings make no sense.
    #[error(transparent)]
    Config(#[from] config::Error),
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
        let mut swarm = swarm::build(identity, &config, ledger.clone())?;
        let sockets = listen(&mut swarm, &config.listen).await?;
        let announced = announced(&config, &sockets)?;
        for address in &announced {
            swarm.add_external_address(address.clone());
        }
        let id = identity.node_id();
        let multiaddrs = announced.into_iter().map(|a| a.with(Protocol::P2p(id.to_peer_id()))).collect();
        let (events, _) = broadcast::channel(EVENTS);
        let (stop, stopped) = mpsc::channel(1);
        let status = Arc::new(Mutex::new(Status::default()));
        let task = Task {
            swarm,
            ledger,
            status: status.clone(),
            events: events.clone(),
            circuits: HashMap::new(),
            said: Vec::new(),
        };
        runtime.spawn(task.run(stopped));
        Ok(Self(Arc::new(Inner { id, multiaddrs, status, events, stop })))
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

    /// Closes every connection and frees the ports, for every clone of this handle. Takes 2 s at most.
    pub async fn shutdown(self) {
        let (reply, done) = oneshot::channel();
        if self.0.stop.send(reply).await.is_ok() {
            // An error means the task is gone: just as well.
            let _ = done.await;
        }
    }
}

/// Listens on every address; gives the sockets as they are, ports filled in.
async fn listen(swarm: &mut Swarm<Behaviour>, wanted: &[Multiaddr]) -> Result<Vec<Multiaddr>, Error> {
    let (mut sockets, mut unknown, mut first_failure) = (Vec::new(), HashMap::new(), None);
    for address in wanted {
        if is_taken(address) {
            return Err(Error::AddressInUse { address: address.clone() });
        }
        match swarm.listen_on(address.clone()) {
            Ok(id) if has_port(address) => {
                tracing::debug!(%address, listener = ?id, "listening");
                sockets.push(address.clone());
            }
            Ok(id) => {
                unknown.insert(id, address.clone());
            }
            Err(error) => {
                // Commonly IPv6 on a machine that has none; fatal only if nothing else works.
                tracing::info!(%address, %error, "not listening there");
                let source = io::Error::other(error);
                first_failure.get_or_insert(Error::Listen { address: address.clone(), source });
            }
        }
    }
    sockets.extend(learn_ports(swarm, unknown).await);
    match first_failure {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// Whether the address says its port, so that nobody needs to wait for the socket to tell it.
fn has_port(address: &Multiaddr) -> bool {
    !address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0) | Protocol::Memory(0)))
}

/// Waits for the sockets to tell which port the system gave them. On a machine without IPv6 some never do.
async fn learn_ports(swarm: &mut Swarm<Behaviour>, mut unknown: HashMap<ListenerId, Multiaddr>) -> Vec<Multiaddr> {
    let mut sockets = Vec::new();
    let told = async {
        while !unknown.is_empty() {
            if let SwarmEvent::NewListenAddr { listener_id, address } = swarm.select_next_some().await {
                sockets.extend(unknown.remove(&listener_id).map(|wanted| with_ports_of(&wanted, &address)));
            }
        }
    };
    if tokio::time::timeout(LISTEN_TIMEOUT, told).await.is_err() {
        tracing::warn!("some sockets have not told their port; going on without them");
    }
    sockets
}

/// The wanted address, which may be a wildcard, with the ports really got.
fn with_ports_of(wanted: &Multiaddr, got: &Multiaddr) -> Multiaddr {
    wanted
        .iter()
        .zip(got.iter())
        .map(|(wanted, got)| match wanted {
            Protocol::Tcp(_) | Protocol::Udp(_) | Protocol::Memory(_) => got,
            kept => kept,
        })
        .collect()
}

fn announced(config: &Config, sockets: &[Multiaddr]) -> Result<Vec<Multiaddr>, Error> {
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
    let announced = announce::choose(&config.announce, sockets, &interfaces);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What owns the swarm.
struct Task {
    swarm: Swarm<Behaviour>,
    ledger: Arc<Mutex<Ledger>>,
    status: Arc<Mutex<Status>>,
    events: broadcast::Sender<Event>,
    /// How many circuits each pair has. libp2p may say twice that one closed (once for each end's connection).
    circuits: HashMap<(PeerId, PeerId), usize>,
    /// Events to send once the status agrees with them.
    said: Vec<Event>,
}

impl Task {
    async fn run(mut self, mut stop: mpsc::Receiver<oneshot::Sender<()>>) {
        let reply = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                stop = stop.recv() => break stop,
            }
            self.publish();
        };
        self.close_all().await;
        drop(self);
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }

    async fn close_all(&mut self) {
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // Fails for a peer that just left: just as well.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                let event = self.swarm.select_next_some().await;
                self.on_event(event);
            }
        };
        let _ = tokio::time::timeout(CLOSE_GRACE, closed).await;
    }

    fn publish(&mut self) {
        *lock(&self.status) = Status {
            connections: self.swarm.network_info().connection_counters().num_established() as usize,
            reservations: lock(&self.ledger).len(),
            circuits: self.circuits.values().sum(),
        };
        for event in self.said.drain(..) {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.on_relay(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { connection, result: Err(error), .. }))
                if !matches!(error, ping::Failure::Unsupported) =>
            {
                tracing::debug!(%connection, %error, "closing a connection that doesn't answer pings");
                self.swarm.close_connection(connection);
            }
            // libp2p's ReservationClosed comes for every connection, reserved on or not, so it says nothing.
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.released(peer_id),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a socket failed"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "a socket closed");
            }
            _ => {}
        }
    }

    fn on_relay(&mut self, event: relay::Event) {
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, renewed } => {
                self.emit(src_peer_id, |peer| Event::ReservationAccepted { peer, renewed });
            }
            relay::Event::ReservationReqDenied { src_peer_id, status } => {
                self.emit(src_peer_id, |peer| Event::ReservationDenied { peer, reason: format!("{status:?}") });
            }
            relay::Event::ReservationTimedOut { src_peer_id } => self.released(src_peer_id),
            relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id } => {
                *self.circuits.entry((src_peer_id, dst_peer_id)).or_default() += 1;
                self.emit_pair(src_peer_id, dst_peer_id, |from, to| Event::CircuitOpened { from, to });
            }
            relay::Event::CircuitReqDenied { src_peer_id, dst_peer_id, status } => {
                let reason = format!("{status:?}");
                self.emit_pair(src_peer_id, dst_peer_id, |from, to| Event::CircuitDenied { from, to, reason });
            }
            relay::Event::CircuitClosed { src_peer_id, dst_peer_id, error } => {
                let reason = error.map(|error| error.to_string());
                self.circuit_ended(src_peer_id, dst_peer_id, reason);
            }
            _ => {}
        }
    }

    fn circuit_ended(&mut self, from: PeerId, to: PeerId, reason: Option<String>) {
        let Some(count) = self.circuits.get_mut(&(from, to)) else { return };
        *count -= 1;
        if *count == 0 {
            self.circuits.remove(&(from, to));
        }
        self.emit_pair(from, to, |from, to| Event::CircuitClosed { from, to, reason });
    }

    fn released(&mut self, peer: PeerId) {
        if lock(&self.ledger).release(&peer) {
            self.emit(peer, |peer| Event::ReservationEnded { peer });
        }
    }

    fn emit(&mut self, peer: PeerId, event: impl FnOnce(NodeId) -> Event) {
        self.said.extend(NodeId::from_peer_id(&peer).ok().map(event));
    }

    fn emit_pair(&mut self, from: PeerId, to: PeerId, event: impl FnOnce(NodeId, NodeId) -> Event) {
        if let Ok(to) = NodeId::from_peer_id(&to) {
            self.emit(from, |from| event(from, to));
        }
    }
}
