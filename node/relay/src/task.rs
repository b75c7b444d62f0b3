//! The task that owns the relay's swarm: counts what goes on and tells of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_overlay::probe::{Event as Probed, Finding};
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, relay};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::ledger::Ledger;
use crate::relay::{Event, Status, lock};
use crate::swarm::{Behaviour, BehaviourEvent};

/// How long a peer's connections get to answer when it reserves anew.
const STALE: Duration = Duration::from_secs(2);

/// How long connections get to close at shutdown.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Its state.
pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    ledger: Arc<Mutex<Ledger>>,
    status: Arc<Mutex<Status>>,
    events: broadcast::Sender<Event>,
    /// How many circuits each pair has. libp2p may say twice that one closed (once for each end's connection).
    circuits: HashMap<(PeerId, PeerId), usize>,
    /// Events to send once the status agrees with them.
    said: Vec<Event>,
    /// Looks after the certificate; it ends with this task.
    _renewal: Option<AbortOnDropHandle<()>>,
}

impl Task {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        ledger: Arc<Mutex<Ledger>>,
        status: Arc<Mutex<Status>>,
        events: broadcast::Sender<Event>,
        renewal: Option<AbortOnDropHandle<()>>,
    ) -> Self {
        Self { swarm, ledger, status, events, circuits: HashMap::new(), said: Vec::new(), _renewal: renewal }
    }

    /// Runs until told to stop or until no handle is left.
    pub(crate) async fn run(mut self, mut stop: mpsc::Receiver<oneshot::Sender<()>>) {
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
            SwarmEvent::Behaviour(BehaviourEvent::Probe(Probed { peer, connection, finding: Finding::Silent })) => {
                tracing::debug!(%connection, "closing a connection that doesn't answer");
                if self.swarm.close_connection(connection) {
                    self.emit(peer, |peer| Event::ConnectionSilent { peer });
                }
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
                if !renewed {
                    self.ask_all_of(src_peer_id);
                }
                self.emit(src_peer_id, |peer| Event::ReservationAccepted { peer, renewed });
            }
            relay::Event::ReservationReqDenied { src_peer_id, status } => {
                // Perhaps as its dead ones hold all that it may have.
                self.ask_all_of(src_peer_id);
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

    /// A peer that reserves on a new connection has often lost the old one without either side hearing of it, and libp2p
    /// puts circuits on any connection that the peer reserved on: on the dead one for ever, if that is what it picked.
    fn ask_all_of(&mut self, peer: PeerId) {
        self.swarm.behaviour_mut().probe.probe_peer(peer, STALE);
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
