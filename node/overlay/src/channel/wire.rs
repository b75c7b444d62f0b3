//! Messages and frames on a byte stream: lengths are judged before anything is allocated, every wait ends.
//!
//! Handshake messages are preceded by their length (u16, big endian); records carry theirs in the header.

use std::time::Duration;

use farhelm_core::session::record::{HEADER, Header};
use farhelm_core::wire::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Error;

/// How long one step of a handshake may take, and one write.
pub const STEP: Duration = Duration::from_secs(10);

/// Reads from a stream.
#[derive(Debug)]
pub(super) struct Reader<R>(pub(super) R);

/// Writes to a stream.
#[derive(Debug)]
pub(super) struct Writer<W>(pub(super) W);

/// Both halves of a stream, before and during a handshake.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    /// Puts the protocol's framing on a stream.
    pub const fn new(stream: S) -> Self {
        Self { stream }
    }

    /// Sends one handshake message.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let length = u16::try_from(message.len()).expect("handshake messages are under 1 KiB").to_be_bytes();
        Writer(&mut self.stream).write(&[&length, message].concat()).await
    }

    /// Receives one handshake message of at most [`limits::HANDSHAKE_MESSAGE`] bytes within [`STEP`].
    pub async fn receive(&mut self) -> Result<Vec<u8>, Error> {
        timeout(STEP, Reader(&mut self.stream).message()).await.map_err(|_| Error::Silent)?
    }

    /// Sends one sealed frame.
    pub async fn send_frame(&mut self, frame: &[u8]) -> Result<(), Error> {
        Writer(&mut self.stream).write(frame).await
    }

    /// Receives one sealed frame within `patience`.
    pub async fn receive_frame(&mut self, patience: Duration) -> Result<(Header, Vec<u8>), Error> {
        timeout(patience, Reader(&mut self.stream).frame()).await.map_err(|_| Error::Silent)?
    }

    /// Ends the stream once the peer has read it to its end, or after a moment. Errors don't matter any more.
    ///
    /// Who is sent away loses its connection next, and QUIC drops what is still on its way when one is closed: the
    /// word that explains it must have arrived before.
    pub async fn close(mut self) {
        let ended = async {
            self.stream.shutdown().await?;
            let mut rest = [0; 64];
            while self.stream.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let _ = timeout(STEP, ended).await;
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn message(&mut self) -> Result<Vec<u8>, Error> {
        let length = usize::from(self.0.read_u16().await?);
        if length > limits::HANDSHAKE_MESSAGE {
            return Err(Error::TooLong(length));
        }
        self.body(length).await
    }

    pub(super) async fn frame(&mut self) -> Result<(Header, Vec<u8>), Error> {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header).await?;
        let header = Header::read(&header)?;
        Ok((header, self.body(header.length()).await?))
    }

    async fn body(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(body)
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let all = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        timeout(STEP, all).await.map_err(|_| Error::Silent)?.map_err(Error::from)
    }
}
