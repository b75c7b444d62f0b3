//! What a phone finds, sets and puts away.

use farhelm_core::codex::thread::Status;
use farhelm_phone::{Paging, ThreadQuery};
use serde_json::json;

use super::{real, set, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_search_looks_into_the_messages() {
    let Some((stage, _desk)) = set().await else { return };
    let (thread, _) = told(&stage, &["good morning", "where is the quicksilver"]).await;
    let page = stage.host.search("quicksilver", None).await.expect("hits");
    let hits: Vec<_> = page.rows.iter().map(|hit| hit.thread.id.as_str()).collect();
    assert_eq!(hits, [thread.as_str()]);
    assert!(page.rows[0].snippet.contains("quicksilver"), "{page:?}");
    assert!(stage.host.search("never said", None).await.expect("no hits").rows.is_empty());
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_named_put_away_taken_back_and_set_though_it_is_not_loaded() {
    let Some((stage, mut desk)) = set().await else { return };
    let (thread, _) = told(&stage, &["hello"]).await;
    let host = &stage.host;
    host.rename(&thread, "A new name").await.expect("to be renamed");
    assert_eq!(real(&mut desk, &thread).await["name"], "A new name");

    let listed = async |archived: bool| {
        let page = host.threads(ThreadQuery { archived, ..ThreadQuery::newest(10) }).await.expect("threads");
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    host.archive(&thread).await.expect("to be put away");
    assert_eq!((listed(false).await, listed(true).await), (vec![], vec![thread.clone()]));
    host.unarchive(&thread).await.expect("to be taken back");
    assert_eq!((listed(false).await, listed(true).await), (vec![thread.clone()], vec![]));

    assert_eq!(host.thread(&thread).await.expect("a thread").status, Status::NotLoaded);
    assert!(host.background_terminals(&thread).await.expect("none").is_empty());
    assert_eq!(host.terminate(&thread, "4711").await, Ok(false));
    assert_eq!(host.clean(&thread).await, Ok(()));
    assert_eq!(host.thread(&thread).await.expect("a thread").status, Status::NotLoaded, "looking loads nothing");
    let settings = host.set_effort(&thread, "high").await.expect("an effort");
    assert_eq!(settings.effort.as_deref(), Some("high"));
    let settings = host.set_model(&thread, "gpt-6.1-sol").await.expect("a model");
    assert_eq!(settings.model.as_deref(), Some("gpt-6.1-sol"));
    let kept = real(&mut desk, &thread).await;
    assert_eq!((&kept["model"], &kept["reasoningEffort"]), (&json!("gpt-6.1-sol"), &json!("high")));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_has_the_history_and_goes_its_own_way() {
    let Some((stage, mut desk)) = set().await else { return };
    let (thread, turns) = told(&stage, &["one", "two"]).await;
    let fork = stage.host.fork(&thread).await.expect("a fork");
    assert_ne!(fork, thread);
    assert_eq!(real(&mut desk, &fork).await["forkedFromId"], thread.as_str());
    let history = stage.host.history(&fork, Paging::default()).await.expect("a history");
    assert_eq!(history.rows.len(), turns.len());
    let turn = stage.host.send(&fork, "three").await.expect("a turn");
    let mut watch = stage.host.watch(&fork).await.expect("to follow it");
    super::ended(&mut watch, &turn).await;
    let history = stage.host.history(&thread, Paging::default()).await.expect("a history");
    assert_eq!(history.rows.len(), turns.len(), "the first thread has none of it");
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goal_of_the_desk_is_read_and_usage_says_that_there_is_no_account() {
    let Some((stage, mut desk)) = set().await else { return };
    let (thread, _) = told(&stage, &["hello"]).await;
    assert_eq!(stage.host.goal(&thread).await, Ok(None));
    let goal = json!({"threadId": thread, "objective": "be done", "status": "paused", "tokenBudget": 1000});
    desk.request("thread/goal/set", goal).await;
    let goal = stage.host.goal(&thread).await.expect("an answer").expect("a goal");
    assert_eq!((&*goal.objective, &*goal.status, goal.token_budget), ("be done", "paused", Some(1000)));

    let usage = stage.host.usage().await.expect("an answer");
    for said in [usage.limits.err(), usage.account.err()] {
        assert!(said.as_deref().is_some_and(|said| said.contains("authentication required")), "{said:?}");
    }
    stage.strike().await;
}
