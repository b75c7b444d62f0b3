//! An app-server of which every word is the test's. For faults only: what Codex really does is tested with Codex.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::host::app_server::{AppServer, Epoch, Event, Options, ProcessEpoch, Source, State};

/// Where it listens.
pub(in crate::host) struct Fake {
    folder: tempfile::TempDir,
    listener: UnixListener,
    /// As which process it is seen.
    process: Arc<AtomicU8>,
}

/// One connection to it.
pub(in crate::host) struct Peer {
    socket: WebSocketStream<UnixStream>,
    /// The WebSocket upgrade's request.
    pub(in crate::host) upgrade: Request,
}

impl Fake {
    pub(in crate::host) fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        Self { folder, listener, process: Arc::default() }
    }

    /// As which process it is seen.
    pub(in crate::host) fn process(&self) -> ProcessEpoch {
        [self.process.load(Ordering::Relaxed); 16]
    }

    /// Is another process from the next connection on.
    pub(in crate::host) fn restarts(&self) {
        self.process.fetch_add(1, Ordering::Relaxed);
    }

    /// Starts what is tested.
    pub(in crate::host) fn connect(&self) -> Desk {
        let options = Options {
            codex: None,
            codex_home: None,
            runtime_dir: self.folder.path().join("run"),
            environment: Vec::new(),
        };
        let (app_server, events) = self.start(options);
        Desk { state: app_server.state(), app_server, events }
    }

    fn start(&self, options: Options) -> (AppServer, mpsc::Receiver<Event>) {
        let process = self.process.clone();
        let identify = move |_: &UnixStream| Some([process.load(Ordering::Relaxed); 16]);
        AppServer::start_with(Source::Connect(self.folder.path().join("s")), options, Box::new(identify))
    }

    /// A connection before anything was said.
    pub(in crate::host) async fn raw(&self) -> UnixStream {
        self.listener.accept().await.unwrap().0
    }

    /// A connection before `initialize`.
    pub(in crate::host) async fn upgraded(&self) -> Peer {
        let mut upgrade = None;
        #[expect(clippy::result_large_err, reason = "the signature is the crate's")]
        let keep = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            upgrade = Some(request.clone());
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(self.raw().await, keep).await.unwrap();
        Peer { socket, upgrade: upgrade.unwrap() }
    }

    /// A connection after the handshake.
    pub(in crate::host) async fn initialized(&self) -> Peer {
        let mut peer = self.upgraded().await;
        let id = peer.heard().await["id"].clone();
        peer.says(json!({"id": id, "result": {"userAgent": "farhelm/0.169.0 (x)", "codexHome": "/home"}})).await;
        assert_eq!(peer.heard().await, json!({"method": "initialized"}));
        peer
    }

    /// What is tested, connected to it.
    pub(in crate::host) async fn connected(&self) -> (Desk, Peer, Epoch) {
        let mut desk = self.connect();
        let peer = self.initialized().await;
        let epoch = desk.up().await;
        (desk, peer, epoch)
    }
}

impl Peer {
    /// The next message it gets.
    pub(in crate::host) async fn heard(&mut self) -> Value {
        self.hears().await.expect("a message")
    }

    /// The next message it gets; `None` once the connection has ended.
    pub(in crate::host) async fn hears(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(in crate::host) async fn says(&mut self, message: Value) {
        self.sends(Message::text(message.to_string())).await.unwrap();
    }

    pub(in crate::host) async fn sends(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// Answers the next request, which must be this one.
    pub(in crate::host) async fn answers(&mut self, method: &str, result: Value) {
        let request = self.heard().await;
        assert_eq!(request["method"], method);
        self.says(json!({"id": request["id"], "result": result})).await;
    }

    /// Refuses the next request, which must be this one.
    pub(in crate::host) async fn refuses(&mut self, method: &str, code: i64, message: &str) {
        let request = self.heard().await;
        assert_eq!(request["method"], method);
        self.says(json!({"id": request["id"], "error": {"code": code, "message": message}})).await;
    }
}

/// What is tested.
pub(in crate::host) struct Desk {
    pub(in crate::host) app_server: AppServer,
    pub(in crate::host) events: mpsc::Receiver<Event>,
    pub(in crate::host) state: watch::Receiver<State>,
}

impl Desk {
    /// The next event, which must be `Up`.
    pub(in crate::host) async fn up(&mut self) -> Epoch {
        match self.events.recv().await {
            Some(Event::Up { epoch, .. }) => epoch,
            other => panic!("not up: {other:?}"),
        }
    }

    /// Why the connection ended, which must be the next event.
    pub(in crate::host) async fn down(&mut self) -> String {
        match self.events.recv().await {
            Some(Event::Down { why, .. }) => why,
            other => panic!("not down: {other:?}"),
        }
    }

    /// Why there is no connection, once that is known.
    pub(in crate::host) async fn away(&mut self) -> String {
        let state = self.state.wait_for(|state| matches!(state, State::Away { .. })).await.unwrap();
        let State::Away { why, what_to_do } = &*state else { panic!("not away") };
        assert!(!what_to_do.is_empty());
        why.clone()
    }
}
