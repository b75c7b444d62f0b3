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
mod tests {
    use super::*;

    struct World {
        legs: Legs,
        relay: PeerId,
        now: Instant,
    }

    const WEBSOCKET: &str = "/dns/relay.example/tcp/443/tls/ws";

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    impl World {
        /// A relay with these addresses, being dialled as connections 0 and so on.
        fn with(addresses: &[&str]) -> Self {
            let mut world = Self { legs: Legs::default(), relay: PeerId::random(), now: Instant::now() };
            let addresses: Vec<Multiaddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            world.legs.approach(world.relay, &addresses, world.now);
            world
        }

        /// One with a TCP and a QUIC address, both being dialled as connections 0 and 1.
        fn approaching() -> Self {
            let mut world = Self::with(&["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"]);
            assert_eq!(world.dialled(), 2);
            (0..2).for_each(|n| world.legs.dialling(world.relay, id(n)));
            world
        }

        /// One with WebSocket beside them.
        fn with_a_detour() -> Self {
            let addresses = ["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1", WEBSOCKET];
            let mut world = Self::with(&addresses);
            assert_eq!(world.dialled(), 2, "not WebSocket");
            (0..2).for_each(|n| world.legs.dialling(world.relay, id(n)));
            world
        }

        fn failed(&self) -> Output {
            Output::Failed { relay: self.relay, failures: Vec::new() }
        }

        /// How many dials are asked for, and nothing else is.
        fn dialled(&mut self) -> usize {
            let outputs = self.outputs();
            assert!(outputs.iter().all(|output| matches!(output, Output::Dial { .. })), "{outputs:?}");
            outputs.len()
        }

        /// Whether WebSocket is dialled now, and nothing else.
        fn takes_the_detour(&mut self) -> bool {
            let wanted = Output::Dial { relay: self.relay, addresses: vec![WEBSOCKET.parse().unwrap()] };
            self.outputs() == [wanted]
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.legs.poll()).collect()
        }

        fn identified(&mut self, n: usize) {
            self.legs.connected(self.relay, id(n));
            self.legs.identified(self.relay, id(n), self.now);
        }
    }

    #[test]
    fn a_relay_is_ready_when_every_transport_was_identified() {
        let mut world = World::approaching();
        world.identified(0);
        assert_eq!(world.outputs(), []);
        world.identified(1);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
        world.legs.approach(world.relay, &[], world.now);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)], "and stays so");
    }

    #[test]
    fn after_a_change_of_networks_what_hangs_is_dialled_afresh() {
        let mut world = World::approaching();
        world.legs.forget(false);
        world.legs.approach(world.relay, &["/ip4/192.0.2.1/tcp/1".parse().unwrap()], world.now);
        assert!(matches!(&world.outputs()[..], [Output::Dial { .. }]));
        world.legs.gone(world.relay, id(0));
        assert_eq!(world.outputs(), [], "the end of a forgotten dial means nothing");
        world.legs.dialling(world.relay, id(7));
        world.identified(7);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
        world.legs.forget(false);
        world.legs.approach(world.relay, &[], world.now);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)], "what stands, stands");
        world.legs.forget(true);
        world.legs.approach(world.relay, &["/ip4/192.0.2.1/tcp/1".parse().unwrap()], world.now);
        assert!(matches!(&world.outputs()[..], [Output::Dial { .. }]));
    }

    #[test]
    fn every_family_of_addresses_is_a_leg() {
        let list = |texts: &[&str]| -> Vec<Multiaddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let groups = by_transport(list(&[
            "/ip4/192.0.2.1/tcp/1",
            "/ip6/2001:db8::1/tcp/1",
            "/dns4/relay.example/tcp/1",
            "/ip4/192.0.2.1/udp/1/quic-v1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
        ]));
        assert_eq!(groups.values().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 1]);
    }

    #[test]
    fn a_relay_that_was_given_with_one_address_is_also_dialled_over_what_it_tells() {
        let list = |texts: &[&str]| -> Vec<Multiaddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let mut world = World::with(&["/dns4/relay.example/tcp/4001"]);
        assert_eq!(world.dialled(), 1);
        world.legs.dialling(world.relay, id(0));
        let told = list(&[
            "/dns/relay.example/tcp/443",
            WEBSOCKET,
            "/dns/relay.example/udp/4001/quic-v1",
            "/dns/elsewhere.example/udp/4001/quic-v1",
            "/ip6/2001:db8::1/tcp/4001",
            "/ip6/fd00::1/udp/4001/quic-v1",
        ]);
        let permitted = |address: &Multiaddr| address.to_string().contains("2001");
        world.legs.widen(world.relay, &told, permitted);
        assert_eq!(world.outputs(), [], "not before it is ready");
        world.identified(0);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
        world.legs.widen(world.relay, &told, permitted);
        let dial = |address: &str| Output::Dial { relay: world.relay, addresses: list(&[address]) };
        let wanted = [dial("/ip6/2001:db8::1/tcp/4001"), dial("/dns/relay.example/udp/4001/quic-v1")];
        assert_eq!(world.outputs(), wanted);
        world.legs.widen(world.relay, &told, permitted);
        assert_eq!(world.outputs(), [], "once");
    }

    #[test]
    fn a_transport_that_fails_is_not_waited_for() {
        let mut world = World::approaching();
        world.identified(0);
        world.legs.gone(world.relay, id(1));
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
    }

    #[test]
    fn a_transport_that_hangs_is_waited_for_a_moment_only() {
        let mut world = World::approaching();
        world.now += Duration::from_millis(200);
        world.identified(0);
        let until = world.now + Duration::from_millis(200);
        assert_eq!(world.legs.deadline(), Some(until), "as long again as the first one took");
        world.legs.handle_timeout(until);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
        assert_eq!(world.legs.deadline(), None);
    }

    #[test]
    fn the_detour_is_not_taken_while_another_leg_is_identified() {
        let mut world = World::with_a_detour();
        world.identified(0);
        world.legs.gone(world.relay, id(1));
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
        assert_eq!(world.legs.deadline(), None);
    }

    #[test]
    fn the_detour_is_taken_at_once_when_the_last_other_leg_fails() {
        let mut world = World::with_a_detour();
        world.legs.gone(world.relay, id(0));
        assert_eq!(world.outputs(), []);
        world.legs.gone(world.relay, id(1));
        assert!(world.takes_the_detour());
        world.legs.dialling(world.relay, id(2));
        world.legs.gone(world.relay, id(2));
        assert_eq!(world.outputs(), [world.failed()]);
    }

    #[test]
    fn the_detour_is_taken_when_the_others_hang_and_then_they_are_not_waited_for() {
        let mut world = World::with_a_detour();
        assert_eq!(world.legs.deadline(), Some(world.now + HANG));
        world.legs.handle_timeout(world.now + HANG);
        assert!(world.takes_the_detour());
        world.legs.dialling(world.relay, id(2));
        assert_eq!(world.legs.deadline(), Some(world.now + DEADLINE));
        world.identified(2);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
    }

    #[test]
    fn a_relay_with_websocket_alone_is_dialled_at_once() {
        assert!(World::with(&[WEBSOCKET]).takes_the_detour());
    }

    #[test]
    fn a_dial_that_fails_before_the_next_has_begun_ends_nothing() {
        let mut world = World::with(&["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"]);
        assert_eq!(world.dialled(), 2);
        world.legs.dialling(world.relay, id(0));
        world.legs.gone(world.relay, id(0));
        assert_eq!(world.outputs(), []);
        world.legs.dialling(world.relay, id(1));
        world.identified(1);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
    }

    #[test]
    fn a_relay_nobody_reaches_fails_once_and_may_be_tried_again() {
        let mut world = World::approaching();
        world.legs.gone(world.relay, id(0));
        world.legs.gone(world.relay, id(1));
        assert_eq!(world.outputs(), [world.failed()]);
        world.legs.approach(world.relay, &["/ip4/192.0.2.1/tcp/1".parse().unwrap()], world.now);
        assert_eq!(world.outputs().len(), 1);
    }

    #[test]
    fn it_says_why_each_leg_failed() {
        let mut world = World::approaching();
        let refused = Attempt { address: "/ip4/192.0.2.1/tcp/4001".parse().unwrap(), reason: "refused".into() };
        world.legs.failed(world.relay, id(0), std::slice::from_ref(&refused));
        world.legs.gone(world.relay, id(1));
        assert_eq!(world.outputs(), [Output::Failed { relay: world.relay, failures: vec![refused] }]);
    }

    #[test]
    fn a_relay_that_never_identifies_fails_at_the_deadline() {
        let mut world = World::approaching();
        world.legs.connected(world.relay, id(0));
        world.legs.handle_timeout(world.now + DEADLINE);
        assert_eq!(world.outputs(), [world.failed()]);
    }

    #[test]
    fn a_ready_relay_that_goes_away_is_dialled_afresh() {
        let mut world = World::approaching();
        world.identified(0);
        world.identified(1);
        world.legs.gone(world.relay, id(0));
        world.legs.gone(world.relay, id(1));
        assert_eq!(world.outputs(), [Output::Ready(world.relay)], "no failure: it had been ready");
        world.legs.approach(world.relay, &["/ip4/192.0.2.1/tcp/1".parse().unwrap()], world.now);
        assert_eq!(world.outputs().len(), 1);
    }
}
