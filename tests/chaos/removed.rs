//! A phone that is removed while the host holds something of it that isn't Codex's yet.

use std::thread;
use std::time::{Duration, Instant};

use super::edges::Edges;
use super::scene::{PATIENCE, Scene, text};

/// Waits until the desk lists so many devices: what the command that removes one has stored, before it returns.
fn listed(scene: &Scene, devices: usize) {
    let began = Instant::now();
    while scene.done("desk", &["devices"]).events.len() != devices {
        assert!(began.elapsed() < PATIENCE, "it is never stored");
        thread::sleep(Duration::from_millis(20));
    }
}

/// All texts of a thread.
fn texts(scene: &Scene, thread: &str) -> String {
    format!("{:?}", scene.done("mine", &["phone", "show", thread]).events)
}

#[test]
fn a_decision_that_the_host_has_and_has_not_stored_is_never_codexs_after_a_removal() {
    let scene = Scene::set();
    let edges = Edges::listen(&scene, &["sent-unacked"]);
    let host = edges.host(&scene);
    scene.pair("mine");
    scene.pair("bob");
    let digest = {
        let mut asks = scene.start("mine", &["phone", "start", "ESCALATE cmd=touch a.txt"]);
        // The thread, its turn.
        for _ in 0..2 {
            edges.next().go();
        }
        text(&asks.event("approval")["digest"])
    };
    let approve = scene.start("bob", &["phone", "approve", "--digest", &digest, "--yes"]);
    let waits = edges.next();
    let revoke = scene.start("desk", &["devices", "revoke", "bob"]);
    listed(&scene, 1);
    waits.go();
    assert_eq!(revoke.end().code, 0);
    assert_ne!(approve.end().code, 0);
    let decline = scene.start("mine", &["phone", "decline", "--digest", &digest, "--yes"]);
    edges.next().go();
    assert_eq!(decline.end().code, 0, "nobody had decided");
    assert!(!scene.path("work/a.txt").exists());
    host.kill();
}

#[test]
fn what_a_removed_phone_had_queued_behind_a_command_is_never_codexs() {
    let scene = Scene::set();
    let edges = Edges::listen(&scene, &["sent-unacked", "forwarded-unrecorded"]);
    let host = edges.host(&scene);
    scene.pair("mine");
    scene.pair("bob");
    // Whatever comes to a point goes on, until a command has ended.
    let through = |arguments: &[&str]| {
        let command = scene.start("mine", arguments);
        thread::scope(|scope| {
            let ended = scope.spawn(|| command.end());
            while !ended.is_finished() {
                if let Some(waits) = edges.within(Duration::from_millis(50)) {
                    waits.go();
                }
            }
            ended.join().expect("it ends")
        })
    };
    let id = text(&through(&["phone", "start", "hello"]).event("started")["thread"]);
    let first = scene.start("bob", &["phone", "send", &id, "the first word", "--detach"]);
    edges.at("sent-unacked").go();
    let held = edges.at("forwarded-unrecorded");
    // From the same phone, while Codex's answer to the first isn't stored: it has to wait.
    let second = scene.start("bob", &["phone", "send", &id, "the second word", "--detach"]);
    edges.at("sent-unacked").go();
    scene.done("desk", &["devices", "revoke", "bob"]);
    held.go();
    drop((first, second));
    assert_eq!(through(&["phone", "send", &id, "the third word"]).code, 0);
    let said = texts(&scene, &id);
    assert!(said.contains("the first word") && said.contains("the third word"), "{said}");
    assert!(!said.contains("the second word"), "{said}");
    // Nor after the next start, when a host does what was left to be done.
    host.kill();
    let _host = edges.host(&scene);
    assert!(!texts(&scene, &id).contains("the second word"));
}
