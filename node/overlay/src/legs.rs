//! Our connections to relays: when to dial which address, and when a relay is ready to be asked for something.
//!
//! # Why a connection per transport, and why wait for identify
//! DCUtR offers only addresses that somebody observed, as they are known when the relayed connection comes up. A node
//! that joined its relay over TCP alone, or asked for a circuit before identify had answered, has nothing to offer and
//! stays relayed. So a relay is dialled once over each transport it has an address for, and counts as ready when every
//! leg that came up was identified, or a moment after the first was ([`GRACE`]). IPv4 and IPv6 are legs of their own.
//!
//! # Why WebSocket comes later
//! It passes where the others don't, and is worse at everything else: nothing can be punched from it, and where TCP works
//! it would be a second TCP. So it is the detour, taken when every other leg failed or none was identified in time
//! ([`HANG`]; many networks drop what they forbid instead of refusing it), or if the relay has nothing else.
//!
//! ```text
//!  (none) ──approach──▶ dialling ──identified──▶ ready ──last leg closed──▶ (none)
//!                          └──every dial failed, or DEADLINE──▶ failed
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::ConnectionId;

use crate::addresses::is_websocket;
use crate::endpoint::Attempt;

/// How long a first identified leg waits for the others at the most. Commonly less: as long again as it took itself, as
/// TCP needs twice the round trips of QUIC.
const GRACE: Duration = Duration::from_millis(500);
const LEAST_GRACE: Duration = Duration::from_millis(100);

/// How long the other transports have until WebSocket is tried: a handshake over TCP at a round trip of 500 ms.
const HANG: Duration = Duration::from_secs(2);

/// How long a relay has until a first leg is identified.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the swarm is to do, or what became of a relay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Dial these addresses of the relay as one attempt, and report its id to [`Legs::dialling`].
    Dial { relay: PeerId, addresses: Vec<Multiaddr> },
    /// The relay may be asked now.
    Ready(PeerId),
    /// No leg came up; what was tried, and why it failed where that is known.
    Failed { relay: PeerId, failures: Vec<Attempt> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    Dialling,
    Connected,
    Identified,
}

#[derive(Debug)]
struct Relay {
    legs: HashMap<ConnectionId, Leg>,
    /// Dials asked for whose id isn't known yet.
    starting: usize,
    /// What was dialled, whatever came of it.
    kinds: HashSet<Kind>,
    /// The hosts of the addresses that it was approached with.
    hosts: HashSet<Multiaddr>,
    ready: bool,
    /// Its WebSocket addresses, until they are dialled.
    detour: Vec<Multiaddr>,
    /// When to dial them.
    detour_at: Instant,
    /// Whether they were dialled.
    detoured: bool,
    began: Instant,
    /// While not ready: when to stop waiting.
    until: Instant,
    failures: Vec<Attempt>,
}

impl Relay {
    fn new(addresses: &[Multiaddr], detour: Vec<Multiaddr>, now: Instant) -> Self {
        let (detour_at, until) = (now + HANG, now + DEADLINE);
        Self {
            legs: HashMap::new(),
            starting: 0,
            kinds: HashSet::new(),
            hosts: addresses.iter().map(host).collect(),
            ready: false,
            detour,
            detour_at,
            detoured: false,
            began: now,
            until,
            failures: Vec::new(),
        }
    }

    /// When something is to be done though nothing happened.
    fn deadline(&self) -> Option<Instant> {
        let detour_at = if self.detour.is_empty() { self.until } else { self.detour_at };
        (!self.ready).then_some(self.until.min(detour_at))
    }

    fn is_identified(&self) -> bool {
        self.legs.values().any(|leg| *leg == Leg::Identified)
    }
}

/// All relays somebody wants to use.
#[derive(Debug, Default)]
pub(crate) struct Legs {
    relays: HashMap<PeerId, Relay>,
    outputs: VecDeque<Output>,
}

impl Legs {
    /// Somebody wants the relay: answers with `Ready` (at once if it is) or `Failed`.
    pub(crate) fn approach(&mut self, relay: PeerId, addresses: &[Multiaddr], now: Instant) {
        match self.relays.get(&relay) {
            Some(known) if known.ready => self.outputs.push_back(Output::Ready(relay)),
            Some(_) => {}
            None => {
                let (detour, straight): (Vec<_>, Vec<_>) = addresses.iter().cloned().partition(is_websocket);
                self.relays.insert(relay, Relay::new(addresses, detour, now));
                self.dial_each(relay, straight);
                self.settle(relay);
            }
        }
    }

    /// The relay can be reached at these too: if it is ready, it is also dialled over what it wasn't dialled over, to be
    /// seen there. They are its own word: it is taken for hosts that it was approached at, and for what is `permitted`.
    pub(crate) fn widen(&mut self, relay: PeerId, told: &[Multiaddr], permitted: impl Fn(&Multiaddr) -> bool) {
        let Some(known) = self.relays.get(&relay).filter(|known| known.ready) else { return };
        let fits = |address: &&Multiaddr| {
            !is_websocket(address) && (known.hosts.contains(&host(address)) || permitted(address))
        };
        let wider = told.iter().filter(fits).cloned().collect();
        self.dial_each(relay, wider);
    }

    /// The network changed: what is being dialled may hang, and is forgotten; so is what stood, if that is dead too. Whoever
    /// still wants a relay approaches it again.
    pub(crate) fn forget(&mut self, and_ready: bool) {
        self.relays.retain(|_, relay| relay.ready && !and_ready);
    }

    /// A dial for it is under way.
    pub(crate) fn dialling(&mut self, relay: PeerId, id: ConnectionId) {
        if let Some(relay) = self.relays.get_mut(&relay) {
            relay.starting = relay.starting.saturating_sub(1);
            relay.legs.insert(id, Leg::Dialling);
        }
    }

    /// A direct connection to `peer` came up, whoever dialled it.
    pub(crate) fn connected(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(relay) = self.relays.get_mut(&peer) {
            relay.legs.insert(id, Leg::Connected);
        }
    }

    /// identify answered on it.
    pub(crate) fn identified(&mut self, peer: PeerId, id: ConnectionId, now: Instant) {
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        let Some(leg) = relay.legs.get_mut(&id) else { return };
        *leg = Leg::Identified;
        let grace = now.saturating_duration_since(relay.began).clamp(LEAST_GRACE, GRACE);
        relay.until = relay.until.min(now + grace);
        // Now it isn't needed; and if it was taken, whoever hung then isn't waited for any more.
        let detoured = relay.detoured;
        relay.detour.clear();
        if detoured && !relay.ready { self.conclude(peer, true) } else { self.settle(peer) }
    }

    /// A dial failed.
    pub(crate) fn failed(&mut self, peer: PeerId, id: ConnectionId, failures: &[Attempt]) {
        if let Some(relay) = self.relays.get_mut(&peer).filter(|relay| relay.legs.contains_key(&id)) {
            relay.failures.extend_from_slice(failures);
        }
        self.gone(peer, id);
    }

    /// A connection closed.
    pub(crate) fn gone(&mut self, peer: PeerId, id: ConnectionId) {
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        if relay.legs.remove(&id).is_some() {
            self.settle(peer);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.relays.values().filter_map(Relay::deadline).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let overdue = self.relays.iter().filter(|(_, relay)| relay.deadline().is_some_and(|at| at <= now));
        let overdue: Vec<_> = overdue.map(|(peer, relay)| (*peer, relay.until <= now, relay.is_identified())).collect();
        for (peer, is_over, identified) in overdue {
            if is_over { self.conclude(peer, identified) } else { self.take_detour(peer) }
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn take_detour(&mut self, peer: PeerId) {
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        relay.detoured = true;
        let addresses = std::mem::take(&mut relay.detour);
        self.dial(peer, addresses);
    }

    /// One attempt for each kind that wasn't dialled yet.
    fn dial_each(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        for (kind, group) in by_transport(addresses) {
            if self.relays.get_mut(&peer).is_some_and(|relay| relay.kinds.insert(kind)) {
                self.dial(peer, group);
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        relay.starting += 1;
        self.outputs.push_back(Output::Dial { relay: peer, addresses });
    }

    /// Concludes if nothing is left to wait for, or tries what is left.
    fn settle(&mut self, peer: PeerId) {
        let Some(relay) = self.relays.get(&peer) else { return };
        if relay.starting > 0 {
            return;
        }
        if relay.legs.is_empty() && !relay.detour.is_empty() {
            self.take_detour(peer);
        } else if relay.legs.is_empty() {
            self.conclude(peer, false);
        } else if !relay.ready && relay.legs.values().all(|leg| *leg == Leg::Identified) {
            self.conclude(peer, true);
        }
    }

    fn conclude(&mut self, peer: PeerId, ready: bool) {
        if ready {
            if let Some(relay) = self.relays.get_mut(&peer) {
                relay.ready = true;
            }
            self.outputs.push_back(Output::Ready(peer));
        } else if let Some(relay) = self.relays.remove(&peer).filter(|relay| !relay.ready) {
            self.outputs.push_back(Output::Failed { relay: peer, failures: relay.failures });
        }
    }
}

/// A transport and a family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    udp: bool,
    six: bool,
}

impl Kind {
    fn of(address: &Multiaddr) -> Self {
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
        Self {
            udp: has(|part| matches!(part, Protocol::Udp(_))),
            six: has(|part| matches!(part, Protocol::Ip6(_) | Protocol::Dns6(_))),
        }
    }
}

/// One group of addresses a kind; one attempt each, so that no group's success cancels another's: who is seen over IPv6
/// too can be punched through to over IPv6.
fn by_transport(addresses: Vec<Multiaddr>) -> BTreeMap<Kind, Vec<Multiaddr>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for address in addresses {
        groups.entry(Kind::of(&address)).or_default().push(address);
    }
    groups
}

/// The host in an address, however its name is to be resolved.
fn host(address: &Multiaddr) -> Multiaddr {
    match address.iter().next() {
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => Protocol::Dns(name).into(),
        other => other.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
