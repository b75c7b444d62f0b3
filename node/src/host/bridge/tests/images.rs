//! Who is read an image, and what Codex is asked for it.

use data_encoding::BASE64;
use farhelm_core::policy::table;

use super::matrix::{PHONE, only};
use super::*;

const GIF: &[u8] = b"GIF89a";

fn asks() -> Value {
    json!({"threadId": "t", "itemId": "i"})
}

/// Codex's answers on the way to item `i`, which stands in the older of two turns.
fn found() -> [(&'static str, Result<Value, &'static str>); 3] {
    let content = json!([{"type": "image", "data": BASE64.encode(GIF), "mimeType": "image/gif"}]);
    let item = json!({"type": "mcpToolCall", "id": "i", "result": {"content": content}});
    [
        ("thread/turns/list", Ok(json!({"data": [{"id": "new"}, {"id": "old"}], "nextCursor": null}))),
        ("thread/items/read", Ok(json!({"data": []}))),
        ("thread/items/read", Ok(json!({"data": [{"turnId": "old", "item": item}]}))),
    ]
}

#[tokio::test]
async fn an_image_is_for_those_who_may_see_its_thread() {
    let mut stage = Stage::followed().await;
    let method = table::find("farhelm/image/read").expect("in the table");
    stage.grant(PHONE, Grant { right: Right::Viewer, ..only("/src") });
    let image = stage.passes(method, asks(), found()).await;
    assert_eq!(image, json!({"mimeType": "image/gif", "dataBase64": BASE64.encode(GIF)}));

    // Codex is asked for nothing.
    stage.grant(PHONE, only("/other"));
    let refusal = stage.refusal(method, asks(), []).await;
    assert!(refusal.contains("no such thread"), "{refusal}");
}

#[tokio::test]
async fn an_item_is_looked_for_on_every_page_of_turns() {
    let mut stage = Stage::followed().await;
    let method = table::find("farhelm/image/read").expect("in the table");
    stage.grant(PHONE, only("/src"));
    let newer = [
        ("thread/turns/list", Ok(json!({"data": [{"id": "newest"}], "nextCursor": "more"}))),
        ("thread/items/read", Ok(json!({"data": []}))),
    ];
    stage.passes(method, asks(), newer.into_iter().chain(found())).await;
}

#[tokio::test]
async fn an_item_that_was_not_asked_for_is_no_answer() {
    let mut stage = Stage::followed().await;
    let method = table::find("farhelm/image/read").expect("in the table");
    stage.grant(PHONE, only("/src"));
    let other = json!({"type": "imageView", "id": "other", "path": "/etc/passwd"});
    let script = [
        ("thread/turns/list", Ok(json!({"data": [{"id": "u"}], "nextCursor": null}))),
        ("thread/items/read", Ok(json!({"data": [{"turnId": "u", "item": other}]}))),
    ];
    assert!(stage.refusal(method, asks(), script).await.contains("no such image"));
}
