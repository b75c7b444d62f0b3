//! Keeps a circuit reservation on every relay it is given. A state machine: events and `now` in, actions out.
//!
//! ```text
//!  Resting ──due──▶ Approaching ──ready──▶ Asking ──address──▶ Held
//!     ▲                 │failed              │closed, denied,     │closed
//!     └────backoff──────┴────────────────────┴─DEADLINE───────────┘
//! ```
//!
//! # Why by listener id
//! libp2p has no auto-relay: a lost or denied reservation shows as `ListenerClosed`, with no addresses and the reason
//! `Ok(())` when it was denied or the dial failed (rust-libp2p #4745, #4651). Only the listener's id says whose it was.
//! libp2p itself renews at three quarters of a reservation's life; nothing to do here.
//!
//! # Why leave instead of removing the listener
//! libp2p's relay client panics when a relay's answer, also to a renewal, comes in after its listener was removed.
//! A connection's end is in order with its events, so closing the connection is safe.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::{Multiaddr, Protocol};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The first wait after a loss; doubles with every failure in a row.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LAST_WAIT: Duration = Duration::from_secs(60);

/// The same while no relay holds us: nobody finds us then, and it is more likely our own network.
const LAST_WAIT_ALONE: Duration = Duration::from_secs(8);

/// A reservation held this long has proved itself: the next loss starts at [`FIRST_WAIT`] again.
const PROVEN: Duration = Duration::from_secs(60);

/// How long a relay may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the swarm is to do, or what happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Connect to the relay and wait until it is identified; answer with `ready` or `failed`.
    Approach { relay: PeerId, addresses: Vec<Multiaddr> },
    /// Listen on this address; answer with `listening` or `failed`.
    Listen { relay: PeerId, address: Multiaddr },
    /// Close every connection to the relay, which ends the listener too.
    Leave { relay: PeerId },
    /// We can be reached at these addresses now (more may follow in another `Up`).
    Up { relay: PeerId, addresses: Vec<Multiaddr> },
    /// No longer.
    Down { relay: PeerId },
}

/// How far a reservation is, for people to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting before the next attempt.
    Resting,
    /// Connecting to the relay.
    Approaching,
    /// Asked for it.
    Asking,
    /// Held: we can be reached there.
    Held,
}

#[derive(Debug)]
enum Stage {
    Resting { until: Instant },
    Approaching,
    Asking { listener: Option<ListenerId>, until: Instant },
    Held { listener: ListenerId, since: Instant },
}

#[derive(Debug)]
struct Reservation {
    /// The relay's own addresses, each ending with its peer id.
    addresses: Vec<Multiaddr>,
    stage: Stage,
    circuits: Vec<Multiaddr>,
    failures: u32,
}

impl Reservation {
    fn listener(&self) -> Option<ListenerId> {
        match self.stage {
            Stage::Asking { listener, .. } => listener,
            Stage::Held { listener, .. } => Some(listener),
            Stage::Resting { .. } | Stage::Approaching => None,
        }
    }
}

/// The supervisor of all of them.
#[derive(Debug)]
pub(crate) struct Reservations {
    relays: BTreeMap<PeerId, Reservation>,
    outputs: VecDeque<Output>,
    rng: StdRng,
}

impl Reservations {
    /// `seed` is for the jitter only.
    pub(crate) fn new(seed: u64) -> Self {
        Self { relays: BTreeMap::new(), outputs: VecDeque::new(), rng: StdRng::seed_from_u64(seed) }
    }

    /// From now on exactly these relays; a reservation already held on one of them isn't touched.
    pub(crate) fn set(&mut self, relays: BTreeMap<PeerId, Vec<Multiaddr>>, now: Instant) {
        let unwanted: Vec<_> = self.relays.keys().filter(|peer| !relays.contains_key(peer)).copied().collect();
        for peer in unwanted {
            self.drop_relay(peer);
        }
        for (peer, addresses) in relays {
            let stage = Stage::Resting { until: now };
            let fresh = Reservation { addresses: Vec::new(), stage, circuits: Vec::new(), failures: 0 };
            self.relays.entry(peer).or_insert(fresh).addresses = addresses;
        }
        self.handle_timeout(now);
    }

    /// The relay is connected and identified.
    pub(crate) fn ready(&mut self, peer: PeerId, now: Instant) {
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        let (Stage::Approaching, Some(address)) = (&relay.stage, relay.addresses.first()) else { return };
        let address = address.clone().with(Protocol::P2pCircuit);
        relay.stage = Stage::Asking { listener: None, until: now + DEADLINE };
        self.outputs.push_back(Output::Listen { relay: peer, address });
    }

    /// The relay can't be reached, or won't be asked.
    pub(crate) fn failed(&mut self, peer: PeerId, now: Instant) {
        if self.relays.get(&peer).is_some_and(|relay| matches!(relay.stage, Stage::Approaching | Stage::Asking { .. }))
        {
            self.rest(peer, now);
        }
    }

    /// The listener that stands for the request.
    pub(crate) fn listening(&mut self, peer: PeerId, id: ListenerId) {
        match self.relays.get_mut(&peer).map(|relay| &mut relay.stage) {
            Some(Stage::Asking { listener, .. }) => *listener = Some(id),
            _ => self.outputs.push_back(Output::Leave { relay: peer }),
        }
    }

    /// The relay granted it: we can be reached at `address`.
    pub(crate) fn address(&mut self, id: ListenerId, address: Multiaddr, now: Instant) {
        let Some((peer, relay)) = self.of(id) else { return };
        if !matches!(relay.stage, Stage::Held { .. }) {
            relay.stage = Stage::Held { listener: id, since: now };
        }
        if !relay.circuits.contains(&address) {
            relay.circuits.push(address);
        }
        let addresses = relay.circuits.clone();
        self.outputs.push_back(Output::Up { relay: peer, addresses });
    }

    /// The listener closed, for whatever reason.
    pub(crate) fn closed(&mut self, id: ListenerId, now: Instant) {
        if let Some((peer, _)) = self.of(id) {
            self.rest(peer, now);
        }
    }

    /// What stood in the way may be gone: asks at once wherever that is waited with, and begins anew to connect.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for relay in self.relays.values_mut() {
            if matches!(relay.stage, Stage::Resting { .. } | Stage::Approaching) {
                (relay.stage, relay.failures) = (Stage::Resting { until: now }, 0);
            }
        }
        self.handle_timeout(now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = |relay: &Reservation| match relay.stage {
            Stage::Resting { until } | Stage::Asking { until, .. } => Some(until),
            Stage::Approaching | Stage::Held { .. } => None,
        };
        self.relays.values().filter_map(due).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (peer, relay) in &mut self.relays {
            match relay.stage {
                Stage::Resting { until } if until <= now => {
                    relay.stage = Stage::Approaching;
                    let addresses = relay.addresses.clone();
                    self.outputs.push_back(Output::Approach { relay: *peer, addresses });
                }
                Stage::Asking { until, .. } if until <= now => {
                    self.outputs.push_back(Output::Leave { relay: *peer });
                    overdue.push(*peer);
                }
                _ => {}
            }
        }
        for peer in overdue {
            self.rest(peer, now);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Every relay, how far it is, and the addresses that lead to us through it.
    pub(crate) fn states(&self) -> impl Iterator<Item = (PeerId, State, &[Multiaddr])> {
        self.relays.iter().map(|(peer, relay)| {
            let state = match relay.stage {
                Stage::Resting { .. } => State::Resting,
                Stage::Approaching => State::Approaching,
                Stage::Asking { .. } => State::Asking,
                Stage::Held { .. } => State::Held,
            };
            (*peer, state, &relay.circuits[..])
        })
    }

    fn of(&mut self, id: ListenerId) -> Option<(PeerId, &mut Reservation)> {
        self.relays.iter_mut().find(|(_, relay)| relay.listener() == Some(id)).map(|(peer, relay)| (*peer, relay))
    }

    fn drop_relay(&mut self, peer: PeerId) {
        let Some(relay) = self.relays.remove(&peer) else { return };
        if !matches!(relay.stage, Stage::Resting { .. }) {
            self.outputs.push_back(Output::Leave { relay: peer });
        }
        if matches!(relay.stage, Stage::Held { .. }) {
            self.outputs.push_back(Output::Down { relay: peer });
        }
    }

    fn rest(&mut self, peer: PeerId, now: Instant) {
        // Half to full of the wait, so that the hosts of a restarted relay don't all come at once.
        let jitter = self.rng.random_range(0.5..1.0);
        let is_held = self.relays.iter().any(|(other, r)| *other != peer && matches!(r.stage, Stage::Held { .. }));
        let last = if is_held { LAST_WAIT } else { LAST_WAIT_ALONE };
        let Some(relay) = self.relays.get_mut(&peer) else { return };
        if let Stage::Held { since, .. } = relay.stage {
            self.outputs.push_back(Output::Down { relay: peer });
            if now.saturating_duration_since(since) >= PROVEN {
                relay.failures = 0;
            }
        }
        let wait = FIRST_WAIT.saturating_mul(1 << relay.failures.min(16)).min(last);
        relay.failures = relay.failures.saturating_add(1);
        relay.circuits.clear();
        relay.stage = Stage::Resting { until: now + wait.mul_f64(jitter) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        reservations: Reservations,
        relay: PeerId,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { reservations: Reservations::new(7), relay: PeerId::random(), now: Instant::now() };
            let wanted = BTreeMap::from([(world.relay, vec![world.address()])]);
            world.reservations.set(wanted, world.now);
            world
        }

        /// The same, and another relay holds us.
        fn beside_another() -> Self {
            let (mut world, other) = (Self::new(), PeerId::random());
            let address: Multiaddr = format!("/ip4/192.0.2.2/tcp/4001/p2p/{other}").parse().unwrap();
            let both = BTreeMap::from([(world.relay, vec![world.address()]), (other, vec![address.clone()])]);
            world.reservations.set(both, world.now);
            world.reservations.ready(other, world.now);
            let id = ListenerId::next();
            world.reservations.listening(other, id);
            world.reservations.address(id, address, world.now);
            world.outputs();
            world
        }

        fn address(&self) -> Multiaddr {
            format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", self.relay).parse().unwrap()
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.reservations.poll()).collect()
        }

        fn approach(&self) -> Output {
            Output::Approach { relay: self.relay, addresses: vec![self.address()] }
        }

        fn leave(&self) -> Output {
            Output::Leave { relay: self.relay }
        }

        /// Goes through to a held reservation.
        fn hold(&mut self) -> ListenerId {
            self.reservations.ready(self.relay, self.now);
            let id = ListenerId::next();
            self.reservations.listening(self.relay, id);
            self.reservations.address(id, self.address(), self.now);
            assert!(matches!(self.outputs().last(), Some(Output::Up { .. })));
            id
        }

        /// Lets the time of the next deadline come; gives how long that took.
        fn wait(&mut self) -> Duration {
            let until = self.reservations.deadline().unwrap();
            let waited = until - self.now;
            self.now = until;
            self.reservations.handle_timeout(self.now);
            waited
        }
    }

    #[test]
    fn a_relay_is_approached_then_asked_then_held() {
        let mut world = World::new();
        assert_eq!(world.outputs(), [world.approach()]);
        world.reservations.ready(world.relay, world.now);
        let address = world.address().with(Protocol::P2pCircuit);
        assert_eq!(world.outputs(), [Output::Listen { relay: world.relay, address }]);
        let id = ListenerId::next();
        world.reservations.listening(world.relay, id);
        world.reservations.address(id, world.address(), world.now);
        assert_eq!(world.outputs(), [Output::Up { relay: world.relay, addresses: vec![world.address()] }]);
        assert_eq!(world.reservations.deadline(), None);
    }

    #[test]
    fn a_lost_reservation_is_asked_for_again() {
        let mut world = World::new();
        let id = world.hold();
        world.reservations.closed(id, world.now);
        assert_eq!(world.outputs(), [Output::Down { relay: world.relay }]);
        world.wait();
        assert_eq!(world.outputs(), [world.approach()]);
    }

    #[test]
    fn a_denied_request_is_told_by_its_listener_alone() {
        let mut world = World::new();
        world.reservations.ready(world.relay, world.now);
        let id = ListenerId::next();
        world.reservations.listening(world.relay, id);
        world.outputs();
        world.reservations.closed(ListenerId::next(), world.now);
        assert_eq!(world.reservations.states().next().unwrap().1, State::Asking, "somebody else's listener");
        world.reservations.closed(id, world.now);
        assert_eq!(world.reservations.states().next().unwrap().1, State::Resting);
        assert_eq!(world.outputs(), [], "it never was up");
    }

    #[test]
    fn waits_double_up_to_a_minute_with_jitter() {
        let mut world = World::beside_another();
        let mut waits = Vec::new();
        for _ in 0..10 {
            world.reservations.failed(world.relay, world.now);
            waits.push(world.wait());
        }
        for (n, wait) in waits.iter().enumerate() {
            let full = Duration::from_secs(1 << n).min(LAST_WAIT);
            assert!(*wait >= full / 2 && *wait <= full, "attempt {n}: {wait:?} of {full:?}");
        }
        assert_ne!(waits[8], waits[9], "jitter");
    }

    #[test]
    fn a_changed_network_ends_every_wait() {
        let mut world = World::new();
        for _ in 0..5 {
            world.reservations.failed(world.relay, world.now);
            world.wait();
        }
        world.reservations.failed(world.relay, world.now);
        world.outputs();
        world.reservations.hurry(world.now);
        assert_eq!(world.outputs(), [world.approach()]);
        world.reservations.failed(world.relay, world.now);
        assert!(world.wait() <= FIRST_WAIT, "what failed before was another network");
    }

    #[test]
    fn who_is_held_nowhere_asks_again_soon() {
        let mut world = World::new();
        for _ in 0..10 {
            world.reservations.failed(world.relay, world.now);
            assert!(world.wait() <= LAST_WAIT_ALONE);
        }
    }

    #[test]
    fn only_a_proven_reservation_resets_the_wait() {
        let mut world = World::new();
        for _ in 0..5 {
            world.reservations.failed(world.relay, world.now);
            world.wait();
        }
        let id = world.hold();
        world.reservations.closed(id, world.now);
        assert!(world.wait() > FIRST_WAIT, "a relay that grants and drops is not hammered");
        let id = world.hold();
        world.now += PROVEN;
        world.reservations.closed(id, world.now);
        assert!(world.wait() <= FIRST_WAIT);
    }

    #[test]
    fn a_relay_that_never_answers_is_given_up_and_asked_later() {
        let mut world = World::new();
        world.reservations.ready(world.relay, world.now);
        let id = ListenerId::next();
        world.reservations.listening(world.relay, id);
        world.outputs();
        assert_eq!(world.wait(), DEADLINE);
        assert_eq!(world.outputs(), [world.leave()]);
        world.reservations.closed(id, world.now);
        world.wait();
        assert_eq!(world.outputs(), [world.approach()]);
    }

    #[test]
    fn a_relay_no_longer_wanted_is_left() {
        let mut world = World::new();
        let id = world.hold();
        world.reservations.set(BTreeMap::new(), world.now);
        assert_eq!(world.outputs(), [world.leave(), Output::Down { relay: world.relay }]);
        world.reservations.closed(id, world.now);
        assert_eq!((world.outputs(), world.reservations.deadline()), (vec![], None));
    }

    #[test]
    fn a_relay_dropped_while_it_was_asked_is_left() {
        let mut world = World::new();
        world.reservations.ready(world.relay, world.now);
        world.reservations.set(BTreeMap::new(), world.now);
        world.outputs();
        world.reservations.listening(world.relay, ListenerId::next());
        assert_eq!(world.outputs(), [world.leave()]);
    }

    #[test]
    fn setting_the_same_relays_again_changes_nothing() {
        let mut world = World::new();
        world.hold();
        world.reservations.set(BTreeMap::from([(world.relay, vec![world.address()])]), world.now);
        assert_eq!(world.outputs(), []);
        assert_eq!(world.reservations.states().next().unwrap().1, State::Held);
    }
}
