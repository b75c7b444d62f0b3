//! The host's floor beside the real Codex: what the desk has loosened is read from a phone and not worked on, what a
//! phone opens is held down, and nothing of it is written to Codex's config.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use farhelm::demo::world::Behind;
use farhelm_core::codex::thread::{Thread, TurnStatus};
use farhelm_phone::{Error, Paging, ReviewTarget, ThreadQuery};
use serde_json::{Value, json};

use super::stage::{PATIENCE, Stage, ended};
use super::{app_server, codex};

/// A desk: a client of the same app-server with all that Codex offers.
async fn desk(stage: &Stage) -> app_server::Client {
    let mut desk = app_server::Client::connect(&stage.app_server()).await;
    let info = json!({"clientInfo": {"name": "desk", "title": "desk", "version": "0"},
        "capabilities": {"experimentalApi": true}});
    desk.request("initialize", info).await;
    desk.send(json!({"method": "initialized"})).await;
    desk
}

/// A thread of the desk's with a turn behind it.
async fn thread_at(desk: &mut app_server::Client, terms: Value) -> String {
    let started = desk.request("thread/start", terms).await;
    let thread = started["result"]["thread"]["id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    say(desk, json!({"threadId": thread})).await;
    thread
}

/// A whole turn of the desk's.
async fn say(desk: &mut app_server::Client, mut turn: Value) {
    turn["input"] = json!([{"type": "text", "text": "hello"}]);
    let answer = desk.request("turn/start", turn).await;
    assert!(answer["result"]["turn"]["id"].is_string(), "{answer}");
    desk.method("turn/completed").await;
}

/// Everything in a Codex home that says what is allowed, byte by byte.
fn written(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let rules = fs::read_dir(home.join("rules")).into_iter().flatten().flatten().map(|entry| entry.path());
    for file in rules.chain([home.join("config.toml")]) {
        files.insert(file.clone(), fs::read(&file).expect("a file"));
    }
    files
}

fn home(stage: &Stage) -> PathBuf {
    stage.world.scratch().join("codex")
}

/// In which words the host refuses.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Policy(words)) => words,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_desk_has_loosened_is_read_from_a_phone_and_not_worked_on() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    let (mut desk, phone) = (desk(&stage).await, &stage.host);
    let work = stage.world.work().display().to_string();
    let before = written(&home(&stage));
    let loose = json!({"cwd": work, "approvalPolicy": "never", "sandbox": "danger-full-access"});
    let thread = thread_at(&mut desk, loose).await;

    let words = "this thread's approval policy is \"never\", looser than the \"on-request\" this host allows phones; go on at \
                 the desk, or loosen [floor] in the host's config.toml";
    assert_eq!(refusal(phone.send(&thread, "go on").await), words);
    assert_eq!(refusal(phone.steer(&thread, "any", "go on").await), words);
    assert_eq!(refusal(phone.queue_add(&thread, "go on").await), words);
    assert_eq!(refusal(phone.queue_start(&thread, None).await), words);
    assert_eq!(refusal(phone.review(&thread, &ReviewTarget::Uncommitted).await), words);
    assert_eq!(refusal(phone.compact(&thread).await), words);
    assert_eq!(refusal(phone.fork(&thread).await), words);

    assert_eq!(phone.thread(&thread).await.expect("it is read").turns.len(), 1, "nothing was begun");
    assert_eq!(phone.history(&thread, Paging::default()).await.expect("it is read").rows.len(), 1);
    let listed = phone.threads(ThreadQuery::newest(10)).await.expect("a list");
    assert!(listed.rows.iter().any(|row| row.id == thread), "{listed:?}");
    assert!(phone.queue(&thread).await.expect("it is read").is_empty());
    phone.rename(&thread, "loose").await.expect("that is no work");

    // The sandbox alone, and then neither: as soon as the desk has tightened it, a phone may go on.
    say(&mut desk, json!({"threadId": thread, "approvalPolicy": "on-request"})).await;
    let words = refusal(phone.send(&thread, "go on").await);
    assert!(words.contains("sandbox is \"danger-full-access\", looser than the \"workspace-write\""), "{words}");
    let tight = json!({"type": "workspaceWrite", "writableRoots": [], "networkAccess": false,
        "excludeTmpdirEnvVar": false, "excludeSlashTmp": false});
    let wide = |network: bool, roots: Value| {
        let mut sandbox = tight.clone();
        sandbox["networkAccess"] = network.into();
        sandbox["writableRoots"] = roots;
        json!({"threadId": thread, "sandboxPolicy": sandbox})
    };
    say(&mut desk, wide(true, json!([]))).await;
    assert!(refusal(phone.send(&thread, "go on").await).contains("reaches the network"));
    say(&mut desk, wide(false, json!(["/opt"]))).await;
    assert!(refusal(phone.send(&thread, "go on").await).contains("may write in \"/opt\""));
    say(&mut desk, wide(false, json!([]))).await;
    let mut watch = phone.watch(&thread).await.expect("to follow it");
    let turn = phone.send(&thread, "go on").await.expect("within the floor");
    assert_eq!(ended(&mut watch, &turn).await.status, TurnStatus::Completed);
    assert_eq!(written(&home(&stage)), before);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_by_what_a_phone_has_the_agent_do() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    let phone = &stage.host;
    let (started, mut thread) = stage.start("hello").await;
    ended(&mut thread, &started.turn).await;
    let before = written(&home(&stage));
    let of = &started.thread;

    let instructions = "look at it".to_owned();
    let review = phone.review(of, &ReviewTarget::Custom { instructions }).await.expect("a review");
    ended(&mut thread, &review).await;
    assert_eq!(written(&home(&stage)), before, "review/start");

    phone.queue_add(of, "and then").await.expect("to be queued");
    let said =
        |thread: &Thread| thread.turns.last().is_some_and(|t| t.id != review && t.status == TurnStatus::Completed);
    within(thread.wait_for(said)).await.expect("a followed thread");
    assert_eq!(written(&home(&stage)), before, "thread/queue/add");

    let turns = phone.thread(of).await.expect("it is read").turns.len();
    phone.compact(of).await.expect("to be taken");
    let compacted = |thread: &Thread| thread.turns.len() > turns && thread.running().is_none();
    within(thread.wait_for(compacted)).await.expect("a followed thread");
    assert_eq!(written(&home(&stage)), before, "thread/compact/start");

    let fork = phone.fork(of).await.expect("a copy");
    let mut copy = phone.watch(&fork).await.expect("to follow it");
    let turn = phone.send(&fork, "go on in the copy").await.expect("a turn");
    assert_eq!(ended(&mut copy, &turn).await.status, TurnStatus::Completed);
    let (was, is) = (phone.thread(of).await.expect("read"), copy.borrow().clone());
    assert_eq!(was.folder, is.folder);
    assert_eq!(written(&home(&stage)), before, "thread/fork");
    stage.strike().await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// As at a first start there, Codex marks a repository by itself; phones learn of it without asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_the_desk_begins_in_is_offered_to_phones() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    let repository = stage.world.scratch().join("repository");
    fs::create_dir_all(repository.join(".git")).expect("a repository");
    fs::write(repository.join(".git/HEAD"), "ref: refs/heads/main\n").expect("a repository");
    let repository = repository.canonicalize().expect("a folder").display().to_string();
    let mut about = stage.host.about();
    let offers = |about: &Option<farhelm_phone::HostState>| {
        about.as_ref().is_some_and(|about| about.start_folders.contains(&repository))
    };
    assert!(!offers(&about.borrow()));
    let mut desk = desk(&stage).await;
    desk.request("thread/start", json!({"cwd": repository, "sandbox": "workspace-write"})).await;
    within(about.wait_for(offers)).await.expect("a living host");
    stage.strike().await;
}

/// A plugin as Codex comes with one for using the computer, whose server does nothing.
fn install_computer_use(home: &Path) {
    let plugin = home.join("plugins/cache/openai-bundled/computer-use/local");
    fs::create_dir_all(plugin.join(".codex-plugin")).expect("a folder");
    let manifest = json!({"name": "computer-use", "version": "local", "mcpServers": "./.mcp.json"});
    fs::write(plugin.join(".codex-plugin/plugin.json"), manifest.to_string()).expect("a manifest");
    let server = json!({"mcpServers": {"screen": {"command": "false"}}});
    fs::write(plugin.join(".mcp.json"), server.to_string()).expect("its server");
    let config = home.join("config.toml");
    let on = "\n[plugins.\"computer-use@openai-bundled\"]\nenabled = true\n";
    fs::write(&config, fs::read_to_string(&config).expect("a config") + on).expect("a config");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_can_use_the_computer_is_read_only_and_phones_start_none() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    install_computer_use(&home(&stage));
    let (mut desk, phone) = (desk(&stage).await, &stage.host);
    let work = stage.world.work().display().to_string();
    let able = thread_at(&mut desk, json!({"cwd": work})).await;
    for words in [
        refusal(phone.send(&able, "go on").await),
        refusal(phone.queue_add(&able, "go on").await),
        refusal(phone.review(&able, &ReviewTarget::Uncommitted).await),
        refusal(phone.compact(&able).await),
        refusal(phone.fork(&able).await),
    ] {
        assert!(words.contains("can use the computer itself") && words.contains("computer_use_mobile"), "{words}");
    }
    assert_eq!(phone.thread(&able).await.expect("it is read").turns.len(), 1);

    let (started, mut thread) = stage.start("hello").await;
    assert_eq!(ended(&mut thread, &started.turn).await.status, TurnStatus::Completed);
    let turn = phone.send(&started.thread, "go on").await.expect("it can't use the computer");
    assert_eq!(ended(&mut thread, &turn).await.status, TurnStatus::Completed);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waited_for_the_desk_to_loosen_its_thread_is_interrupted() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    let mut desk = desk(&stage).await;
    let (started, mut thread) = stage.start("SLOW secs=120").await;
    let begun = |thread: &Thread| thread.running().is_some();
    within(thread.wait_for(begun)).await.expect("a running turn");
    stage.host.queue_add(&started.thread, "SLOW secs=100").await.expect("to be queued");
    desk.request("thread/resume", json!({"threadId": started.thread, "excludeTurns": true})).await;
    let loose = json!({"threadId": started.thread, "approvalPolicy": "never"});
    let updated = desk.request("thread/settings/update", loose).await;
    assert!(updated.get("error").is_none(), "{updated}");
    let interrupt = json!({"threadId": started.thread, "turnId": started.turn});
    desk.request("turn/interrupt", interrupt).await;
    desk.request("thread/queue/start", json!({"threadId": started.thread})).await;
    let over = |thread: &Thread| thread.turns.len() == 2 && thread.turns[1].status == TurnStatus::Interrupted;
    within(thread.wait_for(over)).await.expect("a followed thread");
    stage.strike().await;
}
