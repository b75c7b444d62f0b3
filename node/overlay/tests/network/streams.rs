//! Streams go where they are sent, and one that can't be taken harms no other.

use std::time::{Duration, Instant};

use farhelm_overlay::probe::Pace;
use farhelm_overlay::{
    Config, ConnectError, ConnectionId, Event, Multiaddr, OpenError, Paces, Protocol, Route, Transport,
};
use tokio::sync::oneshot;

use crate::world::{Node, On, config, node_id, round_trip};

#[tokio::test]
async fn a_stream_goes_over_the_chosen_connection() {
    let (mut host, phone) = (Node::new(1, On::Both).await, Node::new(2, On::Both).await);
    for address in host.addresses() {
        phone.endpoint.dial(host.id(), vec![address]).await.unwrap();
    }
    let paths = phone.endpoint.paths(host.id());
    assert_eq!(paths.iter().map(|p| p.transport).collect::<Vec<_>>(), [Transport::Quic, Transport::Tcp]);
    for path in paths.iter().chain(&paths) {
        let (taken, mut stream) = phone.endpoint.open(host.id(), Route::Connection(path.connection)).await.unwrap();
        assert_eq!(taken.connection, path.connection);
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        let arrived = host.accept().await;
        assert_eq!((arrived.peer, arrived.path.transport), (phone.id(), path.transport));
    }
    let (best, _stream) = phone.endpoint.open(host.id(), Route::Best).await.unwrap();
    assert_eq!(best.transport, Transport::Quic);
    let relayed = phone.endpoint.open(host.id(), Route::Relayed).await;
    assert!(matches!(relayed, Err(OpenError::NoPath { .. })), "{relayed:?}");
}

#[tokio::test]
async fn closing_a_connection_ends_its_streams_and_no_other() {
    let (host, mut phone) = (Node::new(3, On::Both).await, Node::new(4, On::Both).await);
    let addresses = host.addresses();
    let host = host.echo();
    let mut streams = Vec::new();
    for address in addresses {
        let path = phone.endpoint.dial(host.node_id(), vec![address]).await.unwrap();
        let (path, mut stream) = phone.endpoint.open(host.node_id(), Route::Connection(path.connection)).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        streams.push((path, stream));
    }
    let (path, mut gone) = streams.pop().unwrap();
    let (_, mut other) = streams.pop().unwrap();
    phone.endpoint.close_connection(path.connection).await.unwrap();
    assert_eq!(phone.until_down(host.node_id()).await.connection, path.connection);
    assert!(round_trip(&mut gone).await.is_err());
    round_trip(&mut other).await.unwrap();
    let open = phone.endpoint.open(host.node_id(), Route::Connection(path.connection)).await;
    assert!(matches!(open, Err(OpenError::NoPath { .. })), "{open:?}");
}

#[tokio::test]
async fn a_full_queue_resets_streams_and_blocks_nobody() {
    let config = Config { waiting_streams: 1, ..config(5, On::Memory) };
    let (mut host, eager, other) =
        (Node::with(config).await, Node::new(6, On::Memory).await, Node::new(7, On::Memory).await);
    let connection = eager.endpoint.connect(host.id(), host.addresses()).await.unwrap().connection;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let (_, mut stream) = eager.endpoint.open(host.id(), Route::Connection(connection)).await.unwrap();
        // Lazy: the host hears of the stream with its first bytes.
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        streams.push(stream);
    }
    let dropped = async {
        while host.endpoint.status().dropped_streams == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, dropped).await.expect("never: a dropped stream");
    host.accept().await;
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(200), host.incoming.recv()).await {}
    other.endpoint.connect(host.id(), host.addresses()).await.unwrap();
    let host_id = host.id();
    let _host = host.echo();
    let (_, mut stream) = other.endpoint.open(host_id, Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    let (_, mut stream) = eager.endpoint.open(host_id, Route::Best).await.unwrap();
    round_trip(&mut stream).await.unwrap();
}

/// How a cable ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// It keeps the sockets and says nothing.
    Silent,
    /// It closes them.
    Broken,
}

/// Passes bytes between its first caller and `to` until it is cut.
async fn cable(to: std::net::SocketAddr) -> (Multiaddr, oneshot::Sender<Cut>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let (cut, mut is_cut) = oneshot::channel();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            cut = &mut is_cut => if cut == Ok(Cut::Silent) { std::future::pending().await },
        }
    });
    (address, cut)
}

/// Where a node listens, for a cable.
fn socket(node: &Node) -> std::net::SocketAddr {
    let Some(Protocol::Tcp(port)) = node.addresses()[0].iter().last() else { panic!("a TCP address") };
    ([127, 0, 0, 1], port).into()
}

/// A pace at which nothing happens by itself while a test runs.
const NEVER: Pace = Pace { interval: Duration::from_secs(600), patience: Duration::from_secs(600) };
const OFTEN: Pace = Pace { interval: Duration::from_millis(200), patience: Duration::from_millis(500) };

/// A host and a phone with these paces, connected once through a cable that can be cut.
async fn cabled(seed: u8, paces: Paces) -> (Node, Node, oneshot::Sender<Cut>) {
    let config = |seed| Config { paces, ..config(seed, On::Tcp) };
    let (host, mut phone) = (Node::with(config(seed)).await, Node::with(config(seed + 1)).await);
    let (address, cut) = cable(socket(&host)).await;
    phone.endpoint.connect(host.id(), vec![address]).await.unwrap();
    let host_id = host.id();
    phone.until("a probe", |event| matches!(event, Event::PathChanged(p) if p.peer == host_id).then_some(())).await;
    (host, phone, cut)
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed() {
    let (mut host, mut phone, cut) = cabled(103, Paces { active: OFTEN, idle: OFTEN }).await;
    cut.send(Cut::Silent).unwrap();
    phone.until_down(host.id()).await;
    host.until_down(phone.id()).await;
}

#[tokio::test]
async fn an_idle_node_leaves_its_connections_alone_and_an_active_one_asks() {
    let (host, mut phone, cut) = cabled(110, Paces { active: OFTEN, idle: NEVER }).await;
    let host_id = host.id();
    phone.endpoint.set_active(true).await.unwrap();
    for _ in 0..3 {
        let probed = |event| matches!(event, Event::PathChanged(p) if p.peer == host_id).then_some(());
        phone.until("a probe", probed).await;
    }
    phone.endpoint.set_active(false).await.unwrap();
    let probed = |event| matches!(event, Event::PathChanged(p) if p.peer == host_id).then_some(());
    // One may have been under way.
    let _ = tokio::time::timeout(4 * OFTEN.interval, phone.until("a probe", probed)).await;
    let another = tokio::time::timeout(4 * OFTEN.interval, phone.until("a probe", probed)).await;
    assert!(another.is_err(), "it asks on");
    cut.send(Cut::Silent).unwrap();
    phone.endpoint.set_active(true).await.unwrap();
    phone.until_down(host_id).await;
}

#[tokio::test]
async fn a_changed_network_has_every_connection_proven_at_once() {
    let (host, mut phone, cut) = cabled(112, Paces { active: NEVER, idle: NEVER }).await;
    let other = phone.endpoint.dial(host.id(), host.addresses()).await.unwrap();
    cut.send(Cut::Silent).unwrap();
    phone.endpoint.network_changed().await.unwrap();
    let since = Instant::now();
    let dead = phone.until_down(host.id()).await;
    assert_ne!(dead.connection, other.connection, "the one that answers stays");
    assert!(since.elapsed() < NEVER.patience, "long before its own time");
    assert_eq!(phone.endpoint.paths(host.id()).len(), 1);
}

#[tokio::test]
async fn when_one_connection_of_a_peer_breaks_the_others_are_proven() {
    let (host, mut phone, cut) = cabled(114, Paces { active: NEVER, idle: NEVER }).await;
    let (address, broken) = cable(socket(&host)).await;
    phone.endpoint.dial(host.id(), vec![address]).await.unwrap();
    cut.send(Cut::Silent).unwrap();
    broken.send(Cut::Broken).unwrap();
    phone.until_down(host.id()).await;
    phone.until_down(host.id()).await;
}

#[tokio::test]
async fn callers_of_one_peer_share_the_connection() {
    let (host, phone) = (Node::new(8, On::Memory).await, Node::new(9, On::Memory).await);
    let (endpoint, addresses) = (&phone.endpoint, host.addresses());
    let (a, b) =
        tokio::join!(endpoint.connect(host.id(), addresses.clone()), endpoint.connect(host.id(), addresses.clone()));
    assert_eq!(a.unwrap().connection, b.unwrap().connection);
    assert_eq!(endpoint.paths(host.id()).len(), 1);
    assert_eq!(endpoint.connect(host.id(), Vec::new()).await.unwrap(), endpoint.paths(host.id())[0]);
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable_and_says_what_was_tried() {
    let phone = Node::new(10, On::Tcp).await;
    let nobody = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    match phone.endpoint.connect(node_id(11), vec![nobody]).await {
        Err(ConnectError::Unreachable { failures, .. }) => {
            assert!(failures[0].address.to_string().starts_with("/ip4/127.0.0.1/tcp/1"), "{failures:?}");
            assert!(failures[0].reason.contains("refused"), "{failures:?}");
        }
        other => panic!("{other:?}"),
    }
    let nowhere = phone.endpoint.connect(node_id(11), Vec::new()).await;
    assert_eq!(nowhere, Err(ConnectError::NoAddress { peer: node_id(11) }));
    let open = phone.endpoint.open(node_id(11), Route::Connection(ConnectionId::new_unchecked(99))).await;
    assert!(matches!(open, Err(OpenError::NoPath { .. })), "{open:?}");
}

#[tokio::test]
async fn a_node_in_another_s_place_is_not_taken_for_it() {
    let (impostor, phone) = (Node::new(12, On::Tcp).await, Node::new(13, On::Tcp).await);
    let wanted = phone.endpoint.connect(node_id(14), impostor.addresses()).await;
    assert!(matches!(wanted, Err(ConnectError::Unreachable { .. })), "{wanted:?}");
    assert!(phone.endpoint.paths(impostor.id()).is_empty());
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_with_its_address() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: farhelm_overlay::Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", socket.local_addr().unwrap().port()).parse().unwrap();
    let config = Config { listen: vec![address.clone()], ..config(15, On::Tcp) };
    match farhelm_overlay::Endpoint::start(config) {
        Err(farhelm_overlay::Error::AddressInUse { address: taken }) => assert_eq!(taken, address),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_nodes_do_not_share_a_port() {
    let first = Node::new(18, On::Both).await;
    for address in first.addresses() {
        let config = Config { listen: vec![address.clone()], ..config(19, On::Both) };
        match farhelm_overlay::Endpoint::start(config) {
            Err(farhelm_overlay::Error::AddressInUse { address: taken }) => assert_eq!(taken, address),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_port_is_free_again_after_shutdown() {
    let first = Node::new(100, On::Both).await;
    let listen = first.addresses();
    first.endpoint.shutdown().await;
    Node::with(Config { listen, ..config(101, On::Both) }).await;
}

#[tokio::test]
async fn a_node_on_every_interface_tells_the_concrete_ones() {
    let node = Node::with(Config { listen: vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()], ..config(102, On::Tcp) }).await;
    let status = node.endpoint.status();
    assert!(!status.listening.is_empty());
    assert!(status.listening.iter().all(|address| !address.to_string().contains("0.0.0.0")), "{status:?}");
    assert!(!status.direct_addresses().is_empty());
}

#[tokio::test]
async fn an_address_of_another_machine_can_not_be_listened_on() {
    let config = Config { listen: vec!["/ip4/203.0.113.1/tcp/0".parse().unwrap()], ..config(19, On::Tcp) };
    let error = farhelm_overlay::Endpoint::start(config);
    assert!(matches!(error, Err(farhelm_overlay::Error::Listen { .. })), "{error:?}");
}

#[tokio::test]
async fn after_shutdown_every_handle_says_so() {
    let (host, phone) = (Node::new(16, On::Memory).await, Node::new(17, On::Memory).await);
    phone.endpoint.connect(host.id(), host.addresses()).await.unwrap();
    let (host_id, addresses) = (host.id(), host.addresses());
    let second_handle = phone.endpoint.clone();
    phone.endpoint.shutdown().await;
    assert_eq!(second_handle.dial(host_id, addresses).await, Err(ConnectError::Stopped));
    assert!(matches!(second_handle.set_admission(None).await, Err(farhelm_overlay::Error::Stopped)));
}
