//! The folders of a host beside the real Codex: which it trusts, which the host has it trust, and that nothing a phone
//! causes is written to its config.

#[path = "support/codex.rs"]
mod codex;
#[path = "support/codex_home.rs"]
mod codex_home;

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use codex_home::CodexHome;
use farhelm::demo::model::Model;
use farhelm::host::app_server::{AppServer, Event, Options, Source, State};
use farhelm::host::folders::{Keeper, Opened, Opening};
use farhelm_core::codex::thread::Thread;
use farhelm_core::policy::{self, Defaults, Looser, Right, Rules};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Far beyond what any of these takes.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("in time")
}

/// The real Codex with folders beside `work`, each a repository: that is what Codex marks by itself.
struct Desk {
    home: CodexHome,
    model: Model,
    app_server: AppServer,
    events: mpsc::Receiver<Event>,
}

impl Desk {
    /// With more behind a line of its config; `ROOT/` becomes the folder around the others.
    async fn start(section: &str, more: &str) -> Option<Self> {
        let codex = codex::codex()?;
        let model = Model::start().await.expect("the scripted model");
        let home = CodexHome::new(model.port());
        for repository in ["fresh", "mine", "theirs"] {
            fs::create_dir_all(home.folder(repository).join(".git")).expect("a repository");
            fs::write(home.folder(repository).join(".git/HEAD"), "ref: refs/heads/main\n").expect("a repository");
        }
        let file = home.path().join("config.toml");
        let root = home.folder("").display().to_string();
        let plain = fs::read_to_string(&file).expect("a config");
        assert!(plain.contains(section), "{plain}");
        let config = plain.replacen(section, &format!("{section}{}", more.replace("ROOT/", &root)), 1);
        fs::write(file, config).expect("a config");
        let (app_server, events) = app_server(&home, codex).await;
        Some(Self { home, model, app_server, events })
    }

    /// The same after a restart of Codex: whatever was loaded is on disk only.
    async fn restarted(self) -> Self {
        within(self.app_server.shutdown()).await;
        let (app_server, events) = app_server(&self.home, codex::codex().expect("it was there")).await;
        Self { app_server, events, ..self }
    }

    fn path(&self, folder: &str) -> String {
        self.real(folder).to_str().expect("text").to_owned()
    }

    fn real(&self, folder: &str) -> PathBuf {
        self.home.folder(folder).canonicalize().expect("a folder")
    }

    /// Its config and its rules, byte by byte.
    fn written(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let config = fs::read(self.home.path().join("config.toml")).expect("a config");
        (config, fs::read(self.home.path().join("rules/default.rules")).ok())
    }

    fn keeper(&self, start: &str) -> Keeper {
        Keeper::start(self.app_server.clone(), &self.path(start), CancellationToken::new())
    }

    /// What becomes of the folder that is opened next.
    async fn opened(&self, keeper: &Keeper) -> Opened {
        let mut opened = keeper.opened();
        let all = within(opened.wait_for(|all| !all.is_empty())).await.expect("it runs");
        all[0].clone()
    }

    /// A phone's request, as the policy rebuilds it.
    async fn phone(&self, method: &str, params: Value, defaults: &Defaults) -> Value {
        let forward = policy::request(method, &params, Right::Owner, defaults).expect("phones may");
        within(self.app_server.request(method, forward.params)).await.expect("an answer")
    }

    async fn told(&mut self, name: &str) -> Value {
        loop {
            if let Some(Event::Notification { method, params, .. }) = within(self.events.recv()).await
                && method == name
            {
                return params;
            }
        }
    }

    async fn close(self) {
        within(self.app_server.shutdown()).await;
        self.model.shutdown().await;
    }
}

async fn app_server(home: &CodexHome, codex: PathBuf) -> (AppServer, mpsc::Receiver<Event>) {
    let options = Options {
        codex: Some(codex),
        codex_home: Some(home.path()),
        runtime_dir: home.folder("run"),
        environment: vec![("HOME".into(), home.path().display().to_string())],
    };
    let (app_server, events) = AppServer::start(Source::Own, options);
    within(app_server.state().wait_for(|state| matches!(state, State::Ready { .. }))).await.expect("it runs");
    (app_server, events)
}

#[tokio::test]
async fn the_start_folder_is_marked_once_and_then_no_phone_writes_anything() {
    let Some(mut desk) = Desk::start("", "").await else { return };
    let fresh = desk.path("fresh");
    let before = desk.written().0;
    let keeper = desk.keeper("fresh");
    let file = desk.home.path().join("config.toml").display().to_string();
    assert_eq!(desk.opened(&keeper).await, Opened { folder: fresh.clone(), opening: Opening::Marked { file } });
    let marked = desk.written();
    let added = format!("\n[projects.\"{fresh}\"]\ntrust_level = \"trusted\"\n");
    let (marked_text, before) = (String::from_utf8_lossy(&marked.0), String::from_utf8_lossy(&before));
    assert_eq!(marked_text.replacen(&added, "", 1), before, "only that is added");
    assert_ne!(marked_text, before);

    let folders = within(keeper.current()).await.expect("Codex is there");
    assert_eq!(folders.own, [fresh.clone(), desk.path("work")]);
    assert_eq!(folders.startable, folders.own);
    assert_eq!(within(keeper.open(&fresh)).await.opening, Opening::Trusted);
    assert_eq!(desk.written(), marked);

    let defaults = Defaults::new(fresh);
    let started = desk.phone("thread/start", json!({}), &defaults).await;
    assert_eq!(desk.written(), marked, "thread/start");
    let thread = started["thread"]["id"].clone();
    let hello = json!([{"type": "text", "text": "hello"}]);
    desk.phone("turn/start", json!({"threadId": thread, "input": hello}), &defaults).await;
    assert_eq!(desk.told("turn/completed").await["turn"]["status"], "completed");
    assert_eq!(desk.written(), marked, "turn/start");
    desk.phone("thread/resume", json!({"threadId": thread}), &defaults).await;
    assert_eq!(desk.written(), marked, "thread/resume");
    for (method, params) in [
        ("thread/fork", json!({"threadId": thread})),
        ("thread/settings/update", json!({"threadId": thread, "effort": "low"})),
        ("thread/name/set", json!({"threadId": thread, "name": "a name"})),
        ("thread/archive", json!({"threadId": thread})),
    ] {
        // Not rebuilt, so that this stands whatever the table says of them.
        within(desk.app_server.request(method, params)).await.expect("an answer");
        assert_eq!(desk.written(), marked, "{method}");
    }
    desk.close().await;
}

#[tokio::test]
async fn what_is_marked_untrusted_is_never_opened() {
    let mark = "[projects.\"ROOT/theirs\"]\ntrust_level = \"untrusted\"\n\n";
    let Some(desk) = Desk::start("[analytics]\nenabled = false\n\n", mark).await else { return };
    let theirs = desk.path("theirs");
    let before = desk.written();
    let keeper = desk.keeper("theirs");
    assert_eq!(desk.opened(&keeper).await.opening, Opening::Untrusted { by: theirs.clone() });
    let folders = within(keeper.current()).await.expect("Codex is there");
    assert_eq!((folders.own.contains(&theirs), folders.startable.contains(&theirs)), (true, false));
    assert_eq!(desk.written(), before);

    let mine = desk.path("mine");
    assert!(!folders.startable.contains(&mine));
    assert!(matches!(within(keeper.open(&mine)).await.opening, Opening::Marked { .. }));
    assert!(keeper.folders().borrow().startable.contains(&mine));
    desk.close().await;
}

#[tokio::test]
async fn a_folder_that_comes_to_be_trusted_is_known_when_it_is_asked_for() {
    let Some(desk) = Desk::start("", "").await else { return };
    let keeper = desk.keeper("work");
    desk.opened(&keeper).await;
    let mine = desk.path("mine");
    assert!(!within(keeper.current()).await.expect("Codex is there").startable.contains(&mine));
    // As the desk does at its first start there.
    let started = desk.app_server.request("thread/start", json!({"cwd": mine, "sandbox": "workspace-write"}));
    within(started).await.expect("a thread");
    assert!(within(keeper.current()).await.expect("Codex is there").startable.contains(&mine));
    desk.close().await;
}

#[tokio::test]
async fn a_phones_thread_starts_under_the_floor_whatever_codexs_config_allows() {
    let wide = "network_access = true\nwritable_roots = [\"/opt\"]\n";
    let Some(mut desk) = Desk::start("[sandbox_workspace_write]\n", wide).await else { return };
    let keeper = desk.keeper("work");
    desk.opened(&keeper).await;
    let rules = Rules::default();
    let work = desk.path("work");

    let started = desk.phone("thread/start", json!({}), &Defaults::of(&rules, work.clone())).await;
    let thread = Thread::from_resume(&started).expect("a thread");
    assert_eq!(thread.approval_policy.as_deref(), Some("on-request"));
    assert!(thread.sandbox.as_deref().is_some_and(|sandbox| !sandbox.contains("/opt")), "{:?}", thread.sandbox);
    assert_eq!(rules.permits_work_on(&thread), Ok(()));
    let feature = json!({"threadId": thread.id, "limit": 1000});
    let features = within(desk.app_server.request("experimentalFeature/list", feature)).await.expect("a list");
    let computer_use = features["data"].as_array().expect("a list").iter().find(|f| f["name"] == "computer_use");
    assert_eq!(computer_use.expect("0.169.0 has it")["enabled"], false);

    for (asked, looser) in [
        (json!({"cwd": work}), Looser::Network),
        (
            json!({"cwd": work, "config": {"sandbox_workspace_write.network_access": false}}),
            Looser::Root { root: "/opt".into() },
        ),
        (
            json!({"cwd": work, "approvalPolicy": "never"}),
            Looser::Approvals { has: "never".into(), floor: "on-request".into() },
        ),
        (
            json!({"cwd": work, "sandbox": "danger-full-access"}),
            Looser::Sandbox { has: "danger-full-access".into(), floor: "workspace-write".into() },
        ),
    ] {
        let at_the_desk = within(desk.app_server.request("thread/start", asked)).await.expect("a thread");
        let resume = json!({"threadId": at_the_desk["thread"]["id"], "excludeTurns": true});
        let id = resume["threadId"].clone();
        let hello = json!({"threadId": id, "input": [{"type": "text", "text": "hello"}]});
        within(desk.app_server.request("turn/start", hello)).await.expect("a turn");
        desk.told("turn/completed").await;
        let resumed = within(desk.app_server.request("thread/resume", resume)).await.expect("a thread");
        let thread = Thread::from_resume(&resumed).expect("a thread");
        assert_eq!(rules.permits_work_on(&thread), Err(looser));
    }
    desk.close().await;
}

#[tokio::test]
async fn a_copy_and_a_thread_that_a_phone_opens_are_held_down_too() {
    let wide = "network_access = true\nwritable_roots = [\"/opt\"]\n";
    let Some(mut desk) = Desk::start("[sandbox_workspace_write]\n", wide).await else { return };
    let (rules, defaults) = (Rules::default(), Defaults::new(desk.path("work")));
    let started = within(desk.app_server.request("thread/start", json!({"cwd": desk.path("work")}))).await;
    let id = started.expect("a thread")["thread"]["id"].clone();
    let hello = json!({"threadId": id, "input": [{"type": "text", "text": "hello"}]});
    within(desk.app_server.request("turn/start", hello)).await.expect("a turn");
    desk.told("turn/completed").await;
    let before = desk.written();
    let judged = |answer: &Value| rules.permits_work_on(&Thread::from_resume(answer).expect("a thread"));

    let loaded = desk.phone("thread/resume", json!({"threadId": id}), &defaults).await;
    assert_eq!(judged(&loaded), Err(Looser::Network), "what the desk has open stays as it is there");
    let copy = desk.phone("thread/fork", json!({"threadId": id}), &defaults).await;
    assert_eq!(judged(&copy), Ok(()));

    let desk = desk.restarted().await;
    let opened = desk.phone("thread/resume", json!({"threadId": id}), &defaults).await;
    let kept = Looser::Root { root: "/opt".into() };
    assert_eq!(judged(&opened), Err(kept), "the network is held down; the folders are the thread's own by now");
    let copy = desk.phone("thread/fork", json!({"threadId": id}), &defaults).await;
    assert_eq!(judged(&copy), Ok(()));
    assert_eq!(desk.written(), before);
    desk.close().await;
}

/// What `farhelm host` says at its terminal until it has said what became of its folder; then it is stopped.
async fn host_says(desk: &Desk, start: &str) -> String {
    let mut host = tokio::process::Command::new(env!("CARGO_BIN_EXE_farhelm"));
    host.arg("--state-dir").arg(desk.home.folder("state")).args(["--json", "host", "--own-server", "--yes"]);
    host.args(["--listen", "/ip4/127.0.0.1/tcp/0"]).arg("--codex").arg(codex::codex().expect("it was there"));
    host.current_dir(desk.real(start)).env("CODEX_HOME", desk.home.path()).kill_on_drop(true);
    host.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut host = host.spawn().expect("it starts");
    let mut lines = BufReader::new(host.stdout.take().expect("it was piped")).lines();
    let opened = loop {
        let line = within(lines.next_line()).await.expect("text").expect("it goes on");
        let event: Value = serde_json::from_str(&line).expect("an event");
        if event["is"] == "opened" {
            break event["text"].as_str().expect("text").to_owned();
        }
    };
    let pid = host.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(within(host.wait()).await.expect("its end").success());
    opened
}

#[tokio::test]
async fn the_host_shows_at_its_terminal_what_it_has_codex_trust_and_does_so_once() {
    let Some(desk) = Desk::start("", "").await else { return };
    let (fresh, file) = (desk.path("fresh"), desk.home.path().join("config.toml").display().to_string());
    let marked = format!("Codex now trusts {fresh} (written to {file})");
    assert_eq!(host_says(&desk, "fresh").await, marked);
    let written = desk.written();
    assert_eq!(host_says(&desk, "fresh").await, format!("Codex trusts {fresh}"));
    assert_eq!(desk.written(), written);
    desk.close().await;
}
