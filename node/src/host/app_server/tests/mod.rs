//! What an app-server can do wrong, and what becomes of it. The clock is virtual: waits take no time.

pub(in crate::host) mod fake;

use std::time::Duration;

use farhelm_core::wire::limits::APP_SERVER_MESSAGE;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{BACKLOG, EVENTS, Event, ReplyError, RequestError, RpcError, State};
use fake::Fake;

#[tokio::test(start_paused = true)]
async fn the_handshake_names_farhelm_and_asks_for_the_experimental_api() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    assert_eq!(*desk.state.borrow(), State::Connecting { why: None });
    let mut peer = fake.upgraded().await;
    assert!(!peer.upgrade.headers().contains_key("origin"), "Codex answers any Origin with 403");
    let initialize = peer.heard().await;
    assert_eq!(initialize["method"], "initialize");
    assert_eq!(initialize["params"]["clientInfo"]["name"], "farhelm");
    assert_eq!(initialize["params"]["capabilities"]["experimentalApi"], true);
    let result = json!({"userAgent": "farhelm/0.169.0 (Debian; x86_64)", "codexHome": "/home/ann/.codex"});
    peer.says(json!({"id": initialize["id"], "result": result})).await;
    assert_eq!(peer.heard().await, json!({"method": "initialized"}));
    let up = desk.up().await;
    let State::Ready { epoch, process, version, codex_home, .. } = desk.state.borrow().clone() else {
        panic!("not ready")
    };
    assert_eq!(process, fake.process());
    assert_eq!((epoch, version.to_string(), version.is_tested()), (up, "0.169.0".into(), true));
    assert_eq!(codex_home.to_str(), Some("/home/ann/.codex"));
}

#[tokio::test(start_paused = true)]
async fn what_is_told_during_the_handshake_comes_after_up() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    let mut peer = fake.upgraded().await;
    let id = peer.heard().await["id"].clone();
    peer.says(json!({"method": "configWarning", "params": {"summary": "x"}})).await;
    peer.says(json!({"id": id, "result": {}})).await;
    desk.up().await;
    assert!(matches!(desk.events.recv().await, Some(Event::Notification { method, .. }) if method == "configWarning"));
    let State::Ready { version, .. } = desk.state.borrow().clone() else { panic!("not ready") };
    assert!(version.warning().is_some(), "a server that doesn't say its version is untested");
}

#[tokio::test(start_paused = true)]
async fn messages_that_can_not_be_read_end_the_connection_and_another_is_made() {
    let faults = [
        (Message::text("{\"method\":"), "invalid JSON"),
        (Message::text("[1,2]"), "no message"),
        (Message::binary(b"{}".to_vec()), "a binary message"),
        (Message::Close(None), "closed the connection"),
    ];
    let fake = Fake::listen();
    let (mut desk, mut peer, mut epoch) = fake.connected().await;
    for (message, named) in faults {
        // The connection may be cut before all of it is sent.
        let _ = peer.sends(message).await;
        let why = desk.down().await;
        assert!(why.contains(named), "{why:?} should say {named:?}");
        peer = fake.initialized().await;
        let next = desk.up().await;
        assert_ne!(next, epoch, "every connection has its own epoch");
        epoch = next;
    }
    let (answer, ()) =
        tokio::join!(desk.app_server.request("model/list", json!({})), peer.answers("model/list", json!(1)));
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_large_fails_its_request_and_nothing_else() {
    let fake = Fake::listen();
    let (mut desk, mut peer, epoch) = fake.connected().await;
    let large = json!({"image": "x".repeat(APP_SERVER_MESSAGE)});
    let (outcome, ()) =
        tokio::join!(desk.app_server.request("thread/resume", json!({})), peer.answers("thread/resume", large.clone()));
    assert!(matches!(outcome, Err(RequestError::Codex(error)) if error.code == RpcError::TOO_LARGE));
    // What it tells of that size is read over.
    peer.says(json!({"method": "item/completed", "params": large})).await;
    peer.says(json!({"method": "configWarning", "params": {}})).await;
    let next = desk.events.recv().await;
    let Some(Event::Notification { epoch: of, method, .. }) = next else { panic!("{next:?}") };
    assert_eq!((of, method.as_str()), (epoch, "configWarning"));
}

#[tokio::test(start_paused = true)]
async fn an_app_server_that_dies_mid_request_leaves_the_outcome_unknown() {
    let fake = Fake::listen();
    let (mut desk, mut peer, _) = fake.connected().await;
    let dying = async {
        peer.heard().await;
        drop(peer);
    };
    let (outcome, ()) = tokio::join!(desk.app_server.request("turn/start", json!({})), dying);
    assert_eq!(outcome, Err(RequestError::Lost));
    assert!(RequestError::Lost.outcome_is_unknown());
    assert_eq!(desk.down().await, "the app-server closed the connection");
    assert!(matches!(&*desk.state.borrow(), State::Connecting { why: Some(_) }));
    assert_eq!(desk.app_server.request("turn/start", json!({})).await, Err(RequestError::Away));
}

#[tokio::test(start_paused = true)]
async fn an_app_server_that_never_answers_initialize_is_away() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    let _silent = fake.upgraded().await;
    assert_eq!(desk.away().await, "the app-server doesn't answer");
    // And is tried again.
    fake.initialized().await;
    desk.up().await;
}

#[tokio::test(start_paused = true)]
async fn an_app_server_that_refuses_initialize_is_away() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    fake.upgraded().await.refuses("initialize", -32600, "not today").await;
    assert_eq!(desk.away().await, "the app-server refused to talk: not today (-32600)");
}

#[tokio::test(start_paused = true)]
async fn an_app_server_that_chatters_instead_of_answering_initialize_is_away() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    let mut peer = fake.upgraded().await;
    while peer.sends(Message::text(r#"{"method":"chatter"}"#)).await.is_ok() {}
    assert!(desk.away().await.contains("no answer to `initialize`"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_websocket_is_away() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    let mut raw = fake.raw().await;
    tokio::io::AsyncWriteExt::write_all(&mut raw, b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
    assert!(desk.away().await.starts_with("what listens there is no Codex app-server"));
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_is_away() {
    let fake = Fake::listen();
    let mut desk = fake.connect();
    drop(fake);
    let why = desk.away().await;
    assert!(why.starts_with("nobody listens on"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_connection() {
    let fake = Fake::listen();
    let (mut desk, peer, _) = fake.connected().await;
    // It isn't polled, so it doesn't answer pings either.
    assert_eq!(desk.down().await, "the app-server has been silent for 60 s");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn pings_keep_a_quiet_connection() {
    let fake = Fake::listen();
    let (mut desk, mut peer, _) = fake.connected().await;
    assert!(timeout(Duration::from_secs(600), peer.hears()).await.is_err(), "it had nothing to hear");
    assert!(desk.events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_app_server_that_does_not_read_is_stuck() {
    let fake = Fake::listen();
    let (mut desk, _peer, _) = fake.connected().await;
    let large = json!({"text": "x".repeat(APP_SERVER_MESSAGE / 2)});
    assert_eq!(desk.app_server.request("turn/start", large).await, Err(RequestError::Lost));
    assert_eq!(desk.down().await, "the app-server doesn't read what it is sent");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_nobody_elses() {
    let fake = Fake::listen();
    let (mut desk, mut peer, _) = fake.connected().await;
    let patience = Duration::from_secs(1);
    let (outcome, late) = tokio::join!(desk.app_server.request_within(patience, "a", json!({})), peer.heard());
    assert_eq!(outcome, Err(RequestError::Timeout));
    peer.says(json!({"id": late["id"], "result": "late"})).await;
    let (outcome, ()) = tokio::join!(desk.app_server.request("b", json!({})), peer.answers("b", json!("timely")));
    assert_eq!(outcome.unwrap(), "timely");
    assert!(desk.events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_requests_in_any_order() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let backwards = async {
        let (first, second) = (peer.heard().await, peer.heard().await);
        peer.says(json!({"id": second["id"], "result": second["method"]})).await;
        peer.says(json!({"id": first["id"], "result": first["method"]})).await;
    };
    let requests =
        async { tokio::join!(desk.app_server.request("a", Value::Null), desk.app_server.request("b", Value::Null)) };
    let ((a, b), ()) = tokio::join!(requests, backwards);
    assert_eq!((a.unwrap(), b.unwrap()), (json!("a"), json!("b")));
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_app_server_is_asked_again_for_reads_only() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let overloaded = async {
        for _ in 0..2 {
            peer.refuses("thread/list", -32001, "Server overloaded; retry later.").await;
        }
        peer.answers("thread/list", json!([])).await;
    };
    let (outcome, ()) = tokio::join!(desk.app_server.request("thread/list", json!({})), overloaded);
    assert_eq!(outcome.unwrap(), json!([]));
    let refused = peer.refuses("turn/start", -32001, "Server overloaded; retry later.");
    let (outcome, ()) = tokio::join!(desk.app_server.request("turn/start", json!({})), refused);
    assert!(matches!(outcome, Err(RequestError::Codex(RpcError { code: -32001, .. }))));
}

#[tokio::test(start_paused = true)]
async fn an_app_server_that_stays_overloaded_is_not_asked_for_ever() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let overloaded = async {
        loop {
            peer.refuses("thread/list", -32001, "Server overloaded").await
        }
    };
    let outcome = tokio::select! {
        outcome = desk.app_server.request("thread/list", json!({})) => outcome,
        () = overloaded => unreachable!(),
    };
    assert!(matches!(outcome, Err(RequestError::Codex(RpcError { code: -32001, .. }))));
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_slots_are_told_to_come_back() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let patience = Duration::from_secs(1);
    let ask = |patience| {
        let app_server = desk.app_server.clone();
        tokio::spawn(async move { app_server.request_within(patience, "never/answered", Value::Null).await })
    };
    let waiting: Vec<_> = (0..128).map(|_| ask(Duration::from_secs(10))).collect();
    for _ in 0..128 {
        peer.heard().await;
    }
    assert_eq!(ask(patience).await.unwrap(), Err(RequestError::Busy));
    assert!(timeout(Duration::ZERO, peer.hears()).await.is_err(), "nothing was sent");
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Err(RequestError::Timeout));
    }
    let (outcome, ()) = tokio::join!(desk.app_server.request("a", Value::Null), peer.answers("a", Value::Null));
    assert_eq!(outcome, Ok(Value::Null), "the slots are free again");
}

#[tokio::test(start_paused = true)]
async fn what_codex_would_not_take_is_not_sent() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let large = json!("x".repeat(APP_SERVER_MESSAGE));
    let outcome = desk.app_server.request("turn/start", large.clone()).await;
    assert!(matches!(outcome, Err(RequestError::TooLarge(bytes)) if bytes > APP_SERVER_MESSAGE));
    assert!(matches!(desk.app_server.reply(fake.process(), 0, Ok(large)).await, Err(ReplyError::TooLarge(_))));
    assert!(timeout(Duration::ZERO, peer.hears()).await.is_err(), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_over_any_connection_to_the_process_that_asked() {
    let fake = Fake::listen();
    let (mut desk, mut peer, epoch) = fake.connected().await;
    peer.says(json!({"id": 0, "method": "item/commandExecution/requestApproval", "params": {"itemId": "i"}})).await;
    let asked = desk.events.recv().await.unwrap();
    let method = "item/commandExecution/requestApproval".to_owned();
    assert_eq!(asked, Event::Request { epoch, id: 0, method, params: json!({"itemId": "i"}) });
    let (process, decline) = (fake.process(), || Ok(json!({"decision": "decline"})));
    desk.app_server.reply(process, 0, decline()).await.unwrap();
    assert_eq!(peer.heard().await, json!({"id": 0, "result": {"decision": "decline"}}));
    drop(peer);
    desk.down().await;
    assert_eq!(desk.app_server.reply(process, 0, decline()).await, Err(ReplyError::Stale), "while there is none");
    let mut peer = fake.initialized().await;
    desk.up().await;
    let error = RpcError { code: -1, message: "no".into(), data: None };
    desk.app_server.reply(process, 1, Err(error)).await.unwrap();
    assert_eq!(peer.heard().await, json!({"id": 1, "error": {"code": -1, "message": "no"}}));
    fake.restarts();
    drop(peer);
    desk.down().await;
    let _peer = fake.initialized().await;
    desk.up().await;
    assert_eq!(desk.app_server.reply(process, 1, decline()).await, Err(ReplyError::Stale), "it was another's");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_not_have_been_written_is_lost() {
    let fake = Fake::listen();
    let (desk, peer, _) = fake.connected().await;
    let large = Ok(json!("x".repeat(APP_SERVER_MESSAGE / 2)));
    assert_eq!(desk.app_server.reply(fake.process(), 0, large).await, Err(ReplyError::Lost), "it doesn't read");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_question_without_a_number_is_left_to_the_desk() {
    let fake = Fake::listen();
    let (mut desk, mut peer, _) = fake.connected().await;
    peer.says(json!({"id": "x", "method": "item/tool/call", "params": {}})).await;
    peer.says(json!({"method": "after"})).await;
    assert!(matches!(desk.events.recv().await, Some(Event::Notification { method, .. }) if method == "after"));
    assert!(timeout(Duration::from_secs(1), peer.hears()).await.is_err(), "no answer, or the desk's would come second");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_past_events_that_nobody_has_read() {
    let fake = Fake::listen();
    let (mut desk, mut peer, _) = fake.connected().await;
    let told = EVENTS * 4;
    let flood = async {
        for number in 0..told {
            peer.says(json!({"method": "item/agentMessage/delta", "params": number})).await;
        }
        peer.answers("thread/list", json!([])).await;
    };
    let (outcome, ()) = tokio::join!(desk.app_server.request("thread/list", json!({})), flood);
    assert_eq!(outcome.unwrap(), json!([]));
    for number in 0..told {
        let Some(Event::Notification { params, .. }) = desk.events.recv().await else { panic!("{number} is missing") };
        assert_eq!(params, number, "in order");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_too_far_behind_is_told_and_starts_over() {
    let fake = Fake::listen();
    let (mut desk, mut peer, _) = fake.connected().await;
    let delta = json!({"method": "delta", "params": "x".repeat(64 * 1024)});
    let mut sent = 0;
    while peer.sends(Message::text(delta.to_string())).await.is_ok() {
        sent += 1;
        assert!(sent < 2 * BACKLOG / (64 * 1024) + 2 * EVENTS, "the backlog has no end");
    }
    assert!(sent * 64 * 1024 > BACKLOG);
    let why = loop {
        match desk.events.recv().await.unwrap() {
            Event::Down { why, .. } => break why,
            event => assert!(matches!(event, Event::Notification { .. })),
        }
    };
    assert_eq!(why, "the host fell too far behind the app-server");
    fake.initialized().await;
    desk.up().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_takes_the_request_along() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    drop(timeout(Duration::from_secs(1), desk.app_server.request("a", Value::Null)).await);
    let left = peer.heard().await;
    peer.says(json!({"id": left["id"], "result": 1})).await;
    let (outcome, ()) = tokio::join!(desk.app_server.request("b", Value::Null), peer.answers("b", json!(2)));
    assert_eq!(outcome.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_connection_and_what_waits_on_it() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let clone = desk.app_server.clone();
    let waiting = tokio::spawn(async move { clone.request("turn/start", Value::Null).await });
    peer.heard().await;
    let clone = desk.app_server.clone();
    desk.app_server.shutdown().await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Lost));
    assert_eq!(peer.hears().await, None);
    assert_eq!(clone.request("thread/list", Value::Null).await, Err(RequestError::Away));
    assert_eq!(clone.reply(fake.process(), 0, Ok(Value::Null)).await, Err(ReplyError::Stale));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_connection() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    let clone = desk.app_server.clone();
    drop(desk.app_server);
    assert!(timeout(Duration::from_secs(1), peer.hears()).await.is_err(), "a handle is left");
    drop(clone);
    assert_eq!(peer.hears().await, None);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_events_ends_the_connection() {
    let fake = Fake::listen();
    let (desk, mut peer, _) = fake.connected().await;
    drop(desk.events);
    assert_eq!(peer.hears().await, None);
    assert_eq!(desk.app_server.request("thread/list", Value::Null).await, Err(RequestError::Away));
}
