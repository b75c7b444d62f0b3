//! The corridor: from a tap through a relay to the agent and back. Every fact is shown on the scripted agent and on the
//! real Codex, by the same code.

#[path = "support/app_server.rs"]
mod app_server;
#[path = "support/codex.rs"]
mod codex;
#[path = "corridor/escalations.rs"]
mod escalations;
#[path = "corridor/floor.rs"]
mod floor;
#[path = "corridor/rights.rs"]
mod rights;
#[path = "support/stage.rs"]
mod stage;

use farhelm::demo::world::{Behind, another_phone};
use farhelm_core::codex::approval::{Act, Outcome};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::{ItemKind, Turn, TurnStatus};
use farhelm_phone::{CodexState, DecideError, Event, ThreadQuery};
use serde_json::json;
use stage::{Stage, approval, ended, event, nothing_open};

/// One test on the scripted agent and one on the real Codex.
macro_rules! on_both {
    ($($fact:ident)*) => {
        mod scripted {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                super::$fact(super::Stage::set(super::Behind::Script).await).await;
            })*
        }
        mod real {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                let Some(program) = super::codex::codex() else { return };
                super::$fact(super::Stage::set(super::Behind::Codex(Some(program))).await).await;
            })*
        }
    };
}

on_both! {
    a_question_is_answered
    an_accepted_command_runs
    a_declined_command_does_not_run_and_the_turn_goes_on
    a_cancelled_command_ends_the_turn
    a_file_change_is_shown_with_its_diff_and_made_when_accepted
    a_declined_file_change_leaves_no_file
    a_failing_model_fails_the_turn_and_not_the_thread
    what_the_desk_decides_first_is_over_on_the_phone
    the_first_of_two_phones_decides_and_both_learn_who
    a_phone_that_comes_back_finds_the_open_approval
    history_is_read_whole_after_coming_back
    a_message_to_a_running_turn_steers_it
    the_phone_has_what_the_host_has
    a_removed_phone_can_do_nothing_more
}

fn said(turn: &Turn) -> String {
    let texts = turn.items.iter().filter_map(|item| match &item.kind {
        ItemKind::AgentMessage { text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

async fn a_question_is_answered(stage: Stage) {
    let (started, mut thread) = stage.start("how are you").await;
    let turn = ended(&mut thread, &started.turn).await;
    assert_eq!(turn.status, TurnStatus::Completed);
    assert!(said(&turn).contains("Scripted answer to: how are you"), "{turn:?}");
    let page = stage.host.threads(ThreadQuery::newest(10)).await.expect("the threads");
    assert!(page.rows.iter().any(|row| row.id == started.thread), "{page:?}");
    stage.strike().await;
}

async fn an_accepted_command_runs(stage: Stage) {
    let (started, mut thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    let Act::Command { command, folder, .. } = &asked.content.act else { panic!("{asked:?}") };
    assert!(command.contains("touch ran.txt"), "{command}");
    assert_eq!(*folder, stage.world.work().display().to_string());
    assert_eq!(asked.content.approval_policy, "on-request");
    assert!(asked.content.sandbox.starts_with("workspace-write"), "{}", asked.content.sandbox);
    assert!(!stage.world.work().join("ran.txt").exists(), "it waits");
    let mut events = stage.host.events();
    stage.host.decide(&asked, Decision::Accept).await.expect("to be taken");
    let (outcome, by) = event(&mut events, resolved).await;
    assert_eq!((outcome, by), (Outcome::Accepted, Some(stage.phone.id())));
    let turn = ended(&mut thread, &started.turn).await;
    assert_eq!(turn.status, TurnStatus::Completed);
    assert!(stage.world.work().join("ran.txt").exists());
    nothing_open(&stage.host).await;
    stage.strike().await;
}

fn resolved(event: &Event) -> Option<(Outcome, Option<farhelm_phone::NodeId>)> {
    match event {
        Event::Resolved { outcome, by, .. } => Some((*outcome, *by)),
        _ => None,
    }
}

async fn a_declined_command_does_not_run_and_the_turn_goes_on(stage: Stage) {
    let (started, mut thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    stage.host.decide(&asked, Decision::Decline).await.expect("to be taken");
    let turn = ended(&mut thread, &started.turn).await;
    assert_eq!(turn.status, TurnStatus::Completed);
    assert!(said(&turn).contains("Done ESCALATE"), "the model was told: {turn:?}");
    assert!(!stage.world.work().join("ran.txt").exists());
    stage.strike().await;
}

async fn a_cancelled_command_ends_the_turn(stage: Stage) {
    let (started, mut thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    stage.host.decide(&asked, Decision::Cancel).await.expect("to be taken");
    let turn = ended(&mut thread, &started.turn).await;
    assert_eq!(turn.status, TurnStatus::Interrupted);
    assert!(!stage.world.work().join("ran.txt").exists());
    nothing_open(&stage.host).await;
    stage.strike().await;
}

async fn a_file_change_is_shown_with_its_diff_and_made_when_accepted(stage: Stage) {
    let (started, mut thread) = stage.start("PATCH file=../outside.txt").await;
    let asked = approval(&stage.host).await;
    let Act::Files { changes, .. } = &asked.content.act else { panic!("{asked:?}") };
    let outside = stage.world.scratch().join("outside.txt");
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].path.as_str(), changes[0].kind.as_str()), (outside.to_str().expect("UTF-8"), "add"));
    let shown = changes[0].diff.clone();
    stage.host.decide(&asked, Decision::Accept).await.expect("to be taken");
    let turn = ended(&mut thread, &started.turn).await;
    assert_eq!(turn.status, TurnStatus::Completed);
    assert_eq!(std::fs::read_to_string(outside).expect("the file"), shown, "what was shown is what was written");
    assert!(turn.diff.contains("outside.txt"), "{}", turn.diff);
    stage.strike().await;
}

async fn a_declined_file_change_leaves_no_file(stage: Stage) {
    let (started, mut thread) = stage.start("PATCH file=../outside.txt").await;
    let asked = approval(&stage.host).await;
    stage.host.decide(&asked, Decision::Decline).await.expect("to be taken");
    assert_eq!(ended(&mut thread, &started.turn).await.status, TurnStatus::Completed);
    assert!(!stage.world.scratch().join("outside.txt").exists());
    stage.strike().await;
}

async fn a_failing_model_fails_the_turn_and_not_the_thread(stage: Stage) {
    let (started, mut thread) = stage.start("FAIL code=500").await;
    let turn = ended(&mut thread, &started.turn).await;
    assert!(matches!(turn.status, TurnStatus::Failed(_)), "{turn:?}");
    let next = stage.host.send(&started.thread, "and now").await.expect("a turn");
    assert_eq!(ended(&mut thread, &next).await.status, TurnStatus::Completed);
    stage.strike().await;
}

async fn what_the_desk_decides_first_is_over_on_the_phone(stage: Stage) {
    let (started, mut thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    let mut events = stage.host.events();
    let mut desk = app_server::Client::initialized(&stage.app_server()).await;
    desk.request("thread/resume", json!({"threadId": started.thread})).await;
    let question = desk.question().await;
    desk.send(json!({"id": question["id"], "result": {"decision": "accept"}})).await;
    desk.method("serverRequest/resolved").await;
    assert_eq!(event(&mut events, resolved).await, (Outcome::Elsewhere, None));
    assert_eq!(ended(&mut thread, &started.turn).await.status, TurnStatus::Completed);
    let late = stage.host.decide(&asked, Decision::Decline).await;
    assert!(matches!(late, Err(DecideError::Over { .. })), "{late:?}");
    assert!(stage.world.work().join("ran.txt").exists(), "the desk's word held");
    stage.strike().await;
}

async fn the_first_of_two_phones_decides_and_both_learn_who(stage: Stage) {
    let (second, other) = stage.second_phone().await;
    let (mut first_hears, mut second_hears) = (stage.host.events(), other.events());
    let (started, mut thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let (asked, same) = (approval(&stage.host).await, approval(&other).await);
    assert_eq!(asked, same, "both are shown the same");
    other.decide(&same, Decision::Decline).await.expect("to be taken");
    let who = (Outcome::Declined, Some(second.id()));
    assert_eq!((event(&mut first_hears, resolved).await, event(&mut second_hears, resolved).await), (who, who));
    let late = stage.host.decide(&asked, Decision::Accept).await;
    assert!(matches!(late, Err(DecideError::Over { .. })), "{late:?}");
    assert_eq!(ended(&mut thread, &started.turn).await.status, TurnStatus::Completed);
    assert!(!stage.world.work().join("ran.txt").exists());
    second.shutdown().await;
    stage.strike().await;
}

async fn a_phone_that_comes_back_finds_the_open_approval(stage: Stage) {
    let (started, _) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let before = approval(&stage.host).await;
    stage.phone.shutdown().await;
    let phone = another_phone(stage.keys.clone()).await.expect("the same phone");
    let host = phone.connect(stage.world.host.node_id()).await.expect("a known host");
    let after = approval(&host).await;
    assert_eq!(after, before, "the same approval, not a new one");
    let mut thread = host.watch(&started.thread).await.expect("to follow it again");
    host.decide(&after, Decision::Accept).await.expect("to be taken");
    assert_eq!(ended(&mut thread, &started.turn).await.status, TurnStatus::Completed);
    assert!(stage.world.work().join("ran.txt").exists());
    phone.shutdown().await;
    stage.strike().await;
}

async fn history_is_read_whole_after_coming_back(stage: Stage) {
    let (started, mut thread) = stage.start("the first").await;
    ended(&mut thread, &started.turn).await;
    let second = stage.host.send(&started.thread, "the second").await.expect("a turn");
    ended(&mut thread, &second).await;
    stage.phone.shutdown().await;
    let phone = another_phone(stage.keys.clone()).await.expect("the same phone");
    let host = phone.connect(stage.world.host.node_id()).await.expect("a known host");
    let read = host.thread(&started.thread).await.expect("the history");
    let answers: Vec<_> = read.turns.iter().map(said).collect();
    assert_eq!(answers.len(), 2, "{read:?}");
    assert!(answers[0].contains("the first") && answers[1].contains("the second"), "{answers:?}");
    phone.shutdown().await;
    stage.strike().await;
}

async fn a_message_to_a_running_turn_steers_it(stage: Stage) {
    let (started, mut thread) = stage.start("SLOW secs=120").await;
    let begun = |thread: &farhelm_phone::codex::thread::Thread| thread.running().is_some();
    tokio::time::timeout(stage::PATIENCE, thread.wait_for(begun)).await.expect("in time").expect("a running turn");
    let steered = stage.host.send(&started.thread, "rather be quick").await.expect("to be taken");
    assert_eq!(steered, started.turn, "the same turn goes on");
    let turn = ended(&mut thread, &started.turn).await;
    assert!(said(&turn).contains("rather be quick"), "{turn:?}");
    stage.strike().await;
}

async fn the_phone_has_what_the_host_has(stage: Stage) {
    let (started, mut thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    stage.host.decide(&asked, Decision::Accept).await.expect("to be taken");
    ended(&mut thread, &started.turn).await;
    let second = stage.host.send(&started.thread, "the second").await.expect("a turn");
    ended(&mut thread, &second).await;
    // Once it was shown, and at the end of each turn.
    let mut truth = stage.host.truth();
    let all = tokio::time::timeout(stage::PATIENCE, truth.wait_for(|truth| truth.compared >= 3)).await;
    let all = *all.expect("in time").expect("a living host");
    assert_eq!((all.differed, all.repaired, all.unrepaired), (0, 0, 0), "{all:?}");
    stage.strike().await;
}

async fn a_removed_phone_can_do_nothing_more(stage: Stage) {
    let (_, _thread) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    stage.world.host.revoke(stage.phone.id()).await.expect("to be stored").expect("it was paired");
    stage::state(&stage.host, |state| matches!(state, farhelm_phone::Connection::Removed { .. })).await;
    assert!(stage.host.decide(&asked, Decision::Accept).await.is_err());
    assert!(!stage.world.work().join("ran.txt").exists());
    stage.strike().await;
}

/// Only where there is a process to kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_app_server_is_started_again_and_its_approvals_are_lost() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    let (started, _) = stage.start("ESCALATE cmd=touch ran.txt").await;
    let asked = approval(&stage.host).await;
    let mut events = stage.host.events();
    kill_owner_of(&stage.app_server());
    assert_eq!(event(&mut events, resolved).await.0, Outcome::Lost);
    let late = stage.host.decide(&asked, Decision::Accept).await;
    assert!(matches!(late, Err(DecideError::Over { .. })), "{late:?}");
    let mut about = stage.host.about();
    let ready = about.wait_for(|a| a.as_ref().is_some_and(|a| matches!(a.codex, CodexState::Ready(_))));
    tokio::time::timeout(stage::PATIENCE, ready).await.expect("Codex again in time").expect("a living host");
    assert!(!stage.world.work().join("ran.txt").exists());
    let mut thread = stage.host.watch(&started.thread).await.expect("to follow it again");
    let turn = stage.host.send(&started.thread, "are you back").await.expect("a turn");
    assert_eq!(ended(&mut thread, &turn).await.status, TurnStatus::Completed);
    stage.strike().await;
}

/// Kills, as hard as can be, whoever has this socket in its command line.
fn kill_owner_of(socket: &std::path::Path) {
    let name = socket.to_str().expect("UTF-8");
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let owns = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(name)
    };
    let pids: Vec<u32> = processes.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(owns).collect();
    assert!(!pids.is_empty(), "nobody serves {name}");
    for pid in pids {
        let killed = std::process::Command::new("sh").args(["-c", "kill -9 $0", &pid.to_string()]).status();
        assert!(killed.expect("sh").success());
    }
}

/// Only the desk has a thread in plan mode, and only there Codex asks.
#[tokio::test(flavor = "multi_thread")]
async fn what_codex_asks_in_plan_mode_is_answered_from_the_phone() {
    let Some(program) = codex::codex() else { return };
    let stage = Stage::set(Behind::Codex(Some(program))).await;
    let (started, mut thread) = stage.start("hello").await;
    ended(&mut thread, &started.turn).await;
    // Plan mode is for clients that declare this.
    let mut desk = app_server::Client::connect(&stage.app_server()).await;
    let capabilities = json!({"experimentalApi": true});
    let info = json!({"clientInfo": {"name": "desk", "title": "desk", "version": "0"}, "capabilities": capabilities});
    desk.request("initialize", info).await;
    desk.send(json!({"method": "initialized"})).await;
    desk.request("thread/resume", json!({"threadId": started.thread})).await;
    let plan = json!({"mode": "plan", "settings": {"model": "gpt-5.5"}});
    let input = json!([{"type": "text", "text": "ASK"}]);
    let turn = json!({"threadId": started.thread, "input": input, "collaborationMode": plan});
    let answer = desk.request("turn/start", turn).await;
    let turn = answer["result"]["turn"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();

    let mut questions = stage.host.questions();
    let open = questions.wait_for(|open| !open.is_empty());
    let shown = tokio::time::timeout(stage::PATIENCE, open).await.expect("in time").expect("a host")[0].clone();
    assert_eq!((shown.asks[0].question.as_str(), shown.asks[0].options.len()), ("Which way?", 2));
    let mut events = stage.host.events();
    let left = [(shown.asks[0].id.clone(), vec!["Left".to_owned()])].into();
    stage.host.answer(&shown, left).await.expect("to be taken");
    assert_eq!(event(&mut events, resolved).await, (Outcome::Accepted, Some(stage.phone.id())));
    let turn = ended(&mut thread, &turn).await;
    assert!(said(&turn).contains("Left"), "the model was told: {turn:?}");
    stage.strike().await;
}
