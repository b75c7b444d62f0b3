//! A tap on the phone's way to the host: a TCP port that leads to another one, and counts what comes back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running tap. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Leg {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Leg {
    /// Listens on loopback and leads to `host`.
    pub(super) async fn start(host: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let received = Arc::<AtomicU64>::default();
        let task = tokio::spawn(accept(listener, host, received.clone()));
        Ok(Self { address, received, task })
    }

    /// Where the phone connects to.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that came from the host: what TCP carried, with everything of libp2p's in it.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, host: SocketAddr, received: Arc<AtomicU64>) {
    while let Ok((phone, _)) = listener.accept().await {
        let received = received.clone();
        tokio::spawn(async move {
            let Ok(host) = TcpStream::connect(host).await else { return };
            let _ = (phone.set_nodelay(true), host.set_nodelay(true));
            let (from_phone, to_phone) = phone.into_split();
            let (from_host, to_host) = host.into_split();
            let sent = AtomicU64::default();
            let _ = tokio::try_join!(copy(from_host, to_phone, &received), copy(from_phone, to_host, &sent));
        });
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&buffer[..read]).await?;
    }
}
