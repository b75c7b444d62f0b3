//! The seam to the overlay: what a phone needs of it, so that everything above also runs over pipes in tests.

use async_trait::async_trait;
use farhelm_core::identity::NodeId;
use farhelm_overlay::{Admission, ConnectError, ConnectionId, Endpoint, Event, Multiaddr, OpenError, Route};
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

/// No connection could be had: what was tried, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreachable(pub(crate) Vec<String>);

/// How a phone reaches its hosts.
#[async_trait]
pub(crate) trait Network: Send + Sync + 'static {
    /// A stream on the best connection there is; without one, on the first that comes up at any of `addresses`.
    async fn reach(&self, host: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable>;

    /// A stream on a direct connection that is there.
    async fn reach_directly(&self, host: NodeId) -> Result<Reached, Unreachable>;

    /// Tries `addresses`, and waits until a direct connection is there, whoever made it.
    async fn direct(&self, host: NodeId, addresses: Vec<Multiaddr>);

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
        let mut failure = Unreachable(Vec::new());
        for _ in 0..PATHS {
            if self.paths(host).is_empty() {
                self.connect(host, addresses.clone()).await?;
            }
            let best = self.paths(host).first().map(|path| path.connection);
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

    async fn direct(&self, host: NodeId, addresses: Vec<Multiaddr>) {
        // Subscribed before looking, so that nothing falls in between.
        let mut events = self.events();
        let is_there = || self.paths(host).iter().any(farhelm_overlay::Path::is_direct);
        let dialled = async {
            if !is_there() && !addresses.is_empty() {
                let _ = self.dial(host, addresses).await;
            }
            std::future::pending::<()>().await;
        };
        let appeared = async {
            while !is_there() {
                match events.recv().await {
                    Ok(Event::PathUp(_)) | Err(RecvError::Lagged(_)) => {}
                    Ok(_) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = dialled => {}
            () = appeared => {}
        }
    }

    fn has_path(&self, host: NodeId) -> bool {
        !self.paths(host).is_empty()
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

impl From<ConnectError> for Unreachable {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable { failures, .. } | ConnectError::TimedOut { failures, .. }
                if !failures.is_empty() =>
            {
                Self(failures.iter().map(ToString::to_string).collect())
            }
            error => Self(vec![error.to_string()]),
        }
    }
}

impl From<OpenError> for Unreachable {
    fn from(error: OpenError) -> Self {
        Self(vec![error.to_string()])
    }
}
