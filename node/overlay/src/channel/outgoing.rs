//! What waits to be sent, by lanes, and which piece goes next. No I/O and no clock: the writer asks, and writes.
//!
//! Control goes first, then what is urgent; the stream and bulk share what is left, a piece each in turn, as long as the
//! credit window is open. What is urgent doesn't wait for the window, unless it is so large ([`LARGE`]) that it would
//! itself be what others wait behind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use farhelm_core::session::flow::{Misconfirmed, Receipts, Window};
use farhelm_core::session::record::MAX_PLAINTEXT;
use farhelm_core::wire::envelope::{Beat, Closing, Credit};
use farhelm_core::wire::fragment::Cutter;
use farhelm_core::wire::lane::{self, Lane};
use farhelm_core::wire::stream::Outbound;
use farhelm_core::wire::{Envelope, limits};

use super::BEAT;

/// Bytes that may wait in the urgent lane, and as many in bulk: room for a message with an image and the answers to it.
/// The envelope that passes the bound is taken whole, so a channel holds at most twice this and two envelopes (24 MiB),
/// besides the stream's queue.
pub const QUEUED: usize = 4 * 1024 * 1024;
/// Counted for every envelope besides its bytes.
const FLAT: usize = 64;
/// An urgent envelope beyond this size waits for the credit window, in its place.
const LARGE: usize = 64 * 1024;
/// Beats of the peer that may wait for their answer; a peer that floods us gets few.
const PONGS: usize = 4;

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Seals and writes this piece.
    Write(Vec<u8>),
    /// Writes this and ends.
    Last(Vec<u8>),
    /// Waits until then, or until there is something new.
    Wait(Instant),
    /// The peer leaves us waiting for its confirmation.
    Overdue,
}

/// What a channel holds for its peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waiting {
    /// Bytes in the urgent lane.
    pub urgent: usize,
    /// Bytes in the stream's, about.
    pub stream: usize,
    /// Bytes in bulk.
    pub bulk: usize,
    /// Bytes sent that the peer hasn't confirmed.
    pub in_flight: u64,
    /// The credit window.
    pub window: usize,
    /// The measured rate, in bytes a second; 0 while it isn't known.
    pub rate: f64,
}

/// A lane of encoded envelopes.
#[derive(Debug)]
struct Line {
    lane: Lane,
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
    open: Option<Cutter>,
}

impl Line {
    const fn new(lane: Lane) -> Self {
        Self { lane, queue: VecDeque::new(), bytes: 0, open: None }
    }

    fn push(&mut self, envelope: Vec<u8>) {
        self.bytes += envelope.len() + FLAT;
        self.queue.push_back(envelope);
    }

    /// The envelope that goes next, or is under way.
    fn open(&mut self) -> Option<&mut Cutter> {
        if self.open.is_none() {
            let envelope = self.queue.pop_front()?;
            self.bytes -= envelope.len() + FLAT;
            self.open = Some(Cutter::new(self.lane, envelope));
        }
        self.open.as_mut()
    }

    fn cut(&mut self, room: usize) -> Option<Vec<u8>> {
        let piece = self.open()?.cut(room);
        self.open.take_if(|cutter| cutter.is_over());
        Some(piece)
    }

    fn waits(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }

    /// Bytes that wait, those of the envelope under way included.
    fn bytes(&self) -> usize {
        self.bytes + self.open.as_ref().map_or(0, Cutter::rest)
    }
}

/// A channel's sending side.
#[derive(Debug)]
pub(super) struct Outgoing {
    control: VecDeque<Envelope>,
    urgent: Line,
    /// The envelope of the stream that is under way; what waits is in `stream`.
    streamed: Line,
    stream: Outbound,
    bulk: Line,
    /// Of stream and bulk, the one that goes next if both can.
    turn: Lane,
    window: Window,
    receipts: Receipts,
    beat: u64,
    beat_at: Instant,
    closing: Option<Closing>,
    over: bool,
}

impl Outgoing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            control: VecDeque::new(),
            urgent: Line::new(Lane::Urgent),
            streamed: Line::new(Lane::Stream),
            stream: Outbound::default(),
            bulk: Line::new(Lane::Bulk),
            turn: Lane::Stream,
            window: Window::new(now),
            receipts: Receipts::default(),
            beat: 0,
            beat_at: now,
            closing: None,
            over: false,
        }
    }

    /// These bytes went before the channel began.
    pub(super) fn sent_early(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            self.window.sent(bytes, now);
        }
    }

    /// Whether an envelope of this lane would be taken now.
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        match lane {
            Lane::Urgent => self.urgent.bytes() < QUEUED,
            Lane::Bulk => self.bulk.bytes() < QUEUED,
            Lane::Control | Lane::Stream => true,
        }
    }

    /// Whether nothing is taken any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.over || self.closing.is_some()
    }

    /// Nothing is taken or sent any more.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// Takes an envelope, whether there is room or not.
    pub(super) fn push(&mut self, parcel: Parcel, now: Instant) {
        match parcel {
            Parcel::Encoded(Lane::Bulk, envelope) => self.bulk.push(envelope),
            Parcel::Encoded(_, envelope) => self.urgent.push(envelope),
            Parcel::Streamed(envelope) => self.stream.push(envelope, now),
            Parcel::Control(Envelope::Closing(closing)) => self.closing = Some(closing),
            Parcel::Control(envelope) => self.control.push_back(envelope),
        }
    }

    /// The peer asks whether we are there.
    pub(super) fn answer(&mut self, beat: Beat) {
        if self.control.len() < PONGS {
            self.control.push_back(Envelope::Pong(beat));
        }
    }

    /// The peer has answered: how long that took, if it was the last beat.
    pub(super) fn answered(&self, beat: Beat, now: Instant) -> Option<Duration> {
        let sent_at = self.beat_at.checked_sub(BEAT)?;
        (beat.n == self.beat).then(|| now.saturating_duration_since(sent_at))
    }

    /// The peer confirms what it has received.
    pub(super) fn confirm(&mut self, credit: Credit, now: Instant) -> Result<(), Misconfirmed> {
        self.window.confirm(credit.received, now)
    }

    /// A piece of the peer's arrived.
    pub(super) fn received(&mut self, lane: Lane, bytes: usize, now: Instant) {
        if lane != Lane::Control {
            self.receipts.take(bytes, now);
        }
    }

    /// A thread whose stream was dropped, and for whose snapshot there is room now.
    pub(super) fn gap(&mut self) -> Option<String> {
        self.stream.gap()
    }

    /// Nobody shows this thread, so what comes of it is taken again without a snapshot.
    pub(super) fn release(&mut self, thread: &str) {
        self.stream.release(thread);
    }

    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            urgent: self.urgent.bytes(),
            stream: self.stream.bytes() + self.streamed.bytes(),
            bulk: self.bulk.bytes(),
            in_flight: self.window.in_flight(),
            window: self.window.size(),
            rate: self.window.rate(),
        }
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(control) = self.control(now) {
            return Next::Write(Cutter::new(Lane::Control, control.encode()).cut(MAX_PLAINTEXT));
        }
        if self.window.is_overdue(now) {
            return Next::Overdue;
        }
        if let Some(piece) = self.urgent(now).or_else(|| self.shared(now)) {
            self.window.sent(piece.len(), now);
            return Next::Write(piece);
        }
        match self.closing.filter(|_| !self.urgent.waits()) {
            Some(closing) => {
                Next::Last(Cutter::new(Lane::Control, Envelope::Closing(closing).encode()).cut(MAX_PLAINTEXT))
            }
            None => Next::Wait(self.deadline(now)),
        }
    }

    fn control(&mut self, now: Instant) -> Option<Envelope> {
        if let Some(received) = self.receipts.due(now) {
            return Some(Envelope::Credit(Credit { received }));
        }
        if now >= self.beat_at {
            (self.beat, self.beat_at) = (self.beat + 1, now + BEAT);
            return Some(Envelope::Ping(Beat { n: self.beat }));
        }
        self.control.pop_front()
    }

    fn urgent(&mut self, now: Instant) -> Option<Vec<u8>> {
        let is_large = self.urgent.open()?.rest() > LARGE;
        if is_large && self.closing.is_none() && !self.window.may_send(now) {
            return None;
        }
        self.urgent.cut(if is_large { self.window.room(MAX_PLAINTEXT) } else { MAX_PLAINTEXT })
    }

    /// A piece of the two lanes that share the window; none behind the last word.
    fn shared(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.closing.is_some() {
            return None;
        }
        let streams = self.streamed.waits() || self.stream.deadline().is_some_and(|at| at <= now);
        if !streams && !self.bulk.waits() {
            if !self.urgent.waits() {
                self.window.idle();
            }
            return None;
        }
        if self.urgent.waits() || !self.window.may_send(now) {
            return None;
        }
        let room = self.window.room(MAX_PLAINTEXT);
        if streams && (self.turn == Lane::Stream || !self.bulk.waits()) {
            self.turn = Lane::Bulk;
            return self.stream_piece(room, now);
        }
        self.turn = Lane::Stream;
        self.bulk.cut(room)
    }

    fn stream_piece(&mut self, room: usize, now: Instant) -> Option<Vec<u8>> {
        while !self.streamed.waits() {
            if let Some(envelope) = encode(&self.stream.poll(now)?) {
                self.streamed.push(envelope);
            }
        }
        self.streamed.cut(room)
    }

    fn deadline(&self, now: Instant) -> Instant {
        // What is due already waits for the window.
        let streams = self.stream.deadline().filter(|at| *at > now);
        [self.receipts.deadline(), self.window.deadline(now), streams]
            .into_iter()
            .flatten()
            .fold(self.beat_at, Instant::min)
    }
}

/// An envelope on its way to its lane. What can be is encoded before the lanes are locked.
#[derive(Debug)]
pub(super) enum Parcel {
    Control(Envelope),
    Streamed(Envelope),
    Encoded(Lane, Vec<u8>),
}

impl Parcel {
    /// Nothing, if the envelope is beyond the limit.
    pub(super) fn new(envelope: Envelope) -> Option<Self> {
        Some(match lane::of(&envelope) {
            Lane::Control => Self::Control(envelope),
            Lane::Stream => Self::Streamed(envelope),
            lane => Self::Encoded(lane, encode(&envelope)?),
        })
    }

    pub(super) const fn lane(&self) -> Lane {
        match self {
            Self::Control(_) => Lane::Control,
            Self::Streamed(_) => Lane::Stream,
            Self::Encoded(lane, _) => *lane,
        }
    }
}

/// An envelope's bytes, if they aren't beyond the limit. The peer would have to end the session, and after a resume it
/// would be sent once more.
fn encode(envelope: &Envelope) -> Option<Vec<u8>> {
    let envelope = envelope.encode();
    if envelope.len() > limits::ENVELOPE {
        tracing::warn!(bytes = envelope.len(), "not sent: an envelope beyond the limit");
        return None;
    }
    Some(envelope)
}

#[cfg(test)]
mod tests;
