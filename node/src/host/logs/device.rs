//! One device's logs in memory, beside what the journal holds of them. Pure: what is to be stored comes out as changes,
//! and counts once they were.

use std::collections::BTreeMap;

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::{Error, Full, Incoming, LogId, Outgoing, Position, Taken};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, Attached, Entry, Logged};
use farhelm_store::journal::{Act, ActId, Change, Cursors, Peer, Stage};

/// What may wait to be done for one device; it has its own, lower bound.
const UNDONE: usize = 256;
/// Answers that are kept, should the device ask for one again.
const ANSWERS: usize = 256;
/// Acts that are answered and may be lost yet; more count as done.
const UNSETTLED: usize = 64;

/// Why an entry isn't taken. The path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The log's own rules.
    #[error(transparent)]
    Log(#[from] Error),
    /// Not an envelope that a phone may log.
    #[error("an entry that is no act")]
    NoAct,
    /// It asks for more than is done.
    #[error("too many acts wait")]
    Busy,
}

/// What an entry is for whoever acts.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// To be done.
    Act(ActId, Box<Envelope>),
    /// It was done before.
    Answered,
    /// It is known and under way, or nothing new.
    Known,
}

/// A device's logs.
#[derive(Debug)]
pub(super) struct Device {
    id: NodeId,
    generation: u64,
    outgoing: Outgoing,
    incoming: Incoming,
    acts: BTreeMap<ActId, Act>,
    order: u64,
}

impl Device {
    pub(super) const fn id(&self) -> NodeId {
        self.id
    }

    /// As the journal holds it; `fresh` names its log if it has none.
    pub(super) fn restore(id: NodeId, peer: Peer, fresh: LogId) -> Self {
        let Peer { cursors: Cursors { generation, log, next, heard }, outgoing, acts } = peer;
        let outgoing = match log {
            Some(log) => Outgoing::restore(log, next, outgoing.into_iter().map(|(_, body)| body)),
            None => Outgoing::new(fresh),
        };
        let order = acts.iter().map(|(_, act)| act.order).max().unwrap_or(0);
        Self { id, generation, outgoing, incoming: Incoming::restore(heard), acts: acts.into_iter().collect(), order }
    }

    /// Where both logs stand once everything that was taken is stored: that is in these changes, or was before.
    fn cursors(&self) -> Change {
        let (log, heard) = (Some(self.outgoing.log()), self.incoming.taken());
        Change::Cursors(self.id, Cursors { generation: self.generation, log, next: self.outgoing.next(), heard })
    }

    /// A path begins. Says where we stand, once the changes are stored. `fresh` names our log if this one was set back.
    pub(super) fn attach(&mut self, attach: &Attach, fresh: LogId) -> (Attached, Vec<Change>) {
        let superseded = (attach.generation <= self.generation).then_some(self.generation);
        let mut changes = Vec::new();
        if superseded.is_none() {
            let Position { log, first, heard } = attach.position;
            self.outgoing.detach();
            if self.outgoing.attach(heard).is_err() {
                // The phone has what this log never sent: the journal is an older one, put back in place. Numbers that
                // come now were used before, so they go by another name.
                changes = self.give_up(fresh);
                let _ = self.outgoing.attach(None);
            }
            self.incoming.attach(log, first);
            self.generation = attach.generation;
        }
        let position =
            Position { log: self.outgoing.log(), first: self.outgoing.first(), heard: self.incoming.heard() };
        changes.extend([self.cursors(), Change::Trim(self.id, self.outgoing.first() - 1)]);
        (Attached { position, superseded }, changes)
    }

    /// The path is gone.
    pub(super) fn detach(&mut self) {
        self.outgoing.detach();
    }

    /// Takes an entry of the phone's. What it asks is to be done once the changes are stored.
    pub(super) fn take(&mut self, entry: &Entry, now_ms: u64) -> Result<(Asked, Vec<Change>), Refused> {
        // One that was taken back before it was sent says nothing.
        if entry.body.is_empty() {
            let taken = self.incoming.take(entry.seq)? == Taken::New;
            return Ok((Asked::Known, if taken { vec![self.cursors()] } else { Vec::new() }));
        }
        let Logged { act, envelope } = Logged::decode(&entry.body).map_err(|_| Refused::NoAct)?;
        let id = act.filter(|_| is_act(&envelope)).ok_or(Refused::NoAct)?;
        if !self.acts.contains_key(&id) && self.undone() >= UNDONE {
            return Err(Refused::Busy);
        }
        // Nothing is refused after this: what was taken is stored.
        if self.incoming.take(entry.seq)? == Taken::Again && !forgets() {
            return Ok((Asked::Known, Vec::new()));
        }
        let mut changes = vec![self.cursors()];
        let asked = match self.acts.get(&id).filter(|_| !forgets()) {
            Some(Act { stage: Stage::Answered | Stage::Done, result, .. }) => {
                changes.extend(self.push(result.clone()).unwrap_or_default());
                Asked::Answered
            }
            Some(_) => Asked::Known,
            None => {
                self.order += 1;
                let body = entry.body.to_vec();
                let act = Act { order: self.order, stage: Stage::Received, body, result: Vec::new(), at_ms: now_ms };
                changes.push(Change::Act(self.id, id, act.clone()));
                self.acts.insert(id, act);
                Asked::Act(id, Box::new(envelope))
            }
        };
        Ok((asked, changes))
    }

    fn undone(&self) -> usize {
        self.acts.values().filter(|act| !is_answered(act)).count()
    }

    /// What was taken up to here is stored. What may be acknowledged.
    pub(super) fn stored_incoming(&mut self, upto: u64) -> Option<u64> {
        self.incoming.stored(upto);
        self.acknowledged()
    }

    /// What may be acknowledged.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        self.incoming.heard().map(|heard| heard.upto)
    }

    /// Logs an envelope for the phone. It is sent once the changes are stored.
    pub(super) fn push(&mut self, body: Vec<u8>) -> Result<Vec<Change>, Full> {
        let seq = self.outgoing.push(body.clone())?;
        Ok(vec![Change::Push(self.id, seq, body), self.cursors()])
    }

    /// The number of the last entry that was pushed.
    pub(super) fn last(&self) -> u64 {
        self.outgoing.next() - 1
    }

    /// Entries up to here are stored.
    pub(super) fn stored_outgoing(&mut self, upto: u64) {
        self.outgoing.stored(upto);
    }

    /// The next entry for the path.
    pub(super) fn poll(&mut self) -> Option<Entry> {
        let (seq, body) = self.outgoing.poll()?;
        Some(Entry { seq, body: serde_bytes::ByteBuf::from(body) })
    }

    /// The phone has stored what it was sent up to here.
    pub(super) fn ack(&mut self, upto: u64) -> Result<Option<Change>, Error> {
        Ok(self.outgoing.ack(upto)?.then_some(Change::Trim(self.id, upto)))
    }

    /// Too much waits for the phone: it begins anew with a log of this name, and learns that by a reset.
    pub(super) fn give_up(&mut self, fresh: LogId) -> Vec<Change> {
        let trimmed = Change::Trim(self.id, self.last());
        self.outgoing = Outgoing::new(fresh);
        vec![trimmed, self.cursors()]
    }

    /// What is about to be done may have been done from now on. `None` if nobody asks for it.
    pub(super) fn forwarded(&mut self, id: ActId) -> Option<Change> {
        let act = self.acts.get_mut(&id)?;
        if act.stage == Stage::Received {
            act.stage = Stage::Forwarded;
        }
        Some(Change::Act(self.id, id, act.clone()))
    }

    /// This is the answer: kept, and logged if there is room. `None` if nobody asks for it.
    pub(super) fn answered(&mut self, id: ActId, answer: Vec<u8>) -> Option<(Vec<Change>, Result<(), Full>)> {
        let unsettled = self.acts.values().filter(|act| act.stage == Stage::Answered).count();
        if unsettled >= UNSETTLED {
            return self.done(id, answer);
        }
        let act = self.acts.get_mut(&id).filter(|act| !is_answered(act))?;
        act.stage = Stage::Answered;
        act.result.clone_from(&answer);
        let mut changes = vec![Change::Act(self.id, id, act.clone())];
        let pushed = self.push(answer).map(|pushed| changes.extend(pushed));
        Some((changes, pushed))
    }

    /// What was asked can't be lost any more. `None` if nobody asks for it.
    pub(super) fn settled(&mut self, id: ActId) -> Option<Vec<Change>> {
        let act = self.acts.get_mut(&id).filter(|act| act.stage == Stage::Answered)?;
        act.stage = Stage::Done;
        act.body.clear();
        let mut changes = vec![Change::Act(self.id, id, act.clone())];
        changes.extend(self.forget_oldest());
        Some(changes)
    }

    /// It is done, and this is the answer: kept, and logged if there is room. `None` if nobody asks for it.
    pub(super) fn done(&mut self, id: ActId, answer: Vec<u8>) -> Option<(Vec<Change>, Result<(), Full>)> {
        let act = self.acts.get_mut(&id).filter(|act| !is_answered(act))?;
        act.stage = Stage::Done;
        act.body.clear();
        act.result.clone_from(&answer);
        let mut changes = vec![Change::Act(self.id, id, act.clone())];
        changes.extend(self.forget_oldest());
        let pushed = self.push(answer).map(|pushed| changes.extend(pushed));
        Some((changes, pushed))
    }

    fn forget_oldest(&mut self) -> Option<Change> {
        let done = || self.acts.iter().filter(|(_, act)| act.stage == Stage::Done);
        if done().count() <= ANSWERS {
            return None;
        }
        let oldest = done().min_by_key(|(_, act)| act.order).map(|(id, _)| *id)?;
        self.acts.remove(&oldest);
        Some(Change::ForgetAct(self.id, oldest))
    }

    /// What isn't done yet, in the order in which it was asked.
    pub(super) fn left(&self) -> Vec<(ActId, Stage, Envelope)> {
        let mut left: Vec<_> = self.acts.iter().filter(|(_, act)| act.stage != Stage::Done).collect();
        left.sort_by_key(|(_, act)| act.order);
        let read = |(id, act): (&ActId, &Act)| Some((*id, act.stage, Logged::decode(&act.body).ok()?.envelope));
        left.into_iter().filter_map(read).collect()
    }
}

/// Whether a device that asks again is answered at once.
const fn is_answered(act: &Act) -> bool {
    matches!(act.stage, Stage::Answered | Stage::Done)
}

/// Whether a test has taken it away that what came before is known.
#[cfg(feature = "faults")]
fn forgets() -> bool {
    farhelm_overlay::faults::mutant(farhelm_overlay::faults::Mutant::NoDedup)
}

/// What came before is known.
#[cfg(not(feature = "faults"))]
const fn forgets() -> bool {
    false
}

/// What a phone may ask to be done.
const fn is_act(envelope: &Envelope) -> bool {
    matches!(envelope, Envelope::Request(_) | Envelope::Decision(_) | Envelope::Answers(_))
}
