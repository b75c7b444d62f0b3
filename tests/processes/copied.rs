//! Two programs with one phone's key.

use std::fs;

use super::scene::Scene;

/// Copies what a phone is known by: its key and what it knows of hosts, not its journal.
fn copy(scene: &Scene, from: &str, to: &str) {
    for folder in ["phone", "phone/host"] {
        farhelm_platform::directories::private(&scene.path(to).join(folder)).expect("our own folder");
        for entry in fs::read_dir(scene.path(from).join(folder)).expect("its folder").flatten() {
            if entry.path().is_file() {
                fs::copy(entry.path(), scene.path(to).join(folder).join(entry.file_name())).expect("a copy");
            }
        }
    }
}

#[test]
fn a_copied_key_that_takes_turns_with_its_phone_is_said_at_the_desk() {
    let scene = Scene::set();
    let mut host = scene.host(&[]);
    scene.pair("ann");
    copy(&scene, "ann", "thief");
    // Commands beside a phone that watches are other programs, too, and nothing to warn of.
    let mut watch = scene.start("ann", &["phone", "watch"]);
    watch.event_that("connection", |at| at["state"] == "live");
    for _ in 0..4 {
        scene.done("ann", &["phone", "threads"]);
    }
    assert!(scene.done("desk", &["devices"]).events[0]["contested_ms"].is_null());
    let _thief = scene.start("thief", &["phone", "watch"]);
    let said = host.event("contested");
    assert_eq!(said["name"], "ann");
    assert!(scene.done("desk", &["devices"]).events[0]["contested_ms"].is_u64());
    // Paired anew it has another past.
    scene.done("desk", &["devices", "revoke", "ann"]);
    scene.pair("ann");
    assert!(scene.done("desk", &["devices"]).events[0]["contested_ms"].is_null());
}
