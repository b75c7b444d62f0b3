//! The session with one host, beyond its connections: what this phone asked and the host hasn't stored, what the host
//! logged for it, and which path counts. No I/O: what is to be stored comes out as a [`Batch`], and what follows from it
//! is due once that is done.

use std::collections::BTreeMap;

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::{Begun, Error, Full, Incoming, LogId, Outgoing, Position, Taken};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, Attached, Entry, Logged};
use farhelm_store::journal::{Act, ActId, Change, Cursors, Peer, Stage};
use serde_bytes::ByteBuf;

use crate::attach::Aim;

/// What goes out with a handshake, before the host has answered: a prompt or some decisions.
const EARLY: usize = 32 * 1024;

/// Generations that one attempt may use up: it tries each secret on several paths, and the last one is to count.
pub(crate) const GENERATIONS: u64 = 16;

/// What follows from a change, once it is stored.
#[derive(Debug)]
pub(crate) enum Due {
    /// Entries up to here may be sent.
    Pushed(u64),
    /// An entry of the host's is to be acknowledged, and this is what it says.
    Taken(u64, Option<Box<Logged>>),
    /// A path may begin.
    Attempt(Aim),
}

/// What is stored in one go, and what follows.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) due: Vec<Due>,
}

/// Something asked that the host hasn't answered.
#[derive(Debug)]
struct Asked {
    act: Act,
    /// Its entry.
    seq: u64,
}

/// Both logs of one host.
#[derive(Debug)]
pub(crate) struct Log {
    host: NodeId,
    generation: u64,
    outgoing: Outgoing,
    incoming: Incoming,
    asked: BTreeMap<ActId, Asked>,
    order: u64,
    batch: Batch,
    /// May wait for the next write: doing them late costs nothing.
    trims: Vec<Change>,
}

impl Log {
    /// As the journal holds it; `fresh` names its log if it has none.
    pub(crate) fn restore(host: NodeId, peer: Peer, fresh: LogId) -> Self {
        let Peer { cursors: Cursors { generation, log, next, heard }, outgoing, acts } = peer;
        let seqs: BTreeMap<_, _> = outgoing.iter().filter_map(|(seq, body)| Some((act_of(body)?, *seq))).collect();
        let outgoing = match log {
            Some(log) => Outgoing::restore(log, next, outgoing.into_iter().map(|(_, body)| body)),
            None => Outgoing::new(fresh),
        };
        let order = acts.iter().map(|(_, act)| act.order).max().unwrap_or(0);
        // One whose entry isn't here any more is stored at the host.
        let asked = acts.into_iter().map(|(id, act)| (id, Asked { act, seq: seqs.get(&id).copied().unwrap_or(0) }));
        let (asked, incoming) = (asked.collect(), Incoming::restore(heard));
        Self { host, generation, outgoing, incoming, asked, order, batch: Batch::default(), trims: Vec::new() }
    }

    /// What is to be stored now, if anything is due.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        if !self.batch.changes.is_empty() {
            self.batch.changes.append(&mut self.trims);
        }
        let is_due = !self.batch.changes.is_empty() || !self.batch.due.is_empty();
        is_due.then(|| std::mem::take(&mut self.batch))
    }

    fn cursors(&self) -> Change {
        let (log, heard) = (Some(self.outgoing.log()), self.incoming.taken());
        Change::Cursors(self.host, Cursors { generation: self.generation, log, next: self.outgoing.next(), heard })
    }

    /// Whether something that was asked has no answer yet.
    pub(crate) fn is_asked(&self, id: ActId) -> bool {
        self.asked.contains_key(&id)
    }

    /// Asks the host to do something, once: now or when it is there. What was asked already isn't asked twice.
    pub(crate) fn ask(&mut self, id: ActId, envelope: Envelope, now_ms: u64) -> Result<(), Full> {
        if self.is_asked(id) {
            return Ok(());
        }
        let body = Logged { act: Some(id), envelope }.encode();
        let seq = self.push(body.clone())?;
        self.order += 1;
        let act = Act { order: self.order, stage: Stage::Received, body, result: Vec::new(), at_ms: now_ms };
        self.batch.changes.push(Change::Act(self.host, id, act.clone()));
        self.asked.insert(id, Asked { act, seq });
        Ok(())
    }

    fn push(&mut self, body: Vec<u8>) -> Result<u64, Full> {
        let seq = self.outgoing.push(body.clone())?;
        self.batch.changes.extend([Change::Push(self.host, seq, body), self.cursors()]);
        self.batch.due.push(Due::Pushed(seq));
        Ok(seq)
    }

    /// Takes back what was asked, if it was never sent. Says whether it could be: then nothing happens by it.
    pub(crate) fn withdraw(&mut self, id: ActId) -> bool {
        let Some(seq) = self.asked.get(&id).map(|asked| asked.seq) else { return false };
        let withdrawn = self.outgoing.withdraw(seq);
        if withdrawn {
            self.asked.remove(&id);
            self.batch.changes.extend([Change::Push(self.host, seq, Vec::new()), Change::ForgetAct(self.host, id)]);
        }
        withdrawn
    }

    /// The host has answered. Gives what was asked.
    pub(crate) fn answered(&mut self, id: ActId) -> Option<Envelope> {
        let Asked { act, .. } = self.asked.remove(&id)?;
        self.batch.changes.push(Change::ForgetAct(self.host, id));
        Logged::decode(&act.body).ok().map(|logged| logged.envelope)
    }

    /// A path is to begin: it may once its generation is stored.
    pub(crate) fn attempt(&mut self, aim: Aim) {
        self.generation += GENERATIONS;
        self.batch.changes.push(self.cursors());
        self.batch.due.push(Due::Attempt(aim));
    }

    /// What is said first on a path, and the last entry that goes with it. The attempt counts the generation up for
    /// every path that it tries.
    pub(crate) fn early(&self) -> (Attach, Vec<Envelope>, u64) {
        let (log, first, heard) = (self.outgoing.log(), self.outgoing.first(), self.incoming.heard());
        let attach = Attach { generation: self.generation - GENERATIONS + 1, position: Position { log, first, heard } };
        let entries = self.outgoing.early(EARLY);
        let last = entries.last().map_or(0, |(seq, _)| *seq);
        let entries = entries.into_iter().map(|(seq, body)| Envelope::Entry(Entry { seq, body: ByteBuf::from(body) }));
        (attach, entries.collect(), last)
    }

    /// What was to go with a handshake, up to this entry, went out, or may have.
    pub(crate) fn flew(&mut self, last: u64) {
        self.outgoing.flew(last);
    }

    /// A path has begun, on which this was the last entry that went with the handshake.
    pub(crate) fn begin(&mut self, early: u64) {
        self.outgoing.begin(early);
    }

    /// The path is gone.
    pub(crate) fn detach(&mut self) {
        self.outgoing.detach();
    }

    /// The host says where it stands. After a reset what it hasn't answered is asked again. `fresh` names our log if this
    /// one was set back: the next path begins with that.
    pub(crate) fn attached(&mut self, attached: &Attached, fresh: LogId) -> Result<(), Error> {
        let Position { log, first, heard } = attached.position;
        let ours = self.outgoing.attach(heard).inspect_err(|_| self.begin_anew(fresh))?;
        let theirs = self.incoming.attach(log, first);
        self.batch.changes.extend([self.cursors(), Change::Trim(self.host, self.outgoing.first() - 1)]);
        if Begun::Reset == ours || Begun::Reset == theirs {
            self.ask_again();
        }
        Ok(())
    }

    /// The host has what this log never sent: the journal is an older one, put back in place. Numbers that come now were
    /// used before, so they go by another name; what isn't answered is asked under it, by the ids it had.
    fn begin_anew(&mut self, fresh: LogId) {
        self.batch.changes.push(Change::Trim(self.host, self.outgoing.next() - 1));
        self.outgoing = Outgoing::new(fresh);
        self.batch.changes.push(self.cursors());
        self.asked.values_mut().for_each(|asked| asked.seq = 0);
        self.ask_again();
    }

    /// A newer generation is known at the host: the next path is newer still.
    pub(crate) fn overtake(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
        self.batch.changes.push(self.cursors());
    }

    /// What has left our log without an answer may never get one: it is asked anew, under its own id.
    fn ask_again(&mut self) {
        let first = self.outgoing.first();
        let mut lost: Vec<_> = self.asked.iter().filter(|(_, asked)| asked.seq < first).collect();
        lost.sort_by_key(|(_, asked)| asked.act.order);
        let lost: Vec<_> = lost.into_iter().map(|(id, asked)| (*id, asked.act.body.clone())).collect();
        for (id, body) in lost {
            let Ok(seq) = self.push(body) else { return };
            self.asked.entry(id).and_modify(|asked| asked.seq = seq);
        }
    }

    /// An entry came. Its answer to something we asked is known by this.
    pub(crate) fn take(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.incoming.take(entry.seq)? == Taken::Again {
            self.batch.due.push(Due::Taken(entry.seq, None));
            return Ok(());
        }
        // One of a later version may hold what this one can't read; it is acknowledged all the same.
        let logged = Logged::decode(&entry.body).ok().map(Box::new);
        self.batch.changes.push(self.cursors());
        self.batch.due.push(Due::Taken(entry.seq, logged));
        Ok(())
    }

    /// The host has stored what it was sent up to here.
    pub(crate) fn ack(&mut self, upto: u64) -> Result<(), Error> {
        if self.outgoing.ack(upto)? {
            self.trims.push(Change::Trim(self.host, upto));
        }
        Ok(())
    }

    /// Entries up to here are stored.
    pub(crate) fn stored_outgoing(&mut self, upto: u64) {
        self.outgoing.stored(upto);
    }

    /// What was taken up to here is stored; what may be acknowledged.
    pub(crate) fn stored_incoming(&mut self, upto: u64) -> Option<u64> {
        self.incoming.stored(upto);
        self.incoming.heard().map(|heard| heard.upto)
    }

    /// The next entry for the path.
    pub(crate) fn poll(&mut self) -> Option<Entry> {
        let (seq, body) = self.outgoing.poll()?;
        Some(Entry { seq, body: ByteBuf::from(body) })
    }
}

fn act_of(body: &[u8]) -> Option<ActId> {
    Logged::decode(body).ok()?.act
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;
    use farhelm_core::wire::envelope::Request;
    use serde_bytes::ByteArray;

    use super::*;

    #[test]
    fn a_journal_that_was_set_back_asks_again_under_another_name_by_the_same_id() {
        let host = Identity::from_seed(&[9; 32]).node_id();
        let (log, fresh) = (LogId::new([1; 16]), LogId::new([2; 16]));
        let mut phone = Log::restore(host, Peer::default(), log);
        let id = ByteArray::new([7; 16]);
        let request = Request { id, method: "turn/start".into(), params: ByteBuf::new() };
        phone.ask(id, Envelope::Request(request), 1).unwrap();
        phone.stored_outgoing(1);
        phone.begin(1);
        // The host has more of this log than was ever sent.
        let heard = Some(farhelm_core::session::log::Heard { log, upto: 5 });
        let position = Position { log: LogId::new([3; 16]), first: 1, heard };
        assert!(phone.attached(&Attached { position, superseded: None }, fresh).is_err(), "this path can't go on");
        phone.attempt(Aim::Best);
        phone.stored_outgoing(1);
        let (attach, entries, last) = phone.early();
        assert_eq!((attach.position.log, attach.position.first, last), (fresh, 1, 1));
        let [Envelope::Entry(entry)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(Logged::decode(&entry.body).unwrap().act, Some(id));
    }
}
