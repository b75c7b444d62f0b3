//! What a right that is taken away takes away: a session, what was to be decided, what was signed before.

use std::thread;
use std::time::{Duration, Instant};

use farhelm_core::codex::decision::Decision;
use farhelm_core::session::handshake;
use farhelm_core::wire::envelope::{CloseReason, DecisionRefusal};
use farhelm_overlay::channel;

use crate::rogue::{Rogue, Stranger};
use crate::scene::{Scene, text};
use crate::{LOOK, lend, listed, row, watches};

/// When a removed phone hears the last, after the command that removed it returned. Machines are noisy: the test fails
/// at ten times that.
const LIMIT: Duration = Duration::from_secs(1);

/// Races between a decision and a removal.
const ROUNDS: u32 = 8;

/// A phone of which nothing good can be expected, paired on these terms.
pub(crate) fn rogue(scene: &Scene, terms: &[&str]) -> Rogue {
    let (desk, ticket) = scene.offer_on(terms);
    let rogue = scene.runtime.block_on(async { Stranger::new(9, &ticket).pair().await.expect("it is let in") });
    assert_eq!(desk.end().event("paired")["name"], "rogue");
    rogue
}

/// Removes a viewer to whom a turn streams, by this command of the desk's or of an owner's phone.
fn removed_while_a_turn_streams(who: &str, arguments: &[&str]) {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "ann", &["--right", "owner"]);
    let mut viewer = rogue(&scene, &["--right", "viewer"]);
    let mut turn = scene.start("mine", &["phone", "start", "SLOW secs=8 every=20"]);
    let id = text(&turn.event("started")["thread"]);
    scene.runtime.block_on(async {
        viewer.watches(&id).await;
        for _ in 0..10 {
            viewer.hears_text().await;
        }
    });
    let began = Instant::now();
    let revoke = scene.start(who, arguments);
    let returned = thread::spawn(move || {
        assert_eq!(revoke.end().code, 0);
        Instant::now()
    });
    let mut after = Vec::new();
    let why = scene.runtime.block_on(async {
        loop {
            match viewer.hears().await {
                Ok(_) => after.push(Instant::now()),
                Err(error) => break error,
            }
        }
    });
    let (over, returned) = (Instant::now(), returned.join().expect("it returns"));
    let late = after.iter().filter(|at| **at > returned).count();
    let (before, behind) = (returned.saturating_duration_since(over), over.saturating_duration_since(returned));
    println!(
        "{who}: {late} words came after the command returned; the session ended {before:?} before or {behind:?} after it, \
         {:?} after the command was started",
        over - began
    );
    assert!(matches!(why, channel::Error::Closed(CloseReason::Revoked) | channel::Error::Io(_)), "{why}");
    assert!(behind < LIMIT * 10);
    assert_eq!(turn.end().code, 0, "nobody else noticed");
}

#[test]
fn a_viewer_removed_while_a_turn_streams_is_sent_nothing_more() {
    removed_while_a_turn_streams("desk", &["devices", "revoke", "rogue"]);
}

#[test]
fn a_viewer_removed_from_afar_while_a_turn_streams_is_sent_nothing_more() {
    removed_while_a_turn_streams("ann", &["phone", "devices", "revoke", "rogue", "--yes"]);
}

#[test]
fn a_decision_signed_before_a_removal_and_sent_after_it_is_never_codexs() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    let mut phone = rogue(&scene, &["--right", "approver"]);
    let digest = text(&scene.ask("mine", "ESCALATE cmd=touch a.txt")["digest"]);
    let signed = scene.runtime.block_on(async {
        let approval = phone.asked().await;
        phone.signs(&approval, Decision::Accept)
    });
    scene.done("desk", &["devices", "revoke", "rogue"]);
    // On what is left of the session, and on a new one.
    scene.runtime.block_on(async {
        phone.logs(signed.clone()).await;
        assert!(phone.ends_within(LIMIT * 10).await);
        let Err(error) = phone.resumes().await else { panic!("it has a session") };
        let is_buried = matches!(error, channel::Error::Handshake(handshake::Error::Removed(_)));
        assert!(is_buried, "{error}");
    });
    let open = scene.run("mine", &["phone", "decline", "--digest", &digest, "--yes"]);
    assert_eq!(open.code, 0, "nobody had decided: {:?}", open.events);
    assert!(!scene.path("work/a.txt").exists(), "Codex never heard of it");
}

#[test]
fn a_decision_that_races_a_removal_counts_before_it_or_never() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    let mut counted = 0;
    for round in 0..ROUNDS {
        let mut phone = rogue(&scene, &["--right", "approver"]);
        let mark = format!("mark-{round}.txt");
        let digest = text(&scene.ask("mine", &format!("ESCALATE cmd=touch {mark}"))["digest"]);
        let signed = scene.runtime.block_on(async {
            let approval = phone.asked().await;
            phone.signs(&approval, Decision::Accept)
        });
        // Which goes first, and by how much, is what is varied.
        let lead = Duration::from_millis(4) * round.abs_diff(ROUNDS / 2);
        let revoke = if round < ROUNDS / 2 {
            scene.runtime.block_on(phone.logs(signed));
            thread::sleep(lead);
            scene.start("desk", &["devices", "revoke", "rogue"])
        } else {
            let revoke = scene.start("desk", &["devices", "revoke", "rogue"]);
            thread::sleep(lead);
            scene.runtime.block_on(phone.logs(signed));
            revoke
        };
        assert_eq!(revoke.end().code, 0);
        let decline = scene.run("mine", &["phone", "decline", "--digest", &digest, "--yes"]);
        match decline.code {
            0 => assert!(!scene.path("work").join(&mark).exists(), "it was open after the removal"),
            _ => counted += 1,
        }
    }
    println!("of {ROUNDS} decisions that raced a removal {counted} counted before it");
    assert!(counted > 0, "a decision never counts, so nothing was shown");
}

#[test]
fn a_removal_between_two_messages_of_a_handshake_counts() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    let phone = rogue(&scene, &["--right", "owner"]);
    scene.runtime.block_on(async {
        phone.resumes_after(async {}).await.expect("it is paired");
        let removed = async { drop(scene.done("desk", &["devices", "revoke", "rogue"])) };
        let error = phone.resumes_after(removed).await.expect_err("it was removed before it had proven itself");
        println!("{error}");
    });
}

#[test]
fn a_right_lowered_while_an_approval_is_open_takes_the_decision_and_leaves_it_to_others() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "bob", &["--right", "approver"]);
    let mut phone = rogue(&scene, &["--right", "approver"]);
    let digest = text(&scene.ask("mine", "ESCALATE cmd=touch a.txt")["digest"]);
    let signed = scene.runtime.block_on(async {
        let approval = phone.asked().await;
        phone.signs(&approval, Decision::Accept)
    });
    let approve = ["phone", "approve", "--digest", &digest, "--yes"];
    for lowered in ["bob", "rogue"] {
        scene.done("desk", &["devices", "grant", lowered, "--right", "viewer"]);
    }
    let refused = scene.run("bob", &approve);
    assert!([15, 16].contains(&refused.code), "{:?}", refused.events);
    scene.runtime.block_on(async {
        phone.logs(signed).await;
        assert_eq!(phone.decided().await, Err(DecisionRefusal::NotAllowed), "it was signed while it was allowed");
    });
    assert!(!scene.path("work/a.txt").exists());
    scene.done("mine", &approve);
}

#[test]
fn what_the_desk_was_told_is_true_after_a_sigkill_at_once() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    scene.pair("mine");
    for _ in 0..3 {
        scene.pair("phone");
        let watch = watches(&scene, "phone", &[]);
        scene.done("desk", &["devices", "grant", "phone", "--right", "viewer"]);
        host.kill();
        host = scene.host(&[]);
        assert_eq!(row(&scene, "phone")["right"], "viewer");
        drop(watch);
        let watch = watches(&scene, "phone", &[]);
        scene.done("desk", &["devices", "revoke", "phone"]);
        host.kill();
        host = scene.host(&[]);
        assert_eq!(listed(&scene).len(), 1);
        drop(watch);
        let removed = scene.run("phone", &LOOK);
        assert_eq!(removed.code, 16, "{:?}", removed.events);
    }
}
