//! `farhelm phone threads`, `start` and `send`.

use clap::Args;
use farhelm_phone::{Host, StartOptions, ThreadQuery};
use serde_json::json;

use super::follow::Follow;
use super::say::{self, Choice, Images};
use super::{Context, Exit, Failure, Which, report, visit};
use crate::terminal::{sanitize, thread};

/// A thread id in full, as Codex makes them (UUIDs).
const WHOLE_ID: usize = 36;
/// Threads among which the beginning of an id is looked for.
const RECENT: u32 = 100;

/// List threads, newest first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone threads\n  farhelm phone threads --limit 50 --json\n  farhelm phone threads --archived --folder /home/me/project"
)]
pub(super) struct Threads {
    #[command(flatten)]
    which: Which,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,

    /// Those that were archived, in place of the others
    #[arg(long)]
    archived: bool,

    /// Those that work in this folder of the host's, or below it
    #[arg(long, value_name = "DIR")]
    folder: Option<String>,

    /// Those whose title has this in it
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

/// Start a thread in a folder the host offers, and follow it until its turn ends or waits for an approval
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone start \"fix the failing test\"\n  farhelm phone start - --detach < task.txt"
)]
pub(super) struct Start {
    /// What Codex is to do, or `-` for standard input
    prompt: String,

    /// The folder, one of those that `farhelm phone hosts` shows; without it the host's own
    #[arg(long, value_name = "DIR")]
    folder: Option<String>,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    images: Images,

    #[command(flatten)]
    which: Which,

    /// Don't follow it
    #[arg(long)]
    detach: bool,
}

/// Send a message to a thread, into the turn that runs or as a new one, and follow that
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone send 0198c1aa-77b0 \"and add a test\"\n  farhelm phone send 0198c1aa-77b0 - < more.txt"
)]
pub(super) struct Send {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// The message, or `-` for standard input
    text: String,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    images: Images,

    #[command(flatten)]
    which: Which,

    /// Don't follow it
    #[arg(long)]
    detach: bool,
}

pub(super) async fn list(args: Threads, context: &Context) -> Result<(), Failure> {
    let everything = !args.archived && args.folder.is_none() && args.title.is_none();
    let Threads { limit, archived, folder, title: search, which } = args;
    let query = ThreadQuery { archived, folder, search, ..ThreadQuery::newest(limit) };
    let page = visit(context, &which, async |host| Ok(host.threads(query).await?)).await?;
    if page.rows.is_empty() && everything {
        context.note("No thread yet. Start one with `farhelm phone start`, or with `codex` at the desk.");
    }
    page.rows.iter().try_for_each(|summary| context.say(&report::thread(summary), || thread::row(summary)))
}

pub(super) async fn start(args: Start, context: &Context) -> Result<(), Failure> {
    let message = args.choice.put_into(say::message(args.prompt, args.images)?);
    let options = StartOptions { message, folder: args.folder };
    visit(context, &args.which, async |host| {
        let started = host.start(options).await?;
        context.say(&json!({"is": "started", "thread": started.thread, "turn": started.turn}), || {
            format!("Thread {}", sanitize::line(&started.thread))
        })?;
        after(args.detach, host, &started.thread, started.turn, context).await
    })
    .await
    .map_err(interrupted)
}

pub(super) async fn send(args: Send, context: &Context) -> Result<(), Failure> {
    let message = args.choice.put_into(say::message(args.text, args.images)?);
    visit(context, &args.which, async |host| {
        let thread = resolve(host, &args.thread).await?;
        let turn = host.send(&thread, message).await?;
        context.say(&json!({"is": "sent", "thread": thread, "turn": turn}), || "Sent.".into())?;
        after(args.detach, host, &thread, turn, context).await
    })
    .await
    .map_err(interrupted)
}

pub(super) async fn after(
    detach: bool,
    host: &Host,
    thread: &str,
    turn: String,
    context: &Context,
) -> Result<(), Failure> {
    if detach {
        return Ok(());
    }
    Follow::of_turn(turn).until_it_stops(host, thread, context).await
}

/// Ctrl-C ends the following, not the turn.
fn interrupted(failure: Failure) -> Failure {
    match failure.code() {
        Exit::Interrupted => failure.next("a turn that was started goes on; see it with `farhelm phone watch`"),
        _ => failure,
    }
}

/// The thread whose id begins like that.
pub(super) async fn resolve(host: &Host, id: &str) -> Result<String, Failure> {
    resolve_among(host, id, false).await
}

/// The same among those that were archived, or the others.
pub(super) async fn resolve_among(host: &Host, id: &str, archived: bool) -> Result<String, Failure> {
    if id.len() >= WHOLE_ID {
        return Ok(id.to_owned());
    }
    let recent = host.threads(ThreadQuery { archived, ..ThreadQuery::newest(RECENT) }).await?.rows;
    let mut found =
        recent.into_iter().map(|thread| thread.id).filter(|thread| !id.is_empty() && thread.starts_with(id));
    match (found.next(), found.next()) {
        (Some(thread), None) => Ok(thread),
        (None, _) => Err(Failure::new(Exit::NotFound, format_args!("no recent thread's id begins with {id:?}"))
            .next("`farhelm phone threads` lists them; an older one needs its whole id")),
        (Some(_), Some(_)) => Err(Failure::new(Exit::Usage, format_args!("{id:?} could be more than one thread"))
            .next("give more of its id; `farhelm phone threads --json` shows it whole")),
    }
}
