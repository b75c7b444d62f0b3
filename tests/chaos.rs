//! Nothing is lost, doubled or hidden, whatever fails: real host, phone, relay and app-server processes, which are cut
//! off, robbed of frames and killed while they wait at the edges between the states of a prompt or a decision.
//!
//! `FARHELM_CHAOS=N` is how many faults (200 unless said), `FARHELM_CHAOS_SEED` repeats a run's choices. It needs the
//! feature `faults`, which nothing that is shipped has.

#[path = "support/codex.rs"]
mod codex;
#[path = "support/codex_home.rs"]
mod codex_home;
#[path = "chaos/cut.rs"]
mod cut;
#[path = "chaos/edges.rs"]
mod edges;
#[path = "chaos/effects.rs"]
mod effects;
#[path = "chaos/harness.rs"]
mod harness;
#[path = "chaos/kept.rs"]
mod kept;
#[path = "chaos/phone.rs"]
mod phone;
#[path = "chaos/plan.rs"]
mod plan;
#[path = "chaos/removed.rs"]
mod removed;
#[path = "support/scene.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod scene;
#[path = "chaos/slow.rs"]
mod slow;
#[path = "chaos/verdict.rs"]
mod verdict;
#[path = "chaos/view.rs"]
mod view;
#[path = "chaos/work.rs"]
mod work;
#[path = "chaos/world.rs"]
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use farhelm::demo::agent::Agent;
use futures::future::join_all;
use plan::{Kind, Plan};
use tokio::runtime::Runtime;
use verdict::Verdict;
use work::Work;
use world::{Manner, World};

/// Worlds side by side.
const WORLDS: usize = 6;
/// Faults, unless `FARHELM_CHAOS` says another number.
const FAULTS: u32 = 200;

/// Not a test but this program's other parts: a world starts it again as a phone or as its app-server.
#[test]
fn a_part_is_played() {
    let Some(folder) = std::env::var_os("FARHELM_CHAOS_FOLDER").map(PathBuf::from) else { return };
    let runtime = Runtime::new().expect("a runtime");
    match std::env::var("FARHELM_CHAOS_PART").as_deref() {
        Ok("phone") => runtime.block_on(phone::live(&folder)),
        _ => runtime.block_on(async {
            let socket = folder.join("agent.sock");
            let agent = Agent::start_keeping(&socket, &folder, &folder.join("threads")).await;
            let _agent = agent.expect("an app-server");
            // Its input ends with the world.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
        }),
    }
}

/// Runs worlds side by side until the plan is carried out, and judges each.
async fn run(plan: &Arc<Plan>, worlds: usize, all: Manner) -> Verdict {
    let one = |at: usize| {
        let plan = plan.clone();
        tokio::spawn(async move {
            let manner = Manner { relayed: at % 2 == 1, ..all };
            let mut work = Work::of(World::start(plan, manner).await).await;
            work.go_on().await;
            verdict::judge(work).await
        })
    };
    let mut found = Verdict::default();
    for ended in join_all((0..worlds).map(one)).await {
        match ended {
            Ok(verdict) => found.add(verdict),
            Err(stuck) => found.unequal.push(format!("a world got stuck: {stuck}")),
        }
    }
    found
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Carries a plan out, says what happened, and fails if anything is wrong.
fn holds(total: u32, worlds: usize, manner: Manner) -> Plan {
    let seed = number("FARHELM_CHAOS_SEED").unwrap_or_else(rand::random);
    println!("FARHELM_CHAOS_SEED={seed} FARHELM_CHAOS={total}");
    let (plan, began) = (Arc::new(Plan::new(seed, total, None)), Instant::now());
    let verdict = Runtime::new().expect("a runtime").block_on(run(&plan, worlds, manner));
    let (faults, prompts, decisions) = plan.counts();
    let rate = f64::from(faults) / began.elapsed().as_secs_f64();
    let Verdict { lost, doubled, unseen, refused, unknown, .. } = &verdict;
    let [lost, doubled, unseen] = [lost.len(), doubled.len(), unseen.len()];
    println!(
        "{plan}\n{refused} prompts refused, {unknown} not stored by a phone that died; {rate:.1} faults/s (wanted: 2)"
    );
    println!("faults {faults} prompts {prompts} decisions {decisions} lost {lost} doubled {doubled} unseen {unseen}");
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(prompts * 5 >= faults && decisions * 5 >= faults, "too little went on");
    assert!(rate >= 0.2, "ten times slower than wanted");
    Arc::into_inner(plan).expect("its worlds are gone")
}

#[test]
fn nothing_is_lost_doubled_or_hidden_whatever_fails() {
    let total = number("FARHELM_CHAOS").map_or(FAULTS, |faults| u32::try_from(faults).expect("a number of faults"));
    let plan = holds(total, WORLDS, Manner::default());
    assert!(plan.least() >= total / 100, "a kind of fault missed a state");
}

#[test]
fn nothing_is_lost_doubled_or_hidden_with_the_real_codex() {
    if codex::codex().is_some() {
        holds(FAULTS / 5, 2, Manner { codex: true, ..Manner::default() });
    }
}

/// Has one fault happen in one state, again and again, and holds what is left against what was asked.
fn holds_at(state: &str, kind: Kind) {
    let at = plan::STATES.iter().position(|name| *name == state).expect("a state");
    let plan = Arc::new(Plan::new(1, 12, Some((at, kind))));
    let verdict = Runtime::new().expect("a runtime").block_on(run(&plan, 2, Manner::default()));
    let (faults, prompts, decisions) = plan.counts();
    println!("{state}, {kind:?}: {faults} times, {prompts} prompts and {decisions} decisions took effect");
    assert!(verdict.is_clean() && faults == 12 && prompts > 0 && decisions > 0, "{verdict:#?}");
}

#[test]
fn weak_spot_06_what_a_phone_asked_is_said_again_after_a_sigkill_on_either_side() {
    holds_at("stored-unsent", Kind::Phone);
    holds_at("sent-unacked", Kind::Host);
}

#[test]
fn weak_spot_07_what_a_host_had_for_a_phone_survives_a_sigkill_of_the_host() {
    holds_at("forwarded-unrecorded", Kind::Host);
    holds_at("decided-unacked", Kind::Host);
}

#[test]
fn a_phone_that_reads_nothing_costs_little_and_stalls_nobody() {
    Runtime::new().expect("a runtime").block_on(slow::holds());
}

#[test]
fn this_program_can_be_told_what_goes_wrong_so_the_look_for_it_in_the_shipped_one_can_fail() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_farhelm")).expect("the program");
    for word in ["FARHELM_FAULTS", "FARHELM_MUTANT", "stored-unsent"] {
        assert!(program.windows(word.len()).any(|at| at == word.as_bytes()), "{word}");
    }
}

/// What a run finds with one safeguard missing, and the fault it is there for.
fn without(mutant: &'static str, state: usize, kind: Kind) -> Verdict {
    let plan = Arc::new(Plan::new(1, 16, Some((state, kind))));
    let verdict = Runtime::new().expect("a runtime").block_on(run(
        &plan,
        2,
        Manner { mutant: Some(mutant), ..Manner::default() },
    ));
    println!("{mutant}: {verdict:#?}");
    verdict
}

#[test]
fn without_dedup_something_is_doubled() {
    assert!(!without("no-dedup", 1, Kind::Cut).doubled.is_empty());
}

#[test]
fn with_an_ack_before_the_store_something_is_lost() {
    assert!(!without("ack-before-store", 1, Kind::Host).lost.is_empty());
}

#[test]
fn without_a_look_up_something_is_doubled() {
    assert!(!without("no-look-up", 2, Kind::Host).doubled.is_empty());
}
