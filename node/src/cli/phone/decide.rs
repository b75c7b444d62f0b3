//! `farhelm phone approve`, `decline` and `diff`: the content first and whole, then the question.
//!
//! A script can't look, so it must name what it decides on: by the digest of the content, which it had from `start`,
//! `send` or `watch`. What that digest stands for can't change under it.

use std::time::Duration;

use clap::Args;
use farhelm_core::codex::approval::{Act, Approval};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::{Item, ItemKind, Turn};
use farhelm_phone::{DecideError, Host};
use serde_json::json;

use super::{Context, Exit, Failure, PATIENCE, Which, report, threads, visit};
use crate::terminal::{approval, ask, diff as changes};

/// How long the person may think; the host's own deadline comes on top.
const THINKING: Duration = Duration::from_secs(10 * 60);
/// Digits of a digest that name it.
const DIGITS: usize = 8;

/// Which approval.
#[derive(Debug, Args)]
struct Named {
    /// The approval whose content has a digest that begins so (at least 8 hex digits); needed without a terminal
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    digest: Option<String>,

    /// Don't ask
    #[arg(long, requires = "digest")]
    yes: bool,

    #[command(flatten)]
    which: Which,
}

/// Show what waits for approval, ask, and approve exactly that
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone approve\n  farhelm phone approve --digest 9f86d081884c --yes")]
pub(super) struct Approve {
    #[command(flatten)]
    named: Named,

    /// Also what is like it for the rest of Codex's session: the same command, or changes of the same files
    #[arg(long)]
    for_session: bool,

    /// Say, signed, that you made sure again that it is you; where the host asks for it and there is no terminal
    #[arg(long, requires = "yes")]
    step_up: bool,
}

/// Show what waits for approval, ask, and decline it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone decline\n  farhelm phone decline --cancel --digest 9f86d081884c --yes"
)]
pub(super) struct Decline {
    #[command(flatten)]
    named: Named,

    /// Also end the turn; otherwise Codex is told, and goes on
    #[arg(long)]
    cancel: bool,
}

/// Show the changes of files that wait for approval, or those of a thread's last turn
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone diff\n  farhelm phone diff 0198c1aa-77b0")]
pub(super) struct Diff {
    /// The thread's id, or its beginning as `threads` shows it; without it: what waits for approval
    thread: Option<String>,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn approve(args: Approve, context: &Context) -> Result<(), Failure> {
    let decision = if args.for_session { Decision::AcceptForSession } else { Decision::Accept };
    decide(args.named, decision, args.step_up, context).await
}

pub(super) async fn decline(args: Decline, context: &Context) -> Result<(), Failure> {
    decide(args.named, if args.cancel { Decision::Cancel } else { Decision::Decline }, false, context).await
}

async fn decide(named: Named, decision: Decision, step_up: bool, context: &Context) -> Result<(), Failure> {
    if named.digest.is_none() && !ask::is_possible() {
        return Err(Failure::new(Exit::Usage, "there is no terminal at which the content could be looked at")
            .next("name the approval with --digest, which `farhelm phone watch --json` shows"));
    }
    visit(context, &named.which, async |host| {
        let open = host.pending(PATIENCE).await?;
        let shown = pick(open, named.digest.as_deref())?;
        context.say(&report::approval(&shown), || approval::show(&shown, context.screen.size.columns))?;
        possible(&shown, decision)?;
        if !named.yes && ask::is_possible() && !sure(decision).await? {
            return Err(Failure::new(Exit::Failed, "nothing was decided; it still waits")
                .next("decide with `farhelm phone approve` or `farhelm phone decline`"));
        }
        let sent = match shown.guard.step_up && decision.accepts() && (step_up || stepped_up(&shown).await?) {
            true => host.decide_stepped_up(&shown, decision).await,
            false => host.decide(&shown, decision).await,
        };
        let digest = report::digest(&shown);
        if sent == Err(DecideError::SecondNeeded) {
            let event = json!({"is": "accepted-first", "digest": digest, "decision": decision.as_str()});
            return context.say(&event, || "Accepted, 1 of 2: it waits for a second person's device.".to_owned());
        }
        sent?;
        let event = json!({"is": "decided", "digest": digest, "decision": decision.as_str()});
        context.say(&event, || done(decision).to_owned())
    })
    .await
}

/// Makes sure again that it is the owner who accepts this. At a terminal that is a few letters that can't be typed by
/// habit; nothing here knows a finger from another.
async fn stepped_up(shown: &Approval) -> Result<bool, Failure> {
    let still = |why: &str| {
        Failure::new(Exit::Refused, format_args!("{why}; nothing was decided, it still waits"))
            .next("`farhelm phone approve` asks you at a terminal; a script says so with --step-up")
    };
    if !ask::is_possible() {
        return Err(still("the host wants you to confirm again that it is you"));
    }
    let digest = report::digest(shown);
    let question = format!("The host wants to be sure that it is you. Type {} to accept: ", &digest[..DIGITS]);
    let typed = ask::line(&question, THINKING).await.map_err(|error| still(&error.to_string()))?;
    if typed.trim() == &digest[..DIGITS] { Ok(true) } else { Err(still("that is something else")) }
}

/// Whether it can be decided so from here at all.
fn possible(shown: &Approval, decision: Decision) -> Result<(), Failure> {
    match shown.allows(decision) {
        true => Ok(()),
        false if shown.guard.denied.is_some() => {
            Err(Failure::new(Exit::Refused, "the host's policy denies this, so it can't be accepted from here")
                .next("decline it, or decide at the desk"))
        }
        false if shown.acceptable() => {
            Err(Failure::new(Exit::Refused, "the host does not offer to accept this for the whole session")
                .next("approve it this once, without --for-session"))
        }
        false => Err(Failure::new(Exit::Refused, "this can't be shown whole, so it can't be accepted from here")
            .next("decline it, or decide at the desk")),
    }
}

async fn sure(decision: Decision) -> Result<bool, Failure> {
    let question = match decision {
        Decision::Accept => "Approve exactly this?",
        Decision::AcceptForSession => "Approve this, and the like of it for the rest of the session?",
        Decision::Decline => "Decline it?",
        Decision::Cancel => "Decline it and end the turn?",
    };
    ask::confirm(question, THINKING).await.map_err(|error| {
        Failure::new(Exit::Failed, format_args!("{error}; nothing was decided, it still waits"))
            .next("decide with `farhelm phone approve` or `farhelm phone decline`")
    })
}

const fn done(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "Approved.",
        Decision::AcceptForSession => "Approved, and the like of it for the rest of the session.",
        Decision::Decline => "Declined; Codex was told, and goes on.",
        Decision::Cancel => "Declined, and the turn ended.",
    }
}

/// The approval that is meant; without a name the oldest, which is then looked at.
fn pick(open: Vec<Approval>, digest: Option<&str>) -> Result<Approval, Failure> {
    let named = |approval: &Approval| digest.is_none_or(|prefix| report::digest(approval).starts_with(prefix));
    let mut found: Vec<Approval> = open.into_iter().filter(named).collect();
    // The same content asked for twice is one question; other content under the same prefix isn't.
    if digest.is_some() && found.iter().any(|approval| approval.content != found[0].content) {
        return Err(Failure::new(Exit::Usage, "more than one approval has a digest that begins so")
            .next("give more of it; `farhelm phone watch --json` shows it whole"));
    }
    if found.is_empty() {
        let none = if digest.is_some() { "no approval with that digest is open" } else { "nothing waits for approval" };
        return Err(Failure::new(Exit::NotFound, none).next("`farhelm phone threads` shows what the threads do"));
    }
    Ok(found.remove(0))
}

/// The beginning of a digest, in lower case.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    match text.len() {
        DIGITS..=64 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("{DIGITS} to 64 hex digits are needed")),
    }
}

pub(super) async fn diff(args: Diff, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| match &args.thread {
        Some(thread) => diff_of_thread(host, &threads::resolve(host, thread).await?, context).await,
        None => diff_of_approvals(host, context).await,
    })
    .await
}

async fn diff_of_approvals(host: &Host, context: &Context) -> Result<(), Failure> {
    let open = host.pending(PATIENCE).await?;
    let files: Vec<_> = open.iter().filter(|approval| matches!(approval.content.act, Act::Files { .. })).collect();
    if files.is_empty() {
        return Err(Failure::new(Exit::NotFound, "no change of files waits for approval")
            .next("name a thread for the changes of its last turn; `farhelm phone threads` lists them"));
    }
    let columns = context.screen.size.columns;
    files.iter().try_for_each(|shown| context.say(&report::approval(shown), || approval::show(shown, columns)))
}

async fn diff_of_thread(host: &Host, id: &str, context: &Context) -> Result<(), Failure> {
    let watch = host.watch(id).await?;
    let found = watch.borrow().turns.iter().rev().find_map(|turn| changes_of(turn, context.screen.size.columns));
    let none = || Failure::new(Exit::NotFound, "no turn of this thread that is kept here changed a file");
    let (turn, text) = found.ok_or_else(|| none().next("see it whole with `codex` at the desk"))?;
    context.say(&json!({"is": "diff", "thread": id, "turn": turn, "diff": text.raw}), || text.shown)
}

struct Text {
    raw: serde_json::Value,
    shown: String,
}

/// What a turn changed: Codex's own sum of it, else the changes one by one.
fn changes_of(turn: &Turn, columns: usize) -> Option<(String, Text)> {
    if !turn.diff.is_empty() {
        let shown = changes::unified(&turn.diff, columns);
        return Some((turn.id.clone(), Text { raw: turn.diff.clone().into(), shown }));
    }
    let of_item = |item: &Item| match &item.kind {
        ItemKind::FileChange { changes, .. } => changes.clone(),
        _ => Vec::new(),
    };
    let all: Vec<_> = turn.items.iter().flat_map(of_item).collect();
    let text = Text { raw: json!(all), shown: changes::changes(&all, columns) };
    (!all.is_empty()).then(|| (turn.id.clone(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use farhelm_core::codex::approval::{Content, Key};
    use serde_bytes::ByteArray;

    fn approval(request: i64, command: &str) -> Approval {
        let act = Act::Command { command: command.into(), folder: "/".into(), permissions: None };
        let (approval_policy, sandbox, workspace) = Default::default();
        let content = Content { act, reason: None, approval_policy, sandbox, workspace };
        let (environment, thread, turn, item) = Default::default();
        let key = Key { epoch: ByteArray::new([0; 16]), request };
        Approval {
            key,
            environment,
            thread,
            turn,
            item,
            content,
            for_session: false,
            deadline_ms: 0,
            guard: Default::default(),
        }
    }

    #[test]
    fn a_digest_names_content_and_nothing_else() {
        let open = vec![approval(0, "ls"), approval(1, "rm"), approval(2, "rm")];
        let rm = report::digest(&open[1]);
        assert_eq!(pick(open.clone(), Some(&rm[..8])).unwrap().key.request, 1, "the same content twice: the older");
        assert_eq!(pick(open.clone(), None).unwrap().key.request, 0, "at a terminal: the oldest");
        assert_eq!(pick(open, Some("00000000")).unwrap_err().code(), Exit::NotFound);
        assert_eq!(pick(Vec::new(), None).unwrap_err().code(), Exit::NotFound);
        assert_eq!(pick(vec![approval(0, "ls"), approval(1, "rm")], Some("")).unwrap_err().code(), Exit::Usage);
    }

    #[test]
    fn a_digest_is_long_enough_and_hexadecimal() {
        assert_eq!(prefix("9F86D081"), Ok("9f86d081".into()));
        for bad in ["", "9f86d08", "9f86d08x", &"a".repeat(65)] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_turns_own_sum_comes_before_its_items() {
        let mut turn = Turn { id: "u".into(), ..Turn::default() };
        assert!(changes_of(&turn, 80).is_none());
        turn.diff = "diff --git a/x b/x\n\x1b[2J".into();
        let (_, text) = changes_of(&turn, 80).unwrap();
        assert!(text.shown.contains("␛[2J") && text.raw.as_str().unwrap().contains('\x1b'));
    }
}
