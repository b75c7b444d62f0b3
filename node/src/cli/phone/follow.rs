//! Following threads: `farhelm phone watch`, and the rest of `start` and `send`.

use std::collections::{HashMap, HashSet};

use clap::Args;
use farhelm_core::codex::approval::{Approval, Outcome};
use farhelm_core::codex::question::Question;
use farhelm_core::codex::thread::{Item, Note, Plan, Thread, Turn, TurnStatus};
use farhelm_phone::{Connection, Error, Event, Host, ThreadWatch, Truth, Via};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{Context, Exit, Failure, Which, failure, heads, report, threads, visit};
use crate::terminal::{approval, question, sanitize, thread};

/// Follow a thread, or all that waits for a person, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone watch\n  farhelm phone watch 0198c1aa-77b0")]
pub(super) struct Watch {
    /// The thread's id, or its beginning as `threads` shows it; without it: approvals and ends of turns of all threads
    thread: Option<String>,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: Watch, context: &Context) -> Result<(), Failure> {
    let watched = visit(context, &args.which, async |host| match &args.thread {
        Some(id) => {
            let id = threads::resolve(host, id).await?;
            Follow::from_the_last_turn().on(host, &id, context).await
        }
        None => events(host, context).await,
    });
    match watched.await {
        // There is no other end.
        Err(failure) if failure.code() == Exit::Interrupted => Ok(()),
        ended => ended,
    }
}

/// Approvals, questions, ends of turns and the connection, as they come.
async fn events(host: &Host, context: &Context) -> Result<(), Failure> {
    host.pending(super::PATIENCE).await?;
    // What comes between these two lines is in both, and said once.
    let mut events = host.events();
    let open = host.approvals().borrow().clone();
    say_connection(&host.state().borrow().clone(), context)?;
    open.iter().try_for_each(|approval| say_approval(approval, context))?;
    let asked = host.questions().borrow().clone();
    asked.iter().try_for_each(|question| say_question(question, context))?;
    // An approval comes again when the host's policy asks for something else, or one of two people has accepted.
    let mut shown: HashMap<_, _> = open.into_iter().map(|approval| (approval.key, approval.guard)).collect();
    let mut asked: HashSet<_> = asked.into_iter().map(|question| question.key).collect();
    loop {
        match events.recv().await {
            Ok(Event::Approval(approval))
                if shown.insert(approval.key, approval.guard.clone()).as_ref() != Some(&approval.guard) =>
            {
                say_approval(&approval, context)?;
            }
            Ok(Event::Question(question)) if asked.insert(question.key) => say_question(&question, context)?,
            Ok(Event::Connection(Connection::Removed { at_ms })) => return Err(Error::Removed { at_ms }.into()),
            Ok(event) => say_event(&event, context)?,
            Err(RecvError::Lagged(missed)) => context.note(&format!("({missed} events were missed)")),
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

fn say_event(event: &Event, context: &Context) -> Result<(), Failure> {
    match event {
        Event::Connection(connection) => say_connection(connection, context),
        Event::Resolved { thread, outcome, by, .. } => {
            let by = by.map(|by| by.to_string());
            context.say(&json!({"is": "resolved", "thread": thread, "outcome": outcome, "by": by}), || {
                format!("That is over: {}.", said(*outcome))
            })
        }
        Event::Gone { thread, .. } => context.say(&json!({"is": "gone", "thread": thread}), || {
            "What waited for an answer ended while this phone was not connected.".to_owned()
        }),
        Event::RecordBroken(broken) => {
            let event = json!({"is": "record-broken", "broken": report::broken(broken)});
            context.say(&event, || heads::sentence(broken))
        }
        Event::TurnCompleted { thread: id, turn, status } => {
            let end = thread::turn_end(status).unwrap_or_default();
            context.say(&report::turn(id, turn, status), || format!("{}  {end}", sanitize::line(id)))
        }
        _ => Ok(()),
    }
}

/// The end of an approval, if it is of this thread.
fn say_event_of(id: &str, event: &Event, context: &Context) -> Result<(), Failure> {
    match event {
        Event::Resolved { thread, .. } if thread.as_deref() == Some(id) => say_event(event, context),
        _ => Ok(()),
    }
}

fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted, or answered",
        Outcome::Declined => "declined",
        Outcome::Cancelled => "declined, and its turn ended",
        Outcome::Elsewhere => "decided at the desk, or its turn ended",
        Outcome::Lost => "Codex was restarted",
    }
}

fn say_connection(connection: &Connection, context: &Context) -> Result<(), Failure> {
    context.say(&report::connection(connection), || match connection {
        Connection::Connecting => "Connecting …".into(),
        Connection::CatchingUp(_) => "Connected; catching up …".into(),
        Connection::Live(path) => match path.via {
            Via::Direct => "Connected, directly.".into(),
            Via::Relay(relay) => {
                let relay = relay.map(|relay| format!(" {relay}")).unwrap_or_default();
                format!("Connected through the relay{relay}, which sees ciphertext only.")
            }
        },
        Connection::Away { why, .. } => format!("Not connected: {why}."),
        Connection::Removed { at_ms } => format!("Not connected: {}.", failure::was_removed(*at_ms)),
    })
}

/// Waits until the host removes this phone; then nothing is coming any more.
async fn removed(host: &Host) -> Error {
    match host.state().wait_for(|state| matches!(state, Connection::Removed { .. })).await.as_deref() {
        Ok(Connection::Removed { at_ms }) => Error::Removed { at_ms: *at_ms },
        _ => Error::Stopped,
    }
}

/// Scripts are told of every comparison, people of what they may have seen wrong.
fn say_truth(truth: Truth, is_new: bool, context: &Context) -> Result<(), Failure> {
    if is_new {
        context.note("(something of the thread was missed; the host shows it again)");
    }
    if context.json() { context.say(&report::truth(truth), String::new) } else { Ok(()) }
}

/// An approval with the command that decides on exactly this.
fn say_approval(approval: &Approval, context: &Context) -> Result<(), Failure> {
    context.say(&report::approval(approval), || {
        let shown = approval::show(approval, context.screen.size.columns);
        let digest = &report::digest(approval)[..12];
        format!("{shown}\n  → farhelm phone approve --digest {digest}, or decline")
    })
}

/// A question with the command that answers exactly this.
fn say_question(asked: &Question, context: &Context) -> Result<(), Failure> {
    context.say(&report::question(asked), || {
        let shown = question::show(asked, context.screen.size.columns);
        let digest = &report::digest_of_question(asked)[..12];
        format!("{shown}\n  → farhelm phone answer --digest {digest}")
    })
}

/// What of a thread was said already.
#[derive(Debug, Default)]
pub(super) struct Follow {
    /// Only this turn, if any.
    turn: Option<String>,
    said: HashSet<(String, String)>,
    ended: HashSet<String>,
    plan: Plan,
    notes: Vec<Note>,
}

impl Follow {
    /// One turn, from its beginning.
    pub(super) fn of_turn(turn: String) -> Self {
        Self { turn: Some(turn), ..Self::default() }
    }

    /// Everything from the last turn on.
    fn from_the_last_turn() -> Self {
        Self::default()
    }

    /// Says what happens until the turn ends or waits for a person.
    pub(super) async fn until_it_stops(mut self, host: &Host, id: &str, context: &Context) -> Result<(), Failure> {
        let (mut approvals, mut questions) = (host.approvals(), host.questions());
        let mut watch = host.watch(id).await?;
        loop {
            if let Some(status) = self.catch_up(&mut watch, context)? {
                return ended_well(&status);
            }
            let waits = approvals.borrow_and_update().iter().find(|approval| approval.thread == id).cloned();
            if let Some(approval) = waits {
                return say_approval(&approval, context);
            }
            let asked = questions.borrow_and_update().iter().find(|question| question.thread == id).cloned();
            if let Some(question) = asked {
                return say_question(&question, context);
            }
            tokio::select! {
                changed = watch.changed() => changed?,
                changed = approvals.changed() => changed.map_err(|_| Error::Stopped)?,
                changed = questions.changed() => changed.map_err(|_| Error::Stopped)?,
                removed = removed(host) => return Err(removed.into()),
            }
        }
    }

    /// Says what happens for as long as somebody listens.
    async fn on(mut self, host: &Host, id: &str, context: &Context) -> Result<(), Failure> {
        let (mut events, mut truth) = (host.events(), host.truth());
        let mut differed = truth.borrow_and_update().differed;
        let mut watch = host.watch(id).await?;
        let begun = watch.borrow().turns.len().saturating_sub(1);
        self.ended.extend(watch.borrow().turns[..begun].iter().map(|turn| turn.id.clone()));
        for approval in host.pending(super::PATIENCE).await?.iter().filter(|approval| approval.thread == id) {
            say_approval(approval, context)?;
        }
        for asked in host.questions().borrow().iter().filter(|question| question.thread == id) {
            say_question(asked, context)?;
        }
        loop {
            self.catch_up(&mut watch, context)?;
            tokio::select! {
                changed = watch.changed() => changed?,
                Ok(()) = truth.changed() => {
                    let truth = *truth.borrow_and_update();
                    let is_new = std::mem::replace(&mut differed, truth.differed) != truth.differed;
                    say_truth(truth, is_new, context)?;
                }
                event = events.recv() => match event {
                    Ok(Event::Approval(approval)) if approval.thread == id => say_approval(&approval, context)?,
                    Ok(Event::Question(question)) if question.thread == id => say_question(&question, context)?,
                    Ok(event @ Event::Resolved { .. }) => say_event_of(id, &event, context)?,
                    Ok(Event::Connection(Connection::Removed { at_ms })) => return Err(Error::Removed { at_ms }.into()),
                    Ok(Event::Connection(connection)) => say_connection(&connection, context)?,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }

    /// Says what is new; how the turn ended, if it is the only one that is followed.
    fn catch_up(&mut self, watch: &mut ThreadWatch, context: &Context) -> Result<Option<TurnStatus>, Failure> {
        let (id, news) = {
            let thread = watch.borrow_and_update();
            (thread.id.clone(), self.news(&thread))
        };
        let mut end = None;
        for new in news {
            match new {
                New::Item(turn, item) => say_item(&id, &turn, &item, context)?,
                New::Plan(turn, plan) => {
                    let event = json!({"is": "plan", "thread": id, "turn": turn, "plan": plan});
                    let shown = thread::plan(&plan, context.screen.size.columns).unwrap_or_default();
                    context.say(&event, || shown.trim_end_matches('\n').to_owned())?;
                }
                New::Note(note) => {
                    let shown = thread::note(&note, context.screen.size.columns);
                    let event = json!({"is": "note", "thread": id, "note": note});
                    context.say(&event, || shown.trim_end_matches('\n').to_owned())?;
                }
                New::End(turn, status) => {
                    context
                        .say(&report::turn(&id, &turn, &status), || thread::turn_end(&status).unwrap_or_default())?;
                    end = Some(status).filter(|_| self.turn.as_ref() == Some(&turn));
                }
            }
        }
        Ok(end)
    }

    /// Items that are over and ends of turns, in order, each once.
    fn news(&mut self, thread: &Thread) -> Vec<New> {
        let mut news = Vec::new();
        for note in &thread.notes {
            let of_others = self.turn.is_some() && note.turn.is_some() && note.turn != self.turn;
            if !of_others && !self.notes.contains(note) {
                news.push(New::Note(note.clone()));
            }
        }
        self.notes.clone_from(&thread.notes);
        for turn in &thread.turns {
            if self.turn.as_ref().is_some_and(|only| *only != turn.id) || self.ended.contains(&turn.id) {
                continue;
            }
            self.news_of(turn, &mut news);
        }
        news
    }

    fn news_of(&mut self, turn: &Turn, news: &mut Vec<New>) {
        if self.plan != turn.plan && !turn.plan.steps.is_empty() {
            self.plan = turn.plan.clone();
            news.push(New::Plan(turn.id.clone(), turn.plan.clone()));
        }
        for item in turn.items.iter().filter(|item| !item.open) {
            if self.said.insert((turn.id.clone(), item.id.clone())) {
                news.push(New::Item(turn.id.clone(), item.clone()));
            }
        }
        if turn.status != TurnStatus::InProgress {
            self.ended.insert(turn.id.clone());
            news.push(New::End(turn.id.clone(), turn.status.clone()));
        }
    }
}

/// Something to say.
#[derive(Debug, PartialEq)]
enum New {
    Item(String, Item),
    Plan(String, Plan),
    Note(Note),
    End(String, TurnStatus),
}

pub(super) fn say_item(id: &str, turn: &str, item: &Item, context: &Context) -> Result<(), Failure> {
    let Some(shown) = thread::item(item, context.screen.size.columns) else { return Ok(()) };
    let event = json!({"is": "item", "thread": id, "turn": turn, "item": item});
    context.say(&event, || shown.trim_end_matches('\n').to_owned())
}

fn ended_well(status: &TurnStatus) -> Result<(), Failure> {
    match status {
        TurnStatus::Failed(why) => Err(Failure::new(Exit::Failed, format_args!("the turn failed: {why}"))
            .next("see to what Codex names, then send a message to try again")),
        TurnStatus::Interrupted => {
            Err(Failure::new(Exit::Failed, "the turn was interrupted").next("send a message to go on"))
        }
        TurnStatus::Completed | TurnStatus::InProgress => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(turns: serde_json::Value) -> Thread {
        Thread::from_read(&json!({"thread": {"id": "t", "turns": turns}})).unwrap()
    }

    fn message(id: &str) -> serde_json::Value {
        json!({"type": "agentMessage", "id": id, "text": "hi"})
    }

    fn kinds(news: &[New]) -> Vec<String> {
        news.iter()
            .map(|new| match new {
                New::Item(_, item) => item.id.clone(),
                New::End(turn, _) => format!("end of {turn}"),
                New::Plan(turn, plan) => format!("plan of {turn}: {}", plan.steps.len()),
                New::Note(note) => note.text.clone(),
            })
            .collect()
    }

    #[test]
    fn everything_is_said_once_and_in_order() {
        let mut follow = Follow::of_turn("u".into());
        let running = |items: &[&str]| {
            let items: Vec<_> = items.iter().map(|id| message(id)).collect();
            thread(json!([{"id": "s", "status": "completed", "items": [message("x")]},
                          {"id": "u", "status": "inProgress", "items": items}]))
        };
        assert_eq!(kinds(&follow.news(&running(&["a"]))), ["a"]);
        assert_eq!(kinds(&follow.news(&running(&["a", "b"]))), ["b"]);
        // A snapshot after a reconnection brings all of it again.
        let ended = thread(json!([{"id": "u", "status": "completed", "items": [message("a"), message("c")]}]));
        assert_eq!(kinds(&follow.news(&ended)), ["c", "end of u"]);
        assert!(follow.news(&ended).is_empty());
    }

    #[test]
    fn a_plan_is_said_when_it_changed_and_a_remark_once() {
        let mut follow = Follow::of_turn("u".into());
        let mut thread = thread(json!([{"id": "u", "status": "inProgress", "items": []}]));
        let plan = |status| json!({"threadId": "t", "turnId": "u", "plan": [{"step": "s", "status": status}]});
        thread.apply("turn/plan/updated", &plan("pending"));
        thread.apply("warning", &json!({"threadId": "t", "message": "slow"}));
        thread.apply("model/rerouted", &json!({"threadId": "t", "turnId": "x", "fromModel": "a", "toModel": "b"}));
        assert_eq!(kinds(&follow.news(&thread)), ["slow", "plan of u: 1"]);
        assert!(follow.news(&thread).is_empty());
        thread.apply("turn/plan/updated", &plan("completed"));
        assert_eq!(kinds(&follow.news(&thread)), ["plan of u: 1"]);
    }

    #[test]
    fn a_failed_turn_fails_the_command() {
        assert_eq!(ended_well(&TurnStatus::Failed("no model".into())).unwrap_err().code(), Exit::Failed);
        assert_eq!(ended_well(&TurnStatus::Interrupted).unwrap_err().code(), Exit::Failed);
        assert_eq!(ended_well(&TurnStatus::Completed), Ok(()));
    }
}
