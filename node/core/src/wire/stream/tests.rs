//! What goes when, what it becomes again, and what is a gap.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::codex::fixtures;
use crate::codex::thread::Thread;
use crate::wire::Envelope;
use crate::wire::envelope::{Notification, Snapshot};

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) fn note(method: &str, params: &Value) -> Envelope {
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

fn completed(thread: &str, item: &str, text: &str) -> Envelope {
    let item = json!({"id": item, "type": "agentMessage", "text": text});
    note("item/completed", &json!({"threadId": thread, "turnId": "turn-1", "item": item}))
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
fn an_item_whose_text_went_goes_without_it() {
    let (mut stream, mut phone, t) = (Outbound::default(), Inbound::default(), Instant::now());
    for envelope in [word("a", "i", "The "), word("a", "i", "answer"), completed("a", "i", "The answer")] {
        stream.push(envelope, t);
    }
    let mut went = drain(&mut stream, t);
    let done = went.pop().unwrap();
    assert!(
        matches!(&done, Envelope::Confirm(Confirm { params, .. }) if !String::from_utf8_lossy(params).contains("The"))
    );
    let mut other = Inbound::default();
    other.take(word("a", "i", "not numbered")).unwrap();
    assert_eq!(other.take(done.clone()), Err(Gap { thread: None }));
    went.into_iter().for_each(|envelope| _ = phone.take(envelope).unwrap());
    let whole = phone.take(done.clone()).unwrap();
    let (Some(Envelope::Notification(whole)), Envelope::Notification(sent)) =
        (whole, completed("a", "i", "The answer"))
    else {
        panic!("a notification")
    };
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!((whole.method, read(&whole.params)), (sent.method, read(&sent.params)));
    let words = json!([{"id": "u", "type": "userMessage"}, {"id": "i", "type": "agentMessage", "text": "The answer"}]);
    let ended = json!({"threadId": "a", "turn": {"id": "turn-1", "status": "completed", "items": words}});
    stream.push(note("turn/completed", &ended), t);
    let last = stream.poll(t).unwrap();
    assert!(matches!(&last, Envelope::Confirm(_)));
    let Ok(Some(Envelope::Notification(Notification { method, params }))) = phone.take(last) else { panic!("whole") };
    assert_eq!((&*method, read(&params)), ("turn/completed", ended), "nor with its turn");
    stream.push(word("a", "i", "!"), t + HOLD);
    drain(&mut stream, t + HOLD).into_iter().for_each(|envelope| _ = phone.take(envelope).unwrap());
    assert_eq!(phone.take(done), Err(Gap { thread: Some("a".into()) }), "it is another text by now");
}

#[test]
fn an_item_goes_whole_if_its_text_is_another_or_too_long_or_too_long_ago() {
    let (mut stream, t) = (Outbound::default(), Instant::now());
    let long = "x".repeat(WHOLE + 1);
    stream.push(word("a", "other", "Teh"), t);
    stream.push(word("a", "long", &long), t);
    stream.push(word("a", "old", "once"), t);
    (0..KEPT).for_each(|i| stream.push(word("a", &i.to_string(), "x"), t));
    stream.push(word("a", "new", "x"), t);
    drain(&mut stream, t + HOLD);
    for (item, text) in [("other", "The"), ("long", &long), ("old", "once"), ("unheard", "of")] {
        stream.push(completed("a", item, text), t + HOLD);
        assert_eq!(drain(&mut stream, t + HOLD), [completed("a", item, text)], "{item}");
    }
    stream.push(completed("a", "new", "x"), t + HOLD);
    assert!(matches!(drain(&mut stream, t + HOLD)[..], [Envelope::Confirm(_)]));
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
