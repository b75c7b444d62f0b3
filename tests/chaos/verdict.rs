//! What must hold when everything has healed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::work::{Fate, Work};

/// Digests come when a thread falls quiet.
const HEALED: Duration = Duration::from_secs(20);

/// What went wrong, by name; nothing may.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) unseen: Vec<String>,
    pub(crate) unequal: Vec<String>,
    /// Prompts that were refused, and those that a phone died over before it had stored them.
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.unseen.extend(other.unseen);
        self.unequal.extend(other.unequal);
        self.refused += other.refused;
        self.unknown += other.unknown;
    }

    pub(crate) fn is_clean(&self) -> bool {
        [&self.lost, &self.doubled, &self.unseen, &self.unequal].iter().all(|list| list.is_empty())
    }
}

/// Waits until all is quiet, and judges.
pub(crate) async fn judge(mut work: Work) -> Verdict {
    let mut verdict = Verdict::default();
    // A last prompt, with nothing in its way: everything before it is over once it is answered.
    while !work.is_condemned() && !work.say("hello, the last one").await {}
    if !work.is_condemned()
        && let Err(why) = equal(&work).await
    {
        verdict.unequal.push(why);
    }
    judge_prompts(&work, &mut verdict);
    judge_decisions(&work, &mut verdict);
    verdict.unseen.append(&mut work.unseen);
    verdict.lost.extend(work.undecided.drain(..).map(|item| format!("{item} is never decided")));
    verdict
}

fn judge_prompts(work: &Work, verdict: &mut Verdict) {
    let effects = work.effects();
    for (prompt, fate) in &work.fates {
        let times = effects.prompts.get(prompt).copied().unwrap_or(0);
        verdict.refused += usize::from(matches!(fate, Fate::Refused(_)));
        verdict.unknown += usize::from(*fate == Fate::Unknown);
        if times == 0 && *fate == Fate::Accepted || *fate == Fate::Silent {
            verdict.lost.push(format!("{prompt}: {fate:?}"));
        }
        if times > 1 || (times == 1 && matches!(fate, Fate::Refused(_))) {
            verdict.doubled.push(format!("{prompt}: {times} times, {fate:?}"));
        }
    }
}

/// Each decision once, and as somebody decided; or its approval died with the app-server.
fn judge_decisions(work: &Work, verdict: &mut Verdict) {
    let effects = work.effects();
    for (item, said) in &work.decisions {
        match effects.decided.get(item).map(Vec::as_slice) {
            None if !effects.died.contains(item) => verdict.lost.push(format!("the decision on {item}")),
            None => {}
            Some([word]) if said.contains(word.as_str()) => {}
            Some(words) => verdict.doubled.push(format!("{item} is decided {words:?}, phones said {said:?}")),
        }
    }
    let nobody = effects.decided.keys().filter(|item| !work.decisions.contains_key(*item));
    verdict.doubled.extend(nobody.map(|item| format!("{item} is decided by nobody")));
    for phone in &work.world.phones {
        for (item, accept, _) in phone.view.borrow().decided.iter().filter(|(_, _, why)| why.is_none()) {
            let word = if *accept { "accept" } else { "decline" };
            // What Codex had confirmed may have died with it before anything came of it.
            let died = work.world.is_codex() && effects.died.contains(item);
            if !died && effects.decided.get(item).is_none_or(|words| words[0] != word) {
                verdict.lost.push(format!("a phone was told that its {word} on {item} counts"));
            }
        }
    }
}

/// Both phones show the same, which is what the host has, and nothing waits.
async fn equal(work: &Work) -> Result<(), String> {
    let deadline = Instant::now() + HEALED;
    for n in 1_u64.. {
        let mut shown = Vec::new();
        for phone in &work.world.phones {
            phone.tell(&json!({"do": "show", "n": n})).await;
            shown.push(phone.until("shown", |view| view.shown["n"] == n).await.shown);
        }
        if are_equal(&shown, work.world.is_codex()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            shown.iter_mut().for_each(|one| drop(one.as_object_mut().and_then(|one| one.remove("digest"))));
            return Err(json!(shown).to_string());
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn are_equal(shown: &[Value], is_codex: bool) -> bool {
    let quiet = |one: &Value| one["running"] == false && one["open"] == json!([]) && one["live"] == true;
    // Codex's history leaves out commands that didn't run, so a thread that is read anew has less (measured).
    let as_host = |one: &Value| (is_codex || one["differs"].is_null()) && one["unrepaired"] == 0;
    shown.iter().all(|one| quiet(one) && as_host(one)) && shown[0]["digest"] == shown[1]["digest"]
}
