//! Who is let in, as what, for how long, and who is closed by a change.

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
