//! Threads in order: `farhelm phone rename`, `archive`, `unarchive` and `fork`.

use clap::Args;
use serde_json::json;

use super::{Context, Failure, Which, threads, visit};
use crate::terminal::sanitize;

/// Give a thread a title
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone rename 0198c1aa-77b0 \"the flaky test\"")]
pub(super) struct Rename {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// Its title
    title: String,

    #[command(flatten)]
    which: Which,
}

/// Put a thread away: it leaves the usual list, nothing is deleted
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone archive 0198c1aa-77b0\n  farhelm phone threads --archived\n  farhelm phone unarchive 0198c1aa-77b0"
)]
pub(super) struct Archive {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    #[command(flatten)]
    which: Which,
}

/// Take a thread back from the archive
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone unarchive 0198c1aa-77b0")]
pub(super) struct Unarchive {
    /// The thread's id, or its beginning as `threads --archived` shows it
    thread: String,

    #[command(flatten)]
    which: Which,
}

/// Go on in a copy of a thread
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone fork 0198c1aa-77b0")]
pub(super) struct Fork {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn rename(args: Rename, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        host.rename(&id, &args.title).await?;
        context.say(&json!({"is": "renamed", "thread": id, "name": args.title}), || "Renamed.".into())
    })
    .await
}

pub(super) async fn archive(args: Archive, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        host.archive(&id).await?;
        context.say(&json!({"is": "archived", "thread": id}), || "Archived.".into())
    })
    .await
}

pub(super) async fn unarchive(args: Unarchive, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve_among(host, &args.thread, true).await?;
        host.unarchive(&id).await?;
        context.say(&json!({"is": "unarchived", "thread": id}), || "It is back.".into())
    })
    .await
}

pub(super) async fn fork(args: Fork, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        let copy = host.fork(&id).await?;
        let event = json!({"is": "forked", "thread": id, "copy": copy});
        context.say(&event, || format!("Thread {}", sanitize::line(&copy)))
    })
    .await
}
