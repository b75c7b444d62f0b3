//! The same client over the real overlay, inside this process.

use farhelm_overlay::{Endpoint, Incoming};

use super::*;

/// A host's node and what phones open on it.
async fn node() -> (Endpoint, mpsc::Receiver<Incoming>, Multiaddr) {
    let (endpoint, incoming) = Endpoint::start(farhelm_overlay::Config::memory(host_key())).unwrap();
    let mut events = endpoint.events();
    let address = loop {
        if let Some(address) = endpoint.status().listening.first() {
            break address.clone();
        }
        timeout(LONG, events.recv()).await.expect("it listens").unwrap();
    };
    (endpoint, incoming, address)
}

async fn open(store: Arc<dyn KeyStore>) -> Client {
    Client::open(Config { transports: Transports::Memory, ..Config::new("pocket") }, store).await.unwrap()
}

#[tokio::test]
async fn a_phone_pairs_goes_and_comes_back() {
    let (endpoint, mut incoming, address) = node().await;
    let store: Arc<dyn KeyStore> = Arc::new(key_store::Memory::default());
    let client = open(store.clone()).await;
    let code = Ticket { relays: Vec::new(), direct: vec![address], ..ticket() }.encode();

    let desk = async {
        let Incoming { peer, stream, .. } = incoming.recv().await.unwrap();
        let (mut wire, claimant) = invite(stream, peer, &host_key()).await.unwrap();
        let secret = claimant.pairing_secret();
        let (session, answer) = claimant.accept("desk").unwrap();
        wire.send_frame(&answer).await.unwrap();
        let mut desk = Desk { channel: Channel::start(wire, session), direct: true, log: Arc::default() };
        desk.meet().await;
        desk.lists(Vec::new()).await;
        (desk, secret)
    };
    let phone = async { client.pair(&code).await.unwrap().finish(LONG).await.unwrap() };
    let ((desk, secret), paired) = tokio::join!(desk, phone);
    assert!(paired.host.live(LONG).await.unwrap().is_direct());
    client.shutdown().await;
    drop(desk);

    let client = open(store).await;
    let host = client.connect(host_key().node_id()).await.unwrap();
    let Incoming { peer, stream, .. } = timeout(LONG, incoming.recv()).await.expect("it comes back").unwrap();
    let channel = admit(stream, peer, &secret).await.unwrap();
    let mut desk = Desk { channel, direct: true, log: Arc::default() };
    desk.meet().await;
    desk.lists(Vec::new()).await;
    assert_eq!(host.live(LONG).await.unwrap().transport, Transport::Memory);
    client.shutdown().await;
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_host_that_is_gone_is_unreachable() {
    let (endpoint, _incoming, address) = node().await;
    endpoint.shutdown().await;
    let client = open(Arc::new(key_store::Memory::default())).await;
    let code = Ticket { relays: Vec::new(), direct: vec![address.clone()], ..ticket() }.encode();
    let error = client.pair(&code).await.unwrap_err();
    let PairError::Unreachable { tried } = error else { panic!("{error}") };
    assert!(tried.iter().any(|line| line.contains(&address.to_string())), "{tried:?}");
}
