//! Digests of both ends: equal where the threads are, whatever the way was; different where anything differs.

use std::time::Instant;

use super::*;
use crate::policy;

/// What a phone has after a snapshot.
fn shown(thread: &Thread) -> Thread {
    cbor::from_slice(&cbor::to_vec(thread), limits::ENVELOPE).expect("a snapshot reads")
}

/// Whether the phone's thread agrees with the digest of the host's, as that travels.
fn agree(host: &Thread, phone: &Thread) -> bool {
    let digest = cbor::from_slice(&cbor::to_vec(&host.digest()), limits::ENVELOPE).expect("a digest reads");
    phone.agrees_with(&digest)
}

/// A thread with something in every field, and an item of every kind.
fn full() -> Thread {
    let mut thread = resumed("answer");
    thread.turns.truncate(1);
    let turn = thread.turns[0].id.clone();
    for item in kinds::every_kind() {
        thread.apply("item/completed", &json!({"threadId": thread.id, "turnId": turn, "item": item}));
    }
    let change = json!([{"path": "/p", "kind": {"type": "update", "move_path": "/q"}, "diff": "+"}]);
    let more = [
        ("fileChange", json!({"changes": change, "status": "completed"})),
        ("reasoning", json!({"summary": ["so", "thus"]})),
        ("newest", json!({})),
    ];
    for (kind, mut item) in more {
        (item["type"], item["id"]) = (kind.into(), kind.into());
        thread.apply("item/completed", &json!({"threadId": thread.id, "turnId": turn, "item": item}));
    }
    thread.turns[0].plan =
        Plan { explanation: Some("so".into()), steps: vec![Step { text: "a".into(), status: StepStatus::Pending }] };
    thread.turns[0].notice = Some("again".into());
    thread.usage = Some(Usage { window: Some(9), ..Usage::default() });
    thread.goal = Goal::read(&json!({"objective": "o", "status": "paused", "tokenBudget": 3}));
    thread.notes = vec![Note { id: "n".into(), turn: Some("u".into()), kind: NoteKind::Hook, text: "no".into() }];
    thread.status = Status::Active { waiting_on_approval: true, waiting_on_input: false };
    thread
}

/// Every value that differs from `value` in one place.
fn changed_once(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(map) => {
            let each = map.iter().flat_map(|(name, inner)| {
                changed_once(inner).into_iter().map(move |new| {
                    let mut map = map.clone();
                    map.insert(name.clone(), new);
                    Value::Object(map)
                })
            });
            each.collect()
        }
        Value::Array(list) => {
            let each = list.iter().enumerate().flat_map(|(i, inner)| {
                changed_once(inner).into_iter().map(move |new| {
                    let mut list = list.clone();
                    list[i] = new;
                    Value::Array(list)
                })
            });
            let shorter = (0..list.len()).map(|i| [&list[..i], &list[i + 1..]].concat().into());
            let swapped = (1..list.len()).map(|i| {
                let mut list = list.clone();
                list.swap(i - 1, i);
                Value::Array(list)
            });
            each.chain(shorter).chain(swapped).collect()
        }
        Value::String(text) => vec![format!("{text}x").into(), "".into()],
        Value::Number(number) => vec![(number.as_i64().unwrap_or(0) + 1).into()],
        Value::Bool(flag) => vec![(!flag).into()],
        Value::Null => vec!["".into(), 0.into(), true.into()],
    }
}

#[test]
fn one_field_that_differs_is_found_wherever_it_is() {
    let thread = full();
    assert!(agree(&thread, &shown(&thread)));
    let mut different = 0;
    for other in changed_once(&serde_json::to_value(&thread).expect("a thread is JSON")) {
        // What isn't a thread any more can't be shown.
        let Ok(mut other) = serde_json::from_value::<Thread>(other) else { continue };
        other.updated_at = thread.updated_at;
        let same = other == thread;
        assert_eq!((agree(&thread, &other), agree(&other, &thread)), (same, same), "{other:?}");
        different += usize::from(!same);
    }
    // Every field of every kind, or the walk above walks past something.
    assert!(different > 250, "{different}");
}

#[test]
fn whoever_hears_what_the_filter_lets_through_agrees_at_every_step() {
    for (name, _) in fixtures::STORIES {
        let (mut host, mut phone) = (Thread::default(), Thread::default());
        for (method, params) in fixtures::notifications(&fixtures::story(name)) {
            host.apply(method, params);
            if let Some(kept) = policy::notification(method, params) {
                phone.apply(method, &kept);
            }
            assert!(agree(&host, &phone), "{name}: {method}");
        }
    }
    let (mut host, mut phone) = (full(), shown(&full()));
    let turn = host.turns[0].id.clone();
    for item in kinds::every_kind() {
        let params = json!({"threadId": host.id, "turnId": turn, "item": item});
        host.apply("item/completed", &params);
        phone.apply("item/completed", &policy::notification("item/completed", &params).expect("for phones"));
        assert!(agree(&host, &phone), "{item}");
    }
}

#[test]
fn whoever_was_shown_a_thread_half_way_agrees_at_the_end() {
    for (name, _) in fixtures::STORIES {
        let story = fixtures::story(name);
        let notes: Vec<_> = fixtures::notifications(&story).collect();
        for join in 0..notes.len() {
            let mut host = Thread::default();
            for (method, params) in &notes[..join] {
                host.apply(method, params);
            }
            let mut phone = shown(&host);
            for (method, params) in &notes[join..] {
                host.apply(method, params);
                phone.apply(method, params);
            }
            assert!(agree(&host, &phone), "{name} from {join}");
        }
    }
}

#[test]
fn turns_taken_back_at_one_end_are_found() {
    let host = resumed("answer");
    let mut phone = shown(&host);
    phone.apply("thread/reverted", &json!({"threadId": phone.id}));
    assert!(!agree(&host, &phone) && !agree(&phone, &host));
}

/// A command that prints `count` pieces, told one by one or joined.
fn printing(count: usize, joined: usize) -> Thread {
    let mut thread = Thread::new("t");
    let command = json!({"type": "commandExecution", "id": "c", "command": "yes", "status": "inProgress"});
    thread.apply("item/started", &json!({"threadId": "t", "turnId": "1", "item": command}));
    for _ in 0..count / joined {
        let delta = "yä\u{1f600}s\n".repeat(joined);
        let (_, params) = note("", json!({"itemId": "c", "delta": delta}));
        thread.apply("item/commandExecution/outputDelta", &params);
    }
    thread
}

#[test]
fn pieces_that_were_joined_on_the_way_make_no_difference() {
    for count in [100, 7_200, 8_000, 16_000, 40_000] {
        let single = printing(count, 1);
        for joined in [10, 50, 100] {
            assert!(agree(&single, &printing(count, joined)), "{joined} of {count}");
        }
        assert!(!agree(&single, &printing(count + 100, 1)) || count > 7_200, "{count}");
    }
}

#[test]
fn a_long_thread_is_compared_where_both_ends_have_it() {
    let message = |i: usize, size: usize| {
        let item = json!({"type": "agentMessage", "id": i.to_string(), "text": "x".repeat(size)});
        json!({"threadId": "t", "turnId": format!("{:05}", i / 400), "item": item})
    };
    let mut host = Thread::new("t");
    for i in 0..30_000 {
        host.apply("item/completed", &message(i, 10));
    }
    let mut phone = shown(&host);
    phone.turns.drain(..20);
    phone.older = true;
    assert!(agree(&host, &phone), "what is old is of no account");
    let last = phone.turns.last_mut().expect("turns");
    last.items.remove(last.items.len() - 9);
    assert!(!agree(&host, &phone));
    // More than is hashed in one turn.
    for i in 0..250 {
        host.apply("item/completed", &message(i, 200_000));
    }
    let digest = host.digest();
    assert!(digest.turns.last().is_some_and(|turn| turn.items > 0));
    assert!(agree(&host, &shown(&host)));
}

#[test]
fn ten_thousand_items_are_digested_in_no_time() {
    let mut thread = Thread::new("t");
    for i in 0..10_000 {
        let item = json!({"type": "agentMessage", "id": i.to_string(), "text": "a word or two ".repeat(20)});
        thread.apply("item/completed", &json!({"threadId": "t", "turnId": format!("{:05}", i / 400), "item": item}));
    }
    let begun = Instant::now();
    let digest = thread.digest();
    let took = begun.elapsed();
    println!("{} turns, {took:?}", digest.turns.len());
    // Generous: a busy machine, and nothing optimised.
    assert!(took.as_millis() < 500, "{took:?}");
}

/// Joins neighbouring deltas of one item, as a slow path does.
fn joined(notes: &[(String, Value)]) -> Vec<(String, Value)> {
    let mut joined: Vec<(String, Value)> = Vec::new();
    for (method, params) in notes {
        let place = |params: &Value| ["threadId", "turnId", "itemId", "summaryIndex"].map(|name| params[name].clone());
        let streamed = method.ends_with("elta");
        match joined.last_mut().filter(|(last, before)| streamed && last == method && place(before) == place(params)) {
            Some((_, before)) => {
                let text = |params: &Value| params["delta"].as_str().unwrap_or_default().to_owned();
                before["delta"] = (text(before) + &text(params)).into();
            }
            None => joined.push((method.clone(), params.clone())),
        }
    }
    joined
}

/// Notifications of one thread, of which many stream into the same few items.
fn any_course() -> impl Strategy<Value = Vec<(String, Value)>> {
    let again = (any_note(), 1..6usize).prop_map(|(note, times)| vec![note; times]);
    proptest::collection::vec(again, 0..40).prop_map(|notes| notes.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_agree_whatever_came_before_and_however_pieces_were_joined(
        notes in any_course(), join in any::<proptest::sample::Index>(),
    ) {
        let mut host = Thread::new("t");
        let join = join.index(notes.len() + 1);
        apply_all(&mut host, &notes[..join]);
        let mut phone = shown(&host);
        apply_all(&mut host, &notes[join..]);
        apply_all(&mut phone, &joined(&notes[join..]));
        prop_assert!(agree(&host, &phone));
    }

    /// Whatever became of one notification: the digests differ exactly if the threads do.
    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found(
        name in proptest::sample::select(fixtures::STORIES.map(|(name, _)| name).to_vec()),
        place in any::<proptest::sample::Index>(),
        what in 0..3u8,
    ) {
        let story = fixtures::story(name);
        let notes: Vec<_> = fixtures::notifications(&story).collect();
        let place = place.index(notes.len() - 1);
        let mut other = notes.clone();
        match what {
            0 => drop(other.remove(place)),
            1 => other.insert(place, notes[place]),
            _ => other.swap(place, place + 1),
        }
        let (mut host, mut phone) = (Thread::default(), Thread::default());
        let mut others = other.into_iter();
        for (method, params) in notes {
            host.apply(method, params);
            if let Some((method, params)) = others.next() {
                phone.apply(method, params);
            }
            phone.updated_at = host.updated_at;
            prop_assert_eq!(agree(&host, &phone), host == phone, "{} {}", name, method);
        }
    }
}
