//! Two peers over a wire that is reliable and in order, with rekeys at every step: nothing is lost, no nonce comes twice.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::identity::Identity;
use crate::session::record::{Opener, Sealer};
use crate::wire::Envelope;

/// Limits so small that most runs pass them several times, and a grace that no run uses up.
const SMALL: Limits = Limits { frames: 12, bytes: 600, age: Duration::from_secs(60), grace: 100_000 };

/// One side with its keys, as a channel holds them.
pub(super) struct Peer {
    pub(super) rekey: Rekey,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    rng: ChaCha20Rng,
    /// Numbers of the data frames that arrived.
    arrived: Vec<u64>,
    sent: u64,
}

/// Both sides, and what is on its way to each.
pub(super) struct World {
    pub(super) phone: Peer,
    pub(super) host: Peer,
    pub(super) to_host: VecDeque<Vec<u8>>,
    pub(super) to_phone: VecDeque<Vec<u8>>,
    pub(super) now: Instant,
    /// Direction, epoch and counter of every frame.
    headers: HashSet<(bool, Vec<u8>)>,
}

pub(super) fn peer(role: Role, limits: Limits, now: Instant) -> Peer {
    let [phone, host] = [1, 2].map(|seed| Identity::from_seed(&[seed; 32]).node_id());
    let (seal, open, seed) = match role {
        Role::Phone => (10, 20, 1),
        Role::Host => (20, 10, 2),
    };
    let mut root = Root::new(role, phone, host, Zeroizing::new([7; 32]));
    let mut sealer = Sealer::new(&[seal; 32], [seal; 12]);
    let mut opener = Opener::new(&[open; 32], [open; 12]);
    root.limit(limits);
    sealer.limit(limits);
    opener.limit(limits);
    let rng = ChaCha20Rng::seed_from_u64(seed);
    Peer { rekey: Rekey::new(root, now), sealer, opener, rng, arrived: Vec::new(), sent: 0 }
}

impl Peer {
    /// What is to be sent before anything else.
    pub(super) fn urgent(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(next) = self.rekey.next(self.sealer.is_worn(), now, &mut self.rng).unwrap() {
            frames.push(match next {
                Outgoing::Message(message) => self.sealer.seal(&Envelope::Rekeying(message).encode()).unwrap(),
                Outgoing::Last(marker, keys) => {
                    self.sealer.seal_last(&Envelope::Rekeying(marker).encode(), &keys).unwrap()
                }
            });
        }
        frames
    }

    fn data(&mut self) -> Vec<u8> {
        self.sent += 1;
        let mut text = vec![0; 40];
        text[..8].copy_from_slice(&self.sent.to_be_bytes());
        self.sealer.seal(&text).unwrap()
    }

    pub(super) fn take(&mut self, frame: &[u8], now: Instant) {
        let plaintext = self.opener.open_frame(frame).unwrap();
        if let Some(number) = plaintext.first_chunk::<8>().filter(|_| plaintext.len() == 40) {
            self.arrived.push(u64::from_be_bytes(*number));
        } else {
            let Envelope::Rekeying(message) = Envelope::decode(&plaintext).unwrap() else { panic!("a rekey message") };
            if let Some(keys) = self.rekey.receive(message, now, &mut self.rng).unwrap() {
                self.opener.switch(&keys).unwrap();
            }
        }
        if self.opener.is_worn() {
            self.rekey.wear();
        }
    }
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let [phone, host] = [Role::Phone, Role::Host].map(|role| peer(role, limits, now));
        let (to_host, to_phone) = (VecDeque::new(), VecDeque::new());
        Self { phone, host, to_host, to_phone, now, headers: HashSet::new() }
    }

    /// One side sends what is urgent, then perhaps some data.
    pub(super) fn send(&mut self, role: Role, data: bool) {
        let (peer, wire) = match role {
            Role::Phone => (&mut self.phone, &mut self.to_host),
            Role::Host => (&mut self.host, &mut self.to_phone),
        };
        let mut frames = peer.urgent(self.now);
        frames.extend(data.then(|| peer.data()));
        for frame in frames {
            let position = frame[..12].to_vec();
            assert!(self.headers.insert((role == Role::Phone, position)), "a nonce came twice");
            wire.push_back(frame);
        }
    }

    /// One frame arrives.
    pub(super) fn deliver(&mut self, role: Role) {
        let (peer, wire) = match role {
            Role::Phone => (&mut self.phone, &mut self.to_phone),
            Role::Host => (&mut self.host, &mut self.to_host),
        };
        if let Some(frame) = wire.pop_front() {
            peer.take(&frame, self.now);
        }
    }

    /// Until nothing is on its way and nobody has more to say.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            self.send(Role::Phone, false);
            self.send(Role::Host, false);
            if self.to_host.is_empty() && self.to_phone.is_empty() {
                return;
            }
            while !self.to_host.is_empty() || !self.to_phone.is_empty() {
                self.deliver(Role::Host);
                self.deliver(Role::Phone);
            }
        }
        panic!("they rekey for ever");
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Data(Role),
    Tick(Role),
    Deliver(Role),
    Wait(u64),
    /// The host's patience ends first.
    HostWears,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Phone), Just(Role::Host)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => role().prop_map(Step::Data),
        2 => role().prop_map(Step::Tick),
        8 => role().prop_map(Step::Deliver),
        1 => (1u64..30).prop_map(Step::Wait),
        1 => Just(Step::HostWears),
    ]
}

fn apply(world: &mut World, step: Step) {
    match step {
        Step::Data(role) => world.send(role, true),
        Step::Tick(role) => world.send(role, false),
        Step::Deliver(role) => world.deliver(role),
        Step::Wait(seconds) => world.now += Duration::from_secs(seconds),
        Step::HostWears => world.host.rekey.wear(),
    }
}

proptest! {
    #[test]
    fn data_arrives_whole_and_in_order_whenever_keys_change(steps in proptest::collection::vec(step(), 0..400)) {
        let mut world = World::new(SMALL);
        for step in &steps {
            apply(&mut world, *step);
        }
        world.settle();
        prop_assert_eq!(&world.host.arrived, &(1..=world.phone.sent).collect::<Vec<_>>());
        prop_assert_eq!(&world.phone.arrived, &(1..=world.host.sent).collect::<Vec<_>>());
        prop_assert_eq!(world.phone.rekey.epoch(), world.host.rekey.epoch());
        prop_assert_eq!(&world.phone.rekey.root.secret, &world.host.rekey.root.secret);
    }
}

#[test]
fn a_busy_hour_brings_many_epochs() {
    let mut world = World::new(SMALL);
    for _ in 0..500 {
        world.send(Role::Phone, true);
        world.send(Role::Host, true);
        world.send(Role::Host, true);
        (0..2).for_each(|_| world.deliver(Role::Host));
        (0..3).for_each(|_| world.deliver(Role::Phone));
    }
    world.settle();
    assert_eq!(world.host.arrived.len(), 500);
    assert_eq!(world.phone.arrived.len(), 1000);
    assert!(world.phone.rekey.epoch() > 30, "{:?}", world.phone.rekey);
}
