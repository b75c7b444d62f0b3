//! The decision who may connect: peers, sources and `now` in; standing, refusals and connections to close out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

use farhelm_core::identity::NodeId;
use libp2p::PeerId;
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::{Admission, Limits, Refusal};
use crate::addresses;

/// Connections a stranger may hold. A phone dials its circuit, TCP and QUIC at once and keeps the one that came up first
/// on its side, which needn't be the first on ours: with one alone the two could each close what the other keeps.
const STRANGER_SHARE: usize = 3;

/// Connections somebody vouched for may hold: as many again, for a phone whose network changed while the desk decides.
const VOUCHED_SHARE: usize = 2 * STRANGER_SHARE;

/// Revoked devices whose last visit is remembered; beyond it the oldest is forgotten.
const VISITS: usize = 1024;

/// Connections that a revoked device may make in one visit. A phone dials its circuits, TCP and QUIC at once, and which
/// of them it speaks on is its choice: with one alone it would meet a closed door more often than its tombstone.
const CONNECTIONS_A_VISIT: u32 = 6;

/// What a connected peer is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Known,
    Vouched,
    Stranger,
    Revoked,
}

/// Where a connection comes from, for the caps on strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Subscriber(IpAddr),
    Relay(PeerId),
    Elsewhere,
}

impl Source {
    pub(super) fn of(local: &Multiaddr, remote: &Multiaddr) -> Self {
        match (addresses::relay(local), addresses::ip(remote)) {
            (Some((relay, _)), _) => Self::Relay(relay),
            (None, Some(ip)) => Self::Subscriber(addresses::subscriber(ip)),
            (None, None) => Self::Elsewhere,
        }
    }
}

#[derive(Debug)]
struct Guest {
    peer: NodeId,
    source: Source,
    standing: Standing,
    outbound: bool,
    until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Visit {
    since: Instant,
    connections: u32,
}

/// What follows from a change: connections to close, and those whose peer has become known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) close: Vec<ConnectionId>,
    pub(super) promote: Vec<ConnectionId>,
}

/// The state behind the decisions.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    /// None: nobody is filtered.
    admission: Option<Admission>,
    /// The relays this node was given to hold reservations on.
    relays: HashSet<NodeId>,
    vouched: HashSet<NodeId>,
    guests: HashMap<ConnectionId, Guest>,
    visits: HashMap<NodeId, Visit>,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            admission: None,
            relays: HashSet::new(),
            vouched: HashSet::new(),
            guests: HashMap::new(),
            visits: HashMap::new(),
        }
    }

    /// Judges an inbound connection; one that is let in is remembered until [`Self::closed`].
    pub(super) fn inbound(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        source: Source,
        now: Instant,
    ) -> Result<Standing, Refusal> {
        let peer = NodeId::from_peer_id(&peer).map_err(|_| Refusal::ForeignKey)?;
        let standing = self.standing(peer).ok_or(Refusal::Unknown)?;
        match standing {
            Standing::Known => {}
            Standing::Vouched => self.check_share(peer, VOUCHED_SHARE)?,
            Standing::Stranger => self.check_stranger(peer, source)?,
            Standing::Revoked => self.check_visit(peer, now)?,
        }
        let timed = matches!(standing, Standing::Stranger | Standing::Revoked);
        let until = timed.then(|| now + self.limits.stranger);
        self.guests.insert(id, Guest { peer, source, standing, outbound: false, until });
        Ok(standing)
    }

    /// Judges a connection we dialled: anybody but a revoked device.
    pub(super) fn outbound(&mut self, id: ConnectionId, peer: PeerId) -> Result<(), Refusal> {
        let peer = NodeId::from_peer_id(&peer).map_err(|_| Refusal::ForeignKey)?;
        if self.admission.as_ref().is_some_and(|a| a.revoked.contains(&peer)) {
            return Err(Refusal::Revoked);
        }
        let guest = Guest { peer, source: Source::Elsewhere, standing: Standing::Known, outbound: true, until: None };
        self.guests.insert(id, guest);
        Ok(())
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.guests.remove(&id);
    }

    /// Takes the new state; whoever lost their standing by it is to be closed at once.
    pub(super) fn set_admission(&mut self, admission: Option<Admission>) -> Change {
        let before = std::mem::replace(&mut self.admission, admission);
        if !self.admission.as_ref().is_some_and(|a| a.offer_open) {
            self.vouched.clear();
        }
        // Who was paired again since its last visit may be told at once when it is removed again.
        let still_revoked = |peer: &NodeId| self.admission.as_ref().is_some_and(|a| a.revoked.contains(peer));
        self.visits.retain(|peer, _| still_revoked(peer));
        let was_listed =
            |peer: &NodeId| before.as_ref().is_some_and(|a| a.paired.contains(peer) || a.relays.contains(peer));
        let dropped: HashSet<_> = self.guests.values().map(|g| g.peer).filter(was_listed).collect();
        self.review(|peer| dropped.contains(&peer))
    }

    /// Takes the relays this node keeps reservations on.
    pub(super) fn set_relays(&mut self, relays: HashSet<NodeId>) -> Change {
        self.relays = relays;
        self.review(|_| false)
    }

    /// The peer's proof verified: it may stay until the offer ends.
    pub(super) fn vouch(&mut self, peer: NodeId) {
        if self.admission.as_ref().is_some_and(|a| a.offer_open) {
            self.vouched.insert(peer);
        }
        for guest in self.guests.values_mut().filter(|g| g.peer == peer && g.standing == Standing::Stranger) {
            (guest.standing, guest.until) = (Standing::Vouched, None);
        }
    }

    /// Takes back a vouch; gives every connection of the peer.
    pub(super) fn expel(&mut self, peer: NodeId) -> Vec<ConnectionId> {
        self.vouched.remove(&peer);
        self.guests.iter().filter(|(_, g)| g.peer == peer).map(|(id, _)| *id).collect()
    }

    /// When the next guest's time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.guests.values().filter_map(|g| g.until).min()
    }

    /// Gives, once, the connections whose time is up.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<ConnectionId> {
        let expired = self.guests.iter_mut().filter(|(_, g)| g.until.is_some_and(|until| until <= now));
        expired
            .map(|(id, guest)| {
                guest.until = None;
                *id
            })
            .collect()
    }

    fn standing(&self, peer: NodeId) -> Option<Standing> {
        let Some(admission) = &self.admission else { return Some(Standing::Known) };
        let stranger = if self.vouched.contains(&peer) { Standing::Vouched } else { Standing::Stranger };
        // While a ticket is out it may be theirs, to pair again: they get what any stranger gets.
        if admission.revoked.contains(&peer) {
            return Some(if admission.offer_open { stranger } else { Standing::Revoked });
        }
        let listed = admission.paired.contains(&peer) || admission.relays.contains(&peer);
        let dialled = || self.guests.values().any(|g| g.peer == peer && g.outbound);
        if listed || self.relays.contains(&peer) || dialled() {
            return Some(Standing::Known);
        }
        admission.offer_open.then_some(stranger)
    }

    /// Looks at every guest again. `dropped`: who was listed before, so that even our own dialling doesn't hold it.
    fn review(&mut self, dropped: impl Fn(NodeId) -> bool) -> Change {
        let mut change = Change::default();
        let listed = |peer| match &self.admission {
            None => true,
            Some(a) => a.paired.contains(&peer) || a.relays.contains(&peer) || self.relays.contains(&peer),
        };
        let verdicts: Vec<_> = self
            .guests
            .iter()
            .map(|(id, g)| match self.standing(g.peer) {
                Some(Standing::Known) if dropped(g.peer) && !listed(g.peer) => (*id, None),
                standing => (*id, standing),
            })
            .collect();
        for (id, standing) in verdicts {
            let Some(guest) = self.guests.get_mut(&id) else { continue };
            match (guest.standing, standing) {
                (before, Some(after)) if before == after => {}
                (_, Some(Standing::Known)) => {
                    (guest.standing, guest.until) = (Standing::Known, None);
                    change.promote.push(id);
                }
                // Who came for its tombstone goes on as who may pair; its time runs on.
                (Standing::Revoked, Some(after)) => guest.standing = after,
                // Whatever was told a known peer can't be untold on the same connection; it may come back as a guest.
                _ => change.close.push(id),
            }
        }
        change
    }

    fn check_share(&self, peer: NodeId, share: usize) -> Result<(), Refusal> {
        let held = self.guests.values().filter(|g| g.peer == peer).count();
        if held < share { Ok(()) } else { Err(Refusal::Share) }
    }

    fn check_stranger(&self, peer: NodeId, source: Source) -> Result<(), Refusal> {
        self.check_share(peer, STRANGER_SHARE)?;
        let strangers = || self.guests.values().filter(|g| g.standing == Standing::Stranger);
        if strangers().count() >= self.limits.strangers {
            return Err(Refusal::Strangers);
        }
        if strangers().filter(|g| g.source == source).count() >= self.limits.strangers_per_source {
            return Err(Refusal::Source);
        }
        Ok(())
    }

    fn check_visit(&mut self, peer: NodeId, now: Instant) -> Result<(), Refusal> {
        let interval = self.limits.tombstone_interval;
        self.visits.retain(|_, visit| now.saturating_duration_since(visit.since) < interval);
        if let Some(visit) = self.visits.get_mut(&peer) {
            visit.connections += 1;
            let goes_on = now.saturating_duration_since(visit.since) < self.limits.stranger;
            let allowed = goes_on && visit.connections <= CONNECTIONS_A_VISIT;
            return if allowed { Ok(()) } else { Err(Refusal::Revoked) };
        }
        if self.visits.len() >= VISITS
            && let Some(oldest) = self.visits.iter().min_by_key(|(_, visit)| visit.since).map(|(peer, _)| *peer)
        {
            self.visits.remove(&oldest);
        }
        self.visits.insert(peer, Visit { since: now, connections: 1 });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
