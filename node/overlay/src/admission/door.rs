//! The gate's hand on the swarm: refuses, closes, and gives identify, DCUtR and the relay client to known peers only.
//!
//! # Why one wrapper around the three
//! Those behaviours hand out a handler per connection and expect to hear of exactly the connections they made one for
//! (DCUtR and the relay client panic otherwise). So the door holds them, leaves strangers' connections out of
//! everything they hear, and introduces a connection to them when its peer becomes known.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use farhelm_core::identity::NodeId;
use futures::future::Either as FutureEither;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::core::{ConnectedPoint, Endpoint, Multiaddr};
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, ListenUpgradeError};
use libp2p::swarm::handler::{DialUpgradeError, FullyNegotiatedOutbound, SendWrapper};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, dcutr, identify, relay};
use tokio::time::Sleep;

use super::gate::{Change, Gate, Source, Standing};
use super::{Admission, Limits, Refusal};
use crate::addresses;
use crate::surroundings::Surroundings;

/// What only known peers get.
#[derive(NetworkBehaviour)]
pub(crate) struct Details {
    pub(crate) identify: identify::Behaviour,
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) dcutr: Toggle<dcutr::Behaviour>,
}

/// A connection without details, and what it takes to introduce it later. Always inbound.
struct Screened {
    peer: PeerId,
    endpoint: ConnectedPoint,
}

type Inner = THandler<Details>;
type Action = ToSwarm<DetailsEvent, In<Inner>>;

/// The behaviour.
pub(crate) struct Door {
    gate: Gate,
    details: Details,
    screened: HashMap<ConnectionId, Screened>,
    /// Peers of every connection the gate let in.
    peers: HashMap<ConnectionId, PeerId>,
    /// Peers whose connections are kept open without a stream on them.
    kept: HashSet<PeerId>,
    /// Where the connections lead, to judge what their peers claim to have observed.
    remotes: HashMap<ConnectionId, IpAddr>,
    /// Dials of DCUtR's that the swarm hasn't begun, at addresses that the peer named.
    punches: HashSet<ConnectionId>,
    /// An observation that can't be true; identify reports it as a candidate right after.
    disbelieved: Option<IpAddr>,
    refused: u64,
    actions: VecDeque<Action>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Door {
    pub(crate) fn new(limits: Limits, admission: Option<Admission>, details: Details) -> Self {
        let mut gate = Gate::new(limits);
        // Nobody is connected yet, so nothing follows from it.
        gate.set_admission(admission);
        Self {
            gate,
            details,
            screened: HashMap::new(),
            peers: HashMap::new(),
            kept: HashSet::new(),
            remotes: HashMap::new(),
            punches: HashSet::new(),
            disbelieved: None,
            refused: 0,
            actions: VecDeque::new(),
            timer: None,
        }
    }

    /// Takes the new state; connections of whoever lost their standing start closing with this call.
    pub(crate) fn set_admission(&mut self, admission: Option<Admission>) {
        let change = self.gate.set_admission(admission);
        self.apply(change);
    }

    /// Takes the relays to hold reservations on: always admitted, their connections kept open.
    pub(crate) fn set_relays(&mut self, relays: HashSet<NodeId>) {
        let kept: HashSet<_> = relays.iter().map(NodeId::to_peer_id).collect();
        for (id, peer) in &self.peers {
            if kept.contains(peer) != self.kept.contains(peer) {
                self.actions.push_back(notify(*peer, *id, In::Keep(kept.contains(peer))));
            }
        }
        self.kept = kept;
        let change = self.gate.set_relays(relays);
        self.apply(change);
    }

    /// See [`Gate::vouch`].
    pub(crate) fn vouch(&mut self, peer: NodeId) {
        self.gate.vouch(peer);
    }

    /// Closes every connection of `peer`.
    pub(crate) fn expel(&mut self, peer: NodeId) {
        let close = self.gate.expel(peer);
        self.apply(Change { close, promote: Vec::new() });
    }

    /// Connections refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn apply(&mut self, change: Change) {
        for id in change.close {
            self.close(id);
        }
        for id in change.promote {
            if let Err(error) = self.introduce(id) {
                tracing::debug!(connection = %id, %error, "closing a connection that can't be introduced");
                self.close(id);
            }
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get(&id) {
            let connection = CloseConnection::One(id);
            self.actions.push_back(ToSwarm::CloseConnection { peer_id: *peer, connection });
        }
    }

    /// Gives a stranger's connection the details, now that its peer is known.
    fn introduce(&mut self, id: ConnectionId) -> Result<(), ConnectionDenied> {
        let Some(Screened { peer, endpoint }) = self.screened.remove(&id) else { return Ok(()) };
        let ConnectedPoint::Listener { local_addr, send_back_addr } = &endpoint else { return Ok(()) };
        let handler = self.details.handle_established_inbound_connection(id, peer, local_addr, send_back_addr)?;
        self.details.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        self.actions.push_back(notify(peer, id, In::Introduce(Box::new(handler))));
        Ok(())
    }

    fn refuse(&mut self, peer: PeerId, refusal: Refusal) -> ConnectionDenied {
        self.refused += 1;
        // Not louder: strangers decide how often this happens.
        tracing::debug!(%peer, %refusal, "connection refused");
        ConnectionDenied::new(refusal)
    }

    fn admitted(&mut self, id: ConnectionId, peer: PeerId, remote: &Multiaddr, inner: Option<Inner>) -> Handler<Inner> {
        self.peers.insert(id, peer);
        if let Some(ip) = addresses::ip(remote) {
            self.remotes.insert(id, ip);
        }
        Handler { inner, keep: self.kept.contains(&peer) }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.gate.closed(id);
        self.peers.remove(&id);
        self.remotes.remove(&id);
        self.screened.remove(&id);
    }

    /// Lets through what the details say, except candidates nobody could dial.
    fn filter(&mut self, action: ToSwarm<DetailsEvent, THandlerInEvent<Details>>) -> Option<Action> {
        match &action {
            ToSwarm::GenerateEvent(DetailsEvent::Identify(identify::Event::Received {
                connection_id, info, ..
            })) => {
                let observed = addresses::ip(&info.observed_addr);
                // A peer out on the internet can't have seen us at an address of some private network.
                let far = self.remotes.get(connection_id).is_some_and(|ip| addresses::is_global(*ip));
                self.disbelieved = observed.filter(|ip| far && !addresses::is_global(*ip));
            }
            ToSwarm::NewExternalAddrCandidate(address)
                if !addresses::is_plausible_candidate(address)
                    || (self.disbelieved.is_some() && addresses::ip(address) == self.disbelieved) =>
            {
                tracing::debug!(%address, "ignoring an implausible observed address");
                return None;
            }
            // The relay client dials whom we aren't connected to, by the address that we gave it.
            ToSwarm::Dial { opts } if self.peers.values().any(|peer| opts.get_peer_id() == Some(*peer)) => {
                self.punches.insert(opts.connection_id());
            }
            _ => {}
        }
        Some(action.map_in(In::Inner))
    }

    /// Holds a hole punch against what may be dialled at all. What the peer named besides is left out: libp2p lets nobody
    /// change a dial, so this one is denied and another takes its place.
    fn check_punch(
        &mut self,
        peer: Option<PeerId>,
        named: &[Multiaddr],
        role: Endpoint,
    ) -> Result<(), ConnectionDenied> {
        let over_loopback = self.remotes.values().any(IpAddr::is_loopback);
        let worth = Surroundings::now().select(named.iter().cloned(), over_loopback);
        if worth.len() == named.len() {
            return Ok(());
        }
        if let Some(peer) = peer.filter(|_| !worth.is_empty()) {
            let opts = DialOpts::peer_id(peer).addresses(worth).condition(PeerCondition::Always);
            let opts = if role.is_listener() { opts.override_role() } else { opts };
            self.actions.push_back(ToSwarm::Dial { opts: opts.build() });
        }
        self.refused += 1;
        tracing::info!(peer = ?peer, refusal = %Refusal::Address, "hole punch refused");
        Err(ConnectionDenied::new(Refusal::Address))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) {
        while let Some(deadline) = self.gate.deadline() {
            if self.timer.as_ref().is_none_or(|(at, _)| *at != deadline) {
                self.timer = Some((deadline, Box::pin(tokio::time::sleep_until(deadline.into()))));
            }
            let Some((_, sleep)) = &mut self.timer else { return };
            if sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            for id in self.gate.expired(Instant::now().max(deadline)) {
                tracing::debug!(connection = %id, "closing a guest whose time is up");
                self.close(id);
            }
        }
        self.timer = None;
    }
}

fn notify(peer_id: PeerId, id: ConnectionId, event: In<Inner>) -> Action {
    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = Handler<Inner>;
    type ToSwarm = DetailsEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.details.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let verdict = self.gate.inbound(id, peer, Source::of(local, remote), Instant::now());
        let standing = verdict.map_err(|refusal| self.refuse(peer, refusal))?;
        let inner = if standing == Standing::Known {
            Some(self.details.handle_established_inbound_connection(id, peer, local, remote)?)
        } else {
            let endpoint = ConnectedPoint::Listener { local_addr: local.clone(), send_back_addr: remote.clone() };
            self.screened.insert(id, Screened { peer, endpoint });
            None
        };
        Ok(self.admitted(id, peer, remote, inner))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.punches.remove(&id) {
            self.check_punch(peer, addresses, role)?;
        }
        self.details.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gate.outbound(id, peer).map_err(|refusal| self.refuse(peer, refusal))?;
        let inner = self.details.handle_established_outbound_connection(id, peer, address, role, port)?;
        Ok(self.admitted(id, peer, address, Some(inner)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let (about, ended) = match &event {
            FromSwarm::ConnectionEstablished(e) => (Some(e.connection_id), false),
            FromSwarm::AddressChange(e) => (Some(e.connection_id), false),
            FromSwarm::ConnectionClosed(e) => (Some(e.connection_id), true),
            FromSwarm::DialFailure(e) => (Some(e.connection_id), true),
            FromSwarm::ListenFailure(e) => (Some(e.connection_id), true),
            _ => (None, false),
        };
        if !about.is_some_and(|id| self.screened.contains_key(&id)) {
            self.details.on_swarm_event(event);
        }
        if let Some(id) = about.filter(|_| ended) {
            self.forget(id);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.details.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.poll_deadline(cx);
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        while let Poll::Ready(action) = self.details.poll(cx) {
            if let Some(action) = self.filter(action) {
                return Poll::Ready(action);
            }
        }
        Poll::Pending
    }
}

/// What the door tells a connection.
pub(crate) enum In<H: ConnectionHandler> {
    /// For the handler of the details.
    Inner(H::FromBehaviour),
    /// The peer has become known: here are its details.
    Introduce(Box<H>),
    /// Whether the connection stays open without streams.
    Keep(bool),
}

impl<H: ConnectionHandler> fmt::Debug for In<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(event) => event.fmt(f),
            Self::Introduce(_) => f.write_str("Introduce"),
            Self::Keep(keep) => write!(f, "Keep({keep})"),
        }
    }
}

/// The handler of the details, or its absence.
///
/// Unlike libp2p's `Toggle` it may be switched on, so a stream that was negotiating meanwhile can report back to a
/// handler it wasn't made for; such reports are dropped.
pub(crate) struct Handler<H> {
    inner: Option<H>,
    keep: bool,
}

impl<H: ConnectionHandler> ConnectionHandler for Handler<H> {
    type FromBehaviour = In<H>;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = Either<SendWrapper<H::InboundProtocol>, SendWrapper<DeniedUpgrade>>;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = Either<H::InboundOpenInfo, ()>;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        match &self.inner {
            Some(inner) => {
                inner.listen_protocol().map_upgrade(|upgrade| Either::Left(SendWrapper(upgrade))).map_info(Either::Left)
            }
            None => SubstreamProtocol::new(Either::Right(SendWrapper(DeniedUpgrade)), Either::Right(())),
        }
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep || self.inner.as_ref().is_some_and(H::connection_keep_alive)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        self.inner.as_mut().map_or(Poll::Pending, |inner| inner.poll(cx))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.as_mut().map_or(Poll::Ready(None), |inner| inner.poll_close(cx))
    }

    fn on_behaviour_event(&mut self, event: In<H>) {
        match (event, &mut self.inner) {
            (In::Inner(event), Some(inner)) => inner.on_behaviour_event(event),
            (In::Inner(_), None) => tracing::error!("an event for details the connection doesn't have"),
            (In::Introduce(handler), inner) => *inner = Some(*handler),
            (In::Keep(keep), _) => self.keep = keep,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let Some(inner) = &mut self.inner else { return };
        inner.on_connection_event(match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => {
                let (FutureEither::Left(protocol), Either::Left(info)) = (protocol, info) else { return };
                ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
            }
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => {
                let (Either::Left(info), Either::Left(error)) = (info, error) else { return };
                ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error })
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info })
            }
            ConnectionEvent::DialUpgradeError(error) => {
                ConnectionEvent::DialUpgradeError(DialUpgradeError { info: error.info, error: error.error })
            }
            ConnectionEvent::AddressChange(change) => ConnectionEvent::AddressChange(change),
            ConnectionEvent::LocalProtocolsChange(change) => ConnectionEvent::LocalProtocolsChange(change),
            ConnectionEvent::RemoteProtocolsChange(change) => ConnectionEvent::RemoteProtocolsChange(change),
            _ => return,
        });
    }
}
