//! WebSocket, plain (`/ws`) or over TLS (`/tls/ws`, `/wss`): the way out of networks that let only the web through.
//!
//! # What TLS is worth here
//! Passage, no trust: the peer is proven by Noise inside, as on every other transport. The certificate is still
//! checked, against the system's authorities and Mozilla's: the library offers nothing laxer, and a path that the
//! machine's owner doesn't trust isn't taken silently. A relay with a self-signed certificate is refused in words;
//! where a network doesn't insist on TLS, plain `/ws` serves it.
//!
//! # Why around libp2p's and not just libp2p's
//! A certificate lives for weeks and a relay for months. libp2p's transport takes a new one for the connections to
//! come, but only from who holds it, and the swarm boxes it away; so what changes it travels inside.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use libp2p::core::Transport;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Multiaddr;
use libp2p::websocket::{self, error::Error, tls};

use crate::addresses::is_over_tls;

/// The largest message taken from who dialled us. Ours are no longer than what Noise and Yamux write at once.
///
/// The library has no such limit for what we dialled (there it is 256 MiB), so a relay or somebody on the way to it can
/// make us allocate that much, once a connection.
const MAX_MESSAGE: usize = 1 << 20;

/// The certificate to listen with and the authorities to dial with; by default none and the machine's.
#[derive(Debug, Default)]
pub struct Tls {
    /// What to begin with.
    pub first: Option<tls::Config>,
    /// What takes its place, for connections that begin afterwards; nothing else notices.
    pub changes: Option<mpsc::Receiver<tls::Config>>,
}

type Inner<T> = websocket::Config<Boxed<T>>;

/// The transport.
pub(crate) struct WebSocket<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    inner: Inner<T>,
    changes: Option<mpsc::Receiver<tls::Config>>,
    /// Whether it knows whom to trust; reading the system's list takes a while, and most nodes never need it.
    trusts: bool,
}

impl<T> WebSocket<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// On top of TCP with DNS.
    pub(crate) fn new(below: Boxed<T>, tls: Tls) -> Self {
        let mut inner = Inner::new(below);
        inner.set_max_data_size(MAX_MESSAGE);
        let trusts = tls.first.is_some();
        if let Some(first) = tls.first {
            inner.set_tls_config(first);
        }
        Self { inner, changes: tls.changes, trusts }
    }

    fn take_changes(&mut self, cx: &mut Context<'_>) {
        while let Some(changes) = &mut self.changes {
            match changes.poll_next_unpin(cx) {
                Poll::Ready(Some(tls)) => drop(self.inner.set_tls_config(tls)),
                Poll::Ready(None) => self.changes = None,
                Poll::Pending => break,
            }
        }
    }
}

impl<T> Transport for WebSocket<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = <Inner<T> as Transport>::Output;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address).map_err(|error| error.map(in_words))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        if !self.trusts && is_over_tls(&address) {
            self.inner.set_tls_config(trusting(authorities()));
            self.trusts = true;
        }
        let dial = self.inner.dial(address, opts).map_err(|error| error.map(in_words))?;
        Ok(dial.map(|done| done.map_err(in_words)).boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        self.take_changes(cx);
        let event = Pin::new(&mut self.inner).poll(cx);
        event.map(|e| e.map_upgrade(|upgrade| upgrade.map(|done| done.map_err(in_words)).boxed()).map_err(in_words))
    }
}

/// What is needed to dial whom these authorities vouch for, beside those that libp2p knows.
pub fn trusting(authorities: Vec<tls::Certificate>) -> tls::Config {
    let mut builder = tls::Config::builder();
    let refused = authorities.iter().filter(|authority| builder.add_trust(authority).is_err()).count();
    if refused > 0 {
        tracing::debug!(refused, "authorities of the system that TLS can't use");
    }
    builder.finish()
}

/// Those that this machine trusts: an owner's own authority is among them, and that of a network which opens TLS.
fn authorities() -> Vec<tls::Certificate> {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::info!(%error, "some of the system's authorities can't be read");
    }
    found.certs.into_iter().map(|certificate| tls::Certificate::new(certificate.to_vec())).collect()
}

/// What went wrong, with what to do where a person can.
fn in_words<E: std::error::Error>(error: Error<E>) -> io::Error {
    match error {
        Error::Tls(error) => io::Error::other(format!(
            "its TLS certificate isn't accepted ({error}); it needs one of an authority that this machine trusts, for the \
             name in its address"
        )),
        error => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farhelm_core::identity::Identity;
    use futures::SinkExt;
    use futures::future::{Either, select};
    use libp2p::PeerId;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    use super::*;
    use crate::transport::{self, Transports, build_with};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A certificate for 127.0.0.1 that nobody vouches for, and what a server needs of it.
    fn certificate() -> (tls::Certificate, tls::Config) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = tls::Certificate::new(made.cert.der().to_vec());
        let key = tls::PrivateKey::new(made.key_pair.serialize_der());
        (certificate.clone(), tls::Config::new(key, [certificate]).unwrap())
    }

    fn node(seed: u8, tls: Tls) -> transport::Transport {
        let keypair = transport::keypair(&Identity::from_seed(&[seed; 32]));
        build_with(Transports::Network, &keypair, tls).unwrap()
    }

    fn with(first: tls::Config) -> Tls {
        Tls { first: Some(first), changes: None }
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
            let (mut relay, mut phone) = (node(1, with(server)), node(2, with(trusting(vec![certificate]))));
            let address = listening(&mut relay, &format!("/ip4/127.0.0.1/tcp/0/{form}")).await;
            assert!(address.to_string().ends_with(form), "{address}");
            assert_eq!(dial(&mut phone, &mut relay, &address).await, Ok(id(1)), "{form}");
        }
    }

    #[tokio::test]
    async fn a_certificate_nobody_vouches_for_is_refused_in_words() {
        let (_, server) = certificate();
        let (mut relay, mut phone) = (node(1, with(server)), node(2, Tls::default()));
        let address = listening(&mut relay, "/ip4/127.0.0.1/tcp/0/tls/ws").await;
        let refused = dial(&mut phone, &mut relay, &address).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer") && refused.contains("an authority that this machine"), "{refused}");
    }

    #[tokio::test]
    async fn a_new_certificate_takes_the_old_ones_place_on_the_same_socket() {
        let ((old, first), (new, second)) = (certificate(), certificate());
        let (mut change, changes) = mpsc::channel(1);
        let mut relay = node(1, Tls { first: Some(first), changes: Some(changes) });
        let address = listening(&mut relay, "/ip4/127.0.0.1/tcp/0/tls/ws").await;
        let (mut early, mut late) = (node(2, with(trusting(vec![old]))), node(3, with(trusting(vec![new]))));
        assert_eq!(dial(&mut early, &mut relay, &address).await, Ok(id(1)));
        change.send(second).await.unwrap();
        assert_eq!(dial(&mut late, &mut relay, &address).await, Ok(id(1)));
        assert!(dial(&mut early, &mut relay, &address).await.is_err());
    }

    #[tokio::test]
    async fn without_a_certificate_nobody_listens_on_tls() {
        let mut phone = node(2, Tls::default());
        let refused = phone.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap());
        assert!(refused.is_err());
    }
}
