//! A deterministic model server on loopback that drives the real Codex without an account.
//!
//! It speaks as much of OpenAI's Responses API (HTTP, server-sent events) as `codex` 0.169.0 needs for whole turns.
//! It isn't a model and isn't a mock of any account: the answer follows from keywords in the prompt
//! ([`scenario`](super::scenario)). [`codex_config`] is the `config.toml` that sends Codex here.

mod response;

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use response::{Reply, Timed, reply};

/// Why the model server isn't there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No port on loopback.
    #[error("the scripted model found no free port on 127.0.0.1: {0}")]
    Listen(#[source] io::Error),
}

/// A running model server. Dropping it ends it and cuts its open answers.
#[derive(Debug)]
pub struct Model {
    port: u16,
    log: Log,
    stop: CancellationToken,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Model {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Listen)?;
        let port = listener.local_addr().map_err(Error::Listen)?.port();
        let (log, stop) = (Log::default(), CancellationToken::new());
        let service = routes(Service { log: log.clone(), stop: stop.clone() });
        let server = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        Ok(Self { port, log, stop, server: Some(tokio::spawn(server.into_future())) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bodies of the latest [`LOGGED`] requests for an answer, oldest first.
    pub fn requests(&self) -> Vec<Value> {
        self.log.lock().bodies.iter().cloned().collect()
    }

    /// Ends it: open answers are cut, and the port is free afterwards.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let Some(mut server) = self.server.take() else { return };
        if tokio::time::timeout(GRACE, &mut server).await.is_err() {
            server.abort();
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The `config.toml` (for a private `CODEX_HOME`) with which Codex asks the model server on `port`.
///
/// On-request and workspace-write, as the host demands of every turn that a phone starts. Update checks and analytics
/// are off: a run against the scripted model needs no network beyond loopback. Temporary folders are not writable as
/// they are by default, so that a scratch folder below one has an outside that needs an approval.
pub fn codex_config(port: u16) -> String {
    format!(
        r#"model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "on-request"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false

[sandbox_workspace_write]
exclude_slash_tmp = true
exclude_tmpdir_env_var = true

[analytics]
enabled = false

[model_providers.scripted]
name = "scripted"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
requires_openai_auth = false
supports_websockets = false
request_max_retries = 1
stream_max_retries = 1
stream_idle_timeout_ms = 60000
"#
    )
}

/// The requests so far.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    seen: u64,
    bodies: VecDeque<Value>,
}

impl Log {
    /// Notes a request and gives it its number, from 1.
    fn note(&self, body: &Value) -> u64 {
        let mut requests = self.lock();
        requests.seen += 1;
        if requests.bodies.len() == LOGGED {
            requests.bodies.pop_front();
        }
        requests.bodies.push_back(body.clone());
        requests.seen
    }

    /// A panic elsewhere leaves at worst a missing entry.
    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone)]
struct Service {
    log: Log,
    stop: CancellationToken,
}

fn routes(service: Service) -> Router {
    Router::new()
        .route("/v1/responses", post(respond))
        .route("/v1/models", get(models))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(service)
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "gpt-5.5", "object": "model"}], "models": []}))
}

async fn respond(State(service): State<Service>, Json(body): Json<Value>) -> Response {
    match reply(&body, service.log.note(&body)) {
        Reply::Status(code) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let error = json!({"error": {"message": format!("scripted failure {code}"), "type": "scripted"}});
            (status, Json(error)).into_response()
        }
        Reply::Stream(events) => {
            let events = stream::iter(events).then(event).take_until(service.stop.cancelled_owned());
            Sse::new(events).into_response()
        }
    }
}

async fn event((pause, data): Timed) -> Result<Event, axum::Error> {
    if pause > Duration::ZERO {
        tokio::time::sleep(pause).await;
    }
    Event::default().event(data["type"].as_str().unwrap_or_default()).json_data(&data)
}

/// Requests kept for a test to look at.
pub const LOGGED: usize = 64;
/// A long thread with images stays below this.
const LARGEST_REQUEST: usize = 32 << 20;
/// How long the server may take to close its connections.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(port: u16, body: &Value) -> String {
        let body = body.to_string();
        let head =
            "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    fn said(text: &str) -> Value {
        json!({"input": [{"role": "user", "content": text}]})
    }

    #[tokio::test]
    async fn an_answer_is_an_event_stream() {
        let model = Model::start().await.expect("started");
        let answer = ask(model.port(), &said("hello")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/event-stream"), "{answer}");
        assert!(answer.contains("event: response.output_text.delta\ndata: {"), "{answer}");
        assert_eq!(model.requests(), [said("hello")]);
        model.shutdown().await;
    }

    #[tokio::test]
    async fn a_failing_model_answers_with_its_status() {
        let model = Model::start().await.expect("started");
        assert!(ask(model.port(), &said("FAIL code=429")).await.starts_with("HTTP/1.1 429"));
    }

    #[tokio::test]
    async fn shutting_down_cuts_a_slow_answer() {
        let model = Model::start().await.expect("started");
        let port = model.port();
        let slow = tokio::spawn(async move { ask(port, &said("SLOW secs=3600")).await });
        while model.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        model.shutdown().await;
        let answer = tokio::time::timeout(Duration::from_secs(20), slow).await.expect("cut").expect("no panic");
        assert!(!answer.contains("response.completed"));
    }

    #[tokio::test]
    async fn the_log_is_bounded() {
        let log = Log::default();
        for number in 0..LOGGED as u64 + 3 {
            assert_eq!(log.note(&json!(number)), number + 1);
        }
        let requests = log.lock();
        assert_eq!((requests.bodies.len(), &requests.bodies[0]), (LOGGED, &json!(3)));
    }

    #[test]
    fn the_configuration_is_toml() {
        let config: toml::Table = codex_config(4242).parse().expect("TOML");
        let base = config["model_providers"]["scripted"]["base_url"].as_str();
        assert_eq!(base, Some("http://127.0.0.1:4242/v1"));
    }
}
