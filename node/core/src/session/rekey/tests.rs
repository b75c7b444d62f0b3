//! What one side does when the other doesn't keep to the rules, and what the keys hang on.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_bytes::ByteArray;

use super::model::{Peer, World, peer};
use super::*;
use crate::session::record;

const HOUR: Duration = Duration::from_secs(3600);
const FEW: Limits = Limits { frames: 100, bytes: 1 << 20, age: HOUR, grace: 10 };

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(3)
}

fn side(role: Role) -> (Rekey, Instant) {
    let now = Instant::now();
    (peer(role, Limits::PROTOCOL, now).rekey, now)
}

fn say(rekey: &mut Rekey, now: Instant) -> Option<Message> {
    rekey.next(false, now, &mut rng()).unwrap().map(|next| match next {
        Outgoing::Message(message) | Outgoing::Last(message, _) => message,
    })
}

fn share(epoch: u32) -> Share {
    Share::new(epoch, &ephemeral(&mut rng()))
}

/// A phone that has started its first rekey.
fn started() -> (Rekey, Message, Instant) {
    let (mut phone, now) = side(Role::Phone);
    phone.wear();
    let start = say(&mut phone, now).unwrap();
    (phone, start, now)
}

/// A host that has answered, and sent its marker.
fn answered() -> (Rekey, Instant) {
    let (mut host, now) = side(Role::Host);
    host.receive(Message::Rekey(share(1)), now, &mut rng()).unwrap();
    assert!(matches!(say(&mut host, now), Some(Message::Rekeyed(_))));
    assert_eq!(say(&mut host, now), Some(Message::Switch(Epoch { epoch: 1 })));
    (host, now)
}

#[test]
fn nothing_is_said_while_the_keys_are_good() {
    for role in [Role::Phone, Role::Host] {
        let (mut rekey, now) = side(role);
        assert!(!rekey.is_pending());
        assert_eq!(say(&mut rekey, now + HOUR - Duration::from_millis(1)), None);
    }
}

#[test]
fn after_an_hour_the_phone_starts_and_the_host_asks_once() {
    let (mut phone, now) = side(Role::Phone);
    assert!(matches!(say(&mut phone, now + HOUR), Some(Message::Rekey(Share { epoch: 1, .. }))));
    assert_eq!(say(&mut phone, now + HOUR), None);
    let (mut host, now) = side(Role::Host);
    assert_eq!(say(&mut host, now + HOUR), Some(Message::Ask(Epoch { epoch: 0 })));
    assert_eq!(say(&mut host, now + HOUR), None);
    assert!(!host.is_pending());
}

#[test]
fn an_ask_makes_the_phone_start() {
    let (mut phone, now) = side(Role::Phone);
    phone.receive(Message::Ask(Epoch { epoch: 0 }), now, &mut rng()).unwrap();
    assert!(phone.is_pending());
    assert!(matches!(say(&mut phone, now), Some(Message::Rekey(_))));
}

#[test]
fn an_ask_that_crossed_the_start_starts_nothing_more() {
    let (mut phone, _, now) = started();
    phone.receive(Message::Ask(Epoch { epoch: 0 }), now, &mut rng()).unwrap();
    phone.receive(Message::Rekeyed(share(1)), now, &mut rng()).unwrap();
    assert_eq!(say(&mut phone, now), Some(Message::Switch(Epoch { epoch: 1 })));
    assert!(phone.receive(Message::Switch(Epoch { epoch: 1 }), now, &mut rng()).unwrap().is_some());
    assert_eq!(say(&mut phone, now), None);
}

#[test]
fn the_phone_takes_only_what_it_waits_for() {
    let refused = [Message::Rekey(share(1)), Message::Rekeyed(share(1)), Message::Switch(Epoch { epoch: 1 })];
    for message in refused.into_iter().chain([Message::Ask(Epoch { epoch: 1 })]) {
        let (mut phone, now) = side(Role::Phone);
        assert_eq!(phone.receive(message, now, &mut rng()).unwrap_err(), Error::Misplaced, "{message:?}");
    }
    let refused = [Message::Rekey(share(1)), Message::Switch(Epoch { epoch: 1 }), Message::Ask(Epoch { epoch: 1 })];
    for message in refused.into_iter().chain([0, 2].map(|epoch| Message::Rekeyed(share(epoch)))) {
        let (mut phone, _, now) = started();
        assert_eq!(phone.receive(message, now, &mut rng()).unwrap_err(), Error::Misplaced, "{message:?}");
    }
}

#[test]
fn the_host_takes_only_what_it_waits_for() {
    let refused = [Message::Rekeyed(share(1)), Message::Switch(Epoch { epoch: 1 }), Message::Ask(Epoch { epoch: 0 })];
    for message in refused.into_iter().chain([0, 2, u32::MAX].map(|epoch| Message::Rekey(share(epoch)))) {
        let (mut host, now) = side(Role::Host);
        assert_eq!(host.receive(message, now, &mut rng()).unwrap_err(), Error::Misplaced, "{message:?}");
    }
    let refused = [Message::Rekeyed(share(1)), Message::Ask(Epoch { epoch: 1 }), Message::Switch(Epoch { epoch: 2 })];
    for message in refused {
        let (mut host, now) = answered();
        assert_eq!(host.receive(message, now, &mut rng()).unwrap_err(), Error::Misplaced, "{message:?}");
    }
}

#[test]
fn a_replayed_start_is_refused_during_the_rekey_and_after_it() {
    let replayed = Message::Rekey(share(1));
    let (mut host, now) = answered();
    assert_eq!(host.receive(replayed, now, &mut rng()).unwrap_err(), Error::Misplaced);
    let (mut host, now) = answered();
    host.receive(Message::Switch(Epoch { epoch: 1 }), now, &mut rng()).unwrap();
    assert_eq!(host.receive(replayed, now, &mut rng()).unwrap_err(), Error::Misplaced);
}

#[test]
fn a_second_start_before_the_hosts_marker_is_sent_is_refused() {
    let (mut host, now) = side(Role::Host);
    host.receive(Message::Rekey(share(1)), now, &mut rng()).unwrap();
    host.receive(Message::Switch(Epoch { epoch: 1 }), now, &mut rng()).unwrap();
    assert_eq!(host.receive(Message::Rekey(share(2)), now, &mut rng()).unwrap_err(), Error::Misplaced);
}

#[test]
fn after_a_refusal_nothing_is_taken_and_nothing_said() {
    let (mut phone, now) = side(Role::Phone);
    phone.receive(Message::Rekeyed(share(1)), now, &mut rng()).unwrap_err();
    let ask = Message::Ask(Epoch { epoch: 0 });
    assert_eq!(phone.receive(ask, now, &mut rng()).unwrap_err(), Error::Misplaced);
    phone.wear();
    assert_eq!(say(&mut phone, now + HOUR), None);
}

#[test]
fn keys_that_contribute_nothing_are_refused() {
    // The point of order 1, and one of order 8 (RFC 7748 §6.1: the result is all zero).
    let order_8: [u8; 32] =
        crate::vectors::unhex_array("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    for key in [[0; 32], order_8].map(ByteArray::new) {
        let (mut host, now) = side(Role::Host);
        let start = Message::Rekey(Share { epoch: 1, key });
        assert_eq!(host.receive(start, now, &mut rng()).unwrap_err(), Error::Degenerate);
        let (mut phone, _, now) = started();
        let answer = Message::Rekeyed(Share { epoch: 1, key });
        assert_eq!(phone.receive(answer, now, &mut rng()).unwrap_err(), Error::Degenerate);
    }
}

#[test]
fn keys_a_tenth_too_old_end_the_path() {
    for role in [Role::Phone, Role::Host] {
        let (mut rekey, now) = side(role);
        assert!(say(&mut rekey, now + HOUR).is_some());
        assert!(rekey.next(false, now + HOUR * 11 / 10 - Duration::from_millis(1), &mut rng()).is_ok());
        assert_eq!(rekey.next(false, now + HOUR * 11 / 10, &mut rng()).unwrap_err(), Error::Overdue);
    }
}

#[test]
fn a_peer_that_keeps_its_old_key_is_closed_too() {
    let (mut host, now) = answered();
    assert_eq!(host.next(false, now + HOUR * 11 / 10, &mut rng()).unwrap_err(), Error::Overdue);
}

#[test]
fn the_age_counts_from_when_the_keys_were_made() {
    let (mut host, now) = answered();
    host.receive(Message::Switch(Epoch { epoch: 1 }), now + HOUR / 2, &mut rng()).unwrap();
    assert_eq!(say(&mut host, now + HOUR), Some(Message::Ask(Epoch { epoch: 1 })));
}

#[test]
fn a_phone_that_never_answers_the_ask_is_closed_a_tenth_beyond_the_limit() {
    let now = Instant::now();
    let Peer { mut rekey, mut sealer, .. } = peer(Role::Host, FEW, now);
    let mut asked = 0;
    let ended = (0..1000).map(|_| {
        asked += usize::from(rekey.next(sealer.is_worn(), now, &mut rng()).unwrap().is_some());
        sealer.seal(b"x")
    });
    assert_eq!(ended.take_while(Result::is_ok).count(), 110);
    assert_eq!(sealer.seal(b"x"), Err(record::Error::Exhausted));
    assert_eq!(asked, 1);
}

#[test]
fn both_sides_make_the_same_keys_and_every_epoch_its_own() {
    let mut world = World::new(Limits::PROTOCOL);
    let mut roots = vec![world.phone.rekey.root.secret.clone()];
    for epoch in 1..=4 {
        world.phone.rekey.wear();
        world.settle();
        assert_eq!((world.phone.rekey.epoch(), world.host.rekey.epoch()), (epoch, epoch));
        assert_eq!(world.phone.rekey.root.secret, world.host.rekey.root.secret);
        assert!(!roots.contains(&world.phone.rekey.root.secret));
        roots.push(world.phone.rekey.root.secret.clone());
    }
}

fn derived(exchange: u8, change: impl Fn(&mut Root, &mut u32, &mut [u8; 32], &mut [u8; 32])) -> [Vec<u8>; 5] {
    let mut root = peer(Role::Phone, Limits::PROTOCOL, Instant::now()).rekey.root;
    let (mut epoch, mut phone, mut host) = (1, [1; 32], [2; 32]);
    change(&mut root, &mut epoch, &mut phone, &mut host);
    let next = root.ratchet(&[exchange; 32], epoch, &Shares { phone: &phone, host: &host });
    let (up, down) = (next.phone_to_host(epoch), next.host_to_phone(epoch));
    [root.secret.to_vec(), up.key.to_vec(), down.key.to_vec(), up.iv.to_vec(), down.iv.to_vec()]
}

/// An old root alone gives nothing: each key hangs on the exchange as well, and on every field of both messages.
#[test]
fn new_keys_hang_on_the_old_root_the_exchange_and_both_messages() {
    let all = [
        derived(9, |_, _, _, _| ()),
        derived(8, |_, _, _, _| ()),
        derived(9, |root, _, _, _| root.secret[0] ^= 1),
        derived(9, |_, epoch, _, _| *epoch = 2),
        derived(9, |_, _, phone, _| phone[31] ^= 1),
        derived(9, |_, _, _, host| host[31] ^= 1),
        derived(9, |_, _, phone, host| std::mem::swap(phone, host)),
        derived(9, |root, _, _, _| std::mem::swap(&mut root.phone, &mut root.host)),
        derived(9, |root, _, _, _| root.phone = root.host),
        derived(9, |root, _, _, _| root.host = root.phone),
    ];
    let values: Vec<_> = all.iter().flatten().collect();
    let different: std::collections::HashSet<_> = values.iter().collect();
    assert_eq!(different.len(), values.len());
}
