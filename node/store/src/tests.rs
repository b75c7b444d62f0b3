//! A world with one store that can be closed and opened again, and the facts about what it keeps.

use std::path::PathBuf;
use std::sync::Barrier;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::{TicketId, TicketSecret, Tombstone};
use farhelm_core::policy::{Folders, Grant, Right, Terms};
use farhelm_core::session::PairingSecret;

use crate::offer::{Error, REMEMBERED, REMEMBERED_MS, Refusal, State, Take};
use crate::{Device, Frozen, FrozenBy, Newcomer, Store};

const NOW: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

struct World {
    dir: tempfile::TempDir,
    store: Option<Store>,
    host: Identity,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(Store::open(&dir.path().join("store")).unwrap());
        Self { dir, store, host: Identity::from_seed(&[200; 32]) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// What follows sees only what is in the file.
    fn reopen(&mut self) -> &Store {
        self.store = None;
        self.store = Some(Store::open(&self.path()).unwrap());
        self.store()
    }

    fn offer(&self, seed: u8) -> TicketId {
        self.offer_on(seed, &Terms::default())
    }

    fn offer_on(&self, seed: u8, terms: &Terms) -> TicketId {
        self.store().open_offer(&secret(seed), NOW + 5 * MINUTE, terms).unwrap()
    }

    fn pair(&self, seed: u8) -> Device {
        self.pair_on(seed, &Terms::default())
    }

    fn pair_on(&self, seed: u8, terms: &Terms) -> Device {
        let ticket = self.offer_on(seed, terms);
        self.store().take_offer(ticket, key(seed), NOW).unwrap();
        self.store().complete_pairing(ticket, &newcomer(seed)).unwrap()
    }

    /// What is given to a phone that comes with this ticket, as the desk is told.
    fn shown(&self, ticket: TicketId, seed: u8) -> Newcomer {
        let shown = self.store().grant_of_offer(ticket, key(seed), Right::Operator).unwrap();
        Newcomer { shown, ..newcomer(seed) }
    }

    fn grant(&self, seed: u8) -> Grant {
        self.store().device(key(seed)).unwrap().unwrap().grant
    }

    fn state(&self, ticket: TicketId) -> State {
        self.store().offer(ticket).unwrap().unwrap().state
    }

    fn tombstone(&self, device: &Device) -> Tombstone {
        Tombstone::sign(&self.host, device.key, NOW)
    }
}

fn secret(seed: u8) -> TicketSecret {
    TicketSecret::from_bytes([seed; 16])
}

fn key(seed: u8) -> NodeId {
    Identity::from_seed(&[seed; 32]).node_id()
}

fn newcomer(seed: u8) -> Newcomer {
    let (secret, now_ms) = (PairingSecret::from_bytes([seed; 32]), NOW + u64::from(seed));
    let (name, shown) = (format!("phone {seed}"), Grant::of(Right::Owner));
    Newcomer { key: key(seed), name, secret, now_ms, shown, otherwise: Right::Operator }
}

/// The one that is paired first.
fn device(seed: u8) -> Device {
    let Newcomer { key, name, secret, now_ms, shown, .. } = newcomer(seed);
    Device { key, name, secret, paired_at_ms: now_ms, last_seen_ms: Some(now_ms), grant: shown }
}

fn guest() -> Grant {
    let folders = Folders::Only(vec!["/srv/a".into(), "/srv/b".into()]);
    Grant { right: Right::Viewer, folders, until_ms: Some(NOW + MINUTE) }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result.unwrap_err() {
        Error::Refused(refusal) => refusal,
        Error::Store(error) => panic!("{error}"),
    }
}

#[test]
fn each_step_of_a_pairing_is_there_after_reopening() {
    let mut world = World::new();
    let ticket = world.offer(1);
    let offer = world.reopen().offer(ticket).unwrap().unwrap();
    assert_eq!((offer.secret, offer.expires_ms, offer.state), (secret(1), NOW + 5 * MINUTE, State::Open));

    assert_eq!(world.store().take_offer(ticket, key(1), NOW).unwrap(), Take::First);
    world.reopen();
    assert_eq!(world.state(ticket), State::Taken { by: key(1), at_ms: NOW });

    world.store().complete_pairing(ticket, &newcomer(1)).unwrap();
    assert_eq!(world.reopen().device(key(1)).unwrap(), Some(device(1)));
    assert_eq!(world.state(ticket), State::Used { by: key(1), at_ms: NOW + 1 });

    assert!(world.store().saw_device(key(1), NOW + MINUTE).unwrap());
    assert_eq!(world.reopen().device(key(1)).unwrap().unwrap().last_seen_ms, Some(NOW + MINUTE));
}

#[test]
fn a_revocation_is_there_after_reopening_until_the_phone_is_paired_again() {
    let mut world = World::new();
    let device = world.pair(1);
    let tombstone = world.tombstone(&device);
    assert_eq!(world.store().revoke(device.key, &tombstone).unwrap(), Some(device.clone()));
    let store = world.reopen();
    assert_eq!((store.device(device.key).unwrap(), store.devices().unwrap()), (None, vec![]));
    let kept = store.tombstone(device.key).unwrap().unwrap();
    assert_eq!(kept.verify(world.host.node_id(), device.key), Ok(()));

    let ticket = world.offer(2);
    world.store().take_offer(ticket, device.key, NOW).unwrap();
    assert!(world.store().tombstone(device.key).unwrap().is_some(), "taking a ticket is not yet a pairing");
    world.store().complete_pairing(ticket, &newcomer(1)).unwrap();
    assert_eq!(world.reopen().tombstone(device.key).unwrap(), None);
    assert_eq!(world.store().device(device.key).unwrap(), Some(device));
}

#[test]
fn who_is_not_paired_cannot_be_revoked_or_seen() {
    let world = World::new();
    let stranger = device(9);
    assert_eq!(world.store().revoke(stranger.key, &world.tombstone(&stranger)).unwrap(), None);
    assert_eq!(world.store().tombstone(stranger.key).unwrap(), None);
    assert!(!world.store().saw_device(stranger.key, NOW).unwrap());
    assert_eq!(world.store().device(stranger.key).unwrap(), None);
}

#[test]
fn a_second_revocation_keeps_the_first_ones_tombstone() {
    let world = World::new();
    let device = world.pair(1);
    let first = world.tombstone(&device);
    world.store().revoke(device.key, &first).unwrap();
    let later = Tombstone::sign(&world.host, device.key, NOW + MINUTE);
    assert_eq!(world.store().revoke(device.key, &later).unwrap(), None);
    assert_eq!(world.store().tombstone(device.key).unwrap(), Some(first));
}

#[test]
fn a_late_completion_does_not_undo_a_revocation() {
    let world = World::new();
    let ticket = world.offer(1);
    world.store().take_offer(ticket, key(1), NOW).unwrap();
    let device = world.store().complete_pairing(ticket, &newcomer(1)).unwrap();
    world.store().revoke(device.key, &world.tombstone(&device)).unwrap();
    let refused = refusal(world.store().complete_pairing(ticket, &newcomer(1)));
    assert_eq!(refused, Refusal::Spent { by: device.key, at_ms: device.paired_at_ms });
    assert_eq!(world.store().device(device.key).unwrap(), None);
    assert!(world.store().tombstone(device.key).unwrap().is_some());
}

#[test]
fn the_first_phone_is_owner_and_later_ones_are_operators() {
    let mut world = World::new();
    let rights = [1, 2, 3].map(|seed| world.pair(seed).grant);
    assert_eq!(rights, [Right::Owner, Right::Operator, Right::Operator].map(Grant::of));
    world.reopen();
    assert_eq!([1, 2, 3].map(|seed| world.grant(seed)), rights);
    // The first is who comes when no phone is paired.
    for seed in [1, 2, 3] {
        let device = world.store().device(key(seed)).unwrap().unwrap();
        world.store().revoke(device.key, &world.tombstone(&device)).unwrap();
    }
    assert_eq!(world.pair(4).grant, Grant::of(Right::Owner));
}

#[test]
fn of_two_first_phones_at_the_same_moment_one_is_owner() {
    for round in 0..20 {
        let world = World::new();
        let newcomers = [1, 2].map(|seed| {
            let ticket = world.offer(seed);
            world.store().take_offer(ticket, key(seed), NOW).unwrap();
            (ticket, world.shown(ticket, seed))
        });
        assert!(newcomers.iter().all(|(_, newcomer)| newcomer.shown == Grant::of(Right::Owner)));
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for (ticket, newcomer) in &newcomers {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    start.wait();
                    world.store().complete_pairing(*ticket, newcomer).unwrap()
                });
            }
        });
        let mut rights = [1, 2].map(|seed| world.grant(seed).right);
        rights.sort();
        assert_eq!(rights, [Right::Operator, Right::Owner], "round {round}");
    }
}

#[test]
fn an_offers_terms_are_given_and_survive_reopening() {
    let mut world = World::new();
    assert_eq!(world.pair_on(1, &guest().into()).grant, guest());
    world.reopen();
    assert_eq!(world.grant(1), guest());
    // What isn't named comes by the rule.
    let until = Terms { right: None, ..guest().into() };
    assert_eq!(world.pair_on(2, &until).grant, Grant { right: Right::Operator, ..guest() });
}

#[test]
fn what_else_a_later_phone_gets_is_the_hosts_to_say() {
    let world = World::new();
    for (seed, right) in [(1, Right::Owner), (2, Right::Viewer), (3, Right::Viewer)] {
        let ticket = world.offer(seed);
        world.store().take_offer(ticket, key(seed), NOW).unwrap();
        let shown = world.store().grant_of_offer(ticket, key(seed), Right::Viewer).unwrap();
        let newcomer = Newcomer { shown, otherwise: Right::Viewer, ..newcomer(seed) };
        assert_eq!(world.store().complete_pairing(ticket, &newcomer).unwrap().grant, Grant::of(right));
    }
    // It says nothing of one that is paired, or for which something is named.
    let again = world.store().open_offer(&secret(9), NOW + MINUTE, &Terms::default()).unwrap();
    assert_eq!(world.store().grant_of_offer(again, key(1), Right::Viewer).unwrap().right, Right::Owner);
    let named = Terms { right: Some(Right::Approver), ..Terms::default() };
    let named = world.store().open_offer(&secret(10), NOW + MINUTE, &named).unwrap();
    assert_eq!(world.store().grant_of_offer(named, key(4), Right::Viewer).unwrap().right, Right::Approver);
}

#[test]
fn a_phone_that_pairs_again_keeps_what_it_has() {
    let world = World::new();
    for (seed, grant) in [(1, Grant::of(Right::Owner)), (2, guest())] {
        world.pair_on(seed, &grant.clone().into());
        let again = world.store().open_offer(&secret(100 + seed), NOW + MINUTE, &Terms::default()).unwrap();
        world.store().take_offer(again, key(seed), NOW).unwrap();
        world.store().complete_pairing(again, &world.shown(again, seed)).unwrap();
        assert_eq!(world.grant(seed), grant);
    }
}

#[test]
fn a_phone_gets_no_more_than_the_desk_was_shown() {
    let world = World::new();
    let owner = world.pair(1);
    let ticket = world.offer(2);
    world.store().take_offer(ticket, key(2), NOW).unwrap();
    let newcomer = world.shown(ticket, 2);
    assert_eq!(newcomer.shown, Grant::of(Right::Operator));
    // While the desk thinks, the only other phone is removed: by the rule the newcomer would now be the first.
    world.store().revoke(owner.key, &world.tombstone(&owner)).unwrap();
    assert_eq!(world.store().complete_pairing(ticket, &newcomer).unwrap().grant, Grant::of(Right::Operator));
}

#[test]
fn a_grant_and_a_name_that_are_set_are_there_after_reopening_and_change_nothing_else() {
    let mut world = World::new();
    let before = world.pair(1);
    assert!(world.store().set_grant(key(1), &guest()).unwrap());
    assert!(world.store().rename_device(key(1), "tablet").unwrap());
    assert_eq!(world.store().device(key(1)).unwrap().unwrap().name, "tablet");
    assert_eq!(
        world.reopen().device(key(1)).unwrap(),
        Some(Device { name: "tablet".into(), grant: guest(), ..before })
    );
    assert!(world.store().saw_device(key(1), NOW + MINUTE).unwrap());
    assert_eq!(world.grant(1), guest());
    assert!(!world.store().set_grant(key(2), &guest()).unwrap(), "it isn't paired");
    assert!(!world.store().rename_device(key(2), "tablet").unwrap(), "nor is there anything to rename");
    let long = Grant { folders: Folders::Only(vec!["/x".repeat(20_000)]), ..guest() };
    assert!(matches!(world.store().set_grant(key(1), &long), Err(crate::Error::TooLong { table: "devices", .. })));
    assert_eq!(world.grant(1), guest());
}

#[test]
fn devices_are_listed_in_the_order_they_were_paired() {
    let world = World::new();
    let devices: Vec<_> = [3, 1, 2].map(|seed| world.pair(seed)).into_iter().collect();
    let listed = world.store().devices().unwrap();
    assert_eq!(listed.len(), 3);
    assert!(listed.is_sorted_by_key(|device| device.paired_at_ms) && devices.iter().all(|d| listed.contains(d)));
}

#[test]
fn a_second_scanner_is_refused_and_the_first_may_come_back() {
    let world = World::new();
    let ticket = world.offer(1);
    assert_eq!(world.store().take_offer(ticket, key(1), NOW).unwrap(), Take::First);
    let spent = Refusal::Spent { by: key(1), at_ms: NOW };
    assert_eq!(refusal(world.store().take_offer(ticket, key(2), NOW + 1)), spent);
    assert_eq!(refusal(world.store().complete_pairing(ticket, &newcomer(2))), spent);
    assert_eq!(world.store().device(key(2)).unwrap(), None);
    assert_eq!(world.store().take_offer(ticket, key(1), NOW + 2).unwrap(), Take::Again);
    assert_eq!(world.state(ticket), State::Taken { by: key(1), at_ms: NOW });
}

#[test]
fn a_used_ticket_is_spent_for_everybody() {
    let world = World::new();
    let device = world.pair(1);
    let ticket = secret(1).ticket_id();
    let spent = Refusal::Spent { by: device.key, at_ms: device.paired_at_ms };
    for by in [1, 2] {
        assert_eq!(refusal(world.store().take_offer(ticket, key(by), NOW)), spent);
    }
    assert_eq!(refusal(world.store().decline_offer(ticket)), spent);
}

#[test]
fn of_two_phones_at_the_same_moment_one_gets_the_ticket() {
    let world = World::new();
    for round in 0..20 {
        let ticket = world.offer(round);
        let start = Barrier::new(4);
        let take = |seed| {
            start.wait();
            world.store().take_offer(ticket, key(seed), NOW)
        };
        let results = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|seed| scope.spawn(move || take(seed))).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect::<Vec<_>>()
        });
        let State::Taken { by, .. } = world.state(ticket) else { panic!("nobody took it") };
        for (seed, result) in (0..4).zip(results) {
            match result {
                Ok(take) => assert_eq!((take, by), (Take::First, key(seed))),
                lost => assert_eq!(refusal(lost), Refusal::Spent { by, at_ms: NOW }),
            }
        }
    }
}

#[test]
fn an_offer_expires_by_the_callers_clock() {
    let world = World::new();
    let ticket = world.offer(1);
    let end = NOW + 5 * MINUTE;
    assert_eq!(refusal(world.store().take_offer(ticket, key(1), end)), Refusal::Expired);
    assert_eq!(world.store().take_offer(ticket, key(1), end - 1).unwrap(), Take::First);
    assert_eq!(refusal(world.store().take_offer(ticket, key(1), end)), Refusal::Expired);
    world.store().complete_pairing(ticket, &newcomer(1)).expect("what was taken in time may be completed late");
}

#[test]
fn declined_and_withdrawn_tickets_stay_void() {
    let mut world = World::new();
    let (declined, withdrawn) = (world.offer(1), world.offer(2));
    world.store().take_offer(declined, key(1), NOW).unwrap();
    world.store().decline_offer(declined).unwrap();
    world.store().withdraw_offer(withdrawn).unwrap();
    world.reopen();
    for (ticket, why) in [(declined, Refusal::Declined), (withdrawn, Refusal::Withdrawn)] {
        assert_eq!(refusal(world.store().take_offer(ticket, key(1), NOW)), why);
        assert_eq!(refusal(world.store().complete_pairing(ticket, &newcomer(1))), why);
    }
    world.store().decline_offer(declined).expect("saying no twice is no error");
    assert_eq!(refusal(world.store().withdraw_offer(declined)), Refusal::Declined);
    assert_eq!(world.store().devices().unwrap(), vec![]);
}

#[test]
fn what_was_not_taken_cannot_be_completed() {
    let world = World::new();
    let ticket = world.offer(1);
    assert_eq!(refusal(world.store().complete_pairing(ticket, &newcomer(1))), Refusal::NotTaken);
    assert_eq!((world.store().device(key(1)).unwrap(), world.state(ticket)), (None, State::Open));
}

#[test]
fn an_unknown_ticket_serves_nobody() {
    let world = World::new();
    let ticket = secret(1).ticket_id();
    let store = world.store();
    assert_eq!(refusal(store.take_offer(ticket, key(1), NOW)), Refusal::Unknown);
    assert_eq!(refusal(store.complete_pairing(ticket, &newcomer(1))), Refusal::Unknown);
    assert_eq!(refusal(store.decline_offer(ticket)), Refusal::Unknown);
    assert_eq!(store.offer(ticket).unwrap(), None);
}

#[test]
fn a_secret_never_opens_a_second_offer() {
    let world = World::new();
    world.pair(1);
    assert_eq!(refusal(world.store().open_offer(&secret(1), NOW + MINUTE, &Terms::default())), Refusal::Repeated);
    assert!(matches!(world.state(secret(1).ticket_id()), State::Used { .. }));
}

#[test]
fn ended_offers_are_remembered_for_a_day_and_then_forgotten() {
    let world = World::new();
    let ticket = world.offer(1);
    world.store().withdraw_offer(ticket).unwrap();
    let end = NOW + 5 * MINUTE + REMEMBERED_MS;
    assert_eq!(world.store().prune_offers(end).unwrap(), 0);
    assert_eq!(refusal(world.store().take_offer(ticket, key(1), end)), Refusal::Withdrawn);
    assert_eq!(world.store().prune_offers(end + 1).unwrap(), 1);
    assert_eq!(refusal(world.store().take_offer(ticket, key(1), end)), Refusal::Unknown);
}

#[test]
fn the_number_of_offers_is_bounded_and_the_first_to_expire_goes() {
    let world = World::new();
    let secret = |number: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        TicketSecret::from_bytes(bytes)
    };
    for number in 0..REMEMBERED + 2 {
        world.store().open_offer(&secret(number), NOW + number as u64, &Terms::default()).unwrap();
    }
    let offers = world.store().offers().unwrap();
    assert_eq!((offers.len(), offers[0].expires_ms), (REMEMBERED, NOW + 2));
    assert_eq!(offers.last().unwrap().secret, secret(REMEMBERED + 1));
}

#[test]
fn the_phone_is_told_less_than_the_desk() {
    use farhelm_core::pairing::Refusal as Coarse;
    let spent = Refusal::Spent { by: key(1), at_ms: NOW };
    let told = [(spent, Coarse::Spent), (Refusal::Expired, Coarse::Expired), (Refusal::Withdrawn, Coarse::Expired)];
    let rest = [(Refusal::Declined, Coarse::Declined), (Refusal::Unknown, Coarse::Unavailable)];
    assert!(told.into_iter().chain(rest).all(|(refusal, coarse)| refusal.coarse() == coarse));
}

#[test]
fn relays_keep_their_order_over_reopening_and_removal() {
    let mut world = World::new();
    for relay in ["/dns/c/tcp/4001", "/dns/a/tcp/4001", "/dns/b/tcp/4001"] {
        assert!(world.store().add_relay(relay).unwrap());
    }
    assert!(!world.store().add_relay("/dns/a/tcp/4001").unwrap());
    assert_eq!(world.reopen().relays().unwrap(), ["/dns/c/tcp/4001", "/dns/a/tcp/4001", "/dns/b/tcp/4001"]);
    assert!(world.store().remove_relay("/dns/c/tcp/4001").unwrap());
    assert!(!world.store().remove_relay("/dns/c/tcp/4001").unwrap());
    assert!(world.reopen().add_relay("/dns/c/tcp/4001").unwrap());
    assert_eq!(world.reopen().relays().unwrap(), ["/dns/a/tcp/4001", "/dns/b/tcp/4001", "/dns/c/tcp/4001"]);
}

#[test]
fn what_is_too_long_to_be_read_back_is_refused_and_changes_nothing() {
    let world = World::new();
    let ticket = world.offer(1);
    world.store().take_offer(ticket, key(1), NOW).unwrap();
    let long = Newcomer { name: "x".repeat(20_000), ..newcomer(1) };
    let refused = world.store().complete_pairing(ticket, &long);
    assert!(matches!(refused, Err(Error::Store(crate::Error::TooLong { table: "devices", .. }))));
    assert_eq!(world.state(ticket), State::Taken { by: key(1), at_ms: NOW });
    assert!(matches!(world.store().add_relay(&"x".repeat(20_000)), Err(crate::Error::TooLong { table: "relays", .. })));
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let world = World::new();
    let device = world.pair(77);
    let offer = world.store().offer(secret(77).ticket_id()).unwrap().unwrap();
    let shown = format!("{device:?} {offer:?}");
    assert!(!shown.contains("77, 77") && !shown.contains("4d4d"), "{shown}");
}

#[test]
fn a_store_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
}

#[test]
fn a_frozen_host_stays_so_and_its_offers_are_void() {
    let mut world = World::new();
    let (open, taken) = (world.offer(1), world.offer(2));
    world.store().take_offer(taken, key(2), NOW).unwrap();
    let frozen = Frozen { at_ms: NOW, by: FrozenBy::Device(key(9)) };
    assert!(world.store().freeze(frozen).unwrap());
    assert!(!world.store().freeze(Frozen { at_ms: NOW + 1, by: FrozenBy::Desk }).unwrap(), "the first word stands");
    world.reopen();
    assert_eq!(world.store().frozen().unwrap(), Some(frozen));
    assert_eq!([open, taken].map(|ticket| world.state(ticket)), [State::Withdrawn, State::Withdrawn]);
    assert_eq!(refusal(world.store().complete_pairing(taken, &newcomer(2))), Refusal::Withdrawn);
    let offer = |seed| world.store().open_offer(&secret(seed), NOW + MINUTE, &Terms::default());
    assert_eq!(refusal(offer(3)), Refusal::Frozen);
    assert_eq!(world.store().thaw().unwrap(), Some(frozen));
    assert_eq!((world.store().frozen().unwrap(), world.store().thaw().unwrap()), (None, None));
    offer(3).unwrap();
}

#[test]
fn each_removal_and_each_change_of_a_grant_raises_the_epoch_and_nothing_else_does() {
    let mut world = World::new();
    let (first, second) = (world.pair(1), world.pair(2));
    world.store().set_grant(first.key, &first.grant).unwrap();
    world.store().rename_device(first.key, "other").unwrap();
    assert_eq!(world.store().epoch().unwrap(), 0);
    world.store().set_grant(second.key, &Grant::of(Right::Viewer)).unwrap();
    assert_eq!(world.store().epoch().unwrap(), 1);
    world.store().revoke(second.key, &world.tombstone(&second)).unwrap();
    world.reopen();
    assert_eq!(world.store().epoch().unwrap(), 2);
}

#[test]
fn a_higher_epoch_than_its_own_freezes_a_store_and_thawing_goes_beyond_it() {
    let mut world = World::new();
    assert!(!world.store().meet_epoch(0, NOW).unwrap());
    assert!(world.store().meet_epoch(7, NOW).unwrap() && world.store().meet_epoch(5, NOW + 1).unwrap());
    world.reopen();
    assert_eq!(world.store().frozen().unwrap(), Some(Frozen { at_ms: NOW, by: FrozenBy::Restored }));
    assert_eq!(world.store().epoch().unwrap(), 0, "it isn't its own before somebody has looked");
    world.store().thaw().unwrap();
    assert_eq!(world.store().epoch().unwrap(), 8);
    assert!(!world.store().meet_epoch(7, NOW).unwrap());
    world.store().freeze(Frozen { at_ms: NOW, by: FrozenBy::Desk }).unwrap();
    assert!(world.store().meet_epoch(20, NOW + 1).unwrap());
    let by = FrozenBy::Restored;
    assert_eq!(world.store().frozen().unwrap(), Some(Frozen { at_ms: NOW, by }), "whoever thaws it is told");
    world.store().thaw().unwrap();
    assert_eq!(world.store().epoch().unwrap(), 21);
}
