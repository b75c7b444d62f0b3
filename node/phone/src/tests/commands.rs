//! What each call asks for, and what it makes of the answer.

use farhelm_core::wire::envelope::{FailedBy, Failure};

use super::*;

/// A phone's call against a host that expects these requests, in order, and answers them.
async fn against<T>(
    story: impl IntoIterator<Item = (&'static str, Value, Value)>,
    call: impl AsyncFnOnce(Host) -> T,
) -> T {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let host_side = async {
        for (method, params, result) in story {
            let (request, sent) = desk.request().await;
            assert_eq!((request.method.as_str(), sent), (method, params));
            desk.answer(&request, result).await;
        }
    };
    tokio::join!(call(host), host_side).0
}

/// The same for one request that Codex refuses in these words.
async fn refused<T>(words: &str, call: impl AsyncFnOnce(Host) -> T) -> T {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let host_side = async {
        let (request, _) = desk.request().await;
        let failure = Failure { by: FailedBy::Codex, message: words.to_owned() };
        desk.send(Envelope::Response(Response { id: request.id, result: Err(failure) })).await;
    };
    tokio::join!(call(host), host_side).0
}

fn read() -> (&'static str, Value, Value) {
    ("thread/read", json!({"threadId": "t"}), json!({"thread": row("t")}))
}

fn newest_turn(status: &str) -> (&'static str, Value, Value) {
    let asked = json!({"threadId": "t", "itemsView": "full", "limit": 1, "sortDirection": "desc"});
    let turn = json!({"id": "u", "items": [], "status": status});
    ("thread/turns/list", asked, json!({"data": [turn], "nextCursor": null}))
}

#[tokio::test(start_paused = true)]
async fn threads_of_a_folder_are_those_in_it_and_below() {
    let elsewhere = |id: &str, folder: &str| {
        let mut row = row(id);
        row["cwd"] = folder.into();
        row
    };
    let asked = json!({
        "limit": 100, "sortKey": "updated_at", "sortDirection": "desc", "archived": true, "searchTerm": "x", "cursor": "c"
    });
    let rows = [elsewhere("a", "/work"), elsewhere("b", "/work/sub"), elsewhere("c", "/workshop")];
    let page = against([("thread/list", asked, json!({"data": rows, "nextCursor": "d"}))], async |host| {
        let query = ThreadQuery {
            limit: 1000,
            cursor: Some("c".into()),
            archived: true,
            search: Some("x".into()),
            folder: Some("/work".into()),
        };
        host.threads(query).await.unwrap()
    });
    let page = page.await;
    let found: Vec<_> = page.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((found, page.next.as_deref()), (vec!["a", "b"], Some("d")));
}

#[tokio::test(start_paused = true)]
async fn a_search_gives_threads_with_the_text_around() {
    let hit = json!({"thread": row("a"), "snippet": "…needle…"});
    let story = [("thread/search", json!({"searchTerm": "needle"}), json!({"data": [hit]}))];
    let page = against(story, async |host| host.search("needle", None).await.unwrap()).await;
    assert_eq!((page.rows[0].thread.id.as_str(), page.rows[0].snippet.as_str()), ("a", "…needle…"));
}

#[tokio::test(start_paused = true)]
async fn a_history_is_paged_from_either_end() {
    let asked = json!({"threadId": "t", "itemsView": "full", "limit": 16, "sortDirection": "asc", "cursor": "c"});
    let turn = json!({"id": "u", "items": [], "status": "completed"});
    let story = [("thread/turns/list", asked, json!({"data": [turn], "nextCursor": "d"}))];
    let paging = Paging { order: Order::OldestFirst, cursor: Some("c".into()), limit: None };
    let page = against(story, async |host| host.history("t", paging).await.unwrap()).await;
    assert_eq!((page.rows[0].id.as_str(), page.next.as_deref()), ("u", Some("d")));
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_turn_are_placed_in_it() {
    let asked = json!({"threadId": "t", "turnId": "u", "limit": 16, "sortDirection": "desc"});
    let item = json!({"type": "agentMessage", "id": "i", "text": "hello"});
    let story = [("thread/items/list", asked, json!({"data": [{"turnId": "u", "item": item}]}))];
    let page = against(story, async |host| host.items("t", Some("u"), Paging::default()).await.unwrap()).await;
    assert_eq!((page.rows[0].turn.as_str(), page.rows[0].item.id.as_str()), ("u", "i"));
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_the_host_does_not_offer_is_refused_before_anything_is_sent() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    desk.send(Envelope::Host(HostState { start_folders: vec!["/work".into()], ..host_state() })).await;
    let options = |folder: &str| StartOptions { folder: Some(folder.into()), ..StartOptions::from("hi") };
    let refused = Error::NotStartable { folder: "/etc".into(), offered: vec!["/work".into()] };
    assert_eq!(host.start(options("/etc")).await, Err(refused.clone()));
    assert!(refused.to_string().contains("choose one of /work"), "{refused}");
    let (started, ()) = tokio::join!(host.start(options("/work")), async {
        let (start, params) = desk.request().await;
        assert_eq!((start.method.as_str(), params), ("thread/start", json!({"cwd": "/work"})), "the first request");
        desk.answer(&start, json!({"thread": row("t")})).await;
        let (turn, _) = desk.request().await;
        desk.answer(&turn, json!({"turn": {"id": "u"}})).await;
    });
    assert_eq!(started, Ok(Started { thread: "t".into(), turn: "u".into() }));
}

#[tokio::test(start_paused = true)]
async fn model_and_effort_travel_with_a_message_to_a_thread_only() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let message = Message { model: Some("m".into()), effort: Some("high".into()), ..Message::from("hi") };
    assert_eq!(host.steer("t", "u", message.clone()).await, Err(Error::NoChoiceOfModel));
    assert_eq!(host.queue_add("t", message.clone()).await, Err(Error::NoChoiceOfModel));
    let (sent, ()) = tokio::join!(host.send("t", message), async {
        let (read, _) = desk.request().await;
        assert_eq!(read.method, "thread/read", "the two before sent nothing");
        desk.answer(&read, json!({"thread": row("t")})).await;
        let (turn, params) = desk.request().await;
        assert_eq!((&params["model"], &params["effort"]), (&json!("m"), &json!("high")));
        desk.answer(&turn, json!({"turn": {"id": "u"}})).await;
    });
    assert_eq!(sent, Ok("u".into()));
}

#[tokio::test(start_paused = true)]
async fn more_images_than_an_envelope_holds_are_not_sent() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let _desk = world.admit().await;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.resize(3 << 20, 0);
    let images = vec![Attachment::png(png).unwrap(); 4];
    let message = Message { images, ..Message::from("look") };
    assert!(matches!(host.steer("t", "u", message).await, Err(Error::TooLong { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_over_can_be_neither_steered_nor_interrupted() {
    for words in ["no active turn to steer", "expected active turn id `u` but found `v`"] {
        let steered = refused(words, async |host| host.steer("t", "u", "hi").await).await;
        assert_eq!(steered, Err(Error::NoSuchTurn), "{words}");
    }
    let steered = refused("something else", async |host| host.steer("t", "u", "hi").await).await;
    assert_eq!(steered, Err(Error::Codex("something else".into())));
    let interrupted = against([newest_turn("completed")], async |host| host.interrupt("t").await).await;
    assert_eq!(interrupted, Err(Error::NoSuchTurn));
}

#[tokio::test(start_paused = true)]
async fn an_interruption_finds_the_turn_that_runs() {
    let interrupt = ("turn/interrupt", json!({"threadId": "t", "turnId": "u"}), json!({}));
    let story = [newest_turn("inProgress"), interrupt];
    assert_eq!(against(story, async |host| host.interrupt("t").await).await, Ok("u".into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_effect_is_read_back_after_a_change_of_settings() {
    let mut changed = row("t");
    (changed["model"], changed["reasoningEffort"]) = ("other".into(), "low".into());
    let story = [
        read(),
        ("thread/settings/update", json!({"threadId": "t", "model": "m"}), json!({})),
        ("thread/read", json!({"threadId": "t"}), json!({"thread": changed})),
    ];
    let settings = against(story, async |host| host.set_model("t", "m").await.unwrap()).await;
    assert_eq!(settings, Settings { model: Some("other".into()), effort: Some("low".into()) });
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_read_to_its_end() {
    let queued = |id: &str| json!({"id": id, "clientUserMessageId": "c", "input": [{"type": "text", "text": id}]});
    let page = |cursor: Option<&str>| match cursor {
        Some(cursor) => json!({"threadId": "t", "limit": 100, "cursor": cursor}),
        None => json!({"threadId": "t", "limit": 100}),
    };
    let story = [
        ("thread/queue/list", page(None), json!({"data": [queued("a")], "nextCursor": "x"})),
        ("thread/queue/list", page(Some("x")), json!({"data": [queued("b")], "nextCursor": null})),
    ];
    let queue = against(story, async |host| host.queue("t").await.unwrap()).await;
    assert_eq!(queue.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn usage_without_an_account_says_why() {
    let world = World::new();
    let (_client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let (usage, ()) = tokio::join!(host.usage(), async {
        let (limits, _) = desk.request().await;
        assert_eq!(limits.method, "account/rateLimits/read");
        desk.answer(&limits, json!({"rateLimits": {"primary": {"usedPercent": 7}}})).await;
        let (account, _) = desk.request().await;
        let failure = Failure { by: FailedBy::Codex, message: "no account".into() };
        desk.send(Envelope::Response(Response { id: account.id, result: Err(failure) })).await;
    });
    let usage = usage.unwrap();
    assert_eq!(usage.limits.unwrap().primary.unwrap().used_percent, 7);
    assert_eq!(usage.account, Err("no account".into()));
}

#[tokio::test(start_paused = true)]
async fn a_review_names_its_target_and_gives_its_turn() {
    for (target, params) in [
        (ReviewTarget::Uncommitted, json!({"type": "uncommittedChanges"})),
        (ReviewTarget::BaseBranch { branch: "main".into() }, json!({"type": "baseBranch", "branch": "main"})),
        (ReviewTarget::Commit { sha: "abc".into() }, json!({"type": "commit", "sha": "abc"})),
        (ReviewTarget::Custom { instructions: "look".into() }, json!({"type": "custom", "instructions": "look"})),
    ] {
        let review = ("review/start", json!({"threadId": "t", "target": params}), json!({"turn": {"id": "u"}}));
        assert_eq!(against([read(), review], async |host| host.review("t", &target).await).await, Ok("u".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_is_asked_for_by_its_item() {
    let params = json!({"threadId": "t", "itemId": "i", "index": 1});
    // The eight bytes that every PNG begins with.
    let story = [("farhelm/image/read", params, json!({"mimeType": "image/png", "dataBase64": "iVBORw0KGgo="}))];
    let image = against(story, async |host| host.image("t", "i", 1).await.unwrap()).await;
    assert_eq!((image.kind, image.bytes.len()), (ImageKind::Png, 8));
}
