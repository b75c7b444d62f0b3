//! The seam to the overlay: what a phone needs of it, so that everything above also runs over pipes in tests.

use std::time::Duration;

use async_trait::async_trait;
use farhelm_core::identity::NodeId;
use farhelm_overlay::addresses;
use farhelm_overlay::surroundings::Surroundings;
use farhelm_overlay::{Admission, ConnectError, ConnectionId, Endpoint, Event, Multiaddr, OpenError, Policy, Route};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::broadcast::error::RecvError;

/// Paths that may break one after the other before a try counts as failed: circuit, TCP and QUIC.
pub(crate) const PATHS: usize = 3;

/// A byte stream to a host.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A stream, and what it runs over.
pub(crate) struct Reached {
    pub(crate) stream: Box<dyn Duplex>,
    pub(crate) path: farhelm_overlay::Path,
}

/// No connection could be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unreachable {
    /// What was tried, a line each.
    pub(crate) tried: Vec<String>,
    /// The host was there, but not directly, and nothing else is permitted.
    pub(crate) not_direct: bool,
}

/// How a phone reaches its hosts.
#[async_trait]
pub(crate) trait Network: Send + Sync + 'static {
    /// A stream on the best connection there is; without one, on the first that comes up at any of `addresses`.
    async fn reach(&self, host: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable>;

    /// A stream on a direct connection that is there.
    async fn reach_directly(&self, host: NodeId) -> Result<Reached, Unreachable>;

    /// A stream on a new connection, whatever there is.
    async fn reach_anew(&self, host: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable>;

    /// Tries `addresses`, and waits until a direct connection is there, whoever made it. `false`: not within `patience`.
    async fn direct(&self, host: NodeId, addresses: Vec<Multiaddr>, patience: Duration) -> bool;

    /// Where the host may try to reach this phone directly.
    fn candidates(&self) -> Vec<Multiaddr>;

    /// Whether a connection to the host goes over loopback.
    fn is_over_loopback(&self, host: NodeId) -> bool;

    /// Whether no connection to the host is better than this one.
    fn is_best(&self, host: NodeId, connection: ConnectionId) -> bool;

    /// Whether a direct path may carry a session.
    fn wants_direct(&self) -> bool;

    /// Lets every connection to the host go but this one.
    async fn keep_only(&self, host: NodeId, connection: ConnectionId);

    /// Whether a connection to the host is there now.
    fn has_path(&self, host: NodeId) -> bool;

    /// Closes a connection that turned out dead.
    async fn discard(&self, connection: ConnectionId);

    /// Whether somebody looks at the screen: how soon a dead connection is noticed.
    async fn set_active(&self, active: bool);

    /// The device's network changed: what is dead is to be noticed at once.
    async fn network_changed(&self);

    /// Waits until the device's addresses have changed.
    async fn changes(&self);

    /// The hosts that may call this phone: hole punching needs them to.
    async fn admit(&self, hosts: Vec<NodeId>);

    /// Ends everything.
    async fn shutdown(&self);
}

/// Only hosts may call a phone.
pub(crate) fn admission(hosts: impl IntoIterator<Item = NodeId>) -> Admission {
    Admission { paired: hosts.into_iter().collect(), ..Admission::default() }
}

#[async_trait]
impl Network for Endpoint {
    async fn reach(&self, host: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable> {
        let mut failure = Unreachable::default();
        for _ in 0..PATHS {
            if self.usable_paths(host).is_empty() {
                // Loopback was remembered only of a host that was reached over it.
                let addresses = dialled(addresses.clone(), |direct| Surroundings::now().select(direct, true));
                self.connect(host, addresses).await?;
            }
            let best = self.usable_paths(host).first().map(|path| path.connection);
            match self.open(host, Route::Best).await {
                Ok((path, stream)) => return Ok(Reached { stream: Box::new(stream), path }),
                Err(error) => failure = error.into(),
            }
            // It was closed under us, or is dead: the next one.
            if let Some(best) = best {
                self.discard(best).await;
            }
        }
        Err(failure)
    }

    async fn reach_directly(&self, host: NodeId) -> Result<Reached, Unreachable> {
        let (path, stream) = self.open(host, Route::Direct).await?;
        Ok(Reached { stream: Box::new(stream), path })
    }

    async fn reach_anew(&self, host: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable> {
        let path = self.dial(host, addresses).await?;
        let (path, stream) = self.open(host, Route::Connection(path.connection)).await?;
        Ok(Reached { stream: Box::new(stream), path })
    }

    async fn direct(&self, host: NodeId, addresses: Vec<Multiaddr>, patience: Duration) -> bool {
        // Subscribed before looking, so that nothing falls in between.
        let mut events = self.events();
        let is_there = || self.paths(host).iter().any(farhelm_overlay::Path::is_direct);
        let addresses = dialled(addresses, |direct| self.worth_dialling(host, direct));
        let dialled = async {
            if !is_there() && !addresses.is_empty() {
                let _ = self.dial(host, addresses).await;
            }
            std::future::pending::<()>().await;
        };
        let appeared = async {
            while !is_there() {
                if let Err(RecvError::Closed) = events.recv().await {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = dialled => false,
            () = appeared => true,
            () = tokio::time::sleep(patience) => false,
        }
    }

    fn candidates(&self) -> Vec<Multiaddr> {
        self.status().candidates()
    }

    fn is_over_loopback(&self, host: NodeId) -> bool {
        Self::is_over_loopback(self, host)
    }

    fn is_best(&self, host: NodeId, connection: ConnectionId) -> bool {
        let paths = self.paths(host);
        let kind = |path: &farhelm_overlay::Path| (path.is_direct(), path.transport);
        let ours = paths.iter().find(|path| path.connection == connection);
        // Of two of a kind neither is worth a move.
        ours.map(kind) == paths.first().map(kind)
    }

    fn wants_direct(&self) -> bool {
        self.policy() != Policy::RelayOnly
    }

    async fn keep_only(&self, host: NodeId, connection: ConnectionId) {
        for other in self.paths(host).iter().filter(|path| path.connection != connection) {
            self.discard(other.connection).await;
        }
    }

    fn has_path(&self, host: NodeId) -> bool {
        !self.usable_paths(host).is_empty()
    }

    async fn discard(&self, connection: ConnectionId) {
        let _ = self.close_connection(connection).await;
    }

    async fn set_active(&self, active: bool) {
        let _ = Self::set_active(self, active).await;
    }

    async fn network_changed(&self) {
        let _ = Self::network_changed(self).await;
    }

    async fn changes(&self) {
        let mut events = self.events();
        loop {
            match events.recv().await {
                Ok(Event::NetworkChanged) | Err(RecvError::Lagged(_)) => return,
                Ok(_) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    async fn admit(&self, hosts: Vec<NodeId>) {
        let _ = self.set_admission(Some(admission(hosts))).await;
    }

    async fn shutdown(&self) {
        self.clone().shutdown().await;
    }
}

/// The circuits among the addresses as they are, and of the others those that are worth it.
fn dialled(addresses: Vec<Multiaddr>, worth: impl FnOnce(Vec<Multiaddr>) -> Vec<Multiaddr>) -> Vec<Multiaddr> {
    let (circuits, direct): (Vec<_>, Vec<_>) = addresses.into_iter().partition(addresses::is_relayed);
    circuits.into_iter().chain(worth(direct)).collect()
}

impl From<ConnectError> for Unreachable {
    fn from(error: ConnectError) -> Self {
        let not_direct = matches!(error, ConnectError::NoDirectPath { .. });
        let tried = match error {
            ConnectError::Unreachable { failures, .. } | ConnectError::TimedOut { failures, .. }
                if !failures.is_empty() =>
            {
                failures.iter().map(ToString::to_string).collect()
            }
            error => vec![error.to_string()],
        };
        Self { tried, not_direct }
    }
}

impl From<OpenError> for Unreachable {
    fn from(error: OpenError) -> Self {
        Self { tried: vec![error.to_string()], not_direct: false }
    }
}
