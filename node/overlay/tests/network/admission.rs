//! Strangers, guests, and what becomes of those who lose their place.

use std::time::{Duration, Instant};

use farhelm_overlay::admission::Limits;
use farhelm_overlay::{Admission, Config, Event, Route};

use crate::world::{Node, On, PATIENCE, config, relay, round_trip, until_ended};

fn paired(peers: &[&Node]) -> Admission {
    Admission { paired: peers.iter().map(|node| node.id()).collect(), ..Admission::default() }
}

fn offer() -> Admission {
    Admission { offer_open: true, ..Admission::default() }
}

/// A host on which strangers have `limit` to be vouched for.
async fn host_with(seed: u8, on: On, limit: Duration, admission: Admission) -> Node {
    let limits = Limits { stranger: limit, ..Limits::default() };
    Node::with(Config { limits, admission: Some(admission), ..config(seed, on) }).await
}

#[tokio::test]
async fn a_stranger_is_refused_without_an_offer() {
    let mut host = host_with(80, On::Tcp, PATIENCE, Admission::default()).await;
    let mut stranger = Node::new(81, On::Tcp).await;
    // The handshake completes; what follows doesn't.
    let _ = stranger.endpoint.connect(host.id(), host.addresses()).await;
    if !stranger.endpoint.paths(host.id()).is_empty() {
        stranger.until_down(host.id()).await;
    }
    assert_eq!(host.endpoint.status().refused_connections, 1);
    assert!(host.incoming.try_recv().is_err());
    assert!(host.endpoint.paths(stranger.id()).is_empty());
}

#[tokio::test]
async fn a_stranger_within_an_offer_is_closed_when_nobody_vouches() {
    let limit = Duration::from_millis(500);
    let host = host_with(82, On::Memory, limit, offer()).await;
    let stranger = Node::new(83, On::Memory).await;
    let (addresses, since) = (host.addresses(), Instant::now());
    let host = host.echo();
    stranger.endpoint.connect(host.node_id(), addresses).await.unwrap();
    let (_, mut stream) = stranger.endpoint.open(host.node_id(), Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    until_ended(&mut stream).await;
    assert!(since.elapsed() >= limit);
}

#[tokio::test]
async fn a_vouched_stranger_stays_until_the_offer_ends() {
    let limit = Duration::from_millis(300);
    let host = host_with(84, On::Memory, limit, offer()).await;
    let mut stranger = Node::new(85, On::Memory).await;
    let addresses = host.addresses();
    let host = host.echo();
    stranger.endpoint.connect(host.node_id(), addresses).await.unwrap();
    let (_, mut stream) = stranger.endpoint.open(host.node_id(), Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    host.vouch(stranger.id()).await.unwrap();
    tokio::time::sleep(limit * 3).await;
    round_trip(&mut stream).await.unwrap();
    host.set_admission(Some(Admission::default())).await.unwrap();
    stranger.until_down(host.node_id()).await;
}

#[tokio::test]
async fn a_stranger_hears_nothing_of_identify() {
    let host = host_with(96, On::Quic, PATIENCE, offer()).await;
    let (mut stranger, mut friend) = (Node::new(97, On::Quic).await, Node::new(98, On::Quic).await);
    stranger.endpoint.connect(host.id(), host.addresses()).await.unwrap();
    stranger.until("a ping", |event| matches!(event, Event::PathChanged(_)).then_some(())).await;
    let admission = Admission { offer_open: true, ..paired(&[&friend]) };
    host.endpoint.set_admission(Some(admission)).await.unwrap();
    friend.endpoint.connect(host.id(), host.addresses()).await.unwrap();
    friend.until("what identify says", |event| matches!(event, Event::Observed(_)).then_some(())).await;
    assert_eq!(stranger.endpoint.status().observed, [], "it was connected first and is still told nothing");
    assert!(!stranger.endpoint.paths(host.id()).is_empty());
}

#[tokio::test]
async fn a_stranger_is_not_punched_through_until_it_is_paired() {
    let relay = relay(86, On::Quic).await;
    let mut host = host_with(87, On::Quic, PATIENCE, offer()).await;
    let mut phone = Node::new(88, On::Quic).await;
    let phone_id = phone.id();
    let addresses = host.reserve(&relay).await;
    let host = host.echo();
    let relayed = phone.endpoint.connect(host.node_id(), addresses).await.unwrap();
    let (_, mut stream) = phone.endpoint.open(host.node_id(), Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    // Long enough for identify and DCUtR, which take milliseconds here.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(phone.endpoint.paths(host.node_id()).len(), 1, "no hole punching for a stranger");
    let admission = Admission { paired: [phone_id].into(), ..Admission::default() };
    host.set_admission(Some(admission)).await.unwrap();
    let direct = phone.until_up(|path| path.peer == host.node_id() && path.is_direct()).await;
    assert_ne!(direct.connection, relayed.connection);
    round_trip(&mut stream).await.expect("the connection it paired on lives on");
}

#[tokio::test]
async fn a_revoked_phone_is_cut_off_then_let_in_once_a_minute() {
    let host = host_with(89, On::Memory, PATIENCE, Admission::default()).await;
    let mut phone = Node::new(90, On::Memory).await;
    let addresses = host.addresses();
    host.endpoint.set_admission(Some(paired(&[&phone]))).await.unwrap();
    let host = host.echo();
    phone.endpoint.connect(host.node_id(), addresses.clone()).await.unwrap();
    let (_, mut stream) = phone.endpoint.open(host.node_id(), Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();

    let revoked = Admission { revoked: [phone.id()].into(), ..Admission::default() };
    host.set_admission(Some(revoked)).await.unwrap();
    until_ended(&mut stream).await;
    phone.until_down(host.node_id()).await;

    // A visit is a few connections, as a phone dials all its paths at once; then the door stays shut for a minute.
    let mut taken = 0;
    while host.status().refused_connections == 0 {
        let Ok(visit) = phone.endpoint.dial(host.node_id(), addresses.clone()).await else { break };
        let opened = phone.endpoint.open(host.node_id(), Route::Connection(visit.connection)).await;
        if let Ok((_, mut stream)) = opened
            && round_trip(&mut stream).await.is_ok()
        {
            taken += 1;
        }
        let _ = phone.endpoint.close_connection(visit.connection).await;
        if !phone.endpoint.paths(host.node_id()).is_empty() {
            phone.until_down(host.node_id()).await;
        }
    }
    assert!((1..10).contains(&taken), "{taken} visits");
}

#[tokio::test]
async fn expelling_closes_every_connection_at_once() {
    let host = Node::new(91, On::Both).await;
    let mut phone = Node::new(92, On::Both).await;
    let addresses = host.addresses();
    let host = host.echo();
    let mut streams = Vec::new();
    for address in addresses {
        let path = phone.endpoint.dial(host.node_id(), vec![address]).await.unwrap();
        let (_, mut stream) = phone.endpoint.open(host.node_id(), Route::Connection(path.connection)).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        streams.push(stream);
    }
    host.expel(phone.id()).await.unwrap();
    for mut stream in streams {
        until_ended(&mut stream).await;
        phone.until_down(host.node_id()).await;
    }
    assert!(host.paths(phone.id()).is_empty());
}

#[tokio::test]
async fn a_phone_lets_in_only_the_hosts_it_knows() {
    let (mut host, mut other) = (Node::new(93, On::Memory).await, Node::new(94, On::Memory).await);
    let phone = Node::new(95, On::Memory).await;
    phone.endpoint.set_admission(Some(paired(&[&host]))).await.unwrap();
    host.endpoint.connect(phone.id(), phone.addresses()).await.unwrap();
    phone_path(&phone, &mut host).await;
    let _ = other.endpoint.connect(phone.id(), phone.addresses()).await;
    if !other.endpoint.paths(phone.id()).is_empty() {
        other.until_down(phone.id()).await;
    }
    assert_eq!(phone.endpoint.paths(other.id()), []);
}

async fn phone_path(phone: &Node, host: &mut Node) {
    // A round trip measured on it: both ends agree that it is up.
    let phone_id = phone.id();
    host.until("a ping", |event| matches!(event, Event::PathChanged(p) if p.peer == phone_id).then_some(())).await;
    assert_eq!(phone.endpoint.paths(host.id()).len(), 1);
}
