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
mod tests {
    use std::time::Duration;

    use farhelm_core::identity::Identity;

    use super::*;

    fn node(seed: u8) -> NodeId {
        Identity::from_seed(&[seed; 32]).node_id()
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn from(n: u8) -> Source {
        Source::Subscriber([192, 0, 2, n].into())
    }

    fn paired(seeds: &[u8]) -> Admission {
        Admission { paired: seeds.iter().map(|s| node(*s)).collect(), ..Admission::default() }
    }

    fn gate(admission: Admission) -> (Gate, Instant) {
        let mut gate = Gate::new(Limits::default());
        gate.set_admission(Some(admission));
        (gate, Instant::now())
    }

    fn offer() -> (Gate, Instant) {
        gate(Admission { offer_open: true, ..paired(&[]) })
    }

    fn arrive(gate: &mut Gate, n: usize, seed: u8, now: Instant) -> Result<Standing, Refusal> {
        gate.inbound(id(n), node(seed).to_peer_id(), from(seed), now)
    }

    #[test]
    fn without_a_filter_anybody_is_known() {
        let mut gate = Gate::new(Limits::default());
        assert_eq!(arrive(&mut gate, 1, 1, Instant::now()), Ok(Standing::Known));
    }

    #[test]
    fn relays_and_paired_are_known_and_others_refused() {
        let (mut gate, now) = gate(Admission { relays: [node(2)].into(), ..paired(&[1]) });
        gate.set_relays([node(3)].into());
        for seed in [1, 2, 3] {
            assert_eq!(arrive(&mut gate, seed.into(), seed, now), Ok(Standing::Known));
        }
        assert_eq!(arrive(&mut gate, 4, 4, now), Err(Refusal::Unknown));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn a_key_that_is_not_ed25519_is_refused() {
        let (mut gate, now) = offer();
        let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert_eq!(gate.inbound(id(1), rsa, from(1), now), Err(Refusal::ForeignKey));
        assert_eq!(gate.outbound(id(1), rsa), Err(Refusal::ForeignKey));
    }

    #[test]
    fn a_stranger_gets_a_connection_for_each_way_it_dials() {
        let (mut gate, now) = offer();
        for n in 1..=STRANGER_SHARE {
            assert_eq!(arrive(&mut gate, n, 1, now), Ok(Standing::Stranger));
        }
        assert_eq!(arrive(&mut gate, 9, 1, now), Err(Refusal::Share));
        gate.closed(id(1));
        assert_eq!(arrive(&mut gate, 9, 1, now), Ok(Standing::Stranger));
    }

    #[test]
    fn a_stranger_gets_ten_seconds() {
        let (mut gate, now) = offer();
        assert_eq!(arrive(&mut gate, 1, 1, now), Ok(Standing::Stranger));
        assert_eq!(gate.deadline(), Some(now + Duration::from_secs(10)));
        assert_eq!(gate.expired(now + Duration::from_millis(9_999)), []);
        assert_eq!(gate.expired(now + Duration::from_secs(10)), [id(1)]);
        assert_eq!(gate.expired(now + Duration::from_secs(10)), [], "told once");
    }

    #[test]
    fn a_vouched_stranger_stays_until_the_offer_ends() {
        let (mut gate, now) = offer();
        arrive(&mut gate, 1, 1, now).unwrap();
        gate.vouch(node(1));
        assert_eq!(gate.deadline(), None);
        for n in 2..=VOUCHED_SHARE {
            assert_eq!(arrive(&mut gate, n, 1, now), Ok(Standing::Vouched));
        }
        assert_eq!(arrive(&mut gate, 9, 1, now), Err(Refusal::Share));
        let change = gate.set_admission(Some(paired(&[])));
        assert_eq!(change.close.len(), VOUCHED_SHARE);
        let (mut reopened, _) = offer();
        assert_eq!(arrive(&mut reopened, 4, 1, now), Ok(Standing::Stranger), "a vouch is for one offer");
    }

    #[test]
    fn a_stranger_that_becomes_paired_is_promoted_as_the_offer_closes() {
        let (mut gate, now) = offer();
        arrive(&mut gate, 1, 1, now).unwrap();
        arrive(&mut gate, 2, 2, now).unwrap();
        let change = gate.set_admission(Some(paired(&[1])));
        assert_eq!(change, Change { promote: vec![id(1)], close: vec![id(2)] });
        assert_eq!(gate.expired(now + Duration::from_secs(60)), [id(2)], "until the swarm says it is closed");
    }

    #[test]
    fn strangers_are_capped_in_all_and_by_source() {
        let (mut gate, now) = offer();
        let mut arrive = |n: u8, source| gate.inbound(id(n.into()), node(n).to_peer_id(), from(source), now);
        for n in 0..4 {
            assert_eq!(arrive(n, 1), Ok(Standing::Stranger));
        }
        assert_eq!(arrive(4, 1), Err(Refusal::Source));
        for n in 5..9 {
            assert_eq!(arrive(n, n), Ok(Standing::Stranger));
        }
        assert_eq!(arrive(9, 9), Err(Refusal::Strangers));
        gate.closed(id(0));
        assert_eq!(gate.inbound(id(10), node(10).to_peer_id(), from(1), now), Ok(Standing::Stranger));
    }

    #[test]
    fn a_revoked_device_comes_once_a_minute_even_if_listed_as_paired() {
        let (mut gate, now) = gate(Admission { revoked: [node(1)].into(), ..paired(&[1]) });
        assert_eq!(arrive(&mut gate, 1, 1, now), Ok(Standing::Revoked));
        assert_eq!(gate.expired(now + Duration::from_secs(10)), [id(1)]);
        gate.closed(id(1));
        assert_eq!(arrive(&mut gate, 2, 1, now + Duration::from_secs(59)), Err(Refusal::Revoked));
        assert_eq!(arrive(&mut gate, 3, 1, now + Duration::from_secs(60)), Ok(Standing::Revoked));
        assert_eq!(gate.outbound(id(4), node(1).to_peer_id()), Err(Refusal::Revoked));
    }

    #[test]
    fn a_visit_of_a_revoked_device_is_a_few_connections() {
        let (mut gate, now) = gate(Admission { revoked: [node(1)].into(), ..paired(&[]) });
        let visit: Vec<_> = (0..10).map(|n| arrive(&mut gate, n, 1, now).is_ok()).collect();
        assert_eq!(visit.iter().filter(|taken| **taken).count(), CONNECTIONS_A_VISIT as usize);
        assert!(visit.is_sorted_by(|a, b| a >= b), "the first ones");
    }

    #[test]
    fn a_revoked_device_pairs_again_while_an_offer_is_open_as_any_stranger() {
        let revoked = |offer_open| Admission { revoked: [node(1)].into(), offer_open, ..paired(&[]) };
        let (mut gate, now) = gate(revoked(false));
        assert_eq!(arrive(&mut gate, 1, 1, now), Ok(Standing::Revoked));
        // Long after its visit is over, and long before its next one.
        assert_eq!(gate.set_admission(Some(revoked(true))), Change::default());
        let later = now + Duration::from_secs(30);
        assert_eq!(arrive(&mut gate, 2, 1, later), Ok(Standing::Stranger));
        gate.vouch(node(1));
        assert_eq!(gate.expired(later + Duration::from_secs(60)), [], "while a person compares the words");
        let mut change = gate.set_admission(Some(paired(&[1])));
        change.promote.sort();
        assert_eq!(change, Change { promote: vec![id(1), id(2)], close: vec![] });
    }

    #[test]
    fn a_device_that_was_paired_again_and_is_revoked_again_is_told_at_once() {
        let revoked = || Admission { revoked: [node(1)].into(), ..paired(&[]) };
        let (mut gate, now) = gate(revoked());
        for n in 0..10 {
            let _ = arrive(&mut gate, n, 1, now);
            gate.closed(id(n));
        }
        assert_eq!(arrive(&mut gate, 10, 1, now), Err(Refusal::Revoked));
        gate.set_admission(Some(paired(&[1])));
        gate.set_admission(Some(revoked()));
        assert_eq!(arrive(&mut gate, 11, 1, now), Ok(Standing::Revoked));
    }

    #[test]
    fn revocation_closes_connections_in_both_directions() {
        let (mut gate, now) = gate(paired(&[1, 2]));
        arrive(&mut gate, 1, 1, now).unwrap();
        gate.outbound(id(2), node(1).to_peer_id()).unwrap();
        arrive(&mut gate, 3, 2, now).unwrap();
        let mut change = gate.set_admission(Some(Admission { revoked: [node(1)].into(), ..paired(&[2]) }));
        change.close.sort();
        assert_eq!(change, Change { close: vec![id(1), id(2)], promote: vec![] });
    }

    #[test]
    fn a_peer_dropped_from_the_list_is_closed_even_where_we_dialled() {
        let (mut gate, _) = gate(paired(&[1]));
        gate.outbound(id(1), node(1).to_peer_id()).unwrap();
        gate.outbound(id(2), node(2).to_peer_id()).unwrap();
        assert_eq!(gate.set_admission(Some(paired(&[]))).close, [id(1)], "node 2 was never listed: we called it");
    }

    #[test]
    fn whoever_we_dialled_may_dial_back_while_that_connection_lives() {
        let (mut gate, now) = gate(paired(&[]));
        gate.outbound(id(1), node(1).to_peer_id()).unwrap();
        assert_eq!(arrive(&mut gate, 2, 1, now), Ok(Standing::Known));
        gate.closed(id(1));
        assert_eq!(arrive(&mut gate, 3, 1, now), Err(Refusal::Unknown));
    }
}
