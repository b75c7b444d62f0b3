//! WebSocket, plain (`/ws`) or over TLS (`/tls/ws`, `/wss`): the way out of networks that let only the web through.
//!
//! # What TLS is worth here
//! Passage, no trust: the peer is proven by Noise inside, as on every other transport. The certificate is still
//! checked, against the system's authorities and Mozilla's: whoever opens TLS on the way would learn who talks to whom,
//! and a path that the machine's owner doesn't trust isn't taken silently. A relay with a self-signed certificate is
//! refused in words; where a network doesn't insist on TLS, plain `/ws` serves it.
//!
//! # Why not libp2p-websocket
//! It takes messages of up to 256 MiB from whom it dialled, and allocates what their heads announce: any relay, or
//! anybody on the way to it, could exhaust a phone's memory with a few bytes. And a certificate lives for weeks, a relay
//! for months: there, a new one can only be given to the transport itself, which the swarm boxes away. What is on the
//! wire is the same.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, SinkExt, TryStreamExt};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use futures_rustls::rustls::sign::CertifiedKey;
use futures_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector};
use libp2p::core::Transport;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};
use rw_stream_sink::RwStreamSink;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use crate::addresses::is_over_tls;

/// The largest message taken. Nobody sends larger ones than what Noise and Yamux write at once, some 200 KiB.
const MAX_MESSAGE: usize = 1 << 20;

/// What a web client and a web server would agree on; whoever looks at the handshake sees them do so.
const ALPN: &[u8] = b"http/1.1";

/// Says so of a certificate that the library refuses to use with its key.
pub use futures_rustls::rustls::Error as TlsError;

/// The certificate that is served. Every clone is the same one.
#[derive(Clone)]
pub struct Served(Arc<RwLock<Arc<CertifiedKey>>>);

impl Served {
    /// Serves this one.
    pub fn new(certificate: CertifiedKey) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(certificate))))
    }

    /// Serves this one from now on; connections that stand notice nothing.
    pub fn replace(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served(…)")
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What TLS listens and dials with; by default nothing, and the authorities of the machine.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The certificate to listen with.
    pub served: Option<Served>,
    /// Authorities to trust beside the machine's.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Bytes over a WebSocket.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}
type Connection = Pin<Box<dyn Bytes>>;

/// The transport, on top of TCP with DNS.
pub(crate) struct WebSocket<T> {
    below: Boxed<T>,
    tls: Tls,
    /// Made when it is first needed: reading the system's authorities takes a while, and most nodes never need them.
    client: Option<Arc<ClientConfig>>,
    server: Option<Arc<ServerConfig>>,
    /// What comes behind TCP in a listener's addresses.
    listeners: HashMap<ListenerId, Multiaddr>,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> WebSocket<T> {
    pub(crate) fn new(below: Boxed<T>, tls: Tls) -> Self {
        let server = tls.served.clone().map(|served| Arc::new(server(served)));
        Self { below, tls, client: None, server, listeners: HashMap::new() }
    }

    fn client(&mut self) -> Arc<ClientConfig> {
        self.client.get_or_insert_with(|| Arc::new(client(&self.tls.authorities))).clone()
    }

    /// The address of a listener, or one seen there, as it is from above.
    fn above(&self, listener: ListenerId, below: Multiaddr) -> Multiaddr {
        self.listeners.get(&listener).into_iter().flatten().fold(below, Multiaddr::with)
    }

    fn accept(
        &self,
        listener: ListenerId,
        tcp: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<Connection>> {
        let is_tls = self.listeners.get(&listener).is_some_and(is_over_tls);
        let tls = self.server.clone().filter(|_| is_tls);
        let accepted = async move {
            match tls {
                Some(tls) => serve(TlsAcceptor::from(tls).accept(tcp.await?).await?).await,
                None => serve(tcp.await?).await,
            }
        };
        accepted.boxed()
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for WebSocket<T> {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Connection>>;
    type Dial = BoxFuture<'static, io::Result<Connection>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let split = Split::of(&address).filter(|split| !is_over_tls(&split.form) || self.server.is_some());
        let Some(Split { below, form, .. }) = split else { return Err(TransportError::MultiaddrNotSupported(address)) };
        self.below.listen_on(id, below)?;
        self.listeners.insert(id, form);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.below.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(split) = Split::of(&address) else { return Err(TransportError::MultiaddrNotSupported(address)) };
        let (name, url) = split.name_and_url().map_err(TransportError::Other)?;
        let tls = is_over_tls(&split.form).then(|| TlsConnector::from(self.client()));
        let tcp = self.below.dial(split.below, opts)?;
        let dialled = async move {
            match tls {
                Some(tls) => ask(&url, tls.connect(name, tcp.await?).await.map_err(in_words)?).await,
                None => ask(&url, tcp.await?).await,
            }
        };
        Ok(dialled.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Poll::Ready(match ready!(Pin::new(&mut self.below).poll(cx)) {
            TransportEvent::NewAddress { listener_id, listen_addr } => {
                TransportEvent::NewAddress { listener_id, listen_addr: self.above(listener_id, listen_addr) }
            }
            TransportEvent::AddressExpired { listener_id, listen_addr } => {
                TransportEvent::AddressExpired { listener_id, listen_addr: self.above(listener_id, listen_addr) }
            }
            TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => TransportEvent::Incoming {
                listener_id,
                upgrade: self.accept(listener_id, upgrade),
                local_addr: self.above(listener_id, local_addr),
                send_back_addr: self.above(listener_id, send_back_addr),
            },
            TransportEvent::ListenerClosed { listener_id, reason } => {
                self.listeners.remove(&listener_id);
                TransportEvent::ListenerClosed { listener_id, reason }
            }
            TransportEvent::ListenerError { listener_id, error } => {
                TransportEvent::ListenerError { listener_id, error }
            }
        })
    }
}

/// An address, taken apart.
struct Split {
    /// What TCP gets; with the peer, if it was named.
    below: Multiaddr,
    /// What comes behind TCP, without the peer.
    form: Multiaddr,
}

impl Split {
    /// Nothing, if it isn't one of WebSocket on TCP.
    fn of(address: &Multiaddr) -> Option<Self> {
        let parts: Vec<_> = address.iter().collect();
        let (below, rest) = parts.split_at_checked(2)?;
        let (form, peer) = match rest {
            [form @ .., peer @ Protocol::P2p(_)] => (form, Some(peer)),
            form => (form, None),
        };
        let is_known = matches!(
            form,
            [Protocol::Ws(_) | Protocol::Wss(_)]
                | [Protocol::Tls, Protocol::Ws(_)]
                | [Protocol::Tls, Protocol::Sni(_), Protocol::Ws(_)]
        );
        let is_tcp = matches!(below, [_, Protocol::Tcp(_)]);
        let collect = |parts: &[Protocol<'_>]| parts.iter().cloned().collect::<Multiaddr>();
        let below = peer.into_iter().cloned().fold(collect(below), Multiaddr::with);
        (is_known && is_tcp).then(|| Self { below, form: collect(form) })
    }

    /// Whom the certificate must be for, and what is asked for there.
    fn name_and_url(&self) -> io::Result<(ServerName<'static>, String)> {
        let mut below = self.below.iter();
        let (host, in_url) = match below.next() {
            Some(Protocol::Ip4(ip)) => (ip.to_string(), ip.to_string()),
            Some(Protocol::Ip6(ip)) => (ip.to_string(), format!("[{ip}]")),
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
                (name.to_string(), name.into_owned())
            }
            _ => return Err(io::Error::other("neither an IP address nor a DNS name")),
        };
        let port = below.find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
        let sni = self.form.iter().find_map(|part| if let Protocol::Sni(name) = part { Some(name) } else { None });
        let path = self.form.iter().find_map(|part| match part {
            Protocol::Ws(path) | Protocol::Wss(path) => Some(path),
            _ => None,
        });
        let name = ServerName::try_from(sni.map_or(host, |sni| sni.into_owned())).map_err(io::Error::other)?;
        Ok((name, format!("ws://{in_url}:{}{}", port.unwrap_or_default(), path.as_deref().unwrap_or("/"))))
    }
}

/// Asks for a WebSocket.
async fn ask<S>(url: &str, stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (socket, _) = client_async_with_config(url, stream.compat(), Some(limits())).await.map_err(io::Error::other)?;
    Ok(bytes(socket))
}

/// Grants one.
async fn serve<S>(stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Ok(bytes(accept_async_with_config(stream.compat(), Some(limits())).await.map_err(io::Error::other)?))
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}

fn bytes<S>(socket: WebSocketStream<Compat<S>>) -> Connection
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let messages = socket
        .map_err(io::Error::other)
        .try_filter_map(async |message| {
            Ok(matches!(message, Message::Binary(_)).then(|| Vec::from(message.into_data())))
        })
        .sink_map_err(io::Error::other)
        .with(async |bytes: Vec<u8>| Ok::<_, io::Error>(Message::from(bytes)));
    Box::pin(RwStreamSink::new(messages))
}

fn server(served: Served) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider has what the default versions need")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(served));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

fn client(authorities: &[CertificateDer<'static>]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider has what the default versions need")
        .with_root_certificates(trusted(authorities))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// Mozilla's authorities, these, and those that this machine trusts: an owner's own is among them, and that of a network
/// which opens TLS.
fn trusted(authorities: &[CertificateDer<'static>]) -> RootCertStore {
    let mut trusted = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::info!(%error, "some of the system's authorities can't be read");
    }
    let (_, unusable) = trusted.add_parsable_certificates(found.certs.into_iter().chain(authorities.iter().cloned()));
    tracing::debug!(unusable, "authorities that TLS can't use");
    trusted
}

/// The certificate that is for this key.
pub fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}

/// What is wrong with TLS, with what to do where a person can.
fn in_words(error: io::Error) -> io::Error {
    let is_certificate = |error: &TlsError| matches!(error, TlsError::InvalidCertificate(_));
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(inner) if is_certificate(inner) => io::Error::other(format!(
            "its TLS certificate isn't accepted ({inner}); it needs one of an authority that this machine trusts, for \
             the name in its address"
        )),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
