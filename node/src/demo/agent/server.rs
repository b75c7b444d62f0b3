//! The scripted app-server without its sockets: messages and the time in, messages out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::CODEX_VERSION;
use super::files::Files;
use super::item::Input;
use super::thread::{Client, Context, Event, Serial, Status, Thread, View, page};
use super::turn::Decision;

/// Messages to send, in order.
pub(crate) type Outbox = Vec<(Client, Value)>;

/// The app-server.
pub(crate) struct Server {
    files: Box<dyn Files>,
    folder: PathBuf,
    serial: Serial,
    /// Connections, and whether they are initialized.
    clients: BTreeMap<Client, bool>,
    /// In order of creation.
    threads: Vec<Thread>,
    /// The trust levels of its config, by folder.
    projects: BTreeMap<String, Value>,
    /// Threads that changed, by place.
    changed: BTreeSet<usize>,
}

/// An error to answer with.
#[derive(Debug)]
struct Refusal(i64, String);

type Answer = Result<Value, Refusal>;

impl Server {
    /// A server whose threads start in `folder` unless told otherwise.
    pub(crate) fn new(folder: &Path, files: Box<dyn Files>) -> Self {
        let (serial, clients, threads) = (Serial::default(), BTreeMap::new(), Vec::new());
        let (projects, changed) = (BTreeMap::new(), BTreeSet::new());
        Self { files, folder: folder.to_owned(), serial, clients, threads, projects, changed }
    }

    /// Comes back with threads of an earlier process.
    pub(crate) fn restored(mut self, threads: Vec<Thread>, now: u64) -> Self {
        (self.threads, self.serial) = (threads, Serial::since(now));
        self
    }

    /// The threads that changed since this was asked last, as far as they are stored.
    pub(crate) fn changed(&mut self) -> impl Iterator<Item = &Thread> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|at| &self.threads[at]).filter(|thread| thread.is_stored())
    }

    /// A client came.
    pub(crate) fn connected(&mut self, client: Client) {
        self.clients.insert(client, false);
    }

    /// A client is gone. Its threads go on.
    pub(crate) fn disconnected(&mut self, client: Client) {
        self.clients.remove(&client);
        for thread in &mut self.threads {
            thread.subscribers.remove(&client);
        }
    }

    /// When [`tick`](Self::tick) is due, in Unix milliseconds.
    pub(crate) fn due(&self) -> Option<u64> {
        self.threads.iter().filter_map(|thread| thread.running.as_ref()?.due()).min()
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: u64) -> Outbox {
        let mut outbox = Vec::new();
        for at in 0..self.threads.len() {
            self.step(at, now, &mut outbox, Thread::tick);
        }
        outbox
    }

    /// A message came. What isn't JSON, or neither a request nor an answer, is ignored, as by Codex.
    pub(crate) fn received(&mut self, client: Client, text: &str, now: u64) -> Outbox {
        let mut outbox = Vec::new();
        let Ok(message) = serde_json::from_str::<Value>(text) else { return outbox };
        let id = message["id"].clone();
        match message["method"].as_str() {
            Some(method) if !id.is_null() => self.request(client, id, method, &message["params"], now, &mut outbox),
            None if !id.is_null() => self.answered(client, &id, &message, now, &mut outbox),
            _ => {}
        }
        outbox
    }

    fn request(&mut self, client: Client, id: Value, method: &str, params: &Value, now: u64, outbox: &mut Outbox) {
        let mut after = Vec::new();
        let answer = self.dispatch(client, method, params, now, &mut after);
        outbox.push((
            client,
            match answer {
                Ok(result) => json!({"id": id, "result": result}),
                Err(Refusal(code, message)) => json!({"id": id, "error": {"code": code, "message": message}}),
            },
        ));
        outbox.append(&mut after);
    }

    /// `after` is what follows the answer.
    fn dispatch(&mut self, client: Client, method: &str, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        let initialized = self.clients.get(&client).copied().unwrap_or_default();
        match method {
            "initialize" if initialized => return refuse("Already initialized"),
            "initialize" => return self.initialize(client, params),
            _ if !initialized => return refuse("Not initialized"),
            _ if !params.is_object() => return refuse("Invalid request: missing field `params`"),
            _ => {}
        }
        match method {
            "thread/start" => self.thread_start(client, params, now, after),
            "thread/list" => Ok(self.thread_list(params)),
            "thread/loaded/list" => Ok(json!({"data": self.loaded(), "nextCursor": null})),
            "thread/read" => self.thread_read(client, params, now, after),
            "thread/resume" => self.thread_resume(client, params, now, after),
            "thread/unsubscribe" => self.unsubscribe(client, params),
            "thread/turns/list" => {
                Ok(page(self.stored(params, "list_turns")?.turns(View::asked(params)), params, true))
            }
            "thread/items/list" => Ok(page(self.stored(params, "thread/items/list")?.items(), params, false)),
            "turn/start" => self.turn_start(params, now, after),
            "turn/steer" => self.turn_steer(params, now, after),
            "turn/interrupt" => self.turn_interrupt(params, now, after),
            "model/list" => Ok(json!({"data": [model()], "nextCursor": null})),
            "mcpServerStatus/list" => self.thread(params).map(|_| json!({"data": [], "nextCursor": null})),
            "config/read" => Ok(self.config()),
            "config/value/write" => self.config_write(params),
            other => refuse(format!("Invalid request: unknown variant `{other}`, expected one of {METHODS}")),
        }
    }

    fn initialize(&mut self, client: Client, params: &Value) -> Answer {
        let Some(name) = params["clientInfo"]["name"].as_str() else {
            return refuse("Invalid request: missing field `clientInfo`");
        };
        self.clients.insert(client, true);
        Ok(json!({
            "userAgent": format!("{name}/{CODEX_VERSION} (scripted agent)"), "codexHome": self.folder,
            "platformFamily": std::env::consts::FAMILY, "platformOs": std::env::consts::OS,
        }))
    }

    /// Of the config only what is said about folders.
    fn config(&self) -> Value {
        let projects: serde_json::Map<_, _> =
            self.projects.iter().map(|(folder, level)| (folder.clone(), json!({"trust_level": level}))).collect();
        json!({"config": {"projects": projects}, "origins": {}, "layers": null})
    }

    /// Only a folder's trust level can be written: `projects."/folder".trust_level`.
    fn config_write(&mut self, params: &Value) -> Answer {
        let key = params["keyPath"].as_str().ok_or_else(|| missing("keyPath"))?;
        let folder = key.strip_prefix("projects.").and_then(|rest| rest.strip_suffix(".trust_level"));
        let Some(folder) = folder.and_then(|quoted| serde_json::from_str::<String>(quoted).ok()) else {
            return refuse(format!("the scripted agent has no setting {key}"));
        };
        if self.projects.len() >= PROJECTS {
            return refuse("the scripted agent keeps no more folders");
        }
        self.projects.insert(folder, params["value"].clone());
        let file = self.folder.join("config.toml");
        Ok(json!({"status": "ok", "version": "scripted", "filePath": file, "overriddenMetadata": null}))
    }

    fn thread_start(&mut self, client: Client, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        if self.threads.len() >= THREADS {
            return refuse("the scripted agent keeps no more threads");
        }
        let folder = params["cwd"].as_str().map_or_else(|| self.folder.clone(), PathBuf::from);
        let model = params["model"].as_str().unwrap_or(MODEL).to_owned();
        let mut thread = Thread::new(self.serial.uuid(now), folder, model, now);
        thread.subscribers.insert(client);
        let (opened, thread_json) = (thread.opened(), thread.json());
        self.threads.push(thread);
        self.broadcast(after, "thread/started", &json!({"thread": thread_json}), now);
        Ok(opened)
    }

    fn thread_list(&self, params: &Value) -> Value {
        let stored = self.threads.iter().filter(|thread| thread.is_stored());
        let mut page = page(stored.map(Thread::listed).collect(), params, true);
        page["readStates"] = json!({});
        page
    }

    fn thread_read(&mut self, client: Client, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        let full = params["includeTurns"] == true;
        let thread = if full { self.stored(params, "list_turns")? } else { self.thread(params)? };
        let mut shown = thread.json();
        if full {
            shown["turns"] = json!(thread.turns(View::Full));
            self.notify(after, &[client], "deprecationNotice", &json!({"summary": DEPRECATED, "details": null}), now);
        }
        Ok(json!({"thread": shown, "readState": null}))
    }

    /// Subscribes, and asks an open question again. Before the first turn Codex answers with an error, having
    /// subscribed the client all the same (measured).
    fn thread_resume(&mut self, client: Client, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        let id = thread_id(params)?;
        let Some(thread) = self.threads.iter_mut().find(|thread| thread.id == id) else {
            return refuse(format!("no rollout found for thread id {id}"));
        };
        thread.subscribers.insert(client);
        if thread.status == Status::NotLoaded {
            thread.status = Status::Idle;
        }
        if !thread.is_stored() {
            return Err(Refusal(-32601, "list_turns is not supported yet".into()));
        }
        let (mut resumed, question) = (thread.resumed(), thread.question().cloned());
        if params["excludeTurns"] != true {
            resumed["thread"]["turns"] = json!(thread.turns(View::Full));
        }
        if let Some(asked) = params.get("initialTurnsPage").filter(|asked| asked.is_object()) {
            resumed["initialTurnsPage"] = page(thread.turns(View::asked(asked)), asked, true);
        }
        self.broadcast(after, "thread/goal/cleared", &json!({"threadId": id}), now);
        after.extend(question.map(|question| (client, question)));
        Ok(resumed)
    }

    fn unsubscribe(&mut self, client: Client, params: &Value) -> Answer {
        let at = self.position(params)?;
        let was = self.threads[at].subscribers.remove(&client);
        Ok(json!({"status": if was { "unsubscribed" } else { "notSubscribed" }}))
    }

    /// While a turn runs this steers it, and answers with its id.
    fn turn_start(&mut self, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        let (at, input) = (self.awake(params)?, input(params)?);
        if self.threads[at].running.is_some() {
            self.steer(at, input, now, after)?;
        } else if self.threads[at].turns.len() >= TURNS {
            return refuse("the scripted agent keeps no more turns of a thread");
        } else {
            self.step(at, now, after, Thread::begin);
            self.step(at, now, after, |thread, cx| thread.run(cx, &input));
        }
        let turn = self.threads[at].turns.last().map(super::thread::Turn::accepted);
        Ok(json!({"turn": turn}))
    }

    fn turn_steer(&mut self, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        let (at, input) = (self.awake(params)?, input(params)?);
        let Some(turn) = self.running(at) else { return refuse("no active turn to steer") };
        let expected = params["expectedTurnId"].as_str().unwrap_or_default();
        if turn != expected {
            return refuse(format!("expected active turn id `{expected}` but found `{turn}`"));
        }
        self.steer(at, input, now, after)?;
        Ok(json!({"turnId": turn}))
    }

    fn turn_interrupt(&mut self, params: &Value, now: u64, after: &mut Outbox) -> Answer {
        let at = self.awake(params)?;
        let Some(turn) = self.running(at) else { return refuse("no active turn to interrupt") };
        let expected = params["turnId"].as_str().unwrap_or_default();
        if turn != expected {
            return refuse(format!("expected active turn id {expected} but found {turn}"));
        }
        self.step(at, now, after, Thread::interrupt);
        Ok(json!({}))
    }

    /// Any initialized client may answer; the first answer counts, a later one finds no question.
    fn answered(&mut self, client: Client, id: &Value, message: &Value, now: u64, outbox: &mut Outbox) {
        let asked = |thread: &Thread| thread.question().is_some_and(|question| question["id"] == *id);
        if let (Some(true), Some(at)) = (self.clients.get(&client), self.threads.iter().position(asked)) {
            self.step(at, now, outbox, |thread, cx| thread.answer(cx, Decision::of(message)));
        }
    }
}

/// Looking up and sending.
impl Server {
    fn position(&self, params: &Value) -> Result<usize, Refusal> {
        let id = thread_id(params)?;
        let found = self.threads.iter().position(|thread| thread.id == id);
        found.ok_or_else(|| Refusal(-32600, format!("thread not found: {id}")))
    }

    fn thread(&self, params: &Value) -> Result<&Thread, Refusal> {
        self.position(params).map(|at| &self.threads[at])
    }

    /// A thread with a history; `what` isn't supported before its first turn.
    fn stored(&self, params: &Value, what: &str) -> Result<&Thread, Refusal> {
        let thread = self.thread(params)?;
        let refusal = || Refusal(-32601, format!("{what} is not supported yet"));
        thread.is_stored().then_some(thread).ok_or_else(refusal)
    }

    fn loaded(&self) -> Vec<&str> {
        let loaded = self.threads.iter().filter(|thread| thread.status != Status::NotLoaded);
        loaded.map(|thread| thread.id.as_str()).collect()
    }

    /// A thread that is loaded: on another nothing can be started.
    fn awake(&self, params: &Value) -> Result<usize, Refusal> {
        let at = self.position(params)?;
        let thread = &self.threads[at];
        let refusal = || Refusal(-32600, format!("thread not found: {}", thread.id));
        (thread.status != Status::NotLoaded).then_some(at).ok_or_else(refusal)
    }

    fn running(&self, at: usize) -> Option<String> {
        let thread = &self.threads[at];
        thread.running.as_ref().and(thread.turns.last()).map(|turn| turn.id.clone())
    }

    fn steer(&mut self, at: usize, input: Input, now: u64, after: &mut Outbox) -> Result<(), Refusal> {
        let mut heard = false;
        self.step(at, now, after, |thread, cx| heard = thread.steer(cx, input));
        heard.then_some(()).ok_or_else(|| Refusal(-32001, "Server overloaded; retry later.".into()))
    }

    /// Lets one thread act and sends what it says.
    fn step(&mut self, at: usize, now: u64, outbox: &mut Outbox, act: impl FnOnce(&mut Thread, &mut Context<'_>)) {
        let mut cx = Context { now, serial: &mut self.serial, files: &mut *self.files, events: Vec::new() };
        act(&mut self.threads[at], &mut cx);
        // Pieces of an answer are stored when it is whole.
        if cx.events.iter().any(|event| !matches!(event, Event::Subscribers("item/agentMessage/delta", _))) {
            self.changed.insert(at);
        }
        for event in cx.events {
            let subscribers = &self.threads[at].subscribers;
            match event {
                Event::Everyone(method, params) => self.broadcast(outbox, method, &params, now),
                Event::Subscribers(method, params) => self.notify(outbox, subscribers, method, &params, now),
                Event::Question(question) => {
                    outbox.extend(subscribers.iter().map(|client| (*client, question.clone())))
                }
            }
        }
    }

    fn broadcast(&self, outbox: &mut Outbox, method: &str, params: &Value, now: u64) {
        let everyone: BTreeSet<Client> = self.clients.iter().filter(|(_, ready)| **ready).map(|(id, _)| *id).collect();
        self.notify(outbox, &everyone, method, params, now);
    }

    fn notify<'a>(
        &self,
        outbox: &mut Outbox,
        clients: impl IntoIterator<Item = &'a Client>,
        method: &str,
        params: &Value,
        now: u64,
    ) {
        let message = json!({"method": method, "params": params, "emittedAtMs": now});
        outbox.extend(clients.into_iter().map(|client| (*client, message.clone())));
    }
}

fn refuse(message: impl Into<String>) -> Answer {
    Err(Refusal(-32600, message.into()))
}

fn thread_id(params: &Value) -> Result<String, Refusal> {
    let id = params["threadId"].as_str().ok_or_else(|| missing("threadId"))?;
    let is_uuid = id.len() == 36 && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    is_uuid.then(|| id.to_owned()).ok_or_else(|| Refusal(-32600, format!("invalid thread id: {id}")))
}

fn input(params: &Value) -> Result<Input, Refusal> {
    Input::of(params).ok_or_else(|| missing("input"))
}

fn missing(field: &str) -> Refusal {
    Refusal(-32600, format!("Invalid request: missing field `{field}`"))
}

fn model() -> Value {
    json!({
        "id": MODEL, "model": MODEL, "displayName": "Scripted", "description": "Answers by keywords in the prompt.",
        "hidden": false, "isDefault": true, "defaultReasoningEffort": "medium", "inputModalities": ["text"],
        "supportedReasoningEfforts": [{"reasoningEffort": "medium", "description": "The only one"}],
    })
}

const MODEL: &str = "gpt-5.5";
const METHODS: &str = "`initialize`, `thread/start`, `thread/list`, `thread/loaded/list`, `thread/read`, \
                       `thread/resume`, `thread/unsubscribe`, `thread/turns/list`, `thread/items/list`, \
                       `turn/start`, `turn/steer`, `turn/interrupt`, `model/list`, `mcpServerStatus/list`, \
                       `config/read`, `config/value/write`";
const DEPRECATED: &str = "Full-history hydration is deprecated for paginated threads; omit `includeTurns` or set it \
                          to `false`, then page with `thread/turns/list` and `thread/items/list`.";
/// Threads that a server keeps.
const THREADS: usize = 256;
/// Folders that its config keeps.
const PROJECTS: usize = 64;
/// Turns that a thread keeps.
const TURNS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct NoFiles;

    impl Files for NoFiles {
        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn write(&mut self, _: &Path, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    /// A server with an initialized client 1, a stranger 2 and a thread of client 1.
    fn world() -> (Server, String) {
        let mut server = Server::new(Path::new("/w"), Box::new(NoFiles));
        server.connected(1);
        server.connected(2);
        ask(&mut server, 1, "initialize", json!({"clientInfo": {"name": "test"}}));
        let started = ask(&mut server, 1, "thread/start", json!({}));
        let thread = started[0].1["result"]["thread"]["id"].as_str().expect("an id").to_owned();
        (server, thread)
    }

    fn ask(server: &mut Server, client: Client, method: &str, params: Value) -> Outbox {
        let request = json!({"id": "r", "method": method, "params": params});
        server.received(client, &request.to_string(), 1_000)
    }

    fn say(server: &mut Server, thread: &str, text: &str) -> Outbox {
        ask(server, 1, "turn/start", json!({"threadId": thread, "input": [{"type": "text", "text": text}]}))
    }

    fn methods(outbox: &Outbox) -> Vec<&str> {
        outbox.iter().filter_map(|(_, message)| message["method"].as_str()).collect()
    }

    #[test]
    fn a_stranger_hears_nothing_and_decides_nothing() {
        let (mut server, thread) = world();
        let outbox = say(&mut server, &thread, "ESCALATE cmd=true");
        assert!(methods(&outbox).contains(&"item/commandExecution/requestApproval"));
        assert!(outbox.iter().all(|(client, _)| *client == 1));
        let answer = json!({"id": 0, "result": {"decision": "accept"}}).to_string();
        assert!(server.received(2, &answer, 1_000).is_empty());
        assert_eq!(methods(&server.received(1, &answer, 1_000))[0], "serverRequest/resolved");
        assert!(server.received(1, &answer, 1_000).is_empty());
    }

    #[test]
    fn an_answer_takes_the_time_it_was_asked_for() {
        let (mut server, thread) = world();
        say(&mut server, &thread, "SLOW secs=1 every=500");
        assert_eq!(server.due(), Some(1_500));
        assert!(server.tick(1_499).is_empty());
        assert_eq!(methods(&server.tick(1_500)), ["item/agentMessage/delta"]);
        assert_eq!(methods(&server.tick(2_000)).last(), Some(&"turn/completed"));
        assert_eq!(server.due(), None);
    }

    #[test]
    fn a_long_answer_leaves_room_for_others() {
        let (mut server, thread) = world();
        assert!(say(&mut server, &thread, "LONG n=100000").len() < 200);
        assert_eq!(server.due(), Some(1_001));
    }

    #[test]
    fn a_patch_that_cannot_be_written_is_shown_as_failed() {
        let (mut server, thread) = world();
        let outbox = say(&mut server, &thread, "PATCH file=a");
        let change = outbox.iter().find(|(_, m)| m["params"]["item"]["status"] == "failed");
        assert!(change.is_some_and(|(_, m)| m["method"] == "item/completed"));
        assert_eq!(methods(&outbox).last(), Some(&"turn/completed"));
    }

    #[test]
    fn a_turn_goes_on_without_its_client() {
        let (mut server, thread) = world();
        say(&mut server, &thread, "SLOW secs=1 every=500");
        server.disconnected(1);
        assert!(server.tick(1_500).is_empty() && server.tick(2_000).is_empty());
        assert_eq!(server.due(), None);
    }

    #[test]
    fn more_threads_and_turns_than_are_kept_are_refused() {
        let (mut server, thread) = world();
        for _ in 0..TURNS {
            say(&mut server, &thread, "x");
        }
        assert!(say(&mut server, &thread, "x")[0].1["error"].is_object());
        for _ in 1..THREADS {
            ask(&mut server, 1, "thread/start", json!({}));
        }
        assert!(ask(&mut server, 1, "thread/start", json!({}))[0].1["error"].is_object());
    }

    #[test]
    fn steering_without_end_is_refused() {
        let (mut server, thread) = world();
        say(&mut server, &thread, "ESCALATE cmd=true");
        let refused = (0..100).any(|_| say(&mut server, &thread, "more")[0].1["error"]["code"] == -32001);
        assert!(refused);
    }
}
