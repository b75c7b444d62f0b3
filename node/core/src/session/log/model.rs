//! The log against a model: two sides with a disk each, and a network that does its worst.
//!
//! What a side has stored of its own, the other side must store once and in order, whatever is dropped, doubled,
//! reordered or cut, and whoever restarts, at any step.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Message {
    Position(Position),
    Entry(u64, Vec<u8>),
    Ack(u64),
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Push(usize),
    Commit(usize),
    /// One message arrives at this side.
    Deliver(usize),
    /// It arrives, and will arrive again.
    Double(usize),
    Drop(usize),
    Reorder(usize),
    Cut,
    Restart(usize),
}

/// What is on a side's disk.
#[derive(Clone)]
struct Disk {
    log: LogId,
    next: u64,
    entries: VecDeque<Vec<u8>>,
    heard: Option<Heard>,
    /// What took effect here.
    effects: Vec<Vec<u8>>,
}

struct Side {
    disk: Disk,
    outgoing: Outgoing,
    incoming: Incoming,
    taken: Vec<(u64, Vec<u8>)>,
    /// What it pushed and stored, in order.
    said: Vec<Vec<u8>>,
    unstored: Vec<Vec<u8>>,
    inbox: VecDeque<Message>,
    begun: bool,
    /// The peer has said where it stands: the first thing on a path, and only that.
    met: bool,
}

impl Side {
    fn new(name: u8) -> Self {
        let log = LogId::new([name; 16]);
        let disk = Disk { log, next: 1, entries: VecDeque::new(), heard: None, effects: Vec::new() };
        let (outgoing, incoming) = (Outgoing::new(log), Incoming::default());
        let (taken, said, unstored, inbox) = Default::default();
        Self { disk, outgoing, incoming, taken, said, unstored, inbox, begun: false, met: false }
    }

    fn position(&self) -> Position {
        Position { log: self.outgoing.log(), first: self.outgoing.first(), heard: self.incoming.heard() }
    }

    fn push(&mut self, n: u32) {
        let body = n.to_be_bytes().to_vec();
        if self.outgoing.push(body.clone()).is_ok() {
            self.unstored.push(body);
        }
    }

    /// One transaction: what was pushed, what was taken with its effect, and the positions. Then it may be said.
    fn commit(&mut self) -> Option<u64> {
        let pushed = std::mem::take(&mut self.unstored);
        self.disk.entries.extend(pushed.iter().cloned());
        self.said.extend(pushed);
        self.disk.next = self.outgoing.next();
        while self.disk.next - (self.disk.entries.len() as u64) < self.outgoing.first() {
            self.disk.entries.pop_front();
        }
        self.outgoing.stored(self.outgoing.next() - 1);
        let taken = std::mem::take(&mut self.taken);
        let upto = taken.last().map(|(seq, _)| *seq);
        self.disk.effects.extend(taken.into_iter().map(|(_, body)| body));
        upto.into_iter().for_each(|upto| self.incoming.stored(upto));
        self.disk.heard = self.incoming.heard();
        upto
    }

    fn restart(&mut self) {
        let Disk { log, next, entries, heard, .. } = self.disk.clone();
        (self.outgoing, self.incoming) = (Outgoing::restore(log, next, entries), Incoming::restore(heard));
        self.unstored.clear();
        self.taken.clear();
    }

    fn send(&mut self) -> Vec<Message> {
        if !self.begun {
            return Vec::new();
        }
        std::iter::from_fn(|| self.outgoing.poll().map(|(seq, body)| Message::Entry(seq, body.to_vec()))).collect()
    }

    /// Takes a message; `Err` closes the path.
    fn receive(&mut self, message: Message) -> Result<Option<Message>, Error> {
        if self.met == matches!(message, Message::Position(_)) {
            return Err(Error::NotBegun);
        }
        match message {
            Message::Position(peer) => {
                self.incoming.attach(peer.log, peer.first);
                let begun = self.outgoing.attach(peer.heard)?;
                (self.begun, self.met) = (true, true);
                // Nobody gives a log up here, so a reset would be a loss.
                assert_eq!(begun, Begun::Resumed);
                Ok(None)
            }
            Message::Entry(seq, body) => match self.incoming.take(seq)? {
                Taken::New => {
                    self.taken.push((seq, body));
                    Ok(None)
                }
                Taken::Again => {
                    Ok(self.incoming.heard().filter(|heard| heard.upto >= seq).map(|h| Message::Ack(h.upto)))
                }
            },
            Message::Ack(upto) => self.outgoing.ack(upto).map(|_| None),
        }
    }
}

struct World {
    sides: [Side; 2],
    pushed: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self { sides: [Side::new(1), Side::new(2)], pushed: 0 };
        world.cut();
        world
    }

    /// A new path: both say where they stand; the first one sends what it has in the same breath, as phones do.
    fn cut(&mut self) {
        for side in &mut self.sides {
            side.inbox.clear();
            side.outgoing.detach();
            (side.begun, side.met) = (false, false);
        }
        let [a, b] = &mut self.sides;
        // A side that took something and hasn't stored it doesn't say that it has it.
        b.inbox.push_back(Message::Position(a.position()));
        a.inbox.push_back(Message::Position(b.position()));
        let early = a.outgoing.early(16);
        a.outgoing.begin(early.last().map_or(0, |(seq, _)| *seq));
        a.begun = true;
        b.inbox.extend(early.into_iter().map(|(seq, body)| Message::Entry(seq, body)));
        b.inbox.extend(a.send());
    }

    fn deliver(&mut self, to: usize, keep: bool) {
        let side = &mut self.sides[to];
        let Some(message) = (if keep { side.inbox.front().cloned() } else { side.inbox.pop_front() }) else { return };
        match side.receive(message) {
            Ok(Some(answer)) => self.sides[1 - to].inbox.push_back(answer),
            Ok(None) => {}
            Err(_) => return self.cut(),
        }
        self.send(to);
    }

    fn send(&mut self, from: usize) {
        let messages = self.sides[from].send();
        self.sides[1 - from].inbox.extend(messages);
    }

    fn commit(&mut self, at: usize) {
        if let Some(upto) = self.sides[at].commit() {
            self.sides[1 - at].inbox.push_back(Message::Ack(upto));
        }
        self.send(at);
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Push(at) => {
                self.pushed += 1;
                self.sides[at].push(self.pushed);
            }
            Op::Commit(at) => self.commit(at),
            Op::Deliver(to) => self.deliver(to, false),
            Op::Double(to) => self.deliver(to, true),
            Op::Drop(to) => drop(self.sides[to].inbox.pop_front()),
            Op::Reorder(to) if self.sides[to].inbox.len() > 1 => self.sides[to].inbox.swap(0, 1),
            Op::Reorder(_) => {}
            Op::Cut => self.cut(),
            Op::Restart(at) => {
                self.sides[at].restart();
                self.cut();
            }
        }
    }

    /// The faults are over: one more path, on which everything arrives.
    fn heal(&mut self) {
        self.cut();
        for _ in 0..10_000 {
            (0..2).for_each(|at| self.commit(at));
            if self.sides.iter().all(|side| side.inbox.is_empty()) {
                return;
            }
            (0..2).for_each(|to| self.deliver(to, false));
        }
        panic!("it never comes to rest");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let side = 0..2_usize;
    prop_oneof![
        4 => side.clone().prop_map(Op::Push),
        6 => side.clone().prop_map(Op::Commit),
        10 => side.clone().prop_map(Op::Deliver),
        1 => side.clone().prop_map(Op::Double),
        1 => side.clone().prop_map(Op::Drop),
        1 => side.clone().prop_map(Op::Reorder),
        1 => Just(Op::Cut),
        1 => side.prop_map(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_each_stored_entry_takes_effect_once_and_in_order(ops in proptest::collection::vec(op(), 0..300)) {
        let mut world = World::new();
        ops.into_iter().for_each(|op| world.step(op));
        world.heal();
        let [a, b] = &world.sides;
        prop_assert_eq!(&a.said, &b.disk.effects);
        prop_assert_eq!(&b.said, &a.disk.effects);
        // And each knows that the other has it.
        prop_assert_eq!((a.outgoing.bytes(), b.outgoing.bytes()), (0, 0));
    }
}
