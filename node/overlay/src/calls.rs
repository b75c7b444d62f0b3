//! Attempts to reach a peer: every address at once, the first connection wins. A state machine.
//!
//! Direct addresses are dialled together; a circuit waits until its relay is ready (see `legs`). Several callers of one
//! peer share the attempts under way. What comes up after the first connection is kept: a direct path that was slower
//! than the relay is what one wants in the end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use farhelm_core::identity::NodeId;
use libp2p::PeerId;
use libp2p::multiaddr::Multiaddr;
use libp2p::swarm::ConnectionId;

use crate::addresses;
use crate::endpoint::{Attempt, ConnectError};

/// How long a call may take in all.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the swarm is to do, or how a call ended.
#[derive(Debug)]
pub(crate) enum Output<W> {
    /// Connect to a relay; answer with `relay_ready` or `relay_failed`.
    Approach { relay: PeerId, addresses: Vec<Multiaddr> },
    /// Dial these as one attempt; answer with `dialling`.
    Dial { peer: NodeId, addresses: Vec<Multiaddr> },
    /// It ended.
    Done { waiters: Vec<W>, result: Result<ConnectionId, ConnectError> },
}

#[derive(Debug)]
struct Call<W> {
    waiters: Vec<W>,
    tried: HashSet<Multiaddr>,
    /// Dials asked for whose id isn't known yet.
    starting: usize,
    dials: HashSet<ConnectionId>,
    /// Circuits that wait for their relay.
    circuits: HashMap<PeerId, Vec<Multiaddr>>,
    failures: Vec<Attempt>,
    until: Instant,
}

impl<W> Call<W> {
    fn is_hopeless(&self) -> bool {
        self.starting == 0 && self.dials.is_empty() && self.circuits.is_empty()
    }
}

/// All calls under way.
#[derive(Debug)]
pub(crate) struct Calls<W> {
    calls: HashMap<NodeId, Call<W>>,
    outputs: VecDeque<Output<W>>,
}

impl<W> Default for Calls<W> {
    fn default() -> Self {
        Self { calls: HashMap::new(), outputs: VecDeque::new() }
    }
}

impl<W> Calls<W> {
    /// Tries every one of `addresses` not yet being tried for `peer`.
    pub(crate) fn call(&mut self, peer: NodeId, addresses: Vec<Multiaddr>, waiter: W, now: Instant) {
        let call = self.calls.entry(peer).or_insert_with(|| Call {
            waiters: Vec::new(),
            tried: HashSet::new(),
            starting: 0,
            dials: HashSet::new(),
            circuits: HashMap::new(),
            failures: Vec::new(),
            until: now + DEADLINE,
        });
        call.waiters.push(waiter);
        self.attempt(peer, addresses);
    }

    /// The network changed: what is being tried may hang, so all of it is tried anew.
    pub(crate) fn restart(&mut self, now: Instant) {
        let peers: Vec<_> = self.calls.keys().copied().collect();
        for peer in peers {
            let Some(call) = self.calls.get_mut(&peer) else { continue };
            (call.starting, call.until) = (0, now + DEADLINE);
            call.dials.clear();
            call.circuits.clear();
            let addresses = std::mem::take(&mut call.tried).into_iter().collect();
            self.attempt(peer, addresses);
        }
    }

    fn attempt(&mut self, peer: NodeId, addresses: Vec<Multiaddr>) {
        let Some(call) = self.calls.get_mut(&peer) else { return };
        let mut direct = Vec::new();
        for address in addresses {
            if !call.tried.insert(address.clone()) {
                continue;
            }
            match addresses::relay(&address) {
                Some((relay, leg)) => call.circuits.entry(relay).or_default().push(leg),
                None if addresses::is_relayed(&address) => {
                    let reason = "the relay's peer id is missing in front of p2p-circuit".to_owned();
                    call.failures.push(Attempt { address, reason });
                }
                None => direct.push(address),
            }
        }
        if !direct.is_empty() {
            call.starting += 1;
            self.outputs.push_back(Output::Dial { peer, addresses: direct });
        }
        for (relay, addresses) in &call.circuits {
            self.outputs.push_back(Output::Approach { relay: *relay, addresses: addresses.clone() });
        }
        self.settle(peer);
    }

    /// The dial of an `Output::Dial` has this id.
    pub(crate) fn dialling(&mut self, peer: NodeId, id: ConnectionId) {
        if let Some(call) = self.calls.get_mut(&peer) {
            call.starting = call.starting.saturating_sub(1);
            call.dials.insert(id);
        }
    }

    /// A relay can be asked for circuits now.
    pub(crate) fn relay_ready(&mut self, relay: PeerId) {
        for (peer, call) in &mut self.calls {
            if let Some(legs) = call.circuits.remove(&relay) {
                let addresses = legs.iter().map(|leg| addresses::circuit(leg, peer.to_peer_id())).take(1).collect();
                call.starting += 1;
                self.outputs.push_back(Output::Dial { peer: *peer, addresses });
            }
        }
    }

    /// A relay can't be reached; of some of its addresses it is known why.
    pub(crate) fn relay_failed(&mut self, relay: PeerId, why: &[Attempt]) {
        let peers: Vec<_> = self.calls.keys().copied().collect();
        for peer in peers {
            let Some(call) = self.calls.get_mut(&peer) else { continue };
            let legs = call.circuits.remove(&relay).into_iter().flatten();
            let reason = |leg: &Multiaddr| match why.iter().find(|attempt| attempt.address == *leg) {
                Some(Attempt { reason, .. }) => format!("the relay can't be reached: {reason}"),
                None => "the relay can't be reached".to_owned(),
            };
            call.failures.extend(legs.map(|address| Attempt { reason: reason(&address), address }));
            self.settle(peer);
        }
    }

    /// A connection to `peer` came up.
    pub(crate) fn established(&mut self, peer: NodeId, id: ConnectionId) {
        if let Some(call) = self.calls.remove(&peer) {
            self.outputs.push_back(Output::Done { waiters: call.waiters, result: Ok(id) });
        }
    }

    /// A dial failed.
    pub(crate) fn failed(&mut self, id: ConnectionId, failures: Vec<Attempt>) {
        let Some((peer, call)) = self.calls.iter_mut().find(|(_, call)| call.dials.contains(&id)) else { return };
        call.dials.remove(&id);
        call.failures.extend(failures);
        let peer = *peer;
        self.settle(peer);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.calls.values().map(|call| call.until).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let overdue: Vec<_> = self.calls.iter().filter(|(_, call)| call.until <= now).map(|(peer, _)| *peer).collect();
        for peer in overdue {
            self.conclude(peer, |failures| ConnectError::TimedOut { peer, failures });
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output<W>> {
        self.outputs.pop_front()
    }

    fn settle(&mut self, peer: NodeId) {
        if self.calls.get(&peer).is_some_and(Call::is_hopeless) {
            self.conclude(peer, |failures| ConnectError::Unreachable { peer, failures });
        }
    }

    fn conclude(&mut self, peer: NodeId, error: impl FnOnce(Vec<Attempt>) -> ConnectError) {
        if let Some(call) = self.calls.remove(&peer) {
            let result = Err(error(call.failures));
            self.outputs.push_back(Output::Done { waiters: call.waiters, result });
        }
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;

    use super::*;

    fn node(seed: u8) -> NodeId {
        Identity::from_seed(&[seed; 32]).node_id()
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn circuit(transport: &str) -> Multiaddr {
        let leg = address(&format!("/ip4/192.0.2.9/{transport}/p2p/{}", node(9)));
        addresses::circuit(&leg, node(1).to_peer_id())
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn outputs(calls: &mut Calls<u8>) -> Vec<Output<u8>> {
        std::iter::from_fn(|| calls.poll()).collect()
    }

    #[test]
    fn a_circuit_is_dialled_when_its_relay_is_ready() {
        let mut calls = Calls::default();
        calls.call(node(1), vec![circuit("tcp/1"), circuit("udp/1/quic-v1")], 0, Instant::now());
        let out = outputs(&mut calls);
        assert!(matches!(&out[..], [Output::Approach { addresses, .. }] if addresses.len() == 2), "{out:?}");
        calls.relay_ready(node(9).to_peer_id());
        let out = outputs(&mut calls);
        assert!(matches!(&out[..], [Output::Dial { addresses, .. }] if addresses.len() == 1), "one circuit: {out:?}");
    }

    #[test]
    fn the_first_connection_answers_every_caller() {
        let mut calls = Calls::default();
        calls.call(node(1), vec![address("/ip4/192.0.2.1/tcp/1")], 0, Instant::now());
        calls.call(node(1), vec![address("/ip4/192.0.2.1/tcp/1"), circuit("tcp/1")], 1, Instant::now());
        let out = outputs(&mut calls);
        assert!(matches!(&out[..], [Output::Dial { .. }, Output::Approach { .. }]), "the same address once: {out:?}");
        calls.dialling(node(1), id(5));
        calls.established(node(1), id(5));
        let out = outputs(&mut calls);
        assert!(matches!(&out[..], [Output::Done { waiters, result: Ok(_) }] if *waiters == [0, 1]), "{out:?}");
    }

    #[test]
    fn a_call_fails_when_the_last_attempt_did_and_says_what_was_tried() {
        let mut calls = Calls::default();
        calls.call(node(1), vec![address("/ip4/192.0.2.1/tcp/1"), circuit("tcp/1")], 0, Instant::now());
        calls.dialling(node(1), id(5));
        outputs(&mut calls);
        calls.failed(id(5), vec![Attempt { address: address("/ip4/192.0.2.1/tcp/1"), reason: "refused".into() }]);
        assert!(outputs(&mut calls).is_empty(), "the relay is still open");
        let (_, leg) = addresses::relay(&circuit("tcp/1")).unwrap();
        calls.relay_failed(node(9).to_peer_id(), &[Attempt { address: leg, reason: "no route".into() }]);
        match &outputs(&mut calls)[..] {
            [Output::Done { result: Err(ConnectError::Unreachable { failures, .. }), .. }] => {
                assert_eq!(failures.len(), 2);
                assert_eq!(failures[1].reason, "the relay can't be reached: no route");
            }
            other => panic!("{other:?}"),
        }
    }

    fn through(relay: u8) -> Multiaddr {
        let leg = address(&format!("/ip4/192.0.2.{relay}/tcp/4001/p2p/{}", node(relay)));
        addresses::circuit(&leg, node(1).to_peer_id())
    }

    #[test]
    fn a_circuit_that_fails_or_hangs_holds_up_no_other_relays() {
        let mut calls = Calls::default();
        calls.call(node(1), vec![through(7), through(8), through(9)], 0, Instant::now());
        outputs(&mut calls);
        for (relay, dial) in [(7, 5), (8, 6)] {
            calls.relay_ready(node(relay).to_peer_id());
            let out = outputs(&mut calls);
            assert!(matches!(&out[..], [Output::Dial { addresses, .. }] if addresses == &[through(relay)]), "{out:?}");
            calls.dialling(node(1), id(dial));
        }
        calls.failed(id(5), vec![Attempt { address: through(7), reason: "no reservation".into() }]);
        assert!(outputs(&mut calls).is_empty(), "8 hangs, and 9 isn't ready yet");
        calls.relay_ready(node(9).to_peer_id());
        assert!(matches!(&outputs(&mut calls)[..], [Output::Dial { addresses, .. }] if addresses == &[through(9)]));
        calls.dialling(node(1), id(7));
        calls.established(node(1), id(7));
        assert!(matches!(&outputs(&mut calls)[..], [Output::Done { result: Ok(_), .. }]));
    }

    #[test]
    fn a_change_of_networks_begins_every_attempt_anew() {
        let mut calls = Calls::default();
        let now = Instant::now();
        calls.call(node(1), vec![address("/ip4/192.0.2.1/tcp/1"), circuit("tcp/1")], 0, now);
        calls.dialling(node(1), id(5));
        outputs(&mut calls);
        calls.restart(now + DEADLINE / 2);
        let out = outputs(&mut calls);
        assert!(matches!(&out[..], [Output::Dial { .. }, Output::Approach { .. }]), "{out:?}");
        assert_eq!(calls.deadline(), Some(now + DEADLINE / 2 + DEADLINE));
        calls.failed(id(5), Vec::new());
        calls.relay_failed(node(9).to_peer_id(), &[]);
        assert!(outputs(&mut calls).is_empty(), "the new dial is still open");
        calls.dialling(node(1), id(6));
        calls.failed(id(6), Vec::new());
        assert!(matches!(&outputs(&mut calls)[..], [Output::Done { result: Err(_), .. }]));
    }

    #[test]
    fn a_circuit_address_without_its_relay_is_refused_by_name() {
        let mut calls = Calls::default();
        calls.call(node(1), vec![address("/ip4/192.0.2.1/tcp/1/p2p-circuit")], 0, Instant::now());
        match &outputs(&mut calls)[..] {
            [Output::Done { result: Err(ConnectError::Unreachable { failures, .. }), .. }] => {
                assert!(failures[0].reason.contains("peer id"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_that_hangs_ends_at_its_deadline() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        calls.call(node(1), vec![address("/ip4/192.0.2.1/tcp/1")], 0, now);
        outputs(&mut calls);
        assert_eq!(calls.deadline(), Some(now + DEADLINE));
        calls.handle_timeout(now + DEADLINE);
        assert!(matches!(&outputs(&mut calls)[..], [Output::Done { result: Err(ConnectError::TimedOut { .. }), .. }]));
    }
}
