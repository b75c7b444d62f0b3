//! Turns: `farhelm phone steer`, `interrupt`, `review` and `compact`.

use clap::Args;
use farhelm_core::codex::thread::TurnStatus;
use farhelm_phone::{Error, Host, Order, Paging, ReviewTarget};
use serde_json::json;

use super::say::{self, Images};
use super::{Context, Failure, Which, threads, visit};
use crate::terminal::sanitize;

/// Say something to the turn that runs; the answer being written is cut short
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone steer 0198c1aa-77b0 \"use the other branch\"")]
pub(super) struct Steer {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// What to say, or `-` for standard input
    text: String,

    #[command(flatten)]
    images: Images,

    #[command(flatten)]
    which: Which,
}

/// Interrupt the turn that runs
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone interrupt 0198c1aa-77b0\n  farhelm phone interrupt 0198c1aa-77b0 --processes\n\nCodex leaves a command running that the turn has started; they are listed, and --processes ends them."
)]
pub(super) struct Interrupt {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// End the processes that the thread's turns left running, too
    #[arg(long)]
    processes: bool,

    #[command(flatten)]
    which: Which,
}

/// Have changes reviewed, as a turn of a thread
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone review 0198c1aa-77b0\n  farhelm phone review 0198c1aa-77b0 --base main\n  farhelm phone review 0198c1aa-77b0 --custom \"look for races\""
)]
pub(super) struct Review {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// What the branch would change in this one; without it or another: what isn't committed
    #[arg(long, value_name = "BRANCH", group = "target")]
    base: Option<String>,

    /// One commit
    #[arg(long, value_name = "SHA", group = "target")]
    commit: Option<String>,

    /// Whatever these words ask for
    #[arg(long, value_name = "TEXT", group = "target")]
    custom: Option<String>,

    #[command(flatten)]
    which: Which,

    /// Don't follow it
    #[arg(long)]
    detach: bool,
}

/// Have a thread summed up, so that more fits into the model's view
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone compact 0198c1aa-77b0")]
pub(super) struct Compact {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn steer(args: Steer, context: &Context) -> Result<(), Failure> {
    let message = say::message(args.text, args.images)?;
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        let turn = running(host, &id).await?;
        host.steer(&id, &turn, message).await?;
        context.say(&json!({"is": "steered", "thread": id, "turn": turn}), || "Said.".into())
    })
    .await
}

/// The turn that runs.
async fn running(host: &Host, thread: &str) -> Result<String, Error> {
    let paging = Paging { order: Order::NewestFirst, limit: Some(1), cursor: None };
    let newest = host.history(thread, paging).await?.rows.into_iter().next();
    newest.filter(|turn| turn.status == TurnStatus::InProgress).map(|turn| turn.id).ok_or(Error::NoSuchTurn)
}

pub(super) async fn interrupt(args: Interrupt, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        match host.interrupt(&id).await {
            Ok(turn) => {
                context.say(&json!({"is": "interrupted", "thread": id, "turn": turn}), || "Interrupted.".into())?
            }
            // What it left behind can be ended later, too.
            Err(Error::NoSuchTurn) if args.processes => context.note("No turn runs."),
            Err(error) => return Err(error.into()),
        }
        processes(host, &id, args.processes, context).await
    })
    .await
}

async fn processes(host: &Host, id: &str, end: bool, context: &Context) -> Result<(), Failure> {
    let left = host.background_terminals(id).await?;
    for terminal in &left {
        let ended = end && host.terminate(id, &terminal.process).await?;
        let event = json!({
            "is": "process", "process": terminal.process, "command": terminal.command, "folder": terminal.folder,
            "ended": ended,
        });
        context.say(&event, || {
            let word = if ended { "Ended" } else { "Still running" };
            format!("{word}: {}", sanitize::line(&terminal.command))
        })?;
    }
    if !end && !left.is_empty() {
        context.note("To end them as well: farhelm phone interrupt --processes");
    }
    Ok(())
}

pub(super) async fn review(args: Review, context: &Context) -> Result<(), Failure> {
    let target = match (args.base, args.commit, args.custom) {
        (Some(branch), _, _) => ReviewTarget::BaseBranch { branch },
        (_, Some(sha), _) => ReviewTarget::Commit { sha },
        (_, _, Some(instructions)) => ReviewTarget::Custom { instructions },
        (None, None, None) => ReviewTarget::Uncommitted,
    };
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        let turn = host.review(&id, &target).await?;
        context.say(&json!({"is": "review", "thread": id, "turn": turn}), || "The review has begun.".into())?;
        threads::after(args.detach, host, &id, turn, context).await
    })
    .await
}

pub(super) async fn compact(args: Compact, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        host.compact(&id).await?;
        context.say(&json!({"is": "compacting", "thread": id}), || "It is being summed up.".into())
    })
    .await
}
