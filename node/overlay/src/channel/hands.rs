//! A channel's two tasks: one reads, opens and delivers, the other takes the next piece, seals and writes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use farhelm_core::session::record::{self, MAX_PLAINTEXT, Opener, Sealer};
use farhelm_core::session::rekey::{Message, Root};
use farhelm_core::wire::envelope::Closing;
use farhelm_core::wire::fragment::Cutter;
use farhelm_core::wire::lane::Lane;
use farhelm_core::wire::stream;
use farhelm_core::wire::{Envelope, fragment};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::outgoing::{Next, Outgoing};
use super::rekeying::Rekeying;
use super::wire::{Reader, STEP, Writer};
use super::{Error, SILENCE, Traffic, UNHEARD};

/// What the senders and both tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    outgoing: Mutex<Outgoing>,
    pub(super) rekeying: Rekeying,
    /// There is something for the writer.
    pub(super) work: Notify,
    /// Something has left, or the channel has ended.
    pub(super) room: Notify,
    /// A gap may be told.
    pub(super) gap: Notify,
}

impl Shared {
    pub(super) fn new(outgoing: Outgoing, root: Root) -> Self {
        let (work, room, gap) = Default::default();
        Self { outgoing: Mutex::new(outgoing), rekeying: Rekeying::new(root), work, room, gap }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is taken any more; whoever waits for room learns it.
    pub(super) fn end(&self) {
        self.lock().end();
        self.room.notify_waiters();
    }
}

/// What the reader hands over: an envelope with the room that it takes until it is heard, or why there is none any more.
pub(super) type Delivery = Result<(Envelope, OwnedSemaphorePermit), Error>;

/// The time by tokio's clock, which tests may stop.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) struct Inbound<R> {
    reader: Reader<R>,
    opener: Opener,
    traffic: Arc<Traffic>,
    shared: Arc<Shared>,
    pieces: fragment::Reassembly,
    stream: stream::Inbound,
    /// For what waits for the owner.
    room: Arc<Semaphore>,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub(super) fn new(reader: Reader<R>, opener: Opener, traffic: Arc<Traffic>, shared: Arc<Shared>) -> Self {
        let (pieces, stream) = Default::default();
        let room = Arc::new(Semaphore::new(UNHEARD));
        Self { reader, opener, traffic, shared, pieces, stream, room }
    }

    pub(super) async fn run(mut self, deliver: mpsc::Sender<Delivery>) {
        loop {
            let next = self.next().await;
            let over = next.is_err();
            if deliver.send(next).await.is_err() || over {
                return;
            }
        }
    }

    /// The next envelope that is for our owner, once there is room for it.
    async fn next(&mut self) -> Delivery {
        loop {
            let Some(whole) = self.whole().await? else { continue };
            if let Some(envelope) = self.heed(Envelope::decode(&whole)?)? {
                let room = self.room.clone().acquire_many_owned(whole.len() as u32).await;
                return Ok((envelope, room.expect("nobody closes it")));
            }
        }
    }

    /// Reads a frame; gives the envelope that it completes.
    async fn whole(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let (header, sealed) = timeout(SILENCE, self.reader.frame()).await.map_err(|_| Error::Silent)??;
        self.traffic.received.fetch_add((record::HEADER + sealed.len()) as u64, Ordering::Relaxed);
        let piece = self.opener.open(header, &sealed)?;
        self.shared.rekeying.opened(&self.opener);
        let (lane, whole) = self.pieces.take(&piece)?;
        self.shared.lock().received(lane, piece.len(), now());
        self.shared.work.notify_one();
        Ok(whole)
    }

    /// What keeps the channel going is dealt with here.
    fn heed(&mut self, envelope: Envelope) -> Result<Option<Envelope>, Error> {
        match envelope {
            Envelope::Ping(beat) => self.shared.lock().answer(beat),
            Envelope::Pong(beat) => {
                if let Some(round_trip) = self.shared.lock().answered(beat, now()) {
                    self.traffic.note(round_trip);
                }
            }
            Envelope::Credit(credit) => self.shared.lock().confirm(credit, now())?,
            Envelope::Rekeying(message) => self.shared.rekeying.receive(message, &mut self.opener)?,
            Envelope::Closing(Closing { reason }) => return Err(Error::Closed(reason)),
            Envelope::Unknown(kind) => tracing::debug!(kind, "skipped an envelope of unknown kind"),
            envelope => return Ok(self.stream.take(envelope)?),
        }
        self.shared.work.notify_one();
        Ok(None)
    }
}

pub(super) struct Outbound<W> {
    pub(super) writer: Writer<W>,
    pub(super) sealer: Sealer,
    pub(super) traffic: Arc<Traffic>,
    pub(super) shared: Arc<Shared>,
}

impl<W: AsyncWrite + Unpin> Outbound<W> {
    pub(super) async fn run(mut self, failed: mpsc::Sender<Delivery>) {
        if let Err(error) = self.drain().await {
            // The reader usually finds out too; whoever is first is heard, the owner needs one.
            let _ = failed.try_send(Err(error));
        }
        self.shared.end();
        let _ = timeout(STEP, self.writer.0.shutdown()).await;
    }

    async fn drain(&mut self) -> Result<(), Error> {
        loop {
            self.rekey().await?;
            let next = self.shared.lock().next(now());
            match next {
                Next::Write(piece) => {
                    self.shared.room.notify_waiters();
                    self.shared.gap.notify_one();
                    self.write(&piece).await?;
                }
                Next::Last(piece) => return self.write(&piece).await,
                Next::Wait(until) => {
                    let _ = tokio::time::timeout_at(until.into(), self.shared.work.notified()).await;
                }
                Next::Overdue => return Err(Error::Unconfirmed),
            }
        }
    }

    /// What the keys need goes before everything.
    async fn rekey(&mut self) -> Result<(), Error> {
        while let Some(frame) = self.shared.rekeying.frame(&mut self.sealer, piece_of)? {
            self.put(&frame).await?;
        }
        Ok(())
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let frame = self.sealer.seal(piece)?;
        self.put(&frame).await
    }

    async fn put(&mut self, frame: &[u8]) -> Result<(), Error> {
        #[cfg(feature = "faults")]
        let frame = &*crate::faults::frame().of(frame);
        self.writer.write(frame).await?;
        self.traffic.sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn piece_of(message: Message) -> Vec<u8> {
    Cutter::new(Lane::Control, Envelope::Rekeying(message).encode()).cut(MAX_PLAINTEXT)
}
