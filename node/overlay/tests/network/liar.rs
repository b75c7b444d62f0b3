//! A peer that lies about where it is, with libp2p's own hole punching.

use std::convert::Infallible;
use std::task::{Context, Poll};

use farhelm_overlay::{Multiaddr, Path};
use futures::StreamExt;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, SwarmEvent, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{PeerId, SwarmBuilder, dcutr, identify, identity, noise, relay, tcp, yamux};

use crate::world::{Node, On, relay};

/// Says that these are addresses at which somebody saw it.
struct Liar(Vec<Multiaddr>);

impl NetworkBehaviour for Liar {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.pop().map_or(Poll::Pending, |address| Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)))
    }
}

#[derive(NetworkBehaviour)]
struct Peer {
    liar: Liar,
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    dcutr: dcutr::Behaviour,
}

#[tokio::test]
async fn a_peer_that_names_doors_of_others_has_none_of_them_knocked_at_and_is_met_at_its_own() {
    let relay = relay(150, On::Tcp).await;
    let mut host = Node::new(151, On::Tcp).await;
    let addresses = host.reserve(&relay).await;
    let foreign = ["/ip4/169.254.169.254/tcp/80", "/ip4/10.99.99.99/tcp/22", "/ip6/fe80::1/tcp/22"];
    let foreign: Vec<Multiaddr> = foreign.iter().map(|text| text.parse().unwrap()).collect();

    let key = identity::Keypair::ed25519_from_bytes([152; 32]).unwrap();
    let identify = identify::Behaviour::new(identify::Config::new("/farhelm/1".into(), key.public()));
    let mut peer = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Peer {
            liar: Liar(foreign),
            relay,
            identify,
            dcutr: dcutr::Behaviour::new(key.public().to_peer_id()),
        })
        .unwrap()
        .build();
    peer.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let own = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = peer.select_next_some().await {
            break address;
        }
    };
    peer.behaviour_mut().liar.0.push(own);
    peer.dial(relay.multiaddrs()[0].clone()).unwrap();
    loop {
        if let SwarmEvent::Behaviour(PeerEvent::Identify(identify::Event::Received { .. })) =
            peer.select_next_some().await
        {
            break;
        }
    }
    peer.dial(addresses[0].clone()).unwrap();
    let id = *peer.local_peer_id();
    let met = tokio::spawn(async move { while peer.next().await.is_some() {} });
    host.until_up(|path: &Path| path.peer.to_peer_id() == id && path.is_direct()).await;
    assert!(host.endpoint.status().refused_connections >= 1, "a punch with foreign doors was let through");
    met.abort();
}
