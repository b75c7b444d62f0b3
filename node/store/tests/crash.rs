//! What a host acknowledged is there after a SIGKILL at any moment, and what it hadn't is there whole or not at all.
//!
//! The kernel survives a SIGKILL, so this shows that each change is one step, not that the disk was synced: for that
//! see `power`, beside the sources.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "killed/after.rs"]
mod after;
mod killed;
#[path = "killed/moment.rs"]
mod moment;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::{TicketSecret, Tombstone};
use farhelm_core::policy::{Grant, Right, Terms};
use farhelm_core::session::PairingSecret;
use farhelm_store::offer::{self, Refusal, State};
use farhelm_store::{Newcomer, Store};

const DIR: &str = "FARHELM_TEST_STORE_DIR";
const FIRST: &str = "FARHELM_TEST_STORE_FIRST";

/// How many times the writer is killed: at least, and at most until each kind of step was the last one.
const KILLS: std::ops::Range<u32> = 25..250;
/// One pairing's life: these steps, in this order, each acknowledged by a line.
const STEPS: [&str; 5] = ["opened", "taken", "paired", "granted", "revoked"];

fn path(dir: &Path) -> PathBuf {
    dir.join("store")
}

fn secret(number: u32) -> TicketSecret {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    TicketSecret::from_bytes(bytes)
}

fn phone(number: u32) -> Identity {
    let mut seed = [1; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    Identity::from_seed(&seed)
}

fn newcomer(number: u32) -> Newcomer {
    let (key, secret) = (phone(number).node_id(), PairingSecret::from_bytes([5; 32]));
    Newcomer {
        key,
        name: "phone".into(),
        secret,
        now_ms: 2,
        shown: Grant::of(Right::Owner),
        otherwise: Right::Operator,
    }
}

/// What a phone is paired with, so that a step is to be seen which changes nothing else.
fn terms() -> Terms {
    Grant::of(Right::Viewer).into()
}

fn host() -> Identity {
    Identity::from_seed(&[9; 32])
}

fn stranger() -> NodeId {
    Identity::from_seed(&[8; 32]).node_id()
}

/// The writer's side: a test only so that this very binary can be run as another process.
#[test]
fn as_another_process_pair_and_revoke_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = Store::open(&path(Path::new(&dir))).unwrap();
    let say = |step: &str, number: u32| writeln!(std::io::stdout(), "\n{step} {number}").unwrap();
    for number in first..first + 100_000 {
        let (ticket, device) = (secret(number).ticket_id(), newcomer(number));
        store.open_offer(&secret(number), 1_000, &terms()).unwrap();
        say("opened", number);
        store.take_offer(ticket, device.key, 1).unwrap();
        say("taken", number);
        store.complete_pairing(ticket, &device).unwrap();
        say("paired", number);
        store.set_grant(device.key, &Grant::of(Right::Operator)).unwrap();
        say("granted", number);
        store.revoke(device.key, &Tombstone::sign(&host(), device.key, 3)).unwrap();
        say("revoked", number);
    }
}

fn writer(dir: &Path, first: u32) -> Child {
    let first = first.to_string();
    killed::run("as_another_process_pair_and_revoke_until_killed", &[(DIR, dir), (FIRST, Path::new(&first))])
}

fn acknowledged(line: &str) -> Option<(usize, u32)> {
    let (step, number) = line.split_once(' ')?;
    Some((STEPS.iter().position(|known| *known == step)?, number.parse().ok()?))
}

/// Checks one pairing of which `step` was the last to be acknowledged: it stands there, or exactly one further.
fn check(store: &Store, number: u32, step: usize) {
    let (ticket, key) = (secret(number).ticket_id(), phone(number).node_id());
    let state = store.offer(ticket).unwrap().unwrap().state;
    let right = store.device(key).unwrap().map(|device| device.grant.right);
    let tombstone = store.tombstone(key).unwrap();
    let at = match (state, right, &tombstone) {
        (State::Open, None, None) => 0,
        (State::Taken { by, .. }, None, None) if by == key => 1,
        (State::Used { by, .. }, Some(Right::Viewer), None) if by == key => 2,
        (State::Used { by, .. }, Some(Right::Operator), None) if by == key => 3,
        (State::Used { by, .. }, None, Some(stone)) if by == key => {
            assert_eq!(stone.verify(host().node_id(), key), Ok(()));
            4
        }
        half => panic!("{number} was left half way: {half:?}"),
    };
    assert!(at == step || at == step + 1, "{number} stands at {} after {}", STEPS[at], STEPS[step]);
    if at > 0 {
        let second = store.take_offer(ticket, stranger(), 1);
        assert!(matches!(second, Err(offer::Error::Refused(Refusal::Spent { by, .. })) if by == key));
    }
}

#[test]
fn what_was_acknowledged_survives_a_sigkill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut stopped_at = BTreeSet::new();
    let mut first = 0;
    for kill in 0..KILLS.end {
        if kill >= KILLS.start && stopped_at.len() == STEPS.len() {
            return;
        }
        // Another step, and another moment within it, each time.
        let (lines, moment) = (20 + kill as usize, Duration::from_micros(u64::from(kill) * 97 % 1_500));
        let seen = after::after(writer(dir.path(), first), lines, moment, acknowledged);
        let store = Store::open(&path(dir.path())).unwrap();
        let &(step, last) = seen.last().unwrap();
        for number in first..last {
            check(&store, number, STEPS.len() - 1);
        }
        check(&store, last, step);
        stopped_at.insert(step);
        // The next one may have been begun, and its opening not acknowledged.
        first = last + 2;
        store.prune_offers(u64::MAX).unwrap();
    }
    panic!("never killed after some kind of step: {stopped_at:?}");
}

#[test]
fn a_sigkill_during_the_first_start_leaves_no_half_store() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let dir = dir.path().join(round.to_string());
        std::fs::create_dir(&dir).unwrap();
        let mut writer = writer(&dir, 0);
        // Before, while or after the file is made: waits for its first trace, then a moment.
        while std::fs::read_dir(&dir).unwrap().next().is_none() {
            assert!(writer.try_wait().unwrap().is_none(), "the writer ended by itself");
        }
        moment::wait(Duration::from_micros(round * 211));
        writer.kill().unwrap();
        writer.wait().unwrap();
        Store::open(&path(&dir)).unwrap();
    }
}
