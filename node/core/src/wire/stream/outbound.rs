//! The host's side: notifications and snapshots in, what is worth a record out, when it is time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::read::{Common, Piece, Read, read};
use super::texts::Texts;
use super::{HOLD, PIECE, QUEUED};
use crate::wire::Envelope;
use crate::wire::envelope::Snapshot;

/// Counted for every envelope besides its texts.
const FLAT: usize = 128;

/// Threads of which nothing waits that are remembered, so that the next text of theirs is in time.
const REMEMBERED: usize = 64;

/// What one path's stream has to send.
#[derive(Debug)]
pub struct Outbound {
    limit: usize,
    queue: BTreeMap<u64, Queued>,
    /// When each of them goes. In a thread nothing goes before what came before it.
    times: BTreeSet<(Instant, u64)>,
    next: u64,
    threads: BTreeMap<String, Line>,
    texts: Texts,
    /// Bytes of notifications that wait.
    notes: usize,
    /// Bytes of snapshots that wait.
    snapshots: usize,
    /// The latest that anybody said it is: callers on several threads may be apart.
    clock: Option<Instant>,
}

#[derive(Debug)]
struct Queued {
    thread: String,
    what: What,
    at: Instant,
    bytes: usize,
}

#[derive(Debug)]
enum What {
    Whole(Box<Envelope>),
    Text(Common, Piece),
}

/// One thread's part of the queue. What is about no thread has the one without a name.
#[derive(Debug, Default)]
struct Line {
    /// Bytes of its notifications.
    bytes: usize,
    /// The texts that wait and may still grow, by item: one each, as two of one item aren't independent.
    growing: HashMap<String, u64>,
    /// When text of it went last.
    sent: Option<Instant>,
    lost: Option<Lost>,
}

/// Its queue was dropped, and so is what comes, until it is shown anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Untold,
    Told,
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new(QUEUED)
    }
}

impl Outbound {
    /// Holds at most `limit` bytes of notifications; or one that is larger, alone. Besides these a snapshot is taken as
    /// long as no more than half of that waits.
    pub fn new(limit: usize) -> Self {
        let (queue, times, threads, texts) = Default::default();
        Self { limit, queue, times, next: 0, threads, texts, notes: 0, snapshots: 0, clock: None }
    }

    /// Takes a notification, a snapshot, or something else that may be lost with the path.
    pub fn push(&mut self, envelope: Envelope, now: Instant) {
        let now = self.tick(now);
        match envelope {
            Envelope::Notification(notification) => match read(notification) {
                Read::Piece { thread, common, piece } => self.push_text(thread, common, piece, now),
                Read::Whole { thread, notification } => {
                    let bytes = notification.params.len();
                    self.push_whole(thread, Envelope::Notification(notification), bytes, now);
                }
            },
            Envelope::Snapshot(snapshot) => self.push_snapshot(snapshot, now),
            // It speaks of all that was sent of its thread before it.
            Envelope::Digest(digest) => {
                let bytes = FLAT * (1 + digest.turns.len());
                self.push_whole(digest.thread.clone(), Envelope::Digest(digest), bytes, now);
            }
            other => self.push_whole(String::new(), other, 0, now),
        }
    }

    /// What goes now.
    pub fn poll(&mut self, now: Instant) -> Option<Envelope> {
        let now = self.tick(now);
        let (_, number) = *self.times.first().filter(|(at, _)| *at <= now)?;
        let Queued { thread, what, .. } = self.remove(number)?;
        Some(match what {
            What::Text(common, piece) => {
                self.line(&thread).sent = Some(now);
                self.texts.write(thread, common, piece)
            }
            What::Whole(envelope) => match *envelope {
                Envelope::Notification(notification) => self.texts.close(notification),
                Envelope::Snapshot(snapshot) => {
                    self.texts.end(&thread);
                    Envelope::Snapshot(snapshot)
                }
                other => other,
            },
        })
    }

    /// When [`poll`](Self::poll) has something; in the past if it has now.
    pub fn deadline(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }

    /// A thread that lost its queue, once there is room for its snapshot; nothing of it is taken before that. Said once
    /// for each loss. If nobody wants the thread any more, say so ([`release`](Self::release)).
    pub fn gap(&mut self) -> Option<String> {
        if self.bytes() > self.limit / 2 {
            return None;
        }
        let (thread, line) = self.threads.iter_mut().find(|(_, line)| line.lost == Some(Lost::Untold))?;
        line.lost = Some(Lost::Told);
        Some(thread.clone())
    }

    /// Takes what comes of a thread that lost its queue without a snapshot: nobody looks at it.
    pub fn release(&mut self, thread: &str) {
        if let Some(line) = self.threads.get_mut(thread) {
            line.lost = None;
        }
    }

    /// Bytes that wait, about.
    pub const fn bytes(&self) -> usize {
        self.notes + self.snapshots
    }

    fn push_text(&mut self, thread: String, common: Common, piece: Piece, now: Instant) {
        let bytes = FLAT + common.params.len() + piece.text.len();
        if !self.make_room(&thread, bytes) {
            return;
        }
        if let Some(number) = self.line(&thread).growing.get(&piece.item).copied() {
            if self.grow(number, &common, &piece.text) {
                return;
            }
            self.settle(&thread, now);
        }
        let number = self.next;
        let line = self.line(&thread);
        let at = line.sent.map_or(now, |sent| now.max(sent + HOLD));
        line.growing.insert(piece.item.clone(), number);
        self.insert(Queued { thread, what: What::Text(common, piece), at, bytes });
    }

    /// Puts text to what waits of the same kind, if that doesn't become too much for one envelope.
    fn grow(&mut self, number: u64, same: &Common, more: &str) -> bool {
        let Some(queued) = self.queue.get_mut(&number) else { return false };
        let What::Text(common, Piece { text, .. }) = &mut queued.what else { return false };
        if common != same || text.len() + more.len() > PIECE {
            return false;
        }
        text.push_str(more);
        queued.bytes += more.len();
        self.notes += more.len();
        self.threads.entry(queued.thread.clone()).or_default().bytes += more.len();
        true
    }

    fn push_whole(&mut self, thread: String, envelope: Envelope, bytes: usize, now: Instant) {
        let bytes = bytes + FLAT;
        if self.make_room(&thread, bytes) {
            self.settle(&thread, now);
            self.insert(Queued { thread, what: What::Whole(Box::new(envelope)), at: now, bytes });
        }
    }

    fn push_snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        let thread = snapshot.thread.id.clone();
        if self.bytes() > self.limit / 2 {
            return self.lose(&thread);
        }
        let bytes = snapshot.thread.weight() + FLAT;
        self.line(&thread).lost = None;
        self.settle(&thread, now);
        let what = What::Whole(Box::new(Envelope::Snapshot(snapshot)));
        self.insert(Queued { thread, what, at: now, bytes });
    }

    /// Whether a notification of a thread is taken; drops queues until there is room for it, its own if that is the
    /// longest.
    fn make_room(&mut self, thread: &str, bytes: usize) -> bool {
        while self.line(thread).lost.is_none() && self.notes > 0 && self.notes + bytes > self.limit {
            let with = |id: &str, line: &Line| line.bytes + if id == thread && !id.is_empty() { bytes } else { 0 };
            let longest = self.threads.iter().max_by_key(|(id, line)| with(id, line)).map(|(id, _)| id.clone());
            self.lose(&longest.unwrap_or_default());
        }
        self.line(thread).lost.is_none()
    }

    /// Drops a thread's queue. What is about no thread isn't shown anew; there is little of it, and soon more.
    fn lose(&mut self, thread: &str) {
        let of_it: Vec<_> = self.queue.iter().filter(|(_, q)| q.thread == thread).map(|(number, _)| *number).collect();
        for number in of_it {
            self.remove(number);
        }
        self.line(thread).lost = (!thread.is_empty()).then_some(Lost::Untold);
    }

    /// What waits of a thread goes as soon as there is room: something comes behind it.
    fn settle(&mut self, thread: &str, now: Instant) {
        let growing = std::mem::take(&mut self.line(thread).growing);
        for number in growing.into_values() {
            let Some(queued) = self.queue.get_mut(&number) else { continue };
            self.times.remove(&(queued.at, number));
            queued.at = queued.at.min(now);
            self.times.insert((queued.at, number));
        }
    }

    fn insert(&mut self, queued: Queued) {
        let number = self.next;
        self.next += 1;
        self.times.insert((queued.at, number));
        self.count(&queued, usize::wrapping_add);
        self.queue.insert(number, queued);
    }

    fn remove(&mut self, number: u64) -> Option<Queued> {
        let queued = self.queue.remove(&number)?;
        self.times.remove(&(queued.at, number));
        self.count(&queued, usize::wrapping_sub);
        if let What::Text(_, Piece { item, .. }) = &queued.what {
            let growing = &mut self.line(&queued.thread).growing;
            if growing.get(item) == Some(&number) {
                growing.remove(item);
            }
        }
        self.forget_idle();
        Some(queued)
    }

    fn count(&mut self, queued: &Queued, by: fn(usize, usize) -> usize) {
        if matches!(&queued.what, What::Whole(envelope) if matches!(**envelope, Envelope::Snapshot(_))) {
            self.snapshots = by(self.snapshots, queued.bytes);
        } else {
            self.notes = by(self.notes, queued.bytes);
            let line = self.line(&queued.thread);
            line.bytes = by(line.bytes, queued.bytes);
        }
    }

    fn line(&mut self, thread: &str) -> &mut Line {
        if !self.threads.contains_key(thread) {
            self.threads.insert(thread.to_owned(), Line::default());
        }
        self.threads.get_mut(thread).expect("it was put there")
    }

    fn forget_idle(&mut self) {
        if self.threads.len() > REMEMBERED {
            let now = self.clock;
            let rests = |line: &Line| line.sent.is_none_or(|sent| now.is_some_and(|now| sent + HOLD <= now));
            self.threads.retain(|_, line| line.bytes > 0 || line.lost.is_some() || !rests(line));
        }
    }

    fn tick(&mut self, now: Instant) -> Instant {
        let now = self.clock.map_or(now, |latest| latest.max(now));
        self.clock = Some(now);
        now
    }
}
