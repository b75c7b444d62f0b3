//! A paired host: requests, watches, approvals, and what becomes of them when the line dies or moves.

use farhelm_core::codex::approval::{Act, Approval, Content, Key, Outcome};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::{Thread, TurnStatus};
use farhelm_core::wire::envelope::{
    CloseReason, Decided, DecisionRefusal, FailedBy, Failure, Notification, Resolved, Snapshot, TurnEnded,
};
use serde_bytes::ByteArray;
use tokio::time::Instant;

use super::*;

fn approval(request: i64) -> Approval {
    let act = Act::Command { command: "ls".into(), folder: "/work".into(), permissions: None };
    let (approval_policy, sandbox) = ("on-request".to_owned(), "workspace-write".to_owned());
    let workspace = "/work".to_owned();
    Approval {
        key: Key { epoch: ByteArray::new([7; 16]), request },
        environment: "local".into(),
        thread: "t".into(),
        turn: "u".into(),
        item: "i".into(),
        content: Content { act, reason: None, approval_policy, sandbox, workspace },
        for_session: false,
        deadline_ms: 1,
        guard: Default::default(),
    }
}

fn notification(method: &str, params: Value) -> Envelope {
    let params = ByteBuf::from(params.to_string());
    Envelope::Notification(Notification { method: method.into(), params })
}

fn snapshot(thread: Thread) -> Envelope {
    Envelope::Snapshot(Snapshot { thread })
}

fn thread(id: &str) -> Thread {
    Thread::from_read(&json!({"thread": row(id)})).unwrap()
}

fn message(text: &str) -> [(&'static str, Value); 3] {
    let item = |text: &str| json!({"type": "agentMessage", "id": "m", "text": text});
    let ids = |mut params: Value| {
        (params["threadId"], params["turnId"]) = ("t".into(), "u".into());
        params
    };
    [
        ("item/started", ids(json!({"item": item("")}))),
        ("item/agentMessage/delta", ids(json!({"itemId": "m", "delta": text}))),
        ("item/completed", ids(json!({"item": item(text)}))),
    ]
}

async fn until(host: &Host, condition: impl FnMut(&Connection) -> bool) -> Connection {
    timeout(LONG, host.state().wait_for(condition)).await.expect("it gets there").unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn requests_are_codex_methods_and_answers_find_their_calls() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (list, params) = desk.request().await;
        assert_eq!((list.method.as_str(), &params["limit"]), ("thread/list", &json!(5)));
        let (steer, _) = desk.request().await;
        desk.answer(&steer, json!({"turnId": "u"})).await;
        desk.answer(&list, json!({"data": [row("a"), row("b")], "nextCursor": "c"})).await;
    };
    let (page, steered, ()) = tokio::join!(host.threads(ThreadQuery::newest(5)), host.steer("t", "u", "hi"), desk);
    let page = page.unwrap();
    assert_eq!(page.rows.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((page.next.as_deref(), steered), (Some("c"), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn starting_sends_no_folder_and_no_rules() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (start, params) = desk.request().await;
        assert_eq!((start.method.as_str(), params), ("thread/start", json!({})));
        desk.answer(&start, json!({"thread": row("t")})).await;
        let (turn, params) = desk.request().await;
        assert_eq!((turn.method.as_str(), &params["input"]), ("turn/start", &json!([{"type": "text", "text": "hi"}])));
        assert_eq!(params["clientUserMessageId"].as_str().unwrap().len(), 32);
        desk.answer(&turn, json!({"turn": {"id": "u", "items": [], "status": "inProgress"}})).await;
    };
    let (started, ()) = tokio::join!(host.start("hi"), desk);
    assert_eq!(started, Ok(Started { thread: "t".into(), turn: "u".into() }));
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_is_not_loaded_is_resumed_before_a_message() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let mut asleep = row("t");
        asleep["status"] = json!({"type": "notLoaded"});
        for (method, result) in [
            ("thread/read", json!({"thread": asleep})),
            ("thread/resume", json!({"thread": row("t")})),
            ("turn/start", json!({"turn": {"id": "u"}})),
        ] {
            let (request, _) = desk.request().await;
            assert_eq!(request.method, method);
            desk.answer(&request, result).await;
        }
    };
    assert_eq!(tokio::join!(host.send("t", "more"), desk).0, Ok("u".into()));
}

#[tokio::test(start_paused = true)]
async fn a_history_is_read_page_by_page() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let turn = |id: &str| json!({"id": id, "items": [], "status": "completed"});
    let desk = async {
        let (read, _) = desk.request().await;
        desk.answer(&read, json!({"thread": row("t")})).await;
        let (first, params) = desk.request().await;
        assert_eq!((first.method.as_str(), params.get("cursor")), ("thread/turns/list", None));
        desk.answer(&first, json!({"data": [turn("3"), turn("2")], "nextCursor": "older"})).await;
        let (second, params) = desk.request().await;
        assert_eq!(params["cursor"], "older");
        desk.answer(&second, json!({"data": [turn("1")], "nextCursor": null})).await;
    };
    let (thread, ()) = tokio::join!(host.thread("t"), desk);
    let thread = thread.unwrap();
    assert_eq!(thread.turns.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert!(!thread.older);
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_who_refused() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (request, _) = desk.request().await;
        let failure = Failure { by: FailedBy::Policy, message: "no".into() };
        desk.send(Envelope::Response(Response { id: request.id, result: Err(failure) })).await;
    };
    assert_eq!(tokio::join!(host.rename("t", "a name"), desk).0, Err(Error::Policy("no".into())));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_too_long_is_not_sent() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let text = "x".repeat(256 * 1024 + 1);
    assert!(matches!(host.start(&text).await, Err(Error::TooLong { .. })));
    assert!(matches!(host.send("t", &text).await, Err(Error::TooLong { .. })));
}

#[tokio::test(start_paused = true)]
async fn when_the_link_dies_a_read_is_sent_again_and_a_change_that_is_stored_is_not() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (_read, _) = desk.request().await;
        let (change, _) = desk.request().await;
        drop(desk);
        let mut desk = world.admit().await;
        let (again, _) = desk.request().await;
        assert_eq!(again.method, "thread/list");
        desk.answer(&again, json!({"data": []})).await;
        desk.answer(&change, json!({"turnId": "u"})).await;
        desk
    };
    let (read, write, _desk) = tokio::join!(host.threads(ThreadQuery::newest(5)), host.steer("t", "u", "hi"), desk);
    assert_eq!((read.map(|page| page.rows.len()), write), (Ok(0), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_host_has_not_stored_goes_out_with_the_next_handshake() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    desk.watched().await;
    let desk = async {
        assert!(matches!(desk.next().await, Envelope::Entry(_)), "and nothing is acknowledged");
        drop(desk);
        let mut desk = world.admit().await;
        let (again, _) = desk.request().await;
        desk.answer(&again, json!({"turnId": "u"})).await;
        desk
    };
    assert_eq!(tokio::join!(host.steer("t", "u", "hi"), desk).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_while_the_phone_was_away_is_told_when_it_is_back() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (change, _) = desk.request().await;
        let log = desk.log.clone();
        drop(desk);
        let result = Ok(ByteBuf::from("{}"));
        let answer = Envelope::Response(Response { id: change.id, result });
        let seq =
            log.lock().unwrap().outgoing.push(Logged { act: Some(change.id), envelope: answer }.encode()).unwrap();
        log.lock().unwrap().outgoing.stored(seq);
        world.admit().await
    };
    assert_eq!(tokio::join!(host.steer("t", "u", "hi"), desk).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_a_program_asked_before_it_was_killed_is_done_and_its_answer_told_to_the_next() {
    let world = World::new();
    let (client, host) = world.paired().await;
    world.reachable(false);
    // Stored, and never sent; then the program is gone without a word.
    assert!(timeout(Duration::from_secs(5), host.steer("t", "u", "hi")).await.is_err());
    drop((client, host));
    world.reachable(true);
    let (_client, host) = world.paired().await;
    let mut events = host.events();
    let mut desk = world.admit().await;
    let (asked, _) = desk.request().await;
    assert_eq!(asked.method, "turn/steer");
    desk.answer(&asked, json!({"turnId": "u"})).await;
    let answered = Event::Answered { what: "turn/steer".into(), result: Ok(json!({"turnId": "u"})) };
    while timeout(LONG, events.recv()).await.unwrap().unwrap() != answered {}
    // It is told at once, and given up with the next write.
    let left = || world.journal.read(host_key().node_id()).unwrap();
    let given_up = async {
        while !left().acts.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, given_up).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_lost_its_store_is_asked_again_what_it_has_not_answered() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (asked, _) = desk.request().await;
        // It had acknowledged; then its disk is another.
        *desk.log.lock().unwrap() = HostLog::default();
        desk.log.lock().unwrap().outgoing = Outgoing::new(LogId::new([8; 16]));
        drop(desk);
        let mut desk = world.admit().await;
        let (again, _) = desk.request().await;
        assert_eq!(again, asked, "under its own id");
        desk.answer(&again, json!({"turnId": "u"})).await;
        desk
    };
    assert_eq!(tokio::join!(host.steer("t", "u", "hi"), desk).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_position_that_makes_no_sense_ends_the_line_and_loses_nothing() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let desk = async {
        let (asked, _) = desk.request().await;
        desk.say(Envelope::Ack(Ack { upto: 99 })).await;
        desk.ended().await;
        let desk = world.admit().await;
        desk.answer(&asked, json!({"turnId": "u"})).await;
        desk.send(Envelope::Resolved(Resolved { key: approval(0).key, outcome: Outcome::Lost, by: None })).await;
        desk
    };
    assert_eq!(tokio::join!(host.steer("t", "u", "hi"), desk).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_line_is_live_once_it_is_up_to_date() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.meet().await;
    until(&host, |state| matches!(state, Connection::CatchingUp(_))).await;
    desk.lists(vec![approval(0)]).await;
    until(&host, |state| matches!(state, Connection::Live(_))).await;
    assert_eq!(host.approvals().borrow().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_connection_ends_as_not_sent() {
    let world = World::new();
    world.reachable(false);
    let (_client, host) = world.paired().await;
    assert_eq!(host.steer("t", "u", "hi").await, Err(Error::NotConnected));
    assert_eq!(host.decide(&approval(0), Decision::Accept).await, Err(DecideError::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_and_what_follows_make_the_hosts_thread() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    assert!(desk.watched().await.is_empty());
    let (watch, ()) = tokio::join!(host.watch("t"), async {
        assert_eq!(desk.watched().await, ["t"]);
        desk.send(snapshot(thread("t"))).await;
    });
    let mut watch = watch.unwrap();
    let mut hosts = thread("t");
    for (method, params) in message("hello") {
        hosts.apply(method, &params);
        desk.send(notification(method, params)).await;
    }
    let seen = timeout(LONG, watch.wait_for(|thread| *thread == hosts)).await;
    assert!(seen.is_ok(), "{:?}", watch.borrow().turns);
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnection_the_new_snapshot_replaces_the_thread() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let (watch, ()) = tokio::join!(host.watch("t"), async {
        assert!(desk.watched().await.is_empty());
        desk.watched().await;
        desk.send(snapshot(thread("t"))).await;
    });
    let mut watch = watch.unwrap();
    drop(desk);
    let mut desk = world.admit().await;
    assert_eq!(desk.watched().await, ["t"], "it travels with the resume");
    let mut newer = thread("t");
    newer.preview = "newer".into();
    desk.send(snapshot(newer.clone())).await;
    assert_eq!(timeout(LONG, watch.wait_for(|t| t.preview == "newer")).await.unwrap().unwrap(), newer);
}

#[tokio::test(start_paused = true)]
async fn the_host_learns_when_nobody_looks_any_more() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let (watch, ()) = tokio::join!(host.watch("t"), async {
        desk.watched().await;
        desk.watched().await;
        desk.send(snapshot(thread("t"))).await;
    });
    drop(watch);
    desk.send(notification("thread/status/changed", json!({"threadId": "t", "status": {"type": "idle"}}))).await;
    assert!(desk.watched().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_turn_is_an_event() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    let mut events = host.events();
    let status = TurnStatus::Failed("no model".into());
    desk.send(Envelope::TurnEnded(TurnEnded { thread: "t".into(), turn: "u".into(), status })).await;
    loop {
        match timeout(LONG, events.recv()).await.unwrap().unwrap() {
            Event::TurnCompleted { thread, turn, status } => {
                assert_eq!((thread.as_str(), turn.as_str()), ("t", "u"));
                assert_eq!(status, TurnStatus::Failed("no model".into()));
                break;
            }
            Event::Connection(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_at_a_new_attach_replaces_the_approvals() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    let mut open = host.approvals();
    desk.lists(vec![approval(0)]).await;
    desk.send(Envelope::Approval(approval(1))).await;
    open.wait_for(|open| open.len() == 2).await.unwrap();
    let mut events = host.events();
    drop(desk);
    let desk = world.meet().await;
    desk.lists(vec![approval(1), approval(2)]).await;
    let now = open.wait_for(|open| open.iter().any(|a| a.key.request == 2)).await.unwrap().clone();
    assert_eq!(now, [approval(1), approval(2)]);
    let mut told = Vec::new();
    while told.len() < 2 {
        match events.recv().await.unwrap() {
            Event::Gone { key, .. } => told.push(("gone", key.request)),
            Event::Approval(new) => told.push(("new", new.key.request)),
            _ => {}
        }
    }
    assert_eq!(told, [("gone", 0), ("new", 2)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_the_hosts_word_on_this_connection() {
    let (world, _client, host, desk) = with_approval().await;
    assert_eq!(host.pending(LONG).await, Ok(vec![approval(0)]));
    drop(desk);
    until(&host, |state| !matches!(state, Connection::Live(_))).await;
    let (pending, _desk) = tokio::join!(host.pending(LONG), async {
        let desk = world.meet().await;
        desk.lists(Vec::new()).await;
        desk
    });
    assert_eq!(pending, Ok(Vec::new()), "not what was open before");
}

/// A host with one approval open, and the phone knowing.
async fn with_approval() -> (World, Client, Host, Desk) {
    let world = World::new();
    let (client, host) = world.paired().await;
    let mut desk = world.admit().await;
    desk.watched().await;
    desk.lists(vec![approval(0)]).await;
    host.approvals().wait_for(|open| !open.is_empty()).await.unwrap();
    (world, client, host, desk)
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_signed_over_what_was_shown_and_waits_for_the_hosts_word() {
    let (_world, client, host, mut desk) = with_approval().await;
    let shown = approval(0);
    let desk = async {
        let Envelope::Decision(signed) = desk.receive().await else { panic!("a decision") };
        let verified = signed.verify(client.id(), host_key().node_id(), &shown).unwrap();
        assert_eq!(verified.decision(), Decision::Decline);
        desk.send(Envelope::Decided(Decided { key: shown.key, result: Ok(()) })).await;
        let resolved = Resolved { key: shown.key, outcome: Outcome::Declined, by: Some(client.id()) };
        desk.send(Envelope::Resolved(resolved)).await;
    };
    assert_eq!(tokio::join!(host.decide(&shown, Decision::Decline), desk).0, Ok(()));
    host.approvals().wait_for(Vec::is_empty).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_refusal_of_a_decision_has_its_name() {
    let over = DecideError::Over { outcome: None, by: None };
    for (refusal, error) in [
        (DecisionRefusal::Over, over),
        (DecisionRefusal::NotWhatIsShown, DecideError::NotWhatIsShown),
        (DecisionRefusal::Late, DecideError::Late),
        (DecisionRefusal::TooLarge, DecideError::NotShownWhole),
        (DecisionRefusal::NotOffered, DecideError::NotOffered),
        (DecisionRefusal::NotAllowed, DecideError::NotAllowed),
        (DecisionRefusal::Denied, DecideError::Denied),
        (DecisionRefusal::StepUpNeeded, DecideError::StepUpNeeded),
        (DecisionRefusal::SecondNeeded, DecideError::SecondNeeded),
    ] {
        let (_world, _client, host, mut desk) = with_approval().await;
        let shown = approval(0);
        let desk = async {
            desk.receive().await;
            desk.send(Envelope::Decided(Decided { key: shown.key, result: Err(refusal) })).await;
        };
        assert_eq!(tokio::join!(host.decide(&shown, Decision::Accept), desk).0, Err(error));
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_of_the_desk_comes_first() {
    let (_world, _client, host, mut desk) = with_approval().await;
    let shown = approval(0);
    let desk = async {
        desk.receive().await;
        desk.send(Envelope::Resolved(Resolved { key: shown.key, outcome: Outcome::Elsewhere, by: None })).await;
    };
    let over = DecideError::Over { outcome: Some(Outcome::Elsewhere), by: None };
    assert_eq!(tokio::join!(host.decide(&shown, Decision::Accept), desk).0, Err(over));
}

#[tokio::test(start_paused = true)]
async fn what_is_withheld_can_be_declined_and_never_accepted() {
    let (_world, _client, host, mut desk) = with_approval().await;
    let mut withheld = approval(0);
    withheld.content.act = Act::Withheld { kind: "command".into(), about: "x".into(), why: "too long".into() };
    assert_eq!(host.decide(&withheld, Decision::Accept).await, Err(DecideError::NotShownWhole));
    let desk = async {
        let Envelope::Decision(signed) = desk.receive().await else { panic!("a decision") };
        assert_eq!(signed.decision, Decision::Decline, "the accept never left");
        desk.send(Envelope::Decided(Decided { key: withheld.key, result: Ok(()) })).await;
    };
    assert_eq!(tokio::join!(host.decide(&withheld, Decision::Decline), desk).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_the_host_has_not_stored_travels_again() {
    let (world, _client, host, mut desk) = with_approval().await;
    let shown = approval(0);
    let desk = async {
        let Envelope::Entry(first) = desk.next().await else { panic!("a decision") };
        drop(desk);
        let mut desk = world.admit().await;
        desk.watched().await;
        let Envelope::Decision(again) = desk.receive().await else { panic!("a decision") };
        assert_eq!(Logged::decode(&first.body).unwrap().envelope, Envelope::Decision(again));
        desk.send(Envelope::Decided(Decided { key: shown.key, result: Ok(()) })).await;
        desk
    };
    assert_eq!(tokio::join!(host.decide(&shown, Decision::Accept), desk).0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_decision_whose_approval_is_gone_waits_for_the_hosts_word() {
    let (world, _client, host, mut desk) = with_approval().await;
    let shown = approval(0);
    let desk = async {
        desk.receive().await;
        drop(desk);
        let desk = world.admit().await;
        desk.send(Envelope::Decided(Decided { key: shown.key, result: Err(DecisionRefusal::OutcomeUnknown) })).await;
        desk
    };
    let (decided, _desk) = tokio::join!(host.decide(&shown, Decision::Accept), desk);
    assert_eq!(decided, Err(DecideError::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn what_is_read_first_goes_with_the_handshake_and_not_after_it() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let read = tokio::spawn(async move { host.threads(ThreadQuery::newest(1)).await });
    let (phone, arrival) = (world.phone().await, world.arrival().await);
    let mut wire = Wire::new(arrival.stream);
    let (answered, _answer) = greet(&mut wire, phone, &secret()).await.expect("the phone is who it is");
    // The phone waits for the answer, and has said all this before.
    let mut channel = Channel::start(wire, answered);
    let mut said = Vec::new();
    while !matches!(said.last(), Some(Envelope::Request(_))) {
        said.push(timeout(LONG, channel.receive()).await.expect("it is said").expect("the line lives"));
    }
    assert!(matches!(said[0], Envelope::Attach(_)), "{said:?}");
    assert!(matches!(said.last(), Some(Envelope::Request(request)) if request.method == "thread/list"), "{said:?}");
    drop(channel);
    // It is asked again, as nobody answered.
    let mut desk = world.admit().await;
    let (request, _) = desk.request().await;
    desk.answer(&request, json!({"data": []})).await;
    read.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_found_nearby_is_tried_there_at_once_and_a_stranger_nowhere() {
    let world = World::new();
    world.reachable(false);
    let (client, host) = world.paired().await;
    until(&host, |state| matches!(state, Connection::Away { .. })).await;
    let nearby: Multiaddr = "/ip4/192.0.2.9/tcp/7".parse().unwrap();
    let relayed = nearby.clone().with(farhelm_overlay::Protocol::P2pCircuit);
    let mut tried = world.pipes.tried.subscribe();
    tried.borrow_and_update();
    client.found_nearby(Identity::from_seed(&[77; 32]).node_id(), vec![nearby.clone()]).await;
    client.found_nearby(host_key().node_id(), vec![nearby.clone(), relayed]).await;
    let began = Instant::now();
    let peer = farhelm_overlay::Protocol::P2p(host_key().node_id().to_peer_id());
    let there = |tried: &Vec<Multiaddr>| tried.contains(&nearby.clone().with(peer.clone()));
    let seen = timeout(LONG, tried.wait_for(there)).await.expect("it is tried").unwrap().clone();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(seen.iter().all(|address| !address.to_string().contains("192.0.2.9/tcp/7/p2p-circuit")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn moving_to_a_direct_path_keeps_the_outstanding_request() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut relayed = world.admit().await;
    let path = host.live(LONG).await.unwrap();
    assert!(!path.is_direct() && !relayed.direct);
    let desk = async {
        let (request, _) = relayed.request().await;
        world.direct();
        let direct = world.admit().await;
        assert!(direct.direct);
        until(&host, |state| matches!(state, Connection::Live(path) if path.is_direct())).await;
        assert!(matches!(relayed.ended().await, channel::Error::Closed(CloseReason::Replaced)));
        direct.answer(&request, json!({})).await;
        direct
    };
    let (interrupted, mut direct) = tokio::join!(host.steer("t", "u", "hi"), desk);
    assert_eq!(interrupted, Ok(()));
    let (listed, ()) = tokio::join!(host.threads(ThreadQuery::newest(1)), async {
        let (request, _) = direct.request().await;
        direct.answer(&request, json!({"data": []})).await;
    });
    assert!(listed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_relayed_phone_says_where_it_may_be_reached_and_tries_again_less_and_less_often() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut relayed = world.admit().await;
    host.live(LONG).await.unwrap();
    let began = Instant::now();
    let mut told_at = Vec::new();
    for often in 1..=4 {
        relayed.told_where(often).await;
        told_at.push(began.elapsed().as_secs());
    }
    let between: Vec<_> = told_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(between.iter().zip([30, 60, 120]).all(|(is, wanted)| is.abs_diff(wanted) <= 2), "{told_at:?}");
    assert_eq!(relayed.log.lock().unwrap().reachable[0], ["/ip4/192.0.2.7/tcp/9"]);
    let kept = *world.pipes.kept.borrow();
    assert_eq!(kept, None, "a relayed path isn't what one stays on");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_renewed_before_its_time_is_over_and_nothing_is_lost() {
    let world = World::new();
    world.pipes.limit.send_replace(Limit { duration: Some(Duration::from_secs(120)), bytes: None });
    let (_client, host) = world.paired().await;
    let mut first = world.admit().await;
    host.live(LONG).await.unwrap();
    let began = Instant::now();
    let desk = async {
        let (request, _) = first.request().await;
        let second = world.admit().await;
        assert!((89..=92).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        first.answer(&request, json!({"data": []})).await;
        assert!(matches!(first.ended().await, channel::Error::Closed(CloseReason::Replaced)));
        second
    };
    tokio::time::sleep(Duration::from_secs(85)).await;
    let (listed, _second) = tokio::join!(host.threads(ThreadQuery::newest(1)), desk);
    assert!(listed.is_ok(), "the old circuit was there until it had answered");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_renewed_before_it_has_carried_what_it_may() {
    let world = World::new();
    world.pipes.limit.send_replace(Limit { duration: None, bytes: Some(128 * 1024) });
    let (_client, host) = world.paired().await;
    let mut first = world.admit().await;
    host.live(LONG).await.unwrap();
    let much = json!({"data": [], "nextCursor": "x".repeat(40_000)});
    let desk = async {
        for _ in 0..2 {
            let (request, _) = first.request().await;
            first.answer(&request, much.clone()).await;
        }
        world.admit().await
    };
    let reads = async {
        for _ in 0..2 {
            host.threads(ThreadQuery::newest(1)).await.unwrap();
        }
    };
    let (_second, ()) = tokio::join!(desk, reads);
}

#[tokio::test(start_paused = true)]
async fn a_direct_path_that_closed_under_the_move_is_no_reason_to_stay_relayed() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let _relayed = world.admit().await;
    host.live(LONG).await.unwrap();
    world.direct();
    for _ in 0..3 {
        drop(world.arrival().await);
    }
    let began = Instant::now();
    let _direct = world.admit().await;
    until(&host, |state| matches!(state, Connection::Live(path) if path.is_direct())).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_direct_path_that_has_proven_itself_is_the_only_one() {
    let world = World::new();
    world.direct();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    assert!(host.live(LONG).await.unwrap().is_direct());
    let began = Instant::now();
    world.pipes.kept.subscribe().wait_for(Option::is_some).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(14), "{:?}", began.elapsed());
    assert!(desk.log.lock().unwrap().reachable.is_empty(), "nobody needs to call it");
}

#[tokio::test(start_paused = true)]
async fn an_old_path_is_left_after_its_time_and_its_read_asked_anew() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut relayed = world.admit().await;
    let desk = async {
        relayed.request().await;
        world.direct();
        let mut direct = world.admit().await;
        let began = Instant::now();
        assert!(matches!(relayed.ended().await, channel::Error::Closed(CloseReason::Replaced)));
        assert!(began.elapsed() >= Duration::from_secs(9));
        let (again, _) = direct.request().await;
        direct.answer(&again, json!({"data": []})).await;
        direct
    };
    let (listed, _direct) = tokio::join!(host.threads(ThreadQuery::newest(1)), desk);
    assert!(listed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_replaces_the_old_line_before_it_answers_costs_no_connection() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let relayed = world.admit().await;
    host.live(LONG).await.unwrap();
    world.direct();
    let arrival = world.arrival().await;
    relayed.channel.close(CloseReason::Replaced).await;
    let channel = admit(arrival.stream, world.phone().await, &secret()).await.unwrap();
    let _direct = world.listed(channel).await;
    let live = until(&host, |state| matches!(state, Connection::Live(path) if path.is_direct())).await;
    assert!(matches!(live, Connection::Live(_)));
    assert!(timeout(LONG, world.arrivals.lock().await.recv()).await.is_err(), "one is enough");
}

#[tokio::test(start_paused = true)]
async fn a_host_out_of_reach_is_away_and_a_network_change_finds_it_at_once() {
    let world = World::new();
    world.reachable(false);
    let (_client, host) = world.paired().await;
    until(&host, |state| matches!(state, Connection::Away { why: Why::Unreachable, .. })).await;
    tokio::time::sleep(LONG).await;
    world.reachable(true);
    let began = Instant::now();
    host.network_changed().await;
    let _desk = world.admit().await;
    host.live(LONG).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_line_is_never_shown_as_live() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    host.live(LONG).await.unwrap();
    world.reachable(false);
    let mut state = host.state();
    state.mark_unchanged();
    drop(desk);
    timeout(LONG, state.changed()).await.unwrap().unwrap();
    assert!(!matches!(*state.borrow(), Connection::Live(_)));
    let since = until(&host, |state| matches!(state, Connection::Away { .. })).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(*host.state().borrow(), since, "retries don't make it look new");
}

#[tokio::test(start_paused = true)]
async fn a_network_change_under_a_live_line_proves_it_with_a_new_stream() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut old = world.admit().await;
    host.live(LONG).await.unwrap();
    host.network_changed().await;
    let _new = world.admit().await;
    assert!(matches!(old.ended().await, channel::Error::Closed(CloseReason::Replaced)));
    host.network_changed().await;
    let dead = world.arrival().await;
    world.reachable(false);
    drop(dead);
    until(&host, |state| matches!(state, Connection::Away { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_says_so() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    host.live(LONG).await.unwrap();
    desk.channel.close(CloseReason::Stopping).await;
    until(&host, |state| matches!(state, Connection::Away { why: Why::HostStopped, .. })).await;
    let _back = world.admit().await;
    assert!(host.live(LONG).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_program_with_our_key_is_not_fought() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    host.live(LONG).await.unwrap();
    desk.channel.close(CloseReason::Replaced).await;
    let began = Instant::now();
    until(&host, |state| matches!(state, Connection::Away { why: Why::Replaced, .. })).await;
    world.arrival().await;
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_the_host_says_of_its_relays_is_stored() {
    let world = World::new();
    let (client, host) = world.paired().await;
    let desk = world.admit().await;
    let relay = format!("/ip4/192.0.2.77/tcp/4001/p2p/{}", Identity::from_seed(&[8; 32]).node_id());
    desk.send(Envelope::Host(HostState { relays: vec![relay.clone()], ..host_state() })).await;
    host.about().wait_for(Option::is_some).await.unwrap();
    client.shutdown().await;
    let (records, _) = Records::open(world.store.clone()).await.unwrap();
    let record = records.get(host.id()).await.unwrap();
    assert_eq!(record.relays, [relay.parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn junk_from_the_host_breaks_nothing() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let junk = ByteBuf::from("{");
    desk.send(Envelope::Notification(Notification { method: "turn/completed".into(), params: junk.clone() })).await;
    desk.send(Envelope::Response(Response { id: ByteArray::new([0; 16]), result: Ok(junk) })).await;
    desk.send(notification("turn/completed", json!({"threadId": "t", "turn": 7}))).await;
    desk.send(Envelope::Request(Request {
        id: ByteArray::new([0; 16]),
        method: String::new(),
        params: ByteBuf::new(),
    }))
    .await;
    desk.send(Envelope::Unknown(999)).await;
    desk.send(snapshot(thread("nobody follows this"))).await;
    for request in 0..200 {
        desk.send(Envelope::Approval(approval(request))).await;
    }
    let (listed, ()) = tokio::join!(host.threads(ThreadQuery::newest(1)), async {
        let (request, _) = desk.request().await;
        desk.answer(&request, json!({"data": "no list"})).await;
    });
    assert!(matches!(listed, Err(Error::Unreadable(_))));
    assert_eq!(host.approvals().borrow().len(), 64, "bounded");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_host_is_told_goodbye_and_leaves_no_record() {
    let world = World::new();
    let (client, host) = world.paired().await;
    let mut desk = world.admit().await;
    host.live(LONG).await.unwrap();
    client.forget(host.id()).await.unwrap();
    assert!(matches!(desk.ended().await, channel::Error::Closed(CloseReason::Stopping)));
    assert!(client.hosts().await.unwrap().is_empty());
    assert_eq!(client.connect(host.id()).await.err(), Some(RecordsError::Unknown(host.id())));
    assert_eq!(host.threads(ThreadQuery::newest(1)).await, Err(Error::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_is_under_way_by_what_may_have_happened() {
    let world = World::new();
    let (client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let ending = async {
        desk.request().await;
        desk.request().await;
        client.shutdown().await;
    };
    let (read, write, ()) = tokio::join!(host.threads(ThreadQuery::newest(1)), host.steer("t", "u", "hi"), ending);
    assert_eq!((read.err(), write), (Some(Error::Stopped), Err(Error::OutcomeUnknown)));
    assert!(matches!(*host.state().borrow(), Connection::Away { why: Why::Stopped, .. }));
    assert_eq!(host.live(LONG).await, Err(Error::Away(Why::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_over_all_lines() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let desk = world.admit().await;
    desk.send(Envelope::Host(HostState { folder: "x".repeat(10_000), ..host_state() })).await;
    host.about().wait_for(Option::is_some).await.unwrap();
    drop(desk);
    let _desk = world.admit().await;
    host.live(LONG).await.unwrap();
    let traffic = host.traffic();
    assert!(traffic.received > 10_000, "{traffic:?}");
}
