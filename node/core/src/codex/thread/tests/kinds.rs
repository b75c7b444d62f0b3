//! Every kind of item and of remark: read, bounded, and the same when filtered first.

use super::*;
use crate::policy;

/// An item of every kind that needs more than its text, as the schema of 0.169.0 has it.
pub(super) fn every_kind() -> Vec<Value> {
    let image = json!({"type": "image", "data": "AAAA", "mimeType": "image/png"});
    vec![
        json!({"type": "userMessage", "id": "user", "content": [{"type": "text", "text": "look"},
            {"type": "image", "url": "data:image/png;base64,AAAA"}, {"type": "localImage", "path": "/shot.png"},
            {"type": "skill", "name": "s", "path": "/s"}]}),
        json!({"type": "plan", "id": "plan", "text": "first this"}),
        json!({"type": "commandExecution", "id": "command", "command": "ls", "cwd": "/", "commandActions": [],
            "status": "completed", "source": "userShell", "exitCode": 0, "durationMs": 7}),
        json!({"type": "mcpToolCall", "id": "mcp", "server": "browser", "tool": "open", "arguments": {"b": 1, "a": "x"},
            "status": "completed", "durationMs": 9, "pluginId": "p", "result": {"content": [{"type": "text",
            "text": "opened"}, image, {"type": "resource", "resource": {"uri": "u", "text": "inside"}},
            {"type": "resource_link", "uri": "file:///x", "name": "x"}], "structuredContent": {"a": 1}}}),
        json!({"type": "mcpToolCall", "id": "failed", "server": "browser", "tool": "open", "arguments": null,
            "status": "failed", "error": {"message": "no browser"}, "result": null}),
        json!({"type": "dynamicToolCall", "id": "dynamic", "namespace": "n", "tool": "t", "arguments": [1],
            "status": "completed", "success": false, "contentItems": [{"type": "inputText", "text": "seen"},
            {"type": "inputImage", "imageUrl": "data:image/png;base64,AAAA"}]}),
        json!({"type": "functionCallOutput", "id": "whole", "name": "f", "output": "done"}),
        json!({"type": "functionCallOutput", "id": "parts", "name": "f", "output": [{"type": "input_text",
            "text": "seen"}, {"type": "input_image", "image_url": "data:"}, {"type": "encrypted_content",
            "encrypted_content": "secret"}]}),
        json!({"type": "collabAgentToolCall", "id": "collab", "tool": "spawnAgent", "status": "interrupted",
            "senderThreadId": "t", "receiverThreadIds": ["u"], "prompt": "help", "agentsStates": {}}),
        json!({"type": "subAgentActivity", "id": "sub", "kind": "started", "agentPath": "/a", "agentThreadId": "u"}),
        json!({"type": "webSearch", "id": "web", "query": "rust", "results": [{"url": "x"}],
            "action": {"type": "findInPage", "url": "https://x", "pattern": "p"}}),
        json!({"type": "imageView", "id": "view", "path": "/shot.png"}),
        json!({"type": "imageGeneration", "id": "made", "status": "completed", "result": "AAAA",
            "savedPath": "/home/me/.codex/x.png", "revisedPrompt": "a cat"}),
        json!({"type": "imageGeneration", "id": "unmade", "status": "completed", "result": "",
            "failure": {"type": "usageLimitExceeded", "limitId": "l"}}),
        json!({"type": "sleep", "id": "sleep", "durationMs": 5}),
        json!({"type": "enteredReviewMode", "id": "in", "review": "changes"}),
        json!({"type": "exitedReviewMode", "id": "out", "review": "all well"}),
        json!({"type": "contextCompaction", "id": "compaction"}),
        json!({"type": "hookPrompt", "id": "hook", "fragments": [{"text": "mind", "hookRunId": "r"}]}),
    ]
}

#[test]
pub(super) fn every_kind_is_read_and_the_same_after_the_filter() {
    let (mut whole, mut filtered) = (Thread::new("t"), Thread::new("t"));
    for item in every_kind() {
        let (method, params) = note("item/completed", json!({"item": item}));
        let kept = policy::notification(&method, &params).expect("for phones");
        for hidden in ["AAAA", "structuredContent", ".codex", "secret", "hookRunId", "pluginId"] {
            assert!(!kept.to_string().contains(hidden), "{hidden} in {kept}");
        }
        assert_eq!(whole.apply(&method, &params), Applied::Changed);
        filtered.apply(&method, &kept);
    }
    assert_eq!(filtered, whole);
    let items = &whole.turns[0].items;
    let other = |item: &&Item| matches!(item.kind, ItemKind::Other { .. } | ItemKind::Unknown);
    assert_eq!(items.iter().find(other), None);
    let images: Vec<_> = items.iter().filter(|i| i.images > 0).map(|i| (i.id.as_str(), i.images)).collect();
    assert_eq!(images, [("user", 2), ("mcp", 1), ("dynamic", 1), ("parts", 1), ("view", 1), ("made", 1)]);
    let tool = ItemKind::Tool {
        server: Some("browser".into()),
        tool: "open".into(),
        arguments: r#"{"a":"x","b":1}"#.into(),
        status: Progress::Completed,
        result: "opened\ninside\nfile:///x".into(),
        error: None,
        progress: None,
        duration_ms: Some(9),
    };
    assert_eq!(items[3].kind, tool);
    let bytes = cbor::to_vec(&whole);
    assert_eq!(cbor::from_slice::<Thread>(&bytes, limits::ENVELOPE), Ok(whole));
}

#[test]
fn what_is_known_beside_the_items_is_the_same_after_the_filter() {
    let review = |status: &str| {
        let action = json!({"type": "command", "command": "rm x", "cwd": "/", "source": "shell"});
        json!({"reviewId": "r", "action": action, "review": {"status": status, "riskLevel": "high", "rationale": "why"}})
    };
    let tokens = |total: i64| {
        json!({"totalTokens": total, "inputTokens": 2, "cachedInputTokens": 1, "outputTokens": 3,
        "reasoningOutputTokens": 0})
    };
    let steps = json!([{"step": "a", "status": "completed"}, {"step": "b", "status": "someday"}]);
    let notes = [
        note("turn/started", json!({"turn": {"id": "1", "items": [], "status": "inProgress"}})),
        note("turn/plan/updated", json!({"explanation": "so", "plan": steps})),
        note("item/plan/delta", json!({"itemId": "p", "delta": "fi"})),
        note("item/mcpToolCall/progress", json!({"itemId": "m", "message": "half"})),
        note(
            "thread/tokenUsage/updated",
            json!({"tokenUsage": {"total": tokens(9), "last": tokens(5),
            "modelContextWindow": 100}}),
        ),
        note("thread/goal/updated", json!({"goal": {"objective": "ship", "status": "paused", "tokensUsed": 4}})),
        note("thread/archived", json!({})),
        note("item/autoApprovalReview/started", review("inProgress")),
        note("item/autoApprovalReview/completed", review("denied")),
        note("model/rerouted", json!({"fromModel": "a", "toModel": "b", "reason": "c"})),
        note(
            "hook/completed",
            json!({"run": {"id": "h", "eventName": "stop", "status": "blocked", "sourcePath": "/x",
            "entries": [{"kind": "stop", "text": "no"}]}}),
        ),
        note(
            "hook/completed",
            json!({"run": {"id": "quiet", "eventName": "stop", "status": "completed", "entries": []}}),
        ),
        ("warning".into(), json!({"threadId": "t", "message": "slow"})),
    ];
    let (mut whole, mut filtered) = (Thread::new("t"), Thread::new("t"));
    for (method, params) in &notes {
        whole.apply(method, params);
        filtered.apply(method, &policy::notification(method, params).expect("for phones"));
        if method != "item/plan/delta" {
            assert_eq!(whole.apply(method, params), Applied::Ignored, "{method}");
        }
    }
    assert_eq!(filtered, whole);
    let statuses: Vec<_> = whole.turns[0].plan.steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Completed, StepStatus::Unknown]);
    assert_eq!(whole.usage.map(|usage| (usage.total, usage.context, usage.window)), Some((9, 5, Some(100))));
    assert_eq!(whole.goal.as_ref().map(|goal| (goal.status, goal.tokens)), Some((GoalStatus::Paused, 4)));
    let said: Vec<_> = whole.notes.iter().map(|note| note.text.as_str()).collect();
    let denied = "denied: rm x (high risk): why";
    assert_eq!(said, [denied, "b answers instead of a (c)", "stop blocked: no", "slow"]);
    let bytes = cbor::to_vec(&whole);
    assert_eq!(cbor::from_slice::<Thread>(&bytes, limits::ENVELOPE), Ok(whole));
}

#[test]
fn turns_that_were_taken_back_are_gone_and_the_thread_is_to_be_read_again() {
    let mut thread = resumed("answer");
    let params = json!({"threadId": thread.id.clone()});
    assert_eq!(thread.apply("thread/reverted", &params), Applied::Outdated);
    assert!(thread.turns.is_empty() && thread.older);
}

#[test]
fn a_newer_hosts_words_are_read_over_in_what_is_new() {
    let newer = json!({"id": "t", "goal": {"objective": "o", "status": "dreaming"},
        "notes": [{"kind": "song", "text": "la"}], "turns": [{"id": "1", "status": "completed",
        "plan": {"steps": [{"text": "s", "status": "someday"}]}, "items": [{"id": "i", "type": "imageGeneration",
        "prompt": null, "status": "drying"}]}]});
    let thread: Thread = cbor::from_slice(&cbor::to_vec(&newer), limits::ENVELOPE).expect("reads");
    assert_eq!(thread.goal.map(|goal| goal.status), Some(GoalStatus::Unknown));
    assert_eq!(thread.notes[0].kind, NoteKind::Unknown);
    assert_eq!(thread.turns[0].plan.steps[0].status, StepStatus::Unknown);
    assert_eq!(thread.turns[0].items[0].kind, ItemKind::ImageGeneration { prompt: None, status: Progress::Unknown });
}
