//! A connection that is being closed is gone within a moment.
//!
//! # Why
//! libp2p closes politely: it first writes what is still to be written. On a dead TCP connection with a full buffer that
//! takes until the system gives up, a quarter of an hour, and so long the connection counts: paths and streams stay on
//! it, and a relay leads circuits to it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use tokio::time::{Sleep, sleep};

/// How long it may take to be polite.
const GRACE: Duration = Duration::from_secs(1);

/// The muxer, for a swarm, and closing soon.
pub(crate) fn soon<M>(muxer: M) -> StreamMuxerBox
where
    M: StreamMuxer + Send + Unpin + 'static,
    M::Substream: Send + 'static,
    M::Error: Send + Sync + 'static,
{
    StreamMuxerBox::new(Soon { muxer, until: None })
}

struct Soon<M> {
    muxer: M,
    /// Set when closing begins.
    until: Option<Pin<Box<Sleep>>>,
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Soon<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(done) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(done);
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        until.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::AsyncWriteExt;
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
