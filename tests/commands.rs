//! What a phone may ask for, each thing once, against the real Codex: through the whole corridor, and held against what
//! a desk sees on the same server.

#[path = "support/app_server.rs"]
#[expect(dead_code, reason = "shared with suites that need more of it")]
mod app_server;
#[path = "support/codex.rs"]
mod codex;
#[path = "commands/every.rs"]
mod every;
#[path = "commands/kept.rs"]
mod kept;
#[path = "support/stage.rs"]
#[expect(dead_code, reason = "shared with suites that need more of it")]
mod stage;
#[path = "commands/work.rs"]
mod work;

use app_server::Client;
use farhelm::demo::world::Behind;
use farhelm_core::codex::thread::{ItemKind, Turn, TurnStatus};
use farhelm_phone::{Error, Message, Order, Paging, StartOptions, Started, ThreadQuery, ThreadWatch};
use serde_json::{Value, json};
use stage::{Stage, ended};

/// The stage with a desk beside it; none where the real Codex isn't installed.
async fn set() -> Option<(Stage, Client)> {
    let stage = Stage::set(Behind::Codex(Some(codex::codex()?))).await;
    let mut desk = Client::connect(&stage.app_server()).await;
    let client = json!({"name": "desk", "title": "desk", "version": "0"});
    // Without this capability Codex shows no queue and makes no project.
    desk.request("initialize", json!({"clientInfo": client, "capabilities": {"experimentalApi": true}})).await;
    desk.send(json!({"method": "initialized"})).await;
    Some((stage, desk))
}

/// What the server itself says of a thread.
async fn real(desk: &mut Client, thread: &str) -> Value {
    desk.request("thread/read", json!({"threadId": thread})).await["result"]["thread"].clone()
}

/// The ids of a thread's turns and how they stand, oldest first, by the server itself.
async fn real_turns(desk: &mut Client, thread: &str) -> Vec<(String, String)> {
    let params = json!({"threadId": thread, "sortDirection": "asc", "limit": 100});
    let answer = desk.request("thread/turns/list", params).await;
    let turns = answer["result"]["data"].as_array().expect("turns").iter();
    let text = |turn: &Value, name: &str| turn[name].as_str().expect("text").to_owned();
    turns.map(|turn| (text(turn, "id"), text(turn, "status"))).collect()
}

/// A thread whose first turn takes long.
async fn slow(stage: &Stage) -> (Started, ThreadWatch) {
    let (started, mut thread) = stage.start("SLOW secs=120").await;
    let runs = thread.wait_for(|thread| thread.running().is_some());
    tokio::time::timeout(stage::PATIENCE, runs).await.expect("in time").expect("a running turn");
    (started, thread)
}

/// A thread with one finished turn for each message.
async fn told(stage: &Stage, messages: &[&str]) -> (String, Vec<String>) {
    let (first, rest) = messages.split_first().expect("a message");
    let (started, mut thread) = stage.start(first).await;
    ended(&mut thread, &started.turn).await;
    let mut turns = vec![started.turn];
    for message in rest {
        let turn = stage.host.send(&started.thread, *message).await.expect("a turn");
        ended(&mut thread, &turn).await;
        turns.push(turn);
    }
    (started.thread, turns)
}

fn said(turn: &Turn) -> String {
    let texts = turn.items.iter().filter_map(|item| match &item.kind {
        ItemKind::AgentMessage { text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_found_by_their_folder_and_title() {
    let Some((stage, _desk)) = set().await else { return };
    let (thread, _) = told(&stage, &["the first"]).await;
    let work = stage.world.work().display().to_string();
    let found = async |query: ThreadQuery| {
        let page = stage.host.threads(query).await.expect("threads");
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let newest = ThreadQuery::newest(10);
    assert_eq!(found(ThreadQuery { folder: Some(work), ..newest.clone() }).await, std::slice::from_ref(&thread));
    assert!(found(ThreadQuery { folder: Some("/nowhere".into()), ..newest.clone() }).await.is_empty());
    assert_eq!(found(ThreadQuery { search: Some("the first".into()), ..newest.clone() }).await, [thread]);
    assert!(found(ThreadQuery { search: Some("never said".into()), ..newest.clone() }).await.is_empty());
    assert!(found(ThreadQuery { archived: true, ..newest }).await.is_empty());
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_walked_from_either_end() {
    let Some((stage, mut desk)) = set().await else { return };
    let (thread, turns) = told(&stage, &["one", "two", "three"]).await;
    let real: Vec<_> = real_turns(&mut desk, &thread).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(turns, real);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let (mut walked, mut cursor) = (Vec::new(), None);
        loop {
            let paging = Paging { order, limit: Some(1), cursor };
            let page = stage.host.history(&thread, paging).await.expect("a page");
            assert!(page.rows.len() <= 1 && walked.len() <= turns.len(), "{page:?}");
            walked.extend(page.rows.into_iter().map(|turn| turn.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if order == Order::NewestFirst {
            walked.reverse();
        }
        assert_eq!(walked, turns, "{order:?}");
    }
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_items_of_one_turn_are_its_own() {
    let Some((stage, _desk)) = set().await else { return };
    let (thread, turns) = told(&stage, &["one", "two"]).await;
    let paging = Paging { order: Order::OldestFirst, ..Paging::default() };
    let page = stage.host.items(&thread, Some(&turns[1]), paging).await.expect("items");
    assert!(page.rows.iter().all(|placed| placed.turn == turns[1]), "{page:?}");
    let text = |kind: &ItemKind| match kind {
        ItemKind::UserMessage { text, .. } | ItemKind::AgentMessage { text } => Some(text.clone()),
        _ => None,
    };
    let texts: Vec<_> = page.rows.iter().filter_map(|placed| text(&placed.item.kind)).collect();
    assert_eq!(texts, ["two", "Scripted answer to: two"]);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steered_turn_takes_the_message_and_another_turn_does_not() {
    let Some((stage, mut desk)) = set().await else { return };
    let (started, mut thread) = slow(&stage).await;
    let other = stage.host.steer(&started.thread, "another turn", "not here").await;
    assert_eq!(other, Err(Error::NoSuchTurn));
    stage.host.steer(&started.thread, &started.turn, "rather be quick").await.expect("to be taken");
    let turn = ended(&mut thread, &started.turn).await;
    assert!(said(&turn).contains("rather be quick"), "{turn:?}");
    let turns = real_turns(&mut desk, &started.thread).await;
    assert_eq!(turns, [(started.turn.clone(), "completed".to_owned())], "no second turn");
    assert_eq!(stage.host.steer(&started.thread, &started.turn, "too late").await, Err(Error::NoSuchTurn));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_turn_ends_and_there_is_none_to_interrupt_after_it() {
    let Some((stage, mut desk)) = set().await else { return };
    let (started, mut thread) = slow(&stage).await;
    assert_eq!(stage.host.interrupt(&started.thread).await, Ok(started.turn.clone()));
    assert_eq!(ended(&mut thread, &started.turn).await.status, TurnStatus::Interrupted);
    let turns = real_turns(&mut desk, &started.thread).await;
    assert_eq!(turns, [(started.turn.clone(), "interrupted".to_owned())]);
    assert_eq!(stage.host.interrupt(&started.thread).await, Err(Error::NoSuchTurn));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_models_are_the_servers_and_one_can_be_chosen_with_a_message() {
    let Some((stage, mut desk)) = set().await else { return };
    let models = stage.host.models().await.expect("models");
    let real_models = desk.request("model/list", json!({"limit": 100})).await["result"]["data"].clone();
    let real_ids: Vec<_> = real_models.as_array().expect("models").iter().filter_map(|m| m["id"].as_str()).collect();
    assert_eq!(models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>(), real_ids);
    assert!(models.iter().all(|model| !model.efforts.is_empty() && model.default_effort.is_some()), "{models:?}");

    let (thread, _) = told(&stage, &["with what there is"]).await;
    let before = real(&mut desk, &thread).await;
    let other = models.iter().find(|model| before["model"] != model.id.as_str()).expect("more than one model");
    let effort = other.efforts.last().expect("an effort").name.clone();
    let message =
        Message { model: Some(other.id.clone()), effort: Some(effort.clone()), ..Message::from("with another") };
    let mut watch = stage.host.watch(&thread).await.expect("to follow it");
    let turn = stage.host.send(&thread, message).await.expect("a turn");
    assert_eq!(ended(&mut watch, &turn).await.status, TurnStatus::Completed);
    let after = real(&mut desk, &thread).await;
    assert_eq!((after["model"].as_str(), after["reasoningEffort"].as_str()), (Some(&*other.id), Some(&*effort)));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_starts_in_a_folder_that_is_not_offered() {
    let Some((stage, mut desk)) = set().await else { return };
    let options = StartOptions { folder: Some("/etc".into()), ..StartOptions::from("hello") };
    let refused = stage.host.start(options).await;
    assert!(matches!(&refused, Err(Error::NotStartable { folder, .. }) if folder == "/etc"), "{refused:?}");
    let loaded = desk.request("thread/loaded/list", json!({})).await;
    assert_eq!(loaded["result"]["data"], json!([]), "Codex was asked for nothing");
    stage.strike().await;
}
