//! A host that is frozen and thawed, running or not.

use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, text};

#[test]
fn a_frozen_host_lets_no_phone_in_and_does_nothing_for_any_until_it_is_thawed() {
    let scene = Scene::set();
    // Its ports are new when it is started again; the relay is how a phone finds it then.
    let (_relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    scene.pair("ann");
    scene.pair("bob");
    let digest = text(&scene.ask("ann", "ESCALATE cmd=touch a.txt")["digest"]);
    let mut watch = scene.start("bob", &["phone", "watch"]);
    watch.event_that("connection", |at| at["state"] == "live");
    let (code, ticket) = scene.offer();

    let frozen = scene.done("desk", &["freeze"]);
    assert_eq!((&frozen.events[0]["changed"], &frozen.events[0]["frozen"]["by"]), (&true.into(), &"desk".into()));
    watch.event_that("connection", |at| at["state"] == "away" && text(&at["why"]).contains("farhelm thaw"));
    assert_eq!(scene.scan("cid", &ticket).end().code, 11, "the code that was shown is void");
    drop(code);
    assert_eq!(scene.run("desk", &["pair", "--yes"]).code, 16);
    let refused = scene.run("ann", &["phone", "approve", "--digest", &digest, "--yes"]);
    assert_eq!(refused.code, 16, "{:?}", refused.events);
    assert_eq!(scene.done("desk", &["freeze"]).events[0]["changed"], false);
    host.event_that("frozen", |said| !said["frozen"].is_null());

    // It is the host's state, not its process's.
    assert_eq!(host.stop(Signal::TERM).code, 0);
    assert_eq!(scene.done("desk", &["freeze"]).events[0]["changed"], false);
    let mut host = scene.host(&relays);
    // It says so before or after it has found Codex, which was waited for.
    let says_so = |said: &Value| said["frozen"]["by"] == "desk";
    if !host.has_heard("frozen", says_so) {
        host.event_that("frozen", says_so);
    }
    assert_eq!(scene.run("ann", &["phone", "threads"]).code, 16);

    assert_eq!(scene.done("desk", &["thaw"]).events[0]["was"]["by"], "desk");
    watch.event_that("connection", |at| at["state"] == "live");
    assert!(!scene.path("work/a.txt").exists());
    scene.done("ann", &["phone", "approve", "--digest", &digest, "--yes"]);
    assert!(scene.done("desk", &["thaw"]).events[0]["was"].is_null());
}
