//! What a phone must not be able to do, tried by one that sends whatever it likes, against the real Codex: what counts
//! is what the server says afterwards, and what is on the disk. Controls show that each of the worst would have had its
//! effect.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use farhelm::demo::world::Behind;
use farhelm::host::app_server::State;
use farhelm_core::codex::decision::Decision;
use farhelm_core::policy::Verdict;
use farhelm_core::policy::table::METHODS;
use farhelm_phone::{DecideError, Error};
use serde_json::{Value, json};

use tokio::time::timeout;

use super::app_server::Client;
use super::codex;
use super::stage::{self, PATIENCE, Stage, approval, nothing_open};

/// Fields that would widen what a thread may do, where it works, or what it is told. Each method has some of them.
const WIDENING: &[&str] = &[
    "approvalPolicy",
    "approvalsReviewer",
    "sandbox",
    "sandboxPolicy",
    "permissions",
    "config",
    "runtimeWorkspaceRoots",
    "dynamicTools",
    "baseInstructions",
    "developerInstructions",
    "environments",
    "history",
    "path",
    "additionalContext",
    "toolOutput",
    "outputSchema",
    "modelProvider",
    "disabledPluginIds",
    "selectedCapabilityRoots",
    "responsesapiClientMetadata",
];

/// What widens, with a value that Codex would take.
fn value_of(field: &str, marker: &Path) -> Value {
    match field {
        "approvalPolicy" => json!("never"),
        "sandbox" => json!("danger-full-access"),
        "sandboxPolicy" => json!({"type": "dangerFullAccess"}),
        "permissions" => json!(":danger-full-access"),
        "config" => server(marker),
        "runtimeWorkspaceRoots" => json!(["/"]),
        "dynamicTools" | "history" | "environments" | "disabledPluginIds" => json!([]),
        _ => json!("x"),
    }
}

/// A configuration that runs a command as soon as a thread starts.
fn server(marker: &Path) -> Value {
    json!({"mcp_servers": {"x": {"command": "/bin/sh", "args": ["-c", format!("touch {}", marker.display())]}}})
}

async fn real() -> Option<Stage> {
    Some(Stage::set(Behind::Codex(Some(codex::codex()?))).await)
}

/// Codex's home.
fn home(stage: &Stage) -> PathBuf {
    match &*stage.world.host.codex().borrow() {
        State::Ready { codex_home, .. } => codex_home.clone(),
        other => panic!("no app-server: {other:?}"),
    }
}

/// Its settings and its rules, byte by byte.
fn written(stage: &Stage) -> BTreeMap<PathBuf, Vec<u8>> {
    let home = home(stage);
    let rules = fs::read_dir(home.join("rules")).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = rules.chain([home.join("config.toml")]).filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read(&path).expect("readable"))).collect()
}

/// The refusal of a request that must not pass.
async fn refusal(stage: &Stage, method: &'static str, params: Value) -> String {
    match stage.host.call(method, params.clone()).await {
        Err(Error::Policy(why)) => why,
        other => panic!("{method} {params}: {other:?}"),
    }
}

/// Under which rules the server itself says that a thread works.
async fn terms(desk: &mut Client, thread: &str) -> (Value, Value) {
    let resumed = desk.request("thread/resume", json!({"threadId": thread, "excludeTurns": true})).await;
    (resumed["result"]["approvalPolicy"].clone(), resumed["result"]["sandbox"]["type"].clone())
}

async fn threads(desk: &mut Client) -> usize {
    let listed = desk.request("thread/list", json!({"limit": 100})).await;
    listed["result"]["data"].as_array().expect("a list").len()
}

/// Waits until a file is there, or says that it never came.
async fn appears(path: &Path) -> bool {
    let there = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, there).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_that_is_denied_passes_and_nothing_is_written() {
    let Some(stage) = real().await else { return };
    let before = written(&stage);
    let mut desk = Client::initialized(&stage.app_server()).await;
    let known = threads(&mut desk).await;
    let denied = METHODS.iter().filter(|method| !method.verdict.is_for_phones()).map(|method| method.name);
    let mut tried = 0;
    for method in denied.chain(["", "thread/obliterate", "thread/start ", "THREAD/START", "item/tool/requestUserInput"])
    {
        let why = refusal(&stage, method, json!({"threadId": "t", "command": ["touch", "/tmp/x"], "path": "/"})).await;
        assert!(why.contains(method.trim()), "{method}: {why}");
        tried += 1;
    }
    let open = METHODS.iter().filter(|method| matches!(method.verdict, Verdict::Allow | Verdict::Own)).count();
    assert_eq!(tried, METHODS.len() - open + 5);
    assert_eq!(written(&stage), before);
    assert_eq!(threads(&mut desk).await, known);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_that_widens_passes_in_any_method_and_the_thread_stays_as_it_was() {
    let Some(stage) = real().await else { return };
    let (started, mut watch) = stage.start("Hello.").await;
    stage::ended(&mut watch, &started.turn).await;
    let mut desk = Client::initialized(&stage.app_server()).await;
    let (before, was) = (written(&stage), terms(&mut desk, &started.thread).await);
    assert_eq!(was, (json!("on-request"), json!("workspaceWrite")));
    let known = threads(&mut desk).await;
    let marker = home(&stage).join("marker");
    let input = json!([{"type": "text", "text": "go on"}]);
    for (method, needed) in [
        ("thread/start", json!({})),
        ("thread/resume", json!({"threadId": started.thread})),
        ("thread/fork", json!({"threadId": started.thread})),
        ("turn/start", json!({"threadId": started.thread, "input": input})),
        ("turn/steer", json!({"threadId": started.thread, "input": input, "expectedTurnId": "u"})),
        ("thread/queue/add", json!({"threadId": started.thread, "input": input, "clientUserMessageId": "c"})),
        ("thread/queue/update", json!({"threadId": started.thread, "input": input, "queuedSubmissionId": "q"})),
        ("thread/settings/update", json!({"threadId": started.thread})),
        ("turn/settings/update", json!({"threadId": started.thread, "turnId": "u"})),
        ("review/start", json!({"threadId": started.thread, "target": {"type": "uncommittedChanges"}})),
    ] {
        for field in WIDENING {
            let mut params = needed.clone();
            params[*field] = value_of(field, &marker);
            let why = refusal(&stage, method, params).await;
            assert!(why.contains(field), "{method}.{field}: {why}");
        }
        if method != "thread/start" {
            let mut params = needed.clone();
            params["cwd"] = json!("/");
            assert!(refusal(&stage, method, params).await.contains("cwd"), "{method}");
        }
    }
    let mode = json!({"mode": "plan", "settings": {"model": "gpt-5.5", "developer_instructions": "obey"}});
    let turn = json!({"threadId": started.thread, "input": input, "collaborationMode": mode});
    assert!(refusal(&stage, "turn/start", turn).await.contains("developer_instructions"));

    assert_eq!(terms(&mut desk, &started.thread).await, was);
    assert_eq!((written(&stage), threads(&mut desk).await), (before, known));
    assert!(!marker.exists());

    // The controls: any other client of the server could have done all that.
    let folder = stage.world.work().display().to_string();
    let widest =
        json!({"cwd": folder, "config": server(&marker), "sandbox": "read-only", "approvalPolicy": "untrusted"});
    desk.request("thread/start", widest).await;
    assert!(appears(&marker).await, "the configuration runs its command at once");
    let loose = json!({"threadId": started.thread, "input": input, "approvalPolicy": "never",
        "sandboxPolicy": {"type": "dangerFullAccess"}});
    desk.request("turn/start", loose).await;
    assert_eq!(terms(&mut desk, &started.thread).await, (json!("never"), json!("dangerFullAccess")));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_input_names_a_path_or_an_address() {
    let Some(stage) = real().await else { return };
    let (started, mut watch) = stage.start("Hello.").await;
    stage::ended(&mut watch, &started.turn).await;
    for part in [
        json!({"type": "localImage", "path": "/etc/passwd"}),
        json!({"type": "localAudio", "path": "/etc/passwd"}),
        json!({"type": "skill", "name": "x", "path": "/x"}),
        json!({"type": "mention", "name": "x", "path": "/x"}),
        json!({"type": "image", "url": "http://169.254.169.254/latest"}),
        json!({"type": "image", "url": "file:///etc/passwd"}),
        json!({"type": "image", "url": "data:image/svg+xml;base64,PHN2Zy8+"}),
        json!({"type": "image", "fileId": "f"}),
        json!({"type": "text", "text": "x", "text_elements": []}),
    ] {
        for (method, more) in [
            ("turn/start", json!({})),
            ("turn/steer", json!({"expectedTurnId": "u"})),
            ("thread/queue/add", json!({"clientUserMessageId": "c"})),
        ] {
            let mut params = more.clone();
            params["threadId"] = json!(started.thread);
            params["input"] = json!([part]);
            let why = refusal(&stage, method, params).await;
            assert!(why.contains("input.0"), "{method} {part}: {why}");
        }
    }
    let thread = stage.host.thread(&started.thread).await.expect("it is read");
    assert_eq!(thread.turns.len(), 1, "nothing was said");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_starts_where_the_desk_has_not_been() {
    let Some(stage) = real().await else { return };
    let folder = stage.world.work().display().to_string();
    let before = written(&stage);
    let link = Path::new(&folder).join("link");
    symlink("/", &link).expect("a link");
    let below = Path::new(&folder).join("below");
    fs::create_dir_all(below.join(".git")).expect("a folder");
    let mut desk = Client::initialized(&stage.app_server()).await;
    let known = threads(&mut desk).await;
    let paths = ["/", "/etc", "relative", "", &format!("{folder}/.."), &format!("{folder}/gone"), "/proc/self/root"];
    let paths = paths.map(str::to_owned).into_iter().chain([link, below].map(|path| path.display().to_string()));
    for cwd in paths {
        let why = refusal(&stage, "thread/start", json!({"cwd": cwd})).await;
        assert!(why.contains("may"), "{cwd}: {why}");
    }
    assert_eq!((written(&stage), threads(&mut desk).await), (before, known));
    // The control: where the desk has been, one starts.
    stage.host.call("thread/start", json!({"cwd": folder})).await.expect("it starts");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_decision_reaches_further_than_what_was_shown() {
    let Some(stage) = real().await else { return };
    let mark = stage.world.work().join("mark.txt");
    let before = written(&stage);
    let (started, mut watch) = stage.start("ESCALATE cmd=touch mark.txt").await;
    let shown = approval(&stage.host).await;
    assert_eq!(shown.thread, started.thread);

    // For the session, where the host doesn't offer that: refused here, and there if the phone says it was offered.
    let refused = stage.host.decide(&shown, Decision::AcceptForSession).await;
    assert_eq!(refused, Err(DecideError::NotOffered));
    let mut offered = shown.clone();
    offered.for_session = true;
    assert_eq!(stage.host.decide(&offered, Decision::AcceptForSession).await, Err(DecideError::NotWhatIsShown));
    // Another thread's request, another command, another deadline.
    let mut elsewhere = shown.clone();
    elsewhere.thread = "another".into();
    assert_eq!(stage.host.decide(&elsewhere, Decision::Accept).await, Err(DecideError::NotWhatIsShown));
    let mut later = shown.clone();
    later.deadline_ms += 1;
    assert_eq!(stage.host.decide(&later, Decision::Accept).await, Err(DecideError::NotWhatIsShown));
    let mut gone = shown.clone();
    gone.key.request += 1;
    assert!(matches!(stage.host.decide(&gone, Decision::Accept).await, Err(DecideError::Over { .. })));
    assert!(!mark.exists(), "nothing ran");

    // The control: what was shown can be accepted, once, and nothing is remembered of it.
    stage.host.decide(&shown, Decision::Accept).await.expect("it is taken");
    let turn = stage::ended(&mut watch, &started.turn).await;
    assert!(mark.exists(), "it ran: {turn:?}");
    nothing_open(&stage.host).await;
    assert!(matches!(stage.host.decide(&shown, Decision::Accept).await, Err(DecideError::Over { .. })));
    assert_eq!(written(&stage), before, "no rule was written");
    stage.strike().await;
}
