//! Our connections to relays: when to dial which address, and when a relay is ready to be asked for something.
//!
//! # Why a connection per transport, and why wait for identify
//! DCUtR offers only addresses that somebody observed, as they are known when the relayed connection comes up. A node
//! that joined its relay over TCP alone, or asked for a circuit before identify had answered, has nothing to offer and
//! stays relayed. So a relay is dialled once over each transport it has an address for, and counts as ready when every
//! leg that came up was identified, or a moment after the first was ([`GRACE`]). IPv4 and IPv6 are legs of their own.
//!
//! ```text
//!  (none) ──approach──▶ dialling ──identified──▶ ready ──last leg closed──▶ (none)
//!                          └──every dial failed, or DEADLINE──▶ failed
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::ConnectionId;

/// How long a first identified leg waits for the others.
const GRACE: Duration = Duration::from_millis(500);

/// How long a relay has until a first leg is identified.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the swarm is to do, or what became of a relay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Dial these addresses of the relay as one attempt, and report its id to [`Legs::dialling`].
    Dial { relay: PeerId, addresses: Vec<Multiaddr> },
    /// The relay may be asked now.
    Ready(PeerId),
    /// No leg came up.
    Failed(PeerId),
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
    ready: bool,
    /// While not ready: when to stop waiting.
    until: Instant,
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
                self.relays.insert(relay, Relay { legs: HashMap::new(), ready: false, until: now + DEADLINE });
                let dials = by_transport(addresses);
                self.outputs.extend(dials.into_iter().map(|addresses| Output::Dial { relay, addresses }));
            }
        }
    }

    /// A dial for it is under way.
    pub(crate) fn dialling(&mut self, relay: PeerId, id: ConnectionId) {
        if let Some(relay) = self.relays.get_mut(&relay) {
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
        relay.until = relay.until.min(now + GRACE);
        self.settle(peer);
    }

    /// A dial failed or a connection closed.
    pub(crate) fn gone(&mut self, peer: PeerId, id: ConnectionId) {
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        if relay.legs.remove(&id).is_some() {
            self.settle(peer);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.relays.values().filter(|relay| !relay.ready).map(|relay| relay.until).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let overdue: Vec<_> =
            self.relays.iter().filter(|(_, r)| !r.ready && r.until <= now).map(|(peer, _)| *peer).collect();
        for peer in overdue {
            let identified = self.relays.get(&peer).is_some_and(|r| r.legs.values().any(|l| *l == Leg::Identified));
            self.conclude(peer, identified);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Concludes if nothing is left to wait for.
    fn settle(&mut self, peer: PeerId) {
        let Some(relay) = self.relays.get(&peer) else { return };
        if relay.legs.is_empty() {
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
        } else if self.relays.remove(&peer).is_some_and(|relay| !relay.ready) {
            self.outputs.push_back(Output::Failed(peer));
        }
    }
}

/// One group of addresses a transport and family of addresses; one attempt each, so that no group's success cancels
/// another's: who is seen over IPv6 too can be punched through to over IPv6.
fn by_transport(addresses: &[Multiaddr]) -> Vec<Vec<Multiaddr>> {
    let kind = |address: &Multiaddr| {
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
        let udp = has(|part| matches!(part, Protocol::Udp(_)));
        let six = has(|part| matches!(part, Protocol::Ip6(_) | Protocol::Dns6(_)));
        (udp, six)
    };
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for address in addresses {
        groups.entry(kind(address)).or_default().push(address.clone());
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        legs: Legs,
        relay: PeerId,
        now: Instant,
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    impl World {
        /// A relay with a TCP and a QUIC address, both being dialled as connections 0 and 1.
        fn approaching() -> Self {
            let mut world = Self { legs: Legs::default(), relay: PeerId::random(), now: Instant::now() };
            let addresses: Vec<Multiaddr> =
                ["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"].map(|a| a.parse().unwrap()).into();
            world.legs.approach(world.relay, &addresses, world.now);
            let outputs = world.outputs();
            assert!(matches!(&outputs[..], [Output::Dial { .. }, Output::Dial { .. }]), "{outputs:?}");
            (0..2).for_each(|n| world.legs.dialling(world.relay, id(n)));
            world
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
    fn every_family_of_addresses_is_a_leg() {
        let list = |texts: &[&str]| -> Vec<Multiaddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let groups = by_transport(&list(&[
            "/ip4/192.0.2.1/tcp/1",
            "/ip6/2001:db8::1/tcp/1",
            "/dns4/relay.example/tcp/1",
            "/ip4/192.0.2.1/udp/1/quic-v1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
        ]));
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 1]);
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
        world.identified(0);
        assert_eq!(world.legs.deadline(), Some(world.now + GRACE));
        world.legs.handle_timeout(world.now + GRACE);
        assert_eq!(world.outputs(), [Output::Ready(world.relay)]);
        assert_eq!(world.legs.deadline(), None);
    }

    #[test]
    fn a_relay_nobody_reaches_fails_once_and_may_be_tried_again() {
        let mut world = World::approaching();
        world.legs.gone(world.relay, id(0));
        world.legs.gone(world.relay, id(1));
        assert_eq!(world.outputs(), [Output::Failed(world.relay)]);
        world.legs.approach(world.relay, &["/ip4/192.0.2.1/tcp/1".parse().unwrap()], world.now);
        assert_eq!(world.outputs().len(), 1);
    }

    #[test]
    fn a_relay_that_never_identifies_fails_at_the_deadline() {
        let mut world = World::approaching();
        world.legs.connected(world.relay, id(0));
        world.legs.handle_timeout(world.now + DEADLINE);
        assert_eq!(world.outputs(), [Output::Failed(world.relay)]);
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
