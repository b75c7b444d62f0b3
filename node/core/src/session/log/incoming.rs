//! What comes from the peer: which entry is due, and how far they are stored here.

use super::{Begun, Error, Heard, LogId};

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Store it, then say [`Incoming::stored`].
    New,
    /// It was taken before. If it is stored, acknowledge it again.
    Again,
}

/// One direction's position.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    heard: Option<Heard>,
    /// The last entry taken, perhaps not stored yet.
    taken: u64,
}

impl Incoming {
    /// What a store holds of it.
    pub fn restore(heard: Option<Heard>) -> Self {
        Self { heard, taken: heard.map_or(0, |heard| heard.upto) }
    }

    /// What is stored of the peer's log.
    pub const fn heard(&self) -> Option<Heard> {
        self.heard
    }

    /// What is stored once everything is that was taken.
    pub fn taken(&self) -> Option<Heard> {
        self.heard.map(|heard| Heard { upto: self.taken, ..heard })
    }

    /// The peer says from where it sends. After a reset the new position is to be stored like an entry.
    pub fn attach(&mut self, log: LogId, first: u64) -> Begun {
        let before = first.saturating_sub(1);
        match self.heard {
            Some(heard) if heard.log == log && heard.upto >= before => Begun::Resumed,
            known => {
                (self.heard, self.taken) = (Some(Heard { log, upto: before }), before);
                // Of a first log from its first entry on nothing was missed.
                if known.is_none() && before == 0 { Begun::Resumed } else { Begun::Reset }
            }
        }
    }

    /// An entry came.
    pub fn take(&mut self, seq: u64) -> Result<Taken, Error> {
        if self.heard.is_none() {
            return Err(Error::NotBegun);
        }
        let expected = self.taken + 1;
        if seq > expected || seq == 0 {
            return Err(Error::Gap { seq, expected });
        }
        if seq < expected {
            return Ok(Taken::Again);
        }
        self.taken = seq;
        Ok(Taken::New)
    }

    /// Everything up to this number is on the disk, and may be acknowledged.
    pub fn stored(&mut self, upto: u64) {
        if let Some(heard) = &mut self.heard {
            heard.upto = heard.upto.max(upto.min(self.taken));
        }
    }

    /// Storing failed: what was taken and isn't stored is due again.
    pub fn failed(&mut self) {
        self.taken = self.heard.map_or(0, |heard| heard.upto);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId::new([1; 16]);

    fn begun() -> Incoming {
        let mut log = Incoming::default();
        assert_eq!(log.attach(LOG, 1), Begun::Resumed);
        log
    }

    #[test]
    fn each_entry_is_new_once_and_none_may_be_left_out() {
        let mut log = begun();
        assert_eq!(log.take(1), Ok(Taken::New));
        assert_eq!(log.take(1), Ok(Taken::Again));
        assert_eq!(log.take(3), Err(Error::Gap { seq: 3, expected: 2 }));
        assert_eq!(log.take(0), Err(Error::Gap { seq: 0, expected: 2 }));
        assert_eq!(log.take(2), Ok(Taken::New));
        assert_eq!(Incoming::default().take(1), Err(Error::NotBegun));
    }

    #[test]
    fn what_is_heard_is_what_is_stored() {
        let mut log = begun();
        log.take(1).unwrap();
        log.take(2).unwrap();
        assert_eq!(log.heard(), Some(Heard { log: LOG, upto: 0 }));
        log.stored(1);
        log.stored(9);
        assert_eq!(log.heard(), Some(Heard { log: LOG, upto: 2 }));
    }

    #[test]
    fn what_could_not_be_stored_is_due_again() {
        let mut log = begun();
        log.take(1).unwrap();
        log.failed();
        assert_eq!(log.take(1), Ok(Taken::New));
    }

    #[test]
    fn another_log_or_one_that_begins_later_is_a_reset() {
        let mut log = begun();
        log.take(1).unwrap();
        log.stored(1);
        assert_eq!(log.attach(LOG, 2), Begun::Resumed);
        assert_eq!(log.attach(LOG, 1), Begun::Resumed, "it has not heard our word yet");
        assert_eq!(log.attach(LOG, 5), Begun::Reset);
        assert_eq!(log.take(5), Ok(Taken::New));
        assert_eq!(log.attach(LogId::new([2; 16]), 1), Begun::Reset);
        assert_eq!(log.take(1), Ok(Taken::New));
        assert_eq!(Incoming::default().attach(LOG, 3), Begun::Reset);
    }
}
