//! A link that takes its time: a port on loopback that leads to another one, with a delay each way.
//!
//! TCP's own handshake would cost nothing here, as the near end answers it; so what is sent first waits for as long as
//! that would have taken.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What may be under way at a time, each way.
const UNDER_WAY: usize = 4096;
/// A datagram's length at the most.
const DATAGRAM: usize = 64 * 1024;

/// A running link. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Link {
    /// For TCP.
    pub(super) async fn tcp(target: SocketAddr, one_way: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(accept(listener, target, one_way)) })
    }

    /// For UDP.
    pub(super) async fn udp(target: SocketAddr, one_way: Duration) -> io::Result<Self> {
        let near = UdpSocket::bind("127.0.0.1:0").await?;
        let address = near.local_addr()?;
        Ok(Self { address, task: tokio::spawn(forward(Arc::new(near), target, one_way)) })
    }

    /// Where its near end is.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes, and when they arrive.
type Parcel = (Instant, Vec<u8>);

async fn accept(listener: TcpListener, target: SocketAddr, one_way: Duration) {
    while let Ok((near, _)) = listener.accept().await {
        let open = Instant::now() + 2 * one_way;
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (from_near, to_near) = near.into_split();
            let (from_far, to_far) = far.into_split();
            let out = carry(from_near, to_far, open, one_way);
            let _ = tokio::try_join!(out, carry(from_far, to_near, open, one_way));
        });
    }
}

/// In order, each piece after its time; nothing before the connection would be open.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    open: Instant,
    one_way: Duration,
) -> io::Result<()> {
    let (sender, mut parcels) = mpsc::channel::<Parcel>(UNDER_WAY);
    let read = async {
        loop {
            let mut buffer = vec![0; 16 * 1024];
            let length = from.read(&mut buffer).await?;
            buffer.truncate(length);
            let at = Instant::now().max(open) + one_way;
            if length == 0 || sender.send((at, buffer)).await.is_err() {
                return Err::<(), _>(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let write = async {
        while let Some((at, bytes)) = parcels.recv().await {
            sleep_until(at).await;
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// Each caller gets a socket of its own towards the target.
async fn forward(near: Arc<UdpSocket>, target: SocketAddr, one_way: Duration) {
    let mut callers: HashMap<SocketAddr, mpsc::Sender<Parcel>> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM];
    while let Ok((length, caller)) = near.recv_from(&mut buffer).await {
        let out = match callers.entry(caller) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let Ok(far) = UdpSocket::bind("127.0.0.1:0").await else { continue };
                let (sender, parcels) = mpsc::channel(UNDER_WAY);
                tokio::spawn(converse(near.clone(), Arc::new(far), caller, target, parcels, one_way));
                new.insert(sender)
            }
        };
        // A full queue loses datagrams, as a router's does.
        let _ = out.try_send((Instant::now() + one_way, buffer[..length].to_vec()));
    }
}

async fn converse(
    near: Arc<UdpSocket>,
    far: Arc<UdpSocket>,
    caller: SocketAddr,
    target: SocketAddr,
    mut out: mpsc::Receiver<Parcel>,
    one_way: Duration,
) {
    let (sender, mut back) = mpsc::channel::<Parcel>(UNDER_WAY);
    let answers = async {
        let mut buffer = vec![0; DATAGRAM];
        while let Ok(length) = far.recv(&mut buffer).await {
            let _ = sender.try_send((Instant::now() + one_way, buffer[..length].to_vec()));
        }
    };
    let to_far = async {
        while let Some((at, bytes)) = out.recv().await {
            sleep_until(at).await;
            let _ = far.send_to(&bytes, target).await;
        }
    };
    let to_near = async {
        while let Some((at, bytes)) = back.recv().await {
            sleep_until(at).await;
            let _ = near.send_to(&bytes, caller).await;
        }
    };
    // It ends with the link.
    tokio::select! {
        () = to_far => {}
        _ = futures::future::join(answers, to_near) => {}
    }
}

/// The round trip over links like these, as the one in the middle of many was.
pub(super) async fn round_trip(one_way: Duration) -> io::Result<Duration> {
    let echo = TcpListener::bind("127.0.0.1:0").await?;
    let link = Link::tcp(echo.local_addr()?, one_way).await?;
    let mut near = TcpStream::connect(link.address()).await?;
    near.set_nodelay(true)?;
    let (far, _) = echo.accept().await?;
    far.set_nodelay(true)?;
    let echoing = tokio::spawn(async move {
        let (mut from, mut to) = far.into_split();
        tokio::io::copy(&mut from, &mut to).await
    });
    let mut took = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        near.write_all(b"x").await?;
        near.read_exact(&mut [0]).await?;
        took.push(began.elapsed());
    }
    echoing.abort();
    // The first waited for the connection, too.
    took.remove(0);
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_WAY: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn what_goes_over_a_link_takes_its_time_and_the_first_byte_its_handshake_too() {
        assert!(round_trip(ONE_WAY).await.unwrap() >= 2 * ONE_WAY);
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::tcp(echo.local_addr().unwrap(), ONE_WAY).await.unwrap();
        let began = Instant::now();
        let mut near = TcpStream::connect(link.address()).await.unwrap();
        near.write_all(b"x").await.unwrap();
        let (mut far, _) = echo.accept().await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        assert!(began.elapsed() >= 3 * ONE_WAY);
    }

    #[tokio::test]
    async fn datagrams_take_their_time_too_and_come_back_to_who_sent_them() {
        let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let link = Link::udp(echo.local_addr().unwrap(), ONE_WAY).await.unwrap();
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let began = Instant::now();
        near.send_to(b"x", link.address()).await.unwrap();
        let mut byte = [0; 8];
        let (_, from) = echo.recv_from(&mut byte).await.unwrap();
        echo.send_to(b"y", from).await.unwrap();
        near.recv_from(&mut byte).await.unwrap();
        assert!(began.elapsed() >= 2 * ONE_WAY && byte[0] == b'y');
    }
}
