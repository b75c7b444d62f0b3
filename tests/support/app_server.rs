//! A client of an app-server as plain as possible: JSON over a WebSocket over a Unix socket, nothing interpreted.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// One connection, and everything it has received.
pub(crate) struct Client {
    socket: WebSocketStream<UnixStream>,
    next: u64,
    /// Received and not yet waited for.
    pub(crate) unread: VecDeque<Value>,
    /// Received, ever.
    pub(crate) log: Vec<Value>,
}

impl Client {
    /// Connects, without the handshake.
    pub(crate) async fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).await.expect("the app-server listens");
        let (socket, _) = tokio_tungstenite::client_async("ws://localhost/", stream).await.expect("a WebSocket");
        Self { socket, next: 0, unread: VecDeque::new(), log: Vec::new() }
    }

    /// Connects and shakes hands.
    pub(crate) async fn initialized(path: &Path) -> Self {
        let mut client = Self::connect(path).await;
        let info = json!({"clientInfo": {"name": "farhelm", "title": "farhelm", "version": "0"}});
        let answer = client.request("initialize", info).await;
        assert!(answer["result"]["userAgent"].is_string(), "{answer}");
        client.send(json!({"method": "initialized"})).await;
        client
    }

    /// Sends a message as it is.
    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends bytes that may be no message.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.expect("the app-server reads");
    }

    /// Sends a request and waits for its answer, whole.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = json!(format!("request-{}", self.next));
        self.send(json!({"id": id, "method": method, "params": params})).await;
        self.until(|message| message["id"] == id && message.get("method").is_none()).await
    }

    /// Waits for a notification or question of this name.
    pub(crate) async fn method(&mut self, method: &str) -> Value {
        self.until(|message| message["method"] == method).await
    }

    /// Waits for a question, whichever.
    pub(crate) async fn question(&mut self) -> Value {
        self.until(|message| message["method"].as_str().is_some_and(|m| m.ends_with("/requestApproval"))).await
    }

    /// Reads until a message fits; those before it are in the log only.
    pub(crate) async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        while let Some(message) = self.unread.pop_front() {
            if fits(&message) {
                return message;
            }
        }
        loop {
            let message = self.receive(PATIENCE).await.expect("a message in time");
            if fits(&message) {
                return message;
            }
        }
    }

    /// The next message, if it comes within `patience`.
    pub(crate) async fn receive(&mut self, patience: Duration) -> Option<Value> {
        let message = tokio::time::timeout(patience, self.socket.next()).await.ok()?;
        let text = message.expect("the connection stands").expect("a frame").into_text().expect("text");
        let message: Value = serde_json::from_str(&text).expect("JSON");
        self.log.push(message.clone());
        Some(message)
    }
}

/// Ten times what the slowest step takes here.
const PATIENCE: Duration = Duration::from_secs(30);
