//! A peer whose network changed: its old connection is dead, the relay doesn't know, and it reserves on a new one.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use farhelm_core::identity::Identity;
use farhelm_overlay::{Endpoint, Incoming, Multiaddr, Protocol, Route};
use farhelm_relay::{Config, Event, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(30);

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn endpoint(seed: u8) -> (Endpoint, tokio::sync::mpsc::Receiver<Incoming>) {
    let config = farhelm_overlay::Config::new(identity(seed));
    Endpoint::start(farhelm_overlay::Config { listen: Vec::new(), ..config }).unwrap()
}

async fn relay(seed: u8) -> Relay {
    let listen: Vec<Multiaddr> = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    Relay::start(&identity(seed), Config { announce: listen.clone(), listen, ..Config::default() }).await.unwrap()
}

/// A way to the relay that can go dead: from then on nothing passes, and nothing is closed.
struct Way {
    address: Multiaddr,
    dead: watch::Sender<bool>,
}

impl Way {
    async fn to(relay: &Relay) -> Self {
        let target = relay.multiaddrs()[0].clone();
        let port = target.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let address = target.replace(1, |_| Some(Protocol::Tcp(own))).unwrap();
        let (dead, is_dead) = watch::channel(false);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            carry(client, TcpStream::connect(("127.0.0.1", port.unwrap())).await.unwrap(), is_dead).await;
        });
        Self { address, dead }
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut is_dead: watch::Receiver<bool>) {
    let died = async { is_dead.wait_for(|dead| *dead).await.is_ok() };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        _ = died => {}
    }
    std::future::pending::<()>().await;
}

/// Holds a reservation there by the time this returns.
async fn reserve(host: &Endpoint, relays: &[Multiaddr]) {
    let mut events = host.events();
    host.set_relays(relays.to_vec()).await.unwrap();
    let reserved = async {
        for _ in relays {
            while !matches!(events.recv().await, Ok(farhelm_overlay::Event::ReservationUp { .. })) {}
        }
    };
    tokio::time::timeout(PATIENCE, reserved).await.expect("never: a reservation");
}

/// Whether a new phone hears from the host through one of the relays.
async fn answers(host: &Endpoint, relays: &[&Relay], seed: u8) -> bool {
    let (phone, _incoming) = endpoint(seed);
    let circuit = |leg: Multiaddr| leg.with(Protocol::P2pCircuit).with(Protocol::P2p(host.node_id().to_peer_id()));
    let addresses = relays.iter().map(|relay| circuit(relay.multiaddrs()[0].clone())).collect();
    let heard = async {
        phone.connect(host.node_id(), addresses).await.ok()?;
        let mut stream = phone.open(host.node_id(), Route::Relayed).await.ok()?.1;
        stream.write_all(b"?").await.ok()?;
        stream.flush().await.ok()?;
        stream.read_u8().await.ok()
    };
    tokio::time::timeout(Duration::from_secs(5), heard).await.ok().flatten() == Some(b'!')
}

fn answering(mut incoming: tokio::sync::mpsc::Receiver<Incoming>) {
    tokio::spawn(async move {
        while let Some(Incoming { mut stream, .. }) = incoming.recv().await {
            let _ = stream.read_u8().await;
            let _ = stream.write_all(b"!").await;
            let _ = stream.flush().await;
        }
    });
}

/// One relay's life; gives how long it took to notice.
async fn moves(n: u8) -> Duration {
    let relay = relay(100 + n).await;
    let mut events = relay.events();
    let way = Way::to(&relay).await;
    let (before, _incoming) = endpoint(1);
    reserve(&before, std::slice::from_ref(&way.address)).await;
    way.dead.send_replace(true);

    let (host, incoming) = endpoint(1);
    answering(incoming);
    reserve(&host, relay.multiaddrs()).await;
    let since = Instant::now();
    let silent = Event::ConnectionSilent { peer: host.node_id() };
    let noticed = async { while events.recv().await.unwrap() != silent {} };
    tokio::time::timeout(PATIENCE, noticed).await.expect("never: the old connection's end");
    let took = since.elapsed();
    assert!(answers(&host, &[&relay], 50 + n).await, "relay {n}");
    assert_eq!(relay.status().reservations, 1);
    took
}

/// libp2p picks the connection in the order of a hash that every relay process, and here every relay, has its own of.
#[tokio::test]
async fn after_a_change_of_networks_every_fresh_relay_leads_to_the_new_connection() {
    let took = futures::future::join_all((0..8).map(moves)).await;
    println!("noticed after {took:?}");
    assert!(took.iter().all(|took| *took < Duration::from_secs(5)), "{took:?}");
}

/// Its circuit through the first relay hangs, and the third has none: neither holds up the second.
#[tokio::test]
async fn a_phone_gets_through_whichever_relay_leads_to_the_host() {
    let (first, second, third) = (relay(120).await, relay(121).await, relay(122).await);
    let way = Way::to(&first).await;
    let (host, incoming) = endpoint(2);
    answering(incoming);
    reserve(&host, &[way.address.clone(), second.multiaddrs()[0].clone()]).await;
    way.dead.send_replace(true);
    let since = Instant::now();
    assert!(answers(&host, &[&first, &second, &third], 70).await);
    let took = since.elapsed();
    println!("through after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}
