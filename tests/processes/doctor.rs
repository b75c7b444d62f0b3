//! What `farhelm doctor` says of what real programs left behind and of what was then done to it, and of relays. What it
//! says of NATs is tested where there are some.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::scene::{Ended, Process, Scene, text};

/// A host that a phone had run a command, another phone was removed from, and that has ended since.
fn used() -> Scene {
    let scene = Scene::set();
    let host = scene.host(&[]);
    scene.pair("phone");
    scene.pair("gone");
    let asked = scene.ask("phone", "ESCALATE cmd=touch a.txt");
    scene.done("phone", &["phone", "approve", "--digest", &text(&asked["digest"]), "--yes"]);
    assert_eq!(host.stop(Signal::TERM).code, 0);
    fs::copy(scene.path("desk/host.redb"), scene.path("host.redb")).expect("ours");
    let host = scene.host(&[]);
    scene.done("desk", &["devices", "revoke", "gone"]);
    let during = scene.done("desk", &["doctor", "--state"]);
    assert_eq!(
        (&found(&during, "devices")["found"], &found(&during, "record")["found"]),
        (&"in-use".into(), &"ok".into())
    );
    assert_eq!(host.stop(Signal::TERM).code, 0);
    scene
}

fn found<'a>(ended: &'a Ended, what: &str) -> &'a Value {
    ended.events.iter().find(|event| event["what"] == what).unwrap_or_else(|| panic!("{what}: {:?}", ended.events))
}

/// What is wrong with one thing, and that nothing is wrong with others.
fn wrong(scene: &Scene, what: &str) -> String {
    let ended = scene.run("desk", &["doctor", "--state"]);
    assert_eq!(ended.code, 19, "{:?}", ended.events);
    assert_eq!(found(&ended, what)["found"], "bad", "{:?}", ended.events);
    text(&found(&ended, what)["says"])
}

#[test]
fn what_is_in_order_is_said_so_and_not_touched() {
    let scene = used();
    let kept = |name: &str| fs::read(scene.path("desk").join(name)).expect("a file");
    let files = ["host.redb", "journal.redb", "audit.log", "audit.log.head", "identity.key"];
    let before = files.map(kept);
    let whole = scene.done("desk", &["doctor", "--state"]);
    assert!(
        whole.events.iter().all(|event| event["found"] == "ok" || event["found"] == "absent"),
        "{:?}",
        whole.events
    );
    assert!(text(&found(&whole, "devices")["says"]).starts_with("1 paired"), "{:?}", whole.events);
    assert_eq!(files.map(kept), before);
    let phone = scene.done("phone", &["doctor"]);
    assert_eq!(
        (&found(&phone, "what waits for hosts")["found"], &found(&phone, "key")["found"]),
        (&"ok".into(), &"absent".into())
    );
    assert_eq!(scene.run("nobody", &["doctor", "--state"]).code, 15);
    let fresh = scene.done("nobody", &["doctor"]);
    assert_eq!(found(&fresh, "relays")["found"], "absent", "a machine where nothing is yet can be looked at");
    scene.done("desk", &["freeze"]);
    assert_eq!(found(&scene.done("desk", &["doctor"]), "devices")["found"], "odd");
}

#[test]
fn what_was_done_to_it_is_named_with_what_to_do() {
    let scene = used();
    let path = |name: &str| -> PathBuf { scene.path("desk").join(name) };
    let mode = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).expect("ours");
    mode("journal.redb", 0o640);
    assert!(wrong(&scene, "files").contains("chmod 600"));
    mode("journal.redb", 0o600);

    // One byte in the middle of each file.
    for (name, what) in [("host.redb", "devices"), ("journal.redb", "what waits for phones"), ("audit.log", "record")] {
        let whole = fs::read(path(name)).expect("ours");
        let mut changed = whole.clone();
        let at = if name == "audit.log" { whole.len() - 1 } else { 0 };
        changed[at] ^= 1;
        fs::write(path(name), &changed).expect("ours");
        wrong(&scene, what);
        fs::write(path(name), whole).expect("ours");
    }
    scene.done("desk", &["doctor"]);

    // The devices as they were before one was removed.
    let now = fs::read(path("host.redb")).expect("ours");
    fs::copy(scene.path("host.redb"), path("host.redb")).expect("ours");
    assert!(wrong(&scene, "devices").contains("farhelm freeze"));
    fs::write(path("host.redb"), now).expect("ours");

    // Another host's key, and none.
    let key = fs::read(path("identity.key")).expect("ours");
    fs::write(path("identity.key"), [7; 32]).expect("ours");
    assert!(wrong(&scene, "devices").contains("two hosts"));
    fs::remove_file(path("identity.key")).expect("ours");
    assert!(wrong(&scene, "devices").contains("restore it"));
    fs::write(path("identity.key"), key).expect("ours");
    mode("identity.key", 0o600);
    scene.done("desk", &["doctor"]);
}

/// Addresses of loopback, with ports that stay the same over a relay's restart.
fn relay(scene: &Scene) -> (Process, Vec<String>) {
    let listen = ["tcp/0", "udp/0/quic-v1", "tcp/0/ws"].map(|rest| format!("/ip4/127.0.0.1/{rest}"));
    scene.relay_on(&listen)
}

#[test]
fn relays_are_asked_over_each_way_and_one_that_is_down_is_named() {
    let scene = Scene::set();
    let (first, at_first) = relay(&scene);
    let arguments = |relays: &[String]| -> Vec<String> {
        let named = relays.iter().flat_map(|relay| ["--relay".to_owned(), relay.clone()]);
        ["doctor", "--network"].map(str::to_owned).into_iter().chain(named).collect()
    };
    let run = |relays: &[String]| {
        let arguments = arguments(relays);
        scene.run("desk", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let name = |relays: &[String]| format!("relay {}", relays[0].rsplit('/').next().expect("its id"));

    let whole = run(&at_first);
    assert_eq!(whole.code, 0, "{:?}", whole.events);
    let shown = found(&whole, &name(&at_first));
    assert_eq!(shown["found"], "ok", "{shown}");
    assert!(shown["details"]["place"]["circuit_bytes"].is_u64(), "{shown}");
    let ways = shown["details"]["addresses"].as_array().expect("a list");
    assert!(ways.iter().all(|way| way["answers"] == true && way["round_trip_ms"].is_f64()), "{shown}");
    for way in ["QUIC", "TCP", "WebSocket"] {
        assert_eq!(found(&whole, way)["details"]["open"], true, "{way}");
    }
    assert_eq!(found(&whole, "NAT for UDP")["details"]["kind"], "none");

    // One without UDP beside it, and one that is down.
    let (plain, at_plain) = scene.relay_at("plain", &["/ip4/127.0.0.1/tcp/0".to_owned()]);
    assert_eq!(first.stop(Signal::TERM).code, 0);
    let half = run(&[at_first.clone(), at_plain.clone()].concat());
    assert_eq!(half.code, 0, "one answers: {:?}", half.events);
    assert_eq!(found(&half, &name(&at_first))["found"], "odd");
    assert_eq!(found(&half, &name(&at_plain))["found"], "ok");
    assert!(half.events.iter().all(|event| event["what"] != "QUIC"), "none that answers is to be had over it");

    assert_eq!(plain.stop(Signal::TERM).code, 0);
    let none = run(&[at_first, at_plain].concat());
    assert_eq!(none.code, 13, "{:?}", none.events);
    assert!(none.events.iter().filter(|event| event["found"] == "bad").count() == 2, "{:?}", none.events);
}

#[test]
fn the_relays_of_host_and_phone_are_asked() {
    let scene = Scene::set();
    let (_relay, at) = scene.relay();
    let host = scene.host(&at);
    scene.pair("phone");
    let name = format!("relay {}", at[0].rsplit('/').next().expect("its id"));
    assert_eq!(found(&scene.done("desk", &["doctor", "--network"]), &name)["found"], "ok", "beside a running host");
    assert_eq!(host.stop(Signal::TERM).code, 0);
    let whole = scene.done("desk", &["doctor"]);
    assert_eq!((&found(&whole, &name)["found"], &found(&whole, "clock")["found"]), (&"ok".into(), &"ok".into()));
    assert_eq!(found(&whole, "codex")["found"], "absent", "nothing is on PATH here");
    assert_eq!(found(&scene.done("phone", &["doctor", "--network"]), &name)["found"], "ok");
}
