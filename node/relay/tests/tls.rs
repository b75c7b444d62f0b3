//! A relay over WebSocket and TLS WebSocket, with real endpoints on both sides.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use farhelm_core::identity::Identity;
use farhelm_overlay::{Endpoint, Incoming, Multiaddr, Protocol, Route, Stream, Transport};
use farhelm_relay::{Config, Event, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(30);

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn on_loopback(form: &str) -> Config {
    let listen: Vec<Multiaddr> = vec![format!("/ip4/127.0.0.1/tcp/0/{form}").parse().unwrap()];
    Config { announce: listen.clone(), listen, ..Config::default() }
}

fn endpoint(seed: u8) -> farhelm_overlay::Config {
    farhelm_overlay::Config { listen: Vec::new(), ..farhelm_overlay::Config::new(identity(seed)) }
}

/// A host with a reservation, that answers every stream with what it says.
async fn host(seed: u8, relays: &[Multiaddr]) -> Endpoint {
    let (endpoint, mut incoming) = Endpoint::start(endpoint(seed)).unwrap();
    let mut events = endpoint.events();
    endpoint.set_relays(relays.to_vec()).await.unwrap();
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

/// A stream to `host` through the relay.
async fn open(phone: &Endpoint, host: &Endpoint, relay: &Relay) -> Stream {
    let leg = relay.multiaddrs()[0].clone();
    let address = leg.with(Protocol::P2pCircuit).with(Protocol::P2p(host.node_id().to_peer_id()));
    let path = phone.connect(host.node_id(), vec![address]).await.unwrap();
    assert_eq!(path.transport, Transport::WebSocket);
    phone.open(host.node_id(), Route::Relayed).await.unwrap().1
}

async fn echoes(stream: &mut Stream) {
    let mut heard = vec![0; 100_000];
    let said = vec![7; heard.len()];
    let trip = async {
        stream.write_all(&said).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
    };
    tokio::time::timeout(PATIENCE, trip).await.expect("never: the answer");
    assert!(heard == said);
}

#[tokio::test]
async fn a_circuit_goes_over_websocket() {
    let relay = Relay::start(&identity(1), on_loopback("ws")).await.unwrap();
    assert!(relay.multiaddrs()[0].iter().any(|part| matches!(part, Protocol::Ws(_))));
    let host = host(2, relay.multiaddrs()).await;
    let (phone, _incoming) = Endpoint::start(endpoint(3)).unwrap();
    echoes(&mut open(&phone, &host, &relay).await).await;
}

/// A network that drops what isn't the web: TCP comes up there, and says nothing.
#[tokio::test]
async fn where_tcp_hangs_both_sides_come_by_websocket() {
    let relay = Relay::start(&identity(4), on_loopback("ws")).await.unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let hanging = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", relay.node_id()).parse().unwrap();
    let relays = [hanging, relay.multiaddrs()[0].clone()];

    let since = Instant::now();
    let host = host(5, &relays).await;
    let (phone, _incoming) = Endpoint::start(endpoint(6)).unwrap();
    let circuits = relays.map(|leg| leg.with(Protocol::P2pCircuit).with(Protocol::P2p(host.node_id().to_peer_id())));
    let path = phone.connect(host.node_id(), circuits.to_vec()).await.unwrap();
    println!("both through after {:?}", since.elapsed());
    assert_eq!(path.transport, Transport::WebSocket);
    echoes(&mut phone.open(host.node_id(), Route::Relayed).await.unwrap().1).await;
}

/// Writes a certificate for 127.0.0.1, its key, and what vouches for it.
fn write_pair(directory: &Path, authority: &rcgen::CertifiedKey) {
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.cert, &authority.key_pair).unwrap();
    std::fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
}

fn authority() -> rcgen::CertifiedKey {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key_pair = rcgen::KeyPair::generate().unwrap();
    rcgen::CertifiedKey { cert: params.self_signed(&key_pair).unwrap(), key_pair }
}

#[tokio::test]
async fn a_relay_that_nobody_vouches_for_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    write_pair(directory.path(), &authority());
    let pair = |name: &str| Some(directory.path().join(name));
    let config = Config { tls_cert: pair("cert.pem"), tls_key: pair("key.pem"), ..on_loopback("tls/ws") };
    let relay = Relay::start(&identity(7), config).await.unwrap();
    let (phone, _incoming) = Endpoint::start(endpoint(8)).unwrap();
    let host = identity(9).node_id();
    let circuit = relay.multiaddrs()[0].clone().with(Protocol::P2pCircuit).with(Protocol::P2p(host.to_peer_id()));
    let refused = phone.connect(host, vec![circuit]).await.unwrap_err().to_string();
    assert!(refused.contains("certificate isn't accepted"), "{refused}");
}

/// Where the child finds the certificate of the test around it.
const DIRECTORY: &str = "FARHELM_TEST_TLS";

/// The endpoints trust what the machine trusts, and a machine's list is set for a whole process: so this runs itself as
/// a child.
#[test]
fn a_machines_own_authority_vouches_for_a_relay_whose_renewed_certificate_ends_no_circuit() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return tokio::runtime::Runtime::new().unwrap().block_on(inside(directory.as_ref()));
    }
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    write_pair(directory.path(), &authority);
    let list = directory.path().join("authorities.pem");
    std::fs::write(&list, authority.cert.pem()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("a_machines_own_authority_vouches_for_a_relay_whose_renewed_certificate_ends_no_circuit")
        .env("SSL_CERT_FILE", &list)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

async fn inside(directory: &std::path::Path) {
    let pair = |name: &str| Some(directory.join(name));
    let config = Config { tls_cert: pair("cert.pem"), tls_key: pair("key.pem"), ..on_loopback("tls/ws") };
    let relay = Relay::start(&identity(11), config).await.unwrap();
    let mut events = relay.events();
    let (first, (phone, _incoming)) = (host(12, relay.multiaddrs()).await, Endpoint::start(endpoint(13)).unwrap());
    let mut stream = open(&phone, &first, &relay).await;
    echoes(&mut stream).await;

    // Of an authority nobody trusts: it shows who gets the new one.
    write_pair(directory, &authority());
    let renewed = async { while events.recv().await.unwrap() != Event::CertificateRenewed {} };
    tokio::time::timeout(PATIENCE, renewed).await.expect("never: the renewal");
    echoes(&mut stream).await;
    let (late, _incoming) = Endpoint::start(endpoint(14)).unwrap();
    let address = relay.multiaddrs()[0].clone();
    let refused = late.connect(relay.node_id(), vec![address]).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}
