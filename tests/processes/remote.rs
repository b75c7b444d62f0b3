//! An owner's phone looks after the host's devices; what a stolen one must not do, it can't.

use rustix::process::Signal;
use serde_json::Value;

use super::scene::{Scene, text};

/// A device as the desk lists it.
fn at_desk(scene: &Scene, name: &str) -> Option<Value> {
    scene.done("desk", &["devices"]).events.into_iter().find(|device| device["name"] == name)
}

#[test]
fn an_owners_phone_looks_after_lesser_devices_and_no_other_does() {
    let scene = Scene::set();
    let mut host = scene.host(&[]);
    for phone in ["ann", "bob", "cid", "dan"] {
        scene.pair(phone);
    }
    scene.done("desk", &["devices", "grant", "dan", "--right", "owner"]);
    let devices = |who: &str, arguments: &[&str]| scene.run(who, &[&["phone", "devices"], arguments].concat());
    let listed = devices("ann", &[]);
    assert_eq!(listed.events.len(), 4, "{:?}", listed.events);
    let this: Vec<_> = listed.events.iter().filter(|device| device["this"] == true).collect();
    assert!(this.len() == 1 && this[0]["name"] == "ann", "{this:?}");

    assert_eq!(devices("ann", &["grant", "bob", "--right", "viewer", "--until", "8h"]).code, 0);
    let bob = at_desk(&scene, "bob").expect("it is paired");
    assert!(bob["right"] == "viewer" && bob["until_ms"].is_u64(), "{bob}");
    let said = host.event("remote");
    assert_eq!((&said["by_name"], &said["act"], &said["name"]), (&"ann".into(), &"granted".into(), &"bob".into()));
    assert_eq!(devices("ann", &["rename", "bob", "tablet"]).code, 0);
    assert!(at_desk(&scene, "tablet").is_some());

    // Nobody else does, and nobody does it to an owner, makes one, or lowers itself.
    for lesser in ["bob", "cid"] {
        assert_eq!(devices(lesser, &[]).code, 16);
        assert_eq!(scene.run(lesser, &["phone", "freeze", "--yes"]).code, 16);
    }
    for owner in ["dan", "ann"] {
        for act in [&["grant", owner, "--right", "viewer"][..], &["rename", owner, "x"], &["revoke", owner, "--yes"]] {
            assert_eq!(devices("ann", act).code, 16, "{act:?}");
        }
    }
    assert_eq!(devices("ann", &["grant", "cid", "--right", "owner"]).code, 16);
    assert_eq!(devices("ann", &["revoke", "cid"]).code, 2, "nobody is there to be asked");
    assert_eq!(at_desk(&scene, "dan").expect("it is paired")["right"], "owner");

    // Nor does anybody give what it hasn't got.
    let work = scene.path("work").canonicalize().expect("it exists");
    let work = work.to_str().expect("a text");
    scene.done("desk", &["devices", "grant", "ann", "--folder", work, "--until", "8h"]);
    for act in [&["--host-folders"][..], &["--folder", "/"], &["--for-good"], &["--until", "9h"]] {
        assert_eq!(devices("ann", &[&["grant", "cid"], act].concat()).code, 16, "{act:?}");
    }
    assert_eq!(devices("ann", &["grant", "cid", "--folder", work, "--until", "7h"]).code, 0);

    let mut watch = scene.start("cid", &["phone", "watch"]);
    watch.event_that("connection", |at| at["state"] == "live");
    assert_eq!(devices("ann", &["revoke", "cid", "--yes"]).code, 0);
    let ended = watch.end();
    assert!(ended.code == 16 && ended.error().contains("removed"), "{:?}", ended.events);
    assert!(at_desk(&scene, "cid").is_none());
    // It is there already when it is asked again, by another's hand for example.
    assert_eq!(devices("ann", &["revoke", "cid", "--yes"]).code, 15);

    let records = scene.done("desk", &["audit", "show"]).events;
    let of = |act: &str| records.iter().filter(|record| record["act"] == act).map(|r| &r["effect"]).collect::<Vec<_>>();
    assert_eq!(of("farhelm/devices/revoke").last(), Some(&&"done".into()), "{records:?}");
}

#[test]
fn an_owners_phone_freezes_and_only_the_desk_thaws() {
    let scene = Scene::set();
    let (_relay, relays) = scene.relay();
    let mut host = scene.host(&relays);
    scene.pair("ann");
    scene.pair("bob");
    let mut watch = scene.start("bob", &["phone", "watch"]);
    watch.event_that("connection", |at| at["state"] == "live");
    scene.done("ann", &["phone", "freeze", "--yes"]).event("frozen");
    watch.event_that("connection", |at| at["state"] == "away" && text(&at["why"]).contains("farhelm thaw"));
    let said = host.event_that("frozen", |said| !said["frozen"].is_null());
    assert_eq!(said["frozen"]["by"]["device"]["name"], "ann");
    assert_eq!(scene.run("ann", &["phone", "devices"]).code, 16, "the owner is out as well");
    // What its phone has asked isn't asked again by a host that is started anew.
    assert_eq!(host.stop(Signal::TERM).code, 0);
    let _host = scene.host(&relays);
    scene.done("desk", &["thaw"]);
    watch.event_that("connection", |at| at["state"] == "live");
    assert!(scene.done("desk", &["thaw"]).events[0]["was"].is_null());
    scene.done("ann", &["phone", "devices"]);
}
