//! A channel: envelopes both ways over one stream of one path, sealed and opened off the swarm's task.
//!
//! It ends with its stream; the session's owner above opens a new one on a better or a living path and resumes. What
//! it guarantees while it lives: envelopes of a [lane](farhelm_core::wire::lane) arrive whole, in order, from the proven
//! peer, or the channel ends; what is urgent overtakes what is large.
//!
//! Both sides' memory is bounded. A full incoming queue stops reading, so the peer slows down. What waits to be sent is
//! counted in bytes: for an urgent or large envelope beyond the bound the sender decides ([`Sender::offer`] or
//! [`Sender::send`]); of the stream a thread's queue is dropped, and [`Gaps`] says when it can be shown anew.

mod hands;
mod outgoing;
mod phone;
mod rekeying;
mod wire;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::session::{Session, flow, handshake, record, rekey};
use farhelm_core::wire::envelope::{CloseReason, Closing};
use farhelm_core::wire::{Envelope, cbor, fragment, limits, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use hands::{Delivery, Inbound, Outbound, Shared, now};
use outgoing::{Outgoing, Parcel};
pub use outgoing::{QUEUED, Waiting};
pub use phone::{Pairing, pair, resume};
use wire::{Reader, Writer};
pub use wire::{STEP, Wire};

/// Envelopes that may wait for a channel's owner, as long as they have no more than [`UNHEARD`] bytes together.
pub const QUEUE: usize = 256;
/// Bytes that may wait for a channel's owner: twice the largest envelope, so that one is read while the next arrives.
/// With what is being put together a peer that has proven itself costs five envelopes at the most (40 MiB).
pub const UNHEARD: usize = 2 * limits::ENVELOPE;
/// How often a channel asks whether the peer's program is there. A dead path is noticed earlier, by `probe`, while
/// somebody looks; else nothing is to wake a phone's radio more often than this.
const BEAT: Duration = Duration::from_secs(25);
/// How long silence may last before the channel ends: two beats, and time for the answer.
const SILENCE: Duration = Duration::from_secs(60);

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
    /// A rekey that went wrong, or didn't come.
    #[error(transparent)]
    Rekey(#[from] rekey::Error),
    /// Pieces that don't make an envelope. Peer's fault.
    #[error(transparent)]
    Fragment(#[from] fragment::Error),
    /// An envelope that can't be read. Peer's fault.
    #[error("unreadable envelope: {0}")]
    Envelope(#[from] cbor::Error),
    /// Pieces of the stream that don't fit one another. Peer's fault.
    #[error(transparent)]
    Stream(#[from] stream::Gap),
    /// The peer confirmed what wasn't sent. Peer's fault.
    #[error(transparent)]
    Misconfirmed(#[from] flow::Misconfirmed),
    /// The peer is there and doesn't say that it receives anything.
    #[error("the peer confirms nothing")]
    Unconfirmed,
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

    fn note(&self, round_trip: Duration) {
        // Under a microsecond is still a round trip.
        self.round_trip_us.store((round_trip.as_micros() as u64).max(1), Ordering::Relaxed);
    }

    /// The last measured round trip, through both programs.
    pub fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip_us.load(Ordering::Relaxed)).filter(|us| *us > 0).map(Duration::from_micros)
    }
}

/// Sends envelopes into a channel.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Shared>);

/// The channel doesn't take the envelope: it ended, or for [`Sender::offer`], its lane is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel takes no more")]
pub struct NotTaken;

impl Sender {
    /// Waits for room in the envelope's lane.
    pub async fn send(&self, envelope: Envelope) -> Result<(), NotTaken> {
        let mut parcel = Parcel::new(envelope);
        loop {
            // From here on every change is heard, also one before we wait.
            let mut room = pin!(self.0.room.notified());
            room.as_mut().enable();
            self.push(&mut parcel)?;
            if parcel.is_none() {
                return Ok(());
            }
            room.await;
        }
    }

    /// Never waits: for callers that must not be held up by a slow peer.
    pub fn offer(&self, envelope: Envelope) -> Result<(), NotTaken> {
        let mut parcel = Parcel::new(envelope);
        self.push(&mut parcel)?;
        parcel.map_or(Ok(()), |_| Err(NotTaken))
    }

    /// What waits for the peer, and what is under way.
    pub fn waiting(&self) -> Waiting {
        self.0.lock().waiting()
    }

    /// Nobody shows this thread on this channel, so after a [gap](Gaps) it needs no snapshot.
    pub fn release(&self, thread: &str) {
        self.0.lock().release(thread);
    }

    /// Takes the parcel if there is room; an error if there never will be.
    fn push(&self, parcel: &mut Option<Parcel>) -> Result<(), NotTaken> {
        let mut outgoing = self.0.lock();
        if outgoing.is_closed() {
            return Err(NotTaken);
        }
        let Some(taken) = parcel.take_if(|parcel| outgoing.has_room(parcel.lane())) else { return Ok(()) };
        outgoing.push(taken, now());
        drop(outgoing);
        self.0.work.notify_one();
        self.0.gap.notify_one();
        Ok(())
    }
}

/// Says which threads lost their part of the stream, because the peer was too slow.
#[derive(Debug)]
pub struct Gaps(Arc<Shared>);

impl Gaps {
    /// The next thread that can be shown anew: nothing of it is sent until its snapshot is, or until it is
    /// [released](Sender::release). Cancel-safe; waits for ever when there is none.
    pub async fn next(&mut self) -> String {
        loop {
            if let Some(thread) = self.0.lock().gap() {
                return thread;
            }
            self.0.gap.notified().await;
        }
    }
}

/// A live channel. Dropping it cuts the stream; [`close`](Self::close) says goodbye first.
#[derive(Debug)]
pub struct Channel {
    peer: NodeId,
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Delivery>,
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
        Self::go_on(wire, session, 0)
    }

    /// As [`start`](Self::start), with so many bytes of pieces sent already.
    fn go_on<S>(wire: Wire<S>, session: Session, early: usize) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        #[cfg(feature = "faults")]
        let session = crate::faults::often(session);
        let peer = session.peer();
        let (read, write) = tokio::io::split(wire.into_stream());
        let (deliver, incoming) = mpsc::channel(QUEUE);
        let traffic = Arc::new(Traffic::default());
        let mut outgoing = Outgoing::new(now());
        outgoing.sent_early(early, now());
        let shared = Arc::new(Shared::new(outgoing, session.root));
        let inbound = Inbound::new(Reader(read), session.opener, traffic.clone(), shared.clone());
        let outbound = Outbound {
            writer: Writer(write),
            sealer: session.sealer,
            traffic: traffic.clone(),
            shared: shared.clone(),
        };
        let failed = deliver.clone();
        let (reader, writer) = (tokio::spawn(inbound.run(deliver)), tokio::spawn(outbound.run(failed)));
        Self { peer, shared, incoming, traffic, reader, writer }
    }

    /// The proven peer.
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// A handle to send with; clones share the lanes.
    pub fn sender(&self) -> Sender {
        Sender(self.shared.clone())
    }

    /// Where the stream was too much for the peer; for one listener.
    pub fn gaps(&self) -> Gaps {
        Gaps(self.shared.clone())
    }

    /// What has gone through.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// The next envelope, or why there is none any more. Cancel-safe.
    pub async fn receive(&mut self) -> Result<Envelope, Error> {
        let delivered = self.incoming.recv().await.unwrap_or(Err(Error::Io(std::io::ErrorKind::BrokenPipe)))?;
        Ok(delivered.0)
    }

    /// Says why and ends; waits a moment for what is urgent and still waits. The stream and bulk are let go.
    pub async fn close(mut self, reason: CloseReason) {
        let _ = self.sender().offer(Envelope::Closing(Closing { reason }));
        // The writer ends itself after a `Closing`.
        let _ = timeout(Duration::from_secs(2), &mut self.writer).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.end();
        self.reader.abort();
        self.writer.abort();
    }
}

#[cfg(test)]
mod tests;
