//! The work that goes on in a world while things go wrong: prompts and decisions, one after the other, and a record of
//! what was said to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::effects::Effects;
use super::view::View;
use super::world::{PATIENCE, World};

/// A look at the ground truth, which is a file.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// What is known of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The phone was told that it counts, or had it stored.
    Accepted,
    /// The phone was told that it doesn't.
    Refused(String),
    /// The phone was killed around it, and had nothing stored.
    Unknown,
    /// The phone waits for an answer that never comes.
    Silent,
}

/// Everything that was said in one world.
pub(crate) struct Work {
    pub(crate) world: Arc<World>,
    pub(crate) thread: String,
    pub(crate) fates: BTreeMap<String, Fate>,
    /// Items, and the decisions that were made on them.
    pub(crate) decisions: BTreeMap<String, BTreeSet<&'static str>>,
    /// Approvals that a phone didn't see.
    pub(crate) unseen: Vec<String>,
    /// Approvals that were never over, whatever was decided.
    pub(crate) undecided: Vec<String>,
    rng: StdRng,
    number: u32,
}

impl Work {
    pub(crate) async fn of(world: Arc<World>) -> Self {
        let (thread, rng) = (world.thread().await, StdRng::seed_from_u64(world.plan.seed()));
        let (fates, decisions, unseen, undecided) = Default::default();
        Self { world, thread, fates, decisions, unseen, undecided, rng, number: 0 }
    }

    pub(crate) fn effects(&self) -> Effects {
        self.world.effects(&self.thread)
    }

    /// Whether something is wrong that nothing can mend.
    pub(crate) fn is_condemned(&self) -> bool {
        let stuck = !self.undecided.is_empty() || self.fates.values().any(|fate| *fate == Fate::Silent);
        stuck || self.effects().prompts.values().any(|times| *times > 1)
    }

    /// Until the plan is carried out.
    pub(crate) async fn go_on(&mut self) {
        while !self.world.plan.is_done() && !self.is_condemned() {
            self.number += 1;
            let asks = self.rng.random_ratio(3, 4);
            let word = format!("p{:04}.", self.number);
            let prompt = if asks { format!("ESCALATE cmd=echo {word}") } else { format!("hello {word}") };
            let taken = self.say(&prompt).await;
            if taken && asks {
                self.settle(&word).await;
            }
        }
    }

    /// Sends a prompt and waits for its fate.
    pub(crate) async fn say(&mut self, prompt: &str) -> bool {
        let phone = &self.world.phones[0];
        let begun = phone.until("ready", |view| view.kept.is_some()).await.begun;
        // What was answered up to now is about earlier ones.
        phone.view.send_modify(|view| view.answered.clear());
        phone.tell(&json!({"do": "prompt", "thread": self.thread, "text": prompt})).await;
        let known = phone.hears(|view| fate(view, begun, prompt).is_some()).await;
        let fate = known.and_then(|view| fate(&view, begun, prompt)).unwrap_or(Fate::Silent);
        let taken = self.is_taken_up(prompt, &fate).await;
        self.world.plan.took_effect(u32::from(taken), 0);
        self.world.note(format_args!("{prompt}: {fate:?}, taken up: {taken}"));
        if matches!(fate, Fate::Refused(_)) {
            self.load().await;
        }
        self.fates.insert(prompt.to_owned(), fate);
        taken
    }

    /// Codex records a prompt some time after it has answered.
    async fn is_taken_up(&self, prompt: &str, fate: &Fate) -> bool {
        let patience = if *fate == Fate::Accepted { PATIENCE } else { LOOK };
        let deadline = Instant::now() + patience;
        loop {
            let is_there = self.effects().prompts.contains_key(prompt);
            if is_there || Instant::now() > deadline {
                return is_there;
            }
            sleep(LOOK).await;
        }
    }

    /// A thread that the new app-server hasn't loaded is loaded by whoever wants to go on with it.
    async fn load(&self) {
        self.world.phones[0].tell(&json!({"do": "load", "thread": self.thread})).await;
        sleep(Duration::from_millis(100)).await;
    }

    /// Has the approval of a prompt decided once both phones have seen it, and waits for the end of it.
    async fn settle(&mut self, word: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut said: Option<(u32, u32)> = None;
        loop {
            let effects = self.effects();
            if self.is_condemned() {
                return;
            }
            let Some(item) = effects.asks.clone() else {
                if effects.works && Instant::now() < deadline {
                    sleep(LOOK).await;
                    continue;
                }
                break;
            };
            let views = self.views();
            let seen = views.iter().all(|view| view.item(word) == Some(&item));
            let stale = said.is_none_or(|told| self.is_lost(&views, told, &item));
            if seen && stale {
                self.decide(&item).await;
                said = Some((views[0].begun, views[1].begun));
            }
            if Instant::now() > deadline {
                let kind = if seen { &mut self.undecided } else { &mut self.unseen };
                return kind.push(item);
            }
            sleep(LOOK).await;
        }
        self.count(word);
    }

    fn views(&self) -> [View; 2] {
        [0, 1].map(|at| self.world.phones[at].view.borrow().clone())
    }

    /// Whether nobody's decision on it is under way any more.
    fn is_lost(&self, views: &[View; 2], told: (u32, u32), item: &str) -> bool {
        let open = views.iter().all(|view| view.open.contains(item));
        let lost = |view: &View, begun: u32| match &view.kept {
            _ if view.begun == begun => view.decided.iter().any(|(of, _, why)| of == item && why.is_some()),
            Some(kept) => kept.decisions == 0,
            None => false,
        };
        open && lost(&views[0], told.0) && lost(&views[1], told.1)
    }

    /// By one phone, the other, or both at once and against each other.
    async fn decide(&mut self, item: &str) {
        let (accept, who) = (self.rng.random_ratio(1, 2), self.rng.random_range(0..3));
        for (at, accept) in [(0, accept), (1, !accept)] {
            let says = who == 2 || who == at;
            let word = if accept { "accept" } else { "decline" };
            let line = json!({"do": "decide", "item": item, "accept": accept});
            if says {
                self.decisions.entry(item.to_owned()).or_default().insert(word);
                self.world.phones[at].tell(&line).await;
            } else {
                // So that who is silent doesn't count as one whose decision is under way.
                let view = &self.world.phones[at].view;
                view.send_modify(|view| view.decided.push((item.to_owned(), false, Some("silent".into()))));
            }
        }
    }

    fn count(&self, word: &str) {
        let effects = self.effects();
        let views = self.views();
        let item = views.iter().find_map(|view| view.item(word));
        let decided = item.is_some_and(|item| effects.decided.contains_key(item));
        self.world.plan.took_effect(0, u32::from(decided));
    }
}

/// What has become of a prompt that was given to the phone's life `begun`, once that is known.
fn fate(view: &View, begun: u32, prompt: &str) -> Option<Fate> {
    let read = |word: &str| match word {
        "ok" => Some(Fate::Accepted),
        "unknown" => None,
        other => Some(Fate::Refused(other.to_owned())),
    };
    if let Some(result) = view.prompts.get(prompt)
        && let Some(fate) = read(result)
    {
        return Some(fate);
    }
    let answered = view.answered.first().and_then(|word| read(word));
    match &view.kept {
        _ if view.begun == begun => answered,
        Some(kept) if kept.prompts.iter().any(|kept| kept == prompt) => answered,
        Some(_) => Some(Fate::Unknown),
        None => None,
    }
}
