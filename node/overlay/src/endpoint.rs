//! The handle of a node: start it, call peers, open streams, listen to what happens.
//!
//! Cheap to clone. Commands go to the one task that owns the swarm over a bounded channel; when the last handle is
//! dropped the task ends. Looking (`paths`, `status`) never waits for the task.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, TransportError, noise};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::admission::{Admission, Limits};
use crate::driver::{Command, Driver};
use crate::paths::{Limit, Path, Paths, Policy};
use crate::probe::Pace;
pub use crate::reservations::State;
use crate::streams::{self, Stream};
use crate::surroundings::{PER_PEER, Surroundings};
use crate::transport::Transports;
use crate::{addresses, swarm};

/// Commands waiting for the task; it answers within microseconds.
const COMMANDS: usize = 64;

/// Events a slow subscriber may lag behind before it loses the oldest (and is told so).
const EVENTS: usize = 256;

/// How long a hole is waited for where only direct paths are permitted: as long as libp2p tries.
const PUNCH: Duration = Duration::from_secs(15);

/// How a node is to be started.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's key.
    pub identity: Identity,
    /// Where to listen. Empty for a node that only calls; it can't be punched through to, then.
    pub listen: Vec<Multiaddr>,
    /// Sockets or memory.
    pub transports: Transports,
    /// Who may connect from the first moment on (see [`Endpoint::set_admission`]). None: anybody.
    pub admission: Option<Admission>,
    /// What strangers get, if there is a filter at all.
    pub limits: Limits,
    /// Which paths may carry sessions. With relay-only nothing is listened on, and nobody dialled directly but relays.
    pub policy: Policy,
    /// How every connection is probed; one that doesn't answer is closed.
    pub paces: Paces,
    /// Inbound streams that may wait for the receiver of [`Endpoint::start`]; further ones are reset.
    pub waiting_streams: usize,
}

impl Config {
    /// TCP and QUIC on every interface, ports chosen by the system. Lets anybody in: set `admission`.
    pub fn new(identity: Identity) -> Self {
        let any = ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"];
        let listen = any.iter().map(|text| text.parse().expect("a constant address")).collect();
        Self {
            identity,
            listen,
            transports: Transports::Network,
            admission: None,
            limits: Limits::default(),
            policy: Policy::default(),
            paces: Paces::default(),
            waiting_streams: 64,
        }
    }

    /// In memory, on a port that is free.
    pub fn memory(identity: Identity) -> Self {
        let listen = vec![Multiaddr::empty().with(Protocol::Memory(0))];
        Self { listen, transports: Transports::Memory, ..Self::new(identity) }
    }
}

/// How connections are probed, by mode. A node begins idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paces {
    /// While somebody looks at it, or something is under way: a dead path is to be noticed within 5 s.
    pub active: Pace,
    /// Else: a radio that is woken every few seconds drains a battery, and a loss is noticed at the next use. Under the
    /// 30 s after which many NATs forget a UDP mapping.
    pub idle: Pace,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            active: Pace { interval: Duration::from_secs(2), patience: Duration::from_millis(2500) },
            idle: Pace { interval: Duration::from_secs(25), patience: Duration::from_secs(10) },
        }
    }
}

/// Why a node can't start or be told something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not called from within a tokio runtime.
    #[error("a node needs a tokio runtime to run in")]
    NoRuntime,
    /// The Noise keys couldn't be made.
    #[error("the handshake keys can't be made: {0}")]
    Handshake(#[from] noise::Error),
    /// Somebody else listens there. The program adds who.
    #[error("{address} is in use; stop what holds it, or listen elsewhere")]
    AddressInUse {
        /// The address.
        address: Multiaddr,
    },
    /// None of the addresses can be listened on; the first failure.
    #[error("can't listen on {address}: {source}; check the address and your rights to it")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: TransportError<io::Error>,
    },
    /// A relay's address doesn't say which relay.
    #[error("{address} does not name its relay; add /p2p/ and the relay's peer id, as the relay prints it")]
    RelayAddress {
        /// The address as given.
        address: Multiaddr,
    },
    /// The node was shut down.
    #[error("the node was shut down")]
    Stopped,
}

/// One address that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where to.
    pub address: Multiaddr,
    /// What went wrong, in the transport's words.
    pub reason: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

/// Why a peer couldn't be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing to try: no connection, and no address was given.
    #[error("no address of {peer} is known")]
    NoAddress {
        /// Who.
        peer: NodeId,
    },
    /// Every address failed.
    #[error("{peer} can't be reached ({}); check that it is running and online", list(.failures))]
    Unreachable {
        /// Who.
        peer: NodeId,
        /// What was tried.
        failures: Vec<Attempt>,
    },
    /// Some address neither worked nor failed in time.
    #[error("{peer} did not answer in time; check that it is running and online")]
    TimedOut {
        /// Who.
        peer: NodeId,
        /// What had failed by then.
        failures: Vec<Attempt>,
    },
    /// Only direct paths are permitted, and there is none.
    #[error("no direct way to {peer} was found, and nothing else is permitted here (direct-only)")]
    NoDirectPath {
        /// Who.
        peer: NodeId,
    },
    /// The node was shut down.
    #[error("the node was shut down")]
    Stopped,
}

fn list(failures: &[Attempt]) -> String {
    failures.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; ")
}

/// Why no stream could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no connection of that kind.
    #[error("not connected to {peer} that way")]
    NoPath {
        /// To whom.
        peer: NodeId,
    },
    /// There is one, but opening failed.
    #[error("no stream to {peer}: {source}")]
    Stream {
        /// To whom.
        peer: NodeId,
        /// Why.
        source: streams::Error,
    },
}

/// Which connection to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The best there is.
    Best,
    /// The best direct one.
    Direct,
    /// The best relayed one.
    Relayed,
    /// Exactly this one.
    Connection(ConnectionId),
}

/// What happens to the node. A subscriber that lags loses the oldest and is told so; `status` and `paths` then say
/// how things are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A connection came up (to relays too).
    PathUp(Path),
    /// Its round trip was measured.
    PathChanged(Path),
    /// It is gone.
    PathDown(Path),
    /// A relay lets us be reached at these addresses; said again when it adds one.
    ReservationUp {
        /// The relay.
        relay: NodeId,
        /// Circuit addresses that lead to this node, its peer id included.
        addresses: Vec<Multiaddr>,
    },
    /// A relay granted a reservation, or renewed it, and says what each circuit there may carry.
    Reserved {
        /// The relay.
        relay: NodeId,
        /// Of each circuit.
        limit: Limit,
    },
    /// It no longer does. Asked for again by itself.
    ReservationDown {
        /// The relay.
        relay: NodeId,
    },
    /// We listen on this address, a concrete one.
    Listening(Multiaddr),
    /// No longer.
    ListeningEnded(Multiaddr),
    /// These ports of a router lead to us now.
    Forwarded(Vec<Multiaddr>),
    /// Somebody saw us at this address.
    Observed(Multiaddr),
    /// The same, with who saw it, and on which connection: what a NAT makes of one of our ports, for one peer.
    Seen {
        /// Who says so. It may lie.
        by: NodeId,
        /// On which connection.
        connection: ConnectionId,
        /// Where we came from.
        at: Multiaddr,
    },
    /// The machine has other addresses than before: what stood may be dead, what wasn't may be there. Not said again to
    /// whoever said it ([`Endpoint::network_changed`]).
    NetworkChanged,
    /// A hole punch ended. Only the ends that dialled hear of a success.
    Punch {
        /// To whom.
        peer: NodeId,
        /// The direct connection, or why there is none.
        outcome: Result<ConnectionId, String>,
    },
}

/// A stream a peer opened.
#[derive(Debug)]
pub struct Incoming {
    /// Who.
    pub peer: NodeId,
    /// On which connection.
    pub path: Path,
    /// The stream.
    pub stream: Stream,
}

/// One reservation, to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The relay.
    pub relay: NodeId,
    /// How far it is.
    pub state: State,
    /// Circuit addresses that lead to this node; empty unless held.
    pub addresses: Vec<Multiaddr>,
}

/// How the node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Concrete addresses it listens on, loopback included, without peer id.
    pub listening: Vec<Multiaddr>,
    /// Ports of a router that lead to this node, as far as it was told ([`Endpoint::set_forwarded`]).
    pub forwarded: Vec<Multiaddr>,
    /// Where others saw us; the last few.
    pub observed: Vec<Multiaddr>,
    /// The relays it was given.
    pub reservations: Vec<Reservation>,
    /// Connections refused by admission.
    pub refused_connections: u64,
    /// Inbound streams reset because too many were waiting or open.
    pub dropped_streams: u64,
}

impl Status {
    /// Addresses others on the same network, or the internet, may dial: no loopback unless there is nothing else,
    /// and no link-local. Global ones first.
    pub fn direct_addresses(&self) -> Vec<Multiaddr> {
        let rank = |address: &Multiaddr| match addresses::ip(address) {
            Some(ip) if addresses::is_global(ip) => 0,
            Some(std::net::IpAddr::V6(ip)) if ip.is_unicast_link_local() => 4,
            Some(ip) if ip.is_loopback() => 3,
            Some(_) => 1,
            None => 2,
        };
        let mut addresses: Vec<_> = self.listening.iter().filter(|a| rank(a) < 4).cloned().collect();
        if addresses.iter().any(|a| rank(a) < 3) {
            addresses.retain(|a| rank(a) < 3);
        }
        addresses.sort_by_key(rank);
        // Whoever is elsewhere gets through there, whatever NAT they are behind.
        let forwarded = self.forwarded.iter().filter(|_| !addresses.is_empty());
        forwarded.cloned().chain(addresses.iter().filter(|own| !self.forwarded.contains(own)).cloned()).collect()
    }

    /// Where a peer may try to reach this node directly: its own addresses, and where others saw it, which is what leads
    /// through a NAT that lets anybody in, or a forwarded port.
    pub fn candidates(&self) -> Vec<Multiaddr> {
        let mut candidates = self.direct_addresses();
        if candidates.is_empty() {
            return candidates;
        }
        let seen =
            self.observed.iter().rev().filter(|address| addresses::ip(address).is_some_and(addresses::is_global));
        for address in seen {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates.truncate(PER_PEER);
        candidates
    }
}

/// What the handles read and the task writes.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) paths: Paths,
    pub(crate) status: Status,
}

struct Inner {
    id: NodeId,
    policy: Policy,
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    shared: Arc<Mutex<Shared>>,
    control: streams::Control,
}

/// A running node.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.0.id)
    }
}

impl Endpoint {
    /// Starts a node in the current tokio runtime. Streams that peers open come out of the receiver; take them
    /// promptly and spawn, as a full queue resets the next.
    pub fn start(config: Config) -> Result<(Self, mpsc::Receiver<Incoming>), Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let parts = swarm::build(&config)?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let (incoming, streams) = mpsc::channel(config.waiting_streams.max(1));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let control = parts.control.clone();
        let mut driver = Driver::new(parts, &config, receiver, events.clone(), incoming, shared.clone());
        if config.policy != Policy::RelayOnly {
            driver.listen(&config.listen)?;
        }
        runtime.spawn(driver.run());
        let (id, policy) = (config.identity.node_id(), config.policy);
        Ok((Self(Arc::new(Inner { id, policy, commands, events, shared, control })), streams))
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.0.id
    }

    /// A path to `peer` that may carry a session: the best there is, else the first of `addresses` (direct and circuit,
    /// tried in parallel, with or without the peer's id at the end) that comes up. Takes 20 s at most; with
    /// [`Policy::DirectOnly`] 15 s more, for a hole to be punched.
    ///
    /// A host that refuses us closes right after: then the path is up for a moment, and opening a stream fails.
    pub async fn connect(&self, peer: NodeId, addresses: Vec<Multiaddr>) -> Result<Path, ConnectError> {
        match self.best(peer, Route::Best) {
            Some(path) => Ok(path),
            None => self.find(peer, addresses).await,
        }
    }

    async fn find(&self, peer: NodeId, addresses: Vec<Multiaddr>) -> Result<Path, ConnectError> {
        // Subscribed before anything comes up.
        let mut events = self.events();
        let path = self.dial(peer, addresses).await?;
        if self.0.policy.permits(&path) {
            return Ok(path);
        }
        let punched = async {
            loop {
                if let Some(path) = self.best(peer, Route::Best) {
                    return Ok(path);
                }
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return Err(ConnectError::Stopped);
                }
            }
        };
        tokio::time::timeout(PUNCH, punched).await.unwrap_or(Err(ConnectError::NoDirectPath { peer }))
    }

    /// As [`Self::connect`], but always over a new connection: to try addresses learnt in a session while relayed.
    pub async fn dial(&self, peer: NodeId, addresses: Vec<Multiaddr>) -> Result<Path, ConnectError> {
        #[cfg(feature = "faults")]
        let addresses = crate::faults::reachable(addresses);
        let addresses = self.permitted(addresses);
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress { peer });
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Call { peer, addresses, reply };
        self.0.commands.send(command).await.map_err(|_| ConnectError::Stopped)?;
        // The task's calls have a deadline of their own.
        answer.await.map_err(|_| ConnectError::Stopped)?
    }

    fn permitted(&self, mut addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        addresses.retain(|address| self.0.policy != Policy::RelayOnly || addresses::is_relayed(address));
        addresses
    }

    /// Those of the addresses that `peer` told of itself that are worth dialling from here ([`Surroundings`]).
    pub fn worth_dialling(&self, peer: NodeId, told: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        Surroundings::now().select(told, self.is_over_loopback(peer))
    }

    /// Whether a connection to `peer` goes over loopback.
    pub fn is_over_loopback(&self, peer: NodeId) -> bool {
        self.paths(peer).iter().any(|path| addresses::ip(&path.remote).is_some_and(|ip| ip.is_loopback()))
    }

    /// Opens a stream to `peer` on the connection that `route` chooses now. Takes 10 s at most.
    pub async fn open(&self, peer: NodeId, route: Route) -> Result<(Path, Stream), OpenError> {
        let path = self.best(peer, route).ok_or(OpenError::NoPath { peer })?;
        let opened = self.0.control.open(path.connection).await;
        opened.map(|stream| (path, stream)).map_err(|source| OpenError::Stream { peer, source })
    }

    /// Every connection to `peer`, best first.
    pub fn paths(&self, peer: NodeId) -> Vec<Path> {
        self.shared().paths.of(peer)
    }

    /// Which paths may carry sessions.
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    /// Every connection to `peer` that may carry a session, best first.
    pub fn usable_paths(&self, peer: NodeId) -> Vec<Path> {
        let mut paths = self.paths(peer);
        paths.retain(|path| self.0.policy.permits(path));
        paths
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Keeps reservations on exactly these relays. Each address ends with `/p2p/<relay>`; several addresses of one
    /// relay make one reservation.
    pub async fn set_relays(&self, relays: Vec<Multiaddr>) -> Result<(), Error> {
        let mut grouped: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for address in relays {
            let relay = addresses::destination(&address).filter(|peer| NodeId::from_peer_id(peer).is_ok());
            let relay = relay
                .filter(|_| !addresses::is_relayed(&address))
                .ok_or(Error::RelayAddress { address: address.clone() })?;
            grouped.entry(relay).or_default().push(address);
        }
        self.tell(|reply| Command::SetRelays { relays: grouped, reply }).await
    }

    /// Sets who may connect; none: anybody. When this returns, connections that are no longer admitted are closing.
    pub async fn set_admission(&self, admission: Option<Admission>) -> Result<(), Error> {
        self.tell(|reply| Command::SetAdmission { admission, reply }).await
    }

    /// The stranger proved to hold a ticket: it may stay until the offer ends.
    pub async fn vouch(&self, peer: NodeId) -> Result<(), Error> {
        self.tell(|reply| Command::Vouch { peer, reply }).await
    }

    /// Closes every connection of `peer` and takes back a vouch. Without a change of admission it may come back.
    pub async fn expel(&self, peer: NodeId) -> Result<(), Error> {
        self.tell(|reply| Command::Expel { peer, reply }).await
    }

    /// Closes one connection; nothing if it is gone already.
    pub async fn close_connection(&self, connection: ConnectionId) -> Result<(), Error> {
        self.tell(|reply| Command::Close { connection, reply }).await
    }

    /// Whether somebody looks at it, or something is under way: how often connections are probed ([`Paces`]).
    pub async fn set_active(&self, active: bool) -> Result<(), Error> {
        self.tell(|reply| Command::SetActive { active, reply }).await
    }

    /// The network changed, as the operating system says: every connection is probed at once, with little patience, and
    /// relays that failed are asked again.
    pub async fn network_changed(&self) -> Result<(), Error> {
        self.tell(|reply| Command::NetworkChanged { reply }).await
    }

    /// Notes which ports of a router lead to this node; phones are told of them like of its own addresses.
    pub fn set_forwarded(&self, addresses: Vec<Multiaddr>) {
        let before = std::mem::replace(&mut self.shared().status.forwarded, addresses.clone());
        if before != addresses {
            // Nobody may be listening.
            let _ = self.0.events.send(Event::Forwarded(addresses));
        }
    }

    /// How the node stands.
    pub fn status(&self) -> Status {
        Status { dropped_streams: self.0.control.dropped(), ..self.shared().status.clone() }
    }

    /// Closes every connection and ends the task, for every clone of this handle. Takes 2 s at most.
    pub async fn shutdown(self) {
        // Stopped already: just as well.
        let _ = self.tell(|reply| Command::Shutdown { reply }).await;
    }

    fn best(&self, peer: NodeId, route: Route) -> Option<Path> {
        let fits = |path: &Path| match route {
            Route::Best => true,
            Route::Direct => path.is_direct(),
            Route::Relayed => !path.is_direct(),
            Route::Connection(id) => path.connection == id,
        };
        let fits = |path: &Path| self.0.policy.permits(path) && fits(path);
        self.shared().paths.best(peer, fits)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        self.0.commands.send(command(reply)).await.map_err(|_| Error::Stopped)?;
        done.await.map_err(|_| Error::Stopped)
    }
}
