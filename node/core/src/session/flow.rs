//! How much may be under way on a path, and how that is known: bytes sent, bytes that the peer says it has received.
//!
//! Priorities are worth something only if little is in flight: what was handed to the network can't be overtaken any
//! more. So streams and bulk go out while less than a [`Window`] of bytes isn't confirmed; the receiving side counts
//! what arrives and confirms it ([`Receipts`]). That says *received*, not *stored*: the log's acknowledgements say that.
//!
//! # The window
//! It starts at [`START`] and grows with each confirmation, to what the path carries in [`DELAY`] by its measured rate:
//! what a person waits for is never longer behind a screenshot than that. Where a round trip alone takes most of it, the
//! window is one and a half round trips' worth, as less would starve the path; then half a round trip may stand in
//! queues. It never falls under [`LEAST`], and begins anew after a
//! [`PAUSE`].
//!
//! Rate and round trip are measured on the bytes themselves. The least round trip counts, and any that a small piece
//! took with nothing in flight before it, as others contain our own queue; if that hasn't happened for [`STALE`], the window
//! is let run empty once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that may be in flight while nothing is known: a quarter of a second at 256 kbit/s.
pub const START: usize = 8 * 1024;
/// The window at the least, whatever was measured: two pieces, so that one is under way while the other is confirmed.
pub const LEAST: usize = 2 * 1024;
/// The window at the most: a quarter of a second at 16 Mbit/s. With a short round trip it carries more than anybody here
/// needs, and if a path suddenly becomes slow, no more than this is in its queue.
pub const MOST: usize = 512 * 1024;
/// After a pause like this nothing is known of a path.
pub const PAUSE: Duration = Duration::from_secs(1);
/// How long what is in flight may take to arrive.
pub const DELAY: Duration = Duration::from_millis(250);
/// How long a measured round trip counts.
pub const STALE: Duration = Duration::from_secs(10);
/// A piece that a round trip is measured by: on a slow path a larger one would measure itself.
const PROBE: usize = 1024;
/// How long the window is let run empty at the most.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a peer may leave bytes unconfirmed that we wait for.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a receiver leaves bytes unconfirmed at the most.
pub const CONFIRM: Duration = Duration::from_millis(50);

/// Bytes after which a receiver confirms at once: a quarter of the first window, an eighth of the largest.
const STEPS: std::ops::RangeInclusive<u64> = START as u64 / 4..=MOST as u64 / 8;
/// Pieces that are remembered one by one; with more in flight some aren't measured.
const MARKS: usize = 1024;

/// The peer confirmed what it can't have received, or less than before. Peer's fault; the path closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer confirmed {0} bytes, which isn't what was sent")]
pub struct Misconfirmed(pub u64);

/// What one side has in flight, and may have.
#[derive(Debug)]
pub struct Window {
    sent: u64,
    confirmed: u64,
    confirmed_at: Instant,
    size: usize,
    /// Bytes a second.
    rate: f64,
    round_trip: Option<Duration>,
    /// When a round trip was last begun with nothing in flight.
    clear_at: Instant,
    /// Something waits for the window.
    held: bool,
    marks: VecDeque<Mark>,
}

/// A piece in flight, and what was known when it went.
#[derive(Debug, Clone, Copy)]
struct Mark {
    upto: u64,
    at: Instant,
    confirmed: u64,
    confirmed_at: Instant,
    /// Nothing was in flight before it, and it is small.
    clear: bool,
    /// More was waiting: a rate measured on it is the path's, not ours.
    held: bool,
}

impl Window {
    /// Of a path that begins.
    pub const fn new(now: Instant) -> Self {
        Self {
            sent: 0,
            confirmed: 0,
            confirmed_at: now,
            size: START,
            rate: 0.0,
            round_trip: None,
            clear_at: now,
            held: false,
            marks: VecDeque::new(),
        }
    }

    /// Whether a piece that can wait may go now. What says no is kept: it is what makes a measured rate the path's.
    pub fn may_send(&mut self, now: Instant) -> bool {
        let open = self.is_open(now);
        self.held |= !open;
        open
    }

    fn is_open(&self, now: Instant) -> bool {
        let in_flight = self.in_flight();
        in_flight == 0 || (in_flight < self.size as u64 && !self.drains(now))
    }

    /// Nothing waits any more.
    pub const fn idle(&mut self) {
        self.held = false;
    }

    /// A piece of this size went out, whether it had to wait or not.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        let clear = self.in_flight() == 0 && bytes <= PROBE;
        if self.in_flight() == 0 {
            if now >= self.confirmed_at + PAUSE {
                (self.size, self.rate) = (self.size.min(START), 0.0);
            }
            // Time in which nothing was under way says nothing about the path.
            self.confirmed_at = now;
        }
        if clear || now >= self.clear_at + STALE + DRAIN {
            self.clear_at = now;
        }
        self.sent += bytes as u64;
        if self.marks.len() < MARKS {
            let Self { sent: upto, confirmed, confirmed_at, held, .. } = *self;
            self.marks.push_back(Mark { upto, at: now, confirmed, confirmed_at, clear, held });
        }
    }

    /// The peer has received this much since the path began.
    pub fn confirm(&mut self, received: u64, now: Instant) -> Result<(), Misconfirmed> {
        if received > self.sent || received < self.confirmed {
            return Err(Misconfirmed(received));
        }
        let fresh = received - self.confirmed;
        (self.confirmed, self.confirmed_at) = (received, now);
        let mut last: Option<Mark> = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.upto <= received) {
            // In any case, as the path may have become longer.
            if mark.clear {
                self.round_trip = Some(now.saturating_duration_since(mark.at));
            }
            last = Some(mark);
        }
        // What doesn't fill the path says nothing of what it carries.
        if last.is_some_and(|mark| self.measure(mark, now)) {
            self.resize(fresh);
        }
        Ok(())
    }

    /// Says whether the path was full: more waited for the window, or it took so long that it must have stood in a queue.
    fn measure(&mut self, mark: Mark, now: Instant) -> bool {
        let round_trip = now.saturating_duration_since(mark.at);
        let least = self.round_trip.map_or(round_trip, |least| least.min(round_trip));
        self.round_trip = Some(least);
        let took = now.saturating_duration_since(mark.confirmed_at).max(Duration::from_millis(1));
        let rate = (self.confirmed - mark.confirmed) as f64 / took.as_secs_f64();
        let queued = round_trip > least + DELAY;
        if rate > self.rate || queued {
            self.rate = rate;
        } else if mark.held {
            self.rate += (rate - self.rate) / 4.0;
        }
        mark.held || self.held || queued
    }

    /// Towards what the path carries in the time allowed; upwards by no more than what arrived, so twice in a round trip.
    fn resize(&mut self, fresh: u64) {
        let time = self.round_trip.unwrap_or_default().mul_f64(1.5).max(DELAY);
        let wanted = (self.rate * time.as_secs_f64()) as usize;
        self.size = wanted.min(self.size + fresh as usize).clamp(LEAST, MOST);
    }

    /// Whether it is let run empty, to see a round trip without our own queue.
    fn drains(&self, now: Instant) -> bool {
        (self.clear_at + STALE..self.clear_at + STALE + DRAIN).contains(&now)
    }

    /// When [`may_send`](Self::may_send) may say something else without a confirmation, or the patience ends.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let drained = Some(self.clear_at + STALE + DRAIN).filter(|at| *at > now);
        let end = self.confirmed_at + PATIENCE;
        (self.held && self.in_flight() > 0).then(|| drained.map_or(end, |at| at.min(end)))
    }

    /// Whether the peer has left us waiting for a confirmation for too long.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.held && self.in_flight() > 0 && now >= self.confirmed_at + PATIENCE
    }

    /// Room for a piece that can wait: small while the rate is unknown or low, so that what is urgent gets between.
    pub fn room(&self, frame: usize) -> usize {
        if self.in_flight() == 0 {
            return PROBE.min(frame);
        }
        let room = if self.size < 64 * 1024 { (self.size / 2).clamp(1024, 4096) } else { (self.size / 16).max(4096) };
        room.min(frame)
    }

    /// Bytes that the peer hasn't confirmed.
    pub const fn in_flight(&self) -> u64 {
        self.sent - self.confirmed
    }

    /// Bytes that may be in flight.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// The measured rate, in bytes a second; 0 while it isn't known.
    pub const fn rate(&self) -> f64 {
        self.rate
    }
}

/// The receiving side: when to say how much has arrived. At once after a good part of the peer's window, which is
/// guessed from how fast bytes come; [`CONFIRM`] after the first byte otherwise.
#[derive(Debug)]
pub struct Receipts {
    received: u64,
    confirmed: u64,
    /// When the first unconfirmed byte came.
    since: Option<Instant>,
    step: u64,
}

impl Default for Receipts {
    fn default() -> Self {
        Self { received: 0, confirmed: 0, since: None, step: *STEPS.start() }
    }
}

impl Receipts {
    /// This much more has arrived.
    pub fn take(&mut self, bytes: usize, now: Instant) {
        self.received += bytes as u64;
        self.since.get_or_insert(now);
    }

    /// What to confirm now, if anything.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        let waited = now.saturating_duration_since(self.since?);
        let fresh = self.received - self.confirmed;
        if fresh < self.step && waited < CONFIRM {
            return None;
        }
        let step = match fresh >= self.step {
            true if waited < CONFIRM / 4 => self.step * 2,
            false => self.step / 2,
            true => self.step,
        };
        self.step = step.clamp(*STEPS.start(), *STEPS.end());
        (self.confirmed, self.since) = (self.received, None);
        Some(self.received)
    }

    /// When [`due`](Self::due) has something, whatever comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + CONFIRM)
    }
}

#[cfg(test)]
mod tests;
