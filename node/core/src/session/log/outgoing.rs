//! What goes to the peer: entries from when they are pushed until the peer has stored them.

use std::collections::VecDeque;

use super::{Begun, Error, Heard, LogId};

/// Entries that a log keeps for a peer that is away.
const ENTRIES: usize = 1024;
/// Bytes of them: two of the largest messages there are, or some thousand usual ones.
const BYTES: usize = 16 * 1024 * 1024;

/// The peer has been away for too long, or too much was said meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much waits for the other side")]
pub struct Full;

/// One direction's entries.
#[derive(Debug, Clone)]
pub struct Outgoing {
    log: LogId,
    /// Not acknowledged yet; their numbers are dense and end before `next`.
    entries: VecDeque<Vec<u8>>,
    bytes: usize,
    next: u64,
    stored: u64,
    /// The last one that may ever have been sent, on any path, by any process.
    sent: u64,
    /// The last one sent on the path there is; `None` without one.
    path: Option<u64>,
}

impl Outgoing {
    /// An empty log.
    pub const fn new(log: LogId) -> Self {
        Self { log, entries: VecDeque::new(), bytes: 0, next: 1, stored: 0, sent: 0, path: None }
    }

    /// What a store holds of it: the entries that weren't acknowledged, which end before `next`. Any may have been
    /// sent.
    pub fn restore(log: LogId, next: u64, entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let entries: VecDeque<_> = entries.into_iter().collect();
        let (bytes, last) = (entries.iter().map(Vec::len).sum(), next.saturating_sub(1));
        Self { log, entries, bytes, next: next.max(1), stored: last, sent: last, path: None }
    }

    /// Its name.
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// The first entry that is still here, or the next one that there will be.
    pub fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// The number that the next entry gets.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an entry in and gives its number. It is sent once [`stored`](Self::stored) says that it is on the disk.
    pub fn push(&mut self, body: Vec<u8>) -> Result<u64, Full> {
        if self.entries.len() >= ENTRIES || self.bytes + body.len() > BYTES {
            return Err(Full);
        }
        let seq = self.next;
        self.next += 1;
        self.bytes += body.len();
        self.entries.push_back(body);
        Ok(seq)
    }

    /// Everything up to this number is on the disk.
    pub fn stored(&mut self, upto: u64) {
        self.stored = self.stored.max(upto.min(self.next - 1));
    }

    /// What may go out in the first flight of a path, before the peer says what it has: entries from the first one on,
    /// as many as are stored and `bytes` hold. Say [`flew`](Self::flew) when they do.
    pub fn early(&self, bytes: usize) -> Vec<(u64, Vec<u8>)> {
        let (first, mut room) = (self.first(), bytes);
        let numbered = (first..=self.stored).zip(&self.entries);
        let fits = numbered.take_while(|(_, body)| {
            let fits = body.len() <= room;
            room = room.saturating_sub(body.len());
            fits
        });
        fits.map(|(seq, body)| (seq, body.clone())).collect()
    }

    /// Everything up to `last` went out early, or may have.
    pub fn flew(&mut self, last: u64) {
        self.sent = self.sent.max(last.min(self.stored));
    }

    /// A path begins on which everything up to `after` went out early: the rest follows.
    pub fn begin(&mut self, after: u64) {
        self.flew(after);
        self.path = Some(after.max(self.first() - 1));
    }

    /// The peer says what it has, at the beginning of a path.
    pub fn attach(&mut self, heard: Option<Heard>) -> Result<Begun, Error> {
        let before = self.first() - 1;
        let (begun, upto) = match heard {
            Some(heard) if heard.log == self.log && heard.upto >= before => (Begun::Resumed, heard.upto),
            // A new log is nothing that anybody could have missed.
            None if before == 0 => (Begun::Resumed, 0),
            _ => (Begun::Reset, before),
        };
        self.ack(upto)?;
        self.path = Some(self.path.unwrap_or(0).max(upto));
        Ok(begun)
    }

    /// The path is gone.
    pub fn detach(&mut self) {
        self.path = None;
    }

    /// The next entry for the path: its number and what it says.
    pub fn poll(&mut self) -> Option<(u64, &[u8])> {
        let seq = self.path? + 1;
        if seq > self.stored {
            return None;
        }
        let body = self.entries.get(usize::try_from(seq - self.first()).ok()?)?;
        self.path = Some(seq);
        self.sent = self.sent.max(seq);
        Some((seq, body))
    }

    /// The peer has stored everything up to this number. Says whether anything could be forgotten by that.
    pub fn ack(&mut self, upto: u64) -> Result<bool, Error> {
        if upto > self.sent {
            return Err(Error::BeyondSent { upto, sent: self.sent });
        }
        let first = self.first();
        while self.first() <= upto {
            let Some(body) = self.entries.pop_front() else { break };
            self.bytes -= body.len();
        }
        // It may come from an older path and be ahead of this one, which goes on behind it.
        let acknowledged = self.first() - 1;
        self.path = self.path.map(|path| path.max(acknowledged));
        Ok(self.first() > first)
    }

    /// Empties an entry that was never sent: it says nothing then, and keeps its number, as they are dense. Says whether
    /// it could be.
    pub fn withdraw(&mut self, seq: u64) -> bool {
        let place = seq.checked_sub(self.first()).and_then(|place| usize::try_from(place).ok());
        let unsent = place.filter(|_| seq > self.sent).and_then(|place| self.entries.get_mut(place));
        let Some(body) = unsent else { return false };
        self.bytes -= body.len();
        body.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId::new([1; 16]);

    fn with(entries: u64) -> Outgoing {
        let mut log = Outgoing::new(LOG);
        (0..entries).for_each(|n| assert_eq!(log.push(vec![n as u8]), Ok(n + 1)));
        log.stored(entries);
        log
    }

    fn polled(log: &mut Outgoing) -> Vec<u64> {
        std::iter::from_fn(|| log.poll().map(|(seq, _)| seq)).collect()
    }

    #[test]
    fn nothing_is_sent_before_it_is_stored_or_without_a_path() {
        let mut log = Outgoing::new(LOG);
        log.push(vec![1]).unwrap();
        log.begin(0);
        assert_eq!(log.poll(), None);
        log.stored(1);
        log.detach();
        assert_eq!(log.poll(), None);
        log.begin(0);
        assert_eq!(log.poll(), Some((1, &[1][..])));
        assert_eq!(log.poll(), None);
    }

    #[test]
    fn an_acknowledgement_of_an_older_path_moves_the_newer_one_on() {
        let mut log = with(3);
        log.begin(0);
        assert_eq!(polled(&mut log), [1, 2, 3]);
        // A newer path begins before what the older one brought is acknowledged.
        log.detach();
        log.attach(Some(Heard { log: LOG, upto: 0 })).unwrap();
        assert_eq!(log.ack(2), Ok(true));
        assert_eq!(polled(&mut log), [3]);
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_and_the_rest_is_sent_again_on_the_next_path() {
        let mut log = with(3);
        log.begin(0);
        assert_eq!(polled(&mut log), [1, 2, 3]);
        assert_eq!(log.ack(2), Ok(true));
        assert_eq!(log.ack(2), Ok(false));
        assert_eq!((log.first(), log.bytes()), (3, 1));
        log.begin(0);
        assert_eq!(polled(&mut log), [3]);
        assert_eq!(log.attach(Some(Heard { log: LOG, upto: 3 })), Ok(Begun::Resumed));
        assert_eq!((log.first(), log.next()), (4, 4));
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_changes_nothing() {
        let mut log = with(3);
        log.begin(0);
        log.poll();
        assert_eq!(log.ack(2), Err(Error::BeyondSent { upto: 2, sent: 1 }));
        let heard = Heard { log: LOG, upto: 9 };
        assert_eq!(log.attach(Some(heard)), Err(Error::BeyondSent { upto: 9, sent: 1 }));
        assert_eq!(log.first(), 1);
    }

    #[test]
    fn a_peer_that_knows_another_log_or_lost_what_it_had_is_told_of_the_reset() {
        let mut log = with(3);
        log.begin(0);
        polled(&mut log);
        log.ack(2).unwrap();
        for heard in [None, Some(Heard { log: LogId::new([2; 16]), upto: 3 }), Some(Heard { log: LOG, upto: 1 })] {
            log.detach();
            assert_eq!(log.attach(heard), Ok(Begun::Reset));
            assert_eq!(polled(&mut log), [3], "what is still here is sent");
        }
    }

    #[test]
    fn a_restored_log_goes_on_where_it_was() {
        let mut log = Outgoing::restore(LOG, 6, [vec![4], vec![5]]);
        assert_eq!((log.first(), log.next()), (4, 6));
        assert_eq!(log.attach(Some(Heard { log: LOG, upto: 4 })), Ok(Begun::Resumed));
        assert_eq!(polled(&mut log), [5]);
    }

    #[test]
    fn only_what_was_never_sent_can_be_taken_back_and_its_number_stays() {
        let mut log = with(3);
        log.begin(0);
        log.poll();
        assert!(!log.withdraw(1), "sent");
        assert!(log.withdraw(2));
        assert!(!log.withdraw(9), "unknown");
        assert_eq!(log.poll(), Some((2, &[][..])));
        assert_eq!(log.poll(), Some((3, &[2][..])));
        assert_eq!(log.bytes(), 2);
    }

    #[test]
    fn what_goes_out_early_is_stored_and_does_not_go_out_twice() {
        let mut log = with(3);
        assert_eq!(log.push(vec![9]), Ok(4));
        assert_eq!(log.early(2).len(), 2);
        let early = log.early(100);
        assert_eq!(early.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3], "the fourth isn't stored");
        log.begin(2);
        assert_eq!(polled(&mut log), [3]);
        assert_eq!(log.ack(3), Ok(true));
    }

    #[test]
    fn a_log_is_bounded() {
        let mut log = with(ENTRIES as u64);
        assert_eq!(log.push(Vec::new()), Err(Full));
        let mut log = Outgoing::new(LOG);
        log.push(vec![0; BYTES]).unwrap();
        assert_eq!(log.push(vec![0]), Err(Full));
    }
}
