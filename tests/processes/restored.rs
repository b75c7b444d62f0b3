//! A host whose state is put back to an older one, and phones that kept what it had signed since.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::scene::{Process, Scene, text};

/// The files of the host, without its configuration and sockets.
const FILES: [&str; 5] = ["identity.key", "host.redb", "journal.redb", "audit.log", "audit.log.head"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("our own folder");
    for name in FILES {
        fs::copy(from.join(name), to.join(name)).expect("a file of the host's");
    }
}

/// A host that ann and bob were paired with when the backup was made, and that has removed bob since and done for ann
/// what she asked; put back to the backup.
fn restored(relays: &[String], scene: &Scene) -> Process {
    let host = scene.host(relays);
    scene.pair("ann");
    scene.pair("bob");
    let asked = scene.ask("ann", "ESCALATE cmd=touch b.txt");
    scene.done("ann", &["phone", "decline", "--digest", &text(&asked["digest"]), "--yes"]);
    assert_eq!(host.stop(Signal::TERM).code, 0);
    copy(&scene.path("desk"), &scene.path("backup"));

    let host = scene.host(relays);
    scene.done("desk", &["devices", "revoke", "bob"]);
    let asked = scene.ask("ann", "ESCALATE cmd=touch a.txt");
    scene.done("ann", &["phone", "approve", "--digest", &text(&asked["digest"]), "--yes"]);
    // What is done is signed, and said to whoever comes next.
    scene.done("ann", &["phone", "threads"]);
    assert_eq!(host.stop(Signal::TERM).code, 0);
    copy(&scene.path("backup"), &scene.path("desk"));
    scene.host(relays)
}

#[test]
fn a_host_that_was_set_back_is_frozen_by_the_first_phone_that_knows_and_until_somebody_has_looked() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let mut host = restored(&relays, &scene);
    assert_eq!(scene.run("ann", &["phone", "threads"]).code, 16);
    host.event_that("frozen", |said| said["frozen"]["by"] == "restored");
    // Bob, who was removed, is in the list again, and gets nothing.
    assert_eq!(scene.done("desk", &["devices"]).events.len(), 2);
    assert_eq!(scene.run("bob", &["phone", "threads"]).code, 16);
    assert_eq!(scene.run("desk", &["thaw"]).code, 2, "somebody has to look first");
    scene.done("desk", &["devices", "revoke", "bob"]);
    assert_eq!(scene.done("desk", &["thaw", "--yes"]).events[0]["was"]["by"], "restored");
    let bob = scene.run("bob", &["phone", "threads"]);
    assert!(bob.code == 16 && bob.error().contains("removed"), "{:?}", bob.events);
    // Its epoch is above the one that ann had kept.
    scene.done("ann", &["phone", "threads"]);
    assert_eq!(scene.done("desk", &["freeze"]).events[0]["changed"], true);
}

#[test]
fn a_phone_says_that_the_record_was_cut_off_and_its_head_shows_where() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let _host = restored(&relays, &scene);
    let kept = scene.done("ann", &["phone", "heads", "desk"]).event("head").clone();
    let seq = kept["seq"].as_u64().expect("a number");
    assert!(seq >= 6 && kept["broken"].is_null(), "{kept}");
    assert_eq!(scene.run("ann", &["phone", "threads"]).code, 16);
    scene.done("desk", &["thaw", "--yes"]);
    scene.done("ann", &["phone", "threads"]);

    let broken = scene.done("ann", &["phone", "heads"]).event("head").clone();
    assert_eq!((&broken["head"], &broken["broken"]["kept"]), (&kept["head"], &kept["seq"]), "it keeps what it had");
    assert!(broken["broken"]["found"].as_u64() < Some(seq), "{broken}");
    assert!(!scene.done("ann", &["phone", "hosts"]).event("host")["record_broken"].is_null());
    let head = scene.path("head.txt");
    fs::write(&head, text(&kept["head"])).expect("our own folder");
    let verified = scene.run("desk", &["audit", "verify", "--head", head.to_str().expect("a text")]);
    assert!(verified.code == 1 && verified.error().contains("missing"), "{:?}", verified.events);

    assert_eq!(scene.done("ann", &["phone", "heads", "desk", "--accept"]).event("record-accepted")["was_broken"], true);
    scene.done("ann", &["phone", "threads"]);
    let after = scene.done("ann", &["phone", "heads"]).event("head").clone();
    assert!(after["broken"].is_null() && after["seq"].as_u64() < Some(seq), "{after}");
}
