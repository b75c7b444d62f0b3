//! The app-server's JSON messages: one text in, one [`Incoming`] out, and the texts that go back.
//!
//! It looks like JSON-RPC 2.0 without the `jsonrpc` field. This is framing only: what a method means is for
//! [`super::thread`], [`super::approval`] and [`crate::policy`] to say.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::wire::limits;

/// A text that isn't a message of the app-server's. Says where, not what: the text may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than the app-server itself would take; nothing was parsed.
    #[error("the app-server sent {length} bytes where at most {limit} are allowed", limit = limits::APP_SERVER_MESSAGE)]
    TooLong {
        /// Bytes received.
        length: usize,
    },
    /// Not JSON, or nested too deep.
    #[error("the app-server sent invalid JSON (line {line}, column {column})")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but neither request, response nor notification.
    #[error("the app-server sent JSON that is no message: {0}")]
    Shape(&'static str),
}

/// A request's id, echoed as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// What 0.169.0 uses: small integers, per server process.
    Number(i64),
    /// What the schema allows as well.
    Text(String),
}

/// The error half of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// One of the codes below, or another.
    pub code: i64,
    /// For a person.
    pub message: String,
    /// Whatever else it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// Unknown methods and bad parameters alike.
    pub const INVALID_REQUEST: i64 = -32600;
    /// A method that exists but isn't possible now.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// "Server overloaded; retry later."
    pub const OVERLOADED: i64 = -32001;
    /// None of Codex's: it answered, with more than [`limits::APP_SERVER_MESSAGE`] bytes, which were not kept.
    pub const TOO_LARGE: i64 = -32900;
}

/// A message from the app-server.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// The answer to a request of ours.
    Response {
        /// Our id.
        id: Id,
        /// What came of it.
        result: Result<Value, RpcError>,
    },
    /// Something happened.
    Notification {
        /// The method's name.
        method: String,
        /// Its parameters; null if there are none.
        params: Value,
    },
    /// The app-server asks something and waits.
    Request {
        /// The app-server's id.
        id: Id,
        /// The method's name.
        method: String,
        /// Its parameters; null if there are none.
        params: Value,
    },
}

impl Incoming {
    /// Reads one message. Of an answer of more than [`limits::APP_SERVER_MESSAGE`] bytes only which request it is for:
    /// that one fails, with [`RpcError::TOO_LARGE`]. Any other message of that size is [`Error::TooLong`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > limits::APP_SERVER_MESSAGE {
            return Self::read_over(text);
        }
        let raw: Raw = serde_json::from_slice(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Error::Shape("a field has the wrong type"),
            _ => Error::Json { line: error.line(), column: error.column() },
        })?;
        raw.classify()
    }

    fn read_over(text: &[u8]) -> Result<Self, Error> {
        let too_long = Error::TooLong { length: text.len() };
        match serde_json::from_slice(text) {
            Ok(Head { id: Some(id), method: None }) => {
                let message =
                    format!("the answer has {} MiB, more than is taken; ask for less at once", text.len() >> 20);
                Ok(Self::Response { id, result: Err(RpcError { code: RpcError::TOO_LARGE, message, data: None }) })
            }
            _ => Err(too_long),
        }
    }
}

/// What tells an answer from the rest; nothing else of it is kept.
#[derive(Deserialize)]
struct Head {
    id: Option<Id>,
    method: Option<String>,
}

/// Any message; which one it is shows by the fields that are there.
#[derive(Deserialize)]
struct Raw {
    id: Option<Id>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<RpcError>,
}

/// Keeps `"result": null` apart from no result at all.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Raw {
    fn classify(self) -> Result<Incoming, Error> {
        let Self { id, method, params, result, error } = self;
        match (id, method, result, error) {
            (Some(id), Some(method), None, None) => Ok(Incoming::Request { id, method, params }),
            (None, Some(method), None, None) => Ok(Incoming::Notification { method, params }),
            (Some(id), None, Some(result), None) => Ok(Incoming::Response { id, result: Ok(result) }),
            (Some(id), None, None, Some(error)) => Ok(Incoming::Response { id, result: Err(error) }),
            (_, None, None, None) => Err(Error::Shape("no method, result or error")),
            (_, None, Some(_), Some(_)) => Err(Error::Shape("both a result and an error")),
            (None, None, ..) => Err(Error::Shape("an answer without an id")),
            (_, Some(_), ..) => Err(Error::Shape("both a method and an answer")),
        }
    }
}

/// The text of a request.
pub fn request(id: i64, method: &str, params: &Value) -> String {
    json!({ "id": id, "method": method, "params": params }).to_string()
}

/// The text of a notification; the only one a client sends is `initialized`.
pub fn notification(method: &str) -> String {
    json!({ "method": method }).to_string()
}

/// The text of an answer to the app-server's request `id`.
pub fn response(id: &Id, result: &Value) -> String {
    json!({ "id": id, "result": result }).to_string()
}

/// The text that refuses the app-server's request `id`.
pub fn error(id: &Id, code: i64, message: &str) -> String {
    json!({ "id": id, "error": { "code": code, "message": message } }).to_string()
}

/// JSON text with every object's keys sorted by their UTF-8 bytes and no white space, so that equal values are equal
/// texts. It is text to show and to hash, not a format to parse numbers from (RFC 8785 is stricter about those).
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_bytes());
            let entries: Vec<_> =
                entries.into_iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        leaf => leaf.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Incoming, Error> {
        Incoming::parse(text.as_bytes())
    }

    #[test]
    fn each_kind_is_told_by_its_fields() {
        assert_eq!(
            parse(r#"{"id":7,"result":{"turnId":"t"}}"#),
            Ok(Incoming::Response { id: Id::Number(7), result: Ok(json!({"turnId": "t"})) })
        );
        assert_eq!(
            parse(r#"{"id":"a","method":"item/tool/call","params":{}}"#),
            Ok(Incoming::Request { id: Id::Text("a".into()), method: "item/tool/call".into(), params: json!({}) })
        );
        assert_eq!(
            parse(r#"{"method":"skills/changed","emittedAtMs":1}"#),
            Ok(Incoming::Notification { method: "skills/changed".into(), params: Value::Null })
        );
    }

    #[test]
    fn an_error_answer_keeps_its_code_and_message() {
        let text = r#"{"id":3,"error":{"code":-32600,"message":"Not initialized"}}"#;
        let Ok(Incoming::Response { result: Err(error), .. }) = parse(text) else { panic!("no error response") };
        assert_eq!((error.code, error.message.as_str()), (RpcError::INVALID_REQUEST, "Not initialized"));
    }

    #[test]
    fn a_null_result_is_a_result() {
        assert_eq!(
            parse(r#"{"id":1,"result":null}"#),
            Ok(Incoming::Response { id: Id::Number(1), result: Ok(Value::Null) })
        );
    }

    #[test]
    fn invalid_json_is_refused_with_its_place() {
        assert_eq!(parse("{\"id\":"), Err(Error::Json { line: 1, column: 6 }));
        assert!(matches!(parse("{} {}"), Err(Error::Json { .. })));
        assert!(matches!(Incoming::parse(b"{\"method\":\"\xff\"}"), Err(Error::Json { .. })));
        let deep = format!("{{\"method\":\"m\",\"params\":{}", "[".repeat(100_000));
        assert!(matches!(parse(&deep), Err(Error::Json { .. })));
    }

    #[test]
    fn json_that_is_no_message_is_refused() {
        let texts = [
            "[]",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":null,"result":1}"#,
            r#"{"id":1.5,"result":1}"#,
            r#"{"id":1,"result":1,"error":{"code":1,"message":""}}"#,
            r#"{"id":1,"method":"m","result":1}"#,
            r#"{"method":7}"#,
            r#"{"id":1,"error":"text"}"#,
        ];
        for text in texts {
            assert!(matches!(parse(text), Err(Error::Shape(_))), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn an_oversized_message_is_refused_unread() {
        let text = vec![b' '; limits::APP_SERVER_MESSAGE + 1];
        assert_eq!(Incoming::parse(&text), Err(Error::TooLong { length: text.len() }));
        let filler = "x".repeat(limits::APP_SERVER_MESSAGE);
        let told = format!(r#"{{"method":"item/completed","params":{{"x":"{filler}"}}}}"#);
        assert!(matches!(Incoming::parse(told.as_bytes()), Err(Error::TooLong { .. })));
        let answer = format!(r#"{{"id":7,"result":{{"x":"{filler}"}}}}"#);
        let Ok(Incoming::Response { id: Id::Number(7), result: Err(error) }) = Incoming::parse(answer.as_bytes())
        else {
            panic!("the request it answers fails")
        };
        assert_eq!(error.code, RpcError::TOO_LARGE);
    }

    #[test]
    fn what_we_send_reads_back() {
        let params = json!({"threadId": "t"});
        assert_eq!(
            parse(&request(5, "thread/read", &params)),
            Ok(Incoming::Request { id: Id::Number(5), method: "thread/read".into(), params })
        );
        assert!(matches!(parse(&notification("initialized")), Ok(Incoming::Notification { .. })));
        assert_eq!(
            response(&Id::Number(0), &json!({"decision": "accept"})),
            r#"{"id":0,"result":{"decision":"accept"}}"#
        );
        assert!(matches!(
            parse(&error(&Id::Text("x".into()), RpcError::METHOD_NOT_FOUND, "no")),
            Ok(Incoming::Response { result: Err(_), .. })
        ));
    }

    #[test]
    fn canonical_text_sorts_keys_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":null}],"a":"\"x\n"}"#).expect("valid");
        assert_eq!(canonical(&value), r#"{"a":"\"x\n","b":[{"a":null,"z":1}]}"#);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Incoming::parse(&bytes);
        }
    }
}
