//! Reading threads: `farhelm phone show`, `search` and `goal`.

use clap::Args;
use farhelm_core::codex::thread::{Page, Turn};
use farhelm_phone::{Host, Order, Paging};
use serde_json::json;

use super::{Context, Failure, Which, report, threads, visit};
use crate::terminal::{sanitize, thread};

/// Show a thread's history, page by page
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone show 0198c1aa-77b0\n  farhelm phone show 0198c1aa-77b0 --turns 50\n  farhelm phone show 0198c1aa-77b0 --all --json"
)]
pub(super) struct Show {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// The newest so many turns
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,

    /// Those before: the cursor that the page after them said
    #[arg(long, value_name = "CURSOR")]
    before: Option<String>,

    /// The whole history, the oldest turn first
    #[arg(long, conflicts_with_all = ["turns", "before"])]
    all: bool,

    #[command(flatten)]
    which: Which,
}

/// Find threads by what is said in them
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone search \"flaky test\"\n  farhelm phone search sanitizer --json")]
pub(super) struct Search {
    /// What to look for
    text: String,

    #[command(flatten)]
    which: Which,
}

/// Show what a thread is after across its turns
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone goal 0198c1aa-77b0\n\nA goal is set at the desk.")]
pub(super) struct Goal {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn show(args: Show, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        if args.all {
            return whole(host, &id, context).await;
        }
        let paging = Paging { order: Order::NewestFirst, limit: Some(args.turns), cursor: args.before };
        let Page { mut rows, next } = host.history(&id, paging).await?;
        // Read from the top down.
        rows.reverse();
        say(&id, &rows, context)?;
        match next {
            Some(cursor) if context.json() => context.say(&json!({"is": "more", "before": cursor}), String::new),
            Some(cursor) => {
                let (id, cursor) = (sanitize::line(&args.thread), sanitize::line(&cursor));
                context.note(&format!("There is more before: farhelm phone show {id} --before {cursor}"));
                Ok(())
            }
            None => Ok(()),
        }
    })
    .await
}

/// Page after page as they come, so that a long history needs no room.
async fn whole(host: &Host, id: &str, context: &Context) -> Result<(), Failure> {
    let mut cursor = None;
    loop {
        let paging = Paging { order: Order::OldestFirst, limit: Some(50), cursor: cursor.clone() };
        let Page { rows, next } = host.history(id, paging).await?;
        say(id, &rows, context)?;
        // A cursor that leads nowhere would lead there for ever.
        if next.is_none() || next == cursor || rows.is_empty() {
            return Ok(());
        }
        cursor = next;
    }
}

fn say(id: &str, turns: &[Turn], context: &Context) -> Result<(), Failure> {
    for turn in turns {
        for item in &turn.items {
            super::follow::say_item(id, &turn.id, item, context)?;
        }
        let end = thread::turn_end(&turn.status);
        context.say(&report::turn(id, &turn.id, &turn.status), || end.unwrap_or_else(|| "(running)".into()))?;
    }
    Ok(())
}

pub(super) async fn search(args: Search, context: &Context) -> Result<(), Failure> {
    let page = visit(context, &args.which, async |host| Ok(host.search(&args.text, None).await?)).await?;
    if page.rows.is_empty() {
        context.note("Nothing found.");
    }
    page.rows.iter().try_for_each(|hit| {
        let event = json!({"is": "hit", "thread": report::thread(&hit.thread), "snippet": hit.snippet});
        context.say(&event, || format!("{}\n    {}", thread::row(&hit.thread), sanitize::line(&hit.snippet)))
    })
}

pub(super) async fn goal(args: Goal, context: &Context) -> Result<(), Failure> {
    let goal = visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        Ok(host.goal(&id).await?)
    })
    .await?;
    let event = goal.as_ref().map_or_else(
        || json!({"is": "goal", "objective": null}),
        |goal| {
            json!({
                "is": "goal", "objective": goal.objective, "status": goal.status, "tokens_used": goal.tokens_used,
                "token_budget": goal.token_budget, "seconds_used": goal.seconds_used,
            })
        },
    );
    context.say(&event, || match &goal {
        None => "This thread has no goal.".into(),
        Some(goal) => {
            let budget = goal.token_budget.map(|budget| format!(" of {budget}")).unwrap_or_default();
            let (objective, status) = (sanitize::block(&goal.objective), sanitize::line(&goal.status));
            format!("{objective}\n({status}; {}{budget} tokens, {} s)", goal.tokens_used, goal.seconds_used)
        }
    })
}
