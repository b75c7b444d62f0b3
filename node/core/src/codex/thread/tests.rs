//! The reducer against what the real app-server sent, and against anything at all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codex::fixtures;
use crate::wire::{cbor, limits};

mod digest;
mod kinds;

/// The thread as its notifications make it, from the first to the last.
fn reduced(story: &str) -> Thread {
    let story = fixtures::story(story);
    let mut thread = Thread::default();
    for (method, params) in fixtures::notifications(&story) {
        thread.apply(method, params);
    }
    thread
}

/// The thread as Codex's own history has it at the end.
fn resumed(story: &str) -> Thread {
    let story = fixtures::story(story);
    let result = fixtures::results(&story, "initialTurnsPage").last().expect("a story ends with a resume");
    Thread::from_resume(result).expect("a thread")
}

/// What history and notifications both have: diffs and effective settings come by one of the two only.
fn comparable(mut thread: Thread) -> Thread {
    thread.updated_at = 0;
    (thread.approval_policy, thread.sandbox, thread.usage) = (None, None, None);
    thread.turns.iter_mut().for_each(|turn| turn.diff.clear());
    thread
}

fn note(method: &str, mut params: Value) -> (String, Value) {
    params["threadId"] = "t".into();
    params["turnId"] = "1".into();
    (method.into(), params)
}

fn apply_all(thread: &mut Thread, notes: &[(String, Value)]) {
    for (method, params) in notes {
        thread.apply(method, params);
    }
}

#[test]
fn what_streams_in_equals_codexs_own_history() {
    let same = [
        "answer",
        "command_accepted",
        "failed",
        "interrupted",
        "interrupted_command",
        "patch_accepted",
        "patch_declined",
        "patch_update",
        "steered",
    ];
    for story in same {
        assert_eq!(comparable(reduced(story)), comparable(resumed(story)), "{story}");
    }
}

#[test]
fn a_command_that_was_declined_is_known_to_those_who_watched_only() {
    for story in ["command_declined", "command_cancelled"] {
        let declined = |item: &Item| matches!(item.kind, ItemKind::Command { status: Progress::Declined, .. });
        assert!(reduced(story).turns[0].items.iter().any(declined), "{story}");
        let mut without = reduced(story);
        without.turns[0].items.retain(|item| !declined(item));
        assert_eq!(comparable(without), comparable(resumed(story)), "{story}");
    }
}

#[test]
fn thread_read_and_thread_resume_give_the_same_thread() {
    let story = fixtures::story("answer");
    let with_turns = |result: &&Value| result["thread"]["turns"].as_array().is_some_and(|turns| !turns.is_empty());
    let read = fixtures::results(&story, "thread").find(with_turns).expect("a thread/read result");
    let read = Thread::from_read(read).expect("a thread");
    assert_eq!(read.turns.len(), 2);
    assert_eq!(comparable(read), comparable(resumed("answer")));
}

#[test]
fn effective_settings_are_read_back_from_a_resume() {
    let terms = resumed("answer").terms();
    assert_eq!((terms.approval_policy.as_str(), terms.sandbox.as_str()), ("on-request", "workspace-write"));
    assert_eq!(terms.environment, "local");
    assert_eq!(reduced("answer").terms().sandbox, "unknown");
}

#[test]
fn settings_that_loosen_the_sandbox_show_in_its_text() {
    let mut thread = resumed("answer");
    let policy = |sandbox: Value| {
        json!({ "threadId": thread.id.clone(), "threadSettings": {
        "approvalPolicy": {"granular": {"rules": true, "mcp_elicitations": false}}, "sandboxPolicy": sandbox, "effort": "high" } })
    };
    let open = policy(json!({"type": "workspaceWrite", "writableRoots": ["/"], "networkAccess": true,
        "excludeSlashTmp": false, "excludeTmpdirEnvVar": false}));
    let full = policy(json!({"type": "dangerFullAccess"}));
    assert_eq!(thread.apply("thread/settings/updated", &open), Applied::Changed);
    assert_eq!(thread.terms().sandbox, r#"workspace-write {"networkAccess":true,"writableRoots":["/"]}"#);
    assert_eq!(thread.terms().approval_policy, r#"{"granular":{"mcp_elicitations":false,"rules":true}}"#);
    assert_eq!(thread.effort.as_deref(), Some("high"));
    thread.apply("thread/settings/updated", &full);
    assert_eq!(thread.terms().sandbox, "danger-full-access");
}

#[test]
fn a_second_time_changes_nothing_at_once_or_after_the_end() {
    for (name, _) in fixtures::STORIES {
        let story = fixtures::story(name);
        let mut thread = Thread::default();
        for (method, params) in fixtures::notifications(&story) {
            thread.apply(method, params);
            if !method.ends_with("elta") {
                assert_eq!(thread.apply(method, params), Applied::Ignored, "{name}: {method}");
            }
        }
        let whole = thread.clone();
        for (method, params) in fixtures::notifications(&story) {
            thread.apply(method, params);
        }
        assert_eq!(thread, whole, "{name}");
    }
}

#[test]
fn partial_text_shows_before_it_is_complete() {
    let story = fixtures::story("answer");
    let mut thread = Thread::default();
    for (method, params) in fixtures::notifications(&story) {
        thread.apply(method, params);
        if method == "item/agentMessage/delta" {
            break;
        }
    }
    let item = thread.running().and_then(|turn| turn.items.last()).expect("the answer");
    assert_eq!((item.open, item.truncated), (true, false));
    assert_eq!(item.kind, ItemKind::AgentMessage { text: "Mock ".into() });
}

#[test]
fn deltas_of_an_item_that_began_before_we_listened_are_shown_as_truncated() {
    let mut thread = Thread::new("t");
    apply_all(&mut thread, &[note("item/agentMessage/delta", json!({"itemId": "i", "delta": "tick21 "}))]);
    assert!(thread.turns[0].items[0].truncated);
    let whole = json!({"item": {"type": "agentMessage", "id": "i", "text": "tick20 tick21 "}});
    apply_all(&mut thread, &[note("item/completed", whole)]);
    let item = &thread.turns[0].items[0];
    assert_eq!((item.open, item.truncated), (false, false));
    assert_eq!(item.kind, ItemKind::AgentMessage { text: "tick20 tick21 ".into() });
}

#[test]
fn a_command_outlives_a_completed_turn_but_not_an_interrupted_one() {
    for (status, kept) in [("completed", 1), ("interrupted", 0)] {
        let mut thread = Thread::new("t");
        let command = json!({"type": "commandExecution", "id": "c", "command": "serve", "status": "inProgress"});
        let ended = json!({"turn": {"id": "1", "status": status, "items": []}});
        apply_all(&mut thread, &[note("item/started", json!({"item": command})), note("turn/completed", ended)]);
        assert_eq!(thread.turns[0].items.len(), kept, "{status}");
    }
}

#[test]
fn a_turn_that_a_review_replaced_does_not_run_on() {
    let turn = |id: &str, status: &str| json!({"turn": {"id": id, "status": status, "items": []}});
    let begun = note("turn/started", turn("begun", "inProgress"));
    let mut thread = Thread { id: "t".into(), ..Thread::default() };
    apply_all(&mut thread, &[begun.clone(), note("turn/completed", turn("review", "completed")), begun]);
    assert_eq!(thread.turn("begun").map(|turn| turn.status.clone()), Some(TurnStatus::Interrupted));
    assert!(thread.running().is_none());
}

#[test]
fn retries_are_noticed_and_forgotten_at_the_end() {
    let story = fixtures::story("failed");
    let mut thread = Thread::default();
    let mut notices = Vec::new();
    for (method, params) in fixtures::notifications(&story) {
        thread.apply(method, params);
        notices.extend(thread.turns.last().and_then(|turn| turn.notice.clone()));
    }
    assert_eq!(notices.first().map(String::as_str), Some("Reconnecting... 1/1"));
    assert_eq!(thread.turns[0].notice, None);
    assert!(matches!(&thread.turns[0].status, TurnStatus::Failed(why) if why.contains("high demand")));
}

#[test]
fn another_threads_news_is_not_taken() {
    let mut thread = Thread::new("t");
    assert_eq!(thread.apply("thread/closed", &json!({"threadId": "u"})), Applied::NotForThisThread);
    assert_eq!(thread.apply("thread/started", &json!({"thread": {"id": "u"}})), Applied::NotForThisThread);
    assert_eq!(thread.apply("skills/changed", &json!({})), Applied::NotForThisThread);
    assert_eq!(thread.apply("thread/unheard/of", &json!({"threadId": "t"})), Applied::Ignored);
    assert_eq!(thread, Thread::new("t"));
}

#[test]
fn older_turns_go_in_front_and_never_twice() {
    let turn = |id: &str| json!({"id": id, "status": "completed", "items": []});
    let mut thread = Thread::new("t");
    thread.prepend(&json!({"data": [turn("4"), turn("3")], "nextCursor": "more"}));
    assert!(thread.older);
    thread.prepend(&json!({"data": [turn("3"), turn("2"), turn("1")], "nextCursor": null}));
    let ids: Vec<_> = thread.turns.iter().map(|turn| turn.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert!(!thread.older);
}

#[test]
fn an_answer_without_a_thread_is_an_error() {
    assert_eq!(Thread::from_read(&json!({})), Err(Error::Missing("thread")));
    assert_eq!(Thread::from_resume(&json!({"thread": {"id": ""}})), Err(Error::Missing("thread.id")));
    assert_eq!(Summary::from_list(&json!({"threads": []})), Err(Error::Missing("data")));
}

#[test]
fn rows_of_a_list_are_summaries() {
    let lists = fixtures::messages(fixtures::LISTS);
    let list = fixtures::results(&lists, "readStates").next().expect("a thread/list result");
    let (rows, cursor) = Summary::from_list(list).expect("rows");
    assert_eq!((rows.len(), cursor), (2, None));
    assert_eq!(rows[0].folder, "/home/me/project");
    assert_eq!((rows[0].preview.as_str(), rows[0].status), ("EXEC cmd=echo begun; sleep 8", Status::Idle));
}

#[test]
fn a_long_output_keeps_its_end_and_a_long_text_its_beginning() {
    let mut thread = Thread::new("t");
    let line = "0123456789abcde\n".repeat(1024);
    let command = json!({"item": {"type": "commandExecution", "id": "c", "command": "yes", "status": "inProgress"}});
    apply_all(&mut thread, &[note("item/started", command)]);
    for i in 0..64 {
        let delta = json!({"itemId": "c", "delta": format!("{line}{i}")});
        apply_all(&mut thread, &[note("item/commandExecution/outputDelta", delta)]);
        let delta = json!({"itemId": "m", "delta": format!("{i}{line}")});
        apply_all(&mut thread, &[note("item/agentMessage/delta", delta)]);
    }
    let items = &thread.turns[0].items;
    assert!(items.iter().all(|item| item.truncated));
    let ItemKind::Command { output, .. } = &items[0].kind else { panic!("{items:?}") };
    assert!(output.len() <= 128 * 1024 && output.ends_with("63"), "{}", output.len());
    let ItemKind::AgentMessage { text } = &items[1].kind else { panic!("{items:?}") };
    assert!(text.len() <= 256 * 1024 && text.starts_with("00123"), "{}", text.len());
}

#[test]
fn changes_that_are_not_here_whole_are_not_given_to_an_approval() {
    let mut thread = Thread::new("t");
    let change = |bytes: usize| json!({"path": "/p", "kind": {"type": "add"}, "diff": "x".repeat(bytes)});
    let item = |id: &str, changes: Vec<Value>| {
        note(
            "item/started",
            json!({"item": {"type": "fileChange", "id": id,
        "changes": changes, "status": "inProgress"}}),
        )
    };
    apply_all(
        &mut thread,
        &[item("small", vec![change(9), change(9)]), item("large", vec![change(9), change(2 << 20)])],
    );
    apply_all(&mut thread, &[item("odd", vec![change(9), json!({"path": "/p"})])]);
    assert_eq!(thread.changes("1", "small").map(<[_]>::len), Some(2));
    assert_eq!(thread.changes("1", "large"), None);
    assert_eq!(thread.changes("1", "odd"), None);
    assert_eq!(thread.changes("1", "none"), None);
}

#[test]
fn the_oldest_goes_first_when_a_thread_grows_too_large() {
    let mut thread = Thread::new("t");
    for turn in 0..100 {
        let message = json!({"threadId": "t", "turnId": format!("{turn:03}"),
            "item": {"type": "agentMessage", "id": "m", "text": "x".repeat(100 * 1024)}});
        thread.apply("item/completed", &message);
        assert!(thread.weight() <= Thread::WEIGHT);
    }
    assert!(thread.older);
    assert_eq!(thread.turns.last().map(|turn| turn.id.as_str()), Some("099"));
    // A turn that was let go isn't begun again at the end by something late.
    let late = json!({"threadId": "t", "turnId": "000", "item": {"type": "agentMessage", "id": "m", "text": "late"}});
    assert_eq!(thread.apply("item/completed", &late), Applied::Ignored);
}

#[test]
fn turns_and_items_are_bounded_by_number_however_small() {
    let mut thread = Thread::new("t");
    for turn in 0..100 {
        thread.apply("turn/started", &json!({"threadId": "t", "turn": {"id": format!("{turn:03}")}}));
    }
    assert_eq!((thread.turns.len(), thread.older), (Thread::TURNS, true));
    for item in 0..600 {
        let item = json!({"type": "plan", "id": format!("{item}")});
        thread.apply("item/started", &json!({"threadId": "t", "turnId": "099", "item": item}));
    }
    let turn = thread.turn("099").expect("kept");
    assert_eq!((turn.items.len(), turn.older), (Thread::ITEMS, true));
    assert_eq!(turn.items.last().map(|item| item.id.as_str()), Some("599"));
}

#[test]
fn deltas_alone_can_not_grow_a_thread_past_its_bound() {
    let mut thread = Thread::new("t");
    let delta = "x".repeat(8 * 1024);
    for item in 0..100 {
        apply_all(&mut thread, &[note("item/agentMessage/delta", json!({"itemId": format!("{item}"), "delta": ""}))]);
    }
    for _ in 0..20 {
        for item in 0..100 {
            thread.apply(
                "item/agentMessage/delta",
                &json!({"threadId": "t", "turnId": "1", "itemId": format!("{item}"), "delta": delta}),
            );
            assert!(thread.weight() <= Thread::WEIGHT + 2 * Grown::UNCOUNTED);
        }
    }
}

#[test]
fn a_thread_travels_as_cbor_and_as_json() {
    for (story, _) in fixtures::STORIES {
        let thread = reduced(story);
        let bytes = cbor::to_vec(&thread);
        assert_eq!(cbor::from_slice::<Thread>(&bytes, limits::ENVELOPE).as_ref(), Ok(&thread), "{story}");
        let json = serde_json::to_value(&thread).expect("serializes");
        assert_eq!(serde_json::from_value::<Thread>(json).expect("reads back"), thread, "{story}");
    }
}

#[test]
fn a_newer_hosts_fields_items_and_statuses_are_read_over() {
    let newer = json!({"id": "t", "mood": 1, "status": {"type": "dreaming"}, "turns": [{"id": "1", "status": "completed",
        "items": [{"id": "i", "type": "hologram", "beams": 3}, {"id": "m", "type": "agentMessage", "text": "hi", "tone": 1}]}]});
    let bytes = cbor::to_vec(&newer);
    let thread: Thread = cbor::from_slice(&bytes, limits::ENVELOPE).expect("reads");
    assert_eq!(thread.status, Status::Unknown);
    assert_eq!(thread.turns[0].items[0].kind, ItemKind::Unknown);
    assert_eq!(thread.turns[0].items[1].kind, ItemKind::AgentMessage { text: "hi".into() });
}

#[test]
fn json_for_scripts_stays_as_it_is() {
    let items = &reduced("patch_declined").turns[0].items[..2];
    insta::assert_snapshot!(serde_json::to_string_pretty(items).expect("serializes"), @r#"
    [
      {
        "id": "01a204af-f6c3-7f91-af0f-f3592bdb44dd",
        "open": false,
        "truncated": false,
        "images": 0,
        "type": "userMessage",
        "text": "PATCH file=/home/me/outside.txt",
        "clientId": "msg-PATCH",
        "attachments": 0
      },
      {
        "id": "call_000012",
        "open": false,
        "truncated": false,
        "images": 0,
        "type": "fileChange",
        "changes": [
          {
            "path": "/home/me/outside.txt",
            "kind": "add",
            "movedTo": null,
            "diff": "hello\nfrom the mock model\n"
          }
        ],
        "status": "declined"
      }
    ]
    "#);
}

/// Any notification, about few threads, turns and items, so that they meet.
fn any_note() -> impl Strategy<Value = (String, Value)> {
    let methods = proptest::sample::select(vec![
        "thread/started",
        "thread/status/changed",
        "thread/settings/updated",
        "thread/closed",
        "turn/started",
        "turn/completed",
        "turn/diff/updated",
        "item/started",
        "item/completed",
        "item/agentMessage/delta",
        "item/reasoning/summaryPartAdded",
        "item/reasoning/summaryTextDelta",
        "item/commandExecution/outputDelta",
        "item/fileChange/patchUpdated",
        "item/plan/delta",
        "item/mcpToolCall/progress",
        "item/autoApprovalReview/completed",
        "turn/plan/updated",
        "thread/goal/updated",
        "warning",
        "error",
    ]);
    let kinds = proptest::sample::select(vec![
        "userMessage",
        "agentMessage",
        "reasoning",
        "commandExecution",
        "fileChange",
        "imageView",
        "webSearch",
        "plan",
        "mcpToolCall",
        "dynamicToolCall",
        "collabAgentToolCall",
        "hookPrompt",
        "exitedReviewMode",
    ]);
    let statuses = proptest::sample::select(vec!["inProgress", "completed", "interrupted", "failed", "declined"]);
    let size = prop_oneof![4 => 0..64usize, 1 => 0..700_000usize];
    (methods, kinds, statuses, size, 0..3u8, 0..80u8, 0..6u8, any::<u64>()).prop_map(
        |(method, kind, status, size, thread, turn, item, index)| {
            let text = "ä".repeat(size / 2);
            let (turn, thread) = (format!("{turn:02}"), if thread == 0 { "u" } else { "t" });
            let change = json!({"path": "/p", "kind": {"type": "update", "move_path": text}, "diff": text});
            let item = json!({"type": kind, "id": format!("{item}"), "text": text, "summary": [text],
                "aggregatedOutput": text, "command": text, "changes": [change], "status": status, "path": text,
                "content": [{"type": "text", "text": text}], "server": text, "tool": text, "arguments": [text],
                "result": {"content": [{"type": "text", "text": text}, {"type": "image"}]}, "error": {"message": text},
                "contentItems": [{"type": "inputText", "text": text}], "receiverThreadIds": [text, item.to_string()],
                "prompt": text, "fragments": [{"text": text}], "review": text, "query": text});
            let whole = json!({"id": turn, "status": status, "items": [item], "error": {"message": text}});
            (
                method.into(),
                json!({"threadId": thread, "turnId": turn, "itemId": item["id"], "item": item, "turn": whole,
                "delta": text, "diff": text, "summaryIndex": index % 70, "changes": item["changes"],
                "thread": {"id": thread, "preview": text, "cwd": text}, "error": {"message": text}, "message": text,
                "plan": vec![json!({"step": text, "status": status}); 9], "goal": {"objective": text},
                "reviewId": item["id"], "review": {"status": status, "rationale": text},
                "status": {"type": "active"}, "threadSettings": {"cwd": text, "sandboxPolicy": {"type": text}}}),
            )
        },
    )
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let names =
            proptest::sample::select(vec!["threadId", "turnId", "itemId", "item", "turn", "id", "type", "thread"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(names.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_stays_within_bounds(notes in proptest::collection::vec(any_note(), 0..120)) {
        let mut thread = Thread::new("t");
        for (method, params) in notes {
            thread.apply(&method, &params);
            prop_assert!(thread.weight() <= Thread::WEIGHT + Grown::UNCOUNTED);
            prop_assert!(thread.turns.len() <= Thread::TURNS);
            prop_assert!(thread.turns.iter().all(|turn| turn.items.len() <= Thread::ITEMS));
        }
        prop_assert!(cbor::to_vec(&thread).len() <= limits::ENVELOPE);
    }

    #[test]
    fn no_json_makes_the_reducer_panic(method in any_note().prop_map(|(method, _)| method), params in any_json()) {
        let mut thread = Thread::new("t");
        thread.apply(&method, &params);
        let _ = (Thread::from_read(&params), Summary::from_list(&params));
    }
}
