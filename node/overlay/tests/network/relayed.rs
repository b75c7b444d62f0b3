//! Circuits, hole punching, and reservations that come back.

use farhelm_overlay::{Config, ConnectError, Error, Event, OpenError, Path, Policy, Route, Transport, Via};
use farhelm_relay::Relay;

use crate::world::{Node, On, config, identity, relay, relay_config, round_trip};

#[tokio::test]
async fn two_nodes_in_memory_meet_through_a_relay() {
    let relay = relay(20, On::Memory).await;
    let (mut host, phone) = (Node::new(21, On::Memory).await, Node::new(22, On::Memory).await);
    let addresses = host.reserve(&relay).await;
    assert_eq!(host.endpoint.status().reservations[0].addresses, addresses);
    let host = host.echo();
    let path = phone.endpoint.connect(host.node_id(), addresses).await.unwrap();
    assert_eq!((path.via, path.transport), (Via::Relay(Some(relay.node_id())), Transport::Memory));
    let (_, mut stream) = phone.endpoint.open(host.node_id(), Route::Relayed).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    assert_eq!((relay.status().circuits, relay.status().reservations), (1, 1));
}

async fn punches_through(seed: u8, on: On) -> Transport {
    let relay = relay(seed, if on == On::Everywhere { On::Both } else { on }).await;
    let (mut host, mut phone) = (Node::start(config(seed + 1, on)), Node::start(config(seed + 2, on)));
    let addresses = host.reserve(&relay).await;
    let host = host.echo();
    let relayed = phone.endpoint.connect(host.node_id(), addresses).await.unwrap();
    assert_eq!(relayed.via, Via::Relay(Some(relay.node_id())));
    let (_, mut early) = phone.endpoint.open(host.node_id(), Route::Relayed).await.unwrap();
    round_trip(&mut early).await.unwrap();
    let direct = phone.until_up(|path| path.peer == host.node_id() && path.is_direct()).await;
    let (path, mut stream) = phone.endpoint.open(host.node_id(), Route::Best).await.unwrap();
    assert!(path.is_direct(), "{path:?}");
    round_trip(&mut stream).await.unwrap();
    relay.shutdown().await;
    phone
        .until("the relayed path down", |event| match event {
            Event::PathDown(path) if path.connection == relayed.connection => Some(()),
            _ => None,
        })
        .await;
    assert!(round_trip(&mut early).await.is_err(), "it was on the relayed connection");
    round_trip(&mut stream).await.unwrap();
    direct.transport
}

#[tokio::test]
async fn a_relayed_path_becomes_direct_over_tcp() {
    assert_eq!(punches_through(30, On::Tcp).await, Transport::Tcp);
}

#[tokio::test]
async fn a_relayed_path_becomes_direct_over_quic() {
    assert_eq!(punches_through(40, On::Quic).await, Transport::Quic);
}

#[tokio::test]
async fn a_relayed_path_becomes_direct_with_both() {
    punches_through(50, On::Both).await;
}

#[tokio::test]
async fn a_relayed_path_becomes_direct_between_nodes_on_every_interface() {
    punches_through(70, On::Everywhere).await;
}

#[tokio::test]
async fn a_relay_given_with_its_tcp_address_sees_the_host_over_quic_too() {
    let relay = relay(80, On::Both).await;
    let mut host = Node::new(81, On::Both).await;
    let one = relay.multiaddrs()[0].clone();
    assert!(one.to_string().contains("/tcp/"), "{one}");
    host.endpoint.set_relays(vec![one]).await.unwrap();
    host.until_up(|path| path.peer == relay.node_id() && path.transport == Transport::Quic).await;
    assert_eq!(relay.status().reservations, 1);
}

#[tokio::test]
async fn a_relay_that_restarts_gets_its_reservations_back() {
    let first = relay(60, On::Tcp).await;
    let mut host = Node::new(61, On::Tcp).await;
    host.reserve(&first).await;
    let address = first.multiaddrs()[0].clone();
    first.shutdown().await;
    host.until("the reservation down", |event| matches!(event, Event::ReservationDown { .. }).then_some(())).await;
    assert!(host.endpoint.status().reservations[0].addresses.is_empty());

    let listen: farhelm_overlay::Multiaddr =
        address.iter().filter(|part| !matches!(part, farhelm_overlay::Protocol::P2p(_))).collect();
    let config =
        farhelm_relay::Config { listen: vec![listen.clone()], announce: vec![listen], ..relay_config(On::Tcp) };
    let second = Relay::start(&identity(60), config).await.unwrap();
    assert_eq!(second.multiaddrs(), [address]);
    host.until_reserved().await;
    assert_eq!(second.status().reservations, 1);
}

#[tokio::test]
async fn reservations_are_held_on_exactly_the_relays_given() {
    let (a, b) = (relay(62, On::Memory).await, relay(63, On::Memory).await);
    let mut host = Node::new(64, On::Memory).await;
    host.reserve(&a).await;
    host.endpoint.set_relays(b.multiaddrs().to_vec()).await.unwrap();
    let down = host.until("the first one down", |event| match event {
        Event::ReservationDown { relay } => Some(relay),
        _ => None,
    });
    assert_eq!(down.await, a.node_id());
    host.until_reserved().await;
    let relays: Vec<_> = host.endpoint.status().reservations.iter().map(|r| r.relay).collect();
    assert_eq!(relays, [b.node_id()]);
}

#[tokio::test]
async fn a_relay_that_was_just_given_is_in_the_status_at_once() {
    let (relay, host) = (relay(72, On::Memory).await, Node::new(73, On::Memory).await);
    for _ in 0..50 {
        host.endpoint.set_relays(relay.multiaddrs().to_vec()).await.unwrap();
        assert_eq!(host.endpoint.status().reservations.len(), 1);
        host.endpoint.set_relays(Vec::new()).await.unwrap();
        assert!(host.endpoint.status().reservations.iter().all(|r| r.addresses.is_empty()));
    }
}

#[tokio::test]
async fn a_relay_without_its_peer_id_is_refused() {
    let host = Node::new(65, On::Memory).await;
    let error = host.endpoint.set_relays(vec!["/memory/7".parse().unwrap()]).await;
    assert!(matches!(error, Err(Error::RelayAddress { .. })), "{error:?}");
}

#[tokio::test]
async fn a_relay_that_is_down_fails_the_call_and_names_it() {
    let gone = relay(66, On::Tcp).await;
    let legs = gone.multiaddrs().to_vec();
    gone.shutdown().await;
    let phone = Node::new(67, On::Tcp).await;
    let host = crate::world::node_id(68);
    let address = crate::world::circuit(&legs[0], host);
    match phone.endpoint.connect(host, vec![address]).await {
        Err(farhelm_overlay::ConnectError::Unreachable { failures, .. }) => {
            assert!(failures[0].reason.contains("relay"), "{failures:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn with(policy: Policy, seed: u8, on: On) -> Config {
    Config { policy, ..config(seed, on) }
}

#[tokio::test]
async fn direct_only_takes_the_hole_and_never_the_circuit() {
    let relay = relay(160, On::Both).await;
    let mut host = Node::start(config(161, On::Both));
    let phone = Node::start(with(Policy::DirectOnly, 162, On::Both));
    let addresses = host.reserve(&relay).await;
    let host = host.echo();
    let path = phone.endpoint.connect(host.node_id(), addresses).await.unwrap();
    assert!(path.is_direct(), "{path:?}");
    let relayed = phone.endpoint.open(host.node_id(), Route::Relayed).await;
    assert!(matches!(relayed, Err(OpenError::NoPath { .. })), "{relayed:?}");
    assert!(phone.endpoint.usable_paths(host.node_id()).iter().all(Path::is_direct));
}

#[tokio::test]
async fn where_no_direct_path_is_found_direct_only_says_so() {
    let relay = relay(163, On::Memory).await;
    // In memory there is nothing to punch through.
    let mut host = Node::new(164, On::Memory).await;
    let phone = Node::with(with(Policy::DirectOnly, 165, On::Memory)).await;
    let addresses = host.reserve(&relay).await;
    let found = phone.endpoint.connect(host.id(), addresses).await;
    assert_eq!(found, Err(ConnectError::NoDirectPath { peer: host.id() }));
    assert!(!phone.endpoint.paths(host.id()).is_empty(), "the circuit is there, for introductions");
}

#[tokio::test]
async fn a_stream_on_a_path_that_the_policy_forbids_is_reset() {
    let relay = relay(166, On::Memory).await;
    let mut host = Node::with(with(Policy::DirectOnly, 167, On::Memory)).await;
    let phone = Node::new(168, On::Memory).await;
    let addresses = host.reserve(&relay).await;
    phone.endpoint.connect(host.id(), addresses).await.unwrap();
    let (_, mut stream) = phone.endpoint.open(host.id(), Route::Relayed).await.unwrap();
    let id = host.id();
    let direct = host.addresses();
    let _host = host.echo();
    assert!(round_trip(&mut stream).await.is_err());
    phone.endpoint.dial(id, direct).await.unwrap();
    let (_, mut stream) = phone.endpoint.open(id, Route::Direct).await.unwrap();
    round_trip(&mut stream).await.unwrap();
}

#[tokio::test]
async fn relay_only_listens_nowhere_and_dials_nobody_directly() {
    let relay = relay(170, On::Both).await;
    let mut host = Node::start(with(Policy::RelayOnly, 171, On::Both));
    let phone = Node::start(config(172, On::Both));
    let addresses = host.reserve(&relay).await;
    assert_eq!(host.endpoint.status().listening, Vec::<farhelm_overlay::Multiaddr>::new());
    assert_eq!(host.endpoint.status().candidates(), Vec::<farhelm_overlay::Multiaddr>::new());
    let nobody = host.endpoint.dial(phone.id(), phone.addresses()).await;
    assert_eq!(nobody, Err(ConnectError::NoAddress { peer: phone.id() }));
    let host = host.echo();
    let path = phone.endpoint.connect(host.node_id(), addresses).await.unwrap();
    let (_, mut stream) = phone.endpoint.open(host.node_id(), Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    assert!(!path.is_direct());
    // Longer than a hole takes here.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(phone.endpoint.paths(host.node_id()).iter().all(|path| !path.is_direct()));
}
