//! The phone of a world: pairs, ends, and begins anew with what it remembers. Prints how soon it had what.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farhelm_overlay::Error;
use farhelm_phone::{Client, Config, Connection, Host, KeyStore, OpenError, Policy, ThreadQuery, Transport, key_store};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::kinds::{Expected, Row};

pub(crate) const TICKET: &str = "FARHELM_TEST_TICKET";
pub(crate) const LISTEN: &str = "FARHELM_TEST_LISTEN";

/// Ten times what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a direct path is waited for: a punch that fails takes 15 s.
const DIRECT: Duration = Duration::from_secs(30);
/// The same where none is expected, to see whether there is one after all.
const UNEXPECTED: Duration = Duration::from_secs(6);

/// On every interface, on this port.
pub(crate) fn listen(port: u16) -> Vec<String> {
    let on = |ip: &str| [format!("{ip}/udp/{port}/quic-v1"), format!("{ip}/tcp/{port}")];
    ["/ip4/0.0.0.0", "/ip6/::"].iter().flat_map(|ip| on(ip)).collect()
}

pub(crate) async fn open(store: &Arc<dyn KeyStore>, paths: Policy) -> Client {
    let port = env::var(LISTEN).expect("a port").parse().expect("a port");
    let mut config = Config::new("pocket");
    config.paths = paths;
    config.listen = listen(port).iter().map(|text| text.parse().expect("an address")).collect();
    // The sockets of one that has just ended are freed a moment later.
    let opened = async {
        loop {
            match Client::open(config.clone(), store.clone()).await {
                Err(OpenError::Network(Error::AddressInUse { .. })) => tokio::task::yield_now().await,
                other => return other.expect("a phone"),
            }
        }
    };
    timeout(PATIENCE, opened).await.expect("in time")
}

pub(crate) async fn run() {
    let row = Row::parse(&env::var(crate::ROW).expect("a row")).expect("a row");
    let store: Arc<dyn KeyStore> = Arc::new(key_store::Memory::default());
    // A hole is punched for whoever is paired.
    let client = open(&store, Policy::default()).await;
    let pairing = client.pair(&env::var(TICKET).expect("a ticket")).await.expect("the host answers");
    let paired = pairing.finish(PATIENCE).await.expect("a pairing").host;
    let id = paired.id();
    paired.live(PATIENCE).await.expect("a session");
    client.shutdown().await;

    let client = open(&store, row.policy).await;
    let began = Instant::now();
    let host = client.connect(id).await.expect("it is remembered");
    let first = timeout(PATIENCE, host.live(PATIENCE)).await.expect("in time").expect("a session");
    let mut found = json!({ "first": how(first.is_direct()), "live_ms": ms(began) });
    byte(&host).await;
    found["byte_ms"] = ms(began);
    let patience = if row.expected() == Expected::Direct { DIRECT } else { UNEXPECTED };
    if let Some(transport) = direct(&host, patience).await {
        (found["transport"], found["direct_ms"]) = (json!(transport), ms(began));
        byte(&host).await;
        found["direct_byte_ms"] = ms(began);
    }
    println!("FOUND {found}");
    client.shutdown().await;
}

fn how(is_direct: bool) -> &'static str {
    if is_direct { "direct" } else { "relayed" }
}

fn ms(since: Instant) -> Value {
    json!(since.elapsed().as_millis() as u64)
}

/// Something asked and answered.
async fn byte(host: &Host) {
    timeout(PATIENCE, host.threads(ThreadQuery::newest(1))).await.expect("in time").expect("a list");
}

/// What carries the direct path, if there is one in time.
async fn direct(host: &Host, patience: Duration) -> Option<&'static str> {
    let mut state = host.state();
    let is_direct = |state: &Connection| matches!(state, Connection::Live(path) if path.is_direct());
    let found = timeout(patience, state.wait_for(is_direct)).await.ok()?.expect("it lives").clone();
    let Connection::Live(path) = found else { return None };
    Some(match path.transport {
        Transport::Quic => "QUIC",
        Transport::Tcp => "TCP",
        _ => "other",
    })
}
