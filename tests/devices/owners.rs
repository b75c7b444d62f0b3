//! A stolen owner's phone whose program keeps to nothing: what it can do is undone at the desk, and it can't stay.

use serde_json::{Value, json};

use crate::revocation::rogue;
use crate::scene::{Scene, text};
use crate::{LOOK, lend, listed, row};

/// What the desk lists, without when each was seen.
fn book(scene: &Scene) -> Vec<[Value; 4]> {
    let told = |row: Value| ["id", "name", "right", "until_ms"].map(|part| row[part].clone());
    listed(scene).into_iter().map(told).collect()
}

#[test]
fn a_stolen_owners_phone_neither_removes_an_owner_nor_makes_one_nor_stays() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "bob", &["--right", "operator"]);
    let mut stolen = rogue(&scene, &["--right", "owner"]);
    let before = book(&scene);
    let id = |name: &str| text(&row(&scene, name)["id"]);
    let (mine, bob, itself) = (id("mine"), id("bob"), id("rogue"));
    let asked = [
        ("farhelm/devices/revoke", json!({"device": mine})),
        ("farhelm/devices/revoke", json!({"device": "mine"})),
        ("farhelm/devices/revoke", json!({"device": mine, "force": true})),
        ("farhelm/devices/revoke", json!({"device": itself})),
        ("farhelm/devices/rename", json!({"device": mine, "name": "rogue"})),
        ("farhelm/devices/grant", json!({"device": mine, "right": "viewer"})),
        ("farhelm/devices/grant", json!({"device": bob, "right": "owner"})),
        ("farhelm/devices/grant", json!({"device": itself, "untilMs": null})),
        ("farhelm/devices/pair", json!({"right": "owner"})),
        ("farhelm/thaw", json!({})),
        ("farhelm/devices/../thaw", json!({})),
        ("FARHELM/DEVICES/REVOKE", json!({"device": mine})),
    ];
    scene.runtime.block_on(async {
        for (method, params) in &asked {
            let refused = stolen.asks(method, params).await.expect_err(method);
            println!("{method} {params}: {refused}");
        }
        // The control: what an owner may, it may.
        stolen
            .asks("farhelm/devices/rename", &json!({"device": bob, "name": "bobby"}))
            .await
            .expect("an owner's right");
    });
    let after = book(&scene);
    let renamed = before.into_iter().map(|[id, name, right, until]| {
        let name = if name == "bob" { "bobby".into() } else { name };
        [id, name, right, until]
    });
    assert_eq!(after, renamed.collect::<Vec<_>>(), "nothing else came of it");
    // And the desk removes it, also while it has frozen everything.
    let _ = scene.runtime.block_on(stolen.asks("farhelm/freeze", &json!({})));
    scene.done("desk", &["devices", "revoke", "rogue"]);
    scene.done("desk", &["thaw"]);
    scene.done("mine", &LOOK);
    assert!(scene.runtime.block_on(stolen.resumes()).is_err());
    assert_eq!(listed(&scene).len(), 2);
}

#[test]
fn a_lesser_phone_that_keeps_to_nothing_does_nothing_to_devices() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("mine");
    lend(&scene, "bob", &["--right", "viewer"]);
    let bob = text(&row(&scene, "bob")["id"]);
    for right in ["viewer", "approver", "operator"] {
        let mut phone = rogue(&scene, &["--right", right]);
        let itself = text(&row(&scene, "rogue")["id"]);
        let before = book(&scene);
        scene.runtime.block_on(async {
            for (method, params) in [
                ("farhelm/devices/list", json!({})),
                ("farhelm/devices/revoke", json!({"device": bob})),
                ("farhelm/devices/rename", json!({"device": bob, "name": "x"})),
                ("farhelm/devices/grant", json!({"device": itself, "right": "owner"})),
                ("farhelm/freeze", json!({})),
            ] {
                assert!(phone.asks(method, &params).await.is_err(), "{right}: {method}");
            }
        });
        assert_eq!(book(&scene), before, "{right}");
        scene.done("desk", &["devices", "revoke", "rogue"]);
    }
}
