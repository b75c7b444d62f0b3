//! What waits in a queue, what is reviewed, and what a turn left running.

use std::process::Command;
use std::time::Duration;

use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::{ItemKind, TurnStatus};
use farhelm_phone::{ReviewTarget, StartOptions};
use serde_json::json;

use super::{real, real_turns, set, slow, told};
use crate::stage::{PATIENCE, approval, ended};

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_in_the_order_that_was_put_and_start_when_told() {
    let Some((stage, mut desk)) = set().await else { return };
    let (started, mut watch) = slow(&stage).await;
    let (host, thread) = (&stage.host, &started.thread);
    let mut ids = Vec::new();
    for text in ["first", "second", "third"] {
        ids.push(host.queue_add(thread, text).await.expect("to be queued").id);
    }
    assert_eq!(host.queue_delete(thread, &ids[0]).await, Ok(true));
    assert_eq!(host.queue_delete(thread, &ids[0]).await, Ok(false), "it is gone");
    host.queue_reorder(thread, &[ids[2].clone(), ids[1].clone()]).await.expect("another order");
    let waiting: Vec<_> = host.queue(thread).await.expect("a queue").into_iter().map(|queued| queued.text).collect();
    assert_eq!(waiting, ["third", "second"]);
    let queue = desk.request("thread/queue/list", json!({"threadId": thread})).await["result"]["data"].clone();
    assert_eq!((&queue[0]["id"], &queue[1]["id"]), (&json!(ids[2]), &json!(ids[1])));

    host.interrupt(thread).await.expect("a turn to interrupt");
    ended(&mut watch, &started.turn).await;
    let turn = host.queue_start(thread, Some(&ids[1])).await.expect("a turn");
    assert_eq!(ended(&mut watch, &turn).await.status, TurnStatus::Completed);
    // The end of a turn starts the next that waits.
    let empty = watch.wait_for(|thread| thread.turns.len() == 3 && thread.running().is_none());
    let thread = tokio::time::timeout(PATIENCE, empty).await.expect("in time").expect("a thread");
    let prompt = |kind: &ItemKind| match kind {
        ItemKind::UserMessage { text, .. } => Some(text.clone()),
        _ => None,
    };
    let asked: Vec<_> = thread.turns[1..].iter().filter_map(|turn| prompt(&turn.items.first()?.kind)).collect();
    assert_eq!(asked, ["second", "third"]);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_review_is_a_turn_of_the_thread_and_compaction_too() {
    let Some((stage, mut desk)) = set().await else { return };
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-C"];
        let status = Command::new("git").args(identity).arg(stage.world.work()).args(arguments).output();
        assert!(status.expect("git").status.success(), "{arguments:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "the first"]);
    let (thread, _) = told(&stage, &["hello"]).await;
    let mut watch = stage.host.watch(&thread).await.expect("to follow it");
    for target in [
        ReviewTarget::Uncommitted,
        ReviewTarget::BaseBranch { branch: "main".into() },
        ReviewTarget::Commit { sha: "HEAD".into() },
        ReviewTarget::Custom { instructions: "Look at nothing.".into() },
    ] {
        let turn = stage.host.review(&thread, &target).await.expect("a review");
        let turn = ended(&mut watch, &turn).await;
        assert_eq!(turn.status, TurnStatus::Completed, "{target:?}");
        assert!(watch.borrow().running().is_none(), "{target:?}: it is over");
        let real = real_turns(&mut desk, &thread).await;
        assert!(real.contains(&(turn.id.clone(), "completed".into())), "{target:?}: {real:?}");
    }
    stage.host.compact(&thread).await.expect("to be summed up");
    let compacted = watch.wait_for(|thread| {
        let mut items = thread.turns.iter().flat_map(|turn| &turn.items);
        items.any(|item| matches!(item.kind, ItemKind::Compaction))
    });
    tokio::time::timeout(PATIENCE, compacted).await.expect("in time").expect("a compaction");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_outlives_its_turn_is_listed_and_ended() {
    let Some((stage, mut desk)) = set().await else { return };
    let runs = |secs: &str| Command::new("pgrep").args(["-f", &format!("sleep {secs}")]).output();
    let runs = |secs: &str| runs(secs).expect("pgrep").status.success();
    for (secs, all) in [("86111", false), ("86112", true)] {
        let (started, mut watch) = stage.start(&format!("ESCALATE cmd=sleep {secs}")).await;
        stage.host.decide(&approval(&stage.host).await, Decision::Accept).await.expect("to be accepted");
        let listed = async {
            loop {
                match &*stage.host.background_terminals(&started.thread).await.expect("a list") {
                    [] => tokio::time::sleep(Duration::from_millis(50)).await,
                    [one] => return one.clone(),
                    more => panic!("{more:?}"),
                }
            }
        };
        let terminal = tokio::time::timeout(PATIENCE, listed).await.expect("in time");
        stage.host.interrupt(&started.thread).await.expect("a turn to interrupt");
        ended(&mut watch, &started.turn).await;
        assert!(terminal.command.contains(secs) && runs(secs), "it outlives its turn: {terminal:?}");
        match all {
            true => stage.host.clean(&started.thread).await.expect("to be ended"),
            false => {
                assert_eq!(stage.host.terminate(&started.thread, &terminal.process).await, Ok(true));
            }
        }
        let gone = async {
            while runs(secs) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("it ends");
        let list = desk.request("thread/backgroundTerminals/list", json!({"threadId": started.thread})).await;
        assert_eq!(list["result"]["data"], json!([]));
    }
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_starts_in_another_folder_that_codex_trusts() {
    let Some((stage, mut desk)) = set().await else { return };
    let other = stage.world.scratch().join("other");
    std::fs::create_dir_all(other.join(".git")).expect("a repository");
    std::fs::write(other.join(".git/HEAD"), "ref: refs/heads/main\n").expect("a repository");
    let other = other.canonicalize().expect("a folder").display().to_string();
    // Opening a folder at the desk marks it.
    desk.request("thread/start", json!({"cwd": other, "sandbox": "workspace-write"})).await;
    // The host looks at what Codex trusts whenever a thread starts.
    stage.start("hello").await;
    let mut about = stage.host.about();
    let offered = about.wait_for(|about| about.as_ref().is_some_and(|about| about.start_folders.contains(&other)));
    drop(tokio::time::timeout(PATIENCE, offered).await.expect("in time").expect("a host"));
    let options = StartOptions { folder: Some(other.clone()), ..StartOptions::from("hello") };
    let started = stage.host.start(options).await.expect("a thread");
    // Before the end of its first turn a thread can't be read for sure.
    let mut watch = stage.host.watch(&started.thread).await.expect("to follow it");
    ended(&mut watch, &started.turn).await;
    assert_eq!(real(&mut desk, &started.thread).await["cwd"], other.as_str());
    stage.strike().await;
}
