//! What holds for every phone, changed at the desk and in the file, and what that does to a running host.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use crate::scene::{Ended, PATIENCE, Scene, text};

#[test]
fn with_remote_connections_off_no_phone_is_let_in_and_no_code_is_made() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("phone");
    let mut watch = scene.start("phone", &["phone", "watch"]);
    watch.event_that("connection", |at| at["state"] == "live");

    let set = scene.done("desk", &["host", "settings", "set", "remote_connections", "off"]);
    assert_eq!((&set.events[0]["value"], &set.events[0]["source"]), (&"off".into(), &"ours".into()));
    let away = watch.event_that("connection", |at| at["state"] == "away");
    assert!(text(&away["why"]).contains("switched remote connections off"), "{away}");
    let refused = scene.run("phone", &["phone", "threads"]);
    assert_eq!(refused.code, 16, "{}", refused.error());
    assert!(refused.error().contains("switched remote connections off"), "{}", refused.error());
    let offered = scene.run("desk", &["pair", "--yes"]);
    assert_eq!(offered.code, 16, "{}", offered.error());
    assert!(offered.error().contains("farhelm host settings set remote_connections on"), "{}", offered.error());

    scene.done("desk", &["host", "settings", "unset", "remote_connections"]);
    watch.event_that("connection", |at| at["state"] == "live");
    scene.done("phone", &["phone", "threads"]);
}

#[test]
fn a_running_host_reads_its_edited_file_when_asked_and_keeps_its_rules_over_a_bad_one() {
    let scene = Scene::set();
    let file = scene.path("desk/config/config.toml");
    let of = |ended: &Ended, name: &str| {
        let row = ended.events.iter().find(|row| row["name"] == name).expect("the setting").clone();
        (text(&row["value"]), text(&row["source"]))
    };
    // At rest: on the file itself.
    scene.done("desk", &["host", "settings", "set", "sandbox", "read-only"]);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "[floor]\nsandbox = \"read-only\"\n");
    let _host = scene.host(&[]);
    assert_eq!(of(&scene.done("desk", &["host", "settings"]), "sandbox"), ("read-only".into(), "ours".into()));

    fs::write(&file, "[features]\ncomputer_use_mobile = true\n").expect("an edit");
    let read = scene.done("desk", &["host", "settings"]);
    assert_eq!(of(&read, "sandbox"), ("workspace-write".into(), "default".into()));
    assert_eq!(of(&read, "computer_use_mobile"), ("on".into(), "ours".into()));

    fs::write(&file, "[features]\ncomputer_use_mobil = false\n").expect("an edit");
    for arguments in
        [&["host", "settings"][..], &["host", "settings", "set", "sandbox", "read-only"], &["pair", "--yes"]]
    {
        let bad = scene.run("desk", arguments);
        assert_eq!(bad.code, 21, "{}", bad.error());
        assert!(bad.error().contains("line 2") && bad.error().contains("computer_use_mobile"), "{}", bad.error());
    }
    let unknown = scene.run("desk", &["host", "settings", "set", "sandbx", "read-only"]);
    assert_eq!(unknown.code, 2, "{}", unknown.error());
}

#[test]
fn a_host_does_not_start_with_a_bad_file() {
    let scene = Scene::set();
    let file = scene.path("desk/config/config.toml");
    fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    fs::set_permissions(scene.path("desk"), Permissions::from_mode(0o700)).expect("a private directory");
    fs::write(&file, "[floor]\nsandbox = \"none\"\n").expect("a file");
    let bad = scene.run("desk", &["host", "--connect", "unix:///nonexistent"]);
    assert_eq!(bad.code, 21, "{}", bad.error());
    assert!(bad.error().contains("line 2: sandbox must be one of"), "{}", bad.error());
}

#[test]
fn codexs_own_switch_holds_until_the_hosts_says_otherwise() {
    let scene = Scene::set();
    // The scripted agent calls the scene its CODEX_HOME.
    let codex = "[features]\ncomputer_use_mobile = true\n";
    fs::write(scene.path("config.toml"), codex).expect("Codex's file");
    let _host = scene.host(&[]);
    let is = |ended: &Ended| {
        let row = ended.events.iter().find(|row| row["name"] == "computer_use_mobile").expect("the setting");
        (text(&row["value"]), text(&row["source"]))
    };
    let words = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(is(&scene.done("desk", &["host", "settings"])), words("on", "codex"));
    let off = scene.done("desk", &["host", "settings", "set", "computer_use_mobile", "off"]);
    assert_eq!(is(&off), words("off", "ours"));
    let unset = scene.done("desk", &["host", "settings", "unset", "computer_use_mobile"]);
    assert_eq!(is(&unset), words("on", "codex"));
    assert_eq!(fs::read_to_string(scene.path("config.toml")).expect("Codex's file"), codex, "only read");
    fs::write(scene.path("config.toml"), "").expect("Codex's file");
    assert_eq!(is(&scene.done("desk", &["host", "settings"])), words("off", "default"));
}

#[test]
fn a_fault_in_the_file_is_said_at_the_hosts_own_terminal() {
    let scene = Scene::set();
    let mut host = scene.host(&[]);
    let file = scene.path("desk/config/config.toml");
    scene.done("desk", &["host", "settings", "set", "sandbox", "read-only"]);
    fs::write(&file, "[floor]\nsandbox = \"none\"\n").expect("an edit");
    assert_eq!(scene.run("desk", &["host", "settings"]).code, 21);
    let said = host.event("settings");
    assert!(text(&said["fault"]).contains("line 2: sandbox must be one of"), "{said}");
    fs::write(&file, "").expect("an edit");
    scene.done("desk", &["host", "settings"]);
    host.event_that("settings", |said| said["fault"].is_null());
}

/// With stand-ins for the system's own programs: where tests run there is no logind to ask, and what is tested is that
/// the host starts the right one at the right time, and ends it.
#[test]
fn the_machine_is_kept_awake_while_a_turn_runs_and_no_longer() {
    let scene = Scene::set();
    let (programs, fifo) = (scene.path("bin"), scene.path("awake"));
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    fs::create_dir(&programs).expect("a folder");
    for name in ["systemd-inhibit", "caffeinate"] {
        let script = format!("#!/bin/sh\nexec 3>'{}'\necho \"$@\" >&3\nexec cat\n", fifo.display());
        fs::write(programs.join(name), script).expect("a program");
        fs::set_permissions(programs.join(name), Permissions::from_mode(0o755)).expect("a program");
    }
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let _host = scene.host_with(&[], &[("PATH", &path)]);
    scene.pair("phone");
    scene.done("desk", &["host", "settings", "set", "mobile_keep_awake", "on"]);

    // The first line when it starts, the end when it does.
    let (say, said) = channel();
    thread::spawn(move || {
        let mut life = BufReader::new(fs::File::open(fifo).expect("a FIFO"));
        let mut arguments = String::new();
        let _ = say.send(life.read_line(&mut arguments).map(|_| arguments));
        let _ = say.send(life.read_to_string(&mut String::new()).map(|_| "ended".to_owned()));
    });
    let next = || said.recv_timeout(PATIENCE).expect("in time").expect("a FIFO");
    let asked = scene.ask("phone", "ESCALATE cmd=true");
    let arguments = next();
    let wanted = if cfg!(target_os = "macos") { "-i -s cat" } else { "--what=idle:sleep" };
    assert!(arguments.starts_with(wanted) && arguments.ends_with(" cat\n"), "{arguments}");
    assert!(said.try_recv().is_err(), "while the turn waits for a decision it runs");
    let digest = text(&asked["digest"]);
    scene.done("phone", &["phone", "decline", "--digest", &digest, "--yes"]);
    assert_eq!(next(), "ended");
}
