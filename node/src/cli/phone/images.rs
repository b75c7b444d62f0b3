//! `farhelm phone images`: what the agent looked at, what tools answered, what a person attached.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use farhelm_core::codex::image::ImageKind;
use farhelm_phone::{Host, Image, Order, Paging};
use serde_json::json;

use super::{Context, Exit, Failure, Which, threads, visit};
use crate::terminal::sanitize;

/// Pages of items that are looked through, of 100 each.
const PAGES: usize = 50;

/// List the images of a thread, or save them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone images 0198c1aa-77b0\n  farhelm phone images 0198c1aa-77b0 --save shots"
)]
pub(super) struct Images {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// Only those of this item
    item: Option<String>,

    /// Save them in this folder, under names of our own; nothing is overwritten
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: Images, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let thread = threads::resolve(host, &args.thread).await?;
        let found = find(host, &thread, args.item.as_deref()).await?;
        if found.is_empty() {
            context.note("No images here.");
        }
        for (number, (item, index)) in found.iter().enumerate() {
            let Some(folder) = &args.save else {
                let event = json!({"is": "image", "thread": thread, "item": item, "index": index});
                context.say(&event, || format!("{}  #{index}", sanitize::line(item)))?;
                continue;
            };
            match host.image(&thread, item, *index).await {
                Ok(image) => {
                    let path = save(folder, number + 1, &image)?;
                    let event = json!({
                        "is": "image", "thread": thread, "item": item, "index": index, "saved": path,
                        "type": image.kind.mime(), "bytes": image.bytes.len(),
                    });
                    context.say(&event, || format!("{}  {} bytes", path.display(), image.bytes.len()))?;
                }
                // One that the host can't give (deleted, too large) doesn't keep the others away.
                Err(farhelm_phone::Error::Policy(why)) => {
                    let event = json!({"is": "image", "thread": thread, "item": item, "index": index, "refused": why});
                    context.say(&event, || format!("{}  #{index}: {}", sanitize::line(item), sanitize::line(&why)))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
    .await
}

/// Every image by its item and its number there, the oldest first.
async fn find(host: &Host, thread: &str, only: Option<&str>) -> Result<Vec<(String, u32)>, Failure> {
    let (mut found, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES {
        let paging = Paging { order: Order::OldestFirst, limit: Some(100), cursor };
        let page = host.items(thread, None, paging).await?;
        let items = page.rows.into_iter().map(|placed| placed.item).filter(|item| only.is_none_or(|id| item.id == id));
        found.extend(items.flat_map(|item| (0..item.images).map(move |index| (item.id.clone(), index))));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The name is ours: nothing of the thread's gets into a path.
fn save(folder: &Path, number: usize, image: &Image) -> Result<PathBuf, Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        Failure::new(Exit::Failed, format_args!("can't save {}: {error}", path.display()))
            .next("give another folder with --save")
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let end = match image.kind {
        ImageKind::Png => "png",
        ImageKind::Jpeg => "jpg",
        ImageKind::Gif => "gif",
        ImageKind::Webp => "webp",
    };
    let path = folder.join(format!("image-{number:03}.{end}"));
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    file.and_then(|mut file| file.write_all(&image.bytes)).map_err(|error| failed(&path, &error))?;
    Ok(path)
}
