//! Listening: every socket that can be had, with its port; an error that names the address if one is taken.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::time::Duration;

use farhelm_overlay::addresses::{self, is_over_tls};
use farhelm_overlay::transport::is_taken;
use farhelm_overlay::{Multiaddr, Protocol};
use futures::StreamExt;
use libp2p::Swarm;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::SwarmEvent;

use crate::relay;
use crate::swarm::Behaviour;

/// How long sockets get to say which port they have, where the system chose it.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Listens on every address; gives the sockets as they are, ports filled in.
pub(crate) async fn listen(swarm: &mut Swarm<Behaviour>, wanted: &[Multiaddr]) -> Result<Vec<Multiaddr>, relay::Error> {
    let (mut sockets, mut unknown, mut first_failure) = (Vec::new(), HashMap::new(), None);
    for address in wanted {
        if is_taken(address) {
            return Err(relay::Error::AddressInUse { address: address.clone() });
        }
        match swarm.listen_on(address.clone()) {
            Ok(id) if has_port(address) => {
                tracing::debug!(%address, listener = ?id, "listening");
                sockets.push(address.clone());
            }
            Ok(id) => {
                unknown.insert(id, address.clone());
            }
            // Whoever gives a certificate means it, and ports below 1024 take a right to them.
            Err(error) if is_over_tls(address) && addresses::ip(address).is_some_and(|ip| ip.is_ipv4()) => {
                return Err(relay::Error::Listen { address: address.clone(), source: innermost(&error) });
            }
            Err(error) => {
                // Commonly IPv6 on a machine that has none; fatal only if nothing else works.
                tracing::info!(%address, %error, "not listening there");
                let source = innermost(&error);
                first_failure.get_or_insert(relay::Error::Listen { address: address.clone(), source });
            }
        }
    }
    sockets.extend(learn_ports(swarm, unknown).await);
    match first_failure {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// The system's own word: what libp2p wraps around it says nothing.
fn innermost(error: &dyn Error) -> io::Error {
    error.source().map_or_else(|| io::Error::other(error.to_string()), innermost)
}

/// Whether the address says its port, so that nobody needs to wait for the socket to tell it.
fn has_port(address: &Multiaddr) -> bool {
    !address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0) | Protocol::Memory(0)))
}

/// Waits for the sockets to tell which port the system gave them. On a machine without IPv6 some never do.
async fn learn_ports(swarm: &mut Swarm<Behaviour>, mut unknown: HashMap<ListenerId, Multiaddr>) -> Vec<Multiaddr> {
    let mut sockets = Vec::new();
    let told = async {
        while !unknown.is_empty() {
            if let SwarmEvent::NewListenAddr { listener_id, address } = swarm.select_next_some().await {
                sockets.extend(unknown.remove(&listener_id).map(|wanted| with_ports_of(&wanted, &address)));
            }
        }
    };
    if tokio::time::timeout(LISTEN_TIMEOUT, told).await.is_err() {
        tracing::warn!("some sockets have not told their port; going on without them");
    }
    sockets
}

/// The wanted address, which may be a wildcard, with the ports really got.
fn with_ports_of(wanted: &Multiaddr, got: &Multiaddr) -> Multiaddr {
    wanted
        .iter()
        .zip(got.iter())
        .map(|(wanted, got)| match wanted {
            Protocol::Tcp(_) | Protocol::Udp(_) | Protocol::Memory(_) => got,
            kept => kept,
        })
        .collect()
}
