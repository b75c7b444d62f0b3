//! Images both ways, beside the real Codex: what a phone attaches, and what it reads of a thread.

#[path = "support/app_server.rs"]
#[expect(dead_code, reason = "shared with suites that need more of it")]
mod app_server;
#[path = "support/codex.rs"]
mod codex;
#[path = "support/stage.rs"]
#[expect(dead_code, reason = "shared with suites that need more of it")]
mod stage;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use app_server::Client;
use farhelm::demo::world::Behind;
use farhelm::host::app_server::{Epoch, State};
use farhelm_core::codex::image::{ImageKind, data_url};
use farhelm_core::codex::thread::{Item, Thread};
use farhelm_core::wire::limits;
use farhelm_phone::{Attachment, Error, Message, Order, Paging, StartOptions};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use stage::{PATIENCE, Stage, ended};

/// The stage with a desk beside it; none where the real Codex isn't installed.
async fn set() -> Option<(Stage, Client)> {
    let stage = Stage::set(Behind::Codex(Some(codex::codex()?))).await;
    let mut desk = Client::connect(&stage.app_server()).await;
    let client = json!({"name": "desk", "title": "desk", "version": "0"});
    desk.request("initialize", json!({"clientInfo": client, "capabilities": {"experimentalApi": true}})).await;
    desk.send(json!({"method": "initialized"})).await;
    Some((stage, desk))
}

/// A real PNG, another for each width.
fn png(width: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let picture = image::DynamicImage::new_rgb8(width, 2);
    picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).expect("a PNG");
    bytes
}

/// One that is as large as an image may be.
fn large(fill: u8) -> Vec<u8> {
    let mut bytes = png(1);
    bytes.resize(limits::IMAGE, fill);
    bytes
}

fn with(text: &str, bytes: &[u8]) -> Message {
    let image = Attachment::png(bytes.to_vec()).expect("a PNG");
    Message { images: vec![image], ..Message::from(text) }
}

/// A turn of the desk's, to its end.
async fn at_desk(desk: &mut Client, thread: &str, input: Value) -> String {
    let answer = desk.request("turn/start", json!({"threadId": thread, "input": input})).await;
    let turn = answer["result"]["turn"]["id"].as_str().unwrap_or_else(|| panic!("no turn: {answer}")).to_owned();
    let over = desk.until(|m| m["method"] == "turn/completed" && m["params"]["turn"]["id"] == turn.as_str()).await;
    assert_eq!(over["params"]["turn"]["status"], "completed", "{over}");
    turn
}

/// The items of a turn that hold images, as the phone is told of them.
async fn pictured(stage: &Stage, thread: &str, turn: &str) -> Vec<Item> {
    let paging = Paging { order: Order::OldestFirst, ..Paging::default() };
    let page = stage.host.items(thread, Some(turn), paging).await.expect("items");
    page.rows.into_iter().map(|placed| placed.item).filter(|item| item.images > 0).collect()
}

/// The bytes of the only image of a turn.
async fn only_image(stage: &Stage, thread: &str, turn: &str) -> Vec<u8> {
    let items = pictured(stage, thread, turn).await;
    assert!(matches!(&items[..], [Item { images: 1, .. }]), "{items:?}");
    let image = stage.host.image(thread, &items[0].id, 0).await.expect("an image");
    assert_eq!(image.kind, ImageKind::Png);
    image.bytes
}

/// Why the host refuses an image.
async fn refused(stage: &Stage, thread: &str, item: &str, index: u32) -> String {
    match stage.host.image(thread, item, index).await {
        Err(Error::Policy(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn epoch(stage: &Stage) -> Epoch {
    match *stage.world.host.codex().borrow() {
        State::Ready { epoch, .. } => epoch,
        ref other => panic!("no connection: {other:?}"),
    }
}

/// What the model was asked, all of it.
fn asked(stage: &Stage) -> String {
    let model = stage.world.model().expect("the scripted model");
    model.requests().iter().map(Value::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_image_reaches_the_model_and_is_read_back_byte_for_byte() {
    let Some((stage, _desk)) = set().await else { return };
    let [first, second, steered, queued] = [3, 4, 5, 6].map(png);
    let options = StartOptions { message: with("the first", &first), folder: None };
    let started = stage.host.start(options).await.expect("a thread");
    let (host, thread) = (&stage.host, &started.thread);
    let mut watch = host.watch(thread).await.expect("to follow it");
    ended(&mut watch, &started.turn).await;
    assert_eq!(only_image(&stage, thread, &started.turn).await, first);

    let turn = host.send(thread, with("SLOW secs=120", &second)).await.expect("a turn");
    let runs = watch.wait_for(|thread| thread.running().is_some());
    tokio::time::timeout(PATIENCE, runs).await.expect("in time").expect("a running turn");
    host.queue_add(thread, with("later", &queued)).await.expect("to be queued");
    host.steer(thread, &turn, with("rather be quick", &steered)).await.expect("to be taken");
    ended(&mut watch, &turn).await;
    // The end of a turn starts the one that waits.
    let over = |thread: &Thread| thread.turns.len() == 3 && thread.running().is_none();
    let seen = tokio::time::timeout(PATIENCE, watch.wait_for(over)).await.expect("in time").expect("a thread");
    let last = seen.turns[2].id.clone();
    assert_eq!(only_image(&stage, thread, &last).await, queued);
    let mut read = Vec::new();
    for item in pictured(&stage, thread, &turn).await {
        read.push(host.image(thread, &item.id, 0).await.expect("an image").bytes);
    }
    assert_eq!(read, [second.clone(), steered.clone()]);

    let asked = asked(&stage);
    for image in [first, second, steered, queued] {
        assert!(asked.contains(&data_url(ImageKind::Png, &image)), "the model got other bytes");
    }
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_a_tool_and_the_desk_looked_at_is_read() {
    let Some((stage, mut desk)) = set().await else { return };
    let [shot, of_tool] = [3, 4].map(png);
    let path = stage.world.work().join("shot.png");
    fs::write(&path, &shot).expect("written");
    let script = stage.world.scratch().join("camera.py");
    fs::write(&script, CAMERA.replace("PICTURE", &data_url(ImageKind::Png, &of_tool))).expect("written");
    let camera = json!({"mcp_servers": {"camera": {"command": "python3", "args": [script]}}});
    let params = json!({"cwd": stage.world.work(), "config": camera});
    let answer = desk.request("thread/start", params).await;
    let thread = answer["result"]["thread"]["id"].as_str().unwrap_or_else(|| panic!("no thread: {answer}")).to_owned();
    let text = |text: String| json!([{"type": "text", "text": text}]);

    for (input, bytes) in [
        (text(view(&path)), &shot),
        (text("CALL tool=mcp__camera/shoot args={}".into()), &of_tool),
        (json!([{"type": "text", "text": "see"}, {"type": "localImage", "path": path}]), &shot),
    ] {
        let turn = at_desk(&mut desk, &thread, input.clone()).await;
        assert_eq!(only_image(&stage, &thread, &turn).await, *bytes, "{input}");
    }
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_of_that_item_of_that_thread_is_refused() {
    let Some((stage, _desk)) = set().await else { return };
    let path = stage.world.work().join("shot.png");
    fs::write(&path, png(3)).expect("written");
    let (started, mut watch) = stage.start(&view(&path)).await;
    let turn = ended(&mut watch, &started.turn).await;
    let thread = &*started.thread;
    let (viewed, said) = (&*pictured(&stage, thread, &turn.id).await[0].id, &*turn.items[0].id);
    assert!(stage.host.image(thread, viewed, 0).await.is_ok());

    let (other, mut watch) = stage.start("hello").await;
    ended(&mut watch, &other.turn).await;
    for (thread, item, index) in
        [(thread, viewed, 1), (thread, said, 0), (thread, "nothing", 0), (&*other.thread, viewed, 0)]
    {
        let why = refused(&stage, thread, item, index).await;
        assert!(why.contains("no such image"), "{item} {index}: {why}");
    }

    // The path stands in the thread; what lies there is another thing by now.
    let put = |change: &dyn Fn(&Path)| {
        fs::remove_file(&path).expect("removed");
        change(&path);
    };
    put(&|path| fs::write(path, "root:x:0:0").expect("written"));
    assert!(refused(&stage, thread, viewed, 0).await.contains("no PNG"));
    put(&|path| std::os::unix::fs::symlink("/etc/passwd", path).expect("a link"));
    assert!(refused(&stage, thread, viewed, 0).await.contains("no PNG"));
    put(&|path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe"));
    assert!(refused(&stage, thread, viewed, 0).await.contains("ordinary"));
    put(&|path| fs::write(path, [large(0), vec![0]].concat()).expect("written"));
    assert!(refused(&stage, thread, viewed, 0).await.contains("more than 4 MiB"));
    put(&|_| {});
    assert!(refused(&stage, thread, viewed, 0).await.contains("can't be read"));
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_large_images_than_one_message_holds_are_read_and_end_no_connection() {
    let Some((stage, _desk)) = set().await else { return };
    let before = epoch(&stage);
    let (started, mut watch) = stage.start("hello").await;
    ended(&mut watch, &started.turn).await;
    let mut sent = Vec::new();
    // In base64 three of them are 16 MiB, which no message may have, and the words around them.
    for fill in 0..3 {
        let image = large(fill);
        let turn = stage.host.send(&started.thread, with("look", &image)).await.expect("a turn");
        ended(&mut watch, &turn).await;
        sent.push((turn, image));
    }
    for (turn, image) in sent {
        assert!(only_image(&stage, &started.thread, &turn).await == image, "other bytes");
    }
    assert_eq!(epoch(&stage), before);
    stage.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_honest_phone_would_not_send_is_refused_by_the_host() {
    let Some((stage, mut desk)) = set().await else { return };
    let (started, mut watch) = stage.start("hello").await;
    ended(&mut watch, &started.turn).await;
    let image = |url: String| json!({"type": "image", "url": url});
    let good = image(data_url(ImageKind::Png, &png(3)));
    let too_large = [large(0), vec![0]].concat();
    for input in [
        json!([image(data_url(ImageKind::Png, b"<html>"))]),
        json!([image(data_url(ImageKind::Jpeg, &png(3)))]),
        json!([image(data_url(ImageKind::Png, &too_large))]),
        json!([image("https://example.org/x.png".into())]),
        json!([image("file:///etc/passwd".into())]),
        json!([{"type": "localImage", "path": "/etc/passwd"}]),
        json!(vec![good; 9]),
    ] {
        for (method, more) in [
            ("turn/start", json!({})),
            ("turn/steer", json!({"expectedTurnId": started.turn})),
            ("thread/queue/add", json!({"clientUserMessageId": "one"})),
        ] {
            let mut params = more;
            (params["threadId"], params["input"]) = (json!(started.thread), input.clone());
            let answer = stage.host.call(method, params).await;
            assert!(matches!(answer, Err(Error::Policy(_))), "{method}: {answer:?}");
        }
    }
    let turns = desk.request("thread/turns/list", json!({"threadId": started.thread})).await;
    assert_eq!(turns["result"]["data"].as_array().map(Vec::len), Some(1), "Codex heard of none");
    stage.strike().await;
}

/// What makes the model look at a file.
fn view(path: &Path) -> String {
    format!("CALL tool=view_image args={}", json!({"path": path}))
}

/// A server of the Model Context Protocol with a tool that answers with an image.
const CAMERA: &str = r#"
import json, sys

def answer(message):
    if message["method"] == "initialize":
        server = {"name": "camera", "version": "1"}
        version = message["params"]["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
    if message["method"] == "tools/list":
        schema = {"type": "object", "properties": {}}
        hints = {"readOnlyHint": True}
        return {"tools": [{"name": "shoot", "description": "a picture", "inputSchema": schema, "annotations": hints}]}
    if message["method"] == "tools/call":
        data = "PICTURE".split(",")[1]
        return {"content": [{"type": "text", "text": "here"}, {"type": "image", "data": data, "mimeType": "image/png"}]}
    return {}

for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}), flush=True)
"#;
