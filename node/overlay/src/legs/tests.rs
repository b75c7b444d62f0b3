//! When which address of a relay is dialled, and when a relay is ready.

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
