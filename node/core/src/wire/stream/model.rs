//! The stream against anything: a host that reduces every notification itself, a path, and a phone that reduces what
//! arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{MS, note};
use super::*;
use crate::codex::thread::{ItemKind, Thread};
use crate::wire::Envelope;
use crate::wire::envelope::Snapshot;

/// All three.
struct World {
    now: Instant,
    host: BTreeMap<String, Thread>,
    stream: Outbound,
    inbound: Inbound,
    phone: BTreeMap<String, Thread>,
    /// Threads that the phone knows to be incomplete.
    gaps: BTreeSet<String>,
    /// The envelopes that went, and which of those with text the path swallows.
    went: usize,
    swallow: Option<usize>,
    swallowed: bool,
    /// Digests of which the phone's thread was another, and it knew of no gap.
    differed: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Piece { thread: u8, item: u8, method: usize, text: String },
    Begin { thread: u8, item: u8 },
    End { thread: u8, item: u8 },
    Turn { thread: u8, turn: u8 },
    Show { thread: u8 },
    Compare { thread: u8 },
    Wait(u8),
    Send(u8),
}

const THREADS: u8 = 3;
const METHODS: [&str; 4] = [
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let thread = || 0..THREADS;
    let step = prop_oneof![
        8 => (thread(), 0..4u8, 0..METHODS.len(), "[a-zäß€\"\\n]{0,40}")
            .prop_map(|(thread, item, method, text)| Step::Piece { thread, item, method, text }),
        1 => (thread(), 0..4u8).prop_map(|(thread, item)| Step::Begin { thread, item }),
        1 => (thread(), 0..4u8).prop_map(|(thread, item)| Step::End { thread, item }),
        1 => (thread(), 0..3u8).prop_map(|(thread, turn)| Step::Turn { thread, turn }),
        1 => thread().prop_map(|thread| Step::Show { thread }),
        1 => thread().prop_map(|thread| Step::Compare { thread }),
        3 => (0..60u8).prop_map(Step::Wait),
        3 => (0..6u8).prop_map(Step::Send),
    ];
    proptest::collection::vec(step, 0..120)
}

impl World {
    fn new(limit: usize, swallow: Option<usize>) -> Self {
        let threads: BTreeMap<_, _> = (0..THREADS).map(|t| (t.to_string(), Thread::new(t.to_string()))).collect();
        Self {
            now: Instant::now(),
            host: threads.clone(),
            stream: Outbound::new(limit),
            inbound: Inbound::default(),
            phone: threads,
            gaps: BTreeSet::new(),
            went: 0,
            swallow,
            swallowed: false,
            differed: 0,
        }
    }

    fn report(&mut self, thread: u8, method: &str, mut params: Value) {
        let id = thread.to_string();
        params["threadId"] = id.clone().into();
        self.host.get_mut(&id).unwrap().apply(method, &params);
        self.stream.push(note(method, &params), self.now);
    }

    fn text_of(&self, thread: &str, item: &str) -> Option<&str> {
        match &self.host[thread].turn("turn-1")?.items.iter().find(|known| known.id == item)?.kind {
            ItemKind::AgentMessage { text } => Some(text),
            _ => None,
        }
    }

    fn show(&mut self, thread: &str) {
        self.stream.push(Envelope::Snapshot(Snapshot { thread: self.host[thread].clone() }), self.now);
    }

    fn step(&mut self, step: Step) {
        let item = |item: u8| format!("i{item}");
        match step {
            Step::Piece { thread, item: i, method, text } => {
                let params = json!({"turnId": "turn-1", "itemId": item(i), "delta": text, "summaryIndex": i % 2});
                self.report(thread, METHODS[method], params);
            }
            Step::Begin { thread, item: i } => {
                let params = json!({"turnId": "turn-1", "item": {"type": "agentMessage", "id": item(i), "text": ""}});
                self.report(thread, "item/started", params);
            }
            Step::End { thread, item: i } => {
                let text = self.text_of(&thread.to_string(), &item(i)).unwrap_or("another").to_owned();
                let item = json!({"type": "agentMessage", "id": item(i), "text": text});
                self.report(thread, "item/completed", json!({"turnId": "turn-1", "item": item}));
            }
            Step::Turn { thread, turn } => {
                let turn = json!({"turn": {"id": format!("turn-{turn}"), "status": "inProgress", "items": []}});
                self.report(thread, "turn/started", turn);
            }
            Step::Show { thread } => self.show(&thread.to_string()),
            Step::Compare { thread } => {
                let digest = self.host[&thread.to_string()].digest();
                self.stream.push(Envelope::Digest(digest), self.now);
            }
            Step::Wait(ms) => self.now += u32::from(ms) * MS,
            Step::Send(some) => (0..some).for_each(|_| _ = self.carry()),
        }
    }

    /// One envelope, if one is due, across the path as bytes.
    fn carry(&mut self) -> Option<()> {
        let envelope = self.stream.poll(self.now)?;
        let with_text = matches!(envelope, Envelope::Delta(_) | Envelope::StreamOpen(_));
        self.went += usize::from(with_text);
        if with_text && self.swallow == Some(self.went) {
            self.swallowed = true;
            return Some(());
        }
        match self.inbound.take(Envelope::decode(&envelope.encode()).unwrap()) {
            Ok(Some(Envelope::Notification(note))) => {
                let params: Value = serde_json::from_slice(&note.params).unwrap();
                self.phone.values_mut().for_each(|thread| _ = thread.apply(&note.method, &params));
            }
            Ok(Some(Envelope::Snapshot(Snapshot { thread }))) => {
                self.gaps.remove(&thread.id);
                self.phone.insert(thread.id.clone(), thread);
            }
            Ok(Some(Envelope::Digest(digest))) => {
                let same = self.phone[&digest.thread].agrees_with(&digest);
                self.differed += usize::from(!same && !self.gaps.contains(&digest.thread));
            }
            Ok(other) => assert_eq!(other, None),
            Err(Gap { thread: Some(thread) }) => _ = self.gaps.insert(thread),
            Err(Gap { thread: None }) => self.gaps.extend((0..THREADS).map(|t| t.to_string())),
        }
        Some(())
    }

    /// Sends all there is, and shows anew what was lost for want of room.
    fn settle(&mut self) {
        loop {
            self.now += 4 * HOLD;
            while self.carry().is_some() {}
            match self.stream.gap() {
                Some(thread) => self.show(&thread),
                None => return,
            }
        }
    }
}

proptest! {
    #[test]
    fn the_phone_ends_up_with_what_the_host_has(steps in steps()) {
        let mut world = World::new(QUEUED, None);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        prop_assert_eq!((&world.phone, world.differed), (&world.host, 0));
        prop_assert!(world.gaps.is_empty() && world.stream.bytes() == 0 && world.stream.deadline().is_none());
    }

    #[test]
    fn so_it_does_when_it_is_too_slow_and_little_is_kept_for_it(steps in steps(), limit in 300usize..3000) {
        let mut world = World::new(limit, None);
        for step in steps {
            world.step(step);
            let largest = world.host.values().map(Thread::weight).max().unwrap_or(0) + 1000;
            prop_assert!(world.stream.bytes() <= limit + limit / 2 + largest);
        }
        world.settle();
        prop_assert_eq!((&world.phone, world.differed), (&world.host, 0));
    }

    #[test]
    fn a_piece_that_is_missing_is_noticed_when_the_text_goes_on(steps in steps(), swallow in 1usize..30) {
        let mut world = World::new(QUEUED, Some(swallow));
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        world.swallow = None;
        for (thread, item, method) in every_text() {
            world.step(Step::Piece { thread, item, method, text: "on".into() });
        }
        world.settle();
        for (id, thread) in &world.phone {
            prop_assert!(world.gaps.contains(id) || *thread == world.host[id] || !world.swallowed);
        }
    }

    /// Also where no text goes on behind it.
    #[test]
    fn whatever_is_missing_is_noticed_by_the_next_digest(steps in steps(), swallow in 1usize..30) {
        let mut world = World::new(QUEUED, Some(swallow));
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let different = world.phone.iter().filter(|(id, thread)| **thread != world.host[*id] && !world.gaps.contains(*id));
        let different = different.count();
        world.differed = 0;
        (0..THREADS).for_each(|thread| world.step(Step::Compare { thread }));
        world.settle();
        prop_assert_eq!(world.differed, different);
    }

    #[test]
    fn nothing_that_arrives_panics(envelopes in proptest::collection::vec((any::<bool>(), 0..4u32, 0..9u64, ".{0,4}"), 0..60)) {
        let mut phone = Inbound::default();
        for (open, s, o, t) in envelopes {
            let params = ByteBuf::from(r#"{"threadId":"t"}"#);
            let begun = StreamOpen { s, method: t.clone(), params: params.clone(), t: t.clone() };
            let _ = phone.take(Envelope::Confirm(Confirm { s, h: texts::digest(&t), params }));
            let _ = phone.take(if open { Envelope::StreamOpen(begun) } else { Envelope::Delta(Delta { s, o, t }) });
        }
    }
}

/// Every text that may have been going on.
fn every_text() -> impl Iterator<Item = (u8, u8, usize)> {
    (0..THREADS).flat_map(|t| (0..4).flat_map(move |i| (0..METHODS.len()).map(move |m| (t, i, m))))
}
