//! A channel: envelopes both ways over one stream of one path, sealed and opened off the swarm's task.
//!
//! It ends with its stream; the session's owner above opens a new one on a better or a living path and resumes. What
//! it guarantees while it lives: envelopes arrive whole, in order, from the proven peer, or the channel ends.
//!
//! Both queues are bounded. A full incoming queue stops reading, so the peer slows down; for a full outgoing queue
//! the sender decides ([`Sender::offer`] or [`Sender::send`]).

mod phone;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use farhelm_core::identity::NodeId;
use farhelm_core::session::record::{self, Opener, Sealer};
use farhelm_core::session::{Session, handshake};
use farhelm_core::wire::envelope::{Beat, CloseReason, Closing};
use farhelm_core::wire::{Envelope, cbor, fragment, limits};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use phone::{Pairing, pair, resume};
use wire::{Reader, Writer};
pub use wire::{STEP, Wire};

/// Envelopes that may wait in either direction.
pub const QUEUE: usize = 256;
/// How often an otherwise silent channel asks whether the peer is there.
const BEAT: Duration = Duration::from_secs(10);
/// How long silence may last before the channel ends: three beats.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a handshake failed or a channel ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The stream ended or broke: the path is gone.
    #[error("the connection broke: {0}")]
    Io(std::io::ErrorKind),
    /// Nothing came, or nothing could be written, for too long.
    #[error("the peer fell silent")]
    Silent,
    /// A handshake message longer than any is. Peer's fault.
    #[error("the peer announced a handshake message of {0} bytes")]
    TooLong(usize),
    /// The handshake's own refusal.
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    /// A record that doesn't open, or keys at their end.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// Pieces that don't make an envelope. Peer's fault.
    #[error(transparent)]
    Fragment(#[from] fragment::Error),
    /// An envelope that can't be read. Peer's fault.
    #[error("unreadable envelope: {0}")]
    Envelope(#[from] cbor::Error),
    /// The peer ended the session on purpose.
    #[error("the other side closed the session")]
    Closed(CloseReason),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// What has gone through a channel.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    round_trip_us: AtomicU64,
}

impl Traffic {
    /// Bytes written to the stream since the handshake.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes read from the stream since the handshake.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The last measured round trip, through both programs.
    pub fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip_us.load(Ordering::Relaxed)).filter(|us| *us > 0).map(Duration::from_micros)
    }
}

/// Sends envelopes into a channel.
#[derive(Debug, Clone)]
pub struct Sender(mpsc::Sender<Envelope>);

/// The channel doesn't take the envelope: it ended, or for [`Sender::offer`], its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel takes no more")]
pub struct NotTaken;

impl Sender {
    /// Waits for room.
    pub async fn send(&self, envelope: Envelope) -> Result<(), NotTaken> {
        self.0.send(envelope).await.map_err(|_| NotTaken)
    }

    /// Never waits: for callers that must not be held up by a slow peer.
    pub fn offer(&self, envelope: Envelope) -> Result<(), NotTaken> {
        self.0.try_send(envelope).map_err(|_| NotTaken)
    }
}

/// A live channel. Dropping it cuts the stream; [`close`](Self::close) says goodbye first.
#[derive(Debug)]
pub struct Channel {
    peer: NodeId,
    outgoing: Sender,
    incoming: mpsc::Receiver<Result<Envelope, Error>>,
    traffic: Arc<Traffic>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Channel {
    /// Drives a finished handshake's session over its stream.
    pub fn start<S>(wire: Wire<S>, session: Session) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = session.peer();
        let (read, write) = tokio::io::split(wire.into_stream());
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let (deliver, incoming) = mpsc::channel(QUEUE);
        let traffic = Arc::new(Traffic::default());
        // What the reader finds, the writer must know: beats to answer, and the end.
        let (pong, pongs) = mpsc::channel(4);
        let (beats, sent_beats) = watch::channel((0, Instant::now()));
        let inbound = Inbound {
            reader: Reader(read),
            opener: session.opener,
            traffic: traffic.clone(),
            pong,
            sent_beats,
            pieces: fragment::Reassembly::default(),
        };
        let outbound =
            Outbound { writer: Writer(write), sealer: session.sealer, traffic: traffic.clone(), beats, pongs };
        let failed = deliver.clone();
        Self {
            peer,
            outgoing: Sender(outgoing),
            incoming,
            traffic,
            reader: tokio::spawn(inbound.run(deliver)),
            writer: tokio::spawn(outbound.run(queue, failed)),
        }
    }

    /// The proven peer.
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// A handle to send with; clones share the queue.
    pub fn sender(&self) -> Sender {
        self.outgoing.clone()
    }

    /// What has gone through.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// The next envelope, or why there is none any more. Cancel-safe.
    pub async fn receive(&mut self) -> Result<Envelope, Error> {
        self.incoming.recv().await.unwrap_or(Err(Error::Io(std::io::ErrorKind::BrokenPipe)))
    }

    /// Says why and ends; waits a moment for what is still queued to be written.
    pub async fn close(mut self, reason: CloseReason) {
        let _ = self.outgoing.offer(Envelope::Closing(Closing { reason }));
        // The writer ends itself after a `Closing`.
        let _ = timeout(Duration::from_secs(2), &mut self.writer).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

struct Inbound<R> {
    reader: Reader<R>,
    opener: Opener,
    traffic: Arc<Traffic>,
    pong: mpsc::Sender<Beat>,
    sent_beats: watch::Receiver<(u64, Instant)>,
    pieces: fragment::Reassembly,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    async fn run(mut self, deliver: mpsc::Sender<Result<Envelope, Error>>) {
        loop {
            let next = self.next().await;
            let over = next.is_err();
            if deliver.send(next).await.is_err() || over {
                return;
            }
        }
    }

    /// The next envelope that is for our owner; beats are handled here.
    async fn next(&mut self) -> Result<Envelope, Error> {
        loop {
            let (header, sealed) = timeout(SILENCE, self.reader.frame()).await.map_err(|_| Error::Silent)??;
            self.traffic.received.fetch_add((record::HEADER + sealed.len()) as u64, Ordering::Relaxed);
            let Some(whole) = self.pieces.take(&self.opener.open(header, &sealed)?)? else { continue };
            match Envelope::decode(&whole)? {
                // A peer that floods us with beats gets few answers, and no queue.
                Envelope::Ping(beat) => drop(self.pong.try_send(beat)),
                Envelope::Pong(beat) => self.note(beat),
                Envelope::Closing(Closing { reason }) => return Err(Error::Closed(reason)),
                Envelope::Unknown(kind) => tracing::debug!(kind, "skipped an envelope of unknown kind"),
                envelope => return Ok(envelope),
            }
        }
    }

    fn note(&self, beat: Beat) {
        let (n, at) = *self.sent_beats.borrow();
        if beat.n == n {
            self.traffic.round_trip_us.store(at.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
    }
}

struct Outbound<W> {
    writer: Writer<W>,
    sealer: Sealer,
    traffic: Arc<Traffic>,
    beats: watch::Sender<(u64, Instant)>,
    pongs: mpsc::Receiver<Beat>,
}

impl<W: AsyncWrite + Unpin> Outbound<W> {
    async fn run(mut self, mut queue: mpsc::Receiver<Envelope>, failed: mpsc::Sender<Result<Envelope, Error>>) {
        if let Err(error) = self.drain(&mut queue).await {
            // The reader usually finds out too; whoever is first is heard, the owner needs one.
            let _ = failed.try_send(Err(error));
        }
        let _ = timeout(STEP, self.writer.0.shutdown()).await;
    }

    async fn drain(&mut self, queue: &mut mpsc::Receiver<Envelope>) -> Result<(), Error> {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            let envelope = tokio::select! {
                biased;
                Some(beat) = self.pongs.recv() => Envelope::Pong(beat),
                envelope = queue.recv() => match envelope {
                    Some(envelope) => envelope,
                    None => return Ok(()),
                },
                _ = beat.tick() => self.beat(),
            };
            let last = matches!(envelope, Envelope::Closing(_));
            self.write(&envelope).await?;
            if last {
                return Ok(());
            }
        }
    }

    fn beat(&self) -> Envelope {
        let n = self.beats.borrow().0 + 1;
        self.beats.send_replace((n, Instant::now()));
        Envelope::Ping(Beat { n })
    }

    async fn write(&mut self, envelope: &Envelope) -> Result<(), Error> {
        let envelope = envelope.encode();
        if envelope.len() > limits::ENVELOPE {
            // The peer would have to end the session, and after a resume it would be sent once more.
            tracing::warn!(bytes = envelope.len(), "not sent: an envelope beyond the limit");
            return Ok(());
        }
        for piece in fragment::split(&envelope, record::MAX_PLAINTEXT) {
            let frame = self.sealer.seal(&piece)?;
            self.writer.write(&frame).await?;
            self.traffic.sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
