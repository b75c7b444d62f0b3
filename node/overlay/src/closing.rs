//! A connection that is being closed is gone within a moment, and so are its streams.
//!
//! # Why
//! libp2p closes politely: it first writes what is still to be written. On a dead TCP connection with a full buffer that
//! takes until the system gives up, a quarter of an hour, and so long the connection counts: paths and streams stay on
//! it, and a relay leads circuits to it.
//!
//! And whoever reads on a Yamux connection that is closed at this side is never told (rust-yamux #216): a session on a
//! connection that was found dead and closed would wait on for its own, long, silence.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long it may take to be polite.
const GRACE: Duration = Duration::from_secs(1);

/// The muxer, for a swarm, and closing soon.
pub(crate) fn soon<M>(muxer: M) -> StreamMuxerBox
where
    M: StreamMuxer + Send + Unpin + 'static,
    M::Substream: Send + Unpin + 'static,
    M::Error: Send + Sync + 'static,
{
    StreamMuxerBox::new(Soon { muxer, until: None, closed: CancellationToken::new() })
}

struct Soon<M> {
    muxer: M,
    /// Set when closing begins.
    until: Option<Pin<Box<Sleep>>>,
    /// Once it is closed, or dropped.
    closed: CancellationToken,
}

impl<M: StreamMuxer + Unpin> Soon<M> {
    fn tie(&self, stream: M::Substream) -> Tied<M::Substream> {
        Tied { stream, closed: Box::pin(self.closed.clone().cancelled_owned()) }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Soon<M>
where
    M::Substream: Unpin,
{
    type Substream = Tied<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.muxer).poll_inbound(cx))?;
        Poll::Ready(Ok(self.tie(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.muxer).poll_outbound(cx))?;
        Poll::Ready(Ok(self.tie(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let mut closed = Pin::new(&mut self.muxer).poll_close(cx);
        if closed.is_pending() {
            let until = self.until.get_or_insert_with(|| Box::pin(sleep(GRACE)));
            closed = until.as_mut().poll(cx).map(Ok);
        }
        if closed.is_ready() {
            self.closed.cancel();
        }
        closed
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

impl<M> Drop for Soon<M> {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// A stream that ends with its connection. What has come before that can still be read.
struct Tied<S> {
    stream: S,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: Unpin> Tied<S> {
    /// What came of it; where it is to be waited, only as long as the connection is there.
    fn or_closed<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let done = act(Pin::new(&mut self.stream), cx);
        if done.is_pending() && self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tied<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.or_closed(cx, |stream, cx| stream.poll_read(cx, into))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tied<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.or_closed(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or_closed(cx, AsyncWrite::poll_flush)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or_closed(cx, AsyncWrite::poll_close)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::{AsyncReadExt, AsyncWriteExt};
    use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
    use libp2p::yamux;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_no_more_bytes_closes_all_the_same() {
        let (near, far) = tokio::io::duplex(64);
        let near = yamux::Config::default().upgrade_outbound(near.compat(), "").await.unwrap();
        let mut near = soon(near);
        let mut stream = poll_fn(|cx| Pin::new(&mut near).poll_outbound(cx)).await.unwrap();
        stream.write_all(&[0; 1000]).await.unwrap();
        let closed = poll_fn(|cx| Pin::new(&mut near).poll_close(cx));
        tokio::time::timeout(2 * GRACE, closed).await.unwrap().unwrap();
        drop(far);
    }

    #[tokio::test]
    async fn whoever_reads_on_a_connection_that_is_closed_here_is_told() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let near = yamux::Config::default().upgrade_outbound(near.compat(), "").await.unwrap();
        let mut near = soon(near);
        let mut stream = poll_fn(|cx| Pin::new(&mut near).poll_outbound(cx)).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let reader = tokio::spawn(async move { stream.read(&mut [0; 8]).await });
        // It waits.
        tokio::task::yield_now().await;
        poll_fn(|cx| Pin::new(&mut near).poll_close(cx)).await.unwrap();
        assert!(tokio::time::timeout(20 * GRACE, reader).await.unwrap().unwrap().is_err());
        drop(far);
    }

    #[tokio::test]
    async fn one_that_works_says_goodbye() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let near = yamux::Config::default().upgrade_outbound(near.compat(), "").await.unwrap();
        let far = yamux::Config::default().upgrade_inbound(far.compat(), "").await.unwrap();
        let (mut near, mut far) = (soon(near), soon(far));
        poll_fn(|cx| Pin::new(&mut near).poll_close(cx)).await.unwrap();
        drop(near);
        assert!(poll_fn(|cx| Pin::new(&mut far).poll_inbound(cx)).await.is_err());
    }
}
