//! What the phone's reducer makes of a stream, against what the host's own makes of the notifications themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codex::fixtures;
use crate::codex::thread::Thread;
use crate::wire::Envelope;
use crate::wire::envelope::{Notification, Snapshot};

const MS: Duration = Duration::from_millis(1);

fn note(method: &str, params: &Value) -> Envelope {
    Envelope::Notification(Notification { method: method.into(), params: ByteBuf::from(params.to_string()) })
}

fn word(thread: &str, item: &str, delta: &str) -> Envelope {
    note("item/agentMessage/delta", &json!({"threadId": thread, "turnId": "turn-1", "itemId": item, "delta": delta}))
}

fn started(thread: &str, turn: &str) -> Envelope {
    note("turn/started", &json!({"threadId": thread, "turn": {"id": turn, "status": "inProgress", "items": []}}))
}

fn text(envelope: &Envelope) -> &str {
    match envelope {
        Envelope::Delta(Delta { t, .. }) | Envelope::StreamOpen(StreamOpen { t, .. }) => t,
        Envelope::Notification(Notification { method, .. }) => method,
        Envelope::Snapshot(_) => "snapshot",
        _ => "?",
    }
}

fn texts(envelopes: &[Envelope]) -> Vec<&str> {
    envelopes.iter().map(text).collect()
}

fn drain(stream: &mut Outbound, now: Instant) -> Vec<Envelope> {
    std::iter::from_fn(|| stream.poll(now)).collect()
}

#[test]
fn the_first_word_goes_at_once_and_those_behind_it_together() {
    let (mut stream, t) = (Outbound::default(), Instant::now());
    for text in ["The ", "answer ", "is ", "42"] {
        stream.push(word("a", "i", text), t);
        if text == "The " {
            assert_eq!(texts(&drain(&mut stream, t)), ["The "]);
        }
    }
    assert_eq!(stream.deadline(), Some(t + HOLD));
    assert_eq!(stream.poll(t + HOLD - MS), None);
    let together = Envelope::Delta(Delta { s: 0, o: 4, t: "answer is 42".into() });
    assert_eq!(drain(&mut stream, t + HOLD), [together]);
    assert_eq!((stream.deadline(), stream.bytes()), (None, 0));
    stream.push(word("a", "i", "!"), t + 2 * HOLD);
    assert_eq!(texts(&drain(&mut stream, t + 2 * HOLD)), ["!"], "after a pause nothing waits");
}

#[test]
fn something_else_of_the_thread_does_not_overtake_its_text_and_takes_it_along() {
    let (mut stream, t) = (Outbound::default(), Instant::now());
    stream.push(word("a", "i", "1"), t);
    drain(&mut stream, t);
    stream.push(word("a", "i", "2"), t);
    stream.push(started("b", "turn-1"), t);
    assert_eq!(texts(&drain(&mut stream, t)), ["turn/started"], "another thread's waits for nobody");
    stream.push(started("a", "turn-2"), t);
    stream.push(word("a", "i", "3"), t);
    assert_eq!(texts(&drain(&mut stream, t)), ["2", "turn/started"]);
    assert_eq!(texts(&drain(&mut stream, t + HOLD)), ["3"]);
}

#[test]
fn what_arrives_is_what_codex_sent() {
    let (mut stream, mut phone, t) = (Outbound::default(), Inbound::default(), Instant::now());
    let summary =
        |part: u8| json!({"threadId": "a", "turnId": "turn-1", "itemId": "r", "summaryIndex": part, "delta": "“ü”\n"});
    let sent = [summary(0), summary(1), summary(0)].map(|p| note("item/reasoning/summaryTextDelta", &p));
    for (i, envelope) in (0..).zip(sent) {
        stream.push(envelope.clone(), t + i * HOLD);
        let mut heard = drain(&mut stream, t + i * HOLD).into_iter();
        let heard = phone.take(heard.next().unwrap()).unwrap().unwrap();
        let (Envelope::Notification(heard), Envelope::Notification(sent)) = (heard, envelope) else { panic!() };
        assert_eq!(heard.method, sent.method);
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(read(&heard.params), read(&sent.params));
    }
}

#[test]
fn words_cost_little_more_than_themselves() {
    let (mut stream, t) = (Outbound::default(), Instant::now());
    let id = "0199a213-81ac-7d40-8ad1-6a4d6e0f0e3a";
    let (mut codex, mut sent) = (0, 0);
    for i in 0..500 {
        let now = t + i * 10 * MS;
        let Envelope::Notification(note) = word(id, id, "word ") else { panic!() };
        codex += note.params.len() + note.method.len();
        stream.push(Envelope::Notification(note), now);
        sent += drain(&mut stream, now).iter().map(|envelope| envelope.encode().len() + 31).sum::<usize>();
    }
    assert!(sent * 4 < codex, "{sent} bytes in records for {codex} of Codex's");
}

#[test]
fn the_oldest_of_too_many_texts_is_named_anew() {
    let (mut stream, mut phone, t) = (Outbound::default(), Inbound::default(), Instant::now());
    let mut opened = 0;
    let items = (0..=OPEN).chain([0, 0, OPEN]).map(|i| i.to_string());
    for (i, item) in (0..).zip(items) {
        stream.push(word("a", &item, "x"), t + i * HOLD);
        for envelope in drain(&mut stream, t + i * HOLD) {
            opened += u32::from(matches!(envelope, Envelope::StreamOpen(_)));
            assert!(matches!(phone.take(envelope), Ok(Some(Envelope::Notification(_)))));
        }
    }
    assert_eq!(opened, OPEN + 2);
}

#[test]
fn a_phone_that_is_too_slow_loses_the_longest_queue_and_is_told_once_there_is_room() {
    let (mut stream, t) = (Outbound::new(4000), Instant::now());
    stream.push(word("slow", "i", &"x".repeat(2000)), t);
    stream.push(started("other", "turn-1"), t);
    assert_eq!((stream.gap(), stream.bytes() > 2000), (None, true));
    stream.push(word("slow", "i", &"y".repeat(2000)), t);
    assert!(stream.bytes() < 1000, "its own was the longest");
    assert_eq!((stream.gap(), stream.gap()), (Some("slow".into()), None));
    stream.push(word("slow", "i", "z"), t);
    assert_eq!(texts(&drain(&mut stream, t)), ["turn/started"], "nothing of it until it is shown");
    stream.push(Envelope::Snapshot(Snapshot { thread: Thread::new("slow") }), t);
    stream.push(word("slow", "i", "z"), t);
    assert_eq!(texts(&drain(&mut stream, t)), ["snapshot", "z"]);
}

#[test]
fn a_snapshot_without_room_is_asked_for_again() {
    let (mut stream, t) = (Outbound::new(4000), Instant::now());
    let snapshot = Envelope::Snapshot(Snapshot { thread: Thread::new("b") });
    stream.push(word("a", "i", &"x".repeat(3000)), t);
    stream.push(snapshot.clone(), t);
    assert_eq!(stream.gap(), None);
    assert_eq!(drain(&mut stream, t).len(), 1);
    assert_eq!(stream.gap(), Some("b".into()));
    stream.release("b");
    stream.push(started("b", "turn-1"), t);
    assert_eq!(texts(&drain(&mut stream, t)), ["turn/started"], "nobody wants it");
}

#[test]
fn one_that_is_larger_than_the_queue_goes_alone() {
    let (mut stream, t) = (Outbound::new(100), Instant::now());
    stream.push(word("a", "i", &"x".repeat(9000)), t);
    assert_eq!(drain(&mut stream, t).len(), 1);
    let host_wide = || note("account/rateLimits/updated", &json!({"rateLimits": {}}));
    stream.push(host_wide(), t);
    stream.push(host_wide(), t);
    assert_eq!((drain(&mut stream, t).len(), stream.gap()), (1, None), "what is about no thread has no gaps");
}

#[test]
fn what_no_host_sends_is_a_gap() {
    let lost = Err(Gap { thread: None });
    let open = |s, params: &str, t: &str| {
        let params = ByteBuf::from(params);
        Envelope::StreamOpen(StreamOpen { s, method: "item/plan/delta".into(), params, t: t.into() })
    };
    let piece = |s, o| Envelope::Delta(Delta { s, o, t: "x".into() });
    let mut phone = Inbound::default();
    assert_eq!(phone.take(piece(0, 0)), lost, "never begun");
    for params in ["", "[]", "{}", &format!(r#"{{"threadId":"t","x":"{}"}}"#, "x".repeat(COMMON))] {
        assert_eq!(Inbound::default().take(open(0, params, "")), lost, "{params}");
    }
    assert!(phone.take(open(0, r#"{"threadId":"t"}"#, "ab")).is_ok());
    assert_eq!(phone.take(piece(0, 3)), Err(Gap { thread: Some("t".into()) }));
    assert_eq!(phone.take(piece(0, 2)), Ok(None), "said once, and nothing more of that text");
    assert_eq!(phone.take(open(2, r#"{"threadId":"t"}"#, "")), lost, "the one before it is missing");
    assert_eq!(phone.take(piece(2, 0)), Ok(None));
}

#[test]
fn every_captured_story_comes_through() {
    for (name, _) in fixtures::STORIES {
        let story = fixtures::story(name);
        let (mut stream, mut phone, t) = (Outbound::default(), Inbound::default(), Instant::now());
        let (mut direct, mut shown) = (Thread::default(), Thread::default());
        for (i, (method, params)) in (0..).zip(fixtures::notifications(&story)) {
            direct.apply(method, params);
            stream.push(note(method, params), t + i * 3 * MS);
            let went = drain(&mut stream, t + i * 3 * MS);
            went.into_iter().for_each(|envelope| hear(&mut phone, envelope, |m, p| _ = shown.apply(m, p)));
        }
        let rest = drain(&mut stream, t + 3600 * 1000 * MS);
        rest.into_iter().for_each(|envelope| hear(&mut phone, envelope, |m, p| _ = shown.apply(m, p)));
        assert_eq!(shown, direct, "{name}");
    }
}

fn hear(phone: &mut Inbound, envelope: Envelope, apply: impl FnOnce(&str, &Value)) {
    let Ok(Some(Envelope::Notification(note))) = phone.take(envelope) else { panic!("a notification") };
    apply(&note.method, &serde_json::from_slice(&note.params).unwrap());
}

/// A host that reduces every notification itself, a path, and a phone that reduces what arrives.
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
                let params =
                    json!({"turnId": "turn-1", "item": {"type": "agentMessage", "id": item(i), "text": "all"}});
                self.report(thread, "item/completed", params);
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
            let begun = StreamOpen { s, method: t.clone(), params, t: t.clone() };
            let _ = phone.take(if open { Envelope::StreamOpen(begun) } else { Envelope::Delta(Delta { s, o, t }) });
        }
    }
}

/// Every text that may have been going on.
fn every_text() -> impl Iterator<Item = (u8, u8, usize)> {
    (0..THREADS).flat_map(|t| (0..4).flat_map(move |i| (0..METHODS.len()).map(move |m| (t, i, m))))
}
