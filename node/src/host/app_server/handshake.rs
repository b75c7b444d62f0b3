//! How a connection begins: the WebSocket upgrade, then `initialize`, its answer, and `initialized`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use farhelm_core::codex::message::{self, Id, Incoming, RpcError};
use farhelm_core::wire::limits;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::connection::{ConnectionError, received};
use super::version::Version;

/// An initialized connection whose task doesn't run yet.
pub(super) struct Connection {
    pub(super) socket: WebSocketStream<UnixStream>,
    /// What arrived beside the answer to `initialize`.
    pub(super) early: VecDeque<Incoming>,
    pub(super) hello: Hello,
}

/// What the app-server says of itself.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) version: Version,
    pub(super) codex_home: PathBuf,
}

impl Connection {
    /// Shakes hands: the WebSocket upgrade, without an `Origin` (Codex refuses any), then `initialize`.
    pub(super) async fn open(stream: UnixStream) -> Result<Self, ConnectionError> {
        timeout(OPENING, Self::shake_hands(stream)).await.unwrap_or(Err(ConnectionError::NoAnswer))
    }

    async fn shake_hands(stream: UnixStream) -> Result<Self, ConnectionError> {
        let limit = Some(limits::APP_SERVER_READ_OVER);
        let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
        let upgrade = client_async_with_config("ws://localhost/", stream, Some(config)).await;
        let (mut socket, _) = upgrade.map_err(|error| ConnectionError::NoWebSocket(error.to_string()))?;
        socket.send(Message::text(message::request(INITIALIZE, "initialize", &introduction()))).await?;
        let (outcome, early) = answer_to_initialize(&mut socket).await?;
        let hello = Hello::read(&outcome.map_err(ConnectionError::Refused)?);
        socket.send(Message::text(message::notification("initialized"))).await?;
        Ok(Self { socket, early, hello })
    }
}

fn introduction() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "clientInfo": { "name": "farhelm", "title": "Farhelm", "version": version },
        "capabilities": { "experimentalApi": true, "requestAttestation": false },
    })
}

type Answered = (Result<Value, RpcError>, VecDeque<Incoming>);

async fn answer_to_initialize(socket: &mut WebSocketStream<UnixStream>) -> Result<Answered, ConnectionError> {
    let mut early = VecDeque::new();
    while early.len() < EARLY {
        match received(socket.next().await)? {
            Some((Incoming::Response { id: Id::Number(INITIALIZE), result }, _)) => return Ok((result, early)),
            Some((incoming, _)) => early.push_back(incoming),
            None => {}
        }
    }
    Err(ConnectionError::Unexpected("no answer to `initialize` among its first messages"))
}

impl Hello {
    fn read(answer: &Value) -> Self {
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        Self { version: Version::of_user_agent(text("userAgent")), codex_home: text("codexHome").into() }
    }
}

/// The number of `initialize`; requests count on from it.
pub(super) const INITIALIZE: i64 = 0;

/// Messages that may stand before the answer to `initialize`.
const EARLY: usize = 64;

/// The WebSocket upgrade and `initialize` in all; measured 0.2 s, 0.6 s on a fresh CODEX_HOME.
const OPENING: Duration = Duration::from_secs(10);
