//! The app-server's messages as JSON: what comes in is sorted, what goes out is written.
//!
//! One JSON object a WebSocket text message, like JSON-RPC 2.0 without its `jsonrpc` member. Unknown members are ignored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the app-server sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    /// An answer to a request of ours.
    Answer { id: i64, outcome: Result<Value, RpcError> },
    /// A question to us.
    Request { id: i64, method: String, params: Value },
    /// Something told.
    Notification { method: String, params: Value },
}

/// An error as the app-server states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// The JSON-RPC code; Codex says -32600 to nearly everything.
    pub code: i64,
    /// For a person.
    pub message: String,
}

/// Why a message can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// Not JSON, or members of the wrong type.
    #[error("invalid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Neither an answer, nor a request, nor a notification.
    #[error("a message that is neither answer, request nor notification")]
    Shape,
}

#[derive(Deserialize)]
struct Raw {
    id: Option<i64>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    // `Some(Null)` is an answer too, so absence has to be told apart.
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<RpcError>,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RpcError>,
}

const NOTHING: Outgoing<'static> = Outgoing { id: None, method: None, params: None, result: None, error: None };

/// Reads one message.
pub(super) fn parse(text: &str) -> Result<Incoming, Malformed> {
    match serde_json::from_str(text)? {
        Raw { id: Some(id), method: Some(method), params, .. } => Ok(Incoming::Request { id, method, params }),
        Raw { method: Some(method), params, .. } => Ok(Incoming::Notification { method, params }),
        Raw { id: Some(id), error: Some(error), .. } => Ok(Incoming::Answer { id, outcome: Err(error) }),
        Raw { id: Some(id), result: Some(result), .. } => Ok(Incoming::Answer { id, outcome: Ok(result) }),
        _ => Err(Malformed::Shape),
    }
}

/// A request of ours.
pub(super) fn request(id: i64, method: &str, params: &Value) -> String {
    text(&Outgoing { id: Some(id), method: Some(method), params: Some(params), ..NOTHING })
}

/// A notification of ours.
pub(super) fn notification(method: &str) -> String {
    text(&Outgoing { method: Some(method), ..NOTHING })
}

/// An answer of ours.
pub(super) fn answer(id: i64, outcome: &Result<Value, RpcError>) -> String {
    text(&Outgoing { id: Some(id), result: outcome.as_ref().ok(), error: outcome.as_ref().err(), ..NOTHING })
}

fn text(message: &Outgoing<'_>) -> String {
    serde_json::to_string(message).expect("strings, numbers and JSON values are always JSON")
}

fn present<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_three_kinds_are_told_apart() {
        let asked = r#"{"method":"item/commandExecution/requestApproval","id":0,"params":{"a":1}}"#;
        assert!(matches!(parse(asked), Ok(Incoming::Request { id: 0, .. })));
        let told = r#"{"method":"initialized","emittedAtMs":1}"#;
        assert!(matches!(parse(told), Ok(Incoming::Notification { params: Value::Null, .. })));
        assert_eq!(parse(r#"{"id":3,"result":null}"#).unwrap(), Incoming::Answer { id: 3, outcome: Ok(Value::Null) });
        let refused = r#"{"id":3,"error":{"code":-32600,"message":"Not initialized","data":7}}"#;
        assert!(matches!(parse(refused), Ok(Incoming::Answer { id: 3, outcome: Err(RpcError { code: -32600, .. }) })));
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "[]", "7", r#"{"id":"x","result":1}"#, r#"{"id":1.5,"result":1}"#, r#"{"method":7}"#] {
            assert!(matches!(parse(text), Err(Malformed::Json(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for text in ["{}", r#"{"id":1}"#, r#"{"result":1}"#, r#"{"params":{}}"#] {
            assert!(matches!(parse(text), Err(Malformed::Shape)), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_malformed_not_a_stack_overflow() {
        let deep = format!(r#"{{"method":"m","params":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(parse(&deep), Err(Malformed::Json(_))));
    }

    #[test]
    fn ours_hold_what_they_need_and_nothing_else() {
        assert_eq!(request(1, "thread/list", &json!({})), r#"{"id":1,"method":"thread/list","params":{}}"#);
        assert_eq!(notification("initialized"), r#"{"method":"initialized"}"#);
        assert_eq!(answer(0, &Ok(json!({"decision": "accept"}))), r#"{"id":0,"result":{"decision":"accept"}}"#);
        let error = RpcError { code: -1, message: "no".into() };
        assert_eq!(answer(2, &Err(error)), r#"{"id":2,"error":{"code":-1,"message":"no"}}"#);
    }
}
