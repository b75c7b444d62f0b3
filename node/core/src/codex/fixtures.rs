//! What the real app-server (0.169.0) sent, captured offline against a scripted model; paths are neutral, otherwise
//! as received. One file a story: the answers to our requests and the notifications, in order.

use serde_json::Value;

use super::message::Incoming;

/// Every story that ends with a `thread/resume`, by name.
pub(crate) const STORIES: [(&str, &str); 12] = [
    ("answer", include_str!("fixtures/answer.jsonl")),
    ("command_accepted", include_str!("fixtures/command_accepted.jsonl")),
    ("command_cancelled", include_str!("fixtures/command_cancelled.jsonl")),
    ("command_declined", include_str!("fixtures/command_declined.jsonl")),
    ("failed", include_str!("fixtures/failed.jsonl")),
    ("interrupted", include_str!("fixtures/interrupted.jsonl")),
    ("interrupted_command", include_str!("fixtures/interrupted_command.jsonl")),
    ("patch_accepted", include_str!("fixtures/patch_accepted.jsonl")),
    ("patch_declined", include_str!("fixtures/patch_declined.jsonl")),
    ("patch_update", include_str!("fixtures/patch_update.jsonl")),
    ("resumed_while_pending", include_str!("fixtures/resumed_while_pending.jsonl")),
    ("steered", include_str!("fixtures/steered.jsonl")),
];

/// The results of `thread/list`, `thread/loaded/list` and `model/list`.
pub(crate) const LISTS: &str = include_str!("fixtures/lists.jsonl");

/// The messages of one story.
pub(crate) fn story(name: &str) -> Vec<Incoming> {
    let (_, text) = STORIES.iter().find(|(story, _)| *story == name).expect("a story of that name");
    messages(text)
}

/// The messages of a captured text.
pub(crate) fn messages(text: &str) -> Vec<Incoming> {
    text.lines().map(|line| Incoming::parse(line.as_bytes()).expect("captured from the real thing")).collect()
}

/// The notifications of a story, in order.
pub(crate) fn notifications(story: &[Incoming]) -> impl Iterator<Item = (&str, &Value)> {
    story.iter().filter_map(|message| match message {
        Incoming::Notification { method, params } => Some((method.as_str(), params)),
        _ => None,
    })
}

/// The results of a story that hold this field, in order.
pub(crate) fn results<'a>(story: &'a [Incoming], field: &'a str) -> impl Iterator<Item = &'a Value> {
    story.iter().filter_map(move |message| match message {
        Incoming::Response { result: Ok(result), .. } if result.get(field).is_some() => Some(result),
        _ => None,
    })
}

/// The approval requests of a story, in order.
pub(crate) fn approval_requests(story: &[Incoming]) -> impl Iterator<Item = (&str, &Value)> {
    story.iter().filter_map(|message| match message {
        Incoming::Request { method, params, .. } => Some((method.as_str(), params)),
        _ => None,
    })
}
