//! WebSocket between two nodes on loopback, and against somebody who doesn't keep to it.

use std::time::Duration;

use farhelm_core::identity::Identity;
use futures::StreamExt;
use futures::future::{Either, select};
use libp2p::PeerId;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::*;
use crate::transport::{self, Transports, build_with};

const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for 127.0.0.1 that nobody vouches for, and what a server needs of it.
fn certificate() -> (CertificateDer<'static>, CertifiedKey) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = made.key_pair.serialize_der().try_into().unwrap();
    let certificate = made.cert.der().clone();
    (certificate.clone(), certified(vec![certificate], key).unwrap())
}

fn node(seed: u8, tls: Tls) -> transport::Transport {
    let keypair = transport::keypair(&Identity::from_seed(&[seed; 32]));
    build_with(Transports::Network, &keypair, tls).unwrap()
}

fn serving(certificate: CertifiedKey) -> Tls {
    Tls { served: Some(Served::new(certificate)), authorities: Vec::new() }
}

fn trusting(authority: CertificateDer<'static>) -> Tls {
    Tls { served: None, authorities: vec![authority] }
}

async fn listening(node: &mut transport::Transport, on: &str) -> Multiaddr {
    node.listen_on(ListenerId::next(), on.parse().unwrap()).unwrap();
    let address = async {
        loop {
            if let Some(address) = node.select_next_some().await.into_new_address() {
                return address;
            }
        }
    };
    tokio::time::timeout(PATIENCE, address).await.unwrap()
}

/// Dials; gives who the listener is, or the innermost reason.
async fn dial(
    from: &mut transport::Transport,
    to: &mut transport::Transport,
    at: &Multiaddr,
) -> Result<PeerId, String> {
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dialled = from.dial(at.clone(), opts).map_err(|error| error.to_string())?;
    let served = async {
        loop {
            if let Some((upgrade, _)) = to.select_next_some().await.into_incoming() {
                tokio::spawn(upgrade);
            }
        }
    };
    let (dialled, served) = (std::pin::pin!(dialled), std::pin::pin!(served));
    match tokio::time::timeout(PATIENCE, select(dialled, served)).await.unwrap() {
        Either::Left((Ok((peer, _)), _)) => Ok(peer),
        Either::Left((Err(error), _)) => Err(innermost(&error)),
        Either::Right((never, _)) => never,
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

fn id(seed: u8) -> PeerId {
    Identity::from_seed(&[seed; 32]).node_id().to_peer_id()
}

#[tokio::test]
async fn the_peer_is_proven_inside_each_of_its_forms() {
    for form in ["ws", "tls/ws", "wss"] {
        let (certificate, server) = certificate();
        let (mut relay, mut phone) = (node(1, serving(server)), node(2, trusting(certificate)));
        let address = listening(&mut relay, &format!("/ip4/127.0.0.1/tcp/0/{form}")).await;
        assert!(address.to_string().ends_with(form), "{address}");
        assert_eq!(dial(&mut phone, &mut relay, &address).await, Ok(id(1)), "{form}");
    }
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused_in_words() {
    let (_, server) = certificate();
    let (mut relay, mut phone) = (node(1, serving(server)), node(2, Tls::default()));
    let address = listening(&mut relay, "/ip4/127.0.0.1/tcp/0/tls/ws").await;
    let refused = dial(&mut phone, &mut relay, &address).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer") && refused.contains("an authority that this machine"), "{refused}");
}

#[tokio::test]
async fn a_new_certificate_takes_the_old_ones_place_on_the_same_socket() {
    let ((old, first), (new, second)) = (certificate(), certificate());
    let served = Served::new(first);
    let mut relay = node(1, Tls { served: Some(served.clone()), authorities: Vec::new() });
    let address = listening(&mut relay, "/ip4/127.0.0.1/tcp/0/tls/ws").await;
    let early_trust = trusting(old);
    let (mut early, mut late) = (node(2, early_trust.clone()), node(3, trusting(new)));
    assert_eq!(dial(&mut early, &mut relay, &address).await, Ok(id(1)));
    served.replace(second);
    assert_eq!(dial(&mut late, &mut relay, &address).await, Ok(id(1)));
    // Another one, as the first resumes its TLS session, in which the certificate isn't shown again.
    let mut early = node(4, early_trust);
    assert!(dial(&mut early, &mut relay, &address).await.is_err());
}

#[tokio::test]
async fn without_a_certificate_nobody_listens_on_tls() {
    let mut phone = node(2, Tls::default());
    let refused = phone.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap());
    assert!(refused.is_err());
}

#[test]
fn an_address_is_taken_apart_and_others_are_left_to_others() {
    let split = |text: &str| Split::of(&text.parse().unwrap());
    let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let of = split(&format!("/dns4/relay.example/tcp/443/tls/sni/front.example/ws/p2p/{peer}")).unwrap();
    assert_eq!(of.below.to_string(), format!("/dns4/relay.example/tcp/443/p2p/{peer}"));
    let (name, url) = of.name_and_url().unwrap();
    assert_eq!((name.to_str().as_ref(), url.as_str()), ("front.example", "ws://relay.example:443/"));
    let (name, url) = split("/ip6/2001:db8::7/tcp/8080/ws").unwrap().name_and_url().unwrap();
    assert_eq!((name.to_str().as_ref(), url.as_str()), ("2001:db8::7", "ws://[2001:db8::7]:8080/"));
    for other in ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1/tls", "/memory/1"] {
        assert!(split(other).is_none(), "{other}");
    }
    assert!(split(&format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{peer}/p2p-circuit")).is_none());
}

#[tokio::test]
async fn a_message_is_refused_by_its_length_before_it_is_there() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let asked = tokio::spawn(async move { ask("ws://relay.example:443/", near.compat()).await });
    let mut granted = accept_async_with_config(&mut far, None).await.unwrap();
    let mut connection = asked.await.unwrap().unwrap();
    // The head of a binary frame of 2^62 bytes, and none of them.
    let head = [&[0x82, 127][..], &(1_u64 << 62).to_be_bytes()].concat();
    tokio::io::AsyncWriteExt::write_all(granted.get_mut(), &head).await.unwrap();
    let mut byte = [0];
    let read = futures::AsyncReadExt::read(&mut connection, &mut byte);
    let refused = tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("too long"), "{refused}");
}

#[tokio::test]
async fn more_than_a_message_passes_both_ways() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (asked, granted) = futures::join!(ask("ws://relay.example:443/", near.compat()), serve(far.compat()));
    let (near, far) = (asked.unwrap(), granted.unwrap());
    let said: Vec<u8> = (0..3 * MAX_MESSAGE).map(|n| (n % 251) as u8).collect();
    let (mut read, mut write) = futures::AsyncReadExt::split(far);
    tokio::spawn(async move {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length) = futures::AsyncReadExt::read(&mut read, &mut piece).await {
            futures::AsyncWriteExt::write_all(&mut write, &piece[..length]).await.unwrap();
            futures::AsyncWriteExt::flush(&mut write).await.unwrap();
        }
    });
    let (mut read, mut write) = futures::AsyncReadExt::split(near);
    let mut heard = vec![0; said.len()];
    let speak = async {
        for piece in said.chunks(100_000) {
            futures::AsyncWriteExt::write_all(&mut write, piece).await.unwrap();
            futures::AsyncWriteExt::flush(&mut write).await.unwrap();
        }
    };
    let listen = async { futures::AsyncReadExt::read_exact(&mut read, &mut heard).await.unwrap() };
    tokio::time::timeout(PATIENCE, async { futures::join!(speak, listen) }).await.unwrap();
    assert!(heard == said);
}

/// libp2p's own, with the same handshakes above.
fn libp2ps(seed: u8, tls: libp2p_websocket::tls::Config) -> transport::Transport {
    let keypair = transport::keypair(&Identity::from_seed(&[seed; 32]));
    let mut websocket = libp2p_websocket::Config::new(libp2p::tcp::tokio::Transport::default());
    websocket.set_tls_config(tls);
    websocket
        .upgrade(libp2p::core::upgrade::Version::V1Lazy)
        .authenticate(libp2p::noise::Config::new(&keypair).unwrap())
        .multiplex(libp2p::yamux::Config::default())
        .boxed()
}

#[tokio::test]
async fn libp2ps_own_and_this_one_understand_each_other() {
    use libp2p_websocket::tls::{Certificate, Config, PrivateKey};
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (der, key) = (made.cert.der().clone(), made.key_pair.serialize_der());
    for form in ["ws", "tls/ws", "wss"] {
        let on = format!("/ip4/127.0.0.1/tcp/0/{form}");
        let config = Config::new(PrivateKey::new(key.clone()), [Certificate::new(der.to_vec())]).unwrap();
        let (mut theirs, mut ours) = (libp2ps(1, config), node(2, trusting(der.clone())));
        let address = listening(&mut theirs, &on).await;
        assert_eq!(dial(&mut ours, &mut theirs, &address).await, Ok(id(1)), "we dial {form}");

        let mut trust = Config::builder();
        trust.add_trust(&Certificate::new(der.to_vec())).unwrap();
        let ours = certified(vec![der.clone()], key.clone().try_into().unwrap()).unwrap();
        let (mut ours, mut theirs) = (node(3, serving(ours)), libp2ps(4, trust.finish()));
        let address = listening(&mut ours, &on).await;
        assert_eq!(dial(&mut theirs, &mut ours, &address).await, Ok(id(3)), "they dial {form}");
    }
}
