//! `farhelm phone queue`: messages that wait for the turn before them.

use clap::{Args, Subcommand};
use farhelm_phone::{Error, Host, Queued};
use serde_json::{Value, json};

use super::say::{self, Images};
use super::{Context, Exit, Failure, Which, threads, visit};
use crate::terminal::sanitize;

/// Queue messages for a thread: each starts a turn when the one before has completed
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone queue 0198c1aa-77b0\n  farhelm phone queue 0198c1aa-77b0 add \"then run the tests\"\n  farhelm phone queue 0198c1aa-77b0 move 7f3a --first\n\nAfter an interrupted turn the queue waits; `start` goes on with it."
)]
pub(super) struct Queue {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    #[command(subcommand)]
    act: Option<Act>,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show what waits, the next first
    #[command(after_help = "Examples:\n  farhelm phone queue 0198c1aa-77b0 list")]
    List,
    /// Put a message behind the others; an idle thread starts on it at once
    #[command(after_help = "Examples:\n  farhelm phone queue 0198c1aa-77b0 add \"then run the tests\"")]
    Add {
        /// The message, or `-` for standard input
        text: String,

        #[command(flatten)]
        images: Images,
    },
    /// Take a message out
    #[command(after_help = "Examples:\n  farhelm phone queue 0198c1aa-77b0 delete 7f3a")]
    Delete {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Move a message to another place
    #[command(after_help = "Examples:\n  farhelm phone queue 0198c1aa-77b0 move 7f3a --to 2")]
    Move {
        /// Its id, or the beginning of it
        id: String,

        /// Before all others
        #[arg(long, conflicts_with = "to")]
        first: bool,

        /// To this place, counted from 1
        #[arg(long, value_name = "PLACE", required_unless_present = "first")]
        to: Option<usize>,
    },
    /// Start the next message's turn now, or that of a certain one
    #[command(after_help = "Examples:\n  farhelm phone queue 0198c1aa-77b0 start")]
    Start {
        /// Its id, or the beginning of it
        id: Option<String>,
    },
}

pub(super) async fn run(args: Queue, context: &Context) -> Result<(), Failure> {
    let Queue { thread, act, which } = args;
    // Before anything is asked of the host: a message that can't be read changes nothing.
    let act = match act.unwrap_or(Act::List) {
        Act::Add { text, images } => Ready::Add(say::message(text, images)?),
        other => Ready::Other(other),
    };
    visit(context, &which, async |host| {
        let id = threads::resolve(host, &thread).await?;
        match act {
            Ready::Add(message) => {
                let queued = host.queue_add(&id, message).await?;
                context.say(&row(&queued), || format!("Queued as {}.", short(&queued.id)))
            }
            Ready::Other(act) => other(host, &id, act, context).await,
        }
    })
    .await
}

enum Ready {
    Add(farhelm_phone::Message),
    Other(Act),
}

async fn other(host: &Host, thread: &str, act: Act, context: &Context) -> Result<(), Failure> {
    let queue = host.queue(thread).await?;
    match act {
        Act::List | Act::Add { .. } => {
            if queue.is_empty() {
                context.note("Nothing waits.");
            }
            queue.iter().try_for_each(|queued| {
                context.say(&row(queued), || {
                    let more = if queued.attachments > 0 {
                        format!(" (+{} images)", queued.attachments)
                    } else {
                        String::new()
                    };
                    format!("{}  {}{more}", short(&queued.id), sanitize::line(&queued.text))
                })
            })
        }
        Act::Delete { id } => {
            let queued = find(&queue, &id)?;
            if !host.queue_delete(thread, &queued.id).await? {
                return Err(gone(&id));
            }
            context.say(&json!({"is": "deleted", "id": queued.id}), || "Taken out.".into())
        }
        Act::Move { id, first, to } => {
            let id = find(&queue, &id)?.id.clone();
            let mut order: Vec<_> = queue.into_iter().map(|queued| queued.id).filter(|other| *other != id).collect();
            let place = if first { 0 } else { to.unwrap_or(1).saturating_sub(1).min(order.len()) };
            order.insert(place, id);
            host.queue_reorder(thread, &order).await?;
            context.say(&json!({"is": "reordered", "ids": order}), || "Moved.".into())
        }
        Act::Start { id } => {
            let id = id.map(|id| find(&queue, &id).map(|queued| queued.id.clone())).transpose()?;
            let turn = match host.queue_start(thread, id.as_deref()).await {
                Err(Error::Codex(_)) if queue.is_empty() => return Err(Failure::new(Exit::NotFound, "nothing waits")),
                started => started?,
            };
            context.say(&json!({"is": "started", "thread": thread, "turn": turn}), || "Started.".into())
        }
    }
}

fn row(queued: &Queued) -> Value {
    json!({"is": "queued", "id": queued.id, "text": queued.text, "attachments": queued.attachments})
}

fn short(id: &str) -> String {
    sanitize::line(&id.chars().take(8).collect::<String>())
}

fn gone(id: &str) -> Failure {
    Failure::new(Exit::NotFound, format_args!("nothing that waits has the id {id:?}"))
        .next("`farhelm phone queue THREAD` lists what waits")
}

fn find<'a>(queue: &'a [Queued], id: &str) -> Result<&'a Queued, Failure> {
    let mut found = queue.iter().filter(|queued| !id.is_empty() && queued.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(queued), None) => Ok(queued),
        (None, _) => Err(gone(id)),
        (Some(_), Some(_)) => Err(Failure::new(Exit::Usage, format_args!("{id:?} could be more than one message"))
            .next("give more of its id; --json shows it whole")),
    }
}
