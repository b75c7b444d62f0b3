//! Asks relays, as a stranger who is gone in a moment: over each way on its own, and for a place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_overlay::surroundings::Surroundings;
use farhelm_overlay::{
    Admission, Config, ConnectError, ConnectionId, Endpoint, Event, Limit, Multiaddr, Paces, Path, Protocol, addresses,
};
use futures::future::join_all;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::network::{Answer, Look, Relay, Tried, Way};
use crate::cli::{Exit, Failure};

/// How long an address has to answer.
const ANSWER: Duration = Duration::from_secs(6);
/// How long one that answered has to say where it sees us, and to be measured.
const DETAILS: Duration = Duration::from_secs(3);
/// How long a relay has to give a place.
const PLACE: Duration = Duration::from_secs(8);
/// Addresses that are tried of one relay over one way, so that the whole has an end.
const TRIED: usize = 3;

/// Asks every relay at once.
pub(super) async fn look(relays: &[Multiaddr]) -> Result<Look, Failure> {
    let surroundings = Surroundings::now();
    let own = surroundings.addresses().collect();
    let mut by_relay: BTreeMap<NodeId, Vec<Multiaddr>> = BTreeMap::new();
    // Without IPv6 nobody can be asked over it.
    for address in &surroundings.within_reach(relays.to_vec()) {
        let relay = addresses::destination(address).and_then(|peer| NodeId::from_peer_id(&peer).ok());
        if let Some(relay) = relay {
            by_relay.entry(relay).or_default().push(address.clone());
        }
    }
    let identity = Identity::generate(&mut rand::rng());
    let over = join_all(Way::ALL.map(|way| over(&identity, way, &by_relay)));
    let (over, mut places) = tokio::join!(over, places(&identity, relays, by_relay.len()));
    let mut tried: BTreeMap<NodeId, Vec<Tried>> = BTreeMap::new();
    for found in over {
        found?.into_iter().for_each(|(relay, found)| tried.entry(relay).or_default().extend(found));
    }
    let places = places.as_mut().map_err(|error| Failure::new(Exit::Failed, error))?;
    let relay = |(id, tried)| Relay { id, tried, place: places.remove(&id) };
    Ok(Look { own, relays: tried.into_iter().map(relay).collect() })
}

/// One that lets nobody in, and looks often.
fn endpoint(identity: &Identity) -> Result<Endpoint, farhelm_overlay::Error> {
    let mut config = Config::new(identity.clone());
    config.admission = Some(Admission::default());
    config.paces = Paces { idle: config.paces.active, ..config.paces };
    // Nobody opens streams to it.
    Endpoint::start(config).map(|(endpoint, _)| endpoint)
}

/// Every relay over one way. All of them from the same port, as only so a NAT shows what it does with one.
async fn over(
    identity: &Identity,
    way: Way,
    relays: &BTreeMap<NodeId, Vec<Multiaddr>>,
) -> Result<Vec<(NodeId, Vec<Tried>)>, Failure> {
    let offered = |addresses: &Vec<Multiaddr>| -> Vec<Multiaddr> {
        addresses.iter().filter(|address| Way::of(address) == way).take(TRIED).cloned().collect()
    };
    let endpoint = endpoint(identity).map_err(|error| Failure::new(Exit::Failed, error))?;
    let asked = relays.iter().map(|(relay, addresses)| ask(&endpoint, *relay, offered(addresses)));
    let found = join_all(asked).await;
    endpoint.shutdown().await;
    Ok(found)
}

/// One after the other: libp2p takes attempts at one peer together.
async fn ask(endpoint: &Endpoint, relay: NodeId, addresses: Vec<Multiaddr>) -> (NodeId, Vec<Tried>) {
    let mut found = Vec::new();
    for address in addresses {
        let mut events = endpoint.events();
        let dialled = timeout(ANSWER, endpoint.dial(relay, vec![address.clone()])).await;
        let answer = match dialled {
            Ok(Ok(path)) => {
                let answer = details(&path, &mut events).await;
                let _ = endpoint.close_connection(path.connection).await;
                Ok(answer)
            }
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err(format!("nothing within {} s", ANSWER.as_secs())),
        };
        found.push(Tried { address, answer });
    }
    (relay, found)
}

/// Of the one address that was tried.
fn reason(error: &ConnectError) -> String {
    match error {
        ConnectError::Unreachable { failures, .. } | ConnectError::TimedOut { failures, .. }
            if !failures.is_empty() =>
        {
            failures.iter().map(|failure| failure.reason.clone()).collect::<Vec<_>>().join(", ")
        }
        error => error.to_string(),
    }
}

/// What comes to be known of a connection soon after it stands.
async fn details(path: &Path, events: &mut Receiver<Event>) -> Answer {
    let mut answer = Answer { at: addresses::ip(&path.remote), round_trip: path.rtt, seen: None };
    let until = Instant::now() + DETAILS;
    while answer.seen.is_none() || answer.round_trip.is_none() {
        match timeout_at(until, events.recv()).await {
            Ok(Ok(event)) => note(&mut answer, path.connection, event),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    answer
}

fn note(answer: &mut Answer, of: ConnectionId, event: Event) {
    match event {
        Event::Seen { connection, at, .. } if connection == of => answer.seen = socket(&at),
        Event::PathChanged(path) if path.connection == of => answer.round_trip = path.rtt,
        _ => {}
    }
}

fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    Some((addresses::ip(address)?, port?).into())
}

/// Who gives a place, and with which limits.
async fn places(
    identity: &Identity,
    relays: &[Multiaddr],
    wanted: usize,
) -> Result<BTreeMap<NodeId, Limit>, farhelm_overlay::Error> {
    let endpoint = endpoint(identity)?;
    let mut events = endpoint.events();
    endpoint.set_relays(relays.to_vec()).await?;
    let mut given = BTreeMap::new();
    let all = async {
        while given.len() < wanted {
            match events.recv().await {
                Ok(Event::Reserved { relay, limit }) => _ = given.insert(relay, limit),
                Ok(_) => {}
                Err(_) => sleep(PLACE).await,
            }
        }
    };
    let _ = timeout(PLACE, all).await;
    endpoint.shutdown().await;
    Ok(given)
}
