//! Images of a thread, read for a phone: `farhelm/image/read`.
//!
//! ```text
//!  item id, number ─► the item, from Codex ─► what stands in it ─► bytes ─► an image, or a refusal
//! ```
//! Codex is asked turn by turn for that one item. A page of items would hold every image in it: a few large ones are more
//! than the connection takes in one message, and it would end for everybody.
//!
//! The phone never names a path: it names an item, and the host reads only what that item of that thread says. What the
//! agent wrote there may be anything, so only regular files are read, only up to [`limits::IMAGE`] bytes, and only what
//! begins like an image is sent. Links are followed: folders of projects are full of them, and a link to what is no
//! image gives nothing. Addresses are never fetched.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use farhelm_core::codex::image::ImageKind;
use farhelm_core::codex::thread::image::{ImageSource, images};
use farhelm_core::wire::envelope::Failure;
use farhelm_core::wire::limits;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::{failed, refused};
use crate::host::app_server::AppServer;

/// Images under way at once, over all phones: each takes up to twice [`limits::IMAGE`] of memory.
const AT_ONCE: usize = 4;
/// How long one may wait for its place, and how long reading it may take: a file may lie on a disk that sleeps, or on a
/// network.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pages of turns that are looked through for an item, of 100 turns each, the newest first. Codex takes about a
/// millisecond for a turn (measured with 0.169.0).
const PAGES: usize = 50;
/// How long an item is looked for.
const LOOKING: Duration = Duration::from_secs(30);

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
enum NoImage {
    #[error("there is no such image in this thread; look at it again")]
    Nowhere,
    #[error("the image isn't on the host; look at it at the desk")]
    Elsewhere,
    #[error("the image's file can't be read ({0}); look for it at the desk")]
    File(io::Error),
    #[error("the image's file isn't an ordinary one; look at it at the desk")]
    NoFile,
    #[error("the image has more than {} MiB; open it at the desk", limits::IMAGE >> 20)]
    TooLarge,
    #[error("this is no PNG, JPEG, GIF or WebP image; look at it at the desk")]
    NoPicture,
    #[error("reading the image took too long; try again")]
    Slow,
    #[error("the host reads other images already; try again")]
    Busy,
}

/// What reads images. Clones share the limit.
#[derive(Debug, Clone)]
pub(super) struct Images(Arc<Semaphore>);

impl Default for Images {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Images {
    /// Answers `farhelm/image/read`; that the device may see this thread was checked before.
    pub(super) async fn read(&self, app_server: &AppServer, params: &Value) -> Result<Value, Failure> {
        let text = |name| params.get(name).and_then(Value::as_str).unwrap_or_default();
        let index = params.get("index").and_then(Value::as_u64).unwrap_or(0) as usize;
        let place = self.place().await.map_err(|none| refused(&none.to_string()))?;
        let found = timeout(LOOKING, item(app_server, text("threadId"), text("itemId"))).await;
        let none = |none: NoImage| refused(&none.to_string());
        let item = found.map_err(|_| none(NoImage::Slow))??.ok_or_else(|| none(NoImage::Nowhere))?;
        let (kind, bytes) = image(place, item, index).await.map_err(none)?;
        Ok(json!({"mimeType": kind.mime(), "dataBase64": BASE64.encode(&bytes)}))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, NoImage> {
        let place = timeout(PATIENCE, self.0.clone().acquire_owned()).await;
        place.map_err(|_| NoImage::Busy)?.map_err(|_| NoImage::Busy)
    }
}

/// The item as Codex has it in this thread, if it has.
async fn item(app_server: &AppServer, thread: &str, id: &str) -> Result<Option<Value>, Failure> {
    let mut cursor = Value::Null;
    for _ in 0..PAGES {
        let asked = json!({
            "threadId": thread, "itemsView": "notLoaded", "limit": 100, "sortDirection": "desc", "cursor": cursor,
        });
        let page = app_server.request("thread/turns/list", asked).await.map_err(|error| failed(&error))?;
        for turn in rows(&page).filter_map(|turn| turn.get("id")?.as_str()) {
            let asked = json!({"threadId": thread, "turnId": turn, "itemIds": [id]});
            let found = app_server.request("thread/items/read", asked).await.map_err(|error| failed(&error))?;
            let mut items = rows(&found).filter_map(|row| row.get("item"));
            if let Some(item) = items.find(|item| item.get("id").and_then(Value::as_str) == Some(id)) {
                return Ok(Some(item.clone()));
            }
        }
        cursor = page.get("nextCursor").cloned().unwrap_or_default();
        if cursor.is_null() {
            break;
        }
    }
    Ok(None)
}

fn rows(page: &Value) -> impl Iterator<Item = &Value> {
    page.get("data").and_then(Value::as_array).into_iter().flatten()
}

/// Files may block, and so does decoding megabytes. A read that is given up goes on until its file answers, and keeps
/// its place until then.
async fn image(place: OwnedSemaphorePermit, item: Value, index: usize) -> Result<(ImageKind, Vec<u8>), NoImage> {
    let read = tokio::task::spawn_blocking(move || {
        let _place = place;
        let bytes = match images(&item).get(index).ok_or(NoImage::Nowhere)? {
            ImageSource::File(path) => read_file(Path::new(path))?,
            ImageSource::Base64(data) => decode(data)?,
            ImageSource::Elsewhere => return Err(NoImage::Elsewhere),
        };
        Ok((ImageKind::of(&bytes).ok_or(NoImage::NoPicture)?, bytes))
    });
    timeout(PATIENCE, read).await.map_err(|_| NoImage::Slow)?.unwrap_or(Err(NoImage::Slow))
}

fn decode(data: &str) -> Result<Vec<u8>, NoImage> {
    if data.len() > limits::IMAGE.div_ceil(3) * 4 {
        return Err(NoImage::TooLarge);
    }
    let bytes = BASE64.decode(data.as_bytes()).map_err(|_| NoImage::NoPicture)?;
    if bytes.len() > limits::IMAGE { Err(NoImage::TooLarge) } else { Ok(bytes) }
}

/// A file's bytes. What it is is looked at after it was opened, so that nothing can be put in its place in between, and
/// opening waits for nobody (a pipe without a writer).
fn read_file(path: &Path) -> Result<Vec<u8>, NoImage> {
    if !path.is_absolute() {
        return Err(NoImage::Nowhere);
    }
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(NoImage::File)?;
    let about = file.metadata().map_err(NoImage::File)?;
    if !about.is_file() {
        return Err(NoImage::NoFile);
    }
    if about.len() > limits::IMAGE as u64 {
        return Err(NoImage::TooLarge);
    }
    up_to_the_limit(file)
}

/// It may grow while it is read.
fn up_to_the_limit(file: File) -> Result<Vec<u8>, NoImage> {
    let mut bytes = Vec::new();
    file.take(limits::IMAGE as u64 + 1).read_to_end(&mut bytes).map_err(NoImage::File)?;
    if bytes.len() > limits::IMAGE { Err(NoImage::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    async fn of(item: Value, index: usize) -> Result<(ImageKind, Vec<u8>), String> {
        let place = Images::default().place().await.expect("a place");
        image(place, item, index).await.map_err(|none| none.to_string())
    }

    fn view(path: &Path) -> Value {
        json!({"type": "imageView", "id": "i", "path": path})
    }

    #[tokio::test]
    async fn what_stands_in_an_item_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shot.png");
        fs::write(&path, PNG).unwrap();
        symlink(&path, folder.path().join("link.png")).unwrap();
        for path in ["shot.png", "link.png"] {
            assert_eq!(of(view(&folder.path().join(path)), 0).await, Ok((ImageKind::Png, PNG.to_vec())));
        }
        let content = json!([{"type": "image", "data": BASE64.encode(PNG)}, {"type": "image", "data": "!"}]);
        let tool = json!({"type": "mcpToolCall", "id": "i", "result": {"content": content}});
        assert_eq!(of(tool.clone(), 0).await, Ok((ImageKind::Png, PNG.to_vec())));
        assert!(of(tool, 1).await.unwrap_err().contains("no PNG"));
    }

    #[tokio::test]
    async fn what_is_no_image_of_the_item_gives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("secret.png"), "root:x:0:0").unwrap();
        symlink("/etc/passwd", at("link.png")).unwrap();
        mknodat(CWD, at("pipe.png"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let large = File::create(at("large.png")).unwrap();
        large.set_len(limits::IMAGE as u64 + 1).unwrap();
        for (item, why) in [
            (view(&at("secret.png")), "no PNG"),
            (view(&at("link.png")), "no PNG"),
            (view(&at("pipe.png")), "ordinary"),
            (view(folder.path()), "ordinary"),
            (view(Path::new("/dev/zero")), "ordinary"),
            (view(&at("large.png")), "more than 4 MiB"),
            (view(&at("gone.png")), "can't be read"),
            (view(Path::new("relative.png")), "no such image"),
            (json!({"type": "agentMessage", "id": "i", "text": "x"}), "no such image"),
            (
                json!({"type": "userMessage", "content": [{"type": "image", "url": "http://169.254.169.254/"}]}),
                "on the host",
            ),
            (
                json!({"type": "imageGeneration", "status": "completed", "result": "A".repeat(8 << 20)}),
                "more than 4 MiB",
            ),
        ] {
            let refusal = of(item, 0).await.unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
        assert!(of(view(&at("secret.png")), 1).await.unwrap_err().contains("no such image"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_every_place_taken_is_told_so() {
        let images = Images::default();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(images.place().await.expect("a place"));
        }
        assert!(matches!(images.place().await, Err(NoImage::Busy)));
        taken.pop();
        assert!(images.place().await.is_ok());
    }

    #[test]
    fn a_file_that_grows_is_read_to_the_limit_only() {
        let endless = File::open("/dev/zero").unwrap();
        assert!(matches!(up_to_the_limit(endless), Err(NoImage::TooLarge)));
    }
}
