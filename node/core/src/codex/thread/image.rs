//! Where the images of an item are. Only the host reads them: a phone names an item and a number, and what that means is
//! decided by what stands in the thread.

use serde_json::Value;

use super::item::text;
use super::parse::list;

/// Where an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSource<'a> {
    /// In a file of the host's.
    File(&'a str),
    /// Here, as base64.
    Base64(&'a str),
    /// At an address, or in a store of Codex's: the host fetches nothing.
    Elsewhere,
}

/// The images of an item as the app-server describes it, in order. [`Item::images`](super::Item::images) counts them.
pub fn images(item: &Value) -> Vec<ImageSource<'_>> {
    let parts = match text(item, "type") {
        Some("imageView") => return text(item, "path").map(ImageSource::File).into_iter().collect(),
        Some("imageGeneration") => return generated(item).into_iter().collect(),
        Some("userMessage") => list(item, "content"),
        Some("mcpToolCall") => item.get("result").map(|result| list(result, "content")).unwrap_or_default(),
        Some("dynamicToolCall") => list(item, "contentItems"),
        Some("functionCallOutput") => list(item, "output"),
        _ => &[],
    };
    parts.iter().filter_map(part).collect()
}

fn generated(item: &Value) -> Option<ImageSource<'_>> {
    let failed = item.get("failure").is_some_and(|failure| !failure.is_null());
    if failed || text(item, "status") != Some("completed") {
        return None;
    }
    let filled = |name| text(item, name).filter(|text| !text.is_empty());
    // What stands in the item itself can't have been put in another's place, or deleted.
    let here = filled("result").map(ImageSource::Base64).or_else(|| filled("savedPath").map(ImageSource::File));
    Some(here.unwrap_or(ImageSource::Elsewhere))
}

/// A part of a message or of a tool's answer, if it is an image.
fn part(part: &Value) -> Option<ImageSource<'_>> {
    let at = |name| text(part, name).map_or(ImageSource::Elsewhere, of_url);
    match text(part, "type")? {
        // Of the Model Context Protocol, the bytes themselves; of a message, an address.
        "image" => Some(text(part, "data").map_or_else(|| at("url"), ImageSource::Base64)),
        "inputImage" => Some(at("imageUrl")),
        "input_image" => Some(at("image_url")),
        "localImage" => Some(text(part, "path").map_or(ImageSource::Elsewhere, ImageSource::File)),
        _ => None,
    }
}

fn of_url(url: &str) -> ImageSource<'_> {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    data.map_or(ImageSource::Elsewhere, |(_, data)| ImageSource::Base64(data))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codex::thread::Item;

    #[test]
    fn each_image_has_a_place_and_the_reducer_counts_the_same() {
        use ImageSource::{Base64, Elsewhere, File};
        for (item, expected) in [
            (json!({"type": "imageView", "path": "/shot.png"}), vec![File("/shot.png")]),
            (json!({"type": "imageGeneration", "status": "completed", "result": "AAAA"}), vec![Base64("AAAA")]),
            (
                json!({"type": "imageGeneration", "status": "completed", "result": "AAAA", "savedPath": "/a.png"}),
                vec![Base64("AAAA")],
            ),
            (
                json!({"type": "imageGeneration", "status": "completed", "result": "", "savedPath": "/a.png"}),
                vec![File("/a.png")],
            ),
            (json!({"type": "imageGeneration", "status": "completed", "fileId": "f"}), vec![Elsewhere]),
            (json!({"type": "imageGeneration", "status": "inProgress", "result": ""}), vec![]),
            (
                json!({"type": "userMessage", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "url": "data:image/png;base64,BBBB"},
                    {"type": "image", "url": "https://example.org/x.png"},
                    {"type": "localImage", "path": "/desk.png"},
                ]}),
                vec![Base64("BBBB"), Elsewhere, File("/desk.png")],
            ),
            (
                json!({"type": "mcpToolCall", "server": "s", "tool": "t", "status": "completed", "result": {"content": [
                    {"type": "text", "text": "done"}, {"type": "image", "data": "CCCC", "mimeType": "image/png"},
                ]}}),
                vec![Base64("CCCC")],
            ),
            (
                json!({"type": "dynamicToolCall", "tool": "t", "status": "completed", "contentItems": [
                    {"type": "inputImage", "imageUrl": "data:image/jpeg;base64,DDDD"},
                ]}),
                vec![Base64("DDDD")],
            ),
            (
                json!({"type": "functionCallOutput", "name": "f", "output": [
                    {"type": "input_image", "image_url": "file:///etc/passwd"},
                ]}),
                vec![Elsewhere],
            ),
            (json!({"type": "commandExecution", "command": "cat x.png"}), vec![]),
        ] {
            assert_eq!(images(&item), expected, "{item}");
            let mut whole = item.clone();
            whole["id"] = "i".into();
            let read = Item::read(&whole, false).expect("an item");
            assert_eq!(read.images as usize, expected.len(), "{item}");
        }
    }
}
