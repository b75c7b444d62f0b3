//! The host's `config.toml` while phones are connected: denied commands, two people, a step-up, and a file with a fault.

use std::fs;

use crate::scene::{Scene, Terminal, text};

/// Writes the host's file. Its directory is there once a setting was changed.
fn write(scene: &Scene, text: &str) {
    fs::write(scene.path("desk/config/config.toml"), text).expect("an edit");
}

/// A host whose config directory is there.
fn scene() -> Scene {
    let scene = Scene::set();
    scene.done("desk", &["host", "settings", "set", "sandbox", "workspace-write"]);
    scene
}

#[test]
fn a_policy_that_is_edited_holds_for_an_open_approval_and_no_session_is_dropped() {
    let scene = scene();
    let mut host = scene.host(&[]);
    scene.pair("ann");
    scene.pair("bob");
    // One that only looks: a second program of the same phone would end its session.
    scene.pair("cid");
    let mut watch = scene.start("cid", &["phone", "watch"]);
    watch.event_that("connection", |at| at["state"] == "live");
    let digest = text(&scene.ask("ann", "ESCALATE cmd=touch a.txt")["digest"]);
    let approve = ["phone", "approve", "--digest", &digest, "--yes"];

    write(&scene, "[approvals]\ndeny = [\"touch *\"]\n");
    watch.event_that("approval", |shown| shown["denied_by"] == "touch *");
    assert_eq!(scene.run("ann", &approve).code, 16);

    write(&scene, "[approvals]\ntwo_person = [\"touch *\"]\nstep_up = [\"touch *\"]\n");
    watch.event_that("approval", |shown| shown["two_person"] == true && shown["step_up"] == true);
    assert_eq!(scene.run("ann", &approve).code, 16, "without the step-up");

    // A file with a fault changes nothing, and the desk is told.
    write(&scene, "[approvals]\ndeny = 3\n");
    let said = host.event_that("settings", |said| !said["fault"].is_null());
    assert!(text(&said["fault"]).contains("line 2: deny must be a list"), "{said}");
    assert_eq!(scene.run("ann", &approve).code, 16, "as before the fault");

    let stepped_up = [&approve[..], &["--step-up"]].concat();
    for _ in 0..2 {
        scene.done("ann", &stepped_up).event("accepted-first");
        assert!(!scene.path("work/a.txt").exists(), "one device is one person");
    }
    watch.event_that("approval", |shown| shown["accepted_first_by"] == "ann");
    scene.done("bob", &stepped_up).event("decided");
    let over = watch.event("resolved");
    assert_eq!(over["outcome"], "accepted", "{over}");
    assert!(!watch.has_heard("connection", |at| at["state"] == "away"), "the session went on all the while");
}

#[test]
fn a_file_is_checked_without_a_host_and_the_example_is_in_order() {
    let scene = scene();
    let path = text(&scene.done("desk", &["config", "path"]).event("config-path")["path"]);
    assert!(path.ends_with("config.toml"));
    let example = text(&scene.done("desk", &["config", "example"]).event("config-example")["text"]);
    write(&scene, &example);
    scene.done("desk", &["config", "check"]).event("config-checked");
    let other = scene.path("other.toml").display().to_string();
    fs::write(&other, "[approvals]\ndeni = []\n").expect("a file");
    let bad = scene.run("desk", &["config", "check", &other]);
    assert_eq!(bad.code, 21, "{}", bad.error());
    assert!(bad.error().contains("line 2") && bad.error().contains("did you mean \"deny\"?"), "{}", bad.error());
    assert_eq!(scene.run("desk", &["config", "check", "not-there.toml"]).code, 21);
}

#[test]
fn what_a_newcomer_gets_and_where_phones_are_at_home_is_the_files_to_say() {
    let scene = scene();
    let _host = scene.host(&[]);
    scene.pair("ann");
    write(&scene, "[devices]\nright = \"viewer\"\n");
    scene.pair("bob");
    let devices = scene.done("desk", &["devices"]).events;
    let right = |name: &str| &devices.iter().find(|device| device["name"] == name).expect("it is paired")["right"];
    assert_eq!((right("ann"), right("bob")), (&"owner".into(), &"viewer".into()));

    scene.ask("ann", "ESCALATE cmd=touch a.txt");
    let threads = || scene.done("bob", &["phone", "threads"]).events.iter().filter(|row| row["is"] == "thread").count();
    assert_eq!(threads(), 1);
    fs::create_dir(scene.path("other")).expect("our own folder");
    write(&scene, &format!("[devices]\nfolders = [{:?}]\n", scene.path("other")));
    // It is read before it is shown.
    scene.done("desk", &["host", "settings"]);
    assert_eq!(threads(), 0);
}

#[test]
fn a_step_up_is_asked_for_at_the_phones_terminal_and_another_word_decides_nothing() {
    let scene = scene();
    let _host = scene.host(&[]);
    scene.pair("ann");
    write(&scene, "[approvals]\nstep_up = [\"touch *\"]\n");
    scene.done("desk", &["host", "settings"]);
    let digest = text(&scene.ask("ann", "ESCALATE cmd=touch a.txt")["digest"]);
    let approve = || Terminal::open(&scene.path("ann"), (80, 24), "xterm", &["phone", "approve", "--digest", &digest]);
    let typed = |letters: &str| {
        let mut phone = approve();
        phone.shows("Approve exactly this?");
        phone.types("y\r");
        phone.shows("be sure that it is you");
        phone.types(&format!("{letters}\r"));
        phone.end()
    };
    let (code, screen) = typed("yes");
    assert!(code == 16 && screen.contains("nothing was decided"), "{code}: {screen}");
    assert!(!scene.path("work/a.txt").exists());
    let (code, screen) = typed(&digest[..8]);
    assert_eq!(code, 0, "{screen}");
}
