//! The host's connection to the real Codex: found in each of its places, lost, and found again.
//!
//! What only a faulty app-server does is tested beside the code, against a fake one.

#[path = "support/codex.rs"]
mod codex;
#[path = "support/codex_home.rs"]
mod codex_home;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use codex_home::CodexHome;
use farhelm::demo::model::Model;
use farhelm::host::app_server::{
    AppServer, Codex, Epoch, Event, How, Options, ProcessEpoch, RequestError, Source, State, TESTED, daemon,
};
use farhelm::host::settings::{Setting, Settings, Source as From, Value as Set};
use farhelm::host::{self, Host};
use farhelm_platform::process;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A port on which no model listens, for what needs none.
const NO_MODEL: u16 = 9;

/// What is tested, and its events.
struct Desk {
    app_server: AppServer,
    events: mpsc::Receiver<Event>,
}

impl Desk {
    fn start(source: Source, options: Options) -> Self {
        let (app_server, events) = AppServer::start(source, options);
        Self { app_server, events }
    }

    /// Waits for the next connection.
    async fn up(&mut self) -> Epoch {
        loop {
            if let Event::Up { epoch, .. } = self.event().await {
                return epoch;
            }
        }
    }

    /// Waits for the end of the connection.
    async fn down(&mut self) {
        while !matches!(self.event().await, Event::Down { .. }) {}
    }

    /// Waits for a notification; gives its parameters.
    async fn told(&mut self, name: &str) -> Value {
        loop {
            match self.event().await {
                Event::Notification { method, params, .. } if method == name => return params,
                _ => {}
            }
        }
    }

    async fn event(&mut self) -> Event {
        within(self.events.recv()).await.expect("an event")
    }

    /// Waits for an approval: which process asks, under which number, and what.
    async fn asked(&mut self) -> (ProcessEpoch, i64, Value) {
        loop {
            if let Event::Request { id, params, .. } = self.event().await {
                return (self.process(), id, params);
            }
        }
    }

    /// Which process it is connected to.
    fn process(&self) -> ProcessEpoch {
        match self.app_server.state().borrow().clone() {
            State::Ready { process, .. } => process,
            other => panic!("not ready: {other:?}"),
        }
    }

    /// Which app-server it found.
    fn how(&self) -> How {
        match self.app_server.state().borrow().clone() {
            State::Ready { how, .. } => how,
            other => panic!("not ready: {other:?}"),
        }
    }

    /// Why it found none.
    async fn away(&self) -> (String, String) {
        let mut state = self.app_server.state();
        let state = within(state.wait_for(|state| matches!(state, State::Away { .. }))).await.expect("a supervisor");
        let State::Away { why, what_to_do } = state.clone() else { panic!("not away") };
        (why, what_to_do)
    }

    async fn request(&self, method: &str, params: Value) -> Value {
        self.app_server.request(method, params).await.expect("an answer")
    }
}

/// Far beyond what any of these takes.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("in time")
}

fn options(codex: &Path, home: &CodexHome) -> Options {
    Options {
        codex: Some(codex.to_owned()),
        codex_home: Some(home.path()),
        runtime_dir: home.folder("run"),
        environment: vec![("HOME".into(), home.path().display().to_string())],
    }
}

/// The process that listens on a socket.
async fn listener(socket: &Path) -> u32 {
    let stream = UnixStream::connect(socket.canonicalize().expect("a socket")).await.expect("a listener");
    let pid = stream.peer_cred().expect("credentials").pid().expect("a pid");
    pid.try_into().expect("a positive pid")
}

fn kill(pid: u32) {
    signal("KILL", pid);
}

fn signal(signal: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", "kill -s $1 $0", &pid.to_string(), signal]).status();
    assert!(status.expect("a shell").success());
}

async fn ended(pid: u32) {
    let end = async {
        while process::is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(end).await;
}

/// An app-server that somebody else started.
async fn foreign(codex: &Path, home: &CodexHome, socket: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(codex);
    command.args(["app-server", "--listen", &format!("unix://{}", socket.display())]);
    command.env("CODEX_HOME", home.path()).process_group(0);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let listens = async {
        while UnixStream::connect(socket).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(listens).await;
    child.expect("codex starts")
}

/// A program that is this shell script. Another process writes it, as one that this process has open can't be run.
fn script(path: PathBuf, text: &str) -> PathBuf {
    let write = "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").args(["-c", write]).arg(&path).arg(text).status();
    assert!(status.expect("a shell").success());
    path
}

#[tokio::test]
async fn our_own_server_answers_and_is_restarted_after_a_sigkill() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let mut desk = Desk::start(Source::Own, options(&codex, &home));
    let first = desk.up().await;
    let State::Ready { version, codex_home, .. } = desk.app_server.state().borrow().clone() else {
        panic!("not ready")
    };
    assert!(version.is_tested(), "{version} isn't {TESTED}");
    assert_eq!(codex_home, home.path());
    assert_eq!(desk.request("thread/loaded/list", json!({})).await["data"], json!([]));

    let socket = home.folder("run").join("codex.sock");
    let how = desk.how();
    assert_eq!(how, How::Own { socket: socket.clone(), instead: None });
    assert_eq!(how.desk_command().unwrap(), format!("codex --remote unix://{}", socket.display()));

    let killed = listener(&socket).await;
    kill(killed);
    desk.down().await;
    assert_ne!(desk.up().await, first);
    let restarted = listener(&socket).await;
    assert_ne!(restarted, killed);
    assert_eq!(desk.request("thread/loaded/list", json!({})).await["data"], json!([]));

    within(desk.app_server.shutdown()).await;
    ended(restarted).await;
    assert!(!socket.exists(), "it left its socket behind");
}

#[tokio::test]
async fn a_dropped_handle_leaves_no_server_of_our_own() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let mut desk = Desk::start(Source::Own, options(&codex, &home));
    desk.up().await;
    let pid = listener(&home.folder("run").join("codex.sock")).await;
    drop(desk);
    ended(pid).await;
}

#[tokio::test]
async fn the_server_of_a_host_that_was_killed_is_taken_over() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    farhelm_platform::directories::private(&home.folder("run")).unwrap();
    let socket = home.folder("run").join("codex.sock");
    let mut child = foreign(&codex, &home, &socket).await;
    let orphan = listener(&socket).await;

    let mut desk = Desk::start(Source::Own, options(&codex, &home));
    desk.up().await;
    assert_eq!(listener(&socket).await, orphan);
    let reaped = tokio::task::spawn_blocking(move || child.wait());
    within(desk.app_server.shutdown()).await;
    within(reaped).await.unwrap().unwrap();
    ended(orphan).await;
}

#[tokio::test]
async fn a_server_of_our_own_that_hangs_is_replaced() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    farhelm_platform::directories::private(&home.folder("run")).unwrap();
    let socket = home.folder("run").join("codex.sock");
    let mut child = foreign(&codex, &home, &socket).await;
    let hung = listener(&socket).await;
    signal("STOP", hung);

    let mut desk = Desk::start(Source::Own, options(&codex, &home));
    assert_eq!(desk.away().await.0, "the app-server doesn't answer");
    child.wait().unwrap();
    desk.up().await;
    assert_ne!(listener(&socket).await, hung);
    within(desk.app_server.shutdown()).await;
}

#[tokio::test]
async fn a_server_that_was_named_is_used_and_left_running() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let socket = home.folder("work").join("given.sock");
    let mut child = foreign(&codex, &home, &socket).await;
    let mut desk = Desk::start(Source::Connect(socket.clone()), options(Path::new("/nonexistent/codex"), &home));
    desk.up().await;
    assert_eq!(desk.how(), How::Given { socket: socket.clone() });
    let error = desk.app_server.request("no/such/method", json!({})).await.unwrap_err();
    assert!(matches!(&error, RequestError::Codex(error) if error.code == -32600), "{error}");
    within(desk.app_server.shutdown()).await;
    assert!(UnixStream::connect(&socket).await.is_ok(), "it isn't ours to stop");
    kill(listener(&socket).await);
    child.wait().unwrap();
}

#[tokio::test]
async fn the_daemon_is_started_shared_and_started_again() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let options = options(&codex, &home);
    let installed = Codex::find(&options).unwrap();
    assert!(installed.version().await.unwrap().is_tested());
    assert!(matches!(daemon::status(&installed).await.unwrap(), daemon::Status::Stopped(_)));

    let socket = daemon::control_socket(&home.path());
    let mut host = Desk::start(Source::Auto, options.clone());
    host.up().await;
    assert_eq!(host.how(), How::Daemon { socket: socket.clone(), started: true });
    assert_eq!(host.how().desk_command(), None);
    let mut other = Desk::start(Source::Daemon, options);
    other.up().await;
    assert_eq!(other.how(), How::Daemon { socket: socket.clone(), started: false });
    let daemon::Status::Running(daemon) = daemon::status(&installed).await.unwrap() else { panic!("it isn't running") };
    assert_eq!((daemon.socket, daemon.version), (socket.clone(), Some("0.169.0".into())));

    kill(listener(&socket).await);
    for desk in [&mut host, &mut other] {
        desk.down().await;
        desk.up().await;
        assert_eq!(desk.request("thread/loaded/list", json!({})).await["data"], json!([]));
    }
    within(host.app_server.shutdown()).await;
    within(other.app_server.shutdown()).await;
    assert!(UnixStream::connect(socket.canonicalize().unwrap()).await.is_ok(), "the daemon isn't ours to stop");
}

/// The native program, not the script around it, nor anything that would outlive or survive it.
fn is_codex_itself(listener: u32) -> bool {
    std::fs::read_link(format!("/proc/{listener}/exe")).is_ok_and(|program| program.ends_with("codex"))
}

#[tokio::test]
async fn a_process_is_told_by_the_socket_of_our_own_server_and_of_the_daemon() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    for (source, socket) in
        [(Source::Own, home.folder("run").join("codex.sock")), (Source::Daemon, daemon::control_socket(&home.path()))]
    {
        let mut first = Desk::start(source.clone(), options(&codex, &home));
        first.up().await;
        let process = first.process();
        assert!(is_codex_itself(listener(&socket).await));
        let mut second = Desk::start(Source::Connect(socket.clone()), options(&codex, &home));
        second.up().await;
        assert_eq!(second.process(), process, "whoever connects");
        kill(listener(&socket).await);
        first.down().await;
        first.up().await;
        assert_ne!(first.process(), process, "{source:?} was killed");
        within(second.app_server.shutdown()).await;
        within(first.app_server.shutdown()).await;
    }
}

#[tokio::test]
async fn an_approval_is_asked_again_under_its_name_and_its_answer_runs_the_command_once() {
    let Some(codex) = codex::codex() else { return };
    let model = Model::start().await.unwrap();
    let home = CodexHome::new(model.port());
    let socket = home.folder("work").join("given.sock");
    let mut child = foreign(&codex, &home, &socket).await;
    let start = || Desk::start(Source::Connect(socket.clone()), options(&codex, &home));
    let mut first = start();
    first.up().await;
    let params = json!({"cwd": home.folder("work"), "approvalPolicy": "on-request", "sandbox": "workspace-write"});
    let thread = first.request("thread/start", params).await["thread"]["id"].as_str().unwrap().to_owned();
    let input = json!([{"type": "text", "text": "ESCALATE cmd=echo ran >> ran.txt"}]);
    first.request("turn/start", json!({"threadId": thread, "input": input})).await;
    let asked = first.asked().await;
    within(first.app_server.shutdown()).await;

    let mut second = start();
    second.up().await;
    let resumed = second.request("thread/resume", json!({"threadId": thread})).await;
    let waits = json!({"type": "active", "activeFlags": ["waitingOnApproval"]});
    assert_eq!(resumed["thread"]["status"], waits, "so the host knows that it will be asked again");
    assert_eq!(second.asked().await, asked, "process, number and content");
    for _ in 0..2 {
        let accept = Ok(json!({"decision": "accept"}));
        second.app_server.reply(asked.0, asked.1, accept).await.expect("the process that asked");
    }
    assert_eq!(second.told("turn/completed").await["turn"]["status"], "completed");
    assert_eq!(std::fs::read_to_string(home.folder("work").join("ran.txt")).unwrap(), "ran\n", "once");
    within(second.app_server.shutdown()).await;
    kill(listener(&socket).await);
    child.wait().unwrap();
}

#[tokio::test]
async fn where_there_is_no_daemon_we_use_a_server_of_our_own() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let real = codex.display();
    let text = format!("case \"$*\" in *daemon*) echo no daemon here >&2; exit 1;; esac\nexec {real} \"$@\"");
    let mut desk = Desk::start(Source::Auto, options(&script(home.folder("codex"), &text), &home));
    desk.up().await;
    let How::Own { socket, instead: Some(why) } = desk.how() else { panic!("not our own: {:?}", desk.how()) };
    assert_eq!(why, "`codex app-server daemon start` failed: no daemon here");
    // A lost connection doesn't mean a lost server.
    kill(listener(&socket).await);
    desk.down().await;
    desk.up().await;
    assert!(matches!(desk.how(), How::Own { .. }));
    within(desk.app_server.shutdown()).await;
}

#[tokio::test]
async fn a_missing_codex_is_said_plainly_and_found_once_it_is_there() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let mut desk = Desk::start(Source::Own, options(&home.folder("codex"), &home));
    let (why, what_to_do) = desk.away().await;
    assert_eq!(why, format!("{} is no program", home.folder("codex").display()));
    assert_eq!(what_to_do, "name the `codex` program itself");
    std::os::unix::fs::symlink(&codex, home.folder("codex")).unwrap();
    desk.up().await;
    within(desk.app_server.shutdown()).await;
}

#[tokio::test]
async fn a_thread_of_another_server_is_held_elsewhere_and_one_without_a_rollout_is_told_apart() {
    let Some(codex) = codex::codex() else { return };
    let model = Model::start().await.unwrap();
    let home = CodexHome::new(model.port());
    let mut holder = Desk::start(Source::Own, options(&codex, &home));
    let mut other = Desk::start(Source::Own, Options { runtime_dir: home.folder("other"), ..options(&codex, &home) });
    holder.up().await;
    other.up().await;

    let started = holder.request("thread/start", json!({"cwd": home.folder("work")})).await;
    let thread = started["thread"]["id"].as_str().unwrap();
    let input = json!([{"type": "text", "text": "hello"}]);
    holder.request("turn/start", json!({"threadId": thread, "input": input})).await;
    assert_eq!(holder.told("turn/completed").await["turn"]["status"], "completed");

    let resumed = other.app_server.request("thread/resume", json!({"threadId": thread})).await;
    assert_eq!(resumed, Err(RequestError::HeldElsewhere));
    let unknown = json!({"threadId": "00000000-0000-7000-8000-000000000000"});
    assert_eq!(other.app_server.request("thread/resume", unknown).await, Err(RequestError::NoRollout));
    within(holder.app_server.shutdown()).await;
    within(other.app_server.shutdown()).await;
}

/// Codex doesn't know them; they stand in its file because that is where people have them.
const SWITCHES: &str =
    "\n[features]\nmobile_keep_awake = true\ncomputer_use_mobile = true\nremote_connections = false\n";

fn with_switches(home: &CodexHome) -> String {
    let file = home.path().join("config.toml");
    let config = std::fs::read_to_string(&file).expect("a config") + SWITCHES;
    std::fs::write(file, &config).expect("a config");
    config
}

#[tokio::test]
async fn codex_starts_with_the_three_switches_in_its_file_and_says_that_it_ignores_them() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    with_switches(&home);
    let mut desk = Desk::start(Source::Own, options(&codex, &home));
    desk.up().await;
    assert_eq!(desk.request("thread/loaded/list", json!({})).await["data"], json!([]));
    let ignored = loop {
        let warning = desk.told("configWarning").await;
        if warning["summary"].as_str().is_some_and(|summary| summary.contains("unrecognized")) {
            break warning.to_string();
        }
    };
    for name in ["mobile_keep_awake", "computer_use_mobile", "remote_connections"] {
        assert!(ignored.contains(name), "{ignored}");
    }
    within(desk.app_server.shutdown()).await;
}

#[tokio::test]
async fn the_switches_in_codexs_file_hold_where_the_hosts_own_says_nothing_and_are_only_read() {
    let Some(codex) = codex::codex() else { return };
    let home = CodexHome::new(NO_MODEL);
    let config = with_switches(&home);
    let settings = Settings::open(&home.folder("config")).expect("no file yet");
    settings.set(Setting::RemoteConnections, Some(&Set::Switch(true))).expect("a file");
    let mut overlay = farhelm_overlay::Config::new(farhelm_core::identity::Identity::from_seed(&[7; 32]));
    overlay.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let host = host::Config {
        name: "desk".into(),
        folder: home.folder("work"),
        source: Source::Own,
        codex: options(&codex, &home),
        settings: settings.clone(),
        overlay,
    };
    let store = farhelm_store::Store::open(&home.folder("store")).expect("a store");
    let journal = farhelm_store::Journal::in_memory().expect("a journal");
    let host = Host::start(host, store, journal).await.expect("a host");
    let mut state = host.codex();
    within(state.wait_for(|state| matches!(state, State::Ready { .. }))).await.expect("Codex");
    let mut rules = settings.rules();
    within(rules.wait_for(|rules| rules.mobile_keep_awake)).await.expect("settings");
    let shown = |name: &str| {
        let row = host.setting_rows().into_iter().find(|row| row.name == name).expect("a setting");
        (row.value, row.source)
    };
    assert_eq!(shown("remote_connections"), ("on".into(), From::Ours));
    assert_eq!(shown("computer_use_mobile"), ("on".into(), From::Codex));
    assert_eq!(shown("accept_for_session"), ("off".into(), From::Default));
    settings.set(Setting::ComputerUseMobile, Some(&Set::Switch(false))).expect("written");
    assert!(!rules.borrow().computer_use_mobile);
    let now = std::fs::read_to_string(home.path().join("config.toml")).expect("a config");
    assert_eq!(now, config, "Codex's file is only read");
    within(host.shutdown()).await;
}
