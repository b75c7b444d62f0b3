//! A relay against real endpoints: what it grants, what it refuses, and what it says about it.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use farhelm_core::identity::Identity;
use farhelm_overlay::{ConnectError, Endpoint, Incoming, Multiaddr, Path, Protocol, Route, Stream};
use farhelm_relay::relay::Error;
use farhelm_relay::{Config, Event, Relay, Transports, config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::broadcast;

const PATIENCE: Duration = Duration::from_secs(30);

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn memory() -> Config {
    Config { listen: vec!["/memory/0".parse().unwrap()], transports: Transports::Memory, ..Config::default() }
}

fn loopback(listen: &str) -> Config {
    let listen: Vec<Multiaddr> = vec![listen.parse().unwrap()];
    Config { announce: listen.clone(), listen, ..Config::default() }
}

/// The first event that `pick` takes.
async fn until<T>(events: &mut broadcast::Receiver<Event>, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.recv().await.unwrap();
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A host with a reservation, that answers every stream with what it says.
async fn host(seed: u8, relay: &Relay) -> Endpoint {
    let (endpoint, mut incoming) = Endpoint::start(farhelm_overlay::Config::memory(identity(seed))).unwrap();
    let mut events = endpoint.events();
    endpoint.set_relays(relay.multiaddrs().to_vec()).await.unwrap();
    let reserved = async { while !matches!(events.recv().await, Ok(farhelm_overlay::Event::ReservationUp { .. })) {} };
    tokio::time::timeout(PATIENCE, reserved).await.expect("never: a reservation");
    tokio::spawn(async move {
        while let Some(Incoming { stream, .. }) = incoming.recv().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    endpoint
}

async fn call(phone: &Endpoint, host: &Endpoint, relay: &Relay) -> Result<Path, ConnectError> {
    let leg = relay.multiaddrs()[0].clone();
    let address = leg.with(Protocol::P2pCircuit).with(Protocol::P2p(host.node_id().to_peer_id()));
    phone.connect(host.node_id(), vec![address]).await
}

fn phone(seed: u8) -> Endpoint {
    Endpoint::start(farhelm_overlay::Config::memory(identity(seed))).unwrap().0
}

async fn open(phone: &Endpoint, host: &Endpoint, relay: &Relay) -> Stream {
    call(phone, host, relay).await.unwrap();
    phone.open(host.node_id(), Route::Relayed).await.unwrap().1
}

/// Says and hears until the stream ends; gives how many bytes came back.
async fn talk(mut stream: Stream) -> usize {
    let mut heard = 0;
    let mut buffer = [7; 1024];
    let talk = async {
        while stream.write_all(&buffer).await.is_ok() && stream.flush().await.is_ok() {
            match stream.read_exact(&mut buffer).await {
                Ok(_) => heard += buffer.len(),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("never: the end of a stream");
    heard
}

#[tokio::test]
async fn a_full_relay_renews_what_it_granted_and_takes_the_next_when_there_is_room() {
    let config = Config { reservations: 1, reservation_seconds: 4, ..memory() };
    let relay = Relay::start(&identity(1), config).await.unwrap();
    let mut events = relay.events();
    let first = host(2, &relay).await;
    let second = phone(3);
    second.set_relays(relay.multiaddrs().to_vec()).await.unwrap();
    let denied = until(&mut events, "a denial", |event| match event {
        Event::ReservationDenied { peer, reason } => Some((*peer, reason.clone())),
        _ => None,
    });
    assert_eq!(denied.await, (second.node_id(), "ResourceLimitExceeded".to_owned()));
    let renewed = until(&mut events, "a renewal", |event| match event {
        Event::ReservationAccepted { peer, renewed: true } => Some(*peer),
        _ => None,
    });
    assert_eq!(renewed.await, first.node_id());
    assert_eq!(relay.status().reservations, 1);
    first.shutdown().await;
    let granted = until(&mut events, "the second's turn", |event| match event {
        Event::ReservationAccepted { peer, renewed: false } => Some(*peer),
        _ => None,
    });
    assert_eq!(granted.await, second.node_id());
}

#[tokio::test]
async fn a_peer_has_exactly_the_circuits_it_may_have() {
    let relay = Relay::start(&identity(10), memory()).await.unwrap();
    let (phone, mut events) = (phone(11), relay.events());
    let mut hosts = Vec::new();
    for seed in 12..17 {
        hosts.push(host(seed, &relay).await);
    }
    for host in &hosts[..4] {
        call(&phone, host, &relay).await.unwrap();
    }
    let fifth = call(&phone, &hosts[4], &relay).await;
    assert!(matches!(fifth, Err(ConnectError::Unreachable { .. })), "{fifth:?}");
    let denied = until(&mut events, "a denial", |event| match event {
        Event::CircuitDenied { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    assert_eq!(denied.await, (phone.node_id(), hosts[4].node_id()));
    assert_eq!(relay.status().circuits, 4);

    let connection = phone.paths(hosts[0].node_id())[0].connection;
    phone.close_connection(connection).await.unwrap();
    until(&mut events, "the first's end", |event| match event {
        Event::CircuitClosed { to, .. } if *to == hosts[0].node_id() => Some(()),
        _ => None,
    })
    .await;
    call(&phone, &hosts[4], &relay).await.unwrap();
}

#[tokio::test]
async fn a_circuit_that_carried_its_bytes_is_cut_and_the_relay_says_why() {
    let relay = Relay::start(&identity(20), Config { circuit_bytes: 64 << 10, ..memory() }).await.unwrap();
    let (host, phone, mut events) = (host(21, &relay).await, phone(22), relay.events());
    let heard = talk(open(&phone, &host, &relay).await).await;
    assert!((8 << 10..32 << 10).contains(&heard), "both directions and framing count: {heard}");
    let reason = until(&mut events, "the end of the circuit", |event| match event {
        Event::CircuitClosed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.await.is_some_and(|reason| reason.contains("bytes")));
    assert_eq!(relay.status().circuits, 0);
}

#[tokio::test]
async fn a_circuit_is_cut_when_its_time_is_up() {
    let relay = Relay::start(&identity(30), Config { circuit_seconds: 1, ..memory() }).await.unwrap();
    let (host, phone) = (host(31, &relay).await, phone(32));
    let since = std::time::Instant::now();
    assert!(talk(open(&phone, &host, &relay).await).await > 0);
    assert!(since.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_host_without_a_reservation_can_not_be_called() {
    let relay = Relay::start(&identity(40), memory()).await.unwrap();
    let (phone, absent, mut events) = (phone(41), self::phone(42), relay.events());
    let call = call(&phone, &absent, &relay).await;
    assert!(matches!(call, Err(ConnectError::Unreachable { .. })), "{call:?}");
    let reason = until(&mut events, "a denial", |event| match event {
        Event::CircuitDenied { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "NoReservation");
}

#[tokio::test]
async fn a_taken_port_is_named_even_if_a_relay_holds_it() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip6/::1/tcp/0"] {
        let first = match Relay::start(&identity(50), loopback(listen)).await {
            Err(Error::Listen { .. }) if listen.contains("ip6") => continue,
            first => first.unwrap(),
        };
        let taken: Multiaddr = first.multiaddrs()[0].iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        match Relay::start(&identity(51), loopback(&taken.to_string())).await {
            Err(Error::AddressInUse { address }) => assert_eq!(address, taken),
            other => panic!("{other:?}"),
        }
        first.shutdown().await;
        Relay::start(&identity(51), loopback(&taken.to_string())).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_public_address_a_relay_says_what_to_pass() {
    let config = Config { announce: Vec::new(), ..loopback("/ip4/127.0.0.1/tcp/0") };
    match Relay::start(&identity(60), config).await {
        Err(error @ Error::NoPublicAddress { port }) => {
            assert_ne!(port, 0);
            assert!(error.to_string().contains(&format!("--announce /ip4/<address>/tcp/{port}")), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_relay_that_can_listen_nowhere_does_not_start() {
    let error = Relay::start(&identity(61), loopback("/ip4/203.0.113.1/tcp/0")).await;
    let reason = match error {
        Err(Error::Listen { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(!reason.is_empty());
    let senseless = Relay::start(&identity(61), Config { circuits: 0, ..memory() }).await;
    assert!(matches!(senseless, Err(Error::Config(config::Error::Zero("circuits")))), "{senseless:?}");
}

#[test]
fn a_relay_outside_a_runtime_does_not_start() {
    let error = futures::executor::block_on(Relay::start(&identity(62), memory()));
    assert!(matches!(error, Err(Error::NoRuntime)), "{error:?}");
}
