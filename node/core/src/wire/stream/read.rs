//! What a notification is to the stream: a piece of a text, or something whole.

use serde_bytes::ByteBuf;
use serde_json::{Map, Value};

use super::COMMON;
use crate::codex::thread::id_of;
use crate::wire::envelope::Notification;

/// The notifications of which several say the same as one with their texts joined.
const TEXTS: [&str; 5] = [
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
];

/// The notification that says an item whole, if these are its parameters: of the item, or of the turn with its last words.
pub(super) fn completion(params: &Value) -> &'static str {
    if params.get("turn").is_some() { "turn/completed" } else { "item/completed" }
}

/// The item of this id in what one of them says.
pub(super) fn completed<'a>(params: &'a mut Value, id: &str) -> Option<&'a mut Map<String, Value>> {
    let mut items = match params.get("turn") {
        Some(_) => params.get_mut("turn")?.get_mut("items")?.as_array_mut()?.iter_mut().collect(),
        None => vec![params.get_mut("item")?],
    };
    let place = items.iter().position(|item| item.get("id").and_then(Value::as_str) == Some(id))?;
    items.swap_remove(place).as_object_mut()
}

/// The field of a completed item that holds the text of such notifications; those that are a part of one have none.
pub(super) fn completes(method: &str) -> Option<&'static str> {
    match method {
        "item/agentMessage/delta" | "item/plan/delta" => Some("text"),
        "item/commandExecution/outputDelta" => Some("aggregatedOutput"),
        _ => None,
    }
}

/// The field that differs.
const DELTA: &str = "delta";

/// What the notifications of one text have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) method: String,
    /// JSON text.
    pub(super) params: Vec<u8>,
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The item whose text it is, perhaps of several.
    pub(super) item: String,
    pub(super) text: String,
}

/// A notification, looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A piece of a text of an item.
    Piece { thread: String, common: Common, piece: Piece },
    /// Anything else; about no thread if that is empty.
    Whole { thread: String, notification: Notification },
}

/// Looks at a notification.
pub(super) fn read(notification: Notification) -> Read {
    let params = serde_json::from_slice(&notification.params).unwrap_or_default();
    let thread = id_of(&params).unwrap_or_default().to_owned();
    let item = params.get("itemId").and_then(Value::as_str).unwrap_or_default().to_owned();
    match split(&notification.method, params) {
        Some((params, text)) if !thread.is_empty() && params.len() <= COMMON => {
            let common = Common { method: notification.method, params };
            Read::Piece { thread, common, piece: Piece { item, text } }
        }
        _ => Read::Whole { thread, notification },
    }
}

/// The parameters without the text, and the text.
fn split(method: &str, params: Value) -> Option<(Vec<u8>, String)> {
    let (true, Value::Object(mut params)) = (TEXTS.contains(&method), params) else { return None };
    let Some(Value::String(text)) = params.remove(DELTA) else { return None };
    Some((serde_json::to_vec(&params).ok()?, text))
}

/// The notification that [`split`] took apart.
pub(super) fn join(method: &str, params: &Map<String, Value>, text: String) -> Option<Notification> {
    let mut params = params.clone();
    params.insert(DELTA.into(), Value::String(text));
    let params = ByteBuf::from(serde_json::to_vec(&params).ok()?);
    Some(Notification { method: method.into(), params })
}
