//! The task that owns the swarm: its events go into the state machines, what they ask for comes out on the swarm.
//!
//! Nothing is decided here that a machine could decide.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farhelm_core::identity::NodeId;
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{PeerId, dcutr, identify, relay};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::addresses;
use crate::admission::{Admission, DetailsEvent};
use crate::calls::{self, Calls};
use crate::endpoint::{Attempt, Config, ConnectError, Error, Event, Incoming, Paces, Reservation, Shared};
use crate::legs::{self, Legs};
use crate::paths::{Limit, Path, Policy, Via};
use crate::probe::{self, Finding};
use crate::reservations::{self, Reservations};
use crate::streams::{Arrival, Control};
use crate::surroundings::Surroundings;
use crate::swarm::{BehaviourEvent, Parts};
use crate::transport::is_taken;

/// How long the first dial waits for a listener to say where it listens.
const LISTEN_GRACE: Duration = Duration::from_secs(1);

/// How long the other listeners and interfaces get after that.
const INTERFACES_GRACE: Duration = Duration::from_millis(100);

/// How long connections get to close at shutdown.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// How long a connection has to answer when there is reason to doubt it: four of its round trips, so that a lost packet
/// can be sent again, within these.
const LEAST_DOUBT: Duration = Duration::from_millis(600);
const MOST_DOUBT: Duration = Duration::from_secs(2);
/// The same, while no round trip was measured.
const DOUBT: Duration = Duration::from_millis(1200);

/// Observed addresses kept for people to look at.
const OBSERVED: usize = 16;

type CallReply = oneshot::Sender<Result<Path, ConnectError>>;

/// What a handle asks the task for. A reply says that it was done.
pub(crate) enum Command {
    Call { peer: NodeId, addresses: Vec<Multiaddr>, reply: CallReply },
    SetRelays { relays: BTreeMap<PeerId, Vec<Multiaddr>>, reply: oneshot::Sender<()> },
    SetAdmission { admission: Option<Admission>, reply: oneshot::Sender<()> },
    Vouch { peer: NodeId, reply: oneshot::Sender<()> },
    Expel { peer: NodeId, reply: oneshot::Sender<()> },
    Close { connection: ConnectionId, reply: oneshot::Sender<()> },
    SetActive { active: bool, reply: oneshot::Sender<()> },
    NetworkChanged { reply: oneshot::Sender<()> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// The task's state.
pub(crate) struct Driver {
    swarm: libp2p::Swarm<crate::swarm::Behaviour>,
    control: Control,
    arrivals: mpsc::Receiver<Arrival>,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    incoming: mpsc::Sender<Incoming>,
    shared: Arc<Mutex<Shared>>,
    legs: Legs,
    reservations: Reservations,
    calls: Calls<CallReply>,
    /// Our own listeners that haven't told an address yet.
    starting: HashSet<ListenerId>,
    /// Whether one of them listens on every interface.
    wildcard: bool,
    paces: Paces,
    policy: Policy,
    /// Where this machine is, when its addresses changed last.
    surroundings: Surroundings,
    /// What each relay last said that a circuit of ours may carry.
    limits: HashMap<PeerId, Limit>,
    /// Whether our own listeners have said where they are, so that from now on news of that is a change.
    is_listening: bool,
}

impl Driver {
    pub(crate) fn new(
        parts: Parts,
        config: &Config,
        commands: mpsc::Receiver<Command>,
        events: broadcast::Sender<Event>,
        incoming: mpsc::Sender<Incoming>,
        shared: Arc<Mutex<Shared>>,
    ) -> Self {
        Self {
            swarm: parts.swarm,
            control: parts.control,
            arrivals: parts.arrivals,
            commands,
            events,
            incoming,
            shared,
            legs: Legs::default(),
            reservations: Reservations::new(rand::random()),
            calls: Calls::default(),
            starting: HashSet::new(),
            wildcard: false,
            paces: config.paces,
            policy: config.policy,
            surroundings: Surroundings::default(),
            limits: HashMap::new(),
            is_listening: false,
        }
    }

    /// Listens wherever it can; an error if a port is taken, or if addresses were given and none works.
    pub(crate) fn listen(&mut self, addresses: &[Multiaddr]) -> Result<(), Error> {
        let mut first_failure = None;
        for address in addresses {
            if is_taken(address) {
                return Err(Error::AddressInUse { address: address.clone() });
            }
            match self.swarm.listen_on(address.clone()) {
                Ok(id) => {
                    self.starting.insert(id);
                    self.wildcard |= addresses::ip(address).is_some_and(|ip| ip.is_unspecified());
                }
                Err(error) => {
                    // Commonly IPv6 on a machine that has none.
                    tracing::info!(%address, %error, "not listening there");
                    first_failure.get_or_insert(Error::Listen { address: address.clone(), source: error });
                }
            }
        }
        if self.starting.is_empty() { first_failure.map_or(Ok(()), Err) } else { Ok(()) }
    }

    /// Runs until told to stop or until no handle is left.
    pub(crate) async fn run(mut self) {
        self.await_listeners().await;
        (self.is_listening, self.surroundings) = (true, Surroundings::now());
        let reply = self.serve().await;
        self.close_all().await;
        // With it the sockets: whoever waits for the reply may listen there again.
        drop(self);
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }

    /// Gives who asked it to stop, if anybody did.
    async fn serve(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            self.carry_out();
            let deadline = self.deadline();
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The swarm first: a path must be known before the streams that arrive on it.
                biased;
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(arrival) = self.arrivals.recv() => self.on_arrival(arrival),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => return Some(reply),
                    Some(command) => self.on_command(command),
                    None => return None,
                },
                () = due => self.on_timeout(Instant::now()),
            }
        }
    }

    /// Dialling before the sockets are known would use a fresh port, which no NAT maps later: hole punching offers
    /// the port of the connection to the relay.
    async fn await_listeners(&mut self) {
        let listeners = self.starting.len();
        let first = async {
            while listeners > 0 && self.starting.len() == listeners {
                let event = self.swarm.select_next_some().await;
                self.on_event(event);
            }
        };
        if tokio::time::timeout(LISTEN_GRACE, first).await.is_err() {
            tracing::warn!("no listener has an address yet; hole punching may fail");
        }
        // A wildcard tells its interfaces one by one, loopback first; one of IPv6 tells nothing where there is none.
        let rest = async {
            while self.wildcard || !self.starting.is_empty() {
                let event = self.swarm.select_next_some().await;
                self.on_event(event);
            }
        };
        let _over = tokio::time::timeout(INTERFACES_GRACE, rest).await;
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

    fn deadline(&self) -> Option<Instant> {
        [self.legs.deadline(), self.reservations.deadline(), self.calls.deadline()].into_iter().flatten().min()
    }

    fn on_timeout(&mut self, now: Instant) {
        self.legs.handle_timeout(now);
        self.reservations.handle_timeout(now);
        self.calls.handle_timeout(now);
    }

    fn on_command(&mut self, command: Command) {
        let reply = match command {
            Command::Call { peer, addresses, reply } => {
                return self.calls.call(peer, addresses, reply, Instant::now());
            }
            Command::SetRelays { relays, reply } => {
                let nodes = relays.keys().filter_map(|peer| NodeId::from_peer_id(peer).ok()).collect();
                self.swarm.behaviour_mut().door.set_relays(nodes);
                self.reservations.set(relays, Instant::now());
                // Whoever set them and looks at once finds them, if only as asked.
                self.publish();
                reply
            }
            Command::SetAdmission { admission, reply } => {
                self.swarm.behaviour_mut().door.set_admission(admission);
                reply
            }
            Command::Vouch { peer, reply } => {
                self.swarm.behaviour_mut().door.vouch(peer);
                reply
            }
            Command::Expel { peer, reply } => {
                self.swarm.behaviour_mut().door.expel(peer);
                reply
            }
            Command::Close { connection, reply } => {
                self.swarm.close_connection(connection);
                reply
            }
            Command::SetActive { active, reply } => {
                let pace = if active { self.paces.active } else { self.paces.idle };
                self.swarm.behaviour_mut().probe.set_pace(pace);
                reply
            }
            Command::NetworkChanged { reply } => {
                self.on_network_changed(Instant::now());
                reply
            }
            Command::Shutdown { reply } => reply,
        };
        // Whoever asked may not care to know.
        let _ = reply.send(());
    }

    /// Does what the machines ask for until none asks for more.
    fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.reservations.poll() {
                self.on_reservation(output);
            } else if let Some(output) = self.calls.poll() {
                self.on_call(output);
            } else if let Some(output) = self.legs.poll() {
                self.on_leg(output);
            } else {
                break;
            }
        }
        self.publish();
    }

    /// Writes down how things stand, for the handles; before any event that tells of it.
    fn publish(&self) {
        let states = self.reservations.states().filter_map(|(relay, state, addresses)| {
            Some(Reservation { relay: NodeId::from_peer_id(&relay).ok()?, state, addresses: addresses.to_vec() })
        });
        let (states, refused) = (states.collect(), self.swarm.behaviour().door.refused());
        let mut shared = self.shared();
        shared.status.reservations = states;
        shared.status.refused_connections = refused;
    }

    fn on_reservation(&mut self, output: reservations::Output) {
        match output {
            reservations::Output::Approach { relay, addresses } => self.approach(relay, addresses),
            reservations::Output::Listen { relay, address } => match self.swarm.listen_on(address) {
                Ok(id) => self.reservations.listening(relay, id),
                Err(error) => {
                    tracing::warn!(%relay, %error, "can't ask for a reservation");
                    self.reservations.failed(relay, Instant::now());
                }
            },
            reservations::Output::Leave { relay } => {
                // Not connected: then there is nothing to leave.
                let _ = self.swarm.disconnect_peer_id(relay);
            }
            reservations::Output::Up { relay, addresses } => {
                self.publish();
                self.widen(relay, &addresses);
                if let Ok(relay) = NodeId::from_peer_id(&relay) {
                    self.emit(Event::ReservationUp { relay, addresses });
                }
            }
            reservations::Output::Down { relay } => {
                self.publish();
                if let Ok(relay) = NodeId::from_peer_id(&relay) {
                    self.emit(Event::ReservationDown { relay });
                }
            }
        }
    }

    fn approach(&mut self, relay: PeerId, addresses: Vec<Multiaddr>) {
        let addresses = Surroundings::now().within_reach(addresses);
        self.legs.approach(relay, &addresses, Instant::now());
    }

    /// A relay that was given with one address is commonly there over other transports too; to be punched through to over
    /// one, a node must have been seen over it.
    fn widen(&mut self, relay: PeerId, circuits: &[Multiaddr]) {
        let legs = circuits.iter().filter_map(addresses::relay).map(|(_, leg)| leg).collect();
        let surroundings = Surroundings::now();
        let legs = surroundings.within_reach(legs);
        self.legs.widen(relay, &legs, |address| surroundings.permit(address, false));
    }

    fn on_call(&mut self, output: calls::Output<CallReply>) {
        match output {
            calls::Output::Approach { relay, addresses } => self.approach(relay, addresses),
            calls::Output::Dial { peer, addresses } => {
                let opts =
                    DialOpts::peer_id(peer.to_peer_id()).addresses(addresses).condition(PeerCondition::Always).build();
                let id = opts.connection_id();
                self.calls.dialling(peer, id);
                if let Err(error) = self.swarm.dial(opts) {
                    self.calls.failed(id, attempts(error));
                }
            }
            calls::Output::Done { waiters, result } => {
                for waiter in waiters {
                    let _ = waiter.send(self.path_of(&result));
                }
            }
        }
    }

    fn path_of(&self, result: &Result<ConnectionId, ConnectError>) -> Result<Path, ConnectError> {
        match result {
            Ok(id) => self.shared().paths.get(*id).cloned().ok_or(ConnectError::Stopped),
            Err(error) => Err(error.clone()),
        }
    }

    fn on_leg(&mut self, output: legs::Output) {
        match output {
            legs::Output::Dial { relay, addresses } => {
                let opts = DialOpts::peer_id(relay).addresses(addresses).condition(PeerCondition::Always).build();
                let id = opts.connection_id();
                self.legs.dialling(relay, id);
                if let Err(error) = self.swarm.dial(opts) {
                    tracing::debug!(%relay, %error, "can't dial a relay");
                    self.legs.failed(relay, id, &attempts(error));
                }
            }
            legs::Output::Ready(relay) => {
                self.reservations.ready(relay, Instant::now());
                self.calls.relay_ready(relay);
            }
            legs::Output::Failed { relay, failures } => {
                self.reservations.failed(relay, Instant::now());
                self.calls.relay_failed(relay, &failures);
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Door(event)) => self.on_details(event),
            SwarmEvent::Behaviour(BehaviourEvent::Probe(event)) => self.on_probed(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                // The door lets Ed25519 keys in only.
                let Ok(peer) = NodeId::from_peer_id(&peer_id) else { return };
                let mut path = Path::new(connection_id, peer, &endpoint, Instant::now());
                path.limit = self.limit_of(&path);
                let path = self.shared().paths.insert(path);
                if path.is_direct() {
                    self.legs.connected(peer_id, connection_id);
                }
                self.calls.established(peer, connection_id);
                self.emit(Event::PathUp(path));
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, connection = %connection_id, ?cause, "connection closed");
                self.legs.gone(peer_id, connection_id);
                let path = self.shared().paths.remove(connection_id);
                if let Some(path) = path {
                    self.on_path_lost(path, cause.is_some());
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                tracing::debug!(peer = ?peer_id, connection = %connection_id, %error, "dial failed");
                let failures = attempts(error);
                if let Some(peer) = peer_id {
                    self.legs.failed(peer, connection_id, &failures);
                }
                self.calls.failed(connection_id, failures);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_listening_ended(vec![address]),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                tracing::debug!(listener = ?listener_id, ?reason, "listener closed");
                self.starting.remove(&listener_id);
                self.reservations.closed(listener_id, Instant::now());
                self.on_listening_ended(addresses);
            }
            SwarmEvent::NewExternalAddrCandidate { address } => self.on_observed(address),
            _ => {}
        }
    }

    /// What our own circuit may carry; who was called learns it from the caller's moving on.
    fn limit_of(&self, path: &Path) -> Limit {
        match path.via {
            Via::Relay(Some(relay)) if path.outbound => {
                self.limits.get(&relay.to_peer_id()).copied().unwrap_or_default()
            }
            _ => Limit::default(),
        }
    }

    /// If it broke, what happened to it may have happened to the others of that peer: a killed relay resets its TCP
    /// connections, while those over QUIC just fall silent.
    fn on_path_lost(&mut self, path: Path, broke: bool) {
        if broke {
            let others = self.shared().paths.of(path.peer);
            self.doubt(others);
        }
        self.emit(Event::PathDown(path));
    }

    fn on_details(&mut self, event: DetailsEvent) {
        match event {
            DetailsEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.legs.identified(peer_id, connection_id, Instant::now());
                if let Ok(by) = NodeId::from_peer_id(&peer_id) {
                    self.emit(Event::Seen { by, connection: connection_id, at: info.observed_addr });
                }
            }
            DetailsEvent::Relay(relay::client::Event::OutboundCircuitEstablished { relay_peer_id, limit }) => {
                let limit = limit.map(|limit| Limit { duration: limit.duration(), bytes: limit.data_in_bytes() });
                self.limits.insert(relay_peer_id, limit.unwrap_or_default());
            }
            DetailsEvent::Relay(relay::client::Event::ReservationReqAccepted { relay_peer_id, limit, .. }) => {
                let limit = limit.map(|limit| Limit { duration: limit.duration(), bytes: limit.data_in_bytes() });
                if let Ok(relay) = NodeId::from_peer_id(&relay_peer_id) {
                    self.emit(Event::Reserved { relay, limit: limit.unwrap_or_default() });
                }
            }
            DetailsEvent::Dcutr(dcutr::Event { remote_peer_id, result }) => {
                let Ok(peer) = NodeId::from_peer_id(&remote_peer_id) else { return };
                self.emit(Event::Punch { peer, outcome: result.map_err(|error| error.to_string()) });
            }
            _ => {}
        }
    }

    fn on_probed(&mut self, probe::Event { connection, finding, .. }: probe::Event) {
        match finding {
            Finding::Answered(rtt) => {
                let path = self.shared().paths.measured(connection, rtt);
                if let Some(path) = path {
                    self.emit(Event::PathChanged(path));
                }
            }
            // libp2p leaves it open, and a dead TCP connection would stay for good.
            Finding::Silent => {
                tracing::info!(%connection, "closing a connection that doesn't answer");
                self.swarm.close_connection(connection);
            }
        }
    }

    /// Asks these now, because there is reason to doubt them.
    fn doubt(&mut self, paths: Vec<Path>) {
        let probe = &mut self.swarm.behaviour_mut().probe;
        for path in paths {
            let patience = path.rtt.map_or(DOUBT, |rtt| (4 * rtt).clamp(LEAST_DOUBT, MOST_DOUBT));
            probe.probe(path.connection, patience);
        }
    }

    /// What went out from an address that is gone is dead; the rest has to prove that it isn't.
    fn on_network_changed(&mut self, now: Instant) {
        let (paths, surroundings) = (self.shared().paths.all(), Surroundings::now());
        let is_elsewhere = !surroundings.shares_an_address_with(&self.surroundings);
        self.surroundings = surroundings;
        let is_far = |path: &Path| addresses::ip(&path.remote).is_some_and(|ip| !ip.is_loopback());
        let (dead, doubtful): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| is_elsewhere && is_far(path));
        for path in dead {
            tracing::info!(connection = %path.connection, "closing a connection from an address that is gone");
            self.swarm.close_connection(path.connection);
        }
        self.doubt(doubtful);
        self.legs.forget(is_elsewhere);
        self.reservations.hurry(now);
        self.calls.restart(now);
    }

    /// One of our own addresses came or went; one by one, so some have been noticed already.
    fn on_own_address(&mut self) {
        if self.is_listening && Surroundings::now() != self.surroundings {
            self.on_network_changed(Instant::now());
            self.emit(Event::NetworkChanged);
        }
    }

    fn on_listening(&mut self, listener: ListenerId, address: Multiaddr) {
        if addresses::is_relayed(&address) {
            return self.reservations.address(listener, address, Instant::now());
        }
        self.starting.remove(&listener);
        self.shared().status.listening.push(address.clone());
        self.emit(Event::Listening(address));
        self.on_own_address();
    }

    fn on_listening_ended(&mut self, ended: Vec<Multiaddr>) {
        for address in ended.into_iter().filter(|address| !addresses::is_relayed(address)) {
            self.shared().status.listening.retain(|known| *known != address);
            self.emit(Event::ListeningEnded(address));
            self.on_own_address();
        }
    }

    fn on_observed(&mut self, address: Multiaddr) {
        {
            let observed = &mut self.shared().status.observed;
            observed.retain(|known| *known != address);
            observed.push(address.clone());
            let surplus = observed.len().saturating_sub(OBSERVED);
            observed.drain(..surplus);
        }
        self.emit(Event::Observed(address));
    }

    fn on_arrival(&mut self, Arrival { connection, stream }: Arrival) {
        // Closed already: so is the stream.
        let Some(path) = self.shared().paths.get(connection).cloned() else { return };
        if !self.policy.permits(&path) {
            return tracing::debug!(%connection, "inbound stream reset: not on a path like this");
        }
        if self.incoming.try_send(Incoming { peer: path.peer, path, stream }).is_err() {
            self.control.count_dropped();
            tracing::warn!(%connection, "inbound stream reset: too many are waiting");
        }
    }

    fn emit(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failed dial tried, and the innermost reason of each: the outer ones only say "failed to dial".
fn attempts(error: DialError) -> Vec<Attempt> {
    match error {
        DialError::Transport(failures) => failures
            .into_iter()
            .map(|(address, error)| {
                let mut reason = error.to_string();
                let mut cause = error.source();
                while let Some(inner) = cause {
                    reason = inner.to_string();
                    cause = inner.source();
                }
                Attempt { address, reason }
            })
            .collect(),
        other => vec![Attempt { address: Multiaddr::empty(), reason: other.to_string() }],
    }
}
