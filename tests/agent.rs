//! The scripted agent against the real Codex: the same stories, the same words in the same order.
//!
//! Each story is told to both and their transcripts are compared message by message, with ids numbered and times
//! dropped. So the demo, which runs on the scripted agent, shows what a real Codex would do.

#[path = "support/agents.rs"]
mod agents;
#[path = "support/app_server.rs"]
mod app_server;
#[path = "support/codex.rs"]
mod codex;
#[path = "support/codex_home.rs"]
mod codex_home;
#[path = "support/transcript.rs"]
mod transcript;

use std::time::Duration;

use agents::Desk;
use app_server::Client;
use serde_json::{Value, json};

/// A desk, a client `a` with a thread of its own, and a bystander.
struct Stage {
    desk: Desk,
    a: Client,
    b: Client,
    thread: String,
}

/// Between two messages of one burst there is far less.
const QUIET: Duration = Duration::from_millis(400);

/// Reads what comes until nothing has come for a moment.
async fn settle(client: &mut Client) {
    while let Some(message) = client.receive(QUIET).await {
        client.unread.push_back(message);
    }
}

impl Stage {
    async fn set(desk: Desk) -> Self {
        let mut a = Client::initialized(&desk.socket()).await;
        let mut b = Client::initialized(&desk.socket()).await;
        let answer = a.request("thread/start", json!({"cwd": desk.work()})).await;
        let thread = answer["result"]["thread"]["id"].as_str().expect("a thread").to_owned();
        b.method("thread/started").await;
        Self { desk, a, b, thread }
    }

    fn said(&self, text: &str) -> Value {
        json!({"threadId": self.thread, "input": [{"type": "text", "text": text}]})
    }

    /// Starts a turn of `a`; gives its id.
    async fn say(&mut self, text: &str) -> String {
        let answer = self.a.request("turn/start", self.said(text)).await;
        answer["result"]["turn"]["id"].as_str().expect("a turn").to_owned()
    }

    /// A turn of `a` from start to end.
    async fn turn(&mut self, text: &str) {
        self.say(text).await;
        self.a.method("turn/completed").await;
    }

    /// A turn of `a` with one approval.
    async fn decided(&mut self, text: &str, decision: &str) {
        self.say(text).await;
        let question = self.a.question().await;
        self.a.send(json!({"id": question["id"], "result": {"decision": decision}})).await;
        self.a.method("turn/completed").await;
    }

    async fn ask(&mut self, method: &str, mut params: Value) -> Value {
        params["threadId"] = json!(self.thread);
        self.a.request(method, params).await
    }

    async fn end(mut self) -> Vec<String> {
        settle(&mut self.a).await;
        settle(&mut self.b).await;
        let folder = self.desk.root.to_string_lossy().into_owned();
        let mut lines = transcript::lines(&self.a.log, &folder);
        lines.push("-- the bystander --".into());
        lines.extend(transcript::lines(&self.b.log, &folder));
        self.desk.close().await;
        lines
    }
}

/// Tells a story to both agents and compares.
macro_rules! same {
    ($(#[$doc:meta])* $name:ident, |$stage:ident| $story:block) => {
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            async fn tell(desk: Desk) -> Vec<String> {
                let mut $stage = Stage::set(desk).await;
                $story;
                $stage.end().await
            }
            let scripted = tell(Desk::scripted().await).await;
            let Some(codex) = Desk::codex().await else { return };
            compare(&scripted, &tell(codex).await);
        }
    };
}

fn compare(scripted: &[String], codex: &[String]) {
    for (at, (scripted, codex)) in scripted.iter().zip(codex).enumerate() {
        assert_eq!(scripted, codex, "message {at}: the scripted agent (left) differs from Codex");
    }
    let more = if scripted.len() > codex.len() { &scripted[codex.len()..] } else { &codex[scripted.len()..] };
    assert!(more.is_empty(), "only one of the agents said {more:#?}");
}

same!(an_answer_streams_the_same_way, |stage| {
    stage.turn("hello there").await;
});

same!(a_command_inside_the_sandbox_needs_nobody, |stage| {
    stage.turn("EXEC cmd=echo hello").await;
    stage.turn("EXEC cmd=touch inside.txt && echo made").await;
    assert!(stage.desk.work().join("inside.txt").exists());
});

same!(an_accepted_command_runs, |stage| {
    stage.decided("ESCALATE cmd=touch ../beside/a.txt && echo made", "accept").await;
    assert!(stage.desk.beside().join("a.txt").exists());
});

same!(a_declined_command_does_not_run_and_the_turn_goes_on, |stage| {
    stage.decided("ESCALATE cmd=touch no.txt", "decline").await;
    assert!(!stage.desk.work().join("no.txt").exists());
});

same!(a_cancelled_command_ends_the_turn, |stage| {
    stage.decided("ESCALATE cmd=touch no.txt", "cancel").await;
    assert!(!stage.desk.work().join("no.txt").exists());
});

same!(an_unknown_decision_is_no_acceptance, |stage| {
    stage.decided("ESCALATE cmd=touch no.txt", "certainly").await;
    stage.decided("PATCH file=../beside/no.txt", "certainly").await;
    assert!(!stage.desk.work().join("no.txt").exists() && !stage.desk.beside().join("no.txt").exists());
});

same!(a_patch_inside_the_workspace_needs_nobody, |stage| {
    stage.turn("PATCH file=new.txt").await;
    stage.turn("PATCHUPD file=new.txt from=hello to=goodbye").await;
    let text = std::fs::read_to_string(stage.desk.work().join("new.txt")).expect("the file");
    assert_eq!(text, "goodbye\nfrom the scripted model\n");
});

same!(a_patch_that_does_not_fit_is_told_to_the_model, |stage| {
    stage.turn("PATCHUPD file=missing.txt").await;
});

same!(an_accepted_patch_outside_the_workspace_is_applied, |stage| {
    stage.decided("PATCH file=../beside/new.txt", "accept").await;
    assert!(stage.desk.beside().join("new.txt").exists());
});

same!(a_patch_of_a_protected_folder_asks, |stage| {
    stage.decided("PATCH file=.codex/new.txt", "accept").await;
    assert!(stage.desk.work().join(".codex/new.txt").exists());
});

same!(a_declined_patch_is_not_applied, |stage| {
    stage.decided("PATCH file=../beside/no.txt", "decline").await;
    assert!(!stage.desk.beside().join("no.txt").exists());
});

same!(a_cancelled_patch_ends_the_turn_and_never_completes, |stage| {
    stage.decided("PATCH file=../beside/no.txt", "cancel").await;
    assert!(!stage.desk.beside().join("no.txt").exists());
});

same!(a_failing_model_fails_the_turn_and_not_the_thread, |stage| {
    stage.turn("FAIL code=500").await;
    stage.turn("FAIL code=429").await;
    stage.turn("still there?").await;
    // Codex would compact the thread before the next turn.
    stage.turn("FAIL code=context").await;
});

same!(steering_cuts_the_answer, |stage| {
    let turn = stage.say("SLOW secs=60 every=3000").await;
    stage.a.until(|m| m["method"] == "item/started" && m["params"]["item"]["type"] == "agentMessage").await;
    let mut wrong = stage.said("no");
    wrong["expectedTurnId"] = json!("another");
    assert!(stage.a.request("turn/steer", wrong).await.get("error").is_some());
    let mut right = stage.said("now this");
    right["expectedTurnId"] = json!(turn);
    right["clientUserMessageId"] = json!("mine");
    assert_eq!(stage.a.request("turn/steer", right.clone()).await["result"]["turnId"], turn.as_str());
    stage.a.method("turn/completed").await;
    assert!(stage.a.request("turn/steer", right).await.get("error").is_some());
});

same!(a_turn_started_in_a_turn_steers_it, |stage| {
    let turn = stage.say("SLOW secs=60 every=3000").await;
    stage.a.until(|m| m["method"] == "item/started" && m["params"]["item"]["type"] == "agentMessage").await;
    assert_eq!(stage.say("and now").await, turn);
    stage.a.method("turn/completed").await;
});

same!(steering_waits_for_a_tool_that_waits_for_an_approval, |stage| {
    let turn = stage.say("ESCALATE cmd=echo hello").await;
    let question = stage.a.question().await;
    let mut more = stage.said("and then this");
    more["expectedTurnId"] = json!(turn);
    stage.a.request("turn/steer", more).await;
    stage.a.send(json!({"id": question["id"], "result": {"decision": "accept"}})).await;
    stage.a.method("turn/completed").await;
});

same!(an_interrupted_turn_ends_at_once, |stage| {
    let turn = stage.say("SLOW secs=60 every=3000").await;
    stage.a.until(|m| m["method"] == "item/started" && m["params"]["item"]["type"] == "agentMessage").await;
    assert!(stage.ask("turn/interrupt", json!({"turnId": "another"})).await.get("error").is_some());
    stage.ask("turn/interrupt", json!({"turnId": turn})).await;
    settle(&mut stage.a).await;
    assert!(stage.ask("turn/interrupt", json!({"turnId": turn})).await.get("error").is_some());
});

same!(interrupting_resolves_an_open_approval, |stage| {
    let turn = stage.say("ESCALATE cmd=echo hello").await;
    stage.a.question().await;
    stage.ask("turn/interrupt", json!({"turnId": turn})).await;
    stage.a.method("serverRequest/resolved").await;
});

same!(an_open_approval_is_asked_again_on_resume, |stage| {
    stage.say("ESCALATE cmd=echo hello").await;
    let first = stage.a.question().await;
    let resume = json!({"threadId": stage.thread, "excludeTurns": true});
    assert!(stage.b.request("thread/resume", resume).await.get("result").is_some());
    let again = stage.b.question().await;
    assert_eq!(again, first);
    stage.b.send(json!({"id": again["id"], "result": {"decision": "accept"}})).await;
    stage.b.method("turn/completed").await;
    stage.a.method("turn/completed").await;
});

same!(the_first_answer_counts_and_a_later_one_is_ignored, |stage| {
    stage.turn("first").await;
    stage.b.request("thread/resume", json!({"threadId": stage.thread, "excludeTurns": true})).await;
    stage.say("ESCALATE cmd=touch no.txt").await;
    let question = stage.a.question().await;
    assert_eq!(stage.b.question().await, question);
    stage.a.send(json!({"id": question["id"], "result": {"decision": "decline"}})).await;
    stage.b.method("serverRequest/resolved").await;
    stage.b.send(json!({"id": question["id"], "result": {"decision": "accept"}})).await;
    stage.a.method("turn/completed").await;
    stage.b.method("turn/completed").await;
    assert!(!stage.desk.work().join("no.txt").exists());
});

same!(a_thread_before_its_first_turn_has_no_history, |stage| {
    stage.ask("thread/read", json!({})).await;
    stage.ask("thread/read", json!({"includeTurns": true})).await;
    stage.ask("thread/turns/list", json!({})).await;
    stage.ask("thread/items/list", json!({})).await;
    stage.ask("thread/list", json!({})).await;
    stage.ask("thread/loaded/list", json!({})).await;
    stage.b.request("thread/resume", json!({"threadId": stage.thread, "excludeTurns": true})).await;
    stage.turn("the bystander hears this").await;
    stage.b.method("turn/completed").await;
});

same!(history_is_listed_in_pages, |stage| {
    stage.turn("one").await;
    stage.turn("EXEC cmd=echo two").await;
    stage.turn("PATCH file=three.txt").await;
    stage.ask("thread/list", json!({})).await;
    stage.ask("thread/loaded/list", json!({})).await;
    stage.ask("thread/read", json!({})).await;
    stage.ask("thread/turns/list", json!({"itemsView": "full"})).await;
    let page = stage.ask("thread/turns/list", json!({"limit": 2})).await;
    stage.ask("thread/turns/list", json!({"limit": 2, "cursor": page["result"]["nextCursor"]})).await;
    stage.ask("thread/items/list", json!({})).await;
    let page = stage.ask("thread/items/list", json!({"limit": 4, "sortDirection": "desc"})).await;
    let cursor = &page["result"]["nextCursor"];
    stage.ask("thread/items/list", json!({"limit": 9, "sortDirection": "desc", "cursor": cursor})).await;
});

same!(who_unsubscribes_hears_only_the_status, |stage| {
    stage.turn("one").await;
    stage.ask("thread/unsubscribe", json!({})).await;
    stage.ask("thread/unsubscribe", json!({})).await;
    stage.say("two").await;
    stage.b.until(|m| m["params"]["status"]["type"] == "idle").await;
});

same!(what_is_no_request_is_refused_or_ignored, |stage| {
    let mut stranger = Client::connect(&stage.desk.socket()).await;
    let refused = stranger.request("thread/list", json!({})).await;
    assert_eq!(refused["error"], json!({"code": -32600, "message": "Not initialized"}));
    stage.ask("initialize", json!({"clientInfo": {"name": "again", "version": "0"}})).await;
    for text in ["{no JSON", "[1]", "{}", r#"{"id":null,"method":"thread/list","params":{}}"#, r#"{"id":3}"#] {
        stage.a.send_text(text).await;
    }
    stage.a.send(json!({"id": 99, "result": {"decision": "accept"}})).await;
    stage.a.send(json!({"id": "bare", "method": "thread/list"})).await;
    stage.a.until(|m| m["id"] == "bare").await;
    stage.a.request("turn/start", json!({"threadId": UNKNOWN, "input": []})).await;
    stage.a.request("thread/resume", json!({"threadId": UNKNOWN, "excludeTurns": true})).await;
});

#[tokio::test]
async fn an_unknown_method_is_refused_by_name() {
    for desk in [Some(Desk::scripted().await), Desk::codex().await].into_iter().flatten() {
        let mut client = Client::initialized(&desk.socket()).await;
        let answer = client.request("farhelm/unheard", json!({})).await;
        assert_eq!(answer["error"]["code"], -32600);
        let message = answer["error"]["message"].as_str().expect("a text");
        assert!(
            message.starts_with("Invalid request: unknown variant `farhelm/unheard`, expected one of `initialize`")
        );
        desk.close().await;
    }
}

/// Whether Codex shows an item for it depends on how fast the refusal comes, so this is no story to compare.
#[tokio::test]
async fn the_sandbox_denies_a_command_and_the_model_is_told() {
    for desk in [Some(Desk::scripted().await), Desk::codex().await].into_iter().flatten() {
        let mut stage = Stage::set(desk).await;
        stage.say("EXEC cmd=touch ../beside/denied.txt").await;
        let done = stage.a.method("turn/completed").await;
        let text = done["params"]["turn"]["items"][0]["text"].as_str().expect("an answer").to_owned();
        assert!(text.contains("touch: cannot touch '../beside/denied.txt': Read-only file system"), "{text}");
        assert!(!stage.desk.beside().join("denied.txt").exists());
        stage.desk.close().await;
    }
}

#[tokio::test]
async fn a_long_answer_comes_whole() {
    for desk in [Some(Desk::scripted().await), Desk::codex().await].into_iter().flatten() {
        let mut stage = Stage::set(desk).await;
        stage.turn("LONG n=3000 size=12").await;
        let deltas = stage.a.log.iter().filter(|m| m["method"] == "item/agentMessage/delta");
        let text: String = deltas.filter_map(|m| m["params"]["delta"].as_str()).collect();
        assert_eq!((text.len(), &text[text.len() - 12..]), (3000 * 12, "002999 xxxxx"));
        stage.desk.close().await;
    }
}

const UNKNOWN: &str = "01a20000-0000-7000-8000-000000000000";
