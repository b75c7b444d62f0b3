//! A phone in a process of its own: lines of JSON in, lines of JSON out, and everything else as in any app.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use farhelm_core::codex::approval::{Act, Approval};
use farhelm_core::codex::decision::Decision;
use farhelm_phone::{Client, Config, Connection, Error, Event, Host, KeyStore, ThreadWatch, key_store};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use zeroize::Zeroizing;

use super::kept;

/// Says a line.
pub(crate) fn report(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Who doesn't listen any more will end this process too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Lives until its input ends.
pub(crate) async fn live(folder: &Path) {
    println!();
    report(&kept::report(&folder.join("journal.redb")));
    let mut config = Config::new("pocket");
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a constant address")];
    config.journal = Some(folder.join("journal.redb"));
    let client = Client::open(config, Arc::new(Files(folder.join("keys")))).await.expect("a client");
    let mut phone = None;
    if let Some(known) = client.hosts().await.expect("a list").first() {
        phone = Some(Phone::of(client.connect(known.id).await.expect("a host")));
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let told: Value = serde_json::from_str(&line).expect("a line of JSON");
        match (told["do"].as_str(), &phone) {
            (Some("pair"), _) => phone = Some(pair(&client, text(&told["ticket"])).await),
            (Some(_), Some(phone)) => drop(tokio::spawn(phone.clone().act(told))),
            _ => {}
        }
    }
    std::process::exit(0);
}

async fn pair(client: &Client, ticket: &str) -> Phone {
    let paired = client.pair(ticket).await.expect("a pairing").finish(LONG).await.expect("paired");
    report(&json!({"is": "paired"}));
    Phone::of(paired.host)
}

#[derive(Clone)]
struct Phone {
    host: Host,
    watch: Arc<Mutex<Option<ThreadWatch>>>,
}

impl Phone {
    fn of(host: Host) -> Self {
        tokio::spawn(tell_answers(host.clone()));
        tokio::spawn(tell_approvals(host.clone()));
        Self { host, watch: Arc::default() }
    }

    async fn act(self, told: Value) {
        match told["do"].as_str().unwrap_or_default() {
            "start" => self.start().await,
            "watch" => self.follow(text(&told["thread"])).await,
            "load" => drop(self.host.call("thread/resume", json!({"threadId": told["thread"]})).await),
            "prompt" => self.prompt(text(&told["thread"]), text(&told["text"])).await,
            "decide" => self.decide(text(&told["item"]), told["accept"] == true).await,
            _ => self.show(&told).await,
        }
    }

    async fn start(&self) {
        match self.host.start("hello").await {
            Ok(started) => report(&json!({"is": "thread", "id": started.thread})),
            Err(error) => report(&json!({"is": "thread", "error": error.to_string()})),
        }
    }

    /// Until the host has shown it.
    async fn follow(&self, thread: &str) {
        loop {
            match self.host.watch(thread).await {
                Ok(watch) => {
                    *self.watch.lock().expect("nobody panics") = Some(watch);
                    return report(&json!({"is": "watching"}));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Exactly one request that changes something, so that what is stored is this.
    async fn prompt(&self, thread: &str, prompt: &str) {
        let input = json!([{"type": "text", "text": prompt}]);
        let params = json!({"threadId": thread, "input": input, "clientUserMessageId": format!("client-{prompt}")});
        let result = self.host.call("turn/start", params).await;
        let line = json!({"is": "prompt", "text": prompt, "result": word(&result.map(drop))});
        report(&line);
    }

    async fn decide(&self, item: &str, accept: bool) {
        let shown = self.host.approvals().borrow().iter().find(|approval| approval.item == item).cloned();
        let decision = if accept { Decision::Accept } else { Decision::Decline };
        let result = match shown {
            Some(shown) => self.host.decide(&shown, decision).await.map_err(|error| format!("{error:?}")),
            None => Err("not shown".into()),
        };
        report(&json!({"is": "decided", "item": item, "accept": accept, "result": result.err()}));
    }

    /// What a person would see.
    async fn show(&self, told: &Value) {
        let (thread, turn) = {
            let watch = self.watch.lock().expect("nobody panics");
            let Some(watch) = &*watch else { return report(&json!({"is": "shown", "n": told["n"]})) };
            let thread = watch.borrow();
            (thread.clone(), thread.running().is_some())
        };
        let read = self.host.thread(&thread.id).await;
        let open: Vec<_> = self.host.approvals().borrow().iter().map(|approval| approval.item.clone()).collect();
        let live = matches!(&*self.host.state().borrow(), Connection::Live(_));
        let truth = *self.host.truth().borrow();
        report(&json!({
            "is": "shown", "n": told["n"], "digest": json!(thread.digest()).to_string(), "running": turn, "open": open,
            "live": live, "differs": differs(&thread, read.as_ref().ok()), "unrepaired": truth.unrepaired,
            "repaired": truth.repaired, "differed": truth.differed,
        }));
    }
}

/// The first turn that isn't as it is read. Of a thread that is followed the oldest turns may not be here.
fn differs(shown: &farhelm_core::codex::thread::Thread, read: Option<&farhelm_core::codex::thread::Thread>) -> Value {
    let Some(read) = read else { return json!("it can't be read") };
    let from = if shown.older { shown.turns.first().map(|turn| turn.id.as_str()) } else { None };
    let (shown, mut read) = (said(shown), said(read));
    read.drain(..read.iter().position(|(turn, _)| Some(turn.as_str()) == from).unwrap_or(0));
    let all = shown.len().max(read.len());
    let first = (0..all).find(|at| shown.get(*at) != read.get(*at));
    first.map_or(Value::Null, |at| json!([shown.get(at), read.get(at)]))
}

/// Turns and items in order: what a thread that is read and one that is followed have in common.
fn said(thread: &farhelm_core::codex::thread::Thread) -> Vec<(String, Vec<String>)> {
    let items = |turn: &farhelm_core::codex::thread::Turn| turn.items.iter().map(|item| item.id.clone()).collect();
    thread.turns.iter().map(|turn| (turn.id.clone(), items(turn))).collect()
}

async fn tell_answers(host: Host) {
    let mut events = host.events();
    while let Ok(event) = events.recv().await {
        if let Event::Answered { what, result } = event {
            report(&json!({"is": "answered", "what": what, "result": word(&result.map(drop))}));
        }
    }
}

async fn tell_approvals(host: Host) {
    let mut approvals = host.approvals();
    loop {
        let open: Vec<_> = approvals.borrow_and_update().iter().map(row).collect();
        report(&json!({"is": "approvals", "open": open}));
        if approvals.changed().await.is_err() {
            return;
        }
    }
}

fn row(approval: &Approval) -> Value {
    let command = match &approval.content.act {
        Act::Command { command, .. } => command.as_str(),
        _ => "",
    };
    json!({"item": approval.item, "command": command})
}

/// `ok`; `refused` if it surely didn't happen; `unknown`.
fn word(result: &Result<(), Error>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(Error::OutcomeUnknown | Error::Stopped | Error::Unreadable(_)) => "unknown".into(),
        Err(error) => format!("refused: {error:?}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

const LONG: Duration = Duration::from_secs(60);

/// Secrets in files.
struct Files(PathBuf);

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name.replace('/', "_"))
    }
}

fn failed(error: &std::io::Error) -> key_store::Error {
    key_store::Error::Failed(error.to_string())
}

#[async_trait]
impl KeyStore for Files {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, key_store::Error> {
        Ok(fs::read(self.path(name)).ok().map(Zeroizing::new))
    }

    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), key_store::Error> {
        let (path, new) = (self.path(name), self.0.join(".new"));
        let put = fs::create_dir_all(&self.0).and_then(|()| fs::write(&new, &*value));
        put.and_then(|()| fs::rename(new, path)).map_err(|error| failed(&error))
    }

    async fn delete(&self, name: &str) -> Result<(), key_store::Error> {
        fs::remove_file(self.path(name)).map_err(|error| failed(&error))
    }

    async fn list(&self) -> Result<Vec<String>, key_store::Error> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| !name.starts_with('.')).map(|name| name.replacen('_', "/", 1)).collect())
    }
}
